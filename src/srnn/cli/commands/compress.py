"""`srnn compress`: make the network of a run smaller, train it on through the ordinary loop, and
put both side by side.
"""

from __future__ import annotations

import argparse
import copy
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn._check import ConfigError, RunError, SrnnError, check_range
from srnn.cli import options
from srnn.cli.shared import console, set_threads, show

if TYPE_CHECKING:
    from torch import Tensor

    from srnn.datasets import Sample
    from srnn.nn.networks import Stack
    from srnn.tasks.compression import Compression
    from srnn.tasks.task import Parts, Task
    from srnn.training.runs import Run

    Start = tuple[dict[str, Tensor], dict[str, Any]]

SUMMARY = (
    "Make the network of a run smaller, train it on, and put both side by side: accuracy, "
    "bytes, operations, energy."
)
EXAMPLES = """\
  srnn compress runs/ecg-seed0 --bits 8 --epochs 0               8-bit weights, without training
  srnn compress runs/ecg-seed0 --bits 8 --sparsity 0.9 --epochs 30 --steps 15
  srnn compress runs/ecg-seed0 --structured 0.5 --rate 0.05
  srnn compress runs/ecg-seed0 --bits 8 --resume

The result is an ordinary run folder: evaluate, energy, train --resume and compress take it.
Bits, sparsity and neurons are settings of its task (compression.…), chosen by --set too.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("run", type=Path, help="finished run folder")
    parser.add_argument(
        "--bits",
        type=int,
        metavar="N",
        help="weights as integers of N bits (2 to 16), a scale for each row",
    )
    parser.add_argument(
        "--sparsity",
        type=float,
        metavar="F",
        help="remove this fraction of all connections, smallest weights first",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="epochs over which they go (default: 1; with --rate half of them)",
    )
    parser.add_argument(
        "--structured",
        type=float,
        metavar="F",
        help="remove this fraction of the neurons of every hidden layer",
    )
    parser.add_argument(
        "--by",
        default="activity",
        choices=("activity", "weight"),
        help="which: output times outgoing weights, or these alone",
    )
    parser.add_argument(
        "--rate",
        type=float,
        metavar="R",
        help="train towards at most R spikes per step of every neuron",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="epochs of training (default: a third of the run's; 0: none)",
    )
    parser.add_argument("--lr", type=float, help="learning rate (default: a quarter of the run's)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="override a setting of the task; may be given many times",
    )
    parser.add_argument("--seed", type=int, help="seed of the training (default: that of the run)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="run folder (default: beside RUN, named after what is done)",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in that folder")
    options.run(parser)


def run(args: argparse.Namespace) -> int:
    """Compress, train on, evaluate once on the test part, compare."""
    from srnn import processes, report, tables
    from srnn.cli.progress import shown
    from srnn.training.loop import Interrupted
    from srnn.training.runs import Run, load_run
    from srnn.training.session import find_device
    from srnn.training.train import fit

    if processes.started() > 1:
        raise ConfigError("srnn compress runs in one process; start it without torchrun.")
    set_threads(args)
    source, task, seed, net = load_run(args.run, find_device(args.device))
    if not (args.run / "metrics.json").exists():
        raise RunError(
            f"{args.run} is not finished. Let it go on with srnn train {task.name} "
            f"--resume --out {args.run}."
        )
    before = _facts(net, task, source.read("metrics.json"))
    out, start = args.out if args.out is not None else args.run.with_name(_name(args)), None
    if args.resume:
        base, seed = Run.open(out).task()
    else:
        base, _ = task, Run.check_free(out)
    seed = seed if args.seed is None else args.seed
    goal = _goal(args, base, fresh=not args.resume)
    wanted = _check_goal(goal, task, args)
    if not args.resume:
        parts = goal.load(args.data_dir)
        source.check_data(parts)
        if args.rate is not None:
            goal = _weighed(goal, net, _some(parts.train), args)
        start = _start(goal, wanted, net, parts, args, seed)
        del parts
    try:
        with shown(console(stderr=True), f"{task.name} compressed, seed {seed}") as progress:
            fit(
                goal,
                out,
                data_dir=args.data_dir,
                seed=seed,
                device=args.device,
                backend=args.backend,
                resume=args.resume,
                progress=progress,
                start=start,
            )
    except Interrupted as stop:
        words = (
            [w for w in sys.argv[1:] if w != "--resume"]
            if sys.argv[1:2] == ["compress"]
            else ["compress", str(args.run), "--out", str(out)]
        )
        print(f"{stop}\nGo on with: srnn {shlex.join([*words, '--resume'])}", file=sys.stderr)
        raise KeyboardInterrupt from None
    result = _record(Run(out), args.run, before)
    try:
        written = f"Report: {report.of_run(out, args.data_dir)}"
    except SrnnError as error:
        written = f"No report: {error}"
    show(args, result, tables.compressed(result, f"{args.run} → {out}"))
    if not args.json:
        print(f"{result['data_note']}\nRun folder: {out}\n{written}")
    return 0


def _name(args: argparse.Namespace) -> str:
    """Name the folder after what is done."""
    given = {"int": args.bits, "sparse": args.sparsity, "less": args.structured, "rate": args.rate}
    return "-".join(
        [args.run.name, *(f"{word}{value:g}" for word, value in given.items() if value is not None)]
    )


def _goal(args: argparse.Namespace, base: Task, *, fresh: bool) -> Task:
    """Return the task with what is asked for. fresh: where nothing is, a third of the epochs at a
    quarter of the learning rate; else as in `base`.

    With --rate nothing is selected in the first half: what is selected by its accuracy alone would
    be a network that still fires as often as before.
    """
    from srnn.tasks.compression import Compression
    from srnn.tasks.objective import FiringRate
    from srnn.tasks.settings import override

    before = base.compression or Compression()
    named = {name: getattr(args, name) for name in ("bits", "sparsity", "structured", "steps")}
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    epochs, lr = (
        (max(1, base.epochs // 3), base.optimiser.lr / 4)
        if fresh
        else (base.epochs, base.optimiser.lr)
    )
    epochs = epochs if args.epochs is None else args.epochs
    if fresh:
        given = {"steps": 1 if args.rate is None else max(1, epochs // 2)} | given
    goal = replace(
        base,
        compression=replace(before, **given),
        epochs=epochs,
        optimiser=replace(base.optimiser, lr=lr if args.lr is None else args.lr),
    )
    if fresh and args.rate is not None:
        check_range("--rate", args.rate, 0.0, 1.0, open_low=True)
        goal = replace(goal, regulariser=FiringRate(low=min(0.01, args.rate / 5), high=args.rate))
    if (
        not fresh
        and args.rate is not None
        and (goal.regulariser is None or goal.regulariser.high != args.rate)
    ):
        raise RunError(
            f"--rate {args.rate:g}: that run was started with another one. A resumed "
            "run keeps its settings; start a new one instead."
        )
    return override(goal, args.set)


def _check_goal(goal: Task, task: Task, args: argparse.Namespace) -> Compression:
    """Return what is to be compressed.

    Raises `ConfigError` where that is nothing, or less than has been already.
    """
    from srnn.tasks.compression import Compression

    before = task.compression or Compression()
    same = goal.compression is None or replace(goal.compression, steps=before.steps) == before
    if goal.compression is None or (same and args.rate is None and not args.resume):
        raise ConfigError(
            "Nothing to do: give at least one of --bits, --sparsity, --structured and --rate."
        )
    for name in ("sparsity", "structured"):
        if (now := getattr(goal.compression, name)) < (was := getattr(before, name)):
            raise ConfigError(
                f"{name} is {now:g}, and that of {args.run} {was:g} already: what "
                "was removed is gone. Compress the run it came from."
            )
    if args.steps is not None and not goal.compression.sparsity and args.rate is None:
        raise ConfigError(
            "--steps says over how many epochs a network gets smaller or quieter; "
            "give --sparsity or --rate too."
        )
    if args.rate is not None and not goal.epochs:
        raise ConfigError("--rate is trained: give --epochs more than 0.")
    return goal.compression


def _some(samples: Sequence[Sample]) -> list[Sample]:
    """Return at most 512 recordings from all over a part."""
    return [samples[k] for k in range(0, len(samples), -(-len(samples) // 512))]


def _weighed(goal: Task, net: Stack, samples: Sequence[Sample], args: argparse.Namespace) -> Task:
    """Return the task with a penalty on rates above --rate that is as large as the loss of `net`
    where every neuron fires at twice that.
    """
    from srnn.training.evaluate import unit_rates

    rates, loss = unit_rates(net, goal, samples, backend=args.backend)
    units = sum(len(r) for r, part in zip(rates, net.parts(), strict=True) if part.emits.binary)
    if not units:
        raise ConfigError(
            f"--rate: {args.run} has no spiking neurons, whose rate could be lowered."
        )
    if goal.regulariser is None or any(setting.startswith("regulariser") for setting in args.set):
        return goal
    return replace(
        goal, regulariser=replace(goal.regulariser, factor=loss / (units * goal.regulariser.high))
    )


def _start(
    goal: Task,
    wanted: Compression,
    net: Stack,
    parts: Parts[Sample],
    args: argparse.Namespace,
    seed: int,
) -> Start:
    """Return the checkpoint that the training starts from; with its validation accuracy where it is
    as small as it will be.
    """
    from srnn import compress
    from srnn.training.evaluate import assess, unit_rates

    if wanted.structured:
        keep = compress.widths(replace(goal, compression=None).build(), wanted.structured)
        rates = (
            unit_rates(net, goal, _some(parts.train), backend=args.backend)[0]
            if args.by == "activity"
            else None
        )
        net = compress.remove_neurons(net, keep, compress.importance(net, rates))
    compress.set_bits(net, wanted.bits)
    if wanted.sparsity:
        compress.open_masks(net)
        # raises at once what would otherwise stop the training
        compress.prune(copy.deepcopy(net), wanted.sparsity, wanted.scope)
    state: dict[str, Any] = {}
    if wanted.steps == 1:
        wanted.prune(net, 0)
    if wanted.steps == 1 and args.rate is None:
        state["validation_accuracy"] = assess(
            net, goal, parts.validation, seed=seed, backend=args.backend, cost=False
        )["accuracy"]
    return {f"net.{name}": t for name, t in net.state_dict().items()}, state


def _facts(net: Stack, task: Task, metrics: dict[str, Any]) -> dict[str, Any]:
    """Return what is compared: accuracies, size, operations, energy and firing rate, with the
    activity measured in the run.
    """
    from srnn import compress, energy

    if missing := {
        "input_rate",
        "input_events",
        "firing_rates",
        "firing_rate",
        "validation_accuracy",
        "parameters",
    } - set(metrics):
        raise RunError(
            "metrics.json of the run is damaged: it has no "
            f"{', '.join(sorted(missing))}. Write it anew with srnn train --resume."
        )
    activity = energy.Activity.stored(metrics)
    bits = None if task.compression is None else task.compression.bits
    process = energy.FP32 if bits is None else energy.INT8 if bits <= 8 else energy.INT32
    count = energy.count(net, activity)
    return {
        "validation_accuracy": metrics["validation_accuracy"],
        "test_accuracy": metrics.get("test_accuracy"),
        "bits": bits,
        **compress.size(net).as_dict(),
        "parameters": metrics["parameters"],
        "neurons": [part.outputs for part in net.parts()],
        "firing_rate": metrics["firing_rate"],
        "mac": count.mac,
        "ac": count.ac,
        "energy": count.energy,
        "energy_own": replace(count, process=process).energy,
        "process": process.source,
    }


def _record(run: Run, source: Path, before: dict[str, Any]) -> dict[str, Any]:
    """Add what the result was made of to its metrics.json, and both sides of the comparison; return
    it all.
    """
    from srnn.training.runs import load_checkpoint, load_run

    _, task, _, net = load_run(run.path)
    metrics = run.read("metrics.json")
    _, state = load_checkpoint(run.checkpoint("start"))
    both = {
        "before": before,
        "untrained_validation_accuracy": state.get("validation_accuracy"),
        "after": _facts(net, task, metrics),
    }
    result: dict[str, Any] = {**metrics, "compressed_from": str(source), "compression": both}
    run.write("metrics.json", result)
    return result
