"""Light Bayesian recurrent unit (Bittar & Garner 2021, "A Bayesian interpretation of the light gated recurrent unit"; their baseline of 2022).

    z[t] = σ(I_z[t])                             update gate,  I_z[t] = norm(W_z x[t]) + R_z h[t-1]
    c[t] = log(1 + exp(I_c[t]))                  candidate,    I_c[t] = norm(W_c x[t]) + R_c h[t-1]
    h[t] = z[t] h[t-1] + (1 - z[t]) c[t]

h is a log-probability: c = -log(1 - p) of p = σ(I_c). The 2022 paper calls it a light GRU with softplus in place of ReLU, and this is it: the gate
takes a geometric mean. With arithmetic=True it takes the arithmetic mean, as the 2021 paper derives and its code has it ("logprobs"):

    h[t] = log(z[t] exp(h[t-1]) + (1 - z[t]) exp(c[t])) = c[t] - log(1 + exp(I_z[t])) + log(1 + exp(I_z[t] + h[t-1] - c[t]))

computed as on the right, which cannot overflow. Which of the two gave the numbers of 2022 is not published. The code's third form, whose output is
the probability while its logarithm is fed back, is no neuron of ours: what is fed back is the output. Rows: z first, then c. For `Identity()`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class LiBRU(Neuron):
    """Light BRU: an update gate and a softplus candidate. arithmetic: the mean of probabilities in place of that of their logarithms."""

    arithmetic: bool = False

    states = ()
    gates = 2

    def step(self, I: tuple[Tensor, Tensor], s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        candidate = softplus(I[1])
        if self.arithmetic:
            return candidate - softplus(I[0]) + softplus(I[0] + s - candidate), {}
        z = torch.sigmoid(I[0])
        return z * s + (1 - z) * candidate, {}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return s
