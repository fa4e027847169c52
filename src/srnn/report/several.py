"""Several runs side by side: grouped by settings, mean ± sd over seeds, accuracy against energy,
learning together.
"""

from __future__ import annotations

import os
import statistics
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from srnn import analysis
from srnn._check import ConfigError
from srnn.papers.jobs import key
from srnn.report import figures, single
from srnn.report.page import MISSING, Grid, Picture, Section, Words
from srnn.report.pictures import percent
from srnn.report.read import Read, moved
from srnn.report.svg import inline
from srnn.tasks.objective import PerStep

LONG = 44
"""Letters of a label in a figure."""


@dataclass(frozen=True)
class Group:
    """Runs with the same settings and data, but the seed. settings: those by which it differs from
    the other groups of its task.
    """

    letter: str
    runs: tuple[Read, ...]
    settings: tuple[str, ...]

    @property
    def first(self) -> Read:
        """A run of it."""
        return self.runs[0]

    @property
    def done(self) -> list[dict[str, Any]]:
        """The results of those that are finished."""
        return [r.metrics for r in self.runs if r.metrics is not None]

    @property
    def name(self) -> str:
        """The task and what is special, in full."""
        return f"{self.letter}  {self.first.task.name}" + (
            f": {', '.join(self.settings)}" if self.settings else ""
        )

    @property
    def label(self) -> str:
        """The same as short as a figure needs it."""
        return self.name if len(self.name) <= LONG else f"{self.name[: LONG - 1]}…"

    def values(self, *path: str) -> list[float]:
        """Return a number of every finished run that has it."""
        found = []
        for m in self.done:
            value: Any = m
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            found += [] if value is None else [float(value)]
        return found


def groups_of(runs: Sequence[Read]) -> list[Group]:
    """Return the runs by task, settings, data and what they began with, in the order in which they
    were given.
    """
    found: dict[Any, list[Read]] = {}
    for r in runs:
        tested = None if r.metrics is None else r.part
        same = (
            r.task.name,
            key(r.task),
            r.run.stored()["data"].get("sha256"),
            r.run.checkpoint("start").exists(),
            tested or "unfinished",
        )
        found.setdefault(same, []).append(r)
    letters = [
        *string.ascii_uppercase,
        *(a + b for a in string.ascii_uppercase for b in string.ascii_uppercase),
    ]
    settings = [tuple(moved(those[0]) or ()) for those in found.values()]
    names = [those[0].task.name for those in found.values()]
    groups = []
    for k, those in enumerate(found.values()):
        others = [set(s) for s, name in zip(settings, names, strict=True) if name == names[k]]
        shared = set.intersection(*others) if len(others) > 1 else set()
        groups.append(
            Group(
                letters[k] if k < len(letters) else str(k),
                tuple(those),
                tuple(s for s in settings[k] if s not in shared),
            )
        )
    return groups


def sections(
    runs: Sequence[Read], out: Path | None
) -> tuple[list[Section], dict[str, Any], dict[str, Any]]:
    """Return the sections, the numbers and the figures of a comparison."""
    groups, drawn = groups_of(runs), dict[str, Any]()
    made = [Section("comparison", "Comparison", _table(groups))]
    fronts, points = _fronts(groups, drawn)
    made.append(Section("energy", "Accuracy against energy", fronts))
    made.append(Section("learning", "Learning", _learning(groups, drawn)))
    made.append(Section("runs", "Each run", _each(groups, out)))
    numbers = {
        "runs": [single.about(r) for r in runs],
        "groups": [_about(g) for g in groups],
        "fronts": points,
    }
    return made, numbers, drawn


def _about(g: Group) -> dict[str, Any]:
    return {
        "name": g.name,
        "task": g.first.task.name,
        "simulated": g.first.simulated,
        "seeds": [r.seed for r in g.runs],
        "settings": list(g.settings),
        **{"_".join(path): _stats(g.values(*path)) for path in _SHOWN},
    }


_SHOWN = (
    ("test_accuracy",),
    ("test_accuracy_labelled",),
    ("validation_accuracy",),
    ("firing_rate",),
    ("energy", "yin2021", "energy"),
    ("energy", "measured", "energy"),
    ("parameters",),
)


def _stats(values: Sequence[float]) -> dict[str, Any]:
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.mean(values) if values else None, "sd": sd, "n": len(values)}


def _spread(values: Sequence[float], form: str, scale: float = 1.0, unit: str = "") -> str:
    """Return mean ± sd, the sd with as many digits as the mean."""
    s = _stats(values)
    if s["mean"] is None:
        return "–"
    sd = "" if s["sd"] is None else f" ± {scale * s['sd']:{form}}"
    return f"{scale * s['mean']:{form}}{sd}{unit}"


def _table(groups: Sequence[Group]) -> list[Any]:
    rows, notes = [], []
    for g in groups:
        seeds = sorted({r.seed for r in g.runs})
        if len(seeds) < len(g.runs):
            notes.append(
                f"{g.letter}: {len(g.runs)} runs of {len(seeds)} seeds; the same seed "
                "twice is no second sample, the sd says too little."
            )
        unfinished = len(g.runs) - len(g.done)
        what = ("simulated data; " if g.first.simulated else "") + (
            f"{unfinished} not finished" if unfinished else _protocol(g)
        )
        spiking = any(g.first.spiking)
        rows.append(
            (
                g.name,
                f"n = {len(g.done)} ({', '.join(map(str, seeds))})",
                _spread(g.values("test_accuracy"), ".2f", 100, " %"),
                _spread(g.values("validation_accuracy"), ".2f", 100, " %"),
                _spread(g.values("firing_rate"), ".4f") if spiking else "no spikes",
                _spread(g.values("energy", "yin2021", "energy"), ",.1f"),
                _spread(g.values("energy", "measured", "energy"), ",.1f"),
                _spread(g.values("parameters"), ",.0f"),
                what,
            )
        )
    columns = (
        "group",
        "runs (seeds)",
        "test accuracy",
        "validation accuracy",
        "firing rate",
        "pJ/step, yin2021",
        "pJ/step, measured",
        "trained numbers",
        "protocol",
    )
    shared = [", ".join(sorted(set(moved(g.first) or ()) - set(g.settings))) for g in groups]
    same = dict.fromkeys(
        f"All groups of {g.first.task.name} also have: {s}."
        for g, s in zip(groups, shared, strict=True)
        if s
    )
    said = (
        "Mean ± sample sd over the finished runs of a group, – where there is no number. "
        "Energies are pJ per step."
    )
    return [
        Words(said),
        Grid("Runs with the same settings but the seed", columns, rows, frozenset(range(2, 8))),
        *(Words(t) for t in (*same, *notes)),
    ]


def _protocol(g: Group) -> str:
    m = g.done[0]
    per_step = isinstance(g.first.task.decode, PerStep)
    return (
        f"selected by {m['selected_by']}"
        + (", published convention" if per_step and m["published"] and "test_accuracy" in m else "")
        + ("" if "test_accuracy" in m else "; the test part was left alone")
    )


def _fronts(groups: Sequence[Group], drawn: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Draw accuracy against energy, one figure for the runs that were tested on the same
    recordings.
    """
    blocks: list[Any] = []
    numbers: dict[str, Any] = {}
    kinds: dict[Any, list[Group]] = {}
    for g in groups:
        if g.done:
            metric = "test_accuracy" if "test_accuracy" in g.done[0] else "validation_accuracy"
            kinds.setdefault(
                (g.first.task.name, g.first.run.stored()["data"].get("sha256"), metric), []
            ).append(g)
    for k, ((task, _, metric), those) in enumerate(kinds.items()):
        points = {
            g.label: (g.values("energy", "measured", "energy"), g.values(metric)) for g in those
        }
        what, simulated = f"{task}, {metric.replace('_', ' ')}", those[0].first.simulated
        if len(those) == 1:
            blocks.append(
                Words(
                    f"{what}: one group on these recordings, nothing to compare it with.",
                    MISSING,
                )
            )
            continue
        try:
            figure, found = analysis.pareto(
                points,
                energy="energy per step (pJ), rules measured",
                title=what,
                simulated=simulated,
            )
        except ConfigError as error:
            blocks.append(Words(f"{what}: {error}", MISSING))
            continue
        front = ", ".join(found["front"])
        says = f"{what}: on the front, cheapest first: {front}."
        blocks.append(
            Picture(
                inline(figure, f"fig-pareto-{k}", "Accuracy against energy", says),
                says + " Points are means over seeds, bars ± sd.",
            )
        )
        drawn[f"pareto-{k}"], numbers[what] = figure, found
    return blocks or [
        Words("No run is finished: there is neither accuracy nor energy to compare.", MISSING)
    ], numbers


def _learning(groups: Sequence[Group], drawn: dict[str, Any]) -> list[Any]:
    blocks: list[Any] = []
    for k, task in enumerate(dict.fromkeys(g.first.task.name for g in groups)):
        those = {
            g.label: [r.rows for r in g.runs if r.rows] for g in groups if g.first.task.name == task
        }
        if not (those := {label: rows for label, rows in those.items() if rows}):
            blocks.append(Words(f"{task}: no epoch was trained.", MISSING))
            continue
        simulated = next(g.first.simulated for g in groups if g.first.task.name == task)
        figure = figures.courses(those, simulated=simulated, title=task)
        ends = "; ".join(
            f"{label}: {percent(statistics.mean(rows[-1]['validation_accuracy'] for rows in each))}"
            for label, each in those.items()
        )
        says = f"{task}: validation accuracy at the end: {ends}."
        blocks.append(
            Picture(
                inline(figure, f"fig-learning-{k}", f"Learning curves, {task}", says),
                says + " A line a run.",
            )
        )
        drawn[f"learning-{k}"] = figure
    return blocks


def _each(groups: Sequence[Group], out: Path | None) -> list[Any]:
    rows, links = [], {}
    for g in groups:
        for r in g.runs:
            m, name = r.metrics or {}, str(r.run.path)
            own = r.run.path / "report.html"
            if out is not None and own.is_file() and own.resolve() != out.resolve():
                links[name] = quote(os.path.relpath(own.resolve(), out.resolve().parent))
            test, validation = (
                percent(m[k]) if k in m else "–" for k in ("test_accuracy", "validation_accuracy")
            )
            epoch = (
                f"{m['best_epoch']} of {m['epochs']}"
                if m
                else f"{len(r.rows)} of {r.task.epochs} done"
            )
            state = (
                r.state
                + (f": {r.message.splitlines()[0]}" if r.message else "")
                + (", simulated data" if r.simulated else "")
            )
            rows.append((name, g.letter, str(r.seed), test, validation, epoch, state))
    columns = (
        "run",
        "group",
        "seed",
        "test accuracy",
        "validation accuracy",
        "epoch selected",
        "state",
    )
    note = "A run whose folder holds report.html is linked; srnn report RUN writes it."
    return [Grid("Every run", columns, rows, frozenset(range(1, 6)), links), Words(note)]
