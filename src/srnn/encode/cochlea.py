"""A cochlea: sound becomes spikes of bushy cells behind the auditory nerve, as in the Spiking
Heidelberg Digits (Cramer et al. 2020).

The chain of that paper's LAUSCHER, from its equations. A recording is scaled to a root mean square
of 0.3 and faded in and out by a Hann window over its whole length. Then, for each of `channels`
places on the basilar membrane, base (highest frequency) first:

**Basilar membrane** (Sieroka, Dosch & Rupp 2006: shallow water, WKB). At place c cm from the base,
for angular frequency w, with α = 3, C0 = 1e9, a = 3500, m = 0.05, ρ = 1, h = 0.1, R0 = 0.15 √(C0
m):

    ξ(w,c) = C0 e^{-αc} - a - m w² - i w R0 e^{-αc/2}  g(w,c) = w √(ρ / (h ξ))
            G(w,c) = (2/α) g(w,0) + ∫_0^c g dc'
    p(w,c) = √(G/g) H0⁽¹⁾(G)                           z(w) = i √(2 C0/h) H0⁽²⁾(k) / H1⁽²⁾(k),  k =
                                                       (2w/α) √(2/(h C0))
    v(w,c) = (2w/ξ) z p(w,c)/p(w,0)                    the membrane's velocity for a stimulus of
                                                       that frequency

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

import ctypes
import functools
import hashlib
import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn import _build
from srnn._check import ConfigError, DataError, ShapeError, SrnnError, check_range, check_sizes

if TYPE_CHECKING:
    from srnn.encode.cochlea_stream import CochleaStream

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

_ALPHA, _C0, _A, _M, _H, _DELTA, _LENGTH = 3.0, 1e9, 3500.0, 0.05, 0.1, 0.15, 3.5
_RMS = 0.3
_BLOCK = 16
"""Channels that are computed together: what bounds the memory, and what the processor's cache
holds. In numpy, where each step costs the same for any number of channels, eight times as many.
"""

_BEND, _FINE = 250.0, 2.0
"""Hz up to which the grid of the transfer function has that many points a Hz; beyond, its steps
grow with the frequency.
"""


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
            _check_whole("Cochlea(rate)", self.rate, _LEAST_RATE)

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
        from srnn.encode.cochlea_stream import CochleaStream

        return CochleaStream(self, rate, gain, seconds)

    def version(self) -> str:
        """Return a checksum of this code: spikes that were kept are those of the same version."""
        here = Path(__file__)
        return hashlib.sha256(
            here.read_bytes() + (here.parent / "c" / "cochlea.c").read_bytes()
        ).hexdigest()

    def places(self) -> Real:
        """Return how far from the base the channels lie, (channels,) cm."""
        return np.linspace(0.0, _LENGTH, self.channels)

    def centre_frequencies(self) -> Real:
        """Return the local resonance of each channel, (channels,) Hz: about 22.5 kHz at the base,
        110 Hz at the apex.
        """
        return np.sqrt((_C0 * np.exp(-_ALPHA * self.places()) - _A) / _M) / (2 * math.pi)

    def _membrane_rate(self, rate: float) -> int:
        return int(self.rate or rate) // 2

    def _membrane(self, audio: ArrayLike, rate: float) -> Iterator[tuple[int, Real]]:
        """Yield (first channel, velocities (channels, steps)), block by block."""
        fft = _scipy("fft")
        sound, rate = self._sound(audio, rate)
        steps = len(sound) // 2 + 1
        spectrum = fft.fft(sound)[:steps]
        position = _grid_position(np.linspace(1.0, rate // 2, steps))
        table = _transfer_table(rate // 2, self.channels)
        at = np.clip(position.astype(np.int64), 1, table.shape[1] - 3)
        weights = _cubic(position - at)
        block = 8 * _BLOCK if _library() is None else _BLOCK
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
                *_hear(_ear(self._membrane_rate(rate), self.fibres), y, self.seed, first, spikes),
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
        if self.rate is None and rate < _LEAST_RATE:
            raise ConfigError(
                f"Cochlea: the sampling rate is {rate}; expected at least {_LEAST_RATE}, "
                "below which the hair cell's equations diverge. "
                "Resample the sound: Cochlea(rate=16000)."
            )
        x, rate = given.astype(np.float64), int(rate)
        if self.rate is not None and self.rate != rate:
            ratio = Fraction(int(self.rate), rate)
            x, rate = (
                np.asarray(_scipy("signal").resample_poly(x, ratio.numerator, ratio.denominator)),
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
        x *= _RMS / loudness
        x[:half] *= ramp
        x[len(x) - half :] *= ramp[::-1]
        return x, rate


_LEAST = 16
_LEAST_RATE = 10_000
"""The hair cell is a forward Euler step; it diverges where (l + r) dt reaches 2, at 9080 samples of
sound per second.
"""


def _check_whole(what: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(f"{what} is {value!r}; expected a whole number.")
    check_range(what, int(value), least, 2**63)


def _scipy(part: str) -> Any:
    try:
        return importlib.import_module(f"scipy.{part}")
    except ImportError as error:
        raise SrnnError(
            'The cochlea needs scipy. Install it with: pip install "srnn[data]"'
        ) from error


# ── the basilar membrane ──────────────────────────────────────────────────────────────────────────


def transfer(frequency: Real, place: Real) -> Complex:
    """Return v(w, c), frequency (F,) Hz and place (C,) cm -> (C, F): velocity of the membrane for a
    stimulus of that frequency.
    """
    special = _scipy("special")
    w = 2 * math.pi * frequency
    k = (2 * w / _ALPHA) * math.sqrt(2 / (_H * _C0))
    z = 1j * math.sqrt(2 * _C0 / _H) * special.hankel2e(0, k) / special.hankel2e(1, k)
    here, base = place[:, None], np.zeros((1, 1))
    xi, g, G = _xi(w, here), _g(w, here), phase(w, here)
    g0, G0 = _g(w, base), phase(w, base)
    p = (
        np.sqrt(G / g)
        / np.sqrt(G0 / g0)
        * (special.hankel1e(0, G) / special.hankel1e(0, G0))
        * np.exp(1j * (G - G0))
    )  # scaled: H itself leaves the range
    return np.asarray(2 * w / xi * z * p)


def phase(w: Real, c: Real) -> Complex:
    """Return G(w, c), the integral in closed form (ρ = 1)."""
    d = np.sqrt(_A + _M * w**2)

    def root(at: Real) -> Complex:
        return np.sqrt(_xi(w, at))

    def rest(at: Real) -> Complex:
        return np.asarray((2 * _A + 2 * _M * w**2 + 1j * w * _resistance(at)) / (2 * d))

    zero = np.zeros_like(c[..., :1]) if c.ndim else c
    upper = -_ALPHA * root(zero) + 1j * _ALPHA * rest(zero)
    lower = _ALPHA * np.exp(_ALPHA * c / 2) * (-root(c) + 1j * rest(c))
    return np.asarray(
        2 * _g(w, zero) / _ALPHA
        - 2j * math.sqrt(2) * w / (_ALPHA * np.sqrt(2 * _H) * d) * np.log(upper / lower)
    )


def _resistance(c: Real) -> Real:
    return np.asarray(_DELTA * math.sqrt(_C0 * _M) * np.exp(-_ALPHA * c / 2))


def _xi(w: Real, c: Real) -> Complex:
    return np.asarray(_C0 * np.exp(-_ALPHA * c) - _A - _M * w**2 - 1j * w * _resistance(c))


def _g(w: Real, c: Real) -> Complex:
    return np.asarray(w * np.sqrt(1 / (_H * _xi(w, c))))


def _grid_position(frequency: Real) -> Real:
    """Return where frequencies (Hz) lie on the grid of the table: equal steps, then steps that grow
    with the frequency.
    """
    above = np.maximum(frequency, _BEND)
    return np.where(
        frequency <= _BEND, _FINE * frequency, _FINE * _BEND * (1 + np.log(above / _BEND))
    )


@functools.lru_cache(maxsize=2)
def _transfer_table(highest: int, channels: int) -> Complex:
    """Return the transfer function on the grid, (channels, grid): 31 MB for 700 channels at 24 kHz.

    Between grid points it is a cubic.
    """
    grid = np.arange(
        math.ceil(float(_grid_position(np.array(float(highest))))) + 4, dtype=np.float64
    )
    grid[0] = 0.5  # 0 Hz is never asked for; the table begins there to be as wide as it is long
    frequency = np.where(
        grid <= _FINE * _BEND, grid / _FINE, _BEND * np.exp(grid / (_FINE * _BEND) - 1)
    )
    place = np.linspace(0.0, _LENGTH, channels)
    return np.concatenate(
        [transfer(frequency, place[k : k + _BLOCK]) for k in range(0, channels, _BLOCK)]
    )


def _cubic(x: Real) -> tuple[Real, Real, Real, Real]:
    """Return the weights of the grid points -1, 0, 1, 2 for positions x in [0, 1) between the
    middle two (Lagrange).
    """
    return (
        -x * (x - 1) * (x - 2) / 6,
        (x + 1) * (x - 1) * (x - 2) / 2,
        -(x + 1) * x * (x - 2) / 2,
        (x + 1) * x * (x - 1) / 6,
    )


# ── hair cells, nerve, bushy cells ────────────────────────────────────────────────────────────────


class _Ear(ctypes.Structure):
    """`ear` of cochlea.c."""

    _fields_ = (
        *((name, ctypes.c_double) for name in ("y", "g", "l", "r", "x", "A", "B", "h", "dt")),
        ("dead", ctypes.c_long),
        *(
            (name, ctypes.c_double)
            for name in ("decay_membrane", "decay_synapse", "weight", "refractory")
        ),
        ("fibres", ctypes.c_long),
    )


def _ear(rate: int, fibres: int) -> _Ear:
    dt = 1.0 / rate
    levels = {
        "y": 5.05,
        "g": 2000.0,
        "l": 2500.0,
        "r": 6580.0,
        "x": 66.3,
        "A": 5.0,
        "B": 300.0,
        "h": 50000.0,
    }
    cell = {
        "decay_membrane": math.exp(-dt / 1e-3),
        "decay_synapse": math.exp(-dt / 0.5e-3),
        "weight": 13e3 / fibres,
        "refractory": 1e-3 * rate,
    }
    return _Ear(**levels, dt=dt, dead=max(1, math.ceil(1e-3 * rate - 1e-9)), fibres=fibres, **cell)


@functools.cache
def _library() -> Any:
    """Return the compiled function, or None where nothing can be compiled."""
    try:
        source = (Path(__file__).parent / "c" / "cochlea.c").read_text()
        function = _build.load("cochlea", source, "-ffp-contract=off").hear
    except _build.BuildError:
        return None
    pointer = ctypes.c_void_p
    function.argtypes = (
        pointer,
        pointer,
        ctypes.c_long,
        ctypes.c_long,
        ctypes.c_uint64,
        ctypes.c_long,
        *(pointer,) * 4,
        ctypes.c_long,
    )
    function.restype = ctypes.c_int
    return function


class Heard:
    """What the ear remembers of a block of channels, of a recording that comes in pieces. begin:
    samples so far.
    """

    def __init__(self, channels: int, dead: int) -> None:
        self.begin, self.levels, self.nerves = (
            0,
            np.zeros((channels, 6)),
            np.zeros((channels, dead + 1), np.int64),
        )


def _hear(
    ear: _Ear, membrane: Real, seed: int, first: int, spikes: bool, heard: Heard | None = None
) -> tuple[Real, NDArray[np.uint8]]:
    """Return the probabilities (C, T) or the spikes (C, T) of a block of channels, the other one
    empty.

    heard: of a recording that comes in pieces, what the pieces before left; then the spikes are
    those of the samples one earlier.
    """
    function = _library()
    if function is None:
        made = _hear_in_numpy(ear, membrane, seed, first, spikes, heard)
    else:
        probability = np.empty((0, 0) if spikes else membrane.shape)
        fired = np.zeros(membrane.shape if spikes else (0, 0), np.uint8)
        membrane = np.ascontiguousarray(membrane)
        to = (None, fired.ctypes.data) if spikes else (probability.ctypes.data, None)
        memory = (
            (None, None, 0)
            if heard is None
            else (heard.levels.ctypes.data, heard.nerves.ctypes.data, heard.begin)
        )
        if function(
            ctypes.addressof(ear), membrane.ctypes.data, *membrane.shape, seed, first, *to, *memory
        ):
            raise MemoryError("The cochlea found no memory.")
        made = probability, fired
    if heard is not None:
        heard.begin += membrane.shape[1]
    return made


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _hear_in_numpy(
    e: _Ear, membrane: Real, seed: int, first: int, spikes: bool, heard: Heard | None = None
) -> tuple[Real, NDArray[np.uint8]]:
    """The loop of cochlea.c over time, all channels of the block at once."""
    channels, steps = membrane.shape
    with np.errstate(over="ignore"):
        stream = _mixed(
            _mixed(np.array([seed], np.uint64))
            + np.arange(first, first + channels, dtype=np.uint64)
        )
    rest = e.g * e.A / (e.A + e.B)
    c = np.full(channels, e.y * rest / (e.l * rest + e.y * (e.l + e.r)))
    q, w = c * (e.l + e.r) / rest, c * e.r / e.x
    v, current, counter = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    kept, busy = np.zeros((e.dead, channels), np.int64), np.zeros(channels, np.int64)
    begin = 0 if heard is None else heard.begin
    if heard is not None and begin:
        c, q, w, v, current, counter = heard.levels.T.copy()
        kept, busy = heard.nerves[:, :-1].T.copy(), heard.nerves[:, -1].copy()
    probability, fired = (
        np.empty((0, 0) if spikes else (channels, steps)),
        np.zeros((channels, steps) if spikes else (0, 0), np.uint8),
    )
    for t in range(begin, begin + steps):
        opened = membrane[:, t - begin] + e.A
        k = np.where(
            opened > 0.0, e.g * e.dt * opened / np.where(opened > 0.0, opened + e.B, 1.0), 0.0
        )
        refill = np.where(q < 1.0, e.y * e.dt * (1.0 - q), 0.0)
        eject, loss, reuptake, reprocessed = (
            k * q,
            (e.l + e.r) * e.dt * c,
            e.r * e.dt * c,
            e.x * e.dt * w,
        )
        q, c, w = (
            np.maximum(0.0, level)
            for level in (
                q + refill - eject + reprocessed,
                c + eject - loss,
                w + reuptake - reprocessed,
            )
        )
        p = e.h * e.dt * c
        if not spikes:
            probability[:, t - begin] = p
            continue
        with np.errstate(over="ignore"):
            u = (
                _mixed(stream + np.uint64(t + 1) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)
            ).astype(np.float64) * 2.0**-53
        busy -= kept[t % e.dead]
        kept[t % e.dead] = _binomial(e.fibres - busy, p, u)
        busy += kept[t % e.dead]
        if t:
            ready = counter <= 0.0
            crossed = ready & (v >= 1.0)
            fired[crossed, t - begin - (heard is None)] = 1
            v = np.where(crossed, 0.0, np.where(ready, v * e.decay_membrane, v))
            counter = np.where(crossed, e.refractory, counter)
            current = current * e.decay_synapse
        current = current + kept[t % e.dead]
        v = np.minimum(np.where(counter <= 0.0, v + current * e.weight * e.dt, v), 1.0)
        counter = counter - 1.0
    if heard is not None:
        heard.levels[:] = np.stack([c, q, w, v, current, counter], 1)
        heard.nerves[:] = np.concatenate([kept, busy[None]]).T
    return probability, fired


def _binomial(n: NDArray[np.int64], p: Real, u: Real) -> NDArray[np.int64]:
    """Return how many of n fire, each with probability p: the first count whose cumulative
    probability exceeds u.
    """
    q = 1.0 - p
    sure = q <= 0.0
    odds, chance, power, bits = p / np.where(sure, 1.0, q), np.ones_like(q), q, n.copy()
    while bits.any():
        chance = np.where(bits & 1, chance * power, chance)
        power, bits = power * power, bits >> 1
    total, k = chance, np.zeros_like(n)
    while (more := (u >= total) & (k < n)).any():
        chance = np.where(more, chance * ((n - k) / (k + 1) * odds), chance)
        total = np.where(more, total + chance, total)
        k = np.where(more, k + 1, k)
    return np.where(sure, n, np.where(p <= 0.0, 0, k))
