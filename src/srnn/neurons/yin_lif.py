"""The LIF of Yin's published scripts: a constant decay, no gain on the input, hard reset.

    u[t] = d (1 - s[t-1]) u[t-1] + I[t]                   d = 0.618 (ECG script), 0.7 (SSC notebook)
    x[t] = u[t] - θ,  θ = 0.5                             the neuron spikes where x > 0

The baseline behind the "LIF" rows of Yin, Corradi & Bohté 2020 and 2021; their text describes
another one (`lif.LIF`). The reset is applied at the start of the next step, so `potential` is (1 -
s) u.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from srnn.init import Init
from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class YinLIF(Neuron):
    """LIF of the published scripts. decay: d per step; threshold: θ; both fixed, as published."""

    decay: Init = 0.618
    threshold: Init = 0.5

    hard_reset = True

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = c["decay"] * ((1 - s) * state["u"]) + I
        return u - c["threshold"], {"u": u}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return (1 - s) * state["u"]
