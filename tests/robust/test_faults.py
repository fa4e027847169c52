"""A try of each fault in benchmarks/faults.py: nothing is lost."""

from __future__ import annotations

import importlib

faults = importlib.import_module("benchmarks.faults")


def test_nothing_is_lost() -> None:
    said: list[str] = []
    rows = faults.measure(1, said.append)
    assert len(rows) == len(faults.FAULTS) == 12
    assert all(row["tries"] == 1 for row in rows)
    assert [row for row in rows if row["lost"]] == [], "\n".join(said)
