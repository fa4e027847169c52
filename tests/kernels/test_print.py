"""The printed C: every operation the trace lets through, no warnings, and the functions of
`neuron.h`.
"""

from __future__ import annotations

import ctypes
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from helpers import CELLS, NEURONS
from srnn import Layer, _build
from srnn.activations import Identity, Soft, Spike
from srnn.kernels import cpu
from srnn.kernels.print_c import print_neuron
from srnn.kernels.trace import trace_program
from srnn.neuron import Coeffs, Neuron, State
from srnn.neurons import ALIF, SoftLIF
from srnn.surrogates import FastSigmoid, MGLeft, MultiGaussian, Sigmoid, Triangular

F64 = torch.float64


def stepping(f: Callable[[Tensor, Tensor], Tensor]) -> Neuron:
    """A neuron with one state, u ← f(u, I)."""

    @dataclass(frozen=True)
    class Mine(Neuron):
        def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
            u = f(state["u"], I)
            return u - 0.3, {"u": u}

    return Mine()


# ── every operation the trace lets through ────────────────────────────────────────────────────────

FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "arithmetic": lambda u, I: (
        (u + 2) * (I - 0.5) / (1 + u * u) - torch.reciprocal(2 + I * I) + 3 / (u * u + 1)
    ),
    "scaled": lambda u, I: (
        torch.add(u, I, alpha=2) - torch.sub(u, I, alpha=3) + torch.rsub(u, I, alpha=4)
    ),
    "powers": lambda u, I: (
        u**3 + u**2 + (u * u + 0.1) ** 0.5 + 2.0**I + (u * u + 0.1) ** I + torch.square(I)
    ),
    "transcendental": lambda u, I: (
        torch.exp(u)
        + torch.expm1(0.1 * I)
        + torch.log(u * u + 1)
        + torch.log1p(I * I)
        + torch.erf(u)
        + torch.tanh(I)
    ),
    "logistic": lambda u, I: torch.sigmoid(u) + functional.softplus(I) + torch.sqrt(u * u + 1),
    "softplus with a sharpness": lambda u, I: u + functional.softplus(I, beta=3.0),
    "softplus with a threshold": lambda u, I: u + functional.softplus(5 * I, threshold=1.0),
    "corners": lambda u, I: (
        torch.relu(u)
        + u.abs()
        + torch.sign(I) * u
        + torch.minimum(u, I)
        + torch.maximum(u, 0.3 * I)
        + torch.clamp(I, -0.5, 0.5)
    ),
    "clamp by tensors": lambda u, I: (
        torch.clamp(I, min=-u.abs(), max=u.abs())
        + torch.clamp(u, min=0.1)
        + torch.clamp(I, max=0.1)
    ),
    "choices": lambda u, I: (
        torch.where(u > I, u, 2 * I)
        + torch.where(I >= 0, 1.0, u)
        + u.masked_fill(I < 0.2, 0.25)
        + torch.where(u <= 0, 1.0, 2.0) * I
    ),
    "truth": lambda u, I: (
        u * ((u > 0) & (I < 1) | ~(u < -1)).to(u.dtype)
        + I * torch.logical_and(u != 0, I != 1).to(u.dtype)
    ),
    "arithmetic with truth": lambda u, I: (
        u
        + (I > 0).to(u.dtype)
        - (u > 0).to(u.dtype) / 2
        - (-(I < 1).to(u.dtype))
        + torch.exp((u < 0).to(u.dtype))
    ),
    "a quotient of truths": lambda u, I: (
        u
        + I
        * torch.minimum((I > 0).to(u.dtype) / (I < 0).to(u.dtype), torch.full_like(u, 2.0)).exp()
    ),
    "one over a truth": lambda u, I: u + I * torch.exp(-torch.reciprocal((I > 0).to(u.dtype))),
    "a sum of truths": lambda u, I: u + I * ((I > 0) + (u > 0)).to(u.dtype),
    "numbers as truth": lambda u, I: u + I * torch.relu(0.5 * u + I).bool().to(u.dtype),
    "logic of numbers": lambda u, I: (
        u
        + I * torch.logical_and(torch.relu(u), torch.relu(I)).to(u.dtype)
        + u * torch.logical_not(torch.relu(u)).to(u.dtype)
    ),
    "infinity": lambda u, I: torch.where(
        I > 0,
        torch.minimum(u + I, torch.full_like(u, math.inf)),
        u * torch.exp(torch.full_like(u, -math.inf)),
    ),
    "less precise": lambda u, I: u.to(torch.float16).to(u.dtype) + I,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_operation(name):
    """Computed as torch computes it, forward and backward; or refused, and computed by torch."""
    torch.manual_seed(0)
    layer = Layer(3, 40, stepping(FUNCTIONS[name]), Identity(), dtype=F64)
    x, start = (
        torch.randn(8, 1, 3, dtype=F64),
        {k: torch.randn(8, 40, dtype=F64, requires_grad=True) for k in ("u", "s")},
    )
    runs = [
        layer(x, None, start, potential=True, backend=backend).potential
        for backend in ("auto", "reference")
    ]
    torch.testing.assert_close(*runs, rtol=1e-12, atol=1e-12)
    leaves, weight = (
        [start["u"], layer.weight, layer.recurrent, start["s"]],
        torch.randn_like(runs[0]),
    )
    for a, b in zip(
        *(torch.autograd.grad(run, leaves, weight, allow_unused=True) for run in runs), strict=True
    ):
        torch.testing.assert_close(
            a, torch.zeros_like(a) if b is None else b, rtol=1e-11, atol=1e-11
        )


# ── the printed C ─────────────────────────────────────────────────────────────────────────────────

STRICT = (
    "-std=gnu11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-parameter",
    "-Wno-unused-function",
)


def compiled(source: str, *flags: str) -> None:
    cc = _build.compiler()
    command = [
        cc.path,
        *STRICT,
        *cc.options,
        *flags,
        f"-I{Path(cpu.__file__).parent / 'c'}",
        "-xc",
        "-",
    ]
    done = subprocess.run(command, input=source, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", [*NEURONS, *CELLS], ids=lambda c: c.__name__)
def test_the_printed_code_compiles_without_warnings(kind):
    for activation in (Spike(MultiGaussian()), Identity(), Soft(MGLeft())):
        source = print_neuron(trace_program(kind(), activation)).source
        for double in ((), ("-DDOUBLE",)):
            compiled(source, "-fsyntax-only", *double)


def test_the_loops_and_an_optimised_neuron_compile_without_warnings(tmp_path):
    folder = Path(cpu.__file__).parent / "c"
    for double in ((), ("-DDOUBLE",)):
        # one library, in this order
        files = [folder / name for name in ("product.c", "scan.c", "steps.c")]
        assert sorted(folder.glob("*.c")) == files
        compiled("".join(file.read_text() for file in files), "-fsyntax-only", *double)
        compiled(
            print_neuron(trace_program(ALIF(), Spike())).source,
            "-O2",
            "-c",
            "-o",
            str(tmp_path / "alif.o"),
            *double,
        )


# ── the functions of neuron.h ─────────────────────────────────────────────────────────────────────

NAMES = ("exp", "expm1", "tanh", "sigmoid")
MATH = '#include "neuron.h"\n' + "\n".join(
    f"void {f}_all(const real *x, real *y, long n) {{ for (long i = 0; i < n; i++) y[i] = "
    f"{f}_real(x[i]); }}"
    for f in NAMES
)


def by_c(name: str, x: Tensor) -> Tensor:
    flags = ("-DDOUBLE",) if x.dtype is F64 else ()
    library = _build.load(
        f"math-{x.element_size() * 8}", MATH, "-ffp-contract=off", *flags, headers=cpu._HEADERS
    )
    x, y = x.contiguous(), torch.empty_like(x)
    getattr(library, f"{name}_all")(
        ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr()), ctypes.c_long(x.numel())
    )
    return y


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_accuracy(name, dtype):
    """Within 3 roundings of torch's float64 (2.5 in float32), from the smallest numbers to where
    the result leaves the number type.
    """
    low, high = (-87.0, 88.0) if dtype is torch.float32 else (-708.0, 709.0)
    tiny = torch.logspace(-30 if dtype is torch.float32 else -250, 0, 20_001, dtype=F64)
    x = torch.cat(
        [
            torch.linspace(low, high, 200_001, dtype=F64),
            torch.linspace(-3, 3, 200_001, dtype=F64),
            tiny,
            -tiny,
            torch.zeros(1, dtype=F64),
        ]
    )
    x = x.to(dtype)
    got, wanted = by_c(name, x).double(), getattr(torch, name)(x.double())
    error = (
        (got - wanted).abs() / wanted.abs().clamp(min=torch.finfo(dtype).tiny)
    ).max() / torch.finfo(dtype).eps
    assert float(error) <= (2.5 if dtype is torch.float32 else 3.0), float(error)


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_infinity_nan_and_underflow(dtype):
    """Far out every function is where it belongs; numbers too small for the type may become 0;
    nothing else is infinite; NaN stays NaN.
    """
    inf, nan, low = math.inf, math.nan, -87.0 if dtype is torch.float32 else -708.0
    x = torch.tensor([-inf, -1e30, inf, 1e30, nan, -0.0, 0.0], dtype=dtype)
    expected = {
        "exp": [0, 0, inf, inf, nan, 1, 1],
        "expm1": [-1, -1, inf, inf, nan, 0, 0],
        "tanh": [-1, -1, 1, 1, nan, 0, 0],
        "sigmoid": [0, 0, 1, 1, nan, 0.5, 0.5],
    }
    for name, values in expected.items():
        torch.testing.assert_close(
            by_c(name, x), torch.tensor(values, dtype=dtype), rtol=0, atol=0, equal_nan=True
        )
    small = torch.linspace(2 * low, low, 1001, dtype=dtype)
    assert float((by_c("exp", small).double() - torch.exp(small.double())).abs().max()) <= math.exp(
        low
    )
    edge = torch.tensor([-low + 0.9, -low + 1.1, -low + 2.0, 3 * -low], dtype=dtype)
    wanted = torch.exp(edge)
    got = by_c("exp", edge)
    assert bool(((got == math.inf) | torch.isclose(got, wanted)).all())
    assert bool((by_c("exp", torch.linspace(low, -low, 1001, dtype=dtype)) > 0).all())


def test_surrogates_stay_finite_far_out():
    """No overflow in the middle of a surrogate: gradients at |x| = 10⁴ are finite and tiny, by the
    kernel as by torch.
    """
    for surrogate in (MultiGaussian(), Sigmoid(), FastSigmoid(), Triangular(), MGLeft()):
        layer = Layer(2, 3, SoftLIF(), Spike(surrogate), recurrent=False)
        x = torch.tensor([[[1e4, -1e4]], [[-1e4, 1e4]], [[200.0, 0.1]]], requires_grad=True)
        grads = [
            torch.autograd.grad(layer(x, backend=b).output.sum(), x)[0]
            for b in ("cpu", "reference")
        ]
        assert torch.isfinite(grads[0]).all()
        torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)
