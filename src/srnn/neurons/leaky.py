"""Leaky integrator: a read-out that neither spikes nor resets (Yin, Corradi & Bohté 2021, Methods).

    u[t] = α u[t-1] + (1-α) I[t],   α = exp(-1/τ_m)
    x[t] = u[t]

τ_m is in steps. Bittar & Garner 2022 train α itself, clamped to a range (that of their published
code): `AlphaLeaky`. With α = 0 it is a linear read-out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from srnn.init import Init, Normal, Uniform
from srnn.neuron import Coeffs, Neuron, Params, State


@dataclass(frozen=True)
class Leaky(Neuron):
    """Leaky integrator. tau_m: time constant (steps)."""

    tau_m: Init = Normal(20.0, 5.0)

    def coeffs(self, p: Params) -> Coeffs:
        return {"alpha": torch.exp(-1 / p["tau_m"])}

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = c["alpha"] * state["u"] + (1 - c["alpha"]) * I
        return u, {"u": u}


@dataclass(frozen=True)
class AlphaLeaky(Neuron):
    """Leaky integrator whose decay is trained directly. alpha: α, decay per step."""

    alpha: Init = Uniform(math.exp(-1 / 5), math.exp(-1 / 25), clamp=True)

    step = Leaky.step
