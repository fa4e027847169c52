"""Write down what torch computes on examples, as elementwise operations on scalars."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from srnn._check import SrnnError
from srnn.kernels.graph import Graph, Op, Value
from srnn.kernels.pairs import RefusedError

_NAMES = {
    "add": "add",
    "sub": "sub",
    "rsub": "rsub",
    "mul": "mul",
    "div": "div",
    "neg": "neg",
    "reciprocal": "reciprocal",
    "exp": "exp",
    "log": "log",
    "log1p": "log1p",
    "expm1": "expm1",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "erf": "erf",
    "sin": "sin",
    "cos": "cos",
    "sqrt": "sqrt",
    "softplus": "softplus",
    "relu": "relu",
    "abs": "abs",
    "sign": "sign",
    "sgn": "sign",
    "pow": "pow",
    "minimum": "minimum",
    "maximum": "maximum",
    "clamp": "clamp",
    "clamp_min": "maximum",
    "clamp_max": "minimum",
    "where": "where",
    "gt": "gt",
    "ge": "ge",
    "lt": "lt",
    "le": "le",
    "eq": "eq",
    "ne": "ne",
    "logical_and": "and",
    "logical_or": "or",
    "logical_not": "not",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "bitwise_not": "not",
    **{f"{name}{kind}": "literal" for name in ("ones", "zeros", "full") for kind in ("", "_like")},
    **{f"new_{name}": "literal" for name in ("ones", "zeros", "full")},
    "scalar_tensor": "literal",
    "_to_copy": "copy",
    "clone": "copy",
    "detach": "alias",
    "alias": "alias",
    "masked_fill": "masked_fill",
}
_LITERALS = {"ones": 1.0, "zeros": 0.0}
_OPERANDS = ("self", "other", "exponent", "condition", "mask", "value")
"""Arguments that are numbers or tensors an operation computes with, by their names in torch."""
_HARMLESS = ("layout", "device", "pin_memory", "non_blocking", "memory_format", "size")
"""Arguments that change no value."""
_OWN = {
    "add": ("alpha",),
    "sub": ("alpha",),
    "rsub": ("alpha",),
    "clamp": ("min", "max"),
    "maximum": ("min",),
    "minimum": ("max",),
    "softplus": ("beta", "threshold"),
    "literal": ("fill_value", "s", "dtype"),
    "copy": ("dtype",),
}
"""Arguments of one operation that its record says too. Any other must be as torch has it."""
_BACKWARD = (
    "tanh_backward",
    "sigmoid_backward",
    "threshold_backward",
    "softplus_backward",
    "logit_backward",
)
"""Operations of gradients that torch itself can write as elementwise ones."""
_COMPOSITE = ("to", "conj_physical")
"""What such a rewriting calls and torch, below autograd, no longer takes apart by itself; neither
does anything to a real number of that type.
"""


class TraceError(SrnnError):
    """A step does something that is not an elementwise operation."""


def record(
    f: Callable[[dict[str, Tensor]], list[Tensor]],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    shape: tuple[int, int],
    who: str,
    code: Callable[..., Any],
) -> Graph:
    """Return what f does on examples of a shape (B, N), one for each name of `inputs`.

    outputs: names of what it returns, in order. who, code: the function in messages, and the user's
    own, whose lines they name. Raises `TraceError` where that is not elementwise.
    """
    draw = torch.Generator().manual_seed(0)
    given = {name: torch.rand(*shape, dtype=torch.float64, generator=draw) for name in inputs}
    recorder = _Recorder(who, code, given)
    try:
        with recorder:
            results = f(given)
    except RefusedError as error:
        line = _line(traceback.extract_tb(error.__traceback__), code)
        raise TraceError(
            f"{who}: {error.operation}{line} is nothing that a kernel can do with complex numbers "
            "(+ - * /, conj, real, imag, abs, exp, torch.complex, torch.polar and torch.where "
            'are); write it with those, or use backend="reference".'
        ) from None
    except SrnnError:
        raise
    except Exception as error:  # whatever a user's code may raise
        raise TraceError(
            f"{who} cannot be traced: {type(error).__name__}: "
            f"{(str(error).splitlines() or [''])[0]}"
        ) from error
    return Graph(
        inputs,
        tuple(recorder.ops),
        {name: recorder.value(y) for name, y in zip(outputs, results, strict=True)},
    )


def _line(stack: Sequence[traceback.FrameSummary], code: Callable[..., Any]) -> str:
    """Return " (file:line)" of the last of these frames in the user's file, or ""."""
    file = inspect.getsourcefile(inspect.unwrap(code))
    lines = [frame for frame in stack if frame.filename == file]
    return f" ({lines[-1].filename}:{lines[-1].lineno})" if lines else ""


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down what torch computes, below autograd.

    A tensor is known by its memory, which every tensor met keeps until the end.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would load its compiler, which takes a second, only to keep it away from here."""
        return False

    def __init__(self, who: str, code: Callable[..., Any], given: dict[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.who, self.code, self.ops = who, code, list[Op]()
        self._values: dict[int, Value] = {t.data_ptr(): name for name, t in given.items()}
        self._met: list[Tensor] = []

    def value(self, a: Any) -> Value:
        """Return the name of a tensor's value; a number is a literal."""
        if not isinstance(a, Tensor):
            return float(a)
        if a.data_ptr() not in self._values:
            raise TraceError(
                f"{self.who} uses a tensor that is not one of its arguments{self._place()}: a "
                "kernel would keep its value of now, and give it no gradient. "
                "Make it a constant of the neuron, a field read as c[...]."
            )
        return self._values[a.data_ptr()]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = func.__name__.split(".")[0]
        if kind in _BACKWARD:
            with self:
                return _decompositions()[func](*args, **kwargs)
        if kind in _COMPOSITE:
            with self:
                return func.decompose(*args, **kwargs)
        if kind == "_efficientzerotensor":  # a gradient that is 0, without memory
            result = torch.zeros(args[0], dtype=kwargs["dtype"])
            self._keep(result, 0.0)
            return result
        if kind == "lift_fresh":  # torch.tensor(0.3), made within the step
            result = func(*args, **kwargs)
            if result.dim() == 0:
                self._keep(result, float(result))
            return result
        name = _NAMES.get(kind.removesuffix("_"))
        given = _by_name(func, args, kwargs)
        # (x > 0).float(), on examples that are float64
        truth = isinstance(given.get("self"), Tensor) and given["self"].dtype is torch.bool
        if kind == "_to_copy" and given["dtype"] is torch.float32 and truth:
            kwargs = {**kwargs, "dtype": torch.float64}
            given["dtype"] = torch.float64
        self._check(func, kind, name, given)
        assert name is not None
        made = self._recorded(kind, name, given)
        result = func(*args, **kwargs)
        if isinstance(made, tuple):
            operation, operands = made
            if result.dtype is torch.bool:  # sums and products of truth values
                operation = {"add": "or", "mul": "and"}.get(operation, operation)
            made = self._emit(operation, *operands)
        elif isinstance(made, float) and result.dtype is torch.float32:
            made = float(torch.tensor(made, dtype=torch.float32))  # as torch has it
        if name == "copy" and truth != (result.dtype is torch.bool):
            made = self._emit("copy", made) if truth else self._emit("ne", made, 0.0)
        self._keep(result, made)
        return result

    def _keep(self, result: Tensor, value: Value) -> None:
        self._met.append(result)
        self._values[result.data_ptr()] = value

    def _check(self, func: Any, kind: str, name: str | None, given: dict[str, Any]) -> None:
        """Refuse an operation that is not on the list, an argument of one that the list does not
        know, and a change of the number type.
        """
        if name is None or ("out" in given and given["out"] is not None):
            raise TraceError(
                f"{self.who}: {func}{self._place()} is not one of the elementwise "
                "operations a kernel can be made of; "
                'write it with those, or use backend="reference".'
            )
        dtype = given.get("dtype")
        # torch makes a number of the usual type of 0-dim constants: (cond, 1.0, 0.0)
        usual = (torch.bool, torch.float64, *((torch.float32,) if name == "literal" else ()))
        if dtype is not None and dtype not in usual:
            raise TraceError(
                f"{self.who}: {func}{self._place()} changes the number type to "
                f'{dtype}; write .to(x.dtype), or use backend="reference".'
            )
        known = (*_OPERANDS, *_HARMLESS, *_OWN.get(name, ()))
        defaults = {a.name: a.default_value for a in func._schema.arguments}
        for argument, value in given.items():
            if argument not in known and value != defaults[argument]:
                raise TraceError(
                    f"{self.who}: {func}{self._place()} has {argument}={value!r}, which a kernel "
                    'does not know; write it with other operations, or use backend="reference".'
                )

    def _recorded(
        self, kind: str, name: str, given: dict[str, Any]
    ) -> Value | tuple[str, tuple[Value, ...]]:
        """Return the value of an operation, or the last operation that makes it."""
        if name == "literal":
            plain = kind.removesuffix("_like").removeprefix("new_")
            if plain in _LITERALS:
                return _LITERALS[plain]
            return self.value(given["s"] if kind == "scalar_tensor" else given["fill_value"])
        before = [
            self.value(given[k])
            for k in given
            if k in _OPERANDS or (name in ("minimum", "maximum") and k in ("min", "max"))
        ]
        if name in ("alias", "copy"):
            return before[0]
        if name == "clamp":
            value = before[0]
            for bound, limit in (("min", "maximum"), ("max", "minimum")):
                if given.get(bound) is not None:
                    value = self._emit(limit, value, self.value(given[bound]))
            return value
        if name == "softplus":  # softplus(β x) / β, x itself above the threshold
            beta, threshold = float(given["beta"]), float(given["threshold"])
            if (beta, threshold) == (1.0, 20.0):
                return name, tuple(before)
            inner = self._emit("mul", before[0], beta)
            soft = self._emit("div", self._emit("softplus", inner), beta)
            return "where", (self._emit("gt", inner, threshold), before[0], soft)
        if name == "masked_fill":
            value, mask, filled = before
            return "where", (mask, filled, value)
        alpha = given.get("alpha", 1)
        if alpha != 1:  # rsub(a, b, α) is b - α a, add and sub scale their second argument
            scaled = 0 if name == "rsub" else 1
            before[scaled] = self._emit("mul", before[scaled], float(alpha))
        return name, tuple(before)

    def _emit(self, name: str, *args: Value) -> str:
        self.ops.append(Op(f"v{len(self.ops)}", name, args))
        return self.ops[-1].result

    def _place(self) -> str:
        """Return " (file:line)" of the operation now running in the user's function, or "" where it
        is not there.
        """
        stack = traceback.extract_stack()
        inside = max(
            (
                k
                for k, frame in enumerate(stack)
                if frame.filename == __file__ and frame.name == "record"
            ),
            default=0,
        )
        return _line(stack[inside:], self.code)


@functools.cache
def _decompositions() -> dict[Any, Callable[..., Any]]:
    from torch._decomp import get_decompositions

    return dict(get_decompositions([getattr(torch.ops.aten, name) for name in _BACKWARD]))


def _by_name(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments of an operation of torch by their names, in its order, those that were
    not given as torch has them.
    """
    found: dict[str, Any] = {}
    for place, argument in enumerate(func._schema.arguments):
        if place < len(args) and not argument.kwarg_only:
            found[argument.name] = args[place]
        else:
            found[argument.name] = kwargs.get(argument.name, argument.default_value)
    return found
