"""What a network costs: multiply-accumulate (MAC) and accumulate (AC) operations per time step, and their energy.

Counted by walking the layers as built and the neuron's step as traced, never from a table. A rule set says what is charged:

    Yin2021    the published accounting (Yin, Corradi & Bohté 2021, Tables 2 and S2). Four rules give every constant of it (LIF 1n, leaky
               integrator 1n, ALIF 3n, ALIF with β = 0 2n, ReLU twin 5n): a product with the neuron's own binary spike is a selection; a
               product of constants is free; constant·I is folded into the weights; a state is counted even where nothing reads it.
               Synapses of a spiking network cost AC · Fr with ONE firing rate Fr, the mean over all spiking units; biases cost nothing.
    Measured   what the recorded network does: every source with its own measured rate, analog inputs as MACs, biases, folded products,
               selections (AC per spike), the threshold comparison, layer norm (3 MAC and 2 AC a neuron; batch norm folds into the weights),
               and transcendental functions (charged as several MACs each).

Energy is in picojoules per step: 45 nm CMOS, 32-bit integer, MAC = 3.1 pJ and AC = 0.1 pJ (Horowitz 2014, as used by Yin 2021), unless another
`Process` is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn

from srnn._check import ConfigError, check_instance
from srnn.kernels.graph import Graph
from srnn.kernels.trace import trace_step
from srnn.layers import Bidirectional, Layer
from srnn.networks import Stack, Trace, activation_of


@dataclass(frozen=True)
class Process:
    """Energy of one operation in pJ."""

    mac: float = 3.1
    ac: float = 0.1


@dataclass(frozen=True)
class Activity:
    """What flowed through a network: the means a count needs.

    input: mean |event| per channel and step; events: whether the input is events in {-1, 0, 1}. layers: mean output rate of each layer.
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
    def assumed(net: Stack, rate: float) -> Activity:
        """Assume one rate everywhere, event inputs included."""
        return Activity(rate, True, (rate,) * len(net.layers), rate)


@dataclass(frozen=True)
class LayerCount:
    """Operations per step of one layer."""

    name: str
    mac: float
    ac: float


@dataclass(frozen=True)
class Count:
    """Operations per step of a network, by one rule set. energy: pJ per step."""

    rules: str
    layers: tuple[LayerCount, ...]
    process: Process = Process()

    @property
    def mac(self) -> float:
        """Multiply-accumulates per step."""
        return sum(layer.mac for layer in self.layers)

    @property
    def ac(self) -> float:
        """Accumulates per step."""
        return sum(layer.ac for layer in self.layers)

    @property
    def energy(self) -> float:
        """Energy per step in pJ."""
        return self.process.mac * self.mac + self.process.ac * self.ac

    def as_dict(self) -> dict[str, float]:
        """Return mac, ac and energy per step."""
        return {"mac": self.mac, "ac": self.ac, "energy": self.energy}


@dataclass(frozen=True)
class _Source:
    """Where a layer's input comes from: its rate, and whether its values are events (a product with them is a selection)."""

    rate: float
    events: bool


def _walk(net: Stack, activity: Activity) -> Iterator[tuple[int, str, Layer, _Source, _Source]]:
    """Yield (position, name, layer, source of W, source of R) for every single layer, both directions of bidirectional ones."""
    source = _Source(activity.input, activity.events)
    for k, (part, rate) in enumerate(zip(net.parts(), activity.layers, strict=True)):
        out = _Source(rate, activation_of(part).binary)
        if isinstance(part, Bidirectional):
            yield k, f"{k} forward", part.forward_layer, source, out
            yield k, f"{k} backward", part.backward_layer, source, out
            out = _Source(rate * 2 * part.forward_layer.neurons / part.outputs, out.events)  # spikes that arrive at a merged channel
        else:
            yield k, str(k), part, source, out
        source = out


@dataclass(frozen=True)
class Yin2021:
    """The published accounting. analog_input_mac: charge an analog first layer as MACs (the paper does so for S-MNIST only)."""

    analog_input_mac: bool = False
    name: str = "yin2021"

    def __call__(self, net: Stack, activity: Activity) -> Count:
        """Return operations per step."""
        spiking = any(activation_of(part).binary for part in net.parts())
        counts = []
        for k, name, layer, source, own in _walk(net, activity):
            events = source.events if k else spiking and (activity.events or not self.analog_input_mac)
            mac, ac = _step_products(layer) * layer.neurons, 0.0
            for weight, selected in ((layer.weight, events), (layer.recurrent, own.events)):
                if weight is not None:
                    mac, ac = (mac, ac + weight.numel() * activity.network) if selected else (mac + weight.numel(), ac)
            counts.append(LayerCount(name, mac, ac))
        return Count(self.name, tuple(counts))


@dataclass(frozen=True)
class Measured:
    """The honest accounting. transcendental_macs: what one exp, sigmoid … costs (a polynomial of about that degree)."""

    transcendental_macs: float = 8.0
    name: str = "measured"

    def __call__(self, net: Stack, activity: Activity) -> Count:
        """Return operations per step."""
        counts = []
        for _, name, layer, source, own in _walk(net, activity):
            n, ops = layer.neurons, _step_operations(layer)
            mac = n * (ops["mac"] + self.transcendental_macs * ops["transcendental"])
            biased = (layer.bias is not None) + (layer.recurrent_bias is not None)
            ac = n * (ops["ac"] + ops["select"] * own.rate + (1.0 if biased else 0.0) * layer.neuron.gates)
            ac += n if layer.activation.binary else 0  # the comparison with the threshold
            if isinstance(layer.norm, nn.LayerNorm):  # mean, variance, shift and scale; batch norm folds into the weights
                mac, ac = mac + 3 * n, ac + 2 * n
            for weight, mask, origin in (
                (layer.weight, layer.weight_mask, source),
                (layer.recurrent, layer.recurrent_mask, own),
            ):
                if weight is not None:
                    synapses = weight.numel() if mask is None else int(mask.sum())
                    mac, ac = (mac, ac + synapses * origin.rate) if origin.events else (mac + synapses, ac)
            counts.append(LayerCount(name, mac, ac))
        return Count(self.name, tuple(counts))


Rules = Yin2021 | Measured
"""A rule set: called with a network and its activity, gives a `Count`."""


def count(net: Stack, trace: Trace | Activity, rules: Rules = Measured(), process: Process = Process()) -> Count:
    """Return the operations per step of `net` on what was recorded (`net(x, record=True).trace`) by a rule set, with the energies of a process.

    Raises `ConfigError` when the trace is not one of this network.
    """
    check_instance("energy.count", "trace", trace, (Trace, Activity), "a trace: net(x, record=True).trace")
    activity = Activity.of(trace) if isinstance(trace, Trace) else trace
    if len(activity.layers) != len(net.layers):
        raise ConfigError(f"energy: rates of {len(activity.layers)} layers for a network of {len(net.layers)}; pass a trace of this network.")
    return replace(rules(net, activity), process=process)


def counts(net: Stack, trace: Trace | Activity, process: Process = Process()) -> dict[str, Count]:
    """Return the count by every rule set, by name."""
    return {rules.name: count(net, trace, rules, process) for rules in (Yin2021(), Measured())}


# ── the traced step ──────────────────────────────────────────────────────────────────────────────────────────────────────

_TRANSCENDENTAL = {"exp", "log", "log1p", "expm1", "sigmoid", "tanh", "erf", "sqrt", "softplus", "pow", "reciprocal"}
_FREE = {"copy", "neg"}


def _step_operations(layer: Layer) -> Counter[str]:
    """Count one neuron's step: "product" (of state), "folded" (constant·I), "select" (with a binary spike), "add", "transcendental"."""
    graph: Graph = trace_step(layer.neuron)
    kind: dict[str, str] = {}
    coeffs = layer.neuron.coeffs(layer.constants())
    for name in graph.inputs:
        if name.startswith("c."):
            value = coeffs[name[2:]]
            kind[name] = "zero" if not value.requires_grad and not bool(value.any()) else "constant"
        elif name == "s":
            kind[name] = "spike" if layer.activation.binary else "value"
        else:
            kind[name] = "current" if name.startswith("I") else "value"
    tally: Counter[str] = Counter()
    for op in graph.ops:
        kinds = sorted("constant" if isinstance(a, float) else kind[a] for a in op.args)
        kind[op.result], counted = _judge(op.name, kinds)
        tally[counted] += 1
    tally["mac"] = tally["product"] + tally["folded"]
    tally["ac"] = max(0, tally["add"] - tally["mac"])  # an addition that follows a product is part of that MAC
    return tally


def _judge(name: str, kinds: list[str]) -> tuple[str, str]:
    """Return (kind of the result, what is counted) of one operation on arguments of these kinds."""
    distinct = set(kinds)
    if distinct <= {"constant", "zero"}:
        return ("zero" if name == "mul" and "zero" in distinct else "constant"), "free"
    if name in _FREE:
        return kinds[-1], "free"
    if name in _TRANSCENDENTAL:
        return "value", "transcendental"
    if name in ("mul", "div"):
        if "zero" in distinct:
            return "zero", "free"
        if "spike" in distinct:
            return ("spike" if distinct <= {"spike", "constant"} else "value"), "select"
        if distinct <= {"current", "constant"}:
            return "current", "folded"
        return "value", "product"
    if distinct - {"zero"} and distinct <= {"spike", "constant", "zero"}:
        return "spike", "free"  # one of two constants, chosen by the spike
    rest = distinct - {"zero"}
    if "zero" in distinct and len(kinds) == 2:
        return next(iter(rest)), "free"
    return "value", "add"


def _step_products(layer: Layer) -> int:
    """Products a neuron's step costs by the published rules."""
    return _step_operations(layer)["product"]
