"""Mel-frequency cepstra: sound becomes the shape of its spectrum, frame by frame, with its energy and their derivatives.

The published TIMIT features (Yin, Corradi & Bohté 2021) come from an external script, of which these numbers are known: 25 ms windows every 10 ms,
26 filters, 12 cepstra, energy, two derivatives: 39 values a frame. The rest is chosen here, the usual way since HTK:

1. windows that lie within the recording (the last, incomplete one is dropped), x[n] - 0.97 x[n-1] over the whole recording, Hamming window;
2. power spectrum of the next power of two of points, triangles of equal height on HTK's mel scale, from 0 Hz to half the sampling rate;
3. logarithm (not below FLOOR), orthonormal discrete cosine transform (type II), coefficients 1 … 12, not liftered: that is a factor a coefficient;
4. energy: logarithm of the sum of squares of the plain window, not below FLOOR; it stands after the cepstra, as in HTK;
5. derivatives as in `LogMel`, over 9 frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import ConfigError, SrnnError, check_range, check_sizes
from srnn.encode.log_mel import check_times, checked, in_samples, mel_bank, spectrum, whole, with_derivatives

FLOOR = 1e-8
"""Power below which a band, or a window, counts as silent: about what the rounding of 16-bit samples leaves."""

_PRE_EMPHASIS = 0.97


@dataclass(frozen=True)
class Mfcc:
    """Mel-frequency cepstral coefficients of a recording.

    coefficients: cepstra, without the 0th (< filters). energy: with the log energy. deltas: 0, 1 or 2 derivatives. window, hop: seconds.
    Raises `ConfigError` for settings that cannot work.
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
            raise ConfigError(f"Mfcc: {self.coefficients} coefficients of {self.filters} filters; expected fewer coefficients than filters.")

    @property
    def features(self) -> int:
        """Values a frame."""
        return (self.coefficients + self.energy) * (1 + self.deltas)

    def frames(self, seconds: float) -> int:
        """Return how many frames a recording of this length gives (where window and hop are whole numbers of samples)."""
        check_range("Mfcc.frames(seconds)", seconds, self.window)
        return 1 + whole((seconds - self.window) / self.hop)

    def __call__(self, audio: ArrayLike, rate: float) -> NDArray[np.float32]:
        """Encode: (n,) sound in [-1, 1] at `rate` samples per second -> (T, features) float32, T = 1 + (n - window) // hop.

        Features are ordered by derivative: cepstra and energy, their first derivatives, their second.
        Raises `ShapeError` for another shape or less sound than one window, `DataError` for a sample that is not finite, `ConfigError` for a
        rate that is not positive or too low for the settings, `SrnnError` without the extra "data".
        """
        x = checked("Mfcc", audio, rate)
        window, hop = in_samples("Mfcc", self.window, self.hop, len(x), rate)
        try:
            from scipy.fft import dct
        except ImportError as error:
            raise SrnnError('Cepstra need scipy. Install it with: pip install "srnn[data]"') from error
        points = 1 << (window - 1).bit_length()
        bank = mel_bank(rate, points, self.filters, 0.0, rate / 2, htk=True)
        hamming = 0.54 - 0.46 * np.cos(2 * math.pi / (window - 1) * np.arange(window))
        sharp = np.append(x[:1], x[1:] - _PRE_EMPHASIS * x[:-1])
        log = np.log(np.maximum(spectrum(sharp, hamming, hop, points) @ bank, FLOOR))
        made = dct(log, type=2, norm="ortho", axis=1)[:, 1 : self.coefficients + 1]
        if self.energy:
            squares = np.lib.stride_tricks.sliding_window_view(x * x, window)[::hop].sum(axis=1, keepdims=True)
            made = np.concatenate([made, np.log(np.maximum(squares, FLOOR))], axis=1)
        return with_derivatives(made, self.deltas).astype(np.float32)
