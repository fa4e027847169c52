"""`srnn train`: train a task, evaluate the selected checkpoint once on the test part."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from srnn._check import ConfigError, DivergedError, SrnnError
from srnn.commands.shared import changed, console, set_threads, show, task_of


def run(args: argparse.Namespace) -> int:
    """Train; of several seeds, also print mean and sd."""
    from srnn import tables
    from srnn.runs import Run

    if args.seeds is not None and args.seed is not None:
        raise ConfigError("--seed and --seeds: give one of them.")
    set_threads(args)
    seeds = args.seeds if args.seeds is not None else [args.seed]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {' '.join(map(str, seeds))}: one is given twice.")
    several = args.out is not None and args.seeds is not None
    folders = [args.out / f"seed{s}" if several else args.out or Path("runs") / f"{args.task}-seed{s or 0}" for s in seeds]
    for out in folders if not args.resume else []:  # all of them, before the first one is trained
        Run.check_free(out)
    results = [_one(args, out, seed) for out, seed in zip(folders, seeds, strict=True)]
    if not all(results):
        return 0  # the first of several processes has said it
    if len(results) > 1:
        show(args, results, tables.spread(results, args.task))
    elif args.json:
        show(args, results[0])
    return 0


def _one(args: argparse.Namespace, out: Path, seed: int | None) -> Any:
    from srnn import report, tables
    from srnn.loop import Interrupted
    from srnn.progress import shown
    from srnn.runs import DIVERGED, Run
    from srnn.train import fit

    resume = args.resume and (args.seeds is None or (out / "task.json").exists())  # of several seeds some may not have started
    task = task_of(args, args.task)
    if resume and Run.open(out).stored()["task"] == args.task:  # its settings go on; only what is set anew may differ, and is refused
        task, stored_seed = Run.open(out).task()
        task, seed = changed(args, task), stored_seed if seed is None else seed
    seed = seed or 0
    if resume:
        with suppress(OSError):
            (out / DIVERGED).unlink()
    try:
        first = os.environ.get("RANK", "0") == "0"  # of the processes torchrun starts, one shows what happens
        with shown(console(stderr=True), f"{task.name} seed {seed}") if first else nullcontext() as progress:
            result = fit(task, out, data_dir=args.data_dir, seed=seed, device=args.device, backend=args.backend,
                           resume=resume, tensorboard=args.tensorboard, progress=progress)  # fmt: skip
    except Interrupted as stop:
        given = {"data-dir": (args.data_dir, None), "device": (args.device, "cpu"), "backend": (args.backend, "auto"), "threads": (args.threads, 1)}
        more = "".join(f" --{name} {shlex.quote(str(value))}" for name, (value, usual) in given.items() if value != usual)
        more += " --tensorboard" if args.tensorboard else ""
        print(f"{stop}\nGo on with: srnn train {task.name} --resume --out {shlex.quote(str(out))}{more}", file=sys.stderr)
        raise KeyboardInterrupt from None
    except DivergedError as error:
        Run(out).write(DIVERGED, {"message": str(error)})
        raise
    if not result:
        return result
    try:
        written = f"Report: {report.of_run(out, args.data_dir)}"
    except SrnnError as error:
        written = f"No report: {error}"
    if not args.json:
        show(args, None, *tables.result(result, f"{task.name}, seed {seed}"))
        print(f"{result['data_note']}\nRun folder: {out}\n{written}")
    return result
