"""Encoders on a live stream: the contract, and what several of them are made of.

A streaming encoder is made by `encoder.streaming(…)`. Fed in any pieces, what it gives, one piece
after the other and `flush` at the end, is what the encoder gives for the whole recording.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import DataError, ShapeError


class Streaming(Protocol):
    """An encoder with explicit state.

    state: everything it remembers, numbers and arrays by name, {} before the first sample; a copy
    may be kept and put back.
    lag: samples (or, of frames, frames) that it must see beyond a step before it can give that
    step.
    """

    state: dict[str, Any]

    @property
    def lag(self) -> int: ...

    def push(self, samples: ArrayLike) -> NDArray[Any]:
        """Take in samples, (n, C), or (n,) sound, n ≥ 0; return the steps (m, C') that are known
        now. Raises `ShapeError`, `DataError`.
        """
        ...

    def flush(self) -> NDArray[Any]:
        """Return the steps that the end of the recording settles, (m, C'), and begin anew."""
        ...


class Frames:
    """Windows of `window` samples, one every `hop`, of sound that comes in pieces. state: "sound"
    not yet used up, "ahead" of the next window.
    """

    def __init__(self, window: int, hop: int, before: int = 0) -> None:
        self.window, self.hop = window, hop
        self.state: dict[str, Any] = {"sound": np.zeros(before), "ahead": 0}

    def push(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take in (n,) samples; return the windows (m, window) that are complete."""
        sound, ahead = np.concatenate([self.state["sound"], x]), int(self.state["ahead"])
        m = max(0, (len(sound) - ahead - self.window) // self.hop + 1)
        if not m:
            self.state = {"sound": sound, "ahead": ahead}
            return np.empty((0, self.window))
        frames = np.lib.stride_tricks.sliding_window_view(sound[ahead:], self.window)[:: self.hop][
            :m
        ]
        ahead += m * self.hop
        used = min(ahead, len(sound))
        self.state = {"sound": sound[used:], "ahead": ahead - used}
        return frames


_STEPS = np.arange(-4.0, 5.0)  # the frames a derivative is fitted to
_BENT = _STEPS**2 - np.mean(_STEPS**2)
# slope of the fitted line, second derivative of the fitted parabola
_FITS = (_STEPS / (_STEPS @ _STEPS), 2 * _BENT / (_BENT @ _BENT))
WIDTH = len(_STEPS)
HALF = WIDTH // 2


class Derivatives:
    """Frames (m, C) with their derivatives up to `orders`, of frames that come in pieces (see
    `with_derivatives`).

    state: "frames", the last 9 at most, "seen", how many came, "given", how many went.
    """

    def __init__(self, orders: int, features: int) -> None:
        self.orders, self.features = orders, features
        self.state: dict[str, Any] = {"frames": np.empty((0, features)), "seen": 0, "given": 0}

    def push(self, frames: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take in frames; return those whose derivatives are known."""
        if not self.orders:
            return frames
        seen, given = self.state["seen"] + len(frames), self.state["given"]
        kept = np.concatenate([self.state["frames"], frames])
        first = seen - len(kept)
        made = np.empty((0, self.features * (1 + self.orders)))
        if seen >= WIDTH and len(frames):
            t = np.arange(given, seen - HALF)
            made = self._made(kept, t - first, np.maximum(t, HALF) - HALF - first)
            given = seen - HALF
            kept = kept[-WIDTH:]
        self.state = {"frames": kept, "seen": seen, "given": given}
        return made

    def flush(self) -> NDArray[np.float64]:
        """Return the last frames, fitted to the last 9, and begin anew."""
        frames: NDArray[np.float64] = self.state["frames"]
        seen, given = self.state["seen"], self.state["given"]
        self.state = {"frames": frames[:0], "seen": 0, "given": 0}
        if not self.orders:
            return frames
        if 0 < seen < WIDTH:
            # recordings of fewer frames go on with their first and last one
            margin = Derivatives(self.orders, self.features)
            padded = np.pad(frames, ((HALF, HALF), (0, 0)), mode="edge")
            return np.concatenate([margin.push(padded), margin.flush()])[HALF:-HALF]
        t = np.arange(given, seen) - (seen - len(frames))
        return self._made(frames, t, np.full(len(t), len(frames) - WIDTH))

    def _made(
        self, kept: NDArray[np.float64], at: NDArray[np.int64], fit: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the kept frames `at`, and the fits to the 9 frames from `fit` on; summed up in
        order: pieces of any size agree to the bit.
        """
        fitted = []
        for weights in _FITS[: self.orders]:
            total = weights[0] * kept[fit]
            for k in range(1, WIDTH):
                total += weights[k] * kept[fit + k]
            fitted.append(total)
        return np.concatenate([kept[at], *fitted], axis=1)


def with_derivatives(x: NDArray[np.float64], orders: int) -> NDArray[np.float64]:
    """Return (T, C) values, followed by their derivatives up to `orders` (0, 1, 2), per frame: (T,
    C · (1 + orders)).

    They are the slope of a line and the second derivative of a parabola, fitted to the 9 frames
    around each frame and, near the ends, to the first or last 9 (librosa's `delta`). Recordings of
    fewer frames go on with their first and last one.
    """
    piece = Derivatives(orders, x.shape[1])
    return np.concatenate([piece.push(x), piece.flush()]) if orders else x


def sound(who: str, samples: ArrayLike) -> NDArray[np.float64]:
    """Return a piece of sound, (n,) or (n, 1), as (n,) float64, n ≥ 0.

    Raises `ShapeError`, `DataError`.
    """
    x = np.asarray(samples)
    if x.ndim == 2 and x.shape[1] == 1:
        x = x[:, 0]
    if x.ndim != 1:
        raise ShapeError(
            f"{who}: samples have shape {x.shape}; expected (n,) of one channel. "
            "Mix them, or keep one."
        )
    if x.dtype.kind != "f":
        raise DataError(
            f"{who}: samples have dtype {x.dtype}; expected floating samples in [-1, "
            "1]. Divide 16-bit integers by 32768."
        )
    return check_finite(who, x.astype(np.float64))


def signal(who: str, samples: ArrayLike, channels: int | None = None) -> NDArray[np.float64]:
    """Return a piece of a signal, (n, C), as float64, n ≥ 0. Raises `ShapeError`, `DataError`."""
    x = np.asarray(samples)
    if x.ndim != 2 or not x.shape[1] or channels not in (None, x.shape[1]):
        raise ShapeError(
            f"{who}: samples have shape {x.shape}; expected (n, "
            f"C{'' if channels is None else f'={channels}'})."
        )
    return check_finite(who, x.astype(np.float64))


def check_finite(who: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x. Raises `DataError` where it is not finite."""
    if not np.isfinite(x).all():
        at = int(np.argwhere(~np.isfinite(x))[0][0])
        raise DataError(
            f"{who}: sample {at} of what was pushed is not finite; nothing was taken "
            "in. Repair or leave out such samples first."
        )
    return x


class Chain:
    """Encoders one behind the other."""

    def __init__(self, *parts: Streaming) -> None:
        self.parts = parts

    @property
    def state(self) -> dict[str, Any]:
        return {str(k): part.state for k, part in enumerate(self.parts)}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        for k, part in enumerate(self.parts):
            part.state = state[str(k)]

    @property
    def lag(self) -> int:
        return sum(part.lag for part in self.parts)

    def push(self, samples: ArrayLike) -> NDArray[Any]:
        for part in self.parts:
            samples = part.push(samples)
        return np.asarray(samples)

    def flush(self) -> NDArray[Any]:
        left: NDArray[Any] | None = None
        for part in self.parts:
            last = part.push(left) if left is not None and len(left) else None
            rest = part.flush()
            left = rest if last is None or not len(last) else np.concatenate([last, rest])
        assert left is not None
        return left


class Each:
    """A function of one step alone, as an encoder: standardisation, merging, a number type."""

    lag = 0

    def __init__(
        self,
        function: Callable[[NDArray[Any]], NDArray[Any]],
        channels: int,
        made: int | None = None,
    ) -> None:
        self.function, self.channels, self.made = (
            function,
            channels,
            channels if made is None else made,
        )
        self.state: dict[str, Any] = {}

    def push(self, samples: ArrayLike) -> NDArray[Any]:
        x = np.asarray(samples)
        if x.ndim != 2 or x.shape[1] != self.channels:
            raise ShapeError(f"Samples have shape {x.shape}; expected (n, C={self.channels}).")
        return self.function(x) if len(x) else self.flush()

    def flush(self) -> NDArray[Any]:
        return np.empty((0, self.made), np.float32)
