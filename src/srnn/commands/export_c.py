"""`srnn export --to c`: C99 for a microcontroller, compiled and compared here."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn._check import ConfigError, check_range
from srnn.commands.shared import show

if TYPE_CHECKING:
    from torch import Tensor

    from srnn.export import CModel
    from srnn.tasks.task import Task

CALIBRATION = 16
"""So many recordings of the training part show which values occur, where integers are wanted."""


def run(args: argparse.Namespace) -> int:
    """Write, compile, compare on the test part, measure; a folder is filled only when all of that succeeded."""
    import torch

    from srnn import evaluate, tables
    from srnn.export import CPlayer, footprint, to_c
    from srnn.fidelity import compare
    from srnn.runs import load_run
    from srnn.tasks.task import collate

    torch.set_num_threads(1)
    if args.bits not in (None, 4, 8):
        raise ConfigError(f"--bits is {args.bits}; expected 8 or 4 (whole numbers), or none for float.")
    if args.recordings is not None:
        check_range("--recordings", args.recordings, 1)
    run_, task, seed, net = load_run(args.run)
    folder = args.out or args.run / "export" / ("c-float" if args.bits is None else f"c-int{args.bits}")
    check_folder(folder)
    parts = task.load(args.data_dir)
    run_.check_data(parts)
    test = [parts.test[k] for k in range(min(args.recordings or len(parts.test), len(parts.test)))]
    calibration = collate([parts.train[k] for k in range(min(CALIBRATION, len(parts.train)))]).x
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as work:
        model = to_c(net, work, name=args.name, bits=args.bits, calibration=calibration)
        player = CPlayer(model)
        result = compare(net, player, task, test)
        size = footprint(model)
        first = collate(test[:1])
        nanoseconds = player.nanoseconds(first.x[0])
        write_example(Path(work), first.x[0], player(first.x, first.lengths).potential[0])
        cost = evaluate.assess(net, task, test[:CALIBRATION], seed=seed)["energy"]["measured"]
        data = {
            "format": "c", "numbers": "float32" if args.bits is None else f"int{args.bits}", "run": str(args.run), "part": "test",
            "simulated": task.data.simulated, **result.as_dict(), "footprint": size.as_dict(), "nanoseconds_per_step": nanoseconds,
            "mac_per_step": cost["mac"], "ac_per_step": cost["ac"],
        }  # fmt: skip
        (Path(work) / "fidelity.json").write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
        place(Path(work), folder)
    show(args, {"folder": str(folder), **data}, tables.plain(title(task, args, folder), ("what", "value"), rows(replace(model, folder=folder), data)))
    return 0


def write_example(folder: Path, x: Tensor, scores: Tensor) -> None:
    """Write a recording (T, C) as main.c reads it, and what it must print for it."""
    (folder / "example.txt").write_text("".join(" ".join(f"{v:.9g}" for v in step) + "\n" for step in x.tolist()))
    lines = (f"{max(range(len(step)), key=step.__getitem__)} {' '.join(f'{v:.9g}' for v in step)}\n" for step in scores.tolist())
    (folder / "expected.txt").write_text("".join(lines))


def check_folder(folder: Path) -> None:
    """Raise `ConfigError` where the files cannot go."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; choose a folder with --out.")


def place(work: Path, folder: Path) -> None:
    """Move finished files into a folder, each at once."""
    try:
        folder.mkdir(exist_ok=True)
        for file in sorted(work.iterdir()):
            os.replace(file, folder / file.name)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}. Choose another folder with --out.") from error


def title(task: Task, args: argparse.Namespace, folder: Path) -> str:
    """Return the title of the table."""
    return f"{args.run} as C in {folder}{' (SIMULATED DATA)' if task.data.simulated else ''}"


def rows(model: CModel, data: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the table of a report."""

    def percent(value: float | None) -> str:
        return "no spikes" if value is None else f"{100 * value:.3f} %"

    size = data["footprint"]
    return [
        ("numbers", data["numbers"]),
        ("flash (bytes)", f"{size['flash']} = {size['tables']} of tables + {size['code']} of code of this processor, -Os"),
        ("RAM (bytes)", f"{size['ram']} = {size['state']} of state + {size['stack']} of stack"),
        ("operations per step", f"{data['mac_per_step']:.4g} MAC + {data['ac_per_step']:.4g} AC (rules measured)"),
        ("time per step, this processor", f"{data['nanoseconds_per_step']:.0f} ns, -O3"),
        ("compared", f"{data['recordings']} recordings of the test part, {data['steps']} steps"),
        ("spikes that agree", percent(data["spike_agreement"])),
        ("recordings with all spikes equal", percent(data["recordings_equal"])),
        ("decisions that agree", percent(data["prediction_agreement"])),
        ("score error, largest / mean", f"{data['score_error']:.3g} / {data['score_error_mean']:.3g}"),
        ("accuracy before → after", f"{100 * data['accuracy_before']:.2f} % → {100 * data['accuracy_after']:.2f} %"),
    ]
