"""Memory of a training step against the length of the recordings: full BPTT, activation
checkpointing (segments), truncated BPTT.

    python -m benchmarks.memory
    python -m benchmarks.memory --backend reference --steps 500 1000 --segment 50

One training step (forward, backward, Adam) of 4 → 36 → 36 → 6 (ALIF, ALIF, leaky read-out; a label
every step), by the code that trains tasks. Every figure comes from a process of its own:

    held   bytes of all tensors that exist because of the forward pass when the backward pass begins
           (the outputs and what autograd keeps; input, labels, weights and optimiser left out):
           every storage that an operation returned is watched, and those still alive are added up.
           For truncated BPTT the largest chunk. A kernel's inner buffers and autograd's own nodes
           are not seen here. Watching is slow: the reference loop, whose operations are many, is
           watched up to 2000 steps only.
    peak   growth of the process's resident memory during a whole step, as the system counts it
           (VmHWM, reset before the step, less VmRSS before it): everything is in it, buffers and
           fragmentation too. Linux only.
    s      seconds of that step, after one short step to warm up.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from srnn import ALIF, Layer, Readout, Stack, tasks
from srnn.tasks.task import Batch, Task
from srnn.tasks.truncation import Truncation
from srnn.training.chunks import chunks

MODES = ("full", "segments", "truncated")
UNITS = 36 + 36 + 6


class Watch(TorchDispatchMode):
    """Every storage that an operation returned while this was entered."""

    def __init__(self) -> None:
        super().__init__()
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor):
                ref = StorageWeakRef(value.untyped_storage())
                self._storages[ref.cdata] = (ref, value.untyped_storage().nbytes())
        return result

    def held(self) -> int:
        """Bytes that are still alive."""
        self._storages = {
            key: (ref, size) for key, (ref, size) in self._storages.items() if not ref.expired()
        }
        return sum(size for _, size in self._storages.values())


def problem(steps: int, batch: int) -> tuple[Stack, torch.optim.Optimizer, Batch]:
    """Return the network, its optimiser and a batch of random events."""
    torch.manual_seed(0)
    net = Stack(Layer(4, 36, ALIF()), Layer(36, 36, ALIF()), Readout(36, 6))
    x, labels = (torch.rand(batch, steps, 4) < 0.08).float(), torch.randint(6, (batch, steps))
    return net, torch.optim.Adam(net.parameters()), Batch(x, labels, torch.full((batch,), steps))


def step(
    task: Task,
    net: Stack,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    backend: str,
    watch: Watch | None = None,
) -> int:
    """Make one training step; return the bytes held for backward, of the largest chunk."""
    held, run = 0, chunks(task, net, batch, backend)
    optimiser.zero_grad()
    while True:
        with watch or nullcontext():  # forward only: watching is slow
            chunk = next(run)
            held = max(held, watch.held() if watch is not None else 0)
        chunk.loss.backward()
        if chunk.last:
            break
    optimiser.step()
    return held


def status(name: str) -> int | None:
    """Return VmRSS or VmHWM in bytes, None where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    return None


def measure(mode: str, steps: int, args: argparse.Namespace) -> dict[str, Any]:
    """Measure one figure in this process."""
    torch.set_num_threads(args.threads)
    task = replace(
        tasks.load("ecg_sim"),
        segment=args.segment if mode == "segments" else None,
        truncation=Truncation(args.chunk) if mode == "truncated" else None,
    )
    net, optimiser, batch = problem(steps, args.batch)
    warm = Batch(batch.x[:, :20], batch.labels[:, :20], batch.lengths.clamp(max=20))
    step(task, net, optimiser, warm, args.backend)
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    before = None
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        before = status("VmRSS")
    began = time.perf_counter()
    step(task, net, optimiser, batch, args.backend)
    seconds = time.perf_counter() - began
    peak = None if before is None else (status("VmHWM") or before) - before
    backend = net.which_backend(batch.x, args.backend).name
    held = (
        step(task, net, optimiser, batch, args.backend, Watch())
        if steps <= 2000 or backend != "reference"
        else None
    )
    return {
        "mode": mode,
        "steps": steps,
        "held": held,
        "peak": peak,
        "seconds": seconds,
        "backend": backend,
    }


def megabytes(value: int | None) -> str:
    """Return a number of bytes for the table."""
    return "–" if value is None else f"{value / 1e6:.1f}"


def table(rows: list[dict[str, Any]], args: argparse.Namespace) -> Table:
    """Return the table, a row a length."""
    title = (
        f"Memory of a training step (MB), B = {args.batch}, 4 → 36 → 36 → 6, backend "
        f"{rows[0]['backend']}, {args.threads} thread(s)"
    )
    made = Table(title=title, title_justify="left")
    made.add_column("T", justify="right")
    for name in ("full BPTT", f"segment={args.segment}", f"chunk={args.chunk}"):
        for first, what in ((name, "held"), ("", "peak"), ("", "s")):
            made.add_column(f"{first}\n{what}", justify="right")
    made.add_column("full, held: bytes\na unit and step", justify="right")
    for steps in args.steps:
        cells, found = [str(steps)], {row["mode"]: row for row in rows if row["steps"] == steps}
        for mode in MODES:
            cells += [
                megabytes(found[mode]["held"]),
                megabytes(found[mode]["peak"]),
                f"{found[mode]['seconds']:.2f}",
            ]
        held = found["full"]["held"]
        made.add_row(*cells, "–" if held is None else f"{held / (args.batch * steps * UNITS):.1f}")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--backend", default="auto", help="who runs the time loop (default: auto)")
    parser.add_argument(
        "--steps",
        type=int,
        nargs="+",
        default=[500, 1000, 2000, 4000, 8000],
        metavar="T",
        help="lengths",
    )
    parser.add_argument(
        "--batch", type=int, default=16, metavar="B", help="recordings (default: 16)"
    )
    parser.add_argument(
        "--segment", type=int, default=100, help="steps of a segment (default: 100)"
    )
    parser.add_argument(
        "--chunk", type=int, default=100, help="steps of a chunk of truncated BPTT (default: 100)"
    )
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of torch (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--one", choices=MODES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.steps[0], args)))
        return
    same = [
        f"--{name}={getattr(args, name)}"
        for name in ("backend", "batch", "segment", "chunk", "threads")
    ]
    rows = []
    for steps in args.steps:
        for mode in MODES:
            command = [
                sys.executable,
                "-m",
                "benchmarks.memory",
                "--one",
                mode,
                "--steps",
                str(steps),
                *same,
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                sys.exit(done.returncode)
            rows.append(json.loads(done.stdout))
            print(f"T = {steps}, {mode}: {megabytes(rows[-1]['peak'])} MB", file=sys.stderr)
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        Console(width=150, highlight=False).print(table(rows, args))


if __name__ == "__main__":
    main()
