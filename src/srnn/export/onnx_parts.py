"""One step of every part of a network as ONNX nodes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from srnn._check import ConfigError
from srnn.export.onnx_graph import Nodes, print_step
from srnn.kernels.graph import currents
from srnn.kernels.pairs import split
from srnn.kernels.trace import numbers, trace_program
from srnn.nn.baselines import CausalConv, CumulativeReadout, Exponential, Tandem
from srnn.nn.bidirectional import Bidirectional
from srnn.nn.layers import Layer, Part
from srnn.nn.norm import evaluated
from srnn.nn.part import LayerState

States = dict[str, str]
"""The tensor of each state of a part, by the name the part has for it."""


class Stepped(NamedTuple):
    """What a step of a part gives: names of tensors, (B, N) each."""

    output: str
    potential: str
    states: States


def step(
    nodes: Nodes, part: Part, name: str, x: str, states: States, per_step: str | None
) -> Stepped:
    """Add one step of a part. x: (B, C). per_step: (B, 1), one over the steps of a recording, where
    that is known.
    """
    if isinstance(part, Layer):
        return layer_step(nodes, part, name, feed(nodes, part, name, x), states)
    if isinstance(part, Exponential):
        y = nodes.emit("Exp", x)
        return Stepped(y, y, {})
    if isinstance(part, CausalConv):
        return _convolution(nodes, part, name, x, states)
    if isinstance(part, CumulativeReadout):
        return _cumulative(nodes, part, name, x, states)
    assert isinstance(part, Tandem)  # by `check`
    assert per_step is not None
    bias = nodes.emit("Mul", per_step, nodes.weight(f"{name}.bias", part.bias))
    return layer_step(
        nodes, part.layer, name, nodes.emit("Add", feed(nodes, part.layer, name, x), bias), states
    )


def check(part: Part, k: int, *, cell: bool) -> None:
    """Raise `ConfigError` where a part has no ONNX form."""
    if cell and part.whole is not None:
        raise ConfigError(f'to_onnx: layer {k} {part.whole}: it has no step cell. Use form="scan".')
    if not isinstance(
        part, Layer | Bidirectional | Tandem | Exponential | CausalConv | CumulativeReadout
    ):
        raise ConfigError(
            f"to_onnx: layer {k} is a {type(part).__name__}, a part of your own without a "
            "step; expected Layer, Readout, Bidirectional or one of "
            "srnn.nn.baselines. Write it as a neuron (see docs/own-neuron.md), or use to_torch."
        )


def start(part: Part) -> dict[str, Tensor]:
    """Return the state before the first step of a part, (1, N) each, by name; a bidirectional one's
    as forward.u, backward.u …
    """
    state: LayerState = part.start(1)
    if isinstance(state, tuple):
        return {
            f"{way}.{k}": v
            for way, one in zip(("forward", "backward"), state, strict=True)
            for k, v in split(one).items()
        }
    return split(state)


def feed(nodes: Nodes, layer: Layer, name: str, x: str) -> str:
    """Add norm(W x + b) + b_R for x (B, C) or (B, T, C)."""
    weight, _ = layer.weights()
    current = nodes.emit("MatMul", x, nodes.weight(f"{name}.weight", weight.t()))
    biases = [b for b in (layer.bias, layer.recurrent_bias) if b is not None]
    if layer.norm is None:
        return (
            nodes.emit("Add", current, nodes.weight(f"{name}.bias", sum(biases[1:], biases[0])))
            if biases
            else current
        )
    if layer.bias is not None:
        current = nodes.emit("Add", current, nodes.weight(f"{name}.bias", layer.bias))
    current = _normalised(nodes, layer.norm, name, current)
    if layer.recurrent_bias is not None:
        current = nodes.emit(
            "Add", current, nodes.weight(f"{name}.recurrent_bias", layer.recurrent_bias)
        )
    return current


def _normalised(nodes: Nodes, norm: nn.Module, name: str, x: str) -> str:
    """Add a norm as it evaluates: batch norm by its running statistics."""
    if isinstance(norm, nn.LayerNorm):
        scale, shift = (
            nodes.weight(f"{name}.norm.weight", norm.weight),
            nodes.weight(f"{name}.norm.bias", norm.bias),
        )
        return nodes.emit("LayerNormalization", x, scale, shift, axis=-1, epsilon=norm.eps)
    assert isinstance(norm, nn.BatchNorm1d)
    gain, offset = evaluated(norm)
    scale, shift = (
        nodes.weight(f"{name}.norm.scale", gain),
        nodes.weight(f"{name}.norm.shift", offset),
    )
    return nodes.emit("Add", nodes.emit("Mul", x, scale), shift)


def layer_step(nodes: Nodes, layer: Layer, name: str, current: str, states: States) -> Stepped:
    """Add one step of a layer of neurons, printed from the traced step. current: (B, G·N), biases
    included.
    """
    neuron, program = layer.neuron, trace_program(layer.neuron, layer.activation)
    _, recurrent = layer.weights()
    if recurrent is not None:
        current = nodes.emit(
            "Gemm", states["s"], nodes.weight(f"{name}.recurrent", recurrent), current, transB=1
        )
    gates = currents(neuron.gates)
    parts = (
        [current]
        if neuron.gates == 1
        else nodes.several("Split", [current], [nodes.fresh() for _ in gates], axis=1)
    )
    coeffs = layer.coeffs()
    values = {
        **{f"c.{k}": v for k, v in split(coeffs).items()},
        **{f"a.{k}": torch.as_tensor(v) for k, v in numbers(layer.activation).items()},
    }
    given = (
        dict(zip(gates, parts, strict=True))
        | {"s": states["s"]}
        | {f"state.{k}": states[k] for k in program.states}
    )
    used = {a for op in program.step.needed(program.step.outputs) for a in op.args} | set(
        program.step.outputs.values()
    )
    given |= {k: nodes.weight(f"{name}.{k}", values[k]) for k in program.constants if k in used}
    found = print_step(nodes, program.step, given, program.constants, states["s"])
    return Stepped(
        found["s"],
        found["potential"],
        {"s": found["s"]} | {k: found[f"state.{k}"] for k in program.states},
    )


def _convolution(nodes: Nodes, part: CausalConv, name: str, x: str, states: States) -> Stepped:
    """Add one step of a convolution: a product of the steps it reaches, `dilation` apart."""
    kernel, dilation, inputs = part.conv.kernel_size[0], part.conv.dilation[0], part.inputs
    assert isinstance(dilation, int)
    # (B, (reach + 1)·C), the newest step last
    seen = nodes.emit("Concat", states["past"], x, axis=1)
    taps = [k * dilation * inputs + c for k in range(kernel) for c in range(inputs)]
    window = nodes.emit("Gather", seen, nodes.integers(*taps), axis=1)
    weight = nodes.weight(
        f"{name}.weight", part.conv.weight.permute(2, 1, 0).reshape(kernel * inputs, part.outputs)
    )
    y = nodes.emit("MatMul", window, weight)
    if part.conv.bias is not None:
        y = nodes.emit("Add", y, nodes.weight(f"{name}.bias", part.conv.bias))
    if part.norm is not None:
        y = _normalised(nodes, part.norm, name, y)
    y = nodes.emit("Relu", y)
    past = nodes.emit(
        "Slice",
        seen,
        nodes.integers(inputs),
        nodes.integers((part.reach + 1) * inputs),
        nodes.integers(1),
    )
    return Stepped(y, y, {"past": past})


def _cumulative(
    nodes: Nodes, part: CumulativeReadout, name: str, x: str, states: States
) -> Stepped:
    """Add one step of Bittar's read-out of ANNs."""
    sums = nodes.emit("Add", states["sum"], nodes.emit("Softmax", x, axis=-1))
    y = nodes.emit("MatMul", sums, nodes.weight(f"{name}.weight", part.linear.weight.t()))
    y = nodes.emit("Add", y, nodes.weight(f"{name}.bias", part.linear.bias))
    if part.norm is not None:
        y = _normalised(nodes, part.norm, name, y)
    return Stepped(y, y, {"sum": sums})
