"""From bytes to samples: lines of numbers or little-endian binary; the rest is counted."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

LARGEST = 1e30
"""A number beyond it is none that a sensor gives; float32 ends at 3e38."""

LONGEST = 1 << 20
"""Bytes of a line from which on it cannot be one."""


class Malformed(NamedTuple):
    """What could not be read. lines: how many lines or values in a row of bytes; first: the number
    of the first (from 1); text: its beginning.
    """

    lines: int
    first: int
    text: str


class Parsed(NamedTuple):
    """samples (n, columns), NaN where a value is missing; malformed, or None."""

    samples: Samples
    malformed: Malformed | None


class Parser(Protocol):
    """Keeps what is not complete yet."""

    def feed(self, data: bytes) -> Parsed:
        """Take in bytes; return what is complete."""
        ...

    def end(self) -> Parsed:
        """Return what is left when no more bytes come."""
        ...


class Lines:
    """One sample a line: `columns` numbers, separated by commas, semicolons or white space. Empty
    lines and comments (#) are passed over.

    An empty field between commas, or "nan", is a missing value. A line of anything else, of another
    number of values, or with one beyond `LARGEST`, is malformed.
    """

    def __init__(self, columns: int) -> None:
        self.columns, self.line = columns, 0
        self._rest, self._lost = b"", False

    def feed(self, data: bytes) -> Parsed:
        *lines, rest = (self._rest + data).split(b"\n")
        if self._lost and lines:  # the end of a line that was too long
            lines, self._lost = lines[1:], False
            self.line += 1
        elif self._lost:
            rest = b""
        parsed = self._read(lines)
        if len(rest) > LONGEST:
            self._lost = True
            more = parsed.malformed or Malformed(0, self.line + 1, _shown(rest))
            parsed = Parsed(parsed.samples, Malformed(more.lines + 1, more.first, more.text))
            rest = b""
        self._rest = rest
        return parsed

    def end(self) -> Parsed:
        rest, self._rest = self._rest, b""
        return self._read([rest] if rest else [])

    def _read(self, lines: list[bytes]) -> Parsed:
        rows, bad = [], list[tuple[int, bytes]]()
        for text in lines:
            self.line += 1
            text = text.strip()
            if not text or text.startswith(b"#"):
                continue
            row = self._row(text)
            if row is None:
                bad.append((self.line, text))
            else:
                rows.append(row)
        samples = np.array(rows) if rows else np.empty((0, self.columns))
        return Parsed(samples, Malformed(len(bad), bad[0][0], _shown(bad[0][1])) if bad else None)

    def _row(self, text: bytes) -> list[float] | None:
        text = text.replace(b";", b",").replace(b"\t", b" ")
        fields = text.split(b",") if b"," in text else text.split()
        if len(fields) != self.columns or b"_" in text:
            return None
        try:
            row = [float(f) if f.strip() else math.nan for f in fields]
        except ValueError:
            return None
        return None if any(abs(v) > LARGEST for v in row) else row


class Binary:
    """Samples of `columns` little-endian numbers, float32 or int16 (which `scale` multiplies).

    A number beyond `LARGEST` is a missing one, and counted as malformed.
    """

    def __init__(self, columns: int, kind: str, scale: float) -> None:
        self.columns, self._type, self._scale = (
            columns,
            np.dtype("<f4" if kind == "f32" else "<i2"),
            scale,
        )
        self._rest, self.line = b"", 0

    def feed(self, data: bytes) -> Parsed:
        data = self._rest + data
        size = self._type.itemsize * self.columns
        n = len(data) // size
        self._rest = data[n * size :]
        samples = (
            np.frombuffer(data, self._type, n * self.columns)
            .reshape(n, self.columns)
            .astype(np.float64)
            * self._scale
        )
        bad = np.abs(samples) > LARGEST
        malformed = None
        if bad.any():
            malformed = Malformed(
                int(bad.sum()), self.line + 1 + int(np.argwhere(bad)[0][0]), "not a finite number"
            )
            samples[bad] = np.nan
        self.line += n
        return Parsed(samples, malformed)

    def end(self) -> Parsed:
        rest, self._rest = self._rest, b""
        return Parsed(
            np.empty((0, self.columns)),
            Malformed(1, self.line + 1, f"{len(rest)} bytes, less than a sample") if rest else None,
        )


def _shown(text: bytes) -> str:
    return text[:80].decode("utf-8", "backslashreplace")


class Piece(NamedTuple):
    """Repaired samples (n, C). gap: how many samples were missing before the first one, or had
    missing values; reset: begin anew before it.
    """

    samples: NDArray[Any]
    gap: int
    reset: bool


GAPS = ("hold", "zero", "drop", "reset")


class Repair:
    """What is done about missing values, and missing samples where lines begin with a time in
    seconds.

    policy: "hold", a missing value is the last one of its channel (0 at first), a missing sample
    repeats the last; "zero", both are 0; "drop", a sample with a missing value is left out, and
    nothing is put in for missing samples; "reset": as "drop", and the network begins anew after it.
    A gap of more than `longest` samples resets whatever the policy. Samples whose time does not go
    on are left out: `late` counts them.
    """

    def __init__(
        self,
        channels: int,
        policy: str,
        *,
        timed: bool = False,
        rate: float = 1.0,
        longest: int = 1000,
    ) -> None:
        self.channels, self.policy, self.timed, self.rate, self.longest = (
            channels,
            policy,
            timed,
            rate,
            longest,
        )
        self.late = self.missing = 0
        self._last, self._time = np.zeros(channels), math.nan
        self._reset = False

    def __call__(self, samples: Samples) -> list[Piece]:
        """Return the repaired samples, cut where something begins anew."""
        if not self.timed and not np.isnan(samples).any():  # the usual case
            if len(samples):
                self._last = samples[-1]
            return self._begun([Piece(samples, 0, False)]) if len(samples) else []
        pieces: list[Piece] = []
        rows: list[Samples] = []
        gap = 0

        def close() -> None:
            nonlocal gap
            if rows:
                pieces.append(Piece(np.array(rows), gap, self._reset))
                self._reset, gap = False, 0
                rows.clear()

        for row in samples:
            values = row[1:] if self.timed else row
            before = self._between(row[0]) if self.timed else 0
            if before < 0:
                self.late += 1
                continue
            holes = bool(np.isnan(values).any())
            if before or holes:
                if not gap:
                    close()
                gap += before + holes
                self.missing += before + holes
            if before > self.longest or (before and self.policy == "reset"):
                close()
                self._reset = True
            elif before and self.policy in ("hold", "zero"):
                rows += [self._last if self.policy == "hold" else np.zeros(self.channels)] * before
            if holes and self.policy in ("drop", "reset"):
                self._reset |= self.policy == "reset"
                continue
            if holes:
                values = np.where(
                    np.isnan(values), self._last if self.policy == "hold" else 0.0, values
                )
            if self._reset and rows:
                close()
            rows.append(values)
            self._last = values
        close()
        if gap:  # nothing but a gap so far
            pieces.append(Piece(np.empty((0, self.channels)), gap, False))
        return pieces

    def _begun(self, pieces: list[Piece]) -> list[Piece]:
        if self._reset:
            pieces[0], self._reset = pieces[0]._replace(reset=True), False
        return pieces

    def _between(self, time: float) -> int:
        """Return how many samples are missing between the last time and this one; -1 where it does
        not go on.
        """
        if math.isnan(time):
            return -1
        before = 0 if math.isnan(self._time) else round((time - self._time) * self.rate) - 1
        if before >= 0:
            self._time = time
        return before
