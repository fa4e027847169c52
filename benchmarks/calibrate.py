"""Equal firing rates: a bisection on one gain for each hidden layer.

A silent network would win for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from benchmarks.shapes import BenchmarkError, Shape

RECORDINGS = 8
"""How many recordings the calibration runs on; rates are then measured on the whole batch."""


def find_gain(
    rate: Callable[[float], float], wanted: float, *, closeness: float = 0.03, attempts: int = 48
) -> float:
    """Return a gain > 0 at which `rate(gain)` is `wanted` within the relative `closeness`.

    Starts at 1, doubles or halves until the wanted rate lies between two gains, then halves that
    interval (on a logarithmic scale). Raises `BenchmarkError` when no gain in 2^-20 … 2^20 gives
    the rate.
    """
    low: float | None = None
    high: float | None = None
    gain, got = 1.0, math.nan
    for _ in range(attempts):
        got = rate(gain)
        if abs(got - wanted) <= closeness * wanted:
            return gain
        if got < wanted:
            low = gain
        else:
            high = gain
        if high is None:
            gain *= 2
        elif low is None:
            gain /= 2
        else:
            gain = math.sqrt(low * high)
        if not 2.0**-20 <= gain <= 2.0**20:
            break
    raise BenchmarkError(
        f"no gain makes a layer fire at {wanted:.1%} of all steps; the last one "
        f"tried gave {got:.2%}"
    )


def check_rates(who: str, shape: Shape, rates: tuple[float, ...]) -> None:
    """Raise `BenchmarkError` when a hidden layer fires outside the band of the shape."""
    low, high = shape.band
    for k, rate in enumerate(rates):
        if not low <= rate <= high:
            raise BenchmarkError(
                f"{who}, {shape.name}: hidden layer {k + 1} fires at "
                f"{rate:.1%}; expected {low:.0%} to {high:.0%}"
            )
