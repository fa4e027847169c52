"""Long short-term memory (Hochreiter & Schmidhuber 1997; with the forget gate of Gers, Schmidhuber
& Cummins 2000), as in torch.nn.LSTM.

    i = σ(I_i),  f = σ(I_f),  g = tanh(I_g),  o = σ(I_o)
    c[t] = f c[t-1] + i g
    h[t] = o tanh(c[t])

    I = W x[t] + b + R h[t-1] (+ b_R), a block of rows for each of i, f, g, o

h is the output, and what is fed back. Rows: i, f, g, o, in the order of torch's weights. For use
with `Identity()`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class LSTM(Neuron):
    """LSTM cell; it has no constants."""

    states = ("c",)
    gates = 4

    def step(
        self, I: tuple[Tensor, Tensor, Tensor, Tensor], s: Tensor, state: State, c: Coeffs
    ) -> tuple[Tensor, State]:
        memory = torch.sigmoid(I[1]) * state["c"] + torch.sigmoid(I[0]) * torch.tanh(I[2])
        return torch.sigmoid(I[3]) * torch.tanh(memory), {"c": memory}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return s
