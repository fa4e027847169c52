"""The ANN cells: pencil numbers, loops written out over single numbers, torch.nn.RNN, finite
differences, lengths, operations, training.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import srnn.cells
from srnn import BatchNorm, Bidirectional, Layer, Readout, Stack, energy
from srnn._check import ConfigError, ShapeError
from srnn.activations import Activation, Identity, Relu
from srnn.cells import Elman, IndRNN, LiBRU, LiGRU
from srnn.energy import Activity, Measured, Yin2021
from srnn.init import Fixed, Uniform
from srnn.kernels.trace import trace_step
from srnn.neuron import Neuron
from srnn.nn.networks import UniformStart, count_parameters

F64 = torch.float64
LN2, LN3, LN7 = math.log(2), math.log(3), math.log(7)


def sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a))


def ligru(I: Sequence[float], h: float, u: float) -> float:
    z = sigmoid(I[0])
    return z * h + (1 - z) * max(0.0, I[1])


def geometric(I: Sequence[float], h: float, u: float) -> float:
    z = sigmoid(I[0])
    return z * h + (1 - z) * math.log(1 + math.exp(I[1]))


def arithmetic(I: Sequence[float], h: float, u: float) -> float:
    """The equation as it is derived, not as the cell computes it."""
    z = sigmoid(I[0])
    return math.log(z * math.exp(h) + (1 - z) * math.exp(math.log(1 + math.exp(I[1]))))


@dataclass(frozen=True)
class Case:
    """A cell as it is meant to be used; its step over single numbers (currents, h before, u); two
    pencil steps (currents, h after).
    """

    cell: Neuron
    activation: Activation
    recurrent: bool
    plain: Callable[[Sequence[float], float, float], float]
    pencil: list[tuple[tuple[float, ...], float]]
    ops: dict[str, int]
    yin_mac: int
    measured: tuple[float, float]

    def layer(self, inputs: int, neurons: int, **kwargs: Any) -> Layer:
        return Layer(
            inputs, neurons, self.cell, self.activation, recurrent=self.recurrent, **kwargs
        )


# yin_mac, a neuron: products, 2 a nonlinear function, 1 a gate; for a vanilla RNN of 4 units 2 + 1
# and an output map, 4 + 1 measured, a neuron: MACs (a transcendental is 8, a product 1) and ACs
# (additions that follow no product, one a gate for the biases, one a ReLU)
CASES = {
    "Elman": Case(
        Elman(),
        Identity(),
        True,
        lambda I, h, u: math.tanh(I[0]),
        [((LN3 / 2,), 0.5), ((-LN3 / 2,), -0.5)],
        {"tanh": 1},
        8,
        (8, 1),
    ),
    "Elman, logistic": Case(
        Elman(logistic=True),
        Identity(),
        True,
        lambda I, h, u: sigmoid(I[0]),
        [((LN3,), 0.75), ((0.0,), 0.5)],
        {"sigmoid": 1},
        8,
        (8, 1),
    ),
    "LiGRU": Case(
        LiGRU(),
        Identity(),
        True,
        ligru,
        [((LN3, 2.0), 0.25 * 2), ((0.0, -1.0), 0.5 * 0.5), ((-LN3, 1.0), 0.25 * 0.25 + 0.75 * 1)],
        {"sigmoid": 1, "relu": 1, "mul": 2, "rsub": 1, "add": 1},
        2 + 2 * 2 + 2,
        (8 + 2, 3 - 2 + 2),
    ),
    "LiBRU": Case(
        LiBRU(),
        Identity(),
        True,
        geometric,
        [((LN3, LN3), 0.25 * 2 * LN2), ((0.0, LN7), 0.25 * LN2 + 0.5 * 3 * LN2)],
        {"sigmoid": 1, "softplus": 1, "mul": 2, "rsub": 1, "add": 1},
        2 + 2 * 2 + 2,
        (2 * 8 + 2, 0 + 2),
    ),
    "LiBRU, arithmetic": Case(
        LiBRU(arithmetic=True),
        Identity(),
        True,
        arithmetic,
        [
            ((LN3, LN3), math.log(0.75 * 1 + 0.25 * 4)),
            ((0.0, LN7), math.log(0.5 * 1.75 + 0.5 * 8)),
            ((-LN3, 0.0), math.log(0.25 * 4.875 + 0.75 * 2)),
        ],
        {"softplus": 3, "add": 2, "sub": 2},
        3 * 2 + 2,
        (3 * 8, 4 + 2),
    ),
    "IndRNN": Case(
        IndRNN(0.5),
        Relu(),
        False,
        lambda I, h, u: max(0.0, I[0] + u * h),
        [((1.0,), 1.0), ((-0.25,), -0.25 + 0.5), ((-1.0,), 0.0), ((0.5,), 0.5)],
        {"mul": 1, "add": 1},
        1,
        (1, 0 + 1 + 1),
    ),
}
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def test_every_cell_is_here():
    cells = {c for c in vars(srnn.cells).values() if inspect.isclass(c) and issubclass(c, Neuron)}
    # test_lstm.py, test_gates.py
    elsewhere = {
        srnn.cells.LSTM,
        srnn.cells.GRU,
        srnn.cells.Dense,
        srnn.cells.Sum,
        srnn.cells.LiBRUProbability,
    }
    assert {type(case.cell) for case in CASES.values()} | elsewhere == cells
    assert (len(cells), len(CASES)) == (9, 6)
    assert all(not hasattr(srnn, cell.__name__) for cell in cells)  # reached through their module


@every
def test_pencil(case):
    c = case.cell.coeffs(
        {name: torch.tensor(value, dtype=F64) for name, value in case.cell.constants().items()}
    )
    s = torch.zeros(1, 1, dtype=F64)
    for currents, wanted in case.pencil:
        I = tuple(torch.full((1, 1), current, dtype=F64) for current in currents)
        x, state = case.cell.step(I if case.cell.gates > 1 else I[0], s, {}, c)
        s = case.activation(x)
        assert state == {}
        assert float(s) == pytest.approx(wanted, abs=1e-14)
        assert case.cell.potential(s, state) is s
    assert len(case.pencil) >= 2


def trained(case: Case) -> Case:
    """The same case, with a trained u a unit where the cell has one."""
    return (
        dataclasses.replace(case, cell=IndRNN(Uniform(0.2, 0.9)))
        if isinstance(case.cell, IndRNN)
        else case
    )


def random_layer(case: Case, inputs: int, neurons: int, seed: int, **kwargs: Any) -> Layer:
    """A float64 layer with biases that are not 0."""
    torch.manual_seed(seed)
    layer = case.layer(inputs, neurons, recurrent_bias=case.recurrent, dtype=F64, **kwargs)
    with torch.no_grad():
        for b in (layer.bias, layer.recurrent_bias):
            if b is not None:
                b.uniform_(-0.5, 0.5)
    return layer


@every
def test_equals_a_loop_over_single_numbers(case):
    """The whole layer: gate by gate and unit by unit, W x + b + R h + b_R, then the step over
    floats.
    """
    case = trained(case)
    batch, steps, inputs, n = 2, 9, 3, 4
    layer = random_layer(case, inputs, n, seed=1)
    x, h0 = torch.randn(batch, steps, inputs, dtype=F64), torch.rand(batch, n, dtype=F64)
    out = layer(x, state={"s": h0}, potential=True)
    W, b = layer.weight.tolist(), layer.bias.tolist()
    R = layer.recurrent.tolist() if case.recurrent else [[0.0] * n] * n
    b_R = layer.recurrent_bias.tolist() if case.recurrent else [0.0] * n
    u = layer.constants.feedback.tolist() if isinstance(case.cell, IndRNN) else [0.0] * n
    wanted = torch.empty(batch, steps, n, dtype=F64)
    for k in range(batch):
        h = h0[k].tolist()
        for t in range(steps):
            signal = x[k, t].tolist()
            I = [
                sum(w * v for w, v in zip(W[row], signal, strict=True))
                + b[row]
                + sum(r * v for r, v in zip(R[row], h, strict=True))
                + b_R[row]
                for row in range(n * case.cell.gates)
            ]
            h = [case.plain(I[j::n], h[j], u[j]) for j in range(n)]
            wanted[k, t] = torch.tensor(h, dtype=F64)
    assert out.output.shape == wanted.shape
    torch.testing.assert_close(out.output, wanted, rtol=1e-12, atol=1e-12)
    assert torch.equal(out.potential, out.output)
    assert set(out.state) == {"s"}
    assert torch.equal(out.state["s"], out.output[:, -1])
    assert wanted.std() > 0.1


def compare_with_torch(case: Case, nonlinearity: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Run a layer and torch.nn.RNN with the same weights; return outputs and all gradients, ours
    and theirs.
    """
    inputs, n, batch, steps = 5, 7, 3, 40
    layer = random_layer(case, inputs, n, seed=2)
    rnn = torch.nn.RNN(inputs, n, nonlinearity=nonlinearity, batch_first=True, dtype=F64)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(layer.weight)
        rnn.bias_ih_l0.copy_(layer.bias)
        rnn.weight_hh_l0.copy_(
            layer.recurrent if case.recurrent else torch.diag(layer.constants.feedback)
        )
        rnn.bias_hh_l0.copy_(layer.recurrent_bias) if case.recurrent else rnn.bias_hh_l0.zero_()
    data = torch.randn(batch, steps, inputs, dtype=F64), torch.rand(batch, n, dtype=F64)
    ours, theirs = ([t.clone().requires_grad_() for t in data] for _ in range(2))
    got = layer(ours[0], state={"s": ours[1]})
    y, last = rnn(theirs[0], theirs[1].unsqueeze(0))
    weight, end = torch.randn_like(y), torch.randn_like(last[0])
    ((got.output * weight).sum() + (got.state["s"] * end).sum()).backward()
    ((y * weight).sum() + (last[0] * end).sum()).backward()
    pairs = {
        "output": (got.output, y),
        "x": (ours[0].grad, theirs[0].grad),
        "start": (ours[1].grad, theirs[1].grad),
    }
    pairs |= {
        "weight": (layer.weight.grad, rnn.weight_ih_l0.grad),
        "bias": (layer.bias.grad, rnn.bias_ih_l0.grad),
    }
    if case.recurrent:
        pairs |= {
            "recurrent": (layer.recurrent.grad, rnn.weight_hh_l0.grad),
            "b_R": (layer.recurrent_bias.grad, rnn.bias_hh_l0.grad),
        }
    else:
        pairs |= {"feedback": (layer.constants.feedback.grad, rnn.weight_hh_l0.grad.diagonal())}
    return pairs


@pytest.mark.parametrize(
    ("case", "nonlinearity"),
    [(CASES["Elman"], "tanh"), (CASES["IndRNN"], "relu")],
    ids=["Elman", "IndRNN"],
)
def test_equals_torch_rnn(case, nonlinearity):
    """Elman is torch's tanh RNN; IndRNN is its ReLU one with a diagonal recurrent matrix.

    Outputs and gradients over 40 steps.
    """
    case = trained(case)
    pairs = compare_with_torch(case, nonlinearity)
    for name, (a, b) in pairs.items():
        torch.testing.assert_close(
            a, b, rtol=1e-12, atol=1e-12, msg=lambda m, name=name: f"{name}: {m}"
        )
        assert a.abs().max() > 1e-3, name
    assert len(pairs) == (7 if case.recurrent else 6)


@every
@pytest.mark.parametrize("lengths", [None, torch.tensor([4, 2])], ids=["whole", "lengths"])
def test_finite_differences(case, lengths):
    """W, b, R, b_R, u, x and the output before the first step; each has a gradient that is not
    zero.
    """
    case = trained(case)
    layer = random_layer(case, 2, 3, seed=5)
    inputs = {
        "x": torch.randn(2, 4, 2, dtype=F64),
        "start": 0.1 + torch.rand(2, 3, dtype=F64),
        **dict(layer.named_parameters()),
    }

    def run(*tensors: Tensor) -> Tensor:
        given = dict(zip(inputs, tensors, strict=True))
        x, start = given.pop("x"), given.pop("start")
        out = torch.func.functional_call(
            layer, given, (x,), {"lengths": lengths, "state": {"s": start}}
        )
        return torch.cat((out.output.flatten(), out.state["s"].flatten()))

    tensors = tuple(t.detach().clone().requires_grad_() for t in inputs.values())
    out = run(*tensors)
    grads = torch.autograd.grad(out, tensors, torch.rand_like(out))
    assert [name for name, g in zip(inputs, grads, strict=True) if not bool((g != 0).any())] == []
    assert len(inputs) == 4 + 2 * case.recurrent + len(case.cell.constants())
    assert torch.autograd.gradcheck(run, tensors, eps=1e-6, atol=1e-7, rtol=1e-5)


@every
def test_lengths(case):
    """Equal to each recording alone; beyond its end the output is 0 and the state waits; NaN there
    does no harm.
    """
    net = Stack(random_layer(case, 3, 4, seed=4), Readout(4, 2, dtype=F64))
    x, lengths = torch.randn(4, 6, 3, dtype=F64), torch.tensor([6, 4, 1, 0])
    for k, end in enumerate(lengths):
        x[k, end:] = torch.nan
    out = net(x, lengths, record=True)
    for k, end in enumerate(lengths.tolist()):
        assert not out.trace.outputs[0][k, end:].any()
        if end:
            alone = net(x[k : k + 1, :end], record=True)
            torch.testing.assert_close(
                out.trace.outputs[0][k, :end], alone.trace.outputs[0][0], rtol=1e-13, atol=1e-13
            )
            torch.testing.assert_close(
                out.state[0]["s"][k], alone.state[0]["s"][0], rtol=1e-13, atol=1e-13
            )
    assert not out.state[0]["s"][3].any()


@every
def test_starts_at_zero_and_goes_on_where_it_stopped(case):
    layer = random_layer(case, 3, 4, seed=5)
    start = layer.start(2)
    assert set(start) == {"s"}
    assert start["s"].shape == (2, 4)
    assert not start["s"].any()
    x = torch.randn(2, 7, 3, dtype=F64)
    whole, state, pieces = layer(x), None, []
    for t in range(7):
        run = layer(x[:, t : t + 1], state=state)
        pieces.append(run.output)
        state = run.state
    torch.testing.assert_close(torch.cat(pieces, 1), whole.output, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(
        layer(x, backend="reference").output, whole.output, rtol=1e-12, atol=1e-12
    )


@every
def test_operations(case):
    """What one step is made of, and what it is charged: nothing of it is a spike, so every
    connection is a MAC.
    """
    graph = trace_step(case.cell)
    assert Counter(op.name for op in graph.ops) == case.ops
    assert set(graph.outputs) == {"x"}
    m, n, k = 3, 4, 2
    net = Stack(case.layer(m, n), Readout(n, k))
    trace = net(torch.randn(2, 5, m), record=True).trace
    assert trace.spiking == (False, False)
    synapses = case.cell.gates * (m * n + n * n * case.recurrent)
    published, honest = energy.count(net, trace, Yin2021()), energy.count(net, trace, Measured())
    assert (published.layers[0].mac, published.layers[0].ac) == (synapses + case.yin_mac * n, 0)
    assert (published.layers[1].mac, published.layers[1].ac) == (n * k + k, 0)
    mac, ac = case.measured
    assert (honest.layers[0].mac, honest.layers[0].ac) == (synapses + mac * n, ac * n)
    assert energy.count(net, Activity.assumed(net, 0.3), Yin2021()).mac == published.mac


@every
def test_parameters(case):
    """Gated cells: 2·(C·N + N·N) and the biases, as published."""
    used, unused = count_parameters(Stack(case.layer(3, 8)))
    assert used + unused == case.cell.gates * (3 * 8 + 8 * 8 * case.recurrent + 8)
    assert unused == 0


@every
def test_trains(case):
    """Was the first step's input high or low? Eight steps of noise later the network knows."""
    torch.manual_seed(6)
    y = torch.arange(32) % 2
    x = 0.1 * torch.randn(32, 9, 2)
    x[:, 0] += y.unsqueeze(1) * 2.0 - 1.0
    net = Stack(trained(case).layer(2, 12), Readout(12, 2))
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x).potential[:, -1], y)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0], losses
    assert all(bool(p.grad.any()) for p in net.parameters())


@every
def test_with_norm_and_both_ways(case):
    """Batch norm has a mean and a variance of its own for each unit of each gate; both directions
    run.
    """
    layer = case.layer(3, 4, norm=BatchNorm())
    assert layer.norm.num_features == 4 * case.cell.gates
    out = Bidirectional(layer)(torch.randn(3, 6, 3), torch.tensor([6, 2, 4])).output
    assert out.shape == (3, 6, 8)
    assert bool(torch.isfinite(out).all())


def test_libru_is_a_ligru_with_softplus():
    """Jensen: ReLU below softplus, the geometric mean below the arithmetic one."""
    torch.manual_seed(7)
    I, s = (
        (torch.randn(50, 4, dtype=F64), torch.randn(50, 4, dtype=F64)),
        torch.rand(50, 4, dtype=F64),
    )
    relu, geo, ari = (
        cell.step(I, s, {}, {})[0] for cell in (LiGRU(), LiBRU(), LiBRU(arithmetic=True))
    )
    assert bool((relu < geo).all())
    assert bool((geo < ari).all())


def test_libru_does_not_overflow():
    """exp(500) is no float32; the mean of it is."""
    I = (
        torch.tensor([[0.0, 0.0, 200.0, -200.0, 0.0]]),
        torch.tensor([[500.0, 0.0, 1.0, 1.0, 500.0]]),
    )
    s = torch.tensor([[0.0, 500.0, 500.0, 300.0, 500.0]])
    h = LiBRU(arithmetic=True).step(I, s, {}, {})[0]
    wanted = torch.tensor(
        [[500 - LN2, 500 - LN2, 500.0, math.log(math.exp(300 - 200) + 1 + math.e), 500.0]]
    )
    torch.testing.assert_close(h, wanted, rtol=1e-6, atol=1e-4)


def test_indrnn_stays_bounded():
    """u starts anywhere in its range, for memories of all lengths, and is clamped to it."""
    layer = Layer(2, 200, IndRNN(), Relu(), recurrent=False)
    assert layer.recurrent is None
    u = layer.constants.feedback.detach()
    assert 0 <= float(u.min()) < 0.1
    assert 0.9 < float(u.max()) <= 1
    u.fill_(3.0)
    assert torch.equal(layer.constants()["feedback"], torch.ones(200))
    out = layer(torch.ones(1, 300, 2)).output
    # a sum, no explosion
    torch.testing.assert_close(
        out[0, -1], 300 * torch.relu(layer.weight.sum(1)), rtol=1e-4, atol=1e-4
    )


def test_errors():
    with pytest.raises(ConfigError, match=r"neuron is the class LiGRU.*with parentheses"):
        Layer(3, 4, LiGRU, Identity())
    with pytest.raises(
        ConfigError,
        match=r"IndRNN.feedback: Fixed holds 2 values for a layer of "
        r"3 neurons",
    ):
        Layer(3, 3, IndRNN(Fixed([0.1, 0.2])), Relu(), recurrent=False)
    layer = Layer(3, 4, Elman(), Identity())
    with pytest.raises(ShapeError, match="state holds s, u; expected s:"):
        layer(torch.zeros(1, 2, 3), state={"s": torch.zeros(1, 4), "u": torch.zeros(1, 4)})
    with pytest.raises(ConfigError, match="no potential u to draw; start it from Zeros"):
        UniformStart()(Stack(layer), 2)
