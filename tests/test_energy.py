"""Energy: the published integers by building the published networks, the honest count by hand, and the trace they are counted from."""

from __future__ import annotations

import inspect
import math
import random
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import srnn.neurons
from srnn import BatchNorm, Bidirectional, Concat, Layer, Mean, Readout, Stack, energy, init
from srnn._check import ConfigError
from srnn.activations import Relu, Spike
from srnn.energy import Activity, Measured, Process, Yin2021
from srnn.kernels.graph import Graph
from srnn.kernels.trace import TraceError, trace_step
from srnn.neuron import Coeffs, Neuron, State
from srnn.neurons import ALIF, LIF, AdEx, AdLIF, Leaky, SoftLIF, YinLIF

NEURONS = sorted({c for c in vars(srnn.neurons).values() if inspect.isclass(c) and issubclass(c, Neuron)}, key=lambda c: c.__name__)
ANY = {"weight_init": init.Zeros(), "recurrent_init": init.Zeros()}


def rec(inputs: int, neurons: int, twin: bool = False, neuron: Neuron | None = None) -> Layer:
    return Layer(inputs, neurons, neuron or ALIF(), Relu() if twin else Spike(), **ANY)


def ff(inputs: int, neurons: int, twin: bool = False, neuron: Neuron | None = None) -> Layer:
    return Layer(inputs, neurons, neuron or ALIF(), Relu() if twin else Spike(), recurrent=False, **ANY)


def li(inputs: int, classes: int) -> Readout:
    return Readout(inputs, classes, **ANY)


# ── Yin 2021, Tables 2 and S2 ────────────────────────────────────────────────────────────────────────────────────────────

RELU = {
    "ECG": (lambda: [rec(4, 36, True), ff(36, 6, True)], 1866, 5784.6),
    "S-MNIST, PS-MNIST": (lambda: [rec(4, 64, True), rec(64, 256, True), ff(256, 256, True), ff(256, 10, True)], 157298, 487623.8),
    "SHD": (lambda: [rec(700, 128, True), rec(128, 128, True), li(128, 20)], 142612, 442097.2),
    "SSC, with its own read-out": (lambda: [rec(700, 400, True), rec(400, 400, True), li(400, 35)], 778035, 2411908.5),
    "SoLi": (lambda: [ff(1024, 512, True), rec(512, 512, True), li(512, 11)], 1059339, 3283950.9),
    "TIMIT": (lambda: [Bidirectional(rec(39, 512, True), merge=Mean()), li(512, 61)], 600637, 1861974.7),
    "GSC": (lambda: [ff(120, 300, True), rec(300, 300, True), li(300, 12)], 222612, 690097.2),
}


@pytest.mark.parametrize("name", RELU)
def test_published_macs_of_the_relu_networks(name):
    layers, macs, picojoule = RELU[name]
    net = Stack(*layers())
    for activity in (Activity.assumed(net, 0.3), Activity(0.7, False, (0.5,) * len(net.layers), 0.1)):  # rates make no difference
        count = energy.count(net, activity, Yin2021())
        assert count.mac == macs
        assert count.ac == 0
        assert count.energy == pytest.approx(picojoule, abs=1e-6)


no_adaptation = ALIF(beta=0.0)
SPIKING = {
    "ECG LIF": (lambda: [rec(4, 36, neuron=LIF()), ff(36, 6, neuron=LIF())], True, 42, 1656),
    "ECG LIF of the script": (lambda: [rec(4, 36, neuron=YinLIF()), ff(36, 6, neuron=YinLIF())], True, 42, 1656),
    "ECG": (lambda: [rec(4, 36, neuron=no_adaptation), ff(36, 6)], True, 90, 1656),
    "S-MNIST, PS-MNIST": (lambda: [rec(4, 64), rec(64, 256), ff(256, 256), ff(256, 10)], False, 2014, 154112),
    "SHD": (lambda: [rec(700, 128), rec(128, 128), li(128, 20)], True, 788, 141312),
    "SSC": (lambda: [rec(700, 400), rec(400, 400), li(400, 35)], True, 2435, 774000),
    "SoLi": (lambda: [ff(1024, 512), rec(512, 512), li(512, 11)], False, 3083, 1054208),
    "TIMIT": (lambda: [Bidirectional(rec(39, 256), merge=Mean()), li(256, 61)], False, 1597, 166656),
}


@pytest.mark.parametrize("name", SPIKING)
def test_published_macs_of_the_spiking_networks(name):
    """MACs of the neurons, and one AC for each connection and spike; the analog input is charged as MACs for S-MNIST only."""
    layers, events, macs, connections = SPIKING[name]
    net, rate = Stack(*layers()), 0.125
    activity = Activity(0.9, events, (0.7,) * len(net.layers), rate)  # only the mean rate of the network counts
    count = energy.count(net, activity, Yin2021(analog_input_mac="MNIST" in name))
    assert count.mac == macs
    assert count.ac == connections * rate


def test_published_energies():
    """Table S2: 325.7 and 179.9 pJ a step."""
    ours, plain = Stack(*SPIKING["ECG"][0]()), Stack(*SPIKING["ECG LIF"][0]())
    assert energy.count(ours, Activity.assumed(ours, 0.282), Yin2021()).energy == pytest.approx(325.6992, abs=1e-9)
    assert energy.count(plain, Activity.assumed(plain, 0.300), Yin2021()).energy == pytest.approx(179.88, abs=1e-9)


def test_constants_per_neuron_follow_from_the_step():
    """LIF 1n, leaky integrator 1n, ALIF 3n, ALIF with β = 0 2n, ReLU twin 5n."""
    n, inputs, found = 7, 3, {}
    for name, layer in {
        "LIF": ff(inputs, n, neuron=LIF()),
        "LI": li(inputs, n),
        "ALIF": ff(inputs, n),
        "ALIF, β = 0": ff(inputs, n, neuron=ALIF(beta=0.0)),
        "ALIF, β trained from 0": ff(inputs, n, neuron=ALIF(beta=init.Constant(0.0))),
        "ALIF, β = 0 for a part": ff(inputs, n, neuron=ALIF(beta=init.Fixed([0.0] * 4 + [1.8] * 3))),
        "ReLU twin": ff(inputs, n, True),
    }.items():
        net = Stack(layer)
        macs = energy.count(net, Activity.assumed(net, 0.0), Yin2021()).mac
        found[name] = (macs - (0 if layer.activation.binary else inputs * n)) / n
    assert found.pop("LI") + inputs == 1 + inputs  # a read-out alone is no spiking network: its input is charged, mn + 1n
    assert found == {"LIF": 1, "ALIF": 3, "ALIF, β = 0": 2, "ALIF, β trained from 0": 3, "ALIF, β = 0 for a part": 3, "ReLU twin": 5}


def test_the_analog_first_layer_is_charged_in_both_directions_or_in_none():
    net = Stack(Bidirectional(ff(10, 4, neuron=LIF()), merge=Concat()), li(8, 2))
    activity = Activity(0.9, False, (0.5, 0.0), 0.5)
    base = 2 * 4 + 2
    free, charged = (energy.count(net, activity, Yin2021(analog_input_mac=flag)) for flag in (False, True))
    assert (free.mac, free.ac) == (base, 0.5 * (2 * 40 + 16))
    assert (charged.mac, charged.ac) == (base + 2 * 40, 0.5 * 16)
    assert [layer.name for layer in free.layers] == ["0 forward", "0 backward", "1"]


# ── the honest count ─────────────────────────────────────────────────────────────────────────────────────────────────────


def tiny(**kwargs) -> Stack:
    """Two hard-reset neurons that repeat their input spikes, read out by one leaky integrator."""
    net = Stack(Layer(2, 2, YinLIF(0.5, 0.5), **ANY, **kwargs), li(2, 1))
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.eye(2))
    return net


X = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 0.0]]])


def test_measured_by_hand():
    """Input and spikes: 4 of 8, rate 0.5. Every line is a sum over what happens in a step."""
    net = tiny()
    trace = net(X, record=True).trace
    assert torch.equal(trace.outputs[0], X)
    first, readout = energy.count(net, trace, Measured()).layers
    assert first.mac == 2 * 1  # d·(…)
    assert first.ac == (
        2 * 1.0  # two sums, + I and - θ, less the one that the multiply-accumulate does
        + 2 * 1 * 0.5  # (1 - s)·u: a selection, when there was a spike
        + 2 * 1.0  # bias
        + 2 * 1.0  # comparison with the threshold
        + 4 * 0.5  # W, on input events
        + 4 * 0.5  # R, on own spikes
    )
    assert readout.mac == 2  # α u and (1 - α) I
    assert readout.ac == 1 + 2 * 0.5  # bias, and W on the spikes of the layer below
    whole = energy.count(net, trace)
    assert (whole.rules, whole.mac, whole.ac) == ("measured", 4, 13)
    assert whole.energy == pytest.approx(3.1 * 4 + 0.1 * 13)
    assert whole.as_dict() == {"mac": 4, "ac": 13, "energy": whole.energy}


def test_measured_charges_an_analog_input_as_macs():
    net = tiny()
    events, analog = (energy.count(net, net(x, record=True).trace) for x in (X, 0.9 * X))
    assert (analog.mac, analog.ac) == (events.mac + 4, events.ac - 4 * 0.5)


def test_measured_counts_the_connections_that_are_left():
    torch.manual_seed(0)
    dense, sparse = tiny(), tiny(sparsity=0.5, zero_diagonal=True)
    activity = Activity(0.5, True, (0.25, 0.0), 0.25)
    assert energy.count(dense, activity).ac - energy.count(sparse, activity).ac == 2 * 0.5 + 2 * 0.25


def test_measured_charges_transcendental_functions():
    net = Stack(ff(3, 5, neuron=AdEx()))
    activity = Activity.assumed(net, 0.1)
    eight, none = (energy.count(net, activity, Measured(transcendental_macs=k)) for k in (8.0, 0.0))
    assert eight.mac - none.mac == 5 * 8
    assert eight.ac == none.ac


def test_a_layer_without_bias_pays_none():
    net, bare = Stack(ff(3, 5)), Stack(Layer(3, 5, ALIF(), recurrent=False, bias=False))
    activity = Activity.assumed(net, 0.1)
    assert energy.count(net, activity).ac - energy.count(bare, activity).ac == 5


# ── activity ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_activity_of_a_trace():
    """By hand: 3 + 1 valid steps. Input 5 events of 8; the network's rate is over spiking units only."""
    net = Stack(Layer(2, 2, YinLIF(0.5, 0.5), bias=False, recurrent=False, **ANY), li(2, 3))
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.eye(2))
        net.layers[1].bias.fill_(1.0)
    x = torch.tensor([[[1.0, -1.0], [0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [math.nan, math.nan], [math.nan, math.nan]]])
    activity = Activity.of(net(x, lengths=torch.tensor([3, 1]), record=True).trace)
    assert (activity.input, activity.events) == (5 / 8, True)  # -1 is an event too, and counts as one
    assert activity.layers[0] == activity.network == 3 / 8  # 0.5·(-1) + 1 is just not above the threshold
    assert activity.layers[1] > 0
    assert len(activity.layers) == 2
    assert not Activity.of(net(2 * x, lengths=torch.tensor([3, 1]), record=True).trace).events


def test_counts_by_every_rule_set_leave_the_generator_alone():
    net = tiny()
    trace, before = net(X, record=True).trace, torch.get_rng_state()
    with torch.no_grad():
        found = energy.counts(net, trace)
    assert torch.equal(torch.get_rng_state(), before)
    assert {name: c.rules for name, c in found.items()} == {"yin2021": "yin2021", "measured": "measured"}
    assert (found["yin2021"].mac, found["yin2021"].ac) == (2 * 1 + 1, (4 + 4 + 2) * 0.5)


def test_a_process_says_what_an_operation_costs():
    count = energy.Count("mine", (energy.LayerCount("0", 10.0, 100.0),), Process(mac=2.0, ac=0.5))
    assert count.energy == 70.0


def test_activity_of_another_network_is_refused():
    with pytest.raises(ConfigError, match="rates of 3 layers for a network of 2; pass a trace of this network"):
        energy.count(tiny(), Activity(0.1, True, (0.1, 0.1, 0.1), 0.1))


def test_what_lies_around_the_neuron_does_not_matter_to_its_step():
    net = Stack(Layer(2, 3, SoftLIF(), norm=BatchNorm(), dropout=0.5))
    assert energy.count(net, Activity.assumed(net, 0.5), Yin2021()).mac == 3


# ── the traced step ──────────────────────────────────────────────────────────────────────────────────────────────────────

OPERATIONS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "rsub": lambda a, b: b - a,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "reciprocal": lambda a: 1 / a,
    "exp": math.exp,
    "log": math.log,
    "log1p": math.log1p,
    "expm1": math.expm1,
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "tanh": math.tanh,
    "erf": math.erf,
    "sqrt": math.sqrt,
    "softplus": lambda a: math.log1p(math.exp(a)),
    "relu": lambda a: max(a, 0.0),
    "abs": abs,
    "sign": lambda a: float((a > 0) - (a < 0)),
    "pow": lambda a, b: a**b,
    "minimum": min,
    "maximum": max,
    "where": lambda c, a, b: a if c else b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
    "not": lambda a: not a,
    "copy": float,
}


def interpreted(graph: Graph, given: dict[str, float]) -> dict[str, float]:
    """Run a graph on plain numbers."""
    values = dict(given)

    def value(a: str | float) -> float:
        return values[a] if isinstance(a, str) else a

    for op in graph.ops:
        values[op.result] = OPERATIONS[op.name](*(value(a) for a in op.args))
    return {k: value(v) for k, v in graph.outputs.items()}


def compared(neuron: Neuron, trials: int = 20) -> int:
    """Compare the traced step with the step itself on random numbers; returns how many were compared."""
    graph, draw, count = trace_step(neuron), random.Random(0), 0
    assert set(graph.outputs) == {"x", *(f"state.{k}" for k in neuron.states)}
    for _ in range(trials):
        given = {name: draw.uniform(-1.5, 1.5) for name in graph.inputs}
        tensors = {k: torch.full((1, 1), v, dtype=torch.float64) for k, v in given.items()}
        state = {k: tensors[f"state.{k}"] for k in neuron.states}
        c = {k[2:]: v for k, v in tensors.items() if k.startswith("c.")}
        I = tensors["I"] if neuron.gates == 1 else tuple(tensors[f"I{g}"] for g in range(neuron.gates))
        x, new = neuron.step(I, tensors["s"], state, c)
        wanted = {"x": x.item(), **{f"state.{k}": v.item() for k, v in new.items()}}
        assert interpreted(graph, given) == pytest.approx(wanted, rel=1e-13, abs=1e-14)
        count += len(wanted)
    return count


@pytest.mark.parametrize("neuron", NEURONS, ids=lambda c: c.__name__)
def test_the_trace_computes_the_step(neuron):
    assert compared(neuron()) == 20 * (1 + len(neuron.states))
    assert len(NEURONS) == 12
    results = [op.result for op in trace_step(neuron()).ops]
    assert len(results) == len(set(results)) >= 4


@dataclass(frozen=True)
class Everything(Neuron):
    """Every other operation that a step may be made of, with literals, scaled sums and one-sided clamps."""

    k: init.Init = 0.7
    states = ("u", "v")
    gates = 2

    def step(self, I: tuple[Tensor, Tensor], s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        a, b = I
        u, v = state["u"], state["v"]
        y = torch.add(a, b, alpha=3) - torch.sub(u, v, alpha=0.5) + torch.rsub(a, v, alpha=2)
        y = y + torch.clamp(a, max=0.3) + torch.clamp(b, min=-0.2) + torch.clamp(u, -0.1, 0.4) + torch.clamp_min(v, 0.1)
        y = y + torch.where((a > 0) & (b <= 0.5) | (u != v), torch.ones_like(a), torch.zeros_like(a)) * torch.full_like(a, 2.5)
        y = y + torch.where(torch.logical_not(a >= b), torch.relu(u), 0.25) + (a < b).to(a.dtype) * (u == u)
        z = torch.sigmoid(a) + torch.tanh(b) + torch.erf(u) + torch.nn.functional.softplus(v) + torch.sqrt(torch.abs(s)) + torch.sign(b)
        z = z + torch.log1p(torch.exp(a)) + torch.expm1(b) + torch.log(torch.abs(a) + 1) + torch.reciprocal(u * u + 1) + v**2 + s.clone() / 3
        return y + c["k"] * z, {"u": y, "v": torch.minimum(y, -z)}


def test_the_trace_of_every_operation():
    assert compared(Everything(), trials=50) == 150
    assert {op.name for op in trace_step(Everything()).ops} == set(OPERATIONS)


def test_the_trace_of_values_given_one_by_one():
    """`Fixed` with one value a neuron sets the size of the layer that is traced."""
    assert trace_step(ALIF(beta=init.Fixed([0.0] * 20 + [1.8] * 16))) == trace_step(ALIF())


def test_two_traces_are_equal_and_draw_nothing():
    before = torch.get_rng_state()
    assert trace_step(AdLIF()) == trace_step(AdLIF())
    assert torch.equal(torch.get_rng_state(), before)


@dataclass(frozen=True)
class Odd(Leaky):
    """A leaky integrator whose potential goes through something that is no kernel."""

    def odd(self, u: Tensor) -> Tensor:
        raise NotImplementedError

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        x, new = super().step(I, s, state, c)
        return self.odd(x), new


SHIFT = torch.full((3,), 0.5, dtype=torch.float64)
ODD = {
    "cumsum": (
        lambda u: torch.cumsum(u, -1),
        r"Mine\.step: aten\.cumsum\.default \(.*test_energy\.py:\d+\) is not one of the elementwise operations",
    ),
    "mean": (lambda u: u - u.mean(-1, keepdim=True), r"Mine\.step: aten\.mean\.dim \(.*test_energy\.py:\d+\) is not one of"),
    "product": (lambda u: u @ u.T @ u, r"Mine\.step: aten\.(t|mm|permute)\.default \(.*test_energy\.py:\d+\) is not one of"),
    "whole numbers": (lambda u: u.long().to(u.dtype), r"Mine\.step: aten\._to_copy\.default \(.*test_energy\.py:\d+\) changes the number type"),
    "rounded quotient": (lambda u: torch.div(u, 3.0, rounding_mode="floor"), r"Mine\.step: aten\.div\.\w+ \(.*test_energy\.py:\d+\) is not one of"),
    "a tensor of its own": (lambda u: u * SHIFT, r"Mine\.step uses a tensor that is not one of its arguments; make it a constant of the neuron"),
    "a look at the values": (lambda u: u if u.max() > 0 else -u, r"Mine\.step: aten\.max\.default \(.*test_energy\.py:\d+\) is not one of"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_step_that_is_not_elementwise_is_named(name):
    f, message = ODD[name]

    @dataclass(frozen=True)
    class Mine(Odd):
        def odd(self, u: Tensor) -> Tensor:
            return f(u)

    with pytest.raises(TraceError, match=message):
        trace_step(Mine())


def test_layer_norm_is_charged_and_a_process_can_be_chosen():
    plain, normed = (srnn.Stack(srnn.Layer(3, 5, srnn.SoftLIF(), norm=norm)) for norm in (None, srnn.LayerNorm()))
    activity = energy.Activity(0.1, True, (0.2,), 0.2)
    a, b = (energy.count(net, activity) for net in (plain, normed))
    assert (b.mac - a.mac, b.ac - a.ac) == (15, 10)
    folded = energy.count(srnn.Stack(srnn.Layer(3, 5, srnn.SoftLIF(), norm=srnn.BatchNorm())), activity)
    assert (folded.mac, folded.ac) == (a.mac, a.ac)
    other = energy.count(plain, activity, process=energy.Process(mac=4.6, ac=0.9))
    assert other.energy == pytest.approx(4.6 * a.mac + 0.9 * a.ac)
