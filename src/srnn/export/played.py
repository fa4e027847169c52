"""What an exported network gives when it is played: the one form in which all of them are compared
with the network they came from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Played(NamedTuple):
    """What an exported network gives for a batch, 0 beyond each recording's length.

    potential, output: (B, T, K) of the last layer, potentials in the units of the network it came
    from. outputs: (B, T, N) of every layer, or () where the exported form does not show them.
    """

    potential: Tensor
    output: Tensor
    outputs: tuple[Tensor, ...] = ()


Player = Callable[[Tensor, Tensor], Played]
"""Runs an exported network on x (B, T, C), lengths (B,), from the neurons' own start."""
