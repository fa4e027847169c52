"""What was measured before, on a machine whose run folders are gone: a JSON file beside the page of
claims, read and written again with it.

    {"<command of the part>": {"<row>": {
        "protocol": "…",
        "ours": {"accuracy": {"mean": 85.5, "sd": 0.5, "n": 3}, …}}}}

A part with other rows, seeds or settings has another command, so that numbers never stand under
settings they were not measured with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from srnn._check import RunError
from srnn.papers.campaign import Found
from srnn.papers.results import Measured, Result

Record = dict[str, dict[str, dict[str, Any]]]
"""By the command of a part, then by row."""

_KEPT = ("accuracy", "rate", "energy", "energy_measured")


def read(path: Path) -> Record:
    """Return the record, {} where there is none. Raises `RunError` where the file is damaged."""
    if not path.exists():
        return {}
    try:
        record: Record = json.loads(path.read_text())
        for of_part in record.values():
            for entry in of_part.values():
                str(entry["protocol"]), _measured(entry)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(
            f"{path} is no record of measurements ({type(error).__name__}: {error}). "
            "Restore it, or delete it to start anew."
        ) from error
    return record


def rows(record: Record) -> set[tuple[str, str]]:
    """Return what is recorded: (command of a part, row)."""
    return {(command, row) for command, of_part in record.items() for row in of_part}


def recalled(found: Sequence[Found], record: Record) -> list[Found]:
    """Return the results, those of the record in place of rows of which fewer runs are here."""
    return [
        (part, table, [_recalled(r, record.get(part.command, {}).get(r.row.name)) for r in results])
        for part, table, results in found
    ]


def _recalled(result: Result, entry: dict[str, Any] | None) -> Result:
    if entry is None:
        return result
    ours = _measured(entry)
    here = result.ours["accuracy"].n if result.ours else 0
    if here >= ours["accuracy"].n:
        return result
    return replace(result, ours=ours, protocol=entry["protocol"], recorded=ours["accuracy"].n)


def _measured(entry: dict[str, Any]) -> dict[str, Measured]:
    return {
        name: Measured(float(m["mean"]), None if m["sd"] is None else float(m["sd"]), int(m["n"]))
        for name, m in entry["ours"].items()
    }


def text(found: Sequence[Found]) -> str:
    """Return what these results say as it is recorded: of rows whose runs are all known."""
    record: Record = {}
    for part, _, results in found:
        of_part = {
            r.row.name: _entry(r) for r in results if r.ours and r.ours["accuracy"].n >= r.seeds
        }
        if of_part:
            record[part.command] = of_part
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def _entry(result: Result) -> dict[str, Any]:
    ours = {
        name: {"mean": _digits(m.mean), "sd": None if m.sd is None else _digits(m.sd), "n": m.n}
        for name in _KEPT
        if (m := result.ours.get(name))
    }
    return {"protocol": result.protocol, "ours": ours}


def _digits(number: float) -> float:
    """Return a number with six digits: more than a page shows."""
    return float(f"{number:.6g}")
