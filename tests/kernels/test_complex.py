"""Complex states and coefficients: what the kernels, streams, exports and counts make of them is
what the reference loop computes with torch's complex numbers.
"""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import srnn
from srnn import analysis
from srnn._check import ConfigError, ShapeError, SrnnError
from srnn.activations import Activation, Identity, Soft, Spike
from srnn.energy.step import operations
from srnn.export import CPlayer, to_c
from srnn.export.integer import to_integer
from srnn.export.onnx import to_onnx
from srnn.export.onnx_play import OnnxPlayer
from srnn.export.state import to_state
from srnn.export.state_play import StatePlayer
from srnn.export.torch_export import to_torch
from srnn.init import Constant, Fixed, Init, Uniform
from srnn.kernels.trace import trace_step
from srnn.neuron import Coeffs, Neuron, State
from srnn.nn.networks import UniformStart, count_parameters
from srnn.surrogates import FastSigmoid

DTYPES = (torch.float32, torch.float64)
ROUNDING = {torch.float32: 2e-4, torch.float64: 1e-12}
B, T, C, N = 4, 15, 3, 6
LENGTHS = torch.tensor([15, 3, 0, 7])


@dataclass(frozen=True)
class Resonator(Neuron):
    """A damped oscillator, z' = turn · z + I - s."""

    omega: Init = Uniform(0.1, 0.6)
    decay: Init = Constant(0.1)

    states = ("z",)

    def coeffs(self, p: dict[str, Tensor]) -> Coeffs:
        return {"turn": torch.exp(torch.complex(-p["decay"], p["omega"]))}

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        z = c["turn"] * state["z"] + I - s
        return z.real - 0.5, {"z": z}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return state["z"].real


@dataclass(frozen=True)
class TwoReal(Neuron):
    """The same with two real states."""

    omega: Init = Uniform(0.1, 0.6)
    decay: Init = Constant(0.1)

    states = ("a", "b")

    def coeffs(self, p: dict[str, Tensor]) -> Coeffs:
        size = torch.exp(-p["decay"])
        return {"cos": size * torch.cos(p["omega"]), "sin": size * torch.sin(p["omega"])}

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        a = c["cos"] * state["a"] - c["sin"] * state["b"] + I - s
        b = c["cos"] * state["b"] + c["sin"] * state["a"]
        return a - 0.5, {"a": a, "b": b}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return state["a"]


@dataclass(frozen=True)
class Everything(Neuron):
    """Every operation on complex numbers that is traced; a real state beside the complex one, which
    begins elsewhere, and truth values among the coefficients.
    """

    omega: Init = Uniform(0.1, 0.6)
    decay: Init = Constant(0.1)

    states = ("v", "z")

    def coeffs(self, p: dict[str, Tensor]) -> Coeffs:
        turn = torch.polar(torch.exp(-p["decay"]), p["omega"])
        return {"w": p["omega"], "turn": turn, "fast": p["omega"] > 0.3}

    def start(self, n: int) -> dict[str, Any]:
        return {"v": 0.25, "z": 0.5 - 0.25j}

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        z, v = state["z"], state["v"]
        k = torch.polar(0.1 + v * v, I) + torch.exp(0.1 * z * (1 + 2j)) - 1j * v
        z = c["turn"] * z / (1.5 + 0.3 * k) + torch.complex(I, v) - s + 0.1 / (2 + z.conj() * z)
        z = torch.where(v > 0, z, -0.5 * z) / 2j
        v = torch.where(c["fast"], 0.9 * v, 0.5 * v) + 0.1 * z.imag * c["w"]
        return abs(z) - 0.5 + 0.1 * z.real, {"z": z, "v": v}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return state["z"].abs() * state["v"] + s


def layer(kind: type[Neuron], dtype: torch.dtype, activation: Activation, **options: Any):
    torch.manual_seed(3)
    return srnn.Layer(C, N, kind(), activation, dtype=dtype, **options)


def signal(dtype: torch.dtype = torch.float32, channels: int = C) -> Tensor:
    draw = torch.Generator().manual_seed(2)
    return 2 * torch.randn(B, T, channels, dtype=dtype, generator=draw)


def network(kind: type[Neuron] = Resonator, dtype: torch.dtype = torch.float32) -> srnn.Stack:
    torch.manual_seed(1)
    first, second = srnn.Layer(C, N, kind(), dtype=dtype), srnn.Layer(N, 5, kind(), dtype=dtype)
    return srnn.Stack(first, second, srnn.Readout(5, 2, dtype=dtype)).eval()


def gradients(part: Any, x: Tensor, backend: str, start: Any = None) -> list[Tensor]:
    """Output, potential, final state and the gradients of everything a layer depends on."""
    part.zero_grad()
    x = x.clone().requires_grad_()
    draw = torch.Generator().manual_seed(5)
    state = part.start(len(x)) if start is None else start
    pairs = state if isinstance(state, tuple) else (state,)
    leaves = []
    for one in pairs:
        for k, v in one.items():
            one[k] = (v + 0.3 * torch.rand(v.shape, dtype=v.dtype, generator=draw)).detach()
            leaves.append(one[k].requires_grad_())
    out = part(x, LENGTHS, state, potential=True, backend=backend)
    finals = out.state if isinstance(out.state, tuple) else (out.state,)
    values = [out.output, out.potential, *(v for one in finals for v in one.values())]
    # a weighted sum in which re and im count differently
    sum(
        (v.real.sin() + v.imag.cos() if v.is_complex() else v.sin()).sum() for v in values
    ).backward()
    return [*values, x.grad, *(v.grad for v in leaves), *(p.grad for p in part.parameters())]


def close(got: list[Tensor], wanted: list[Tensor], dtype: torch.dtype) -> None:
    assert len(got) == len(wanted) > 8
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=ROUNDING[dtype], atol=ROUNDING[dtype])


# ── the kernel ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("recurrent", [True, False], ids=["recurrent", "not"])
@pytest.mark.parametrize("kind", [Resonator, Everything], ids=lambda k: k.__name__)
def test_the_kernel_is_the_reference(
    kind: type[Neuron], recurrent: bool, dtype: torch.dtype
) -> None:
    part = layer(kind, dtype, Soft(FastSigmoid()), recurrent=recurrent)
    assert part.which_backend().name == "cpu"
    found = [gradients(part, signal(dtype), way) for way in ("cpu", "reference")]
    assert sum(v.is_complex() for v in found[0]) == 2  # the final state and the start's gradient
    assert all(bool(torch.isfinite(v).all()) and bool(v.any()) for v in found[1])
    close(*found, dtype)


@pytest.mark.parametrize("kind", [Resonator, Everything], ids=lambda k: k.__name__)
def test_spikes_and_both_directions(kind: type[Neuron]) -> None:
    way = [layer(kind, torch.float64, Spike()) for _ in range(2)]
    both = srnn.Bidirectional(*way)
    found = [gradients(both, signal(torch.float64), b) for b in ("cpu", "reference")]
    assert 0.05 < float(found[0][0].detach().mean()) < 0.95
    close(*found, torch.float64)


def test_the_gradient_is_the_difference_of_values() -> None:
    part = layer(Everything, torch.float64, Soft(FastSigmoid()))
    names = dict(part.named_parameters())

    def run(x: Tensor, z: Tensor, v: Tensor, s: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(names, values, strict=True))
        out = torch.func.functional_call(
            part,
            given,
            (x, torch.tensor([3, 2]), {"z": z, "v": v, "s": s}),
            {"potential": True, "backend": "cpu"},
        )
        return out.output, out.potential, out.state["z"]

    draw = torch.Generator().manual_seed(0)
    state = [torch.rand(2, N, dtype=d, generator=draw) for d in (torch.complex128, torch.float64)]
    inputs = [
        signal(torch.float64)[:2, :3],
        *state,
        torch.rand_like(state[1]),
        *(p.detach() for p in names.values()),
    ]
    assert torch.autograd.gradcheck(run, [t.clone().requires_grad_() for t in inputs])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_complex_state_is_two_real_ones(dtype: torch.dtype) -> None:
    whole, two = (layer(kind, dtype, Soft(FastSigmoid())) for kind in (Resonator, TwoReal))
    two.load_state_dict(whole.state_dict())
    draw = torch.Generator().manual_seed(4)
    a, b, s = (torch.rand(B, N, dtype=dtype, generator=draw) for _ in range(3))
    found = []
    for part, state in (
        (whole, {"z": torch.complex(a, b), "s": s}),
        (two, {"a": a, "b": b, "s": s}),
    ):
        part.zero_grad()
        x = signal(dtype).requires_grad_()
        out = part(x, LENGTHS, state, potential=True, backend="cpu")
        z = out.state["z"] if part is whole else torch.complex(out.state["a"], out.state["b"])
        (out.output.sin().sum() + out.potential.cos().sum() + z.abs().sum()).backward()
        found.append([out.output, out.potential, z, x.grad, *(p.grad for p in part.parameters())])
    close(*found, dtype)


OPERATIONS: dict[str, Callable[[Any, Any, Tensor], Any]] = {
    "z + w": lambda z, w, r: z + w,
    "z - r": lambda z, w, r: z - r,
    "r - z": lambda z, w, r: r - z,
    "add, alpha": lambda z, w, r: torch.add(z, w, alpha=2),
    "sub, a number": lambda z, w, r: torch.sub(z, 1 + 2j),
    "rsub": lambda z, w, r: torch.rsub(z, w),
    "z * w": lambda z, w, r: z * w,
    "r * 1j": lambda z, w, r: r * 1j + z,
    "0 * z": lambda z, w, r: (0 * z).real + w * r,
    "multiply": lambda z, w, r: torch.multiply(z, r),
    "z / w": lambda z, w, r: z / w,
    "r / z": lambda z, w, r: r / z,
    "z / r": lambda z, w, r: z / (1 + r * r),
    "1 / z": lambda z, w, r: 1 / z,
    "reciprocal": lambda z, w, r: z.reciprocal(),
    "-z": lambda z, w, r: -z + (+w),
    "conj": lambda z, w, r: z.conj() * w,
    "conj_physical, of a method": lambda z, w, r: torch.conj_physical(z).mul(w),
    "real, imag": lambda z, w, r: torch.complex(z.imag, torch.real(w)) * torch.imag(z),
    "abs": lambda z, w, r: z.abs() * w,
    "abs, of a function": lambda z, w, r: torch.abs(input=z) + z,
    "exp": lambda z, w, r: torch.exp(z),
    "exp, of 1j r": lambda z, w, r: torch.exp(1j * r) * z,
    "exp, of a complex number that is real": lambda z, w, r: torch.exp(0 * z + r) + w,
    "polar": lambda z, w, r: torch.polar(r * r, r) + z,
    "where": lambda z, w, r: torch.where(r > 0, z, w),
    "where, a number": lambda z, w, r: torch.where(r > 0, z, 0.5),
}


def of(function: Callable[[Any, Any, Tensor], Any], start: complex = 0.75 - 1.5j) -> Neuron:
    """A neuron whose state is this function of it, of a coefficient and of the input."""

    @dataclass(frozen=True)
    class Of(Neuron):
        width: Init = Uniform(0.5, 1.5)

        states = ("z",)

        def coeffs(self, p: dict[str, Tensor]) -> Coeffs:
            return {"w": torch.complex(p["width"], 2 * p["width"])}

        def start(self, n: int) -> dict[str, Any]:
            return {"z": start}

        def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
            z = function(state["z"], c["w"], I)
            return z.real + z.imag, {"z": z}

        def potential(self, s: Tensor, state: State) -> Tensor:
            return state["z"].imag

    return Of()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation(name: str) -> None:
    torch.manual_seed(0)
    part = srnn.Layer(C, N, of(OPERATIONS[name]), Identity(), recurrent=False, dtype=torch.float64)
    found = []
    for backend in ("cpu", "reference"):
        part.zero_grad()
        state = {k: v.requires_grad_() for k, v in part.start(B).items()}
        x = signal(torch.float64)[:, :2].requires_grad_()
        out = part(x, state=state, backend=backend)
        (out.output.sin().sum() + out.state["z"].real.cos().sum()).backward()
        zero = [*state.values(), x, *part.parameters()]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in zero]
        found.append([out.output.detach(), out.state["z"].detach(), *grads])
    assert all(bool(v.any()) for v in found[0][:2])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e20, 1e30])
@pytest.mark.parametrize("name", ["abs", "divide"])
def test_no_square_is_too_large_or_too_small(name: str, size: float) -> None:
    function = {
        "abs": lambda z, w, r: z.abs() + 0 * z,
        "divide": lambda z, w, r: z / (z + z.conj() * 0.5),
    }
    part = srnn.Layer(C, N, of(function[name], size * (3 - 4j)), Identity(), recurrent=False)
    found = []
    for backend in ("cpu", "reference"):
        state = {k: v.requires_grad_() for k, v in part.start(B).items()}
        out = part(signal()[:, :1], state=state, backend=backend).state["z"]
        (out.real + 2 * out.imag).sum().backward()
        found.append((out.detach(), state["z"].grad))
    assert bool(torch.isfinite(torch.view_as_real(found[0][0])).all())
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=0)


def test_the_size_of_zero_has_gradient_zero() -> None:
    part = srnn.Layer(C, N, of(lambda z, w, r: z.abs() + w * r, 0.0), Identity(), recurrent=False)
    for backend in ("cpu", "reference"):
        state = {k: v.requires_grad_() for k, v in part.start(B).items()}
        part(signal()[:, :1], state=state, backend=backend).output.sum().backward()
        assert torch.equal(state["z"].grad, torch.zeros(B, N, dtype=torch.complex64))


# ── what is made of the trace ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", [Resonator, Everything], ids=lambda k: k.__name__)
def test_a_stream_is_the_whole(kind: type[Neuron], dtype: torch.dtype, tmp_path: Path) -> None:
    net, x = network(kind, dtype), signal(dtype)
    with torch.no_grad():
        whole, half = net(x), net(x[:, :7])
    stream = srnn.Stream(net, batch=B)
    stream.push(x[:, :7].numpy())
    for part, wanted in zip(stream.state, half.state, strict=True):
        assert all(torch.equal(part[k], wanted[k]) for k in wanted)
    assert stream.state[0]["z"].is_complex()
    stream.save(tmp_path / "state.safetensors")
    again = srnn.Stream(net, batch=B)
    again.load(tmp_path / "state.safetensors")
    for t in range(7, T):
        again.push(x[:, t : t + 1].numpy())
    for part, wanted in zip(again.state, whole.state, strict=True):
        assert all(torch.equal(part[k], wanted[k]) for k in wanted)
    wrong = tuple({k: v.real.contiguous() for k, v in part.items()} for part in half.state)
    with pytest.raises(ShapeError, match="complex"):
        again.state = wrong


@pytest.mark.parametrize("kind", [Resonator, Everything], ids=lambda k: k.__name__)
def test_exports_are_the_network(kind: type[Neuron], tmp_path: Path) -> None:
    net, x = network(kind), signal()
    steps = torch.full((B,), T)
    with torch.no_grad():
        wanted = net(x).potential
        assert torch.equal(CPlayer(to_c(net, tmp_path / "c"))(x, steps).potential, wanted)
        for form in ("cell", "scan"):
            player = OnnxPlayer(to_onnx(net, tmp_path / f"{form}.onnx", form=form))
            torch.testing.assert_close(torch.as_tensor(player(x, steps).potential), wanted)
        files = to_state(net, tmp_path / "net.safetensors")
        torch.testing.assert_close(StatePlayer(files[0])(x, steps).potential, wanted)
        program = torch.export.load(to_torch(net, tmp_path / "net.pt2")).module()
        torch.testing.assert_close(program(x, steps)[0], wanted)
        cell = torch.export.load(to_torch(net, tmp_path / "cell.pt2", form="cell")).module()
        torch.testing.assert_close(cell(x[:, 0], net.start(B))[0], net(x[:, :1]).potential[:, 0])


def test_whole_numbers(tmp_path: Path) -> None:
    net, x = network(), signal()
    whole = to_integer(net, 8, x)
    played = CPlayer(to_c(whole, tmp_path / "c"))(x, torch.full((B,), T))
    assert torch.equal(played.output, whole(x, torch.full((B,), T)).output)
    assert bool(played.output.any())
    with pytest.raises(ConfigError, match=r"(sin|cos) has no integer form"):
        to_integer(network(Everything), 8, x)


def test_a_complex_product_is_four_products_and_two_sums() -> None:
    counts = Counter(op.name for op in trace_step(Resonator()).ops)
    # turn · z; then I and s meet the real part only, and 0.5
    assert counts == {"mul": 4, "sub": 3, "add": 2}
    whole, two = (layer(k, torch.float32, Spike()) for k in (Resonator, TwoReal))
    assert operations(whole) == operations(two)
    assert operations(whole)["product"] == 4
    assert operations(whole)["add"] == 5
    nets = [srnn.Stack(part, srnn.Readout(N, 2)).eval() for part in (whole, two)]
    energies = []
    for net in nets:
        net.load_state_dict(nets[0].state_dict())
        with torch.no_grad():
            energies.append(
                srnn.energy.count(net, net(signal(), record=True).trace, srnn.energy.Measured())
            )
    assert energies[0].energy == energies[1].energy > 0


def test_the_network_around_it() -> None:
    net = network(dtype=torch.float64).train()
    x = signal(torch.float64)
    found = []
    for segment in (None, 4):
        net.zero_grad()
        start = net.start(B)
        out = net(x, state=start, segment=segment, lengths=LENGTHS)
        (out.potential.sum() + out.state[0]["z"].imag.sum()).backward()
        found.append([out.potential, out.state[0]["z"], *(p.grad for p in net.parameters())])
    close(*found, torch.float64)
    used, unused = count_parameters(net)
    assert unused == 0
    assert used == sum(p.numel() for p in net.parameters())
    with torch.no_grad():  # what comes back may be handed in again
        first = net(x[:, :6])
        rest = net(x[:, 6:], state=srnn.nn.networks.detached(first.state))
        assert torch.equal(rest.state[0]["z"], net(x).state[0]["z"])


def test_copies_and_torch_compile() -> None:
    net, x = network(Everything), signal()
    wanted = net(x).potential
    again = pickle.loads(pickle.dumps(copy.deepcopy(net)))
    assert torch.equal(again(x).potential, wanted)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x).potential, wanted)


def test_a_state_read_as_complex_before_it_is_returned_so() -> None:
    """z.imag of a real tensor is an error of torch: the step is asked with a complex one."""

    @dataclass(frozen=True)
    class Reads(Everything):
        def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
            z = c["turn"] * state["z"] + I
            return state["z"].imag + state["v"], {"z": z, "v": 0.9 * state["v"] - z.imag}

    part = layer(Reads, torch.float64, Soft(FastSigmoid()))
    assert {k for k, v in part.start(1).items() if v.is_complex()} == {"z"}
    assert part.which_backend().name == "cpu"


@dataclass(frozen=True)
class Membrane(Resonator):
    """The same, its state called u."""

    states = ("u",)

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        x, new = super().step(I, s, {"z": state["u"]}, c)
        return x, {"u": new["z"]}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return state["u"].real


def test_a_drawn_start_and_a_picture() -> None:
    net = srnn.Stack(srnn.Layer(C, N, Membrane()), srnn.Readout(N, 2))
    u = UniformStart()(net, B)[0]["u"]
    assert u.dtype is torch.complex64
    assert bool(u.real.all())
    assert not bool(u.imag.any())
    net(signal(), state=UniformStart()(net, B))
    found = analysis.record_neuron(Membrane(omega=0.3), torch.ones(20))
    assert {"u.re", "u.im", "spikes", "current"} == set(found)
    _, shown = analysis.neuron_traces({"resonator": Membrane(omega=0.3)}, torch.ones(20))
    assert bool(found["u.im"].any())
    assert "u.im" in shown["resonator"]


# ── what is refused ───────────────────────────────────────────────────────────────────────────────

OUTSIDE = torch.tensor(1j)
REFUSED: dict[str, Callable[[Any, Any, Tensor], Any]] = {
    "angle": lambda z, w, r: torch.angle(z) + z,
    "sqrt": lambda z, w, r: torch.sqrt(z),
    "tanh": lambda z, w, r: z.tanh(),
    "log": lambda z, w, r: torch.log(z),
    "power": lambda z, w, r: z**2,
    "sgn": lambda z, w, r: torch.sgn(z),
    "mul_": lambda z, w, r: z.clone().mul_(w),
    "stack": lambda z, w, r: torch.stack([z, z])[0],
    "view_as_real": lambda z, w, r: z + torch.view_as_real(z)[..., 0],
    "outside": lambda z, w, r: z * OUTSIDE,
    "==": lambda z, w, r: torch.where(z == w, z, w),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_traced_runs_on_the_reference(name: str) -> None:
    part = srnn.Layer(C, N, of(REFUSED[name]), Identity(), recurrent=False)
    chosen = part.which_backend()
    assert chosen.name == "reference"
    assert name in chosen.reason
    assert "Of.step" in chosen.reason
    assert "test_complex.py:" in chosen.reason
    with pytest.raises(ConfigError, match="complex"):
        part(signal(), backend="cpu")
    assert part(signal()[:, :1]).state["z"].is_complex()


def changed(**methods: Any) -> type[Neuron]:
    return dataclass(frozen=True)(type("Changed", (Resonator,), methods))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: changed(
                step=lambda self, I, s, state, c: (
                    (c["turn"] * state["z"] + I,) * 1 + ({"z": c["turn"] * state["z"]},)
                )
            ),
            r"step: x is torch.complex64.*\.real",
        ),
        (
            lambda: changed(
                step=lambda self, I, s, state, c: (I, {"z": state["z"].imag + I}),
            ),
            r"imag is not implemented for tensors with non-complex dtypes",
        ),
        (lambda: changed(potential=lambda self, s, state: state["z"]), "its potential is complex"),
        (
            lambda: changed(start=lambda self, n: {"z": 0.0, "s": 1j}),
            r"start: s is complex, and s is real",
        ),
        (
            lambda: changed(
                start=lambda self, n: {"z": 1j},
                step=lambda self, I, s, state, c: (I, {"z": state["z"] * 0.5 + I}),
            ),
            "start: z is complex, and step returns it as a real number",
        ),
        (
            lambda: changed(
                init=lambda self, n: {"omega": torch.ones(n) * 1j, "decay": torch.ones(n)}
            ),
            "init: omega is complex, and constants are real",
        ),
        (
            lambda: changed(
                step=lambda self, I, s, state, c: (I, {"z": state["z"].real > 0}),
                potential=lambda self, s, state: s,
            ),
            r"step: z is torch.bool in a layer of torch.float32.*\.to\(torch.float32\)",
        ),
        (
            lambda: changed(
                step=lambda self, I, s, state, c: (I, {"z": state["z"].to(torch.complex128) + I}),
            ),
            r"step: z is torch.complex128 in a layer of torch.float32; expected torch.complex64",
        ),
    ],
)
def test_refused_when_a_layer_is_built(build: Callable[[], type[Neuron]], words: str) -> None:
    with pytest.raises((ConfigError, RuntimeError), match=words):
        srnn.Layer(C, N, build()())


def test_refused_types() -> None:
    with pytest.raises(ConfigError, match=r"real numbers.*complex where step returns it so"):
        srnn.Layer(C, N, Resonator(), dtype=torch.complex64)
    with pytest.raises(ConfigError, match=r"number type is torch\.int64"):
        srnn.Layer(C, N, srnn.ALIF(), dtype=torch.int64)
    turning = changed(coeffs=lambda self, p: {"turn": torch.exp(1j * p["omega"])})
    with pytest.raises(ConfigError, match="complex numbers of float32 and float64 only"):
        srnn.Layer(C, N, turning(), dtype=torch.bfloat16, recurrent=False)
    with pytest.raises(SrnnError):
        Fixed(torch.tensor(1j))
    with pytest.raises(SrnnError):
        Constant(1j)
    part = srnn.Layer(C, N, Resonator())
    state = {k: v.real.contiguous() for k, v in part.start(B).items()}
    with pytest.raises(ShapeError, match=r"'z'.*float32.*the complex one: torch.complex64"):
        part(signal(), state=state)
    with pytest.raises(ShapeError, match=r"'s'.*complex64"):
        part(signal(), state={**part.start(B), "s": torch.zeros(B, N, dtype=torch.complex64)})
    with pytest.raises(ConfigError, match="parts of a complex state"):
        srnn.Layer(C, N, changed(states=("z.re",))())
    with pytest.warns(UserWarning, match="Complex modules"):  # torch's own
        whole = layer(TwoReal, torch.float32, Spike()).to(torch.complex64)
    with pytest.raises(ConfigError, match=r"number type is torch\.complex64"):
        whole(signal())


@dataclass(frozen=True)
class Typed(Neuron):
    """Coefficients of other number types."""

    tau: Init = Uniform(0.2, 0.8)

    def coeffs(self, p: dict[str, Tensor]) -> Coeffs:
        even = torch.arange(len(p["tau"])) % 2
        return {"on": p["tau"] > 0.5, "even": even, "half": p["tau"].half(), "tau": p["tau"]}

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        u = torch.where(c["on"], c["tau"] * state["u"], c["half"] * state["u"])
        u = torch.where(~c["on"] & (u > 0), 0.5 * u, u) + I + c["even"] * s * c["tau"]
        return u - 1, {"u": u}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_coefficients_of_other_types(dtype: torch.dtype) -> None:
    """Truth values are conditions; whole and half numbers are numbers of the layer's type (the
    gradient of a half one is rounded to half precision at every step by the reference loop).
    """
    part = layer(Typed, dtype, Soft(FastSigmoid()))
    assert part.which_backend().name == "cpu"
    found = [gradients(part, signal(dtype), way) for way in ("cpu", "reference")]
    (*got, tau), (*wanted, half) = found
    assert [name for name, _ in part.named_parameters()][-1] == "constants.tau"
    close(got, wanted, dtype)
    torch.testing.assert_close(tau, half, rtol=4e-3, atol=4e-3)
