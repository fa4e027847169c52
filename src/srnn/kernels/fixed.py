"""A traced step in integers: what an exported integer network computes, and its Python simulation.

Every value of a layer is an int32, v · 2^F rounded, with one F (`fraction`) for the whole layer, or
a bit: a spike, a comparison, 1 - spike. Products are made in int64 and shifted back, half up; every
result saturates at the ends of int32. A product with a bit selects; one with a constant c takes c
as m · 2^-shift with |m| ≤ 2^30, so that small constants keep their digits. Functions (exp, tanh …)
are in `fixed_ops` and `c/fixed.h`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from srnn._check import ConfigError
from srnn.kernels.fixed_ops import OPERATIONS
from srnn.kernels.graph import Op, Value
from srnn.kernels.specialise import Special

HIGHEST = 2**31 - 1
Name = str | int
"""The name of a value, or a literal integer."""


def multipliers(values: Tensor) -> tuple[Tensor, int]:
    """Return integers m, |m| ≤ 2^30, and one shift 0 … 62 with values ≈ m · 2^-shift.

    Raises `ConfigError` for values of 2^30 or more.
    """
    top = float(values.abs().max()) if values.numel() else 0.0
    if not top < 2**30:
        raise ConfigError(
            f"fixed point: a factor of {top:.3g} is too large for an int32. Scale "
            "the network's weights or its input."
        )
    shift = min(62, 30 - math.frexp(top)[1]) if top else 0
    return torch.round(values.double() * 2.0**shift).to(torch.int64), shift


def as_fixed(values: Tensor, fraction: int) -> Tensor:
    """Return values · 2^fraction rounded half to even, saturated, as int64."""
    return torch.round(values.double() * 2.0**fraction).clamp(-HIGHEST, HIGHEST).to(torch.int64)


@dataclass(frozen=True)
class FixedOp:
    """One integer operation (`fixed_ops`): `result = name(*args)`; arguments are names of values or
    tables, or literal integers.
    """

    result: str
    name: str
    args: tuple[Name, ...]


@dataclass(frozen=True)
class FixedStep:
    """The step of a layer in integers.

    inputs: "I" (or "I0" …), "s", "state.<name>": fixed, but "s" where it is a bit. bits: names of
    values that are bits.
    tables: constants (N,), int64 that fit an int32. outputs: as of the graph it was made from.
    """

    fraction: int
    ops: tuple[FixedOp, ...]
    outputs: dict[str, Name]
    tables: dict[str, Tensor]
    bits: frozenset[str]

    def run(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs for inputs (B, N), int64: what the printed C computes, bit for bit."""
        values: dict[str, Tensor] = {**self.tables, **given}
        for op in self.ops:
            args = [values[a] if isinstance(a, str) else a for a in op.args]
            values[op.result] = OPERATIONS[op.name](*args)
        like = next(iter(given.values()))
        return {
            k: values[v] if isinstance(v, str) else torch.full_like(like, v)
            for k, v in self.outputs.items()
        }


def lower(step: Special, fraction: int, *, binary: bool, who: str) -> FixedStep:
    """Return a step in integers. binary: "s" is a bit.

    Raises `ConfigError` naming an operation that has no integer form.
    """
    build = _Lowering(step.tables, fraction, who, {"s"} if binary else set())
    for op in step.graph.ops:
        build.add(op)
    outputs = {
        k: build.bit(v) if k == "s" and binary else build.fixed(v)
        for k, v in step.graph.outputs.items()
    }
    needed: set[Name] = set(outputs.values())
    kept = list[FixedOp]()
    for made in reversed(build.ops):
        if made.result in needed:
            needed.update(made.args)
            kept.append(made)
    tables = {k: v for k, v in build.tables.items() if k in needed}
    return FixedStep(fraction, tuple(reversed(kept)), outputs, tables, frozenset(build.bits))


_UNARY = ("exp", "log", "sigmoid", "tanh", "softplus", "sqrt")
_COMPARE = ("gt", "ge", "lt", "le", "eq", "ne")


@dataclass
class _Lowering:
    constants: Mapping[str, Tensor]
    fraction: int
    who: str
    bits: set[str]
    ops: list[FixedOp] = field(default_factory=list)
    tables: dict[str, Tensor] = field(default_factory=dict)
    names: dict[str, Name] = field(default_factory=dict)
    known: dict[tuple[str, tuple[Name, ...]], str] = field(default_factory=dict)

    def emit(self, name: str, *args: Name, bit: bool = False) -> str:
        if (name, args) not in self.known:
            result = self.known[name, args] = f"v{len(self.ops)}"
            self.ops.append(FixedOp(result, name, args))
            if bit:
                self.bits.add(result)
        return self.known[name, args]

    def constant(self, v: Value) -> bool:
        return isinstance(v, float) or v in self.constants

    def name(self, v: str) -> Name:
        return self.names.get(v, v)

    def is_bit(self, v: Value) -> bool:
        return isinstance(v, str) and self.name(v) in self.bits

    def fixed(self, v: Value) -> Name:
        """Return a value as a fixed-point number."""
        if isinstance(v, float):
            return int(as_fixed(torch.tensor(v), self.fraction))
        if v in self.constants:
            self.tables[v] = as_fixed(self.constants[v], self.fraction)
            return v
        return (
            self.emit("number", self.name(v), 1 << self.fraction)
            if self.is_bit(v)
            else self.name(v)
        )

    def bit(self, v: Value) -> Name:
        """Return a value as a bit: whether it is not 0."""
        if isinstance(v, float):
            return int(v != 0)
        return self.name(v) if self.is_bit(v) else self.emit("ne", self.fixed(v), 0, bit=True)

    def scale(self, v: Value, c: Value, *, invert: bool = False) -> Name:
        """Return v times a constant, or divided by it."""
        value = torch.tensor([c]) if isinstance(c, float) else self.constants[c]
        if invert and not bool((value != 0).all()):
            raise ConfigError(f"{self.who}: a division by a constant that is 0.")
        m, shift = multipliers(1 / value.double() if invert else value.double())
        if isinstance(c, float):
            return self.emit("scale", self.fixed(v), int(m), shift)
        table = f"{c}.over{shift}" if invert else f"{c}.times{shift}"
        self.tables[table] = m
        return self.emit("scale", self.fixed(v), table, shift)

    def add(self, op: Op) -> None:
        made = self.made(op)
        self.names[op.result] = made

    def made(self, op: Op) -> Name:
        name, args = op.name, op.args
        one = 1 << self.fraction
        if name == "rsub":
            name, args = "sub", (args[1], args[0])
        if name == "copy":
            return self.bit(args[0]) if self.is_bit(args[0]) else self.fixed(args[0])
        if name == "sub" and args[0] == 1.0 and self.is_bit(args[1]):
            return self.emit("not", self.bit(args[1]), bit=True)
        if name == "mul":
            return self.product(*args)
        if name in ("div", "reciprocal"):
            a, b = args if name == "div" else (1.0, args[0])
            return (
                self.scale(a, b, invert=True)
                if self.constant(b)
                else self.emit("div", self.fixed(a), self.fixed(b), self.fraction)
            )
        if name in ("add", "sub", "minimum", "maximum", *_COMPARE):
            return self.emit(name, *(self.fixed(a) for a in args), bit=name in _COMPARE)
        if name in ("and", "or", "not"):
            return self.emit(name, *(self.bit(a) for a in args), bit=True)
        if name == "where":
            return self.emit("where", self.bit(args[0]), self.fixed(args[1]), self.fixed(args[2]))
        if name in _UNARY:
            return self.emit(name, self.fixed(args[0]), self.fraction)
        simple: dict[str, Callable[[Name], Name]] = {
            "neg": lambda a: self.emit("sub", 0, a),
            "relu": lambda a: self.emit("maximum", a, 0),
            "abs": lambda a: self.emit("abs", a),
            "sign": lambda a: self.emit("sign", a, one),
            "expm1": lambda a: self.emit("sub", self.emit("exp", a, self.fraction), one),
            "log1p": lambda a: self.emit("log", self.emit("add", a, one), self.fraction),
        }
        if name in simple:
            return simple[name](self.fixed(args[0]))
        if name == "pow" and args[1] in (0.5, 2.0, 3.0, 4.0):
            return self.power(args[0], float(args[1]))
        fix = "Export it with float numbers (without --bits), or write the step without it."
        raise ConfigError(f"{self.who}: {name} has no integer form here. {fix}")

    def product(self, a: Value, b: Value) -> Name:
        if self.is_bit(b):
            a, b = b, a
        if self.is_bit(a):
            return (
                self.emit("and", self.bit(a), self.bit(b), bit=True)
                if self.is_bit(b)
                else self.emit("select", self.bit(a), self.fixed(b))
            )
        if self.constant(a):
            a, b = b, a
        return (
            self.scale(a, b)
            if self.constant(b)
            else self.emit("mul", self.fixed(a), self.fixed(b), self.fraction)
        )

    def power(self, a: Value, exponent: float) -> Name:
        base = self.fixed(a)
        if exponent == 0.5:
            return self.emit("sqrt", base, self.fraction)
        result = base
        for _ in range(int(exponent) - 1):
            result = self.emit("mul", result, base, self.fraction)
        return result


def fraction_for(largest: float, who: str, *, margin: float = 4.0, most: int = 24) -> int:
    """Return how many bits behind the point hold values up to margin · largest in an int32; at most
    `most`. Raises `ConfigError` below 8.
    """
    found = -1
    if largest == 0:
        found = most
    elif math.isfinite(largest):
        found = min(most, 31 - math.frexp(margin * largest)[1])
    if found < 8:
        raise ConfigError(
            f"{who}: values reach {largest:.3g} on the calibration recordings, too much "
            "for 8 bits behind the point. "
            "Scale the input, or use a neuron that stays bounded."
        )
    return found


def operands(step: Special) -> Iterable[float]:
    """Return the largest sizes of the constants that a step adds or compares: they have to fit the
    layer's format too.
    """
    for op in step.graph.ops:
        for a in () if op.name in ("mul", "div") else op.args:
            if isinstance(a, float):
                yield abs(a)
            elif a in step.tables:
                yield float(step.tables[a].abs().max())
