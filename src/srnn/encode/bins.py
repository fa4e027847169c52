"""Bins: a list of spikes becomes a grid of steps and channels.

Three ways to put a spike of unit u at time t (seconds, t ≥ 0) into bins of dt seconds:

    plain     step floor(t / dt), column u
    yin       step i with (i - 1) dt < t <= i dt, so that step 0 holds t = 0 only;
              column channels - u, unit 0 is dropped
    sparch    step = number of edges <= t, edges linspace(0, dt (steps - 1), steps), so that
              step 0 stays empty; column u

Later spikes are dropped.

"yin" holds presence, 0 or 1, and has an empty column 0 (Yin, Corradi & Bohté 2021: 250 steps of 4
ms). "sparch" holds counts (Bittar & Garner 2022: 100 steps over 1.4 s, that is dt = 1.4 / 99; there
a spike at or after 1.4 s is an error). "plain" holds either.

Times count as float64: a comparison in the float16 of published files would put spikes at the edges
elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import ConfigError, DataError, ShapeError, check_choice, check_range, check_sizes

_MOST = 255


@dataclass(frozen=True)
class Bins:
    """Put spikes into `steps` bins of `step_seconds` and `channels` columns.

    counts: "plain" counts the spikes of a bin, up to 255, instead of noting their presence;
    "sparch" always counts, "yin" never.
    form: how bins and columns are laid out, see the module's text.
    """

    step_seconds: float
    steps: int
    channels: int = 700
    counts: bool = False
    form: Literal["plain", "yin", "sparch"] = "plain"

    def __post_init__(self) -> None:
        """Raise `ConfigError` for sizes or a form that do not work."""
        check_range("Bins(step_seconds)", self.step_seconds, 0.0, open_low=True)
        check_sizes("Bins", self.steps, self.channels)
        check_choice("Bins(form)", self.form, ("plain", "yin", "sparch"))
        if self.form == "yin" and self.counts:
            raise ConfigError(
                "Bins: the form 'yin' holds presence, not counts. Leave counts "
                "off, or choose the form 'plain'."
            )

    def __call__(self, times: ArrayLike, units: ArrayLike) -> NDArray[np.uint8]:
        """Encode: times (M,) in seconds, units (M,) integers 0 … channels - 1, in any order ->
        (steps, channels).

        Raises `ShapeError` unless both are (M,), and `DataError` for a time < 0 or NaN, units that
        are not integers, or one out of range.
        """
        ends, unit = self._sorted(times, units)
        count = ends.copy()
        count[1:] -= ends[:-1]
        at = np.repeat(np.arange(self.steps) * self.channels, count)
        at += self.channels - unit if self.form == "yin" else unit
        # unit 0 of "yin" comes to lie one further than its row is long
        grid = np.zeros(self.steps * self.channels + 1, np.uint8)
        if self.form == "sparch" or self.counts:
            np.add.at(grid, at, np.uint8(1))
            if len(unit) > _MOST and np.bincount(unit).max() > _MOST:  # a sum may have run over
                grid = np.minimum(np.bincount(at, minlength=len(grid)), _MOST).astype(np.uint8)
        else:
            grid[at] = 1
        bins = grid[:-1].reshape(self.steps, self.channels)
        if self.form == "yin":
            bins[:, 0] = 0
        return bins

    def lost(self, times: ArrayLike, units: ArrayLike) -> int:
        """Return how many of the spikes are in no bin. Raises as the call does."""
        _, unit = self._sorted(times, units)
        return np.size(times) - int(np.count_nonzero(unit) if self.form == "yin" else len(unit))

    def _sorted(
        self, times: ArrayLike, units: ArrayLike
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return how many spikes there are up to the end of each step, (steps,), and the units of
        all of those in order of time.
        """
        t, u = np.asarray(times, dtype=np.float64), np.asarray(units)
        self._check_units(t, u)
        if not (t[1:] >= t[:-1]).all():
            order = np.argsort(t, kind="stable")  # NaN comes last
            t, u = t[order], u[order]
        if t.size and not (t[0] >= 0 and t[-1] >= 0):
            raise DataError(
                f"Bins: a spike at {t[0] if t[0] < 0 else t[-1]} s; expected times ≥ 0."
            )
        ends = np.searchsorted(
            self._scaled(t), self._edges(), side="right" if self.form == "yin" else "left"
        )
        return ends, u[: ends[-1]].astype(np.intp)

    def _edges(self) -> NDArray[np.float64]:
        """Return the ends of the steps, (steps,): in seconds; of "plain" in steps.

        A spike at an end is of the next step, of "yin" of this.
        """
        step = np.arange(self.steps, dtype=np.float64)
        if self.form == "plain":
            return step + 1
        return (
            step * self.step_seconds
            if self.form == "yin"
            else np.linspace(0, self.step_seconds * (self.steps - 1), self.steps)
        )

    def _scaled(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        return times / self.step_seconds if self.form == "plain" else times

    def _step_of(self, times: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the step each spike falls into; `steps` for one beyond the last."""
        return np.searchsorted(
            self._edges(), self._scaled(times), side="left" if self.form == "yin" else "right"
        )

    def _check_units(self, times: NDArray[np.float64], units: NDArray[Any]) -> None:
        if times.ndim != 1 or units.shape != times.shape:
            raise ShapeError(
                f"Bins: times have shape {times.shape} and units {units.shape}; "
                "expected (M,) both, one unit for each time."
            )
        if not units.size:
            return
        if units.dtype.kind not in "iu":
            raise DataError(
                f"Bins: units have dtype {units.dtype}; expected integers. Pass units.astype(int)."
            )
        low, high = int(units.min()), int(units.max())
        if low < 0 or high >= self.channels:
            raise DataError(
                f"Bins: a spike of unit {low if low < 0 else high}; expected 0 … "
                f"{self.channels - 1}. Set channels."
            )

    def streaming(self) -> BinsStream:
        """Return the encoder for spikes that come in pieces, in order of time from piece to piece:
        the bins of the whole recording.
        """
        return BinsStream(self)


class BinsStream:
    """Bins of spikes that come in pieces. A step is known when a spike, or `until`, lies beyond its
    end.

    Recordings follow each other: after `steps` steps nothing is given until `flush`, which begins
    anew. A spike of a step that was given already comes too late: it is counted in state["late"],
    and dropped.
    """

    lag = 0

    def __init__(self, encoder: Bins) -> None:
        self.encoder = encoder
        self.state = self._fresh(0)

    def _fresh(self, late: int) -> dict[str, Any]:
        return {"times": np.empty(0), "units": np.empty(0, np.int64), "given": 0, "late": late}

    def push(self, times: ArrayLike, units: ArrayLike, until: float = 0.0) -> NDArray[np.uint8]:
        """Take in spikes, (M,) seconds and (M,) units; none that is pushed later is before `until`
        seconds, or before the newest of these.
        """
        t, u = np.asarray(times, np.float64), np.asarray(units)
        self.encoder._check_units(t, u)
        if t.size and not (np.isfinite(t).all() and t.min() >= 0):
            raise DataError(
                "Bins: a spike at a time that is no number of seconds ≥ 0; nothing was taken in."
            )
        given, step = self.state["given"], self.encoder._step_of(t)
        late = step < given
        t, u = (
            np.concatenate([self.state["times"], t[~late]]),
            np.concatenate([self.state["units"], u[~late].astype(np.int64)]),
        )
        known = min(
            self.encoder.steps,
            int(self.encoder._step_of(np.array([max(until, t.max(initial=0.0))]))[0]),
        )
        return self._take(t, u, max(known, given), self.state["late"] + int(late.sum()))

    def _take(
        self, t: NDArray[np.float64], u: NDArray[np.int64], known: int, late: int
    ) -> NDArray[np.uint8]:
        """Return the steps up to `known`, and keep the spikes of later ones."""
        given, step = self.state["given"], self.encoder._step_of(t)
        now, later = step < known, (step >= known) & (step < self.encoder.steps)
        bins = (
            self.encoder(t[now], u[now])[given:known]
            if known > given
            else np.empty((0, self.encoder.channels), np.uint8)
        )
        self.state = {"times": t[later], "units": u[later], "given": known, "late": late}
        return bins

    def flush(self) -> NDArray[np.uint8]:
        """Return the steps that are left of the recording, and begin anew."""
        bins = self._take(
            self.state["times"], self.state["units"], self.encoder.steps, self.state["late"]
        )
        self.state = self._fresh(self.state["late"])
        return bins
