"""Augmentation: each setting by itself, what is lost at the edges, counts, what analog signals may
take, bad input.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srnn._check import ConfigError, ShapeError
from srnn.encode.augment import Augment


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _events(seed: int = 0, steps: int = 100, channels: int = 60, rate: float = 0.1) -> np.ndarray:
    return (_rng(seed).random((steps, channels)) < rate).astype(np.uint8)


def test_nothing_set_is_identity() -> None:
    x = _events()
    assert Augment()(x, _rng()) is x
    analog = _rng().normal(size=(5, 2))
    assert Augment()(analog, _rng()) is analog


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, bool])
@pytest.mark.parametrize(
    "augment",
    [
        Augment(channel_shift=9),
        Augment(time_shift=9),
        Augment(channel_jitter=2.0),
        Augment(time_jitter=3.0),
        Augment(0.5, 2, 3, 0.7, 0.1, 0.1),
    ],
)
def test_shape_dtype_and_seed(augment: Augment, dtype: type) -> None:
    x = _events().astype(dtype)
    before = x.copy()
    y = augment(x, _rng(3))
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert np.isin(y, (0, 1)).all()
    assert np.array_equal(x, before)
    assert np.array_equal(y, augment(x, _rng(3)))
    assert not np.array_equal(y, x)


def test_shifts_move_everything_alike_and_uniformly() -> None:
    x = np.zeros((40, 30), np.uint8)
    x[20, 15] = x[21, 16] = 1
    moves = []
    for seed in range(300):
        y = Augment(channel_shift=3, time_shift=2)(x, _rng(seed))
        (t, c), second = np.argwhere(y)
        assert second.tolist() == [t + 1, c + 1]
        moves.append((int(t) - 20, int(c) - 15))
    counts = [moves.count((t, c)) for t in range(-2, 3) for c in range(-3, 4)]
    assert sum(counts) == 300
    assert min(counts) > 0


def test_edges_lose_events() -> None:
    x = np.ones((4, 3), np.uint8)
    left = {int(Augment(channel_shift=50)(x, _rng(seed)).sum()) for seed in range(300)}
    assert left == {0, 4, 8, 12}
    assert Augment(time_shift=1000)(x, _rng(0)).sum() == 0
    jittered = Augment(channel_jitter=5.0)(np.full((500, 3), 4, np.uint8), _rng())
    assert 0.1 < jittered.sum() / 6000 < 0.4  # most leave three channels


def test_jitter_has_the_sd_that_was_asked_for() -> None:
    x = np.zeros((401, 401), np.uint16)
    x[200, 200] = 20_000
    y = Augment(channel_jitter=20.0, time_jitter=5.0)(x, _rng())
    t, c = np.nonzero(y)
    weights = y[t, c]
    assert weights.sum() == 20_000
    for axis, sd in ((t, 5.0), (c, 20.0)):
        mean = np.average(axis, weights=weights)
        assert mean == pytest.approx(200, abs=0.5)
        assert np.sqrt(np.average((axis - mean) ** 2, weights=weights)) == pytest.approx(
            sd, rel=0.03
        )


def test_drop() -> None:
    x = _events(steps=500)
    y = Augment(drop=0.3)(x, _rng())
    assert y.sum() / x.sum() == pytest.approx(0.7, abs=0.03)
    assert not (y > x).any()
    assert Augment(drop=1.0)(x, _rng()).sum() == 0
    z = Augment(drop_channels=0.3)(x, _rng())
    silent = ~z.any(axis=0)
    assert 8 <= silent.sum() <= 28
    assert np.array_equal(z[:, ~silent], x[:, ~silent])


def test_counts_add_up_and_stop_at_the_top() -> None:
    x = np.zeros((1, 3), np.uint8)
    x[0] = 200
    y = Augment(channel_jitter=0.6)(x, _rng())
    assert y.max() <= 255
    many = np.full((2, 2), 250, np.uint8)
    total = Augment(time_jitter=0.4, channel_jitter=0.4)(many.astype(np.int32), _rng()).sum()
    assert 0 < total <= 1000
    squeezed = Augment(time_jitter=0.3)(np.full((1, 1), 255, np.uint8), _rng())
    assert 200 < squeezed[0, 0] <= 255


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 9),
    st.integers(1, 9),
    st.floats(0, 3),
    st.floats(0, 3),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_events_are_never_made(
    seed: int, steps: int, channels: int, cj: float, tj: float, cs: int, ts: int
) -> None:
    x = _rng(seed).integers(0, 3, (steps, channels))
    y = Augment(cj, cs, ts, tj)(x, _rng(seed))
    assert y.shape == x.shape
    assert y.min() >= 0
    assert y.sum() <= x.sum()


def test_analog_signals_can_be_shifted_only() -> None:
    x = _rng().normal(size=(20, 4)).astype(np.float32)
    y = Augment(time_shift=5)(x, _rng(1))
    assert any(
        np.array_equal(y[max(s, 0) : 20 + min(s, 0)], x[max(-s, 0) : 20 - max(s, 0)])
        for s in range(-5, 6)
    )
    assert Augment(channel_shift=1)(x, _rng(1)).shape == (20, 4)
    refused = [
        Augment(channel_jitter=1.0),
        Augment(time_jitter=1.0),
        Augment(drop=0.1),
        Augment(drop_channels=0.1),
    ]
    for augment in refused:
        for bad in (x, -np.ones((2, 2)), np.array([[np.nan]]), np.array([[np.inf]])):
            with pytest.raises(ConfigError, match="are no counts"):
                augment(bad, _rng())
    assert len(refused) == 4


def test_bad_settings() -> None:
    for wrong in (
        {"channel_jitter": -1.0},
        {"time_jitter": float("nan")},
        {"channel_shift": -1},
        {"time_shift": 1.5},
        {"drop": 1.1},
        {"drop_channels": -0.1},
    ):
        with pytest.raises(ConfigError, match=rf"Augment\({next(iter(wrong))}\) is"):
            Augment(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"\(3,\); expected \(T, C\)"):
        Augment(drop=0.5)(np.zeros(3), _rng())
