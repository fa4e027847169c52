"""The weights a network starts with: the same random numbers, drawn in the same order, as ever."""

from __future__ import annotations

import pytest
import torch

from srnn import tasks
from srnn.nn.baselines import Exponential
from srnn.nn.bidirectional import Bidirectional
from srnn.nn.layers import Layer
from srnn.nn.networks import Stack
from srnn.tasks.settings import override

TASKS = {
    "ecg": 97.819270,
    "ecg_sim": 97.819270,
    "fsdd": 1.194510,
    "fsdd_spikes": -46.168632,
    "gsc": -151.253708,
    "hd": 16.359846,
    "my": 277.604233,
    "psmnist": 1187.909824,
    "sc": -23.374950,
    "shd": -130.440179,
    "smnist": 715.409027,
    "soli": 157.672966,
    "ssc": 1240.979170,
    "timit": -585.118826,
}
"""Task → fingerprint of its network, before all networks were built by one loop."""

NETWORKS = {
    "CellNetwork hidden=[5,4] bidirectional=true cell=LiBRU-probs": 1.891746,
    "CellNetwork hidden=[6] head=[7,3] readout=cumulative": 0.888555,
    "CellNetwork hidden=[6] readout=own": 1.491689,
    "TandemNetwork hidden=[6,5]": -0.599339,
    "ConvNetwork channels=[6,5]": 7.819362,
    "CurrentNetwork hidden=9 bidirectional=true sparsity=0.3 output=spiking": 36.179886,
    "AdaptiveNetwork hidden=[9,8] adaptive=0.4 bidirectional=true sparsity=0.5 output=spiking "
    "beta_out=1.0": 776.474754,
}
"""Network and settings, for the data of ecg_sim → fingerprint, likewise."""


def fingerprint(net: Stack) -> float:
    """A weighted sum of all tensors: another order of draws changes it, a machine's rounding (that
    of an orthogonal start) hardly.
    """
    total = 0.0
    for k, value in enumerate(net.state_dict().values()):
        flat = value.detach().double().flatten()
        places = torch.arange(len(flat), dtype=torch.float64)
        total += float((flat * torch.cos(places * (k + 1))).sum())
    return total


def built(name: str, settings: tuple[str, ...] = (), seed: int = 0) -> Stack:
    torch.manual_seed(seed)
    return override(tasks.load(name), settings).build()


def test_every_task_is_here():
    assert tuple(TASKS) == tasks.names()


@pytest.mark.parametrize("name", TASKS)
def test_the_network_of_a_task_starts_as_ever(name):
    assert fingerprint(built(name)) == pytest.approx(TASKS[name], rel=1e-6, abs=1e-3)
    assert abs(fingerprint(built(name, seed=1)) - TASKS[name]) > 0.1


@pytest.mark.parametrize("words", NETWORKS)
def test_every_kind_of_network_starts_as_ever(words):
    kind, *settings = words.split()
    made = built("ecg_sim", (f"network={kind}", *(f"network.{s}" for s in settings)))
    assert fingerprint(made) == pytest.approx(NETWORKS[words], rel=1e-6, abs=1e-3)


def test_the_last_layer_of_probabilities_is_a_read_out():
    """With readout=own the last layer of the cell has neither dropout nor a second direction,
    whatever stands between the layers.
    """
    words = ("cell=LiBRU-probs", "readout=own", "hidden=[5,4]", "bidirectional=true", "dropout=0.5")
    made = built("ecg_sim", ("network=CellNetwork", *(f"network.{w}" for w in words)))
    layers = list(made.layers)
    kinds = [Bidirectional, Exponential, Bidirectional, Exponential, Layer, Exponential]
    assert [type(part) for part in layers] == kinds
    assert layers[0].forward_layer.dropout == layers[2].forward_layer.dropout == 0.5
    assert layers[4].dropout == 0.0
    assert layers[-1].outputs == 6
