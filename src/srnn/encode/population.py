"""Population coding: a value excites those neurons of a row most whose centres lie nearest to it.

    f_k(x) = peak · exp(-(x - c_k)² / (2 σ²))        k = 0 … neurons-1,  σ = width · spacing

The centres c_k are evenly spaced, the first at `low`, the last at `high` (a single neuron sits in
the middle). f_k is the probability of a spike per step ("poisson"), or what is added to a sum that
spikes whenever it passes the next half-integer ("deterministic"): after any number of steps the
count of spikes is within 1/2 of the sum of f_k.

Yin, Corradi & Bohté 2020 feed sequential and permuted MNIST to their networks through 40 or 80 such
inputs, but publish neither the shape nor the width nor the rate of the tuning: Gaussian, one
spacing wide and with a peak of 1 is a choice of this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import ConfigError, check_choice, check_range, check_sizes
from srnn.encode import streaming
from srnn.encode.rate import check_values, draw


@dataclass(frozen=True)
class Population:
    """Encode each channel by a row of neurons with Gaussian tuning.

    neurons: how many for each channel. low, high: the range of values that the centres span; a
    value beyond it excites the outermost neuron the less the farther it lies. width: sd of the
    tuning, in spacings of the centres. peak: probability of a spike per step at the centre, in (0,
    1].
    """

    neurons: int = 40
    low: float = 0.0
    high: float = 1.0
    width: float = 1.0
    spikes: Literal["poisson", "deterministic"] = "poisson"
    peak: float = 1.0

    def __post_init__(self) -> None:
        """Raise `ConfigError` for settings that cannot work."""
        check_sizes("Population", self.neurons)
        check_range("Population(low)", self.low)
        check_range("Population(high)", self.high, self.low, open_low=True)
        check_range("Population(width)", self.width, 0.0, open_low=True)
        check_range("Population(peak)", self.peak, 0.0, 1.0, open_low=True)
        check_choice("Population(spikes)", self.spikes, ("poisson", "deterministic"))

    @property
    def centres(self) -> NDArray[np.float64]:
        """The value each neuron responds to most, (neurons,), ascending."""
        return (
            np.linspace(self.low, self.high, self.neurons)
            if self.neurons > 1
            else np.array([(self.low + self.high) / 2])
        )

    def tuning(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return f_k of each value: (T, C) -> (T, C · neurons), all neurons of channel 0 first.

        Raises `ShapeError` for another shape, `DataError` for a value that is not finite.
        """
        x = check_values("Population", values)
        sd = self.width * (self.high - self.low) / max(self.neurons - 1, 1)
        return self.peak * np.exp(-0.5 * ((x[:, :, None] - self.centres) / sd) ** 2).reshape(
            len(x), -1
        )

    def __call__(
        self, values: ArrayLike, generator: np.random.Generator | None = None
    ) -> NDArray[np.uint8]:
        """Encode: (T, C) values -> (T, C · neurons) spikes in {0, 1}, all neurons of channel 0
        first.

        generator: what "poisson" draws from; the same state gives the same spikes. Raises
        `ConfigError` where it is missing, and as `tuning`.
        """
        f = self.tuning(values)
        if self.spikes == "poisson":
            if generator is None:
                raise ConfigError(
                    'Population(spikes="poisson") needs a generator: pass '
                    "np.random.default_rng(seed)."
                )
            return draw(f, generator)
        return self._counted(f, np.zeros(f.shape[1]))[0]

    @staticmethod
    def _counted(
        f: NDArray[np.float64], before: NDArray[np.float64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Return the spikes of (T, N) values after those whose sum is `before` (N,), and the sum
        with them.
        """
        sums = np.cumsum(np.concatenate([before[None], f]), axis=0)
        return (np.diff(np.floor(sums + 0.5), axis=0) > 0).view(np.uint8), sums[-1]

    def streaming(
        self, channels: int, generator: np.random.Generator | None = None
    ) -> PopulationStream:
        """Return the encoder for values of C channels that come in pieces: the spikes of the whole
        recording. Raises as the call does.
        """
        if self.spikes == "poisson" and generator is None:
            raise ConfigError(
                'Population(spikes="poisson") needs a generator: pass np.random.default_rng(seed).'
            )
        return PopulationStream(self, channels, generator)


class PopulationStream:
    """Population coding of values that come in pieces: every step gives its spikes at once.
    "poisson" goes on drawing after a flush.
    """

    lag = 0

    def __init__(
        self, encoder: Population, channels: int, generator: np.random.Generator | None
    ) -> None:
        self.encoder, self.channels, self._generator = encoder, channels, generator
        self._sums = np.zeros(channels * encoder.neurons)

    @property
    def state(self) -> dict[str, Any]:
        return {
            "sums": self._sums,
            "generator": None if self._generator is None else self._generator.bit_generator.state,
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._sums = state["sums"]
        if self._generator is not None:
            self._generator.bit_generator.state = state["generator"]

    def push(self, samples: ArrayLike) -> NDArray[np.uint8]:
        x = streaming.signal("Population", samples, self.channels)
        if not len(x):
            return np.empty((0, len(self._sums)), np.uint8)
        f = self.encoder.tuning(x)
        if self._generator is not None and self.encoder.spikes == "poisson":
            return draw(f, self._generator)
        spikes, self._sums = self.encoder._counted(f, self._sums)
        return spikes

    def flush(self) -> NDArray[np.uint8]:
        self._sums = np.zeros_like(self._sums)
        return np.empty((0, len(self._sums)), np.uint8)
