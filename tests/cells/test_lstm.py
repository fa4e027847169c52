"""The LSTM is torch's: the same numbers forwards and backwards from the same weights; it streams,
masks, and runs on both backends.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from srnn import Layer, Readout, Stack
from srnn.activations import Identity
from srnn.cells import LSTM
from srnn.nn.networks import count_parameters

F64 = torch.float64


def pair(inputs: int, neurons: int) -> tuple[Layer, nn.LSTM]:
    """A layer and torch's module with the same weights."""
    torch.manual_seed(0)
    layer, module = (
        Layer(inputs, neurons, LSTM(), Identity(), recurrent_bias=True, dtype=F64),
        nn.LSTM(inputs, neurons, batch_first=True).double(),
    )
    with torch.no_grad():
        for mine, theirs in zip(
            (layer.weight, layer.recurrent, layer.bias, layer.recurrent_bias),
            module.parameters(),
            strict=True,
        ):
            mine.copy_(theirs)
    return layer, module


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_equals_torch_lstm(backend):
    layer, module = pair(3, 5)
    x = torch.randn(4, 30, 3, dtype=F64)
    mine, theirs = layer(x, backend=backend), module(x)
    torch.testing.assert_close(mine.output, theirs[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mine.state["s"], theirs[1][0][0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mine.state["c"], theirs[1][1][0], rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(mine.output)
    (mine.output * weights).sum().backward()
    (theirs[0] * weights).sum().backward()
    compared = 0
    for a, b in zip(
        (layer.weight, layer.recurrent, layer.bias, layer.recurrent_bias),
        module.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-11, atol=1e-11)
        assert a.grad.abs().max() > 1e-2
        compared += 1
    assert compared == 4


def test_pencil():
    """Gates at σ(ln 3) = 3/4 and σ(0) = 1/2, a candidate of tanh(ln 3 / 2) = 1/2, twice."""
    I = tuple(
        torch.full((1, 1), value, dtype=F64) for value in (math.log(3), 0.0, math.log(3) / 2, 0.0)
    )
    x, state = LSTM().step(I, torch.zeros(1, 1), {"c": torch.zeros(1, 1, dtype=F64)}, {})
    assert float(state["c"]) == pytest.approx(0.375, abs=1e-15)
    assert float(x) == pytest.approx(0.5 * math.tanh(0.375), abs=1e-15)
    _, state = LSTM().step(I, x, state, {})
    assert float(state["c"]) == pytest.approx(0.5 * 0.375 + 0.375, abs=1e-15)


def test_lengths_and_streams():
    layer, _ = pair(3, 5)
    net = Stack(layer, Readout(5, 2, dtype=F64))
    x, lengths = torch.randn(3, 8, 3, dtype=F64), torch.tensor([8, 5, 0])
    x[1, 5:] = x[2] = torch.nan
    out = net(x, lengths)
    alone = net(x[1:2, :5])
    torch.testing.assert_close(out.potential[1, :5], alone.potential[0], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(out.state[0]["c"][1], alone.state[0]["c"][0], rtol=1e-13, atol=1e-13)
    assert not out.state[0]["c"][2].any()
    first = net(x[:1, :3])
    torch.testing.assert_close(
        net(x[:1, 3:], state=first.state).potential, out.potential[:1, 3:], rtol=1e-13, atol=1e-13
    )


def test_finite_differences_and_parameters():
    layer, module = pair(2, 3)
    names = [name for name, _ in layer.named_parameters()]
    x = torch.randn(2, 4, 2, dtype=F64, requires_grad=True)

    def run(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,)).output

    assert torch.autograd.gradcheck(
        run, (x, *(p.detach().clone().requires_grad_() for p in layer.parameters()))
    )
    assert count_parameters(Stack(layer)) == (sum(p.numel() for p in module.parameters()), 0)
