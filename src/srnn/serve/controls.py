"""What a viewer may ask for, checked: a JSON object with one key."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import numpy as np

from srnn.serve.playing import BLOCKS, Array

LONGEST = 1 << 16
"""Bytes of a message, at most."""
SPEEDS = (0.25, 100.0)
NOISE = 3.0
"""The most noise there is, in deviations of the signal."""

FORM = (
    '{"pause": true|false}, {"speed": 0.25 … 100}, {"recording": NUMBER from 0}, '
    '{"source": NAME}, {"noise": 0 … 3}, '
    '{"lead": NUMBER from 0, or null}, {"reset": true}'
)


class Command(NamedTuple):
    """What is asked for, and its value."""

    what: str
    value: Any


class RefusedError(ValueError):
    """A message that is none; its text says what was wanted."""


def command(text: str) -> Command:
    """Return the command of a message. Raises `RefusedError`."""
    if len(text) > LONGEST:
        raise RefusedError(f"A message of {len(text)} characters; at most {LONGEST}.")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise RefusedError(f"That is no JSON; expected one of {FORM}.") from None
    if not isinstance(given, dict) or len(given) != 1:
        raise RefusedError(f"Expected an object with one key: one of {FORM}.")
    (what, value), *_ = given.items()
    if not _fits(what, value):
        raise RefusedError(f"Expected one of {FORM}.")
    return Command(what, float(value) if what in ("speed", "noise") else value)


def _fits(what: str, value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole or (isinstance(value, float) and math.isfinite(value))
    if what == "pause":
        return isinstance(value, bool)
    if what == "reset":
        return value is True
    if what in ("speed", "noise"):
        low, high = SPEEDS if what == "speed" else (0.0, NOISE)
        return number and low <= value <= high
    if what == "recording":
        return whole and 0 <= value < 2**53
    if what == "lead":
        return value is None or (whole and 0 <= value < BLOCKS)
    return what == "source" and isinstance(value, str) and len(value) <= 32


def heard(data: bytes) -> Array:
    """Return the samples of a binary message, float32 in [-1, 1]. Raises `RefusedError`."""
    if not data or len(data) > LONGEST or len(data) % 4:
        raise RefusedError(
            f"{len(data)} bytes of sound; expected float32 samples, at most {LONGEST} bytes."
        )
    samples = np.frombuffer(data, "<f4")
    if not np.isfinite(samples).all():
        raise RefusedError("Sound that is not finite.")
    clipped: Array = np.clip(samples, -1.0, 1.0)
    return clipped
