"""Decoders: from what the last layer does over time to scores.

Every function takes (B, T, K) and optional lengths (B,), ignores steps beyond a recording's length
and, where it takes that argument, the first `skip` steps; it returns (B, K) scores, or (B, T, K)
for `per_step`. A recording with no step left scores 0 for every class. Which signal goes in is the
caller's choice: potentials for read-outs, spikes for spiking outputs.

    softmax_sum     Σ_t softmax(u[t])      Bittar & Garner 2022; Yin 2021 on SHD, from step 11 on
    mean            1/n Σ_t u[t]           Yin 2021 on SSC, GSC
    last            u at the last step
    max_over_time   max_t u[t]
    spike_count     Σ_t s[t]               Yin 2021 on (P)S-MNIST
    per_step        log_softmax(u[t])      Yin 2021 on ECG, SoLi
"""

from __future__ import annotations

import torch
from torch import Tensor

from srnn._check import ConfigError, ShapeError, check_lengths


def valid_mask(x: Tensor, lengths: Tensor | None = None, skip: int = 0) -> Tensor:
    """Return the (B, T) mask of steps that count: from `skip` on, before each recording's end.

    Raises `ShapeError`, `ConfigError`.
    """
    if not isinstance(x, Tensor):
        raise ShapeError(
            f"decode: got a {type(x).__name__}; expected a tensor (B, T, K), such "
            "as net(x).potential."
        )
    if x.dim() != 3:
        raise ShapeError(
            f"decode: got shape {tuple(x.shape)}; expected (B, T, K) = recordings, "
            "time steps, classes."
        )
    if skip < 0:
        raise ConfigError(
            f"decode: skip is {skip}; expected the number of first steps to leave out, at least 0."
        )
    t = torch.arange(x.shape[1], device=x.device)
    if lengths is None:
        return (t >= skip).expand(x.shape[0], -1)
    check_lengths("decode", lengths, x.shape[0], x.shape[1])
    return (t >= skip) & (t < lengths.to(x.device).unsqueeze(1))


def softmax_sum(potential: Tensor, lengths: Tensor | None = None, skip: int = 0) -> Tensor:
    """Return Σ_t softmax(u[t]) over valid steps, (B, K): rows sum to their valid steps."""
    mask = valid_mask(potential, lengths, skip).unsqueeze(-1)
    # masked first: no NaN from 0·NaN in the backward pass
    return torch.where(mask, torch.softmax(torch.where(mask, potential, 0.0), -1), 0.0).sum(1)


def mean(x: Tensor, lengths: Tensor | None = None, skip: int = 0) -> Tensor:
    """Return the mean over valid steps, (B, K)."""
    mask = valid_mask(x, lengths, skip).unsqueeze(-1)
    return torch.where(mask, x, 0.0).sum(1) / mask.sum(1).clamp(min=1)


def last(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Return the value at each recording's last valid step, (B, K)."""
    ends = valid_mask(x, lengths).sum(1)
    picked = x.gather(1, (ends - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, x.shape[2])).squeeze(
        1
    )
    return torch.where((ends > 0).unsqueeze(-1), picked, 0.0)


def max_over_time(x: Tensor, lengths: Tensor | None = None, skip: int = 0) -> Tensor:
    """Return the largest value over valid steps, (B, K)."""
    mask = valid_mask(x, lengths, skip)
    best = torch.where(mask.unsqueeze(-1), x, -torch.inf).amax(1)
    return torch.where(mask.any(1, keepdim=True), best, 0.0)


def spike_count(spikes: Tensor, lengths: Tensor | None = None, skip: int = 0) -> Tensor:
    """Return the number of spikes over valid steps, (B, K)."""
    return torch.where(valid_mask(spikes, lengths, skip).unsqueeze(-1), spikes, 0.0).sum(1)


def per_step(potential: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Return log_softmax(u[t]) for every valid step, 0 beyond each recording's
    length: (B, T, K).
    """
    mask = valid_mask(potential, lengths).unsqueeze(-1)
    return torch.where(mask, torch.log_softmax(torch.where(mask, potential, 0.0), -1), 0.0)
