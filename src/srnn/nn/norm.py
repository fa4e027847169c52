"""Normalisation of a layer's input current, over valid steps only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from srnn import processes
from srnn._check import ShapeError


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation of W x + b over recordings and valid steps (Bittar & Garner 2022:
    momentum 0.05).
    """

    momentum: float = 0.05
    eps: float = 1e-5

    def build(self, n: int, **kwargs: Any) -> nn.Module:
        """Return the module for n channels."""
        return nn.BatchNorm1d(n, eps=self.eps, momentum=self.momentum, **kwargs)


@dataclass(frozen=True)
class LayerNorm:
    """Layer normalisation of W x + b over the neurons of each step."""

    eps: float = 1e-5

    def build(self, n: int, **kwargs: Any) -> nn.Module:
        """Return the module for n channels."""
        return nn.LayerNorm(n, eps=self.eps, **kwargs)


@torch.no_grad()
def evaluated(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return (scale, shift), float64: a batch norm that evaluates makes scale · x + shift of x."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def normalised(norm: nn.Module, current: Tensor, valid: Tensor | None) -> Tensor:
    """Normalise (B, T, N) over valid steps only; padded steps come out as 0."""
    if norm.training and isinstance(norm, nn.BatchNorm1d):
        if processes.shared():
            return _together(norm, current, valid)
        if (current.shape[0] * current.shape[1] if valid is None else int(valid.sum())) == 1:
            raise ShapeError(_ONE)
    if valid is None:
        flat: Tensor = norm(current.flatten(0, 1))
        return flat.view_as(current)
    out = torch.zeros_like(current)
    if bool(valid.any()):
        out[valid] = norm(current[valid]).to(out.dtype)
    return out


_ONE = (
    "BatchNorm: one valid step in the whole batch has no variance; expected at least two, or "
    "net.eval()."
)


def _together(norm: nn.BatchNorm1d, current: Tensor, valid: Tensor | None) -> Tensor:
    """Batch norm with the statistics of all processes' valid steps: what one process makes of the
    whole batch.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    live = (
        torch.ones_like(current[..., :1])
        if valid is None
        else valid.unsqueeze(-1).to(current.dtype)
    )
    count = int(processes.summed(live.detach().double().sum()))
    if count == 1:
        raise ShapeError(_ONE)
    if not count:
        return torch.zeros_like(current)
    mean = processes.summed((current * live).sum((0, 1))) / count
    centred = (current - mean) * live
    variance = processes.summed((centred * centred).sum((0, 1))) / count
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean.detach(), norm.momentum)
        norm.running_var.lerp_(variance.detach() * (count / (count - 1)), norm.momentum)
    return centred * torch.rsqrt(variance + norm.eps) * norm.weight + norm.bias * live
