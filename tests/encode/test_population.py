"""Population coding: tuning by pencil, what the spikes keep of a value, both kinds of spikes, bad
input.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srnn._check import ConfigError, DataError, ShapeError
from srnn.encode.population import Population


def test_tuning_by_pencil() -> None:
    """Five neurons at 0, 1/4 … 1; sd one spacing: exp(-1/2), exp(-2) … beside the centre."""
    f = Population(5).tuning([[0.25], [1.0], [1.25]])
    assert f.shape == (3, 5)
    assert np.allclose(f[0], np.exp([-0.5, 0.0, -0.5, -2.0, -4.5]))
    assert np.allclose(f[1], np.exp([-8.0, -4.5, -2.0, -0.5, 0.0]))
    assert np.allclose(f[2], np.exp([-12.5, -8.0, -4.5, -2.0, -0.5]))
    assert np.allclose(
        Population(5, width=2.0, peak=0.5).tuning([[0.25]]),
        0.5 * np.exp(np.array([-0.5, 0.0, -0.5, -2.0, -4.5]) / 4),
    )
    assert Population(1, -1.0, 3.0).centres.tolist() == [1.0]
    assert Population(3, -1.0, 3.0).centres.tolist() == [-1.0, 1.0, 3.0]


def test_channels_stay_together() -> None:
    x = np.array([[0.0, 1.0], [1.0, 0.51]])
    f, alone = Population(40).tuning(x), [Population(40).tuning(x[:, [c]]) for c in range(2)]
    assert f.shape == (2, 80)
    assert np.array_equal(f, np.hstack(alone))
    assert f.reshape(2, 2, 40).argmax(2).tolist() == [[0, 39], [39, 20]]


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 200),
    st.sampled_from([1, 2, 7, 40]),
    st.floats(0.1, 1.0),
)
def test_deterministic_counts_follow_the_tuning(
    seed: int, steps: int, neurons: int, peak: float
) -> None:
    """The property the module promises: after any number of steps the count is within 1/2 of the
    sum.
    """
    x = np.random.default_rng(seed).random((steps, 2))
    code = Population(neurons, spikes="deterministic", peak=peak)
    spikes = code(x)
    assert spikes.shape == (steps, 2 * neurons)
    assert spikes.max(initial=0) <= 1
    assert (
        np.abs(np.cumsum(spikes, 0, dtype=np.int64) - np.cumsum(code.tuning(x), 0)).max()
        <= 0.5 + 1e-9
    )


def test_poisson_rates_follow_the_tuning() -> None:
    code = Population(20, peak=0.8)
    x = np.full((5000, 1), 0.37)
    spikes = code(x, np.random.default_rng(0))
    assert spikes.dtype == np.uint8
    assert np.allclose(spikes.mean(0), code.tuning(x)[0], atol=0.03)
    assert np.array_equal(spikes, code(x, np.random.default_rng(0)))
    assert not np.array_equal(spikes, code(x, np.random.default_rng(1)))


@pytest.mark.parametrize("spikes", ["poisson", "deterministic"])
def test_a_value_can_be_read_from_the_spikes(spikes: str) -> None:
    code = Population(40, -2.0, 2.0, spikes=spikes)  # type: ignore[arg-type]
    errors = []
    for value in np.linspace(-1.5, 1.5, 13):
        counts = code(np.full((100, 1), value), np.random.default_rng(0)).sum(0)
        errors.append(abs(counts @ code.centres / counts.sum() - value))
    assert len(errors) == 13
    assert max(errors) < 0.05


def test_bad_input() -> None:
    for wrong, message in (
        ({"neurons": 0}, "sizes must be integers of at least 1"),
        ({"neurons": 2.5}, "sizes must be integers"),
        ({"low": 1.0}, r"Population\(high\) is 1.0; expected a number more than 1"),
        ({"low": float("nan")}, r"Population\(low\) is nan"),
        ({"width": 0.0}, r"Population\(width\)"),
        ({"peak": 1.5}, r"Population\(peak\)"),
        ({"spikes": "poison"}, "Did you mean 'poisson'"),
    ):
        with pytest.raises(ConfigError, match=message):
            Population(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs a generator"):
        Population()([[0.5]])
    with pytest.raises(ShapeError, match=r"Population: values have shape \(3,\)"):
        Population()(np.zeros(3))
    with pytest.raises(DataError, match="step 1, channel 0 is inf"):
        Population().tuning([[0.0], [np.inf]])
