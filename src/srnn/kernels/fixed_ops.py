"""The integer operations of an exported step, on int64 tensors: the same as `c/fixed.h`, bit for
bit.

A fixed-point number is an int32, v · 2^F. Division truncates, everything else rounds half up.
Largest errors of the functions, in units of the last place of the result, 2^-F, for F ≤ 24
(tests/kernels/test_fixed.py compares), with g = 2^(F-30), a last place in Q30:

    exp         1/2, and 2e-7 of the result
    sigmoid     1/2 + 4 g
    tanh        1/2 + 4 g
    log         1/2 + 14 g
    softplus    1/2 + 14 g
    sqrt        1
    div         1

What they compute:

    exp         2^(x log2 e): 2^k by shifting, 2^r for |r| ≤ 1/2 by a Taylor polynomial of
                degree 7 in Q30
    sigmoid     1 / (1 + exp(-|x|)) in Q30, mirrored for x < 0
    tanh        (1 - e) / (1 + e) in Q30, e = exp(-2|x|)
    log         k ln 2 + 2 atanh((m - 1) / (m + 1)), atanh by its series to y^13 in Q30;
                of x ≤ 0: of 2^-(F+1)
    softplus    max(x, 0) + log(1 + exp(-|x|)), the same series
    sqrt        the whole root of x · 2^F, rounded down; 0 for x ≤ 0
    div         towards zero; by 0: the end of the range on the side of the dividend, 0 / 0 = 0
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

LOW, HIGH = -(2**31), 2**31 - 1
ONE = 1 << 30
"""1 in Q30."""
LOG2_E, LN_2 = round(math.log2(math.e) * ONE), round(math.log(2) * ONE)
EXP = tuple(round(ONE / math.factorial(i)) for i in range(7, -1, -1))
ATANH = tuple(round(ONE / i) for i in range(13, 0, -2))


def saturated(v: Tensor) -> Tensor:
    """Return v within the range of an int32."""
    return v.clamp(LOW, HIGH)


def rounded(v: Tensor, shift: int) -> Tensor:
    """Return v · 2^-shift, half up."""
    return v if shift == 0 else (v + (1 << (shift - 1))) >> shift


def _polynomial(coefficients: tuple[int, ...], x: Tensor) -> Tensor:
    p = torch.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        p = c + rounded(p * x, 30)
    return p


def _exp(x: Tensor, fraction: int, to: int) -> Tensor:
    """Return exp(x · 2^-fraction) · 2^to, saturated."""
    t = x * LOG2_E
    k = rounded(t, fraction + 30)
    r = (t - k * (1 << (fraction + 30))) >> fraction
    p = _polynomial(EXP, rounded(r * LN_2, 30))
    shift = 30 - to - k
    right = shift.clamp(1, 40)
    small = (p + (1 << (right - 1))) >> right
    large = p * (1 << (-shift).clamp(0, 31))
    return saturated(
        torch.where(
            shift > 40, 0, torch.where(shift > 0, small, torch.where(shift < -31, HIGH, large))
        )
    )


def exp(x: Tensor, fraction: int) -> Tensor:
    """Return exp(x)."""
    return _exp(x, fraction, fraction)


def sigmoid(x: Tensor, fraction: int) -> Tensor:
    """Return 1 / (1 + exp(-x))."""
    e = _exp(-saturated(x.abs()), fraction, 30)
    high = torch.div(1 << 60, ONE + e, rounding_mode="trunc")
    return rounded(torch.where(x < 0, ONE - high, high), 30 - fraction)


def tanh(x: Tensor, fraction: int) -> Tensor:
    """Return tanh(x)."""
    e = _exp(-saturated(2 * x.abs()), fraction, 30)
    t = torch.div((ONE - e) * ONE, ONE + e, rounding_mode="trunc")
    size = rounded(t, 30 - fraction)
    return torch.where(x < 0, -size, size)


def _log1p(a: Tensor, b: Tensor) -> Tensor:
    """Return log(1 + 2 a / (b - a)) = 2 atanh(a / b) in Q30, for 0 ≤ a / b ≤ 1/3."""
    y = torch.div(a * ONE, b, rounding_mode="trunc")
    return rounded(y * _polynomial(ATANH, rounded(y * y, 30)), 29)


def log(x: Tensor, fraction: int) -> Tensor:
    """Return log(x); of x ≤ 0 that of half the last place."""
    safe = x.clamp(min=1)
    k = torch.zeros_like(x)
    for bit in range(1, 31):
        k += safe >= 1 << bit
    m = safe * (1 << (30 - k))
    found = (k - fraction) * LN_2 + _log1p(m - ONE, m + ONE)
    return rounded(torch.where(x > 0, found, -(fraction + 1) * LN_2), 30 - fraction)


def softplus(x: Tensor, fraction: int) -> Tensor:
    """Return log(1 + exp(x))."""
    e = _exp(-saturated(x.abs()), fraction, 30)
    return saturated(x.clamp(min=0) + rounded(_log1p(e, e + 2 * ONE), 30 - fraction))


def sqrt(x: Tensor, fraction: int) -> Tensor:
    """Return the square root, rounded down; 0 for x ≤ 0."""
    v, root = x.clamp(min=0) * (1 << fraction), torch.zeros_like(x)
    for bit in range(30, -1, -1):
        more = root + (1 << bit)
        root = torch.where(more * more <= v, more, root)
    return root


def div(a: Any, b: Tensor, fraction: int) -> Tensor:
    """Return a / b towards zero."""
    a = torch.as_tensor(a)
    zero = torch.where(a > 0, HIGH, torch.where(a < 0, LOW, 0))
    return torch.where(
        b == 0,
        zero,
        saturated(torch.div(a * (1 << fraction), torch.where(b == 0, 1, b), rounding_mode="trunc")),
    )


def _bound(pick: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    return lambda a, b: pick(torch.as_tensor(a), torch.as_tensor(b))


def _bit(v: Any) -> Tensor:
    return torch.as_tensor(v).to(torch.int64)


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "add": lambda a, b: saturated(a + b),
    "sub": lambda a, b: saturated(a - b),
    "mul": lambda a, b, f: saturated(rounded(a * b, f)),
    "scale": lambda v, m, shift: saturated(rounded(v * m, shift)),
    "select": lambda bit, v: bit * v,
    "number": lambda bit, one: bit * one,
    "minimum": _bound(torch.minimum),
    "maximum": _bound(torch.maximum),
    "abs": lambda a: saturated(a.abs()),
    "sign": lambda a, one: torch.sign(a) * one,
    "where": lambda bit, a, b: torch.where(_bit(bit) != 0, a, b),
    "gt": lambda a, b: _bit(a > b),
    "ge": lambda a, b: _bit(a >= b),
    "lt": lambda a, b: _bit(a < b),
    "le": lambda a, b: _bit(a <= b),
    "eq": lambda a, b: _bit(a == b),
    "ne": lambda a, b: _bit(a != b),
    "and": lambda a, b: a * b,
    "or": lambda a, b: _bit((a + b) > 0),
    "not": lambda a: 1 - a,
    "exp": exp,
    "log": log,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softplus": softplus,
    "sqrt": sqrt,
    "div": div,
}
"""Each operation on tensors or whole numbers."""
