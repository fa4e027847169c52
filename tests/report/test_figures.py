"""Figures: drawn without a display, written whole or not at all, simulated data marked."""

from __future__ import annotations

import errno
import os
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.image import imread

from srnn._check import ConfigError, RunError
from srnn.datasets import Sample, qtdb
from srnn.report import figures
from srnn.training import runs

MARK = "SIMULATED DATA"
ROW = {
    "loss": 1.0,
    "train_accuracy": 0.5,
    "validation_loss": 2.0,
    "validation_accuracy": 0.25,
    "firing_rates": [0.1, 0.2],
}


def sample(steps=60, **meta):
    rng = np.random.default_rng(0)
    label = np.arange(steps) // 5 % 6
    label[-4:] = -1
    return Sample(
        (rng.random((steps, 4)) < 0.3).astype(np.float32),
        label,
        250.0,
        "rec/7",
        events=True,
        meta=meta,
    )


def draw(kind, simulated=False):
    if kind == "recording":
        predicted, spikes = np.zeros(60, int), [np.eye(60, 5), np.eye(60, 6)]
        return figures.recording(
            sample(),
            qtdb.CLASSES,
            predicted=predicted,
            spikes=spikes,
            simulated=simulated,
            title="a title",
        )
    if kind == "learning":
        return figures.learning(
            [{"epoch": e, **ROW} for e in (1, 2, 3)], simulated=simulated, title="a title"
        )
    return figures.confusion(
        np.diag([3, 1, 0]).tolist(), ("a", "b", "c"), simulated=simulated, title="a title"
    )


def texts(figure):
    from matplotlib.text import Text

    return [t.get_text() for t in figure.findobj(Text) if t.get_text()]


@pytest.mark.parametrize("kind", ["recording", "learning", "confusion"])
@pytest.mark.parametrize("simulated", [True, False])
def test_simulated_data_is_marked_and_real_data_is_not(tmp_path, kind, simulated):
    figure = draw(kind, simulated)
    assert "a title" in texts(figure)
    path = figures.save(figure, tmp_path / "deep/figure.svg")
    text = path.read_text()
    assert ET.fromstring(text).tag.endswith("svg")
    assert (MARK in text) == simulated
    assert [p.name for p in path.parent.iterdir()] == ["figure.svg"]


def test_a_recording_shows_signal_events_spikes_labels_and_prediction():
    figure = draw("recording")
    names = [axis.get_ylabel() for axis in figure.axes]
    assert names == [
        "levels, rebuilt\nfrom events",
        "events",
        "layer 1\nspikes",
        "layer 2\nspikes",
        "label",
        "predicted",
    ]
    assert figure.axes[-1].get_xlabel() == "time (s)"
    assert figure.axes[-1].get_xlim() == pytest.approx((0, 60 / 250))
    drawn = [int(np.isnan(axis.lines[0].get_xdata()).sum()) for axis in figure.axes[1:4]]
    # one tick, and a gap after it, an event or spike
    assert drawn == [int(sample().signal.sum()), 5, 6]
    assert len(figure.axes[4].patches) == 12  # runs of labels; unlabelled steps are left white
    assert set(qtdb.CLASSES) <= {t.get_text() for t in figure.legends[0].get_texts()}
    leads = np.linspace(0, 1, 120).reshape(60, 2)
    figure = figures.recording(sample(signal=leads), qtdb.CLASSES)
    assert figure.axes[0].get_ylabel() == "mV"
    assert len(figure.axes[0].lines) == 2
    assert np.ptp(figure.axes[0].lines[0].get_ydata()) == pytest.approx(np.ptp(leads[:, 0]))


def test_learning_and_confusion_show_the_numbers():
    figure = draw("learning")
    loss, accuracy, rate = figure.axes
    assert [line.get_ydata()[0] for line in (*loss.lines, *accuracy.lines, *rate.lines)] == [
        1.0,
        2.0,
        50.0,
        25.0,
        0.1,
        0.2,
    ]
    figure = draw("confusion")
    assert [t.get_text() for t in figure.axes[0].texts] == [
        "100",
        "0",
        "0",
        "0",
        "100",
        "0",
        "0",
        "0",
        "0",
    ]


def test_formats_and_figures_are_closed(tmp_path):
    for ending in ("png", "svg", "pdf"):
        figures.save(draw("confusion"), tmp_path / f"f.{ending}")
    assert imread(tmp_path / "f.png").ndim == 3
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")
    assert plt.get_fignums() == []
    with pytest.raises(
        ConfigError,
        match=r"f\.txt: no figure format '\.txt'\. Known: "
        r".*pdf.*png.*svg",
    ):
        figures.save(draw("confusion"), tmp_path / "f.txt")
    with pytest.raises(ConfigError, match="no figure format ''"):
        figures.save(draw("confusion"), tmp_path / "f")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_figure_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = figures.save(draw("confusion"), tmp_path / "f.svg")
    before = path.read_bytes()

    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(runs.os, "fsync", full)
    with pytest.raises(RunError, match=r"f\.svg cannot be written: No space left on device"):
        figures.save(draw("learning"), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["f.svg"]
    (tmp_path / "g.svg").mkdir()
    monkeypatch.undo()
    for bad in (path / "below.svg", tmp_path / "g.svg"):
        with pytest.raises(RunError, match="cannot be written"):
            figures.save(draw("confusion"), bad)
    assert path.read_bytes() == before
