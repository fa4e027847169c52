"""Level crossing: a signal becomes up and down events, and the events become the signal again.

Default (send on delta). Each channel keeps a reference r, which starts at the first sample and
moves by one level L when it is crossed:

    up[t]   = x[t] - r[t-1] >= L
    down[t] = r[t-1] - x[t] >= L
    r[t]    = r[t-1] + L (up[t] - down[t])           r[0] = x[0], no event at step 0

An event is binary, so r moves by one level a step at most. Where |x[t] - x[t-1]| <= L holds
throughout, |x[t] - r[t]| < L: the reconstruction r stays within one level. After a faster step r
lags and catches up one level a step; `error` measures what that costs.

Published (Yin et al. 2020; L = 0.3 on the z-scored signal). Successive samples are compared, and
there is no reference:

    up[t]   = x[t] - x[t-1] >= L
    down[t] = x[t-1] - x[t] >= L

A movement slower than L a step leaves no event, however far it goes, so the events do not determine
the signal: its error is not bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import DataError, ShapeError, check_range, check_sizes
from srnn.encode import streaming


def normalise(signal: ArrayLike) -> NDArray[np.float64]:
    """Z-score each channel over time: mean 0, standard deviation 1; a constant channel becomes
    zeros.

    signal: (T, C), or (…, T, C); any unit. Returns the same shape, without unit.
    Raises `ShapeError` for other shapes and `DataError` where a sample is not finite.
    """
    x = _samples("normalise", signal)
    return _normalised(x, *_scale(x))


def _scale(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation of each channel; the deviation of a constant one is 0, where
    computing it gives a rounding error.
    """
    moving = np.ptp(x, axis=-2, keepdims=True) > 0
    return x.mean(axis=-2, keepdims=True), np.where(moving, x.std(axis=-2, keepdims=True), 0.0)


def _normalised(
    x: NDArray[np.float64], mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.where(deviation > 0, x - mean, 0.0) / np.where(deviation > 0, deviation, 1.0)


class NormaliseStream:
    """Z-scores of a signal that comes in pieces, by the mean and deviation of its first `samples`
    samples: these wait until all of them are there.

    state: "waiting" samples, or "mean" and "deviation", which may also be set from the start.
    """

    def __init__(self, channels: int, samples: int) -> None:
        check_sizes("NormaliseStream(channels, samples) ", channels, samples)
        self.channels, self.samples = channels, samples
        self.state: dict[str, Any] = {}

    @property
    def lag(self) -> int:
        return self.samples - 1 if "mean" not in self.state else 0

    def push(self, samples: ArrayLike) -> NDArray[np.float64]:
        x = streaming.signal("normalise", samples, self.channels)
        if "mean" not in self.state:
            x = np.concatenate([self.state["waiting"], x]) if "waiting" in self.state else x
            if len(x) < self.samples:
                self.state = {"waiting": x}
                return np.empty((0, self.channels))
            self.state = dict(zip(("mean", "deviation"), _scale(x[: self.samples]), strict=True))
        return _normalised(x, self.state["mean"], self.state["deviation"])

    def flush(self) -> NDArray[np.float64]:
        """Return what still waits, by its own mean and deviation; a next recording
        has its own too.
        """
        x = self.state.get("waiting", np.empty((0, self.channels)))
        self.state = {}
        return _normalised(x, *_scale(x)) if len(x) else x


@dataclass(frozen=True)
class LevelCrossing:
    """Encode each channel as up and down crossings of levels `threshold` apart.

    threshold: L > 0, in the unit of the signal that is passed (standard deviations after
    `normalise`).
    published: compare successive samples, as Yin et al. 2020 do, instead of following a reference
    (see the module's text).
    """

    threshold: float = 0.3
    published: bool = False

    def __post_init__(self) -> None:
        """Raise `ConfigError` unless the threshold is positive and finite."""
        check_range("LevelCrossing(threshold)", self.threshold, 0.0, open_low=True)

    def __call__(self, signal: ArrayLike) -> NDArray[np.float32]:
        """Encode: (T, C) samples -> (T, 2C) events in {0, 1}, channels a up, a down, b up, b down …

        Recordings of one length may be stacked in front: (…, T, C) -> (…, T, 2C), the same events
        in less time. Raises `ShapeError` for other shapes and `DataError` where a sample is not
        finite.
        """
        x = np.moveaxis(_samples("LevelCrossing", signal), -2, 0)
        events, _ = self._events(x, {})
        return np.ascontiguousarray(np.moveaxis(events, 0, -2))

    def _events(
        self, x: NDArray[np.float64], state: dict[str, Any]
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """(T, …, C) samples after those that left `state` -> (T, …, 2C) events, and the state they
        leave. The first sample of all has no event.

        state: {} before the first sample; then "last", the newest sample, or "first" and
        "reference", in levels above it.
        """
        if self.published:
            steps = np.diff(x, axis=0, prepend=state.get("last", x[0])[None]) / self.threshold
            state = {"last": x[-1]}
        else:
            first, reference = (
                state.get("first", x[0]),
                state.get("reference", np.zeros_like(x[0])).copy(),
            )
            steps = self._follow((x - first) / self.threshold, reference)
            state = {"first": first, "reference": reference}
        events = np.stack([steps >= 1, steps <= -1], axis=-1).astype(np.float32)
        return events.reshape(*x.shape[:-1], -1), state

    @staticmethod
    def _follow(levels: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
        """(T, …) signal in levels above its first sample -> (T, …) steps in {-1, 0, 1} of the
        reference, which is moved.
        """
        steps = np.empty_like(levels)
        for now, step in zip(levels, steps, strict=True):
            np.trunc(now - reference, out=step)
            np.maximum(step, -1.0, out=step)
            np.minimum(step, 1.0, out=step)
            reference += step
        return steps

    def streaming(self, channels: int) -> LevelCrossingStream:
        """Return the encoder for a signal of C channels that comes in pieces: the events of the
        whole recording.
        """
        return LevelCrossingStream(self, channels)

    def reconstruct(self, events: ArrayLike, start: ArrayLike = 0.0) -> NDArray[np.float64]:
        """Rebuild the signal: (…, T, 2C) events and its (…, C) values at step 0 -> (…, T, C), in
        the unit of the threshold.

        Raises `ShapeError` unless the events come in pairs of channels.
        """
        e = _samples("LevelCrossing.reconstruct", events)
        if e.shape[-1] % 2:
            raise ShapeError(
                f"LevelCrossing.reconstruct: events have shape {e.shape}; expected "
                "(T, 2C), an up and a down channel for each of C."
            )
        first = np.asarray(start, dtype=np.float64)
        if first.ndim and first.shape[-1] != e.shape[-1] // 2:
            raise ShapeError(
                f"LevelCrossing.reconstruct: start has shape {first.shape}; expected a "
                f"number, or one for each of {e.shape[-1] // 2} channels."
            )
        return (first[..., None, :] if first.ndim else first) + self.threshold * np.cumsum(
            e[..., 0::2] - e[..., 1::2], axis=-2
        )

    def error(self, signal: ArrayLike) -> NDArray[np.float64]:
        """Return max over time of |signal - reconstruction| per channel, in levels: (…, T, C) ->
        (…, C).

        At most 1 is within one level: certain for the default form while no step moves by more than
        the threshold.
        """
        x = _samples("LevelCrossing.error", signal)
        return np.asarray(
            np.abs(x - self.reconstruct(self(x), x[..., 0, :])).max(axis=-2) / self.threshold
        )


class LevelCrossingStream:
    """Level crossing of a signal that comes in pieces: every sample gives its events at once."""

    lag = 0

    def __init__(self, encoder: LevelCrossing, channels: int) -> None:
        self.encoder, self.channels = encoder, channels
        self.state: dict[str, Any] = {}

    def push(self, samples: ArrayLike) -> NDArray[np.float32]:
        x = streaming.signal("LevelCrossing", samples, self.channels)
        if not len(x):
            return np.empty((0, 2 * self.channels), np.float32)
        events, self.state = self.encoder._events(x, self.state)
        return events

    def flush(self) -> NDArray[np.float32]:
        self.state = {}
        return np.empty((0, 2 * self.channels), np.float32)


def _samples(who: str, signal: ArrayLike) -> NDArray[np.float64]:
    given: NDArray[Any] = np.asarray(signal)
    if given.ndim < 2 or 0 in given.shape:
        fix = (
            " For a single channel pass signal[:, None]." if given.ndim == 1 and given.size else ""
        )
        raise ShapeError(
            f"{who}: signal has shape {given.shape}; expected (T, C) with T, C ≥ 1.{fix}"
        )
    x = given.astype(np.float64)
    if not np.isfinite(x).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise DataError(
            f"{who}: signal is {x[where]} at {where}; expected finite numbers. "
            "Interpolate or cut the gap first."
        )
    return x
