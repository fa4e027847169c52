"""What a network does as a recording goes by: the accuracy of a decision taken at each step, spike
probabilities, spikes emitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from srnn._check import ConfigError, ShapeError, check_instance
from srnn.analysis.style import (
    DASHES,
    LINES,
    Drawn,
    array,
    finish,
    new_figure,
    not_empty,
    plain,
    tidy,
    time_axis,
)
from srnn.nn.networks import Trace


def anytime(
    curves: Mapping[str, Any],
    *,
    step_seconds: float | None = None,
    chance: float | None = None,
    title: str = "",
    simulated: bool = False,
) -> Drawn:
    """Draw any-time accuracy against time: the mean over seeds, a band of ± sd.

    curves: by label, (T,) or (seeds, T) accuracies in [0, 1], as `srnn.metrics.anytime_accuracy`
    returns them; T may differ between labels.
    chance: accuracy of guessing, drawn as a line. Returns mean, sd and seeds of each curve, and the
    first step at which it is within 1 % of its end.
    """
    not_empty("anytime", curves, "one curve of accuracies a label")
    figure = new_figure(figsize=(6.4, 3.6))
    axis, numbers = figure.subplots(), {}
    values = {
        label: np.atleast_2d(
            array(f"anytime: the curve {label!r}", c, (1, 2), "(T,) or (seeds, T)")
        )
        for label, c in curves.items()
    }
    longest = max(v.shape[1] for v in values.values())
    time, name = time_axis(longest, step_seconds)
    for k, (label, v) in enumerate(values.items()):
        mean, sd = v.mean(0), v.std(0, ddof=1) if len(v) > 1 else np.full(v.shape[1], np.nan)
        colour = LINES[k % len(LINES)]
        axis.plot(
            time[: len(mean)],
            100 * mean,
            color=colour,
            ls=DASHES[k % len(DASHES)],
            lw=1.6,
            label=f"{label} (n = {len(v)})",
        )
        if len(v) > 1:
            axis.fill_between(
                time[: len(mean)],
                100 * (mean - sd),
                100 * (mean + sd),
                color=colour,
                alpha=0.2,
                lw=0,
            )
        settled = (
            int(np.flatnonzero(np.abs(mean - mean[-1]) > 0.01)[-1]) + 2
            if (np.abs(mean - mean[-1]) > 0.01).any()
            else 1
        )
        numbers[label] = {
            "mean": plain(mean),
            "sd": plain(sd),
            "seeds": len(v),
            "settled_step": settled,
        }
    if chance is not None:
        axis.axhline(100 * chance, color="#777777", ls=(0, (1, 2)), lw=1, label="chance")
    tidy(axis, name, "accuracy if decided now (%)")
    axis.set_xlim(0, float(time[-1]))
    axis.set_ylim(0, 102)
    axis.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=8, loc="lower right")
    finish(figure, title, simulated)
    return figure, numbers


def activity(
    trace: Trace,
    names: Sequence[str] = (),
    *,
    step_seconds: float | None = None,
    title: str = "",
    simulated: bool = False,
) -> Drawn:
    """Draw the spike probability of each spiking layer against time, the spikes emitted per step,
    and those of each recording.

    trace: from `net(x, lengths, record=True)`. A step's mean runs over the recordings that have it.
    names: of the spiking layers. Spikes emitted are what Yin et al. 2021 count as SOPs (figure 3g).
    Returns them per step and recording: probability by layer (T,), spikes_per_step (T,),
    recordings_per_step (T,), spikes_per_recording (B,), and the means sops_per_sample and
    sops_per_step.
    """
    check_instance("activity", "trace", trace, Trace, "the trace of net(x, record=True)")
    layers = [
        o.detach() for o, spiking in zip(trace.outputs, trace.spiking, strict=True) if spiking
    ]
    if not layers:
        raise ConfigError(
            "activity: no layer of this network spikes; expected at least one with "
            "a Spike activation."
        )
    if names and len(names) != len(layers):
        raise ShapeError(
            f"activity: {len(names)} names for {len(layers)} spiking layers; give one a layer."
        )
    names = list(names) or [f"layer {k + 1}" for k, spiking in enumerate(trace.spiking) if spiking]
    steps = layers[0].shape[1]
    # recordings that have a step
    there = (torch.arange(steps) < trace.lengths.cpu().unsqueeze(1)).sum(0).double()
    emitted = torch.stack([o.double().sum(2) for o in layers]).cpu()  # (layers, B, T)
    per_step = (emitted.sum(1) / there.clamp(min=1)).numpy()  # (layers, T)
    per_step[:, there.numpy() == 0] = np.nan
    probability = per_step / np.array([[o.shape[2]] for o in layers])
    per_recording = emitted.sum((0, 2)).numpy()
    time, axis_name = time_axis(steps, step_seconds)

    figure = new_figure(figsize=(9.5, 3.4))
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.5, 1.5, 1])
    for k, label in enumerate(names):
        style = {"color": LINES[k % len(LINES)], "ls": DASHES[k % len(DASHES)], "lw": 1.3}
        left.plot(time, probability[k], label=label, **style)
    tidy(left, axis_name, "spike probability\n(spikes per neuron and step)")
    left.legend(frameon=False, fontsize=8)
    middle.plot(time, per_step.sum(0), color="black", lw=1.2)
    tidy(middle, axis_name, "spikes emitted per step, all layers")
    for axis in (left, middle):
        axis.set_xlim(0, float(time[-1]))
        axis.set_ylim(bottom=0)
    right.hist(
        per_recording,
        bins=min(20, max(5, len(per_recording) // 4)),
        color=LINES[0],
        edgecolor="white",
        lw=0.5,
    )
    right.axvline(per_recording.mean(), color="black", ls="--", lw=1)
    right.text(
        0.98,
        0.98,
        f"mean {per_recording.mean():,.0f}",
        transform=right.transAxes,
        ha="right",
        va="top",
        fontsize=8,
    )
    right.margins(y=0.15)
    right.yaxis.get_major_locator().set_params(integer=True)
    tidy(right, "spikes emitted per recording", "recordings")
    finish(figure, title, simulated)
    total = float(per_recording.sum())
    return figure, {
        "probability": {label: plain(p) for label, p in zip(names, probability, strict=True)},
        "spikes_per_step": plain(per_step.sum(0)),
        "recordings_per_step": [int(n) for n in there],
        "spikes_per_recording": plain(per_recording),
        "sops_per_sample": total / len(per_recording),
        "sops_per_step": total / max(1, trace.steps),
    }
