"""Weights as small integers: symmetric, one scale a row. What is trained, evaluated and exported
rounds here.

    scale_r = max |w_r| / (2^(bits-1) - 1)        1 for a row of zeros
    q       = round(w / scale)                    halves to the even number

Both are computed in float64: the same integers come out of q · scale again, whatever the type of
the matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from srnn._check import ConfigError

LOW, HIGH = 2, 16
"""The widths a weight may have, in bits."""


def check_bits(what: str, bits: int | None) -> int | None:
    """Return `bits` if weights can have that width, or are not quantised (None).

    Raises `ConfigError`.
    """
    whole = isinstance(bits, int) and not isinstance(bits, bool)
    if bits is not None and not (whole and LOW <= bits <= HIGH):
        raise ConfigError(
            f"{what} is {bits!r}; expected a whole number from {LOW} to {HIGH}, as "
            "8 or 4, or None = not quantised."
        )
    return bits


def quantise(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return (q, scale) of a matrix (N, C): integers (N, C), int8 for bits ≤ 8, else int16, and
    float64 (N,), so that weight ≈ q · scale.

    The error is at most half a scale; zeros stay zeros. Raises `ConfigError` for a width that
    cannot be.
    """
    check_bits("bits", bits)
    exact = weight.detach().double()
    top = exact.abs().amax(1) / (2 ** (bits - 1) - 1)
    scale = torch.where(top > 0, top, 1.0)
    return torch.round(exact / scale.unsqueeze(1)).to(
        torch.int8 if bits <= 8 else torch.int16
    ), scale


def dequantise(q: Tensor, scale: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return q · scale, the matrix that (q, scale) stand for."""
    return (q.double() * scale.unsqueeze(1)).to(dtype)


def rounded(weight: Tensor, bits: int) -> Tensor:
    """Return q · scale in the type of the weight; its gradient goes to the weight as if nothing had
    been rounded (straight-through).
    """
    return dequantise(*quantise(weight, bits), weight.dtype) + (weight - weight.detach())
