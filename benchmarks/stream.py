"""Latency of one step of one stream (B = 1): ours, the eager module, ONNX Runtime.
`python -m benchmarks.stream`.

    python -m benchmarks.stream   the networks of the tasks ecg and shd, at several firing rates
    python -m benchmarks.stream --network ecg --rounds 15 --steps 2000 --json stream.json

One thread, one process, in turn, round after round. A figure is the time of all steps of a round
divided by their number, the median over the rounds (the best round is in the JSON, too). Torch
modules and ONNX Runtime, which take longer, run a tenth of the steps. Input: events of the density
that belongs to the network (8 % of 4 channels, 2 % of 700); weights are drawn, and the input
weights of the first layer scaled until the hidden layers fire at the wanted rate, which is printed
as it was measured.

    step       potential and output of one step, the state kept packed
               (`srnn.stream.engine.Engine.step`), called from Python
    chunk      the same in one call for all steps: what the C code takes, without Python
    push       a step with scores, class, confidence and events (`Stream.push`)
    module     the network itself, compiled kernel, state handed from call to call
    eager      the network itself, `backend="reference"`: torch operations
    ort        ONNX Runtime on the exported cell, one thread, states fed back; left out where
               onnxruntime is missing, and that is said
    ort scan   ONNX Runtime on the exported whole network, in one call for all steps

Every row says whether potentials are those of `net(x)` on the whole sequence: "bits" are equal, or
the largest difference over the largest value.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.timing import alternate, machine
from srnn import Stack, tasks
from srnn.stream import Decision, Stream
from srnn.stream.engine import Engine

NETWORKS = {"ecg": 0.08, "shd": 0.02}
"""Task, and density of its input events."""
RATES = (0.02, 0.10, 0.30)
FAST = ("step", "chunk", "push")


def network(name: str, rate: float, x: torch.Tensor) -> tuple[Stack, float]:
    """Return the network of a task whose hidden layers together fire at about `rate`, and the rate
    it has.
    """
    torch.manual_seed(0)
    net = tasks.load(name).build().eval()
    with torch.no_grad():
        weight = net.layers[0].weight.clone()
        low, high, measured = 0.0, 1000.0, 0.0
        for _ in range(16):
            gain = (low * high) ** 0.5 if low else high / 1e3
            net.layers[0].weight.copy_(weight * gain)
            rates = net(x, record=True).trace.rates()[:-1]
            measured = float(np.average(rates, weights=[p.outputs for p in net.parts()[:-1]]))
            if abs(measured - rate) < 0.1 * rate:
                break
            low, high = (gain, high) if measured < rate else (low, gain)
    return net, measured


def onnx_runtime(
    net: Stack, folder: Path, x: np.ndarray[Any, Any]
) -> tuple[dict[str, Callable[[], Any]], str]:
    """Return what runs x (1, T, C), by the exported cell and by the exported whole, and the
    version; {} and why not, where that is not here.
    """
    try:
        import onnxruntime

        from srnn.export.onnx import to_onnx
        from srnn.export.onnx_play import OnnxPlayer, session
    except ImportError as error:
        return {}, str(error)
    path = to_onnx(net, folder / "cell.onnx", form="cell", outputs=False)
    start, cell = OnnxPlayer(path).start(1), session(path)
    names = [o.name for o in cell.get_outputs()]
    fed = [(name, names.index(f"{name}.next")) for name in start]
    whole = session(to_onnx(net, folder / "net.onnx", outputs=False))
    rows = [np.ascontiguousarray(x[:, t]) for t in range(x.shape[1])]

    def steps() -> Any:
        state, made = start, []
        for row in rows:
            results = cell.run(None, {"x": row, **state})
            state = {name: results[k] for name, k in fed}
            made.append(results[0])
        return np.stack(made, 1)

    return {
        "ort": steps,
        "ort scan": lambda: whole.run(["potential"], {"x": x})[0],
    }, onnxruntime.__version__


def steps_of(net: Stack, x: torch.Tensor, folder: Path) -> tuple[dict[str, Callable[[], Any]], str]:
    """Return the implementations, each running all steps of x (1, T, C) and returning the
    potentials, and a word on ONNX Runtime.
    """
    engine, stream = Engine(net, 1, "cpu"), Stream(net, decision=Decision("last"))
    start, values = net.start(1), x.numpy()
    rows = [np.ascontiguousarray(values[0, t]) for t in range(values.shape[1])]
    pieces = [x[:, t : t + 1] for t in range(x.shape[1])]

    def step() -> Any:
        engine.put(start)
        return np.concatenate([engine.step(row)[0].copy() for row in rows], 1)

    def chunk() -> Any:
        engine.put(start)
        return engine.run(values, None)[0]

    def push() -> Any:
        stream.reset()
        return np.stack([stream.push(row).scores for row in rows])[None]

    def module(backend: str) -> Callable[[], Any]:
        @torch.inference_mode()
        def run() -> Any:
            state, made = start, []
            for piece in pieces:
                out = net(piece, state=state, backend=backend)
                state = out.state
                made.append(out.potential)
            return torch.cat(made, 1).numpy()

        return run

    runs = {
        "step": step,
        "chunk": chunk,
        "push": push,
        "module": module("cpu"),
        "eager": module("reference"),
    }
    others, about = onnx_runtime(net, folder, values)
    return runs | others, about


def measure(name: str, rate: float, steps: int, rounds: int) -> dict[str, Any]:
    """Return one row."""
    density = NETWORKS[name]
    net, measured = network(name, rate, _events(name, density, 500, 1))
    few = max(1, steps // 10)
    x = _events(name, density, steps, 0)
    with torch.no_grad():
        expected = net(x, backend="cpu").potential.numpy()
    with tempfile.TemporaryDirectory() as folder:
        runs, _ = steps_of(net, x, Path(folder))
        slow, about = steps_of(net, x[:, :few], Path(folder))
        runs = {kind: runs[kind] if kind in FAST else run for kind, run in slow.items()}
        parity = {}
        for kind, run in runs.items():
            got = run()
            wanted = expected[:, : got.shape[1]]
            parity[kind] = (
                "bits"
                if np.array_equal(got, wanted)
                else f"{np.abs(got - wanted).max() / np.abs(wanted).max():.0e}"
            )
        times = alternate(runs, rounds)
    per = {kind: 1e9 / (steps if kind in FAST else few) for kind in runs}
    ns = {kind: round(per[kind] * t.median) for kind, t in times.items()}
    best = {kind: round(per[kind] * min(t.rounds)) for kind, t in times.items()}
    return {
        "network": name,
        "rate": rate,
        "measured": round(measured, 4),
        "density": density,
        "ns": ns,
        "best": best,
        "parity": parity,
        "ort": about,
    }


def _events(name: str, density: float, steps: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (torch.rand(1, steps, tasks.load(name).shape.channels, generator=draw) < density).float()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--network",
        action="append",
        choices=tuple(NETWORKS),
        help="may be given more than once (default: both)",
    )
    parser.add_argument("--steps", type=int, default=500, help="steps of a round (default: 500)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds (default: 15)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    console = Console(width=150)
    rows = []
    for name in args.network or NETWORKS:
        for rate in RATES:
            rows.append(measure(name, rate, args.steps, args.rounds))
            console.print(f"{name} at {rows[-1]['measured']:.1%}: {rows[-1]['ns']}")
    kinds = list(rows[0]["ns"])
    table = Table(
        title="ns a step, B = 1, one thread, medians; behind it, in steps of ours",
        header_style="bold",
    )
    for heading in ("network", "hidden fire", *kinds, "potentials"):
        table.add_column(
            heading, justify="left" if heading in ("network", "potentials") else "right"
        )
    for row in rows:
        ns = row["ns"]
        cells = [
            f"{ns[k]:,}" + (f"  {ns[k] / ns['step']:.1f}x" if k not in FAST else "") for k in kinds
        ]
        table.add_row(
            row["network"],
            f"{row['measured']:.1%}",
            *cells,
            " ".join(f"{k} {v}" for k, v in row["parity"].items()),
        )
    console.print(table)
    about = machine(1)
    console.print(
        f"{about['processor']}, torch {about['torch']}, Python {about['python']}; ONNX "
        f"Runtime: {rows[0]['ort']}"
    )
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
