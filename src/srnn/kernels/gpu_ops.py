"""The Triton kernels as operations of torch, beside those of `ops`. Loaded at first use."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from srnn.kernels import gpu
from srnn.kernels.cpu import Inputs
from srnn.kernels.ops import INPUTS, gradient_shapes, gradients, keep, no_second_derivative, nothing


@torch.library.custom_op(
    "srnn::scan_models",
    mutates_args=(),
    schema=f"(str key, {INPUTS}, bool potential, bool backward, int gates, int coeffs, str "
    "product) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _scan(key: str, *given: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    *inputs, potential, backward, _, _, product = given
    return gpu.kernel(key).forward(Inputs(*inputs), product, potential, backward)


@_scan.register_fake
def _(key: str, *given: Any) -> Any:
    *inputs, potential, backward, gates, _, _ = given
    return gpu.shapes(Inputs(*inputs), gates, potential, backward)


@torch.library.custom_op(
    "srnn::scan_models_backward",
    mutates_args=(),
    schema=f"(str key, {INPUTS}, Tensor output, Tensor kept, Tensor total, Tensor? g_output, "
    "Tensor? g_potential, Tensor? g_final,"
    " bool needs_x, int coeffs, str product) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _scan_backward(key: str, *given: Any) -> tuple[Tensor, ...]:
    return gpu.kernel(key).backward(
        Inputs(*given[:7]), given[15], given[7:10], given[10:13], given[13]
    )


@_scan_backward.register_fake
def _(key: str, *given: Any) -> Any:
    return gradient_shapes(*given[:6], needs_x=given[13], coeffs=given[14])


_scan.register_autograd(gradients(_scan_backward), setup_context=keep)
_scan_backward.register_autograd(no_second_derivative, setup_context=nothing)
for _op in (_scan, _scan_backward):
    for _device in ("cuda", "cpu"):
        _op.register_autocast(_device, torch.float32)
