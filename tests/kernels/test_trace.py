"""From a step to a graph: what is refused and where the message points, and the gradient of a step
evaluated operation by operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from helpers import CELLS, NEURONS
from srnn import Layer
from srnn._check import ConfigError
from srnn.activations import Activation, Identity, Relu, Soft, Spike
from srnn.init import Constant, Init
from srnn.kernels.graph import Graph, Op
from srnn.kernels.print_c import print_neuron
from srnn.kernels.trace import Program, TraceError, numbers, trace_program, trace_step
from srnn.neuron import Coeffs, Neuron, State
from srnn.neurons import SoftLIF
from srnn.surrogates import FastSigmoid, MGLeft, Sigmoid, Triangular

F64 = torch.float64
ACTIVATIONS = [
    Spike(),
    Relu(),
    Identity(),
    Soft(FastSigmoid()),
    Soft(MGLeft()),
    Spike(Triangular()),
    Spike(Sigmoid(), at_threshold=True),
]


def stepping(f: Callable[[Tensor, Tensor], Tensor]) -> Neuron:
    """A neuron with one state, u ← f(u, I)."""

    @dataclass(frozen=True)
    class Mine(Neuron):
        def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
            u = f(state["u"], I)
            return u - 0.3, {"u": u}

    return Mine()


# ── what is refused ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "f",
    [
        lambda u, I: u * u.shape[-1] + I,
        lambda u, I: u + I if u.shape[0] == 2 else u - I,
        lambda u, I: u + I / u.numel(),
        lambda u, I: u + I + sum(0.1 * u for _ in range(u.shape[1])),
    ],
    ids=["a factor", "a branch", "an average", "a loop"],
)
def test_a_step_that_looks_at_the_shape_is_refused(f):
    """The graphs at two shapes differ."""
    message = (
        r"^Mine\.step does different things at different shapes \(B, N\); every operation "
        r"must be elementwise\. Or use backend=\"reference\"\.$"
    )
    with pytest.raises(TraceError, match=message):
        trace_step(stepping(f))
    with pytest.raises(TraceError, match=message):
        trace_program(stepping(f), Spike())


def marked(which: str) -> int:
    """The line of this file that ends with this comment."""
    lines = [
        k
        for k, line in enumerate(Path(__file__).read_text().splitlines(), 1)
        if line.endswith(f"# {which}")
    ]
    assert len(lines) == 1
    return lines[0]


@dataclass(frozen=True)
class Shifted(Neuron):
    """Rolls its input round, in the middle of an expression over several lines."""

    k: Init = Constant(0.5)

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = c["k"] * state["u"]
        u = (
            u
            + I.roll(1, -1)  # the roll
            - s
        )
        return u, {"u": u}


@dataclass(frozen=True)
class Helped(Neuron):
    """Calls a function that is not elementwise."""

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = state["u"] + helper(I)
        return u, {"u": u}


def helper(I: Tensor) -> Tensor:
    return I - I.median()  # the median


@dataclass(frozen=True)
class Sorted(SoftLIF):
    """Shows something that is not elementwise as its potential."""

    def potential(self, s: Tensor, state: State) -> Tensor:
        return state["u"].sort().values  # the sort


@dataclass(frozen=True)
class Ranked(Activation):
    """An activation that looks at other neurons."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x, -1)  # the softmax

    def grad(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)


@pytest.mark.parametrize(
    ("neuron", "activation", "operation", "line"),
    [
        (Shifted(), Spike(), r"Shifted\.step: aten\.roll\.default", "the roll"),
        (Helped(), Spike(), r"Helped\.step: aten\.median\.default", "the median"),
        (Sorted(), Spike(), r"Sorted\.\w+: aten\.sort\.\w+", "the sort"),
        (SoftLIF(), Ranked(), r"Ranked\.forward: aten\._?softmax\.\w+", "the softmax"),
    ],
    ids=["roll", "median", "sort", "softmax"],
)
def test_the_message_points_at_the_line(neuron, activation, operation, line):
    message = (
        rf"^{operation} \(.*{Path(__file__).name}:{marked(line)}\) is not one of the "
        r"elementwise operations a kernel can be made of; write it "
    )
    with pytest.raises(TraceError, match=message):
        trace_program(neuron, activation)
    layer = Layer(3, 4, neuron, activation)
    choice = layer.which_backend()
    assert choice.name == "reference"
    assert f"{Path(__file__).name}:{marked(line)}" in choice.reason
    assert layer(torch.randn(2, 3, 3)).output.shape == (2, 3, 4)
    with pytest.raises(ConfigError, match=r'^backend="cpu" cannot run this layer: '):
        layer(torch.randn(2, 3, 3), backend="cpu")


@pytest.mark.parametrize("size", [(3,), (1,), (2, 3), (1, 1)], ids=str)
def test_a_tensor_from_outside_is_refused(size):
    outside = torch.rand(size, dtype=F64)
    with pytest.raises(
        TraceError,
        match=r"^Mine\.step uses a tensor that is not one of its "
        r"arguments; make it a constant of the neuron\.$",
    ):
        trace_program(stepping(lambda u, I: u + outside * I), Spike())


# ── what is traced ────────────────────────────────────────────────────────────────────────────────


def ops(f: Callable[[Tensor, Tensor], Tensor]) -> tuple[Op, ...]:
    """The operations of u ← f(u, I), without that of x."""
    return trace_step(stepping(f)).needed(["state.u"])


def test_python_numbers_are_literals():
    assert ops(lambda u, I: 0.25 * u + I) == (
        Op("v0", "mul", ("state.u", 0.25)),
        Op("v1", "add", ("v0", "I")),
    )
    assert ops(lambda u, I: 3 * u) == (Op("v0", "mul", ("state.u", 3.0)),)
    assert ops(lambda u, I: 1 - u) == (Op("v0", "rsub", ("state.u", 1.0)),)
    assert ops(lambda u, I: torch.tensor(0.5, dtype=F64) * I)[0].args in (("I", 0.5), (0.5, "I"))
    assert [op.name for op in ops(lambda u, I: torch.clamp(u, -1, 1))] == ["maximum", "minimum"]
    assert ops(lambda u, I: torch.sub(u, I, alpha=2)) == (
        Op("v0", "mul", ("I", 2.0)),
        Op("v1", "sub", ("state.u", "v0")),
    )


def test_operations_in_place():
    plain = ops(lambda u, I: torch.tanh((u + I) * 0.5 - I))
    assert ops(lambda u, I: (u + I).mul_(0.5).sub_(I).tanh_()) == plain
    assert [op.name for op in plain] == ["add", "mul", "sub", "tanh"]


def test_what_depends_on_constants_alone_is_computed_once():
    """exp(-k²) and everything made of it stands in `prepare`, not in the loops."""

    @dataclass(frozen=True)
    class Costly(Neuron):
        k: Init = Constant(0.5)

        def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
            u = torch.exp(-c["k"] * c["k"]) * state["u"] + torch.log(c["k"] + 1) * I
            return u - 1, {"u": u}

    printed = print_neuron(trace_program(Costly(), Identity()))
    prepare, step = (
        printed.source.split("void step")[0],
        printed.source.split("void step")[1].split("void advance")[0],
    )
    assert printed.derived >= 2
    assert prepare.count("exp_real(") == prepare.count("log_real(") == 1
    assert "exp_real" not in step
    assert "log_real" not in step


# ── the adjoint, operation by operation ───────────────────────────────────────────────────────────

WORDS: dict[str, Callable[..., Tensor]] = {
    "rsub": lambda a, b: b - a,
    "not": torch.logical_not,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "copy": lambda a: a.double(),
    "softplus": functional.softplus,
    **{
        k: getattr(torch, k)
        for k in (
            "add",
            "sub",
            "mul",
            "div",
            "neg",
            "reciprocal",
            "where",
            "relu",
            "minimum",
            "maximum",
            "sign",
            "abs",
            "exp",
        )
    },
    **{
        k: getattr(torch, k)
        for k in (
            "expm1",
            "tanh",
            "sigmoid",
            "log",
            "log1p",
            "erf",
            "sqrt",
            "pow",
            "gt",
            "ge",
            "lt",
            "le",
            "eq",
            "ne",
        )
    },
}


def evaluate(graph: Graph, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compute a graph's outputs with torch, one operation after the other."""
    assert set(graph.inputs) == set(given)
    values = dict(given)
    shape = next(iter(given.values())).shape

    def value(a: str | float) -> Tensor:
        return values[a] if isinstance(a, str) else torch.full(shape, a, dtype=F64)

    for op in graph.needed(graph.outputs):
        args = [value(a) for a in op.args]
        if op.name not in ("where", "and", "or", "not"):  # elsewhere the truth is a number, 0 or 1
            args = [a.double() for a in args]
        values[op.result] = WORDS[op.name](*args)
    return {k: value(v).double() for k, v in graph.outputs.items()}


def random_inputs(neuron: Neuron, activation: Activation, program: Program) -> dict[str, Tensor]:
    torch.manual_seed(0)
    n = 400
    params = {
        k: (v if isinstance(v, Tensor) else v.tensor()).double() for k, v in neuron.init(n).items()
    }
    given = {
        f"c.{k}": v.expand(n) * (1 - 0.1 * torch.rand(n, dtype=F64))
        for k, v in neuron.coeffs(params).items()
    }
    given |= {
        f"a.{k}": torch.full((n,), float(v), dtype=F64) for k, v in numbers(activation).items()
    }
    given |= {
        k: 0.7 * torch.randn(n, dtype=F64) + 0.3 for k in program.step.inputs if k not in given
    }
    return {k: v.abs() if k == "state.p" else v for k, v in given.items()}  # a probability


PAIRS = [
    (kind, activation)
    for kind in (*NEURONS, *CELLS)
    for activation in ACTIVATIONS
    if activation.unit or not kind.hard_reset
]


@pytest.mark.parametrize(
    ("kind", "activation"), PAIRS, ids=lambda v: getattr(v, "__name__", str(v))
)
def test_the_graphs_compute_the_step_and_its_gradient(kind, activation):
    neuron = kind()
    program = trace_program(neuron, activation)
    given = {k: v.detach() for k, v in random_inputs(neuron, activation, program).items()}
    leaves = {k: v.clone().requires_grad_(not k.startswith("a.")) for k, v in given.items()}
    currents = [leaves[k] for k in leaves if k == "I" or (k[0] == "I" and k[1:].isdigit())]
    state = {k: leaves[f"state.{k}"] for k in neuron.states}
    c = {k.removeprefix("c."): v for k, v in leaves.items() if k.startswith("c.")}
    x, new = neuron.step(
        currents[0] if neuron.gates == 1 else tuple(currents), leaves["s"], state, c
    )
    s = activation(x)
    wanted = {
        "s": s,
        **{f"state.{k}": v for k, v in new.items()},
        "potential": neuron.potential(s, new),
    }
    got = evaluate(program.step, given)
    assert set(got) == set(wanted)
    for k, v in got.items():
        torch.testing.assert_close(v, wanted[k].detach(), rtol=1e-12, atol=1e-12)
    assert evaluate(program.advance, given).keys() == {f"state.{k}" for k in neuron.states}
    late = {
        k: torch.randn(400, dtype=F64)
        for k in ("gout", "gpotential", "gs", *(f"gstate.{k}" for k in neuron.states))
    }
    weights = {
        "s": late["gout"] + late["gs"],
        "potential": late["gpotential"],
        **{f"state.{k}": late[f"gstate.{k}"] for k in neuron.states},
    }
    free = {k: v for k, v in leaves.items() if v.requires_grad}
    reached = [k for k, v in wanted.items() if v.requires_grad]
    grads = torch.autograd.grad(
        [wanted[k] for k in reached],
        list(free.values()),
        [weights[k] for k in reached],
        allow_unused=True,
    )
    found = evaluate(program.adjoint, {**given, "now": s.detach(), **late})
    assert set(found) == {f"g{k}" for k in free}
    for k, g in zip(free, grads, strict=True):
        torch.testing.assert_close(
            found[f"g{k}"],
            torch.zeros(400, dtype=F64) if g is None else g,
            rtol=1e-11,
            atol=1e-11,
            msg=lambda m, k=k: f"{k}: {m}",
        )
