"""From the two files alone a network is rebuilt in NumPy: the adaptive one by its equation, any one
by its operations.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import srnn
import srnn.cells
import srnn.neurons
from helpers import CELLS, NEURONS
from srnn._check import ConfigError
from srnn.activations import Identity, Relu, Soft, Spike
from srnn.export.state import to_state
from srnn.export.state_play import StatePlayer
from srnn.neuron import Neuron
from srnn.nn import baselines
from srnn.surrogates import SLayer

B, T, C, N, K = 3, 20, 4, 7, 2


def signal() -> torch.Tensor:
    return torch.randn(B, T, C, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def written(net: srnn.Stack, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    tensors, about = to_state(net, path / "net.safetensors")
    assert (tensors.name, about.name) == ("net.safetensors", "net.json")
    return load_file(tensors), json.loads(about.read_text())


def run(net: srnn.Stack, x: torch.Tensor) -> Any:
    with torch.no_grad():
        return net(x, backend="reference").potential.numpy()


def test_the_adaptive_network_in_plain_numpy(tmp_path: Path) -> None:
    """Reads nothing but the document: the equation of ALIF and Leaky, names and shapes of their
    tensors.
    """
    torch.manual_seed(0)
    net = (
        srnn.Stack(
            srnn.Layer(C, N, srnn.ALIF(), recurrent_bias=True),
            srnn.Layer(N, N, srnn.ALIF(beta=0.5)),
            srnn.Readout(N, K),
        )
        .double()
        .eval()
    )
    with torch.no_grad():
        net.layers[0].weight.mul_(3)
    w, about = written(net, tmp_path)
    x, potentials = signal().numpy(), []
    hidden = [
        (f"layer{k}", {"u": np.zeros((B, N)), "eta": np.zeros((B, N)), "s": np.zeros((B, N))})
        for k in (0, 1)
    ]
    u_out = np.zeros((B, K))
    for t in range(T):
        h = x[:, t]
        for name, state in hidden:
            p = {k: w[f"{name}.constants.{k}"] for k in ("tau_m", "tau_adp", "b0", "beta")}
            I = (
                h @ w[f"{name}.weight"].T
                + w[f"{name}.bias"]
                + state["s"] @ w[f"{name}.recurrent"].T
                + w.get(f"{name}.recurrent_bias", 0)
            )
            alpha, rho = np.exp(-1 / p["tau_m"]), np.exp(-1 / p["tau_adp"])
            state["eta"] = rho * state["eta"] + (1 - rho) * state["s"]
            theta = p["b0"] + p["beta"] * state["eta"]
            state["u"] = alpha * state["u"] + (1 - alpha) * I - theta * state["s"]
            h = state["s"] = (state["u"] - theta > 0).astype(float)
        alpha = np.exp(-1 / w["layer2.constants.tau_m"])
        u_out = alpha * u_out + (1 - alpha) * (h @ w["layer2.weight"].T + w["layer2.bias"])
        potentials.append(u_out)
    np.testing.assert_allclose(np.stack(potentials, 1), run(net, signal()), atol=1e-12)
    assert np.abs(potentials[-1]).max() > 1e-3
    layer = about["layers"][0]
    assert layer["neuron"]["class"] == "ALIF"
    assert "u[t] = α u[t-1] + (1-α) I[t] - θ[t] s[t-1]" in layer["neuron"]["equation"]
    assert layer["tensors"] == {
        "weight": "layer0.weight",
        "bias": "layer0.bias",
        "recurrent": "layer0.recurrent",
        "recurrent_bias": "layer0.recurrent_bias",
    }
    assert about["layers"][1]["tensors"]["recurrent_bias"] is None
    assert (about["inputs"], about["outputs"], about["dtype"], about["version"]) == (
        C,
        K,
        "float64",
        1,
    )


# ── any neuron, by its operations ─────────────────────────────────────────────────────────────────

OPERATIONS = {
    "add": np.add,
    "sub": np.subtract,
    "rsub": lambda a, b: b - a,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "abs": np.abs,
    "relu": lambda a: np.maximum(a, 0),
    "softplus": lambda a: np.logaddexp(0, a),
    "reciprocal": lambda a: 1 / a,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "where": np.where,
    "copy": lambda a: a * 1.0,
}


def step(layer: dict[str, Any], w: dict[str, Any], x: Any, state: dict[str, Any]) -> Any:
    """One step of a described layer; changes state, returns (output, potential)."""
    names, zero = layer["tensors"], np.zeros(layer["gates"] * layer["neurons"])
    I = x @ w[names["weight"]].T + w.get(names["bias"], zero)
    norm = layer["norm"]
    if norm is not None and norm["class"] == "BatchNorm":
        I = w[norm["scale"]] * I + w[norm["shift"]]
    elif norm is not None:
        mean, var = I.mean(-1, keepdims=True), I.var(-1, keepdims=True)
        I = (I - mean) / np.sqrt(var + norm["eps"]) * w[norm["weight"]] + w[norm["bias"]]
    I = (
        I
        + w.get(names["recurrent_bias"], zero)
        + (state["s"] @ w[names["recurrent"]].T if names["recurrent"] else 0)
    )
    gates = (
        {"I": I}
        if layer["gates"] == 1
        else {f"I{g}": part for g, part in enumerate(np.split(I, layer["gates"], -1))}
    )
    v = {**gates, "s": state["s"], **{f"state.{k}": state[k] for k in layer["neuron"]["states"]}}
    v |= {f"c.{k}": w[name] for k, name in layer["coefficients"].items()} | {
        f"a.{k}": n for k, n in layer["activation"]["constants"].items()
    }
    for result, name, *arguments in layer["step"]["operations"]:
        v[result] = OPERATIONS[name](*(v[a] if isinstance(a, str) else a for a in arguments))
    found = {
        k: v[a] if isinstance(a, str) else np.full_like(state["s"], a)
        for k, a in layer["step"]["outputs"].items()
    }
    for k in state:
        state[k] = found["s" if k == "s" else f"state.{k}"] * 1.0
    return state["s"], found["potential"] * 1.0


def in_numpy(about: dict[str, Any], w: dict[str, Any], x: Any) -> Any:
    states = [
        {k: np.zeros((B, layer["neurons"])) + v for k, v in layer["neuron"]["start"].items()}
        for layer in about["layers"]
    ]
    potentials = []
    for t in range(x.shape[1]):
        h = x[:, t]
        for layer, state in zip(about["layers"], states, strict=True):
            h, potential = step(layer, w, h, state)
        potentials.append(potential)
    return np.stack(potentials, 1)


def activation_of(kind: type[Neuron]) -> Any:
    if kind in (srnn.cells.Dense, srnn.cells.IndRNN):
        return Relu()
    return Identity() if "Leaky" in kind.__name__ or kind in CELLS else Spike()


ALL = [*NEURONS, *CELLS]


@pytest.mark.parametrize("kind", ALL, ids=lambda c: c.__name__)
def test_every_neuron_by_its_operations(kind: type[Neuron], tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = (
        srnn.Stack(
            srnn.Layer(C, N, kind(), activation_of(kind), recurrent_bias=True), srnn.Readout(N, K)
        )
        .double()
        .eval()
    )
    with torch.no_grad():
        net.layers[0].weight.mul_(4.0 if kind not in CELLS else 1.0)
    w, about = written(net, tmp_path)
    np.testing.assert_allclose(in_numpy(about, w, signal().numpy()), run(net, signal()), atol=1e-9)
    lengths = torch.tensor([T, 0, 5])
    with torch.no_grad():
        out, played = (
            net(signal(), lengths, record=True, backend="reference"),
            StatePlayer(tmp_path / "net.safetensors")(signal(), lengths),
        )
    for a, b in zip(
        (played.potential, *played.outputs), (out.potential, *out.trace.outputs), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert len(ALL) >= 22


@pytest.mark.parametrize("norm", [srnn.BatchNorm(), srnn.LayerNorm()])
def test_norms_masks_and_smooth_spikes(norm: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    layer = srnn.Layer(
        C,
        N,
        srnn.AdEx(u_rest=0.1),
        Soft(SLayer()),
        norm=norm,
        sparsity=0.4,
        zero_diagonal=True,
        recurrent_bias=True,
    )
    torch.nn.init.normal_(layer.norm.bias)
    if isinstance(layer.norm, torch.nn.BatchNorm1d):
        torch.nn.init.normal_(layer.norm.running_mean)
    net = srnn.Stack(layer, srnn.Readout(N, K)).double().eval()
    w, about = written(net, tmp_path)
    np.testing.assert_allclose(in_numpy(about, w, signal().numpy()), run(net, signal()), atol=1e-9)
    np.testing.assert_allclose(
        StatePlayer(tmp_path / "net.safetensors")(signal()).potential.numpy(),
        run(net, signal()),
        atol=1e-9,
    )
    assert (np.diag(w["layer0.recurrent"]) == 0).all()
    assert about["layers"][0]["activation"]["options"] == {"surrogate": "SLayer"}
    assert about["layers"][0]["activation"]["constants"] == {
        "surrogate.slope": 5.0,
        "surrogate.gain": 0.5,
    }


def test_parts_that_are_no_layer(tmp_path: Path) -> None:
    net = srnn.Stack(
        srnn.Bidirectional(srnn.Layer(C, N, srnn.LIF()), merge=srnn.Mean()),
        baselines.CausalConv(N, K, 3),
    )
    w, about = written(net, tmp_path)
    both, conv = about["layers"]
    assert (both["kind"], both["merge"], both["backward"]["tensors"]["weight"]) == (
        "Bidirectional",
        "Mean",
        "layer0.backward.weight",
    )
    assert (conv["kind"], conv["tensors"]["conv.weight"]) == ("CausalConv", "layer1.conv.weight")
    assert w["layer1.conv.weight"].shape == (K, N, 3)
    assert not (w["layer0.forward.weight"] == w["layer0.backward.weight"]).all()
    options = {"surrogate": "MultiGaussian", "at_threshold": False}
    assert both["forward"]["activation"]["options"] == options
    with pytest.raises(
        ConfigError, match="holds a Bidirectional, of which the files have the numbers only"
    ):
        StatePlayer(tmp_path / "net.safetensors")
    with pytest.raises(ConfigError, match=r"does not end in \.safetensors"):
        to_state(net, tmp_path / "net.npz")
