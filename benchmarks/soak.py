"""Does anything grow? A small task trained for 200 epochs, and streams opened and closed, in one
process.

    python -m benchmarks.soak                   (make soak runs this and others)
    python -m benchmarks.soak --epochs 1000 --streams 10000

After each epoch (each hundredth of the streams) it looks at resident memory, open files, threads,
child processes and temporary files. What is there after a fifth, when caches are warm, is compared
with what is there at the end.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import srnn
from srnn import tasks
from srnn.tasks.settings import override
from srnn.training import train

SETTINGS = [
    "data.train=8",
    "data.validation=4",
    "data.test=4",
    "data.steps=24",
    "batch=4",
    "network.hidden=[6]",
]
MEGABYTES = 8.0
"""By how much resident memory may grow; the allocator's own noise is two or three."""


def look() -> dict[str, float]:
    """Return what this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    children = sum(len(p.read_text().split()) for p in Path("/proc/self/task").glob("*/children"))
    return {
        "MB": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "children": children,
        "temporary": len(
            [p for p in Path(tempfile.gettempdir()).iterdir() if p.name.startswith("srnn")]
        ),
    }


def training(epochs: int, folder: Path) -> list[dict[str, float]]:
    """Train; return what was held after each epoch."""
    seen: list[dict[str, float]] = []

    def after(row: dict[str, Any]) -> None:
        gc.collect()
        seen.append(look())

    task = override(tasks.load("ecg_sim"), [*SETTINGS, f"epochs={epochs}"])
    train.fit(task, folder / "run", seed=0, progress=train.Progress(epoch=after))
    return seen


def streams(count: int, folder: Path) -> list[dict[str, float]]:
    """Open a stream, push, save, load and forget it, `count` times; return what was held after each
    hundredth.
    """
    net, seen = srnn.Stack(srnn.Layer(4, 36, srnn.ALIF()), srnn.Readout(36, 6)), []
    x = (torch.rand(1, 20, 4) < 0.3).float()
    for k in range(count):
        stream = srnn.Stream(net)
        stream.push(x)
        stream.save(folder / "state.safetensors")
        stream.load(folder / "state.safetensors")
        if k % max(1, count // 100) == 0:
            gc.collect()
            seen.append(look())
    return seen


def grown(seen: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Return of each number what it was when caches were warm, and at the end."""
    warm = seen[len(seen) // 5]
    return {key: (warm[key], seen[-1][key]) for key in warm}


def leaks(found: dict[str, tuple[float, float]]) -> list[str]:
    """Return what grew by more than it may."""
    return [
        key for key, (warm, end) in found.items() if end - warm > (MEGABYTES if key == "MB" else 0)
    ]


def measure(epochs: int, count: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Return what grew, by what was done."""
    torch.set_num_threads(1)
    gc.freeze()  # what was there before is not looked through after each epoch
    jobs: dict[str, Callable[[Path], list[dict[str, float]]]] = {
        f"{epochs} epochs": lambda folder: training(epochs, folder),
        f"{count} streams": lambda folder: streams(count, folder),
    }
    found = {}
    for name, job in jobs.items():
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            found[name] = grown(job(Path(folder)))
    gc.unfreeze()
    return found


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 where something grew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=200, help="epochs (default: 200)")
    parser.add_argument("--streams", type=int, default=1000, help="streams (default: 1,000)")
    args = parser.parse_args(argv)
    found = measure(args.epochs, args.streams)
    table = Table(title="held when warm → at the end", header_style="bold")
    table.add_column("what")
    for heading in next(iter(found.values())):
        table.add_column(heading, justify="right")
    for name, numbers in found.items():
        table.add_row(
            name,
            *(
                f"{warm:.1f} → {end:.1f}" if key == "MB" else f"{warm:.0f} → {end:.0f}"
                for key, (warm, end) in numbers.items()
            ),
        )
    Console().print(table)
    return 1 if any(leaks(numbers) for numbers in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
