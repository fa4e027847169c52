"""ONNX nodes of a traced step: the printer of `srnn.kernels.graph` for ONNX, as `print_c` is the
one for C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srnn._check import ConfigError, SrnnError
from srnn.kernels.graph import TAKES_TRUTH, TRUTH, Graph, Op, Value

try:
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise SrnnError(
        'Writing ONNX needs onnx. Install it with: pip install "srnn[export]"'
    ) from error

OPSET = 17
"""Operator set of what is written (ONNX 1.12, 2022): old enough for most runtimes, new enough for
LayerNormalization.
"""

_TYPES = {torch.float32: TensorProto.FLOAT, torch.float64: TensorProto.DOUBLE}
_PLAIN = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "neg": "Neg",
    "reciprocal": "Reciprocal",
    "exp": "Exp",
    "log": "Log",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "erf": "Erf",
    "sin": "Sin",
    "cos": "Cos",
    "sqrt": "Sqrt",
    "relu": "Relu",
    "abs": "Abs",
    "sign": "Sign",
    "pow": "Pow",
    "minimum": "Min",
    "maximum": "Max",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "lt": "Less",
    "le": "LessOrEqual",
    "eq": "Equal",
    "and": "And",
    "or": "Or",
    "not": "Not",
    "where": "Where",
    "copy": "Identity",
}


def onnx_type(dtype: torch.dtype) -> int:
    """Return ONNX's number for a type.

    Raises `ConfigError` for another than float32 and float64.
    """
    if dtype not in _TYPES:
        raise ConfigError(
            f"to_onnx: the network is {dtype}; expected float32 or float64. Pass net.float()."
        )
    return int(_TYPES[dtype])


class Nodes:
    """Nodes of one graph, or of the body of a Scan; weights and constants always go to the
    outermost graph.
    """

    def __init__(self, dtype: torch.dtype, outer: Nodes | None = None) -> None:
        self.dtype, self.type, self.nodes = dtype, onnx_type(dtype), list[Any]()
        self.root: Nodes = outer.root if outer is not None else self
        self.weights: dict[str, Any] = outer.root.weights if outer is not None else {}
        self._count = 0

    def emit(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; return the name of that."""
        return self.several(
            kind, inputs, (name if name is not None else self.fresh(),), **attributes
        )[0]

    def several(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> tuple[str, ...]:
        """Add a node with these outputs."""
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), **attributes))
        return tuple(outputs)

    def fresh(self, stem: str = "v") -> str:
        """Return a name nothing else has, in this graph and those inside it."""
        self.root._count += 1
        return f"{stem}{self.root._count}"

    def weight(self, name: str, value: Tensor) -> str:
        """Keep a tensor under a name, in the network's number type; return the name."""
        self.weights[name] = numpy_helper.from_array(
            np.ascontiguousarray(value.detach().cpu().to(self.dtype).numpy()), name
        )
        return name

    def integers(self, *values: int, scalar: bool = False) -> str:
        """Return the name of an int64 vector (or number) of these values."""
        name = f"int_{'_'.join(map(str, values))}{'_scalar' if scalar else ''}"
        self.weights[name] = numpy_helper.from_array(
            np.array(values[0] if scalar else values, dtype=np.int64), name
        )
        return name

    def number(self, value: float) -> str:
        """Return the name of a number."""
        return self.weight(f"number_{value!r}", torch.tensor(value, dtype=torch.float64))


def print_step(
    nodes: Nodes, graph: Graph, given: Mapping[str, str], constants: Iterable[str], like: str
) -> dict[str, str]:
    """Add the nodes of a traced function; return the names of its outputs.

    given: the tensor of every input of the graph. constants: those of the inputs that never change:
    what depends on them alone goes to the outermost graph. like: a (B, N) tensor, whose shape an
    output gets that depends on nothing else.
    """
    fixed, names, truths = set(constants), dict(given), set[str]()
    for op in graph.needed(graph.outputs):
        still = all(isinstance(a, float) or a in fixed for a in op.args)
        where = nodes.root if still else nodes
        args = [
            _argument(where, a, names, truths, k < TAKES_TRUTH.get(op.name, 0))
            for k, a in enumerate(op.args)
        ]
        names[op.result] = _print(where, op, args)
        fixed |= {op.result} if still else set()
        truths |= {op.result} if op.name in TRUTH else set()
    found = {}
    for name, value in graph.outputs.items():
        made = _argument(nodes, value, names, truths, False)
        alone = isinstance(value, float) or value in fixed
        found[name] = nodes.emit("Expand", made, nodes.emit("Shape", like)) if alone else made
    return found


def _argument(
    nodes: Nodes, value: Value, names: Mapping[str, str], truths: set[str], truth: bool
) -> str:
    """Return the tensor of a value, as a truth value or as a number."""
    if isinstance(value, float):
        number = nodes.number(value)
        return nodes.emit("Cast", number, to=TensorProto.BOOL) if truth else number
    if truth == (value in truths):
        return names[value]
    return nodes.emit("Cast", names[value], to=TensorProto.BOOL if truth else nodes.type)


def _print(nodes: Nodes, op: Op, args: list[str]) -> str:
    if op.name in _PLAIN:
        return nodes.emit(_PLAIN[op.name], *args)
    return _FORMS[op.name](nodes, *args)


def _rsub(nodes: Nodes, a: str, b: str) -> str:
    return nodes.emit("Sub", b, a)


def _ne(nodes: Nodes, a: str, b: str) -> str:
    return nodes.emit("Not", nodes.emit("Equal", a, b))


def _log1p(nodes: Nodes, x: str) -> str:
    """log(1 + x), as x · log(w) / (w - 1) with w = 1 + x as it was rounded: what the sum lost
    cancels.
    """
    one = nodes.number(1.0)
    w = nodes.emit("Add", x, one)
    lost = nodes.emit("Div", nodes.emit("Mul", x, nodes.emit("Log", w)), nodes.emit("Sub", w, one))
    big = nodes.emit("Where", nodes.emit("Equal", w, x), nodes.emit("Log", w), lost)
    return nodes.emit("Where", nodes.emit("Equal", w, one), x, big)


def _expm1(nodes: Nodes, x: str) -> str:
    """exp(x) - 1, as x · (w - 1) / log(w) with w = exp(x) as it was rounded."""
    one = nodes.number(1.0)
    w = nodes.emit("Exp", x)
    less = nodes.emit("Sub", w, one)
    near = nodes.emit("Div", nodes.emit("Mul", x, less), nodes.emit("Log", w))
    far = nodes.emit("Greater", nodes.emit("Abs", x), one)
    return nodes.emit("Where", nodes.emit("Equal", w, one), x, nodes.emit("Where", far, less, near))


def _softplus(nodes: Nodes, x: str) -> str:
    """log(1 + exp(x)), x itself above 20; ONNX Runtime has its own Softplus for float32 only."""
    twenty = nodes.number(20.0)
    inner = _log1p(nodes, nodes.emit("Exp", nodes.emit("Min", x, twenty)))
    return nodes.emit("Where", nodes.emit("Greater", x, twenty), x, inner)


_FORMS: dict[str, Callable[..., str]] = {
    "rsub": _rsub,
    "ne": _ne,
    "log1p": _log1p,
    "expm1": _expm1,
    "softplus": _softplus,
}
