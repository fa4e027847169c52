"""The traced step that energy is counted from: it computes what the step computes, and refuses what
is not elementwise.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from helpers import NEURONS
from srnn import init
from srnn.kernels.graph import Graph
from srnn.kernels.trace import TraceError, trace_step
from srnn.neuron import Coeffs, Neuron, State
from srnn.neurons import ALIF, AdLIF, Leaky


def test_there_are_neurons():
    assert len(NEURONS) >= 12


OPERATIONS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "rsub": lambda a, b: b - a,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "reciprocal": lambda a: 1 / a,
    "exp": math.exp,
    "log": math.log,
    "log1p": math.log1p,
    "expm1": math.expm1,
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "tanh": math.tanh,
    "erf": math.erf,
    "sqrt": math.sqrt,
    "softplus": lambda a: math.log1p(math.exp(a)),
    "relu": lambda a: max(a, 0.0),
    "abs": abs,
    "sign": lambda a: float((a > 0) - (a < 0)),
    "pow": lambda a, b: a**b,
    "minimum": min,
    "maximum": max,
    "where": lambda c, a, b: a if c else b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
    "not": lambda a: not a,
    "copy": float,
}


def interpreted(graph: Graph, given: dict[str, float]) -> dict[str, float]:
    """Run a graph on plain numbers."""
    values = dict(given)

    def value(a: str | float) -> float:
        return values[a] if isinstance(a, str) else a

    for op in graph.ops:
        values[op.result] = OPERATIONS[op.name](*(value(a) for a in op.args))
    return {k: value(v) for k, v in graph.outputs.items()}


def compared(neuron: Neuron, trials: int = 20) -> int:
    """Compare the traced step with the step itself on random numbers; returns how many were
    compared.
    """
    graph, draw, count = trace_step(neuron), random.Random(0), 0
    assert set(graph.outputs) == {"x", *(f"state.{k}" for k in neuron.states)}
    for _ in range(trials):
        given = {name: draw.uniform(-1.5, 1.5) for name in graph.inputs}
        tensors = {k: torch.full((1, 1), v, dtype=torch.float64) for k, v in given.items()}
        state = {k: tensors[f"state.{k}"] for k in neuron.states}
        c = {k[2:]: v for k, v in tensors.items() if k.startswith("c.")}
        I = (
            tensors["I"]
            if neuron.gates == 1
            else tuple(tensors[f"I{g}"] for g in range(neuron.gates))
        )
        x, new = neuron.step(I, tensors["s"], state, c)
        wanted = {"x": x.item(), **{f"state.{k}": v.item() for k, v in new.items()}}
        assert interpreted(graph, given) == pytest.approx(wanted, rel=1e-13, abs=1e-14)
        count += len(wanted)
    return count


@pytest.mark.parametrize("neuron", NEURONS, ids=lambda c: c.__name__)
def test_the_trace_computes_the_step(neuron):
    assert compared(neuron()) == 20 * (1 + len(neuron.states))
    results = [op.result for op in trace_step(neuron()).ops]
    assert len(results) == len(set(results)) >= 4


@dataclass(frozen=True)
class Everything(Neuron):
    """Every other operation that a step may be made of, with literals, scaled sums and one-sided
    clamps.
    """

    k: init.Init = 0.7
    states = ("u", "v")
    gates = 2

    def step(
        self, I: tuple[Tensor, Tensor], s: Tensor, state: State, c: Coeffs
    ) -> tuple[Tensor, State]:
        a, b = I
        u, v = state["u"], state["v"]
        y = torch.add(a, b, alpha=3) - torch.sub(u, v, alpha=0.5) + torch.rsub(a, v, alpha=2)
        y = (
            y
            + torch.clamp(a, max=0.3)
            + torch.clamp(b, min=-0.2)
            + torch.clamp(u, -0.1, 0.4)
            + torch.clamp_min(v, 0.1)
        )
        y = y + torch.where(
            (a > 0) & (b <= 0.5) | (u != v), torch.ones_like(a), torch.zeros_like(a)
        ) * torch.full_like(a, 2.5)
        y = (
            y
            + torch.where(torch.logical_not(a >= b), torch.relu(u), 0.25)
            + (a < b).to(a.dtype) * (u == u)
        )
        z = (
            torch.sigmoid(a)
            + torch.tanh(b)
            + torch.erf(u)
            + torch.nn.functional.softplus(v)
            + torch.sqrt(torch.abs(s))
            + torch.sign(b)
        )
        z = (
            z
            + torch.log1p(torch.exp(a))
            + torch.expm1(b)
            + torch.log(torch.abs(a) + 1)
            + torch.reciprocal(u * u + 1)
            + v**2
            + s.clone() / 3
        )
        return y + c["k"] * z, {"u": y, "v": torch.minimum(y, -z)}


def test_the_trace_of_every_operation():
    assert compared(Everything(), trials=50) == 150
    assert {op.name for op in trace_step(Everything()).ops} == set(OPERATIONS)


def test_the_trace_of_values_given_one_by_one():
    """`Fixed` with one value a neuron sets the size of the layer that is traced."""
    assert trace_step(ALIF(beta=init.Fixed([0.0] * 20 + [1.8] * 16))) == trace_step(ALIF())


def test_two_traces_are_equal_and_draw_nothing():
    before = torch.get_rng_state()
    assert trace_step(AdLIF()) == trace_step(AdLIF())
    assert torch.equal(torch.get_rng_state(), before)


@dataclass(frozen=True)
class Odd(Leaky):
    """A leaky integrator whose potential goes through something that is no kernel."""

    def odd(self, u: Tensor) -> Tensor:
        raise NotImplementedError

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        x, new = super().step(I, s, state, c)
        return self.odd(x), new


SHIFT = torch.full((3,), 0.5, dtype=torch.float64)
ODD = {
    "cumsum": (
        lambda u: torch.cumsum(u, -1),
        r"Mine\.step: aten\.cumsum\.default \(.*test_step\.py:\d+\) is not one of the "
        r"elementwise operations",
    ),
    "mean": (
        lambda u: u - u.mean(-1, keepdim=True),
        r"Mine\.step: aten\.mean\.dim "
        r"\(.*test_step\.py:\d+\) is not one of",
    ),
    "product": (
        lambda u: u @ u.T @ u,
        r"Mine\.step: aten\.(t|mm|permute)\.default "
        r"\(.*test_step\.py:\d+\) is not one of",
    ),
    "whole numbers": (
        lambda u: u.long().to(u.dtype),
        r"Mine\.step: aten\._to_copy\.default "
        r"\(.*test_step\.py:\d+\) changes the number type",
    ),
    "rounded quotient": (
        lambda u: torch.div(u, 3.0, rounding_mode="floor"),
        r"Mine\.step: aten\.div\.\w+ "
        r"\(.*test_step\.py:\d+\) is not one of",
    ),
    "a tensor of its own": (
        lambda u: u * SHIFT,
        r"Mine\.step uses a tensor that is not one of "
        r"its arguments; make it a constant of the neuron",
    ),
    "a look at the values": (
        lambda u: u if u.max() > 0 else -u,
        r"Mine\.step: aten\.max\.default "
        r"\(.*test_step\.py:\d+\) is not one of",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_a_step_that_is_not_elementwise_is_named(name):
    f, message = ODD[name]

    @dataclass(frozen=True)
    class Mine(Odd):
        def odd(self, u: Tensor) -> Tensor:
            return f(u)

    with pytest.raises(TraceError, match=message):
        trace_step(Mine())
