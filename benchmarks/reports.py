"""The report of every task: train an epoch on small made-up data, with the task's own network and
with a bidirectional LSTM, and write it.

    python -m benchmarks.reports [TASK …] [--out FOLDER]

Prints seconds, size, what is left out, and whether the recordings that were looked at give the
accuracy on record; exit code 1 where they do not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from srnn import report, tasks
from srnn.tasks.settings import override
from srnn.training.train import fit

LSTM = (
    "network=CellNetwork",
    "network.hidden=[8]",
    "network.bidirectional=true",
    "optimiser=Optimiser",
)


def one(name: str, settings: tuple[str, ...], folder: Path) -> bool:
    """Train, write the report, print a line; return whether the accuracies agree."""
    task = override(tasks.load(name), ["epochs=1", *settings]).on_made_up(folder / "data")
    out = folder / ("own" if not settings else "lstm")
    fit(task, out, data_dir=folder / "data")
    began = time.perf_counter()
    made = report.compose([out], folder / "data")
    path, (numbers,) = made.write(out / "report.html"), made.numbers["runs"]
    seen = numbers["figures"]["anytime"]
    same = (
        seen["recordings"] < seen["of"] or abs(seen["accuracy"] - numbers["test_accuracy"]) < 1e-9
    )
    left = ", ".join(numbers["left_out"]) or "nothing"
    left, seconds = ", ".join(numbers["left_out"]) or "nothing", time.perf_counter() - began
    says = "agrees" if same else "DIFFERS"
    print(
        f"{name:12} {out.name:5} {seconds:5.1f} s {path.stat().st_size / 1024:6.0f} KB  "
        f"accuracy {says}, left out: {left}",
        flush=True,
    )
    return same


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", help="these tasks (default: all)")
    parser.add_argument(
        "--out", type=Path, help="where runs and reports are kept (default: nowhere)"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = args.out or Path(scratch)
        agree = [
            one(name, settings, root / name)
            for name in args.tasks or tasks.names()
            for settings in ((), LSTM)
        ]
    print(f"{sum(agree)} of {len(agree)} reports agree with their metrics.json")
    return 0 if all(agree) else 1


if __name__ == "__main__":
    raise SystemExit(main())
