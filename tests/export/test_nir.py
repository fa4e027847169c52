"""NIR: graphs mean what `nir_nodes` says (an interpreter of the test's own runs them), come back
bit for bit, and run in snnTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import nirtorch
import numpy as np
import pytest
import snntorch
import torch
from snntorch.import_nir import _nir_to_snntorch_module, import_from_nir
from torch import Tensor

import srnn
from srnn import cells, init, neurons
from srnn._check import ConfigError, DataError
from srnn.activations import Identity, Relu, Spike
from srnn.export.nir import to_nir
from srnn.export.nir_read import from_nir
from srnn.nn import baselines

B, T, C, N, K, DT = 4, 40, 3, 9, 4, 1e-3
NATIVE = {"LIF": neurons.LIF(), "YinLIF": neurons.YinLIF(), "no leak": neurons.YinLIF(1.0, 2.0)}
COMPOSED = {
    "IF": neurons.IF(),
    "SoftLIF": neurons.SoftLIF(threshold=init.Fixed(np.linspace(0.2, 1.0, N).tolist())),
    "SparchLIF": neurons.SparchLIF(threshold=0.5),
    "ALIF": neurons.ALIF(beta=0.0),
    "AdLIF": neurons.AdLIF(threshold=0.5),
    "SparchAdLIF": neurons.SparchAdLIF(threshold=0.5),
    "stable": neurons.SparchAdLIF(threshold=0.5, stable=True),
    "ThresholdLIF": neurons.ThresholdLIF(threshold=0.3),
}
ALL = NATIVE | COMPOSED
RULES = ("exponential", "euler")


def network(neuron: srnn.Neuron, recurrent: bool = True, **more: Any) -> srnn.Stack:
    torch.manual_seed(1)
    layer = srnn.Layer(C, N, neuron, recurrent=recurrent, recurrent_bias=recurrent, **more)
    with torch.no_grad():
        layer.weight.mul_(4.0)
        if layer.bias is not None:
            layer.bias.normal_(std=0.1)
    return srnn.Stack(layer, srnn.Readout(N, K), srnn.Readout(K, 2, srnn.AlphaLeaky())).eval()


def signal(seed: int = 2) -> Tensor:
    return torch.randn(B, T, C, generator=torch.Generator().manual_seed(seed))


def run(net: srnn.Stack, x: Tensor) -> srnn.Output:
    with torch.no_grad():
        return net(x, record=True, backend="reference")


# ── an interpreter of the stated meaning ──────────────────────────────────────────────────────────


def flat(
    graph: nir.NIRGraph, prefix: str = ""
) -> tuple[dict[str, nir.NIRNode], list[tuple[str, str]]]:
    """A graph without graphs inside it: their inputs and outputs are wires."""
    nodes, edges, inside = {}, [(prefix + a, prefix + b) for a, b in graph.edges], {}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            inner, wires = flat(node, f"{prefix}{name}/")
            nodes |= inner
            edges += wires
            inside[prefix + name] = True
        else:
            nodes[prefix + name] = node
    return nodes, [
        (f"{a}/output" if a in inside else a, f"{b}/input" if b in inside else b) for a, b in edges
    ]


def interpret(graph: nir.NIRGraph, x: Any, dt: float, rule: str) -> dict[str, Any]:
    """Run x (B, T, C) through a graph; return what every node gave, (B, T, N)."""
    nodes, edges = flat(graph)
    before = {name: [a for a, b in edges if b == name] for name in nodes}
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        """Depth first against the edges; an edge from what is being visited, or from a Delay,
        brings the value of the step before.
        """
        for a in before[name]:
            if a not in order and a not in path and not isinstance(nodes[a], nir.Delay):
                visit(a, (*path, name))
        if name not in order:
            order.append(name)

    visit("output", ())
    for name in nodes:
        visit(name, ())
    v: dict[str, Any] = dict.fromkeys(nodes, 0.0)
    z: dict[str, Any] = dict.fromkeys(nodes, 0.0)
    last: dict[str, Any] = dict.fromkeys(nodes, 0.0)
    kept: dict[str, list[Any]] = {name: [] for name in nodes}
    for t in range(x.shape[1]):
        now: dict[str, Any] = {}
        for name in order:
            node = nodes[name]
            values = [
                last[a] if isinstance(nodes[a], nir.Delay) or a not in now else now[a]
                for a in before[name]
            ]
            I = x[:, t] if name == "input" else sum(values)
            if isinstance(node, nir.Linear | nir.Affine):
                I = np.zeros((len(x), node.weight.shape[1])) + I
                y = I @ node.weight.T + (node.bias if isinstance(node, nir.Affine) else 0.0)
            elif isinstance(node, nir.Scale):
                y = I * node.scale
            elif isinstance(node, nir.Threshold):
                y = (node.threshold < I) * 1.0
            elif isinstance(node, nir.LI | nir.LIF | nir.I | nir.IF):
                kept_v = (
                    v[name]
                    if not isinstance(node, nir.LIF | nir.IF)
                    else np.where(z[name] == 1, node.v_reset, v[name])
                )
                if isinstance(node, nir.LI | nir.LIF):
                    d = np.exp(-dt / node.tau) if rule == "exponential" else 1 - dt / node.tau
                    v[name] = d * kept_v + (1 - d) * (node.v_leak + node.r * I)
                else:
                    v[name] = kept_v + dt * node.r * I
                spiking = isinstance(node, nir.LIF | nir.IF)
                y = z[name] = (v[name] > node.v_threshold) * 1.0 if spiking else v[name]
            else:
                assert isinstance(node, nir.Input | nir.Output | nir.Delay)
                y = I
            now[name] = y
            kept[name].append(y)
        last = now
    return {name: np.stack(np.broadcast_arrays(*values), 1) for name, values in kept.items()}


@pytest.mark.parametrize("recurrent", [True, False], ids=["recurrent", "feedforward"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ALL)
def test_the_graph_means_the_network(name: str, rule: str, recurrent: bool) -> None:
    net, x = network(ALL[name], recurrent).double(), signal().double()
    graph = to_nir(net, dt=DT, rule=rule)
    out = run(net, x)
    found = interpret(graph, x.numpy(), DT, rule)
    spikes = next(
        found[k]
        for k in ("layer0_neuron/spike", "layer0_neuron/lif", "layer0_neuron")
        if k in found
    )
    assert out.trace is not None
    assert out.trace.rates()[0] > 0.01
    assert (spikes == out.trace.outputs[0].numpy()).all()
    np.testing.assert_allclose(found["output"], out.potential.numpy(), atol=1e-12)


# ── the way back ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rule", "recurrent"), [("exponential", True), ("euler", False), ("euler", True)]
)
@pytest.mark.parametrize("name", ALL)
def test_round_trip(name: str, rule: str, recurrent: bool, tmp_path: Path) -> None:
    net, x = network(ALL[name], recurrent), signal()
    graph = to_nir(net, tmp_path / "net.nir", dt=DT, rule=rule)
    back = from_nir(tmp_path / "net.nir")
    ours, theirs = run(net, x), run(back, x)
    assert ours.trace is not None
    assert theirs.trace is not None
    assert [type(a.neuron) for a in net.parts()] == [type(b.neuron) for b in back.parts()]
    for a, b in zip(
        (*ours.trace.outputs, ours.potential),
        (*theirs.trace.outputs, theirs.potential),
        strict=True,
    ):
        assert torch.equal(a, b)
    again = to_nir(back, dt=DT, rule=rule)
    assert compared(graph, again, exact=False) >= 10
    assert compared(graph, nir.read(str(tmp_path / "net.nir")), exact=True) >= 10


def compared(a: nir.NIRGraph, b: nir.NIRGraph, *, exact: bool) -> int:
    """Assert that two graphs are equal (one with values in float32 up to that); return how many
    arrays were compared.
    """
    (nodes, edges), (others, wires) = flat(a), flat(b)
    assert set(edges) == set(wires)
    assert nodes.keys() == others.keys()
    count = 0
    for name, node in nodes.items():
        assert type(node) is type(others[name])
        for key, value in vars(node).items():
            if isinstance(value, np.ndarray):
                other = getattr(others[name], key)
                assert (
                    (value == other).all()
                    if exact
                    else np.allclose(value, other, rtol=1e-6, atol=1e-12)
                )
                count += 1
    return count


def test_float64_comes_back_nearly_bit_for_bit(tmp_path: Path) -> None:
    net, x = network(neurons.LIF()).double(), signal().double()
    to_nir(net, tmp_path / "net.nir", dt=DT)
    ours, theirs = run(net, x), run(from_nir(tmp_path / "net.nir", dtype=torch.float64), x)
    assert torch.equal(ours.trace.outputs[0], theirs.trace.outputs[0])
    torch.testing.assert_close(ours.potential, theirs.potential, rtol=1e-12, atol=1e-12)


def test_an_imported_network_can_be_trained(tmp_path: Path) -> None:
    to_nir(network(neurons.SoftLIF()), tmp_path / "net.nir", dt=DT)
    net = from_nir(tmp_path / "net.nir")
    net(signal()).potential.sum().backward()
    names = {
        name for name, p in net.named_parameters() if p.grad is not None and bool(p.grad.any())
    }
    assert {
        "layers.0.weight",
        "layers.0.recurrent",
        "layers.0.constants.alpha",
        "layers.1.constants.tau_m",
    } <= names


def test_batch_norm_is_folded() -> None:
    net = network(neurons.SoftLIF(), norm=srnn.BatchNorm())
    norm = net.layers[0].norm
    torch.nn.init.normal_(norm.running_mean)
    torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
    torch.nn.init.normal_(norm.bias)
    net, x = net.double(), signal().double()
    back = from_nir(to_nir(net, dt=DT), dtype=torch.float64)
    torch.testing.assert_close(run(back, x).potential, run(net, x).potential, rtol=1e-9, atol=1e-9)


def test_sparse_connections_are_zeros() -> None:
    net = network(neurons.LIF(), sparsity=0.5, recurrent_sparsity=0.5, zero_diagonal=True)
    graph = to_nir(net, dt=DT)
    assert (graph.nodes["layer0_affine"].weight == 0).mean() > 0.4
    assert (np.diag(graph.nodes["layer0_neuron"].nodes["w_rec"].weight) == 0).all()
    assert torch.equal(run(from_nir(graph), signal()).potential, run(net, signal()).potential)


def test_units_without_dynamics() -> None:
    torch.manual_seed(0)
    dense = srnn.Layer(C, N, cells.Dense(), Identity(), recurrent=False)
    spike = srnn.Layer(N, N, cells.Dense(), Spike(), recurrent=False, bias=False)
    net = srnn.Stack(
        dense, spike, srnn.Readout(N, K, cells.Sum(), bias=False), srnn.Readout(K, K, cells.Dense())
    ).eval()
    graph = to_nir(net, dt=DT)
    kinds = [type(graph.nodes[name]).__name__ for name in graph.nodes]
    assert kinds == ["Input", "Affine", "Linear", "Threshold", "Linear", "I", "Affine", "Output"]
    back = from_nir(graph)
    assert [type(p.neuron).__name__ for p in back.parts()] == ["Dense", "Dense", "Sum", "Dense"]
    assert torch.equal(run(back, signal()).potential, run(net, signal()).potential)


# ── graphs of others ──────────────────────────────────────────────────────────────────────────────


def affine(inputs: int = C, n: int = N) -> nir.Affine:
    r = np.random.default_rng(0)
    return nir.Affine(r.normal(size=(n, inputs)), r.normal(size=n))


def vector(low: float, high: float) -> Any:
    return np.linspace(low, high, N)


def lif(**changed: Any) -> nir.LIF:
    values = {
        "tau": vector(0.004, 0.02),
        "r": vector(1.0, 3.0),
        "v_leak": vector(-0.1, 0.2),
        "v_threshold": vector(0.2, 0.4),
    }
    return nir.LIF(**(values | changed))


def cuba(spiking: bool) -> Any:
    values = {
        "tau_syn": vector(0.003, 0.01),
        "tau_mem": vector(0.004, 0.02),
        "r": vector(1, 3),
        "v_leak": vector(-0.1, 0.1),
        "w_in": vector(0.5, 2),
    }
    return nir.CubaLIF(**values, v_threshold=vector(0.2, 0.4)) if spiking else nir.CubaLI(**values)


def cycle(node: Any, name: str = "n") -> nir.NIRGraph:
    """A neuron and its recurrent weights at the top of the graph, as nirtorch traces it."""
    r = np.random.default_rng(1)
    nodes = {
        "input": nir.Input(np.array([C])),
        "a": affine(),
        name: node,
        "r": nir.Affine(r.normal(size=(N, N)), r.normal(size=N)),
    }
    nodes["output"] = nir.Output(np.array([N]))
    return nir.NIRGraph(
        nodes, [("input", "a"), ("a", name), (name, "r"), ("r", name), (name, "output")]
    )


GRAPHS: dict[str, Callable[[], nir.NIRGraph]] = {
    "LIF": lambda: nir.NIRGraph.from_list(affine(), lif()),
    "no weights": lambda: nir.NIRGraph.from_list(lif(), affine(N, K)),
    "one R": lambda: nir.NIRGraph.from_list(affine(), lif(r=np.full(N, 2.0), v_leak=np.zeros(N))),
    "recurrent LIF": lambda: cycle(lif()),
    "recurrent IF": lambda: cycle(nir.IF(r=vector(200, 300), v_threshold=vector(1, 2))),
    "IF": lambda: nir.NIRGraph.from_list(
        affine(), nir.IF(r=vector(200, 300), v_threshold=vector(1, 2))
    ),
    "LI": lambda: nir.NIRGraph.from_list(
        affine(), nir.LI(tau=vector(0.004, 0.02), r=vector(1, 3), v_leak=vector(-1, 1))
    ),
    "I": lambda: nir.NIRGraph.from_list(affine(), nir.I(r=vector(200, 300))),
    "CubaLI": lambda: nir.NIRGraph.from_list(affine(), cuba(False)),
    "CubaLIF": lambda: nir.NIRGraph.from_list(affine(), cuba(True)),
    "Threshold": lambda: nir.NIRGraph.from_list(
        affine(), nir.Threshold(vector(0, 1)), nir.Scale(vector(-1, 1)), lif()
    ),
    "Affines": lambda: nir.NIRGraph.from_list(
        affine(), nir.Linear(affine(N, K).weight), affine(K, 2)
    ),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_of_others(name: str, rule: str) -> None:
    graph = GRAPHS[name]()
    x = signal()[..., : int(graph.input_type["input"][0])].double()
    x = (
        x
        if x.shape[-1] == int(graph.input_type["input"][0])
        else torch.randn(B, T, N, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    )
    net = from_nir(graph, dt=DT, rule=rule, dtype=torch.float64)
    out, wanted = (
        run(net, x),
        interpret(graph, x.numpy(), DT, rule)["output"]
        if "Cuba" not in name
        else by_hand(graph, x.numpy(), rule),
    )
    got = out.output.numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-9)
    if "I" in name or "Thr" in name:
        assert np.abs(got).mean() > 0.01


def by_hand(graph: nir.NIRGraph, x: Any, rule: str) -> Any:
    """A current-based neuron: the synapse first, its new value into the membrane."""
    a, n = (graph.nodes[k] for k in list(graph.nodes)[1:3])

    def decay(tau: Any) -> Any:
        return np.exp(-DT / tau) if rule == "exponential" else 1 - DT / tau

    i, v, outputs, ds, dm = 0.0, 0.0, [], decay(n.tau_syn), decay(n.tau_mem)
    for t in range(x.shape[1]):
        i = ds * i + (1 - ds) * n.w_in * (x[:, t] @ a.weight.T + a.bias)
        v = dm * v + (1 - dm) * (n.v_leak + n.r * i)
        z = (v > n.v_threshold) * 1.0 if isinstance(n, nir.CubaLIF) else v
        v = v * (1 - z) if isinstance(n, nir.CubaLIF) else v
        outputs.append(z)
    return np.stack(outputs, 1)


# ── another library ───────────────────────────────────────────────────────────────────────────────


def two_layers(neuron: srnn.Neuron, recurrent: bool) -> srnn.Stack:
    torch.manual_seed(0)
    net = srnn.Stack(
        srnn.Layer(C, N, neuron, recurrent=recurrent), srnn.Layer(N, K, neuron, recurrent=False)
    ).eval()
    with torch.no_grad():
        net.layers[0].weight.mul_(3.0)
    return net


def played(step: Callable[..., Any], x: Tensor) -> Tensor:
    state, outputs = None, []
    with torch.no_grad():
        for t in range(x.shape[1]):
            y, state = step(x[:, t], state)
            outputs.append(y)
    return torch.stack(outputs, 1)


EQUAL_IN_SNNTORCH = {"YinLIF": neurons.YinLIF(0.8), "LIF": neurons.LIF(5.0)}
"""One decay and one threshold a layer, which is what snnTorch's reader takes; dt = 1e-4 s and
Euler, which it fixes.
"""


@pytest.mark.parametrize(
    ("name", "recurrent"), [("YinLIF", False), ("LIF", False), ("YinLIF", True), ("LIF", True)]
)
def test_snntorch_reads_it(name: str, recurrent: bool, tmp_path: Path) -> None:
    net, x = two_layers(EQUAL_IN_SNNTORCH[name], recurrent), signal()
    to_nir(net, tmp_path / "net.nir", dt=1e-4, rule="euler")
    theirs = import_from_nir(nir.read(str(tmp_path / "net.nir")))
    out = run(net, x)
    assert sum(isinstance(m, snntorch.Leaky) for m in theirs.modules()) == 2
    assert 0.05 < out.output.mean() < 0.95
    assert torch.equal(played(theirs, x), out.output)


def test_a_recurrent_layer_is_an_rleaky_of_snntorch(tmp_path: Path) -> None:
    net, x = two_layers(neurons.YinLIF(0.8), recurrent=True), signal()
    to_nir(net, tmp_path / "net.nir", dt=1e-4, rule="euler")
    graph = nir.read(str(tmp_path / "net.nir"))
    modules = [
        _nir_to_snntorch_module(graph.nodes[name], init_hidden=True)
        for name in ("layer0_affine", "layer0_neuron", "layer1_affine", "layer1_neuron")
    ]
    assert isinstance(modules[1], snntorch.RLeaky)
    chain = torch.nn.Sequential(*modules)
    out = run(net, x)
    assert 0.05 < out.output.mean() < 0.95
    assert torch.equal(played(lambda h, state: (chain(h), None), x), out.output)


def test_nirtorch_runs_it_with_the_neurons_of_snntorch(tmp_path: Path) -> None:
    net, x = two_layers(neurons.YinLIF(0.8), recurrent=True), signal()
    to_nir(net, tmp_path / "net.nir", dt=1e-4, rule="euler")
    kinds = (nir.Affine, nir.Linear, nir.LIF)
    theirs = nirtorch.nir_to_torch(
        str(tmp_path / "net.nir"),
        {kind: lambda n: _nir_to_snntorch_module(n, init_hidden=True) for kind in kinds},
    )
    assert torch.equal(played(theirs, x), run(net, x).output)


def test_we_read_what_snntorch_writes() -> None:
    from snntorch.export_nir import export_to_nir

    torch.manual_seed(0)
    beta = {
        "beta": torch.full((N,), 0.8),
        "threshold": torch.full((N,), 0.6),
        "reset_mechanism": "zero",
        "reset_delay": False,
        "init_hidden": True,
    }
    theirs, x = (
        torch.nn.Sequential(
            torch.nn.Linear(C, N),
            snntorch.Leaky(**beta),
            torch.nn.Linear(N, N),
            snntorch.Leaky(**beta),
        ),
        signal(),
    )
    net = from_nir(export_to_nir(theirs, torch.randn(C)), dt=1e-4, rule="euler")
    assert [type(p.neuron).__name__ for p in net.parts()] == ["YinLIF", "YinLIF"]
    theirs[1].reset_mem()
    theirs[3].reset_mem()
    wanted = played(lambda h, state: (theirs(h), None), x)
    assert 0.01 < wanted.mean() < 0.9
    assert torch.equal(run(net, x).output, wanted)


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────


def readout(layer: srnn.nn.layers.Part) -> srnn.Stack:
    return srnn.Stack(layer, srnn.Readout(layer.outputs, K))


REFUSED = {
    "ALIF subtracts .* a product of two signals": lambda: srnn.Layer(C, N, srnn.ALIF()),
    "AdEx cannot be written in NIR: its exponential": lambda: srnn.Layer(C, N, srnn.AdEx()),
    "Izhikevich cannot be written in NIR: its square": lambda: srnn.Layer(C, N, srnn.Izhikevich()),
    "LSTM cannot be written in NIR: gates": lambda: srnn.Layer(C, N, cells.LSTM(), Identity()),
    "SoftLIF with Relu": lambda: srnn.Layer(C, N, srnn.SoftLIF(), Relu()),
    "SoftLIF with Identity": lambda: srnn.Layer(C, N, srnn.SoftLIF(), Identity()),
    "spikes at its threshold": lambda: srnn.Layer(C, N, srnn.LIF(), Spike(at_threshold=True)),
    "Leaky with a Spike": lambda: srnn.Layer(C, N, srnn.Leaky(), recurrent=False),
    "Leaky with recurrence": lambda: srnn.Layer(C, N, srnn.Leaky(), Identity()),
    "Dense with recurrence": lambda: srnn.Layer(C, N, cells.Dense(), Identity()),
    "a layer norm depends": lambda: srnn.Layer(C, N, srnn.LIF(), norm=srnn.LayerNorm()),
    "layer 0 is a Bidirectional": lambda: srnn.Bidirectional(srnn.Layer(C, N, srnn.LIF())),
    "layer 0 is a CausalConv": lambda: baselines.CausalConv(C, N),
    "does not decay between 0 and 1": lambda: srnn.Layer(C, N, srnn.LIF(init.Fixed(0.5))),
    "τ must be positive": lambda: srnn.Layer(C, N, srnn.ALIF(tau_m=-3.0, beta=0.0)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused_in_writing(message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        to_nir(readout(REFUSED[message]()), tmp_path / "net.nir", dt=DT)
    assert "layer 0" in str(caught.value)
    assert not (tmp_path / "net.nir").exists()


def two_ways() -> nir.NIRGraph:
    nodes = {
        "input": nir.Input(np.array([C])),
        "a": affine(),
        "b": affine(),
        "output": nir.Output(np.array([N])),
    }
    return nir.NIRGraph(nodes, [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")])


def odd() -> nir.NIRGraph:
    graph = to_nir(network(neurons.SoftLIF()), dt=DT)
    graph.nodes["layer0_neuron"].nodes["reset"].scale *= 1.5
    return graph


def rewired() -> nir.NIRGraph:
    graph = to_nir(network(neurons.AdLIF()), dt=DT)
    graph.nodes["layer0_neuron"].edges.append(("u", "w"))
    return graph


UNREADABLE = {
    r"node conv1d \(Conv1d\): nothing here is equal": lambda: nir.NIRGraph.from_list(
        nir.Conv1d(8, np.ones((2, C, 3)), 1, 0, 1, 1, np.zeros(2))
    ),
    r"node delay \(Delay\): nothing here": lambda: nir.NIRGraph.from_list(
        affine(), nir.Delay(vector(1, 2))
    ),
    r"node n \(CubaLIF\) with recurrence": lambda: cycle(cuba(True)),
    "is reset to 0.1": lambda: nir.NIRGraph.from_list(affine(), lif(v_reset=vector(0, 0.1))),
    "makes no decay": lambda: nir.NIRGraph.from_list(affine(), lif(tau=np.full(N, 5e-4))),
    r"node input \(Input\) goes on to 2 nodes": two_ways,
    "no neuron here resets by": odd,
    "has other nodes or edges": rewired,
    "no node between": lambda: nir.NIRGraph(
        {"input": nir.Input(np.array([C])), "output": nir.Output(np.array([C]))},
        [("input", "output")],
    ),
}


@pytest.mark.parametrize("message", UNREADABLE)
def test_refused_in_reading(message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_nir(UNREADABLE[message](), dt=DT, rule="euler")


def test_a_step_must_be_known(tmp_path: Path) -> None:
    graph = GRAPHS["LIF"]()
    with pytest.raises(ConfigError, match=r"does not say how long a step is.*Pass dt="):
        from_nir(graph)
    with pytest.raises(ConfigError, match="there is no 'exact'"):
        from_nir(graph, dt=DT, rule="exact")
    with pytest.raises(ConfigError, match="dt is 0"):
        to_nir(network(neurons.LIF()), dt=0.0)
    with pytest.raises(ConfigError, match="there is no 'exact'"):
        to_nir(network(neurons.LIF()), dt=DT, rule="exact")
    (tmp_path / "no.nir").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as NIR"):
        from_nir(tmp_path / "no.nir")
