"""A table as a person reads it: on the terminal, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from srnn.papers.costs import Compared
from srnn.papers.results import PERCENT, Measured, Result
from srnn.papers.table import Row, Table, unit, value

COLUMNS = (
    "row",
    "task",
    "sees",
    "published",
    "ours",
    "difference",
    "95 % ours",
    "95 % published",
    "rate",
    "MAC",
    "AC",
    "pJ",
    "pJ measured",
    "runs and protocol",
    "note",
)
"""Columns of the table of results."""

ASSIGNED = (
    "The notes this was written from keep neither the caption nor a number of this panel: "
    "what it compares is our reading."
)


def sees(row: Row) -> str:
    """Return what the network sees, and what the published one saw where that differs."""
    return row.sees + (f" (published: {row.published_sees})" if row.published_sees else "")


def lines(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return the table of results as text, a line a row, under `COLUMNS`."""
    return [_line(r) for r in results]


def _line(r: Result) -> tuple[str, ...]:
    row = r.row
    published = [_published(name, text) for name, text in r.published.items() if name in PERCENT]
    ours = [
        _measured(name, m)
        for name, m in r.ours.items()
        if name in PERCENT and (name == "accuracy" or name in r.published)
    ]
    mark = " SIMULATED" if r.simulated else ""
    name = row.label + (f" [in place of {row.stands_for}]" if row.stands_for else "") + mark
    rate = r.ours.get("rate")
    others = r.cannot or not r.protocol or len(r.kinds) > 1
    what = "; ".join(part for part in (r.protocol, r.status if others else "") if part)
    return (
        name,
        row.task or "",
        sees(row),
        "; ".join(published),
        "; ".join(ours),
        "" if r.difference is None else f"{r.difference:+.2f}",
        _interval(r.interval("ours")),
        _interval(r.interval("published")),
        _beside(r.published.get("rate"), rate, 4),
        *(_number(r.ours.get(k)) for k in ("mac", "ac", "energy", "energy_measured")),
        what,
        row.note,
    )


def _published(name: str, text: str) -> str:
    return f"{text} %" + (
        "" if name == "accuracy" else f" ({name.removeprefix('accuracy_').replace('_', ' ')})"
    )


def _measured(name: str, m: Measured) -> str:
    spread = "" if m.sd is None else f" ± {m.sd:.2f}"
    return f"{m.mean:.2f}{spread} %" + (
        "" if name == "accuracy" else f" ({name.removeprefix('accuracy_').replace('_', ' ')})"
    )


def _interval(given: tuple[float, float] | str) -> str:
    return given.partition(":")[0] if isinstance(given, str) else f"{given[0]:.1f} … {given[1]:.1f}"


def _beside(printed: str | None, m: Measured | None, digits: int) -> str:
    ours = "" if m is None else f"{m.mean:.{digits}f}"
    return ours if printed is None else f"{printed} | {ours}"


def _number(m: Measured | None) -> str:
    return "" if m is None else f"{m.mean:,.1f}"


def shown(
    table: Table, results: Sequence[Result]
) -> tuple[Sequence[str], list[tuple[str, ...]], list[str]]:
    """Return (columns, lines, footnotes) for a terminal."""
    feet = Footnotes()
    columns = (
        "row",
        "sees",
        "published",
        "ours",
        "diff",
        "95 % ours",
        "95 % publ.",
        "rate",
        "pJ/step",
        "measured pJ",
        "runs",
    )
    rows: list[tuple[str, ...]] = []
    for r, full in zip(results, lines(results), strict=True):
        by = dict(zip(COLUMNS, full, strict=True))
        if r.cannot:
            runs = "cannot run here " + feet.mark(r.cannot)
        else:
            said = [
                (what, message or (r.protocol.partition(", ")[2] if "run" in what else ""))
                for what, message in r.kinds
            ]
            runs = ", ".join(
                what + (f" {feet.mark(message)}" if message else "") for what, message in said
            )
        note = " " + feet.mark(r.row.note) if r.row.note else ""
        rows.append(
            (
                by["row"] + note,
                by["sees"],
                by["published"],
                by["ours"],
                by["difference"],
                by["95 % ours"],
                by["95 % published"],
                by["rate"],
                by["pJ"],
                by["pJ measured"],
                runs,
            )
        )
    columns_, rows = _filled(columns, rows, keep=("row", "published", "ours", "runs"))
    return columns_, rows, feet.lines()


class Footnotes:
    """Numbers for remarks, the same remark the same number."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def mark(self, text: str) -> str:
        """Return the mark of a remark."""
        return f"[{self._known.setdefault(text, len(self._known) + 1)}]"

    def lines(self) -> list[str]:
        """Return the remarks."""
        return [f"[{n}] {text}" for text, n in self._known.items()]


def cost_shown(
    table: Table, found: Mapping[str, Sequence[Compared]]
) -> tuple[Sequence[str], list[tuple[str, ...]], list[str]]:
    """Return (columns, lines, footnotes) for a terminal: "90 =" is printed and computed, "15400 ≠
    15400.8" is not, "(496.8)" is computed only.
    """
    feet, rows = Footnotes(), []
    for row in table.rows:
        cells = []
        for c in found[row.name]:
            if c.published is None:
                cells.append(f"({_digits(c)})" if c.computed else "")
            elif c.computed is None:
                cells.append(c.published)
            elif c.verdict == "equal":
                cells.append(f"{c.published} =")
            else:
                cells.append(
                    f"{c.published} ≠ {_digits(c)} {feet.mark(c.why) if c.why else 'DIFFERS'}"
                )
        more = " ".join(feet.mark(text) for text in (row.note, row.cannot) if text)
        rows.append(
            (
                f"{row.label} {more}".strip(),
                row.sees,
                "" if row.rate is None else f"{row.rate:.4f}",
                *cells,
            )
        )
    columns, rows = _filled(
        ("row", "sees", "rate", *(m.replace("_", " ") for m in table.costs)), rows, keep=("row",)
    )
    return columns, rows, feet.lines()


def cost_lines(
    table: Table, found: Mapping[str, Sequence[Compared]]
) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Return (columns, lines) of the counts: for every metric published and computed, then the
    verdict and why.
    """
    columns = ["row", "task", "sees", "rate"]
    for metric in table.costs:
        columns += [f"{metric.replace('_', ' ')} published", "computed"]
    rows = []
    for row in table.rows:
        line = [row.label, row.task or "", sees(row), "" if row.rate is None else f"{row.rate:.4g}"]
        for c in found[row.name]:
            line += [c.published or "", "" if c.computed is None else _digits(c)]
        verdicts = [c.verdict for c in found[row.name] if c.verdict]
        worst = next((v for v in ("DIFFERS", "explained", "equal") if v in verdicts), "")
        why = [
            f"{c.metric.replace('_', ' ')}: {c.why}"
            for c in found[row.name]
            if c.verdict == "explained"
        ]
        missing = [f"not counted: {row.cannot}"] if row.task is None else []
        rows.append((*line, worst, "; ".join([*why, *missing, *([row.note] if row.note else [])])))
    columns, rows = _filled([*columns, "verdict", "why"], rows, keep=("row", "verdict"))
    return columns, rows


def _digits(c: Compared) -> str:
    assert c.computed is not None
    digits = (
        1
        if c.published is None
        else max(1, -_exponent(unit(c.published)) + (0 if unit(c.published) < 1 else 1))
    )
    text = f"{c.computed:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _exponent(x: float) -> int:
    import math

    return round(math.log10(x))


def _filled(
    columns: Sequence[str], rows: Sequence[tuple[str, ...]], keep: Sequence[str]
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Leave out columns without a word; a "computed" column goes with the one before it."""
    filled = [any(row[k] for row in rows) for k in range(len(columns))]
    used = [
        k
        for k, name in enumerate(columns)
        if filled[k] or name in keep or (name == "computed" and filled[k - 1])
    ]
    return [columns[k] for k in used], [tuple(row[k] for k in used) for row in rows]


def markdown(
    table: Table, columns: Sequence[str], rows: Sequence[Sequence[str]], more: Sequence[str] = ()
) -> str:
    """Return a table as Markdown with its title, source and protocol."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    head = [f"# {table.name}: {table.title}", "", *prose(table), *more, ""]
    return "\n".join([*head, line(columns), line(["---"] * len(columns)), *map(line, rows)]) + "\n"


def prose(table: Table) -> list[str]:
    """Return what a reader must know of a table beside its rows."""
    said = [f"Source: {table.source}."]
    said += [f"Published protocol: {table.protocol}"] if table.protocol else []
    said += [ASSIGNED] if table.assigned else []
    if table.folds:
        said.append(
            f"Ours: validation accuracy of {table.folds}-fold cross-validation on "
            "training and validation part; the test part is left alone."
        )
    return said


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return results as plain values."""
    return [_plain(r) for r in results]


def _plain(r: Result) -> dict[str, Any]:
    row = r.row
    ours = {k: {"mean": m.mean, "sd": m.sd, "values": list(m.values)} for k, m in r.ours.items()}
    runs = zip(r.paths, r.states, strict=True)
    return {
        "row": row.name,
        "label": row.label,
        "task": row.task,
        "settings": list(row.settings),
        "sees": row.sees,
        "published_sees": row.published_sees,
        "stands_for": row.stands_for,
        "at": dict(row.at),
        "published": {name: value(text) for name, text in r.published.items()},
        "ours": ours,
        "difference": r.difference,
        "interval_ours": r.interval("ours"),
        "interval_published": r.interval("published"),
        "simulated": r.simulated,
        "protocol": r.protocol,
        "status": r.status,
        "cannot": r.cannot,
        "runs": [{"path": str(p), "state": s.kind, "message": s.message} for p, s in runs],
        "note": row.note,
    }
