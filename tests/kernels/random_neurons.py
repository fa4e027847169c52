"""Random neurons: a step drawn from the operations that a kernel knows; states, gates, constants,
start and shape are drawn too. The kernel beside the reference loop, values and gradients.
`python -m benchmarks.random_neurons` runs thousands.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from srnn import Bidirectional, Layer
from srnn.activations import Activation, Identity, Soft
from srnn.init import Constant, Init
from srnn.neuron import Coeffs, Neuron, State
from srnn.surrogates import FastSigmoid

UNARY: tuple[Callable[[Tensor], Tensor], ...] = (
    torch.tanh,
    torch.sigmoid,
    torch.erf,
    torch.abs,
    torch.neg,
    torch.relu,
    torch.sign,
    torch.sgn,
    torch.sin,
    torch.cos,
    F.softplus,
    lambda a: F.softplus(a, beta=2.0, threshold=0.5),
    lambda a: torch.exp(-a * a),
    lambda a: torch.log1p(a * a),
    lambda a: torch.log(a * a + 0.5),
    lambda a: torch.expm1(0.3 * torch.tanh(a)),
    lambda a: torch.sqrt(a * a + 0.25),
    lambda a: torch.reciprocal(a * a + 1),
    lambda a: a**2 / (1 + a**2),
    lambda a: (a * a + 0.1) ** 0.7,
    lambda a: torch.clamp(a, -0.8, 0.6),
    lambda a: a.clamp(min=-0.3),
    lambda a: a.masked_fill(a > 0.5, 0.5),
    lambda a: (a > 0.1).to(a.dtype) * a,
    lambda a: torch.where(a > 0.2, 0.25, 0.5) * a,
    lambda a: torch.logical_not(a > 0) * a,
)
BINARY: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    torch.add,
    torch.sub,
    torch.mul,
    torch.minimum,
    torch.maximum,
    lambda a, b: torch.rsub(a, b, alpha=0.5),
    lambda a, b: torch.add(a, b, alpha=-1.5),
    lambda a, b: a / (1 + b * b),
    lambda a, b: torch.where(a > b, a, 0.5 * b),
    lambda a, b: ((a > 0) & (b > 0)) * a + b,
    lambda a, b: torch.pow(a * a + 0.5, torch.tanh(b)),
)


@dataclass(frozen=True)
class Case:
    """What was drawn: the step as (function, places of its arguments), and where results are."""

    operations: tuple[tuple[Any, tuple[int, ...]], ...]
    sources: tuple[str, ...]
    results: tuple[int, ...]
    states: tuple[str, ...]
    gates: int
    start: tuple[float, ...]


def drawn(draw: random.Random) -> Case:
    gates = draw.choice((1, 1, 2, 3))
    states = tuple("uvwz"[: draw.randint(1, 4)])
    currents = [f"I{g}" for g in range(gates)]
    sources = (*currents, "s", *states, "c.a", "c.b")
    count, operations = len(sources), []
    for k in range(draw.randint(3, 12)):
        kinds = UNARY if draw.random() < 0.5 else BINARY
        places = tuple(draw.randrange(count + k) for _ in range(1 if kinds is UNARY else 2))
        operations.append((draw.choice(kinds), places))
    total = count + len(operations)
    results = tuple(draw.randrange(count, total) for _ in range(1 + len(states)))
    start = tuple(round(draw.uniform(-0.5, 0.5), 3) for _ in states)
    return Case(tuple(operations), sources, results, states, gates, start)


def neuron_of(case: Case) -> Neuron:
    @dataclass(frozen=True)
    class Drawn(Neuron):
        a: Init = Constant(0.6)
        b: Init = Constant(-0.4)

        states = case.states
        gates = case.gates

        def start(self, n: int) -> dict[str, float | Tensor]:
            return dict(zip(case.states, case.start, strict=True))

        def step(self, I: Any, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
            currents = (I,) if case.gates == 1 else I
            values = [*currents, s, *(state[k] for k in case.states), c["a"], c["b"]]
            for function, places in case.operations:
                values.append(function(*(values[p] for p in places)))
            x, *new = (0.5 * torch.tanh(values[p]) + 0.1 * currents[0] for p in case.results)
            kept = (0.6 * state[k] + v for k, v in zip(case.states, new, strict=True))
            return x, dict(zip(case.states, kept, strict=True))

    return Drawn()


def mismatch(seed: int) -> str | None:
    """Return in what kernel and reference loop differ for the neuron of this seed, or None."""
    draw = random.Random(seed)
    case = drawn(draw)
    dtype = draw.choice((torch.float32, torch.float64))
    batch, steps = draw.choice((1, 3, 9)), draw.choice((1, 2, 7))
    inputs, n = draw.choice((1, 3)), draw.choice((1, 5, 17))
    activation: Activation = draw.choice((Identity(), Soft(FastSigmoid())))
    both, recurrent = draw.random() < 0.2, draw.random() < 0.7
    torch.manual_seed(seed)
    lengths = draw.choice((None, torch.randint(0, steps + 1, (batch,))))
    layer: Any = Layer(inputs, n, neuron_of(case), activation, recurrent=recurrent, dtype=dtype)
    choice = layer.which_backend()
    if choice.name != "cpu":
        return f"no kernel: {choice.reason}"
    if both:
        layer = Bidirectional(layer, layer)
    x = torch.randn(batch, steps, inputs, dtype=dtype)
    found = [_results(layer, x, lengths, backend) for backend in ("cpu", "reference")]
    tolerance = 2e-3 if dtype is torch.float32 else 1e-8
    for name, a in found[0].items():
        b = found[1][name]
        if bool(torch.isfinite(b).all()) and not torch.allclose(a, b, tolerance, tolerance):
            return f"{name}: {float((a - b).abs().max()):.2g} apart, of {float(b.abs().max()):.2g}"
    return None


def _results(layer: Any, x: Tensor, lengths: Tensor | None, backend: str) -> dict[str, Tensor]:
    leaf = x.clone().requires_grad_()
    layer.zero_grad()
    out = layer(leaf, lengths, potential=True, backend=backend)
    hooked: list[Tensor] = []
    if out.output.requires_grad:
        out.output.register_hook(lambda g: hooked.append(g))
    states = out.state if isinstance(out.state, tuple) else (out.state,)
    final = [v for state in states for k, v in sorted(state.items())]
    weights = torch.linspace(-1, 1, out.output.numel(), dtype=x.dtype).view_as(out.output)
    total = (out.output * weights).sum() + sum((k + 1) * v.sum() for k, v in enumerate(final))
    total.backward()
    grads = {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in layer.named_parameters()
    }
    reached = torch.zeros_like(x) if leaf.grad is None else leaf.grad
    return {
        "output": out.output.detach(),
        "potential": out.potential.detach(),
        **{f"state {k}": v.detach() for k, v in enumerate(final)},
        **{f"gradient of {k}": v for k, v in grads.items()},
        "gradient of x": reached,
        **{f"hook {k}": v for k, v in enumerate(hooked)},
    }
