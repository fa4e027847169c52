"""LIF with a moving threshold (Bellec et al. 2018), as Bittar & Garner 2022 compare it with their
adaptation current (Table 11).

    u[t] = α (u[t-1] - s[t-1]) + (1-α) I[t]              potential, α in [exp(-1/5), exp(-1/25)]
    A[t] = β A[t-1] + (1-β) s[t-1]                       adaptation, β in [exp(-1/30), exp(-1/120)]
    x[t] = u[t] - θ - b A[t],  θ = 1                     the neuron spikes where x > 0

The paper gives no formula ("similar to Bellec 2018"): potential, reset and ranges are those of its
adLIF (form of the published code), so that the two differ in where the adaptation acts and in
nothing else; the range of b, [0, 2], is that of the adLIF's spike-triggered part. All constants but
θ are trained, one per neuron, and clamped to their ranges in the forward pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from srnn.init import Init, Uniform
from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class ThresholdLIF(Neuron):
    """LIF whose threshold rises with every spike. alpha, beta: decays per step; b: strength of the
    adaptation; threshold: θ.
    """

    alpha: Init = Uniform(math.exp(-1 / 5), math.exp(-1 / 25), clamp=True)
    beta: Init = Uniform(math.exp(-1 / 30), math.exp(-1 / 120), clamp=True)
    b: Init = Uniform(0.0, 2.0, clamp=True)
    threshold: Init = 1.0

    states = ("u", "a")

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        a = c["beta"] * state["a"] + (1 - c["beta"]) * s
        u = c["alpha"] * (state["u"] - s) + (1 - c["alpha"]) * I
        return u - c["threshold"] - c["b"] * a, {"u": u, "a": a}
