"""Trace a neuron's step, and the gradient of that step, into elementwise operations: what energy
counts and kernel printers print.

torch differentiates: the adjoint is the trace of `torch.autograd.grad` through the step. Every
trace is taken at two shapes and compared, so that a step whose operations depend on the shape is
found out.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from srnn.activations import Activation, Identity, Soft
from srnn.init import Fixed
from srnn.kernels.graph import Builder, Graph, Value, currents
from srnn.kernels.graph import Program as Program
from srnn.kernels.pairs import Pair, Tracing, pair, parts, split
from srnn.kernels.record import TraceError as TraceError
from srnn.kernels.record import record
from srnn.neuron import Neuron, complex_states


def trace_step(neuron: Neuron) -> Graph:
    """Return the step of `neuron` as a graph, constants at full shape.

    inputs: "I" (or "I0", "I1" … for gates), "s", "state.<name>", "c.<name>"; outputs: "x" and each
    "state.<name>"; of what is complex, its name with .re and with .im. A clamp is written as
    maximum and minimum, literals stand in the arguments.
    Draws nothing from torch's generator. Raises `TraceError` naming an operation that is not
    elementwise, and where it stands.
    """
    return _Model(neuron).step()


def trace_program(neuron: Neuron, activation: Activation) -> Program:
    """Return everything a kernel of this neuron with this activation is printed from.

    Raises `TraceError` as `trace_step` does.
    """
    model, act = _Model(neuron), _Activation(activation)
    states, names = model.states, model.inputs
    constants = (*model.coeffs, *act.numbers)
    build = Builder()
    given: dict[str, Value] = {name: name for name in (*names, *constants)}
    # forward
    after = build.inline(model.step(), given)
    s = build.inline(act.forward(), {**given, "x": after["x"]})["s"]
    potential = model.potential()
    seen = build.inline(potential, {**given, **after, "s": s})["potential"]
    # backward: what reaches the output and the states of this step, from its own results and from
    # later steps
    now: dict[str, Value] = {**given, **after, "s": "now", "gpotential": "gpotential"}
    through = build.inline(model.potential_adjoint(), now)
    gs = build.emit("add", build.emit("add", "gout", "gs"), through["gs"])
    late: dict[str, Value] = {f"g{k}": build.emit("add", f"g{k}", through[f"g{k}"]) for k in states}
    gx = build.emit("mul", gs, build.inline(act.grad(), {**given, "x": after["x"]})["grad"])
    back = build.inline(model.step_adjoint(), {**given, **late, "gx": gx})
    ops, forward = tuple(build.ops), (*names, *constants)
    gradients = (*forward, "now", "gout", "gpotential", "gs", *(f"g{k}" for k in states))
    step = Graph(forward, ops, {"s": s, **{k: after[k] for k in states}, "potential": seen})
    return Program(
        f"{type(neuron).__name__}, {act.title}",
        neuron.gates,
        tuple(k.removeprefix("state.") for k in states),
        model.coeffs,
        constants,
        step,
        Graph(forward, ops, {k: after[k] for k in states}),
        Graph(gradients, ops, back),
    )


def truths(neuron: Neuron) -> frozenset[str]:
    """Return the names of the coefficients that are truth values; a kernel has them as numbers."""
    return frozenset(k.removeprefix("c.") for k in _Model(neuron).truths)


class _Model:
    """The functions of a neuron on plain tensors, traced."""

    def __init__(self, neuron: Neuron) -> None:
        self.neuron, self.who = neuron, f"{type(neuron).__name__}.step"
        given = (v.tensor() for v in neuron.constants().values() if isinstance(v, Fixed))
        # a list of values fixes the size of the layer
        n = next((v.numel() for v in given if v.dim()), None)
        self.shapes = ((2, n or 3), (4, n or 5))
        with torch.random.fork_rng(devices=[]):
            params = {
                k: (v if isinstance(v, Tensor) else v.tensor()).double()
                for k, v in neuron.init(self.shapes[0][1]).items()
            }
            self._probe({k: v.expand(self.shapes[0][1]) for k, v in params.items()})
        self.currents = currents(neuron.gates)
        self.inputs = (*self.currents, "s", *self.states, *self.coeffs)

    @torch.no_grad()
    def _probe(self, params: dict[str, Tensor]) -> None:
        """Find out which coefficients and states there are, and which of them are complex."""
        neuron, like = self.neuron, torch.zeros(self.shapes[0], dtype=torch.float64)
        c = {
            k: v if isinstance(v, Tensor) else torch.as_tensor(v)
            for k, v in neuron.coeffs(params).items()
        }
        try:
            self._complex = complex_states(neuron, dict.fromkeys((*neuron.states, "s"), like), c)[0]
        except Exception:  # whatever a user's code may raise: the trace says it with its place
            self._complex = frozenset()
        self.coeffs = tuple(f"c.{k}" for k in split(c))
        self.truths = {f"c.{k}" for k, v in c.items() if v.dtype is torch.bool}
        self.states = tuple(
            f"state.{k}{part}"
            for k in neuron.states
            for part in ((".re", ".im") if k in self._complex else ("",))
        )

    def _step(self, v: dict[str, Tensor]) -> list[Any]:
        I: Any = v["I"] if self.neuron.gates == 1 else tuple(v[k] for k in self.currents)
        c = {k.removeprefix("c."): v[k] != 0 if k in self.truths else v[k] for k in self.coeffs}
        with Tracing():
            x, new = self.neuron.step(I, v["s"], self._state(v), pair(c))
        return [
            self._real("x", x),
            *(
                part
                for k in self.neuron.states
                for part in (
                    parts(new[k]) if k in self._complex else [self._real(f"state {k!r}", new[k])]
                )
            ),
        ]

    def _potential(self, v: dict[str, Tensor]) -> list[Any]:
        with Tracing():
            seen = self.neuron.potential(v["s"], self._state(v))
        return [self._real("potential", seen)]

    def _state(self, v: dict[str, Tensor]) -> dict[str, Any]:
        return pair({k.removeprefix("state."): v[k] for k in self.states})

    def _real(self, what: str, value: Any) -> Any:
        if isinstance(value, Pair) or (isinstance(value, Tensor) and value.is_complex()):
            raise TraceError(
                f"{self.who}: {what} is complex, where a kernel has a real number. Take its real "
                "part, its imaginary part or its size (.real, .imag, .abs())."
            )
        return value

    def step(self) -> Graph:
        return self._trace(self._step, self.inputs, ("x", *self.states), self.neuron.step)

    def step_adjoint(self) -> Graph:
        results = ("gx", *(f"g{k}" for k in self.states))
        return self._trace(
            _adjoint(self._step, self.inputs, results),
            (*self.inputs, *results),
            tuple(f"g{k}" for k in self.inputs),
            self.neuron.step,
        )

    def potential(self) -> Graph:
        return self._trace(
            self._potential, ("s", *self.states), ("potential",), self.neuron.potential
        )

    def potential_adjoint(self) -> Graph:
        names, results = ("s", *self.states), ("gpotential",)
        f = _adjoint(self._potential, names, results)
        return self._trace(
            f, (*names, *results), tuple(f"g{k}" for k in names), self.neuron.potential
        )

    def _trace(
        self,
        f: Callable[[dict[str, Tensor]], list[Tensor]],
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        code: Callable[..., Any],
    ) -> Graph:
        return _trace(f, inputs, outputs, self.shapes, self.who, code)


class _Activation:
    """The functions of an activation, traced with all its numbers (those of its surrogate too) as
    inputs.
    """

    def __init__(self, activation: Activation) -> None:
        kind = type(activation)
        if kind.__call__ is not Activation.__call__ and kind not in (Identity, Soft):
            raise TraceError(
                f"{kind.__name__} has a __call__ beside forward and grad, of which a kernel is made"
            )
        self.activation = activation
        self.numbers = tuple(f"a.{path}" for path in numbers(activation))
        inner = [type(v).__name__ for v in vars(activation).values() if dataclasses.is_dataclass(v)]
        self.title = type(activation).__name__ + (f"({', '.join(inner)})" if inner else "")

    def forward(self) -> Graph:
        return self._trace("forward", "s")

    def grad(self) -> Graph:
        return self._trace("grad", "grad")

    def _trace(self, method: str, output: str) -> Graph:
        def f(v: dict[str, Tensor]) -> list[Tensor]:
            given = with_numbers(
                self.activation, {k.removeprefix("a."): v[k] for k in self.numbers}
            )
            return [getattr(given, method)(v["x"])]

        who, code = f"{type(self.activation).__name__}.{method}", getattr(self.activation, method)
        return _trace(f, ("x", *self.numbers), (output,), ((2, 3), (4, 5)), who, code)


def numbers(activation: Any) -> dict[str, float | Tensor]:
    """Return every number of an activation and of what it holds, by path ("surrogate.sigma")."""
    found: dict[str, float | Tensor] = {}
    for f in dataclasses.fields(activation):
        value = getattr(activation, f.name)
        if dataclasses.is_dataclass(value):
            found.update({f"{f.name}.{k}": v for k, v in numbers(value).items()})
        elif isinstance(value, int | float | Tensor) and not isinstance(value, bool):
            found[f.name] = value
    return found


def with_numbers(activation: Any, values: dict[str, Tensor]) -> Any:
    """Return a copy of an activation with these numbers, unchecked."""
    changed = copy.copy(activation)
    for f in dataclasses.fields(activation):
        value = getattr(activation, f.name)
        if dataclasses.is_dataclass(value):
            inner = {
                k.removeprefix(f"{f.name}."): v
                for k, v in values.items()
                if k.startswith(f"{f.name}.")
            }
            object.__setattr__(changed, f.name, with_numbers(value, inner))
        elif f.name in values:
            object.__setattr__(changed, f.name, values[f.name])
    return changed


def _adjoint(
    f: Callable[[dict[str, Tensor]], list[Any]],
    inputs: tuple[str, ...],
    results: tuple[str, ...],
) -> Callable[[dict[str, Tensor]], list[Tensor]]:
    """Return the function (inputs, gradients of the results) → gradients of the inputs."""

    def back(v: dict[str, Tensor]) -> list[Tensor]:
        with torch.enable_grad():
            leaves = {k: v[k].detach().requires_grad_() for k in inputs}
            made = zip(f(leaves), results, strict=True)
            # the part of a complex number may be a literal
            found = [(y, v[k]) for y, k in made if isinstance(y, Tensor) and y.requires_grad]
            grads = torch.autograd.grad(
                [y for y, _ in found],
                list(leaves.values()),
                [g for _, g in found],
                allow_unused=True,
            )
        return [
            torch.zeros_like(leaf) if g is None else g
            for g, leaf in zip(grads, leaves.values(), strict=True)
        ]

    return back


def _trace(
    f: Callable[[dict[str, Tensor]], list[Tensor]],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    shapes: Iterable[tuple[int, int]],
    who: str,
    code: Callable[..., Any],
) -> Graph:
    """Trace f at every shape and return the one graph.

    `code`: the user's function, for messages.
    """
    graphs = [record(f, inputs, outputs, shape, who, code) for shape in shapes]
    if any(g != graphs[0] for g in graphs):
        raise TraceError(
            f"{who} does different things at different shapes (B, N); every "
            'operation must be elementwise. Or use backend="reference".'
        )
    return graphs[0]
