"""A training step of the same network in other spiking libraries, beside ours; in the virtual
environment that `make bench-peers` sets up.

    python -m benchmarks.peers [--shape NAME]… [--peer NAME]… [--rounds N] [--threads N]
                               [--json FILE]

One process, one implementation after the other, round after round; medians. Every spiking network
fires at the same rate. A peer that cannot be imported, built or brought to that rate is left out,
with its reason. No ratio is printed where ours does not compute what the reference computes.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from benchmarks import footprint, networks, report, timing
from benchmarks.peers_torch import TORCH_PEERS, prepare
from benchmarks.shapes import BenchmarkError, Shape, named
from benchmarks.speed import MISSING, OURS, check, has_ours, parse, refusal

ALIF = "ALIF: τ trained per neuron, soft reset, Multi-Gaussian"
PEERS = (*TORCH_PEERS, "Spyx")


def version(package: str) -> str:
    """Return the installed version of a package, or an empty string."""
    try:
        return importlib.metadata.version(package) if package else ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def measure(
    shape: Shape, peers: tuple[str, ...], rounds: int, with_memory: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure one shape: ours, the LSTM for orientation, and every peer that works here."""
    say(f"{shape.name}: calibrating ours")
    x, y = shape.data()
    net = networks.build(shape)
    rates = networks.calibrate(net, shape, x)
    compared = check(net, x, y)
    rows: dict[str, dict[str, Any]] = {}
    steps: dict[str, Any] = {}

    def add(name: str, step: Any, neuron: str, rates: tuple[float, ...], package: str = "") -> None:
        steps[name] = step
        rows[name] = {"neuron": neuron, "rates": rates, "version": version(package)}

    if has_ours():
        add("srnn, ours", networks.ours(net, x, y, OURS), ALIF, rates, "srnn")
    add("srnn, reference loop", networks.ours(net, x, y, "reference"), ALIF, rates, "srnn")
    add("torch.nn.LSTM", networks.gated(nn.LSTM, shape, x, y), "not spiking", (), "torch")
    skipped: dict[str, str] = {}
    for name in peers:
        say(f"{shape.name}: calibrating {name}")
        try:
            if name == "Spyx":
                _add_spyx(shape, x, y, add)
            else:
                kind = TORCH_PEERS[name]
                step, fired = prepare(kind, shape, x, y)
                add(name, step, kind.neuron, fired, kind.package)
        except Exception as error:  # a peer that is missing or broken costs its own row only
            skipped[name] = f"{type(error).__name__}: {timing.first_line(error)}"
    times = timing.alternate(steps, rounds, lambda what: say(f"{shape.name}: {what}"))
    for name, kept in times.items():
        rows[name]["times"] = kept.as_dict()
        if with_memory and isinstance(steps[name], networks.TrainingStep) and not kept.failed:
            say(f"{shape.name}: memory of {name}")
            rows[name]["held"] = footprint.held_by(steps[name])
    return {
        "shape": asdict(shape),
        "parity": compared,
        "rows": rows,
        "skipped": skipped,
        "_times": times,
    }


def _add_spyx(shape: Shape, x: Tensor, y: Tensor, add: Callable[..., None]) -> None:
    # only now: JAX asks how many cores there are when it is imported
    from benchmarks import peers_jax

    steps, rates = peers_jax.prepare(shape, x, y)
    for name, step in steps.items():
        add(name, step, peers_jax.NEURON, rates, "spyx")


def print_tables(
    results: list[dict[str, Any]], shapes: tuple[Shape, ...], about: dict[str, Any]
) -> None:
    """Print one table for each shape."""
    out = report.console()
    out.print(report.heading(about), markup=False)
    for shape, result in zip(shapes, results, strict=True):
        why, times = refusal(result["parity"]), result["_times"]
        rows = []
        for name, row in result["rows"].items():
            held = f"{footprint.per_neuron(row['held'], shape):.1f} B" if "held" in row else "-"
            ratio = (
                ""
                if name == "srnn, ours"
                else report.ratio_cell(times[name], times.get("srnn, ours"), why)
            )
            title = f"{name} {row['version']}".strip()
            rows.append(
                [
                    title,
                    row["neuron"],
                    report.rates_cell(row["rates"]),
                    report.time_cell(times[name]),
                    ratio,
                    held,
                ]
            )
        columns = ("implementation", "neuron", "hidden rates", "step", "ours is faster by", "held")
        out.print(
            report.table(
                f"{shape.name}: {shape.sizes()}; {shape.input_kind()}",
                columns,
                rows,
                text_columns=2,
            )
        )
        for name, reason in result["skipped"].items():
            out.print(f"{name} left out: {reason}", markup=False)
        for name, kept in times.items():
            if kept.failed:
                out.print(f"{name} failed: {kept.failed}", markup=False)
        if why:
            out.print(f"no ratio printed: {why}", markup=False)


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser, args = parse(argv, __doc__, peers=True)
    try:
        shapes = named(args.shape)
        peers = choose(args.peer)
    except BenchmarkError as error:
        parser.error(str(error))
    threads = timing.set_threads(args.threads)
    about = {**timing.machine(threads), "rounds": args.rounds}
    with report.console().status("measuring") as status:
        results = [
            measure(shape, peers, args.rounds, not args.no_memory, status.update)
            for shape in shapes
        ]
    print_tables(results, shapes, about)
    rows = [
        {key: value for key, value in result.items() if not key.startswith("_")}
        for result in results
    ]
    report.write_json(args.json, {"machine": about, "shapes": rows})
    return int(any(refusal(result["parity"]) not in ("", MISSING) for result in results))


def choose(names: list[str] | None) -> tuple[str, ...]:
    """Return the peers of these names (in any case), or all.

    Raises `BenchmarkError` for an unknown one.
    """
    known = {name.lower(): name for name in PEERS}
    unknown = [name for name in names or () if name.lower() not in known]
    if unknown:
        raise BenchmarkError(f"unknown peer {unknown[0]!r}; expected one of {', '.join(PEERS)}")
    return tuple(known[name.lower()] for name in names) if names else PEERS


if __name__ == "__main__":
    sys.exit(main())
