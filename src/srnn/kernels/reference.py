"""The reference loop: a layer over time in plain Python under autograd, which defines what every
kernel computes.

Where an input or an output is 0, its product with a weight is absent, as it is in the event-driven
kernels: 0·∞ adds nothing, forward and backward. Under torch.func, forward-mode differentiation,
autocast and torch.compile, and on a GPU, torch's own products stand in.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from srnn.activations import Activation
from srnn.neuron import Coeffs, Neuron, State


def transformed() -> bool:
    """Return whether torch.func or forward-mode differentiation is at work, which the kernels
    cannot take part in.
    """
    if torch.compiler.is_compiling():
        return False
    return (
        torch.autograd.forward_ad._current_level >= 0
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


def run(
    neuron: Neuron,
    activation: Activation,
    current: Tensor,
    recurrent: Tensor | None,
    coeffs: Coeffs,
    state: State,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    potential: bool = False,
) -> tuple[Tensor, Tensor | None, State]:
    """Run one layer over time; arguments and results as `srnn.kernels.scan.run` has them."""
    if weight is not None:
        current = product(current, weight, bias)
    s, h = state["s"], {name: state[name] for name in neuron.states}
    outputs, potentials = [], []
    steps = current.shape[1]
    valids = (
        [None] * steps
        if lengths is None
        else [(t < lengths.to(current.device)).unsqueeze(-1) for t in range(steps)]
    )
    # not current[:, t]: its backward would be quadratic in T
    for I, v in zip(current.unbind(1), valids, strict=True):
        if recurrent is not None:
            I = product(s, recurrent, I)
        x, new = neuron.step(I if neuron.gates == 1 else I.chunk(neuron.gates, -1), s, h, coeffs)
        out = activation(x)
        pot = neuron.potential(out, new) if potential else None
        if v is None:
            s, h = out, new
        else:
            s, h = (
                torch.where(v, out, s),
                {name: torch.where(v, new[name], h[name]) for name in neuron.states},
            )
            out = torch.where(v, out, 0.0)
            pot = torch.where(v, pot, 0.0) if pot is not None else None
        outputs.append(out)
        if pot is not None:
            potentials.append(pot)
    seen = torch.stack(potentials, 1) if potential else None
    return torch.stack(outputs, 1), seen, {**h, "s": s}


def product(x: Tensor, weight: Tensor, add: Tensor | None) -> Tensor:
    """Return x Wᵀ + add: x (…, C), weight (N, C), add (N,), (…, N) or None. What is 0 in x adds
    nothing, whatever the weight.
    """
    if (
        x.device.type != "cpu"
        or torch.compiler.is_compiling()
        or torch.is_autocast_enabled("cpu")
        or transformed()
    ):
        return _dense(x, weight, add)
    made: Tensor = _Product.apply(x, weight, add)  # type: ignore[no-untyped-call]
    return made


def _dense(x: Tensor, weight: Tensor, add: Tensor | None) -> Tensor:
    if add is None or add.dim() == 1:
        return functional.linear(x, weight, add)
    return torch.addmm(add, x, weight.t())


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, add: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shared = add is not None and add.dim() == 1
        y = _dense(x, weight, add)
        if not finite(y):
            y = absent(x.flatten(0, -2), weight.t()).view(y.shape)
            y = y if add is None else y + add
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (needs_x, needs_weight, needs_add) = ctx.saved_tensors, ctx.needs_input_grad
        below = grad.matmul(weight) if needs_x else None
        flat = grad.flatten(0, -2)
        through = weight_gradient(x.flatten(0, -2), flat) if needs_weight else None
        return below, through, (flat.sum(0) if ctx.shared else grad) if needs_add else None


def weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient of W (N, C) of products x Wᵀ: x (rows, C), grad (rows, N)."""
    dense = grad.t().mm(x)
    return dense if finite(dense) else absent(x.t(), grad).t()


def finite(*tensors: Tensor) -> bool:
    """Return whether all numbers of all tensors are finite."""
    # a sum is one pass; it may overflow where no number does
    return all(math.isfinite(t.sum().item()) or bool(torch.isfinite(t).all()) for t in tensors)


def defined(*tensors: Tensor) -> bool:
    """Return whether no number of any tensor is NaN."""
    return all(not math.isnan(t.sum().item()) or not bool(t.isnan().any()) for t in tensors)


def absent(a: Tensor, b: Tensor) -> Tensor:
    """Return a b, (M, K) times (K, N), without the terms in which a is 0, which would be NaN where
    b is not finite.
    """
    made = a.mm(torch.where(torch.isfinite(b), b, 0.0))
    positive, negative = (a > 0).to(b), (a < 0).to(b)
    up, down = (b == torch.inf).to(b), (b == -torch.inf).to(b)
    rises = positive.mm(up) + negative.mm(down) > 0
    falls = positive.mm(down) + negative.mm(up) > 0
    undefined = ((a != 0).to(b).mm(b.isnan().to(b)) > 0) | (rises & falls)
    made = torch.where(rises, torch.inf, torch.where(falls, -torch.inf, made))
    return torch.where(undefined, torch.nan, made)
