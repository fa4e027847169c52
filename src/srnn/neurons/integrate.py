"""Integrate-and-fire without leak, soft reset (the neuron of tandem learning, Wu et al. 2021).

u[t] = u[t-1] + I[t] - θ s[t-1]
x[t] = u[t] - θ                                       the neuron spikes where x > 0
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from srnn.init import Init
from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class IF(Neuron):
    """Integrate-and-fire. threshold: θ, also what a spike subtracts."""

    threshold: Init = 1.0

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = state["u"] + I - c["threshold"] * s
        return u - c["threshold"], {"u": u}
