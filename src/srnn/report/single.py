"""The sections of one run."""

from __future__ import annotations

from typing import Any

from srnn.report import costs, origin, outcome
from srnn.report.page import MISSING, Picture, Section, Words
from srnn.report.pictures import Shown
from srnn.report.read import Read, moved
from srnn.report.svg import inline

Numbers = dict[str, Any]


def sections(r: Read, drawn: dict[str, Shown | str]) -> tuple[list[Section], Numbers]:
    """Return the sections of a run and the numbers they show."""
    counted, charged = costs.cost(r)
    rates = [picture(drawn, "firing")] if any(r.spiking) else []
    made = [
        Section("result", "Result", [*outcome.result(r), *outcome.compressed(r)]),
        Section("learning", "Learning", [picture(drawn, "learning")]),
        Section("classes", "Classes", outcome.classes(r)),
        Section("time", "Decisions over time", [picture(drawn, "anytime")]),
        Section("recording", "One recording", [picture(drawn, "recording")]),
        Section("firing", "Firing rates", [*outcome.rates(r), *rates]),
        Section("constants", "Time constants", [picture(drawn, "constants")]),
        Section("energy", "Operations and energy", counted),
        Section("settings", "Settings", origin.settings(r)),
        Section("environment", "Environment", origin.environment(r)),
        Section("again", "Run it again", origin.again(r)),
    ]
    return made, {
        **about(r),
        "costs": charged,
        "settings": moved(r),
        "command": origin.command(r),
        "figures": {k: s.numbers for k, s in drawn.items() if isinstance(s, Shown)},
        "left_out": {k: s for k, s in drawn.items() if isinstance(s, str)},
    }


def about(r: Read) -> Numbers:
    """Return what a run is and its headline numbers; None where they are not known."""
    m = r.metrics or {}
    accuracies = ("test_accuracy", "test_accuracy_labelled", "validation_accuracy")
    shown = (*accuracies, "firing_rate", "firing_rates", "parameters")
    return {
        "run": str(r.run.path),
        "task": r.task.name,
        "seed": r.seed,
        "simulated": r.simulated,
        "state": r.state,
        "epochs": len(r.rows),
        "of_epochs": r.task.epochs,
        "selected_by": r.task.selected_by,
        "best_epoch": m.get("best_epoch"),
        "part": r.part if r.metrics else None,
        **{k: m.get(k) for k in shown},
        "energy": {name: c["energy"] for name, c in m.get("energy", {}).items()},
        "published": m.get("published", []),
    }


def picture(drawn: dict[str, Shown | str], key: str) -> Picture | Words:
    """Return a figure as the page holds it, or why there is none."""
    s = drawn[key]
    if isinstance(s, str):
        return Words(s, MISSING)
    return Picture(inline(s.figure, f"fig-{key}", s.title, s.says), s.caption)


def lead(r: Read) -> str:
    """Say in a sentence what this is, and how far."""
    done = f"{len(r.rows)} of {r.task.epochs} epochs"
    states = {
        "finished": f"Finished after {len(r.rows)} epochs.",
        "running": f"Not finished: it is being trained, {done} are done.",
        "stopped": f"Not finished: it was stopped after {done}.",
        "diverged": f"Diverged after {done}: {r.message}",
    }
    return f"{r.task.summary}. {states[r.state]} Folder: {r.run.path}"


def marks(r: Read) -> list[str]:
    """Return what nobody may overlook."""
    return [
        *(["SIMULATED DATA"] if r.simulated else []),
        *(["NOT FINISHED"] if r.state in ("running", "stopped") else []),
        *(["DIVERGED"] if r.state == "diverged" else []),
    ]
