"""How a task is optimised: the optimiser with a learning rate for each group of parameters, and the
schedule.
"""

from __future__ import annotations

import fnmatch
import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from srnn._check import ConfigError, check_range, suggest
from srnn.nn.networks import Stack


@dataclass(frozen=True)
class Optimiser:
    """Adam or Adamax. rates: parameter path pattern → factor on lr, first match wins
    (`"layers.0.constants.tau_*": 3.0`).
    """

    kind: Literal["adam", "adamax"] = "adam"
    lr: float = 1e-2
    eps: float = 1e-8
    weight_decay: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse rates that cannot work."""
        check_range("optimiser.lr", self.lr, 0.0, 1e30, open_low=True)
        check_range("optimiser.eps", self.eps, 0.0)
        check_range("optimiser.weight_decay", self.weight_decay, 0.0)
        for pattern, factor in self.rates.items():
            check_range(f"optimiser.rates.{pattern}", factor, 0.0, 1e6)

    def build(self, net: Stack) -> torch.optim.Optimizer:
        """Return the optimiser over the parameters of `net`, one group for each factor.

        Raises `ConfigError` for a pattern that fits nothing.
        """
        groups: dict[float, list[torch.nn.Parameter]] = {}
        unused, paths = set(self.rates), [name for name, _ in net.named_parameters()]
        for name, parameter in net.named_parameters():
            pattern = next((p for p in self.rates if fnmatch.fnmatchcase(name, p)), None)
            unused -= {p for p in unused if fnmatch.fnmatchcase(name, p)}
            groups.setdefault(self.rates[pattern] if pattern else 1.0, []).append(parameter)
        if unused:
            pattern = min(unused)
            raise ConfigError(
                f"optimiser.rates: {pattern!r} fits no parameter.{suggest(pattern, paths)}"
            )
        make = torch.optim.Adam if self.kind == "adam" else torch.optim.Adamax
        return make(
            [{"params": ps, "lr": self.lr * factor} for factor, ps in groups.items()],
            lr=self.lr,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )


def gradient_norm(net: Stack) -> Tensor:
    """Return the norm of the gradient, a scalar."""
    return torch.nn.utils.get_total_norm([p.grad for p in net.parameters() if p.grad is not None])


def step(net: Stack, optimiser: torch.optim.Optimizer, clip: float | None, norm: Tensor) -> Tensor:
    """Clip a gradient of this norm to `clip`, and step.

    Return the largest size of a parameter then, not finite where one is not.
    """
    if clip is not None:
        torch.nn.utils.clip_grads_with_norm_(net.parameters(), clip, norm)
    optimiser.step()
    return torch.nn.utils.get_total_norm([p.detach() for p in net.parameters()], math.inf)


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes, once an epoch.

    constant; step: × factor every `every` epochs; linear, cosine: towards 0 after the last epoch;
    plateau: × factor after more than `patience` epochs without a better validation accuracy, down
    to min_lr.
    """

    kind: Literal["constant", "step", "linear", "cosine", "plateau"] = "constant"
    every: int = 100
    factor: float = 0.5
    patience: int = 10
    min_lr: float = 1e-6

    def __post_init__(self) -> None:
        """Refuse steps that cannot work."""
        check_range("schedule.every", self.every, 1)
        check_range(
            "schedule.factor",
            self.factor,
            0.0,
            1.0 if self.kind != "plateau" else 1 - 1e-9,
            open_low=True,
        )
        check_range("schedule.patience", self.patience, 0)
        check_range("schedule.min_lr", self.min_lr, 0.0)

    def build(
        self, optimiser: torch.optim.Optimizer, epochs: int
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Return torch's scheduler of that kind."""
        s = torch.optim.lr_scheduler
        if self.kind == "step":
            return s.StepLR(optimiser, self.every, self.factor)
        if self.kind == "linear":
            return s.LambdaLR(optimiser, lambda epoch: max(0.0, 1 - epoch / epochs))
        if self.kind == "cosine":
            return s.CosineAnnealingLR(optimiser, epochs)
        if self.kind == "plateau":
            return s.ReduceLROnPlateau(
                optimiser, "max", factor=self.factor, patience=self.patience, min_lr=self.min_lr
            )
        return s.LambdaLR(optimiser, lambda epoch: 1.0)
