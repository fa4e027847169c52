"""Elementwise operations on scalars, in order: what a step is once it is traced.

Energy counts them, printers print them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Value = str | float
"""The name of a value, or a literal number."""

TRUTH = ("gt", "ge", "lt", "le", "eq", "ne", "and", "or", "not")
"""Operations whose result is 0 or 1."""

OPERATIONS = (
    *("add", "sub", "rsub", "mul", "div", "neg", "reciprocal", "pow", "minimum", "maximum"),
    *(
        "exp",
        "expm1",
        "log",
        "log1p",
        "sigmoid",
        "tanh",
        "erf",
        "sqrt",
        "softplus",
        "relu",
        "sin",
        "cos",
    ),
    *("abs", "sign", "where", "copy", *TRUTH),
)
"""All operations."""

TAKES_TRUTH = {"where": 1, "and": 2, "or": 2, "not": 1}
"""Operations that take truth values: so many of the first arguments."""


def currents(gates: int) -> tuple[str, ...]:
    """Return the names of a step's input currents: "I", or "I0", "I1" … of a gated cell."""
    return ("I",) if gates == 1 else tuple(f"I{g}" for g in range(gates))


@dataclass(frozen=True)
class Op:
    """One elementwise operation: `result = name(*args)`; an argument is the name of a value or a
    literal number.
    """

    result: str
    name: str
    args: tuple[Value, ...]


@dataclass(frozen=True)
class Graph:
    """A function as operations in order.

    inputs: the names it may use. outputs: for each result, the name of its value or a literal.
    rsub(a, b) is b - a.
    """

    inputs: tuple[str, ...]
    ops: tuple[Op, ...]
    outputs: dict[str, Value]

    def needed(self, outputs: Iterable[str]) -> tuple[Op, ...]:
        """Return the operations that these outputs depend on, in order."""
        wanted, kept = {self.outputs[o] for o in outputs}, []
        for op in reversed(self.ops):
            if op.result in wanted:
                wanted.update(op.args)
                kept.append(op)
        return tuple(reversed(kept))


@dataclass(frozen=True)
class Program:
    """A neuron with its activation as a kernel needs it: one list of operations, and three
    functions made of them.

    states, constants: of what is complex both parts (`srnn.kernels.pairs`).
    constants: the coefficients c.<name>, then the activation's numbers a.<name>.
    step:    I, s, states → "s", states, "potential".
    advance: I, s, states → states (the output being known).
    adjoint: I, s, states before the step, "now" (the output after it), "gout", "gpotential", "gs"
             and "gstate.<name>" (what comes from later steps) → "gI…", "gs", "gstate.<name>" (what
             goes to earlier ones), "g<coefficient>".
    """

    name: str
    gates: int
    states: tuple[str, ...]
    coeffs: tuple[str, ...]
    constants: tuple[str, ...]
    step: Graph
    advance: Graph
    adjoint: Graph

    def constant_ops(self) -> dict[str, Op]:
        """Return the operations that depend on constants alone, by their results: what is computed
        once, before the first step.
        """
        known, found = set(self.constants), dict[str, Op]()
        for op in self.step.ops:
            if all(isinstance(a, float) or a in known for a in op.args):
                known.add(op.result)
                found[op.result] = op
        return found


@dataclass
class Builder:
    """Puts graphs together: every operation once, products with 1 and sums with 0 left out."""

    ops: list[Op] = field(default_factory=list)
    _known: dict[tuple[str, tuple[Value, ...]], str] = field(default_factory=dict)

    def emit(self, name: str, *args: Value) -> Value:
        """Return the value of an operation, adding it where it is new."""
        simple = _simplified(name, args)
        if simple is not None:
            return simple
        if name == "pow" and args[1] == 2.0:
            name, args = "mul", (args[0], args[0])
        key = (name, args)
        if key not in self._known:
            self._known[key] = f"v{len(self.ops)}"
            self.ops.append(Op(self._known[key], name, args))
        return self._known[key]

    def inline(self, graph: Graph, given: Mapping[str, Value]) -> dict[str, Value]:
        """Add a graph with these inputs; return the values of its outputs."""
        values: dict[Value, Value] = {name: given[name] for name in graph.inputs if name in given}
        for op in graph.ops:
            if all(a in values or isinstance(a, float) for a in op.args):
                values[op.result] = self.emit(op.name, *(values.get(a, a) for a in op.args))
        return {
            name: values.get(v, v)
            for name, v in graph.outputs.items()
            if v in values or isinstance(v, float)
        }


def _simplified(name: str, args: tuple[Value, ...]) -> Value | None:
    """Return what an operation equals whatever its values (NaN, infinity included), or None."""
    if name == "pow" and args[1] == 1.0:
        return args[0]
    if name == "mul" and 1.0 in args:
        return args[1] if args[0] == 1.0 else args[0]
    if name == "div" and args[1] == 1.0:
        return args[0]
    if name == "add" and 0.0 in args:
        return args[1] if args[0] == 0.0 else args[0]
    if name == "sub" and args[1] == 0.0:
        return args[0]
    return None
