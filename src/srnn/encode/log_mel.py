"""Log-mel energies: sound becomes the logarithm of its power in bands of the mel scale, frame by frame, with its derivatives over time.

One frame every `hop`, centred on its time: the recording continues as zeros at both ends, frame t is the `window` around sample t · hop, weighted
by a periodic Hann window. Its power spectrum is summed by triangles of equal area on Slaney's mel scale (linear below 1 kHz).

Default: log(max(power, FLOOR) / FLOOR), for sound in [-1, 1]: silence and zero padding are 0, speech reaches about 15.

Published (Yin, Corradi & Bohté 2021, Speech Commands): sound over its largest magnitude, power over its largest value, log(1 + power).
`YIN_2021` is their whole chain: 1 s, 101 frames of 3 x 40 values, each over its standard deviation in the recording. Ends of the recording
continue as zeros here, as in today's librosa; versions of its time mirrored them. A silent recording gives zeros. Their division by a
standard deviation over the batch is left out: with it, the scores of a recording depend on its neighbours.
"""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import ConfigError, DataError, ShapeError, SrnnError, check_choice, check_range, check_sizes

FLOOR = 1e-6
"""Power below which a band counts as silent: so does a tenth of what the Free Spoken Digits hold, and a quarter of Speech Commands."""

_STEPS = np.arange(-4.0, 5.0)  # the frames a derivative is fitted to
_BENT = _STEPS**2 - np.mean(_STEPS**2)
_FITS = (_STEPS / (_STEPS @ _STEPS), 2 * _BENT / (_BENT @ _BENT))  # slope of the fitted line, second derivative of the fitted parabola


@dataclass(frozen=True)
class LogMel:
    """Log-mel energies of a recording.

    bands: triangles between `low` and `high` (Hz; None, or a value beyond it, is half the sampling rate). window, hop: seconds.
    deltas: 0, 1 (with the first derivative of each band) or 2 (with the second too).
    pad_to: seconds; shorter recordings get zeros on both sides, of longer ones the middle is kept. None leaves the length as it is.
    normalise: divide each value by its standard deviation over the recording (a constant one by 1); means stay.
    published: scale sound and power as Yin, Corradi & Bohté 2021 do (see the module's text); the other settings stay as given.
    Raises `ConfigError` for settings that cannot work.
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
        """Return how many frames a recording of this length gives (where the hop is a whole number of samples)."""
        length = check_range("LogMel.frames(seconds)", seconds, 0.0) if self.pad_to is None else self.pad_to
        return 1 + whole(length / self.hop)

    def __call__(self, audio: ArrayLike, rate: float) -> NDArray[np.float32]:
        """Encode: (n,) sound in [-1, 1] at `rate` samples per second -> (T, features) float32, T = 1 + n // hop.

        Features are ordered by derivative, then band: bands of the energy, bands of its first derivative, bands of its second.
        Raises `ShapeError` for another shape or less sound than one window, `DataError` for a sample that is not finite, `ConfigError` for a
        rate that is not positive or too low for the settings, `SrnnError` without the extra "data".
        """
        x = checked("LogMel", audio, rate)
        if self.pad_to is not None:
            x = _centred(x, round(self.pad_to * rate))
        window, hop = in_samples("LogMel", self.window, self.hop, len(x), rate)
        bank = mel_bank(rate, window, self.bands, self.low, min(self.high or rate / 2, rate / 2))
        hann = 0.5 - 0.5 * np.cos(2 * math.pi / window * np.arange(window))
        if self.published:
            x = _over_largest(x)
        power = spectrum(np.pad(x, (window // 2, window - window // 2)), hann, hop) @ bank
        log = np.log1p(_over_largest(power)) if self.published else np.log(np.maximum(power / FLOOR, 1.0))
        made = with_derivatives(log, self.deltas)
        return (_over_deviation(made) if self.normalise else made).astype(np.float32)


def checked(who: str, audio: ArrayLike, rate: float) -> NDArray[np.float64]:
    """Return sound as (n,) float64.

    Raises `ShapeError` for another shape or none at all, `DataError` for integers or a sample that is not finite, `ConfigError` for a rate that
    is not positive.
    """
    check_range(f"{who}: rate", rate, 0.0, open_low=True)
    given: NDArray[Any] = np.asarray(audio)
    if given.ndim != 1 or not given.size:
        fix = " Pass one channel, as audio[:, 0], or their mean." if given.ndim == 2 and given.size else ""
        raise ShapeError(f"{who}: audio has shape {given.shape}; expected (n,) samples of one channel, n at least 1.{fix}")
    if given.dtype.kind != "f":
        raise DataError(f"{who}: audio has dtype {given.dtype}; expected floating samples in [-1, 1]. Divide 16-bit integers by 32768.")
    x = given.astype(np.float64)
    if not np.isfinite(x).all():
        bad = int(np.argmin(np.isfinite(x)))
        raise DataError(f"{who}: sample {bad} of audio is {x[bad]}; expected finite numbers. Interpolate or cut the gap first.")
    return x


def check_times(who: str, window: float, hop: float, deltas: int) -> None:
    """Raise `ConfigError` unless window and hop are positive, and deltas is 0, 1 or 2."""
    check_range(f"{who}(window)", window, 0.0, open_low=True)
    check_range(f"{who}(hop)", hop, 0.0, open_low=True)
    check_choice(f"{who}(deltas)", str(deltas), ("0", "1", "2"))


def in_samples(who: str, window: float, hop: float, samples: int, rate: float) -> tuple[int, int]:
    """Return window and hop in samples. Raises `ConfigError` where one is less than a sample, `ShapeError` for fewer samples than one window."""
    w, h = round(window * rate), round(hop * rate)
    if w < 2 or h < 1:
        raise ConfigError(f"{who}: a window of {window:g} s and a hop of {hop:g} s at {rate:g} samples per second are {w} and {h} samples; too few.")
    if samples < w:
        raise ShapeError(f"{who}: audio has {samples} samples; expected at least one window of {w} ({1e3 * window:g} ms). Pad it with zeros.")
    return w, h


def spectrum(x: NDArray[np.float64], weights: NDArray[np.float64], hop: int, points: int | None = None) -> NDArray[np.float64]:
    """Return the power spectrum of every `hop`-th window that lies in x: (T, points // 2 + 1); points ≥ the window, None = the window."""
    frames = np.lib.stride_tricks.sliding_window_view(x, len(weights))[::hop] * weights
    made = np.fft.rfft(frames, points)
    return np.asarray(made.real**2 + made.imag**2)


@functools.lru_cache(maxsize=32)
def mel_bank(rate: float, points: int, bands: int, low: float, high: float, htk: bool = False) -> NDArray[np.float64]:
    """Return triangles on the mel scale, (points // 2 + 1, bands): Slaney's scale and equal areas, or with `htk` HTK's and equal heights.

    Raises `ConfigError` where a triangle holds no point of the spectrum, `SrnnError` without the extra "data".
    """
    if high <= low:
        raise ConfigError(f"Bands from {low:g} to {high:g} Hz at {rate:g} samples per second hold nothing. Lower the low end, or check the rate.")
    try:
        from librosa.filters import mel
    except ImportError as error:
        raise SrnnError('Mel filters need librosa. Install it with: pip install "srnn[data]"') from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty filters: told below
        norm = None if htk else "slaney"
        bank = np.asarray(mel(sr=rate, n_fft=points, n_mels=bands, fmin=low, fmax=high, htk=htk, norm=norm, dtype=np.float64)).T
    empty = np.flatnonzero(~bank.any(axis=0))
    if empty.size:
        raise ConfigError(
            f"{empty.size} of {bands} bands from {low:g} to {high:g} Hz are narrower than {rate / points:g} Hz, the resolution of {points} samples. "
            "Use fewer bands or a longer window."
        )
    bank.flags.writeable = False
    return bank


def with_derivatives(x: NDArray[np.float64], orders: int) -> NDArray[np.float64]:
    """Return (T, C) values, followed by their derivatives up to `orders` (0, 1, 2), per frame: (T, C · (1 + orders)).

    They are the slope of a line and the second derivative of a parabola, fitted to the 9 frames around each frame and, near the ends, to the
    first or last 9 (librosa's `delta`). Recordings of fewer frames go on with their first and last one.
    """
    width = len(_STEPS)
    margin = ((width // 2, width // 2), (0, 0))
    if len(x) < width:
        return with_derivatives(np.pad(x, margin, mode="edge"), orders)[width // 2 : -(width // 2)]
    windows = np.lib.stride_tricks.sliding_window_view(x, width, axis=0)
    fitted = [np.pad(windows @ weights, margin, mode="edge") for weights in _FITS[:orders]]
    return np.concatenate([x, *fitted], axis=1)


def _centred(x: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Return x with zeros on both sides, or its middle, `length` samples in all."""
    if len(x) >= length:
        start = (len(x) - length) // 2
        return x[start : start + length]
    before = (length - len(x)) // 2
    return np.pad(x, (before, length - len(x) - before))


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
