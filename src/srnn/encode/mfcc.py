"""Mel-frequency cepstra: sound becomes the shape of its spectrum, frame by frame, with its energy
and their derivatives.

The published TIMIT features (Yin, Corradi & Bohté 2021) come from an external script, of which
these numbers are known: 25 ms windows every 10 ms, 26 filters, 12 cepstra, energy, two derivatives:
39 values a frame. The rest is chosen here, the usual way since HTK:

1. windows that lie within the recording (the last, incomplete one is dropped), x[n] - 0.97 x[n-1]
   over the whole recording, Hamming window;
2. power spectrum of the next power of two of points, triangles of equal height on HTK's mel scale,
   from 0 Hz to half the sampling rate;
3. logarithm (not below FLOOR), orthonormal discrete cosine transform (type II), coefficients 1 …
   12, not liftered: that is a factor a coefficient;
4. energy: logarithm of the sum of squares of the plain window, not below FLOOR; it stands after the
   cepstra, as in HTK;
5. derivatives as in `LogMel`, over 9 frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import ConfigError, SrnnError, check_range, check_sizes
from srnn.encode import streaming
from srnn.encode.log_mel import banded, check_times, checked, in_samples, mel_bank, spectrum, whole
from srnn.encode.streaming import with_derivatives

FLOOR = 1e-8
"""Power below which a band, or a window, counts as silent: about what the rounding of 16-bit
samples leaves.
"""

_PRE_EMPHASIS = 0.97


@dataclass(frozen=True)
class Mfcc:
    """Mel-frequency cepstral coefficients of a recording.

    coefficients: cepstra, without the 0th (< filters). energy: with the log energy. deltas: 0, 1 or
    2 derivatives. window, hop: seconds. Raises `ConfigError` for settings that cannot work.
    """

    coefficients: int = 12
    filters: int = 26
    energy: bool = True
    deltas: int = 2
    window: float = 0.025
    hop: float = 0.010

    def __post_init__(self) -> None:
        """Check the settings."""
        check_sizes("Mfcc: coefficients → filters ", self.coefficients, self.filters)
        check_times("Mfcc", self.window, self.hop, self.deltas)
        if self.coefficients >= self.filters:
            raise ConfigError(
                f"Mfcc: {self.coefficients} coefficients of {self.filters} "
                "filters; expected fewer coefficients than filters."
            )

    @property
    def features(self) -> int:
        """Values a frame."""
        return (self.coefficients + self.energy) * (1 + self.deltas)

    def frames(self, seconds: float) -> int:
        """Return how many frames a recording of this length gives (where window and hop are whole
        numbers of samples).
        """
        check_range("Mfcc.frames(seconds)", seconds, self.window)
        return 1 + whole((seconds - self.window) / self.hop)

    def __call__(self, audio: ArrayLike, rate: float) -> NDArray[np.float32]:
        """Encode: (n,) sound in [-1, 1] at `rate` samples per second -> (T, features) float32, T =
        1 + (n - window) // hop.

        Features are ordered by derivative: cepstra and energy, their first derivatives, their
        second. Raises `ShapeError` for another shape or less sound than one window, `DataError` for
        a sample that is not finite, `ConfigError` for a rate that is not positive or too low for
        the settings, `SrnnError` without the extra "data".
        """
        x = checked("Mfcc", audio, rate)
        window, hop = in_samples("Mfcc", self.window, self.hop, len(x), rate)
        sharp, plain = (
            np.lib.stride_tricks.sliding_window_view(v, window)[::hop]
            for v in (_sharpened(x, np.zeros(1)), x)
        )
        return with_derivatives(self._made(sharp, plain, rate), self.deltas).astype(np.float32)

    def _made(
        self, sharp: NDArray[np.float64], plain: NDArray[np.float64], rate: float
    ) -> NDArray[np.float64]:
        """Return cepstra and energy, (m, C), of windows (m, window) of the sharpened and of the
        plain sound.
        """
        try:
            from scipy.fft import dct
        except ImportError as error:
            raise SrnnError(
                'Cepstra need scipy. Install it with: pip install "srnn[data]"'
            ) from error
        window = plain.shape[1]
        points = 1 << (window - 1).bit_length()
        bank = mel_bank(rate, points, self.filters, 0.0, rate / 2, htk=True)
        hamming = 0.54 - 0.46 * np.cos(2 * math.pi / (window - 1) * np.arange(window))
        log = np.log(np.maximum(banded(spectrum(sharp, hamming, points), bank), FLOOR))
        made = (
            np.asarray(dct(log, type=2, norm="ortho", axis=1)[:, 1 : self.coefficients + 1])
            if len(log)
            else np.empty((0, self.coefficients))
        )
        if self.energy:
            squares = (plain * plain).sum(axis=1, keepdims=True)
            made = np.concatenate([made, np.log(np.maximum(squares, FLOOR))], axis=1)
        return made

    def streaming(self, rate: float) -> MfccStream:
        """Return the encoder for sound that comes in pieces: the bits of the whole recording.

        Raises as the call does.
        """
        return MfccStream(self, rate)


def _sharpened(x: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x[n] - 0.97 x[n-1], the first sample after `before`."""
    return x - _PRE_EMPHASIS * np.concatenate([before, x[:-1]])


class MfccStream:
    """Cepstra of sound that comes in pieces.

    A frame is known at the end of its window, with derivatives four frames later.
    """

    def __init__(self, encoder: Mfcc, rate: float) -> None:
        check_range("Mfcc: rate", rate, 0.0, open_low=True)
        self.encoder, self.rate = encoder, rate
        self._window, self._hop = in_samples("Mfcc", encoder.window, encoder.hop, None, rate)
        # refuse now what cannot work
        encoder._made(nothing := np.zeros((1, self._window)), nothing, rate)
        self._begin()

    def _begin(self) -> None:
        self._sharp, self._plain = (streaming.Frames(self._window, self._hop) for _ in range(2))
        self._derivatives = streaming.Derivatives(
            self.encoder.deltas, self.encoder.coefficients + self.encoder.energy
        )
        self._last = np.zeros(1)

    @property
    def state(self) -> dict[str, Any]:
        return {
            "last": self._last,
            "sharp": self._sharp.state,
            "plain": self._plain.state,
            "derivatives": self._derivatives.state,
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._last, self._sharp.state, self._plain.state = (
            state["last"],
            state["sharp"],
            state["plain"],
        )
        self._derivatives.state = state["derivatives"]

    @property
    def lag(self) -> int:
        return streaming.HALF if self.encoder.deltas else 0

    def push(self, samples: ArrayLike) -> NDArray[np.float32]:
        x = streaming.sound("Mfcc", samples)
        if len(x):
            sharp, self._last = _sharpened(x, self._last), x[-1:]
            frames = self.encoder._made(self._sharp.push(sharp), self._plain.push(x), self.rate)
        else:
            frames = np.empty((0, self._derivatives.features))
        return self._derivatives.push(frames).astype(np.float32)

    def flush(self) -> NDArray[np.float32]:
        """Return the last frames; an incomplete window gives none."""
        last = self._derivatives.flush()
        self._begin()
        return last.reshape(-1, self.encoder.features).astype(np.float32)
