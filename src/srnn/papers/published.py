"""Published weights from the files that the authors saved, without running any of them.

    tensors = read("model.pth")                    a state dictionary, or a whole pickled module
    net = from_published("gsc", tensors)           srnn.export.published

`torch.save(module)` keeps the names of classes and functions, and loading such a file the usual way
imports and calls them. Here the pickled text is data: a list of operations that is carried out with
nothing but numbers, texts, containers and tensors. No name in it is imported. A class is taken for
a module, an inert box, where the file makes an object of it and gives it a module's tables of
parameters, buffers and parts; every other name is refused by that name. Both forms of torch's files
are read: the zip archive, and the older one, in which pickled texts and numbers follow each other.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from srnn._check import DataError

LARGEST = 2**28
"""Bytes of the largest file that is read; the largest published one has 3 million."""

LARGEST_TEXT = 2**24
"""Bytes of the longest pickled text, without the numbers of the tensors."""

_T = TypeVar("_T")
_MODULES = 10_000
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001

_TYPES = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}


def read(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a file by `torch.save`, by the names of its state dictionary.

    path: a file that holds a state dictionary or a whole module. Tensors are on the processor,
    wherever they were. Raises `DataError` where the file cannot be read, is damaged or too large,
    or holds anything else; a name that is none of tensors, containers and modules is said.
    """
    try:
        path = Path(path)
        if (size := path.stat().st_size) > LARGEST:
            raise _RefusedError(f"it has {size} bytes; expected at most {LARGEST}")
        content = path.read_bytes() if path.is_file() else b""
        if not content:
            raise _RefusedError("it is empty, or no file")
        whole = _archive(content) if content[:2] == b"PK" else _older(content)
        return dict(_named(whole))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except TypeError as error:
        raise DataError(f"read({path!r}): expected the path of a file.") from error
    except _RefusedError as error:
        raise DataError(f"{path} is not read: {error}. Nothing of it was run.") from error


class _RefusedError(Exception):
    """Why a file is not read."""


@dataclass(frozen=True)
class _Storage:
    """The numbers of a file, not read yet: their type, their key and how many there are."""

    dtype: torch.dtype
    key: str
    count: int


@dataclass
class _View:
    """A tensor: where in a storage it lies."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class _Name:
    """A class or a function that the file names. taken: it stands for a type or a module."""

    text: str
    taken: bool = False


@dataclass
class _Object:
    """An object of a class that the file names; a module, once it has a module's tables."""

    name: str
    state: dict[Any, Any] | None = None


class _Mark:
    pass


# ── the two forms of torch's files ────────────────────────────────────────────────────────────────


def _archive(content: bytes) -> Any:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            entries = {entry.filename: entry for entry in file.infolist()}
            texts = [name for name in entries if name.split("/")[1:] == ["data.pkl"]]
            if len(texts) != 1 or len(entries) != len(file.infolist()):
                raise _RefusedError("it is a zip archive, and none that torch.save made")
            if any(e.compress_type != zipfile.ZIP_STORED for e in entries.values()):
                raise _RefusedError("its parts are compressed, and torch.save compresses none")
            root = texts[0].removesuffix("data.pkl")
            if f"{root}byteorder" in entries and file.read(f"{root}byteorder") != b"little":
                raise _RefusedError("its numbers are in the byte order of another kind of machine")
            parts = {name: file.read(name) for name in entries if name.startswith(f"{root}data/")}
            text = io.BytesIO(file.read(texts[0]))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise _RefusedError(f"the archive is damaged ({error})") from error
    whole, views = _carried_out(text)
    for view in views:
        if f"{root}data/{view.storage.key}" not in parts:
            raise _RefusedError(f"it has no numbers called {view.storage.key!r}")
    return _filled(whole, lambda storage: parts[f"{root}data/{storage.key}"])


def _older(content: bytes) -> Any:
    file = io.BytesIO(content)
    if _carried_out(file)[0] != _MAGIC or _carried_out(file)[0] != _PROTOCOL:
        raise _RefusedError("it is no file by torch.save")
    machine = _carried_out(file)[0]
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise _RefusedError("its numbers are in the byte order of another kind of machine")
    whole, views = _carried_out(file)
    keys, _ = _carried_out(file)
    storages, parts = {view.storage.key: view.storage for view in views}, dict[str, bytes]()
    if not isinstance(keys, list) or any(not isinstance(k, str) for k in keys):
        raise _RefusedError("it has no list of its numbers")
    for key in keys:
        if key not in storages:
            raise _RefusedError(f"nothing says what its numbers {key!r} are")
        count = int.from_bytes(file.read(8), "little", signed=True)
        if count != storages[key].count:
            raise _RefusedError(f"it has {count} numbers {key!r}; expected {storages[key].count}")
        parts[key] = file.read(count * storages[key].dtype.itemsize)
    if missing := storages.keys() - parts.keys():
        raise _RefusedError(f"it has no numbers called {min(missing)!r}")
    return _filled(whole, lambda storage: parts[storage.key])


# ── the pickled text, operation by operation ──────────────────────────────────────────────────────


def _carried_out(file: io.BytesIO) -> tuple[Any, list[_View]]:
    """Return what the pickled text at the place of the file makes, and the tensors in it."""
    stack, memo = list[Any](), dict[int, Any]()
    names, views = dict[str, _Name](), list[_View]()
    start = file.tell()

    def name(text: str) -> _Name:
        return names.setdefault(text, _Name(text))

    def cut() -> list[Any]:
        at = max(k for k, value in enumerate(stack) if value is _Mark)
        items = stack[at + 1 :]
        del stack[at:]
        return items

    try:
        for code, arg, at in pickletools.genops(file):
            if at is not None and at - start > LARGEST_TEXT:
                raise _RefusedError(f"its pickled text has more than {LARGEST_TEXT} bytes")
            match code.name:
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    _check_names(names)
                    (whole,) = stack
                    return whole, views
                case "MARK":
                    stack.append(_Mark)
                case "NONE":
                    stack.append(None)
                case "NEWTRUE" | "NEWFALSE":
                    stack.append(code.name == "NEWTRUE")
                case word if word in _PLAIN:
                    stack.append(arg)
                case "EMPTY_TUPLE":
                    stack.append(())
                case "EMPTY_LIST" | "EMPTY_SET":
                    stack.append([])
                case "EMPTY_DICT":
                    stack.append({})
                case "TUPLE":
                    stack.append(tuple(cut()))
                case "FROZENSET":
                    stack.append(cut())
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    count = int(code.name[-1])
                    if len(stack) < count:
                        raise IndexError
                    stack[-count:] = [tuple(stack[-count:])]
                case "APPEND":
                    value = stack.pop()
                    _into(stack[-1], list).append(value)
                case "APPENDS" | "ADDITEMS":
                    values = cut()
                    _into(stack[-1], list).extend(values)
                case "SETITEM":
                    value, key = stack.pop(), stack.pop()
                    _into(stack[-1], dict)[_key(key)] = value
                case "SETITEMS":
                    values = cut()
                    for key, value in zip(values[::2], values[1::2], strict=True):
                        _into(stack[-1], dict)[_key(key)] = value
                case "BINPUT" | "LONG_BINPUT":
                    memo[int(arg or 0)] = stack[-1]
                case "MEMOIZE":
                    memo[len(memo)] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[int(arg or 0)])
                case "GLOBAL":
                    stack.append(name(str(arg).replace(" ", ".", 1)))
                case "STACK_GLOBAL":
                    last, first = stack.pop(), stack.pop()
                    stack.append(name(f"{first}.{last}"))
                case "BINPERSID":
                    stack.append(_persistent(stack.pop()))
                case "REDUCE":
                    args, called = _into(stack.pop(), tuple), stack.pop()
                    stack.append(made := _called(_into(called, _Name), args))
                    if isinstance(made, _View):
                        views.append(made)
                case "NEWOBJ":
                    args, kind = _into(stack.pop(), tuple), _into(stack.pop(), _Name)
                    if args:
                        raise _RefusedError(f"it makes an object of {kind.text} with arguments")
                    kind.taken = True
                    stack.append(_Object(kind.text))
                case "BUILD":
                    state = stack.pop()
                    if isinstance(stack[-1], _Object):
                        stack[-1].state = _module(stack[-1].name, state)
                    elif not isinstance(stack[-1], dict):  # a dictionary's own is of no use here
                        raise _RefusedError("it gives a state to something that is no module")
                case other:
                    raise _RefusedError(f"its pickled text has the operation {other}")
    except (ValueError, IndexError, KeyError, OverflowError, Warning) as error:
        raise _RefusedError("its pickled text is damaged") from error
    raise _RefusedError("its pickled text ends early")


_PLAIN = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    )
)
"""Operations that put a number or a text on the stack."""


def _into(value: Any, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise ValueError
    return value


def _key(key: Any) -> Any:
    if key is not None and not isinstance(key, str | int | float):
        raise _RefusedError(f"a key of a dictionary in it is a {type(key).__name__.strip('_')}")
    return key


def _check_names(names: dict[str, _Name]) -> None:
    for text, name in names.items():
        if not name.taken and text not in _TYPES and text not in _CALLS:
            raise _RefusedError(f"it holds {text}, which is no tensor, container or module")


def _persistent(given: Any) -> Any:
    """Return what a reference to outside of the text stands for: numbers, or a class with its
    source.
    """
    match given:
        case ("module", _Name() as kind, *_):
            return kind
        case ("storage", _Name(text), str(key), _, int(count), *rest) if text in _TYPES:
            if any(view is not None for view in rest):
                raise _RefusedError("a storage in it is a part of another one")
            if not 0 <= count <= LARGEST:
                raise ValueError
            return _Storage(_TYPES[text], key, count)
        case ("storage", _Name(text), *_):
            raise _RefusedError(f"it holds {text}, a type of numbers that is not read")
    raise ValueError


def _called(called: _Name, args: tuple[Any, ...]) -> Any:
    if called.text not in _CALLS:
        raise _RefusedError(f"it calls {called.text}")
    return _CALLS[called.text](args)


def _view(args: tuple[Any, ...]) -> _View:
    storage, offset, shape, strides = args[:4]
    shape, strides = (_into(v, tuple) for v in (shape, strides))
    if len(shape) != len(strides) or len(shape) > 8:
        raise ValueError
    if any(type(v) is not int or v < 0 for v in (offset, *shape, *strides)):
        raise ValueError
    count, storage = math.prod(shape), _into(storage, _Storage)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if count and (last >= storage.count or count > storage.count):
        raise _RefusedError(f"a tensor of shape {shape} lies beyond its {storage.count} numbers")
    return _View(storage, offset if count else 0, shape, strides)


def _parameter(args: tuple[Any, ...]) -> _View:
    return _into(args[0], _View)


def _pairs(args: tuple[Any, ...]) -> dict[Any, Any]:
    found = dict[Any, Any]()
    for pair in _into(args[0], list) if args else []:
        key, value = pair
        found[_key(key)] = value
    return found


def _listed(args: tuple[Any, ...]) -> Any:
    return args[0] if args else []


_CALLS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _view,
    "torch._utils._rebuild_tensor_v2": _view,
    "torch._utils._rebuild_parameter": _parameter,
    "collections.OrderedDict": _pairs,
    "torch.Size": _listed,
    "torch.device": _listed,
    "__builtin__.set": _listed,
    "builtins.set": _listed,
}
"""What a pickled text may call, and what is done in its place: nothing of that name is imported."""

_TABLES = ("_parameters", "_buffers", "_modules")


def _module(name: str, state: Any) -> dict[Any, Any]:
    """Return a module's state: a dictionary with its tables."""
    if not isinstance(state, dict) or any(not isinstance(state.get(t), dict) for t in _TABLES):
        raise _RefusedError(f"it holds an object of {name}, which is no module")
    return state


# ── names and numbers ─────────────────────────────────────────────────────────────────────────────


def _filled(whole: Any, numbers: Callable[[_Storage], bytes]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a module or a state dictionary, with their names."""
    flat = dict[_Storage, Tensor]()
    for name, view in _views(whole):
        if (storage := view.storage) not in flat:
            content = numbers(storage)
            if len(content) != storage.count * storage.dtype.itemsize:
                raise _RefusedError(f"the numbers {storage.key!r} are cut off")
            flat[storage] = (
                torch.frombuffer(bytearray(content), dtype=storage.dtype)
                if content
                else torch.empty(0, dtype=storage.dtype)
            )
        yield name, flat[storage].as_strided(view.shape, view.strides, view.offset)


def _views(whole: Any) -> Iterator[tuple[str, _View]]:
    if isinstance(whole, dict):
        for name, value in whole.items():
            if not isinstance(name, str) or not isinstance(value, _View):
                raise _RefusedError("it holds a dictionary that is none of names and tensors")
            yield name, value
        return
    if not isinstance(whole, _Object):
        raise _RefusedError("it holds neither a module nor a state dictionary")
    left, seen = [("", whole)], 0
    while left:
        prefix, module = left.pop()
        if (seen := seen + 1) > _MODULES or len(prefix) > _MODULES:
            raise _RefusedError(f"it has more than {_MODULES} modules, or one that holds itself")
        state = _module(module.name, module.state)
        parameters, buffers, parts = (state[table] for table in _TABLES)
        for name, value in (*parameters.items(), *buffers.items()):
            if value is not None:
                yield f"{prefix}{name}", _into_view(module, name, value)
        for name, part in reversed(parts.items()):
            if part is not None:
                if not isinstance(part, _Object):
                    raise _RefusedError(f"{name} of a {module.name} in it is no module")
                left.append((f"{prefix}{name}.", part))


def _into_view(module: _Object, name: Any, value: Any) -> _View:
    if not isinstance(value, _View):
        raise _RefusedError(f"{name} of a {module.name} in it is no tensor")
    return value


def _named(found: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    seen = set[str]()
    for name, value in found:
        if name in seen:
            raise _RefusedError(f"it has {name} twice")
        seen.add(name)
        yield name, value
