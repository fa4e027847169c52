"""Leaky integrate-and-fire with hard reset (Yin, Corradi & Bohté 2021, eqs 2-4, Euler decay).

    u[t] = (1 - 1/τ_m) (1 - s[t-1]) u[t-1] + I[t]/τ_m     potential, reset to 0 after a spike
    x[t] = u[t] - θ                                       the neuron spikes where x > 0

The reset of a spike is applied at the start of the next step, so `potential` is (1 - s) u. u and θ
share one arbitrary unit; τ_m is in steps. The paper gives no value for θ; 0.1 is the base threshold
of its ECG network.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from srnn.init import Init, Normal
from srnn.neuron import Coeffs, Neuron, Params, State


@dataclass(frozen=True)
class LIF(Neuron):
    """LIF with hard reset and Euler decay. tau_m: time constant (steps, > 1); threshold: θ."""

    tau_m: Init = Normal(20.0, 5.0)
    threshold: Init = 0.1

    hard_reset = True

    def coeffs(self, p: Params) -> Coeffs:
        return {"leak": 1 / p["tau_m"], "threshold": p["threshold"]}

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = (1 - c["leak"]) * ((1 - s) * state["u"]) + c["leak"] * I
        return u - c["threshold"], {"u": u}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return (1 - s) * state["u"]
