"""Surrogate gradients: what stands in for the derivative of the spike, H'(x), in the backward pass.

x is the potential above threshold. `grad(x)` is the surrogate dS/dx; `primitive(x)` is its
integral, the smooth spike whose true derivative it is (`activations.Soft` runs a whole network with
it, so that gradients can be checked by finite differences). Every surrogate multiplies its shape by
`gain`. All fields are numbers that may also be tensors (a kernel passes them as run-time
arguments).

The shapes, their sources and their integrals over all x:

    Gaussian        N(x; 0, σ)                                           1
    MultiGaussian   (1+h) N(x; 0, σ) - h N(x; σ, sσ) - h N(x; -σ, sσ)    1 - h
    MGLeft          MultiGaussian for x < 0, Gaussian for x ≥ 0          1 - h/2
    MGRight         Gaussian for x < 0, MultiGaussian for x ≥ 0          1 - h/2
    Triangular      max(0, 1 - |x|/w)                                    w
    SLayer          exp(-k|x|)                                           2/k
    Boxcar          1 where -w < x ≤ w                                   2w
    FastSigmoid     1 / (1 + k|x|)²                                      2/k
    Sigmoid         σ(kx)(1 - σ(kx))                                     1/k
    ReLU            max(0, x + offset)                                   ∞

    Gaussian        Yin, Corradi & Bohté 2020
    MultiGaussian   Yin 2021, eq. 1, as coded (γ = gain = 0.5)
    MGLeft, MGRight 2021, extended data figure 3 (MG-L, MG-R)
    Triangular      Esser et al. 2016; "linear" in Yin 2021
    SLayer          Shrestha & Orchard 2018
    Boxcar          Bittar & Garner 2022 (gain 0.5 in eq. 13, 1 in the code)
    FastSigmoid     Zenke & Ganguli 2018 (SuperSpike)
    Sigmoid         derivative of the logistic function, over k
    ReLU            Bohte 2011 (the spike as a truncated quadratic)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_SQRT2 = 2.0**0.5
_SQRT2PI = 2.5066282746310002


def _pdf(x: Tensor, sigma: float) -> Tensor:
    # what holds σ alone is computed once
    return torch.exp(-0.5 / (sigma * sigma) * (x * x)) * (1 / (_SQRT2PI * sigma))


def _cdf(x: Tensor, sigma: float) -> Tensor:
    return 0.5 * (1 + torch.erf(x / (_SQRT2 * sigma)))


def _multi(
    f: Callable[[Tensor, float], Tensor], x: Tensor, h: float, s: float, sigma: float
) -> Tensor:
    return (1 + h) * f(x, sigma) - h * f(x - sigma, s * sigma) - h * f(x + sigma, s * sigma)


@dataclass(frozen=True)
class Surrogate:
    """The contract: a frozen dataclass of numbers with `grad` and `primitive`, both pure,
    elementwise and shape preserving.
    """

    def grad(self, x: Tensor) -> Tensor:
        """Return the surrogate derivative dS/dx at x, any shape."""
        raise NotImplementedError

    def primitive(self, x: Tensor) -> Tensor:
        """Return the smooth spike: ∫ grad from -∞ to x (from the zero of grad where that integral
        diverges).
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Gaussian(Surrogate):
    """gain · N(x; 0, σ)."""

    sigma: float = 0.5
    gain: float = 0.5

    def grad(self, x: Tensor) -> Tensor:
        return self.gain * _pdf(x, self.sigma)

    def primitive(self, x: Tensor) -> Tensor:
        return self.gain * _cdf(x, self.sigma)


@dataclass(frozen=True)
class MultiGaussian(Surrogate):
    """gain · [(1+h) N(x; 0, σ) - h N(x; σ, sσ) - h N(x; -σ, sσ)]: negative flanks far from the
    threshold.
    """

    h: float = 0.15
    s: float = 6.0
    sigma: float = 0.5
    gain: float = 0.5

    def grad(self, x: Tensor) -> Tensor:
        return self.gain * _multi(_pdf, x, self.h, self.s, self.sigma)

    def primitive(self, x: Tensor) -> Tensor:
        return self.gain * _multi(_cdf, x, self.h, self.s, self.sigma)


@dataclass(frozen=True)
class MGLeft(Surrogate):
    """Multi-Gaussian left of the threshold, plain Gaussian right of it (ablation MG-L)."""

    h: float = 0.15
    s: float = 6.0
    sigma: float = 0.5
    gain: float = 0.5

    def grad(self, x: Tensor) -> Tensor:
        return self.gain * torch.where(
            x < 0, _multi(_pdf, x, self.h, self.s, self.sigma), _pdf(x, self.sigma)
        )

    def primitive(self, x: Tensor) -> Tensor:
        left = _multi(_cdf, x, self.h, self.s, self.sigma)
        # both halves meet at x = 0: ∫ MG over x < 0 is (1 - h)/2
        right = _cdf(x, self.sigma) - 0.5 * self.h
        return self.gain * torch.where(x < 0, left, right)


@dataclass(frozen=True)
class MGRight(Surrogate):
    """Plain Gaussian left of the threshold, Multi-Gaussian right of it (ablation MG-R)."""

    h: float = 0.15
    s: float = 6.0
    sigma: float = 0.5
    gain: float = 0.5

    def grad(self, x: Tensor) -> Tensor:
        return self.gain * torch.where(
            x < 0, _pdf(x, self.sigma), _multi(_pdf, x, self.h, self.s, self.sigma)
        )

    def primitive(self, x: Tensor) -> Tensor:
        right = _multi(_cdf, x, self.h, self.s, self.sigma) + 0.5 * self.h
        return self.gain * torch.where(x < 0, _cdf(x, self.sigma), right)


@dataclass(frozen=True)
class Triangular(Surrogate):
    """gain · max(0, 1 - |x|/width)."""

    width: float = 1.0
    gain: float = 0.5

    def grad(self, x: Tensor) -> Tensor:
        return self.gain * torch.clamp(1 - torch.abs(x) / self.width, min=0.0)

    def primitive(self, x: Tensor) -> Tensor:
        z = torch.clamp(x / self.width, -1.0, 1.0)
        return self.gain * self.width * (0.5 + z - 0.5 * z * torch.abs(z))


@dataclass(frozen=True)
class SLayer(Surrogate):
    """gain · exp(-slope·|x|)."""

    slope: float = 5.0
    gain: float = 0.5

    def grad(self, x: Tensor) -> Tensor:
        return self.gain * torch.exp(-self.slope * torch.abs(x))

    def primitive(self, x: Tensor) -> Tensor:
        tail = torch.exp(-self.slope * torch.abs(x)) / self.slope
        return self.gain * torch.where(x < 0, tail, 2 / self.slope - tail)


@dataclass(frozen=True)
class Boxcar(Surrogate):
    """gain where -width < x ≤ width, else 0."""

    width: float = 0.5
    gain: float = 1.0

    def grad(self, x: Tensor) -> Tensor:
        return self.gain * ((x > -self.width) & (x <= self.width)).to(x.dtype)

    def primitive(self, x: Tensor) -> Tensor:
        return self.gain * (torch.clamp(x, min=-self.width, max=self.width) + self.width)


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """gain / (1 + slope·|x|)²."""

    slope: float = 10.0
    gain: float = 1.0

    def grad(self, x: Tensor) -> Tensor:
        d = 1 + self.slope * torch.abs(x)
        return self.gain / (d * d)

    def primitive(self, x: Tensor) -> Tensor:
        return self.gain * (x / (1 + self.slope * torch.abs(x)) + 1 / self.slope)


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """gain · σ(slope·x)(1 - σ(slope·x)): at most gain/4, without overflow for any x."""

    slope: float = 4.0
    gain: float = 1.0

    def grad(self, x: Tensor) -> Tensor:
        p = torch.sigmoid(self.slope * x)
        return self.gain * p * (1 - p)

    def primitive(self, x: Tensor) -> Tensor:
        return self.gain * torch.sigmoid(self.slope * x) / self.slope


@dataclass(frozen=True)
class ReLU(Surrogate):
    """gain · max(0, x + offset): grows with the distance above threshold, nothing below -offset."""

    offset: float = 0.0
    gain: float = 1.0

    def grad(self, x: Tensor) -> Tensor:
        return self.gain * torch.clamp(x + self.offset, min=0.0)

    def primitive(self, x: Tensor) -> Tensor:
        z = torch.clamp(x + self.offset, min=0.0)
        return self.gain * 0.5 * z * z
