"""Results side by side and sample pictures: numbers, what is drawn, labels that do not overlap; the
page's examples.
"""

from __future__ import annotations

import doctest
import json
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from srnn import analysis
from srnn._check import ConfigError, ShapeError
from srnn.report import figures


def test_compare_shows_every_seed_mean_and_sd():
    values = {
        "MG": {"ECG": [0.8, 0.9, 0.85], "SHD": [0.7]},
        "Gaussian": {"ECG": [0.6, float("nan"), 0.7], "SSC": [float("nan")]},
    }
    figure, numbers = analysis.compare(
        values, published={"MG": {"ECG": 0.859}}, title="t", simulated=True
    )
    assert numbers["MG"]["ECG"] == {
        "mean": pytest.approx(0.85),
        "sd": pytest.approx(0.05),
        "n": 3,
        "values": [0.8, 0.9, 0.85],
    }
    assert numbers["MG"]["SHD"] == {"mean": 0.7, "sd": None, "n": 1, "values": [0.7]}
    assert numbers["Gaussian"]["ECG"]["mean"] == pytest.approx(0.65)
    assert numbers["Gaussian"]["ECG"]["sd"] == pytest.approx(statistics.stdev([0.6, 0.7]))
    assert numbers["Gaussian"]["ECG"]["values"] == [0.6, None, 0.7]
    assert numbers["Gaussian"]["SSC"] == {"mean": None, "sd": None, "n": 0, "values": [None]}
    assert numbers["published"] == {"MG": {"ECG": 0.859}}
    (axis,) = figure.axes
    assert [t.get_text() for t in axis.get_xticklabels()] == ["ECG", "SHD", "SSC"]
    drawn = [
        line.get_ydata().tolist()
        for line in axis.lines
        if line.get_marker() not in ("_", "|", None, "None")
    ]
    assert pytest.approx([80, 90, 85]) in drawn
    assert pytest.approx([85]) in drawn
    assert pytest.approx([60, 70]) in drawn
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["published", "MG", "Gaussian"]
    places = [
        line.get_xdata()[0]
        for line in axis.lines
        if len(line.get_ydata()) == 1 and np.allclose(line.get_ydata(), 70)
    ]
    assert places
    assert all(0.5 < x < 1.5 for x in places)  # SHD is the second category
    json.dumps(numbers, allow_nan=False)
    figure, _ = analysis.compare({"": {"a": [1.0], "b": [1000.0]}}, y="spikes", scale=1, log=True)
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_ylabel() == "spikes"
    assert not figure.legends
    with pytest.raises(ConfigError, match="nothing to draw"):
        analysis.compare({"a": {}})
    with pytest.raises(
        ConfigError,
        match=r"published numbers of 'b', which is no series\. "
        r"Known: a",
    ):
        analysis.compare({"a": {"x": [1.0]}}, published={"b": {"x": 1.0}})


def test_a_grid_shows_means_over_seeds_failed_runs_and_the_best():
    accuracy = np.array(
        [[[0.5, 0.6], [0.7, np.nan], [np.nan, 0.3]], [[0.7, 0.6], [0.9, np.nan], [0.75, 0.3]]]
    )
    rate = np.full((3, 2), 0.125)
    figure, numbers = analysis.heat_map([0.0, 0.15, 0.5], ["2", "6"], accuracy, rate)
    assert numbers["accuracy"] == [
        [pytest.approx(0.6), 0.6],
        [pytest.approx(0.8), None],
        [0.75, 0.3],
    ]
    assert numbers["rate"] == rate.tolist()
    assert numbers["best"] == {"h": 0.15, "s": "2", "accuracy": pytest.approx(0.8), "rate": 0.125}
    left, right = figure.axes
    assert [t.get_text() for t in left.texts] == ["60.0", "60.0", "80.0", "failed", "75.0", "30.0"]
    assert {t.get_text() for t in right.texts} == {"0.125"}
    for axis in (left, right):
        (frame,) = axis.patches
        assert frame.get_xy() == (-0.5, 0.5)  # column 0, row 1
        assert [t.get_text() for t in axis.get_yticklabels()] == ["0", "0.15", "0.5"]
        assert (axis.get_xlabel(), axis.get_ylabel()) == ("s", "h")
    json.dumps(numbers, allow_nan=False)
    assert analysis.heat_map([1], [2], [[np.nan]], [[np.nan]])[1]["best"] is None
    with pytest.raises(
        ShapeError,
        match=r"accuracy \(%\) has shape \(2, 3\) for 3 rows and 2 "
        r"columns",
    ):
        analysis.heat_map([1, 2, 3], [1, 2], np.zeros((2, 3)), rate)


POINTS = {
    "A": (100.0, 0.7),
    "B": ([190.0, 210.0], [0.78, 0.82]),
    "C": (200.0, 0.75),
    "D": (5_000.0, 0.8),
    "E": (9_000.0, 0.9),
    "F": (9_000.0, 0.85),
}


def test_the_pareto_front_is_what_nothing_beats():
    figure, numbers = analysis.pareto(POINTS)
    assert numbers["front"] == ["A", "B", "E"]
    mean = {p["label"]: (p["energy"], p["accuracy"]) for p in numbers["points"]}
    for label, (energy, accuracy) in mean.items():
        beaten = any(
            e <= energy and a >= accuracy and (e, a) != (energy, accuracy) for e, a in mean.values()
        )
        assert beaten == (label not in numbers["front"])
    b = numbers["points"][1]
    assert (b["label"], b["energy"], b["accuracy"]) == ("B", 200.0, pytest.approx(0.8))
    assert (b["energy_sd"], b["accuracy_sd"]) == (
        pytest.approx(200**0.5),
        pytest.approx(0.0008**0.5),
    )
    (axis,) = figure.axes
    assert axis.get_xscale() == "log"
    front = axis.lines[0]
    assert front.get_xdata().tolist() == [100, 200, 9000]
    assert front.get_ydata() == pytest.approx([70, 80, 90])
    assert "pJ" in axis.get_xlabel()
    assert {t.get_text() for t in axis.texts} == set(POINTS)
    json.dumps(numbers, allow_nan=False)
    for bad in ((0.0, 0.5), (1.0, float("nan")), ([], [])):
        with pytest.raises(
            ConfigError,
            match=r"pareto: x has energies .* expected finite "
            r"numbers, energies above 0",
        ):
            analysis.pareto({"x": bad})
    # sd larger than the mean, on a logarithmic axis
    analysis.pareto({"wide": ([1.0, 1000.0, 1.0], [0.5, 0.5, 0.5])})[0].canvas.draw()


def test_labels_of_crowded_points_overlap_neither_each_other_nor_points():
    rng = np.random.default_rng(0)
    energies, accuracies = 10 ** rng.uniform(2, 3, 14), rng.uniform(0.8, 0.86, 14)
    points = {
        f"network {k}": (float(e), float(a))
        for k, (e, a) in enumerate(zip(energies, accuracies, strict=True))
    }
    figure, _ = analysis.pareto(points)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axis,) = figure.axes
    boxes = [t.get_window_extent(canvas.get_renderer()) for t in axis.texts]
    frame = figure.bbox
    assert len(boxes) == 14
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:k])
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1
        for energy, accuracy in points.values():
            x, y = axis.transData.transform((energy, 100 * accuracy))
            assert not box.contains(x, y)


def test_sample_pictures():
    events = np.zeros((50, 30))
    events[[1, 1, 40], [3, 4, 29]] = [1, 2, 1]
    figure, numbers = analysis.raster(events, step_seconds=0.01)
    assert numbers["events"] == 4
    assert (numbers["per_step"][1], numbers["per_channel"][4]) == (3, 2)
    sizes = figure.axes[1].collections[0].get_sizes()
    assert len(sizes) == 3
    assert sizes[1] == 2 * sizes[0]
    # milliseconds, channel
    assert figure.axes[1].collections[0].get_offsets()[2].tolist() == pytest.approx([410, 29])
    image = torch.arange(6.0).view(2, 3)
    figure, numbers = analysis.pixels(image)
    assert numbers["sequence"] == [0, 1, 2, 3, 4, 5]
    _, numbers = analysis.pixels(image, [5, 0, 1, 2, 3, 4])
    assert numbers["sequence"] == [5, 0, 1, 2, 3, 4]
    with pytest.raises(ConfigError, match=r"order is no permutation of 0 … 5"):
        analysis.pixels(image, [0, 0, 1, 2, 3, 4])
    maps = np.arange(40 * 4).reshape(40, 2, 2)
    figure, numbers = analysis.frames(maps, shown=3)
    assert numbers == {"frames": [0, 20, 39], "low": 0.0, "high": 159.0}
    pictures = [axis.images[0] for axis in figure.axes[:3]]
    assert {picture.get_clim() for picture in pictures} == {(0.0, 159.0)}
    assert pictures[1].get_array().tolist() == maps[20].tolist()
    assert analysis.frames(maps[:2])[1]["frames"] == [0, 1]


def test_the_palette_is_one():
    assert figures.COLOURS is analysis.COLOURS
    assert len(set(analysis.COLOURS)) == 7


def test_the_page_runs_and_draws_every_function(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[2] / "docs" / "analysis.md"
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert failed == 0
    assert tried >= 40
    drawn = sorted(p.name for p in tmp_path.glob("*.png"))
    assert len(drawn) == 11
    assert page.read_text().count(".savefig(") == 12  # one of them in a sentence
    for name in drawn:
        image = imread(tmp_path / name)
        assert min(image.shape[:2]) > 150
        assert float(image[..., :3].std()) > 0.02, f"{name} is blank"
        edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])[:, :3]
        assert float((edge < 0.5).any(1).mean()) < 0.02, f"{name}: something is cut at the edge"
    functions = {
        "anytime",
        "activity",
        "time_constants",
        "neuron_traces",
        "streaming",
        "pareto",
        "heat_map",
        "compare",
        "raster",
        "pixels",
        "frames",
    }
    assert all(f"analysis.{name}(" in page.read_text() for name in functions)
    assert plt.get_fignums() == []
