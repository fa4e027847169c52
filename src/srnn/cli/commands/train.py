"""`srnn train`: train a task, evaluate the selected checkpoint once on the test part."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from srnn._check import ConfigError, DivergedError, SrnnError, check_range
from srnn.cli import options
from srnn.cli.parser import seeds
from srnn.cli.shared import as_given, changed, console, mode_of, set_threads, show, task_of

if TYPE_CHECKING:
    from srnn.tasks.task import Task
    from srnn.training.loop import Progress

SUMMARY = "Train a task, evaluate the selected checkpoint once on the test part."
EXAMPLES = """\
  srnn train ecg_sim
  srnn train ecg --data-dir data --set epochs=30 --set network.hidden=[48]
  srnn train ecg --set start=UniformStart --set start.high=0.1
  srnn train ecg --seeds 0 1 2       three runs, mean and sd
  srnn train ecg --seed 1 --resume   go on where the run was stopped (bit-exact on a CPU)

The run folder holds task.json (resolved settings), env.json, log.jsonl (a line an epoch),
checkpoints/, metrics.json and report.html. A setting that does not exist or has the wrong type is
refused, with the list of those that do.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("task", help="see `srnn tasks`")
    options.task(parser)
    parser.add_argument("--seed", type=int, help="seed of weights, order and dropout (default: 0)")
    parser.add_argument(
        "--seeds",
        type=seeds,
        nargs="+",
        metavar="SEED",
        help="several runs: seeds, or FIRST:END without END",
    )
    parser.add_argument(
        "--together",
        type=int,
        metavar="K",
        help="so many of them in lockstep, their layers in one launch: on a GPU (default: all); "
        "elsewhere one after the other",
    )
    options.mode(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="run folder (default: runs/TASK-seedSEED)"
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in that folder")
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="also write TensorBoard events into the run folder",
    )
    options.run(parser)


@dataclass
class _Wanted:
    """One run that the arguments ask for."""

    task: Task
    out: Path
    seed: int
    resume: bool

    @classmethod
    def of(cls, args: argparse.Namespace, out: Path, seed: int | None) -> _Wanted:
        """Return the run in the folder `out`; of one that goes on, with its own
        settings and seed.
        """
        from srnn.training.runs import DIVERGED, Run

        # of several seeds some may not have started
        resume = args.resume and (args.seeds is None or (out / "task.json").exists())
        task = task_of(args, args.task)
        # its settings go on; only what is set anew may differ, and is refused
        if resume and Run.open(out).stored()["task"] == args.task:
            task, stored_seed = Run.open(out).task()
            task, seed = changed(args, task), stored_seed if seed is None else seed
        if resume:
            with suppress(OSError):
                (out / DIVERGED).unlink()
        return cls(task, out, seed or 0, resume)

    def fit(
        self, args: argparse.Namespace, progress: Progress | None, together: int = 1
    ) -> dict[str, Any]:
        """Train."""
        from srnn.training.train import fit

        return fit(
            self.task,
            self.out,
            data_dir=args.data_dir,
            seed=self.seed,
            device=args.device,
            backend=args.backend,
            resume=self.resume,
            tensorboard=args.tensorboard,
            progress=progress,
            together=together,
            mode=mode_of(args),
        )


def run(args: argparse.Namespace) -> int:
    """Train; of several seeds, also print mean and sd."""
    from srnn import processes, tables
    from srnn.training.runs import Run

    if args.seeds is not None and args.seed is not None:
        raise ConfigError("--seed and --seeds: give one of them.")
    if args.together is not None:
        check_range("--together", args.together, 1)
        if args.together > 1 and processes.started() > 1:
            raise ConfigError(
                "--together trains several runs in one process; torchrun trains "
                "one run in several. Use one of them."
            )
    set_threads(args)
    seeds = [s for given in args.seeds for s in given] if args.seeds is not None else [args.seed]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {' '.join(map(str, seeds))}: one is given twice.")
    several = args.out is not None and args.seeds is not None
    folders = [
        args.out / f"seed{s}" if several else args.out or Path("runs") / f"{args.task}-seed{s or 0}"
        for s in seeds
    ]
    for out in folders if not args.resume else []:  # all of them, before the first one is trained
        Run.check_free(out)
    count, results = _together(args, len(seeds)), list[Any]()
    for first in range(0, len(seeds), count):
        group = list(zip(folders, seeds, strict=True))[first : first + count]
        results += (
            [_one(args, *group[0])]
            if len(group) == 1
            else _several(args, [_Wanted.of(args, out, seed) for out, seed in group])
        )
    if not all(results):
        return 0  # the first of several processes has said it
    if len(results) > 1:
        show(args, results, tables.spread(results, args.task))
    elif args.json:
        show(args, results[0])
    return 0


def _together(args: argparse.Namespace, seeds: int) -> int:
    """Return how many runs are trained in lockstep: as many as --together says, or all, where the
    backend gains from it.
    """
    from srnn import processes
    from srnn.kernels import lockstep
    from srnn.training.train import gains

    usual = seeds if lockstep.available() else 1
    wanted = min(seeds, args.together or usual) if processes.started() == 1 else 1
    return (
        wanted if wanted > 1 and gains(task_of(args, args.task), args.device, args.backend) else 1
    )


def _one(args: argparse.Namespace, out: Path, seed: int | None) -> Any:
    from srnn.cli.progress import shown
    from srnn.training.loop import Interrupted

    wanted = _Wanted.of(args, out, seed)
    try:
        # of the processes torchrun starts, one shows what happens
        first = os.environ.get("RANK", "0") == "0"
        with (
            shown(console(stderr=True), f"{wanted.task.name} seed {wanted.seed}")
            if first
            else nullcontext() as progress
        ):
            result = wanted.fit(args, progress)
    except (Interrupted, DivergedError) as error:
        _stopped(args, wanted, error)
    if result:
        _finished(args, wanted, result)
    return result


def _several(args: argparse.Namespace, group: list[_Wanted]) -> list[Any]:
    """Train runs in lockstep; finish those that ended well before an error of another one is
    raised.
    """
    from srnn.cli.progress import lines
    from srnn.training.train import fit_together

    out = console(stderr=True)
    out.print(f"{len(group)} runs in one launch: seeds {', '.join(str(w.seed) for w in group)}")
    fits = [partial(w.fit, args, lines(out, f"seed {w.seed}"), len(group)) for w in group]
    results = fit_together(fits)
    failed = [(w, r) for w, r in zip(group, results, strict=True) if isinstance(r, BaseException)]
    for wanted, result in zip(group, results, strict=True):
        if not isinstance(result, BaseException):
            _finished(args, wanted, result)
    for k, (wanted, error) in enumerate(failed):
        try:
            _stopped(args, wanted, error)
        except (KeyboardInterrupt, SrnnError) as raised:
            if k == len(failed) - 1:
                raise
            if not isinstance(raised, KeyboardInterrupt):
                print(f"srnn train: {raised}", file=sys.stderr)
    return results


def _stopped(args: argparse.Namespace, wanted: _Wanted, error: BaseException) -> NoReturn:
    """Say how a run that was stopped goes on, note one that diverged; raise what the command ends
    with.
    """
    from srnn.training.loop import Interrupted
    from srnn.training.runs import DIVERGED, Run

    if isinstance(error, Interrupted):
        again = shlex.join(
            [
                "srnn",
                "train",
                wanted.task.name,
                "--resume",
                "--out",
                str(wanted.out),
                *as_given(args),
            ]
        )
        print(f"{error}\nGo on with: {again}", file=sys.stderr)
        raise KeyboardInterrupt from None
    if isinstance(error, DivergedError):
        Run(wanted.out).write(DIVERGED, {"message": str(error)})
    raise error


def _finished(args: argparse.Namespace, wanted: _Wanted, result: dict[str, Any]) -> None:
    """Write the report, and print what came of a run."""
    from srnn import report, tables

    try:
        written = f"Report: {report.of_run(wanted.out, args.data_dir)}"
    except SrnnError as error:
        written = f"No report: {error}"
    if not args.json:
        show(args, None, *tables.result(result, f"{wanted.task.name}, seed {wanted.seed}"))
        print(f"{result['data_note']}\nRun folder: {wanted.out}\n{written}")
