"""Rate coding: rates, reproducibility, frames held for several steps, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from srnn._check import ConfigError, DataError, ShapeError
from srnn.encode.rate import Poisson, repeat


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("peak", [1.0, 0.3])
def test_rates_follow_the_values(peak: float) -> None:
    x = np.array([[0.0, 0.1, 0.5, 0.9, 1.0]])
    spikes = Poisson(peak)(repeat(x, 20_000), _rng())
    assert spikes.shape == (20_000, 5)
    assert spikes.dtype == np.uint8
    assert set(np.unique(spikes)) == {0, 1}
    assert np.allclose(spikes.mean(axis=0), peak * x[0], atol=0.015)
    assert not spikes[:, 0].any()
    assert spikes[:, 4].all() == (peak == 1.0)


def test_steps_and_channels_are_independent() -> None:
    spikes = Poisson()(np.full((5000, 3), 0.5), _rng()).astype(float)
    together = np.corrcoef(np.hstack([spikes[:-1], spikes[1:]]).T)
    assert np.abs(together[~np.eye(6, dtype=bool)]).max() < 0.06


def test_same_generator_same_spikes() -> None:
    x = _rng(1).random((50, 4))
    assert np.array_equal(Poisson()(x, _rng(7)), Poisson()(x, _rng(7)))
    assert (Poisson()(x, _rng(7)) != Poisson()(x, _rng(8))).sum() > 20


def test_repeat() -> None:
    assert repeat([[1, 2], [3, 4]], 2).tolist() == [[1, 2], [1, 2], [3, 4], [3, 4]]
    assert repeat(np.zeros((3, 2), np.uint8), 1).dtype == np.uint8
    with pytest.raises(ConfigError, match=r"repeat\(steps\) is 0"):
        repeat([[1]], 0)
    with pytest.raises(ShapeError, match=r"\(3,\); expected \(T, C\)"):
        repeat(np.zeros(3), 2)


def test_bad_input() -> None:
    for peak in (0.0, -0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match=r"Poisson\(peak\) is"):
            Poisson(peak)
    for x, error, message in (
        (np.full((2, 2), 1.5), DataError, r"reach from 1.5 to 1.5; expected values in \[0, 1\]"),
        (np.full((2, 2), -0.5), DataError, "reach from -0.5"),
        (np.array([[0.0, np.nan]]), DataError, "step 0, channel 1 is nan"),
        (np.zeros(4), ShapeError, r"\(4,\).*values\[:, None\]"),
        (np.zeros((0, 4)), ShapeError, r"\(0, 4\)"),
    ):
        with pytest.raises(error, match=message):
            Poisson()(x, _rng())
