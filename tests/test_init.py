"""How constants and weights start: shapes, what is trained, bounds, statistics, and the errors."""

from __future__ import annotations

import math

import pytest
import torch

from srnn._check import ConfigError
from srnn.init import (
    Constant,
    FanIn,
    Fixed,
    Normal,
    Orthogonal,
    Uniform,
    XavierUniform,
    Zeros,
    bounds,
    start_value,
)

DRAWN = [Constant(20.0), Normal(20.0, 5.0), Uniform(0.6, 0.96)]


def again(init: Constant | Normal | Uniform, **changes: bool) -> Constant | Normal | Uniform:
    return type(init)(**{**init.__dict__, **changes})


@pytest.mark.parametrize("init", DRAWN, ids=repr)
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("shared", "shape"), [(False, (7,)), (True, ())])
def test_start_value(init, train, shared, shape):
    value = start_value("ALIF.tau_m", again(init, train=train, shared=shared), 7)
    assert isinstance(value, Fixed) != train
    tensor = value if isinstance(value, torch.Tensor) else value.tensor()
    assert tensor.shape == shape
    assert tensor.dtype == torch.float64
    assert not tensor.requires_grad


def test_a_plain_number_is_fixed_and_shared():
    for number in (0.01, 3, -1.0):
        value = start_value("ALIF.b0", number, 5)
        assert isinstance(value, Fixed)
        assert value.tensor().shape == ()
        assert float(value.tensor()) == number


def test_constant_values():
    assert Constant(20).sample(3).tolist() == [20.0] * 3
    assert Constant(20, shared=True).sample(3).tolist() == 20.0


def test_normal_statistics():
    torch.manual_seed(0)
    x = Normal(20.0, 5.0).sample(100_000)
    assert x.numel() == 100_000
    assert float(x.mean()) == pytest.approx(20, abs=0.08)  # 5 standard errors
    assert float(x.std()) == pytest.approx(5, abs=0.06)
    assert float(((x - 20).abs() < 5).double().mean()) == pytest.approx(0.6827, abs=0.008)
    assert Normal(3.0, 0.0).sample(4).tolist() == [3.0] * 4


def test_uniform_statistics():
    torch.manual_seed(0)
    x = Uniform(-1.0, 3.0).sample(100_000)
    assert x.numel() == 100_000
    assert -1 <= float(x.min()) < -0.99
    assert 2.99 < float(x.max()) <= 3
    assert float(x.mean()) == pytest.approx(1, abs=0.02)
    assert float(x.var()) == pytest.approx(16 / 12, rel=0.02)
    assert Uniform(0.5, 0.5).sample(2).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("init", [Normal(20.0, 5.0), Uniform(0.6, 0.96)], ids=repr)
def test_draws_follow_the_global_seed(init):
    torch.manual_seed(4)
    first, second = init.sample(10), init.sample(10)
    torch.manual_seed(4)
    assert torch.equal(init.sample(10), first)
    assert not torch.equal(first, second)


def test_fixed_values():
    assert Fixed(2).tensor().shape == ()
    assert Fixed([0.0, 1.8]).tensor().tolist() == [0.0, 1.8]
    assert Fixed(torch.tensor([0.0, 1.8])).tensor().dtype == torch.float64
    given = Fixed([0.0, 0.0, 1.8])
    assert start_value("ALIF.beta", given, 3) is given
    assert start_value("ALIF.beta", Fixed(1.8), 3).tensor().shape == ()


def test_bounds():
    assert bounds(Uniform(0.6, 0.96, clamp=True)) == (0.6, 0.96)
    unbounded = [Uniform(0.6, 0.96), Normal(1.0, 2.0), Constant(1.0), Fixed(1.0), 1.0]
    assert len(unbounded) == 5
    assert all(bounds(init) is None for init in unbounded)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Fixed([[1.0, 2.0]]),
            r"Fixed\(.*\): expected one finite number, or a list of "
            r"them, one per neuron",
        ),
        (
            lambda: Fixed([]),
            r"Fixed\(.*\): expected one finite number, or a list of them, one "
            r"per neuron",
        ),
        (
            lambda: Fixed(math.nan),
            r"Fixed\(.*\): expected one finite number, or a list of them, "
            r"one per neuron",
        ),
        (
            lambda: Fixed([1.0, math.inf]),
            r"Fixed\(.*\): expected one finite number, or a list of "
            r"them, one per neuron",
        ),
        (lambda: Normal(20.0, -5.0), r"Normal: std is -5\.0; expected a number of at least 0"),
        (lambda: Normal(20.0, math.nan), r"Normal: std is nan; expected a number of at least 0"),
        (
            lambda: Uniform(1.0, 0.5),
            r"Uniform: got the range \[1\.0, 0\.5\]; expected two finite "
            r"numbers, low ≤ high",
        ),
        (lambda: Uniform(0.0, math.nan), r"Uniform: got the range \[0\.0, nan\]; expected"),
        (
            lambda: start_value("ALIF.beta", Fixed([0.0, 1.8]), 3),
            r"ALIF\.beta: Fixed holds 2 values for a layer of 3 neurons; expected 3, or "
            r"one number for all",
        ),
        (
            lambda: start_value("ALIF.beta", Fixed([1.8]), 3),
            r"ALIF\.beta: Fixed holds 1 value for "
            r"a layer of 3 neurons",
        ),
        (
            lambda: start_value("ALIF.beta", math.inf, 3),
            r"Fixed\(.*\): expected one finite "
            r"number, or a list of them, one per neuron",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# ── weights ───────────────────────────────────────────────────────────────────────────────────────


def filled(init: XavierUniform | Orthogonal | FanIn | Zeros, *shape: int) -> torch.Tensor:
    torch.manual_seed(0)
    weight = torch.full(shape, math.nan, dtype=torch.float64)
    init(weight)
    assert weight.shape == shape
    assert bool(torch.isfinite(weight).all())
    return weight


def assert_uniform(weight: torch.Tensor, bound: float) -> None:
    """All within the bound, reaching for it, with the mean and variance of a uniform distribution
    (5 standard errors or more).
    """
    assert weight.numel() >= 10_000
    assert 0.99 * bound < float(weight.max()) <= bound
    assert -bound <= float(weight.min()) < -0.99 * bound
    assert float(weight.mean()) == pytest.approx(0, abs=5 * bound / math.sqrt(3 * weight.numel()))
    assert float(weight.var()) == pytest.approx(bound * bound / 3, rel=0.05)


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_xavier_uniform(gain):
    assert_uniform(filled(XavierUniform(gain), 80, 200), gain * math.sqrt(6 / (80 + 200)))


def test_fan_in():
    assert_uniform(filled(FanIn(), 80, 200), 1 / math.sqrt(200))
    assert_uniform(filled(FanIn(), 200, 80), 1 / math.sqrt(80))


@pytest.mark.parametrize("gain", [1.0, 0.7])
@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (30, 64), (64, 30)])
def test_orthogonal(rows, columns, gain):
    weight = filled(Orthogonal(gain), rows, columns)
    small = weight @ weight.T if rows <= columns else weight.T @ weight
    torch.testing.assert_close(
        small, gain * gain * torch.eye(min(rows, columns), dtype=torch.float64), rtol=0, atol=1e-12
    )
    singular = torch.linalg.svdvals(weight)
    torch.testing.assert_close(
        singular, torch.full((min(rows, columns),), gain, dtype=torch.float64)
    )


def test_orthogonal_is_random():
    torch.manual_seed(1)
    first, second = torch.empty(2, 8, 8)
    Orthogonal()(first)
    Orthogonal()(second)
    assert not torch.allclose(first, second, atol=0.1)


def test_zeros():
    weight = filled(Zeros(), 5, 3)
    assert weight.numel() == 15
    assert not bool(weight.any())


def test_parameters_that_are_trained_can_be_filled():
    inits = [XavierUniform(), Orthogonal(), FanIn(), Zeros()]
    assert len(inits) == 4
    for init in inits:
        weight = torch.nn.Parameter(torch.empty(4, 6))
        init(weight)
        assert weight.requires_grad
        assert weight.grad_fn is None
