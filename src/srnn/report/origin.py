"""How a run was made, and the command that makes it again."""

from __future__ import annotations

import shlex
from typing import Any

from srnn.report.page import MISSING, Command, Fold, Grid, Words
from srnn.report.read import Read, moved, told
from srnn.tasks.settings import listed


def settings(r: Read) -> list[Any]:
    """Return the settings that differ from the task as it comes, and all of them."""
    differ = moved(r)
    first: Any = Words(f"Every setting is as {r.task.name} comes.")
    if differ is None:
        first = Words("What differs from the task as it comes cannot be told in settings.")
    elif differ:
        rows = [tuple(s.partition("=")[::2]) for s in differ]
        first = Grid(f"What differs from {r.task.name} as it comes", ("setting", "value"), rows)
    every = [(path, value) for path, value, _ in listed(r.task)]
    table = Grid("Settings, as --set takes them", ("setting", "value"), every)
    return [first, Fold(f"All {len(every)} settings", [table])]


def environment(r: Read) -> list[Any]:
    """Return where the run was made, and on what data."""
    rows = [(k, "not known" if v is None else str(v)) for k, v in r.env.items() if k != "resumed"]
    blocks: list[Any] = [Grid("Where it ran", ("what", "value"), rows)]
    if resumed := r.env.get("resumed"):
        last = resumed[-1].get("started")
        blocks.append(Words(f"It was resumed {len(resumed)} times; the last time on {last}."))
    data = [(k, str(v)) for k, v in r.run.stored()["data"].items()]
    title = "Data: recordings in each part, and a checksum"
    return [*blocks, Grid(title, ("part", "value"), data)]


def command(r: Read) -> str | None:
    """Return the command that makes this run again, quoted for a shell; None where no settings
    express it.
    """
    t = told(r)
    if t.settings is None or r.run.checkpoint("start").exists():
        return None
    words = [r.task.name, *t.words, "--seed", str(r.seed), *_where(r)]
    return shlex.join(["srnn", "train", *words, "--out", f"{r.run.path}-again"])


def _where(r: Read) -> list[str]:
    words = [] if r.simulated or r.data_dir is None else ["--data-dir", str(r.data_dir)]
    for name, usual in {"device": "cpu", "threads": 1}.items():
        if (now := r.env.get(name, usual)) != usual:
            words += [f"--{name}", str(now)]
    return words + (["--backend", "reference"] if r.env.get("backend") == "reference" else [])


def again(r: Read) -> list[Any]:
    """Return how to go on with the run, and how to make it anew."""
    blocks: list[Any] = []
    if r.state != "finished":
        onward = ["--resume", "--out", str(r.run.path), *_where(r)]
        blocks = [
            Words("Go on with it:"),
            Command(shlex.join(["srnn", "train", r.task.name, *onward])),
        ]
    made = command(r)
    if made is not None:
        note = "On a GPU the bits may differ."
        if r.env.get("device") == "cpu":
            note = "The same command on the same kind of processor gives the same bits."
        return [*blocks, Words("Train it anew:"), Command(made), Words(note)]
    if r.run.checkpoint("start").exists():
        return [*blocks, *_compress_again(r)]
    what = (
        "No --set settings express this task (it was made in Python, or by another version); "
        "task.json in the folder has all of it."
    )
    return [*blocks, Words(what, MISSING)]


def _compress_again(r: Read) -> list[Any]:
    """Say how a network was made from another run."""
    source = str((r.metrics or {}).get("compressed_from", "RUN"))
    c, rate = r.task.compression, r.task.regulariser
    named: dict[str, Any] = {}
    if c is not None:
        named = {"bits": c.bits, "sparsity": c.sparsity or None, "structured": c.structured or None}
    if c is not None and (c.sparsity or rate):
        named["steps"] = c.steps
    named |= {"rate": None if rate is None else rate.high, "epochs": r.task.epochs}
    named |= {"lr": r.task.optimiser.lr, "seed": r.seed}
    words = []
    for name, value in named.items():
        if value is not None:
            words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    again = ["srnn", "compress", source, *words, *_where(r), "--out", f"{r.run.path}-again"]
    blocks: list[Any] = [
        Words("The run began with the weights of another one:"),
        Command(shlex.join(again)),
    ]
    if c is not None and c.structured:
        what = "Whether neurons were chosen by activity or by weight (--by) is not on record."
        blocks.append(Words(what))
    return blocks
