"""Every operation that a kernel knows, in every overload of torch, with every optional argument, by
keyword and by position, as a function and as a method: what is recorded computes what torch does,
or the argument is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from srnn import Layer
from srnn.activations import Identity
from srnn.init import Constant, Init
from srnn.kernels.interpret import interpret
from srnn.kernels.record import _NAMES, TraceError, record
from srnn.neuron import Coeffs, Neuron, State

F64 = torch.float64

# ── all overloads, below autograd ─────────────────────────────────────────────────────────────────

TENSORS = ("a", "b", "d")
TRUTHS = {"logical_and", "logical_or", "logical_not", "bitwise_and", "bitwise_or", "bitwise_not"}
OTHER: dict[str, list[Any]] = {
    "alpha": [2, 0.5],
    "beta": [2.0],
    "threshold": [0.5],
    "rounding_mode": ["floor", "trunc"],
    "min": [-0.25],
    "max": [0.25],
    "dtype": [torch.float32, torch.float64, torch.int64],
    "memory_format": [torch.contiguous_format],
    "non_blocking": [True],
}
"""Values of optional arguments beside those that torch takes by itself."""
LEFT = {"layout", "device", "pin_memory", "size", "generator"}
"""Arguments that say where a result lies, or its shape."""


def overloads() -> Iterator[tuple[str, Any]]:
    for kind in _NAMES:
        packet = getattr(torch.ops.aten, kind, None)
        for name in packet.overloads() if packet is not None else ():
            overload = getattr(packet, name)
            if not any(a.is_out for a in overload._schema.arguments):
                yield kind, overload


def choices(kind: str, argument: Any, given: Iterator[str]) -> list[Any]:
    """Values to try for an argument; the name of a tensor stands for it."""
    kinds = str(argument.type)
    if argument.name in OTHER:
        return [
            *([argument.default_value] if argument.has_default_value() else []),
            *OTHER[argument.name],
        ]
    if argument.has_default_value():
        return [argument.default_value]
    if argument.name in ("condition", "mask") or (kind in TRUTHS and "Tensor" in kinds):
        return [f"{next(given)} > 0"]
    if "Tensor" in kinds:
        return [next(given)]
    if kind in TRUTHS:
        return [True]
    return [0.5]


def calls() -> Iterator[tuple[Any, list[Any], dict[str, Any]]]:
    for kind, overload in overloads():
        given = iter(TENSORS)
        arguments = [a for a in overload._schema.arguments if a.name not in LEFT]
        for values in itertools.product(*(choices(kind, a, given) for a in arguments)):
            named = {a.name: v for a, v in zip(arguments, values, strict=True)}
            if "size" in {a.name for a in overload._schema.arguments}:
                named["size"] = "shape"
            yield overload, [a for a in overload._schema.arguments if a.name in named], named


def test_every_overload_computes_what_torch_does_or_is_refused():
    checked, refused, seen = 0, 0, set[str]()
    for overload, arguments, named in calls():

        def run(v: dict[str, Tensor], named=named, arguments=arguments, overload=overload) -> Any:
            def made(x: Any) -> Any:
                if x == "shape":
                    return list(v["a"].shape)
                if isinstance(x, str) and x.split(" ")[0] in TENSORS:
                    tensor = v[x.split(" ")[0]]
                    return tensor > 0.5 if " > " in x else tensor.clone()
                return x

            positional = [made(named[a.name]) for a in arguments if not a.kwarg_only]
            keywords = {a.name: made(named[a.name]) for a in arguments if a.kwarg_only}
            return [overload(*positional, **keywords).to(F64) + 0 * v["a"]]

        draw = torch.Generator().manual_seed(1)
        given = {k: torch.rand(2, 3, dtype=F64, generator=draw) for k in TENSORS}
        try:
            (wanted,) = run(given)
        except (RuntimeError, TypeError, NotImplementedError, AttributeError):
            continue  # torch itself refuses it, or it is one of plain numbers
        try:
            graph = record(run, TENSORS, ("y",), (2, 3), "step", run)
        except TraceError:
            refused += 1
            continue
        values = interpret(graph.ops, given, given["a"])
        y = graph.outputs["y"]
        got = values[y] if isinstance(y, str) else torch.full_like(wanted, y)
        torch.testing.assert_close(got, wanted, msg=lambda m, o=overload, n=named: f"{o} {n}: {m}")
        checked += 1
        seen.add(overload.__name__.split(".")[0])
    assert checked >= 110
    assert refused >= 20  # rounded quotients, other number types
    assert len(seen) >= len(_NAMES) - 6, sorted(set(_NAMES) - seen)


# ── as people write them, on the kernels, with gradients ──────────────────────────────────────────


@dataclass(frozen=True)
class Mine(Neuron):
    k: Init = Constant(0.7)

    states = ("u",)

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = 0.5 * state["u"] + self.f(I, c["k"])
        return u, {"u": u}

    def f(self, x: Tensor, k: Tensor) -> Tensor:
        raise NotImplementedError


Form = Callable[[Tensor, Tensor], Tensor]
FORMS: dict[str, Form] = {
    "rsub alpha": lambda x, k: torch.rsub(x, 0.3, alpha=2),
    "rsub tensor alpha": lambda x, k: torch.rsub(x, k, alpha=-1.5),
    "add alpha": lambda x, k: torch.add(x, k, alpha=3),
    "add method alpha": lambda x, k: x.add(k, alpha=0.25),
    "add number": lambda x, k: x.add(0.5),
    "add number alpha": lambda x, k: torch.add(x, 0.5, alpha=4),
    "add in place": lambda x, k: (x * 1.5).add_(k, alpha=2),
    "sub alpha": lambda x, k: torch.sub(x, k, alpha=3),
    "sub method": lambda x, k: x.sub(k, alpha=2),
    "subtract": lambda x, k: torch.subtract(x, 0.4, alpha=2),
    "number minus": lambda x, k: 1.5 - x,
    "true division": lambda x, k: torch.true_divide(x, k + 1),
    "division mode none": lambda x, k: torch.div(x, 3.0, rounding_mode=None),
    "number over": lambda x, k: 2.0 / (x * x + 1),
    "multiply": lambda x, k: torch.multiply(x, k),
    "mul in place": lambda x, k: (x + 1).mul_(k),
    "negative": lambda x, k: torch.negative(x),
    "power": lambda x, k: (x * x + 0.1) ** 1.5,
    "number to a power": lambda x, k: 1.5**x,
    "tensor to a tensor": lambda x, k: torch.pow(x * x + 0.5, k),
    "square": lambda x, k: x**2,
    "cube": lambda x, k: x.pow(exponent=3),
    "clamp both": lambda x, k: torch.clamp(x, -0.5, 0.5),
    "clamp keywords": lambda x, k: x.clamp(max=0.4, min=-0.1),
    "clamp min": lambda x, k: x.clamp(min=0.1),
    "clamp max": lambda x, k: torch.clamp(x, max=0.1),
    "clamp tensors": lambda x, k: torch.clamp(x, min=-k, max=k),
    "clamp one tensor": lambda x, k: torch.clamp(x, max=k),
    "clamp_min": lambda x, k: torch.clamp_min(x, 0.2),
    "clamp_max tensor": lambda x, k: torch.clamp_max(x, k),
    "clip": lambda x, k: torch.clip(x, -0.3, 0.2),
    "softplus": lambda x, k: F.softplus(x),
    "softplus beta": lambda x, k: F.softplus(x, 2.5),
    "softplus beta threshold": lambda x, k: F.softplus(x, beta=2.0, threshold=0.5),
    "softplus threshold": lambda x, k: F.softplus(x, threshold=0.5),
    "relu": lambda x, k: F.relu(x),
    "relu in place": lambda x, k: F.relu(x + 0.1, inplace=True),
    "where": lambda x, k: torch.where(x > 0.1, x, k),
    "where method": lambda x, k: x.where(x > 0.1, k),
    "where number": lambda x, k: torch.where(x > 0.1, x, 0.3),
    "where number first": lambda x, k: torch.where(x > 0.1, 0.3, x),
    "where numbers": lambda x, k: x * torch.where(x > 0.1, 0.25, 2.0),
    "where numbers not in float32": lambda x, k: x * torch.where(x > 0.1, 0.1, 0.7),
    "sgn": lambda x, k: torch.sgn(x) * x,
    "sign": lambda x, k: torch.sign(x) * k,
    "abs": lambda x, k: abs(x) + x.absolute(),
    "maximum": lambda x, k: torch.maximum(x, k),
    "max of two": lambda x, k: torch.max(x, k),
    "min of two": lambda x, k: torch.min(x, k),
    "masked fill": lambda x, k: x.masked_fill(x > 0.2, 0.2),
    "masked fill tensor": lambda x, k: (x * k).masked_fill(mask=x > 0.2, value=-1.0),
    "heaviside by hand": lambda x, k: (x > 0.1).to(x.dtype) * k,
    "truth times": lambda x, k: (x > 0.1) * x,
    "and": lambda x, k: ((x > 0) & (k > x)).to(x.dtype) + x,
    "logical or": lambda x, k: torch.logical_or(x > 0.5, x < -0.5) * k + x,
    "not": lambda x, k: (~(x > 0)) * x,
    "logical not": lambda x, k: torch.logical_not(x > 0) * k + x,
    "comparisons": lambda x, k: (x >= k) * x + x.le(0.0) * k + torch.ne(x, k) * x,
    "exp log": lambda x, k: torch.log(torch.exp(x) + 1),
    "log1p expm1": lambda x, k: torch.log1p(x * x) + torch.expm1(0.3 * x),
    "sqrt": lambda x, k: torch.sqrt(x * x + 1),
    "sigmoid": lambda x, k: torch.sigmoid(x) + x.sigmoid(),
    "tanh erf": lambda x, k: torch.tanh(x) + torch.erf(k * x),
    "reciprocal": lambda x, k: torch.reciprocal(x * x + k + 1),
    "ones_like": lambda x, k: torch.ones_like(x) * k + x,
    "full_like": lambda x, k: torch.full_like(x, 0.3) + x * k,
    "full_like by keyword": lambda x, k: torch.full_like(x, fill_value=0.3) * x,
    "new_zeros": lambda x, k: x.new_zeros(x.shape) + x,
    "a number as a tensor": lambda x, k: x * torch.tensor(0.25, dtype=x.dtype),
    "clone detach": lambda x, k: x.clone() * 0.5 + x.detach() * 0.25,
    "xlogy by hand": lambda x, k: x * torch.log(x * x + 0.5),
}


def neuron(f: Form) -> Neuron:
    @dataclass(frozen=True)
    class One(Mine):
        def f(self, x: Tensor, k: Tensor) -> Tensor:
            return f(x, k)

    return One()


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
@pytest.mark.parametrize("name", FORMS)
def test_as_written_the_kernel_gives_value_and_gradient_of_the_reference(name, dtype):
    torch.manual_seed(0)
    layer = Layer(3, 5, neuron(FORMS[name]), Identity(), recurrent=False, dtype=dtype)
    assert layer.which_backend().name == "cpu", layer.which_backend().reason
    x = torch.randn(4, 6, 3, dtype=dtype)
    found = []
    for backend in ("cpu", "reference"):
        leaf = x.clone().requires_grad_()
        layer.zero_grad()
        y = layer(leaf, backend=backend).output
        y.square().sum().backward()
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in layer.parameters()]
        reached = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        found.append([y, reached, *grads])
    tolerance = (
        {"rtol": 1e-4, "atol": 1e-5} if dtype is torch.float32 else {"rtol": 1e-10, "atol": 1e-11}
    )
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


def test_the_dropped_argument():
    """u = 0.3 - 2 · 1 = -1.7 for W = 1, x = 1."""
    layer = Layer(1, 1, neuron(FORMS["rsub alpha"]), Identity(), recurrent=False, bias=False)
    torch.nn.init.ones_(layer.weight)
    for backend in ("cpu", "reference"):
        assert layer(torch.ones(1, 1, 1), backend=backend).output.item() == pytest.approx(-1.7)


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x, k: torch.div(x, k, rounding_mode="floor"), "rounding_mode='floor'"),
        (lambda x, k: torch.add(x, k, out=torch.empty_like(x)), "is not one of"),
        (lambda x, k: x.to(torch.float16).to(x.dtype), "changes the number type"),
        (lambda x, k: torch.ones_like(x, dtype=torch.int64) * x, "changes the number type"),
        (lambda x, k: x if x.sum() > 0 else k, "is not one of"),
    ],
)
def test_what_a_kernel_does_not_know_is_refused(f, said):
    layer = Layer(2, 3, neuron(f), Identity())
    assert layer.which_backend().name == "reference"
    assert said in layer.which_backend().reason
