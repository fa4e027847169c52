"""Traced programs on disk, beside the compiled kernels: another process neither traces a step nor
loads what tracing needs.

A program is data, JSON with a checksum, kept under a checksum of the kernel's key
(`srnn.kernels.key`), of torch's version and of the code that traces. One that is damaged, or holds
anything but operations that a kernel knows, is traced anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from srnn import _build
from srnn.kernels import key as keys
from srnn.kernels.graph import OPERATIONS, Graph, Op, Program, Value

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def read(key: str) -> Program | None:
    """Return the program of a key that was kept, None where there is none."""
    found = _build.kept(_file(key)) if keys.stable(key) else None
    if found is None:
        return None
    try:
        text, _, digest = found.decode().rpartition("\n")
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            return None
        return _program(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def write(key: str, program: Program) -> None:
    """Keep the program of a key, where that can be done."""
    if keys.stable(key):
        text = json.dumps(asdict(program))
        _build.keep(_file(key), f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}".encode())


def _file(key: str) -> str:
    return f"program-{hashlib.sha256(f'{_tracer()} {key}'.encode()).hexdigest()[:32]}.json"


@functools.cache
def _tracer() -> str:
    """Return what a program depends on beside its key."""
    here = Path(__file__).parent
    code = (
        here / f"{name}.py" for name in ("record", "pairs", "trace", "graph", "key", "programs")
    )
    texts = b"".join(path.read_bytes() for path in (*code, here.parent / "neuron.py"))
    return f"{torch.__version__} {sys.version} {hashlib.sha256(texts).hexdigest()}"


def _program(found: dict[str, Any]) -> Program:
    if not isinstance(found["name"], str) or not isinstance(found["gates"], int):
        raise TypeError("name and gates")
    return Program(
        found["name"],
        found["gates"],
        tuple(map(_name, found["states"])),
        tuple(map(_name, found["coeffs"])),
        tuple(map(_name, found["constants"])),
        _graph(found["step"]),
        _graph(found["advance"]),
        _graph(found["adjoint"]),
    )


def _graph(found: dict[str, Any]) -> Graph:
    return Graph(
        tuple(map(_name, found["inputs"])),
        tuple(
            Op(_name(op["result"]), _operation(op["name"]), tuple(map(_value, op["args"])))
            for op in found["ops"]
        ),
        {_name(k): _value(v) for k, v in found["outputs"].items()},
    )


def _operation(name: Any) -> str:
    if name not in OPERATIONS:
        raise ValueError(f"{name!r} is no operation")
    return str(name)


def _name(text: Any) -> str:
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name")
    return text


def _value(value: Any) -> Value:
    return value if isinstance(value, float) else _name(value)
