"""The speed a user's own neuron gets: `python -m benchmarks.own_neuron`.

The neuron of `examples/own_neuron.py`, which the package has never seen: a training step (forward,
backward, Adam) on the reference loop and on the compiled kernels, in one process, alternating, at
the usual firing rate.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

from rich.console import Console

import srnn
from benchmarks.networks import calibrate, ours
from benchmarks.shapes import Shape
from benchmarks.timing import alternate, set_threads

SHAPE = Shape("own", 64, 250, 1, (128, 128), 3, density=0.10)


def main() -> None:
    """Print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    threads = set_threads(args.threads)
    neuron = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "own_neuron.py"))[
        "Resonator"
    ]
    net = srnn.Stack(
        *(srnn.Layer(below, 128, neuron()) for below in SHAPE.widths[:-1]), srnn.Readout(128, 3)
    )
    x, labels = SHAPE.data()
    rates = ", ".join(f"{r:.0%}" for r in calibrate(net, SHAPE, x))
    times = alternate({b: ours(net, x, labels, b) for b in ("reference", "cpu")}, args.rounds)
    slow, fast = times["reference"].median, times["cpu"].median
    Console().print(
        f"{neuron.__name__}, {SHAPE.sizes()}, {threads} threads, hidden layers fire at {rates}:\n"
        f"reference {1e3 * slow:.0f} ms, cpu {1e3 * fast:.0f} ms a training step: "
        f"{slow / fast:.1f} times as fast (medians of {args.rounds} rounds)"
    )


if __name__ == "__main__":
    main()
