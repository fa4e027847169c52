"""The basilar membrane of the cochlea (Sieroka, Dosch & Rupp 2006): its transfer function, and a
table of it that is made once for a sampling rate. `srnn.encode.cochlea` has the equations.
"""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srnn._check import SrnnError

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

_ALPHA, _C0, _A, _M, _H, _DELTA = 3.0, 1e9, 3500.0, 0.05, 0.1, 0.15
LENGTH = 3.5
"""Of the membrane, cm."""

BLOCK = 16
"""Channels that are computed together: what bounds the memory, and what the processor's cache
holds. In numpy, where each step costs the same for any number of channels, eight times as many.
"""

_BEND, _FINE = 250.0, 2.0
"""Hz up to which the grid of the transfer function has that many points a Hz; beyond, its steps
grow with the frequency.
"""


def places(channels: int) -> Real:
    """Return how far from the base evenly spaced channels lie, (channels,) cm."""
    return np.linspace(0.0, LENGTH, channels)


def resonance(place: Real) -> Real:
    """Return the local resonance at places (cm) in Hz: about 22.5 kHz at the base, 110 Hz at the
    apex.
    """
    return np.sqrt((_C0 * np.exp(-_ALPHA * place) - _A) / _M) / (2 * math.pi)


def transfer(frequency: Real, place: Real) -> Complex:
    """Return v(w, c), frequency (F,) Hz and place (C,) cm -> (C, F): velocity of the membrane for a
    stimulus of that frequency.
    """
    special = scipy_part("special")
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


def grid_position(frequency: Real) -> Real:
    """Return where frequencies (Hz) lie on the grid of the table: equal steps, then steps that grow
    with the frequency.
    """
    above = np.maximum(frequency, _BEND)
    return np.where(
        frequency <= _BEND, _FINE * frequency, _FINE * _BEND * (1 + np.log(above / _BEND))
    )


@functools.lru_cache(maxsize=2)
def transfer_table(highest: int, channels: int) -> Complex:
    """Return the transfer function on the grid, (channels, grid): 31 MB for 700 channels at 24 kHz.

    Between grid points it is a cubic.
    """
    grid = np.arange(
        math.ceil(float(grid_position(np.array(float(highest))))) + 4, dtype=np.float64
    )
    grid[0] = 0.5  # 0 Hz is never asked for; the table begins there to be as wide as it is long
    frequency = np.where(
        grid <= _FINE * _BEND, grid / _FINE, _BEND * np.exp(grid / (_FINE * _BEND) - 1)
    )
    place = places(channels)
    return np.concatenate(
        [transfer(frequency, place[k : k + BLOCK]) for k in range(0, channels, BLOCK)]
    )


def cubic(x: Real) -> tuple[Real, Real, Real, Real]:
    """Return the weights of the grid points -1, 0, 1, 2 for positions x in [0, 1) between the
    middle two (Lagrange).
    """
    return (
        -x * (x - 1) * (x - 2) / 6,
        (x + 1) * (x - 1) * (x - 2) / 2,
        -(x + 1) * x * (x - 2) / 2,
        (x + 1) * x * (x - 1) / 6,
    )


def scipy_part(part: str) -> Any:
    """Return a module of scipy. Raises `SrnnError` where it is not installed."""
    try:
        return importlib.import_module(f"scipy.{part}")
    except ImportError as error:
        raise SrnnError(
            'The cochlea needs scipy. Install it with: pip install "srnn[data]"'
        ) from error
