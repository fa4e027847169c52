"""What the finished runs of a table say, beside what was published."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srnn import metrics
from srnn.papers.jobs import Job, Presence, State, jobs_of, state_of
from srnn.papers.table import Row, Table, value
from srnn.tasks.objective import PerStep

PERCENT = ("accuracy", "accuracy_labelled", "accuracy_last_class_mean", "accuracy_core_39")
PER_STEP = "not applicable: steps of a recording are not independent"


@dataclass(frozen=True)
class Measured:
    """A number over n runs. values: of each run, where it is still known."""

    mean: float
    sd: float | None
    n: int
    values: tuple[float, ...] = ()

    @staticmethod
    def of(values: Sequence[float]) -> Measured:
        """Return mean and standard deviation (None of a single run)."""
        return Measured(
            statistics.mean(values),
            statistics.stdev(values) if len(values) > 1 else None,
            len(values),
            tuple(values),
        )


@dataclass(frozen=True)
class Result:
    """A row with its runs. cannot: why it cannot be run here. simulated: its data is, so that
    nothing published stands beside it.

    recorded: of so many runs the numbers are known (`srnn.papers.record`), while their folders are
    not here.
    """

    row: Row
    states: tuple[State, ...]
    seeds: int
    cannot: str = ""
    ours: Mapping[str, Measured] = field(default_factory=dict)
    simulated: bool = False
    protocol: str = ""
    recordings: int | None = None
    per_step: bool = False
    paths: tuple[Path, ...] = ()
    recorded: int = 0

    @property
    def published(self) -> Mapping[str, str]:
        """What may stand beside our numbers."""
        return {} if self.simulated else self.row.published

    @property
    def difference(self) -> float | None:
        """Ours minus published accuracy, in points of a percentage."""
        if "accuracy" not in self.published or "accuracy" not in self.ours:
            return None
        return self.ours["accuracy"].mean - value(self.published["accuracy"])

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """How many runs are how far, and what the first of each kind says: ("2 diverged", "Epoch 3
        …").
        """
        found = []
        names = {"finished": "run", "other": "of other settings", "none": "to train"}
        for kind in ("finished", "diverged", "failed", "other", "running", "stopped", "none"):
            those = [s for s in self.states if s.kind == kind]
            if those:
                word = names.get(kind, kind) + (
                    "s" if kind == "finished" and len(those) > 1 else ""
                )
                found.append((f"{len(those)} {word}", those[0].message))
        return found

    @property
    def status(self) -> str:
        """How many runs there are, and what became of the others."""
        if self.recorded:
            return f"{self.recorded} run{'s' * (self.recorded > 1)}"
        if self.cannot:
            return f"cannot run here: {self.cannot}"
        return ", ".join(f"{what} ({message})" if message else what for what, message in self.kinds)

    def interval(self, of: str) -> tuple[float, float] | str:
        """Return the 95 % credible interval of "ours" (mean over runs) or the "published" accuracy,
        in %; or why there is none.
        """
        if self.per_step:
            return PER_STEP
        known = self.published.get("accuracy") if of == "published" else None
        accuracy = None if known is None else value(known)
        if of == "ours" and "accuracy" in self.ours:
            accuracy = self.ours["accuracy"].mean
        n = self.recordings
        if of == "published" and "recordings" in self.published:
            n = int(value(self.published["recordings"]))
        if accuracy is None or n is None:
            return ""
        low, high = metrics.credible_interval(round(accuracy / 100 * n), n)
        return 100 * low, 100 * high


def read(
    table: Table,
    runs: Path,
    seeds: Sequence[int],
    more: Sequence[str],
    presence: Presence,
    failed: Mapping[Path, State] | None = None,
) -> list[Result]:
    """Return a table's results from the run folders. failed: what ended with an error just now."""
    return [
        _result(table, row, jobs_of(table, row, runs, seeds, more), presence, failed or {})
        for row in table.rows
    ]


def _result(
    table: Table, row: Row, jobs: Sequence[Job], presence: Presence, failed: Mapping[Path, State]
) -> Result:
    if not jobs:
        return Result(row, (), 0, row.cannot)
    states = tuple(failed.get(job.path) or state_of(job) for job in jobs)
    finished = [s.metrics for s in states if s.metrics is not None]
    cannot = presence.missing(jobs[0].task) if all(s.kind == "none" for s in states) else ""
    task = jobs[0].task
    found: dict[str, Any] = {
        "simulated": task.data.simulated,
        "paths": tuple(job.path for job in jobs),
    }
    if finished:
        found |= {
            "ours": _numbers(table, row, finished),
            "simulated": any(m["simulated"] for m in finished),
            "protocol": _protocol(table, finished),
            "recordings": sum(m["validation_recordings"] for m in finished)
            if table.folds
            else finished[0]["test_recordings"],
            "per_step": isinstance(task.decode, PerStep),
        }
    return Result(row, states, len(jobs), cannot, **found)


def _numbers(table: Table, row: Row, finished: Sequence[dict[str, Any]]) -> dict[str, Measured]:
    numbers = {"accuracy": [100 * m[table.metric] for m in finished]}
    for name in {n for n in row.published if n.startswith("accuracy_")} | {"accuracy_labelled"}:
        if all(f"test_{name}" in m for m in finished):
            numbers[name] = [100 * m[f"test_{name}"] for m in finished]
    numbers["parameters"] = [float(m["parameters"]) for m in finished]
    for name, key in (
        ("rate", "firing_rate"),
        ("spikes_per_step", "sops_per_step"),
        ("spikes_per_sample", "sops_per_sample"),
    ):
        if all(key in m for m in finished):
            numbers[name] = [m[key] for m in finished]
    for rules in (table.rules, "measured"):
        if all(rules in m.get("energy", {}) for m in finished):
            end = "" if rules == table.rules else "_measured"
            for what in ("mac", "ac", "energy"):
                numbers[what + end] = [m["energy"][rules][what] for m in finished]
    return {name: Measured.of(values) for name, values in numbers.items()}


def _protocol(table: Table, finished: Sequence[dict[str, Any]]) -> str:
    """Say how our numbers came about: how many runs, what selected the checkpoint,
    how many epochs.
    """
    epochs = sorted({m["epochs"] for m in finished})
    over = (
        f"{epochs[0]} epoch{'s' * (epochs[0] > 1)}"
        if len(epochs) == 1
        else f"{epochs[0]}…{epochs[-1]} epochs"
    )
    what = f"folds of {table.folds}" if table.folds else "seeds" if len(finished) > 1 else "seed"
    selected = ", ".join(sorted({m["selected_by"] for m in finished}))
    return f"n = {len(finished)} {what}, {over}, selected by {selected}"
