"""Sums over the processes that train one run together (torchrun), through which gradients flow.

What belongs to a whole batch, of which every process has a share, is summed here: the statistics of
a batch norm, the rates a regulariser sees. Every process must come to a sum at the same point,
forward and backward; one without recordings comes with zeros.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from srnn._check import RunError

_shared = False


def started() -> int:
    """Return how many processes torchrun started for this run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def sharing() -> Iterator[None]:
    """While this is open, `summed` sums over all processes of torch's default group.

    Without it nothing is shared, whoever else uses that group.
    """
    global _shared
    _shared = True
    try:
        yield
    finally:
        _shared = False


def shared() -> bool:
    """Return whether batches are shared by several processes."""
    return _shared


def summed(x: Tensor) -> Tensor:
    """Return the sum of x over all processes, the same bits on each; x itself where there is one.

    Its gradient is the sum of theirs.
    """
    return _Summed.apply(x) if _shared else x  # type: ignore[no-untyped-call]


def add_up(x: Tensor) -> Tensor:
    """Replace x by its sum over all processes, and return it.

    Raises `RunError` where one of them has ended.
    """
    try:
        torch.distributed.all_reduce(x)
    except RuntimeError as error:  # what gloo and NCCL raise
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(
            f"another process of this run has ended ({why}). What it said tells why; "
            "the last checkpoint is good: start all processes again, as many as there are, "
            "with --resume."
        ) from error
    return x


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return add_up(x.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return add_up(grad.clone(memory_format=torch.contiguous_format))
