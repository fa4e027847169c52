"""Every form of a network, pushed in every way, on every backend: what comes is the whole's."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srnn import ALIF, Layer, Readout, Stack, cells
from srnn._build import BuildError
from srnn._check import ShapeError
from srnn.activations import Identity
from srnn.kernels import cpu
from srnn.neuron import Neuron
from srnn.nn.baselines import CausalConv, CumulativeReadout, Exponential
from srnn.nn.layers import BatchNorm, LayerNorm
from srnn.nn.part import LayerOutput, Part
from srnn.stream import Decision, Stream

C, K, T = 4, 3, 7


class Leak(Part):
    """An own part with a state and weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs = self.outputs = channels
        self.gain = nn.Parameter(torch.ones(channels))

    def start(self, batch: int) -> dict[str, Tensor]:
        return {"sum": self.gain.new_zeros(batch, self.inputs)}

    def forward(self, x, lengths=None, state=None, *, potential=False, backend="auto"):
        v = (self.start(len(x)) if state is None else state)["sum"]
        seen = []
        for now in x.unbind(1):
            v = 0.5 * v + self.gain * now
            seen.append(v)
        y = torch.stack(seen, 1)
        return LayerOutput(y, y, y if potential else None, {"sum": v})


class Twice(Part):
    """An own part with neither."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs = self.outputs = channels

    def forward(self, x, lengths=None, state=None, *, potential=False, backend="auto"):
        return LayerOutput(2 * x, 2 * x, 2 * x if potential else None, {})


@dataclass(frozen=True)
class Fixpoint(Neuron):
    """A neuron that no kernel can run."""

    decay: float = 0.5

    def step(self, I, s, state, c):
        u = c["decay"] * state["u"] + I
        return u.round(decimals=3), {"u": u}


FORMS = {
    "plain": lambda: Stack(Layer(C, 6, ALIF()), Readout(6, K)),
    "one layer": lambda: Stack(Readout(C, K)),
    "layer norm first": lambda: Stack(Layer(C, 6, ALIF(), norm=LayerNorm()), Readout(6, K)),
    "batch norm first": lambda: Stack(Layer(C, 6, ALIF(), norm=BatchNorm()), Readout(6, K)),
    "norm last": lambda: Stack(Layer(C, 6, ALIF()), Readout(6, K, norm=LayerNorm())),
    "norm alone": lambda: Stack(Readout(C, K, norm=LayerNorm())),
    "convolution first": lambda: Stack(CausalConv(C, 6, 3, 2, norm=BatchNorm()), Readout(6, K)),
    "convolution alone": lambda: Stack(CausalConv(C, K, 2)),
    "own part first": lambda: Stack(Leak(C), Layer(C, 6, ALIF()), Readout(6, K)),
    "own part without weights first": lambda: Stack(Twice(C), Readout(C, K)),
    "own part alone": lambda: Stack(Twice(C)),
    "own part last": lambda: Stack(Readout(C, K), Leak(K)),
    "gates": lambda: Stack(Layer(C, 5, cells.LSTM(), Identity()), CumulativeReadout(5, K)),
    "exponential": lambda: Stack(Readout(C, K), Exponential(K)),
    "no kernel": lambda: Stack(Layer(C, 6, Fixpoint(), Identity()), Readout(6, K)),
}

# one sample, of an array (C,): as any kind of thing that holds its numbers
KINDS = {
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x,
    "integers": lambda x: x.astype(np.int16),
    "truth values": lambda x: x.astype(bool),
    "list": lambda x: x.tolist(),
    "tensor": lambda x: torch.from_numpy(x),
    "float32 tensor": lambda x: torch.from_numpy(x).float(),
    "bfloat16 tensor": lambda x: torch.from_numpy(x).bfloat16(),
    "tensor with a gradient": lambda x: torch.from_numpy(x.copy()).requires_grad_(),
    "not contiguous": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "list of arrays": lambda x: list(x),
}
# how many axes what is pushed has
SHAPES = {"(C,)": 1, "(B, C)": 2, "(B, 1, C)": 3, "(B, T, C)": 4}


def pushed(stream: Stream, x: np.ndarray, axes: int, kind: str) -> np.ndarray:
    """Push x (B, T, C) in one of the ways; return the scores (B, T, K)."""
    stream.reset()
    if axes == 4:
        return stream.push(KINDS[kind](x)).scores
    made = []
    for t in range(x.shape[1]):
        now = {1: x[0, t], 2: x[:, t], 3: x[:, t : t + 1]}[axes]
        step = stream.push(KINDS[kind](now))
        wanted = {1: (), 2: (len(x),), 3: (len(x), 1)}[axes]
        assert step.label.shape == step.confidence.shape == wanted
        assert step.scores.shape == (*wanted, stream.classes)
        made.append(step.scores.reshape(len(x), 1, -1))
    return np.concatenate(made, 1)


@pytest.mark.parametrize("backend", ["cpu", "auto", "reference", "no compiler"])
@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_every_form_pushed_in_every_way(form, backend, monkeypatch):
    if backend == "cpu" and form == "no kernel":
        pytest.skip("this one has no kernel")
    if backend == "no compiler":

        def none(key: str, dtype: torch.dtype) -> None:
            raise BuildError("no C compiler")

        monkeypatch.setattr(cpu, "kernel", none)
    asked = "auto" if backend == "no compiler" else backend
    counted = 0
    for batch, record, dtype in ((1, False, torch.float32), (3, True, torch.float64)):
        torch.manual_seed(0)
        net = FORMS[form]().to(dtype).eval()
        x = (np.random.default_rng(1).random((batch, T, C)) < 0.5).astype(np.float64)
        whole = net(torch.from_numpy(x).to(dtype), backend=asked)
        stream = Stream(net, batch=batch, decision=Decision("last"), backend=asked, record=record)
        near = 1e-5 if dtype is torch.float32 else 1e-12
        for (_, axes), kind in itertools.product(SHAPES.items(), KINDS):
            if axes == 1 and batch > 1:
                continue
            got = pushed(stream, x, axes, kind)
            assert np.allclose(got, whole.potential.double().numpy(), rtol=near, atol=near)
            for mine, theirs in zip(stream.state, whole.state, strict=True):
                assert set(mine) == set(theirs)
                assert all(torch.allclose(mine[k], theirs[k], near, near) for k in mine)
            counted += 1
    assert counted == 7 * len(KINDS)


@pytest.mark.parametrize("form", ["plain", "layer norm first", "own part first"])
def test_what_is_no_sample_is_refused_with_one_error(form):
    stream, x = Stream(FORMS[form]()), [0.5] * C
    stream.push(x)
    before = stream.state
    for bad, words in (
        ([x, x[:2]], "rows of one length"),
        ("0.5", "expected an array, a list or a tensor of real numbers"),
        (None, "x is a NoneType"),
        ([None] * C, "x is a list"),
        (np.ones(C, complex), "x is of type complex128"),
        (torch.ones(C, dtype=torch.complex64), "x is of type complex64"),
        (np.float64(1.0), r"x has shape \(\)"),
        ([], r"x has shape \(0,\)"),
        (x[:-1], r"x has shape \(3,\)"),
        (np.ones((1, 1, 1, C)), r"x has shape \(1, 1, 1, 4\)"),
    ):
        with pytest.raises(ShapeError, match=words):
            stream.push(bad)
    for lengths in ([0.5], ["1"], [[1], [1, 2]], torch.tensor([1.0])):
        with pytest.raises(ShapeError, match=r"lengths is .* of integers"):
            stream.push([[x, x]], lengths)
    assert stream.push([[x, x]], torch.tensor([1], dtype=torch.int32)).label.shape == (1, 2)
    assert stream.steps.tolist() == [2]
    assert len(before) == len(stream.state)


@torch.no_grad()
def test_a_network_of_bfloat16_streams():
    torch.manual_seed(0)
    net = Stack(Layer(C, 6, ALIF()), Readout(6, K)).bfloat16()
    x = torch.randint(2, (1, T, C)).bfloat16()
    got = Stream(net, decision=Decision("last")).push(x).scores
    assert np.array_equal(got, net(x).potential.double().numpy())
