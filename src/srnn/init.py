"""How a number starts: the constants of a neuron (τ, β, a, b …) and the weights of a layer.

A constant of a neuron is written as a plain float (fixed, shared by all neurons) or as one of

    Constant(20)                    trained, one per neuron, all starting at 20
    Constant(20, shared=True)       trained, one for the whole layer
    Constant(20, low=1)             trained, and kept at 1 or more by clamping in the forward pass
    Normal(20, 5)                   trained, one per neuron, drawn once
    Normal(20, 5, low=1)            trained, and kept at 1 or more
    Normal(20, 5, train=False)      drawn once, then fixed
    Uniform(0.6, 0.96, clamp=True)  trained, and kept inside [0.6, 0.96] by clamping likewise
    Fixed([0.0, 0.0, 1.8])          given values, one per neuron (or one for all), never trained

Weights start by XavierUniform (Glorot & Bengio 2010), Orthogonal (Saxe et al. 2014), FanIn
(torch.nn.Linear's default), KaimingNormal (He et al. 2015), UniformWeight or Zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from srnn._check import ConfigError, check_range


@dataclass(frozen=True)
class Fixed:
    """Given values that are never trained: a number for the whole layer, or one per neuron."""

    value: float | Sequence[float] | Tensor

    def __post_init__(self) -> None:
        """Refuse values that are neither a number nor a list of numbers, or not finite."""
        try:
            if isinstance(self.value, Tensor) and self.value.is_complex():
                raise TypeError
            value = self.tensor()
        except (TypeError, ValueError, RuntimeError):
            raise ConfigError(
                f"Fixed({self.value!r}): expected one finite number, or a list of "
                "them, one per neuron."
            ) from None
        if value.dim() > 1 or value.numel() == 0 or not bool(torch.isfinite(value).all()):
            raise ConfigError(
                f"Fixed({self.value!r}): expected one finite number, or a list of "
                "them, one per neuron."
            )

    def tensor(self) -> Tensor:
        """Return the values as a float64 tensor of shape () or (n,)."""
        return torch.as_tensor(self.value, dtype=torch.float64)


@dataclass(frozen=True)
class Constant:
    """The same value for every neuron; trained unless train=False; one number for all with
    shared=True.

    low: the trained value is clamped to it from below in every forward pass, None = never. A time
    constant that crosses 0 turns decay into growth.
    """

    value: float
    train: bool = True
    shared: bool = False
    low: float | None = None

    def __post_init__(self) -> None:
        """Refuse a value that is not finite, or below its bound."""
        check_range("Constant: value", self.value, self.low if self.low is not None else -math.inf)

    def sample(self, n: int) -> Tensor:
        """Return a float64 tensor of shape (n,), or () when shared."""
        return torch.full(() if self.shared else (n,), float(self.value), dtype=torch.float64)


@dataclass(frozen=True)
class Normal:
    """Drawn from a normal distribution, one value per neuron (or one for all with shared=True).

    low: as in `Constant`.
    """

    mean: float
    std: float
    train: bool = True
    shared: bool = False
    low: float | None = None

    def __post_init__(self) -> None:
        """Refuse a mean that is not finite and a negative standard deviation."""
        check_range("Normal: mean", self.mean)
        check_range("Normal: std", self.std, 0.0)

    def sample(self, n: int) -> Tensor:
        """Return a float64 tensor of shape (n,), or () when shared, drawn from torch's global
        generator.
        """
        return self.mean + self.std * torch.randn(() if self.shared else (n,), dtype=torch.float64)


@dataclass(frozen=True)
class Uniform:
    """Drawn uniformly from [low, high]; with clamp=True the trained value is clamped to that range
    in every forward pass.

    The gradient of a value outside the range is zero, as in the published code of Bittar & Garner
    2022.
    """

    low: float
    high: float
    train: bool = True
    shared: bool = False
    clamp: bool = False

    def __post_init__(self) -> None:
        """Refuse an empty or infinite range."""
        try:
            fits = self.low <= self.high and math.isfinite(self.low) and math.isfinite(self.high)
        except (TypeError, ValueError, RuntimeError):  # no numbers
            fits = False
        if not fits:
            raise ConfigError(
                f"Uniform: got the range [{self.low}, {self.high}]; expected two "
                "finite numbers, low ≤ high."
            )

    def sample(self, n: int) -> Tensor:
        """Return a float64 tensor of shape (n,), or () when shared, drawn from torch's global
        generator.
        """
        return self.low + (self.high - self.low) * torch.rand(
            () if self.shared else (n,), dtype=torch.float64
        )


Init = float | Constant | Normal | Uniform | Fixed
"""What a neuron's constant may be given as."""


def start_value(what: str, init: Init, n: int) -> Tensor | Fixed:
    """Return how a constant of a layer of n neurons starts: a tensor (to be trained) or `Fixed`.

    Shape (n,) or ().
    """
    if isinstance(init, Constant | Normal | Uniform):
        value = init.sample(n)
        return value if init.train else Fixed(value)
    if not isinstance(init, float | int | Fixed):
        raise ConfigError(
            f"{what} is {init!r}; expected a number, or Constant, Normal, Uniform "
            "or Fixed of srnn.init."
        )
    fixed = init if isinstance(init, Fixed) else Fixed(init)
    count = fixed.tensor().numel()
    if fixed.tensor().dim() and count != n:
        raise ConfigError(
            f"{what}: Fixed holds {count} value{'s' if count != 1 else ''} for a layer of "
            f"{n} neurons; expected {n}, or one number for all."
        )
    return fixed


def bounds(init: Init) -> tuple[float, float] | None:
    """Return the range a constant is clamped to in every forward pass, or None."""
    if isinstance(init, Constant | Normal) and init.low is not None:
        return init.low, math.inf
    return (init.low, init.high) if isinstance(init, Uniform) and init.clamp else None


def mean(init: Init) -> float | Tensor:
    """Return where a constant starts on average: a number, or one a neuron for `Fixed` ones."""
    if isinstance(init, Normal):
        return init.mean
    if isinstance(init, Uniform):
        return 0.5 * (init.low + init.high)
    if isinstance(init, Constant):
        return init.value
    return init.tensor() if isinstance(init, Fixed) else init


# ── weights ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class XavierUniform:
    """U(-b, b) with b = gain·sqrt(6 / (fan_in + fan_out))."""

    gain: float = 1.0

    def __call__(self, weight: Tensor) -> None:
        """Fill `weight` (N, C) in place."""
        torch.nn.init.xavier_uniform_(weight, gain=self.gain)


@dataclass(frozen=True)
class Orthogonal:
    """A random (semi-)orthogonal matrix times gain."""

    gain: float = 1.0

    def __call__(self, weight: Tensor) -> None:
        """Fill `weight` in place."""
        if weight.dtype in (torch.float32, torch.float64):
            torch.nn.init.orthogonal_(weight, gain=self.gain)
        else:  # torch has no QR decomposition of shorter numbers
            wide = torch.empty_like(weight, dtype=torch.float32)
            weight.copy_(torch.nn.init.orthogonal_(wide, gain=self.gain))


@dataclass(frozen=True)
class FanIn:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what torch.nn.Linear does."""

    def __call__(self, weight: Tensor) -> None:
        """Fill `weight` (N, C) in place."""
        torch.nn.init.uniform_(
            weight, -1 / math.sqrt(weight.shape[-1]), 1 / math.sqrt(weight.shape[-1])
        )


@dataclass(frozen=True)
class Zeros:
    """All zero."""

    def __call__(self, weight: Tensor) -> None:
        """Fill `weight` in place."""
        torch.nn.init.zeros_(weight)


@dataclass(frozen=True)
class KaimingNormal:
    """N(0, 2 / fan_in) (He et al. 2015)."""

    def __call__(self, weight: Tensor) -> None:
        """Fill `weight` (N, C) in place."""
        torch.nn.init.kaiming_normal_(weight)


@dataclass(frozen=True)
class UniformWeight:
    """U(-bound, bound)."""

    bound: float

    def __call__(self, weight: Tensor) -> None:
        """Fill `weight` in place."""
        torch.nn.init.uniform_(weight, -self.bound, self.bound)
