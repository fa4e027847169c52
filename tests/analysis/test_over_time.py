"""Any-time accuracy, activity, time constants, traces of single neurons, streams: the numbers are
right and are what is drawn.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import srnn
from srnn import analysis, init
from srnn._check import ConfigError, ShapeError
from srnn.activations import Relu


def texts(figure):
    from matplotlib.text import Text

    return [t.get_text() for t in figure.findobj(Text) if t.get_text()]


def network(seed=0):
    torch.manual_seed(seed)
    net = srnn.Stack(
        srnn.Layer(5, 8, srnn.ALIF()), srnn.Layer(8, 6, srnn.LIF()), srnn.Readout(6, 3)
    )
    with torch.no_grad():
        net.layers[0].weight.mul_(4)
        net.layers[1].weight.mul_(8)
    return net


def recorded(lengths=(20, 12, 0, 16)):
    x = (torch.rand(len(lengths), 20, 5, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    with torch.no_grad():
        return network()(x, lengths=torch.tensor(lengths), record=True).trace


def test_anytime_draws_mean_and_band_over_seeds():
    a = torch.tensor([[0.0, 0.4, 0.8, 0.8], [0.2, 0.6, 0.9, 0.9]])
    figure, numbers = analysis.anytime(
        {"net": a, "one": [0.5, 0.5]}, step_seconds=0.1, chance=0.25, title="t", simulated=True
    )
    assert numbers["net"]["mean"] == pytest.approx([0.1, 0.5, 0.85, 0.85])
    assert numbers["net"]["sd"] == pytest.approx((a[1] - a[0]).abs().div(2**0.5).tolist())
    assert (numbers["net"]["seeds"], numbers["net"]["settled_step"]) == (2, 3)
    assert (numbers["one"]["seeds"], numbers["one"]["settled_step"], numbers["one"]["sd"]) == (
        1,
        1,
        [None, None],
    )
    (axis,) = figure.axes
    net, one, chance = axis.lines
    assert net.get_ydata() == pytest.approx([10, 50, 85, 85])
    # milliseconds, at the end of each step
    assert net.get_xdata() == pytest.approx([100, 200, 300, 400])
    assert len(one.get_xdata()) == 2
    assert chance.get_ydata() == pytest.approx([25, 25])
    assert net.get_color() != one.get_color()
    assert net.get_linestyle() != one.get_linestyle()
    assert len(axis.collections) == 1, "a band for the curve of two seeds only"
    assert axis.get_xlabel() == "time (ms)"
    assert "%" in axis.get_ylabel()
    assert {"SIMULATED DATA", "t", "net (n = 2)", "one (n = 1)"} <= set(texts(figure))
    json.dumps(numbers, allow_nan=False)
    with pytest.raises(ConfigError, match="nothing to draw"):
        analysis.anytime({})
    with pytest.raises(
        ShapeError,
        match=r"the curve 'a' has shape \(1, 2, 3\); expected \(T,\) "
        r"or \(seeds, T\)",
    ):
        analysis.anytime({"a": np.zeros((1, 2, 3))})
    with pytest.raises(ConfigError, match="step_seconds is 0"):
        analysis.anytime({"a": [0.1]}, step_seconds=0)


def test_activity_counts_spikes_of_valid_steps():
    trace = recorded()
    figure, numbers = analysis.activity(trace, ["first", "second"], step_seconds=0.1)
    assert numbers["recordings_per_step"] == [3] * 12 + [2] * 4 + [1] * 4
    counted = 0
    for t in range(20):
        there = [b for b, length in enumerate([20, 12, 0, 16]) if t < length]
        for name, layer in (("first", 0), ("second", 1)):
            spikes = [float(trace.outputs[layer][b, t].sum()) for b in there]
            counted += sum(spikes)
            assert numbers["probability"][name][t] == pytest.approx(
                np.mean(spikes) / trace.outputs[layer].shape[2]
            )
    assert counted > 50
    assert counted == trace.spikes()
    assert numbers["sops_per_sample"] == counted / 4
    assert numbers["sops_per_step"] == counted / 48
    assert sum(numbers["spikes_per_recording"]) == counted
    assert numbers["spikes_per_recording"][2] == 0
    weighted = sum(
        s * n
        for s, n in zip(numbers["spikes_per_step"], numbers["recordings_per_step"], strict=True)
    )
    assert weighted == pytest.approx(counted)
    left, middle, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["first", "second"]
    assert left.lines[1].get_ydata() == pytest.approx(numbers["probability"]["second"])
    assert middle.lines[0].get_ydata() == pytest.approx(numbers["spikes_per_step"])
    assert sum(p.get_height() for p in right.patches) == 4
    assert left.get_xlabel() == "time (s)"


def test_activity_of_steps_that_no_recording_has_is_undefined():
    _, numbers = analysis.activity(recorded((3, 5)))
    assert numbers["spikes_per_step"][5:] == [None] * 15
    assert None not in numbers["spikes_per_step"][:5]
    assert list(numbers["probability"]) == ["layer 1", "layer 2"]
    json.dumps(numbers, allow_nan=False)
    trace = recorded()
    with pytest.raises(ShapeError, match="1 names for 2 spiking layers"):
        analysis.activity(trace, ["one"])
    net = srnn.Stack(srnn.Layer(5, 4, srnn.ALIF(), Relu()), srnn.Readout(4, 2))
    with pytest.raises(ConfigError, match="no layer of this network spikes"):
        analysis.activity(net(torch.zeros(1, 3, 5), record=True).trace)


def test_time_constants_come_from_networks_state_dictionaries_and_checkpoints():
    before, after = network(), network()
    with torch.no_grad():
        after.layers[0].constants.tau_m += torch.arange(8.0)
        after.layers[1].constants.tau_m -= 3
    figure, numbers = analysis.time_constants(before, after)
    checkpoint = {f"net.{k}": v for k, v in after.state_dict().items()} | {
        "optimiser.0.step": torch.zeros(())
    }
    for other in (after.state_dict(), checkpoint):
        assert analysis.time_constants(before.state_dict(), other)[1] == numbers
    assert {k: sorted(v) for k, v in numbers.items()} == {
        "layers.0": ["tau_adp", "tau_m"],
        "layers.1": ["tau_m"],
        "layers.2": ["tau_m"],
    }
    assert numbers["layers.0"]["tau_m"]["before"] == pytest.approx(
        before.layers[0].constants.tau_m.tolist()
    )
    assert numbers["layers.0"]["tau_m"]["after"] == pytest.approx(
        after.layers[0].constants.tau_m.tolist()
    )
    assert numbers["layers.0"]["tau_m"]["moved"] == pytest.approx(3.5, rel=1e-5)
    assert numbers["layers.1"]["tau_m"]["moved"] == pytest.approx(3, rel=1e-5)
    assert numbers["layers.0"]["tau_adp"]["moved"] == 0
    drawn = [axis for axis in figure.axes if axis.axison]
    assert [(axis.get_title(loc="left"), axis.get_xlabel()) for axis in drawn] == [
        ("layers.0", "tau_m (steps)"),
        ("layers.0", "tau_adp (steps)"),
        ("layers.1", "tau_m (steps)"),
        ("layers.2", "tau_m (steps)"),
    ]
    # all neurons are in the histogram before
    assert sum(p.get_height() for p in drawn[0].patches if hasattr(p, "get_height")) == 8
    figure, _ = analysis.time_constants(before, after, step_seconds=0.004)
    low, high = figure.axes[0].get_xlim()
    values = [
        4 * v
        for v in (*numbers["layers.0"]["tau_m"]["before"], *numbers["layers.0"]["tau_m"]["after"])
    ]
    assert low < min(values) < max(values) < high
    assert figure.axes[0].get_xlabel() == "tau_m (ms)"


def test_time_constants_that_are_shared_or_bounded_or_missing():
    net = srnn.Stack(
        srnn.Layer(
            2,
            3,
            srnn.ALIF(
                tau_m=init.Constant(9.0, shared=True), tau_adp=init.Normal(20.0, 5.0, low=1.0)
            ),
        )
    )
    with torch.no_grad():
        net.layers[0].constants.tau_adp[:] = torch.tensor([-4.0, 5.0, 6.0])
    _, numbers = analysis.time_constants(net, net)
    assert numbers["layers.0"]["tau_m"]["before"] == [9.0]
    assert numbers["layers.0"]["tau_adp"]["after"] == [1.0, 5.0, 6.0]  # as the network uses it
    # as stored
    assert analysis.time_constants(net.state_dict(), net.state_dict())[1]["layers.0"]["tau_adp"][
        "after"
    ] == [-4.0, 5.0, 6.0]
    _, numbers = analysis.time_constants(net, net, chosen=lambda name: name == "beta")
    assert list(numbers["layers.0"]) == ["beta"]
    with pytest.raises(
        ShapeError,
        match=r"differ in layers\.0\.tau_adp, layers\.0\.tau_m, layers\.1\.tau_m, "
        r"layers\.2\.tau_m; expected two of the same",
    ):
        analysis.time_constants(net, network())
    with pytest.raises(ConfigError, match="no constant of these networks is chosen"):
        analysis.time_constants(net, net, chosen=lambda name: False)


def current(steps=120):
    I = torch.zeros(steps, dtype=torch.float64)
    I[10:90] = torch.linspace(0.5, 3, 80)
    return I


@pytest.mark.parametrize(
    "neuron",
    [
        srnn.LIF(tau_m=20.0),
        srnn.ALIF(tau_m=20.0, tau_adp=100.0),
        srnn.AdLIF(),
        srnn.Izhikevich(),
        srnn.AdEx(),
        srnn.SoftLIF(),
    ],
    ids=lambda n: type(n).__name__,
)
def test_a_recorded_neuron_does_what_a_layer_of_one_does(neuron):
    torch.manual_seed(3)
    traces = analysis.record_neuron(neuron, current())
    layer = srnn.Layer(
        1,
        1,
        neuron,
        recurrent=False,
        bias=False,
        dtype=torch.float64,
        weight_init=lambda w: w.fill_(1.0),
    )
    torch.manual_seed(3)  # the same random constants
    drawn = {
        k: (v.tensor() if isinstance(v, init.Fixed) else v).double()
        for k, v in neuron.init(1).items()
    }
    with torch.no_grad():
        for name, value in drawn.items():
            getattr(layer.constants, name).copy_(value)
        out = layer(current().view(1, -1, 1), potential=True, backend="reference")
    assert torch.equal(traces["spikes"], out.output.view(-1))
    assert traces["spikes"].sum() >= 3
    assert set(traces) == {"current", "spikes", "threshold", *neuron.states}
    for name, final in out.state.items():
        assert float(traces["spikes" if name == "s" else name][-1]) == float(final)
    assert torch.equal(traces["u"] > traces["threshold"], traces["spikes"] > 0), (
        "a spike is where the potential crosses the threshold"
    )
    assert torch.equal(traces["current"], current())


def test_threshold_and_adaptation_of_an_alif_follow_its_equations():
    traces = analysis.record_neuron(
        srnn.ALIF(tau_m=20.0, tau_adp=100.0, b0=0.2, beta=1.8), current()
    )
    rho, eta, s = np.exp(-1 / 100), 0.0, 0.0
    for t in range(120):
        eta = rho * eta + (1 - rho) * s
        assert float(traces["eta"][t]) == pytest.approx(eta, rel=1e-6, abs=1e-12)
        assert float(traces["threshold"][t]) == pytest.approx(0.2 + 1.8 * eta, rel=1e-6)
        s = float(traces["spikes"][t])
    assert eta > 0


def test_neurons_are_drawn_side_by_side():
    neurons = {
        "LIF": srnn.LIF(tau_m=20.0, threshold=0.3),
        "ALIF": srnn.ALIF(tau_m=20.0, tau_adp=100.0),
    }
    figure, numbers = analysis.neuron_traces(neurons, current(), step_seconds=1e-3, title="t")
    axes = np.array(figure.axes).reshape(4, 2)
    for k, name in enumerate(neurons):
        spikes = int(sum(numbers[name]["spikes"]))
        assert axes[0, k].get_title(loc="left") == f"{name}: {spikes} spikes"
        assert axes[0, k].lines[0].get_ydata() == pytest.approx(current().numpy())
        assert len(axes[1, k].collections[0].get_segments()) == spikes > 3
        assert [line.get_label() for line in axes[2, k].lines] == ["potential u", "threshold"]
        assert axes[2, k].lines[0].get_ydata() == pytest.approx(numbers[name]["u"])
        assert axes[3, k].get_xlabel() == "time (ms)"
    assert axes[3, 1].lines[0].get_ydata() == pytest.approx(numbers["ALIF"]["eta"])
    assert len(axes[3, 0].lines) == 0
    assert axes[2, 0].get_ylim() == axes[2, 1].get_ylim()
    json.dumps(numbers, allow_nan=False)
    alone, _ = analysis.neuron_traces({"LIF": neurons["LIF"]}, current())
    assert len(alone.axes) == 3
    assert alone.axes[2].get_xlabel() == "step"
    with pytest.raises(
        ConfigError, match="LSTM has 4 gates; expected a neuron with one input current"
    ):
        analysis.record_neuron(srnn.cells.LSTM(), current())
    with pytest.raises(ShapeError, match=r"current has shape \(2, 2\); expected \(T,\)"):
        analysis.record_neuron(srnn.LIF(), torch.zeros(2, 2))


def test_a_stream_is_decoded_late_and_then_right():
    labels = [0] * 10 + [-1] * 5 + [1] * 10 + [2] * 5
    decoded = [1, 1, *[0] * 8, *[0] * 5, *[0] * 3, *[1] * 7, *[0] * 5]
    scores = np.eye(3)[decoded] * 0.8 + 0.1
    events = np.zeros((30, 4))
    events[[3, 4, 20], [0, 1, 3]] = [1, -1, 1]
    figure, numbers = analysis.streaming(
        events, labels, torch.tensor(scores), "abc", step_seconds=0.1, simulated=True
    )
    assert numbers["decoded"] == decoded
    assert [s["late"] for s in numbers["stretches"]] == [2, 3, None]
    assert [(s["label"], s["first"], s["steps"]) for s in numbers["stretches"]] == [
        (0, 0, 10),
        (1, 15, 10),
        (2, 25, 5),
    ]
    assert numbers["accuracy"] == pytest.approx(15 / 25)
    assert numbers["correct"].count(None) == 5
    top, true, strip, wrong, below = figure.axes
    assert len(top.collections[0].get_offsets()) == 3
    # unlabelled steps are white
    assert [len(axis.patches) for axis in (true, strip, wrong)] == [3, 4, 3]
    assert sum(p.get_width() for p in wrong.patches) == pytest.approx(1.0)  # ten steps of 0.1 s
    assert [line.get_label() for line in below.lines] == list("abc")
    assert below.lines[1].get_ydata() == pytest.approx(scores[:, 1])
    assert below.get_xlim() == pytest.approx((0, 3))
    assert "SIMULATED DATA" in texts(figure)
    json.dumps(numbers, allow_nan=False)
    figure, numbers = analysis.streaming(
        np.sin(np.arange(60)).reshape(30, 2), [-1] * 30, scores, "abc"
    )
    assert len(figure.axes[0].lines) == 2
    assert (numbers["accuracy"], numbers["stretches"]) == (None, [])
    with pytest.raises(ShapeError, match="signal has 30 steps, labels 29, scores 30"):
        analysis.streaming(events, labels[:-1], scores, "abc")
    with pytest.raises(ShapeError, match="scores of 3 classes and labels up to 2 for 2 classes"):
        analysis.streaming(events, labels, scores, "ab")
