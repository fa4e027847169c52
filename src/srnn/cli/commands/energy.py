"""`srnn energy`: count operations and energy per step, by the published rules and by rules that
leave nothing out, beside a dense LSTM.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn._check import ConfigError, RunError, check_choice, check_range
from srnn.cli import options
from srnn.cli.shared import show, task_of

if TYPE_CHECKING:
    from srnn.energy import Count

SUMMARY = (
    "Count operations and energy per step, by the published rules and by rules that leave "
    "nothing out."
)
EXAMPLES = """\
  srnn energy runs/ecg-seed0         with the rates measured in that run
  srnn energy ecg --rate 0.282       at an assumed firing rate: the published row (90 MAC, 325.7 pJ)
  srnn energy soli --rate 0.04 --analog --process int8 --memory sram1m
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("what", help="run folder or task")
    parser.add_argument(
        "--rate",
        type=float,
        help="assumed firing rate of all spiking units and inputs (for a task)",
    )
    parser.add_argument(
        "--analog", action="store_true", help="the input is analog, no events (for a task)"
    )
    parser.add_argument(
        "--process",
        help="int32, fp32, fp16 or int8 at 45 nm (default: as each rule set's paper has it)",
    )
    parser.add_argument(
        "--memory", help="charge memory traffic: sram8k, sram32k, sram1m or dram (default: none)"
    )
    options.task(parser)


def run(args: argparse.Namespace) -> int:
    """Count the operations of a run or of a task."""
    from srnn import energy, tables
    from srnn.training.runs import load_run

    process = (
        None
        if args.process is None
        else energy.PROCESSES[check_choice("--process", args.process, tuple(energy.PROCESSES))]
    )
    memory = (
        None
        if args.memory is None
        else energy.MEMORIES[check_choice("--memory", args.memory, tuple(energy.MEMORIES))]
    )
    path = Path(args.what)
    if (path / "task.json").exists():
        if args.rate is not None or args.set or args.variant or args.analog:
            raise ConfigError(
                f"{path} is a run: its rates were measured. --rate, --analog, "
                "--set and --variant are for a task."
            )
        run, task, _, net = load_run(path)
        if not (path / "metrics.json").exists():
            raise RunError(
                f"{path} is not finished, so its rates are not known. Let it go on "
                f"with srnn train TASK --resume --out {path}."
            )
        m = run.read("metrics.json")
        if missing := {"input_rate", "input_events", "firing_rates", "firing_rate"} - set(m):
            raise RunError(
                f"{path / 'metrics.json'} is damaged: it has no "
                f"{', '.join(sorted(missing))}. Write it anew with --resume."
            )
        activity = energy.Activity.stored(m)
        title = (
            f"{path}: rates measured on the {'test' if 'test_accuracy' in m else 'validation'} part"
        )
    else:
        if args.rate is None:
            task_of(args, args.what)
            raise ConfigError(
                f"{args.what}: an untrained network has no firing rate. Assume one "
                "with --rate 0.1, or name a run folder."
            )
        check_range("--rate", args.rate, 0.0, 1.0)
        task = task_of(args, args.what).resolved(None)
        net = task.build()
        if task.compression is not None:
            task.compression.prune(net, task.compression.steps - 1)
        activity = energy.Activity.assumed(net, args.rate, events=not args.analog)
        title = (
            f"{args.what}: assumed firing rate {args.rate:g}, "
            f"{'analog' if args.analog else 'event'} input"
        )
    if process is None and task.compression is not None and task.compression.process is not None:
        process = task.compression.process
        title += f"; weights of {task.compression.bits} bits, {process.source}"
    counts = energy.counts(net, activity, process, memory=memory)
    published, measured = counts["yin2021"], counts["measured"]
    lstm = energy.lstm_counts(net, memory=memory)
    data = {name: _plain(c) for name, c in counts.items()} | {
        "reasons": energy.reasons(published, measured),
        "lstm": {name: _plain(c) for name, c in lstm.items()},
    }
    units = [layer.neurons for layer in _hidden(net)]
    beside = (
        f"beside it: a dense LSTM of the same hidden sizes ({', '.join(map(str, units))}), "
        f"{lstm['measured'].process.source}"
    )
    show(
        args,
        data,
        tables.operations(counts, title),
        energy.explain(published, measured),
        tables.beside(lstm, counts, beside),
    )
    return 0


def _hidden(net: Any) -> list[Any]:
    from srnn import energy
    from srnn.nn.networks import single_layers

    layers = single_layers(energy.dense_lstm(net))
    return [layer for layer in layers if layer.neuron.gates > 1]


def _plain(count: Count) -> Mapping[str, Any]:
    """Return a count as JSON has it."""
    layers = [
        {
            "name": layer.name,
            "mac": layer.mac,
            "ac": layer.ac,
            "items": {c.what: {"mac": c.mac, "ac": c.ac} for c in layer.charges},
        }
        for layer in count.layers
    ]
    return {**count.as_dict(), "process": count.process.source, "layers": layers}
