"""Functions of a printed step in Triton, beyond those the language has: as accurate as those of
`c/functions.h`, and known to the interpreter.

Imported only where Triton is.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def divided(a, b):  # type: ignore[no-untyped-def]
    """a / b, rounded as IEEE 754 says: Triton's own float32 division is not."""
    return a / b if a.dtype == tl.float64 else tl.div_rn(a, b)


@triton.jit
def root(x):  # type: ignore[no-untyped-def]
    """The square root of x, rounded as IEEE 754 says."""
    return tl.sqrt(x) if x.dtype == tl.float64 else tl.sqrt_rn(x)


@triton.jit
def expm1(x):  # type: ignore[no-untyped-def]
    """exp(x) - 1: x = k ln 2 + r, the series of exp(r) - 1, and 2^k from the exponent's bits; exact
    to a rounding or two near 0.
    """
    double: tl.constexpr = x.dtype == tl.float64
    high = 709.0 if double else 88.0
    y = tl.minimum(tl.maximum(x, -40.0), high)
    k = tl.floor(y * 1.4426950408889634 + 0.5)
    if double:
        r = (y - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10
        p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        two = ((k.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)
    else:
        r = (y - k * 0.693359375) + k * 2.12194440e-4
        p = r * 0.0 + 1.0 / 5040.0
        two = ((k.to(tl.int32) + 127) << 23).to(tl.float32, bitcast=True)
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r * r + r
    result = two * p + (two - 1.0)
    return tl.where(x != x, x, tl.where(x > high, float("inf"), result))


@triton.jit
def tanh(x):  # type: ignore[no-untyped-def]
    """tanh(x), from expm1."""
    e = expm1(2.0 * tl.minimum(tl.abs(x), 20.0))
    t = divided(e, e + 2.0)
    return tl.where(x != x, x, tl.where(x < 0, -t, t))


@triton.jit
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x))."""
    return divided(x * 0.0 + 1.0, 1.0 + tl.exp(-x))


@triton.jit
def log1p(x):  # type: ignore[no-untyped-def]
    """log(1 + x); what 1 + x lost by rounding is put back."""
    u = 1.0 + x
    return tl.log(u) + divided(x - (u - 1.0), u)


@triton.jit
def softplus(x):  # type: ignore[no-untyped-def]
    """log(1 + exp(x)), x itself above 20."""
    return tl.where(x > 20.0, x, log1p(tl.exp(tl.minimum(x, 20.0))))


@triton.jit
def power(x, y):  # type: ignore[no-untyped-def]
    """x to the power y; of a negative x only whole powers are numbers."""
    whole = tl.floor(y) == y
    odd = whole & (tl.floor(y * 0.5) * 2.0 != y)
    size = tl.exp2(y * tl.log2(tl.abs(x)))
    signed = tl.where(x < 0, tl.where(whole, tl.where(odd, -size, size), float("nan")), size)
    return tl.where(y == 0, 1.0, signed)
