"""`srnn sweep`: search settings of a task with Optuna, in one process or several."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn._check import ConfigError, SrnnError, check_range
from srnn.cli import options
from srnn.cli.shared import MOST_THREADS, as_given, mode_of, show, task_of

if TYPE_CHECKING:
    from srnn.search.study import Sweep

SUMMARY = (
    "Search settings of a task (Optuna) by validation accuracy; the test part is never evaluated."
)
EXAMPLES = """\
  srnn sweep ecg_sim --search optimiser.lr=1e-3:1e-1:log --search batch=4,8,16 --set epochs=20
  srnn sweep shd --search network.beta=0.5:3 --trials 50 --jobs 2 --prune --journal /shared/shd.log

A field takes low:high, low:high:log or the values a,b,c; its type is that of the field. --trials
counts all processes together: the same command joins a study that goes on (also on another machine
that sees the journal), or goes on with one that was stopped. Each trial is
a run folder in OUT; OUT/trials.csv is the table.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("task", help="see `srnn tasks`")
    parser.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="FIELD=RANGE",
        help="low:high, low:high:log or a,b,c; may be given many times",
    )
    parser.add_argument(
        "--trials",
        type=int,
        default=20,
        metavar="N",
        help="trials of the study in all (default: 20); interrupted ones do not count",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes started here (default: 1)"
    )
    parser.add_argument(
        "--together",
        type=int,
        default=1,
        metavar="K",
        help="so many trials of a process in lockstep, their layers in one launch: "
        "on a GPU; elsewhere one after the other (default: 1)",
    )
    options.mode(parser)
    parser.add_argument(
        "--prune",
        action="store_true",
        help="stop trials that are worse than the median of the others at the same epoch",
    )
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help="file of the study (default: OUT/journal.log)"
    )
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="a database in place of the journal, as sqlite:///study.db (see Optuna's storages)",
    )
    parser.add_argument(
        "--study",
        metavar="NAME",
        help="name of the study (default: TASK-sweep, or TASK-VARIANT-sweep)",
    )
    options.task(parser)
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of every training and of the search (default: 0)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the runs (default: runs/STUDY)"
    )
    options.run(parser)


def run(args: argparse.Namespace) -> int:
    """Search until the study has its trials; print them.

    Return 1 when none gave an accuracy, or a process of ours died before the end.
    """
    from srnn import tables
    from srnn.search import space
    from srnn.search.study import Sweep
    from srnn.search.sweep import work
    from srnn.search.trials import results, write_csv
    from srnn.training.session import find_device, signals_interrupt

    task = task_of(args, args.task)
    check_range("--jobs", args.jobs, 1, MOST_THREADS)
    check_range("--threads", args.threads, 1, MOST_THREADS)
    find_device(args.device)
    if args.journal is not None and args.storage is not None:
        raise ConfigError("--journal and --storage: give one of them.")
    searched = space.parse(task, args.search)
    if both := [
        d.path for d in searched if any(s.partition("=")[0].strip() == d.path for s in args.set)
    ]:
        raise ConfigError(f"{both[0]} is given by --set and by --search. Give one of them.")
    study = args.study or "-".join([args.task, *([args.variant] if args.variant else []), "sweep"])
    out = args.out or Path("runs") / study
    journal = None if args.storage is not None else args.journal or out / "journal.log"
    sweep = Sweep(
        task,
        searched,
        args.trials,
        out,
        study,
        journal,
        args.storage,
        args.data_dir,
        args.seed,
        args.device,
        args.backend,
        args.threads,
        args.prune,
        args.together,
        mode_of(args),
    )
    new = sweep.prepare()
    _say(
        f"{'New study' if new else 'Joining the study'} {study!r} in "
        f"{journal or args.storage}; runs in {out}"
    )
    with signals_interrupt():
        try:
            if args.jobs == 1:
                work(sweep, _say)
            died = args.jobs > 1 and _together(sweep, args.jobs)
        except KeyboardInterrupt:
            _say("Go on with the same command: it joins the study.")
            raise
    found = results(sweep)
    table = write_csv(sweep, found)
    best, command = found["best"], None
    if best is not None:
        given = [*args.set, *(f"{path}={value}" for path, value in best["settings"].items())]
        parts = ["srnn", "train", args.task, *(["--variant", args.variant] if args.variant else [])]
        command = shlex.join(
            [
                *parts,
                *(text for setting in given for text in ("--set", setting)),
                "--seed",
                str(args.seed),
                *as_given(args),
            ]
        )
    mark = " (SIMULATED DATA)" if found["simulated"] else ""
    lines = [_line(row) for row in found["trials"]]
    columns = ("trial", "state", "validation", "epochs", "rate", "settings", "reason")
    shown: list[Any] = [
        tables.plain(
            f"{study}: {len(lines)} trials{mark}", columns, lines, folded=("settings", "reason")
        )
    ]
    if best is None:
        shown.append("No trial gave an accuracy.")
    else:
        accuracy = (
            f"{100 * best['validation_accuracy']:.2f} % of the validation part (it chose "
            "the settings: no estimate for new data)"
        )
        shown.append(
            f"Best: trial {best['trial']}, {accuracy}, in {best['folder']}\n"
            f"Train it, and evaluate it on the test part:\n  {command}"
        )
    shown.append(f"Table: {table}")
    show(args, {**found, "command": command, "csv": str(table)}, *shown)
    return 1 if best is None or died else 0


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    accuracy, rate = row["validation_accuracy"], row["firing_rate"]
    return (
        str(row["trial"]),
        row["state"],
        "" if accuracy is None else f"{100 * accuracy:.2f} %",
        str(row["epochs"]),
        "" if rate is None else f"{rate:.4f}",
        " ".join(f"{path}={_short(value)}" for path, value in row["settings"].items()),
        row["reason"],
    )


def _short(value: str) -> str:
    """Return a number with four digits, anything else as it is."""
    try:
        return f"{float(value):.4g}" if "." in value or "e" in value else value
    except ValueError:
        return value


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _together(sweep: Sweep, jobs: int) -> bool:
    """Run the trials in processes of their own; return whether one of them died before the study
    had its trials.

    Raises `SrnnError` when one found bad input, and `KeyboardInterrupt` when stopped, after all
    have stopped.
    """
    from srnn.search.trials import results

    # a forked child of a process with torch's threads may hang
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=_child, args=(sweep, os.getpid()), name=f"job {k}")
        for k in range(jobs)
    ]
    for child in children:
        child.start()
    try:
        for child in children:
            child.join()
    except KeyboardInterrupt:
        for child in children:
            child.terminate()
        for child in children:
            child.join()
        raise
    codes = [child.exitcode for child in children]
    if 2 in codes:
        raise SrnnError("a process stopped, as it said above.")
    if 130 in codes:
        raise KeyboardInterrupt
    if dead := [code for code in codes if code]:
        _say(
            f"{len(dead)} of {jobs} processes died (exit codes {', '.join(map(str, dead))}); "
            "what they were at is marked as interrupted."
        )
    enough = (
        sum(
            row["state"] not in ("interrupted", "running", "waiting")
            for row in results(sweep)["trials"]
        )
        >= sweep.trials
    )
    return bool(dead) and not enough


def _child(sweep: Sweep, parent: int) -> None:
    """Run trials in a process of its own, in a process group of its own: the parent passes signals
    on, and when it is gone, this one stops.
    """
    from srnn.search.sweep import work
    from srnn.training.session import signals_interrupt

    os.setpgrp()
    try:
        with signals_interrupt():
            work(sweep, _say, alive=lambda: os.getppid() == parent)
    except KeyboardInterrupt:
        sys.exit(130)
    except SrnnError as error:
        _say(f"srnn sweep: {error}")
        sys.exit(2)
