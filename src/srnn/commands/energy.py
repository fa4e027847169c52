"""`srnn energy`: count operations and energy per step, by the published rules and by rules that leave nothing out."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from srnn._check import ConfigError, RunError, check_range
from srnn.commands.shared import show, task_of


def run(args: argparse.Namespace) -> int:
    """Count the operations of a run or of a task."""
    from srnn import energy, tables
    from srnn.runs import load_run

    path = Path(args.what)
    if (path / "task.json").exists():
        if args.rate is not None or args.set or args.variant:
            raise ConfigError(f"{path} is a run: its rates were measured. --rate, --set and --variant are for a task.")
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
            task_of(args, args.what)
            raise ConfigError(f"{args.what}: an untrained network has no firing rate. Assume one with --rate 0.1, or name a run folder.")
        check_range("--rate", args.rate, 0.0, 1.0)
        net = task_of(args, args.what).resolved(None).build()
        activity, title = energy.Activity.assumed(net, args.rate), f"{args.what}: assumed firing rate {args.rate:g}"
    counts = energy.counts(net, activity)
    layers = {name: [asdict(layer) for layer in c.layers] for name, c in counts.items()}
    show(args, {name: {**c.as_dict(), "layers": layers[name]} for name, c in counts.items()}, tables.operations(counts, title))
    return 0
