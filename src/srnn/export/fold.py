"""A constant on the input current, as (1-α) I, put into the rows of W, R and b: fewer products at
every step. For whole numbers only.

The integers of a row stay the same, its scale takes the factor. In float it would change the
rounding, and the code would no longer give the bits of the kernels.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from srnn.export.described import Described
from srnn.kernels.graph import Graph, Op, Value, currents
from srnn.kernels.specialise import Special


def currents_folded(layer: Described) -> Described:
    """Return the layer with the constants on its currents in its weights, which become float64;
    itself where there are none.
    """
    if layer.weight is None or layer.norm is not None:
        return layer
    step, factors = layer.step, list[Tensor]()
    for gate in currents(layer.gates):
        found = _factor(step, gate)
        factors.append(torch.ones(layer.neurons).double())
        if found is not None:
            op, constant = found
            value = torch.tensor(constant) if isinstance(constant, float) else step.tables[constant]
            factors[-1] = value.double().expand(layer.neurons)
            step = _without(step, op, gate)
    factor = torch.cat(factors)
    rows = factor.unsqueeze(1)
    recurrent = None if layer.recurrent is None else layer.recurrent.double() * rows
    return replace(
        layer,
        weight=layer.weight.double() * rows,
        bias=layer.bias.double() * factor,
        recurrent=recurrent,
        step=step,
    )


def _factor(step: Special, gate: str) -> tuple[Op, Value] | None:
    """Return the one operation that reads a current and the constant it multiplies it with; None
    where that is not all that is done with it.
    """
    readers = [op for op in step.graph.ops if gate in op.args]
    if len(readers) != 1 or readers[0].name != "mul" or gate in step.graph.outputs.values():
        return None
    others = [a for a in readers[0].args if a != gate]
    constant = len(others) == 1 and (isinstance(others[0], float) or others[0] in step.tables)
    return (readers[0], others[0]) if constant else None


def _without(step: Special, gone: Op, gate: str) -> Special:
    """Return the step in which the current takes the place of a product with it."""

    def renamed(v: Value) -> Value:
        return gate if v == gone.result else v

    graph = step.graph
    ops = tuple(
        Op(op.result, op.name, tuple(renamed(a) for a in op.args))
        for op in graph.ops
        if op is not gone
    )
    outputs = {name: renamed(v) for name, v in graph.outputs.items()}
    used = {a for op in ops for a in op.args} | set(outputs.values())
    tables = {name: t for name, t in step.tables.items() if name in used}
    return Special(
        Graph(tuple(name for name in graph.inputs if name in used), ops, outputs),
        tables,
        step.states,
    )
