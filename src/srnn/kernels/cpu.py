"""The compiled CPU kernels: what Python hands to C.

One library holds the loop over time and the products (`c/scan.c`, `c/product.c`), one for each
number type; a small one holds each neuron's printed step. Tensors are contiguous, on the CPU and of
the library's number type: `srnn.kernels.scan` sees to that.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable, Sequence
from ctypes import c_int, c_long, c_void_p
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from srnn import _build
from srnn._build import BuildError
from srnn._check import ConfigError, SrnnError
from srnn.activations import Activation
from srnn.kernels import memory, programs
from srnn.kernels.key import described, outside
from srnn.kernels.print_c import print_neuron
from srnn.kernels.reference import finite
from srnn.kernels.trace import Program, TraceError, numbers, trace_program
from srnn.neuron import Neuron
from srnn.surrogates import Surrogate

_F = TypeVar("_F", bound=Callable[..., Any])

SPARSE = 0
"""Products with zeros in them: 0 = decided by counting, 1 = always gathered, 2 = always dense.

All give the same bits; tests set it.
"""
_GATHERED, _DENSE = 1, 2

_HERE = Path(__file__).parent / "c"
_HEADERS = (_HERE / "srnn.h", _HERE / "neuron.h", _HERE / "functions.h")
_DTYPES = {torch.float32: ("f32", ()), torch.float64: ("f64", ("-DDOUBLE",))}
DTYPES = tuple(_DTYPES)


_FUNCTIONS = ("prepare", "step", "advance", "adjoint")


class Functions(ctypes.Structure):
    """`neuron_t` of c/scan.c."""

    _fields_ = [(name, c_void_p) for name in _FUNCTIONS]


class _Scan(ctypes.Structure):
    """`scan_t` of c/scan.c."""

    _fields_ = [
        ("neuron", Functions),
        *(
            (name, c_long)
            for name in ("B", "T", "C", "N", "G", "S", "numbers", "Q", "derived", "every")
        ),
        *(
            (name, c_void_p)
            for name in ("x", "weight", "bias", "recurrent", "constants", "state", "lengths")
        ),
        *((name, c_void_p) for name in ("output", "potential", "final", "kept", "total")),
        *((name, c_void_p) for name in ("g_output", "g_potential", "g_final")),
        *(
            (name, c_void_p)
            for name in ("g_x", "g_weight", "g_bias", "g_recurrent", "g_constants", "g_state")
        ),
        *((name, c_int) for name in ("sparse", "threads")),
        *((name, c_long) for name in ("NP", "CP", "plane", "tiles", "parts", "size")),
        *((name, c_void_p) for name in ("c", "W", "R", "partial", "g_c")),
    ]


class Inputs(NamedTuple):
    """What a layer runs on.

    x: (B, T, C) with weight (G·N, C) and bias (G·N,) or None; or, without weight, the input current
    (B, T, G·N). recurrent: (G·N, N) or None.
    constants: (numbers, N), the Q coefficients first. state: (S + 1, B, N), the neuron's states,
    then s. lengths: (B,) int64 or None.
    """

    x: Tensor
    weight: Tensor | None
    bias: Tensor | None
    recurrent: Tensor | None
    constants: Tensor
    state: Tensor
    lengths: Tensor | None


@functools.cache
def library(dtype: torch.dtype) -> ctypes.CDLL:
    """Return the loops over time and the products, compiled for a number type."""
    kind, flags = _DTYPES[dtype]
    files = [_HERE / "product.c", _HERE / "scan.c", _HERE / "steps.c"]
    source = "".join(f.read_text() for f in files)
    library = _build.load(
        f"loops-{kind}", source, "-ffp-contract=fast", *flags, *_openmp(), headers=_HEADERS
    )
    if library.scan_size() != ctypes.sizeof(_Scan):
        raise AssertionError(
            f"scan_t has {library.scan_size()} bytes in c/scan.c and {ctypes.sizeof(_Scan)} here"
        )
    for name in ("scan_forward", "scan_backward", "linear", "linear_gradients"):
        getattr(library, name).restype = None
    return library


def _openmp() -> tuple[str, ...]:
    """Return the flag that makes the loops share torch's threads: where torch brings GNU's OpenMP
    under its own name, and gcc compiles.
    """
    shared = (Path(torch.__file__).parent / "lib" / "libgomp.so.1").exists()
    return ("-fopenmp",) if shared and "clang" not in _build.compiler().version.lower() else ()


def threads() -> int:
    """Return how many threads to use: torch's number, and one in a forked child, where the team of
    the parent is missing.
    """
    return 1 if _forked else torch.get_num_threads()


_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork)


class Kernel:
    """A neuron with its activation, compiled for a number type.

    Raises `BuildError` where that cannot be.
    """

    def __init__(self, program: Program, dtype: torch.dtype) -> None:
        self.program = program
        printed = print_neuron(self.program)
        kind, flags = _DTYPES[dtype]
        name = "-".join(
            [
                "".join(
                    c if c.isalnum() else "-" for c in self.program.name.replace(", ", "-")
                ).strip("-"),
                kind,
            ]
        )
        self._code = _build.load(
            name, printed.source, "-ffp-contract=off", *flags, headers=_HEADERS
        )
        self.functions = Functions(
            *(ctypes.cast(getattr(self._code, name), c_void_p) for name in _FUNCTIONS)
        )
        self.derived = printed.derived
        self._library = library(dtype)

    def prepare(self, width: int, constants: Any) -> None:
        """Fill what depends on constants alone, behind the constants: an array (numbers + derived,
        width), width a multiple of a vector.
        """
        self._code.prepare(c_long(width), c_void_p(constants.ctypes.data))

    def forward(
        self, given: Inputs, potential: bool, backward: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Run over time: output and potential (B, T, N), final state (S + 1, B, N); for the
        backward pass, states kept every few steps and the whole input current (B, T, G·N). What is
        not asked for is empty.
        """
        if given.constants.shape[0] != len(self.program.constants):
            raise ConfigError(
                f"{self.program.name}: {given.constants.shape[0]} constants for a kernel "
                f"of {len(self.program.constants)}: coeffs() returned other "
                "names than when it was traced. Let it return the same ones every time, or "
                'use backend="reference".'
            )
        if len(given.state) != len(self.program.states) + 1:
            raise ConfigError(
                f"{self.program.name}: {len(given.state) - 1} states for a kernel of "
                f"{len(self.program.states)} ({', '.join(self.program.states)}). Pass the state "
                "that `start(batch)` or an earlier call returned."
            )
        results = shapes(
            given.x, given.state, self.program.gates, potential, backward, memory.empty
        )
        job = self._job(given)
        job.output, job.potential, job.final, job.kept, job.total = map(_pointer, results)
        self._library.scan_forward(ctypes.byref(job))
        return results

    def backward(
        self, given: Inputs, saved: Sequence[Tensor], grads: Sequence[Tensor | None], needs_x: bool
    ) -> tuple[Tensor, ...]:
        """Return the gradients of x, weight, bias, recurrent, the Q coefficients (Q, N) and state;
        empty where there is nothing, or x needs none.

        saved: output, kept and total of the forward pass. grads: those of output, potential and
        final state, None = 0.
        """
        x = given.x
        found = (
            memory.empty(x, x.shape if needs_x else (0,)),
            *(
                x.new_empty(0 if t is None else t.shape)
                for t in (given.weight, given.bias, given.recurrent)
            ),
            x.new_empty(len(self.program.coeffs), given.state.shape[-1]),
            torch.empty_like(given.state),
        )
        job = self._job(given)
        job.output, job.kept, job.total = map(_pointer, saved)
        job.g_output, job.g_potential, job.g_final = map(_pointer, grads)
        job.g_x, job.g_weight, job.g_bias, job.g_recurrent, job.g_constants, job.g_state = map(
            _pointer, found
        )
        self._library.scan_backward(ctypes.byref(job))
        return found

    def _job(self, given: Inputs) -> Any:
        (states, batch, n), (_, steps, channels) = given.state.shape, given.x.shape
        job = _Scan(
            neuron=self.functions,
            B=batch,
            T=steps,
            C=channels,
            N=n,
            G=self.program.gates,
            S=states - 1,
        )
        job.numbers, job.Q, job.derived, job.every = (
            len(self.program.constants),
            len(self.program.coeffs),
            self.derived,
            every(n),
        )
        job.x, job.weight, job.bias, job.recurrent, job.constants, job.state, job.lengths = map(
            _pointer, given
        )
        job.sparse, job.threads = skipping(given.weight, given.recurrent), threads()
        return job


def skipping(*weights: Tensor | None) -> int:
    """Return which products skip zeros: as the number of them says, and all where a weight is not
    finite, for a dense product would be NaN there.
    """
    return SPARSE if finite(*(w for w in weights if w is not None)) else _GATHERED


# ── kernels by key: what a graph, a copied module or another process can hold instead of a library

_REGISTERED: dict[str, tuple[Neuron, Activation]] = {}
# of objects met before; they are kept, so that no other gets their id
_KEYS: dict[tuple[int, int], tuple[Neuron, Activation, str]] = {}
_KERNELS: dict[tuple[str, torch.dtype], Kernel | SrnnError] = {}
_building = threading.RLock()


def constant_result(f: _F) -> _F:
    """Tell torch.compile to call f while it reads the program, instead of reading f:
    `torch.compiler.assume_constant_result` without loading the compiler for everybody.
    """
    f._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return f


@constant_result
def register(neuron: Neuron, activation: Activation) -> str:
    """Return the key of the kernel of a neuron and an activation: their code, all that it may read
    from them, and the numbers that it reads from outside (`kernels.key`).

    An activation's numbers are arguments of the kernel. A neuron's step gets its constants as
    arguments too, but might look at its fields, so that the trace is its own; equal traces then
    share one library (`_build`).
    """
    trained = _trained(activation)
    known = _KEYS.get((id(neuron), id(activation)))
    if known is None:
        if len(_KEYS) > 4096:
            _KEYS.clear()
        known = _KEYS[id(neuron), id(activation)] = (
            neuron,
            activation,
            f"{described(neuron)} {described(activation, exact=False)}",
        )
    inner = (v for v in vars(activation).values() if isinstance(v, Surrogate))
    key = " ".join((known[2], outside(neuron, activation, *inner), *trained))
    _REGISTERED.setdefault(key, (neuron, activation))
    return key


def _trained(activation: Activation) -> list[str]:
    return [k for k, v in numbers(activation).items() if isinstance(v, Tensor) and v.requires_grad]


def registered(key: str) -> tuple[Neuron, Activation]:
    """Return a neuron and an activation of a key."""
    return _REGISTERED[key]


def traced(key: str) -> Program:
    """Return the program of a key.

    Raises `TraceError` where its step or its activation cannot be a kernel's.
    """
    neuron, activation = registered(key)
    if trained := _trained(activation):
        raise TraceError(
            f"{type(activation).__name__}: {trained[0]} is trained, and the kernels "
            "have no gradient of an activation's numbers"
        )
    found = programs.read(key)
    if found is None:
        found = trace_program(neuron, activation)
        programs.write(key, found)
    return found


def kernel(key: str, dtype: torch.dtype) -> Kernel:
    """Return the kernel of a key, compiled at first use.

    Raises `TraceError` or `BuildError` where that cannot be, the same one every time.
    """
    found = _KERNELS.get((key, dtype))
    if found is None:
        with _building:
            found = _KERNELS.get((key, dtype)) or _built(key, dtype)
            _KERNELS[key, dtype] = found
    if isinstance(found, SrnnError):
        raise found
    return found


def _built(key: str, dtype: torch.dtype) -> Kernel | SrnnError:
    try:
        return Kernel(traced(key), dtype)
    except (TraceError, BuildError) as error:
        return error


# ── what the operations of torch call (kernels/ops.py) ────────────────────────────────────────────


def shapes(
    x: Tensor,
    state: Tensor,
    gates: int,
    potential: bool,
    backward: bool,
    new: Callable[[Tensor, Sequence[int]], Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return what `Kernel.forward` returns, made by new(like, shape)."""
    (states, batch, n), steps = state.shape, x.shape[1]
    segments = -(-steps // every(n))
    return (
        new(x, (batch, steps, n)),
        new(x, (batch, steps, n) if potential else (0,)),
        new(state, (states, batch, n)),
        new(x, (segments, states - 1, batch, n) if backward else (0,)),
        new(x, (batch, steps, gates * n) if backward else (0,)),
    )


def every(n: int) -> int:
    """Return of how many steps forward keeps the states once, for n neurons: what lies between fits
    the processor's cache.
    """
    return next(k for k in (32, 16, 8) if k * n <= 2048 or k == 8)


def compiler_name() -> str:
    """Return what the compiler says it is."""
    return _build.compiler().version


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, *, transposed: bool = False) -> Tensor:
    """Return x Wᵀ + b, or x W if transposed: x (…, C), event-driven where x is mostly zeros.
    weight: (N, C), or (C, N) if transposed.
    """
    inputs = x.shape[-1]
    outputs = weight.shape[1] if transposed else weight.shape[0]
    y = memory.empty(x, (*x.shape[:-1], outputs))
    sc, sn = (outputs, 1) if transposed else (1, inputs)
    rows = x.numel() // inputs
    library(x.dtype).linear(
        _pointer(x),
        _pointer(weight),
        c_long(sc),
        c_long(sn),
        _pointer(bias),
        _pointer(y),
        c_long(rows),
        c_long(inputs),
        c_long(outputs),
        c_int(_DENSE if transposed else skipping(weight)),
        c_int(threads()),
    )
    return y


def linear_gradients(x: Tensor, grad: Tensor, bias: bool) -> tuple[Tensor, Tensor]:
    """Return the gradients of W (N, C) and b (N,): the sums over all rows of grad xᵀ and of grad,
    the latter empty unless asked for.
    """
    inputs, outputs = x.shape[-1], grad.shape[-1]
    w, b = x.new_empty(outputs, inputs), x.new_empty(outputs if bias else 0)
    library(x.dtype).linear_gradients(
        _pointer(x),
        _pointer(grad),
        _pointer(w),
        _pointer(b),
        c_long(x.numel() // inputs),
        c_long(inputs),
        c_long(outputs),
        c_int(SPARSE),
        c_int(threads()),
    )
    return w, b


def _pointer(t: Tensor | None) -> c_void_p:
    """Return where a tensor's numbers lie; NULL for None and for an empty one."""
    return c_void_p(t.data_ptr() if t is not None and t.numel() else None)
