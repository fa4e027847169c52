"""Adaptive leaky integrate-and-fire (Yin, Corradi & Bohté 2021, Methods, eqs 5-8).

    η[t] = ρ η[t-1] + (1-ρ) s[t-1]                 adaptation,  ρ = exp(-1/τ_adp)
    θ[t] = b0 + β η[t]                             threshold
    u[t] = α u[t-1] + (1-α) I[t] - θ[t] s[t-1]     potential,   α = exp(-1/τ_m)
    x[t] = u[t] - θ[t]                             the neuron spikes where x > 0

u and θ share one arbitrary unit; τ_m and τ_adp are in steps. The order is that of the published
code: the new θ resets the spike of the step before. Nothing is detached: the gradient flows through
θ, η, the reset and both time constants. No constant is clamped. β = 0 is the papers' non-adaptive
neuron (the hidden layer of their ECG network): η is still integrated, but nothing reads it.

η starts at eta0, as given, never trained: 0 here, 0.01 or b0 in the published scripts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from srnn._check import ConfigError, check_range
from srnn.init import Init, Normal
from srnn.neuron import Coeffs, Neuron, Params, State


@dataclass(frozen=True)
class ALIF(Neuron):
    """Adaptive LIF. tau_m, tau_adp: time constants (steps); b0: base threshold; beta: strength of
    the adaptation; eta0: the adaptation before the first step, one number and no constant of the
    layer.
    """

    tau_m: Init = Normal(20.0, 5.0)
    tau_adp: Init = Normal(150.0, 10.0)
    b0: Init = 0.01
    beta: Init = 1.8
    eta0: float = 0.0

    states = ("u", "eta")

    def __post_init__(self) -> None:
        """Refuse a start that is no finite number."""
        if isinstance(self.eta0, bool) or not isinstance(self.eta0, int | float):
            raise ConfigError(f"ALIF: eta0 is {self.eta0!r}; expected one number.")
        check_range("ALIF: eta0", self.eta0)

    def constants(self) -> dict[str, Init]:
        return {name: value for name, value in super().constants().items() if name != "eta0"}

    def coeffs(self, p: Params) -> Coeffs:
        return {
            "alpha": torch.exp(-1 / p["tau_m"]),
            "rho": torch.exp(-1 / p["tau_adp"]),
            "b0": p["b0"],
            "beta": p["beta"],
        }

    def start(self, n: int) -> dict[str, float | Tensor]:
        return {"u": 0.0, "eta": float(self.eta0)}

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        eta = c["rho"] * state["eta"] + (1 - c["rho"]) * s
        theta = c["b0"] + c["beta"] * eta
        u = c["alpha"] * state["u"] + (1 - c["alpha"]) * I - theta * s
        return u - theta, {"u": u, "eta": eta}
