"""Which values occur: the described network run in float on calibration recordings,
step by step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from srnn.export.described import Described
from srnn.kernels.fixed import operands
from srnn.kernels.graph import currents
from srnn.kernels.interpret import interpret, value_of


@dataclass(frozen=True)
class Ranges:
    """The largest sizes in a layer. values: of anything in its step, currents, states and constants
    that are added. outputs: of what it gives.

    smallest: the smallest number of which it takes a logarithm, a root or the inverse; infinite
    where it does not.
    """

    values: float
    outputs: float
    smallest: float


@torch.no_grad()
def ranges(layers: Sequence[Described], x: Tensor) -> tuple[Ranges, ...]:
    """Return the ranges of every layer on x (B, T, C)."""
    found = []
    seen = x.detach().cpu().float()
    for layer in layers:
        seen, largest, smallest = _run(layer, seen)
        found.append(Ranges(largest, float(seen.abs().max()), smallest))
    return tuple(found)


_SENSITIVE = {"log": 0, "sqrt": 0, "reciprocal": 0, "div": 1}
"""Operations that fixed point cannot do near 0, and which of their arguments that is."""


def _run(layer: Described, x: Tensor) -> tuple[Tensor, float, float]:
    """Return the outputs (B, T, N) of a layer, the largest value in it and the smallest that a
    sensitive operation takes.
    """
    batch, graph = len(x), layer.step.graph
    state = {k: v.expand(batch, -1) for k, v in layer.start.items()}
    past = torch.cat((x.new_zeros(batch, layer.reach, layer.inputs), x), 1)
    largest = max(
        [0.0, *operands(layer.step), *(float(v.abs().max()) for v in layer.start.values())]
    )
    sensitive = [op.args[_SENSITIVE[op.name]] for op in graph.ops if op.name in _SENSITIVE]
    sensitive = [a for a in sensitive if a not in layer.step.tables]
    smallest, outputs = math.inf, []
    for t in range(x.shape[1]):
        seen = torch.cat([past[:, layer.reach + t - delay] for delay in layer.delays], 1)
        current = (
            seen if layer.weight is None else seen @ layer.weight.float().T + layer.bias.float()
        )
        if layer.norm is not None:
            current = layer_norm(
                current, current.shape[1:], layer.norm.gain, layer.norm.shift, layer.norm.eps
            )
        if layer.recurrent is not None:
            current = current + state["s"] @ layer.recurrent.float().T
        gates = [current] if layer.gates == 1 else list(current.chunk(layer.gates, 1))
        given = (
            dict(zip(currents(layer.gates), gates, strict=True))
            | {"s": state["s"]}
            | {f"state.{k}": state[k] for k in layer.step.states}
        )
        values = interpret(graph.ops, {**layer.step.tables, **given}, state["s"])
        changing = [v for k, v in values.items() if k not in layer.step.tables]
        largest = max(
            largest, float(torch.stack([v.expand_as(state["s"]) for v in changing]).abs().max())
        )
        smallest = min(
            [smallest, *(float(values[a].abs().min()) for a in sensitive if isinstance(a, str))]
        )
        state = {
            k: value_of(graph.outputs["s" if k == "s" else f"state.{k}"], values, state["s"])
            for k in state
        }
        outputs.append(state["s"])
    return torch.stack(outputs, 1), largest, smallest
