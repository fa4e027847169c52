"""LIF with a spike-triggered and subthreshold adaptation current (Bittar & Garner 2022), paper form
and form of its published code, sparch.

    paper (eqs 7-9)   u[t] = α u[t-1] + (1-α) (I[t] - w[t-1]) - θ s[t-1]
                      w[t] = β w[t-1] + (1-β) a u[t-1] + b s[t-1]
                      α in [0.60, 0.96],  β in [exp(-1/30), exp(-1/120)]
    sparch            w[t] = β w[t-1] + a u[t-1] + b s[t-1]
                      u[t] = α (u[t-1] - s[t-1]) + (1-α) (I[t] - w[t])
                      α in [exp(-1/5), exp(-1/25)],  β as in the paper
    both              x[t] = u[t] - θ,  θ = 1         the neuron spikes where x > 0
                      a in [-1, 1],  b in [0, 2]

The paper spikes at x ≥ 0: `Spike(at_threshold=True)`. All constants are trained, one per neuron,
and clamped to their ranges in the forward pass. The paper's form is stable below threshold for
every a > -1. sparch's is stable only for a > -(1-β), so that about half of its neurons start out
exponentially unstable: fine for 100 steps, overflow in float32 near 250. `stable=True` raises a to
that bound in the forward pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from srnn.init import Init, Uniform
from srnn.neuron import Coeffs, Neuron, Params, State


@dataclass(frozen=True)
class AdLIF(Neuron):
    """Adaptive-current LIF, paper form. alpha, beta: decays per step; a: subthreshold, b:
    spike-triggered adaptation; threshold: θ.
    """

    alpha: Init = Uniform(0.60, 0.96, clamp=True)
    beta: Init = Uniform(math.exp(-1 / 30), math.exp(-1 / 120), clamp=True)
    a: Init = Uniform(-1.0, 1.0, clamp=True)
    b: Init = Uniform(0.0, 2.0, clamp=True)
    threshold: Init = 1.0

    states = ("u", "w")

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = c["alpha"] * state["u"] + (1 - c["alpha"]) * (I - state["w"]) - c["threshold"] * s
        w = c["beta"] * state["w"] + (1 - c["beta"]) * c["a"] * state["u"] + c["b"] * s
        return u - c["threshold"], {"u": u, "w": w}


@dataclass(frozen=True)
class SparchAdLIF(Neuron):
    """Adaptive-current LIF, form of the published code.

    Constants as in `AdLIF`; stable: keep a ≥ -(1-β).
    """

    alpha: Init = Uniform(math.exp(-1 / 5), math.exp(-1 / 25), clamp=True)
    beta: Init = Uniform(math.exp(-1 / 30), math.exp(-1 / 120), clamp=True)
    a: Init = Uniform(-1.0, 1.0, clamp=True)
    b: Init = Uniform(0.0, 2.0, clamp=True)
    threshold: Init = 1.0
    stable: bool = False

    states = ("u", "w")

    def coeffs(self, p: Params) -> Coeffs:
        return {**p, "a": torch.maximum(p["a"], p["beta"] - 1)} if self.stable else p

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        w = c["beta"] * state["w"] + c["a"] * state["u"] + c["b"] * s
        u = c["alpha"] * (state["u"] - s) + (1 - c["alpha"]) * (I - w)
        return u - c["threshold"], {"u": u, "w": w}
