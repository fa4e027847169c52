"""Level crossing: events by pencil, the error bound, what the published form loses, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srnn._check import ConfigError, DataError, ShapeError
from srnn.encode.level_crossing import LevelCrossing, normalise


def test_events_by_pencil() -> None:
    """L = 1; two channels, of which the second is the first upside down."""
    a = np.array([0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.0, 1.0, 0.5, 0.0])
    events = LevelCrossing(1.0)(np.stack([a, -a], axis=1))
    assert events.dtype == np.float32
    assert events.shape == (10, 4)
    up, down = [0, 0, 0, 1, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1, 0, 1]
    assert np.array_equal(events, np.array([up, down, down, up]).T)


def test_published_form_compares_successive_samples() -> None:
    """L = 1: only the jumps count, and the crossing itself does."""
    x = np.array([[0.0], [0.75], [1.5], [2.5], [2.5], [1.5], [0.75], [-2.0]])
    events = LevelCrossing(1.0, published=True)(x)
    assert events[:, 0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert events[:, 1].tolist() == [0, 0, 0, 0, 0, 1, 0, 1]


steps = st.lists(st.tuples(*[st.floats(-1, 1)] * 3), min_size=0, max_size=60)


@settings(max_examples=200, deadline=None)
@given(steps, st.floats(1e-3, 1e3), st.tuples(*[st.floats(-5, 5)] * 3))
def test_slow_signal_is_rebuilt_within_one_level(
    moves: list[tuple[float, ...]], level: float, start: tuple[float, ...]
) -> None:
    """The property the module promises: no step above one level, so no error above one level."""
    x = level * (np.array(start) + np.cumsum([(0.0, 0.0, 0.0), *moves], axis=0))
    encoder = LevelCrossing(level)
    events = encoder(x)
    assert np.isin(events, (0, 1)).all()
    assert not (events[:, 0::2] * events[:, 1::2]).any()
    assert not events[0].any()
    rebuilt = encoder.reconstruct(events, x[0])
    assert rebuilt.shape == x.shape
    assert np.abs(x - rebuilt).max() <= level * (1 + 1e-9)
    assert np.allclose(encoder.error(x), np.abs(x - rebuilt).max(axis=0) / level)


def test_fast_signal_lags_and_catches_up() -> None:
    """A jump of 5 levels: 4 levels missing at once, none 4 steps later; the error says so."""
    x = np.r_[np.zeros(3), np.full(8, 5.0)][:, None]
    encoder = LevelCrossing(1.0)
    lag = x - encoder.reconstruct(encoder(x), x[0])
    assert lag[:, 0].tolist() == [0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0]
    assert encoder.error(x).tolist() == [4.0]


def test_published_form_loses_slow_movement() -> None:
    """A ramp of half a level a step leaves no event, and the error grows without bound; the default
    form follows it.
    """
    ramp = np.arange(101.0)[:, None] / 2
    assert LevelCrossing(1.0, published=True)(ramp).sum() == 0
    assert LevelCrossing(1.0, published=True).error(ramp) == 50.0
    assert LevelCrossing(1.0).error(ramp) <= 1.0


def test_stacked_recordings_encode_as_alone() -> None:
    """(B, T, C) in front of (T, C), both forms, error and reconstruction too."""
    x = normalise(np.random.default_rng(0).normal(size=(5, 200, 3)).cumsum(axis=1))
    for encoder in (LevelCrossing(0.2), LevelCrossing(0.2, published=True)):
        together = encoder(x)
        assert together.shape == (5, 200, 6)
        assert all(np.array_equal(together[b], encoder(x[b])) for b in range(5))
        assert all(np.array_equal(encoder.error(x)[b], encoder.error(x[b])) for b in range(5))
        assert together.sum() > 100


def test_float32_and_integer_signals() -> None:
    x = np.array([[0], [1], [2], [1]])
    assert np.array_equal(LevelCrossing(1.0)(x), LevelCrossing(1.0)(x.astype(np.float32)))
    assert LevelCrossing(1.0)(x)[:, 0].tolist() == [0, 1, 1, 0]


def test_normalise() -> None:
    x = np.stack(
        [np.arange(50.0), np.full(50, 5.12), np.random.default_rng(1).normal(7, 3, 50)], axis=1
    )
    z = normalise(x.astype(np.float32))
    assert z.shape == x.shape
    assert np.allclose(z.mean(axis=0), 0, atol=1e-6)
    assert np.allclose(z.std(axis=0), [1, 0, 1])
    assert not z[:, 1].any()


@pytest.mark.parametrize("threshold", [0.0, -0.3, float("nan"), float("inf")])
def test_bad_threshold(threshold: float) -> None:
    with pytest.raises(ConfigError, match=r"LevelCrossing\(threshold\) is"):
        LevelCrossing(threshold)


def test_bad_signals() -> None:
    with pytest.raises(ShapeError, match=r"\(7,\); expected \(T, C\).*signal\[:, None\]"):
        LevelCrossing()(np.zeros(7))
    with pytest.raises(ShapeError, match=r"normalise: signal has shape \(0, 2\)"):
        normalise(np.zeros((0, 2)))
    with pytest.raises(DataError, match=r"signal is nan at \(3, 1\)"):
        LevelCrossing()(np.where(np.arange(10).reshape(5, 2) == 7, np.nan, 0.0))
    with pytest.raises(ShapeError, match=r"\(5, 3\); expected \(T, 2C\)"):
        LevelCrossing().reconstruct(np.zeros((5, 3)))


def test_reconstruct_from_any_start() -> None:
    signal = np.cumsum(np.full((30, 2), 0.1), axis=0)
    code = LevelCrossing(0.3)
    events = code(signal)
    np.testing.assert_allclose(
        code.reconstruct(events) + signal[0], code.reconstruct(events, signal[0])
    )
    with pytest.raises(
        ShapeError,
        match=r"start has shape \(3,\); expected a number, or one for "
        r"each of 2 channels",
    ):
        code.reconstruct(events, [0.0, 0.0, 0.0])
