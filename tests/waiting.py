"""Waiting for what happens, with a limit that no loaded machine reaches."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

GENEROUS = 240.0
"""Seconds, less than a test may last: never reached in a test that passes."""


def until(
    what: Callable[[], T], process: subprocess.Popen | None = None, seconds: float = GENEROUS
) -> T:
    """Wait until something is true, and return it. process: fail at once where it ends before."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return found
