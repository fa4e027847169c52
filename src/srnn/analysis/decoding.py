"""A stream as it is decoded: signal, true labels, decoded labels and class scores over time (Yin,
Corradi & Bohté 2021, figure 4d).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from srnn._check import ShapeError
from srnn.analysis.style import (
    COLOURS,
    DASHES,
    Drawn,
    array,
    finish,
    new_figure,
    plain,
    runs_of,
    tidy,
    time_axis,
)


def streaming(
    signal: Any,
    labels: Any,
    scores: Any,
    classes: Sequence[str],
    *,
    step_seconds: float | None = None,
    title: str = "",
    simulated: bool = False,
) -> Drawn:
    """Draw a recording with a label a step as it is decoded.

    signal: (T, C), drawn as a raster where it holds events in {-1, 0, 1} only, else as curves.
    labels: (T,), < 0 = unlabelled. scores: (T, K), drawn as they are (pass probabilities for figure
    4d); the decoded label is the class of the highest. Returns decoded, correct (None where
    unlabelled), accuracy over labelled steps, and of every stretch of one label how many of its
    first steps were wrong (`late`; None = never right).
    """
    x, y = (
        array("streaming: signal", signal, (2,), "(T, C)"),
        array("streaming: scores", scores, (2,), "(T, K)"),
    )
    truth = array("streaming: labels", labels, (1,), "(T,)").astype(int)
    if not len(x) == len(truth) == len(y):
        raise ShapeError(
            f"streaming: signal has {len(x)} steps, labels {len(truth)}, scores "
            f"{len(y)}; expected the same number."
        )
    if y.shape[1] != len(classes) or truth.max() >= len(classes):
        raise ShapeError(
            f"streaming: scores of {y.shape[1]} classes and labels up to "
            f"{truth.max()} for {len(classes)} classes; expected 0 … K-1."
        )
    decoded = y.argmax(1)
    wrong = (decoded != truth) & (truth >= 0)
    time, name = time_axis(len(x), step_seconds)
    edges = np.concatenate(([0.0], time))
    figure = new_figure(figsize=(9.5, 5.2))
    top, true_strip, strip, wrong_strip, below = axes = figure.subplots(
        5, 1, sharex=True, height_ratios=[1.5, 0.22, 0.22, 0.22, 1.6]
    )
    if np.isin(x, (-1, 0, 1)).all():
        t, channel = np.nonzero(x)
        top.scatter(
            time[t],
            channel,
            s=float(np.clip(400 / x.shape[1], 2, 60)),
            marker="|",
            lw=0.7,
            color="black",
            rasterized=len(t) > 4_000,
        )
        top.set_ylim(x.shape[1] - 0.5, -0.5)
        top.yaxis.get_major_locator().set_params(integer=True)
        tidy(top, "", "event channel")
    else:
        top.plot(time, x, lw=0.8, color="black")
        tidy(top, "", "signal")
    for axis, values, label in ((true_strip, truth, "true"), (strip, decoded, "decoded")):
        for a, b, k in runs_of(values):
            if k >= 0:
                axis.axvspan(edges[a], edges[b], color=COLOURS[k % len(COLOURS)], lw=0)
        _strip(axis, label)
    for a, b, k in runs_of(wrong.astype(int)):
        if k:
            wrong_strip.axvspan(edges[a], edges[b], color="black", lw=0)
    _strip(wrong_strip, "wrong")
    for k, label in enumerate(classes):
        below.plot(
            time,
            y[:, k],
            color=COLOURS[k % len(COLOURS)],
            ls=DASHES[k // len(COLOURS) % len(DASHES)],
            lw=1.5,
            label=label,
        )
    tidy(below, name, "score")
    below.set_xlim(0, float(time[-1]))
    figure.align_ylabels(axes)
    figure.legend(
        *below.get_legend_handles_labels(),
        loc="outside upper right",
        ncols=min(8, len(classes)),
        fontsize=8,
        frameon=False,
    )
    finish(figure, title or " ", simulated)
    stretches = []
    for a, b, k in runs_of(truth):
        right = np.flatnonzero(decoded[a:b] == k)
        if k >= 0:
            stretches.append(
                {
                    "label": k,
                    "first": a,
                    "steps": b - a,
                    "late": int(right[0]) if right.size else None,
                }
            )
    labelled = int((truth >= 0).sum())
    return figure, {
        "decoded": plain(decoded),
        "correct": [None if t < 0 else bool(t == d) for t, d in zip(truth, decoded, strict=True)],
        "accuracy": 1 - float(wrong.sum()) / labelled if labelled else None,
        "stretches": stretches,
    }


def _strip(axis: Any, label: str) -> None:
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.tick_params(bottom=False)
    axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
