"""The published networks and numbers: parameters, operations, variants; and every task on made-up
data in its true format.
"""

from __future__ import annotations

import pytest

from srnn import energy, tasks
from srnn._check import ConfigError
from srnn.cli.commands.check import check
from srnn.nn.networks import count_parameters
from srnn.tasks.baseline_nets import CellNetwork
from srnn.tasks.nets import AdaptiveNetwork, CurrentNetwork
from srnn.tasks.settings import override, varied

ALL = (
    "ecg",
    "ecg_sim",
    "fsdd",
    "fsdd_spikes",
    "gsc",
    "hd",
    "my",
    "psmnist",
    "sc",
    "shd",
    "smnist",
    "soli",
    "ssc",
    "timit",
)
PARAMETERS = {
    "ecg": (1818, 0),
    "gsc": (221_725, 1),
    "psmnist": (156_446, 0),
    "shd": (142_396, 20),
    "smnist": (156_702, 0),
    "ssc": (777_305, 35),
}
"""Published numbers, and how many of them we do not have since nothing reads them."""


def test_every_task_is_here():
    assert tasks.names() == ALL


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_parameters(name):
    task = tasks.load(name)
    (published,) = [p for p in task.published if p.what == "parameters"]
    assert (published.value, published.unused) == PARAMETERS[name]
    used, unused = count_parameters(task.build())
    assert used + unused + published.unused == published.value
    assert unused == (36 if name == "ecg" else 0)


def test_which_tasks_have_published_parameters():
    assert {n for n in ALL if any(p.what == "parameters" for p in tasks.load(n).published)} == set(
        PARAMETERS
    )


# Bittar & Garner 2022: channels, classes, hidden, and for each neuron what the paper counts
# (biases, no norm) and what its code has (norm, no biases)
TABLE = {
    ("SHD", 700, 20, 128): {
        "LIF": (109_096, 109_372),
        "adLIF": (109_864, 110_140),
        "RLIF": (141_864, 142_140),
        "RadLIF": (142_632, 142_908),
    },
    ("SHD", 700, 20, 1024): {"RadLIF": (3_893_288, 3_895_356)},
    ("SSC", 700, 35, 512): {"RLIF": (1_164_870, 1_165_929), "RadLIF": (1_167_942, 1_169_001)},
    ("HD", 40, 20, 128): {"LIF": (24_616, 24_892), "RLIF": (57_384, 57_660)},
    ("SC", 40, 35, 512): {"adLIF": (305_734, 306_793), "RadLIF": (830_022, 831_081)},
}


def test_parameters_of_bittar_and_garner():
    compared = 0
    for (_, channels, classes, hidden), rows in TABLE.items():
        for neuron, (paper, code) in rows.items():
            for network, wanted in (
                (CurrentNetwork(neuron, hidden, norm=None, bias=True), paper),
                (CurrentNetwork(neuron, hidden), code),
            ):
                net = network.build(channels, classes)
                assert sum(p.numel() for p in net.parameters()) == wanted
                compared += 1
    assert compared == 22
    diagonals = 2 * 128
    assert count_parameters(CurrentNetwork("RadLIF", 128, norm=None, bias=True).build(700, 20)) == (
        142_632 - diagonals,
        diagonals,
    )


MACS = {
    "ecg": ((), 90),
    "smnist": (("encode.window=4",), 2014),
    "psmnist": ((), 2014),
    "shd": ((), 788),
    "ssc": ((), 2435),
    "soli": ((), 3083),
}


@pytest.mark.parametrize("name", MACS)
def test_published_operations(name):
    """MAC a step by the rules of 2021, of the network built from its task; of (P)S-MNIST with the
    analog input as MACs.
    """
    settings, wanted = MACS[name]
    task = override(tasks.load(name), settings)
    assert wanted in [p.value for p in task.published if p.what == "MAC per step"]
    net = task.build()
    mac = energy.count(net, energy.Activity.assumed(net, 0.1), energy.Yin2021()).mac
    analog = 4 * 64 if "mnist" in name else 0
    assert mac + analog == wanted


def test_every_variant_can_be_built():
    built = []
    for name in ALL:
        task = tasks.load(name)
        for variant in task.variants:
            changed = varied(task, variant.name)
            assert changed != task
            assert len(variant.what) > 10
            net = changed.build()
            changed.optimiser.build(net)
            assert net.inputs == changed.shape.channels
            built.append(f"{name} {variant.name}")
    assert len(built) == len(set(built)) == 16, built
    with pytest.raises(ConfigError, match=r"shd has no variant 'bitar'\. Did you mean 'bittar'"):
        varied(tasks.load("shd"), "bitar")


@pytest.mark.parametrize("name", [n for n in ALL if n != "my"])
def test_any_task_takes_any_network(name):
    task = override(
        tasks.load(name), ["network=CellNetwork", "network.hidden=[8]", "optimiser=Optimiser"]
    )
    net = task.build()
    assert (net.inputs, net.outputs) == (task.shape.channels, len(task.classes))
    task.optimiser.build(net)


def test_networks_that_cannot_be():
    for make, message in (
        (
            lambda: AdaptiveNetwork((8, 8, 8), (True, True)),
            "network.recurrent has 2 entries for 3 layers",
        ),
        (
            lambda: AdaptiveNetwork((8, 8, 8), (True,) * 3, recurrent_start=("zeros", "zeros")),
            "network.recurrent_start has 2 entries for 3",
        ),
        (lambda: CurrentNetwork(layers=1), "network.layers is 1"),
        (lambda: CellNetwork(hidden=()), "network.hidden is empty"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()


@pytest.mark.parametrize("name", ALL)
def test_a_step_on_made_up_data(name, tmp_path, monkeypatch):
    """`srnn check`: files in the true format are written, read, encoded; one step moves the
    weights; an evaluation gives an accuracy.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # what fsdd_spikes hears is kept there
    row = check(tasks.load(name))
    assert row["ok"], row["detail"]
    assert row["seen"].count("x") == 2
