"""Independently recurrent network (Li, Li, Cook, Zhu & Gao 2018, "IndRNN: building a longer and
deeper RNN").

    x[t] = I[t] + u h[t-1],    h[t] = activation(x[t])           I[t] = W x[t] + b

u is one number a unit, in place of R: use it with recurrent=False, and with `Relu()`, the paper's
activation. |h| grows like |u|^T, so the paper keeps |u| ≤ γ^(1/T), γ = 2, for recordings of T
steps; the authors start it from U(0, 1), which gives the units memories of different lengths. The
default is that with γ = 1, right for any T; `Uniform(0, 2 ** (1 / T), clamp=True)` is the paper's
for one T, and `Uniform(-1, 1, clamp=True)` lets units alternate. Here the bound is a clamp in the
forward pass, there the trained value is cut back after each update.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from srnn.init import Init, Uniform
from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class IndRNN(Neuron):
    """IndRNN. feedback: u, the weight of a unit's own output."""

    feedback: Init = Uniform(0.0, 1.0, clamp=True)

    states = ()

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        return I + c["feedback"] * s, {}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return s
