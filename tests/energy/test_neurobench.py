"""The same counts as NeuroBench, on networks that both can count.

NeuroBench hooks the calls of torch.nn modules and looks at what goes in.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from srnn import Layer, Stack, cells, energy
from srnn.activations import Identity, Spike
from srnn.energy import Activity
from srnn.neurons import ALIF, LIF, SoftLIF

neurobench = pytest.importorskip("neurobench.benchmarks", reason="make setup installs neurobench")

SIZES, STEPS, BATCH = (12, 9, 7, 4), 11, 6


class Neurons(nn.Module):
    """One step of a layer's neurons, for NeuroBench to hook: currents in, spikes out."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer, self.state = [layer], {}

    def forward(self, current: Tensor) -> Tensor:
        layer = self.layer[0]
        s = self.state.pop("s")
        x, self.state = layer.neuron.step(
            current, s, self.state, layer.neuron.coeffs(layer.constants())
        )
        self.state["s"] = layer.activation(x)
        return self.state["s"]


class Stepped(nn.Module):
    """A feed-forward stack as torch.nn.Linear and neurons, one step at a time: the form that
    NeuroBench reads.
    """

    def __init__(self, net: Stack) -> None:
        super().__init__()
        self.linear, self.neurons = nn.ModuleList(), nn.ModuleList()
        for layer in net.parts():
            linear = nn.Linear(layer.inputs, layer.neurons)
            linear.weight, linear.bias = layer.weight, layer.bias
            self.linear.append(linear)
            self.neurons.append(Neurons(layer))

    def forward(self, x: Tensor) -> Tensor:
        for neurons in self.neurons:
            neurons.state = neurons.layer[0].start(len(x))
        for step in x.unbind(1):
            for linear, neurons in zip(self.linear, self.neurons, strict=True):
                step = neurons(linear(step))
        return step


def network(neuron, readout: bool = False) -> Stack:
    torch.manual_seed(1)
    layers = [Layer(m, n, neuron, Spike(), recurrent=False) for m, n in itertools.pairwise(SIZES)]
    if readout:
        layers[-1] = Layer(*SIZES[-2:], cells.Dense(), Identity(), recurrent=False)
    return Stack(*layers)


def judged(net: Stack, x: Tensor) -> dict:
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import TorchModel

    model = TorchModel(Stepped(net))
    model.add_activation_module(Neurons)
    data = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, torch.zeros(len(x))), batch_size=len(x)
    )
    with torch.no_grad():
        bench = neurobench.Benchmark(
            model, data, [], [], [[], [ActivationSparsity, SynapticOperations]]
        )
        return bench.run(quiet=True)


def ours(net: Stack, x: Tensor) -> tuple[energy.Charge, float, float]:
    """Synaptic operations per recording, those of a network whose every input is active, and the
    activation sparsity.
    """
    with torch.no_grad():
        trace = net(x, record=True, backend="reference").trace
    dense = energy.count(net, Activity(1.0, True, (1.0,) * len(net.layers), 1.0)).synaptic()
    synaptic = energy.count(net, trace).synaptic()
    per = energy.Charge("synaptic", synaptic.mac * STEPS, synaptic.ac * STEPS)
    units = sum(o.shape[-1] for o in trace.outputs)
    active = sum(int(o.count_nonzero()) for o in trace.outputs) / (units * STEPS * len(x))
    return per, (dense.mac + dense.ac) * STEPS, 1 - active


@pytest.mark.parametrize(
    "neuron",
    [SoftLIF(threshold=0.05), LIF(tau_m=2.0), ALIF(tau_m=2.0)],
    ids=lambda n: type(n).__name__,
)
def test_spikes_in_spikes_out(neuron):
    net, x = network(neuron), (torch.rand(BATCH, STEPS, SIZES[0]) < 0.6).float()
    judgement, (synaptic, dense, sparsity) = judged(net, x), ours(net, x)
    operations = judgement["SynapticOperations"]
    # there were spikes in every layer
    assert operations["Effective_ACs"] > sum(a * b for a, b in itertools.pairwise(SIZES))
    assert synaptic.ac == pytest.approx(operations["Effective_ACs"], rel=1e-12)
    assert synaptic.mac == operations["Effective_MACs"] == 0
    assert dense == operations["Dense"]
    assert sparsity == pytest.approx(judgement["ActivationSparsity"], rel=1e-12)
    assert 0.05 < sparsity < 0.999


def test_an_analog_input_is_macs_in_both():
    net, x = network(SoftLIF(threshold=0.05), readout=True), torch.randn(BATCH, STEPS, SIZES[0])
    judgement, (synaptic, dense, sparsity) = judged(net, x), ours(net, x)
    operations = judgement["SynapticOperations"]
    assert synaptic.mac == operations["Effective_MACs"] == STEPS * SIZES[0] * SIZES[1]
    assert synaptic.ac == pytest.approx(operations["Effective_ACs"], rel=1e-12)
    assert operations["Effective_ACs"] > 0
    assert dense == operations["Dense"]
    assert sparsity == pytest.approx(judgement["ActivationSparsity"], rel=1e-12)
