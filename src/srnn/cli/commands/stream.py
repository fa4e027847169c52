"""`srnn stream`: a trained network on live samples; one JSON line an event."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn._check import LARGEST, ConfigError, check_choice, check_range
from srnn.cli.shared import console, set_threads

if TYPE_CHECKING:
    from srnn.stream import Stream
    from srnn.stream.encoding import Encoding
    from srnn.stream.sources import Source
    from srnn.tasks.encoders import Shape
    from srnn.tasks.task import Task

SUMMARY = "Run a trained network on live samples; one JSON line an event (docs/stream.md)."
EXAMPLES = """\
  sensor | srnn stream runs/ecg-seed1 --threshold 0.9 --hold 5
  srnn stream runs/ecg_sim-seed0 samples.csv --every 100 --calibrate 500
  srnn stream runs/fsdd-seed0 word.wav --speed 1
  srnn stream runs/my-seed0 serial:/dev/ttyUSB0:115200 --format i16 --scale 0.001
  srnn stream runs/my-seed0 listen:9000 --full drop-oldest --limit 100000
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument(
        "source",
        nargs="?",
        default="-",
        help="- (stdin), FILE, sound file, serial:PATH[:BAUD], tcp:HOST:PORT or listen:PORT",
    )
    parser.add_argument(
        "--format",
        default="lines",
        help="lines of numbers, or binary little-endian f32 or i16 (default: lines)",
    )
    parser.add_argument(
        "--input",
        default="auto",
        help="raw samples, encoded as the task does, or steps of the network (default: raw "
        "where it can)",
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor on binary samples (default: 1)"
    )
    parser.add_argument(
        "--timed",
        action="store_true",
        help="lines begin with a time, by which missing samples are seen",
    )
    parser.add_argument(
        "--time-unit", metavar="UNIT", help="of that time: s, ms, us or ns (default: s)"
    )
    parser.add_argument(
        "--rate", type=float, metavar="HZ", help="samples a second (default: as the task has it)"
    )
    parser.add_argument(
        "--speed",
        type=float,
        metavar="N",
        help="read a file at N times real time (default: as fast as it goes)",
    )
    parser.add_argument(
        "--threshold", type=float, help="confidence from which a class counts as sure, 0 to 1"
    )
    parser.add_argument(
        "--hold",
        type=int,
        default=1,
        metavar="STEPS",
        help="steps it must last for a decision (default: 1)",
    )
    parser.add_argument(
        "--every", type=int, metavar="STEPS", help="also print the scores of every so many steps"
    )
    parser.add_argument(
        "--reset-every", type=int, metavar="STEPS", help="begin a new recording after so many steps"
    )
    parser.add_argument(
        "--window",
        type=int,
        metavar="SAMPLES",
        help="take every so many samples as a recording, encoded as a whole",
    )
    parser.add_argument(
        "--calibrate",
        type=int,
        metavar="SAMPLES",
        help="z-score by so many first samples (default: the length of a recording)",
    )
    parser.add_argument(
        "--gaps",
        default="hold",
        help="missing values and samples: hold, zero, drop or reset (default: hold)",
    )
    parser.add_argument(
        "--longest-gap",
        type=int,
        default=1000,
        metavar="SAMPLES",
        help="a longer gap begins a new recording (default: 1000)",
    )
    parser.add_argument(
        "--queue",
        type=int,
        default=4096,
        metavar="SAMPLES",
        help="samples that may wait (default: 4096)",
    )
    parser.add_argument(
        "--full",
        default="block",
        help="when they are: block the source, or drop-oldest (default: block)",
    )
    parser.add_argument("--limit", type=int, metavar="STEPS", help="stop after so many steps")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="go on from this saved state where it exists; write it at the end",
    )
    parser.add_argument("--backend", default="auto", help="auto, cpu or reference (default: auto)")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of torch (default: 1)"
    )


FORMATS = ("lines", "f32", "i16")
INPUTS = ("auto", "raw", "steps")


def run(args: argparse.Namespace) -> int:
    """Run until the source ends."""
    import torch

    from srnn.stream import Stream
    from srnn.stream.encoding import SpikeTrains
    from srnn.stream.live import Live, Settings
    from srnn.stream.parse import Binary, Lines, Repair
    from srnn.training.runs import load_run
    from srnn.training.session import signals_interrupt

    _check(args)
    set_threads(args)
    _, task, seed, net = load_run(args.run)
    start = task.start(net, 1, torch.Generator().manual_seed(seed))
    stream = Stream(
        net,
        decision=task.decode.running(),
        threshold=args.threshold,
        hold=args.hold,
        start=start,
        backend=args.backend,
    )
    if args.state is not None and args.state.exists():
        stream.load(args.state)
    raw = args.input == "raw" or (args.input == "auto" and task.encode is not None)
    source, sound, shape = _source(args, task, raw)
    encoding, columns = _encoding(args, task, shape, raw)
    if sound is not None and sound != columns:
        raise ConfigError(f"{args.source} has {sound} channels; expected {columns}.")
    spikes = isinstance(encoding, SpikeTrains)
    if spikes and (args.speed is not None or args.timed):
        raise ConfigError("--speed and --timed: spikes have their own times. Leave them off.")
    gaps = "drop" if spikes else args.gaps  # half a spike is none
    rate = args.rate or shape.rate
    pace = None if args.speed is None else args.speed * rate
    parser = (
        Lines(columns + args.timed)
        if args.format == "lines" and sound is None
        else Binary(columns, "f32" if sound else args.format, args.scale)
    )
    repair = Repair(
        columns,
        gaps,
        timed=args.timed,
        rate=rate,
        unit=args.time_unit or "s",
        longest=args.longest_gap,
    )
    step_rate = 1 / task.step_seconds if raw else rate
    settings = Settings(
        step_rate, args.every, args.reset_every, args.queue, args.full, pace, args.limit
    )
    live = Live(source, parser, repair, encoding, stream, task.classes, settings, _emit)
    _emit(_started(args, task, stream, source.name, columns, raw, step_rate))
    try:
        with signals_interrupt():
            report = live.run()
    # the reader of our events has gone: that is the end, and the report goes where somebody may
    # read it
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        report = live.report()
        print(json.dumps(report), file=sys.stderr)
        return 0
    except KeyboardInterrupt:  # the usual end of a live stream
        _emit(live.report())
        raise
    finally:
        if args.state is not None:
            stream.save(args.state)
    if not args.json:
        console(stderr=True).print(_summary(report))
    return 0


def _check(args: argparse.Namespace) -> None:
    from srnn.stream.buffer import POLICIES
    from srnn.stream.clock import UNITS
    from srnn.stream.parse import GAPS

    check_choice("--format", args.format, FORMATS)
    check_choice("--input", args.input, INPUTS)
    check_choice("--gaps", args.gaps, GAPS)
    check_choice("--full", args.full, POLICIES)
    if args.threshold is not None:
        check_range("--threshold", args.threshold, 0.0, 1.0)
    for name in (
        "hold",
        "every",
        "reset_every",
        "window",
        "calibrate",
        "queue",
        "limit",
        "longest_gap",
    ):
        if getattr(args, name) is not None:
            check_range(f"--{name.replace('_', '-')}", getattr(args, name), 1, LARGEST)
    for name in ("rate", "speed"):
        if getattr(args, name) is not None:
            check_range(f"--{name}", getattr(args, name), 0.0, open_low=True)
    if args.timed and args.format != "lines":
        raise ConfigError("--timed: binary samples have no time. Use lines, or leave it off.")
    if args.time_unit is not None:
        check_choice("--time-unit", args.time_unit, tuple(UNITS))
        if not args.timed:
            raise ConfigError(
                "--time-unit: without --timed, lines have no time. Add --timed, or leave it off."
            )
    if args.scale != 1.0 and args.format == "lines":
        raise ConfigError(
            "--scale is for binary samples; lines hold the numbers themselves. Leave it off."
        )
    if args.window is not None and args.reset_every is not None:
        raise ConfigError(
            "--window and --reset-every: a window is a recording of its own. Give one of them."
        )


def _source(args: argparse.Namespace, task: Task, raw: bool) -> tuple[Source, int | None, Shape]:
    """Return the source, the channels of a sound file (None for other sources), and the shape of
    what comes.
    """
    from dataclasses import replace

    from srnn.stream.sources import open_sound, open_source

    shape = task.data.shape if raw else task.shape
    if args.source.lower().endswith((".wav", ".flac")):
        source, channels, rate = open_sound(Path(args.source))
        wanted = args.rate or shape.rate
        if rate != wanted and raw:
            raise ConfigError(
                f"{args.source} has {rate} samples a second; expected {wanted:g}. "
                f"Resample it: sox IN -r {wanted:g} OUT."
            )
        return source, channels, shape
    return (
        open_source(args.source),
        None,
        shape if args.rate is None else replace(shape, rate=args.rate),
    )


def _encoding(
    args: argparse.Namespace, task: Task, shape: Shape, raw: bool
) -> tuple[Encoding, int]:
    """Return how samples become steps, and how many numbers a sample has."""
    import numpy as np

    from srnn.datasets import Sample
    from srnn.stream.encoding import Endless, SpikeTrains, Windows
    from srnn.tasks.encoders import EventBins, LevelCrossings, as_is

    encode = task.encode if raw else None
    if args.calibrate is not None and (
        args.window is not None or shape.events or not isinstance(encode, LevelCrossings)
    ):
        raise ConfigError(
            "--calibrate is for signals whose level crossings are z-scored sample "
            "by sample; nothing is here. Leave it off."
        )
    if isinstance(encode, EventBins):
        if args.window is not None:
            raise ConfigError(
                "--window: recordings of spikes have the length of the task. Leave it off."
            )
        return SpikeTrains(
            encode.streaming(shape), encode.steps * encode.step_seconds, shape.channels
        ), 2
    if args.window is not None:

        def whole(x: Any) -> Any:
            sample = Sample(x.astype(np.float32), 0, shape.rate, "window", events=shape.events)
            return sample.signal if encode is None else encode(sample).signal

        return Windows(whole, args.window), shape.channels
    if encode is None:
        return Endless(as_is(shape.channels)), shape.channels
    try:
        if isinstance(encode, LevelCrossings):
            return Endless(encode.streaming(shape, args.calibrate)), shape.channels
        return Endless(encode.streaming(shape)), shape.channels
    except ConfigError as error:
        raise ConfigError(
            f"{error} Or: --window SAMPLES takes every so many samples as a recording of its own."
        ) from error


def _started(
    args: argparse.Namespace,
    task: Task,
    stream: Stream,
    source: str,
    columns: int,
    raw: bool,
    rate: float,
) -> dict[str, Any]:
    return {
        "event": "start",
        "run": str(args.run),
        "task": task.name,
        "simulated": task.data.simulated,
        "source": source,
        "input": "raw" if raw else "steps",
        "columns": columns,
        "steps_per_second": round(rate, 6),
        "classes": list(task.classes),
        "decision": stream.decision.pool,
        "threshold": args.threshold,
        "hold": args.hold,
        "backend": stream.backend.name,
    }


def _emit(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event, allow_nan=False) + "\n")
    sys.stdout.flush()


def _summary(report: dict[str, Any]) -> str:
    """Return the report in words."""
    lost = (
        ", ".join(
            f"{report[name]} {name}"
            for name in ("malformed", "missing", "late", "dropped")
            if report[name]
        )
        or "nothing lost"
    )
    # None: there was no step
    both = {
        what: t
        for what in ("compute", "response")
        if (t := report[f"{what}_us"]) and t["max"] is not None
    }
    times = [
        f"{what} p50 {t['p50']} p95 {t['p95']} p99 {t['p99']} max {t['max']}"
        for what, t in both.items()
    ]
    head = (
        f"{report['samples']} samples, {report['steps']} steps, {report['recordings']} "
        f"recordings in {report['seconds']} s; {lost}."
    )
    return f"{head}\nµs a step: {'; '.join(times)}" if times else head
