"""Compression as a setting of a task: what it builds, what it refuses, and what it leaves as it
was.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from srnn import compress, energy, tasks
from srnn._check import ConfigError
from srnn.nn.networks import single_layers
from srnn.papers.jobs import _moved, key
from srnn.tasks.compression import Compression
from srnn.tasks.settings import describe, differences, listed, override, rebuild
from srnn.training.runs import Run

ECG = tasks.load("ecg_sim")
SMALL = ["network.hidden=[6]", "epochs=4"]


def compressed(*settings):
    return override(
        ECG, [*SMALL, "compression=Compression", *(f"compression.{s}" for s in settings)]
    )


def test_a_task_without_it_is_what_it_always_was():
    """The folders of runs of the papers' tables are named after their tasks; those of before know
    no compression.
    """
    assert ECG.compression is None
    assert all("compression" not in _moved(tasks.load(name)) for name in ("ecg", "shd", "smnist"))
    old = {name: value for name, value in describe(ECG).items() if name != "compression"}
    assert differences(old, describe(ECG)) == []
    assert rebuild(ECG, old) == ECG


def test_it_is_a_setting_like_any_other():
    task = compressed("bits=8", "sparsity=0.5", "steps=3", "scope=layer", "structured=0.25")
    assert task.compression == Compression(8, 0.5, "layer", 3, 0.25)
    assert rebuild(ECG, json.loads(json.dumps(describe(task)))) == task
    assert key(task) != key(override(ECG, SMALL))
    assert override(task, ["compression=null"]).compression is None
    rows = {path: value for path, value, _ in listed(task)}
    assert (rows["compression"], rows["compression.bits"], rows["compression.steps"]) == (
        "Compression",
        "8",
        "3",
    )
    assert ("compression", "null", "Compression | null") in listed(ECG)


def test_the_network_is_built_in_the_shape_of_its_checkpoints():
    net = compressed("bits=8", "sparsity=0.5", "structured=0.5").build()
    assert [part.outputs for part in net.parts()] == [3, 6]
    assert {layer.bits for layer in single_layers(net)} == {8}
    masks = {name: t for name, t in net.state_dict().items() if name.endswith("_mask")}
    assert sorted(masks) == [
        "layers.0.recurrent_mask",
        "layers.0.weight_mask",
        "layers.1.weight_mask",
    ]
    assert all(bool(t.all()) for t in masks.values()), "which connections go is a matter of weights"
    torch.manual_seed(3)
    a = compressed("bits=4").build().state_dict()
    torch.manual_seed(3)
    b = override(ECG, SMALL).build().state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_connections_go_at_the_start_of_an_epoch_and_for_good():
    net = compressed("sparsity=0.8", "steps=3").build()
    entries, left, before = compress.size(net).entries, [], []
    for epoch in range(5):
        Compression(sparsity=0.8, steps=3).prune(net, epoch)
        masks = [
            m.clone()
            for layer in single_layers(net)
            for m in (layer.weight_mask, layer.recurrent_mask)
            if m is not None
        ]
        assert not any(
            bool((now & ~was).any()) for now, was in zip(masks, before or masks, strict=True)
        )
        before = masks
        left.append(sum(int(m.sum()) for m in masks))
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(torch.randn_like(p))
    assert (
        left
        == [round((1 - compress.gradual(0.8, k, 3)) * entries) for k in range(3)] + [left[2]] * 2
    )
    settled = [Compression(sparsity=0.8, steps=3).settled(k) for k in range(6)]
    assert settled == [False] * 4 + [True] * 2
    assert Compression(sparsity=0.8).settled(1)
    assert not Compression(bits=4, steps=3).settled(1), (
        "a network that gets quieter is not there yet"
    )


def test_what_an_operation_costs_follows_the_bits():
    assert [Compression(bits=b).process for b in (None, 2, 8, 9)] == [
        None,
        energy.INT8,
        energy.INT8,
        None,
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bits": 1}, r"compression\.bits is 1; expected a whole number from 2 to 16"),
        ({"sparsity": -0.1}, r"compression\.sparsity is -0\.1"),
        ({"sparsity": 1.0}, r"compression\.sparsity is 1: nothing would be left"),
        ({"structured": 1.0}, r"compression\.structured is 1: nothing would be left"),
        ({"steps": 0}, r"compression\.steps is 0"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Compression(**settings)


def test_epochs_fit_the_steps():
    with pytest.raises(ConfigError, match=r"compression\.steps is 5, with 4 epochs"):
        compressed("steps=5")
    with pytest.raises(ConfigError, match="epochs is 0; expected a number of at least 1"):
        override(ECG, ["epochs=0"])
    assert replace(compressed("bits=8"), epochs=0).epochs == 0
    with pytest.raises(ConfigError, match=r"compression\.steps is 2, with 0 epochs"):
        replace(compressed("sparsity=0.5", "steps=2"), epochs=0)


def test_a_network_that_starts_sparse_and_of_few_bits_trains(tmp_path):
    """Without `srnn compress`: fixed, small from the first step; the run folder gives it back."""
    from srnn.training.runs import load_run
    from srnn.training.train import fit

    data = [
        "data.train=8",
        "data.validation=4",
        "data.test=4",
        "data.steps=24",
        "batch=4",
        "epochs=2",
    ]
    task = override(compressed("bits=4", "sparsity=0.5", "structured=0.5"), data)
    metrics = fit(task, tmp_path / "run")
    assert not Run(tmp_path / "run").checkpoint("start").exists()
    _, again, _, net = load_run(tmp_path / "run")
    assert again == task
    assert compress.size(net).connections == round(0.5 * (4 * 3 + 3 * 3 + 3 * 6))
    # weights; biases of both, twice of the first; time constants of both, adaptation of the second
    used = 20 + 3 + 3 + 6 + 3 + 6 + 6
    assert metrics["parameters"] <= used
    assert metrics["parameters"] + metrics["parameters_unused"] == sum(
        p.numel() for p in net.parameters()
    )
    with pytest.raises(ConfigError, match="epochs is 0 without weights to start from"):
        fit(replace(task, epochs=0), tmp_path / "none")
    assert not (tmp_path / "none").exists()
