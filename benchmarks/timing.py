"""Timing: several implementations in one process, one after the other, round after round; medians
over the rounds.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

SLOW = 20.0
"""Seconds of a step from which on an implementation gets one round only."""
PAUSE = 0.05
"""Seconds between two implementations, in which the threads of the one before come to rest."""


@dataclass
class Times:
    """Seconds of each round. first: the first step, which compiles and allocates and does not
    count. failed: why there are none.
    """

    rounds: list[float] = field(default_factory=list)
    first: float | None = None
    failed: str | None = None

    @property
    def median(self) -> float:
        """Median over the rounds, or NaN."""
        return statistics.median(self.rounds) if self.rounds else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Return everything, with the spread."""
        spread = {"best": min(self.rounds), "worst": max(self.rounds)} if self.rounds else {}
        return {
            "median": self.median if self.rounds else None,
            **spread,
            "rounds": self.rounds,
            "first": self.first,
            "failed": self.failed,
        }


def alternate(
    steps: Mapping[str, Callable[[], object]],
    rounds: int,
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, Times]:
    """Run every step once to warm up, then `rounds` rounds of all of them in turn.

    One that raises is left out from there on, with its reason.
    """
    times = {name: Times() for name in steps}
    for turn in range(-1, rounds):
        for name, step in steps.items():
            kept = times[name]
            if kept.failed or (
                turn > 0 and kept.first is not None and kept.rounds and kept.rounds[0] > SLOW
            ):
                continue
            progress(f"{name}, {'warm-up' if turn < 0 else f'round {turn + 1} of {rounds}'}")
            gc.collect()  # what one leaves behind is not collected in the time of the next
            time.sleep(PAUSE)
            begin = time.perf_counter()
            try:
                step()
            except Exception as error:  # a competitor that breaks costs its own row only
                kept.failed, kept.rounds = f"{type(error).__name__}: {first_line(error)}", []
                continue
            seconds = time.perf_counter() - begin
            if turn < 0:
                kept.first = seconds
            else:
                kept.rounds.append(seconds)
    return times


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 160 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else ""


def set_threads(count: int) -> int:
    """Use `count` cores: torch's threads, and the cores this process may run on (JAX has no other
    setting; do it before JAX is imported).

    Returns the number in use, which is smaller on a smaller machine.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        count = min(count, len(cores))
        os.sched_setaffinity(0, set(cores[:count]))
    torch.set_num_threads(count)
    return count


def machine(threads: int) -> dict[str, Any]:
    """Describe the machine: processor, cores, threads in use, versions."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
