"""Nanoseconds a step of exported C beside the module it comes from, one stream at a time:
`python -m benchmarks.export [RUN]`.

Compiled as the Makefile does (-O3), in one process, alternating, one thread; medians over the
rounds of processor time, so that other programs on the machine count less. "module, a step at a
time" hands each step to the module (cpu backend) with the state of the step before; "module, whole"
runs all steps of the recording in one call, B = 1.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import srnn
from benchmarks.timing import machine, set_threads
from srnn.export import CPlayer, footprint, to_c

STEPS = 1000


def networks(run: Path | None) -> dict[str, tuple[srnn.Stack, float]]:
    """Networks, and the rate of their input events. They are not trained, but for `run`."""
    torch.manual_seed(0)
    alif = srnn.ALIF(beta=0.0, b0=0.1)
    found = {
        "ECG 4-36-6": (
            srnn.Stack(
                srnn.Layer(4, 36, alif, recurrent_bias=True),
                srnn.Layer(36, 6, srnn.ALIF(), recurrent=False),
            ),
            0.05,
        ),
        "SHD 700-128-128-20": (
            srnn.Stack(
                srnn.Layer(700, 128, srnn.ALIF()),
                srnn.Layer(128, 128, srnn.ALIF()),
                srnn.Readout(128, 20),
            ),
            0.02,
        ),
    }
    if run is not None:
        from srnn.training.runs import load_run

        found[str(run)] = (load_run(run)[3], 0.05)
    return found


def measure(net: srnn.Stack, rate: float, rounds: int) -> tuple[dict[str, float], list[str]]:
    """Return nanoseconds a step by name, and what was exported in words."""
    net = net.eval()
    x = (
        torch.rand(1, STEPS, net.inputs, generator=torch.Generator().manual_seed(1)) < rate
    ).float()
    steps: dict[str, Callable[[], object]] = {}
    words = []
    with tempfile.TemporaryDirectory() as work:
        for name, bits in {"C float32": None, "C int8": 8, "C int4": 4}.items():
            model = to_c(net, Path(work) / name, bits=bits, calibration=x)
            size, player = footprint(model), CPlayer(model)
            given = player.given(x[0])
            steps[name] = lambda player=player, given=given: player.compiled.play(
                given, outputs=False
            )
            words.append(
                f"{name}: flash {size.flash} bytes ({size.tables} of tables), RAM {size.ram}"
            )
    steps["module, a step at a time"] = lambda: stream(net, x[:, :100])
    steps["module, whole"] = lambda: whole(net, x)
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            begin = time.thread_time()
            step()
            spent[name].append(
                (time.thread_time() - begin) / (100 if name.endswith("time") else STEPS)
            )
    return {name: statistics.median(s[1:]) * 1e9 for name, s in spent.items()}, words


@torch.no_grad()
def stream(net: srnn.Stack, x: Tensor) -> None:
    """Run step by step, the state handed on."""
    state = None
    for t in range(x.shape[1]):
        state = net(x[:, t : t + 1], state=state, backend="cpu").state


@torch.no_grad()
def whole(net: srnn.Stack, x: Tensor) -> None:
    """Run all steps in one call."""
    net(x, backend="cpu")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="also measure the network of this run")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    console, threads = Console(width=130), set_threads(1)
    console.print(f"{machine(threads)}")
    for title, (net, rate) in networks(args.run).items():
        found, words = measure(net, rate, args.rounds)
        table = Table(title=f"{title}, input events at {rate:.0%}", title_justify="left")
        for column in ("", "ns / step", "times C float32"):
            table.add_column(column, justify="left" if not column else "right")
        for name, value in found.items():
            table.add_row(name, f"{value:.0f}", f"{value / found['C float32']:.2f}")
        console.print(table, *words, sep="\n")


if __name__ == "__main__":
    main()
