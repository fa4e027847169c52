"""Does an implementation compute what the reference loop computes, on this very shape? No speed-up
is printed otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import srnn

UNFLIPPED = 0.90
"""Smallest fraction of the recordings in which no spike of any layer differs."""
POTENTIAL = 1e-5
"""Largest difference of a potential in those recordings, relative to the largest potential of that
layer.
"""
GRADIENT = 1e-4
"""Largest relative difference of the gradient of any parameter, ‖g - g_ref‖ / ‖g_ref‖, of the loss
over those recordings.
"""

Forward = Callable[[srnn.Stack, Tensor], srnn.Output]
"""Runs the network on x and records it: `lambda net, x: net(x, record=True, backend="cpu")`."""


@dataclass(frozen=True)
class Parity:
    """What was compared and how it came out.

    recordings, spikes: how many were compared. unflipped: fraction of recordings without a
    differing spike. potential, gradient: worst relative differences; worst: the parameter with the
    worst gradient.
    """

    recordings: int
    spikes: int
    unflipped: float
    potential: float
    gradient: float
    worst: str

    @property
    def holds(self) -> bool:
        """Whether a speed-up may be printed. A difference that is not a number is a failure."""
        return (
            self.unflipped >= UNFLIPPED
            and self.potential <= POTENTIAL
            and self.gradient <= GRADIENT
        )

    def why(self) -> str:
        """Return what failed, or an empty string."""
        failed = []
        if not self.unflipped >= UNFLIPPED:
            failed.append(
                f"spikes agree in {self.unflipped:.0%} of the recordings, wanted {UNFLIPPED:.0%}"
            )
        if not self.potential <= POTENTIAL:
            failed.append(f"potentials differ by {self.potential:.1e}, allowed {POTENTIAL:.0e}")
        if not self.gradient <= GRADIENT:
            failed.append(
                f"gradient of {self.worst} differs by {self.gradient:.1e}, allowed {GRADIENT:.0e}"
            )
        return "; ".join(failed)

    def as_dict(self) -> dict[str, Any]:
        """Return all figures."""
        return {**vars(self), "holds": self.holds, "why": self.why()}


def compare(
    net: srnn.Stack, x: Tensor, labels: Tensor, reference: Forward, candidate: Forward
) -> Parity:
    """Compare two implementations on the same network and input: every spike, every potential, the
    gradient of every parameter.

    Both run the whole batch; the gradient is that of the mean loss over the recordings without a
    flipped spike, all others weighted 0.
    """
    ref, got = reference(net, x), candidate(net, x)
    assert ref.trace is not None
    assert got.trace is not None
    same = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
    spikes = 0
    for a, b, binary in zip(ref.trace.outputs, got.trace.outputs, ref.trace.spiking, strict=True):
        if binary:
            same &= (a == b).flatten(1).all(1)
            spikes += int(a.sum())
    if not bool(same.any()):
        return Parity(x.shape[0], spikes, 0.0, torch.nan, torch.nan, "-")
    potential = max(
        _relative(a, b, same)
        for a, b in zip(ref.trace.potentials, got.trace.potentials, strict=True)
    )
    wanted = _gradients(net, ref.potential, labels, same)
    grads = _gradients(net, got.potential, labels, same)
    errors = {
        name: float((grads[name] - g).norm() / g.norm().clamp(min=1e-30))
        for name, g in wanted.items()
    }
    worst = max(
        errors, key=lambda name: errors[name] if errors[name] == errors[name] else torch.inf
    )
    return Parity(x.shape[0], spikes, float(same.double().mean()), potential, errors[worst], worst)


def _relative(wanted: Tensor, got: Tensor, same: Tensor) -> float:
    return float(
        ((got - wanted)[same].abs().max() / wanted[same].abs().max().clamp(min=1e-30)).detach()
    )


def _gradients(
    net: srnn.Stack, potential: Tensor, labels: Tensor, same: Tensor
) -> dict[str, Tensor]:
    """Return the gradient of the mean loss over the recordings in `same` for every parameter."""
    net.zero_grad()
    losses = functional.cross_entropy(potential.mean(1), labels, reduction="none")
    (torch.where(same, losses, 0.0).sum() / same.sum()).backward()  # type: ignore[no-untyped-call]
    grads = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in net.named_parameters()
    }
    net.zero_grad()
    return grads
