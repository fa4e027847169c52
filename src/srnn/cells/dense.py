"""A unit without dynamics.

    x[t] = I[t]                                           I[t] = W x[t] + b (+ R h[t-1])

With `Identity()` and recurrent=False a linear layer, with `Relu()` a dense one; recurrent and with
`Relu()` the ReLU network of Le, Jaitly & Hinton 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class Dense(Neuron):
    """What comes in goes to the activation. No constants, no state."""

    states = ()

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        return I, {}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return s
