"""What a kernel depends on, as a text: the code of a neuron and an activation, and all that this
code reads from outside.

Equal texts are equal kernels, also in another process: classes count by their name and their code,
not by where they lie. Numbers that the code names (globals, closures, class attributes, defaults,
attributes of modules and of objects) count with their values of now, so that a change is seen.
Tensors do not: a step that reads one from outside is refused when it is traced.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

_FOREIGN = ("torch", "numpy", "math", "builtins", "typing", "dataclasses", "functools")
"""Packages whose functions and constants are known by their version."""


def described(value: Any, *, exact: bool = True) -> str:
    """Describe a neuron, an activation, or what one of them holds, with the code of its class; not
    exact, its numbers and tensors by their presence only.
    """
    if dataclasses.is_dataclass(value):
        kind: Any = type(value)
        inner = ", ".join(
            f"{f.name}={described(getattr(value, f.name), exact=exact)}"
            for f in dataclasses.fields(value)
        )
        return f"{kind.__module__}.{kind.__qualname__}@{code_of(kind)}({inner})"
    if not exact and isinstance(value, int | float | Tensor) and not isinstance(value, bool):
        return "number"
    if isinstance(value, Tensor):
        data = value.detach().cpu().contiguous().view(-1)
        return f"tensor@{_digest(repr((value.dtype, tuple(value.shape), data.tolist())))}"
    if isinstance(value, types.FunctionType):
        return f"{value.__qualname__}@{_digest(_code(value.__code__))}"
    return repr(value)


@functools.cache
def code_of(kind: Any) -> str:
    """Return a checksum over the methods of a class and its bases."""
    return _digest("".join(_code(f.__code__) for f in _methods(kind)))


def outside(*owners: Any) -> str:
    """Return the values of all numbers from outside that methods of these objects read, as they are
    now; "" where there is none.
    """
    found = [
        text for owner in owners for f in _own_methods(owner.__class__) for text in _read(f, owner)
    ]
    return " ".join(dict.fromkeys(found))


def stable(key: str) -> bool:
    """Return whether a key means the same in another process: nothing in it is known by its
    address.
    """
    return " at 0x" not in key


@functools.cache
def _methods(kind: Any) -> tuple[types.FunctionType, ...]:
    """Return the functions of a class and its bases, but those that `dataclass` writes."""
    return tuple(
        f
        for base in kind.__mro__
        for name, f in sorted(vars(base).items())
        if isinstance(f, types.FunctionType) and not name.startswith("__")
    )


@functools.cache
def _own_methods(kind: Any) -> tuple[types.FunctionType, ...]:
    """Return the methods that somebody else wrote: ours read nothing from outside."""
    return tuple(f for f in _methods(kind) if not _ours(f.__module__))


def _ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] == "srnn"


def _code(code: types.CodeType) -> str:
    """Return what a function does, wherever its text stands."""
    constants = [_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return repr((code.co_code, constants, names, code.co_argcount, code.co_kwonlyargcount))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def _names(code: types.CodeType) -> tuple[str, ...]:
    """Return the names of globals and attributes that a function and those inside it use."""
    inner = (n for c in code.co_consts if isinstance(c, types.CodeType) for n in _names(c))
    return tuple(dict.fromkeys((*code.co_names, *inner)))


def _read(function: types.FunctionType, owner: Any, seen: tuple[Any, ...] = ()) -> Iterator[str]:
    """Yield the values that a function reads from outside, and those of the functions it calls."""
    code = function.__code__
    if any(code is known for known in seen):
        return
    names, seen = _names(code), (*seen, code)
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield from _value(f"{function.__qualname__}()", default, names, seen)
    fields = {f.name for f in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else ()
    for name in names:  # self.scale that is no field: an attribute of the class
        if name not in fields:
            yield from _value(f"self.{name}", _attribute(owner, name), names, seen)
    cells = zip(code.co_freevars, function.__closure__ or (), strict=False)
    known = {n: c.cell_contents for n, c in cells if _filled(c)}
    known |= {n: function.__globals__[n] for n in names if n in function.__globals__}
    for name, value in known.items():
        yield from _value(name, value, names, seen)


def _value(name: str, value: Any, names: tuple[str, ...], seen: tuple[Any, ...]) -> Iterator[str]:
    """Yield what a value from outside is: a number; a function, and what it reads in turn; a few of
    them; or an object, by its attributes of these names.
    """
    if value is None or isinstance(value, Tensor) or any(value is known for known in seen):
        return
    if _plain(value):
        text = repr(value)
        yield f"{name}={text if len(text) < 1000 else _digest(text)}"
    elif isinstance(value, np.ndarray):
        yield f"{name}=array@{_digest(repr((value.dtype, value.shape, value.tobytes())))}"
    elif isinstance(value, tuple | list | set | frozenset | dict):
        for k, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _value(f"{name}[{k!r}]", part, names, (*seen, value))
    elif isinstance(value, functools.partial):
        yield from _value(name, (value.func, value.args, value.keywords), names, seen)
    elif isinstance(value, types.FunctionType | types.MethodType):
        if not _foreign(value.__module__):
            function: Any = getattr(value, "__func__", value)
            yield f"{name}@{_digest(_code(function.__code__))}"
            yield from _read(function, getattr(value, "__self__", None), seen)
        else:
            yield f"{name}={value.__module__}.{value.__qualname__}"
    elif not _foreign(_module(value)):
        for attribute in (*names, "__call__"):
            inner = _attribute(value, attribute)
            yield from _value(f"{name}.{attribute}", inner, names, (*seen, value))
    elif isinstance(value, types.BuiltinFunctionType):
        yield f"{name}={value.__qualname__}"


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _module(value: Any) -> str:
    name = value.__name__ if isinstance(value, types.ModuleType) else None
    return name or getattr(value, "__module__", None) or type(value).__module__


def _foreign(module: str | None) -> bool:
    return _ours(module) or (module or "").partition(".")[0] in _FOREIGN


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # whatever a property of somebody's object does
        return None


def _plain(value: Any) -> bool:
    """Return whether a value is a number, a text, a dtype, or some of them: `repr` says it all."""
    if isinstance(value, tuple | list | set | frozenset):
        return all(_plain(v) for v in value)
    if isinstance(value, dict):
        return all(_plain(k) and _plain(v) for k, v in value.items())
    number = isinstance(value, int | float | complex | str | bytes | bool | torch.dtype)
    return number or (type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0)
