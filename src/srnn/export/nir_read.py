"""NIR graphs as networks: a chain of what this package has an equal for.

    net = from_nir("net.nir")                            written by to_nir: dt, rule are in the file
    net = from_nir("other.nir", dt=1e-4, rule="euler")   by another tool: say what a step is

Read: Affine, Linear, Scale, Flatten (of one axis), LI, I, LIF, IF, CubaLI, CubaLIF (the last two
without recurrence, as two layers), Threshold; a recurrent LIF or IF, as a graph of its own or as a
cycle with its weights; and the composed neurons of `to_nir`. R and v_leak go into weights and
biases where they are not neutral. Anything else is refused, naming the node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from srnn import cells
from srnn._check import (
    ConfigError,
    DataError,
    check_choice,
    check_instance,
    check_range,
    check_real_type,
)
from srnn._files import _limit
from srnn.activations import Spike
from srnn.datasets.spikes_h5 import check_heaps
from srnn.export.nir_composed import composed, composed_layer
from srnn.export.nir_layers import (
    WIDE,
    Affine,
    affine_of,
    at,
    current_based,
    dense,
    filled,
    flat,
    neuron_layer,
)
from srnn.export.nir_nodes import RULES, Clock, Composed, Rule
from srnn.nn.layers import Layer, Part, Readout
from srnn.nn.networks import Stack

import nir  # isort: skip  (after nir_nodes, which says how to install it)


def from_nir(
    source: str | Path | Any,
    *,
    dt: float | None = None,
    rule: Rule | None = None,
    dtype: torch.dtype = torch.float32,
) -> Stack:
    """Return the network of a NIR graph.

    source: a file or a `nir.NIRGraph`. dt: seconds of a step; rule: "exponential" or "euler"
    (`srnn.export.nir_nodes`); both are taken from the file where `to_nir` wrote it, else dt must be
    given and the rule is "exponential". Time constants are trained parameters, thresholds fixed.
    Raises `ConfigError` for a graph that has no equal here, naming node and type, `DataError` for a
    file that is no NIR graph.
    """
    check_instance("from_nir", "source", source, (nir.NIRGraph, str, Path), "a file or a NIRGraph")
    check_instance("from_nir", "dtype", dtype, torch.dtype, "a number type such as torch.float32")
    check_real_type("from_nir", dtype)
    graph = source if isinstance(source, nir.NIRGraph) else _read(Path(source))
    dt = dt if dt is not None else graph.metadata.get("srnn_dt")
    rule = rule if rule is not None else graph.metadata.get("srnn_rule", "exponential")
    if dt is None:
        raise ConfigError(
            "from_nir: the graph does not say how long a step is; NIR is in "
            "continuous time. Pass dt=, in seconds."
        )
    try:
        dt = float(dt)
    except (TypeError, ValueError):
        raise ConfigError(f"from_nir: dt is {dt!r}; expected seconds, such as 1e-3.") from None
    clock = Clock(
        check_range("from_nir: dt", dt, 0.0, open_low=True),
        check_choice("from_nir: rule", str(rule), RULES),  # type: ignore[arg-type]
    )
    layers, waiting = list[Part](), None
    for name, node, recurrent in _chain(graph):
        made, waiting = _take(name, node, recurrent, waiting, clock)
        layers += made
    if waiting is not None:
        (outputs, inputs), biased = waiting.weight.shape, waiting.bias is not None
        last = Readout(inputs, outputs, cells.Dense(), bias=biased, dtype=WIDE)
        layers.append(filled(last, waiting))
    if not layers:
        raise ConfigError("from_nir: the graph has no node between its input and its output.")
    net = Stack(*layers)
    for kind, width in ((nir.Input, net.inputs), (nir.Output, net.outputs)):
        _check_end(graph, kind, width)
    return net.to(dtype).eval()


def _check_end(graph: Any, kind: Any, width: int) -> None:
    """Refuse an input or output node of another width than the network's; it may say none."""
    for name, node in graph.nodes.items():
        shape = next(iter((node.input_type or {}).values()), None)
        if not isinstance(node, kind) or shape is None or None in np.atleast_1d(shape):
            continue
        if (said := int(np.prod(shape))) != width:
            raise ConfigError(
                f"from_nir: node {name} ({kind.__name__}) has {said} channels, and the nodes "
                f"beside it {width}."
            )


def _read(path: Path) -> Any:
    try:
        check_heaps(path)
        _limit.check_hdf5(path)
        return nir.read(str(path))
    except Exception as error:  # h5py, nir's assertions and KeyErrors
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read as NIR: {error}.") from error


# ── the way from input to output ──────────────────────────────────────────────────────────────────


def _chain(graph: Any) -> list[tuple[str, Any, Any | None]]:
    """Return (name, node, recurrent weights or None) from input to output.

    Raises `ConfigError` where the graph is no chain.
    """
    loops = {
        w: n
        for n, w in graph.edges
        if (w, n) in graph.edges
        and isinstance(graph.nodes[w], nir.Linear | nir.Affine)
        and _spiking(graph.nodes[n])
    }
    recurrent = {n: graph.nodes[w] for w, n in loops.items()}
    after: dict[str, list[str]] = {name: [] for name in graph.nodes}
    before: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for a, b in graph.edges:
        if a not in loops and b not in loops:
            after[a].append(b)
            before[b].append(a)
    starts = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]
    if len(starts) != 1:
        raise ConfigError(f"from_nir: the graph has {len(starts)} inputs; expected one.")
    found, name = list[tuple[str, Any, Any | None]](), starts[0]
    while not isinstance(graph.nodes[name], nir.Output):
        onward = after[name]
        if len(onward) != 1 or len(before[name]) > 1 or len(found) > len(graph.nodes):
            what = f"goes on to {len(onward)} nodes"
            if len(onward) == 1:
                what = f"takes from {len(before[name])}"
            raise ConfigError(
                f"from_nir: node {name} ({type(graph.nodes[name]).__name__}) "
                f"{what}; expected a chain, with cycles of a neuron only."
            )
        name = onward[0]
        found.append((name, graph.nodes[name], recurrent.get(name)))
    return found[:-1]


def _spiking(node: Any) -> bool:
    return isinstance(node, nir.LIF | nir.IF | nir.CubaLIF)


def _take(
    name: str, node: Any, loop: Any | None, waiting: Affine | None, clock: Clock
) -> tuple[list[Part], Affine | None]:
    """Return the layers that a node completes, and what is left waiting for a neuron."""
    who = f"from_nir: node {name} ({type(node).__name__})"
    if isinstance(node, nir.Flatten):
        if np.size(node.input_type["input"]) != 1:
            raise ConfigError(
                f"{who} flattens {node.input_type['input']}; expected one axis of "
                "channels. Flatten the input before the network."
            )
        return [], waiting
    if isinstance(node, nir.Affine | nir.Linear | nir.Scale):
        this = affine_of(node, who)
        return ([dense(waiting)] if waiting is not None else []), this
    if isinstance(node, nir.NIRGraph):
        node, loop, inside = _inside(node, who, clock)
        if inside is not None:
            given = at(waiting, len(inside.threshold), who)
            if loop is not None:
                affine_of(loop, f"{who}: its recurrence", len(inside.threshold))
            return [composed_layer(inside, loop, given, who, clock)], None
    if isinstance(node, nir.CubaLI | nir.CubaLIF) and loop is None:
        return current_based(node, waiting, who, clock), None
    if isinstance(node, nir.LI | nir.I | nir.LIF | nir.IF):
        return [neuron_layer(node, loop, waiting, who, clock)], None
    if isinstance(node, nir.Threshold):
        theta = flat(node.threshold, who)
        weight, bias = at(waiting, len(theta), who)
        layer = Layer(
            weight.shape[1], len(theta), cells.Dense(), Spike(), recurrent=False, dtype=WIDE
        )
        return [filled(layer, Affine(weight, (0.0 if bias is None else bias) - theta))], None
    more = ""
    if isinstance(node, nir.CubaLIF):
        more = " with recurrence: the feedback goes through its synapse, which no neuron here has"
    raise ConfigError(
        f"{who}{more}: nothing here is equal to it. Known: Affine, Linear, Scale, "
        "Flatten, LI, I, LIF, IF, CubaLI, CubaLIF, Threshold."
    )


# ── graphs inside the graph ───────────────────────────────────────────────────────────────────────


def _inside(graph: Any, who: str, clock: Clock) -> tuple[Any, Any | None, Composed | None]:
    """Return what a graph inside the graph is: a neuron with its recurrent weights, or a composed
    neuron with them.
    """
    if {"u", "spike", "reset", "delay"} <= graph.nodes.keys():
        return graph, graph.nodes.get("w_rec"), composed(graph, who, clock)
    own = [(name, node, loop) for name, node, loop in _chain(graph)]
    if len(own) != 1 or isinstance(own[0][1], nir.NIRGraph):
        kinds = ", ".join(type(node).__name__ for node in graph.nodes.values())
        raise ConfigError(
            f"{who} holds {kinds}; expected one neuron with its recurrent weights, "
            "or a composed neuron of to_nir."
        )
    return own[0][1], own[0][2], None
