"""Activations: what turns x, the potential above threshold, into the output s of a neuron.

    Spike(surrogate)   s = 1 where x > 0 else 0   the spiking neuron; backward by the surrogate
    Relu()             s = max(0, x)              its non-spiking twin (Yin 2021, "ReLU SRNN")
    Identity()         s = x                      read-outs, cells with their own nonlinearity
    Soft(surrogate)    s = ∫ surrogate            the smooth spike, for finite differences

The same neuron takes any of them; its reset and adaptation receive whatever s is. The driver
(`scan.py`) and the kernels apply the activation; the neuron never sees it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from srnn._check import check_instance
from srnn.surrogates import MultiGaussian, Surrogate


@dataclass(frozen=True)
class Activation:
    """The contract: `forward` gives s, `grad` gives ds/dx for the backward pass; both pure and
    elementwise.

    binary: s is 0 or 1, so that a product with it is a selection.
    unit: s is a spike, sharp or smooth, so that a hard reset, (1 - s)·u, makes sense.
    """

    binary: ClassVar[bool] = False
    unit: ClassVar[bool] = False

    def forward(self, x: Tensor) -> Tensor:
        """Return s, the shape and dtype of x."""
        raise NotImplementedError

    def grad(self, x: Tensor) -> Tensor:
        """Return ds/dx as the backward pass uses it."""
        raise NotImplementedError

    def __call__(self, x: Tensor) -> Tensor:
        """Apply under autograd: `forward` forward, `grad` backward."""
        s: Tensor = _Apply.apply(x, self)  # type: ignore[no-untyped-call]
        return s


class _Apply(torch.autograd.Function):
    """`forward` forward, `grad` as its derivative: backward, forward mode, and under torch.func."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, activation: Activation) -> Tensor:
        return activation.forward(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Activation], output: Tensor) -> None:
        x, ctx.activation = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad * ctx.activation.grad(x), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        (x,) = ctx.saved_tensors
        slope: Tensor = ctx.activation.grad(x)
        return tangent * slope


@dataclass(frozen=True)
class Spike(Activation):
    """s = 1 where x > 0 (x ≥ 0 with at_threshold=True), else 0; a NaN never spikes.

    Backward: the surrogate.
    """

    surrogate: Surrogate = field(default_factory=MultiGaussian)
    at_threshold: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no surrogate."""
        check_instance(
            "Spike",
            "surrogate",
            self.surrogate,
            Surrogate,
            "a surrogate such as srnn.surrogates.Boxcar()",
        )

    binary: ClassVar[bool] = True
    unit: ClassVar[bool] = True

    def forward(self, x: Tensor) -> Tensor:
        return (x >= 0 if self.at_threshold else x > 0).to(x.dtype)

    def grad(self, x: Tensor) -> Tensor:
        return self.surrogate.grad(x)


@dataclass(frozen=True)
class Relu(Activation):
    """s = max(0, x), derivative 0 at x = 0: the papers' non-spiking twin.

    Refused for neurons with a hard reset (1 - s turns negative).
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(x, min=0.0)

    def grad(self, x: Tensor) -> Tensor:
        return (x > 0).to(x.dtype)


@dataclass(frozen=True)
class Identity(Activation):
    """s = x."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def grad(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)

    def __call__(self, x: Tensor) -> Tensor:
        return x


@dataclass(frozen=True)
class Soft(Activation):
    """s = surrogate.primitive(x): the smooth spike, truly differentiable; autograd differentiates
    the primitive itself.
    """

    surrogate: Surrogate = field(default_factory=MultiGaussian)
    unit: ClassVar[bool] = True

    def forward(self, x: Tensor) -> Tensor:
        return self.surrogate.primitive(x)

    def grad(self, x: Tensor) -> Tensor:
        return self.surrogate.grad(x)

    def __call__(self, x: Tensor) -> Tensor:
        return self.surrogate.primitive(x)
