"""The Triton kernels: what Python hands to a GPU, or to Triton's interpreter on a CPU.

How a layer runs follows from its size (`plan`):

    persistent   one launch, R kept on the chip through all steps: up to 128 neurons in float32, 256
                 where products are taken in a 16-bit type
    stepwise     for every step a product R s and a small kernel: any number of neurons, float64
                 too; meant to be captured in a CUDA graph
    pointwise    one launch, no R

Every tensor has a leading axis of M models, which share a launch and nothing else: several seeds of
a network. Products before and after the loop are taken model by model, so that each model gets the
bits that it gets alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import linecache
import os
import threading
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from srnn._check import ConfigError, SrnnError
from srnn.kernels import cpu
from srnn.kernels.cpu import Inputs
from srnn.kernels.print_triton import print_triton
from srnn.kernels.trace import Program, TraceError

DTYPES = (torch.float32, torch.float64)
PRODUCTS = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
"""The types in which products may be taken, and those of which their factors are values.

Sums and states are never of a shorter type than float32.
"""

STEPWISE = False
"""True: R is never kept on the chip, whatever the size. Tests and benchmarks set it."""

TILE = 128
"""Neurons of all recordings that a program without R steps; a thread takes one.

The interpreter is faster with more.
"""

SHARED = 227 * 1024
"""Bytes of shared memory that a program may use where no GPU says it: an H100's."""

_REGISTERS = 180 * 1024
"""More of R than this leaves the step too few of a multiprocessor's registers (256 KiB)."""


class Plan(NamedTuple):
    """How a layer runs: the name of the way, recordings and neurons of a program, its warps, and
    the type of its products.
    """

    name: str
    rows: int
    width: int
    warps: int
    product: str


def plan(
    neurons: int, gates: int, recurrent: bool, product: str, shared: int | None = None
) -> Plan:
    """Return how a layer of so many neurons runs on a GPU with so much shared memory (bytes; None:
    this one's).
    """
    width = max(16, 1 << (neurons - 1).bit_length())
    if recurrent and product != "float64" and not STEPWISE and width <= 256:
        # R, in float32 in two parts (tf32x3)
        kept = gates * width * width * (8 if product == "float32" else PRODUCTS[product].itemsize)
        if kept + 192 * width <= min(_shared() if shared is None else shared, _REGISTERS):
            return Plan("persistent", 16, width, min(16, width // 8), product)
    width = min(width, TILE)
    return Plan("stepwise" if recurrent else "pointwise", TILE // width, width, 4, product)


def _shared() -> int:
    if interpreting() or not torch.cuda.is_available():
        return SHARED
    from triton.runtime import driver

    return int(
        driver.active.utils.get_device_properties(torch.cuda.current_device())["max_shared_mem"]
    )


def interpreting() -> bool:
    """Return whether Triton runs on the CPU, in its interpreter."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")


def why_not(key: str, device: str, dtype: torch.dtype) -> str | None:
    """Return why a layer cannot run by Triton, or None."""
    if device != "cuda" and not (device == "cpu" and interpreting()):
        return (
            f"the triton kernels are for a GPU (cuda), x is on {device}; TRITON_INTERPRET=1 "
            "runs them on a CPU, slowly, for tests"
        )
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; a CUDA build of torch brings it (pip install triton)"
    if dtype not in DTYPES:
        return f"the triton kernels keep states in float32 or float64, not {dtype}"
    try:
        kernel(key)
    except TraceError as error:
        return str(error).rstrip(".")
    return None


def described(key: str, product: str, neurons: int, recurrent: bool) -> str:
    """Say in a few words how a layer of so many neurons runs."""
    way = plan(neurons, kernel(key).program.gates, recurrent, product)
    kept = {
        "persistent": f"R ({neurons} × {neurons}) on the chip",
        "stepwise": "a product and a kernel a step",
        "pointwise": "no R",
    }[way.name]
    return (
        f"{way.name}: {kept}, products in "
        f"{product}{' (tf32x3)' if way.name == 'persistent' and product == 'float32' else ''}"
    )


def product_type(device: str, dtype: torch.dtype) -> str:
    """Return in which type products are taken: float32 unless the user allows less, by
    torch.autocast or torch.set_float32_matmul_precision.
    """
    if dtype is torch.float64:
        return "float64"
    if torch.is_autocast_enabled(device):
        return str(torch.get_autocast_dtype(device)).removeprefix("torch.")
    return "float32" if torch.get_float32_matmul_precision() == "highest" else "tf32"


class Kernel:
    """A neuron with its activation, printed for Triton.

    Raises `TraceError` where that cannot be.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.module = _loaded(program.name, print_triton(program))

    def forward(
        self, given: Inputs, product: str, potential: bool, backward: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Run over time: output and potential (M, B, T, N), final state (M, S + 1, B, N); for the
        backward pass the states before every step (M, T, S, B, N) and the whole input current (M,
        B, T, G·N). What is not asked for is empty.
        """
        x, R = given.x, given.recurrent
        _check_size(given, self.program.gates)
        output, seen, final, kept, total = shapes(given, self.program.gates, potential, backward)
        final.copy_(given.state)
        way = plan(final.shape[-1], self.program.gates, R is not None, product)
        current = x if given.weight is None else _linear(x, given.weight, given.bias, product)
        if current is x and (way.name == "stepwise" or (backward and R is not None)):
            current = x.clone()  # R s is added to it
        flags = {"LENGTHS": given.lengths is not None, "POTENTIAL": potential, "KEEP": backward}
        rounded = None if R is None else rounded_to(R, product)
        arrays = (current, rounded, given.constants, given.lengths, final, output, seen, kept)
        for first, last in _launches(way, x.shape[2]):
            if way.name == "stepwise":
                assert R is not None
                _add_product(current[:, :, first], final[:, -1], R.transpose(1, 2), product)
            self._launch("forward", way, arrays, output.shape, (first, last), flags)
        return output, seen, final, kept, current if total.numel() else total

    def backward(
        self,
        given: Inputs,
        product: str,
        saved: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needs_x: bool,
    ) -> tuple[Tensor, ...]:
        """Return the gradients of x, weight, bias, recurrent, the Q coefficients (M, Q, N) and
        state; empty where there is nothing, or x needs none.

        saved: output, kept and current of the forward pass. grads: those of output, potential and
        final state, None = 0.
        """
        x, weight, R, state = given.x, given.weight, given.recurrent, given.state
        output, kept, total = saved
        current = total if total.numel() else x
        g_output, g_potential, g_final = grads
        g_current = torch.empty_like(current)
        carry = torch.zeros_like(state) if g_final is None else g_final.clone()
        g_constants = state.new_zeros(len(state), len(self.program.coeffs), *state.shape[2:])
        way = plan(state.shape[-1], self.program.gates, R is not None, product)
        flags = {
            "LENGTHS": given.lengths is not None,
            "OUTPUT": g_output is not None,
            "POTENTIAL": g_potential is not None,
        }
        rounded = None if R is None else rounded_to(R, product)
        arrays = (
            current,
            rounded,
            given.constants,
            given.lengths,
            state,
            output,
            kept,
            g_output,
            g_potential,
            g_current,
            carry,
            g_constants,
        )
        for first, last in reversed(_launches(way, x.shape[2])):
            self._launch("backward", way, arrays, output.shape, (first, last), flags)
            if way.name == "stepwise":
                assert R is not None
                _add_product(carry[:, -1], g_current[:, :, first], R, product, rounded=False)
        # s[t - 1]
        before = None if R is None else torch.cat([state[:, -1].unsqueeze(2), output[:, :, :-1]], 2)
        return (
            x.new_empty(0)
            if not needs_x
            else g_current
            if weight is None
            else _product(g_current, weight, product),
            x.new_empty(0) if weight is None else _weights(g_current, x, product),
            x.new_empty(0) if given.bias is None else g_current.sum((1, 2)),
            x.new_empty(0) if before is None else _weights(g_current, before, product),
            g_constants.sum(2),
            carry,
        )

    def _launch(
        self,
        name: str,
        way: Plan,
        arrays: Sequence[Tensor | None],
        shape: Sequence[int],
        steps: tuple[int, int],
        flags: dict[str, bool],
    ) -> None:
        models, batch, length, n = shape
        grid = (-(-batch // way.rows), -(-n // way.width), models)
        here = next(a for a in arrays if a is not None)  # stands where there is nothing to read
        with torch.cuda.device_of(here):  # type: ignore[no-untyped-call]
            getattr(self.module, name)[grid](
                *(here if a is None else a for a in arrays),
                batch,
                length,
                *steps,
                N=n,
                **flags,
                **constexprs(way),
                **launch_options(way),
            )


def constexprs(way: Plan) -> dict[str, Any]:
    """Return the kernels' compile-time arguments that follow from the way a layer runs."""
    import triton.language as tl

    kept = str(PRODUCTS[way.product]).removeprefix("torch.")
    # Triton 3.7's interpreter multiplies the bits of bfloat16 as if they were whole numbers
    if kept == "bfloat16" and interpreting():
        kept = "float32"
    return {
        "RECURRENT": way.name == "persistent",
        "PRODUCT": getattr(tl, kept),
        "PRECISION": {"float32": "tf32x3", "tf32": "tf32"}.get(way.product),
        "ROWS": way.rows,
        "WIDTH": way.width,
    }


def launch_options(way: Plan) -> dict[str, Any]:
    """Return what Triton's compiler is told: the step rounds as torch does (no fused multiply-add);
    a program that keeps R may use all registers.
    """
    options: dict[str, Any] = {"num_warps": way.warps, "enable_fp_fusion": False}
    return (
        options | {"maxnreg": min(255, 2048 // way.warps)} if way.name == "persistent" else options
    )


def _launches(way: Plan, steps: int) -> Sequence[tuple[int, int]]:
    """Return the steps [first, last) of every launch."""
    return [(t, t + 1) for t in range(steps)] if way.name == "stepwise" else [(0, steps)]


def _check_size(given: Inputs, gates: int) -> None:
    """Raise `ConfigError` for a layer whose numbers a kernel cannot count: places within one model
    have 31 bits.
    """
    batch, n = given.state.shape[2:]
    steps = given.x.shape[2]
    if (count := batch * steps * gates * n) >= 2**31:
        raise ConfigError(
            f"triton: a layer of {n} neurons over {batch} recordings of {steps} steps has "
            f"{count:,} currents; "
            "expected fewer than 2,147,483,648. Use a smaller batch, or segment=."
        )


def shapes(
    given: Inputs, gates: int, potential: bool, backward: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return what `Kernel.forward` returns, not set."""
    state, steps = given.state, given.x.shape[2]
    models, states, batch, n = state.shape
    computed = given.weight is not None or given.recurrent is not None  # else the current is x
    return (
        state.new_empty(models, batch, steps, n),
        state.new_empty((models, batch, steps, n) if potential else 0),
        torch.empty_like(state),
        state.new_empty((models, steps, states - 1, batch, n) if backward else 0),
        state.new_empty((models, batch, steps, gates * n) if backward and computed else 0),
    )


# ── products ──────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _allowed(product: str) -> Iterator[None]:
    """Let cuBLAS use tensor cores where the type of the products allows it: factors of a 16-bit
    type lose nothing in tf32.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if product in ("float32", "float64") else "high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def rounded_to(a: Tensor, product: str) -> Tensor:
    """Return a factor as the products have it: a value of a 16-bit type, kept in its own."""
    return a.to(PRODUCTS[product]).to(a.dtype)


def _product(a: Tensor, b: Tensor, product: str) -> Tensor:
    """Return a (M, …, K) times b (M, K, N), model by model."""
    result = a.new_empty(*a.shape[:-1], b.shape[-1])
    with _allowed(product):
        for to, one, other in zip(
            result, rounded_to(a, product), rounded_to(b, product), strict=True
        ):
            torch.mm(one.reshape(-1, one.shape[-1]), other, out=to.view(-1, to.shape[-1]))
    return result


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, product: str) -> Tensor:
    """Return W x + b: x (M, B, T, C), weight (M, N, C), bias (M, N) or None."""
    y = _product(x, weight.transpose(1, 2), product)
    return y if bias is None else y.add_(bias[:, None, None])


def _weights(grad: Tensor, x: Tensor, product: str) -> Tensor:
    """Return the gradient of a weight, (M, N, C): the sum over recordings and steps of grad (M, B,
    T, N) and x (M, B, T, C).
    """
    return _product(grad.flatten(1, 2).transpose(1, 2), x.flatten(1, 2), product)


def _add_product(to: Tensor, a: Tensor, b: Tensor, product: str, *, rounded: bool = True) -> None:
    """Add a (M, B, K) times b (M, K, N) to `to`. rounded: so is a; a gradient keeps what tf32
    leaves of it.
    """
    a, b = rounded_to(a, product) if rounded else a, rounded_to(b, product)
    with _allowed(product):
        if len(to) == 1:
            to[0].addmm_(a[0], b[0])
        else:
            to.baddbmm_(a, b)


# ── kernels by key ────────────────────────────────────────────────────────────────────────────────

_KERNELS: dict[str, Kernel | SrnnError] = {}
_printing = threading.RLock()


def kernel(key: str) -> Kernel:
    """Return the kernel of a key of `cpu.register`, printed at first use; Triton compiles it for
    each type and option when it runs.

    Raises `TraceError` where that cannot be, the same one every time.
    """
    with _printing:
        if key not in _KERNELS:
            try:
                _KERNELS[key] = Kernel(cpu.traced(key))
            except TraceError as error:
                _KERNELS[key] = error
    found = _KERNELS[key]
    if isinstance(found, SrnnError):
        raise found
    return found


def _loaded(name: str, source: str) -> ModuleType:
    """Return a module of this text.

    It has no file; Triton, which reads the text of a kernel, finds it where Python keeps lines.
    """
    file = f"<srnn {name} {hash(source):x}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = ModuleType(f"srnn.kernels.triton.{''.join(c if c.isalnum() else '_' for c in name)}")
    exec(compile(source, file, "exec"), module.__dict__)
    return module
