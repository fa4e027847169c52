"""Gated recurrent unit (Cho et al. 2014), the reset gate applied after the recurrent product, as in
torch.nn.GRU.

    r = σ(I_r),  z = σ(I_z)      I_r, I_z = W x[t] + b + R h[t-1], a block of rows each
    c = tanh(I_x + r I_h)        I_x = W_x x[t] + b_x,   I_h = R_h h[t-1] + b_h
    h[t] = z h[t-1] + (1 - z) c

The candidate needs both of its sums apart, so the cell has four blocks of rows, r, z, x, h, of
which W has no block h and R no block x: what fills them is masked, and counts neither as a
parameter nor as an operation. With bias=True the four blocks of b are torch's b_ir + b_hr, b_iz +
b_hz, b_in and b_hn. The other usual form, c = tanh(W x + R (r h)), which Bittar & Garner 2022 have,
multiplies before the product and does not fit. For use with `Identity()`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class GRU(Neuron):
    """GRU cell; it has no constants."""

    states = ()
    gates = 4
    input_gates = (0, 1, 2)
    recurrent_gates = (0, 1, 3)

    def step(
        self, I: tuple[Tensor, Tensor, Tensor, Tensor], s: Tensor, state: State, c: Coeffs
    ) -> tuple[Tensor, State]:
        z = torch.sigmoid(I[1])
        candidate = torch.tanh(I[2] + torch.sigmoid(I[0]) * I[3])
        return z * s + (1 - z) * candidate, {}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return s
