"""Rate coding: a value in [0, 1] becomes the probability of a spike at each step.

    s[t] ~ Bernoulli(peak · x[t])

Often called Poisson coding: for small probabilities a spike train drawn so is close to a Poisson
process of the same rate. A value that is to be read from spikes alone needs several steps: `repeat`
holds every frame for so many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import DataError, ShapeError, check_range
from srnn.encode import streaming


@dataclass(frozen=True)
class Poisson:
    """Draw spikes, each step and channel by itself. peak: the probability of a spike where the
    value is 1, in (0, 1].
    """

    peak: float = 1.0

    def __post_init__(self) -> None:
        """Raise `ConfigError` unless 0 < peak ≤ 1."""
        check_range("Poisson(peak)", self.peak, 0.0, 1.0, open_low=True)

    def __call__(self, values: ArrayLike, generator: np.random.Generator) -> NDArray[np.uint8]:
        """Encode: (T, C) values in [0, 1] -> (T, C) spikes in {0, 1}. The same state of the
        generator gives the same spikes.

        Raises `ShapeError` for another shape, `DataError` for a value that is not finite or outside
        [0, 1].
        """
        x = check_values("Poisson", values)
        if x.min() < 0 or x.max() > 1:
            raise DataError(
                f"Poisson: values reach from {x.min():g} to {x.max():g}; expected "
                "values in [0, 1]. Scale them first."
            )
        return draw(self.peak * x, generator)

    def streaming(self, channels: int, generator: np.random.Generator) -> PoissonStream:
        """Return the encoder for values of C channels that come in pieces: the spikes of the whole
        recording.
        """
        return PoissonStream(self, channels, generator)


class PoissonStream:
    """Rate coding of values that come in pieces: every step gives its spikes at once.

    It goes on drawing after a flush.
    """

    lag = 0

    def __init__(self, encoder: Poisson, channels: int, generator: np.random.Generator) -> None:
        self.encoder, self.channels, self._generator = encoder, channels, generator

    @property
    def state(self) -> dict[str, Any]:
        return dict(self._generator.bit_generator.state)

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._generator.bit_generator.state = state

    def push(self, samples: ArrayLike) -> NDArray[np.uint8]:
        x = streaming.signal("Poisson", samples, self.channels)
        return self.encoder(x, self._generator) if len(x) else self.flush()

    def flush(self) -> NDArray[np.uint8]:
        return np.empty((0, self.channels), np.uint8)


def draw(probability: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return spikes in {0, 1}, each drawn by itself with its probability."""
    return (generator.random(probability.shape, np.float32) < probability).view(np.uint8)


def repeat(values: ArrayLike, steps: int) -> NDArray[Any]:
    """Hold each frame for `steps` steps: (T, C) -> (T · steps, C).

    Raises `ConfigError` for steps < 1, `ShapeError` for another shape.
    """
    check_range("repeat(steps)", steps, 1)
    x = np.asarray(values)
    if x.ndim != 2:
        raise ShapeError(f"repeat: values have shape {x.shape}; expected (T, C).")
    return np.repeat(x, steps, axis=0)


def check_values(who: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return values (T, C) as float64.

    Raises `ShapeError` for another shape, `DataError` for a value that is not finite.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or 0 in x.shape:
        fix = " For a single channel pass values[:, None]." if x.ndim == 1 and x.size else ""
        raise ShapeError(f"{who}: values have shape {x.shape}; expected (T, C) with T, C ≥ 1.{fix}")
    if not np.isfinite(x).all():
        t, c = (int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise DataError(
            f"{who}: the value at step {t}, channel {c} is {x[t, c]}; expected finite numbers."
        )
    return x
