"""A stretch of steps on the wire: a length, a JSON head, arrays one after the other.

    uint32                    bytes of the head, a multiple of 4 (padded with spaces)
    head                      {"step", "n", "signal", "begins", "clock", "source"}
    float32  (n, signal, 2)   lowest and highest sample of each channel in every step
    int16    (n,)             the leading class, -1 = none yet
    int16    (n,)             the true class, -1 = unknown
    int8     (n, rows)        input of the network, then the output of every layer: ±127 is an
                              event, or the end of a scale
    uint8    (n, K)           probability of each class, 255 = 1

All numbers are little-endian. step counts all steps since the server began. begins: [[step of the
frame, {"number", "index", "name", "truth"}], …], the recordings that begin in it. clock: when its
first step was due, by the machine's monotonic clock. More channels than `ROWS` are shown in groups,
of which the largest value.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from srnn.serve.playing import Array

ROWS = 128
"""Rows of a layer, or of the input, that are sent at most."""


@dataclass(frozen=True)
class Rows:
    """How values are shown: `channels` of them in rows of `group`. low, high: the ends of the
    scale, which has a sign where 0 is in its middle.
    """

    channels: int
    low: float = -1.0
    high: float = 1.0

    @staticmethod
    def of(values: Array) -> Rows:
        """Return how values (T, C) like these are shown: leaving out the most extreme ones."""
        low, high = (float(v) for v in np.percentile(values, (1, 99)))
        if low < 0 < high and min(-low, high) > max(-low, high) / 3:
            low, high = min(low, -high), max(-low, high)
        return Rows(values.shape[1], low, high)

    @property
    def group(self) -> int:
        """Channels of a row."""
        return -(-self.channels // ROWS)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return -(-self.channels // self.group)

    def __call__(self, x: Array) -> Array:
        """Return values (n, channels) as bytes (n, rows)."""
        x = x.astype(np.float32)
        x = (
            np.clip(x / self.high, -1, 1)
            if self.low == -self.high
            else np.clip((x - self.low) / ((self.high - self.low) or 1.0), 0, 1)
        )
        if self.group > 1:
            x = np.pad(x, ((0, 0), (0, self.rows * self.group - self.channels))).reshape(
                len(x), self.rows, self.group
            )
            x = np.where(-x.min(2) > x.max(2), x.min(2), x.max(2))
        made: Array = np.rint(127 * np.nan_to_num(x)).astype(np.int8)
        return made


def pack(
    head: dict[str, Any],
    signal: Array,
    label: Array,
    truth: Array,
    rows: list[Array],
    shares: Array,
) -> bytes:
    """Return a frame of n steps; arrays as the module's text has them."""
    text = json.dumps(
        {**head, "n": len(label), "signal": signal.shape[1]}, allow_nan=False
    ).encode()
    text += b" " * (-len(text) % 4)
    arrays = [
        np.nan_to_num(signal).astype("<f4"),
        label.astype("<i2"),
        truth.astype("<i2"),
        *rows,
        np.rint(255 * np.nan_to_num(shares)).astype(np.uint8),
    ]
    return (
        struct.pack("<I", len(text))
        + text
        + b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)
    )


def unpack(data: bytes, rows: list[int], classes: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the head and the arrays of a frame: signal, label, truth, rows (a list), shares. rows:
    of the input and of each layer.
    """
    size = struct.unpack_from("<I", data)[0]
    head, at = json.loads(data[4 : 4 + size]), 4 + size
    n = head["n"]

    def array(kind: str, *shape: int) -> Array:
        nonlocal at
        made = np.frombuffer(data, kind, int(np.prod(shape)), at).reshape(shape)
        at += made.nbytes
        return made

    found = {
        "signal": array("<f4", n, head["signal"], 2),
        "label": array("<i2", n),
        "truth": array("<i2", n),
    }
    return head, {
        **found,
        "rows": [array("i1", n, r) for r in rows],
        "shares": array("u1", n, classes),
    }
