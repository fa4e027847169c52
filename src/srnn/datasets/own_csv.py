"""One recording in a text file of numbers: a line a step, a column a channel.

Columns are separated by semicolons, tabs, commas or white space, whichever of these the first line
holds; with semicolons or tabs a comma may be the decimal mark. A first line that is not all numbers
is the header. In a header, `label` names the column with a label for every step; columns named
time, timestamp or index, or without a name, are no channels and left out. Blank lines and lines
that begin with # are skipped; but a first line with # that has a name for every column is the
header.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srnn._check import DataError
from srnn._files import _limit

_NO_CHANNELS = ("", "time", "timestamp", "index")


@dataclass(frozen=True)
class Table:
    """The lines of a file, and what its columns are.

    lines: those with numbers. numbers: where each stands in the file, from 1. delimiter: None =
    white space. columns: those that are channels.
    label: the column with a label for every step, if any.
    """

    path: Path
    lines: tuple[str, ...]
    numbers: tuple[int, ...]
    delimiter: str | None
    columns: tuple[int, ...]
    label: int | None

    def signal(self) -> NDArray[np.float32]:
        """Return the samples, (T, C).

        Raises `DataError` naming the line and column of what is no number.
        """
        lines = [_pointed(line, self.delimiter) for line in self.lines]
        try:
            with np.errstate(over="ignore"):
                return np.loadtxt(
                    lines,
                    np.float32,
                    delimiter=self.delimiter,
                    usecols=self.columns,
                    ndmin=2,
                    comments=None,
                    quotechar='"',
                )
        except Exception as error:  # value errors for text, others for what its parser trips over
            for number, line in zip(self.numbers, lines, strict=True):
                cells = fields(line, self.delimiter)
                for k in self.columns:
                    if not _is_number(cells[k]):
                        fix = (
                            ""
                            if self.label is not None
                            else (" A column of labels needs a header line that calls it label.")
                        )
                        raise DataError(
                            f"{self.path}, line {number}, column {k + 1}: "
                            f"{cells[k]!r} is no number.{fix}"
                        ) from error
            raise DataError(f"{self.path} cannot be read as numbers ({error}).") from error

    def labels(self) -> list[str]:
        """Return the label of every step as text, "" = unlabelled; whole numbers without decimals.

        Empty without such a column.
        """
        if self.label is None:
            return []
        return [_plain(fields(line, self.delimiter)[self.label]) for line in self.lines]


def open_table(path: Path) -> Table:
    """Read the lines of a file and tell its columns.

    Raises `DataError` where it is empty, no text, or its lines differ in how many they have.
    """
    lines = [
        (i, line.strip(" ")) for i, line in enumerate(text_of(path).splitlines(), 1) if line.strip()
    ]
    rows = [(i, line) for i, line in lines if not line.startswith("#")]
    if not rows:
        raise DataError(f"{path} holds no line of numbers.")
    delimiter = sniff(rows[0][1])
    first = fields(rows[0][1], delimiter)
    header: list[str] = []
    if not any(_is_number(cell) for cell in fields(_pointed(rows[0][1], delimiter), delimiter)):
        header, rows = first, rows[1:]
        if not rows:
            raise DataError(f"{path} holds a header ({', '.join(header)}), but no line of numbers.")
    elif lines[0][1].startswith("#"):
        remark = fields(lines[0][1].lstrip("# "), delimiter)
        header = remark if len(remark) == len(first) else []
    for number, line in rows:
        if (found := line.count(delimiter) + 1 if delimiter else len(line.split())) != len(first):
            raise DataError(
                f"{path}, line {number} has {found} columns; expected {len(first)}, "
                "as the first line has."
            )
    names = [name.lower() for name in header] or [str(k) for k in range(len(first))]
    label = names.index("label") if "label" in names else None
    columns = tuple(k for k, name in enumerate(names) if k != label and name not in _NO_CHANNELS)
    if not columns:
        raise DataError(f"{path} has the columns {', '.join(header)}, of which none is a channel.")
    return Table(
        path, tuple(line for _, line in rows), tuple(i for i, _ in rows), delimiter, columns, label
    )


def text_of(path: Path) -> str:
    """Return the text of a file.

    Raises `DataError` where it cannot be read, or is no UTF-8 text.
    """
    try:
        _limit.check(path, 4 * path.stat().st_size)
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no UTF-8 text (byte {error.start}). Save it as CSV in UTF-8."
        ) from error
    if "\0" in text:
        raise DataError(f"{path} is no text: it holds zero bytes. Save it as CSV in UTF-8.")
    return text


def sniff(line: str) -> str | None:
    """Return what separates the columns of a line: semicolon, tab or comma, whichever comes first
    in this list; else None = white space.
    """
    return next((mark for mark in (";", "\t", ",") if mark in line), None)


def fields(line: str, delimiter: str | None) -> list[str]:
    """Return the columns of a line, without white space and quotes around them."""
    return [cell.strip().strip('"').strip() for cell in line.split(delimiter)]


def _pointed(line: str, delimiter: str | None) -> str:
    return line.replace(",", ".") if delimiter in (";", "\t") else line


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _plain(cell: str) -> str:
    """Return "3" for "3.0", as tables with gaps write whole numbers; "" for "-1" and "nan";
    anything else as it is.
    """
    if cell.lower() in ("", "nan"):
        return ""
    number: Any = float(cell) if _is_number(cell) else None
    text = (
        str(int(number))
        if number is not None and np.isfinite(number) and number == int(number)
        else cell
    )
    return "" if text == "-1" else text
