"""The rule sets: what is charged for a network, by name.

Each has the process its paper multiplies with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from srnn.energy.process import PUBLISHED, Memory, Process
from srnn.energy.tally import Charge, Count, LayerCount
from srnn.energy.units import Activity, Connections, Unit, walk
from srnn.nn.networks import Stack


@dataclass(frozen=True)
class Yin2020:
    """The accounting of Yin, Corradi & Bohté 2020, Table 2.

        adaptive neuron    (mn + nn + 2n) Fr AC + 2n MAC
        LIF                (mn + nn) Fr AC
        ReLU twin          (mn + nn + 4n) MAC
        LSTM               (4mn + 4nn + 3n) MAC
        RNN                (mn + nn) MAC
        dense layer        mn MAC

    From the trace: products, less the decay of the membrane potential (that factor of u is not
    charged); selections by the own spike are charged at the rate Fr, but only for neurons with a
    state beside the potential; biases, activations and everything else are free.
    """

    name: ClassVar[str] = "yin2020"
    process: ClassVar[Process] = PUBLISHED

    def __call__(self, net: Stack, activity: Activity) -> Count:
        """Return operations per step."""

        def charges(unit: Unit) -> Iterator[Charge]:
            yield Charge("products", unit.neurons * (unit.step["product"] - unit.step["decay"]))
            if len(unit.states) > 1:
                yield Charge(
                    "selections", 0.0, unit.neurons * unit.step["select"] * activity.network
                )

        parts = list(walk(net, activity))
        return Count(
            self.name,
            tuple(_published(unit, parts, activity, charges(unit)) for unit in parts),
            self.process,
        )


@dataclass(frozen=True)
class Yin2021:
    """The accounting of Yin, Corradi & Bohté 2021, Tables 2 and S2.

    Four rules on the traced step give every constant of a neuron (LIF 1n, leaky integrator 1n, ALIF
    3n, ALIF with β = 0 2n, ReLU twin 5n): a product with the neuron's own binary spike is a
    selection, and free; a product of constants is free; constant·I is folded into the weights; a
    state is counted even where nothing reads it. Synapses cost AC · Fr with ONE firing rate Fr, the
    mean over all spiking units; biases cost nothing.

    Cells of artificial networks (`units.is_cell`) also pay 2 for every nonlinear function and 1 for
    the bias of every gate, which gives LSTM 4mn + 4nn + 17n (3 products, 5·2, 4) and GRU 3mn + 3nn
    + 12n (3, 3·2, 3). A vanilla RNN, without gates or state, is charged an output map of n × n with
    its bias besides, mn + 2nn + 4n: the paper's numbers have it, whether the network has one or
    not. A dense layer costs mn.

    analog_input_mac: charge an analog first layer as MACs (the paper does so for S-MNIST and
    PS-MNIST only).
    """

    analog_input_mac: bool = False
    name: ClassVar[str] = "yin2021"
    process: ClassVar[Process] = PUBLISHED

    def __call__(self, net: Stack, activity: Activity) -> Count:
        """Return operations per step."""

        def charges(unit: Unit) -> Iterator[Charge]:
            n, ops = unit.neurons, unit.step
            yield Charge("products", n * ops["product"])
            if unit.cell:
                yield Charge(
                    "nonlinear functions",
                    2.0 * n * (ops["transcendental"] + ops["rectify"] + unit.relu),
                )
                yield Charge("biases", n * unit.gates)
                if unit.gates == 1 and not unit.states:
                    yield Charge("output map", n * n + n)

        parts = list(walk(net, activity))
        layers = tuple(
            _published(unit, parts, activity, charges(unit), self.analog_input_mac)
            for unit in parts
        )
        return Count(self.name, layers, self.process)


@dataclass(frozen=True)
class Bittar2022:
    """The accounting of Bittar & Garner 2022, section 4.2: a layer of an RNN costs N_l (N_{l-1} +
    N_l + 1) MAC, that of an SNN ν times as many AC.

    ν is the mean firing rate of the network (0.1 in the paper). The matrices are whole: a diagonal
    that was taken out of R counts. The 1 is the bias, one for every gate. Neurons, activations and
    the analog input are free. MAC = 3.2 pJ, AC = 0.1 pJ.
    """

    name: ClassVar[str] = "bittar2022"
    process: ClassVar[Process] = Process(
        3.2, 0.1, 32, "int32, 3.1 + 0.1 (Han 2015, as in Bittar & Garner 2022)"
    )

    def __call__(self, net: Stack, activity: Activity) -> Count:
        """Return operations per step."""
        parts = list(walk(net, activity))
        spiking = any(unit.own.events for unit in parts)
        layers = []
        for unit in parts:
            items = [
                (_item(unit, c, activity), float(c.whole), _spikes(unit, c, spiking))
                for c in _matrices(unit)
            ]
            items.append(("biases", float(unit.neurons * unit.gates), items[0][2]))
            charges = (
                Charge(what, 0.0, number * activity.network) if spikes else Charge(what, number)
                for what, number, spikes in items
            )
            layers.append(LayerCount.of(unit.name, unit.position, charges))
        return Count(self.name, tuple(layers), self.process)


@dataclass(frozen=True)
class Measured:
    """The honest accounting: what the recorded network does, everything charged.

    Synapses with the measured rate of their own source, analog inputs and graded outputs as MACs;
    products, constant·I too; transcendental functions as several MACs each; additions that follow
    no product; selections, with the neuron's own rate; biases; the comparison of spikes and ReLUs;
    layer norm (3 MAC and 2 AC a row; batch norm folds into weights and bias). Encoder and decoder
    are not charged.

    transcendental_macs: what one exp, sigmoid … costs (a polynomial of about that degree).
    memory: charge the memory traffic too. Read: a weight for every synaptic operation, biases, the
    constants that differ between neurons, states, and analog or graded numbers once; written:
    states and graded outputs. Sums stay in registers, spikes are free.
    """

    transcendental_macs: float = 8.0
    memory: Memory | None = None
    name: ClassVar[str] = "measured"
    process: ClassVar[Process] = PUBLISHED

    def __call__(self, net: Stack, activity: Activity) -> Count:
        """Return operations per step."""
        layers = [
            LayerCount.of(unit.name, unit.position, self._charges(unit, activity), *_traffic(unit))
            for unit in walk(net, activity)
        ]
        return Count(self.name, tuple(layers), self.process, self.memory)

    def _charges(self, unit: Unit, activity: Activity) -> Iterator[Charge]:
        n, ops = unit.neurons, unit.step
        for c in _matrices(unit):
            what = _item(unit, c, activity)
            yield (
                Charge(what, 0.0, c.synapses * c.source.rate)
                if c.source.events
                else Charge(what, c.synapses)
            )
        yield Charge("products", n * ops["product"])
        yield Charge("folded products", n * ops["folded"])
        yield Charge("nonlinear functions", n * self.transcendental_macs * ops["transcendental"])
        # one that follows a product is part of that MAC
        yield Charge("additions", 0.0, n * max(0, ops["add"] - ops["product"] - ops["folded"]))
        yield Charge("selections", 0.0, n * ops["select"] * unit.own.rate)
        yield Charge("biases", 0.0, unit.biases)
        yield Charge("comparisons", 0.0, n * unit.compares)
        yield Charge("layer norm", 3.0 * unit.normed, 2.0 * unit.normed)


Rules = Yin2020 | Yin2021 | Bittar2022 | Measured
"""A rule set: called with a network and its activity, gives a `Count`."""


def _matrices(unit: Unit) -> tuple[Connections, ...]:
    return (unit.weight,) if unit.recurrent is None else (unit.weight, unit.recurrent)


def _item(unit: Unit, matrix: Connections, activity: Activity) -> str:
    """Name the item under which the products of a matrix are charged."""
    if unit.position or matrix is not unit.weight:
        return "synapses"
    return "event input" if activity.events else "analog input"


def _spikes(unit: Unit, matrix: Connections, spiking: bool, analog_input_mac: bool = False) -> bool:
    """Say whether the papers charge a matrix as AC: the first layer of a spiking network always,
    whatever its input.
    """
    if unit.position or matrix is not unit.weight:
        return matrix.source.events
    return spiking and (matrix.source.events or not analog_input_mac)


def _published(
    unit: Unit,
    parts: list[Unit],
    activity: Activity,
    own: Iterator[Charge],
    analog_input_mac: bool = False,
) -> LayerCount:
    """Return the count of Yin's rules: synapses at the one rate, and what the neurons themselves
    are charged.
    """
    spiking = any(unit.own.events for unit in parts)
    charges = []
    for c in _matrices(unit):
        what = _item(unit, c, activity)
        spikes = _spikes(unit, c, spiking, analog_input_mac)
        charges.append(
            Charge(what, 0.0, c.synapses * activity.network) if spikes else Charge(what, c.synapses)
        )
    return LayerCount.of(unit.name, unit.position, (*charges, *own))


def _traffic(unit: Unit) -> tuple[float, float]:
    """Return how many numbers a step reads from memory and writes to it."""
    n, states = unit.neurons, len(unit.states) * unit.neurons
    reads, writes = float(unit.biases + unit.constants + states + 2 * unit.normed), float(states)
    for c in _matrices(unit):
        reads += c.synapses * c.source.rate if c.source.events else c.synapses + c.inputs
    return reads, writes if unit.own.events else writes + n
