"""How long commands take to start: processor seconds (user + system), medians over rounds in which
they alternate, as ratios to `python -c pass` and `import torch`. `python -m benchmarks.startup`.

    python -m benchmarks.startup                   what computes nothing, and `import srnn`
    python -m benchmarks.startup --run runs/demo   also `srnn stream` up to its first decision
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from srnn.training.runs import load_run

PYTHON = sys.executable
PLAIN = {
    "python -c pass": [PYTHON, "-c", "pass"],
    "import torch": [PYTHON, "-c", "import torch"],
    "import srnn": [PYTHON, "-c", "import srnn"],
    "srnn --version": [PYTHON, "-m", "srnn", "--version"],
    "srnn --help": [PYTHON, "-m", "srnn", "--help"],
    "srnn train --help": [PYTHON, "-m", "srnn", "train", "--help"],
    "srnn data list": [PYTHON, "-m", "srnn", "data", "list"],
    "srnn completion bash": [PYTHON, "-m", "srnn", "completion", "bash"],
}


def spent(command: list[str], given: str | None) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, input=given, stdout=subprocess.DEVNULL, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="run folder to stream from")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: 5)")
    args = parser.parse_args(argv)
    commands, lines = dict(PLAIN), ""
    if args.run is not None:
        channels = load_run(args.run)[3].inputs
        lines = ",".join("0" * channels) + "\n"
        stream = [PYTHON, "-m", "srnn", "stream", str(args.run), "--input", "steps", "--limit", "1"]
        commands["srnn stream RUN"] = stream
        spent(stream, lines)  # the first may compile
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(args.rounds):
        for name, command in commands.items():
            found[name].append(spent(command, lines if "stream" in name else None))
    median = {name: statistics.median(values) for name, values in found.items()}
    table = Table("command", "seconds", "x python -c pass", "x import torch")
    for name, value in median.items():
        ratios = (value / median[base] for base in ("python -c pass", "import torch"))
        table.add_row(name, f"{value:.3f}", *(f"{ratio:.2f}" for ratio in ratios))
    Console().print(table)


if __name__ == "__main__":
    main()
