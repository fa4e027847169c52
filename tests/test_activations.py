"""Activations: what they give, and what autograd sees."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from srnn import activations
from srnn.activations import Activation, Identity, Relu, Soft, Spike
from srnn.surrogates import (
    Boxcar,
    FastSigmoid,
    Gaussian,
    MGLeft,
    MGRight,
    MultiGaussian,
    ReLU,
    Sigmoid,
    SLayer,
    Triangular,
)

SURROGATES = [
    Gaussian(),
    MultiGaussian(),
    MGLeft(),
    MGRight(),
    Triangular(),
    SLayer(),
    Boxcar(),
    FastSigmoid(),
    Sigmoid(),
    ReLU(),
]
ALL = [Spike(), Spike(at_threshold=True), Relu(), Identity(), Soft()]
X = [-math.inf, -2.0, -1e-30, -0.0, 0.0, 1e-30, 0.3, 2.0, math.inf]


def values(
    activation: Activation, x: list[float], dtype: torch.dtype = torch.float32
) -> list[float]:
    return activation(torch.tensor(x, dtype=dtype)).tolist()


def test_the_list_is_whole():
    kinds = {
        c
        for c in vars(activations).values()
        if inspect.isclass(c) and issubclass(c, Activation) and c is not Activation
    }
    assert {type(a) for a in ALL} == kinds
    assert len(kinds) == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spike_is_strict_unless_told_otherwise(dtype):
    assert values(Spike(), X, dtype) == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert values(Spike(at_threshold=True), X, dtype) == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert Spike()(torch.zeros(2, 3, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("at_threshold", [False, True])
def test_nan_never_spikes(at_threshold):
    assert values(Spike(at_threshold=at_threshold), [math.nan, -math.nan, 1.0]) == [0, 0, 1]


@pytest.mark.parametrize("surrogate", SURROGATES, ids=repr)
@pytest.mark.parametrize("at_threshold", [False, True])
def test_the_gradient_of_a_spike_is_the_surrogate(surrogate, at_threshold):
    torch.manual_seed(0)
    x, upstream = torch.randn(2, 500, dtype=torch.float64)
    x[0] = 0.0
    x.requires_grad_()
    spike = Spike(surrogate, at_threshold=at_threshold)
    s = spike(x)
    assert 100 < int(s.sum()) < 400
    (grad,) = torch.autograd.grad(s, x, upstream)
    assert torch.equal(grad, upstream * surrogate.grad(x.detach()))
    assert torch.equal(spike.grad(x.detach()), surrogate.grad(x.detach()))
    assert int((grad != 0).sum()) > 50


def test_the_default_surrogate_is_the_multi_gaussian():
    assert Spike().surrogate == Soft().surrogate == MultiGaussian()
    assert Spike() == Spike(MultiGaussian())
    assert Spike() != Spike(at_threshold=True)


def test_relu():
    assert values(Relu(), [-1.0, -0.0, 0.0, 0.5, 3.0]) == [0, 0, 0, 0.5, 3.0]
    x = torch.tensor([-1.0, 0.0, 0.5, 3.0], requires_grad=True)
    (grad,) = torch.autograd.grad(Relu()(x), x, torch.tensor([2.0, 3.0, 5.0, 7.0]))
    assert grad.tolist() == [0, 0, 5, 7]


def test_identity():
    x = torch.tensor([-1.0, 0.0, math.inf], requires_grad=True)
    assert Identity()(x) is x
    assert torch.equal(Identity().forward(x), x)
    (grad,) = torch.autograd.grad(Identity()(x), x, torch.tensor([2.0, 3.0, 5.0]))
    assert grad.tolist() == [2, 3, 5]
    assert Identity().grad(x).tolist() == [1, 1, 1]


@pytest.mark.parametrize("surrogate", SURROGATES, ids=repr)
def test_soft_is_truly_differentiable(surrogate):
    generator = torch.Generator().manual_seed(2)
    sign = torch.where(torch.rand(3, 8, generator=generator) < 0.5, -1.0, 1.0).double()
    # off the kinks 0, ±0.5, ±1
    x = (
        sign * (0.05 + 0.4 * torch.rand(3, 8, generator=generator, dtype=torch.float64))
    ).requires_grad_()
    soft = Soft(surrogate)
    assert x.numel() == 24
    assert torch.autograd.gradcheck(soft, (x,), eps=1e-6, atol=1e-6)
    assert torch.equal(soft(x), surrogate.primitive(x))
    assert torch.equal(soft.forward(x), surrogate.primitive(x))
    (grad,) = torch.autograd.grad(soft(x).sum(), x)
    torch.testing.assert_close(grad, soft.grad(x.detach()))


def test_spike_has_no_finite_difference():
    """The negative control of the test above: a hard spike fails it."""
    x = torch.tensor([-0.3, 0.2, 0.4], dtype=torch.float64, requires_grad=True)
    assert not torch.autograd.gradcheck(Spike(), (x,), raise_exception=False)


@pytest.mark.parametrize("activation", ALL, ids=repr)
def test_flags_and_shapes(activation):
    assert activation.binary == isinstance(activation, Spike)
    assert activation.unit == isinstance(activation, Spike | Soft)
    for shape in ((), (0,), (4,), (2, 3, 5)):
        x = torch.randn(shape)
        for f in (activation, activation.forward, activation.grad):
            assert f(x).shape == shape
            assert f(x).dtype == x.dtype
    if activation.binary:
        assert set(activation(torch.randn(1000)).tolist()) == {0.0, 1.0}


def test_gradient_reaches_a_threshold():
    """x = u - θ: dS/dθ = -dS/du."""
    u, theta = torch.tensor([0.4, 0.1], requires_grad=True), torch.tensor(0.2, requires_grad=True)
    du, dtheta = torch.autograd.grad(Spike()(u - theta).sum(), (u, theta))
    assert float(dtheta) == pytest.approx(-float(du.sum()))
    assert float(du.min()) > 0
