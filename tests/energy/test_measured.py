"""The honest count by hand, activity, and counting as such."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import srnn
from srnn import BatchNorm, Layer, Readout, Stack, cells, energy, init
from srnn._check import ConfigError
from srnn.activations import Identity, Spike
from srnn.energy import Activity, Bittar2022, Measured, Process, Yin2020, Yin2021
from srnn.neuron import Coeffs, Neuron, State
from srnn.neurons import ALIF, IF, AdEx, SoftLIF, YinLIF
from srnn.nn.baselines import CausalConv, CumulativeReadout, Exponential, Tandem
from srnn.nn.networks import Trace

ANY = {"weight_init": init.Zeros(), "recurrent_init": init.Zeros()}


def ff(inputs: int, neurons: int, neuron: Neuron | None = None) -> Layer:
    return Layer(inputs, neurons, neuron or ALIF(), Spike(), recurrent=False, **ANY)


def li(inputs: int, classes: int) -> Readout:
    return Readout(inputs, classes, **ANY)


# ── the honest count ──────────────────────────────────────────────────────────────────────────────


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
    assert (
        energy.count(dense, activity).ac - energy.count(sparse, activity).ac == 2 * 0.5 + 2 * 0.25
    )


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


# ── activity ──────────────────────────────────────────────────────────────────────────────────────


def test_activity_of_a_trace():
    """By hand: 3 + 1 valid steps.

    Input 5 events of 8; the network's rate is over spiking units only.
    """
    net = Stack(Layer(2, 2, YinLIF(0.5, 0.5), bias=False, recurrent=False, **ANY), li(2, 3))
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.eye(2))
        net.layers[1].bias.fill_(1.0)
    x = torch.tensor(
        [
            [[1.0, -1.0], [0.0, 1.0], [1.0, 0.0]],
            [[0.0, 1.0], [math.nan, math.nan], [math.nan, math.nan]],
        ]
    )
    activity = Activity.of(net(x, lengths=torch.tensor([3, 1]), record=True).trace)
    # -1 is an event too, and counts as one
    assert (activity.input, activity.events) == (5 / 8, True)
    # 0.5·(-1) + 1 is just not above the threshold
    assert activity.layers[0] == activity.network == 3 / 8
    assert activity.layers[1] > 0
    assert len(activity.layers) == 2
    assert not Activity.of(net(2 * x, lengths=torch.tensor([3, 1]), record=True).trace).events


def test_counts_by_every_rule_set_leave_the_generator_alone():
    net = tiny()
    trace, before = net(X, record=True).trace, torch.get_rng_state()
    with torch.no_grad():
        found = energy.counts(net, trace)
    assert torch.equal(torch.get_rng_state(), before)
    assert {name: c.rules for name, c in found.items()} == {
        k: k for k in ("yin2020", "yin2021", "bittar2022", "measured")
    }
    assert (found["yin2021"].mac, found["yin2021"].ac) == (2 * 1 + 1, (4 + 4 + 2) * 0.5)


def test_a_process_says_what_an_operation_costs():
    count = energy.Count("mine", (energy.LayerCount("0", 10.0, 100.0),), Process(mac=2.0, ac=0.5))
    assert count.energy == 70.0


def test_activity_of_another_network_is_refused():
    with pytest.raises(
        ConfigError, match="rates of 3 layers for a network of 2; pass a trace of this network"
    ):
        energy.count(tiny(), Activity(0.1, True, (0.1, 0.1, 0.1), 0.1))


def test_what_lies_around_the_neuron_does_not_matter_to_its_step():
    net = Stack(Layer(2, 3, SoftLIF(), norm=BatchNorm(), dropout=0.5))
    assert energy.count(net, Activity.assumed(net, 0.5), Yin2021()).mac == 3


def test_layer_norm_is_charged_and_a_process_can_be_chosen():
    plain, normed = (
        srnn.Stack(srnn.Layer(3, 5, srnn.SoftLIF(), norm=norm)) for norm in (None, srnn.LayerNorm())
    )
    activity = energy.Activity(0.1, True, (0.2,), 0.2)
    a, b = (energy.count(net, activity) for net in (plain, normed))
    assert (b.mac - a.mac, b.ac - a.ac) == (15, 10)
    folded = energy.count(
        srnn.Stack(srnn.Layer(3, 5, srnn.SoftLIF(), norm=srnn.BatchNorm())), activity
    )
    assert (folded.mac, folded.ac) == (a.mac, a.ac)
    other = energy.count(plain, activity, process=energy.Process(mac=4.6, ac=0.9))
    assert other.energy == pytest.approx(4.6 * a.mac + 0.9 * a.ac)


def test_measured_charges_the_gates_that_are_there():
    """A GRU has four sums but three blocks of W and R each, and both biases of its candidate."""
    m, n = 3, 4
    net = Stack(Layer(m, n, cells.GRU(), Identity(), **ANY))
    (layer,) = energy.count(net, Activity.assumed(net, 0.5, events=False)).layers
    assert layer.mac == 3 * (m * n + n * n) + n * (3 + 3 * 8)
    # biases; (1 - z), and two sums that follow products
    assert layer.ac == 4 * n + n * max(0, 3 - 3)
    # events at the input, numbers inside
    events = energy.count(net, Activity.assumed(net, 0.5)).layers[0]
    assert (events.mac, events.ac) == (layer.mac - 3 * m * n, layer.ac + 0.5 * 3 * m * n)


def test_measured_charges_the_norms_of_every_gate_and_the_bias_of_a_batch_norm():
    activity = Activity(0.5, False, (0.5,), 0.5)
    plain, layer_norm, batch_norm, neither = (
        energy.count(Stack(Layer(3, 4, cells.LiGRU(), Identity(), norm=norm, bias=bias)), activity)
        for norm, bias in (
            (None, True),
            (srnn.LayerNorm(), True),
            (BatchNorm(), False),
            (None, False),
        )
    )
    assert (layer_norm.mac - plain.mac, layer_norm.ac - plain.ac) == (3 * 8, 2 * 8)
    assert (batch_norm.mac, batch_norm.ac) == (plain.mac, plain.ac)
    assert plain.ac - neither.ac == 8


@dataclass(frozen=True)
class Products(Neuron):
    """u is multiplied by a product of two currents, and divided by one: neither can be folded into
    weights; k·I can.
    """

    k: init.Init = 0.5
    gates = 2

    def step(
        self, I: tuple[Tensor, Tensor], s: Tensor, state: State, c: Coeffs
    ) -> tuple[Tensor, State]:
        u = state["u"] + I[0] * I[1] + c["k"] / I[0] + c["k"] * I[1]
        return u, {"u": u}


def test_only_a_constant_times_a_current_folds():
    net = Stack(Layer(3, 4, Products(), Identity(), recurrent=False, bias=False, **ANY))
    items = energy.count(net, Activity.assumed(net, 0.5)).items()
    assert (items["products"].mac, items["folded products"].mac) == (2 * 4, 4)
    assert energy.count(net, Activity.assumed(net, 0.5), Yin2021()).items()["products"].mac == 8


def test_every_rule_set_has_the_process_of_its_paper():
    net = Stack(ff(3, 5))
    found = energy.counts(net, Activity.assumed(net, 0.1))
    assert {name: (c.process.mac, c.process.ac) for name, c in found.items()} == {
        "yin2020": (3.1, 0.1),
        "yin2021": (3.1, 0.1),
        "bittar2022": (3.2, 0.1),
        "measured": (3.1, 0.1),
    }
    table = {
        "int32": (3.1 + 0.1, 0.1, 32),
        "fp32": (3.7 + 0.9, 0.9, 32),
        "fp16": (1.1 + 0.4, 0.4, 16),
        "int8": (0.2 + 0.03, 0.03, 8),
    }
    for name, (mac, ac, bits) in table.items():
        process = energy.PROCESSES[name]
        assert (process.mac, process.ac, process.bits) == (pytest.approx(mac), ac, bits)
        for count in energy.counts(net, Activity.assumed(net, 0.1), process).values():
            assert count.energy == pytest.approx(mac * count.mac + ac * count.ac)
    assert len(energy.PROCESSES) == 4


# ── memory traffic ────────────────────────────────────────────────────────────────────────────────


def test_memory_traffic_by_hand():
    """Two layers at rate 0.5: 4 weights of W and of R, at half of the steps; 2 of the read-out."""
    net = tiny()
    trace = net(X, record=True).trace
    bare = energy.count(net, trace)
    assert (bare.traffic, bare.as_dict().keys()) == (0, {"mac", "ac", "energy"})
    sram = energy.Memory(20.0, "mine")
    first, readout = (count := energy.count(net, trace, Measured(memory=sram))).layers
    assert first.reads == 4 * 0.5 + 4 * 0.5 + 2 + 2  # weights, biases, u; both constants are shared
    assert first.writes == 2
    assert readout.reads == 2 * 0.5 + 1 + 1  # weights, bias, u; one neuron shares its α with itself
    assert readout.writes == 1 + 1  # u, and an output that is no spike
    assert count.traffic == pytest.approx(10.0 * (8 + 2 + 3 + 2))
    assert count.energy == pytest.approx(bare.energy + count.traffic)
    assert energy.count(net, trace, Measured(memory=sram), energy.INT8).traffic == pytest.approx(
        count.traffic / 4
    )
    assert count.as_dict()["accesses"] == 15


def test_memory_traffic_of_numbers():
    """An analog input is read, a graded output written and read again; constants that differ
    between neurons are read.
    """
    m, n = 3, 4
    lstm = Stack(Layer(m, n, cells.LSTM(), Identity(), **ANY))
    activity = Activity(0.9, False, (0.3,), 0.0)
    (layer,) = energy.count(lstm, activity).layers
    assert layer.reads == 4 * n * m + m + 4 * n * n + n + 4 * n + n  # W, x, R, h, biases, c
    assert layer.writes == n + n  # c, h
    (layer,) = energy.count(Stack(ff(m, n)), activity).layers
    assert layer.reads == n * m + m + n + 2 * n + 2 * n  # W, x, biases, α and ρ, u and η
    assert layer.writes == 2 * n


# ── parts that are no layers ──────────────────────────────────────────────────────────────────────


def test_a_tandem_layer_pays_its_own_bias():
    tandem, alone = (
        Stack(Tandem(Layer(5, 7, IF(), recurrent=False, bias=False))),
        Stack(Layer(5, 7, IF(), recurrent=False, bias=False)),
    )
    activity = Activity(0.5, True, (0.25,), 0.25)
    a, b = (energy.count(net, activity) for net in (tandem, alone))
    assert (a.mac - b.mac, a.ac - b.ac) == (0, 7)
    assert energy.count(tandem, activity, Yin2021()).ac == 35 * 0.25
    assert energy.count(tandem, activity, Bittar2022()).ac == (35 + 7) * 0.25


def test_a_convolution_reads_its_kernel_at_every_step():
    net = Stack(CausalConv(5, 7, kernel=3, dilation=2), Readout(7, 2, cells.Dense(), **ANY))
    activity = Activity(0.5, True, (0.25, 0.0), 0.0)
    first, _ = energy.count(net, activity).layers
    assert (first.mac, first.ac) == (0, 5 * 7 * 3 * 0.5 + 7 + 7)  # event input; biases, ReLU
    first, second = energy.count(net, activity, Yin2021()).layers
    assert (first.mac, second.mac) == (5 * 7 * 3, 7 * 2)
    assert energy.count(net, activity, Bittar2022()).mac == 7 * (5 * 3 + 1) + 2 * (7 + 1)


def test_the_read_out_of_bittars_artificial_networks():
    net = Stack(
        Layer(5, 7, cells.LiBRUProbability(), Identity(), **ANY),
        Exponential(7),
        CumulativeReadout(7, 3),
    )
    activity = Activity(0.5, False, (0.25,) * 3, 0.0)
    by_name = {layer.name: layer for layer in energy.count(net, activity).layers}
    assert by_name["1"].mac == 7 * 8
    assert by_name["2 softmax"].mac == 7 * (8 + 1)
    assert by_name["2 softmax"].ac == 7
    assert (by_name["2 linear"].mac, by_name["2 linear"].ac) == (21, 3)
    assert energy.count(net, activity, Bittar2022()).mac == 2 * 7 * (5 + 7 + 1) + 3 * (7 + 1)


# ── what cannot be counted ────────────────────────────────────────────────────────────────────────


def test_a_part_that_nobody_can_count_is_named():
    class Odd(srnn.nn.part.Part):
        inputs = outputs = 3

    net = Stack(ff(3, 3), Odd())
    for rules in (Yin2020(), Yin2021(), Bittar2022(), Measured()):
        with pytest.raises(
            ConfigError, match="part 1 of the network is a Odd, whose operations no rule set knows"
        ):
            energy.count(net, Activity(0.1, True, (0.1, 0.1), 0.1), rules)


def test_every_is_checked_and_divides_everything():
    net = Stack(ff(3, 5), li(5, 2))
    activity = Activity.assumed(net, 0.1)
    whole, once = energy.count(net, activity), energy.count(net, activity, every={1: 4})
    assert once.layers[0] == whole.layers[0]
    for name in ("mac", "ac", "reads", "writes"):
        assert getattr(once.layers[1], name) == getattr(whole.layers[1], name) / 4 > 0
    with pytest.raises(ConfigError, match="every names part 2 of a network of 2"):
        energy.count(net, activity, every={2: 4})
    with pytest.raises(ConfigError, match=r"every\[0\] is 0"):
        energy.count(net, activity, every={0: 0})


def test_a_trace_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="trace"):
        energy.count(tiny(), None)
    assert isinstance(tiny()(X, record=True).trace, Trace)
