"""The loop over time: the driver of a neuron, and what its backward pass costs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from srnn import Layer
from srnn._check import ConfigError
from srnn.activations import Identity, Spike
from srnn.init import Constant, Init
from srnn.kernels import cpu, scan
from srnn.kernels.scan import BACKENDS, Choice, choose
from srnn.neuron import Coeffs, Neuron, State
from srnn.neurons import ALIF, SoftLIF, YinLIF

FLOAT = torch.float64


DEFAULT = cpu.register(ALIF(), Spike())


def test_backends():
    assert BACKENDS == ("auto", "reference", "cpu", "triton")
    for dtype in (torch.float32, torch.float64):
        assert choose("reference", DEFAULT, "cpu", dtype) == Choice("reference", "asked for")
        assert choose("cpu", DEFAULT, "cpu", dtype) == Choice("cpu", "asked for")
        assert choose("auto", DEFAULT, "cpu", dtype) == Choice(
            "cpu", f"kernel compiled by {cpu.compiler_name()}"
        )
    for name in ("auto", "reference"):
        assert Layer(1, 1, SoftLIF()).which_backend(name).name == {"auto": "cpu"}.get(name, name)


@pytest.mark.parametrize(
    ("device", "dtype", "reason"),
    [
        ("cpu", torch.bfloat16, "the cpu kernels know float32 and float64, not torch.bfloat16"),
        ("cpu", torch.float16, "the cpu kernels know float32 and float64, not torch.float16"),
    ],
)
def test_what_the_kernels_cannot_run_goes_to_the_reference_and_says_why(device, dtype, reason):
    assert choose("auto", DEFAULT, device, dtype) == Choice("reference", reason)
    with pytest.raises(
        ConfigError,
        match=f'^backend="cpu" cannot run this layer: {reason}. Use '
        'backend="auto" or "reference".$',
    ):
        choose("cpu", DEFAULT, device, dtype)


ON_CPU = (
    "the triton kernels are for a GPU (cuda), x is on cpu; TRITON_INTERPRET=1 runs them on "
    "a CPU, slowly, for tests"
)
NO_TRITON = "Triton is not installed; a CUDA build of torch brings it (pip install triton)"


@pytest.mark.parametrize(
    ("backend", "device", "dtype", "reason"),
    [
        ("cpu", "cuda", torch.float32, "the cpu kernels are for the CPU, x is on cuda"),
        ("triton", "cpu", torch.float32, ON_CPU),
        ("triton", "mps", torch.float32, ON_CPU.replace("on cpu", "on mps")),
        ("triton", "cuda", torch.float32, NO_TRITON),
    ],
)
def test_what_is_asked_for_and_cannot_be_is_an_error(backend, device, dtype, reason, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError,
        match=f'^backend="{backend}" cannot run this layer: '
        f'{re.escape(reason)}. Use backend="auto" or "reference".$',
    ):
        choose(backend, DEFAULT, device, dtype)
    if device != "cpu":
        why = NO_TRITON if device == "cuda" else reason
        assert choose("auto", DEFAULT, device, dtype) == Choice("reference", why)


def test_on_a_gpu_auto_is_triton(monkeypatch):
    """What chooses needs no GPU: the kernels are printed, and compiled when they run."""
    pytest.importorskip("triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert choose("auto", DEFAULT, "cuda", torch.float32) == Choice("triton", "printed for Triton")


def test_a_layer_in_half_precision_runs_by_the_reference():
    layer = Layer(3, 4, ALIF()).to(torch.bfloat16)
    assert layer.which_backend().name == "reference"
    assert layer(torch.randn(2, 5, 3, dtype=torch.bfloat16)).output.dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("metal", r"^backend: there is no 'metal'\. Known: auto, cpu, reference, triton\.$"),
        (
            "Reference",
            r"^backend: there is no 'Reference'\. Did you mean 'reference'\? Known: "
            r"auto, cpu, reference, triton\.$",
        ),
    ],
)
def test_an_unknown_backend_is_answered_with_the_known_ones(name, message):
    with pytest.raises(ConfigError, match=message):
        choose(name, DEFAULT, "cpu", torch.float32)
    with pytest.raises(ConfigError, match=message):
        Layer(1, 1, SoftLIF())(torch.zeros(1, 1, 1), backend=name)


def start(*names: str, batch: int = 1, n: int = 1) -> State:
    return {k: torch.zeros(batch, n, dtype=FLOAT) for k in (*names, "s")}


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_the_driver_by_hand(backend):
    """One neuron that feeds itself with weight 2: I = 0.6, then 0 + 2·1, then 0 + 2·1. u = I, θ =
    0.5, reset 0.5.
    """
    current = torch.tensor([[[0.6], [0.0], [0.0], [-9.0]]], dtype=FLOAT)
    c = {"alpha": torch.tensor(0.0, dtype=FLOAT), "threshold": torch.tensor(0.5, dtype=FLOAT)}
    run = scan.run(
        SoftLIF(),
        Spike(),
        current,
        torch.tensor([[2.0]], dtype=FLOAT),
        c,
        start("u"),
        potential=True,
        backend=backend,
    )
    assert run.potential.flatten().tolist() == pytest.approx(
        [0.6, 2.0 - 0.5, 2.0 - 0.5, -9.0 + 2.0 - 0.5]
    )
    assert run.output.flatten().tolist() == [1, 1, 1, 0]
    assert {k: v.item() for k, v in run.state.items()} == pytest.approx({"u": -7.5, "s": 0.0})
    alone = scan.run(SoftLIF(), Spike(), current, None, c, start("u"), backend=backend)
    assert alone.potential is None
    assert alone.output.flatten().tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_rows_of_the_recurrent_matrix_receive(backend):
    """R[i, j] carries the spike of neuron j to neuron i."""
    R = torch.tensor([[0.0, 0.0], [3.0, 0.0]], dtype=FLOAT)
    current = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]], dtype=FLOAT)
    c = {"decay": torch.tensor(0.0, dtype=FLOAT), "threshold": torch.tensor(0.5, dtype=FLOAT)}
    run = scan.run(YinLIF(), Spike(), current, R, c, start("u", n=2), backend=backend)
    assert run.output[0].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_the_frozen_state_by_hand(backend):
    """A recording of 2 steps in a batch of 3: state and output stay where they were after step 2,
    and s is what it was then.
    """
    current = torch.tensor([[[1.0]] * 3, [[1.0]] * 3], dtype=FLOAT)
    c = {"alpha": torch.tensor(0.5, dtype=FLOAT), "threshold": torch.tensor(0.6, dtype=FLOAT)}
    run = scan.run(
        SoftLIF(),
        Spike(),
        current,
        None,
        c,
        start("u", batch=2),
        lengths=torch.tensor([3, 2]),
        potential=True,
        backend=backend,
    )
    assert run.potential[1].flatten().tolist() == [0.5, 0.75, 0.0]
    assert run.output[1].flatten().tolist() == [0, 1, 0]
    assert (run.state["u"][1].item(), run.state["s"][1].item()) == (0.75, 1.0)
    assert run.potential[0].flatten().tolist() == pytest.approx([0.5, 0.75, 0.375 + 0.5 - 0.6])
    assert run.state["s"][0].item() == 0.0


@dataclass(frozen=True)
class Gated(Neuron):
    """z = σ(I₀), u ← z u + (1 - z) k I₁: a cell with two gates."""

    k: Init = Constant(0.5)
    gates = 2

    def step(
        self, I: tuple[Tensor, Tensor], s: Tensor, state: State, c: Coeffs
    ) -> tuple[Tensor, State]:
        z = torch.sigmoid(I[0])
        u = z * state["u"] + (1 - z) * c["k"] * I[1]
        return u, {"u": u}


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_gated_cell_has_a_block_of_rows_for_each_gate(backend):
    torch.manual_seed(0)
    layer = Layer(3, 4, Gated(), Identity(), recurrent_bias=True, zero_diagonal=True, dtype=FLOAT)
    assert (tuple(layer.weight.shape), tuple(layer.recurrent.shape), tuple(layer.bias.shape)) == (
        (8, 3),
        (8, 4),
        (8,),
    )
    for block in layer.recurrent.detach().chunk(2):
        torch.testing.assert_close(block @ block.T, torch.eye(4, dtype=FLOAT))
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 5, 3, dtype=FLOAT)
    run = layer(x, potential=True, backend=backend)
    R = layer.recurrent.detach() * (1 - torch.eye(4, dtype=FLOAT)).repeat(2, 1)
    u = torch.zeros(2, 4, dtype=FLOAT)
    for t in range(5):
        drive = x[:, t] @ layer.weight.T + layer.bias + u @ R.T + layer.recurrent_bias
        z = drive[:, :4].sigmoid()
        u = z * u + (1 - z) * 0.5 * drive[:, 4:]
        torch.testing.assert_close(run.potential[:, t], u, rtol=1e-12, atol=1e-13)
    assert run.output.shape == (2, 5, 4)


# ── cost of the backward pass ─────────────────────────────────────────────────────────────────────


class Written(TorchDispatchMode):
    """Counts the numbers that every operation writes, views excepted, forward and backward."""

    VIEWS = (
        "aten.t.default",
        "aten.unbind.int",
        "aten.expand.default",
        "aten.detach.default",
        "aten.view.default",
        "aten.unsqueeze.default",
    )

    def __init__(self) -> None:
        super().__init__()
        self.numbers, self.operations = 0, Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.operations[str(func)] += 1
        if str(func) not in self.VIEWS:
            self.numbers += sum(
                v.numel()
                for v in (out if isinstance(out, tuple | list) else [out])
                if isinstance(v, Tensor)
            )
        return out


def cost(run: Callable[[Tensor], Tensor], steps: int) -> tuple[int, int, Counter[str]]:
    """Numbers written and numbers kept for the backward pass, by one forward and backward pass over
    `steps` steps.
    """
    current, kept = torch.randn(2, steps, 3, requires_grad=True), []

    def keep(v: Tensor) -> Tensor:
        kept.append(v.numel())
        return v

    with Written() as written, torch.autograd.graph.saved_tensors_hooks(keep, lambda v: v):
        run(current).sum().backward()
    assert current.grad.shape == current.shape
    return written.numbers, sum(kept), written.operations


def layer(lengths: bool) -> Callable[[Tensor], Tensor]:
    c = {k: torch.tensor(0.5, requires_grad=True) for k in ("alpha", "rho", "b0", "beta")}
    R = torch.eye(3, requires_grad=True)

    def run(current: Tensor) -> Tensor:
        state = {k: torch.zeros(2, 3) for k in ("u", "eta", "s")}
        ends = torch.tensor([current.shape[1], 3]) if lengths else None
        out = scan.run(
            ALIF(), Spike(), current, R, c, state, lengths=ends, potential=True, backend="reference"
        )
        return out.output + out.potential

    return run


def indexed(current: Tensor) -> Tensor:
    """The same kind of loop with current[:, t]: each step's backward pass writes a gradient of all
    T steps.
    """
    u, outputs = torch.zeros(2, 3), []
    for t in range(current.shape[1]):
        u = 0.5 * u + current[:, t]
        outputs.append(u)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("lengths", [False, True])
def test_time_and_memory_are_linear_in_the_number_of_steps(lengths):
    """Twice the steps: exactly twice the additional numbers written and kept. No step reads its
    input by an index.

    (The backward pass of the final stack hands out views, aten.select; they write nothing.)
    """
    written, kept, operations = zip(
        *(cost(layer(lengths), steps) for steps in (8, 16, 32)), strict=True
    )
    assert written[2] - written[1] == 2 * (written[1] - written[0]) > 0
    assert kept[2] - kept[1] == 2 * (kept[1] - kept[0]) > 0
    assert not [
        name
        for name in operations[2]
        if "select_backward" in name or "slice" in name or "index" in name
    ]
    assert operations[2]["aten.addmm.default"] == 32
    assert operations[2]["aten.unbind.int"] <= 6


def test_the_measure_finds_a_quadratic_loop():
    written, _, operations = zip(*(cost(indexed, steps) for steps in (8, 16, 32)), strict=True)
    assert written[2] - written[1] > 2.5 * (written[1] - written[0])
    assert operations[2]["aten.select_backward.default"] == 32
