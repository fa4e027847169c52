"""Normalisation of a layer's input current, over valid steps only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from srnn._check import ShapeError


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation of W x + b over recordings and valid steps (Bittar & Garner 2022: momentum 0.05)."""

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
    """Return (scale, shift), float64: what a batch norm makes of x when it evaluates is scale · x + shift."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def normalised(norm: nn.Module, current: Tensor, valid: Tensor | None) -> Tensor:
    """Normalise (B, T, N) over valid steps only; padded steps come out as 0."""
    rows = current.shape[0] * current.shape[1] if valid is None else int(valid.sum())
    if rows == 1 and norm.training and isinstance(norm, nn.BatchNorm1d):
        raise ShapeError("BatchNorm: one valid step in the whole batch has no variance; expected at least two, or net.eval().")
    if valid is None:
        flat: Tensor = norm(current.flatten(0, 1))
        return flat.view_as(current)
    out = torch.zeros_like(current)
    if rows:
        out[valid] = norm(current[valid]).to(out.dtype)
    return out
