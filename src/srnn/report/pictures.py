"""The figures of a run: the one place that decides what is drawn, and says why
something cannot be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from srnn import analysis
from srnn._check import ConfigError
from srnn.report import figures
from srnn.report.read import Read
from srnn.report.watch import Watched
from srnn.tasks.objective import PerStep

BINS = 60
"""Points of the curve of a task with a label a step, each the mean over a stretch of time."""


@dataclass(frozen=True)
class Shown:
    """A figure. numbers: that it shows; says: the same in words, for those who do not see it;
    caption: what stands under it.
    """

    figure: Any
    numbers: dict[str, Any]
    title: str
    says: str
    caption: str


class NotShown(Exception):  # noqa: N818 (nothing went wrong)
    """Why a figure cannot be drawn, in a sentence."""


def draw(r: Read, w: Watched | None) -> dict[str, Shown | str]:
    """Return the figures of a run by name, or the reason why there is none."""
    found: dict[str, Shown | str] = {}
    for name, make in FIGURES.items():
        try:
            found[name] = make(r, w)
        except NotShown as reason:
            found[name] = str(reason)
    return found


def _learning(r: Read, w: Watched | None) -> Shown:
    if not r.rows:
        raise NotShown(
            "log.jsonl holds no epoch: no learning curves."
            if r.task.epochs
            else "Nothing was trained: no learning curves."
        )
    first, last = r.rows[0], r.rows[-1]
    best = max(r.rows, key=lambda row: row["validation_accuracy"])
    says = (
        f"Validation accuracy goes from {percent(first['validation_accuracy'])} in epoch 1 "
        f"to {percent(last['validation_accuracy'])} in epoch "
        f"{last['epoch']}; its highest is {percent(best['validation_accuracy'])} in epoch "
        f"{best['epoch']}. Training loss goes from "
        f"{first['loss']:.4g} to {last['loss']:.4g}."
    )
    figure = figures.learning(r.rows, spiking=r.spiking, simulated=r.simulated)
    keys = ("loss", "train_accuracy", "validation_loss", "validation_accuracy", "firing_rates")
    return Shown(
        figure, {k: [row[k] for row in r.rows] for k in keys}, "Learning curves", says, says
    )


def _seen(r: Read, w: Watched | None) -> Watched:
    if w is not None:
        return w
    if r.net is None:
        raise NotShown("The run has no checkpoint yet, so there is no network to look at.")
    raise NotShown(f"The data of the run are not at hand, and this needs them: {r.why}")


def _anytime(r: Read, given: Watched | None) -> Shown:
    w = _seen(r, given)
    who, curve, step = f"seed {r.seed}", w.curve, step_seconds(r)
    each = isinstance(r.task.decode, PerStep)
    if each:  # many single steps: means over stretches of time
        wide = -(-len(curve) // BINS)
        padded = np.pad(curve, (0, -len(curve) % wide), constant_values=np.nan).reshape(-1, wide)
        curve, step = (
            np.array([np.nanmean(row) if np.isfinite(row).any() else np.nan for row in padded]),
            None if step is None else wide * step,
        )
    known = np.flatnonzero(np.isfinite(curve))
    if not known.size:
        raise NotShown("No recording that was looked at has a label.")
    curve = np.interp(np.arange(len(curve)), known, curve[known])
    figure, numbers = analysis.anytime(
        {who: curve}, step_seconds=step, chance=1 / len(r.task.classes), simulated=r.simulated
    )
    settled = int(numbers[who]["settled_step"])
    part = (
        f"{w.used:,} of the {w.there:,} recordings of the {r.part} part"
        if w.used < w.there
        else f"all {w.there:,} recordings of the {r.part} part"
    )
    end = percent(float(curve[-1]))
    if each:
        says = (
            "Fraction of right decisions at each time since the start of a recording, over "
            f"{part}, in stretches of {wide} steps."
        )
    else:
        says = (
            f"Accuracy if the decision were taken at each step, over {part}: it ends at "
            f"{end}, and is within one point of that from "
            f"step {settled:,} of {len(curve):,} on{_lasting(settled, step)}. A recording "
            "that has ended keeps its decision."
        )
    return Shown(
        figure,
        {
            "curve": analysis.style.plain(curve),
            "step_seconds": step,
            "recordings": w.used,
            "of": w.there,
            "accuracy": w.accuracy,
            "settled_step": settled,
        },
        "Any-time accuracy",
        says,
        says + " " + _agreement(r, w),
    )


def step_seconds(r: Read) -> float | None:
    """Return the duration of a step; None where steps are no time, as the pixels of an image."""
    return None if r.task.step_seconds == 1 else r.task.step_seconds


def _lasting(steps: int, step: float | None) -> str:
    return "" if step is None else f" ({steps * step:.3g} s)"


def _agreement(r: Read, w: Watched) -> str:
    """Say how what was looked at relates to the result on record."""
    if r.metrics is None:
        return (
            f"Accuracy on these recordings with the best checkpoint so far: {percent(w.accuracy)}."
        )
    kept = r.metrics[f"{r.part}_accuracy"]
    if w.used < w.there:
        return (
            f"Accuracy on these recordings: {percent(w.accuracy)}; on the whole part, in "
            f"metrics.json: {percent(kept)}."
        )
    if abs(kept - w.accuracy) < 1e-9:
        return (
            "Evaluated anew for this figure, the accuracy is that of metrics.json, "
            f"{percent(kept)}."
        )
    return (
        f"Evaluated anew for this figure, the accuracy is {percent(w.accuracy)}; metrics.json "
        f"has {percent(kept)}, from another device or version."
    )


def _recording(r: Read, given: Watched | None) -> Shown:
    w = _seen(r, given)
    s, label = w.sample, np.asarray(w.sample.label)
    figure = figures.recording(
        s,
        r.task.classes,
        predicted=w.predicted,
        confidence=w.confidence,
        spikes=w.spikes,
        simulated=r.simulated,
        title=s.name,
    )
    counts = w.predicted >= 0
    emitted = [int(np.count_nonzero(layer)) for layer in w.spikes]
    said = (
        f"{s.name}, the first recording of the {r.part} part: {len(s.signal):,} "
        f"steps{_lasting(len(s.signal), step_seconds(r))}"
    )
    said += f", class {r.task.classes[int(label)]}" if not label.ndim and label >= 0 else ""
    said += (
        ". Spikes emitted: "
        f"{', '.join(f'{n:,} by layer {k}' for k, n in zip(_spiking(r), emitted, strict=True))}."
        if emitted
        else ". Nothing spikes."
    )
    final = r.task.classes[int(w.predicted[counts][-1])] if counts.any() else "none"
    if label.ndim:
        labelled = counts & (label >= 0)
        right = float((w.predicted == label)[labelled].mean()) if labelled.any() else None
        said += (
            (f" Of its labelled steps that count {percent(right)} are decided right.")
            if right is not None
            else ""
        )
    else:
        said += f" Decision at the end: {final}, confidence {float(w.confidence[-1]):.2f}."
    shown = "From above: what the network is given, the spikes of each layer"
    caption = (
        f"{said} {shown if emitted else 'From above: what the network is given'}, what it "
        "decides at each step, and how sure it is."
    )
    return Shown(
        figure,
        {"name": s.name, "steps": len(s.signal), "spikes": emitted, "decision": final},
        "One recording",
        said,
        caption,
    )


def _spiking(r: Read) -> list[int]:
    return [k + 1 for k, spiking in enumerate(r.spiking) if spiking]


def _firing(r: Read, given: Watched | None) -> Shown:
    if not any(r.spiking):
        raise NotShown("No layer of this network spikes: there are no firing rates.")
    w = _seen(r, given)
    names = [f"layer {k}" for k in _spiking(r)]
    figure, numbers = analysis.activity(
        w.trace, names, step_seconds=step_seconds(r), simulated=r.simulated
    )
    count = len(w.trace.lengths)
    says = (
        f"Spikes over time of {count:,} recordings of the {r.part} part: "
        f"{numbers['sops_per_step']:.3g} spikes a step and "
        f"{numbers['sops_per_sample']:,.0f} a recording by all layers together."
    )
    return Shown(figure, numbers, "Spikes over time", says, says)


def _constants(r: Read, w: Watched | None) -> Shown:
    if r.net is None or r.before is None:
        raise NotShown("The run has no checkpoint yet, so there is no network to look at.")
    try:
        figure, numbers = analysis.time_constants(
            r.before, r.net, step_seconds=step_seconds(r), simulated=r.simulated
        )
    except ConfigError:
        raise NotShown(
            "This network has no time constants: none of its layers has a constant called tau."
        ) from None
    told = [
        f"{name} of {layer}: mean {np.mean(c['before']):.3g} → {np.mean(c['after']):.3g}"
        for layer, cs in numbers.items()
        for name, c in cs.items()
    ]
    start = (
        "The run began with given weights."
        if r.run.checkpoint("start").exists()
        else ("Before training: drawn again from the seed.")
    )
    unit = "" if step_seconds(r) is None else f" (one is {1000 * r.task.step_seconds:.3g} ms)"
    says = f"Time constants in steps{unit}. {'; '.join(told)}."
    return Shown(
        figure, numbers, "Time constants before and after training", says, f"{says} {start}"
    )


FIGURES: dict[str, Callable[[Read, Watched | None], Shown]] = {
    "learning": _learning,
    "anytime": _anytime,
    "recording": _recording,
    "firing": _firing,
    "constants": _constants,
}


def percent(x: float) -> str:
    """Return a fraction as a reader sees it."""
    return f"{100 * x:.2f} %"
