"""`srnn tasks`: the table of tasks, or every setting and variant of one."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn.cli import options
from srnn.cli.shared import console, show

if TYPE_CHECKING:
    from srnn.tasks.task import Task

SUMMARY = "List the tasks, or every setting of one."
EXAMPLES = """\
  srnn tasks
  srnn tasks ecg     all settings, as --set takes them
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("task", nargs="?", help="show the settings and variants of this task")
    options.data(parser)


def run(args: argparse.Namespace) -> int:
    """Run `srnn tasks`."""
    from srnn import tables, tasks
    from srnn.datasets._fetch import data_root
    from srnn.tasks.settings import listed

    if args.task is not None:
        task = tasks.load(args.task)
        settings = listed(task)
        rows = [(f"{path}={value}", hint) for path, value, hint in settings]
        variants = [
            (f"--variant {v.name}", v.what, " ".join(f"--set {s}" for s in v.settings))
            for v in task.variants
        ]
        shown = [tables.plain(f"Settings of {args.task}", ("--set", "type"), rows)]
        if variants:
            shown.append(tables.plain("Variants", ("option", "what", "stands for"), variants))
        show(
            args,
            {path: value for path, value, _ in settings}
            | {f"variant {v.name}": list(v.settings) for v in task.variants},
            *shown,
        )
        return 0
    root = data_root(args.data_dir)
    rows_ = [_row(tasks.load(name), root) for name in tasks.names()]
    texts = [
        [
            r["task"],
            r["summary"],
            r["shape"],
            str(len(r["classes"]) or "?"),
            r["network"],
            f"{r['parameters']:,}" if r["parameters"] else "?",
            r["accuracy"],
            r["data"],
        ]
        for r in rows_
    ]
    columns = ["task", "what", "T x C", "K", "network", "trained", "published", "data"]
    # what is left of a narrow terminal goes to what a task is; `srnn tasks TASK` has the rest
    if console().width < 120:
        kept = [columns.index(name) for name in ("task", "what", "K", "published", "data")]
        columns, texts = [columns[k] for k in kept], [[text[k] for k in kept] for text in texts]
    show(
        args,
        rows_,
        tables.plain(f"Tasks (data in {root}; K classes)", columns, texts, folded=("what",)),
    )
    return 0


def _row(task: Task, root: Path) -> dict[str, Any]:
    """Return what the table says of a task."""
    from srnn.datasets import catalogue

    shape, name = task.shape, getattr(task.data, "dataset", "")
    own = hasattr(task.data, "resolve")  # classes and channels come from the data
    accuracy = next((p.value for p in task.published if p.what == "test accuracy"), None)
    if task.data.simulated:
        here = "comes with the package"
    elif own:
        here = "yours"
    else:
        here = "yes" if catalogue.present(name, root) else f"fetch {name}"
    return {
        "task": task.name,
        "summary": task.summary,
        "shape": "as the data" if own else f"{shape.steps or 'varies'} x {shape.channels}",
        "classes": [] if own else list(task.classes),
        "network": _sizes(task),
        "parameters": 0 if own else sum(p.numel() for p in task.build().parameters()),
        "accuracy": "" if accuracy is None else f"{100 * accuracy:.1f} %",
        "data": here,
        "step_seconds": task.step_seconds,
        "simulated": task.data.simulated,
        "published": [asdict(p) for p in task.published],
    }


def _sizes(task: Task) -> str:
    """Return the widths of the hidden layers and their neurons, as in "64r-256r-256 ALIF" (r:
    recurrent, 2x: in both directions).
    """
    from srnn.nn.bidirectional import Bidirectional

    widths: list[str] = []
    neurons: dict[str, None] = {}
    for part in task.build().parts()[:-1]:
        layer = part.forward_layer if isinstance(part, Bidirectional) else part
        both = "2x" if isinstance(part, Bidirectional) else ""
        recurrent = "r" if layer.recurrent is not None else ""
        widths.append(f"{both}{layer.neurons}{recurrent}")
        neurons[type(layer.neuron).__name__] = None
    return f"{'-'.join(widths)} {'/'.join(neurons)}"
