"""Cells whose blocks or states are their own: GRU (as torch's), the light BRU on probabilities,
dense units, sums.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from srnn import BatchNorm, Layer, Readout, Stack
from srnn.activations import Identity, Relu
from srnn.cells import GRU, Dense, LiBRUProbability, Sum
from srnn.nn.baselines import Exponential
from srnn.nn.networks import count_parameters

F64 = torch.float64
both = pytest.mark.parametrize("backend", ["reference", "cpu"])


def gru_pair(inputs: int, neurons: int) -> tuple[Layer, nn.GRU]:
    """A layer and torch's module with the same weights."""
    torch.manual_seed(0)
    layer, module = (
        Layer(inputs, neurons, GRU(), Identity(), dtype=F64),
        nn.GRU(inputs, neurons, batch_first=True).double(),
    )
    n = neurons
    with torch.no_grad():
        layer.weight[: 3 * n], layer.recurrent[: 2 * n], layer.recurrent[3 * n :] = (
            module.weight_ih_l0,
            module.weight_hh_l0[: 2 * n],
            module.weight_hh_l0[2 * n :],
        )
        b, r = module.bias_ih_l0, module.bias_hh_l0
        layer.bias.copy_(torch.cat((b[: 2 * n] + r[: 2 * n], b[2 * n :], r[2 * n :])))
    return layer, module


@both
def test_gru_equals_torch(backend):
    layer, module = gru_pair(3, 5)
    n = 5
    x, h0 = torch.randn(4, 30, 3, dtype=F64), torch.rand(4, n, dtype=F64)
    mine, theirs = layer(x, state={"s": h0}, backend=backend), module(x, h0.unsqueeze(0))
    torch.testing.assert_close(mine.output, theirs[0], rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(mine.output)
    (mine.output * weights).sum().backward()
    (theirs[0] * weights).sum().backward()
    W, R, b = layer.weight.grad, layer.recurrent.grad, layer.bias.grad
    pairs = [
        (W[: 3 * n], module.weight_ih_l0.grad),
        (torch.cat((R[: 2 * n], R[3 * n :])), module.weight_hh_l0.grad),
        (b[: 3 * n], module.bias_ih_l0.grad),
        (torch.cat((b[: 2 * n], b[3 * n :])), module.bias_hh_l0.grad),
    ]
    for a, c in pairs:
        torch.testing.assert_close(a, c, rtol=1e-10, atol=1e-10)
        assert a.abs().max() > 1e-2
    assert not W[3 * n :].any()  # the blocks that are not there
    assert not R[2 * n : 3 * n].any()


def test_the_empty_blocks_of_a_gru_are_no_parameters():
    layer = Layer(3, 8, GRU(), Identity())
    used, unused = count_parameters(Stack(layer))
    # torch has two biases more, of gates that add them
    assert used == 3 * 3 * 8 + 3 * 8 * 8 + 4 * 8
    assert unused == 3 * 8 + 8 * 8
    assert int(layer.weight_mask.sum()) + int(layer.recurrent_mask.sum()) == 3 * 3 * 8 + 3 * 8 * 8
    sparse = Layer(3, 8, GRU(), Identity(), sparsity=0.5, recurrent_sparsity=0.5)
    assert 0 < int(sparse.weight_mask.sum()) < int(layer.weight_mask.sum())
    assert not bool((sparse.weight_mask & ~layer.weight_mask).any())


@both
def test_probabilities(backend):
    """The published form, written out over single numbers, by way of log p; behind `Exponential`
    the next layer gets p.
    """
    torch.manual_seed(1)
    n, eps = 3, 1e-11
    layer = Layer(2, n, LiBRUProbability(), Identity(), dtype=F64)
    x = torch.randn(2, 7, 2, dtype=F64)
    run = layer(x, potential=True, backend=backend)
    p, W, R, wanted = (
        torch.zeros(2, n, dtype=F64),
        layer.weight.detach(),
        layer.recurrent.detach(),
        [],
    )
    for t in range(7):
        I = x[:, t] @ W.T + torch.log(p + eps) @ R.T
        z, c = torch.sigmoid(I[:, :n]), torch.sigmoid(I[:, n:])
        p = z * p + (1 - z) * c
        wanted.append(p)
    torch.testing.assert_close(run.potential, torch.stack(wanted, 1), rtol=1e-10, atol=1e-12)
    assert float(layer.start(1)["s"][0, 0]) == pytest.approx(math.log(eps))
    passed = Stack(layer, Exponential(n))(x, backend=backend).potential
    torch.testing.assert_close(passed, torch.stack(wanted, 1) + eps, rtol=1e-10, atol=1e-12)
    assert 0 < float(passed.detach().min()) < float(passed.detach().max()) < 1


def test_the_gradient_of_probabilities():
    torch.manual_seed(2)
    layer = Layer(2, 3, LiBRUProbability(), Identity(), dtype=F64)
    state = {"p": torch.rand(2, 3, dtype=F64), "s": torch.rand(2, 3, dtype=F64)}

    def run(x: Tensor, w: Tensor, r: Tensor) -> Tensor:
        return torch.func.functional_call(
            layer, {"weight": w, "recurrent": r}, (x,), {"state": state}
        ).output

    given = [
        t.detach().clone().requires_grad_()
        for t in (torch.randn(2, 4, 2, dtype=F64), layer.weight, layer.recurrent)
    ]
    assert torch.autograd.gradcheck(run, tuple(given), eps=1e-6, atol=1e-7)


@both
def test_dense_layers_and_the_relu_network(backend):
    torch.manual_seed(3)
    layer, x = Layer(3, 4, Dense(), Relu(), dtype=F64), torch.randn(2, 9, 3, dtype=F64)
    rnn = nn.RNN(3, 4, nonlinearity="relu", batch_first=True, dtype=F64)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(layer.weight)
        rnn.weight_hh_l0.copy_(layer.recurrent)
        rnn.bias_ih_l0.zero_()
        rnn.bias_hh_l0.zero_()
    torch.testing.assert_close(layer(x, backend=backend).output, rnn(x)[0], rtol=1e-12, atol=1e-12)
    flat = Layer(3, 4, Dense(), Identity(), recurrent=False, dtype=F64)
    torch.testing.assert_close(
        flat(x, backend=backend).output, x @ flat.weight.T, rtol=1e-12, atol=1e-12
    )


@both
def test_sums(backend):
    torch.manual_seed(4)
    x = torch.rand(2, 9, 3, dtype=F64).round()
    out = Stack(Readout(3, 2, Sum(), bias=False, dtype=F64))
    W = out.parts()[0].weight
    torch.testing.assert_close(
        out(x, backend=backend).potential, x.cumsum(1) @ W.T, rtol=1e-12, atol=1e-12
    )


def test_a_gru_with_norm_trains():
    torch.manual_seed(5)
    y = torch.arange(32) % 2
    x = 0.1 * torch.randn(32, 9, 2)
    x[:, 0] += y.unsqueeze(1) * 2.0 - 1.0
    net = Stack(Layer(2, 12, GRU(), Identity(), norm=BatchNorm()), Readout(12, 2, Dense()))
    optimiser, losses = torch.optim.Adam(net.parameters(), 0.02), []
    for _ in range(40):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x).potential[:, -1], y)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0], losses
