"""Evaluate a graph on tensors, operation by operation: what a printer may compute beforehand, and
which values occur on given data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import softplus

from srnn.kernels.graph import Op, Value

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "rsub": lambda a, b: b - a,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "reciprocal": torch.reciprocal,
    "exp": torch.exp,
    "log": torch.log,
    "log1p": torch.log1p,
    "expm1": torch.expm1,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "sqrt": torch.sqrt,
    "softplus": softplus,
    "relu": torch.relu,
    "abs": torch.abs,
    "sign": torch.sign,
    "pow": torch.pow,
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "where": lambda a, b, c: torch.where(a != 0, b, c),
    "gt": torch.gt,
    "ge": torch.ge,
    "lt": torch.lt,
    "le": torch.le,
    "eq": torch.eq,
    "ne": torch.ne,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "not": torch.logical_not,
    "copy": lambda a: a,
}


def apply(op: Op, values: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """Return the result of one operation, in the number type of `like`; a truth value is 1 or 0."""
    args = [values[a] if isinstance(a, str) else torch.full_like(like, a) for a in op.args]
    return _FUNCTIONS[op.name](*args).to(like.dtype)


def interpret(ops: Iterable[Op], given: Mapping[str, Tensor], like: Tensor) -> dict[str, Tensor]:
    """Return the given values and the result of every operation.

    Literals get the shape and the number type of `like`.
    """
    values = dict(given)
    for op in ops:
        values[op.result] = apply(op, values, like)
    return values


def value_of(v: Value, values: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """Return a value by its name, or a literal as a tensor."""
    return values[v] if isinstance(v, str) else torch.full_like(like, v)
