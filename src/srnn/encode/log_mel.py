"""Log-mel energies: sound becomes the logarithm of its power in bands of the mel scale, frame by
frame, with its derivatives over time.

One frame every `hop`, centred on its time: the recording continues as zeros at both ends, frame t
is the `window` around sample t · hop, weighted by a periodic Hann window. Its power spectrum is
summed by triangles of equal area on Slaney's mel scale (linear below 1 kHz).

Default: log(max(power, FLOOR) / FLOOR), for sound in [-1, 1]: silence and zero padding are 0,
speech reaches about 15.

Published (Yin, Corradi & Bohté 2021, Speech Commands): sound over its largest magnitude, power over
its largest value, log(1 + power). `YIN_2021` is their whole chain: 1 s, 101 frames of 3 x 40
values, each over its standard deviation in the recording. Ends of the recording continue as zeros
here, as in today's librosa; versions of its time mirrored them. A silent recording gives zeros.
Their division by a standard deviation over the batch is left out: with it, the scores of a
recording depend on its neighbours.
"""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import (
    ConfigError,
    DataError,
    ShapeError,
    SrnnError,
    check_choice,
    check_range,
    check_sizes,
)
from srnn.encode import streaming
from srnn.encode.streaming import with_derivatives

FLOOR = 1e-6
"""Power below which a band counts as silent: so does a tenth of what the Free Spoken Digits hold,
and a quarter of Speech Commands.
"""


@dataclass(frozen=True)
class LogMel:
    """Log-mel energies of a recording.

    bands: triangles between `low` and `high` (Hz; None, or a value beyond it, is half the sampling
    rate). window, hop: seconds.
    deltas: 0, 1 (with the first derivative of each band) or 2 (with the second too).
    pad_to: seconds; shorter recordings get zeros on both sides, of longer ones the middle is kept.
    None leaves the length as it is.
    normalise: divide each value by its standard deviation over the recording (a constant one by 1);
    means stay.
    published: scale sound and power as Yin, Corradi & Bohté 2021 do (see the module's text); the
    other settings stay as given. Raises `ConfigError` for settings that cannot work.
    """

    bands: int = 40
    window: float = 0.030
    hop: float = 0.010
    low: float = 20.0
    high: float | None = 4000.0
    deltas: int = 0
    pad_to: float | None = None
    normalise: bool = False
    published: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        check_sizes("LogMel: bands ", self.bands)
        check_times("LogMel", self.window, self.hop, self.deltas)
        check_range("LogMel(low)", self.low, 0.0)
        if self.high is not None:
            check_range("LogMel(high)", self.high, self.low, open_low=True)
        if self.pad_to is not None:
            check_range("LogMel(pad_to)", self.pad_to, self.window)

    @property
    def features(self) -> int:
        """Values a frame."""
        return self.bands * (1 + self.deltas)

    def frames(self, seconds: float) -> int:
        """Return how many frames a recording of this length gives (where the hop is a whole number
        of samples).
        """
        length = (
            check_range("LogMel.frames(seconds)", seconds, 0.0)
            if self.pad_to is None
            else self.pad_to
        )
        return 1 + whole(length / self.hop)

    def __call__(self, audio: ArrayLike, rate: float) -> NDArray[np.float32]:
        """Encode: (n,) sound in [-1, 1] at `rate` samples per second -> (T, features) float32, T =
        1 + n // hop.

        Features are ordered by derivative, then band: bands of the energy, bands of its first
        derivative, bands of its second. Raises `ShapeError` for another shape or less sound than
        one window, `DataError` for a sample that is not finite, `ConfigError` for a rate that is
        not positive or too low for the settings, `SrnnError` without the extra "data".
        """
        x = checked("LogMel", audio, rate)
        if self.pad_to is not None:
            x = _centred(x, round(self.pad_to * rate))
        window, hop = in_samples("LogMel", self.window, self.hop, len(x), rate)
        if self.published:
            x = _over_largest(x)
        frames = np.lib.stride_tricks.sliding_window_view(
            np.pad(x, (window // 2, window - window // 2)), window
        )[::hop]
        power = self._power(frames, rate)
        made = with_derivatives(
            np.log1p(_over_largest(power)) if self.published else _log(power), self.deltas
        )
        return (_over_deviation(made) if self.normalise else made).astype(np.float32)

    def _power(self, frames: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
        """Return the power of each band in windows (m, window): (m, bands)."""
        points = frames.shape[1]
        bank = mel_bank(rate, points, self.bands, self.low, min(self.high or rate / 2, rate / 2))
        return banded(
            spectrum(frames, 0.5 - 0.5 * np.cos(2 * math.pi / points * np.arange(points))), bank
        )

    def streaming(self, rate: float) -> LogMelStream:
        """Return the encoder for sound that comes in pieces: the bits of the whole recording.

        Raises `ConfigError` where a setting needs the whole recording, or as the call does.
        """
        for name in ("pad_to", "normalise", "published"):
            if getattr(self, name):
                raise ConfigError(
                    f"LogMel({name}={getattr(self, name)}) needs the whole recording, so "
                    "that it cannot run on a stream. "
                    "Encode windows of sound one by one, or leave it off."
                )
        return LogMelStream(self, rate)


class LogMelStream:
    """Log-mel energies of sound that comes in pieces.

    A frame is known half a window after its time, with derivatives four frames later.
    """

    def __init__(self, encoder: LogMel, rate: float) -> None:
        check_range("LogMel: rate", rate, 0.0, open_low=True)
        self.encoder, self.rate = encoder, rate
        self._window, self._hop = in_samples("LogMel", encoder.window, encoder.hop, None, rate)
        encoder._power(np.zeros((1, self._window)), rate)  # refuse now what cannot work
        self._begin()

    def _begin(self) -> None:
        self._frames = streaming.Frames(self._window, self._hop, self._window // 2)
        self._derivatives = streaming.Derivatives(self.encoder.deltas, self.encoder.bands)
        self._samples = 0

    @property
    def state(self) -> dict[str, Any]:
        return {
            "samples": self._samples,
            "frames": self._frames.state,
            "derivatives": self._derivatives.state,
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._samples, self._frames.state, self._derivatives.state = (
            state["samples"],
            state["frames"],
            state["derivatives"],
        )

    @property
    def lag(self) -> int:
        return streaming.HALF if self.encoder.deltas else 0

    def push(self, samples: ArrayLike) -> NDArray[np.float32]:
        x = streaming.sound("LogMel", samples)
        self._samples += len(x)
        return self._derivatives.push(self._made(x)).astype(np.float32)

    def _made(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return _log(self.encoder._power(self._frames.push(x), self.rate))

    def flush(self) -> NDArray[np.float32]:
        """Return the last frames: the recording goes on as zeros.

        Less sound than one window gives none.
        """
        last = np.empty((0, self.encoder.features))
        if self._samples >= self._window:
            last = np.concatenate(
                [
                    self._derivatives.push(self._made(np.zeros(self._window - self._window // 2))),
                    self._derivatives.flush(),
                ]
            )
        self._begin()
        return last.astype(np.float32)


def checked(who: str, audio: ArrayLike, rate: float) -> NDArray[np.float64]:
    """Return sound as (n,) float64.

    Raises `ShapeError` for another shape or none at all, `DataError` for integers or a sample that
    is not finite, `ConfigError` for a rate that is not positive.
    """
    check_range(f"{who}: rate", rate, 0.0, open_low=True)
    given: NDArray[Any] = np.asarray(audio)
    if given.ndim != 1 or not given.size:
        fix = (
            " Pass one channel, as audio[:, 0], or their mean."
            if given.ndim == 2 and given.size
            else ""
        )
        raise ShapeError(
            f"{who}: audio has shape {given.shape}; expected (n,) samples of one "
            f"channel, n at least 1.{fix}"
        )
    if given.dtype.kind != "f":
        raise DataError(
            f"{who}: audio has dtype {given.dtype}; expected floating samples in "
            "[-1, 1]. Divide 16-bit integers by 32768."
        )
    x = given.astype(np.float64)
    if not np.isfinite(x).all():
        bad = int(np.argmin(np.isfinite(x)))
        raise DataError(
            f"{who}: sample {bad} of audio is {x[bad]}; expected finite numbers. "
            "Interpolate or cut the gap first."
        )
    return x


def check_times(who: str, window: float, hop: float, deltas: int) -> None:
    """Raise `ConfigError` unless window and hop are positive, and deltas is 0, 1 or 2."""
    check_range(f"{who}(window)", window, 0.0, open_low=True)
    check_range(f"{who}(hop)", hop, 0.0, open_low=True)
    check_choice(f"{who}(deltas)", str(deltas), ("0", "1", "2"))


def in_samples(
    who: str, window: float, hop: float, samples: int | None, rate: float
) -> tuple[int, int]:
    """Return window and hop in samples. Raises `ConfigError` where one is less than a sample,
    `ShapeError` for fewer samples than one window.

    samples: how many there are, None = not known yet.
    """
    w, h = round(window * rate), round(hop * rate)
    if w < 2 or h < 1:
        raise ConfigError(
            f"{who}: a window of {window:g} s and a hop of {hop:g} s at {rate:g} "
            f"samples per second are {w} and {h} samples; too few."
        )
    if samples is not None and samples < w:
        raise ShapeError(
            f"{who}: audio has {samples} samples; expected at least one window of "
            f"{w} ({1e3 * window:g} ms). Pad it with zeros."
        )
    return w, h


def spectrum(
    frames: NDArray[np.float64], weights: NDArray[np.float64], points: int | None = None
) -> NDArray[np.float64]:
    """Return the power spectrum of windows (T, window): (T, points // 2 + 1); points ≥ the window,
    None = the window.
    """
    made = np.fft.rfft(frames * weights, points)
    return np.asarray(made.real**2 + made.imag**2)


def banded(power: NDArray[np.float64], bank: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums over bands of spectra (T, points): (T, bands).

    Frame by frame, so that the bits do not depend on how many there are.
    """
    return np.asarray((power[:, None] @ bank)[:, 0])


@functools.lru_cache(maxsize=32)
def mel_bank(
    rate: float, points: int, bands: int, low: float, high: float, htk: bool = False
) -> NDArray[np.float64]:
    """Return triangles on the mel scale, (points // 2 + 1, bands): Slaney's scale and equal areas,
    or with `htk` HTK's and equal heights.

    Raises `ConfigError` where a triangle holds no point of the spectrum, `SrnnError` without the
    extra "data".
    """
    if high <= low:
        raise ConfigError(
            f"Bands from {low:g} to {high:g} Hz at {rate:g} samples per second "
            "hold nothing. Lower the low end, or check the rate."
        )
    try:
        from librosa.filters import mel
    except ImportError as error:
        raise SrnnError(
            'Mel filters need librosa. Install it with: pip install "srnn[data]"'
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty filters: told below
        norm = None if htk else "slaney"
        bank = np.asarray(
            mel(
                sr=rate,
                n_fft=points,
                n_mels=bands,
                fmin=low,
                fmax=high,
                htk=htk,
                norm=norm,
                dtype=np.float64,
            )
        ).T
    empty = np.flatnonzero(~bank.any(axis=0))
    if empty.size:
        raise ConfigError(
            f"{empty.size} of {bands} bands from {low:g} to {high:g} Hz are narrower than "
            f"{rate / points:g} Hz, the resolution of {points} samples. "
            "Use fewer bands or a longer window."
        )
    bank.flags.writeable = False
    return bank


def _centred(x: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Return x with zeros on both sides, or its middle, `length` samples in all."""
    if len(x) >= length:
        start = (len(x) - length) // 2
        return x[start : start + length]
    before = (length - len(x)) // 2
    return np.pad(x, (before, length - len(x) - before))


def _log(power: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(power / FLOOR, 1.0)))


def _over_largest(x: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = np.abs(x).max()
    return x / largest if largest > 0 else x


def _over_deviation(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide each column by its standard deviation over time, a constant one by 1."""
    deviation = x.std(axis=0)
    return np.asarray(x / np.where((np.ptp(x, axis=0) > 0) & (deviation > 0), deviation, 1.0))


def whole(x: float) -> int:
    """Round down, but for a rounding error: 0.29 / 0.01 is 29."""
    return math.floor(x + 1e-6)


YIN_2021 = LogMel(deltas=2, pad_to=1.0, normalise=True, published=True)
"""The published features of Speech Commands: (101, 120)."""
