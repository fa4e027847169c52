"""NIR graphs as networks: a chain of what this package has an equal for.

    net = from_nir("net.nir")   written by to_nir: dt and rule are in the file
    net = from_nir("other.nir", dt=1e-4, rule="euler") written by another tool: say what a step is

Read: Affine, Linear, Scale, Flatten (of one axis), LI, I, LIF, IF, CubaLI, CubaLIF (the last two
without recurrence, as two layers), Threshold; a recurrent LIF or IF, as a graph of its own or as a
cycle with its weights; and the composed neurons of `to_nir`. R and v_leak go into weights and
biases where they are not neutral. Anything else is refused, naming the node.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from srnn import _limit, cells, neurons
from srnn._check import ConfigError, DataError, check_choice, check_range
from srnn.activations import Identity, Spike
from srnn.datasets.spikes_h5 import check_heaps
from srnn.export.nir_nodes import RULES, Clock, Composed, Native, Rule, Slow, composed_graph, form
from srnn.init import Constant, Fixed, Init
from srnn.neuron import Neuron
from srnn.nn.layers import Layer, Part, Readout
from srnn.nn.networks import Stack

import nir  # isort: skip  (after nir_nodes, which says how to install it)

_WIDE = torch.float64
"""What layers are built in, so that no number is rounded twice; the network's own type comes at the
end.
"""
_NEAR = 1e-6
"""Relative difference up to which an R counts as neutral: that of a few roundings in float32, in
which other tools write.
"""


class _Affine(NamedTuple):
    """W x + b on the way to a neuron; b None where there is none."""

    weight: Any
    bias: Any | None


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
    graph = source if isinstance(source, nir.NIRGraph) else _read(Path(source))
    dt = dt if dt is not None else graph.metadata.get("srnn_dt")
    rule = rule if rule is not None else graph.metadata.get("srnn_rule", "exponential")
    if dt is None:
        raise ConfigError(
            "from_nir: the graph does not say how long a step is; NIR is in "
            "continuous time. Pass dt=, in seconds."
        )
    clock = Clock(
        check_range("from_nir: dt", float(dt), 0.0, open_low=True),
        check_choice("from_nir: rule", str(rule), RULES),  # type: ignore[arg-type]
    )
    layers, waiting = list[Part](), None
    for name, node, recurrent in _chain(graph):
        made, waiting = _take(name, node, recurrent, waiting, clock)
        layers += made
    if waiting is not None:
        layers.append(
            _filled(
                Readout(
                    waiting.weight.shape[1],
                    waiting.weight.shape[0],
                    cells.Dense(),
                    bias=waiting.bias is not None,
                    dtype=_WIDE,
                ),
                waiting,
            )
        )
    if not layers:
        raise ConfigError("from_nir: the graph has no node between its input and its output.")
    return Stack(*layers).to(dtype).eval()


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
            what = (
                f"goes on to {len(onward)} nodes"
                if len(onward) != 1
                else f"takes from {len(before[name])}"
            )
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
    name: str, node: Any, loop: Any | None, waiting: _Affine | None, clock: Clock
) -> tuple[list[Part], _Affine | None]:
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
        this = _affine(node, who)
        return ([_dense(waiting)] if waiting is not None else []), this
    if isinstance(node, nir.NIRGraph):
        node, loop, composed = _inside(node, who, clock)
        if composed is not None:
            return [
                _composed_layer(composed, loop, _at(waiting, len(composed.threshold)), who, clock)
            ], None
    if isinstance(node, nir.CubaLI | nir.CubaLIF) and loop is None:
        return _current_based(node, waiting, who, clock), None
    if isinstance(node, nir.LI | nir.I | nir.LIF | nir.IF):
        return [_neuron_layer(node, loop, waiting, who, clock)], None
    if isinstance(node, nir.Threshold):
        theta = _flat(node.threshold, who)
        at = _at(waiting, len(theta))
        layer = Layer(
            at.weight.shape[1], len(theta), cells.Dense(), Spike(), recurrent=False, dtype=_WIDE
        )
        return [
            _filled(layer, _Affine(at.weight, (0.0 if at.bias is None else at.bias) - theta))
        ], None
    more = (
        (" with recurrence: the feedback goes through its synapse, which no neuron here has")
        if isinstance(node, nir.CubaLIF)
        else ""
    )
    raise ConfigError(
        f"{who}{more}: nothing here is equal to it. Known: Affine, Linear, Scale, "
        "Flatten, LI, I, LIF, IF, CubaLI, CubaLIF, Threshold."
    )


def _flat(value: Any, who: str, n: int | None = None) -> Any:
    """Return a parameter as (N,) float64."""
    flat = np.atleast_1d(np.asarray(value, np.float64))
    if flat.ndim != 1 or (n is not None and flat.size not in (1, n)):
        raise ConfigError(
            f"{who} has parameters of shape {np.shape(value)}; expected one value "
            "for each neuron, in one axis."
        )
    return flat if n is None else np.broadcast_to(flat, (n,))


def _affine(node: Any, who: str) -> _Affine:
    if isinstance(node, nir.Scale):
        return _Affine(np.diag(_flat(node.scale, who)), None)
    if np.ndim(node.weight) != 2:
        raise ConfigError(f"{who} has a weight of shape {np.shape(node.weight)}; expected (N, C).")
    return _Affine(
        np.asarray(node.weight), np.asarray(node.bias) if isinstance(node, nir.Affine) else None
    )


def _at(waiting: _Affine | None, n: int) -> _Affine:
    """Return the weights in front of a neuron: those that wait for it, or the identity."""
    return waiting if waiting is not None else _Affine(np.eye(n), None)


# ── layers ────────────────────────────────────────────────────────────────────────────────────────


@torch.no_grad()
def _filled(layer: Any, affine: _Affine, recurrent: Any | None = None, **constants: Any) -> Any:
    """Return a layer with these weights and trained constants."""
    layer.weight.copy_(torch.as_tensor(np.array(affine.weight)))
    if layer.bias is not None:
        layer.bias.copy_(torch.as_tensor(np.array(affine.bias)))
    if recurrent is not None:
        layer.recurrent.copy_(torch.as_tensor(np.array(recurrent)))
    for name, value in constants.items():
        getattr(layer.constants, name).copy_(torch.as_tensor(np.array(value)))
    return layer


def _dense(affine: _Affine) -> Layer:
    """Return a layer that is only a product."""
    n, inputs = affine.weight.shape
    layer: Layer = _filled(
        Layer(
            inputs,
            n,
            cells.Dense(),
            Identity(),
            recurrent=False,
            bias=affine.bias is not None,
            dtype=_WIDE,
        ),
        affine,
    )
    return layer


def _fixed(values: Any) -> Init:
    """Return a threshold as a constant that is not trained: one number where all
    neurons share it.
    """
    return float(values[0]) if np.ptp(values) == 0 else Fixed(values.tolist())


def _neuron_layer(
    node: Any, loop: Any | None, waiting: _Affine | None, who: str, clock: Clock
) -> Layer:
    """Return the layer of an LI, I, LIF or IF node."""
    n = int(np.prod(node.input_type["input"]))
    leaks, spikes = isinstance(node, nir.LI | nir.LIF), isinstance(node, nir.LIF | nir.IF)
    if spikes and _flat(node.v_reset, who).any():
        raise ConfigError(
            f"{who} is reset to {_flat(node.v_reset, who).max():g}; the neurons here start "
            "from and are reset to 0. Shift its potential."
        )
    r, leak = _flat(node.r, who, n), _flat(node.v_leak, who, n) if leaks else np.zeros(n)
    rate = _rates(node.tau, n, who, clock) if leaks else np.zeros(n)
    # what R I is multiplied by in a step
    in_u = -np.expm1(-rate) if leaks else np.full(n, clock.dt)
    # the neuron here takes I as it is
    own_gain = not leaks or (spikes and np.allclose(r * in_u, 1, rtol=_NEAR, atol=0))
    scale = r * in_u if own_gain else r
    affine, recurrent = _at(waiting, n), None if loop is None else _affine(loop, who)
    bias = (
        None
        if affine.bias is None and (recurrent is None or recurrent.bias is None)
        else np.zeros(n)
    )
    for b in (affine.bias, None if recurrent is None else recurrent.bias):
        bias = bias if b is None or bias is None else bias + b
    if not np.allclose(scale, 1, rtol=_NEAR, atol=0):
        affine, bias = (
            affine._replace(weight=affine.weight * scale[:, None]),
            None if bias is None else bias * scale,
        )
        recurrent = (
            None
            if recurrent is None
            else recurrent._replace(weight=recurrent.weight * scale[:, None])
        )
    if leak.any():
        bias = (0 if bias is None else bias) + leak * (in_u if own_gain else 1)
    hint = node.metadata.get("srnn")
    neuron, values = _neuron(
        hint, own_gain, spikes, leaks, rate, node.v_threshold if spikes else None, n
    )
    layer = Layer(
        affine.weight.shape[1],
        n,
        neuron,
        Spike() if spikes else Identity(),
        recurrent=loop is not None,
        bias=bias is not None,
        dtype=_WIDE,
    )
    filled: Layer = _filled(
        layer,
        _Affine(affine.weight, bias),
        None if recurrent is None else recurrent.weight,
        **values,
    )
    return filled


def _neuron(
    hint: str | None, own_gain: bool, spikes: bool, leaks: bool, rate: Any, threshold: Any, n: int
) -> tuple[Neuron, dict[str, Any]]:
    """Return the neuron of a node and its trained constants; hint: its name, where `to_nir` wrote
    the node.
    """
    if not leaks and not spikes:
        return cells.Sum(), {}
    if not spikes:
        if hint == "AlphaLeaky":
            return neurons.AlphaLeaky(Constant(0.5)), {"alpha": np.exp(-rate)}
        return neurons.Leaky(Constant(20.0)), {"tau_m": 1 / rate}
    theta = _fixed(np.broadcast_to(np.asarray(threshold, np.float64), (n,)))
    if own_gain:
        return neurons.YinLIF(_fixed(np.exp(-rate)), theta), {}
    return neurons.LIF(Constant(20.0), theta), {"tau_m": 1 / -np.expm1(-rate)}


def _rates(tau: Any, n: int, who: str, clock: Clock) -> Any:
    """Return -log of the decays per step.

    Raises `ConfigError` where a τ gives none between 0 and 1.
    """
    values = _flat(tau, who, n)
    rate = clock.rate(values)
    if not (np.isfinite(rate) & (rate > 0)).all():
        raise ConfigError(
            f"{who} has τ of {values.min():g} s with steps of {clock.dt:g} s; "
            f"rule={clock.rule!r} makes no decay of that. Pass a shorter dt."
        )
    return rate


def _current_based(node: Any, waiting: _Affine | None, who: str, clock: Clock) -> list[Part]:
    """Return the two layers of a current-based neuron: its synapse, a leaky integrator, and its
    membrane.
    """
    n = int(np.prod(node.input_type["input"]))
    synapse = nir.LI(
        tau=_flat(node.tau_syn, who, n), r=_flat(node.w_in, who, n), v_leak=np.zeros(n)
    )
    parts = {
        "tau": _flat(node.tau_mem, who, n),
        "r": _flat(node.r, who, n),
        "v_leak": _flat(node.v_leak, who, n),
    }
    spiking = isinstance(node, nir.CubaLIF)
    membrane = (
        nir.LIF(
            **parts,
            v_threshold=_flat(node.v_threshold, who, n),
            v_reset=_flat(node.v_reset, who, n),
        )
        if spiking
        else nir.LI(**parts)
    )
    return [
        _neuron_layer(synapse, None, waiting, who, clock),
        _neuron_layer(membrane, None, None, who, clock),
    ]


# ── graphs inside the graph ───────────────────────────────────────────────────────────────────────


def _inside(graph: Any, who: str, clock: Clock) -> tuple[Any, Any | None, Composed | None]:
    """Return what a graph inside the graph is: a neuron with its recurrent weights, or a composed
    neuron with them.
    """
    if {"u", "spike", "reset", "delay"} <= graph.nodes.keys():
        return graph, graph.nodes.get("w_rec"), _composed(graph, who, clock)
    own = [(name, node, loop) for name, node, loop in _chain(graph)]
    if len(own) != 1 or isinstance(own[0][1], nir.NIRGraph):
        kinds = ", ".join(type(node).__name__ for node in graph.nodes.values())
        raise ConfigError(
            f"{who} holds {kinds}; expected one neuron with its recurrent weights, "
            "or a composed neuron of to_nir."
        )
    return own[0][1], own[0][2], None


def _composed(graph: Any, who: str, clock: Clock) -> Composed:
    """Read a composed neuron, and see that writing it gives the same graph."""
    nodes, slow = graph.nodes, None
    n = len(nodes["spike"].threshold)
    if "w" in nodes:
        where = (
            "spike" if ("w_out", "spike") in graph.edges else "u" if "delay_w" in nodes else "u now"
        )
        from_u = nodes["u_w"].scale if "u_w" in nodes else None
        slow = Slow(
            _rates(nodes["w"].tau, n, who, clock),
            nodes["s_w"].scale,
            from_u,
            nodes["w_out"].scale,
            where,  # type: ignore[arg-type]
        )
    rate = _rates(nodes["u"].tau, n, who, clock) if isinstance(nodes["u"], nir.LI) else None
    found = Composed(
        str(graph.metadata.get("srnn", "")),
        rate,
        nodes["reset"].scale,
        nodes["spike"].threshold,
        slow,
    )
    same = composed_graph(found, nodes["w_rec"].weight if "w_rec" in nodes else None, clock)
    if not _equal(graph, same):
        raise ConfigError(
            f"{who} looks like a composed neuron of to_nir but has other nodes or "
            "edges; nothing here is equal to it."
        )
    return found


def _equal(a: Any, b: Any) -> bool:
    """Whether two graphs have the same nodes, edges and, up to rounding, values."""
    if set(a.edges) != set(b.edges) or a.nodes.keys() != b.nodes.keys():
        return False
    for name, node in a.nodes.items():
        other = b.nodes[name]
        if type(node) is not type(other):
            return False
        for f in fields(node):
            if f.name not in (
                "metadata",
                "input_type",
                "output_type",
                "nodes",
                "edges",
            ) and not _close(getattr(node, f.name), getattr(other, f.name)):
                return False
    return True


def _close(a: Any, b: Any) -> bool:
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-6, atol=1e-12)


def _composed_layer(c: Composed, loop: Any | None, at: _Affine, who: str, clock: Clock) -> Layer:
    """Return the layer of a composed neuron: of the class that gives back these numbers."""
    n = len(c.threshold)
    for kind, values in _candidates(c):
        trained = {k: v for k, v in values.items() if k != "threshold" and k != "b0"}
        fixed = {k: _fixed(v) for k, v in values.items() if k not in trained}
        neuron = replace(kind, **fixed, **dict.fromkeys(trained, Constant(1.0)))
        layer = Layer(
            at.weight.shape[1],
            n,
            neuron,
            recurrent=loop is not None,
            bias=at.bias is not None,
            dtype=_WIDE,
        )
        made: Layer = _filled(layer, at, None if loop is None else loop.weight, **trained)
        again = form(made, who)
        if not isinstance(again, Native | None) and _equal(
            composed_graph(replace(again, name=c.name), None, clock), composed_graph(c, None, clock)
        ):
            return made
    raise ConfigError(
        f"{who}: no neuron here resets by {c.reset.min():g} … {c.reset.max():g} "
        "with these decays and thresholds."
    )


def _candidates(c: Composed) -> list[tuple[Any, dict[str, Any]]]:
    """Return the neurons a composed one may be, with their constants; the one that
    wrote it first.
    """
    theta = {"threshold": c.threshold}
    if c.rate is None:
        return [(neurons.IF(), theta)]
    alpha = {"alpha": np.exp(-c.rate), **theta}
    if c.slow is None:
        adaptive = (neurons.ALIF(tau_adp=1.0, beta=0.0), {"tau_m": 1 / c.rate, "b0": c.threshold})
        plain: list[tuple[Any, dict[str, Any]]] = [
            (neurons.SoftLIF(), alpha),
            (neurons.SparchLIF(), alpha),
        ]
        return [adaptive, *plain] if c.name == "ALIF" else [*plain, adaptive]
    slow, in_w = c.slow, -np.expm1(-c.slow.rate)
    both = {**alpha, "beta": np.exp(-slow.rate)}
    if slow.where == "spike":
        return [(neurons.ThresholdLIF(), {**both, "b": -slow.into})]
    a = np.zeros_like(c.threshold) if slow.from_u is None else slow.from_u
    if slow.where == "u":
        return [(neurons.AdLIF(), {**both, "a": a, "b": slow.from_s * in_w})]
    return [(neurons.SparchAdLIF(), {**both, "a": a * in_w, "b": slow.from_s * in_w})]
