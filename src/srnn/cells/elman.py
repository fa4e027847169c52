"""Simple recurrent network (Elman 1990, "Finding structure in time"), with tanh as in torch.nn.RNN.

    h[t] = tanh(I[t])          I[t] = W x[t] + b + R h[t-1]

With logistic=True h[t] = σ(I[t]): Elman's own, and the RNN baseline of Bittar & Garner 2022 (in a
layer without recurrence, their MLP). For use with `Identity()`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class Elman(Neuron):
    """Elman RNN. logistic: the logistic function in place of tanh."""

    logistic: bool = False

    states = ()

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        return torch.sigmoid(I) if self.logistic else torch.tanh(I), {}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return s
