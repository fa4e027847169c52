"""Pieces of C source: tables of numbers, matrices in the layout that is smaller, and the helper
functions that a model uses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srnn._check import ConfigError
from srnn.export.described import Described
from srnn.export.integer import IntegerLayer
from srnn.kernels.fixed_ops import ATANH, EXP, LN_2, LOG2_E
from srnn.kernels.graph import currents

_HERE = Path(__file__).parent / "c"
_KERNELS = Path(__file__).parent.parent / "kernels" / "c"
WIDTH = 150


class Table(NamedTuple):
    """A constant table: its C source, and how many bytes it takes on the device."""

    source: str
    bytes: int


_BYTES = {"real": 4, "int32_t": 4, "int16_t": 2, "uint16_t": 2, "int8_t": 1, "uint8_t": 1}


def number(value: float) -> str:
    """Return a float32 as a C literal that reads back as the same number."""
    return _literals(np.array([value]))[0]


def _literals(values: np.ndarray) -> list[str]:
    """Return the shortest decimal numbers that read back as these float32 numbers."""
    return [f"{text}f" for text in values.astype(np.float32).flatten().astype("U32").tolist()]


def table(kind: str, name: str, values: np.ndarray) -> Table:
    """Return a constant table of floats ("real") or integers; an empty one has one unused entry,
    for C has no empty arrays.
    """
    texts = (
        _literals(values) if kind == "real" else [str(v) for v in values.flatten().tolist()]
    ) or ["0"]
    lines, line = [], "   "
    for text in texts:
        if len(line) + len(text) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {text},"
    lines.append(line)
    return Table(
        f"static const {kind} {name}[{len(texts)}] = {{\n" + "\n".join(lines) + "\n};",
        len(texts) * _BYTES[kind],
    )


def current_places(layer: Described | IntegerLayer) -> dict[str, str]:
    """Return where each input current of neuron n stands in C."""
    return {
        name: f"I[{g * layer.neurons} + n]" if g else "I[n]"
        for g, name in enumerate(currents(layer.gates))
    }


class Product(NamedTuple):
    """A matrix as tables, and its product as a call of a helper function."""

    tables: tuple[Table, ...]
    call: str
    sparse: bool


def product(
    name: str,
    matrix: np.ndarray,
    kind: str,
    target: str,
    x: str,
    spikes: bool,
    sparse: bool | None,
    bits: int | None = None,
) -> Product:
    """Return the statement `target += matrix · x` and its tables.

    matrix: (rows, K), float32 or integers. kind: the C type of a weight. spikes: x holds 0 or 1
    (uint8_t). sparse: store only what is not zero, None = where that takes fewer bytes. bits: 4 =
    two weights a byte.
    """
    rows, inputs = matrix.shape
    what = "spikes" if spikes else "numbers"
    columns = np.ascontiguousarray(matrix.T)
    dense = (table(kind, name, _packed(columns, bits)),)
    index = "uint8_t" if rows < 256 else "uint16_t"
    if rows >= 1 << 16:
        raise ConfigError(
            f"Export to C: a matrix of {rows} rows; at most 65535 fit the indices. Split the layer."
        )
    there = columns != 0
    few = (
        table(index, f"{name}_count", there.sum(1)),
        table(index, f"{name}_row", np.nonzero(there)[1]),
        table(kind, name, _packed(columns[there][None], bits)),
    )
    if sparse or (sparse is None and sum(t.bytes for t in few) < dense[0].bytes):
        return Product(
            few,
            f"sparse_{what}{'8' if rows < 256 else '16'}({target}, {name}_count, "
            f"{name}_row, {name}, {x}, {inputs});",
            True,
        )
    return Product(dense, f"dense_{what}({target}, {rows}, {name}, {x}, {inputs});", False)


def _packed(rows: np.ndarray, bits: int | None) -> np.ndarray:
    """Return the rows as they are, or with two 4-bit numbers in a byte, the first one in the low
    half, each row on a byte of its own.
    """
    if bits != 4:
        return rows
    even = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))) & 15
    return even[:, ::2] | even[:, 1::2] << 4


def field(k: int, layer: Described | IntegerLayer, number: str, past: str) -> str:
    """Return the struct of a layer's state. number, past: the C types of its numbers and of the
    inputs it keeps.
    """
    names = [f"{'uint8_t' if layer.binary else number} s[{layer.neurons}];"]
    states = [name.replace(".", "_") for name in layer.start if name != "s"]
    names += [f"{number} {name}[{layer.neurons}];" for name in states]
    if layer.reach:
        names += [f"{past} past[{layer.reach}][{layer.inputs}];", "int32_t at;"]
    return f"struct {{ {' '.join(names)} }} layer{k}; /* {layer.who} */"


def resets(
    k: int, layer: Described | IntegerLayer, kind: str, number: Callable[[float], str]
) -> tuple[list[Table], list[str]]:
    """Return the tables and statements that set a layer's start, where it is not 0 (the state is
    cleared first).
    """
    tables, lines = list[Table](), list[str]()
    for state, start in layer.start.items():
        name = state.replace(".", "_")
        bit = name == "s" and layer.binary
        text = "1" if bit else number(start[0].item())
        if not bool((start == start[0]).all()):
            text = f"layer{k}_start_{name}[n]"
            tables.append(table("uint8_t" if bit else kind, text[:-3], start.numpy()))
        if bool(start.any()):
            lines.append(
                f"for (int32_t n = 0; n < {layer.neurons}; n++) state->layer{k}.{name}[n] = {text};"
            )
    return tables, lines


def inputs_of(own: str, below: str, layer: Described | IntegerLayer, delay: int) -> str:
    """Return where the inputs of so many steps ago stand."""
    return below if not delay else f"{own}.past[({own}.at + {layer.reach - delay}) % {layer.reach}]"


def remember(own: str, below: str, layer: Described | IntegerLayer) -> list[str]:
    """Return the statements that keep this step's inputs in place of the oldest ones."""
    if not layer.reach:
        return []
    return [
        f"for (int32_t k = 0; k < {layer.inputs}; k++) {own}.past[{own}.at][k] = {below}[k];",
        f"{own}.at = ({own}.at + 1) % {layer.reach};",
    ]


def helpers(source: str, texts: Iterable[str]) -> str:
    """Return those functions of the given C texts that a source calls, and those that they call, in
    order.

    A text is taken apart at empty lines, and between functions of one line. INDEX in a function
    stands for the type of an index, and its name then ends with the width, 8 or 16.
    """
    pieces: list[tuple[str, str]] = []
    for text in texts:
        for piece in re.split(r"\n\n|(?<=\})\n(?=static)", text.strip()):
            found = re.search(r"(?:^static.*?|^#define )\b(\w+)\(", piece, re.MULTILINE)
            name = found.group(1) if found else ""
            if "INDEX" in piece:
                pieces += [
                    (
                        f"{name}{w}",
                        piece.replace("INDEX", f"uint{w}_t").replace(f"{name}(", f"{name}{w}("),
                    )
                    for w in (8, 16)
                ]
            else:
                pieces.append((name, piece))
    wanted: set[str] = set()
    words = set(re.findall(r"\w+", source))
    for name, piece in reversed(pieces):  # what a function calls stands before it
        macros = re.findall(r"#define (\w+)", piece)
        if words & {name, *macros} - {""}:
            wanted.add(piece)
            words |= set(re.findall(r"\w+", piece))
    return "\n\n".join(piece for _, piece in pieces if piece in wanted)


def template(name: str) -> str:
    """Return a C text that comes with the package."""
    return (_HERE / name).read_text()


def fixed_functions() -> str:
    """Return the functions of `kernels/c/fixed.h` with their constants, without its head."""
    values = {"EXP": EXP, "ATANH": ATANH, "LOG2_E": (LOG2_E,), "LN_2": (LN_2,)}
    text = (_KERNELS / "fixed.h").read_text().split("typedef", 1)[1]
    return re.sub(
        r"@(\w+)@", lambda found: ", ".join(map(str, values[found.group(1)])), "typedef" + text
    )


def float_functions() -> str:
    """Return exp, tanh … of the kernels (`kernels/c/functions.h`) for float, without their comment
    on top and their double branches.
    """
    lines, skipping, inside = list[str](), False, False
    for line in (_KERNELS / "functions.h").read_text().split("\n\n", 1)[1].splitlines():
        if line == "#ifdef DOUBLE":
            skipping, inside = True, True
        elif inside and line in ("#else", "#endif"):
            skipping, inside = False, line == "#else"
        elif not skipping:
            lines.append(line)
    return "\n".join(lines)
