"""Bins: each form against a loop over the spikes that follows its definition word by word, and what
is refused.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srnn._check import ConfigError, DataError, ShapeError
from srnn.encode.bins import Bins


def _loop(bins: Bins, times: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, int]:
    """The grid and the number of lost spikes, one spike at a time."""
    grid, lost = np.zeros((bins.steps, bins.channels), np.int64), 0
    dt = bins.step_seconds
    edges = np.linspace(0, dt * (bins.steps - 1), bins.steps)
    for t, u in zip(times.tolist(), units.tolist(), strict=True):
        column = u
        if bins.form == "plain":
            step = math.floor(t / dt)
        elif bins.form == "yin":
            step = next((i for i in range(bins.steps) if t <= i * dt), bins.steps)
            column = bins.channels - u
        else:
            step = int(np.digitize(t, edges))
        if step >= bins.steps or column >= bins.channels:
            lost += 1
        else:
            grid[step, column] += 1
    counted = bins.form == "sparch" or bins.counts
    return np.minimum(grid, 255 if counted else 1).astype(np.uint8), lost


def _spikes(
    count: int, channels: int, seconds: float, seed: int, dtype: Any = np.float16
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0, seconds, count).astype(dtype)).astype(np.float64), rng.integers(
        0, channels, count
    ).astype(np.uint16)


FORMS = [
    Bins(0.004, 250),
    Bins(0.004, 250, counts=True),
    Bins(0.004, 250, form="yin"),
    Bins(0.010, 100, form="yin"),
    Bins(1.4 / 99, 100, form="sparch"),
    Bins(0.05, 7, 12, counts=True),
    Bins(0.05, 7, 12, form="yin"),
    Bins(0.05, 1, 1, form="sparch"),
]


@pytest.mark.parametrize("bins", FORMS, ids=lambda b: f"{b.form}-{b.step_seconds:.3f}-{b.counts}")
def test_against_a_loop(bins: Bins) -> None:
    """Spikes on a grid of float16, in order and shuffled; several fall on edges, outside the
    window, or into one bin.
    """
    kept = dropped = 0
    for seed in range(6):
        times, units = _spikes(600, bins.channels, 1.5, seed)
        # on the edges, in the arithmetic of the definition
        times[:40] = np.arange(40) * bins.step_seconds
        grid, lost = _loop(bins, times, units)
        order = np.random.default_rng(seed).permutation(len(times))
        for t, u in (
            (np.sort(times), units[np.argsort(times, kind="stable")]),
            (times[order], units[order]),
        ):
            got = bins(t, u)
            assert (got.shape, got.dtype.name) == ((bins.steps, bins.channels), "uint8")
            assert got.flags["C_CONTIGUOUS"]
            assert np.array_equal(got, grid)
            assert bins.lost(t, u) == lost
        kept, dropped = kept + int(grid.sum()), dropped + lost
    assert (kept > 0) == (bins.steps > 1)
    assert dropped > 0


@given(
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, 4)), max_size=30),
    st.sampled_from(["plain", "yin", "sparch"]),
    st.integers(1, 9),
)
def test_against_a_loop_on_any_spikes(
    spikes: list[tuple[float, int]], form: Any, steps: int
) -> None:
    bins = Bins(0.1, steps, 5, form=form)
    times, units = np.array([t for t, _ in spikes]), np.array([u for _, u in spikes], np.int64)
    grid, lost = _loop(bins, times, units)
    assert np.array_equal(bins(times, units), grid)
    assert bins.lost(times, units) == lost


def test_yin_by_hand() -> None:
    """Step 0 holds t = 0 only, an edge belongs to the step it ends, the column is mirrored, unit 0
    and what is later are dropped.
    """
    bins = Bins(0.004, 250, form="yin")
    times = [0.0, 0.001, 0.004, 0.0041, 0.996, 0.9961, 0.5, 0.001]
    units = [1, 2, 3, 699, 5, 6, 0, 2]
    assert np.argwhere(bins(times, units)).tolist() == [
        [0, 699],
        [1, 697],
        [1, 698],
        [2, 1],
        [249, 695],
    ]
    assert bins(times, units).max() == 1
    assert bins.lost(times, units) == 2
    assert not bins(*_spikes(5000, 700, 1.0, 0))[:, 0].any()


def test_sparch_by_hand() -> None:
    """Row 0 stays empty; counts; 1.4 s and later are dropped."""
    bins = Bins(1.4 / 99, 100, form="sparch")
    times, units = [0.0, 0.01415, 0.01415, 1.3999, 1.4, 2.0], [0, 7, 7, 699, 1, 2]
    got = bins(times, units)
    assert np.argwhere(got).tolist() == [[1, 0], [2, 7], [99, 699]]
    assert got.sum() == 4
    assert got[2, 7] == 2
    assert bins.lost(times, units) == 2


def test_plain_by_hand() -> None:
    times, units = [0.0, 0.0039, 0.004, 0.999, 1.0], [0, 0, 1, 699, 3]
    assert np.argwhere(Bins(0.004, 250)(times, units)).tolist() == [[0, 0], [1, 1], [249, 699]]
    assert Bins(0.004, 250)(times, units)[0, 0] == 1
    assert Bins(0.004, 250, counts=True)(times, units)[0, 0] == 2
    assert Bins(0.004, 250).lost(times, units) == 1


@pytest.mark.parametrize("count", [255, 256, 257, 511, 1000])
def test_counts_saturate(count: int) -> None:
    times, units = np.full(count + 3, 0.05), np.r_[np.full(count, 1), 0, 0, 2].astype(np.uint16)
    for bins in (Bins(0.1, 2, 3, counts=True), Bins(0.1, 2, 3, form="sparch")):
        row = 0 if bins.form == "plain" else 1
        assert bins(times, units)[row].tolist() == [2, min(count, 255), 1]
    assert Bins(0.1, 2, 3)(times, units)[0].tolist() == [1, 1, 1]


def test_no_spikes() -> None:
    for form in ("plain", "yin", "sparch"):
        bins = Bins(0.1, 3, 4, form=form)
        assert bins([], []).tolist() == [[0] * 4] * 3
        assert bins.lost([], []) == 0


def test_infinite_times_are_lost() -> None:
    for form in ("plain", "yin", "sparch"):
        bins = Bins(0.1, 3, 4, form=form)
        assert bins.lost([0.05, math.inf], [1, 1]) == 1


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int64, np.uint64])
def test_unit_types(kind: Any) -> None:
    for form in ("plain", "yin", "sparch"):
        bins = Bins(0.1, 3, 200, form=form)
        assert np.array_equal(
            bins([0.05, 0.06], np.array([3, 99], kind)), bins([0.05, 0.06], [3, 99])
        )
        assert bins([0.05, 0.06], np.array([3, 99], kind)).sum() == 2


@pytest.mark.parametrize(
    ("times", "units", "error", "message"),
    [
        ([0.1, 0.2], [1], ShapeError, r"times have shape \(2,\) and units \(1,\)"),
        ([[0.1]], [[1]], ShapeError, r"expected \(M,\)"),
        ([0.1, -0.2], [1, 1], DataError, r"a spike at -0.2 s"),
        ([0.1, math.nan, 0.3], [1, 1, 1], DataError, r"a spike at nan s"),
        ([math.nan], [1], DataError, r"a spike at nan s"),
        ([0.1], [1.0], DataError, r"units have dtype float64"),
        ([0.1], [True], DataError, r"units have dtype bool"),
        ([0.1, 0.2], [4, 5], DataError, r"a spike of unit 5; expected 0 … 4"),
        ([0.1], [-1], DataError, r"a spike of unit -1"),
    ],
)
def test_bad_spikes(times: Any, units: Any, error: type[Exception], message: str) -> None:
    bins = Bins(0.1, 3, 5)
    for call in (bins, bins.lost):
        with pytest.raises(error, match=message):
            call(times, np.array(units))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step_seconds": 0.0}, "step_seconds"),
        ({"step_seconds": math.nan}, "step_seconds"),
        ({"steps": 0}, "at least 1"),
        ({"channels": 0}, "at least 1"),
        ({"form": "yang"}, "there is no 'yang'.*Known: plain, sparch, yin"),
        ({"form": "yin", "counts": True}, "presence, not counts"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Bins(**{"step_seconds": 0.1, "steps": 3, **settings})
