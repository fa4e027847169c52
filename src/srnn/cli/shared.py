"""What every command shares: consoles, JSON or tables, the task that the arguments describe."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from srnn._check import check_range

if TYPE_CHECKING:
    from rich.console import Console

    from srnn.tasks.task import Task
    from srnn.training.session import Mode


def console(stderr: bool = False) -> Console:
    """Return a console that does not fold lines in a pipe."""
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    # in a pipe nothing is folded that a terminal would show in a line
    width = None if terminal else 160
    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not terminal,
        width=width,
    )


def show(args: argparse.Namespace, data: Any, *tables: Any) -> None:
    """Print JSON with --json, else the tables."""
    if args.json:
        print(json.dumps(data, indent=1, allow_nan=False))
    else:
        out = console()
        for table in tables:
            out.print(table)


def task_of(args: argparse.Namespace, name: str) -> Task:
    """Return the task called `name`, in the variant and with the settings that were given."""
    from srnn import tasks

    return changed(args, tasks.load(name))


def changed(args: argparse.Namespace, task: Task) -> Task:
    """Return a task in the variant and with the settings that were given."""
    from srnn.tasks.settings import override, varied

    if args.variant is not None:
        task = varied(task, args.variant)
    return override(task, args.set)


def mode_of(args: argparse.Namespace) -> Mode:
    """Return how a GPU is to be used."""
    from srnn.training.session import Mode

    return Mode(args.precision, args.deterministic, args.graph)


def as_given(args: argparse.Namespace) -> list[str]:
    """Return the options that say where the data is and how it is trained, those that
    were given.
    """
    usual = {
        "data_dir": None,
        "device": "cpu",
        "backend": "auto",
        "threads": 1,
        "precision": "float32",
    }
    words = [
        (f"--{name.replace('_', '-')}", str(getattr(args, name)))
        for name, value in usual.items()
        if getattr(args, name) != value
    ]
    flags = [
        f"--{name}"
        for name in ("tensorboard", "deterministic", "graph")
        if getattr(args, name, False)
    ]
    return [*(word for pair in words for word in pair), *flags]


MOST_THREADS = 512
"""OpenMP ends the process where it cannot start as many as it is told to."""


def set_threads(args: argparse.Namespace) -> None:
    """Let torch use as many threads as --threads says."""
    import torch

    torch.set_num_threads(int(check_range("--threads", args.threads, 1, MOST_THREADS)))
