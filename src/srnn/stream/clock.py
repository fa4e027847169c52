"""The times that lines begin with: which samples go on, how many are missing before one, and what a
clock does that is none.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from numpy.typing import NDArray

from srnn._check import DataError

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Seconds of a unit of time."""
FAR = 500
"""Periods from which on an advance may be a wrong unit, and waits for the next sample."""
STILL = 100
"""Samples at the start whose time hardly goes on, from which on the clock is no clock."""


class Placed(NamedTuple):
    """A sample in its place. row: its numbers, the time first; before: samples that are missing
    before it; lost: samples before it that came with a time that cannot be; reset: the clock was
    set to another time, begin anew.
    """

    row: NDArray[Any]
    before: int
    lost: int
    reset: bool


class Clock:
    """Puts samples where their times say. rate: samples a second; unit: of the times, a key of
    `UNITS`; longest: samples a gap may have.

    A time that is not after the last one, by at most `longest` samples, or is no number, is late:
    the sample is left out, `late` counts it. A time that is far from the last one waits for the
    next sample. Where that one goes on from there, the clock was set, or there was a long gap;
    where it goes on from before, the far time was an outlier, whose sample is left out. The first
    sample waits too, so that of a clock that is refused none is run.
    """

    def __init__(self, rate: float, unit: str = "s", longest: int = 1000) -> None:
        self._rate, self._unit, self._longest = rate * UNITS[unit], unit, longest
        self._far = min(longest, FAR)
        self.late = 0
        self._last, self._newest = math.nan, math.nan
        self._first: list[Placed] = []
        self._held: NDArray[Any] | None = None
        self._lost = self._still = 0
        self._goes = False  # it went on as a clock of this unit does, once at least

    def place(self, row: NDArray[Any]) -> list[Placed]:
        """Return the samples whose place is known now.

        row: (1 + C,). Raises `DataError` where the times have another unit, or stand still.
        """
        time = float(row[0])
        if not math.isfinite(time):
            self.late += 1
            return []
        self._stands(time)
        if math.isnan(self._last):
            self._first = self._put(row, 0)
            return []
        if self._held is None:
            return self._alone(row)
        held = float(self._held[0])
        old, new = self._between(self._last, time), self._between(held, time)
        if held > self._last and new >= 0:  # one after the other: a long gap
            self._refuse_unit(self._last, held, time)
            return [*self.end(), *self._alone(row)]
        if 0 <= old <= self._far:  # as if nothing had been: an outlier
            self._held, self._lost = None, self._lost + 1
            return self._alone(row)
        if held < self._last and 0 <= new <= self._far:  # it was set back
            return [*self.end(), *self._alone(row)]
        if -self._longest <= old < 0 or -self._longest <= new < 0:
            self.late += 1
            return []
        self._held, self._lost = row, self._lost + 1
        return []

    def end(self) -> list[Placed]:
        """Return the samples that wait: no other will come."""
        if self._held is None:
            first, self._first = self._first, []
            return first
        row, self._held = self._held, None
        before = self._between(self._last, float(row[0]))
        return self._put(row, max(before, 1), reset=before < 0)

    def _alone(self, row: NDArray[Any]) -> list[Placed]:
        before = self._between(self._last, float(row[0]))
        if -self._longest <= before < 0:
            self.late += 1
            return []
        if not 0 <= before <= self._far:
            self._held = row
            return []
        self._goes = True
        return self._put(row, before)

    def _put(self, row: NDArray[Any], before: int, reset: bool = False) -> list[Placed]:
        lost, self._lost, self._last = self._lost, 0, float(row[0])
        first, self._first = self._first, []
        return [*first, Placed(row, before, lost, reset or before > self._longest)]

    def _between(self, first: float, time: float) -> int:
        """Return how many samples are missing between two times; below 0: it does not go on."""
        return round(min(max((time - first) * self._rate, -1e18), 1e18)) - 1

    def _stands(self, time: float) -> None:
        """Refuse a clock that has hardly moved since the start."""
        moved = (time - self._newest) * self._rate
        self._newest = time
        self._still = self._still + 1 if 0 <= moved < 0.5 else 0
        if not self._goes and self._still >= STILL:
            periods = (time - self._last) * self._rate / self._still
            raise DataError(
                f"The clock stands still: {STILL} samples took {time - self._last:g} "
                f"{self._unit}, at {self._per_second:g} samples a second. {self._probably(periods)}"
            )

    def _refuse_unit(self, first: float, second: float, third: float) -> None:
        """Refuse three times, at the start, that advance by a thousand periods each, or a million,
        or more.
        """
        periods = (second - first) * self._rate, (third - second) * self._rate
        powers = {round(math.log10(p) / 3) for p in periods if self._is_power(p)}
        if self._goes or len(powers) != 1 or not all(map(self._is_power, periods)):
            return
        raise DataError(
            f"The first times are {first:g}, {second:g}, {third:g} {self._unit}: "
            f"{periods[0]:,.0f} periods a sample, at {self._per_second:g} samples a second. "
            f"{self._probably(periods[0])}"
        )

    @staticmethod
    def _is_power(periods: float) -> bool:
        """Say whether it is about 1000, or a power of it."""
        k = round(math.log10(periods) / 3)
        return k > 0 and 0.5 <= periods / 1000.0**k <= 2

    @property
    def _per_second(self) -> float:
        return self._rate / UNITS[self._unit]

    def _probably(self, periods: float) -> str:
        """Return what to do about a clock that advances by so many periods a sample."""
        for unit, seconds in UNITS.items():
            if unit != self._unit and 0.5 <= periods * seconds / UNITS[self._unit] <= 2:
                return f"They are probably in {unit}: --time-unit {unit}."
        return (
            "Give the unit of the times (--time-unit) and the rate (--rate), or leave --timed off."
        )
