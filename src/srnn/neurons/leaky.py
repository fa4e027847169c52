"""Leaky integrator: a read-out that neither spikes nor resets (Yin, Corradi & Bohté 2021, Methods).

    u[t] = α u[t-1] + (1-α) I[t],   α = exp(-1/τ_m)
    x[t] = u[t]

τ_m is in steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from srnn.init import Init, Normal
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
