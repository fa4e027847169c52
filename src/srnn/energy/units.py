"""What there is to charge: the parts of a network, with what flows through them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from srnn._check import ConfigError
from srnn.activations import Relu
from srnn.energy.step import operations
from srnn.kernels.pairs import split
from srnn.nn.baselines import CausalConv, CumulativeReadout, Exponential, Tandem
from srnn.nn.bidirectional import Bidirectional
from srnn.nn.layers import Layer
from srnn.nn.networks import Stack, Trace


@dataclass(frozen=True)
class Activity:
    """What flowed through a network: the means a count needs.

    input: mean |event| per channel and step; events: whether the input is events in {-1, 0, 1}.
    layers: mean output rate of each layer.
    network: mean rate over all spiking units (the published Fr).
    """

    input: float
    events: bool
    layers: tuple[float, ...]
    network: float

    @staticmethod
    def of(trace: Trace) -> Activity:
        """Measure a recorded forward pass."""
        x = trace.input
        events = bool(((x == 0) | (x.abs() == 1)).all())
        rate = float(x.abs().double().sum()) / max(1, trace.steps * x.shape[-1])
        return Activity(rate, events, trace.rates(), trace.rate())

    @staticmethod
    def stored(metrics: Mapping[str, Any]) -> Activity:
        """Read what was measured from a metrics.json; of a layer that does not spike it has no
        rate, and none is needed.
        """
        layers = tuple(0.0 if rate is None else rate for rate in metrics["firing_rates"])
        return Activity(
            metrics["input_rate"], metrics["input_events"], layers, metrics["firing_rate"]
        )

    @staticmethod
    def assumed(net: Stack, rate: float, events: bool = True) -> Activity:
        """Assume one rate everywhere; events: that of the input too, which is analog otherwise."""
        return Activity(rate, events, (rate,) * len(net.layers), rate)


@dataclass(frozen=True)
class Source:
    """Where numbers come from: their rate, and whether they are events (a product with them is a
    selection).
    """

    rate: float
    events: bool


@dataclass(frozen=True)
class Connections:
    """A weight matrix.

    synapses: those that are there; whole: with a diagonal that was taken out. inputs: channels it
    reads; source: what they carry.
    """

    synapses: int
    whole: int
    inputs: int
    source: Source


@dataclass(frozen=True)
class Unit:
    """What a rule set charges: one layer, one direction of a layer, or another part.

    position: which part of the network. weight, recurrent: W and R. own: what it emits. step:
    `step.operations` of one neuron; states: their names.
    gates: blocks of rows that W has; cell: no neuron with a potential but a cell of an artificial
    network (see `is_cell`).
    biases: numbers added a step. compares: its output is a comparison with 0, spike or ReLU. relu:
    the latter. normed: rows of a layer norm.
    constants: numbers of the neurons that are read every step, one a neuron.
    """

    position: int
    name: str
    neurons: int
    weight: Connections
    own: Source
    recurrent: Connections | None = None
    step: Counter[str] = field(default_factory=Counter)
    states: tuple[str, ...] = ()
    gates: int = 1
    cell: bool = False
    biases: int = 0
    compares: bool = False
    relu: bool = False
    normed: int = 0
    constants: int = 0


def walk(net: Stack, activity: Activity) -> Iterator[Unit]:
    """Yield all there is to charge, first layer first, both directions of bidirectional ones."""
    source = Source(activity.input, activity.events)
    for k, (part, rate) in enumerate(zip(net.parts(), activity.layers, strict=True)):
        made, source = _of_part(k, part, source, rate)
        yield from made


def _of_part(k: int, part: nn.Module, source: Source, rate: float) -> tuple[list[Unit], Source]:
    """Return the units of a part, and what it gives to the next one. Every kind of part has its
    branch here.

    k: its position. rate: its mean output rate, of a bidirectional layer both directions side by
    side.
    """
    if isinstance(part, Bidirectional):
        out = Source(rate, part.forward_layer.activation.binary)
        both = (("forward", part.forward_layer), ("backward", part.backward_layer))
        # spikes that arrive at a merged channel
        merged = Source(rate * 2 * part.forward_layer.neurons / part.outputs, out.events)
        return [_of_layer(k, f"{k} {name}", layer, source, out) for name, layer in both], merged
    if isinstance(part, Layer):
        out = Source(rate, part.activation.binary)
        return [_of_layer(k, str(k), part, source, out)], out
    if isinstance(part, Tandem):
        out = Source(rate, part.layer.activation.binary)
        return [replace(_of_layer(k, str(k), part.layer, source, out), biases=part.outputs)], out
    out = Source(rate, False)
    if isinstance(part, CausalConv):
        n, synapses = part.outputs, part.conv.weight.numel()
        read = part.inputs * part.conv.kernel_size[0]
        return [
            Unit(
                k,
                str(k),
                n,
                Connections(synapses, synapses, read, source),
                out,
                biases=n,
                compares=True,
                relu=True,
            )
        ], out
    if isinstance(part, Exponential):
        return [
            Unit(
                k,
                str(k),
                part.outputs,
                _nothing(source),
                out,
                step=Counter(transcendental=1),
                gates=0,
            )
        ], out
    if isinstance(part, CumulativeReadout):
        n, synapses = part.outputs, part.linear.weight.numel()
        # exp, division; the sum it divides by, the sum over time
        softmax = Counter(transcendental=1, product=1, add=2)
        return [
            Unit(
                k,
                f"{k} softmax",
                part.inputs,
                _nothing(source),
                out,
                step=softmax,
                states=("sum",),
                gates=0,
            ),
            Unit(
                k,
                f"{k} linear",
                n,
                Connections(synapses, synapses, part.inputs, Source(1.0, False)),
                out,
                biases=n,
            ),
        ], out
    raise ConfigError(
        f"energy: part {k} of the network is a {type(part).__name__}, whose "
        "operations no rule set knows how to count."
    )


def _nothing(source: Source) -> Connections:
    return Connections(0, 0, 0, source)


def _of_layer(k: int, name: str, layer: Layer, source: Source, own: Source) -> Unit:
    batch_norm = isinstance(layer.norm, nn.BatchNorm1d)  # folds into the weights and a bias
    biased = batch_norm or layer.bias is not None or layer.recurrent_bias is not None
    rows = layer.neurons * layer.neuron.gates
    coeffs = split(layer.coeffs()).values()
    relu = isinstance(layer.activation, Relu)
    return Unit(
        k,
        name,
        layer.neurons,
        _connections(layer.weight, layer.weight_mask, layer.neuron.gates, source),
        own,
        None
        if layer.recurrent is None
        else _connections(layer.recurrent, layer.recurrent_mask, layer.neuron.gates, own),
        operations(layer),
        tuple(k for k in split(layer.start(1)) if k != "s"),
        sum(_there(layer.weight_mask, layer.neuron.gates)),
        is_cell(layer),
        rows if biased else 0,
        own.events or relu,
        relu,
        rows if isinstance(layer.norm, nn.LayerNorm) else 0,
        sum(v.numel() for v in coeffs if v.numel() > 1),
    )


def is_cell(layer: Layer) -> bool:
    """Say whether a layer is a cell of an artificial recurrent network (RNN, GRU, LSTM …) and no
    neuron or twin of one.

    A cell gives no spikes, and has gates, or feeds back without having a membrane potential "u". A
    dense layer is none: it has no memory at all.
    """
    recurrent = layer.recurrent is not None
    return not layer.activation.binary and (
        layer.neuron.gates > 1 or (recurrent and "u" not in layer.neuron.states)
    )


def _there(mask: Tensor | None, gates: int) -> list[bool]:
    """Say for each gate's block of rows whether it has connections."""
    return [True] * gates if mask is None else [bool(block.any()) for block in mask.chunk(gates)]


def _connections(weight: Tensor, mask: Tensor | None, gates: int, source: Source) -> Connections:
    inputs = weight.shape[1]
    if mask is None:
        return Connections(weight.numel(), weight.numel(), inputs, source)
    synapses = whole = int(mask.sum())
    for block in mask.chunk(gates):
        if (
            len(block) == inputs
            and len(block) > 1
            and bool(block.any())
            and not bool(block.diagonal().any())
        ):
            whole += inputs
    return Connections(synapses, whole, inputs, source)
