"""Activation checkpointing: run a function without keeping what its backward pass needs, and run it
again when that pass comes.

The forward pass runs without autograd, so that neither tensors nor the nodes of the graph are kept
(a Python loop over time makes dozens of nodes a step, which weigh as much as its tensors); one node
holds the inputs, and the backward pass runs the function anew under autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def recomputed(
    run: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor],
    parameters: Sequence[Tensor],
    *,
    random: bool,
) -> list[Tensor]:
    """Return run(*inputs), keeping only `inputs` for the backward pass.

    run: gives tensors, the same ones every time; parameters: all others it depends on that are to
    have a gradient; a parameter changed between the two passes is an error of torch. random: run
    draws random numbers; the second time it draws the same ones. Autocast is as it was.
    """
    places: list[int] = []

    # a tensor that is given twice is one output of the node
    def once_each(*tensors: Tensor) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        places.clear()
        for value in run(*tensors):
            places.append(next((k for k, other in enumerate(found) if other is value), len(found)))
            found += [value] if places[-1] == len(found) else []
        return tuple(found)

    given = _Recomputed.apply(once_each, random, len(inputs), *inputs, *parameters)  # type: ignore[no-untyped-call]
    return [given[k] for k in places]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, run: Callable[..., tuple[Tensor, ...]], random: bool, count: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        device = tensors[0].device
        ctx.run, ctx.count, ctx.device, ctx.parameters = run, count, device, tensors[count:]
        ctx.autocast = (
            torch.is_autocast_enabled(device.type),
            torch.get_autocast_dtype(device.type),
        )
        ctx.random = _random_state(device) if random else None
        # the parameters too: torch refuses the backward pass of one that was changed
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        return run(*tensors[:count])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "srnn: a network that runs in segments has no second derivative. "
                "Run it with segment=None."
            )
        needed = ctx.needs_input_grad[3:]
        inputs = [
            t.detach().requires_grad_(n)
            for t, n in zip(ctx.saved_tensors[: ctx.count], needed, strict=False)
        ]
        now = _random_state(ctx.device)
        if ctx.random is not None:
            _set_random_state(ctx.device, ctx.random)
        enabled, dtype = ctx.autocast
        try:
            with torch.enable_grad(), torch.autocast(ctx.device.type, dtype, enabled):
                outputs = ctx.run(*inputs)
        finally:
            if ctx.random is not None:
                _set_random_state(ctx.device, now)
        pairs = [
            (o, g)
            for o, g in zip(outputs, gradients, strict=True)
            if g is not None and o.requires_grad
        ]
        wanted = [t for t, n in zip([*inputs, *ctx.parameters], needed, strict=True) if n]
        grads: Sequence[Tensor | None] = [None] * len(wanted)
        if pairs:
            ends, above = zip(*pairs, strict=True)
            grads = torch.autograd.grad(ends, wanted, above, allow_unused=True)
        found = iter(grads)
        return (None, None, None, *(next(found) if n else None for n in needed))


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(
        device
    ) if device.type == "cuda" else None


def _set_random_state(device: torch.device, state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
