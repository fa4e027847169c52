"""Trace a neuron's step, and the gradient of that step, into elementwise operations: what energy
counts and kernel printers print.

torch differentiates: the adjoint is the trace of `torch.autograd.grad` through the step. Every
trace is taken at two shapes and compared, so that a step whose operations depend on the shape is
found out.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from srnn._check import SrnnError
from srnn.activations import Activation
from srnn.init import Fixed
from srnn.kernels.graph import Builder, Graph, Op, Value, currents
from srnn.kernels.pairs import Pair, RefusedError, Tracing, split
from srnn.neuron import Neuron, complex_states

_NAMES = {
    "add": "add",
    "sub": "sub",
    "rsub": "rsub",
    "mul": "mul",
    "div": "div",
    "neg": "neg",
    "reciprocal": "reciprocal",
    "exp": "exp",
    "log": "log",
    "log1p": "log1p",
    "expm1": "expm1",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "erf": "erf",
    "sin": "sin",
    "cos": "cos",
    "sqrt": "sqrt",
    "softplus": "softplus",
    "relu": "relu",
    "abs": "abs",
    "sign": "sign",
    "sgn": "sign",
    "pow": "pow",
    "minimum": "minimum",
    "maximum": "maximum",
    "clamp": "clamp",
    "clamp_min": "maximum",
    "clamp_max": "minimum",
    "where": "where",
    "gt": "gt",
    "ge": "ge",
    "lt": "lt",
    "le": "le",
    "eq": "eq",
    "ne": "ne",
    "logical_and": "and",
    "logical_or": "or",
    "logical_not": "not",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "bitwise_not": "not",
    "ones_like": "literal",
    "zeros_like": "literal",
    "full_like": "literal",
    "scalar_tensor": "literal",
    "_to_copy": "copy",
    "clone": "copy",
    "detach": "alias",
    "alias": "alias",
    "masked_fill": "masked_fill",
}
_LITERALS = {"ones_like": 1.0, "zeros_like": 0.0}
_BACKWARD = (
    "tanh_backward",
    "sigmoid_backward",
    "threshold_backward",
    "softplus_backward",
    "logit_backward",
)
"""Operations of gradients that torch itself can write as elementwise ones."""
_COMPOSITE = ("to", "conj_physical")
"""What such a rewriting calls and torch, below autograd, no longer takes apart by itself; neither
does anything to a real number of that type.
"""


class TraceError(SrnnError):
    """A step does something that is not an elementwise operation."""


def trace_step(neuron: Neuron) -> Graph:
    """Return the step of `neuron` as a graph, constants at full shape.

    inputs: "I" (or "I0", "I1" … for gates), "s", "state.<name>", "c.<name>"; outputs: "x" and each
    "state.<name>"; of what is complex, its name with .re and with .im. A clamp is written as
    maximum and minimum, literals stand in the arguments.
    Draws nothing from torch's generator. Raises `TraceError` naming an operation that is not
    elementwise, and where it stands.
    """
    return _Model(neuron).step()


@dataclass(frozen=True)
class Program:
    """A neuron with its activation as a kernel needs it: one list of operations, and three
    functions made of them.

    states, constants: of what is complex both parts (`srnn.kernels.pairs`).
    constants: the coefficients c.<name>, then the activation's numbers a.<name>.
    step:    I, s, states → "s", states, "potential".
    advance: I, s, states → states (the output being known).
    adjoint: I, s, states before the step, "now" (the output after it), "gout", "gpotential", "gs"
             and "gstate.<name>" (what comes from later steps) → "gI…", "gs", "gstate.<name>" (what
             goes to earlier ones), "g<coefficient>".
    """

    name: str
    gates: int
    states: tuple[str, ...]
    coeffs: tuple[str, ...]
    constants: tuple[str, ...]
    step: Graph
    advance: Graph
    adjoint: Graph

    def constant_ops(self) -> dict[str, Op]:
        """Return the operations that depend on constants alone, by their results: what is computed
        once, before the first step.
        """
        known, found = set(self.constants), dict[str, Op]()
        for op in self.step.ops:
            if all(isinstance(a, float) or a in known for a in op.args):
                known.add(op.result)
                found[op.result] = op
        return found


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
            k: v if isinstance(v, Tensor) else like.new_full((), v)
            for k, v in neuron.coeffs(params).items()
        }
        try:
            self._complex = complex_states(neuron, dict.fromkeys((*neuron.states, "s"), like), c)[0]
        except SrnnError:
            raise
        except Exception as error:  # whatever a user's code may raise
            raise _untraced(self.who, error) from error
        self.coeffs = tuple(f"c.{k}" for k in split(c))
        self._truths = {f"c.{k}" for k, v in c.items() if v.dtype is torch.bool}
        self.states = tuple(
            f"state.{k}{part}"
            for k in neuron.states
            for part in ((".re", ".im") if k in self._complex else ("",))
        )

    def _step(self, v: dict[str, Tensor]) -> list[Any]:
        I: Any = v["I"] if self.neuron.gates == 1 else tuple(v[k] for k in self.currents)
        coeffs = {k: v[k] != 0 if k in self._truths else v[k] for k in self.coeffs}
        with Tracing():
            x, new = self.neuron.step(I, v["s"], self._state(v), _paired(coeffs, "c."))
        return [
            self._real("x", x),
            *(
                part
                for k in self.neuron.states
                for part in (
                    _parts(new[k]) if k in self._complex else [self._real(f"state {k!r}", new[k])]
                )
            ),
        ]

    def _potential(self, v: dict[str, Tensor]) -> list[Any]:
        with Tracing():
            seen = self.neuron.potential(v["s"], self._state(v))
        return [self._real("potential", seen)]

    def _state(self, v: dict[str, Tensor]) -> dict[str, Any]:
        return _paired({k: v[k] for k in self.states}, "state.")

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
    graphs = [_trace_at(f, inputs, outputs, shape, who, code) for shape in shapes]
    if any(g != graphs[0] for g in graphs):
        raise TraceError(
            f"{who} does different things at different shapes (B, N); every "
            'operation must be elementwise. Or use backend="reference".'
        )
    return graphs[0]


def _trace_at(
    f: Callable[[dict[str, Tensor]], list[Tensor]],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    shape: tuple[int, int],
    who: str,
    code: Callable[..., Any],
) -> Graph:
    draw = torch.Generator().manual_seed(0)
    given = {name: torch.rand(*shape, dtype=torch.float64, generator=draw) for name in inputs}
    recorder = _Recorder(who, code, given)
    try:
        with recorder:
            results = f(given)
    except RefusedError as error:
        line = _line(traceback.extract_tb(error.__traceback__), code)
        raise TraceError(
            f"{who}: {error.operation}{line} is nothing that a kernel can do with complex numbers "
            "(+ - * /, conj, real, imag, abs, exp, torch.complex, torch.polar and torch.where "
            'are); write it with those, or use backend="reference".'
        ) from None
    except SrnnError:
        raise
    except Exception as error:  # whatever a user's code may raise
        raise _untraced(who, error) from error
    return Graph(
        inputs,
        tuple(recorder.ops),
        {name: recorder.value(y) for name, y in zip(outputs, results, strict=True)},
    )


def _untraced(who: str, error: Exception) -> TraceError:
    text = (str(error).splitlines() or [""])[0]
    return TraceError(f"{who} cannot be traced: {type(error).__name__}: {text}")


def _paired(values: dict[str, Tensor], prefix: str) -> dict[str, Any]:
    """Return coefficients or states as a step has them, of what is complex a `Pair`."""
    found = dict[str, Any]()
    for name, value in values.items():
        whole = name.removeprefix(prefix)
        if whole.endswith(".re"):
            found[whole[:-3]] = Pair(value, values[f"{name[:-3]}.im"])
        elif not whole.endswith(".im"):
            found[whole] = value
    return found


def _parts(value: Any) -> list[Any]:
    """Return the two parts of what a step returns as a complex number."""
    return [value.re, value.im] if isinstance(value, Pair) else [value, 0.0]


def _line(stack: Sequence[traceback.FrameSummary], code: Callable[..., Any]) -> str:
    """Return " (file:line)" of the last of these frames in the user's file, or ""."""
    file = inspect.getsourcefile(inspect.unwrap(code))
    lines = [frame for frame in stack if frame.filename == file]
    return f" ({lines[-1].filename}:{lines[-1].lineno})" if lines else ""


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down what torch computes, below autograd.

    A tensor is known by its memory, which every tensor met keeps until the end.
    """

    def __init__(self, who: str, code: Callable[..., Any], given: dict[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.who, self.code, self.ops = who, code, list[Op]()
        self._values: dict[int, Value] = {t.data_ptr(): name for name, t in given.items()}
        self._met: list[Tensor] = []

    def value(self, a: Any) -> Value:
        """Return the name of a tensor's value; a number, or a tensor of one number that was not
        computed, is a literal.
        """
        if not isinstance(a, Tensor):
            return float(a)
        if a.data_ptr() not in self._values:
            if a.dim():
                raise TraceError(
                    f"{self.who} uses a tensor that is not one of its arguments; "
                    "make it a constant of the neuron."
                )
            return float(a)
        return self._values[a.data_ptr()]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = func.__name__.split(".")[0]
        if kind in _BACKWARD:
            with self:
                return _decompositions()[func](*args, **kwargs)
        if kind in _COMPOSITE:
            with self:
                return func.decompose(*args, **kwargs)
        if kind == "lift_fresh":
            return func(*args, **kwargs)
        name = _NAMES.get(kind.removesuffix("_"))
        dtype, truth = (
            kwargs.get("dtype"),
            bool(args) and isinstance(args[0], Tensor) and args[0].dtype is torch.bool,
        )
        # (x > 0).float(), on examples that are float64
        if kind == "_to_copy" and dtype is torch.float32 and truth:
            kwargs, dtype = {**kwargs, "dtype": torch.float64}, torch.float64
        other = dtype not in (None, torch.bool, torch.float64)
        if name is None or kwargs.get("rounding_mode") is not None or other:
            if kind == "_to_copy":
                raise TraceError(
                    f"{self.who}: {func}{self._place()} changes the number type to "
                    f'{dtype}; write .to(x.dtype), or use backend="reference".'
                )
            raise TraceError(
                f"{self.who}: {func}{self._place()} is not one of the elementwise "
                "operations a kernel can be made of; "
                'write it with those, or use backend="reference".'
            )
        before = (
            [self.value(a) for a in args if a is not None and not isinstance(a, list)]
            if name not in ("literal", "clamp")
            else []
        )
        if name == "clamp":
            bounds = [
                kwargs.get(k, args[i] if len(args) > i else None)
                for i, k in ((1, "min"), (2, "max"))
            ]
            value = self.value(args[0])
        result = func(*args, **kwargs)
        self._met.append(result)
        if name == "literal":
            value = (
                _LITERALS[kind]
                if kind in _LITERALS
                else float(args[0] if kind == "scalar_tensor" else args[1])
            )
        elif name == "clamp":
            for bound, limit in zip(bounds, ("maximum", "minimum"), strict=True):
                value = value if bound is None else self._emit(limit, value, self.value(bound))
        elif name == "alias" or (name == "copy" and result.dtype == args[0].dtype):
            value = before[0]
        elif name == "copy" and result.dtype is torch.bool:
            value = self._emit("ne", before[0], 0.0)
        # softplus(β x) / β, x itself above the threshold
        elif name == "softplus" and len(before) > 1:
            beta, threshold = before[1], before[2] if len(before) > 2 else 20.0
            inner = self._emit("mul", before[0], beta)
            value = self._emit(
                "where",
                self._emit("gt", inner, threshold),
                before[0],
                self._emit("div", self._emit("softplus", inner), beta),
            )
        elif name == "masked_fill":
            value = self._emit("where", before[1], before[2], before[0])
        else:
            alpha = kwargs.get("alpha", 1)
            if alpha != 1:  # rsub(a, b, α) is b - α a, add and sub scale their second argument
                scaled = 0 if name == "rsub" else 1
                before[scaled] = self._emit("mul", before[scaled], float(alpha))
            if result.dtype is torch.bool:  # sums and products of truth values
                name = {"add": "or", "mul": "and"}.get(name, name)
            value = self._emit(name, *before)
        self._values[result.data_ptr()] = value
        return result

    def _emit(self, name: str, *args: Value) -> str:
        self.ops.append(Op(f"v{len(self.ops)}", name, args))
        return self.ops[-1].result

    def _place(self) -> str:
        """Return " (file:line)" of the operation now running in the user's function, or "" where it
        is not there.
        """
        stack = traceback.extract_stack()
        inside = max(
            (
                k
                for k, frame in enumerate(stack)
                if frame.filename == __file__ and frame.name == "_trace_at"
            ),
            default=0,
        )
        return _line(stack[inside:], self.code)


@functools.cache
def _decompositions() -> dict[Any, Callable[..., Any]]:
    from torch._decomp import get_decompositions

    return dict(get_decompositions([getattr(torch.ops.aten, name) for name in _BACKWARD]))
