"""A gated cell fits the contract: W and R hold one block of rows a gate, I arrives as a tuple.

Checked with a light GRU written here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

import srnn
from srnn.activations import Identity
from srnn.neuron import Neuron


@dataclass(frozen=True)
class LightGRU(Neuron):
    states = ("u",)
    gates = 2

    def step(self, I, s, state, c):
        update, candidate = torch.sigmoid(I[0]), torch.relu(I[1])
        u = update * state["u"] + (1 - update) * candidate
        return u, {"u": u}


def test_gated_cell_equals_its_equation() -> None:
    torch.manual_seed(0)
    layer = srnn.Layer(3, 5, LightGRU(), Identity()).double()
    assert layer.weight.shape == (10, 3)
    assert layer.recurrent is not None
    assert layer.recurrent.shape == (10, 5)
    for block in layer.recurrent.detach().chunk(2):  # each gate has an orthogonal matrix of its own
        torch.testing.assert_close(
            block @ block.T, torch.eye(5, dtype=torch.float64), atol=1e-6, rtol=0
        )
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    y = torch.zeros(2, 5, dtype=torch.float64)
    (wz, wc), (rz, rc), (bz, bc) = (
        layer.weight.chunk(2),
        layer.recurrent.chunk(2),
        layer.bias.chunk(2),
    )
    out = layer(x).output
    for t in range(7):
        z = torch.sigmoid(x[:, t] @ wz.T + bz + y @ rz.T)
        y = z * y + (1 - z) * torch.relu(x[:, t] @ wc.T + bc + y @ rc.T)
        torch.testing.assert_close(out[:, t], y)
    assert bool((out.abs() > 1e-3).any())


def test_gated_cell_gradients_and_lengths() -> None:
    torch.manual_seed(1)
    layer = srnn.Layer(2, 3, LightGRU(), Identity()).double()
    x = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([4, 2])
    assert torch.autograd.gradcheck(lambda x: layer(x, lengths).output, x)
    torch.testing.assert_close(layer(x, lengths).output[1, :2], layer(x[1:, :2]).output[0])
