"""Within the cpu backend the same numbers come out to the bit, however they are computed; on a
dyadic grid those of the reference too.
"""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor

import srnn.cells
import srnn.neurons
from srnn import BatchNorm, Layer, Readout, Stack
from srnn.activations import Activation, Identity, Soft, Spike
from srnn.cells import LiGRU
from srnn.init import Uniform
from srnn.kernels import cpu, scan
from srnn.neuron import Neuron
from srnn.neurons import (
    ALIF,
    IF,
    LIF,
    AdLIF,
    AlphaLeaky,
    Leaky,
    SoftLIF,
    SparchAdLIF,
    SparchLIF,
    YinLIF,
)
from srnn.surrogates import FastSigmoid

KINDS: dict[str, tuple[Neuron, Activation]] = {
    "ALIF": (ALIF(Uniform(2.0, 6.0), Uniform(3.0, 9.0), 0.1), Spike()),
    "soft ALIF": (ALIF(Uniform(2.0, 6.0), Uniform(3.0, 9.0), 0.1), Soft(FastSigmoid(slope=2.0))),
    "LiGRU": (LiGRU(), Identity()),
}
DTYPES = (torch.float32, torch.float64)
B, T, C, N = 37, 30, 40, 33
LENGTHS = torch.cat([torch.tensor([T, 0, T, 1]), torch.arange(B - 4) % (T + 1)])


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Equal to the bit: 0 and -0 differ."""
    whole = {4: torch.int32, 8: torch.int64}
    return all(
        torch.equal(
            a[k].contiguous().view(whole[a[k].element_size()]),
            b[k].contiguous().view(whole[b[k].element_size()]),
        )
        for k in a | b
    )


def make(kind: str, dtype: torch.dtype, recurrent: bool = True) -> Layer:
    torch.manual_seed(0)
    neuron, activation = KINDS[kind]
    layer = Layer(
        C, N, neuron, activation, recurrent=recurrent, recurrent_bias=recurrent, dtype=dtype
    )
    torch.nn.init.uniform_(layer.bias, -0.1, 0.3)
    return layer


def signal(dtype: torch.dtype, density: float) -> Tensor:
    torch.manual_seed(1)
    return 3 * torch.randn(B, T, C, dtype=dtype) * (torch.rand(B, T, C) < density)


def everything(layer: Layer, x: Tensor, lengths: Tensor | None = LENGTHS) -> dict[str, Tensor]:
    """Every result of the layer, and every gradient from random gradients on the results."""
    layer.zero_grad()
    torch.manual_seed(2)
    start = {
        k: torch.rand(B, N, dtype=x.dtype, requires_grad=True) for k in (*layer.neuron.states, "s")
    }
    leaf = x.clone().requires_grad_()
    run = layer(leaf, lengths, start, potential=True, backend="cpu")
    results = {
        "output": run.output,
        "potential": run.potential,
        **{f"end.{k}": v for k, v in run.state.items()},
    }
    torch.autograd.backward(list(results.values()), [torch.randn_like(v) for v in results.values()])
    grads = {
        "x": leaf,
        **dict(layer.named_parameters()),
        **{f"start.{k}": v for k, v in start.items()},
    }
    return {
        **{k: v.detach() for k, v in results.items()},
        **{f"grad of {k}": v.grad.clone() for k, v in grads.items()},
    }


cases = pytest.mark.parametrize(
    ("kind", "dtype", "density"),
    [(k, d, p) for k in KINDS for d in DTYPES for p in (0.05, 1.0)],
    ids=lambda v: str(v).removeprefix("torch."),
)


@cases
def test_two_runs(kind, dtype, density):
    layer, x = make(kind, dtype), signal(dtype, density)
    first = everything(layer, x)
    assert len(first) == 2 + 2 * len(layer.neuron.states) + 2 + 1 + len(list(layer.parameters()))
    assert same(first, everything(layer, x))
    if kind == "ALIF":
        assert 0.02 < first["output"].sum() / (LENGTHS.sum() * N) < 0.6


@cases
def test_thread_counts(kind, dtype, density):
    """1 and 2 threads, and more than there are cores; by the whole batch and by fewer recordings
    than a tile has.
    """
    layer, x = make(kind, dtype), signal(dtype, density)
    torch.set_num_threads(1)
    one = everything(layer, x)
    try:
        for threads in (2, 3, 16):
            torch.set_num_threads(threads)
            assert same(one, everything(layer, x)), threads
    finally:
        torch.set_num_threads(1)


@cases
def test_gathered_and_dense_products(kind, dtype, density, monkeypatch):
    layer, x = make(kind, dtype), signal(dtype, density)
    found = []
    for sparse in (0, 1, 2):
        monkeypatch.setattr(cpu, "SPARSE", sparse)
        found.append(everything(layer, x))
    assert same(found[0], found[1])
    assert same(found[0], found[2])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_signs_of_zero(dtype, monkeypatch):
    """A product that starts at -0 and adds nothing, and one that adds zeros."""
    layer = Layer(5, 4, Leaky(), Identity(), recurrent=False, dtype=dtype)
    with torch.no_grad():
        layer.bias.fill_(-0.0)
    found = []
    for sparse in (0, 1, 2):
        monkeypatch.setattr(cpu, "SPARSE", sparse)
        found.append(
            {
                "y": scan.linear(
                    torch.zeros(2, 3, 5, dtype=dtype), layer.weight, layer.bias, backend="cpu"
                ).detach()
            }
        )
        assert torch.equal(found[-1]["y"], torch.zeros(2, 3, 4, dtype=dtype))  # 0 or -0


def layers() -> dict[str, tuple[Neuron, Activation]]:
    """Every neuron with its spike and every cell with its own output."""
    kinds = sorted(
        {c for m in (srnn.neurons, srnn.cells) for c in vars(m).values() if inspect.isclass(c)},
        key=lambda c: c.__name__,
    )
    return {
        c.__name__: (
            c(),
            Identity()
            if c.__module__.startswith("srnn.cells") or c in (Leaky, AlphaLeaky)
            else Spike(),
        )
        for c in kinds
        if c is not Neuron
    }


LAYERS = layers()


def in_pieces(run, sizes: list[int], start):
    """Run piece after piece with the state carried over; return output, potential and the last
    state.
    """
    outputs, potentials, state, first = [], [], start, 0
    for size in sizes:
        piece = run(first, size, state)
        outputs.append(piece.output)
        potentials.append(piece.potential)
        state, first = piece.state, first + size
    return {"output": torch.cat(outputs, 1), "potential": torch.cat(potentials, 1), **state}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_streaming(name, dtype):
    """Step by step, in chunks of 3 and of 8, and as a whole: forward the same bits, backward the
    same numbers.
    """
    torch.manual_seed(0)
    neuron, activation = LAYERS[name]
    layer = Layer(6, 9, neuron, activation, dtype=dtype)
    x, batch, steps = 2 * torch.randn(11, 21, 6, dtype=dtype), 11, 21
    start = {
        k: torch.rand(batch, 9, dtype=dtype, requires_grad=True) for k in (*neuron.states, "s")
    }
    weights = None
    found = []
    for size in (steps, 1, 3, 8):
        layer.zero_grad()
        sizes = [min(size, steps - k) for k in range(0, steps, size)]
        got = in_pieces(
            lambda first, n, state: layer(
                x[:, first : first + n], None, state, potential=True, backend="cpu"
            ),
            sizes,
            start,
        )
        weights = weights or {k: torch.randn_like(v) for k, v in got.items()}
        leaves = {**dict(layer.named_parameters()), **start}
        grads = torch.autograd.grad(
            [got[k] for k in weights],
            list(leaves.values()),
            list(weights.values()),
            allow_unused=True,
        )
        found.append(
            ({k: v.detach() for k, v in got.items()}, dict(zip(leaves, grads, strict=True)))
        )
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-12}[dtype]
    for values, grads in found[1:]:
        assert same(found[0][0], values)
        for k, g in grads.items():
            assert float((g - found[0][1][k]).abs().max()) <= tolerance * float(
                found[0][1][k].abs().max()
            ), k


def test_streaming_a_network():
    """Layers, a cell with norm, a readout: one step at a time, as a stream arrives."""
    torch.manual_seed(0)
    net = Stack(
        Layer(6, 17, ALIF()), Layer(17, 12, LiGRU(), Identity(), norm=BatchNorm()), Readout(12, 3)
    ).eval()
    x, state, seen = 3 * torch.randn(9, 20, 6), None, []
    whole = net(x)
    for t in range(20):
        out = net(x[:, t : t + 1], state=state)
        state = out.state
        seen.append(out.potential)
    assert same({"potential": whole.potential}, {"potential": torch.cat(seen, 1)})


@cases
def test_recordings_one_by_one(kind, dtype, density):
    """Each recording alone, cut to its own length: the batch around it and the padding change no
    bit.
    """
    layer, x = make(kind, dtype), signal(dtype, density)
    together = layer(x, LENGTHS, potential=True, backend="cpu")
    for b in range(B):
        length = int(LENGTHS[b])
        if length == 0:
            assert not together.output[b].any()
            continue
        alone = layer(x[b : b + 1, :length], potential=True, backend="cpu")
        for a, c in ((together.output, alone.output), (together.potential, alone.potential)):
            assert same({"": a[b : b + 1, :length].detach()}, {"": c.detach()})
            assert not a[b, length:].any()
        assert same(
            {k: v[b : b + 1].detach() for k, v in together.state.items()},
            {k: v.detach() for k, v in alone.state.items()},
        )


# ── a grid on which every backend is exact ────────────────────────────────────────────────────────

GRID = {
    "alpha": 0.5,
    "rho": 0.5,
    "beta": 0.5,
    "a": 1.0,
    "b": 0.5,
    "b0": 0.25,
    "threshold": 0.25,
    "leak": 0.5,
    "decay": 0.5,
}


@pytest.mark.parametrize(
    "kind",
    [ALIF, IF, LIF, AdLIF, Leaky, SoftLIF, SparchAdLIF, SparchLIF, YinLIF],
    ids=lambda k: k.__name__,
)
def test_the_dyadic_grid(kind):
    """Weights k/16, decays 1/2, ten steps: sums are exact in both number types, so both backends
    give the same bits, spikes and potentials.
    """
    neuron, batch, steps, n, channels = kind(), 20, 10, 24, 8
    g = torch.Generator().manual_seed(0)
    W, R = (torch.randint(-8, 9, (n, m), generator=g) / 16 for m in (channels, n))
    x = (torch.rand(batch, steps, channels, generator=g) < 0.4).float()
    names = neuron.coeffs({k: torch.ones(n) for k in neuron.constants()})
    coeffs = {k: torch.tensor(1.0 if k == "beta" and kind is ALIF else GRID[k]) for k in names}
    found = []
    for dtype in DTYPES:
        for backend in ("reference", "cpu"):
            start = {k: torch.zeros(batch, n, dtype=dtype) for k in (*neuron.states, "s")}
            current = scan.linear(x.to(dtype), W.to(dtype), None, backend=backend)
            c = {k: v.to(dtype) for k, v in coeffs.items()}
            run = scan.run(
                neuron, Spike(), current, R.to(dtype), c, start, potential=True, backend=backend
            )
            found.append(
                [
                    run.output.double(),
                    run.potential.double(),
                    *(v.double() for v in run.state.values()),
                ]
            )
    assert 0.03 < found[0][0].mean() < (0.7 if kind is Leaky else 0.6)  # it has no threshold
    assert (found[0][0][:, -1] != found[0][0][:, 0]).any()
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_threads_of_its_own_give_the_bits_of_torchs_team(kind, monkeypatch):
    """Without OpenMP the loops start threads for the length of a call: another library, which only
    machines without it would run.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        layer, x = make(kind, torch.float32), signal(torch.float32, 0.2)
        expected, shared, flags = everything(layer, x), cpu.library(torch.float32), cpu._openmp()
        monkeypatch.setattr(cpu, "_openmp", lambda: ())
        monkeypatch.setattr(cpu, "_KERNELS", {})
        cpu.library.cache_clear()
        got = everything(layer, x)
        assert (cpu.library(torch.float32)._name == shared._name) == (not flags)
    finally:
        cpu.library.cache_clear()
        torch.set_num_threads(before)
    assert same(expected, got)
