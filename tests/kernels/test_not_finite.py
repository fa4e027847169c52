"""Numbers that are not finite: a skipped term is an absent term, in kernels and reference alike."""

import dataclasses
import inspect
import itertools
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import srnn
from srnn import Layer, neurons
from srnn._check import ConfigError
from srnn.activations import Identity
from srnn.init import Constant, Init
from srnn.kernels import cpu
from srnn.neuron import Neuron

EXTREMES = (0.0, -1.0, 1e-30, 1e30, 1e-42, -1e30)
SCALES = (1.0, 1e38, 1e-42, 0.0)
NEURONS = [c for c in vars(neurons).values() if inspect.isclass(c)]


def both_ways(layer, x):
    """Return outputs, potentials and gradients on the reference loop and on the kernel."""
    found = []
    for backend in ("reference", "cpu"):
        layer.zero_grad()
        given = x.clone().requires_grad_()
        out = layer(given, potential=True, backend=backend)
        out.output.sum().backward()
        grads = {k: p.grad for k, p in layer.named_parameters()}
        found.append({"output": out.output, "potential": out.potential, "x": given.grad, **grads})
    return found


def assert_alike(layer, x, what):
    reference, kernel = both_ways(layer, x)
    for name, a in reference.items():
        b = kernel[name]
        assert (a is None) == (b is None), (what, name)
        if a is not None:
            same = torch.equal(a.isnan(), b.isnan()) and torch.equal(a.isinf(), b.isinf())
            assert same, (what, name, a, b)


@pytest.mark.parametrize("kind", NEURONS, ids=lambda c: c.__name__)
def test_at_extreme_constants_and_inputs_the_same_numbers_are_not_finite(kind):
    tried = 0
    for name, value in itertools.product(kind().constants(), EXTREMES):
        try:
            layer = Layer(3, 4, dataclasses.replace(kind(), **{name: Constant(value)}))
        except ConfigError:  # a value that the neuron refuses
            continue
        assert layer.which_backend().name == "cpu"
        for scale in SCALES:
            x = (torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(1)) - 0.3) * scale
            assert_alike(layer, x, (name, value, scale))
            tried += 1
    assert tried >= len(SCALES)


@dataclass(frozen=True)
class Unused(Neuron):
    """A state that the potential does not see, whose derivative is infinite at 0."""

    k: Init = Constant(0.5)
    states: ClassVar = ("u", "v")

    def step(self, I, s, state, c):
        v = torch.sqrt(state["v"] * c["k"])
        return state["u"] * c["k"] + I, {"u": state["u"] * c["k"] + I, "v": v}


def test_a_state_that_nothing_reads_adds_nothing_to_a_gradient():
    layer = Layer(3, 4, Unused(), Identity(), recurrent=False)
    reference, kernel = both_ways(layer, torch.rand(2, 6, 3))
    assert layer.which_backend().name == "cpu"
    for name, grad in reference.items():
        assert torch.isfinite(grad).all()
        torch.testing.assert_close(kernel[name], grad)


@pytest.mark.parametrize("sparse", [0, 1, 2])
def test_a_silent_neuron_adds_nothing_through_an_infinite_weight(monkeypatch, sparse):
    monkeypatch.setattr(cpu, "SPARSE", sparse)
    net = srnn.Stack(Layer(3, 4, srnn.ALIF(), bias=True), srnn.Readout(4, 2)).eval()
    with torch.no_grad():
        net.layers[0].bias.fill_(-1.0)
        net.layers[0].recurrent.fill_(torch.inf)
        net.layers[0].weight[:, 2] = torch.nan
    x = torch.rand(2, 6, 3) * torch.tensor([1.0, 1.0, 0.0])
    with torch.no_grad():
        net.layers[0].weight[:, :2] = -1.0
        expected = net(x, backend="reference").potential
        found = net(x, backend="cpu").potential
        stream = srnn.Stream(net)
        pushed = torch.cat([torch.as_tensor(stream.push(step).scores) for step in x[0]])
    assert torch.isfinite(expected).all()
    assert torch.allclose(found, expected)
    assert torch.isfinite(pushed).all()


def test_what_is_not_silent_is_as_in_plain_arithmetic():
    a = torch.tensor([[0.0, 2.0, -1.0], [1.0, 0.0, 0.0]])
    b = torch.tensor([[torch.inf, 1.0, torch.nan], [1.0, torch.inf, 1.0], [1.0, 1.0, 1.0]])
    from srnn.kernels.reference import absent

    assert absent(a, b).nan_to_num(7.0, 8.0, 9.0).tolist() == [[1.0, 8.0, 1.0], [8.0, 1.0, 7.0]]
    assert absent(-a, b)[0, 1] == -torch.inf
    assert absent(torch.ones(1, 2), torch.tensor([[torch.inf], [-torch.inf]])).isnan().all()


def test_a_hook_on_an_output_that_no_loss_uses_is_not_called():
    layer, x = Layer(3, 4, srnn.ALIF()), torch.randn(2, 5, 3)
    for backend in ("cpu", "reference"):
        called = []
        out = layer(x, potential=True, backend=backend)
        out.output.register_hook(called.append)
        out.potential.sum().backward()
        assert not called or all(isinstance(g, torch.Tensor) for g in called)


@dataclass(frozen=True)
class InPlace(Neuron):
    k: Init = Constant(0.5)
    states: ClassVar = ("u",)

    def step(self, I, s, state, c):
        u = state["u"] * c["k"]
        u.add_(I)
        u *= 0.5
        return u, {"u": u}


def test_operations_in_place_within_a_step_are_traced():
    layer, x = Layer(3, 4, InPlace(), Identity()), torch.randn(2, 5, 3)
    assert layer.which_backend().name == "cpu"
    reference, kernel = both_ways(layer, x)
    for name, value in reference.items():
        torch.testing.assert_close(kernel[name], value)


@dataclass(frozen=True)
class Branching(Neuron):
    k: Init = Constant(0.5)
    states: ClassVar = ("u",)

    def step(self, I, s, state, c):
        u = state["u"] * c["k"] + I if state["u"].sum() > 0 else I
        return u, {"u": u}


def test_a_branch_on_a_value_runs_on_the_reference_and_says_where_it_stands():
    layer = Layer(3, 4, Branching(), Identity())
    chosen = layer.which_backend()
    assert chosen.name == "reference"
    assert "test_not_finite.py" in chosen.reason
    with pytest.raises(ConfigError, match=r"test_not_finite\.py"):
        layer.which_backend("cpu")
    assert layer(torch.randn(2, 5, 3)).output.shape == (2, 5, 4)


def test_with_float64_as_the_default_type_everything_is_float64():
    torch.set_default_dtype(torch.float64)
    try:
        net = srnn.Stack(Layer(3, 4, srnn.ALIF()), srnn.Readout(4, 2)).eval()
        x = torch.randn(2, 5, 3)
        assert net.which_backend().name == "cpu"
        found = net(x).potential
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, net(x, backend="reference").potential)
        assert torch.as_tensor(srnn.Stream(net).push(x[0, 0]).scores).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
