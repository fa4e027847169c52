"""Trace a neuron's step into a list of elementwise operations on scalars: what energy counts and what kernel printers print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from srnn._check import SrnnError
from srnn.neuron import Neuron

_NAMES = {
    "add": "add", "sub": "sub", "rsub": "rsub", "mul": "mul", "div": "div", "neg": "neg", "reciprocal": "reciprocal",
    "exp": "exp", "log": "log", "log1p": "log1p", "expm1": "expm1", "sigmoid": "sigmoid", "tanh": "tanh", "erf": "erf", "sqrt": "sqrt",
    "softplus": "softplus", "relu": "relu", "abs": "abs", "sign": "sign", "pow": "pow",
    "minimum": "minimum", "maximum": "maximum", "clamp": "clamp", "clamp_min": "clamp", "clamp_max": "clamp", "where": "where",
    "gt": "compare", "ge": "compare", "lt": "compare", "le": "compare", "eq": "compare", "ne": "compare",
    "logical_and": "logic", "logical_or": "logic", "logical_not": "logic", "bitwise_and": "logic", "bitwise_or": "logic",
    "ones_like": "literal", "zeros_like": "literal", "full_like": "literal", "scalar_tensor": "literal", "_to_copy": "copy", "clone": "copy",
}  # fmt: skip


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
    """Return the step of `neuron` as a graph, constants at full shape. Raises `TraceError` naming an operation that is not elementwise."""
    from torch.fx.experimental.proxy_tensor import make_fx

    n = 3
    params = {k: (v if isinstance(v, Tensor) else v.tensor()).double().expand(n).clone() for k, v in neuron.init(n).items()}
    coeffs = neuron.coeffs(params)
    currents = ("I",) if neuron.gates == 1 else tuple(f"I{g}" for g in range(neuron.gates))
    inputs = (*currents, "s", *(f"state.{k}" for k in neuron.states), *(f"c.{k}" for k in coeffs))

    def flat(*values: Tensor) -> list[Tensor]:
        v = dict(zip(inputs, values, strict=True))
        I: Any = v["I"] if neuron.gates == 1 else tuple(v[k] for k in currents)
        state = {k: v[f"state.{k}"] for k in neuron.states}
        x, new = neuron.step(I, v["s"], state, {k: v[f"c.{k}"] for k in coeffs})
        return [x, *(new[k] for k in neuron.states)]

    example = [torch.rand(2, n, dtype=torch.float64) for _ in inputs]
    module = make_fx(flat)(*example)
    ops: list[Op] = []
    names: dict[str, str] = {}
    given = iter(inputs)
    results: list[str | float] = []
    for node in module.graph.nodes:
        if node.op == "placeholder":
            names[node.name] = next(given)
        elif node.op == "call_function":
            kind = str(node.target).split(".")[1] if str(node.target).startswith("aten.") else str(node.target)
            if kind not in _NAMES:
                raise TraceError(f"{type(neuron).__name__}.step: {node.target} is not one of the elementwise operations a kernel can be made of.")
            args = tuple(names[a.name] if hasattr(a, "name") else float(a) for a in node.args if a is not None and not isinstance(a, list))
            names[node.name] = f"v{len(ops)}"
            ops.append(Op(names[node.name], _NAMES[kind], args))
        elif node.op == "output":
            results = [names[a.name] if hasattr(a, "name") else float(a) for a in node.args[0]]
    return Graph(inputs, tuple(ops), dict(zip(("x", *(f"state.{k}" for k in neuron.states)), results, strict=True)))
