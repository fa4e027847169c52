"""Compiled layers that run step by step, forward only: weights packed once, state packed between
calls (`c/steps.c`). What a stream runs.

The bits are those of the whole sequence on the cpu backend, however it is cut into calls.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from ctypes import c_int, c_long, c_void_p
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srnn.kernels import cpu
from srnn.kernels.cpu import Functions, Kernel

Real = NDArray[Any]
"""An array of the kernel's number type."""


class LayerArrays(NamedTuple):
    """A layer to run. kernel: of its neuron and activation. weight (G·N, C), or None where the
    input current comes in, (…, G·N); bias (G·N,) or None.

    recurrent: (G·N, N) or None. constants: (numbers, N), as `srnn.kernels.scan` stacks them. names:
    of the states, then "s".
    """

    kernel: Kernel
    weight: Tensor | None
    bias: Tensor | None
    recurrent: Tensor | None
    constants: Tensor
    names: tuple[str, ...]


class _Layer(ctypes.Structure):
    """`steps_layer_t` of c/steps.c."""

    _fields_ = [
        ("neuron", Functions),
        *((name, c_long) for name in ("C", "N", "G", "S", "NP")),
        *((name, c_void_p) for name in ("W", "b", "R", "c", "state", "I", "pot")),
    ]


class _Steps(ctypes.Structure):
    """`steps_t` of c/steps.c."""

    _fields_ = [
        *((name, c_long) for name in ("B", "T", "layers", "room")),
        *((name, c_void_p) for name in ("layer", "x", "lengths", "potential", "output", "lists")),
        *((name, c_int) for name in ("sparse", "threads", "check")),
    ]


@functools.cache
def _library(dtype: torch.dtype) -> Any:
    library = cpu.library(dtype)
    for name in ("steps_size", "steps_padded", "steps_room", "steps_tiles", "steps_run"):
        getattr(library, name).restype = c_long
    for name in ("steps_padded", "steps_room", "steps_tiles"):
        getattr(library, name).argtypes = (c_long,)
    if library.steps_size() != ctypes.sizeof(_Steps) + ctypes.sizeof(_Layer):
        raise AssertionError(
            "c/steps.c and kernels/steps.py disagree about the size of steps_t "
            f"({library.steps_size()} bytes there)"
        )
    return library


class Steps:
    """A stack of layers over `batch` recordings, with their state. Not safe for use by two threads
    at once.

    inputs, outputs: channels of the first and the last layer. state: for each layer (S + 1, B, N),
    a view that may be read and written.
    """

    def __init__(self, layers: Sequence[LayerArrays], batch: int, dtype: torch.dtype) -> None:
        self._library = _library(dtype)
        self._run = self._library.steps_run
        self.dtype = torch.empty(0, dtype=dtype).numpy().dtype
        self.batch, self.names = batch, [layer.names for layer in layers]
        first, last = layers[0], layers[-1]
        self.inputs = (
            first.weight.shape[1]
            if first.weight is not None
            else first.kernel.program.gates * first.constants.shape[1]
        )
        self.outputs = last.constants.shape[1]
        self._kept: list[Any] = [layers]  # what the pointers point to
        self.state: list[Real] = []
        self._layers = (_Layer * len(layers))(*(self._packed(layer) for layer in layers))
        widest = max(max(layer.C, layer.N) for layer in self._layers)
        self._job = _Steps(B=batch, T=1, layers=len(layers), room=self._library.steps_room(widest))
        self._job.layer = ctypes.addressof(self._layers)
        self._job.lists = self._pointer(
            _aligned((self._library.steps_tiles(batch) * self._job.room,), np.dtype(np.uint8))
        )
        self._x, self._potential, self._output = (
            np.zeros((batch, 1, n), self.dtype) for n in (self.inputs, self.outputs, self.outputs)
        )
        self._job.x, self._job.potential, self._job.output = map(
            _address, (self._x, self._potential, self._output)
        )
        matrices = (m for layer in layers for m in (layer.weight, layer.recurrent))
        self._job.sparse = cpu.skipping(*matrices)
        self._job.threads, self._job.check = cpu.threads(), 1
        self._reference = ctypes.byref(self._job)

    def _packed(self, layer: LayerArrays) -> _Layer:
        kernel, n = layer.kernel, layer.constants.shape[1]
        gates, np_ = kernel.program.gates, int(self._library.steps_padded(n))
        made = _Layer(
            neuron=kernel.functions, N=n, G=gates, S=len(layer.names) - 1, NP=np_, C=self.inputs
        )
        if layer.weight is not None:
            made.C = layer.weight.shape[1]
            made.W = self._pointer(self._transposed(layer.weight, gates, np_))
        if layer.bias is not None:
            made.b = self._pointer(self._transposed(layer.bias.unsqueeze(1), gates, np_))
        if layer.recurrent is not None:
            made.R = self._pointer(self._transposed(layer.recurrent, gates, np_))
        constants = _aligned((layer.constants.shape[0] + kernel.derived, np_), self.dtype)
        given = layer.constants.detach().numpy()
        constants[: len(given), :n], constants[: len(given), n:] = given, given[:, -1:]
        made.c = self._pointer(constants)
        kernel.prepare(np_, constants)
        state = _aligned((len(layer.names), self.batch, np_), self.dtype)
        made.state, made.I = (
            self._pointer(state),
            self._pointer(_aligned((gates, self.batch, np_), self.dtype)),
        )
        made.pot = self._pointer(_aligned((self.batch, np_), self.dtype))
        self.state.append(state[:, :, :n])
        return made

    def _transposed(self, matrix: Tensor, gates: int, np_: int) -> Real:
        """Return (G·N, C) as (C, G, NP): a row for each input, padded with zeros."""
        m = matrix.detach().numpy()
        packed = _aligned((m.shape[1], gates, np_), self.dtype)
        packed[:, :, : len(m) // gates] = m.reshape(gates, -1, m.shape[1]).transpose(2, 0, 1)
        return packed

    def _pointer(self, array: Real) -> int:
        self._kept.append(array)
        return _address(array)

    def step(self, x: Any) -> tuple[int, Real, Real]:
        """Run one step of all recordings: x (B, C). Returns (0, potential, output), each (B, 1, N),
        which the next call overwrites.

        Where recording b is not finite, nothing is changed, and the first number is 1 + b.
        """
        self._x[:, 0] = x
        return self._run(self._reference), self._potential, self._output

    def run(
        self, x: Real, lengths: NDArray[np.int64] | None = None, *, check: bool = True
    ) -> tuple[int, Real, Real]:
        """Run x (B, T, C), of each recording its first `lengths` steps. Returns (0, potential,
        output), each (B, T, N), 0 beyond a length.

        With `check`, where recording b is not finite at its valid step t, nothing is changed, and
        the first number is 1 + b·T + t.
        """
        x = np.ascontiguousarray(x, self.dtype)
        steps = x.shape[1]
        potential, output = (
            np.empty((self.batch, steps, self.outputs), self.dtype) for _ in range(2)
        )
        job = _Steps.from_buffer_copy(self._job)
        job.T, job.x, job.potential, job.output = steps, *map(_address, (x, potential, output))
        job.threads, job.check = cpu.threads(), check
        if lengths is not None:
            lengths = np.ascontiguousarray(lengths, np.int64)
            job.lengths = _address(lengths)
        return self._run(ctypes.byref(job)), potential, output


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Real:
    """Return zeros that begin on a cache line."""
    size = int(np.prod(shape)) * dtype.itemsize
    buffer = np.zeros(size + 128, np.uint8)
    begin = -buffer.ctypes.data % 64
    return buffer[begin : begin + size].view(dtype).reshape(shape)


def _address(array: Real) -> int:
    return int(array.ctypes.data)
