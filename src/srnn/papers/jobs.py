"""Runs that several tables share: one folder for each task as resolved, in it one run a seed.

    RUNS/<task>/<key>/seed0      the run folder of `srnn train`
    RUNS/<task>/<key>/seed0.log  what its process said
    RUNS/<task>/<key>/rows.json  which rows of which tables it serves, and their settings

The key is drawn from every setting that is not at the default of its class, so that a setting added
to the package later moves no run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from srnn._check import DataError, RunError
from srnn.datasets import catalogue
from srnn.datasets._fetch import data_root
from srnn.papers.table import Row, Table
from srnn.tasks.settings import describe
from srnn.tasks.task import Task
from srnn.training.runs import DIVERGED, Run, write_atomically

_BESIDE = {"cache_mb", "checkpoint_seconds"}
"""Settings of a task that move no result."""


@dataclass(frozen=True)
class Job:
    """A run that a row wants: task with settings, seed, fold (None: no folds), and its folder."""

    row: str
    task: Task
    settings: tuple[str, ...]
    seed: int
    fold: int | None
    path: Path

    @property
    def title(self) -> str:
        """What a person reads of it."""
        return f"{self.row} seed {self.seed}" + ("" if self.fold is None else f" fold {self.fold}")


@dataclass(frozen=True)
class State:
    """How far a run is. other: a finished run of settings that have changed since. message: the
    error, or where it is.
    """

    kind: Literal["finished", "stopped", "running", "diverged", "failed", "other", "none"]
    message: str = ""
    metrics: dict[str, Any] | None = None


def jobs_of(
    table: Table, row: Row, runs: Path, seeds: Sequence[int], more: Sequence[str] = ()
) -> list[Job]:
    """Return the runs a row wants. Raises `ConfigError` for settings that do not fit its task."""
    if row.task is None or row.cannot:
        return []
    jobs = []
    for seed in seeds:
        for fold in range(table.folds) if table.folds else (None,):
            settings = (
                *row.settings,
                *more,
                *(() if fold is None else (f"fold=[{fold},{table.folds}]",)),
            )
            task = row.resolved(settings[len(row.settings) :])
            jobs.append(
                Job(
                    row.name,
                    task,
                    settings,
                    seed,
                    fold,
                    runs / task.name / key(task) / f"seed{seed}",
                )
            )
    return jobs


def key(task: Task) -> str:
    """Return the name of the folder of a task: the same settings, the same name."""
    text = json.dumps(_moved(task), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _moved(node: Any) -> Any:
    """Describe what is not at the default of its class."""
    if not is_dataclass(node) or isinstance(node, type):
        return describe(node)
    moved: dict[str, Any] = {"is": type(node).__name__}
    for f in fields(node):
        mine = getattr(node, f.name)
        usual = f.default
        if f.default_factory is not MISSING:  # then there is no other default
            usual = f.default_factory()
        beside = isinstance(node, Task) and (f.name in Task.locked or f.name in _BESIDE)
        if not beside and (usual is MISSING or mine != usual):
            moved[f.name] = _moved(mine)
    return moved


def state_of(job: Job) -> State:
    """Return how far a run is. Raises `RunError` for a folder that is damaged."""
    run = Run(job.path)
    if not (job.path / "task.json").exists():
        return State("none")
    if changed := _changed(run.stored()["resolved"], describe(job.task)):
        fix = f"Move {job.path} away to train it anew."
        return State("other", f"that run had other settings ({'; '.join(changed[:3])}). {fix}")
    if (job.path / "metrics.json").exists():
        return State("finished", metrics=run.read("metrics.json"))
    if (job.path / DIVERGED).exists():
        return State("diverged", run.read(DIVERGED)["message"])
    done = f"{len(run.rows())} of {job.task.epochs} epochs"
    return State("running" if run.in_use() else "stopped", done)


def _changed(stored: Any, now: Any, path: str = "") -> list[str]:
    """Return the settings of a stored run that are not those of now; one that the run did not know
    yet is as it always was.
    """
    if not (isinstance(stored, dict) and isinstance(now, dict)):
        return [] if stored == now else [f"{path}: {stored!r}, now {now!r}"]
    found = []
    for name, old in stored.items():
        if path or (name not in Task.locked and name not in _BESIDE):
            found += _changed(old, now.get(name), f"{path}.{name}" if path else name)
    return found


def write_index(table: Table, jobs: Iterable[Job]) -> None:
    """Note beside each run which rows it serves."""
    for job in jobs:
        path = job.path.parent / "rows.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{path.parent} cannot be created: {error.strerror}. Choose a folder "
                "you may write to with --runs."
            ) from error
        try:
            known: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            known = {}
        entry = {"task": job.task.name, "settings": list(job.settings)}
        name = f"{table.name}/{job.row}"
        if known.get(name) != entry:
            write_atomically(path, (json.dumps({**known, name: entry}, indent=1) + "\n").encode())


class Presence:
    """Whether the data of a task are here: asked once for each kind of data."""

    def __init__(self, data_dir: str | Path | None) -> None:
        self.data_dir, self._known = data_dir, dict[str, str]()

    def missing(self, task: Task) -> str:
        """Return the loader's own words where the data of a task are not here, else nothing.

        A glance: damage shows when it is trained.
        """
        kind = json.dumps(describe(task.data), sort_keys=True)
        if kind not in self._known:
            self._known[kind] = self._ask(task)
        return self._known[kind]

    def note(self, task: Task, message: str) -> None:
        """Remember what a loader said in another process."""
        self._known[json.dumps(describe(task.data), sort_keys=True)] = message

    def _ask(self, task: Task) -> str:
        name = getattr(task.data, "dataset", None)
        if name is None or catalogue.present(name, data_root(self.data_dir)):
            return ""
        try:
            task.data.load(self.data_dir)
        except DataError as error:
            return str(error)
        return ""
