"""ONNX models give what the network gives: every neuron and cell of the package as a step cell and
as a Scan, and every part.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

import srnn
import srnn.cells
import srnn.neurons
from helpers import CELLS, NEURONS
from srnn import surrogates
from srnn._check import ConfigError
from srnn.activations import Activation, Identity, Relu, Soft, Spike
from srnn.export.onnx import starts, to_onnx
from srnn.export.onnx_graph import OPSET
from srnn.export.onnx_play import OnnxPlayer, session
from srnn.neuron import Coeffs, Neuron, State
from srnn.nn import baselines

B, T, C, N, K = 4, 12, 3, 7, 2
LENGTHS = torch.tensor([12, 0, 5, 1])
FORMS = ("cell", "scan")


SPIKING = [c for c in NEURONS if "Leaky" not in c.__name__]
ALL = [*NEURONS, *CELLS]


def activation_of(kind: type[Neuron]) -> Activation:
    """The activation a neuron is used with."""
    return (
        Spike()
        if kind in SPIKING
        else Relu()
        if kind in (srnn.cells.Dense, srnn.cells.IndRNN)
        else Identity()
    )


def network(
    kind: type[Neuron], dtype: torch.dtype, activation: Activation | None = None
) -> srnn.Stack:
    torch.manual_seed(1)
    layer = srnn.Layer(C, N, kind(), activation or activation_of(kind), recurrent_bias=True)
    with torch.no_grad():
        layer.weight.mul_(4.0 if kind in SPIKING else 1.0)
        if kind in (
            srnn.cells.LiBRUProbability,
            srnn.cells.Sum,
        ):  # fed back log(p), where a gate near 1 leaves nothing of p in float32; a sum that grows
            layer.recurrent.mul_(0.05)
        layer.recurrent_bias.normal_(std=0.1)
    return srnn.Stack(layer, srnn.Readout(N, K, srnn.Leaky(5.0))).to(dtype).eval()


def signal(dtype: torch.dtype = torch.float32, channels: int = C) -> Tensor:
    return torch.randn(B, T, channels, dtype=dtype, generator=torch.Generator().manual_seed(2))


def reference(
    net: srnn.Stack, x: Tensor, lengths: Tensor | None, state: object = None
) -> srnn.Output:
    with torch.no_grad():
        return net(x, lengths, state=state, record=True, backend="reference")


def agree(net: srnn.Stack, path: Path, lengths: Tensor | None, tolerance: float) -> int:
    """Compare every output; return how many numbers were compared.

    No spike of these networks lies within rounding of its threshold.
    """
    x = signal(next(net.parameters()).dtype, net.inputs)
    out, played = reference(net, x, lengths), OnnxPlayer(path)(x, lengths)
    assert out.trace is not None
    torch.testing.assert_close(played.potential, out.potential, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(played.output, out.output, rtol=tolerance, atol=tolerance)
    shown = all("s" in state for state in net.start(1)) or OnnxPlayer(path).form == "scan"
    for mine, theirs in zip(played.outputs, out.trace.outputs if shown else (), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)
    return out.potential.numel() + sum(o.numel() for o in played.outputs)


TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-11}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ALL, ids=lambda c: c.__name__)
def test_every_neuron(kind: type[Neuron], form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    net = network(kind, dtype)
    path = to_onnx(net, tmp_path / "net.onnx", form=form)
    assert agree(net, path, LENGTHS, TOLERANCE[dtype]) >= B * T * (N + 2 * K)
    assert agree(net, path, None, TOLERANCE[dtype]) >= B * T * (N + 2 * K)


def test_all_neurons_of_the_package_are_asked() -> None:
    assert len(NEURONS) >= 13
    assert len(CELLS) >= 9


def test_spiking_networks_spike() -> None:
    rates = [
        reference(network(kind, torch.float32), signal(), None).trace.rates()[0] for kind in SPIKING
    ]
    assert len(rates) >= 11
    assert min(rates) > 0.005


@pytest.mark.parametrize("at_threshold", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_spike_at_threshold(form: str, at_threshold: bool, tmp_path: Path) -> None:
    layer = srnn.Layer(
        1, 1, srnn.IF(1.0), Spike(at_threshold=at_threshold), recurrent=False, bias=False
    )
    torch.nn.init.ones_(layer.weight)
    player = OnnxPlayer(to_onnx(srnn.Stack(layer), tmp_path / "net.onnx", form=form))
    spikes = player(torch.tensor([[[0.5], [0.5], [0.25]]])).output.flatten()
    assert spikes.tolist() == [0.0, float(at_threshold), float(not at_threshold)]


SURROGATES = [
    c()
    for c in vars(surrogates).values()
    if inspect.isclass(c) and issubclass(c, surrogates.Surrogate) and c is not surrogates.Surrogate
]


@pytest.mark.parametrize(
    "activation",
    [Relu(), *map(Soft, SURROGATES)],
    ids=lambda a: f"{type(a).__name__}{type(getattr(a, 'surrogate', None)).__name__}",
)
def test_smooth_activations(activation: Activation, tmp_path: Path) -> None:
    net = network(srnn.SoftLIF, torch.float32, activation)
    assert agree(net, to_onnx(net, tmp_path / "net.onnx"), LENGTHS, 2e-5) > 0


# ── what is not elementwise ───────────────────────────────────────────────────────────────────────


def trained(part: torch.nn.Module) -> None:
    """Give norms something to do: statistics and factors off their start."""
    for module in part.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.LayerNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 2.0)
            torch.nn.init.normal_(module.bias)


def lif(inputs: int, n: int, **more: object) -> srnn.Layer:
    return srnn.Layer(inputs, n, srnn.SoftLIF(threshold=0.3), **more)


PARTS = {
    "batch norm": lambda: [
        lif(C, N, norm=srnn.BatchNorm(), recurrent_bias=True),
        lif(N, N, norm=srnn.BatchNorm()),
    ],
    "layer norm": lambda: [
        lif(C, N, norm=srnn.LayerNorm(), bias=False),
        lif(N, N, norm=srnn.LayerNorm(), recurrent=False),
    ],
    "sparse": lambda: [
        lif(C, N, sparsity=0.5, recurrent_sparsity=0.5, zero_diagonal=True, dropout=0.5)
    ],
    "no bias": lambda: [lif(C, N, bias=False, recurrent_bias=True)],
    "convolution": lambda: [
        baselines.CausalConv(C, N, 3, 2, norm=srnn.BatchNorm()),
        baselines.CausalConv(N, N, 1),
    ],
    "cumulative": lambda: [
        srnn.Layer(C, N, srnn.cells.LSTM(), Identity()),
        baselines.CumulativeReadout(N, N, norm=srnn.BatchNorm()),
    ],
    "exponential": lambda: [
        srnn.Layer(C, N, srnn.cells.LiBRUProbability(), Identity()),
        baselines.Exponential(N),
    ],
}
WHOLE = {
    "concat": lambda: [srnn.Bidirectional(lif(C, N, norm=srnn.BatchNorm())), lif(2 * N, N)],
    "mean": lambda: [
        lif(C, N),
        srnn.Bidirectional(lif(N, N), merge=srnn.Mean()),
        srnn.Bidirectional(lif(N, N), merge=srnn.Mean()),
    ],
    "tandem": lambda: [tandem(C, N), tandem(N, N)],
}


def tandem(inputs: int, n: int) -> baselines.Tandem:
    part = baselines.Tandem(srnn.Layer(inputs, n, srnn.IF(0.5), recurrent=False, bias=False))
    torch.nn.init.normal_(part.bias)
    return part


def built(make: object) -> srnn.Stack:
    torch.manual_seed(3)
    net = srnn.Stack(*make(), srnn.Readout(N, K))
    trained(net)
    return net.eval()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PARTS)
def test_parts(name: str, form: str, tmp_path: Path) -> None:
    net = built(PARTS[name]).to(torch.float64 if name == "exponential" else torch.float32)
    assert agree(net, to_onnx(net, tmp_path / "net.onnx", form=form), LENGTHS, 2e-5) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", WHOLE)
def test_parts_that_need_whole_recordings(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    net = built(WHOLE[name]).to(dtype)
    path = to_onnx(net, tmp_path / "net.onnx")
    assert agree(net, path, LENGTHS, 2e-5) > 0
    assert agree(net, path, None, 2e-5) > 0
    with pytest.raises(ConfigError, match=r'has no step cell\. Use form="scan"'):
        to_onnx(net, tmp_path / "cell.onnx", form="cell")


# ── the model as others see it ────────────────────────────────────────────────────────────────────


def stored(net: srnn.Stack, path: Path, form: str, **more: object) -> onnx.ModelProto:
    return onnx.load(to_onnx(net, path / "net.onnx", form=form, **more))


def test_names_and_sizes(tmp_path: Path) -> None:
    net = network(srnn.ALIF, torch.float32)
    cell, scan = (stored(net, tmp_path, form) for form in FORMS)
    states = ["layer0.s", "layer0.u", "layer0.eta", "layer1.s", "layer1.u"]
    assert [i.name for i in cell.graph.input] == ["x", *states]
    assert [o.name for o in cell.graph.output] == [
        "potential",
        "output",
        *(f"{s}.next" for s in states),
    ]
    assert [i.name for i in scan.graph.input] == ["x", "lengths", *states]
    assert [o.name for o in scan.graph.output] == [
        "potential",
        "output",
        "layer0.output",
        "layer1.output",
        *(f"{s}.next" for s in states),
    ]
    assert [n.op_type for n in scan.graph.node].count("Scan") == 1
    for model in (cell, scan):
        assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
        assert json.loads(model.metadata_props[0].value)["start"] == dict.fromkeys(states, 0.0)
    assert not any(
        "output" in o.name
        for o in stored(net, tmp_path, "scan", outputs=False).graph.output
        if o.name.startswith("layer")
    )


def test_what_holds_constants_alone_is_not_in_the_loop(tmp_path: Path) -> None:
    scan = stored(network(srnn.ALIF, torch.float32), tmp_path, "scan")
    body = next(n for n in scan.graph.node if n.op_type == "Scan").attribute[0].g
    constants = {i.name for i in scan.graph.initializer}
    alone = [n.op_type for n in body.node if all(i in constants for i in n.input)]
    assert alone == []
    assert len(body.node) > 15


def test_the_scan_goes_on_where_it_stopped(tmp_path: Path) -> None:
    net, x = network(srnn.ALIF, torch.float32), signal()
    run = session(to_onnx(net, tmp_path / "net.onnx"))
    names = [o.name for o in run.get_outputs()]
    whole = dict(zip(names, run.run(None, {"x": x.numpy()}), strict=True))
    first = dict(zip(names, run.run(None, {"x": x[:, :5].numpy()}), strict=True))
    state = {k.removesuffix(".next"): v for k, v in first.items() if k.endswith(".next")}
    rest = dict(zip(names, run.run(None, {"x": x[:, 5:].numpy(), **state}), strict=True))
    np.testing.assert_allclose(
        np.concatenate([first["potential"], rest["potential"]], 1), whole["potential"], atol=1e-6
    )
    given = tuple({n: torch.rand_like(v) for n, v in part.items()} for part in net.start(B))
    out = reference(net, x, LENGTHS, given)
    feeds = {f"layer{k}.{n}": v.numpy() for k, part in enumerate(given) for n, v in part.items()}
    found = dict(
        zip(
            names, run.run(None, {"x": x.numpy(), "lengths": LENGTHS.numpy(), **feeds}), strict=True
        )
    )
    for k, part in enumerate(out.state):
        for n, v in part.items():
            np.testing.assert_allclose(found[f"layer{k}.{n}.next"], v.numpy(), atol=1e-5)
    # no step: the start
    np.testing.assert_allclose(found["layer0.u.next"][1], given[0]["u"][1].numpy(), atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_beyond_a_length_is_read(form: str, tmp_path: Path) -> None:
    net, x = network(srnn.ALIF, torch.float32), signal()
    spoilt = torch.where(torch.arange(T).view(1, T, 1) < LENGTHS.view(B, 1, 1), x, torch.nan)
    player = OnnxPlayer(to_onnx(net, tmp_path / "net.onnx", form=form))
    for a, b in zip(player(spoilt, LENGTHS)[:2], player(x, LENGTHS)[:2], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_a_start_that_is_not_zero(form: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    neuron = srnn.AdEx(u_rest=srnn.init.Fixed([0.1 * k for k in range(N)]))
    net = srnn.Stack(srnn.Layer(C, N, neuron), srnn.Readout(N, K)).eval()
    assert starts(net)["layer0.u"].unique().numel() == N
    assert agree(net, to_onnx(net, tmp_path / "net.onnx", form=form), LENGTHS, 2e-5) > 0


class Strange(Neuron):
    """Every operation ONNX has no word for, an output of constants alone, and one of nothing."""

    states = ("u", "v", "w")

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = (
            torch.log1p(I * I)
            + torch.expm1(-I.abs())
            + torch.expm1(I) * 1e-3
            + torch.where((I != 0) & ~(s > 0), torch.sign(I), state["w"])
        )
        v = (
            torch.where(
                torch.logical_or(u > 0.5, I <= 0), u.clamp(-1, 1), torch.sqrt(u.abs() + 1e-3)
            )
            + (u > 0).to(u.dtype) * 0.5
        )
        return u + v - 1, {"u": u, "v": v, "w": torch.ones_like(u)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_neuron_of_ones_own(form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    net = network(Strange, dtype)
    assert agree(net, to_onnx(net, tmp_path / "net.onnx", form=form), LENGTHS, TOLERANCE[dtype]) > 0


@pytest.mark.parametrize(
    "value", [0.0, 1e-12, -1e-9, 3e-4, 0.7, -0.9, 30.0, 1e30, float("inf"), float("nan")]
)
def test_small_numbers_are_not_lost(value: float, tmp_path: Path) -> None:
    class Small(Neuron):
        states = ("u", "v")

        def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
            return torch.nn.functional.softplus(I), {"u": torch.log1p(I), "v": torch.expm1(I)}

    layer = srnn.Layer(1, 1, Small(), Identity(), recurrent=False, bias=False)
    torch.nn.init.ones_(layer.weight)
    player = OnnxPlayer(to_onnx(srnn.Stack(layer), tmp_path / "net.onnx", form="cell"))
    found = player.step(np.array([[value]], np.float32), player.start(1))
    x = torch.tensor([[value]])
    for name, wanted in (
        ("layer0.u", torch.log1p(x)),
        ("layer0.v", torch.expm1(x)),
        ("layer0.s", torch.nn.functional.softplus(x)),
    ):
        torch.testing.assert_close(
            torch.from_numpy(found["next"][name]), wanted, rtol=1e-6, atol=0, equal_nan=True
        )


def test_refusals(tmp_path: Path) -> None:
    class Own(srnn.nn.layers.Part):
        inputs = outputs = C

    net = srnn.Stack(Own(), srnn.Readout(C, K))
    with pytest.raises(ConfigError, match="layer 0 is a Own, a part of your own"):
        to_onnx(net, tmp_path / "net.onnx")
    with pytest.raises(ConfigError, match="there is no 'loop'"):
        to_onnx(network(srnn.LIF, torch.float32), tmp_path / "net.onnx", form="loop")
    with pytest.raises(ConfigError, match=r"expected float32 or float64\. Pass net\.float"):
        to_onnx(network(srnn.LIF, torch.bfloat16), tmp_path / "net.onnx")
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="cannot be run by ONNX Runtime"):
        OnnxPlayer(tmp_path / "no.onnx")
    assert list(tmp_path.glob("net*")) == []
