"""A network that runs step by step, with its state: stages of compiled layers, and of torch modules
where a layer is no compiled one.

    compiled   layers that follow each other, in one call of C (`srnn.kernels.steps`)
    normed     a layer with a norm: W x + b and its norm in torch, the rest in C
    module     any other part, or backend "reference": its own forward, one call a chunk

On the cpu backend, the first two give the bits of the whole sequence however it is cut.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srnn._check import ConfigError, DataError, ShapeError, check_instance
from srnn.kernels import cpu, scan
from srnn.kernels.pairs import join, split
from srnn.kernels.steps import LayerArrays, Real, Steps
from srnn.nn.layers import Layer, LayerState, Part, valid_steps
from srnn.nn.networks import NetworkState, Stack
from srnn.nn.plain import copied, departures, own_departures

Lengths = NDArray[np.int64]


class _Stage(Protocol):
    """Some parts of a network, one after the other, and their state."""

    parts: tuple[Part, ...]

    def run(self, x: Real, lengths: Lengths | None, *, first: bool) -> tuple[Real, Real]:
        """Return potential and output (B, T, N). first: x is the network's input."""
        ...

    def get(self) -> list[LayerState]:
        """Return a copy of the state of each part."""
        ...

    def put(self, states: list[LayerState], rows: Any) -> None:
        """Set the state of some recordings: of each part, tensors of as many rows."""
        ...


class _Compiled:
    """Layers in C. Of a layer with a norm the input current comes from torch."""

    def __init__(self, layers: tuple[Layer, ...], batch: int) -> None:
        self.parts: tuple[Part, ...] = layers
        self.steps = Steps([_arrays(layer) for layer in layers], batch, layers[0].weight.dtype)
        self._normed = layers[0] if layers[0].norm is not None else None
        self._weight, self._bias, _ = layers[0].connections()

    def run(self, x: Real, lengths: Lengths | None, *, first: bool) -> tuple[Real, Real]:
        if self._normed is not None:
            if first:
                _check_finite(x, lengths)
            given = torch.from_numpy(x)
            counts = None if lengths is None else torch.from_numpy(lengths)
            valid = valid_steps("Stream", given, counts)
            if valid is not None:
                given = torch.where(valid.unsqueeze(-1), given, 0.0)
            x = self._normed.normed(given, self._weight, self._bias, valid, backend="cpu").numpy()
        bad, potential, output = self.steps.run(x, lengths, check=first and self._normed is None)
        if bad:
            raise not_finite(bad - 1, x.shape[1])
        return potential, output

    def get(self) -> list[LayerState]:
        return [
            join(
                {
                    name: torch.from_numpy(value.copy())
                    for name, value in zip(names, arrays, strict=True)
                }
            )
            for names, arrays in zip(self.steps.names, self.steps.state, strict=True)
        ]

    def put(self, states: list[LayerState], rows: Any) -> None:
        for names, arrays, state in zip(self.steps.names, self.steps.state, states, strict=True):
            given = split(_named(state))
            for name, array in zip(names, arrays, strict=True):
                array[rows] = given[name].detach().numpy()


class _Module:
    """One part as a torch module."""

    def __init__(self, part: Part, batch: int, backend: str) -> None:
        self.parts: tuple[Part, ...] = (part,)
        self._part, self._backend, self._state = part, backend, part.start(batch)
        self._like = next((p for p in part.parameters()), None)

    def run(self, x: Real, lengths: Lengths | None, *, first: bool) -> tuple[Real, Real]:
        if first:
            _check_finite(x, lengths)
        counts = None if lengths is None else torch.from_numpy(lengths)
        given = torch.from_numpy(x) if self._like is None else torch.from_numpy(x).to(self._like)
        made = self._part(given, counts, self._state, potential=True, backend=self._backend)
        self._state = made.state
        potential = made.potential if made.potential is not None else made.output
        return _numpy(potential), _numpy(made.output)

    def get(self) -> list[LayerState]:
        return [{name: value.cpu().clone() for name, value in _named(self._state).items()}]

    def put(self, states: list[LayerState], rows: Any) -> None:
        fresh = {name: value.clone() for name, value in _named(self._state).items()}
        for name, value in fresh.items():
            value[rows] = _named(states[0])[name].detach().to(value)
        self._state = fresh


class Engine:
    """A network over `batch` recordings that goes on where it stopped. The weights are those of the
    moment it is made.

    dtype: numpy's, of the input and the results. backend: what runs, and why (`scan.Choice`).
    record: every layer is a stage of its own, and `recorded` is what each gave in the last run, (B,
    T, N). Raises `ConfigError` for a network that cannot run piece by piece, saying why, and for a
    backend that cannot run it.
    """

    def __init__(self, net: Stack, batch: int, backend: str, record: bool = False) -> None:
        check_instance(
            "Stream",
            "net",
            net,
            Stack,
            "a network such as srnn.Stack(srnn.Layer(…), srnn.Readout(…))",
        )
        net.check_pieces("Stream", whole=False)
        if found := own_departures(net):
            raise ConfigError(
                f"Stream: {found[0]}, and a stream calls the parts of a network, not the network. "
                "Put it on its parts."
            )
        self.backend = net.which_backend(backend=backend)
        self._net = copied(net).eval().requires_grad_(requires_grad=False)
        self.batch, self.inputs, self.outputs = batch, net.inputs, net.outputs
        first = next((p for p in net.parameters()), torch.zeros(0))
        # numpy has no bfloat16
        kind = torch.float32 if first.dtype is torch.bfloat16 else first.dtype
        self.dtype = torch.zeros(0, dtype=kind).numpy().dtype
        self.record, self.recorded = record, tuple[Real, ...]()
        self._stages = self._cut(backend)
        self._single = self._stages[0] if len(self._stages) == 1 and not record else None

    def _cut(self, backend: str) -> list[_Stage]:
        stages: list[_Stage] = []
        run: list[Layer] = []

        def close() -> None:
            if run:
                stages.append(_Compiled(tuple(run), self.batch))
                run.clear()

        for part in self._net.parts():
            if (
                isinstance(part, Layer)
                and not departures(part)
                and part.which_backend(backend).name == "cpu"
            ):
                # the current of a norm comes from torch: it begins a stage
                if part.norm is not None or self.record:
                    close()
                run.append(part)
            else:
                close()
                stages.append(_Module(part, self.batch, backend))
        close()
        return stages

    @torch.no_grad()
    def run(self, x: Real, lengths: Lengths | None) -> tuple[Real, Real]:
        """Run x (B, T, C), of each recording its first `lengths` steps; return potential and output
        of the last layer, (B, T, K), 0 beyond a length.

        Raises `DataError` where a valid step is not finite; the state is then what it was before.
        """
        potential = output = np.ascontiguousarray(x, self.dtype)
        made = []
        for k, stage in enumerate(self._stages):
            potential, output = stage.run(output, lengths, first=not k)
            made.append(output)
        if self.record:
            self.recorded = tuple(made)
        return potential, output

    def step(self, x: Any) -> tuple[Real, Real]:
        """Run one step, x (B, C), or (C,) of a single recording; return potential and output,
        (B, 1, K), which the next call may overwrite. Raises as `run`.
        """
        if isinstance(self._single, _Compiled) and self._single._normed is None:
            bad, potential, output = self._single.steps.step(x)
            if bad:
                raise not_finite(bad - 1, 1)
            return potential, output
        return self.run(np.reshape(x, (self.batch, 1, -1)), None)

    @property
    def state(self) -> NetworkState:
        """A copy of the state of every part."""
        return tuple(state for stage in self._stages for state in stage.get())

    def put(self, state: NetworkState, rows: Any = slice(None)) -> None:
        """Set the state of some recordings (all): as `state`, of as many rows.

        Raises `ShapeError` where it is not one of this network.
        """
        count, parts = len(np.arange(self.batch)[rows]), self._net.parts()
        if len(state) != len(parts):
            raise ShapeError(
                f"Stream: a state of {len(state)} layers for a network of {len(parts)}."
            )
        for k, (part, given) in enumerate(zip(parts, state, strict=True)):
            wanted = {name: _form(v, count) for name, v in _named(part.start(1)).items()}
            got = {name: _form(v, len(v)) for name, v in _named(given).items()}
            if got != wanted:
                raise ShapeError(f"Stream: the state of layer {k} is {got}; expected {wanted}.")
        rest = list(state)
        for stage in self._stages:
            own, rest = rest[: len(stage.parts)], rest[len(stage.parts) :]
            stage.put(own, rows)


def not_finite(at: int, steps: int) -> DataError:
    """Return the error for recording at // steps at step at % steps."""
    return DataError(
        f"Stream: recording {at // steps} is not finite at step {at % steps} of what was "
        "pushed; nothing was run. "
        "Repair or leave out such samples first, as `srnn stream --gaps` does."
    )


def _check_finite(x: Real, lengths: Lengths | None) -> None:
    bad = ~np.isfinite(x).all(-1)
    if lengths is not None:
        bad &= np.arange(x.shape[1]) < lengths[:, None]
    if bad.any():
        raise not_finite(int(np.argmax(bad)), x.shape[1])


def _arrays(layer: Layer) -> LayerArrays:
    """Return what a compiled layer is made of; of one with a norm, only what follows the norm."""
    weight, bias, recurrent = layer.connections()
    coeffs = layer.coeffs()
    constants = scan.constants_of(
        layer.activation, coeffs, layer.weight.new_empty(1, layer.neurons)
    ).detach()
    kernel = cpu.kernel(cpu.register(layer.neuron, layer.activation), layer.weight.dtype)
    names = (*kernel.program.states, "s")
    if layer.norm is not None:
        return LayerArrays(kernel, None, None, recurrent, constants, names)
    return LayerArrays(kernel, weight, bias, recurrent, constants, names)


def _form(state: Tensor, count: int) -> tuple[Any, ...]:
    """Return the shape of the state of so many recordings, and whether it is complex."""
    return (count, *state.shape[1:], *(["complex"] if state.is_complex() else []))


def _numpy(value: Tensor) -> Real:
    value = value.cpu()
    return (value.float() if value.dtype is torch.bfloat16 else value).numpy()


def _named(state: LayerState) -> dict[str, Tensor]:
    if isinstance(state, tuple):
        raise ConfigError("Stream: a bidirectional layer cannot run on a stream.")
    return state
