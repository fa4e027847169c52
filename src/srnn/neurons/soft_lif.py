"""Leaky integrate-and-fire with soft reset (Bittar & Garner 2022), in the paper's form and in that
of its published code, sparch.

    paper (eqs 2-3)   u[t] = α u[t-1] + (1-α) I[t] - θ s[t-1]      α in [0.60, 0.96]
    sparch            u[t] = α (u[t-1] - s[t-1]) + (1-α) I[t]      α in [exp(-1/5), exp(-1/25)]
    both              x[t] = u[t] - θ,  θ = 1                      the neuron spikes where x > 0

The paper spikes at x ≥ 0.

α is trained directly, one per neuron, and clamped to its range in the forward pass. sparch's reset
subtracts 1 before the decay, whatever θ is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from srnn.init import Init, Uniform
from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class SoftLIF(Neuron):
    """LIF with soft reset, paper form. alpha: decay per step; threshold: θ, also what a spike
    subtracts.
    """

    alpha: Init = Uniform(0.60, 0.96, clamp=True)
    threshold: Init = 1.0

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = c["alpha"] * state["u"] + (1 - c["alpha"]) * I - c["threshold"] * s
        return u - c["threshold"], {"u": u}


@dataclass(frozen=True)
class SparchLIF(Neuron):
    """LIF with soft reset, form of the published code. alpha: decay per step; threshold: θ."""

    alpha: Init = Uniform(math.exp(-1 / 5), math.exp(-1 / 25), clamp=True)
    threshold: Init = 1.0

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = c["alpha"] * (state["u"] - s) + (1 - c["alpha"]) * I
        return u - c["threshold"], {"u": u}
