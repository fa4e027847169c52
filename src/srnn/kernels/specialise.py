"""A traced step for one layer with its constants known: what an exporter prints.

Everything that depends on constants alone is computed here. A constant that is the same for all
neurons becomes a literal; 0 · v is 0 (v is finite); a state that neither the output nor the
potential depends on is left out (η of a neuron that does not adapt).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from srnn.kernels.graph import Builder, Graph, Value
from srnn.kernels.interpret import apply
from srnn.kernels.trace import Program


@dataclass(frozen=True)
class Special:
    """A step of one layer.

    graph: inputs "I" (or "I0", "I1" …), "s", "state.<name>" and the tables; outputs "s",
    "state.<name>" and, where it is shown, "potential".
    tables: constants that differ from neuron to neuron, (N,) each. states: the names of the states
    that are kept.
    """

    graph: Graph
    tables: dict[str, Tensor]
    states: tuple[str, ...]


def specialise(program: Program, constants: Mapping[str, Tensor], *, potential: bool) -> Special:
    """Return the step with these constants, "c.<name>" and "a.<path>", each (N,) of one floating
    type. potential: it is an output too.
    """
    known = {name: constants[name] for name in program.constants}
    build, values = Builder(), dict[str, Value]()
    # by the names of the trace, and by those of the result
    folded, tables = dict(known), dict(known)
    for name in program.step.inputs:
        values[name] = _literal(known[name], name) if name in known else name
    wanted = ("s", *(f"state.{k}" for k in program.states), "potential")
    for op in program.step.needed(wanted):
        if known and all(isinstance(a, float) or a in folded for a in op.args):
            name = f"k.{op.result}"
            folded[op.result] = tables[name] = apply(op, folded, next(iter(known.values())))
            values[op.result] = _literal(tables[name], name)
            continue
        args = tuple(values[a] if isinstance(a, str) else a for a in op.args)
        values[op.result] = 0.0 if op.name == "mul" and 0.0 in args else build.emit(op.name, *args)
    outputs = {
        name: values[v] if isinstance(v, str) else v
        for name in wanted
        for v in (program.step.outputs[name],)
    }
    graph = Graph((), tuple(build.ops), outputs)
    kept = _needed_states(graph, program.states, potential)
    shown = ("s", *(f"state.{k}" for k in kept), *(("potential",) if potential else ()))
    ops = graph.needed(shown)
    used = {a for op in ops for a in op.args} | {outputs[name] for name in shown}
    inputs = (*(name for name in program.step.inputs if name not in known), *tables)
    inputs = tuple(name for name in inputs if name in used)
    kept_tables = {name: tables[name] for name in inputs if name in tables}
    return Special(Graph(inputs, ops, {name: outputs[name] for name in shown}), kept_tables, kept)


def _literal(value: Tensor, name: str) -> Value:
    """Return a constant as a number where all neurons share it, else its name."""
    return float(value.flatten()[0]) if bool((value == value.flatten()[0]).all()) else name


def _needed_states(graph: Graph, states: tuple[str, ...], potential: bool) -> tuple[str, ...]:
    """Return the states that the output, or the potential where it is shown, depends on, over any
    number of steps.
    """
    kept: set[str] = set()
    while True:
        shown = ("s", *(("potential",) if potential else ()), *(f"state.{k}" for k in kept))
        read = {a for op in graph.needed(shown) for a in op.args} | {
            graph.outputs[name] for name in shown
        }
        found = {k for k in states if f"state.{k}" in read}
        if found == kept:
            return tuple(k for k in states if k in kept)
        kept = found
