"""Figures: a recording with its labels, events and spikes; learning curves; confusion. matplotlib (extra "report"), no display needed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from srnn._check import ConfigError, RunError
from srnn.analysis.style import COLOURS as COLOURS
from srnn.analysis.style import mark_simulated, new_figure, runs_of
from srnn.datasets import Sample, Spikes
from srnn.encode import LevelCrossing, LogMel
from srnn.runs import load_run, write_atomically
from srnn.tasks.objective import PerStep
from srnn.tasks.task import collate


def save(figure: Any, path: Path) -> Path:
    """Write a figure; the ending of `path` says the format (svg, png, pdf). Raises `ConfigError`, `RunError`."""
    known = sorted(figure.canvas.get_supported_filetypes())
    if path.suffix.lstrip(".") not in known:
        raise ConfigError(f"{path}: no figure format {path.suffix!r}. Known: {', '.join(known)}.")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.lstrip("."), dpi=130)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from error
    write_atomically(path, drawn.getvalue())
    return path


def of_run(path: Path, data_dir: str | Path | None = None) -> Path:
    """Draw a finished run into path/figures: learning curves, confusion, and, where every step has a label, the first test recording with its spikes.

    Returns the folder. Raises `SrnnError` without matplotlib, when the run cannot be read or the folder not be written.
    """
    run, task, seed, net = load_run(path)
    if not run.rows():
        raise RunError(f"{path / 'log.jsonl'} holds no epoch: there is nothing to draw.")
    folder, simulated, name = path / "figures", task.data.simulated, f"{task.name}, seed {seed}"
    save(learning(run.rows(), simulated=simulated, title=name), folder / "learning.svg")
    result = run.read("metrics.json")
    matrix = result["test_confusion"] if "test_confusion" in result else result["validation_confusion"]  # of a trial of a sweep
    save(confusion(matrix, task.classes, simulated=simulated, title=name), folder / "confusion.svg")
    sample = task.load(data_dir).test[0]
    if not _labelled_events(sample):
        save(encoded(sample, task.classes, simulated=simulated, title=f"{name}: {sample.name}"), folder / "recording.svg")
    elif isinstance(task.decode, PerStep):
        with torch.no_grad():
            out = net(collate([sample]).x, state=task.start(net, 1, torch.Generator().manual_seed(seed)), record=True)
        guess = task.decode.scores(out, None)[0].argmax(-1).numpy()
        spikes = [o[0].numpy() for o, spiking in zip(out.trace.outputs, out.trace.spiking, strict=True) if spiking]
        figure = recording(sample, task.classes, predicted=guess, spikes=spikes, simulated=simulated, title=f"{name}: {sample.name}")
        save(figure, folder / "recording.svg")
    return folder


def recording(
    sample: Sample,
    classes: Sequence[str],
    *,
    predicted: Any = None,
    spikes: Sequence[Any] = (),
    simulated: bool = False,
    title: str = "",
) -> Any:
    """Draw one recording with a label a step: signal, input events, spikes of each layer, true and predicted label strips.

    sample: as the network takes it (T, C); meta["signal"] (T, leads), if it is there, is drawn above, else the signal is rebuilt from the events.
    predicted: (T,) class indices. spikes: (T, N) arrays, one a spiking layer. Returns a matplotlib Figure.
    """
    seconds = np.arange(len(sample.signal)) / sample.rate
    signal = sample.meta.get("signal")
    unit = "mV" if signal is not None else "levels, rebuilt\nfrom events"
    if signal is None:
        signal = LevelCrossing(1.0).reconstruct(np.abs(sample.signal), np.zeros(sample.signal.shape[1] // 2))
    strips = [("label", np.asarray(sample.label))] + ([("predicted", np.asarray(predicted))] if predicted is not None else [])
    heights = [2.6, 0.8, *(max(0.8, 0.035 * s.shape[1]) for s in spikes), *(0.28 for _ in strips)]
    figure = new_figure(figsize=(10, 1.3 + sum(heights)))
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
    top, *rest = axes[:, 0]
    spread = 1.15 * float(np.ptp(signal, axis=0).max() or 1.0)
    for k, lead in enumerate(np.asarray(signal).T):
        top.plot(seconds, lead - np.median(lead) - k * spread, color="black", lw=0.8)
        top.text(-0.005, -k * spread, f"lead {k + 1}", transform=top.get_yaxis_transform(), ha="right", va="center", fontsize=8)
    top.set_ylabel(unit, fontsize=8, labelpad=32)
    top.set_yticks([])
    for start, stop, label in runs_of(np.asarray(sample.label)):
        if label >= 0:
            top.axvspan(seconds[start], seconds[stop - 1] + 1 / sample.rate, color=COLOURS[label % len(COLOURS)], alpha=0.22, lw=0)
    _raster(rest[0], seconds, sample.signal, "events")
    for k, layer in enumerate(spikes):
        _raster(rest[1 + k], seconds, np.asarray(layer), f"layer {k + 1}\nspikes")
    for axis, (name, labels) in zip(rest[1 + len(spikes) :], strips, strict=True):
        for start, stop, label in runs_of(labels):
            if label >= 0:
                axis.axvspan(seconds[start], seconds[stop - 1] + 1 / sample.rate, color=COLOURS[label % len(COLOURS)], lw=0)
        axis.set_yticks([])
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    axes[-1, 0].set_xlabel("time (s)")
    axes[-1, 0].set_xlim(0, len(seconds) / sample.rate)
    handles = [axes[-1, 0].bar(0, 0, color=COLOURS[k % len(COLOURS)]) for k in range(len(classes))]
    figure.legend(handles, classes, loc="outside upper right", ncols=len(classes), fontsize=8, frameon=False)
    figure.suptitle(title or sample.name, x=0.01, ha="left", fontsize=10)
    if simulated:
        mark_simulated(figure)
    return figure


def _labelled_events(sample: Sample) -> bool:
    """Return whether a recording is what `recording` draws: events of a few leads, up and down side by side, with a label a step."""
    return sample.events and bool(np.ndim(sample.label)) and sample.signal.shape[1] in (2, 4, 6, 8)


def of_sample(sample: Sample, classes: Sequence[str], *, simulated: bool = False, title: str = "") -> Any:
    """Draw one recording as the network takes it, the way that suits it. Returns a matplotlib Figure."""
    return (recording if _labelled_events(sample) else encoded)(sample, classes, simulated=simulated, title=title)


def encoded(sample: Sample, classes: Sequence[str], *, simulated: bool = False, title: str = "") -> Any:
    """Draw one recording: the signal it came from (meta["signal"]), if there is one, and what the network takes, as spikes or as an image.

    A label for the whole recording stands in the title, labels of its steps as a strip below. Returns a matplotlib Figure.
    """
    seconds, raw = np.arange(len(sample.signal)) / sample.rate, sample.meta.get("signal")
    labels = np.asarray(sample.label)
    heights = [*([1.2] if raw is not None else []), 3.2, *([0.28] if labels.ndim else [])]
    figure = new_figure(figsize=(9, 0.9 + sum(heights)))
    axes = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0])
    if raw is not None:
        top = axes.pop(0)
        top.plot(np.arange(len(raw)) / sample.meta.get("signal_rate", sample.rate), raw, lw=0.5)
        top.set_ylabel("signal", fontsize=8)
    _input(axes[0], seconds, sample)
    if labels.ndim:
        for start, stop, label in runs_of(labels):
            if label >= 0:
                axes[1].axvspan(seconds[start], seconds[stop - 1] + 1 / sample.rate, color=COLOURS[label % len(COLOURS)], lw=0)
        axes[1].set_yticks([])
        axes[1].set_ylabel("label", rotation=0, ha="right", va="center", fontsize=8)
    axes[-1].set_xlabel("time (s)" if sample.rate != 1 else "step")
    axes[-1].set_xlim(0, len(seconds) / sample.rate)
    named = "" if labels.ndim or labels < 0 else f": {classes[int(labels)]}"
    figure.suptitle(f"{title or sample.name}{named}", x=0.01, ha="left", fontsize=10)
    if simulated:
        mark_simulated(figure)
    return figure


def spoken(sound: Sample, spikes: Spikes) -> Any:
    """Draw a recording of sound (n, 1), its log-mel energies, and the spikes a cochlea made of it. Returns a matplotlib Figure."""
    mel = LogMel(high=None)
    frames = mel(sound.signal[:, 0], sound.rate)
    figure = new_figure(figsize=(9, 6.6))
    wave, energies, cochlea = figure.subplots(3, 1, sharex=True, height_ratios=[1, 1.6, 2.4])
    wave.plot(np.arange(len(sound.signal)) / sound.rate, sound.signal[:, 0], color="black", lw=0.4)
    wave.set_ylabel("sound", fontsize=8)
    energies.imshow(frames.T, origin="lower", aspect="auto", cmap="magma", extent=(0, len(frames) * mel.hop, 0, mel.bands))
    energies.set_ylabel("mel band", fontsize=8)
    cochlea.plot(spikes.times, spikes.units, ".", color="black", ms=1.2, mew=0)
    cochlea.set_ylim(spikes.channels, 0)  # the highest frequency is channel 0: at the top, as above
    cochlea.set_ylabel(f"channel ({len(spikes.times):,} spikes)", fontsize=8)
    cochlea.set_xlabel("time (s)")
    cochlea.set_xlim(0, len(sound.signal) / sound.rate)
    figure.suptitle(sound.name, x=0.01, ha="left", fontsize=10)
    return figure


def _input(axis: Any, seconds: Any, sample: Sample) -> None:
    """Draw what a network takes: a raster of events, darker where a bin holds more than one, or an image of values."""
    values, length = np.asarray(sample.signal, dtype=np.float32).T, len(seconds) / sample.rate
    how = {"cmap": "Greys", "interpolation": "nearest", "vmin": 0, "vmax": max(1.0, float(values.max()))} if sample.events else {"cmap": "magma"}
    axis.imshow(values, aspect="auto", extent=(0, length, len(values), 0), **how)
    axis.set_ylabel("channel", fontsize=8)


def learning(rows: Sequence[dict[str, Any]], *, simulated: bool = False, title: str = "") -> Any:
    """Draw loss, accuracy and firing rates against epochs. rows: the lines of log.jsonl. Returns a matplotlib Figure."""
    epochs = [row["epoch"] for row in rows]
    figure = new_figure(figsize=(11, 3.2))
    loss, accuracy, rate = figure.subplots(1, 3)
    for axis, name in ((loss, "loss"), (accuracy, "accuracy")):
        scale = 100 if name == "accuracy" else 1
        for part, key, colour in (
            ("training", "loss" if name == "loss" else "train_accuracy", COLOURS[0]),
            ("validation", f"validation_{name}", COLOURS[4]),
        ):
            axis.plot(epochs, [scale * row[key] for row in rows], label=part, color=colour, marker="." if len(rows) < 3 else None)
    loss.set_ylabel("loss per recording")
    accuracy.set_ylabel("accuracy (%)")
    loss.legend(frameon=False, fontsize=8)
    for k in range(len(rows[0]["firing_rates"])):
        rate.plot(epochs, [row["firing_rates"][k] for row in rows], label=f"layer {k + 1}", color=COLOURS[k % len(COLOURS)])
    rate.set_ylabel("firing rate (validation)")
    rate.set_ylim(bottom=0)
    rate.legend(frameon=False, fontsize=8)
    for axis in (loss, accuracy, rate):
        axis.set_xlabel("epoch")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    if simulated:
        mark_simulated(figure)
    return figure


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str], *, simulated: bool = False, title: str = "") -> Any:
    """Draw a confusion matrix in percent of each true class. matrix: (K, K) counts, row = label. Returns a matplotlib Figure."""
    counts = np.asarray(matrix, dtype=float)
    share = 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))
    figure = new_figure(figsize=(1.6 + 0.62 * len(classes), 1.3 + 0.55 * len(classes)))
    axis = figure.subplots()
    axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(share):
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=9, color="white" if value > 55 else "black")
    axis.set_xticks(range(len(classes)), classes)
    axis.set_yticks(range(len(classes)), classes)
    axis.set_xlabel("predicted")
    axis.set_ylabel("label (rows sum to 100 %)")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    if simulated:
        mark_simulated(figure)
    return figure


def _raster(axis: Any, seconds: Any, spikes: Any, name: str) -> None:
    t, n = np.nonzero(spikes)
    size = float(np.clip(60 / spikes.shape[1], 1.5, 8))
    axis.scatter(seconds[t], n, s=size, marker="|", lw=0.6, color="black", rasterized=len(t) > 4_000)
    axis.set_ylim(spikes.shape[1] - 0.5, -0.5)
    axis.set_yticks([])
    axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
