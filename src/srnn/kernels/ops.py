"""The compiled kernels as operations of torch: autograd, torch.compile, autocast.

Loaded at first use, for torch loads much for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from srnn._check import ConfigError, values_hidden
from srnn.kernels import cpu, reference
from srnn.kernels.pairs import join, split
from srnn.kernels.reference import defined, finite, weight_gradient
from srnn.kernels.trace import truths, with_numbers

INPUTS = (
    "Tensor x, Tensor? weight, Tensor? bias, Tensor? recurrent, Tensor constants, Tensor "
    "state, Tensor? lengths"
)


def _new(like: Tensor, shape: Sequence[int]) -> Tensor:
    return like.new_empty(tuple(shape))


@torch.library.custom_op(
    "srnn::scan",
    mutates_args=(),
    schema=f"(str key, {INPUTS}, bool potential, bool backward, int gates, int coeffs) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _scan(key: str, *given: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    *inputs, potential, backward, _, _ = given
    return cpu.kernel(key, inputs[0].dtype).forward(cpu.Inputs(*inputs), potential, backward)


@_scan.register_fake
def _(key: str, *given: Any) -> Any:
    *inputs, potential, backward, gates, _ = given
    return cpu.shapes(inputs[0], inputs[5], gates, potential, backward, _new)


@torch.library.custom_op(
    "srnn::scan_backward",
    mutates_args=(),
    schema=f"(str key, {INPUTS}, Tensor output, Tensor kept, Tensor total, Tensor? g_output, "
    "Tensor? g_potential, Tensor? g_final,"
    " bool needs_x, int coeffs) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _scan_backward(key: str, *given: Any) -> tuple[Tensor, ...]:
    return cpu.kernel(key, given[0].dtype).backward(
        cpu.Inputs(*given[:7]), given[7:10], given[10:13], given[13]
    )


@_scan_backward.register_fake
def _(key: str, *given: Any) -> Any:
    return gradient_shapes(*given[:6], needs_x=given[13], coeffs=given[14])


def gradient_shapes(
    x: Tensor, *like: Tensor | None, needs_x: bool, coeffs: int
) -> tuple[Tensor, ...]:
    """Return the gradients of x, weight, bias, recurrent, coefficients and state, not set. like:
    what follows x in `INPUTS`, up to state.
    """
    *weights, constants, state = like
    assert constants is not None
    found = (
        x.new_empty(0) if t is None else t.new_empty(t.shape)
        for t in (x if needs_x else None, *weights, state)
    )
    *grads, g_state = found
    return (
        *grads,
        constants.new_empty(*constants.shape[:-2], coeffs, constants.shape[-1]),
        g_state,
    )


def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Keep what the gradients of a scan are computed from. inputs: key, `INPUTS`, potential,
    backward, gates, coeffs, and what else there is.
    """
    key, *given = inputs[:8]
    ctx.set_materialize_grads(False)
    seen, _, _, kept, total = output
    ctx.save_for_backward(*given, seen, kept, total)
    ctx.key, ctx.rest = key, inputs[11:]


def gradients(operation: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Any, ...]]:
    """Return what torch calls for the gradients of a scan, which `operation` computes from what
    `keep` kept.
    """

    def back(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        saved, coeffs = ctx.saved_tensors, ctx.rest[0]
        wanted = (None if g is None or not g.numel() else g.contiguous() for g in grads[:3])
        *found, g_coeffs, g_state = operation(
            ctx.key, *saved, *wanted, bool(ctx.needs_input_grad[1]), *ctx.rest
        )
        g_constants = functional.pad(g_coeffs, (0, 0, 0, saved[4].shape[-2] - coeffs))
        return (
            None,
            *(g if g.numel() else None for g in found),
            g_constants,
            g_state,
            *[None] * (4 + len(ctx.rest)),
        )

    return back


def _scan_gradients(key: str, *given: Any) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = _scan_backward(key, *given)
    # a tensor without values, while torch traces
    if values_hidden() or type(found[-1]) is not Tensor or defined(*found):
        return found
    return _by_definition(key, cpu.Inputs(*given[:7]), given[10:13], given[13])


def _by_definition(
    key: str, given: cpu.Inputs, grads: Sequence[Tensor | None], needs_x: bool
) -> tuple[Tensor, ...]:
    """Return the gradients of a scan by the reference loop.

    Where one is NaN, autograd and a kernel may differ: a term that the loss never reaches is
    absent in the one, and 0 times something in the other.
    """
    neuron, activation = cpu.registered(key)
    program = cpu.traced(key)
    leaves = [None if t is None else t.detach().requires_grad_() for t in given[:6]]
    x, weight, bias, recurrent, constants, before = leaves
    assert x is not None
    assert constants is not None
    assert before is not None
    with torch.enable_grad():
        held = dict(zip(program.constants, constants, strict=True))
        coeffs = {k.removeprefix("c."): v for k, v in held.items() if k in program.coeffs}
        coeffs |= {k: coeffs[k] != 0 for k in truths(neuron)}
        numbers = {
            k.removeprefix("a."): v.detach() for k, v in held.items() if k not in program.coeffs
        }
        output, seen, final = reference.run(
            neuron,
            with_numbers(activation, numbers),
            x,
            recurrent,
            join(coeffs),
            join(dict(zip((*program.states, "s"), before, strict=True))),
            weight=weight,
            bias=bias,
            lengths=given.lengths,
            potential=grads[1] is not None,
        )
        last = split({k: final[k] for k in (*neuron.states, "s")})
        made = (output, seen, torch.stack(list(last.values())))
        reached = [
            (y, g) for y, g in zip(made, grads, strict=True) if y is not None and g is not None
        ]
    asked = [t for t in leaves if t is not None]
    found = iter(
        torch.autograd.grad(
            [y for y, _ in reached], asked, [g for _, g in reached], materialize_grads=True
        )
        if reached
        else map(torch.zeros_like, asked)
    )
    below, *weights, g_constants, g_state = (
        x.new_empty(0) if t is None else next(found) for t in leaves
    )
    return (
        below if needs_x else x.new_empty(0),
        *weights,
        g_constants[: len(program.coeffs)].contiguous(),
        g_state,
    )


@torch.library.custom_op(
    "srnn::linear", mutates_args=(), schema="(Tensor x, Tensor weight, Tensor? bias) -> Tensor"
)
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return cpu.linear(x, weight, bias)


@_linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@torch.library.custom_op(
    "srnn::linear_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor x, Tensor weight, bool[3] needs) -> (Tensor, Tensor, Tensor)",
)
def _linear_backward(
    grad: Tensor, x: Tensor, weight: Tensor, needs: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    below = cpu.linear(grad, weight, None, transposed=True) if needs[0] else grad.new_empty(0)
    g_weight, g_bias = (
        cpu.linear_gradients(x, grad, needs[2])
        if needs[1] or needs[2]
        else (grad.new_empty(0), grad.new_empty(0))
    )
    if not finite(g_weight):
        g_weight = weight_gradient(x.flatten(0, -2), grad.flatten(0, -2)).contiguous()
    return below, g_weight if needs[1] else grad.new_empty(0), g_bias


@_linear_backward.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, needs: list[bool]) -> Any:
    shapes = (x.shape, weight.shape, weight.shape[:1])
    return tuple(
        grad.new_empty(shape if needed else (0,))
        for shape, needed in zip(shapes, needs, strict=True)
    )


def _linear_keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias = inputs
    ctx.biased = bias is not None
    ctx.save_for_backward(x, weight)


def _linear_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    needs = [
        bool(ctx.needs_input_grad[0]),
        bool(ctx.needs_input_grad[1]),
        ctx.biased and bool(ctx.needs_input_grad[2]),
    ]
    found = torch.ops.srnn.linear_backward(grad.contiguous(), x, weight, needs)
    return tuple(g if needed else None for g, needed in zip(found, needs, strict=True))


def no_second_derivative(ctx: Any, *grads: Any) -> Any:
    """Refuse create_graph=True."""
    raise ConfigError(
        "The cpu and triton backends have no second derivative (create_graph=True). "
        'Use backend="reference", which torch differentiates any number of times.'
    )


def nothing(ctx: Any, inputs: Any, output: Any) -> None:
    """Keep nothing for a derivative that is refused."""


_scan.register_autograd(gradients(_scan_gradients), setup_context=keep)
_linear.register_autograd(_linear_gradients, setup_context=_linear_keep)
for _op in (_scan_backward, _linear_backward):
    _op.register_autograd(no_second_derivative, setup_context=nothing)
for _op in (_scan, _scan_backward, _linear, _linear_backward):
    _op.register_autocast("cpu", torch.float32)
