"""Hair cells, nerve and bushy cells of the cochlea, sample by sample: compiled where there is a C
compiler, else in NumPy, with the same spikes. `srnn.encode.cochlea` has the sources.
"""

from __future__ import annotations

import ctypes
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srnn import _build
from srnn.encode.membrane import Real

LEAST_RATE = 10_000
"""The hair cell is a forward Euler step; it diverges where (l + r) dt reaches 2, at 9080 samples of
sound per second.
"""


class Ear(ctypes.Structure):
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


def ear(rate: int, fibres: int) -> Ear:
    """Return the constants at `rate` samples of the membrane a second."""
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
    return Ear(**levels, dt=dt, dead=max(1, math.ceil(1e-3 * rate - 1e-9)), fibres=fibres, **cell)


@functools.cache
def library() -> Any:
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


def hear(
    ear: Ear, membrane: Real, seed: int, first: int, spikes: bool, heard: Heard | None = None
) -> tuple[Real, NDArray[np.uint8]]:
    """Return the probabilities (C, T) or the spikes (C, T) of a block of channels, the other one
    empty.

    heard: of a recording that comes in pieces, what the pieces before left; then the spikes are
    those of the samples one earlier.
    """
    function = library()
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
    e: Ear, membrane: Real, seed: int, first: int, spikes: bool, heard: Heard | None = None
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
