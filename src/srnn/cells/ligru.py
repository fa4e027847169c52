"""Light gated recurrent unit (Ravanelli, Brakel, Omologo & Bengio 2018, "Light gated recurrent
units for speech recognition").

    z[t] = σ(I_z[t])                             update gate,  I_z[t] = norm(W_z x[t]) + R_z h[t-1]
    c[t] = max(0, I_c[t])                        candidate,    I_c[t] = norm(W_c x[t]) + R_c h[t-1]
    h[t] = z[t] h[t-1] + (1 - z[t]) c[t]

A GRU without reset gate, ReLU in place of tanh. Batch norm of the feed-forward part
(`norm=BatchNorm()`) belongs to the published unit: it keeps the ReLU bounded. Rows of W, R and b: z
first, then c. For use with `Identity()`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class LiGRU(Neuron):
    """Light GRU: an update gate and a ReLU candidate. No constants."""

    states = ()
    gates = 2

    def step(
        self, I: tuple[Tensor, Tensor], s: Tensor, state: State, c: Coeffs
    ) -> tuple[Tensor, State]:
        z = torch.sigmoid(I[0])
        return z * s + (1 - z) * torch.relu(I[1]), {}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return s
