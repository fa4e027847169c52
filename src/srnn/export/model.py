"""The files of an exported network: model.h, model.c, main.c, Makefile, all or none."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from srnn import _files
from srnn._check import ConfigError
from srnn.export.c_source import Table, template
from srnn.export.described import Described
from srnn.export.integer import IntegerLayer, Numbers


class Source(NamedTuple):
    """What float and integer models differ in.

    headers: system headers. top: types and helper functions. tables. body: a function a layer.
    fields: of the state, one struct a layer.
    resets, calls: statements of reset and step. input, score: their C types; given: statements that
    return a real `value` as an input, shown: an expression, a `score` as a real number. macros: of
    the header. notes: lines for the header, on formats.
    """

    headers: tuple[str, ...]
    top: str
    tables: tuple[Table, ...]
    body: str
    fields: tuple[str, ...]
    resets: tuple[str, ...]
    calls: tuple[str, ...]
    input: str
    score: str
    given: str
    shown: str
    macros: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


_KEYWORDS = {
    "auto",
    "break",
    "case",
    "char",
    "const",
    "continue",
    "default",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "float",
    "for",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "typedef",
    "union",
    "unsigned",
    "void",
    "volatile",
    "while",
    "main",
}


def checked_name(name: str) -> str:
    """Return a name that C takes for files and functions. Raises `ConfigError`."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in _KEYWORDS:
        raise ConfigError(
            f"Export to C: the name {name!r} is no C identifier; expected letters, "
            "digits and _, as in ecg_model."
        )
    return name


def files(name: str, source: Source, layers: Sequence[Described | IntegerLayer]) -> dict[str, str]:
    """Return the texts by file name."""
    upper, tables = name.upper(), sum(t.bytes for t in source.tables)
    values = {
        "NAME": name,
        "UPPER": upper,
        "INPUTS": str(layers[0].inputs),
        "OUTPUTS": str(layers[-1].neurons),
        "LAYERS": str(len(layers)),
        "INPUT_T": source.input,
        "SCORE_T": source.score,
        "TABLE_BYTES": str(tables),
        "SUMMARY": "\n".join(f"     {layer.who}" for layer in layers),
        "NOTES": "".join(f"\n   {line}".rstrip(" ") for line in source.notes),
        "GIVEN": source.given.replace("MODEL", upper),
        "SHOWN": source.shown.replace("MODEL", upper),
        "MACROS": "".join(f"\n{line.replace('MODEL', upper)}" for line in source.macros),
        "FIELDS": "\n    ".join(source.fields),
        "HEADERS": "\n".join(f"#include {h}" for h in (*source.headers, "<string.h>")),
        "TOP": source.top,
        "TABLES": "\n".join(t.source for t in source.tables),
        "BODY": source.body,
        "RESETS": "".join(f"\n    {line}" for line in source.resets),
        "CALLS": "\n    ".join(source.calls),
        "LIBS": " -lm" if "<math.h>" in source.headers or source.input != "float" else "",
    }
    texts = {
        f"{name}.h": template("model.h"),
        f"{name}.c": template("model.c"),
        "main.c": template("main.c"),
        "Makefile": template("Makefile"),
    }
    made = {
        file: re.sub(r"@(\w+)@", lambda found: values[found.group(1)], text)
        for file, text in texts.items()
    }
    return {
        file: text.replace("model_state", f"{name}_state").replace("→", "->")
        for file, text in made.items()
    }


def write(folder: Path, texts: dict[str, str]) -> None:
    """Write files into a folder, which is made where it is missing; on an error nothing
    half-written stays. Raises `ConfigError`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as work:
            for file, text in texts.items():
                _files.write(Path(work) / file, text)
            for file in texts:
                os.replace(Path(work) / file, folder / file)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}. Choose another folder."
        ) from error


@dataclass(frozen=True)
class CModel:
    """An exported network.

    folder: holds name.h, name.c, main.c and Makefile. bits: None = float. table_bytes: the
    constants; code comes on top.
    neurons: of each layer; binary: whether it spikes. input: how an integer model takes its input,
    fractions: bits behind the point of each layer's values (int32; the last one's are those of the
    scores); None and () in float models.
    """

    folder: Path
    name: str
    bits: int | None
    inputs: int
    neurons: tuple[int, ...]
    binary: tuple[bool, ...]
    table_bytes: int
    input: Numbers | None = None
    fractions: tuple[int, ...] = ()

    @property
    def outputs(self) -> int:
        """Scores a step."""
        return self.neurons[-1]
