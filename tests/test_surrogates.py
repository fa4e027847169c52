"""Surrogates: the gradient is the derivative of the primitive, and the shapes are those of the
papers.
"""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from helpers import SURROGATES
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
    Surrogate,
    Triangular,
)

# one with the defaults and one with every number changed
INSTANCES = [
    kind(**{f.name: f.default * scale for f in dataclasses.fields(kind)})
    for kind in SURROGATES
    for scale in (1.0, 1.3)
] + [ReLU(offset=0.4, gain=0.7)]

# integral over all x, without the gain; the table at the top of the module
INTEGRAL = {
    Gaussian: lambda p: 1.0,
    MultiGaussian: lambda p: 1.0 - p.h,
    MGLeft: lambda p: 1.0 - p.h / 2,  # half of each: not in the table
    MGRight: lambda p: 1.0 - p.h / 2,
    Triangular: lambda p: p.width,
    SLayer: lambda p: 2 / p.slope,
    Boxcar: lambda p: 2 * p.width,
    FastSigmoid: lambda p: 2 / p.slope,
    Sigmoid: lambda p: 1 / p.slope,
    ReLU: lambda p: math.inf,
}


def kinks(p: Surrogate) -> list[float]:
    """Where grad is not differentiable."""
    if isinstance(p, Gaussian | MultiGaussian | Sigmoid):
        return []
    if isinstance(p, Boxcar):
        return [-p.width, p.width]
    if isinstance(p, Triangular):
        return [-p.width, 0.0, p.width]
    return [-p.offset] if isinstance(p, ReLU) else [0.0]


def points(p: Surrogate, n: int = 400, away: float = 1e-3) -> torch.Tensor:
    """Random float64 points in [-4, 4], at least `away` from every kink."""
    x = 8 * torch.rand(n, generator=torch.Generator().manual_seed(7), dtype=torch.float64) - 4
    x = torch.cat([x, x / 16])
    for kink in kinks(p):
        x = x[(x - kink).abs() > away]
    assert x.numel() > 700
    return x


def test_the_list_is_whole():
    assert len(SURROGATES) == 10
    assert set(SURROGATES) == set(INTEGRAL)
    assert len(INSTANCES) == 21


@pytest.mark.parametrize("p", INSTANCES, ids=repr)
def test_grad_is_the_derivative_of_the_primitive(p):
    x = points(p).requires_grad_()
    (derivative,) = torch.autograd.grad(p.primitive(x).sum(), x)
    torch.testing.assert_close(derivative, p.grad(x.detach()), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("p", INSTANCES, ids=repr)
def test_grad_is_the_finite_difference_of_the_primitive(p):
    x, h = points(p), 1e-5
    difference = (p.primitive(x + h) - p.primitive(x - h)) / (2 * h)
    torch.testing.assert_close(difference, p.grad(x), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("p", INSTANCES, ids=repr)
def test_integral(p):
    """∫ grad over all x by the midpoint rule in y, x = sinh y (which reaches |x| = 7e10, for the
    long tail of the fast sigmoid).
    """
    wanted = p.gain * INTEGRAL[type(p)](p)
    if isinstance(p, ReLU):
        assert wanted == math.inf
        top = torch.tensor(50.0, dtype=torch.float64)
        assert float(p.primitive(top)) == pytest.approx(p.gain * (50 + p.offset) ** 2 / 2)
        return
    h = 1e-4
    y = (torch.arange(-256_000, 256_000, dtype=torch.float64) + 0.5) * h
    assert y.numel() == 512_000
    assert float((p.grad(torch.sinh(y)) * torch.cosh(y)).sum() * h) == pytest.approx(
        wanted, rel=3e-4
    )
    ends = p.primitive(torch.tensor([-1e9, 1e9], dtype=torch.float64))
    assert float(ends[0]) == pytest.approx(0, abs=1e-8)  # from -∞
    assert float(ends[1]) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("p", INSTANCES, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_for_any_potential(p, dtype):
    size = torch.cat([torch.zeros(1), torch.logspace(-30, 4, 500), torch.linspace(0, 100, 500)]).to(
        dtype
    )
    x = torch.cat([-size, size]).requires_grad_()
    assert x.numel() == 2002
    primitive = p.primitive(x)
    (through,) = torch.autograd.grad(primitive.sum(), x)
    for value in (p.grad(x), primitive, through):
        assert value.shape == x.shape
        assert value.dtype == dtype
        assert bool(torch.isfinite(value).all())


@pytest.mark.parametrize("p", INSTANCES, ids=repr)
def test_shape_is_kept(p):
    for shape in ((), (0,), (3,), (2, 1, 5)):
        x = torch.zeros(shape)
        assert p.grad(x).shape == p.primitive(x).shape == shape


@pytest.mark.parametrize("p", INSTANCES, ids=repr)
def test_numbers_may_be_tensors(p):
    x = points(p)
    numbers = dataclasses.asdict(p)
    assert len(numbers) >= 2
    for shape in ((), x.shape):
        tensors = dataclasses.replace(
            p, **{k: torch.full(shape, v, dtype=torch.float64) for k, v in numbers.items()}
        )
        torch.testing.assert_close(tensors.grad(x), p.grad(x), rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(tensors.primitive(x), p.primitive(x), rtol=1e-12, atol=1e-15)
    for name, value in numbers.items():  # and one at a time
        one = dataclasses.replace(p, **{name: torch.tensor(value, dtype=torch.float64)})
        torch.testing.assert_close(one.grad(x), p.grad(x), rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(one.primitive(x), p.primitive(x), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("p", INSTANCES, ids=repr)
def test_gain_is_a_factor(p):
    x = points(p)
    double, none = dataclasses.replace(p, gain=2 * p.gain), dataclasses.replace(p, gain=0.0)
    assert float(p.grad(x).abs().max()) > 0
    assert torch.equal(double.grad(x), 2 * p.grad(x))
    assert torch.equal(double.primitive(x), 2 * p.primitive(x))
    assert not bool(none.grad(x).any())


# ── the Multi-Gaussian of Yin, Corradi & Bohté 2021, as coded (gain 0.5, h 0.15, s 6) ─────────────


def at(p: Surrogate, x: float) -> float:
    return float(p.grad(torch.tensor(x, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("sigma", "values", "zero", "lowest", "where"),
    [
        (
            0.5,
            {0.0: 0.439112, 1.0: 0.043452, 2.0: -0.015696, 3.0: -0.012098},
            1.2722,
            -0.015866,
            1.864,
        ),
        (0.3, {0.0: 0.731853, 1.0: -0.025263}, 0.7633, -0.026443, 1.118),
    ],
)
def test_multi_gaussian_check_values(sigma, values, zero, lowest, where):
    p = MultiGaussian(sigma=sigma)
    assert (p.gain, p.h, p.s) == (0.5, 0.15, 6.0)
    assert len(values) in (2, 4)
    for x, value in values.items():
        assert at(p, x) == pytest.approx(value, abs=5.1e-7)
        assert at(p, -x) == pytest.approx(value, abs=5.1e-7)
    x = torch.arange(1, 50_000, dtype=torch.float64) * 1e-4  # (0, 5)
    g = p.grad(x)
    crossings = x[1:][(g[1:] <= 0) & (g[:-1] > 0)]
    assert crossings.tolist() == pytest.approx([zero], abs=1e-4)
    assert float(g.min()) == pytest.approx(lowest, abs=5.1e-7)
    assert float(x[g.argmin()]) == pytest.approx(where, abs=5.1e-4)
    ends = p.primitive(torch.tensor([-1e4, 1e4], dtype=torch.float64))
    assert float(ends[1] - ends[0]) == pytest.approx(0.425)


def test_multi_gaussian_is_three_gaussians():
    x = points(MultiGaussian())
    p = MultiGaussian(h=0.2, s=4.0, sigma=0.6, gain=0.8)
    narrow, wide = Gaussian(0.6, 1.0), Gaussian(4.0 * 0.6, 1.0)
    wanted = 0.8 * (1.2 * narrow.grad(x) - 0.2 * wide.grad(x - 0.6) - 0.2 * wide.grad(x + 0.6))
    torch.testing.assert_close(p.grad(x), wanted)
    assert at(Gaussian(), 0.0) == pytest.approx(0.398942, abs=5.1e-7)
    assert torch.equal(MultiGaussian(h=0.0, gain=0.8).grad(x), Gaussian(gain=0.8).grad(x))


def test_one_sided_multi_gaussians():
    x = points(MGLeft())
    left, right = x < 0, x >= 0
    assert min(int(left.sum()), int(right.sum())) > 300
    multi, plain = MultiGaussian(), Gaussian()
    for p, multi_side, plain_side in ((MGLeft(), left, right), (MGRight(), right, left)):
        assert torch.equal(p.grad(x)[multi_side], multi.grad(x)[multi_side])
        assert torch.equal(p.grad(x)[plain_side], plain.grad(x)[plain_side])
    torch.testing.assert_close(MGLeft().grad(x) + MGRight().grad(x), multi.grad(x) + plain.grad(x))
    torch.testing.assert_close(MGLeft().grad(x), MGRight().grad(-x))  # mirrored, off x = 0
    assert at(MGLeft(), 0.0) == at(plain, 0.0)
    assert at(MGRight(), 0.0) == at(multi, 0.0)


@pytest.mark.parametrize("kind", [MGLeft, MGRight])
@pytest.mark.parametrize("h", [0.0, 0.15, 0.6])
def test_one_sided_primitives_are_continuous_at_zero(kind, h):
    below, zero, above = (
        kind(h=h).primitive(torch.tensor([-1e-9, 0.0, 1e-9], dtype=torch.float64)).tolist()
    )
    assert below == pytest.approx(zero, abs=1e-8)
    assert above == pytest.approx(zero, abs=1e-8)
    assert zero == pytest.approx(0.5 * {MGLeft: (1 - h) / 2, MGRight: 0.5}[kind])


# ── the other shapes ──────────────────────────────────────────────────────────────────────────────


def test_boxcar_is_half_open():
    w = 0.5
    x = torch.tensor(
        [-w - 1e-9, -w, math.nextafter(-w, 0), 0.0, w, math.nextafter(w, 1), math.nan],
        dtype=torch.float64,
    )
    assert Boxcar().grad(x).tolist() == [0, 0, 1, 1, 1, 0, 0]
    assert Boxcar(gain=0.5).grad(x).tolist() == [0, 0, 0.5, 0.5, 0.5, 0, 0]
    assert Boxcar(width=1.0).grad(x[:6]).tolist() == [1] * 6


@pytest.mark.parametrize(
    ("p", "values"),
    [
        (Triangular(), {0.0: 0.5, 0.5: 0.25, -0.5: 0.25, 1.0: 0.0, -3.0: 0.0}),
        (Triangular(width=2.0, gain=1.0), {1.0: 0.5, -1.5: 0.25}),
        (SLayer(), {0.0: 0.5, 0.2: 0.5 / math.e, -0.2: 0.5 / math.e}),
        (FastSigmoid(), {0.0: 1.0, 0.1: 0.25, -0.1: 0.25, 0.9: 0.01}),
        (Sigmoid(), {0.0: 0.25, math.log(3) / 4: 3 / 16, -math.log(3) / 4: 3 / 16}),
        (ReLU(), {-1.0: 0.0, 0.0: 0.0, 2.0: 2.0}),
        (ReLU(offset=0.5, gain=2.0), {-0.5: 0.0, 0.0: 1.0, 1.0: 3.0}),
    ],
    ids=repr,
)
def test_values_by_hand(p, values):
    assert len(values) >= 2
    for x, value in values.items():
        assert at(p, x) == pytest.approx(value, abs=1e-12)
