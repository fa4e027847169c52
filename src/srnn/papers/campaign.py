"""What we measured: parts of the papers' tables, on data that anyone can get, with the settings
that make them affordable on two cores.

`srnn reproduce claims` trains what is missing of it and writes the page "What the papers claim and
what we measure".
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from srnn import papers
from srnn.papers.claims import Claim, judge, percent, plain, tally
from srnn.papers.jobs import Job, Presence, State, jobs_of
from srnn.papers.report import sees
from srnn.papers.results import Result, read
from srnn.papers.table import Table


@dataclass(frozen=True)
class Part:
    """Rows of a table that we run. on: tasks; rows: patterns; settings: what holds for all of them;
    why: what a reader must know of them.
    """

    table: str
    on: tuple[str, ...]
    settings: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    why: str = ""

    @property
    def rows_of(self) -> Table:
        """The table with these rows."""
        return papers.load(self.table).only(self.rows, self.on)

    @property
    def command(self) -> str:
        """What runs it by itself."""
        words = [
            "srnn reproduce",
            self.table,
            "--on",
            *self.on,
            *(["--rows", *(f"'{r}'" for r in self.rows)] if self.rows else []),
        ]
        words += ["--seeds", *map(str, self.seeds), *(f"--set {s}" for s in self.settings)]
        return " ".join(words)


Found = tuple[Part, Table, list[Result]]
"""A part, its rows, and what their runs say."""


def jobs(
    parts: Sequence[Part], runs: Path, known: Container[tuple[str, str]] = ()
) -> list[tuple[Table, list[Job]]]:
    """Return the runs of every part, a seed of every row before the next seed. known: (command of a
    part, row) that need no run.
    """
    found = []
    for part in parts:
        table = part.rows_of
        of_rows = [
            jobs_of(table, row, runs, part.seeds, part.settings)
            for row in table.rows
            if (part.command, row.name) not in known
        ]
        found.append((table, [job for k in zip_longest(*of_rows) for job in k if job is not None]))
    return found


def results(
    parts: Sequence[Part], runs: Path, presence: Presence, failed: Mapping[Path, State]
) -> list[Found]:
    """Return what the finished runs of every part say."""
    return [
        (
            part,
            table := part.rows_of,
            read(table, runs, part.seeds, part.settings, presence, failed),
        )
        for part in parts
    ]


def page(claims: Sequence[Claim], found: Sequence[Found]) -> str:
    """Return the page: every claim with its verdicts, then every table with what was run."""
    by_row: dict[tuple[str, str], Result] = {}
    for _, table, rows in found:
        for r in rows:
            if r.ours or (table.name, r.row.name) not in by_row:
                by_row[table.name, r.row.name] = r
    return (
        "\n".join(
            [*_HEAD, *_claims(claims, by_row), "## What was run", "", *_tables(found)]
        ).rstrip()
        + "\n"
    )


_HEAD = (
    "# What the papers claim and what we measure",
    "",
    "Written by `srnn reproduce claims`, from runs of that command; nothing here is typed "
    "in. What was measured is kept in `claims.json` beside",
    "this page, for run folders do not last; with another `--out` everything is measured "
    "anew. It trains on data that anyone can get: the",
    "encoded ECG of the QT Database, spoken digits through a cochlea (`fsdd_spikes`, in "
    "place of SHD), a folder of spoken commands (in place",
    "of Speech Commands). What the papers claim of a data set may not hold of its "
    "stand-in; such a row has no published number beside it.",
    "",
    "Runs are short, so that all of it fits on two cores: far fewer epochs than the papers "
    "have, the same for the rows that are compared, and",
    "settings chosen on validation parts. A checkpoint is selected on the validation part "
    "and evaluated once on the test part; ± is the standard",
    "deviation over seeds. A comparison *holds* where the means differ by more than twice "
    "the standard error of their difference; that one",
    "network is as good as another holds where it is at most as far behind as is claimed.",
    "",
)


def _claims(claims: Sequence[Claim], by_row: Mapping[tuple[str, str], Result]) -> Iterator[str]:
    yield from ("## The claims", "", "| claim | source | what we see |", "|---|---|---|")
    details: list[str] = []
    for n, claim in enumerate(claims, 1):
        verdicts = [judge(c, by_row) for c in claim.comparisons]
        yield f"| {n}. {claim.text} | {claim.source} | **{tally(verdicts)}** |"
        details += ["", f"**{n}. {claim.text}**", ""]
        details += [
            f"- {v.above} against {v.below}: *{v.kind}*{', ' + v.said if v.said else ''}"
            for v in verdicts
        ]
    yield from (*details, "")


def _tables(found: Sequence[Found]) -> Iterator[str]:
    for part, table, rows in found:
        yield from (
            f"### {table.name}, {', '.join(part.on)}: {table.title}",
            "",
            f"`{part.command}`",
            "",
        )
        if part.why:
            yield from (part.why, "")
        protocols = sorted({r.protocol for r in rows if r.protocol})
        if protocols:
            yield from ("; ".join(protocols) + ".", "")
        yield (
            "| row | sees | published | ours | firing rate | pJ/step, published rules | "
            "pJ/step, measured | runs |"
        )
        yield "|---|---|---|---|---|---|---|---|"
        for r in rows:
            printed = r.published.get("accuracy")
            cells = [
                r.row.label,
                sees(r.row),
                f"{printed} %" if printed else "",
                *(_cell(r, name) for name in ("accuracy", "rate")),
                *(_cell(r, name) for name in ("energy", "energy_measured")),
                r.status,
            ]
            yield (
                "| "
                + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
                + " |"
            )
        yield ""


def _cell(r: Result, name: str) -> str:
    m = r.ours.get(name)
    if m is None:
        return ""
    if name == "accuracy":
        return percent(m)
    return f"{m.mean:,.0f}" if name.startswith("energy") else plain(m)
