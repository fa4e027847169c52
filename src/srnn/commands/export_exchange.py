"""`srnn export --to onnx|nir|torch|state`: files for other programs, each read back by its own runtime and compared."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn.commands.export_c import check_folder, place
from srnn.commands.shared import show

if TYPE_CHECKING:
    from srnn.datasets import Sample
    from srnn.fidelity import Player
    from srnn.networks import Stack
    from srnn.tasks.task import Task

Written = tuple["Player | None", dict[str, Any]]
"""What plays the files that were written (None: nothing does, they hold numbers of parts that are no layers), and what else there is to report."""

Write = Callable[["Stack", Path, "Task", "Sequence[Sample]", argparse.Namespace], Written]
"""Writes a network's files into a folder."""


def onnx(args: argparse.Namespace) -> int:
    """Write net.onnx, whole recordings, and cell.onnx, one step, where the network has one."""
    return _export(args, "onnx", _onnx)


def nir(args: argparse.Namespace) -> int:
    """Write net.nir."""
    return _export(args, "nir", _nir)


def torch(args: argparse.Namespace) -> int:
    """Write net.pt2, whole recordings, and cell.pt2, one step, where the network has one."""
    return _export(args, "torch", _torch)


def state(args: argparse.Namespace) -> int:
    """Write net.safetensors and net.json."""
    return _export(args, "state", _state)


def _export(args: argparse.Namespace, form: str, write: Write) -> int:
    """Write, read back, compare on the test part; the folder is filled only when all of that succeeded."""
    import torch

    from srnn import tables
    from srnn.fidelity import compare
    from srnn.runs import load_run

    torch.set_num_threads(1)
    run_, task, _, net = load_run(args.run)
    folder = args.out or args.run / "export" / form
    check_folder(folder)
    parts = task.load(args.data_dir)
    run_.check_data(parts)
    test = list(parts.test[: args.recordings] if args.recordings else parts.test)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as work:
        player, more = write(net, Path(work), task, test, args)
        data = {"format": form, "run": str(args.run), "simulated": task.data.simulated, **more}
        data["bytes"] = {file.name: file.stat().st_size for file in sorted(Path(work).iterdir())}
        if player is not None:
            data |= {"part": "test", **compare(net, player, task, test).as_dict()}
            (Path(work) / "fidelity.json").write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
        place(Path(work), folder)
    title = f"{args.run} as {form} in {folder}{' (SIMULATED DATA)' if task.data.simulated else ''}"
    rows = [(k, json.dumps(v) if isinstance(v, dict) else f"{v:.6g}" if isinstance(v, float) else str(v)) for k, v in data.items()]
    show(args, {"folder": str(folder), **data}, tables.plain(title, ("what", "value"), rows))
    return 0


def _whole(net: Stack) -> bool:
    """Whether the network needs whole recordings."""
    return any(part.whole is not None for part in net.parts())


def _onnx(net: Stack, work: Path, task: Task, test: Sequence[Sample], args: argparse.Namespace) -> Written:
    from srnn.export.onnx import to_onnx
    from srnn.export.onnx_play import OnnxPlayer

    player = OnnxPlayer(to_onnx(net, work / "net.onnx"))
    more: dict[str, Any] = {}
    if not _whole(net):
        cell = OnnxPlayer(to_onnx(net, work / "cell.onnx", form="cell"))
        signal, before = test[0].signal, cell.start(1)
        began = time.perf_counter()
        for x in signal:
            before = cell.step(x[None].astype(before[next(iter(before))].dtype) if before else x[None], before)["next"]
        more["cell_nanoseconds_per_step"] = 1e9 * (time.perf_counter() - began) / len(signal)
    return player, more


def _nir(net: Stack, work: Path, task: Task, test: Sequence[Sample], args: argparse.Namespace) -> Written:
    from srnn.export.nir import to_nir
    from srnn.export.nir_read import from_nir
    from srnn.fidelity import Played

    dt = task.step_seconds if args.dt is None else args.dt
    to_nir(net, work / "net.nir", dt=dt, rule=args.rule)
    back = from_nir(work / "net.nir", dtype=next(net.parameters()).dtype)

    def player(x: Any, lengths: Any) -> Played:
        out = back(x, lengths=lengths, record=True)
        assert out.trace is not None
        return Played(out.potential, out.output, out.trace.outputs)

    return player, {"dt": dt, "rule": args.rule}


def _torch(net: Stack, work: Path, task: Task, test: Sequence[Sample], args: argparse.Namespace) -> Written:
    from torch import export

    from srnn.export.torch_export import to_torch
    from srnn.fidelity import Played

    lengths = {len(sample.signal) for sample in test}
    steps = lengths.pop() if _whole(net) and len(lengths) == 1 else None
    program = export.load(to_torch(net, work / "net.pt2", steps=steps)).module()
    if not _whole(net):
        to_torch(net, work / "cell.pt2", form="cell")

    def player(x: Any, lengths: Any) -> Played:
        potential, output, _ = program(x) if steps is not None else program(x, lengths)
        return Played(potential, output)

    return player, {} if steps is None else {"steps_of_a_recording": steps}


def _state(net: Stack, work: Path, task: Task, test: Sequence[Sample], args: argparse.Namespace) -> Written:
    from srnn.export.state import to_state
    from srnn.export.state_play import StatePlayer
    from srnn.layers import Layer

    path, _ = to_state(net, work / "net.safetensors")
    if not all(isinstance(part, Layer) for part in net.parts()):
        return None, {}
    player = StatePlayer(path)
    return player, {}
