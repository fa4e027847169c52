"""The command line: argument parsing and orchestration only."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn._check import ConfigError, DivergedError, RunError, SrnnError, check_range

if TYPE_CHECKING:
    from rich.console import Console

_MAIN = """Spiking recurrent neural networks on time-domain signals.

  srnn tasks                                   what can be trained
  srnn train ecg_sim                           train now, on data that comes with the package
  srnn data fetch qtdb                         get the real ECG
  srnn train ecg --set epochs=30 --seed 1      train on it; every setting can be overridden
  srnn train ecg --seed 1 --resume             go on where it was stopped
  srnn evaluate runs/ecg-seed1                 accuracy, firing rates, energy of a run
  srnn energy ecg --rate 0.282                 what the network would cost at a firing rate
"""


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="srnn", description=_MAIN, formatter_class=raw)
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, summary: str, examples: str) -> argparse.ArgumentParser:
        p = commands.add_parser(name, help=summary, description=summary, epilog=f"examples:\n{examples}", formatter_class=raw)
        p.add_argument("--json", action="store_true", help="print JSON instead of tables")
        return p

    def data_option(p: argparse.ArgumentParser) -> None:
        p.add_argument("--data-dir", metavar="DIR", help="where the data sets lie (default: $SRNN_DATA, else the user's cache)")

    def run_options(p: argparse.ArgumentParser) -> None:
        data_option(p)
        p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 … (default: cpu)")
        p.add_argument("--backend", default="auto", help="who runs the time loop: auto or reference (default: auto)")
        why = "the reference loop makes many tiny products; with more threads they wait for each other when the machine is busy"
        p.add_argument("--threads", type=int, default=1, metavar="N", help=f"threads of torch (default 1: {why})")

    listing = command("tasks", "List the tasks, or every setting of one.", "  srnn tasks\n  srnn tasks ecg     all settings, as --set takes them")
    listing.add_argument("task", nargs="?", help="show the settings of this task")

    data = command("data", "List, fetch, verify or show data.",
                   "  srnn data list\n  srnn data fetch qtdb            the encoded files of Yin et al. (0.6 MB)\n"
                   "  srnn data fetch qtdb --raw      the PhysioNet records (about 75 MB)\n  srnn data verify qtdb\n"
                   "  srnn data show ecg --index 3 --out ecg.png")  # fmt: skip
    data.add_argument("action", choices=("list", "fetch", "verify", "show"))
    data.add_argument("name", nargs="?", help="data set (fetch, verify) or task (show)")
    data.add_argument("--raw", action="store_true", help="fetch: the original records instead of the encoded files")
    data.add_argument("--part", default="train", choices=("train", "validation", "test"), help="show: which part (default: train)")
    data.add_argument("--index", type=int, default=0, help="show: which recording (default: 0)")
    data.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="show: override a setting of the task")
    data.add_argument("--out", type=Path, metavar="FILE", help="show: svg, png or pdf file (default: TASK-PART-INDEX.png)")
    data_option(data)

    train = command("train", "Train a task, evaluate the selected checkpoint once on the test part.",
                    "  srnn train ecg_sim\n  srnn train ecg --data-dir data --set epochs=30 --set network.hidden=48\n"
                    "  srnn train ecg --set start=UniformStart --set start.high=0.1\n"
                    "  srnn train ecg --seeds 0 1 2       three runs, mean and sd\n"
                    "  srnn train ecg --seed 1 --resume   go on where the run was stopped (bit-exact on a CPU)\n\n"
                    "The run folder holds task.json (resolved settings), env.json, log.jsonl (a line an epoch), checkpoints/,\n"
                    "metrics.json and figures/. A setting that does not exist or has the wrong type is refused,\n"
                    "with the list of those that do.")  # fmt: skip
    train.add_argument("task", help="see `srnn tasks`")
    train.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a setting; may be given many times")
    train.add_argument("--seed", type=int, help="seed of weights, order and dropout (default: 0)")
    train.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="several runs, one after the other")
    train.add_argument("--out", type=Path, metavar="FOLDER", help="run folder (default: runs/TASK-seedSEED)")
    train.add_argument("--resume", action="store_true", help="continue the run in that folder")
    train.add_argument("--tensorboard", action="store_true", help="also write TensorBoard events into the run folder")
    run_options(train)

    evaluate = command("evaluate", "Evaluate the best checkpoint of a run.", "  srnn evaluate runs/ecg-seed0 --part validation --json")
    evaluate.add_argument("run", type=Path, help="run folder")
    evaluate.add_argument("--part", default="test", choices=("train", "validation", "test"), help="which part (default: test)")
    run_options(evaluate)

    energy = command("energy", "Count operations and energy per step, by the published rules and by rules that leave nothing out.",
                     "  srnn energy runs/ecg-seed0         with the rates measured in that run\n"
                     "  srnn energy ecg --rate 0.282       with one assumed firing rate: the published row (90 MAC, 325.7 pJ)")  # fmt: skip
    energy.add_argument("what", help="run folder or task")
    energy.add_argument("--rate", type=float, help="assumed firing rate of all spiking units and inputs (for a task)")
    energy.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a setting of the task")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0, 1 = training diverged, 2 = bad input, 130 = interrupted."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.version:
        from srnn import __version__

        print(f"srnn {__version__}")
        return 0
    if args.command is None:
        parser.print_help()
        return 2
    handler = {"tasks": _tasks, "data": _data, "train": _train, "evaluate": _evaluate, "energy": _energy}[args.command]
    try:
        return handler(args)
    except SrnnError as error:
        print(f"srnn {args.command}: {error}", file=sys.stderr)
        return 1 if isinstance(error, DivergedError) else 2
    except KeyboardInterrupt:
        print(f"srnn {args.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


# ── what every command shares ────────────────────────────────────────────────────────────────────────────────────────────


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=not (sys.stderr if stderr else sys.stdout).isatty())


def _print(args: argparse.Namespace, data: Any, *tables: Any) -> None:
    """Print JSON with --json, else the tables."""
    if args.json:
        print(json.dumps(data, indent=1, allow_nan=False))
    else:
        console = _console()
        for table in tables:
            console.print(table)


def _task(name: str, settings: Sequence[str]) -> Any:
    from srnn import tasks
    from srnn.tasks.settings import override

    return override(tasks.load(name), settings)


def _threads(args: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(int(check_range("--threads", args.threads, 1)))


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _tasks(args: argparse.Namespace) -> int:
    from srnn import tables, tasks
    from srnn.tasks.settings import listed

    if args.task is not None:
        settings = listed(tasks.load(args.task))
        shown = [(f"{path}={value}", hint) for path, value, hint in settings]
        _print(args, {path: value for path, value, _ in settings}, tables.plain(f"Settings of {args.task}", ("--set", "type"), shown))
        return 0
    known = [tasks.load(name) for name in tasks.names()]
    rows = [
        {"task": t.name, "summary": t.summary, "classes": t.classes, "step_seconds": t.step_seconds, "simulated": t.data.simulated,
         "published": [asdict(p) for p in t.published]} for t in known
    ]  # fmt: skip
    texts = [
        (t.name, t.summary, str(len(t.classes)), f"{1e3 * t.step_seconds:g} ms",
         next((f"{100 * p.value:.1f} %" for p in t.published if p.what == "test accuracy"), "")) for t in known
    ]  # fmt: skip
    table = tables.plain("Tasks", ("task", "what", "classes", "step", "published"), texts)
    _print(args, rows, table)
    return 0


def _data(args: argparse.Namespace) -> int:
    from srnn import tables
    from srnn.datasets import qtdb
    from srnn.datasets._fetch import data_root

    root = data_root(args.data_dir)
    if args.action != "list" and args.name is None:
        raise ConfigError(f"data {args.action}: which one? Expected the name of a {'task' if args.action == 'show' else 'data set: qtdb'}.")
    if args.action == "show":
        return _show(args)
    if args.action == "list":
        right = all(ok for _, ok, _ in qtdb.verify(root))
        rows = [
            {"name": "qtdb", "what": "QT Database ECG, wave labels", "here": right, "licence": qtdb.LICENCE, "folder": str(root)},
            {"name": "ecg_sim", "what": "simulated ECG, comes with the package", "here": True, "licence": "as srnn", "folder": ""},
        ]
        texts = [(str(r["name"]), str(r["what"]), "yes" if r["here"] else f"srnn data fetch {r['name']}", str(r["licence"])) for r in rows]
        _print(args, rows, tables.plain(f"Data in {root}", ("name", "what", "here", "licence"), texts))
        return 0
    if args.name != "qtdb":
        raise ConfigError(f"There is no data set {args.name!r} to {args.action}. Known: qtdb (ecg_sim comes with the package).")
    if args.action == "fetch":
        paths = qtdb.fetch(root, raw=args.raw)
        _print(args, [str(p) for p in paths], f"{len(paths)} files in {paths[0].parent}\n{qtdb.LICENCE}\n{qtdb.CITATION}")
        return 0
    checks = qtdb.verify(root)
    rows = [{"file": name, "ok": ok, "detail": detail} for name, ok, detail in checks]
    _print(args, rows, tables.plain(f"Data in {root}", ("file", "ok", "detail"), [(n, "yes" if ok else "NO", d) for n, ok, d in checks]))
    return 0 if all(ok for _, ok, _ in checks) else 2


def _show(args: argparse.Namespace) -> int:
    from srnn import figures

    task = _task(args.name, args.set)
    samples = getattr(task.load(args.data_dir), args.part)
    if not 0 <= args.index < len(samples):
        raise ConfigError(f"--index {args.index}: the {args.part} part of {task.name} has recordings 0 … {len(samples) - 1}.")
    sample = samples[args.index]
    title = f"{task.name}, {args.part} part, recording {args.index} ({sample.name})"
    figure = figures.recording(sample, task.classes, simulated=task.data.simulated, title=title)
    path = figures.save(figure, args.out or Path(f"{task.name}-{args.part}-{args.index}.png"))
    about = {"name": sample.name, "steps": len(sample.signal), "channels": sample.signal.shape[1], "rate": sample.rate, "figure": str(path)}
    _print(args, about, f"{sample.name}: {about['steps']} steps at {sample.rate:g} Hz, {about['channels']} channels. Figure: {path}")
    return 0


def _train(args: argparse.Namespace) -> int:
    from srnn import tables
    from srnn.runs import Run

    if args.seeds is not None and args.seed is not None:
        raise ConfigError("--seed and --seeds: give one of them.")
    _threads(args)
    seeds = args.seeds if args.seeds is not None else [args.seed]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {' '.join(map(str, seeds))}: one is given twice.")
    several = args.out is not None and args.seeds is not None
    folders = [args.out / f"seed{s}" if several else args.out or Path("runs") / f"{args.task}-seed{s or 0}" for s in seeds]
    for out in folders if not args.resume else []:  # all of them, before the first one is trained
        Run.check_free(out)
    results = [_train_one(args, out, seed) for out, seed in zip(folders, seeds, strict=True)]
    if not all(results):
        return 0  # the first of several processes has said it
    if len(results) > 1:
        _print(args, results, tables.spread(results, args.task))
    elif args.json:
        _print(args, results[0])
    return 0


def _train_one(args: argparse.Namespace, out: Path, seed: int | None) -> Any:
    from srnn import figures, tables
    from srnn.progress import shown
    from srnn.runs import Run
    from srnn.tasks.settings import override
    from srnn.train import Interrupted, fit

    resume = args.resume and (args.seeds is None or (out / "task.json").exists())  # of several seeds some may not have started
    task = _task(args.task, args.set)
    if resume and Run.open(out).stored()["task"] == args.task:  # its settings go on; only what is set anew may differ, and is refused
        task, stored_seed = Run.open(out).task()
        task, seed = override(task, args.set), stored_seed if seed is None else seed
    seed = seed or 0
    try:
        first = os.environ.get("RANK", "0") == "0"  # of the processes torchrun starts, one shows what happens
        with shown(_console(stderr=True), f"{task.name} seed {seed}") if first else nullcontext() as progress:
            result = fit(task, out, data_dir=args.data_dir, seed=seed, device=args.device, backend=args.backend,
                           resume=resume, tensorboard=args.tensorboard, progress=progress)  # fmt: skip
    except Interrupted as stop:
        given = {"data-dir": (args.data_dir, None), "device": (args.device, "cpu"), "backend": (args.backend, "auto"), "threads": (args.threads, 1)}
        more = "".join(f" --{name} {shlex.quote(str(value))}" for name, (value, usual) in given.items() if value != usual)
        more += " --tensorboard" if args.tensorboard else ""
        print(f"{stop}\nGo on with: srnn train {task.name} --resume --out {shlex.quote(str(out))}{more}", file=sys.stderr)
        raise KeyboardInterrupt from None
    if not result:
        return result
    try:
        drawn = f"Figures: {figures.of_run(out, args.data_dir)}"
    except SrnnError as error:
        drawn = f"No figures: {error}"
    if not args.json:
        _print(args, None, *tables.result(result, f"{task.name}, seed {seed}"))
        print(f"{result['data_note']}\nRun folder: {out}\n{drawn}")
    return result


def _evaluate(args: argparse.Namespace) -> int:
    from srnn import tables
    from srnn.evaluate import assess
    from srnn.runs import load_run
    from srnn.session import find_device

    _threads(args)
    run, task, seed, net = load_run(args.run, find_device(args.device))
    parts = task.load(args.data_dir)
    run.check_data(parts)
    result = assess(net, task, getattr(parts, args.part), seed=seed, backend=args.backend)
    headline = {k: v for k, v in result.items() if k not in ("confusion", "energy")}
    rows = [(k, ", ".join("no label" if x is None else f"{x:.4f}" for x in v) if isinstance(v, list) else f"{v:.6g}") for k, v in headline.items()]
    energy = [(f"{c} per step, rules {name}", f"{value:.6g}") for name, count in result["energy"].items() for c, value in count.items()]
    title = f"{args.run}, {args.part} part{' (SIMULATED DATA)' if task.data.simulated else ''}"
    _print(args, {"part": args.part, "simulated": task.data.simulated, **result}, tables.plain(title, ("what", "value"), rows + energy))
    return 0


def _energy(args: argparse.Namespace) -> int:
    from srnn import energy, tables
    from srnn.runs import load_run

    path = Path(args.what)
    if (path / "task.json").exists():
        if args.rate is not None or args.set:
            raise ConfigError(f"{path} is a run: its rates were measured. --rate and --set are for a task.")
        run, _, _, net = load_run(path)
        if not (path / "metrics.json").exists():
            raise RunError(f"{path} is not finished, so its rates are not known. Let it go on with srnn train TASK --resume --out {path}.")
        m = run.read("metrics.json")
        if missing := {"input_rate", "input_events", "firing_rates", "firing_rate"} - set(m):
            raise RunError(f"{path / 'metrics.json'} is damaged: it has no {', '.join(sorted(missing))}. Write it anew with --resume.")
        activity = energy.Activity(m["input_rate"], m["input_events"], tuple(m["firing_rates"]), m["firing_rate"])
        title = f"{path}: rates measured on the test part"
    else:
        if args.rate is None:
            _task(args.what, args.set)
            raise ConfigError(f"{args.what}: an untrained network has no firing rate. Assume one with --rate 0.1, or name a run folder.")
        check_range("--rate", args.rate, 0.0, 1.0)
        net = _task(args.what, args.set).network.build()
        activity, title = energy.Activity.assumed(net, args.rate), f"{args.what}: assumed firing rate {args.rate:g}"
    counts = energy.counts(net, activity)
    layers = {name: [asdict(layer) for layer in c.layers] for name, c in counts.items()}
    _print(args, {name: {**c.as_dict(), "layers": layers[name]} for name, c in counts.items()}, tables.operations(counts, title))
    return 0


def run() -> None:
    """Run the command line as a program. A process of torchrun ends without the interpreter's own clean-up.

    One such process was once seen to abort in it ("terminate called without an active exception"), after its run was written; the cause is not known.
    """
    code = main()
    if "TORCHELASTIC_RUN_ID" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
