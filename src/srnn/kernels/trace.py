"""Trace a neuron's step into a list of elementwise operations on scalars: what energy counts and what kernel printers print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from srnn._check import SrnnError
from srnn.init import Fixed
from srnn.neuron import Neuron

_NAMES = {
    "add": "add", "sub": "sub", "rsub": "rsub", "mul": "mul", "div": "div", "neg": "neg", "reciprocal": "reciprocal",
    "exp": "exp", "log": "log", "log1p": "log1p", "expm1": "expm1", "sigmoid": "sigmoid", "tanh": "tanh", "erf": "erf", "sqrt": "sqrt",
    "softplus": "softplus", "relu": "relu", "abs": "abs", "sign": "sign", "pow": "pow",
    "minimum": "minimum", "maximum": "maximum", "clamp": "clamp", "clamp_min": "maximum", "clamp_max": "minimum", "where": "where",
    "gt": "gt", "ge": "ge", "lt": "lt", "le": "le", "eq": "eq", "ne": "ne",
    "logical_and": "and", "logical_or": "or", "logical_not": "not", "bitwise_and": "and", "bitwise_or": "or",
    "ones_like": "literal", "zeros_like": "literal", "full_like": "literal", "scalar_tensor": "literal", "_to_copy": "copy", "clone": "copy",
}  # fmt: skip
_LITERALS = {"ones_like": 1.0, "zeros_like": 0.0}


class TraceError(SrnnError):
    """A step does something that is not an elementwise operation."""


@dataclass(frozen=True)
class Op:
    """One elementwise operation: `result = name(*args)`; an argument is the name of a value or a literal number."""

    result: str
    name: str
    args: tuple[str | float, ...]


@dataclass(frozen=True)
class Graph:
    """A step as operations in order.

    inputs: "I" (or "I0", "I1" … for gates), "s", "state.<name>", "c.<name>". outputs: the value of "x" and of each "state.<name>".
    """

    inputs: tuple[str, ...]
    ops: tuple[Op, ...]
    outputs: dict[str, str | float]


def trace_step(neuron: Neuron) -> Graph:
    """Return the step of `neuron` as a graph, constants at full shape.

    rsub(a, b) is b - a; a clamp is written as maximum and minimum, literals stand in the arguments. Draws nothing from torch's generator.
    Raises `TraceError` naming an operation that is not elementwise.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    who = f"{type(neuron).__name__}.step"
    given = (v.tensor() for v in neuron.constants().values() if isinstance(v, Fixed))
    n = next((v.numel() for v in given if v.dim()), 3)  # a list of values fixes the size of the layer
    with torch.random.fork_rng(devices=[]):
        params = {k: (v if isinstance(v, Tensor) else v.tensor()).double().expand(n).clone() for k, v in neuron.init(n).items()}
        coeffs = neuron.coeffs(params)
        currents = ("I",) if neuron.gates == 1 else tuple(f"I{g}" for g in range(neuron.gates))
        inputs = (*currents, "s", *(f"state.{k}" for k in neuron.states), *(f"c.{k}" for k in coeffs))
        example = [torch.rand(2, n, dtype=torch.float64) for _ in inputs]

    def flat(*values: Tensor) -> list[Tensor]:
        v = dict(zip(inputs, values, strict=True))
        I: Any = v["I"] if neuron.gates == 1 else tuple(v[k] for k in currents)
        state = {k: v[f"state.{k}"] for k in neuron.states}
        x, new = neuron.step(I, v["s"], state, {k: v[f"c.{k}"] for k in coeffs})
        return [x, *(new[k] for k in neuron.states)]

    try:
        module = make_fx(flat)(*example)
    except RuntimeError as error:
        raise TraceError(f"{who} cannot be traced: {str(error).splitlines()[0]}") from error
    ops: list[Op] = []
    values: dict[str, str | float] = {}
    names = iter(inputs)

    def emit(name: str, *args: str | float) -> str:
        ops.append(Op(f"v{len(ops)}", name, args))
        return ops[-1].result

    def value(a: Any) -> str | float:
        return values[a.name] if hasattr(a, "name") else float(a)

    results: list[str | float] = []
    for node in module.graph.nodes:
        if node.op == "placeholder":
            values[node.name] = next(names)
        elif node.op == "get_attr":
            raise TraceError(f"{who} uses a tensor that is not one of its arguments; make it a constant of the neuron.")
        elif node.op == "call_function":
            values[node.name] = _operation(who, node, value, emit)
        elif node.op == "output":
            results = [value(a) for a in node.args[0]]
    return Graph(inputs, tuple(ops), dict(zip(("x", *(f"state.{k}" for k in neuron.states)), results, strict=True)))


def _operation(who: str, node: Any, value: Callable[[Any], str | float], emit: Callable[..., str]) -> str | float:
    """Write one operation of torch as operations of the graph; return the name (or the literal) of its result."""
    kind = str(node.target).split(".")[1] if str(node.target).startswith("aten.") else str(node.target)
    dtype, alpha = node.kwargs.get("dtype"), node.kwargs.get("alpha", 1)
    whole = dtype is not None and not dtype.is_floating_point and dtype is not torch.bool
    if kind not in _NAMES or "rounding_mode" in node.kwargs or whole:
        raise TraceError(f"{who}: {node.target} is not one of the elementwise operations a kernel can be made of.")
    name = _NAMES[kind]
    if name == "literal":
        return _LITERALS[kind] if kind in _LITERALS else float(node.args[-1])
    if name == "clamp":
        result, *bounds = node.args
        result = value(result)
        for bound, limit in zip(bounds, ("maximum", "minimum"), strict=False):
            result = result if bound is None else emit(limit, result, value(bound))
        return result
    args = [value(a) for a in node.args if a is not None and not isinstance(a, list)]
    if alpha != 1:  # rsub(a, b, α) is b - α a, add and sub scale their second argument
        scaled = 0 if name == "rsub" else 1
        args[scaled] = emit("mul", args[scaled], float(alpha))
    return emit(name, *args)
