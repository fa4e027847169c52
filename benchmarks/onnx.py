"""Time per step of one recording (B = 1): ONNX Runtime beside our backends. `python -m benchmarks.onnx`.

The ECG network of the task and a network of SHD's size, as the shapes of the speed table are calibrated. All run the same recording in one process,
one after the other, round after round; the medians over the rounds. One thread. What is timed step by step is called once a step, the state handed
on; the others get the whole recording in one call. Before the clock starts, all must give the same potentials.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import srnn
from benchmarks.networks import build, calibrate
from benchmarks.shapes import BenchmarkError, named
from benchmarks.timing import alternate, machine, set_threads
from srnn import tasks
from srnn.export.onnx import to_onnx
from srnn.export.onnx_play import OnnxPlayer

STEPS = 250
RIVALS = ("ONNX Runtime, cell", "eager module, step by step", "cpu backend, step by step", "ONNX Runtime, Scan", "cpu backend, whole")


def subject(name: str) -> tuple[srnn.Stack, Tensor]:
    """Return a network that fires, and one recording (1, T, C)."""
    if name == "ECG":
        torch.manual_seed(0)
        net = tasks.load("ecg").build()
        x = torch.randint(-1, 2, (1, STEPS, net.inputs)) * (torch.rand(1, STEPS, net.inputs) < 0.08)
        return net.eval(), x.float()
    (shape,) = named([name])
    shape = replace(shape, batch=8, steps=STEPS)
    net, (x, _) = build(shape), shape.data()
    calibrate(net, shape, x)
    return net.eval(), x[:1]


def rivals(net: srnn.Stack, x: Tensor, folder: Path) -> dict[str, Callable[[], Tensor]]:
    """Return what is timed: each gives the potentials of the whole recording, (T, K)."""
    cell, whole = (OnnxPlayer(to_onnx(net, folder / f"{form}.onnx", form=form, outputs=False)) for form in ("cell", "scan"))
    arrays, pieces = [step.numpy() for step in x.unbind(1)], list(x.split(1, 1))
    lengths = torch.tensor([x.shape[1]])

    def ort_cell() -> Tensor:
        state, found = cell.start(1), []
        for step in arrays:
            result = cell.step(step, state)
            state = result["next"]
            found.append(torch.from_numpy(result["potential"]))
        return torch.cat(found)

    def module(backend: str) -> Callable[[], Tensor]:
        def run() -> Tensor:
            state, found = net.start(1), []
            for piece in pieces:
                out = net(piece, state=state, backend=backend)
                state = out.state
                found.append(out.potential[:, 0])
            return torch.cat(found)

        return run

    calls = (ort_cell, module("reference"), module("cpu"), lambda: whole(x, lengths).potential[0], lambda: net(x, backend="cpu").potential[0])
    return dict(zip(RIVALS, calls, strict=True))


def check(found: dict[str, Tensor]) -> None:
    """Raise `BenchmarkError` unless all give the same potentials: no spike may lie within rounding of its threshold."""
    wanted = found["cpu backend, whole"]
    for name, potential in found.items():
        error = float((potential - wanted).abs().max())
        if not error < 1e-3:
            raise BenchmarkError(f"{name}: potentials differ by up to {error:.3g}; nothing is timed that computes something else")


def measure(name: str, rounds: int) -> dict[str, float]:
    """Return the median microseconds of a step of each rival."""
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        net, x = subject(name)
        calls = rivals(net, x, Path(folder))
        check({key: call() for key, call in calls.items()})
        times = alternate(calls, rounds)
    return {key: 1e6 * t.median / x.shape[1] for key, t in times.items()}


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    about = machine(set_threads(1))
    found = {name: measure(name, args.rounds) for name in ("ECG", "SHD")}
    if args.json:
        print(json.dumps({"machine": about, "microseconds_per_step": found}, indent=1))
        return
    table = Table(title="Microseconds per step, B = 1, one thread", caption="in brackets: times as long as ONNX Runtime's cell")
    for column in ("", *found):
        table.add_column(column, justify="left" if not column else "right")
    for rival in RIVALS:
        table.add_row(rival, *(f"{times[rival]:.1f} ({times[rival] / times[RIVALS[0]]:.2f})" for times in found.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
