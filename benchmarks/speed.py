"""Time and memory of a training step: reference loop, ours, torch.nn.LSTM, torch.nn.RNN, and the
dense products alone.

    python -m benchmarks.speed [--shape NAME]… [--rounds N] [--threads N]
                               [--json FILE] [--no-memory]

One process, one implementation after the other, round after round; medians. No speed-up is printed
where ours does not compute what the reference loop computes; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import srnn
from benchmarks import calibrate, footprint, networks, parity, report, timing
from benchmarks.shapes import BenchmarkError, Shape, named

OURS = "cpu"
NAMES = ("reference", "ours", "LSTM", "RNN", "dense products")
MISSING = (
    f"this version of srnn has no backend {OURS!r}: nothing to compare with the reference loop"
)


def has_ours() -> bool:
    """Whether the fused backend is part of the installed version."""
    return OURS in srnn.kernels.scan.BACKENDS


def check(net: srnn.Stack, x: Tensor, y: Tensor) -> dict[str, Any] | None:
    """Compare ours with the reference; None where ours does not exist, {"failed": why} where it
    raises.
    """
    if not has_ours():
        return None
    try:
        return parity.compare(net, x, y, _recorded("reference"), _recorded(OURS)).as_dict()
    except Exception as error:  # whatever it is, the other rows are still worth having
        return {"failed": f"{type(error).__name__}: {timing.first_line(error)}", "holds": False}


def _recorded(backend: str) -> parity.Forward:
    return lambda net, x: net(x, record=True, backend=backend)


def refusal(compared: dict[str, Any] | None) -> str:
    """Return why no speed-up may be printed, or an empty string."""
    if compared is None:
        return MISSING
    return "" if compared["holds"] else str(compared.get("why") or compared.get("failed"))


def measure(
    shape: Shape, rounds: int, threads: int, with_memory: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure one shape: everything a row needs, and the raw numbers behind it."""
    say(f"{shape.name}: calibrating")
    x, y = shape.data()
    net = networks.build(shape)
    rates = networks.calibrate(net, shape, x)
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    say(f"{shape.name}: comparing with the reference")
    compared = check(net, x, y)
    products = networks.DenseProducts(shape)
    steps: dict[str, Callable[[], object]] = {"reference": networks.ours(net, x, y, "reference")}
    if has_ours():
        steps["ours"] = networks.ours(net, x, y, OURS)
    steps |= {
        "LSTM": networks.gated(nn.LSTM, shape, x, y),
        "RNN": networks.gated(nn.RNN, shape, x, y),
        "dense products": products,
    }
    times = timing.alternate(steps, rounds, lambda what: say(f"{shape.name}: {what}"))
    with torch.no_grad():
        after = net(x, record=True, backend="reference").trace.rates()[:-1]
    calibrate.check_rates("srnn after the timing", shape, after)
    result: dict[str, Any] = {
        "shape": {**asdict(shape), "measured_density": float((x != 0).double().mean())},
        "rates": rates,
        "rates_after": after,
        "parity": compared,
        "times": {name: kept.as_dict() for name, kept in times.items()},
        "dense_flop": products.flop,
    }
    del steps, products
    if with_memory:
        result["memory"] = measure_memory(shape, weights, threads, say)
    return {**result, "_times": times}


def measure_memory(
    shape: Shape, weights: dict[str, Tensor], threads: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure peak memory and the memory held for backward, each implementation in a process of its
    own.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.pt"
        torch.save(weights, file)
        measured = {}
        for name in footprint.IMPLEMENTATIONS:
            if name != "ours" or has_ours():
                say(f"{shape.name}: memory of {name}")
                measured[name] = footprint.in_own_process(shape, name, file, threads)
    return measured


def print_tables(
    results: list[dict[str, Any]], shapes: tuple[Shape, ...], about: dict[str, Any]
) -> None:
    """Print what was measured."""
    out = report.console()
    out.print(report.heading(about), markup=False)
    rows, notes = [], []
    for shape, result in zip(shapes, results, strict=True):
        times, why = result["_times"], refusal(result["parity"])
        rows.append(
            [
                shape.name,
                f"{shape.sizes()}\n{shape.input_kind()}",
                report.rates_cell(result["rates"]),
                *(report.time_cell(times.get(name)) for name in NAMES),
                report.ratio_cell(times["reference"], times.get("ours"), why),
                report.ratio_cell(times["LSTM"], times.get("ours"), why),
                report.parity_cell(result["parity"]),
            ]
        )
        if why and has_ours():
            notes.append(f"{shape.name}: no speed-up printed: {why}")
        notes += [
            f"{shape.name}: {name} failed: {kept.failed}"
            for name, kept in times.items()
            if kept.failed
        ]
    columns = (
        "shape",
        "B, T, in → hidden → out",
        "hidden rates",
        "reference",
        "ours",
        "LSTM",
        "RNN",
        "dense",
        "× ref.",
        "× LSTM",
        "parity with ref.",
    )
    out.print(
        report.table("One training step (forward, backward, Adam)", columns, rows, text_columns=2)
    )
    if any("memory" in result for result in results):
        out.print(_memory_table(results, shapes))
    if not has_ours():
        notes.append(MISSING)
    for note in notes:
        out.print(note, markup=False)


def _memory_table(results: list[dict[str, Any]], shapes: tuple[Shape, ...]) -> Any:
    rows = []
    for shape, result in zip(shapes, results, strict=True):
        measured = result.get("memory", {})
        cells = [measured.get(name, {"failed": "-"}) for name in footprint.IMPLEMENTATIONS]
        peaks = [
            "-" if "failed" in cell else f"{cell['peak'] / footprint.MIB:.0f} MiB" for cell in cells
        ]
        held = [
            "-" if "failed" in cell else f"{footprint.per_neuron(cell['held'], shape):.1f} B"
            for cell in cells
        ]
        rows.append([shape.name, *peaks, *held])
    names = footprint.IMPLEMENTATIONS
    columns = ("shape", *(f"{name}\npeak" for name in names), *(f"{name}\nheld" for name in names))
    return report.table(
        "Memory: growth during one step; held for backward per (recording, step, neuron)",
        columns,
        rows,
    )


def parse(
    argv: list[str] | None, description: str | None, peers: bool = False
) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Parse the options that both benchmarks share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shape", action="append", metavar="NAME", help="measure this shape only (repeatable)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds to take the median of (default 5)"
    )
    parser.add_argument("--threads", type=int, default=2, help="cores to use (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all raw numbers here")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory out")
    if peers:
        parser.add_argument(
            "--peer", action="append", metavar="NAME", help="measure this peer only (repeatable)"
        )
    args = parser.parse_args(argv)
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    return parser, args


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser, args = parse(argv, __doc__)
    try:
        shapes = named(args.shape)
    except BenchmarkError as error:
        parser.error(str(error))
    threads = timing.set_threads(args.threads)
    about = {**timing.machine(threads), "rounds": args.rounds}
    out = report.console()
    with out.status("measuring") as status:
        results = [
            measure(shape, args.rounds, threads, not args.no_memory, status.update)
            for shape in shapes
        ]
    print_tables(results, shapes, about)
    rows = [
        {key: value for key, value in result.items() if not key.startswith("_")}
        for result in results
    ]
    report.write_json(args.json, {"machine": about, "rows": rows})
    return int(
        any(result["parity"] is not None and refusal(result["parity"]) for result in results)
    )


if __name__ == "__main__":
    sys.exit(main())
