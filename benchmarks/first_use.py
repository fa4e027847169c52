"""What the first use of a neuron costs: compiled anew, and from the cache.
`python -m benchmarks.first_use`.

Each figure is taken in a process of its own, after torch's one-off imports: a layer of another
neuron has run forward and backward before. The first use is one forward and backward pass of a
small layer, tracing, printing, compiling and loading included.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

NEURONS = ("ALIF", "AdLIF", "Izhikevich")


def first_use(neuron: str) -> float:
    """Return the seconds of the first forward and backward pass with this neuron, after another
    one.
    """
    import torch

    import srnn

    def run(kind: str) -> float:
        layer, x = srnn.Layer(4, 16, getattr(srnn, kind)()), torch.rand(2, 20, 4)
        began = time.perf_counter()
        layer(x, backend="cpu").output.sum().backward()
        return time.perf_counter() - began

    run("LIF")
    return run(neuron)


def measured(neuron: str, folder: str) -> float:
    """Return that figure from a process of its own with this cache folder."""
    command = [sys.executable, "-m", "benchmarks.first_use", neuron]
    done = subprocess.run(
        command,
        env={**os.environ, "SRNN_KERNELS": folder},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout))


def main() -> None:
    """Print the table."""
    table = Table(
        title="First use of a neuron, seconds",
        caption="forward and backward of a layer of 16; median of 3 processes",
    )
    for column in ("neuron", "compiled", "from the cache"):
        table.add_column(column, justify="left" if column == "neuron" else "right")
    for neuron in NEURONS:
        new, kept = [], []
        for _ in range(3):
            with tempfile.TemporaryDirectory() as folder:
                new.append(measured(neuron, folder))
                kept.append(measured(neuron, folder))
        table.add_row(neuron, f"{statistics.median(new):.2f}", f"{statistics.median(kept):.3f}")
    Console().print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(first_use(sys.argv[1])))
    else:
        main()
