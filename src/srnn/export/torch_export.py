"""Networks as programs of torch.export (`.pt2`): plain torch operations, loaded and run where this
package is not installed.

    to_torch(net, "cell.pt2", form="cell")    one step
    to_torch(net, "net.pt2")                  whole recordings
    to_torch(net, "net.pt2", steps=250)       of that many steps

    program = torch.export.load("net.pt2").module()
    potential, output, state = program(x, state)       of one step
    potential, output, state = program(x, lengths)     of whole recordings
    potential, output, state = program(x)              of so many steps

x: (B, C) for a cell, else (B, T, C); lengths (B,) int64; potential and output (B, K) or (B, T, K).
B is free, and T is for whole recordings: their loop is one scan over the step. With steps= it is
written out step by step, which any part can do, also those that need a recording's end.
state: one dictionary of (B, N) tensors a layer, as `Stack.start` returns it; the file srnn.json
inside the archive holds its start values, of a complex z as z.re and z.im. What the programs
compute is the reference backend's arithmetic. A program with complex states and a free T runs under
torch.no_grad().
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from srnn import _files
from srnn._check import ConfigError, check_choice, check_range
from srnn.kernels.pairs import split
from srnn.nn.layers import LayerState
from srnn.nn.networks import NetworkState, Stack
from srnn.nn.plain import copied

FORMS = ("cell", "scan")
_LARGEST = 1 << 30
"""Bound on batch and steps; torch.export wants one."""

Outputs = tuple[Tensor, Tensor, NetworkState]


class _Cell(nn.Module):
    """One step."""

    def __init__(self, net: Stack) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, state: NetworkState) -> Outputs:
        out = self.net(x.unsqueeze(1), state=state, backend="reference")
        # in one order, by which scan goes
        new: Any = tuple(
            {k: after[k] for k in before} for before, after in zip(state, out.state, strict=True)
        )
        return out.potential[:, 0], out.output[:, 0], new


class _Fixed(nn.Module):
    """Recordings of one length, the loop written out."""

    def __init__(self, net: Stack) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Outputs:
        out = self.net(x, backend="reference")
        return out.potential, out.output, out.state


class _Whole(nn.Module):
    """Recordings of any length: a scan over the step; the state is frozen beyond their end."""

    def __init__(self, net: Stack) -> None:
        super().__init__()
        self.cell = _Cell(net)

    def forward(self, x: Tensor, lengths: Tensor) -> Outputs:
        # the one way to a free number of steps; torch exports it, but keeps its address private
        from torch._higher_order_ops.scan import scan

        # (T, B, 1)
        valid = (
            torch.arange(x.shape[1], device=x.device).unsqueeze(1) < lengths.unsqueeze(0)
        ).unsqueeze(-1)
        steps = torch.where(valid, x.transpose(0, 1), 0.0)

        def step(state: Any, now: Any) -> Any:
            potential, output, new = self.cell(now[0], state)
            kept = tuple(
                {k: torch.where(now[1], v, old[k]) for k, v in part.items()}
                for part, old in zip(new, state, strict=True)
            )
            return kept, (torch.where(now[1], potential, 0.0), torch.where(now[1], output, 0.0))

        state, (potential, output) = scan(step, self.cell.net.start(x.shape[0]), (steps, valid))
        return potential.transpose(0, 1), output.transpose(0, 1), state


def to_torch(
    net: Stack,
    path: str | Path,
    *,
    form: Literal["cell", "scan"] = "scan",
    steps: int | None = None,
) -> Path:
    """Write a network as a program of torch.export; return the path.

    steps: recordings of exactly that many steps, for networks that need whole recordings. Raises
    `ConfigError` for another form, and for a network that cannot run step by step where it would
    have to.
    """
    check_choice("to_torch: form", form, FORMS)
    if steps is not None:
        check_range("to_torch: steps", steps, 1)
        if form == "cell":
            raise ConfigError(
                "to_torch: steps is for whole recordings; a cell is one step. "
                "Leave steps or form out."
            )
    else:
        net.check_pieces(
            "to_torch without steps=" if form == "scan" else "to_torch with form='cell'",
            whole=False,
        )
    net = copied(net).cpu().eval()
    dtype = next(net.parameters()).dtype
    batch, time = (
        torch.export.Dim(name, min=low, max=_LARGEST) for name, low in (("batch", 1), ("steps", 1))
    )
    x = torch.zeros(3, 5 if steps is None else steps, net.inputs, dtype=dtype)
    module: nn.Module = _Fixed(net) if steps is not None else _Whole(net)
    inputs: tuple[Any, ...] = (x,) if steps is not None else (x, torch.tensor([5, 3, 0]))
    free: tuple[Any, ...] = (
        ({0: batch},) if steps is not None else ({0: batch, 1: time}, {0: batch})
    )
    if form == "cell":
        state = net.start(3)
        module, inputs, free = (
            _Cell(net),
            (x[:, 0], state),
            ({0: batch}, tuple({name: {0: batch} for name in part} for part in state)),
        )
    with torch.no_grad():
        program = torch.export.export(module, inputs, dynamic_shapes=free, strict=False)
    values = [_plain(part) for part in net.start(1)]
    about = {"form": form, "steps": steps, "start": values}
    with _files.whole(Path(path)) as file:
        torch.export.save(program, file, extra_files={"srnn.json": json.dumps(about)})
    return Path(path)


def _plain(state: LayerState) -> Any:
    """Return start values as JSON has them, (N,) each; those of a bidirectional layer as a pair."""
    return (
        [_plain(part) for part in state]
        if isinstance(state, tuple)
        else {name: value[0].tolist() for name, value in split(state).items()}
    )
