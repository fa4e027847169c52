"""Weights as small integers: symmetric, one scale a row. What is trained, evaluated and exported rounds here.

    scale_r = max |w_r| / (2^(bits-1) - 1)        1 for a row of zeros
    q       = round(w / scale)                    halves to the even number

q is clipped to ±(2^(bits-1) - 1), which only rows of denormal numbers reach.
"""

from __future__ import annotations

import torch
from torch import Tensor

from srnn._check import ConfigError

LOW, HIGH = 2, 16
"""The widths a weight may have, in bits."""


def check_bits(what: str, bits: int | None) -> int | None:
    """Return `bits` if weights can have that width, or are not quantised (None). Raises `ConfigError`."""
    whole = isinstance(bits, int) and not isinstance(bits, bool)
    if bits is not None and not (whole and LOW <= bits <= HIGH):
        raise ConfigError(f"{what} is {bits!r}; expected a whole number from {LOW} to {HIGH}, as 8 or 4, or None = not quantised.")
    return bits


def quantise(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return (q, scale) of a matrix (N, C): whole numbers of the matrix's own dtype, and (N, 1), so that weight ≈ q · scale.

    The error is at most half a scale; zeros stay zeros; integers times a scale give the same integers again.
    """
    largest = 2 ** (bits - 1) - 1
    scale = weight.detach().abs().amax(1, keepdim=True) / largest
    scale = torch.where(scale > 0, scale, 1.0)
    return torch.round(weight.detach() / scale).clamp(-largest, largest), scale


def rounded(weight: Tensor, bits: int) -> Tensor:
    """Return q · scale, exactly; its gradient goes to the weight as if nothing had been rounded (straight-through)."""
    q, scale = quantise(weight, bits)
    return q * scale + (weight - weight.detach())
