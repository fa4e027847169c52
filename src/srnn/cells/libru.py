"""Light Bayesian recurrent unit (Bittar & Garner 2021, "A Bayesian interpretation of the light
gated recurrent unit"; their baseline of 2022).

    z[t] = σ(I_z[t])                             update gate,  I_z[t] = norm(W_z x[t]) + R_z h[t-1]
    c[t] = log(1 + exp(I_c[t]))                  candidate,    I_c[t] = norm(W_c x[t]) + R_c h[t-1]
    h[t] = z[t] h[t-1] + (1 - z[t]) c[t]

h is a log-probability: c = -log(1 - p) of p = σ(I_c). The 2022 paper calls it a light GRU with
softplus in place of ReLU, and this is it: the gate takes a geometric mean. With arithmetic=True it
takes the arithmetic mean, as the 2021 paper derives and its code has it ("logprobs"):

    h[t] = log(z[t] exp(h[t-1]) + (1 - z[t]) exp(c[t]))
         = c[t] - log(1 + exp(I_z[t])) + log(1 + exp(I_z[t] + h[t-1] - c[t]))

computed as in the second line, which cannot overflow. `LiBRUProbability` is the third form
("probs"): the output is the probability p, and its logarithm is fed back,

    z[t] = σ(I_z[t]),  c[t] = σ(I_c[t])          I = norm(W x[t]) + R log(p[t-1] + ε)
    p[t] = z[t] p[t-1] + (1 - z[t]) c[t]         ε = 1e-11, p[-1] = 0

What a layer feeds back is its output, so here that is log(p + ε), and p is the potential:
`srnn.nn.baselines.Exponential` behind the layer gives p to the next one. The code calls both
"equivalent"; their numbers differ. Which form gave those of 2022 is not published.
Rows: z first, then c. For `Identity()`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from srnn.neuron import Coeffs, Neuron, State


@dataclass(frozen=True)
class LiBRU(Neuron):
    """Light BRU: an update gate and a softplus candidate. arithmetic: the mean of probabilities in
    place of that of their logarithms.
    """

    arithmetic: bool = False

    states = ()
    gates = 2

    def step(
        self, I: tuple[Tensor, Tensor], s: Tensor, state: State, c: Coeffs
    ) -> tuple[Tensor, State]:
        candidate = softplus(I[1])
        if self.arithmetic:
            return candidate - softplus(I[0]) + softplus(I[0] + s - candidate), {}
        z = torch.sigmoid(I[0])
        return z * s + (1 - z) * candidate, {}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return s


_TINY = 1e-11


@dataclass(frozen=True)
class LiBRUProbability(Neuron):
    """Light BRU on probabilities: state p, output log(p + ε)."""

    states = ("p",)
    gates = 2

    def start(self, n: int) -> dict[str, float | Tensor]:
        return {"p": 0.0, "s": math.log(_TINY)}

    def step(
        self, I: tuple[Tensor, Tensor], s: Tensor, state: State, c: Coeffs
    ) -> tuple[Tensor, State]:
        z = torch.sigmoid(I[0])
        p = z * state["p"] + (1 - z) * torch.sigmoid(I[1])
        return torch.log(p + _TINY), {"p": p}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return state["p"]
