"""Quadratic integrate-and-fire with a recovery current (the reduced form of Izhikevich 2003, 2007),
soft reset.

The adaptive model of Bittar & Garner 2022 with f(u) in place of its linear leak; time in steps:

    τ_m du/dt = f(u) + I - w         f(u) = -(u - u_rest)(ϑ - u)
    τ_w dw/dt = -w + a (u - u_rest)
    at a spike, u > θ:               u -= θ,  w += b

With v = u - u_rest and V = ϑ - u_rest, f = -V v + v²: exponential Euler for the linear part, v²
held over the step like an input.

    q[t] = v[t-1] - θ s[t-1], kept within ±(θ - u_rest)     after the reset, not beyond the peak
    u[t] = u_rest + α v[t-1] + (1-α)/V (I[t] - w[t-1] + q[t]²) - θ s[t-1]
    w[t] = β w[t-1] + (1-β) a v[t-1] + b s[t-1]
    x[t] = u[t] - θ                                         the neuron spikes where x > 0

    α = exp(-V/τ_m),  β = exp(-1/τ_w)

u, u_rest, ϑ and θ share one arbitrary unit, I and w are in its square; τ_m and τ_w are in steps. ϑ
(`critical`, above u_rest) is the potential beyond which u runs away by itself where I = w; the
rheobase current is V²/4. θ (`threshold`) is the peak: where the spike is counted, and what it
subtracts. Beyond the peak the continuous model does not exist, so v² stops growing there, on both
sides of rest: what remains is a linear system with a bounded input. For a > -V it is stable: a
bounded input keeps u and w bounded. Accurate where τ_m is long against 2 (θ - u_rest) - V, the
slope of f at the peak.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from srnn import init
from srnn.init import Init, Uniform
from srnn.neuron import Coeffs, Neuron, Params, State


@dataclass(frozen=True)
class Izhikevich(Neuron):
    """Quadratic integrate-and-fire with recovery current.

    tau_m, tau_w: time constants of u and w (steps); a: subthreshold, b: spike-triggered recovery;
    u_rest: resting potential;
    critical: ϑ, above u_rest; threshold: θ, the peak, also what a spike subtracts.
    """

    tau_m: Init = Uniform(5.0, 25.0, clamp=True)
    tau_w: Init = Uniform(30.0, 120.0, clamp=True)
    a: Init = Uniform(0.0, 0.5, clamp=True)
    b: Init = Uniform(0.0, 1.0, clamp=True)
    u_rest: Init = 0.0
    critical: Init = 0.5
    threshold: Init = 1.0

    states = ("u", "w")

    def coeffs(self, p: Params) -> Coeffs:
        width = p["critical"] - p["u_rest"]
        alpha = torch.exp(-width / p["tau_m"])
        return {
            "alpha": alpha,
            "gain": (1 - alpha) / width,
            "beta": torch.exp(-1 / p["tau_w"]),
            "a": p["a"],
            "b": p["b"],
            "u_rest": p["u_rest"],
            "peak": p["threshold"] - p["u_rest"],
            "threshold": p["threshold"],
        }

    def start(self, n: int) -> dict[str, float | Tensor]:
        """Return rest: u where u_rest starts on average, w = 0."""
        return {"u": init.mean(self.u_rest), "w": 0.0}

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        v = state["u"] - c["u_rest"]
        reset = c["threshold"] * s
        q = torch.maximum(torch.minimum(v - reset, c["peak"]), -c["peak"])
        u = c["u_rest"] + c["alpha"] * v + c["gain"] * (I - state["w"] + q * q) - reset
        w = c["beta"] * state["w"] + (1 - c["beta"]) * c["a"] * v + c["b"] * s
        return u - c["threshold"], {"u": u, "w": w}
