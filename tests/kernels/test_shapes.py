"""The cpu backend at odd shapes, layouts and uses: one time step, one neuron, sizes beside those of
tiles and vectors, strides, unused results.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from srnn import Layer
from srnn.activations import Identity, Soft, Spike
from srnn.cells import LiGRU
from srnn.init import Constant, Uniform
from srnn.kernels import memory, scan
from srnn.neurons import ALIF, LIF
from srnn.nn.layers import LayerOutput
from srnn.surrogates import FastSigmoid

DTYPES = (torch.float32, torch.float64)
KINDS = {
    "ALIF": (ALIF, Spike()),
    "soft ALIF": (ALIF, Soft(FastSigmoid(slope=2.0))),
    "LiGRU": (LiGRU, Identity()),
}


def make(
    kind: str, C: int, N: int, dtype: torch.dtype = torch.float64, seed: int = 0, **kwargs
) -> Layer:
    torch.manual_seed(seed)
    neuron, activation = KINDS[kind]
    constants = (
        {}
        if neuron is LiGRU
        else {
            "tau_m": Uniform(2.0, 6.0),
            "tau_adp": Uniform(3.0, 9.0),
            "b0": Constant(0.1),
            "beta": Uniform(0.5, 1.5),
        }
    )
    kwargs = {"recurrent_bias": kwargs.get("recurrent", True)} | kwargs
    layer = Layer(C, N, neuron(**constants), activation, dtype=dtype, **kwargs)
    with torch.no_grad():
        for b in (layer.bias, layer.recurrent_bias):
            if b is not None:
                b.uniform_(-0.1, 0.3)
    return layer


def signal(
    B: int, T: int, C: int, dtype: torch.dtype = torch.float64, density: float = 1.0, seed: int = 1
) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(B, T, C, generator=g, dtype=dtype)) * (
        torch.rand(B, T, C, generator=g) < density
    )


def everything(run: LayerOutput) -> list[Tensor]:
    return [run.output, run.potential, *run.state.values()]


def check(
    layer: Layer,
    x: Tensor,
    lengths: Tensor | None = None,
    pick: Callable[[LayerOutput], Sequence[Tensor]] = everything,
    weigh: Callable[[Tensor], Tensor] = torch.randn_like,
) -> dict[str, LayerOutput]:
    """Compare all results, and the gradients of all inputs from random gradients on the results
    picked.
    """
    tolerance = {torch.float32: 3e-4, torch.float64: 1e-10}[x.dtype]
    layer.zero_grad()
    layers = {"reference": copy.deepcopy(layer), "cpu": layer}
    runs, inputs = {}, {}
    for backend, given in layers.items():
        g = torch.Generator().manual_seed(5)
        start = {
            k: torch.rand(x.shape[0], layer.neurons, generator=g, dtype=x.dtype)
            for k in (*layer.neuron.states, "s")
        }
        here = x.detach() if not x.requires_grad else x.detach().requires_grad_()
        inputs[backend] = {
            "x": here,
            **{f"start.{k}": v.requires_grad_() for k, v in start.items()},
            **dict(given.named_parameters()),
        }
        runs[backend] = given(here, lengths, start, potential=True, backend=backend)
    same = torch.ones(x.shape[0], dtype=torch.bool)
    if layer.activation.binary:
        same = (runs["cpu"].output == runs["reference"].output).flatten(1).all(1)
        assert same.double().mean() >= 0.9
    got, wanted = everything(runs["cpu"]), everything(runs["reference"])
    for a, b in zip(got, wanted, strict=True):
        assert a.is_contiguous() or a.dim() == 2
        close(a[same], b[same], tolerance)
    torch.manual_seed(9)
    weights = [weigh(v) * same.view(-1, *[1] * (v.dim() - 1)) for v in pick(runs["reference"])]
    for run in runs.values():
        torch.autograd.backward(list(pick(run)), weights)
    for name, v in inputs["cpu"].items():
        a, b = v.grad, inputs["reference"][name].grad
        assert (a is None) == (not v.requires_grad), name
        if a is not None:
            close(a, torch.zeros_like(a) if b is None else b, tolerance, name)
    return runs


def close(got: Tensor, wanted: Tensor, tolerance: float, name: str = "") -> None:
    assert torch.isfinite(got).all(), name
    got, wanted = got.detach(), wanted.detach()
    error = (
        float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1e-6))
        if got.numel()
        else 0.0
    )
    assert error <= tolerance, f"{name}: {error}"


SHAPES = [
    (1, 1, 1, 1),
    (8, 8, 64, 5),
    (9, 9, 17, 19),
    (7, 7, 3, 5),
    (17, 17, 257, 5),
    (1, 17, 257, 19),
    (17, 1, 64, 1),
    (8, 9, 1, 5),
    (9, 8, 3, 19),
    (7, 17, 17, 1),
    (17, 7, 1, 1),
    (1, 1, 257, 5),
    (1, 9, 3, 1),
    (8, 1, 17, 19),
    (17, 8, 17, 5),
    (7, 9, 64, 19),
    (9, 17, 1, 19),
    (17, 40, 33, 70),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape, kind, dtype):
    """(B, T, N, C), all steps valid, then with random lengths, none and all among them."""
    B, T, N, C = shape
    x = signal(B, T, C, dtype).requires_grad_()
    runs = check(make(kind, C, N, dtype), x)
    if kind == "ALIF" and B * T * N > 500:
        assert 0.05 < runs["cpu"].output.mean() < 0.6
    lengths = torch.randint(0, T + 1, (B,), generator=torch.Generator().manual_seed(B))
    lengths[-1], lengths[0] = 0, T
    check(make(kind, C, N, dtype, seed=1), x, lengths)


def test_every_size_is_there():
    B, T, N, C = (set(s) for s in zip(*SHAPES, strict=True))
    assert {1, 7, 8, 9, 17} <= B
    assert {1, 7, 8, 9, 17} <= T
    assert {1, 3, 17, 64, 257} <= N
    assert {1, 5, 19} <= C


@pytest.mark.parametrize(
    "lengths",
    [[0] * 9, [17] * 9, [0] * 8 + [17], [1, 17, 0, 8, 9, 7, 16, 2, 15]],
    ids=["none", "all", "one tile", "mixed"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_lengths(kind, lengths):
    """NaN where no step is valid, in x and in the gradients that arrive there: nobody reads it."""
    ends = torch.tensor(lengths)
    past = torch.arange(17) >= ends.unsqueeze(1)
    layer, x = make(kind, 5, 17), signal(9, 17, 5)
    plain = check(layer, x.clone().requires_grad_(), ends)["cpu"]
    grads = {k: p.grad.clone() for k, p in layer.named_parameters()}
    layer.zero_grad()

    def weigh(v: Tensor) -> Tensor:
        w = torch.randn_like(v)
        return w.masked_fill(past.unsqueeze(-1), torch.nan) if v.dim() == 3 else w

    dirty = x.masked_fill(past.unsqueeze(-1), torch.nan).requires_grad_()
    for other in (ends, ends.int(), torch.stack([ends, ends], 1)[:, 0]):
        run = check(copy.deepcopy(layer), dirty, other)["cpu"]
        assert all(
            torch.equal(a, b) for a, b in zip(everything(run), everything(plain), strict=True)
        )
    g = torch.Generator().manual_seed(5)
    start = {k: torch.rand(9, 17, generator=g, dtype=x.dtype) for k in (*layer.neuron.states, "s")}
    run = layer(dirty, ends, start, potential=True, backend="cpu")
    torch.manual_seed(9)
    torch.autograd.backward(everything(run), [weigh(v) for v in everything(run)])
    assert all(torch.equal(p.grad, grads[k]) for k, p in layer.named_parameters())


@pytest.mark.parametrize("lengths", [[50_000, 3], [-3, 3], [-50_000, 2**40]], ids=str)
def test_lengths_out_of_range_do_not_end_the_process(lengths):
    """A layer refuses them; a compiled graph, and whoever calls `scan.run`, has no such check.

    An error or any numbers will do, tried in a child.
    """
    c, state = (
        {k: torch.tensor(0.5) for k in ("alpha", "rho", "b0", "beta")},
        {k: torch.zeros(2, 4) for k in ("u", "eta", "s")},
    )
    current, R = torch.ones(2, 5, 4), torch.eye(4)
    scan.run(ALIF(), Spike(), current, R, c, state, backend="cpu")
    child = os.fork()
    if child == 0:
        with contextlib.suppress(Exception):
            scan.run(
                ALIF(),
                Spike(),
                current,
                R,
                c,
                state,
                lengths=torch.tensor(lengths),
                potential=True,
                backend="cpu",
            )
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda v: v.transpose(0, -1).contiguous().transpose(0, -1),
    "every other": lambda v: v.repeat_interleave(2, -1)[..., ::2],
    "offset": lambda v: torch.cat([v.flatten()[:1], v.flatten()])[1:].view(v.shape),
    "expanded recordings": lambda v: v[:1].expand(v.shape),
    "expanded last axis": lambda v: v[..., :1].expand(v.shape),
    "expanded": lambda v: v.flatten()[:1].view([1] * v.dim()).expand(v.shape),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, kind):
    """x, lengths, start, weights and the arriving gradients in other memory layouts: the same bits
    as from contiguous copies of them.
    """
    lay = LAYOUTS[layout]
    layer, lengths = make(kind, 5, 17), torch.tensor([9, 3, 0, 7, 8, 9, 9, 1, 2])
    check(
        layer,
        lay(signal(9, 9, 5)).requires_grad_(),
        lengths,
        weigh=lambda v: lay(torch.randn_like(v)),
    )
    names = (*layer.neuron.states, "s")
    given = {
        "x": signal(9, 9, 5),
        **{k: torch.rand(9, 17, dtype=torch.float64) for k in names},
        **{k: p.detach() for k, p in layer.named_parameters()},
    }
    given |= {k: v if v.dim() < 2 and "expanded" in layout else lay(v) for k, v in given.items()}
    torch.manual_seed(0)
    weights = [lay(torch.randn(9, 9, 17, dtype=torch.float64)) for _ in range(2)] + [
        lay(torch.randn(9, 17, dtype=torch.float64)) for _ in names
    ]
    found = []
    for contiguous in (False, True):
        leaves = {
            k: (v.contiguous() if contiguous else v).detach().requires_grad_()
            for k, v in given.items()
        }
        call = (leaves["x"], lengths, {k: leaves[k] for k in names})
        parameters = {k: v for k, v in leaves.items() if k not in (*names, "x")}
        run = torch.func.functional_call(
            layer, parameters, call, {"potential": True, "backend": "cpu"}
        )
        grads = torch.autograd.grad(
            everything(run),
            list(leaves.values()),
            [w.contiguous() if contiguous else w for w in weights],
        )
        found.append([*everything(run), *grads])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


PICKS: dict[str, Callable[[LayerOutput], Sequence[Tensor]]] = {
    "output": lambda run: [run.output],
    "potential": lambda run: [run.potential],
    "s at the end": lambda run: [run.state["s"]],
    "states at the end": lambda run: list(run.state.values()),
    "one step": lambda run: [run.output[:, 4]],
    "one neuron": lambda run: [run.potential[..., 2]],
    "the sum": lambda run: [run.output.sum().expand(run.output.shape[0])],
}


@pytest.mark.parametrize("lengths", [None, [9, 0, 3, 8, 9, 1, 5, 9, 2]], ids=["whole", "lengths"])
@pytest.mark.parametrize("recurrent", [True, False], ids=["recurrent", "feed-forward"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PICKS)
def test_unused_results(name, kind, recurrent, lengths):
    layer = make(kind, 5, 3, recurrent=recurrent)
    check(
        layer,
        signal(9, 9, 5).requires_grad_(),
        None if lengths is None else torch.tensor(lengths),
        pick=PICKS[name],
    )


def test_one_state_at_the_end():
    for name in ("u", "eta"):
        check(
            make("ALIF", 5, 17),
            signal(9, 9, 5).requires_grad_(),
            pick=lambda run, name=name: [run.state[name]],
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "frozen",
    [
        ("x",),
        ("recurrent",),
        ("weight",),
        ("x", "weight", "bias"),
        ("constants", "recurrent"),
        ("",),
    ],
    ids=str,
)
def test_inputs_without_gradient(frozen, kind):
    layer = make(kind, 5, 17)
    for name, p in layer.named_parameters():
        p.requires_grad_(not name.startswith(frozen))
    check(
        layer,
        signal(9, 9, 5).requires_grad_("x" not in frozen and "" not in frozen),
        torch.tensor([9, 0, 3, 8, 9, 1, 5, 9, 2]),
    )


def test_nothing_needs_a_gradient():
    layer = make("ALIF", 5, 17).requires_grad_(False)
    run = layer(signal(9, 9, 5), potential=True, backend="cpu")
    assert not any(v.requires_grad for v in everything(run))
    assert torch.equal(run.output, layer.requires_grad_()(signal(9, 9, 5), backend="cpu").output)


@pytest.mark.parametrize("neuron", ["ALIF", "LIF"])
@pytest.mark.parametrize(("level", "rate"), [(1e3, 0.0), (-1e3, 1.0)], ids=["silent", "spiking"])
def test_all_silent_and_all_spiking(neuron, level, rate):
    layer = make("ALIF", 19, 64)
    if neuron == "LIF":
        layer = Layer(19, 64, LIF(Uniform(2.0, 6.0), level), dtype=torch.float64)
    else:
        layer.constants.b0.detach().fill_(level)
    runs = check(
        layer, signal(9, 17, 19).requires_grad_(), torch.tensor([17, 0, 3, 8, 9, 1, 5, 9, 2])
    )
    assert runs["cpu"].output[0].mean() == rate


@pytest.mark.parametrize("density", [0.0, 0.02, 0.3, 0.35, 0.9])
@pytest.mark.parametrize(("dtype", "C"), list(itertools.product(DTYPES, (5, 19, 300))), ids=str)
def test_input_of_any_density(density, dtype, C):
    """Analog input with zeros in it, and binary input: on both sides of where the product changes
    from gathered to dense.
    """
    x = signal(17, 40, C, dtype, density)
    check(make("soft ALIF", C, 17, dtype), x.requires_grad_())
    check(make("ALIF", C, 17, dtype), (x.detach() != 0).to(dtype).requires_grad_())


@pytest.mark.parametrize("density", [0.05, 0.8])
def test_negative_zeros(density):
    """-0.0 in x, in the start and in the weights is a zero like any other."""
    layer, x = make("ALIF", 19, 17), signal(9, 9, 19, density=density)
    with torch.no_grad():
        layer.weight[::2, ::3] = -0.0
        layer.recurrent[1::2, ::2] = -0.0
    negative = torch.where(x == 0, -0.0, x)
    assert torch.signbit(negative[x == 0]).all()
    assert torch.equal(
        check(layer, x.requires_grad_())["cpu"].output,
        check(layer, negative.requires_grad_())["cpu"].output,
    )


def test_a_large_layer_in_used_memory():
    """Results above 1 MiB lie in memory that was used before."""
    layer, x = make("ALIF", 5, 64), signal(17, 200, 5)
    first = check(layer, x.requires_grad_(), torch.tensor([200, 0, *range(3, 18)]))[
        "cpu"
    ].output.clone()
    assert first.numel() * 8 > memory.SMALL
    second = check(layer, x, torch.tensor([200, 0, *range(3, 18)]))["cpu"].output
    assert torch.equal(first, second)


def test_memory_is_filled_with_nan():
    """The fixture works, for torch's memory and for the package's own."""
    assert torch.isnan(torch.empty(1000)).all()
    assert torch.isnan(torch.randn(3, 4).new_empty(5)).all()
    for _ in range(3):
        assert torch.isnan(memory.empty(torch.zeros(1), (memory.SMALL,))).all()
    torch.use_deterministic_algorithms(False)
    zero = torch.zeros(1000)
    del zero
    assert not torch.isnan(torch.empty(1000)).all()
