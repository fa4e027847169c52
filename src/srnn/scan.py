"""Run any neuron over time. The reference loop below is the definition of a layer; every other backend is compared with it.

The driver owns what a neuron does not: the recurrent product, the activation, the lengths, the choice of backend. The feed-forward
product W x + b (for all steps at once) is the layer's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from srnn._check import check_choice
from srnn.activations import Activation
from srnn.neuron import Coeffs, Neuron, State

BACKENDS = ("auto", "reference")
"""What `backend=` may be. "auto" chooses the fastest that can run the layer; the choice is visible in `which`."""


class Choice(NamedTuple):
    """The backend that runs, and why."""

    name: str
    reason: str


class Scanned(NamedTuple):
    """What a scan returns: output (B, T, N), potential (B, T, N) if it was asked for, and the state after each recording's last step."""

    output: Tensor
    potential: Tensor | None
    state: State


def which(backend: str) -> Choice:
    """Return the backend that runs when `backend` is asked for, and why. Raises `ConfigError` for an unknown name."""
    check_choice("backend", backend, BACKENDS)
    if backend == "auto":
        return Choice("reference", "the only backend of this version: a Python loop over time under autograd")
    return Choice(backend, "asked for")


def run(
    neuron: Neuron,
    activation: Activation,
    current: Tensor,
    recurrent: Tensor | None,
    coeffs: Coeffs,
    state: State,
    *,
    valid: Tensor | None = None,
    potential: bool = False,
    backend: str = "auto",
) -> Scanned:
    """Run one layer over time.

    current:   (B, T, G·N), the feed-forward part of the input current for all steps, biases included; G = neuron.gates.
    recurrent: R (G·N, N), multiplying the layer's own output of the step before, or None.
    coeffs:    from `neuron.coeffs`, each (N,) or ().
    state:     (B, N) tensors: the neuron's states and "s", the output before the first step (may be graded).
    valid:     (B, T) bool, true for a prefix of each recording, or None = all. After that prefix output and potential are 0 and the state is frozen.
    potential: also return the observable potential of every step.
    """
    which(backend)
    return _reference(neuron, activation, current, recurrent, coeffs, state, valid, potential)


def _reference(
    neuron: Neuron,
    activation: Activation,
    current: Tensor,
    recurrent: Tensor | None,
    coeffs: Coeffs,
    state: State,
    valid: Tensor | None,
    potential: bool,
) -> Scanned:
    s, h = state["s"], {name: state[name] for name in neuron.states}
    outputs, potentials = [], []
    valids = [None] * current.shape[1] if valid is None else valid.unsqueeze(-1).unbind(1)
    for I, v in zip(current.unbind(1), valids, strict=True):  # not current[:, t]: its backward would be quadratic in T
        if recurrent is not None:
            I = torch.addmm(I, s, recurrent.t())
        x, new = neuron.step(I if neuron.gates == 1 else I.chunk(neuron.gates, -1), s, h, coeffs)
        out = activation(x)
        pot = neuron.potential(out, new) if potential else None
        if v is None:
            s, h = out, new
        else:
            s, h = torch.where(v, out, s), {name: torch.where(v, new[name], h[name]) for name in neuron.states}
            out = torch.where(v, out, 0.0)
            pot = torch.where(v, pot, 0.0) if pot is not None else None
        outputs.append(out)
        if pot is not None:
            potentials.append(pot)
    return Scanned(torch.stack(outputs, 1), torch.stack(potentials, 1) if potential else None, {**h, "s": s})
