"""Complex numbers as pairs of real ones: what the kernels, and all that is made of the trace, know.

A complex state or coefficient z is the two real ones "z.re" and "z.im" (`split`, `join`). A step is
traced with `Pair`s in place of complex tensors, so that the trace, and its gradient, have real
operations only. The gradient of z is then g_re + i g_im, which is torch's convention too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from srnn._check import SrnnError

Part = Tensor | float
"""One of the two numbers of a pair; a float is a literal."""


class RefusedError(SrnnError):
    """An operation on complex numbers that is none of `TRACED`."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation


def split(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the same tensors in the same order, of each complex one the two parts."""
    found: dict[str, Tensor] = {}
    for name, v in values.items():
        parts = {f"{name}.re": v.real, f"{name}.im": v.imag} if v.is_complex() else {name: v}
        found.update(parts)
    return found


def join(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that `split` took apart."""
    found: dict[str, Tensor] = {}
    for name, v in values.items():
        whole = name.removesuffix(".re")
        if whole != name:
            found[whole] = torch.complex(v, values[f"{whole}.im"])
        elif not name.endswith(".im"):
            found[name] = v
    return found


class Pair:
    """A complex number in a step that is traced: what is done with it is done with its two parts.

    Raises `RefusedError` for everything that is none of `TRACED`.
    """

    def __init__(self, re: Part, im: Part) -> None:
        self.re, self.im = re, im

    @property
    def real(self) -> Tensor:
        return self._tensor(self.re)

    @property
    def imag(self) -> Tensor:
        return self._tensor(self.im)

    def _tensor(self, part: Part) -> Tensor:
        like = self.im if isinstance(self.im, Tensor) else self.re
        assert isinstance(like, Tensor)  # a number that is computed has a tensor in it
        return part if isinstance(part, Tensor) else torch.full_like(like, part)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return applied(func.__name__, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if _ALIASES.get(name, name) not in TRACED:
            raise RefusedError(f"{name} of a complex number")
        return lambda *args, **kwargs: applied(name, (self, *args), kwargs)

    def __add__(self, other: Any) -> Any:
        return applied("add", (self, other), {})

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return applied("sub", (self, other), {})

    def __rsub__(self, other: Any) -> Any:
        return applied("sub", (other, self), {})

    def __mul__(self, other: Any) -> Any:
        return applied("mul", (self, other), {})

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return applied("div", (self, other), {})

    def __rtruediv__(self, other: Any) -> Any:
        return applied("div", (other, self), {})

    def __neg__(self) -> Any:
        return applied("neg", (self,), {})

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return applied("abs", (self,), {})

    def __pow__(self, other: Any) -> Any:
        raise RefusedError("a power of a complex number")

    __rpow__ = __pow__

    def __eq__(self, other: object) -> Any:
        raise RefusedError("== of complex numbers")

    def __ne__(self, other: object) -> Any:
        raise RefusedError("!= of complex numbers")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise RefusedError("the truth of a complex number")


def pair(values: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the numbers of `split` as a step that is traced has them: as `join`, of `Pair`s."""
    found: dict[str, Any] = {}
    for name, v in values.items():
        whole = name.removesuffix(".re")
        if whole != name:
            found[whole] = Pair(v, values[f"{whole}.im"])
        elif not name.endswith(".im"):
            found[name] = v
    return found


def parts(value: Any) -> tuple[Part, Part]:
    """Return the two parts of what a step returns as a complex number."""
    return (value.re, value.im) if isinstance(value, Pair) else (value, 0.0)


class Tracing(TorchFunctionMode):
    """Where operations make a complex number of real ones, it is a `Pair`."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = (*args, *kwargs.values())
        if func in (torch.complex, torch.polar) or any(
            isinstance(a, Pair | complex) or (isinstance(a, Tensor) and a.is_complex())
            for a in given
        ):
            return applied(func.__name__, args, kwargs)
        return func(*args, **kwargs)


def applied(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the result of an operation of torch, by its name, of which an argument or the result
    is complex.
    """
    plain = name.strip("_")
    if name.endswith("_") and not name.startswith("__"):  # in place
        raise RefusedError(f"{name}, in place, of a complex number")
    if plain in ("rmul", "radd", "rsub", "rdiv", "rtruediv"):
        plain, args = plain[1:], (args[1], args[0], *args[2:])
    function = TRACED.get(_ALIASES.get(plain, plain))
    if any(isinstance(a, Tensor) and a.is_complex() for a in (*args, *kwargs.values())):
        raise RefusedError("a complex tensor from outside the step")
    if function is None:
        raise RefusedError(f"{plain} of a complex number")
    if function in (_complex, _polar, _where):
        return function(*args, **kwargs)
    alpha = kwargs.get("alpha", 1)
    if set(kwargs) - {"alpha", "input", "other"} or len(args) > 2:
        raise RefusedError(f"{plain} of a complex number with these arguments")
    pairs = [_pair(a) for a in (*args, *(kwargs[k] for k in ("input", "other") if k in kwargs))]
    if alpha != 1:
        pairs[1] = _mul(pairs[1], _pair(alpha))
    return function(*pairs)


def _pair(a: Any) -> Pair:
    if isinstance(a, Pair):
        return a
    if isinstance(a, Tensor):
        return Pair(a, 0.0)
    return Pair(float(a.real), float(a.imag))


# ── sums and products in which a literal 0 or 1 costs nothing ─────────────────────────────────────


def _plus(a: Part, b: Part) -> Part:
    return b if _is(a, 0.0) else a if _is(b, 0.0) else a + b


def _minus(a: Part, b: Part) -> Part:
    return a if _is(b, 0.0) else -b if _is(a, 0.0) else a - b


def _times(a: Part, b: Part) -> Part:
    if _is(a, 0.0) or _is(b, 0.0):
        return 0.0
    return b if _is(a, 1.0) else a if _is(b, 1.0) else a * b


def _is(a: Part, number: float) -> bool:
    return not isinstance(a, Tensor) and a == number


# ── what is traced ────────────────────────────────────────────────────────────────────────────────


def _add(a: Pair, b: Pair) -> Pair:
    return Pair(_plus(a.re, b.re), _plus(a.im, b.im))


def _sub(a: Pair, b: Pair) -> Pair:
    return Pair(_minus(a.re, b.re), _minus(a.im, b.im))


def _mul(a: Pair, b: Pair) -> Pair:
    re = _minus(_times(a.re, b.re), _times(a.im, b.im))
    im = _plus(_times(a.re, b.im), _times(a.im, b.re))
    if not isinstance(re, Tensor) and not isinstance(im, Tensor):  # 0 times a number
        given = [p for p in (a.re, a.im, b.re, b.im) if isinstance(p, Tensor)]
        re = torch.full_like(given[0], re) if given else re
    return Pair(re, im)


def _div(a: Pair, b: Pair) -> Pair:
    if not isinstance(b.re, Tensor) and not isinstance(b.im, Tensor) and b.im:
        return _mul(a, _pair(1 / complex(b.re, b.im)))
    if _is(b.im, 0.0):
        return Pair(a.re / b.re, 0.0 if _is(a.im, 0.0) else a.im / b.re)
    # both parts of b by the larger one, which cancels: no square is too large or too small
    re, im, _ = _scaled(b)
    by, square = Pair(re, -im), b.real * re + b.imag * im
    top = _mul(a, by)
    return Pair(top.real / square, top.imag / square)


def _scaled(a: Pair) -> tuple[Tensor, Tensor, Tensor]:
    """Return both parts divided by the larger size of the two, and that size, of which no gradient
    is taken; 0 is divided by 1.
    """
    size = torch.maximum(a.real.detach().abs(), a.imag.detach().abs())
    by = torch.where(size == 0, 1.0, size)
    return a.real / by, a.imag / by, size


def _abs(a: Pair) -> Tensor:
    if _is(a.im, 0.0):
        return a.real.abs()
    re, im, size = _scaled(a)
    square = re * re + im * im
    # at 0 the gradient is 0
    return size * torch.sqrt(torch.where(size == 0, 1.0, square))


def _polar(size: Any, angle: Any) -> Pair:
    if not isinstance(size, Tensor) or not isinstance(angle, Tensor):
        raise RefusedError("polar of complex numbers")
    return Pair(size * torch.cos(angle), size * torch.sin(angle))


def _exp(a: Pair) -> Pair:
    size = torch.exp(a.re) if isinstance(a.re, Tensor) else math.exp(a.re)
    return Pair(_times(size, torch.cos(a.imag)), _times(size, torch.sin(a.imag)))


def _complex(real: Any, imag: Any) -> Pair:
    if not isinstance(real, Tensor) or not isinstance(imag, Tensor):
        raise RefusedError("complex of complex numbers")
    return Pair(real, imag)


def _where(condition: Any, a: Any, b: Any) -> Pair:
    one, other = _pair(a), _pair(b)
    return Pair(_chosen(condition, one.re, other.re), _chosen(condition, one.im, other.im))


def _chosen(condition: Tensor, a: Part, b: Part) -> Part:
    if not isinstance(a, Tensor) and not isinstance(b, Tensor) and a == b:
        return a
    return torch.where(condition, a, b)


def _neg(a: Pair) -> Pair:
    return Pair(-a.re, 0.0 if _is(a.im, 0.0) else -a.im)


TRACED: dict[str, Callable[..., Any]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "neg": _neg,
    "reciprocal": lambda a: _div(Pair(1.0, 0.0), a),
    "conj": lambda a: Pair(a.re, _neg(Pair(a.im, 0.0)).re),
    "real": lambda a: a.real,
    "imag": lambda a: a.imag,
    "abs": _abs,
    "exp": _exp,
    "polar": _polar,
    "complex": _complex,
    "where": _where,
    "clone": lambda a: a,
    "is_complex": lambda a: True,
}
"""The operations on complex numbers that a kernel can be made of."""
_ALIASES = {
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "true_divide": "div",
    "truediv": "div",
    "negative": "neg",
    "conj_physical": "conj",
    "resolve_conj": "clone",
    "positive": "clone",
    "absolute": "abs",
}
