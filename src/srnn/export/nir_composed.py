"""Composed neurons of `to_nir`, graphs of several nodes, read back as layers."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from srnn import neurons
from srnn._check import ConfigError
from srnn.export.nir_layers import WIDE, Affine, filled, fixed, rates
from srnn.export.nir_nodes import Clock, Composed, Native, Slow, composed_graph, form
from srnn.init import Constant
from srnn.nn.layers import Layer

import nir  # isort: skip  (after nir_nodes, which says how to install it)


def composed(graph: Any, who: str, clock: Clock) -> Composed:
    """Read a composed neuron, and see that writing it gives the same graph."""
    nodes, slow = graph.nodes, None
    n = len(nodes["spike"].threshold)
    if "w" in nodes:
        where = (
            "spike" if ("w_out", "spike") in graph.edges else "u" if "delay_w" in nodes else "u now"
        )
        from_u = nodes["u_w"].scale if "u_w" in nodes else None
        slow = Slow(
            rates(nodes["w"].tau, n, who, clock),
            nodes["s_w"].scale,
            from_u,
            nodes["w_out"].scale,
            where,  # type: ignore[arg-type]
        )
    rate = rates(nodes["u"].tau, n, who, clock) if isinstance(nodes["u"], nir.LI) else None
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
            if f.name in ("metadata", "input_type", "output_type", "nodes", "edges"):
                continue
            if not _close(getattr(node, f.name), getattr(other, f.name)):
                return False
    return True


def _close(a: Any, b: Any) -> bool:
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-6, atol=1e-12)


def composed_layer(c: Composed, loop: Any | None, at: Affine, who: str, clock: Clock) -> Layer:
    """Return the layer of a composed neuron: of the class that gives back these numbers."""
    n = len(c.threshold)
    for kind, values in _candidates(c):
        trained = {k: v for k, v in values.items() if k != "threshold" and k != "b0"}
        held = {k: fixed(v) for k, v in values.items() if k not in trained}
        neuron = replace(kind, **held, **dict.fromkeys(trained, Constant(1.0)))
        layer = Layer(
            at.weight.shape[1],
            n,
            neuron,
            recurrent=loop is not None,
            bias=at.bias is not None,
            dtype=WIDE,
        )
        made: Layer = filled(layer, at, None if loop is None else loop.weight, **trained)
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
