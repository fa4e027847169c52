"""A cochlea: sound becomes spikes of bushy cells behind the auditory nerve, as in the Spiking
Heidelberg Digits (Cramer et al. 2020).

The chain of that paper's LAUSCHER, from its equations. A recording is scaled to a root mean square
of 0.3 and faded in and out by a Hann window over its whole length. Then, for each of `channels`
places on the basilar membrane, base (highest frequency) first:

**Basilar membrane** (Sieroka, Dosch & Rupp 2006: shallow water, WKB). At place c cm from the base,
for angular frequency w, with α = 3, C0 = 1e9, a = 3500, m = 0.05, ρ = 1, h = 0.1 and
R0 = 0.15 √(C0 m):

    ξ(w,c) = C0 e^{-αc} - a - m w² - i w R0 e^{-αc/2}
    g(w,c) = w √(ρ / (h ξ)),   G(w,c) = (2/α) g(w,0) + ∫_0^c g dc'
    p(w,c) = √(G/g) H0⁽¹⁾(G)
    z(w)   = i √(2 C0/h) H0⁽²⁾(k) / H1⁽²⁾(k),   k = (2w/α) √(2/(h C0))
    v(w,c) = (2w/ξ) z p(w,c)/p(w,0)     the membrane's velocity for a stimulus of that frequency

Only the positive half of the spectrum is kept, so that the membrane is sampled at half the rate of
the sound; its frequencies begin at 1 Hz.

**Hair cell** (Meddis 1986, 1988), sample by sample; its transmitter c gives a probability of firing
p = h dt c.
**Nerve**: `fibres` fibres fire with that probability, each dead for 1 ms after it fired. They are
drawn together: a binomial number of those ready. **Bushy cell**: a LIF with τ_mem = 1 ms, τ_syn =
0.5 ms, 1 ms refractory, driven by all fibres.

The draws depend on seed, channel and sample alone. Compiled where there is a C compiler, else in
numpy, with the same spikes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import ConfigError, DataError, ShapeError, check_range, check_sizes
from srnn.encode import membrane, nerve
from srnn.encode.cochlea_stream import RMS, CochleaStream
from srnn.encode.membrane import Real


@dataclass(frozen=True)
class Cochlea:
    """Sound in, spikes out.

    channels: places on the membrane, 3.5 cm, evenly spaced. rate: resample the sound to it first
    (samples per second), None = as it is.
    fibres: of the auditory nerve at each place. seed: of their draws.
    """

    channels: int = 700
    rate: int | None = None
    fibres: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        check_sizes("Cochlea(channels, fibres)", self.channels, self.fibres)
        _check_whole("Cochlea(seed)", self.seed, 0)
        if self.rate is not None:
            _check_whole("Cochlea(rate)", self.rate, nerve.LEAST_RATE)

    def __call__(self, audio: ArrayLike, rate: float) -> tuple[Real, NDArray[np.int64]]:
        """Return (times, units) of the spikes, by time and then by unit: seconds, and channels 0 …
        channels - 1, highest frequency first.

        audio: (n,) floating sound at `rate` samples per second. Raises `ShapeError` for another
        shape or too little of it, `DataError` for integers, silence and samples that are not
        finite, `ConfigError` for a rate below 10 kHz that is not resampled, `SrnnError` without the
        extra "data".
        """
        found = [
            (first + c, t)
            for first, _, s in self._blocks(audio, rate, spikes=True)
            for c, t in [np.nonzero(s)]
        ]
        units, steps = (np.concatenate([pair[k] for pair in found]) for k in (0, 1))
        order = np.lexsort((units, steps))
        return steps[order] / self._membrane_rate(rate), units[order].astype(np.int64)

    def membrane(self, audio: ArrayLike, rate: float) -> Real:
        """Return the velocity of the membrane, (n // 2 + 1, channels), at half the rate of the
        sound; arguments and errors as above.
        """
        return np.concatenate([y for _, y in self._membrane(audio, rate)]).T

    def firing_probability(self, audio: ArrayLike, rate: float) -> Real:
        """Return the probability per sample that a fibre that is ready fires, as `membrane`: (n //
        2 + 1, channels).
        """
        return np.concatenate([p for _, p, _ in self._blocks(audio, rate, spikes=False)]).T

    def streaming(self, rate: float, gain: float, seconds: float = 0.1) -> CochleaStream:
        """Return the cochlea for sound that comes in pieces, heard in blocks of so many seconds
        (`srnn.encode.cochlea_stream`).
        """
        heard = int(self.rate or rate)
        return CochleaStream(self.channels, self.fibres, self.seed, rate, heard, gain, seconds)

    def version(self) -> str:
        """Return a checksum of this code: spikes that were kept are those of the same version."""
        here = Path(__file__).parent
        code = ("cochlea.py", "membrane.py", "nerve.py", "c/cochlea.c")
        return hashlib.sha256(b"".join((here / name).read_bytes() for name in code)).hexdigest()

    def places(self) -> Real:
        """Return how far from the base the channels lie, (channels,) cm."""
        return membrane.places(self.channels)

    def centre_frequencies(self) -> Real:
        """Return the local resonance of each channel, (channels,) Hz: about 22.5 kHz at the
        base, 110 Hz at the apex.
        """
        return membrane.resonance(self.places())

    def _membrane_rate(self, rate: float) -> int:
        return int(self.rate or rate) // 2

    def _membrane(self, audio: ArrayLike, rate: float) -> Iterator[tuple[int, Real]]:
        """Yield (first channel, velocities (channels, steps)), block by block."""
        fft = membrane.scipy_part("fft")
        sound, rate = self._sound(audio, rate)
        steps = len(sound) // 2 + 1
        spectrum = fft.fft(sound)[:steps]
        position = membrane.grid_position(np.linspace(1.0, rate // 2, steps))
        table = membrane.transfer_table(rate // 2, self.channels)
        at = np.clip(position.astype(np.int64), 1, table.shape[1] - 3)
        weights = membrane.cubic(position - at)
        block = 8 * membrane.BLOCK if nerve.library() is None else membrane.BLOCK
        for first in range(0, self.channels, block):
            rows = table[first : first + block]
            v = rows.take(at - 1, axis=1) * weights[0]
            for w, k in zip(weights[1:], (0, 1, 2), strict=True):
                near = rows.take(at + k, axis=1)
                near *= w
                v += near
            v *= spectrum
            yield first, np.ascontiguousarray(fft.ifft(v, axis=1, overwrite_x=True).real)

    def _blocks(
        self, audio: ArrayLike, rate: float, spikes: bool
    ) -> Iterator[tuple[int, Real, NDArray[np.uint8]]]:
        """Yield (first channel, probabilities, spikes), each (channels, steps); only one of the two
        is filled.
        """
        for first, y in self._membrane(audio, rate):
            yield (
                first,
                *nerve.hear(
                    nerve.ear(self._membrane_rate(rate), self.fibres), y, self.seed, first, spikes
                ),
            )

    def _sound(self, audio: ArrayLike, rate: float) -> tuple[Real, int]:
        """Return the sound as it reaches the membrane, and its rate."""
        given = np.asarray(audio)
        if given.ndim != 1:
            raise ShapeError(
                f"Cochlea: sound of shape {given.shape}; expected one channel, "
                "(n,). Mix it, or pass one channel: audio[:, 0]."
            )
        if given.dtype.kind != "f":
            raise DataError(
                f"Cochlea: sound of type {given.dtype}; expected floating numbers. "
                "Scale 16-bit sound: audio / 32768."
            )
        if not np.isfinite(given).all():
            raise DataError(
                f"Cochlea: sample {int(np.argmax(~np.isfinite(given)))} is not "
                "finite. Interpolate or cut the gap first."
            )
        check_range("Cochlea: the sampling rate", rate, 1)
        if rate != int(rate):
            raise ConfigError(f"Cochlea: the sampling rate is {rate}; expected a whole number.")
        if self.rate is None and rate < nerve.LEAST_RATE:
            raise ConfigError(
                f"Cochlea: the sampling rate is {rate}; expected at least {nerve.LEAST_RATE}, "
                "below which the hair cell's equations diverge. "
                "Resample the sound: Cochlea(rate=16000)."
            )
        x, rate = given.astype(np.float64), int(rate)
        if self.rate is not None and self.rate != rate:
            ratio = Fraction(int(self.rate), rate)
            x, rate = (
                np.asarray(
                    membrane.scipy_part("signal").resample_poly(
                        x, ratio.numerator, ratio.denominator
                    )
                ),
                int(self.rate),
            )
        if len(x) < _LEAST:
            raise ShapeError(f"Cochlea: {len(x)} samples of sound; expected at least {_LEAST}.")
        loudest = float(np.abs(x).max())
        if not 1e-100 < loudest < 1e100:
            what = (
                "the sound is silent, so that"
                if loudest == 0.0
                else f"the loudest sample is {loudest:g}:"
            )
            raise DataError(f"Cochlea: {what} it cannot be scaled. Leave such recordings out.")
        loudness = math.sqrt(float(np.mean(x**2)))
        half = len(x) // 2
        ramp = np.hanning(2 * half)[:half]
        x *= RMS / loudness
        x[:half] *= ramp
        x[len(x) - half :] *= ramp[::-1]
        return x, rate


_LEAST = 16


def _check_whole(what: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(f"{what} is {value!r}; expected a whole number.")
    check_range(what, int(value), least, 2**63)
