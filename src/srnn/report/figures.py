"""Figures: a recording with its labels, events and spikes; learning curves; confusion. matplotlib
(extra "report"), no display needed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srnn._check import ConfigError, RunError
from srnn.analysis.style import COLOURS as COLOURS
from srnn.analysis.style import DASHES, LINES, mark_simulated, new_figure, runs_of, tidy
from srnn.datasets import Sample, Spikes
from srnn.encode import LevelCrossing, LogMel
from srnn.training.runs import write_atomically


def save(figure: Any, path: Path) -> Path:
    """Write a figure; the ending of `path` says the format (svg, png, pdf).

    Raises `ConfigError`, `RunError`.
    """
    known = sorted(figure.canvas.get_supported_filetypes())
    if path.suffix.lstrip(".") not in known:
        raise ConfigError(f"{path}: no figure format {path.suffix!r}. Known: {', '.join(known)}.")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.lstrip("."), dpi=130)
    make_folder(path)
    write_atomically(path, drawn.getvalue())
    return path


def make_folder(path: Path) -> None:
    """Make the folder that the file `path` will lie in. Raises `RunError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from error


def recording(
    sample: Sample,
    classes: Sequence[str],
    *,
    predicted: Any = None,
    confidence: Any = None,
    spikes: Sequence[Any] = (),
    simulated: bool = False,
    title: str = "",
) -> Any:
    """Draw one recording: signal, what the network takes, spikes of each layer, true and predicted
    labels as strips.

    sample: as the network takes it (T, C). Events of a few leads with a label a step are drawn as a
    raster, under meta["signal"] (T, leads) or the signal rebuilt from them; anything else as an
    image, under meta["signal"] where it is there. predicted: (T,) class indices, < 0 = none.
    confidence: (T,) in [0, 1]. spikes: (T, N) arrays, one a spiking layer. A label for the whole
    recording stands in the title. Returns a matplotlib Figure.
    """
    seconds, labels, raw = (
        np.arange(len(sample.signal)) / sample.rate,
        np.asarray(sample.label),
        sample.meta.get("signal"),
    )
    leads = sample.events and bool(labels.ndim) and sample.signal.shape[1] in (2, 4, 6, 8)
    strips = [("label", labels)] if labels.ndim else []
    strips += [("predicted", np.asarray(predicted))] if predicted is not None else []
    above = [2.6, 0.8] if leads else [*([1.2] if raw is not None else []), 3.2]
    below = [
        *(float(np.clip(0.035 * np.shape(s)[1], 0.8, 2.4)) for s in spikes),
        *(0.28 for _ in strips),
        *([0.8] if confidence is not None else []),
    ]
    figure = new_figure(figsize=(10, 1.3 + sum(above) + sum(below)))
    panels = list(
        figure.subplots(
            len(above) + len(below), 1, sharex=True, height_ratios=above + below, squeeze=False
        )[:, 0]
    )
    axes = iter(panels)
    if leads:
        _leads(next(axes), seconds, sample, labels)
        _raster(next(axes), seconds, sample.signal, "events")
    else:
        if raw is not None:
            top, times = (
                next(axes),
                np.arange(len(raw)) / sample.meta.get("signal_rate", sample.rate),
            )
            for k, column in enumerate(np.reshape(raw, (len(raw), -1)).T):
                top.plot(times, column, lw=0.6, color=LINES[k % len(LINES)])
            top.set_ylabel("signal", fontsize=8)
        _input(next(axes), seconds, sample)
    for k, layer in enumerate(spikes):
        _raster(next(axes), seconds, np.asarray(layer), f"layer {k + 1}\nspikes")
    for name, each in strips:
        _strip(next(axes), seconds, each, name, classes, sample.rate)
    if confidence is not None:
        last = next(axes)
        last.plot(seconds, confidence, color="black", lw=1)
        last.set_ylim(0, 1.02)
        last.set_ylabel("confidence", fontsize=8, rotation=0, ha="right", va="center")
        last.tick_params(labelsize=7)
    panels[-1].set_xlabel("time (s)" if sample.rate != 1 else "step")
    panels[-1].set_xlim(0, len(seconds) / sample.rate)
    if strips and len(classes) <= len(COLOURS):
        handles = [panels[-1].bar(0, 0, color=COLOURS[k]) for k in range(len(classes))]
        figure.legend(
            handles,
            classes,
            loc="outside upper right",
            ncols=len(classes),
            fontsize=8,
            frameon=False,
        )
    named = "" if labels.ndim or labels < 0 else f": {classes[int(labels)]}"
    figure.suptitle(f"{title or sample.name}{named}", x=0.01, ha="left", fontsize=10)
    if simulated:
        mark_simulated(figure)
    return figure


def _leads(axis: Any, seconds: Any, sample: Sample, labels: Any) -> None:
    """Draw the leads that were turned into events, up and down side by side, one below the other,
    over the colours of their labels.
    """
    signal = sample.meta.get("signal")
    axis.set_ylabel(
        "mV" if signal is not None else "levels, rebuilt\nfrom events", fontsize=8, labelpad=32
    )
    if signal is None:
        signal = LevelCrossing(1.0).reconstruct(
            np.abs(sample.signal), np.zeros(sample.signal.shape[1] // 2)
        )
    spread = 1.15 * float(np.ptp(signal, axis=0).max() or 1.0)
    for k, lead in enumerate(np.asarray(signal).T):
        axis.plot(seconds, lead - np.median(lead) - k * spread, color="black", lw=0.8)
        axis.text(
            -0.005,
            -k * spread,
            f"lead {k + 1}",
            transform=axis.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=8,
        )
    axis.set_yticks([])
    _spans(axis, seconds, labels, sample.rate, alpha=0.22)


def _spans(axis: Any, seconds: Any, labels: Any, rate: float, alpha: float = 1.0) -> None:
    for start, stop, label in runs_of(labels):
        if label >= 0:
            axis.axvspan(
                seconds[start],
                seconds[stop - 1] + 1 / rate,
                color=COLOURS[label % len(COLOURS)],
                alpha=alpha,
                lw=0,
            )


def _strip(
    axis: Any, seconds: Any, labels: Any, name: str, classes: Sequence[str], rate: float
) -> None:
    """Draw labels over time as colours; with names where classes are more, if they fit."""
    _spans(axis, seconds, labels, rate)
    for start, stop, label in runs_of(labels) if len(classes) > len(COLOURS) else []:
        if label >= 0 and (stop - start) / len(seconds) > 0.012 * len(classes[label]):
            axis.text(
                (start + stop) / 2 / rate,
                0.5,
                classes[label],
                transform=axis.get_xaxis_transform(),
                ha="center",
                va="center",
                fontsize=8,
                color="#101010",
            )
    axis.set_yticks([])
    axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)


def spoken(sound: Sample, spikes: Spikes) -> Any:
    """Draw a recording of sound (n, 1), its log-mel energies, and the spikes a cochlea made of it.

    Returns a matplotlib Figure.
    """
    mel = LogMel(high=None)
    frames = mel(sound.signal[:, 0], sound.rate)
    figure = new_figure(figsize=(9, 6.6))
    wave, energies, cochlea = figure.subplots(3, 1, sharex=True, height_ratios=[1, 1.6, 2.4])
    wave.plot(np.arange(len(sound.signal)) / sound.rate, sound.signal[:, 0], color="black", lw=0.4)
    wave.set_ylabel("sound", fontsize=8)
    energies.imshow(
        frames.T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, len(frames) * mel.hop, 0, mel.bands),
    )
    energies.set_ylabel("mel band", fontsize=8)
    cochlea.plot(spikes.times, spikes.units, ".", color="black", ms=1.2, mew=0)
    cochlea.set_ylim(spikes.channels, 0)  # the highest frequency is channel 0: at the top, as above
    cochlea.set_ylabel(f"channel ({len(spikes.times):,} spikes)", fontsize=8)
    cochlea.set_xlabel("time (s)")
    cochlea.set_xlim(0, len(sound.signal) / sound.rate)
    figure.suptitle(sound.name, x=0.01, ha="left", fontsize=10)
    return figure


def _input(axis: Any, seconds: Any, sample: Sample) -> None:
    """Draw what a network takes: a raster of events, darker where a bin holds more than one, or an
    image of values.
    """
    values, length = np.asarray(sample.signal, dtype=np.float32).T, len(seconds) / sample.rate
    how: dict[str, Any] = {"cmap": "magma"}
    if sample.events:
        most = max(1.0, float(values.max()))
        how = {"cmap": "Greys", "interpolation": "nearest", "vmin": 0, "vmax": most}
    axis.imshow(values, aspect="auto", extent=(0, length, len(values), 0), **how)
    axis.set_ylabel("channel", fontsize=8)
    axis.yaxis.get_major_locator().set_params(integer=True)


def learning(
    rows: Sequence[dict[str, Any]],
    *,
    spiking: Sequence[bool] = (),
    simulated: bool = False,
    title: str = "",
) -> Any:
    """Draw loss, accuracy and firing rates against epochs. rows: the lines of log.jsonl. spiking:
    which layers do (default: all).

    Returns a matplotlib Figure.
    """
    epochs = [row["epoch"] for row in rows]
    layers = [
        k
        for k, rate in enumerate(rows[0]["firing_rates"])
        if rate is not None and (not spiking or spiking[k])
    ]
    figure = new_figure(figsize=(9.6, 3.0))
    axes = figure.subplots(1, 3 if layers else 2)
    loss, accuracy = axes[:2]
    for axis, name in ((loss, "loss"), (accuracy, "accuracy")):
        scale = 100 if name == "accuracy" else 1
        for part, key, colour, dash in (
            ("training", "loss" if name == "loss" else "train_accuracy", COLOURS[0], "--"),
            ("validation", f"validation_{name}", COLOURS[4], "-"),
        ):
            axis.plot(
                epochs,
                [scale * row[key] for row in rows],
                dash,
                label=part,
                color=colour,
                marker="." if len(rows) < 3 else None,
            )
    loss.set_ylabel("loss per recording")
    accuracy.set_ylabel("accuracy (%)")
    loss.legend(frameon=False, fontsize=8)
    if layers:
        rate = axes[2]
        for k in layers:
            rate.plot(
                epochs,
                [row["firing_rates"][k] for row in rows],
                DASHES[k % len(DASHES)],
                label=f"layer {k + 1}",
                color=LINES[k % len(LINES)],
            )
        rate.set_ylabel("firing rate (validation)")
        rate.set_ylim(bottom=0)
        rate.legend(frameon=False, fontsize=8)
    for axis in axes:
        tidy(axis, "epoch")
        _whole_epochs(axis, epochs)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    if simulated:
        mark_simulated(figure)
    return figure


def _whole_epochs(axis: Any, epochs: Sequence[int]) -> None:
    """Number whole epochs only, of very few too."""
    axis.xaxis.get_major_locator().set_params(integer=True)
    if max(epochs) - min(epochs) < 3:
        axis.set_xticks(range(min(epochs), max(epochs) + 1))


def courses(
    runs: Mapping[str, Sequence[Sequence[dict[str, Any]]]],
    *,
    simulated: bool = False,
    title: str = "",
) -> Any:
    """Draw loss and accuracy on the validation part against epochs, of many runs together. runs: by
    label, the log.jsonl lines of each run.

    Returns a matplotlib Figure.
    """
    figure = new_figure(figsize=(9.6, 3.2 + 0.16 * len(runs)))
    axes = figure.subplots(1, 2)
    for axis, key, scale, name in zip(
        axes,
        ("validation_loss", "validation_accuracy"),
        (1, 100),
        ("loss", "accuracy (%)"),
        strict=True,
    ):
        for k, (label, those) in enumerate(runs.items()):
            for n, rows in enumerate(those):
                axis.plot(
                    [r["epoch"] for r in rows],
                    [scale * r[key] for r in rows],
                    DASHES[k // len(LINES) % len(DASHES)],
                    lw=1.2,
                    color=LINES[k % len(LINES)],
                    marker="." if len(rows) < 3 else None,
                    label="_" if n else label,
                )
        tidy(axis, "epoch", f"{name}, validation part")
        _whole_epochs(axis, [r["epoch"] for those in runs.values() for rows in those for r in rows])
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower left",
        fontsize=8,
        frameon=False,
        ncols=1,
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    if simulated:
        mark_simulated(figure)
    return figure


def confusion(
    matrix: Sequence[Sequence[int]],
    classes: Sequence[str],
    *,
    simulated: bool = False,
    title: str = "",
) -> Any:
    """Draw a confusion matrix in percent of each true class. matrix: (K, K) counts, row = label.

    Returns a matplotlib Figure.
    """
    counts = np.asarray(matrix, dtype=float)
    share = 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))
    figure = new_figure(figsize=(1.6 + 0.62 * len(classes), 1.3 + 0.55 * len(classes)))
    axis = figure.subplots()
    axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(share):
        axis.text(
            column,
            row,
            f"{value:.0f}",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if value > 55 else "black",
        )
    axis.set_xticks(range(len(classes)), classes)
    axis.set_yticks(range(len(classes)), classes)
    axis.set_xlabel("predicted")
    axis.set_ylabel("label (rows sum to 100 %)")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    if simulated:
        mark_simulated(figure)
    return figure


def _raster(axis: Any, seconds: Any, spikes: Any, name: str) -> None:
    """Draw a tick a spike, all as one line with gaps: much smaller as SVG than a mark each."""
    t, n = np.nonzero(spikes)
    half = max(0.4, 0.01 * spikes.shape[1])
    gaps = np.full(len(t), np.nan)
    x, y = (
        np.stack([seconds[t], seconds[t], gaps], 1).ravel(),
        np.stack([n - half, n + half, gaps], 1).ravel(),
    )
    axis.plot(x, y, lw=0.6, color="black", solid_capstyle="butt", rasterized=len(t) > 8_000)
    axis.set_ylim(spikes.shape[1] - 0.5, -0.5)
    axis.set_yticks([])
    axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
