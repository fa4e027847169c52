"""JSON of others: read with bounds, and held against what was wanted.

What is wanted is written as a value of Python:

    int, float (whole numbers too), str, bool, None, dict, list
    [X]                     a list of X              (X, Y)   one of these
    {"key": X, "more?": Y}  an object that has key, perhaps more; other entries are free
    {str: X}                an object whose entries are all X
    range(a, b)             a whole number a … b - 1
"""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path
from typing import Any

DEPTH = 100
"""Lists and objects inside each other."""

MOST = 1 << 28
"""Bytes of a file."""


def parse(text: str | bytes, wanted: Any = object) -> Any:
    """Return what a text of JSON says.

    Raises ValueError, in words for a message, where it is none, nested too deeply, holds a number
    that is not finite or beyond 64 bits, or is not as wanted.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEPTH} deep") from None
    _bounded(value, 0)
    wrong = misfit(value, wanted)
    if wrong is not None:
        raise ValueError(wrong)
    return value


def read(path: Path, wanted: Any = object) -> Any:
    """Return what a file of JSON says. Raises ValueError as `parse`, and OSError."""
    return parse(content(path), wanted)


def content(path: Path) -> bytes:
    """Return the bytes of a text file. Raises OSError, also for what is no file (reading a pipe
    would wait for ever), and ValueError above `MOST` bytes.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file")
    with path.open("rb") as file:
        text = file.read(MOST + 1)
    if len(text) > MOST:
        raise ValueError(f"it has more than {MOST} bytes")
    return text


def _bounded(value: Any, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth >= DEPTH:
            raise ValueError(f"it is nested more than {DEPTH} deep")
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            _bounded(item, depth + 1)
    elif isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError("it holds half a character (a lone surrogate)")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"it holds {value}, where a finite number was expected")
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError(f"it holds a whole number of {value.bit_length()} bits; expected 64")


def misfit(value: Any, wanted: Any, place: str = "") -> str | None:
    """Return what is wrong with a value, and where; None where it is as wanted."""
    here = place or "it"
    if isinstance(wanted, tuple):
        found = [misfit(value, one, place) for one in wanted]
        return None if None in found else f"{here} is {_shown(value)}; expected {_said(wanted)}"
    if isinstance(wanted, dict) and isinstance(value, dict):
        return _entries(value, wanted, place)
    if isinstance(wanted, list) and isinstance(value, list):
        found = [misfit(item, wanted[0], f"{place}[{k}]") for k, item in enumerate(value)]
        return next((one for one in found if one is not None), None)
    if _is(value, wanted):
        return None
    return f"{here} is {_shown(value)}; expected {_said(wanted)}"


def _entries(value: dict[str, Any], wanted: dict[Any, Any], place: str) -> str | None:
    keys = [key for key in wanted if key is not str and not key.endswith("?")]
    if missing := sorted(key for key in keys if key not in value):
        return f"{place or 'it'} has no {', '.join(missing)}"
    for key, one in wanted.items():
        if key is str:
            pairs = list(value.items())
        elif key.removesuffix("?") in value:
            pairs = [(key.removesuffix("?"), value[key.removesuffix("?")])]
        else:
            continue
        for name, item in pairs:
            wrong = misfit(item, one, f"{place}.{name}" if place else name)
            if wrong is not None:
                return wrong
    return None


def _is(value: Any, wanted: Any) -> bool:
    if wanted is None or isinstance(wanted, dict | list):
        return wanted is None and value is None
    number = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(wanted, range):
        return number and value in wanted
    if wanted is int:
        return number
    return number or isinstance(value, float) if wanted is float else isinstance(value, wanted)


def _said(wanted: Any) -> str:
    if isinstance(wanted, tuple):
        return " or ".join(dict.fromkeys(map(_said, wanted)))
    if isinstance(wanted, range):
        return f"a whole number {wanted.start} … {wanted.stop - 1}"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if wanted in (None, *names):
        return "null" if wanted is None else names[wanted]
    return "an object" if wanted is dict or isinstance(wanted, dict) else "a list"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]} …"
