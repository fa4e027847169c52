"""One network in every form it can be put to work in, on the test part: accuracy, bytes,
operations, time of a step. `python -m benchmarks.deploy`.

    srnn train ecg --set epochs=60 --out runs/ecg
    srnn compress runs/ecg --bits 8 --out runs/ecg-int8
    srnn compress runs/ecg --bits 8 --sparsity 0.9 --out runs/ecg-int8-sparse
    python -m benchmarks.deploy runs/ecg runs/ecg-int8 runs/ecg-int8-sparse --data-dir DATA

For each run: the network on a stream (`srnn.stream`), as C with float numbers, as C in whole
numbers of 8 bits, and its cell in ONNX Runtime. Accuracies are those of the whole test part, by the
task's rule, every recording from the neurons' own start; spikes are compared with the network's
own. Flash and RAM of C as `srnn export` counts them: tables, code of this processor with -Os;
state, stack. Of the network its weights are counted (`srnn.compress.size`), of ONNX the file.
Times: one thread, one process, one recording in turn by all forms, round after round; a figure is
the median over the rounds, divided by the steps. C is timed in C; a step of the stream and of ONNX
Runtime is called from Python; "chunk" is the stream in one call.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.timing import alternate, machine, set_threads
from srnn import compress
from srnn.export import CPlayer, footprint, to_c
from srnn.export.onnx import to_onnx
from srnn.export.onnx_play import OnnxPlayer
from srnn.nn.networks import Stack
from srnn.stream.engine import Engine
from srnn.tasks.task import Parts, Task, collate
from srnn.training.evaluate import assess
from srnn.training.fidelity import Fidelity, Played, compare
from srnn.training.runs import load_run

CALIBRATION = 16


class Forms:
    """The forms of one run's network: what each gives on the test part, and what runs one
    recording.
    """

    def __init__(self, run: Path, net: Stack, task: Task, parts: Parts[Any], folder: Path) -> None:
        self.run, self.net, self.task, self.parts, self.folder = run, net, task, parts, folder
        self.test = list(parts.test)
        self.signal = np.ascontiguousarray(
            max(self.test, key=lambda s: len(s.signal)).signal, np.float32
        )
        self.rows: list[dict[str, Any]] = []
        self.timed: dict[str, Callable[[], object]] = {}
        self.in_c: dict[str, list[float]] = {}
        cost = assess(net, task, self.test)["energy"]["measured"]
        self.operations = {"mac": cost["mac"], "ac": cost["ac"]}

    def add(
        self, form: str, fidelity: Fidelity, flash: int, ram: int | None, run: Callable[[], object]
    ) -> None:
        """Take in one form."""
        name = f"{self.run.name}, {form}"
        self.rows.append(
            {"form": name, **self.operations, "flash": flash, "ram": ram, **fidelity.as_dict()}
        )
        self.timed[name] = run

    def network(self) -> None:
        """The network itself, on a stream."""
        engine, start, steps = (
            Engine(self.net, 1, "cpu"),
            self.net.start(1),
            [np.ascontiguousarray(x) for x in self.signal],
        )

        def play(x: torch.Tensor, lengths: torch.Tensor) -> Played:
            out = self.net(x, lengths=lengths, record=True)
            assert out.trace is not None
            return Played(out.potential, out.output, out.trace.outputs)

        def run() -> None:
            engine.put(start)
            for x in steps:
                engine.step(x)

        def chunk() -> None:
            engine.put(start)
            engine.run(self.signal[None], None)

        fidelity, size = compare(self.net, play, self.task, self.test), compress.size(self.net)
        self.add("network, stepped from Python", fidelity, size.bytes, None, run)
        self.add("network, chunk", fidelity, size.bytes, None, chunk)

    def c(self, bits: int | None) -> None:
        """C99."""
        given = collate([self.parts.train[k] for k in range(CALIBRATION)]).x
        model = to_c(
            self.net, self.folder / f"{self.run.name}-{bits}", bits=bits, calibration=given
        )
        player, size = CPlayer(model), footprint(model)
        fidelity = compare(self.net, player, self.task, self.test)
        x, form, found = (
            torch.from_numpy(self.signal),
            "C float" if bits is None else f"C int{bits}",
            list[float](),
        )
        self.add(
            form, fidelity, size.flash, size.ram, lambda: found.append(player.nanoseconds(x, 1))
        )
        self.in_c[f"{self.run.name}, {form}"] = found

    def onnx(self) -> None:
        """ONNX Runtime."""
        whole = OnnxPlayer(to_onnx(self.net, self.folder / f"{self.run.name}.onnx"))
        path = to_onnx(self.net, self.folder / f"{self.run.name}-cell.onnx", form="cell")
        cell, steps = OnnxPlayer(path), [np.ascontiguousarray(x[None]) for x in self.signal]

        def run() -> None:
            state = cell.start(1)
            for x in steps:
                state = cell.step(x, state)["next"]

        fidelity = compare(self.net, whole, self.task, self.test)
        self.add("ONNX Runtime, cell", fidelity, path.stat().st_size, None, run)


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--data-dir", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of timing (default: 15)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    args = parser.parse_args(argv)
    set_threads(1)
    rows: list[dict[str, Any]] = []
    timed: dict[str, Callable[[], object]] = {}
    steps: dict[str, int] = {}
    in_c: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in args.runs:
            run, task, _, net = load_run(path)
            parts = task.load(args.data_dir)
            run.check_data(parts)
            forms = Forms(path, net, task, parts, Path(folder))
            forms.network()
            forms.c(None)
            forms.c(8)
            forms.onnx()
            rows += forms.rows
            timed |= forms.timed
            in_c |= forms.in_c
            steps |= dict.fromkeys(forms.timed, len(forms.signal))
        times = alternate(timed, args.rounds)
    for row in rows:
        name = row["form"]
        row["ns"] = round(
            statistics.median(in_c[name])
            if name in in_c
            else 1e9 * times[name].median / steps[name]
        )
    _print(rows)
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": machine(1), "rows": rows}, indent=1) + "\n")
    return 0


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(header_style="bold", title="the test part; ns a step: medians, one thread")
    for column in (
        "form",
        "accuracy",
        "spikes equal",
        "flash or weights",
        "RAM",
        "MAC",
        "AC",
        "ns a step",
    ):
        table.add_column(column, justify="left" if column == "form" else "right")
    for row in rows:
        agreement = (
            "" if row["spike_agreement"] is None else f"{100 * row['spike_agreement']:.3f} %"
        )
        ram = "" if row["ram"] is None else f"{row['ram']:,} B"
        table.add_row(
            row["form"],
            f"{100 * row['accuracy_after']:.2f} %",
            agreement,
            f"{row['flash']:,} B",
            ram,
            f"{row['mac']:.0f}",
            f"{row['ac']:.0f}",
            f"{row['ns']:,}",
        )
    about = machine(1)
    console = Console(width=150)
    console.print(table)
    console.print(f"{about['processor']}, torch {about['torch']}, Python {about['python']}")


if __name__ == "__main__":
    raise SystemExit(main())
