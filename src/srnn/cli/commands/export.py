"""`srnn export`: write the network of a run in another form, with a report on whether it is still
the same network.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn import _files
from srnn._check import ConfigError, check_choice, check_range
from srnn.cli import options
from srnn.cli.forms import c, exchange
from srnn.cli.forms.form import Form, Given
from srnn.cli.shared import show

if TYPE_CHECKING:
    from srnn.tasks.task import Task

SUMMARY = (
    "Write the network of a run in another form, and compare it with the network on the test part."
)
EXAMPLES = """\
  srnn export runs/ecg-seed0 --to c               C99 in float: model.h, model.c, main.c, Makefile
  srnn export runs/ecg-seed0 --to c --bits 8      whole numbers only, weights of 8 bits
  srnn export runs/ecg-seed0 --to onnx            net.onnx (whole recordings) and cell.onnx (a step)
  srnn export runs/ecg-seed0 --to nir --rule euler    net.nir
  srnn export runs/ecg-seed0 --to torch           net.pt2; --to state: net.safetensors

The folder also gets fidelity.json: bytes, time, agreement, accuracy before and after.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--to", required=True, metavar="FORM", help="c, onnx, nir, torch or state")
    parser.add_argument(
        "--bits",
        type=int,
        metavar="N",
        help="c: whole numbers, weights of 8 or 4 bits (default: float)",
    )
    parser.add_argument(
        "--name", default="model", help="c: name of files, functions and types (default: model)"
    )
    parser.add_argument(
        "--dt", type=float, metavar="S", help="nir: seconds of a step (default: the task's)"
    )
    parser.add_argument(
        "--rule",
        default="exponential",
        help="nir: exponential or euler, what a step does to an equation (default: exponential)",
    )
    parser.add_argument(
        "--recordings",
        type=int,
        metavar="N",
        help="compare on the first N recordings of the test part (default: all)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to write (default: RUN/export/FORM)"
    )
    options.data(parser)


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        c.C(),
        exchange.Onnx(),
        exchange.Nir(),
        exchange.Torch(),
        exchange.State(),
    )
}


def run(args: argparse.Namespace) -> int:
    """Write, play back, compare on the test part; the folder is filled only when all of that
    succeeded.
    """
    import torch

    from srnn import tables
    from srnn.training.fidelity import compare
    from srnn.training.runs import load_run

    torch.set_num_threads(1)
    form = FORMS[check_choice("--to", args.to, tuple(FORMS))]
    form.check(args)
    if args.recordings is not None:
        check_range("--recordings", args.recordings, 1)
    run_, task, seed, net = load_run(args.run)
    folder = args.out or args.run / "export" / form.folder(args)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; choose a folder with --out.")
    parts = task.load(args.data_dir)
    run_.check_data(parts)
    test = [parts.test[k] for k in range(min(args.recordings or len(parts.test), len(parts.test)))]
    with _beside(folder, None if args.out else args.run) as work:
        player, more = form.write(Given(net, task, seed, parts.train, test, args), Path(work))
        data: dict[str, Any] = {
            "format": args.to,
            "run": str(args.run),
            "simulated": task.data.simulated,
            **more,
        }
        data["bytes"] = {file.name: file.stat().st_size for file in sorted(Path(work).iterdir())}
        if player is not None:
            data |= {"part": "test", **compare(net, player, task, test).as_dict()}
            _files.write(
                Path(work) / "fidelity.json", json.dumps(data, indent=1, allow_nan=False) + "\n"
            )
        _place(Path(work), folder)
    show(
        args,
        {"folder": str(folder), **data},
        tables.plain(_title(task, args, folder), ("what", "value"), form.rows(data)),
    )
    return 0


@contextmanager
def _beside(folder: Path, inside: Path | None) -> Iterator[str]:
    """Give a new folder beside `folder`, which goes in the end; what the disk refuses is told."""
    try:
        _files.check_inside(folder, inside)
        _files.check_inside(folder / "any", inside)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as work:
            yield work
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror or error}. Choose another folder with "
            "--out."
        ) from error


def _place(work: Path, folder: Path) -> None:
    """Move finished files into a folder, each at once."""
    try:
        folder.mkdir(exist_ok=True)
        for file in sorted(work.iterdir()):
            os.replace(file, folder / file.name)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}. Choose another folder with --out."
        ) from error


def _title(task: Task, args: argparse.Namespace, folder: Path) -> str:
    return (
        f"{args.run} as {args.to} in {folder}{' (SIMULATED DATA)' if task.data.simulated else ''}"
    )
