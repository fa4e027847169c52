"""Networks as NIR graphs, the exchange format of neuromorphic tools (Pedersen et al. 2024).

    to_nir(net, "net.nir", dt=1e-3)                  time constants in seconds, for steps of dt
    to_nir(net, "net.nir", dt=1e-4, rule="euler")    as snnTorch reads it

Which neuron becomes which nodes, and what `dt` and `rule` mean, is said in `srnn.export.nir_nodes`;
the way back is `srnn.export.nir_read.from_nir`. Weights keep their values, batch norm is folded
into them as it evaluates; what NIR cannot express is refused, with the reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from srnn import _files
from srnn._check import ConfigError, check_choice, check_instance, check_range
from srnn.activations import Spike
from srnn.export.nir_nodes import (
    RULES,
    Clock,
    Native,
    Rule,
    composed_graph,
    form,
    native_node,
    recurrent_graph,
)
from srnn.nn.layers import Layer
from srnn.nn.networks import Stack
from srnn.nn.norm import evaluated
from srnn.nn.plain import check_plain

import nir  # isort: skip  (after nir_nodes, which says how to install it)


def to_nir(
    net: Stack, path: str | Path | None = None, *, dt: float, rule: Rule = "exponential"
) -> Any:
    """Return a network as a `nir.NIRGraph`, and write it to a file where a path is given.

    dt: seconds of a step. rule: how a step follows from NIR's equations, "exponential" or "euler".
    Raises `ConfigError` naming the layer and the reason where it cannot be expressed.
    """
    check_plain("to_nir", net)
    check_instance("to_nir", "net", net, Stack, "a network, srnn.Stack(…)")
    check_range("to_nir: dt", dt, 0.0, open_low=True)
    clock = Clock(dt, check_choice("to_nir: rule", rule, RULES))  # type: ignore[arg-type]
    nodes: dict[str, Any] = {"input": nir.Input(np.array([net.inputs]))}
    edges, last, width = [], "input", len(str(len(net.parts()) - 1))
    for k, part in enumerate(net.parts()):
        who = f"to_nir: layer {k}"
        if not isinstance(part, Layer):
            raise ConfigError(
                f"{who} is a {type(part).__name__}; NIR can hold a Layer or "
                "Readout only. ONNX keeps it."
            )
        for name, node in _layer_nodes(part, f"layer{k:0{width}}", who, clock).items():
            nodes[name] = node
            edges.append((last, name))
            last = name
    nodes["output"] = nir.Output(np.array([net.outputs]))
    graph = nir.NIRGraph(
        nodes, [*edges, (last, "output")], metadata={"srnn_dt": repr(float(dt)), "srnn_rule": rule}
    )
    if path is not None:
        with _files.whole(Path(path)) as file:
            nir.write(file.name, graph)
    return graph


@torch.no_grad()
def _layer_nodes(layer: Layer, name: str, who: str, clock: Clock) -> dict[str, Any]:
    """Return the nodes of a layer in the order of the signal, which is that of their names: a file
    keeps no other, and nirtorch takes them in it.
    """
    neuron = form(layer, who)
    start = {k: v for k, v in layer.start(1).items() if bool(v.any())}
    if start:
        raise ConfigError(
            f"{who}: {type(layer.neuron).__name__} does not start from 0 "
            f"({', '.join(start)}); NIR's nodes do."
        )
    weight, bias = _affine(layer, who)
    dense = (
        nir.Linear(weight.cpu().numpy())
        if bias is None
        else nir.Affine(weight.cpu().numpy(), bias.cpu().numpy())
    )
    recurrent = None if (used := layer.weights()[1]) is None else used.cpu().numpy()
    if neuron is None:
        if recurrent is not None:
            raise ConfigError(
                f"{who}: {type(layer.neuron).__name__} with recurrence: NIR has no "
                "unit without dynamics to feed back to."
            )
        return {f"{name}_affine": dense} | (
            {f"{name}_neuron": nir.Threshold(np.zeros(layer.neurons))}
            if type(layer.activation) is Spike
            else {}
        )
    if not isinstance(neuron, Native):
        return {f"{name}_affine": dense, f"{name}_neuron": composed_graph(neuron, recurrent, clock)}
    node = native_node(neuron, clock)
    if recurrent is None:
        return {f"{name}_affine": dense, f"{name}_neuron": node}
    if neuron.threshold is None:
        raise ConfigError(
            f"{who}: {neuron.name} with recurrence: tools know recurrent LIF and "
            "CubaLIF only. Use recurrent=False."
        )
    return {f"{name}_affine": dense, f"{name}_neuron": recurrent_graph(node, recurrent)}


def _affine(layer: Layer, who: str) -> tuple[Tensor, Tensor | None]:
    """Return W and b (recurrent bias included) as the layer applies them, its norm folded in."""
    weight, _ = layer.weights()
    biases = [b for b in (layer.bias, layer.recurrent_bias) if b is not None]
    if layer.norm is None:
        return weight, sum(biases[1:], biases[0]) if biases else None
    if not isinstance(layer.norm, nn.BatchNorm1d):
        raise ConfigError(
            f"{who}: a layer norm depends on all neurons of a step and cannot be "
            "folded into weights. Use BatchNorm(), or no norm."
        )
    scale, shift = (t.to(weight) for t in evaluated(layer.norm))
    shift = shift if layer.bias is None else shift + scale * layer.bias
    return weight * scale.unsqueeze(
        1
    ), shift if layer.recurrent_bias is None else shift + layer.recurrent_bias
