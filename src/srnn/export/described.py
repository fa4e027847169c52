"""A network as an exporter to C needs it: plain layers with their norms folded in and their
constants known.

    I         = W x + b, then the norm where one is left, + R s
    x', state = step(I, s, state)
    s         = activation(x')

Batch norm becomes part of W and b. A convolution over time is a layer that also sees earlier
inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srnn._check import ConfigError
from srnn.activations import Activation, Identity, Relu
from srnn.cells import Dense
from srnn.kernels.pairs import split
from srnn.kernels.specialise import Special, specialise
from srnn.kernels.trace import numbers, trace_program
from srnn.neuron import Neuron, State
from srnn.nn.baselines import CausalConv, Exponential
from srnn.nn.layers import Layer, Part
from srnn.nn.networks import Stack
from srnn.nn.norm import evaluated
from srnn.nn.plain import check_plain


@dataclass(frozen=True)
class Norm:
    """What is left of a layer norm: I = gain · (I - mean) / sqrt(variance + eps) + shift over the
    G·N sums of a step. gain, shift: (G·N,).
    """

    gain: Tensor
    shift: Tensor
    eps: float


@dataclass(frozen=True)
class Described:
    """One layer, in float32.

    who: how messages call it. weight: (G·N, K), K = inputs · len(delays), the inputs of the first
    delay first; None: the input is the current.
    delays: which steps the weights see, 0 = this one. bias: (G·N,). recurrent: (G·N, N) or None.
    start: each kept state and "s", (N,).
    binary: the outputs are 0 or 1.
    """

    who: str
    inputs: int
    neurons: int
    gates: int
    weight: Tensor | None
    bias: Tensor
    recurrent: Tensor | None
    norm: Norm | None
    step: Special
    start: dict[str, Tensor]
    binary: bool
    delays: tuple[int, ...] = (0,)

    @property
    def reach(self) -> int:
        """How many earlier inputs the layer keeps."""
        return max(self.delays)


@torch.no_grad()
def described(net: Stack) -> tuple[Described, ...]:
    """Return the layers of a network, first one first.

    Raises `ConfigError` naming a part that has no form in C, and why.
    """
    check_plain("Export to C", net)
    parts = net.parts()
    return tuple(_part(k, part, potential=k == len(parts) - 1) for k, part in enumerate(parts))


def _part(k: int, part: Part, *, potential: bool) -> Described:
    who = f"layer {k} ({type(part).__name__})"
    if part.whole is not None:
        raise ConfigError(
            f"Export to C: {who} {part.whole}: it cannot run step by step, and a "
            "device has no more than one step at a time."
        )
    if isinstance(part, Layer):
        return _layer(f"layer {k}, {part._who()}", part, potential)
    if isinstance(part, CausalConv):
        return _convolution(who, part, potential)
    if isinstance(part, Exponential):
        none = torch.zeros(part.inputs)
        step = _special(_Exp(), Identity(), {}, part.outputs, potential)
        return Described(
            who, part.inputs, part.outputs, 1, None, none, None, None, step, {"s": none}, False
        )
    raise ConfigError(
        f"Export to C: {who} has no form in C yet; layers of neurons, read-outs, "
        "CausalConv and Exponential have. Replace it, or export to ONNX."
    )


class _Exp(Dense):
    """The step of `Exponential`."""

    def step(
        self, I: Tensor, s: Tensor, state: State, c: dict[str, Tensor]
    ) -> tuple[Tensor, State]:
        return torch.exp(I), {}


def _special(
    neuron: Neuron, activation: Activation, coeffs: dict[str, Tensor], n: int, potential: bool
) -> Special:
    held = {
        f"a.{k}": torch.as_tensor(v, dtype=torch.float32).detach().cpu().expand(n)
        for k, v in numbers(activation).items()
    }
    return specialise(
        trace_program(neuron, activation),
        {f"c.{k}": _plain(v).expand(n) for k, v in split(coeffs).items()} | held,
        potential=potential,
    )


def _layer(who: str, layer: Layer, potential: bool) -> Described:
    weight, recurrent = layer.weights()
    rows = len(weight)
    bias = weight.new_zeros(rows) if layer.bias is None else layer.bias
    after = weight.new_zeros(rows) if layer.recurrent_bias is None else layer.recurrent_bias
    norm = None
    if isinstance(layer.norm, nn.LayerNorm):
        norm = Norm(_plain(layer.norm.weight), _plain(layer.norm.bias + after), layer.norm.eps)
    else:
        weight, bias = _folded(layer.norm, weight, bias)
        bias = bias + after
    n = layer.neurons
    step = _special(layer.neuron, layer.activation, layer.coeffs(), n, potential)
    given = split(layer.start(1))
    start = {k: _plain(v[0]) for k, v in given.items() if k == "s" or k in step.states}
    binary = layer.activation.binary and bool(((start["s"] == 0) | (start["s"] == 1)).all())
    again = None if recurrent is None else _plain(recurrent)
    return Described(
        who,
        layer.inputs,
        n,
        layer.neuron.gates,
        _plain(weight),
        _plain(bias),
        again,
        norm,
        step,
        start,
        binary,
    )


def _convolution(who: str, part: CausalConv, potential: bool) -> Described:
    kernel = part.conv.weight  # (N, C, taps), the last tap is this step's
    taps, dilation = kernel.shape[-1], part.conv.dilation[0]
    assert part.conv.bias is not None
    weight, bias = _folded(part.norm, kernel.permute(0, 2, 1).flatten(1), part.conv.bias)
    delays = tuple((taps - 1 - j) * dilation for j in range(taps))
    step = _special(Dense(), Relu(), {}, part.outputs, potential)
    start = {"s": torch.zeros(part.outputs)}
    return Described(
        who,
        part.inputs,
        part.outputs,
        1,
        _plain(weight),
        _plain(bias),
        None,
        None,
        step,
        start,
        False,
        delays,
    )


def _folded(norm: nn.Module | None, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return W and b with a batch norm (as it evaluates) in them, worked out in float64."""
    if norm is None:
        return weight, bias
    if (
        not isinstance(norm, nn.BatchNorm1d)
        or norm.running_mean is None
        or norm.running_var is None
    ):
        raise ConfigError(
            f"Export to C: no form in C for the norm {type(norm).__name__}; "
            "BatchNorm() and LayerNorm() have one."
        )
    scale, shift = evaluated(norm)
    return weight.double() * scale.unsqueeze(1), bias.double() * scale + shift


def _plain(t: Tensor) -> Tensor:
    return t.detach().cpu().to(torch.float32).contiguous()


def check_finite_numbers(layers: tuple[Described, ...]) -> None:
    """Raise `ConfigError` where a weight or a constant is not finite."""
    for layer in layers:
        for name, t in {
            "weight": layer.weight,
            "bias": layer.bias,
            "recurrent": layer.recurrent,
            **layer.step.tables,
        }.items():
            if t is not None and not math.isfinite(float(t.abs().sum())):
                fix = "Export a checkpoint whose training did not diverge."
                raise ConfigError(
                    f"Export to C: {layer.who}: {name} holds numbers that are not finite. {fix}"
                )
