"""The published name sets give networks that compute what the published scripts compute, written
out here once more.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

import srnn
from srnn._check import ConfigError
from srnn.export.published import NAMES, from_published, shapes, unused

VALUES = {
    "ecg": 1_818,
    "smnist": 156_702,
    "psmnist": 156_446,
    "shd": 142_396,
    "ssc": 777_305,
    "gsc": 221_725,
}
"""How many numbers each published file holds."""


def made_up(name: str, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Random tensors of the published names and shapes; time constants partly below 1 and negative,
    as in some of the files.
    """
    draw = torch.Generator().manual_seed(len(name))
    found = {}
    for key, shape in shapes(name).items():
        value = torch.randn(shape, generator=draw, dtype=torch.float64)
        if "tau" in key:
            value = 20 + 5 * value
            value[0] = 0.03
        elif key.endswith("weight"):
            value *= 3 / shape[1] ** 0.5
        else:
            value *= 0.3
        found[key] = value.to(dtype)
    if "gsc" in name:
        for key, value in found.items():
            if key.endswith("dense.bias"):
                value += 2.0  # a threshold of 1.6
    return found


# ── the published forward passes ──────────────────────────────────────────────────────────────────


class Unit:
    """One published layer: names of its maps and constants, and what it remembers."""

    def __init__(
        self,
        p: dict[str, Tensor],
        maps: list[str],
        tau_m: str,
        tau_adp: str | None,
        b0: float,
        beta: float,
    ) -> None:
        self.p, self.maps, self.b0, self.beta = p, maps, b0, beta
        self.alpha = torch.exp(-1.0 / p[tau_m])
        self.rho = None if tau_adp is None else torch.exp(-1.0 / p[tau_adp])
        self.mem = self.spike = torch.zeros(())
        self.b = torch.tensor(1.6 if b0 == 1.6 else 0.01, dtype=torch.float64)

    def __call__(self, below: Tensor) -> Tensor:
        drive = linear(below, self.p[f"{self.maps[0]}.weight"], self.p[f"{self.maps[0]}.bias"])
        if len(self.maps) == 2:
            own = self.spike if self.spike.dim() else torch.zeros_like(drive)
            drive = drive + linear(
                own, self.p[f"{self.maps[1]}.weight"], self.p[f"{self.maps[1]}.bias"]
            )
        if self.rho is None:  # the leaky read-out
            self.mem = self.mem * self.alpha + (1 - self.alpha) * drive
            return self.mem
        self.b = self.rho * self.b + (1 - self.rho) * self.spike
        bar = self.b0 + self.beta * self.b
        self.mem = self.mem * self.alpha + (1 - self.alpha) * drive - bar * self.spike
        self.spike = (self.mem - bar > 0).to(drive.dtype)
        return self.spike


def units(name: str, p: dict[str, Tensor]) -> list[Unit]:
    if name == "ecg":
        return [
            Unit(p, ["i2h", "h2h"], "tau_m_h", "tau_adp_h", 0.1, 0.0),
            Unit(p, ["h2o"], "tau_m_o", "tau_adp_o", 0.1, 1.8),
        ]
    if name in ("smnist", "psmnist"):
        maps = {"r1": ["i2h", "h2h"], "r2": ["h2d", "d2d"], "d1": ["dense1"], "o": ["d2o"]}
        return [Unit(p, m, f"tau_m_{k}", f"tau_adp_{k}", 0.01, 1.8) for k, m in maps.items()]
    if name in ("shd", "ssc"):
        first = Unit(p, ["i_2_h1", "h1_2_h1"], "tau_m_h1", "tau_adp_h1", 0.01, 1.8)
        return [
            first,
            Unit(p, ["h1_2_h2", "h2_2_h2"], "tau_m_h2", "tau_adp_h2", 0.01, 1.8),
            Unit(p, ["h2o"], "tau_m_o", None, 0, 0),
        ]
    dense = Unit(p, ["dense_1.dense"], "dense_1.tau_m", "dense_1.tau_adp", 1.6, 0.184)
    rnn = Unit(p, ["rnn_1.dense", "rnn_1.recurrent"], "rnn_1.tau_m", "rnn_1.tau_adp", 1.6, 0.184)
    return [dense, rnn, Unit(p, ["dense_2.dense"], "dense_2.tau_m", None, 0, 0)]


def published_pass(
    name: str, p: dict[str, Tensor], x: Tensor, start: list[dict[str, Tensor]] | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Return the potentials of the last layer (B, T, K) and the outputs of every layer."""
    layers = units(name, p)
    for unit, state in zip(layers, start or [], strict=False):
        unit.mem, unit.spike, unit.b = (
            state["u"],
            state.get("s", torch.zeros(())),
            state.get("eta", torch.zeros(())),
        )
    potentials, outputs = [], [[] for _ in layers]
    for t in range(x.shape[1]):
        h = x[:, t]
        for unit, kept in zip(layers, outputs, strict=True):
            h = unit(h)
            kept.append(h)
        potentials.append(layers[-1].mem)
    return torch.stack(potentials, 1), [torch.stack(kept, 1) for kept in outputs]


def signal(name: str) -> Tensor:
    channels = next(iter(shapes(name).values()))[1]
    return torch.randn(
        3, 25, channels, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )


def run(net: srnn.Stack, x: Tensor, **more: object) -> srnn.Output:
    with torch.no_grad():
        return net(x, record=True, **more)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("name", NAMES)
def test_computes_what_the_published_code_computes(name: str, backend: str) -> None:
    tensors, x = made_up(name), signal(name)
    out = run(from_published(name, tensors), x, backend=backend)
    potential, outputs = published_pass(name, tensors, x)
    torch.testing.assert_close(out.potential, potential, rtol=1e-9, atol=1e-9)
    assert out.trace is not None
    for a, b, spiking in zip(out.trace.outputs, outputs, out.trace.spiking, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
        assert not spiking or 0.01 < float(a.mean()) < 0.99


def test_from_the_published_start() -> None:
    """The ECG script starts u from U[0, 1)·b0, s from the same numbers, and η from 0.01."""
    tensors, x = made_up("ecg"), signal("ecg")
    net, start = from_published("ecg", tensors), []
    for part in net.start(len(x)):
        u = 0.1 * torch.rand(
            part["u"].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
        )
        start.append({"u": u, "s": u, "eta": torch.full_like(u, 0.01)})
    out = run(net, x, state=tuple(start))
    torch.testing.assert_close(
        out.potential, published_pass("ecg", tensors, x, start)[0], rtol=1e-9, atol=1e-9
    )
    assert not torch.allclose(out.potential, run(net, x).potential)


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_the_published_ones(name: str) -> None:
    tensors = made_up(name, torch.float32)
    assert sum(t.numel() for t in tensors.values()) == VALUES[name]
    net = from_published(name, {key: t.numpy() for key, t in tensors.items()})
    assert next(net.parameters()).dtype == torch.float32
    kept = sum(p.numel() for p in net.parameters())
    without_place = {"shd": 20, "ssc": 35, "gsc": 1}.get(name, 0)
    assert kept == VALUES[name] - without_place
    assert set(unused(name)) == {
        "ecg": {"tau_adp_h"},
        "shd": {"tau_adp_o"},
        "ssc": {"tau_adp_o"},
        "gsc": {"thr"},
    }.get(name, set())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_called_unused_changes_nothing(name: str) -> None:
    tensors, x = made_up(name), signal(name)
    changed = {key: t + 7 if key in unused(name) else t for key, t in tensors.items()}
    assert torch.equal(
        run(from_published(name, tensors), x).potential,
        run(from_published(name, changed), x).potential,
    )


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_neuron_of_nan_never_spikes(backend: str) -> None:
    tensors, x = made_up("gsc"), signal("gsc")
    for key in ("dense_1.dense.weight", "dense_1.dense.bias", "dense_1.tau_m", "dense_1.tau_adp"):
        tensors[key][172] = torch.nan
    out = run(from_published("gsc", tensors), x, backend=backend)
    assert out.trace is not None
    assert (out.trace.outputs[0][..., 172] == 0).all()
    assert torch.isfinite(out.potential).all()
    torch.testing.assert_close(
        out.potential, published_pass("gsc", tensors, x)[0], rtol=1e-9, atol=1e-9
    )


def test_one_error_says_all_that_is_wrong() -> None:
    tensors = made_up("ecg")
    del tensors["h2h.bias"], tensors["tau_m_o"]
    tensors |= {
        "h2o.weight": torch.zeros(36, 6).double(),
        "tau_m_h": torch.zeros(36, dtype=torch.long),
        "extra": torch.zeros(1).double(),
    }
    with pytest.raises(ConfigError) as caught:
        from_published("ecg", tensors)
    lines = str(caught.value).splitlines()
    assert lines[1:] == [
        "  missing: h2h.bias, tau_m_o",
        "  unexpected: extra",
        "  misshapen: h2o.weight is (36, 6), expected (6, 36), types torch.float64, "
        "torch.int64, expected all torch.float32 or all torch.float64 (tensor.float())",
    ]
    with pytest.raises(ConfigError, match=r"there is no 'shdd'\. Did you mean 'shd'\?"):
        from_published("shdd", {})
