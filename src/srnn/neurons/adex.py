"""Adaptive exponential integrate-and-fire (Brette & Gerstner 2005), soft reset.

The adaptive model of Bittar & Garner 2022 with f(u) in place of its linear leak; time in steps:

    τ_m du/dt = f(u) + I - w         f(u) = -(u - u_rest) + Δ exp((u - ϑ)/Δ)
    τ_w dw/dt = -w + a (u - u_rest)
    at a spike, u > θ:               u -= θ,  w += b

Exponential Euler for the linear part, the exponential held over the step like an input; v = u -
u_rest.

    z[t] = min((u[t-1] - θ s[t-1] - ϑ)/Δ, cap')                 after the reset
    u[t] = u_rest + α v[t-1] + (1-α) (I[t] - w[t-1] + Δ exp(z[t])) - θ s[t-1]
    w[t] = β w[t-1] + (1-β) a v[t-1] + b s[t-1]
    x[t] = u[t] - θ                                             the neuron spikes where x > 0

    α = exp(-1/τ_m),  β = exp(-1/τ_w),  cap' = min((θ - ϑ)/Δ, cap)

u, u_rest, ϑ, Δ, θ, I and w share one arbitrary unit; τ_m and τ_w are in steps. ϑ (`critical`) is
where the exponential takes over: the rheobase current is ϑ - u_rest - Δ, reached at u = ϑ. θ
(`threshold`) is the peak: where the spike is counted, and what it subtracts. Beyond the peak the
continuous model does not exist, so the exponential stops growing there, and at e^cap in any case (a
sharp Δ would overshoot by orders of magnitude): what remains is AdLIF with a bounded input. For a >
-1 it is stable: a bounded input keeps u and w bounded. Accurate where τ_m is long against e^cap' -
1, the slope of f at the peak.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from srnn import init
from srnn.init import Init, Uniform
from srnn.neuron import Coeffs, Neuron, Params, State


@dataclass(frozen=True)
class AdEx(Neuron):
    """Adaptive exponential integrate-and-fire.

    tau_m, tau_w: time constants of u and w (steps); a: subthreshold, b: spike-triggered adaptation;
    u_rest: resting potential;
    critical: ϑ; delta: Δ > 0, the width of the upstroke; cap: the largest exponent; threshold: θ,
    the peak, also what a spike subtracts.
    """

    tau_m: Init = Uniform(5.0, 25.0, clamp=True)
    tau_w: Init = Uniform(30.0, 120.0, clamp=True)
    a: Init = Uniform(0.0, 1.0, clamp=True)
    b: Init = Uniform(0.0, 1.0, clamp=True)
    u_rest: Init = 0.0
    critical: Init = 0.5
    delta: Init = 0.2
    cap: Init = 5.0
    threshold: Init = 1.0

    states = ("u", "w")

    def coeffs(self, p: Params) -> Coeffs:
        return {
            "alpha": torch.exp(-1 / p["tau_m"]),
            "beta": torch.exp(-1 / p["tau_w"]),
            "a": p["a"],
            "b": p["b"],
            "u_rest": p["u_rest"],
            "critical": p["critical"],
            "delta": p["delta"],
            "sharpness": 1 / p["delta"],
            "cap": torch.minimum((p["threshold"] - p["critical"]) / p["delta"], p["cap"]),
            "threshold": p["threshold"],
        }

    def start(self, n: int) -> dict[str, float | Tensor]:
        """Return rest: u where u_rest starts on average, w = 0."""
        return {"u": init.mean(self.u_rest), "w": 0.0}

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        v = state["u"] - c["u_rest"]
        reset = c["threshold"] * s
        z = torch.minimum((state["u"] - reset - c["critical"]) * c["sharpness"], c["cap"])
        u = (
            c["u_rest"]
            + c["alpha"] * v
            + (1 - c["alpha"]) * (I - state["w"] + c["delta"] * torch.exp(z))
            - reset
        )
        w = c["beta"] * state["w"] + (1 - c["beta"]) * c["a"] * v + c["b"] * s
        return u - c["threshold"], {"u": u, "w": w}
