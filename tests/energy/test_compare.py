"""Why counts differ, one network beside another, the dense LSTM beside it."""

from __future__ import annotations

import pytest

from srnn import Bidirectional, Layer, Mean, Readout, Stack, cells, energy, init
from srnn._check import ConfigError
from srnn.activations import Identity, Relu, Spike
from srnn.energy import Activity, Comparison, Measured, Process, Yin2021
from srnn.neurons import ALIF, YinLIF
from srnn.nn.networks import single_layers

ANY = {"weight_init": init.Zeros(), "recurrent_init": init.Zeros()}


def alif(inputs: int, neurons: int, twin: bool = False, recurrent: bool = True) -> Layer:
    return Layer(inputs, neurons, ALIF(), Relu() if twin else Spike(), recurrent=recurrent, **ANY)


def soli(twin: bool) -> Stack:
    return Stack(
        alif(1024, 512, twin, recurrent=False), alif(512, 512, twin), Readout(512, 11, **ANY)
    )


def test_the_advantage_on_soli_is_that_of_an_input_that_nobody_paid_for():
    """Published: 238 times less than the ReLU twin.

    With the analog input charged, at the published rate: 2 times.
    """
    rate = 42467 / 1054208  # what the published energy implies
    ours, twin = soli(False), soli(True)
    activity = Activity.assumed(ours, rate, events=False)
    published = [energy.count(net, activity, Yin2021()).energy for net in (twin, ours)]
    honest = [energy.count(net, activity).energy for net in (twin, ours)]
    assert published[1] == pytest.approx(13804, abs=0.1)
    assert published[0] / published[1] == pytest.approx(237.9, abs=0.05)
    assert honest[0] / honest[1] == pytest.approx(2.0, abs=0.03)
    a, b = energy.count(ours, activity, Yin2021()), energy.count(ours, activity)
    (first, share), *_ = energy.reasons(a, b).items()
    assert first == "the analog input"
    assert share == pytest.approx(524288 * (3.1 - 0.1 * rate))
    assert "the analog input +1623180.8 pJ (99.8 %), folded products" in energy.explain(a, b)


def test_reasons_by_hand():
    """One layer of two neurons and a read-out.

    The network's rate is 0.25, the input's 0.5, the layer's own 0.125.
    """
    net = Stack(Layer(2, 2, YinLIF(0.5, 0.5), **ANY), Readout(2, 1, **ANY))
    activity = Activity(0.5, True, (0.125, 0.0), 0.25)
    published, measured = energy.count(net, activity, Yin2021()), energy.count(net, activity)
    found = energy.reasons(published, measured)
    assert found == {
        "folded products": pytest.approx(3.1),  # (1 - α) I of the read-out
        "biases": pytest.approx(0.1 * 3),
        "additions": pytest.approx(0.1 * 2),
        "comparisons": pytest.approx(0.1 * 2),
        "the input's own rate": pytest.approx(0.1 * 4 * (0.5 - 0.25)),
        "one rate for all": pytest.approx(0.1 * (4 + 2) * (0.125 - 0.25)),
        "selections": pytest.approx(0.1 * 2 * 0.125),
    }
    assert next(iter(found)) == "folded products"
    assert [abs(v) for v in found.values()] == sorted(
        (abs(v) for v in found.values()), reverse=True
    )
    assert sum(found.values()) == pytest.approx(measured.energy - published.energy)
    assert "one rate for all -0.1 pJ" in energy.explain(published, measured)


def test_reasons_of_memory_and_of_nothing():
    net = Stack(alif(3, 4), Readout(4, 2, **ANY))
    activity = Activity.assumed(net, 0.2)
    bare, stored = (
        energy.count(net, activity),
        energy.count(net, activity, Measured(memory=energy.MEMORIES["dram"])),
    )
    assert energy.reasons(bare, stored) == {"memory traffic": stored.traffic}
    assert stored.traffic == pytest.approx(650 * stored.accesses)
    assert stored.accesses > 0
    assert energy.reasons(bare, bare) == {}
    assert energy.explain(bare, bare) == (
        "measured is +0.0 pJ from measured, 1 times: every item is the same."
    )
    nothing = energy.Count("none", (), Process())
    assert energy.explain(nothing, nothing) == "none is +0.0 pJ from none: every item is the same."


@pytest.mark.parametrize(
    "rules", energy.counts(Stack(alif(3, 4)), Activity(0.1, True, (0.1,), 0.1))
)
def test_items_add_up(rules):
    net = Stack(alif(3, 4), Layer(4, 5, cells.LiGRU(), Identity(), **ANY), Readout(5, 2, **ANY))
    for events in (True, False):
        count = energy.counts(net, Activity(0.3, events, (0.2, 0.1, 0.0), 0.2))[rules]
        items = count.items().values()
        assert (sum(c.mac for c in items), sum(c.ac for c in items)) == (
            pytest.approx(count.mac),
            pytest.approx(count.ac),
        )
        assert count.mac + count.ac > 0


def test_energy_ratio_error_ratio_efficiency():
    """Half the error at a tenth of the energy: twenty times as efficient."""
    pair = Comparison(energy=325.7, other_energy=3257.0, error=0.1, other_error=0.2)
    assert (pair.energy_ratio, pair.error_ratio, pair.efficiency) == (
        pytest.approx(10),
        pytest.approx(2),
        pytest.approx(20),
    )
    with pytest.raises(ConfigError, match="Comparison: error is 0"):
        Comparison(1.0, 1.0, 0.0, 0.1)


def test_the_lstm_beside_a_network():
    """As many units in every hidden layer, and a linear read-out; 8 bits; every
    connection a MAC.
    """
    net = Stack(alif(700, 128), alif(128, 64), Readout(64, 20, **ANY))
    lstm = energy.dense_lstm(net)
    assert [
        (layer.inputs, layer.neurons, type(layer.neuron).__name__) for layer in single_layers(lstm)
    ] == [
        (700, 128, "LSTM"),
        (128, 64, "LSTM"),
        (64, 20, "Dense"),
    ]
    found = energy.lstm_counts(net)
    synapses = 4 * (700 * 128 + 128 * 128 + 128 * 64 + 64 * 64) + 64 * 20
    assert found["yin2021"].mac == synapses + 17 * (128 + 64)
    assert found["measured"].mac == synapses + (3 + 5 * 8) * (128 + 64)
    assert found["measured"].ac == 4 * (128 + 64) + 20  # biases
    assert found["yin2021"].energy == pytest.approx(0.23 * found["yin2021"].mac)
    stored = energy.lstm_counts(net, energy.INT32, energy.MEMORIES["sram1m"])["measured"]
    assert stored.energy == pytest.approx(3.2 * stored.mac + 0.1 * stored.ac + 50 * stored.accesses)
    assert stored.accesses > synapses


def test_the_lstm_beside_a_network_in_two_directions_and_one_of_one_layer():
    both = energy.dense_lstm(Stack(Bidirectional(alif(5, 7), merge=Mean()), Readout(7, 2, **ANY)))
    assert [type(part).__name__ for part in both.parts()] == ["Bidirectional", "Readout"]
    assert (both.inputs, both.outputs, len(single_layers(both))) == (5, 2, 3)
    (one,) = energy.dense_lstm(Stack(alif(5, 7))).parts()
    assert (one.inputs, one.outputs, type(one.neuron)) == (5, 7, cells.LSTM)
