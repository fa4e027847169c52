"""`srnn evaluate`: evaluate the best checkpoint of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from srnn.cli import options
from srnn.cli.shared import set_threads, show

SUMMARY = "Evaluate the best checkpoint of a run."
EXAMPLES = """\
  srnn evaluate runs/ecg-seed0 --part validation --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument(
        "--part",
        default="test",
        choices=("train", "validation", "test"),
        help="which part (default: test)",
    )
    options.run(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate one part."""
    from srnn import tables
    from srnn.training.evaluate import assess
    from srnn.training.runs import load_run
    from srnn.training.session import find_device

    set_threads(args)
    run, task, seed, net = load_run(args.run, find_device(args.device))
    parts = task.load(args.data_dir)
    run.check_data(parts)
    result = assess(net, task, getattr(parts, args.part), seed=seed, backend=args.backend)
    headline = {k: v for k, v in result.items() if k not in ("confusion", "energy")}
    rows = [(k, _shown(v)) for k, v in headline.items()]
    energy = [
        (f"{c} per step, rules {name}", f"{value:.6g}")
        for name, count in result["energy"].items()
        for c, value in count.items()
    ]
    title = f"{args.run}, {args.part} part{' (SIMULATED DATA)' if task.data.simulated else ''}"
    show(
        args,
        {"part": args.part, "simulated": task.data.simulated, **result},
        tables.plain(title, ("what", "value"), rows + energy),
    )
    return 0


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join("no label" if x is None else f"{x:.4f}" for x in value)
    return f"{value:.6g}"
