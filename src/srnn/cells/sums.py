"""A unit that adds up what it gets: on spikes, a linear layer of their counts so far.

u[t] = u[t-1] + I[t],    x[t] = u[t]
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class Sum(Neuron):
    """Accumulator, for use with `Identity()` and without bias: the last value is W · counts.

    No constants.
    """

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = state["u"] + I
        return u, {"u": u}
