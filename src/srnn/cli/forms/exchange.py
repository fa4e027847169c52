"""`srnn export --to onnx|nir|torch|state`: files for other programs, each read back by its own
runtime.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn.cli.forms.form import Form, Given, Written

if TYPE_CHECKING:
    from srnn.nn.networks import Stack


def _whole(net: Stack) -> bool:
    """Whether the network needs whole recordings."""
    return any(part.whole is not None for part in net.parts())


class Onnx(Form):
    """net.onnx, whole recordings, and cell.onnx, one step, where the network has one."""

    name = "onnx"

    def write(self, given: Given, work: Path) -> Written:
        from srnn.export.onnx import to_onnx
        from srnn.export.onnx_play import OnnxPlayer

        net, test = given.net, given.test
        player = OnnxPlayer(to_onnx(net, work / "net.onnx"))
        more: dict[str, Any] = {}
        if not _whole(net):
            cell = OnnxPlayer(to_onnx(net, work / "cell.onnx", form="cell"))
            signal, before = test[0].signal, cell.start(1)
            began = time.perf_counter()
            for x in signal:
                before = cell.step(
                    x[None].astype(before[next(iter(before))].dtype) if before else x[None], before
                )["next"]
            more["cell_nanoseconds_per_step"] = 1e9 * (time.perf_counter() - began) / len(signal)
        return player, more


class Nir(Form):
    """net.nir."""

    name = "nir"
    options = ("dt", "rule")

    def write(self, given: Given, work: Path) -> Written:
        from srnn.export.nir import to_nir
        from srnn.export.nir_read import from_nir
        from srnn.training.fidelity import Played

        net, task, args = given.net, given.task, given.args
        dt = task.step_seconds if args.dt is None else args.dt
        to_nir(net, work / "net.nir", dt=dt, rule=args.rule)
        back = from_nir(work / "net.nir", dtype=next(net.parameters()).dtype)

        def player(x: Any, lengths: Any) -> Played:
            out = back(x, lengths=lengths, record=True)
            assert out.trace is not None
            return Played(out.potential, out.output, out.trace.outputs)

        return player, {"dt": dt, "rule": args.rule}


class Torch(Form):
    """net.pt2, whole recordings, and cell.pt2, one step, where the network has one."""

    name = "torch"

    def write(self, given: Given, work: Path) -> Written:
        from torch import export

        from srnn.export.torch_export import to_torch
        from srnn.training.fidelity import Played

        net, test = given.net, given.test
        lengths = {len(sample.signal) for sample in test}
        steps = lengths.pop() if _whole(net) and len(lengths) == 1 else None
        program = export.load(to_torch(net, work / "net.pt2", steps=steps)).module()
        if not _whole(net):
            to_torch(net, work / "cell.pt2", form="cell")

        def player(x: Any, lengths: Any) -> Played:
            potential, output, _ = program(x) if steps is not None else program(x, lengths)
            return Played(potential, output)

        return player, {} if steps is None else {"steps_of_a_recording": steps}


class State(Form):
    """net.safetensors and net.json.

    Of parts that are no layers they hold the numbers only, which nothing plays.
    """

    name = "state"

    def write(self, given: Given, work: Path) -> Written:
        from srnn.export.state import to_state
        from srnn.export.state_play import StatePlayer
        from srnn.nn.layers import Layer

        net = given.net
        path, _ = to_state(net, work / "net.safetensors")
        if not all(isinstance(part, Layer) for part in net.parts()):
            return None, {}
        return StatePlayer(path), {}
