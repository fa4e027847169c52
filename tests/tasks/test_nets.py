"""The networks a task can take: every one of them builds, trains a step, and every choice changes
what it says it changes.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence

import pytest
import torch

from srnn import Layer, Stack, init, tasks
from srnn._check import ConfigError
from srnn.activations import Relu
from srnn.datasets import Sample
from srnn.datasets.split import split_fold
from srnn.neurons import ALIF, LIF, SparchAdLIF, SparchLIF, ThresholdLIF, YinLIF
from srnn.nn.networks import count_parameters
from srnn.surrogates import Gaussian, MultiGaussian, SLayer
from srnn.tasks.baseline_nets import Cell, CellNetwork, ConvNetwork, TandemNetwork
from srnn.tasks.nets import AdaptiveNetwork, CurrentNetwork
from srnn.tasks.settings import override
from srnn.tasks.task import collate

CELLS = typing.get_args(Cell)


def check(net: Stack, inputs: int = 6, classes: int = 3) -> None:
    """One step of training: every parameter gets a finite gradient; each recording is as it is
    alone.
    """
    x, lengths = torch.bernoulli(torch.full((4, 12, inputs), 0.3)), torch.tensor([12, 3, 5, 12])
    out = net(x, lengths)
    assert out.potential.shape == (4, 12, classes)
    out.potential.sum().backward()
    assert all(
        p.grad is not None and bool(torch.isfinite(p.grad).all())
        for p in net.parameters()
        if p.requires_grad
    )
    net.eval()
    whole = net(x, lengths).potential
    for k, end in enumerate(lengths.tolist()):
        torch.testing.assert_close(
            whole[k, :end], net(x[k : k + 1, :end]).potential[0], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("readout", ["linear", "cumulative", "own"])
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_with_every_read_out(cell, readout):
    torch.manual_seed(0)
    for more in ({}, {"norm": "batch", "weights": "bittar", "dropout": 0.1}):
        check(CellNetwork(cell, (8, 5), readout=readout, **more).build(6, 3))


def test_every_cell_is_listed():
    assert len(CELLS) == 11


def test_the_published_bidirectional_lstm():
    net = CellNetwork("LSTM", (120, 40), bidirectional=True, merge="mean", head=(100, 20)).build(
        4, 6
    )
    assert [(p.inputs, p.outputs) for p in net.parts()] == [
        (4, 120),
        (120, 40),
        (40, 100),
        (100, 20),
        (20, 6),
    ]
    assert 4 + sum(p.outputs for p in net.parts()) == 290
    check(net, 4, 6)


@pytest.mark.parametrize(
    "net",
    [TandemNetwork((8, 8)), ConvNetwork((5, 7)), ConvNetwork((5,), norm=None, dropout=0.2)],
    ids=repr,
)
def test_tandem_and_convolutions(net):
    torch.manual_seed(1)
    check(net.build(6, 3))


def layers(net: Stack) -> Sequence[Layer]:
    return [part for part in net.parts() if isinstance(part, Layer)]


def ecg(*settings: str) -> Stack:
    return override(tasks.load("ecg"), settings).build()


def test_neurons_of_the_adaptive_network():
    assert [type(p.neuron) for p in layers(ecg("network.neuron=LIF"))] == [LIF, LIF]
    assert [type(p.neuron) for p in layers(ecg("network.neuron=YinLIF"))] == [YinLIF, YinLIF]
    assert [
        float(p.neuron.threshold) for p in layers(ecg("network.neuron=LIF", "network.b0=0.25"))
    ] == [0.25, 0.25]
    shipped, described = layers(ecg()), layers(ecg("network.beta=1.8"))
    assert [p.neuron.beta for p in shipped] == [0.0, 1.8]
    assert [p.neuron.beta for p in described] == [1.8, 1.8]
    assert [type(p.activation) for p in layers(ecg("network.activation=relu"))] == [Relu, Relu]
    with pytest.raises(ConfigError, match="LIF resets by"):
        AdaptiveNetwork(neuron="LIF", activation="relu")


def test_which_constants_are_trained():
    def names(*settings: str) -> set[str]:
        named = ecg(*settings).named_parameters()
        return {n.rsplit(".", 1)[1] for n, _ in named if "constants" in n}

    assert names() == {"tau_m", "tau_adp"}
    assert names("network.trained=[tau_m]") == {"tau_m"}
    assert names("network.trained=[]") == set()
    shared = ecg("network.shared=true")
    assert {tuple(p.shape) for n, p in shared.named_parameters() if "constants" in n} == {()}
    # τ_adp of the hidden layer is read by nothing
    assert count_parameters(shared)[0] == count_parameters(ecg())[0] - (36 - 1) - 2 * (6 - 1)


def test_surrogates():
    assert layers(ecg())[0].activation.surrogate == MultiGaussian()
    assert layers(ecg("network.surrogate.h=0.3"))[1].activation.surrogate == MultiGaussian(h=0.3)
    assert layers(ecg("network.surrogate=SLayer", "network.surrogate.slope=2"))[
        0
    ].activation.surrogate == SLayer(slope=2)
    net = override(
        tasks.load("fsdd_spikes"),
        ["network=CurrentNetwork", "network.surrogate=Gaussian", "optimiser=Optimiser"],
    ).network.build(6, 3)
    assert layers(net)[0].activation.surrogate == Gaussian()


def test_a_part_of_the_neurons_adapts():
    net = AdaptiveNetwork((40,), (True,), adaptive=0.25, trained=()).build(6, 3)
    beta = layers(net)[0].constants.beta
    assert beta.shape == (40,)
    assert sorted(beta.tolist())[-11:] == pytest.approx([0.0] + [1.8] * 10)
    assert not [n for n, _ in net.named_parameters() if "constants" in n]
    assert isinstance(layers(net)[0].neuron, ALIF)
    check(net)


@pytest.mark.parametrize(
    ("sparse", "weights", "recurrent"), [("first", [48, 0], [8, 8]), ("hidden", [48, 32], [32, 32])]
)
def test_sparse_connectivity(sparse, weights, recurrent):
    """Of 12·8 and 8·8 connections upwards and 8·8 within a layer, half; the diagonal of R is off in
    any case.
    """
    net = CurrentNetwork("RadLIF", 8, sparsity=0.5, sparse=sparse).build(12, 3)
    hidden = layers(net)[:2]
    assert [
        0 if layer.weight_mask is None else int((~layer.weight_mask).sum()) for layer in hidden
    ] == weights
    assert all(
        int((~layer.recurrent_mask).sum()) >= off
        for layer, off in zip(hidden, recurrent, strict=True)
    )
    assert layers(net)[2].weight_mask is None
    check(net, 12)


def test_constants_of_the_current_network():
    fixed = CurrentNetwork("adLIF", 8, constants="fixed").build(6, 3)
    assert not [n for n, _ in fixed.named_parameters() if "constants" in n]
    one = CurrentNetwork("adLIF", 8, heterogeneous=False).build(6, 3)
    values = {n: p for n, p in one.named_parameters() if n.startswith("layers.0.constants")}
    assert {tuple(p.shape) for p in values.values()} == {()}
    assert float(values["layers.0.constants.b"].detach()) == pytest.approx(1.0)
    for net in (fixed, one):
        check(net)


def test_where_the_adaptation_acts():
    assert isinstance(layers(CurrentNetwork("RadLIF", 8).build(6, 3))[0].neuron, SparchAdLIF)
    assert isinstance(
        layers(CurrentNetwork("RadLIF", 8, adaptation="threshold").build(6, 3))[0].neuron,
        ThresholdLIF,
    )
    assert isinstance(
        layers(CurrentNetwork("RLIF", 8, adaptation="threshold").build(6, 3))[0].neuron, SparchLIF
    )
    spiking = CurrentNetwork("adLIF", 8, output="spiking").build(6, 3)
    assert spiking.parts()[-1].emits.binary
    for neuron in ("LIF", "adLIF", "RLIF", "RadLIF"):
        for form in ("sparch", "paper"):
            check(CurrentNetwork(neuron, 8, form=form, adaptation="threshold").build(6, 3))


def test_homogeneous_starts_are_in_the_middle_and_not_clamped():
    neuron = layers(CurrentNetwork("adLIF", 8, heterogeneous=False).build(6, 3))[0].neuron
    assert neuron.a == init.Uniform(0.0, 0.0, shared=True)


# ── folds ─────────────────────────────────────────────────────────────────────────────────────────


def recordings(groups: Sequence[str]) -> list[Sample]:
    return [
        Sample(torch.zeros(2, 1).numpy(), k % 3, 1.0, name=f"r{k}", group=group)
        for k, group in enumerate(groups)
    ]


@pytest.mark.parametrize(
    "groups", [[""] * 20, [f"g{k % 7}" for k in range(20)]], ids=["single", "groups"]
)
def test_folds_are_disjoint_and_whole(groups):
    samples, n = recordings(groups), 3
    folds = [split_fold(samples, k, n) for k in range(n)]
    names = [{s.name for s in part} for _, part in folds]
    assert sum(len(x) for x in names) == len(samples)
    assert set().union(*names) == {s.name for s in samples}
    for (rest, part), own in zip(folds, names, strict=True):
        assert {s.name for s in rest} == {s.name for s in samples} - own
        assert not ({s.group for s in rest} & {s.group for s in part}) - {""}
        assert abs(len(part) - len(samples) / n) <= 2


def test_too_few_groups_for_the_folds():
    with pytest.raises(ConfigError, match="1 groups of recordings for 3 folds"):
        split_fold(recordings(["a"] * 5), 0, 3)


def test_a_task_in_folds():
    base = override(
        tasks.load("ecg_sim"), ["data.train=8", "data.validation=4", "data.test=4", "data.steps=24"]
    )
    whole, seen = base.load(None), []
    for k in range(3):
        parts = override(base, [f"fold=[{k},3]"]).load(None)
        assert len(parts.train) + len(parts.validation) == 12
        assert f"Fold {k + 1} of 3" in parts.note
        assert [s.name for s in parts.test] == [s.name for s in whole.test]
        seen += [s.name for s in parts.validation]
        collate(parts.validation)
    assert sorted(seen) == sorted(s.name for s in [*whole.train, *whole.validation])
    for setting, message in (("fold=[3,3]", "fold: k is 3"), ("fold=[0,1]", "fold: n is 1")):
        with pytest.raises(ConfigError, match=message):
            override(base, [setting])
    with pytest.raises(ConfigError, match="fold carves a validation part"):
        override(base, ["fold=[0,3]", "refit=true"])
