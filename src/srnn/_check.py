"""The one place that words an error: what came, what was wanted, and the likely repair.

All errors of the package derive from `SrnnError`; the command line prints them as one message and
exits with code 2.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class SrnnError(Exception):
    """Base of every error this package raises on purpose."""


class ShapeError(SrnnError, ValueError):
    """A tensor has the wrong shape, dtype or lengths."""


class ConfigError(SrnnError, ValueError):
    """A setting, name or argument is not one of those that work."""


class DataError(SrnnError):
    """A data file is missing, truncated, corrupt, or not what its format promises."""


class RunError(SrnnError):
    """A run cannot start, continue or be read."""


class DivergedError(SrnnError):
    """Training produced a number that is not finite."""


def meant(name: str, known: Iterable[str]) -> str:
    """Return ' Did you mean X?' when a known name is close, else ''."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
    best = max(
        close,
        key=lambda k: (difflib.SequenceMatcher(None, k, name).ratio(), k[:1] == name[:1]),
        default=None,
    )
    return "" if best is None else f" Did you mean {best!r}?"


def suggest(name: str, known: Iterable[str]) -> str:
    """Return what `meant` says, and always the closed list of known names."""
    known = sorted(known)
    return f"{meant(name, known)} Known: {', '.join(known) or '(none)'}."


def check_choice(what: str, value: str, known: Sequence[str]) -> str:
    """Return `value` if it is one of `known`; else raise `ConfigError` with the closed list."""
    if not isinstance(value, str):
        raise ConfigError(f"{what} is {value!r}; expected one of: {', '.join(sorted(known))}.")
    if value not in known:
        raise ConfigError(f"{what}: there is no {value!r}.{suggest(value, known)}")
    return value


def check_range(
    what: str,
    value: float,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
) -> float:
    """Return `value` if low ≤ value ≤ high (low < value with `open_low`) and finite; else raise
    `ConfigError`.
    """
    if isinstance(value, complex):
        raise ConfigError(f"{what} is {value!r}; expected a real number.")
    try:
        math.isfinite(value)
    except (TypeError, ValueError, RuntimeError):  # the last two: tensors of several numbers
        raise ConfigError(f"{what} is {value!r}; expected a number.") from None
    except OverflowError:
        raise ConfigError(f"{what} is a whole number that no float holds.") from None
    if not math.isfinite(value) or value < low or value > high or (open_low and value == low):
        floor, ceiling = (str(v) if isinstance(v, int) else f"{v:g}" for v in (low, high))
        least = f"a number more than {floor}" if open_low else f"a number of at least {floor}"
        wanted = (
            "a finite number"
            if math.isinf(low)
            else least + ("" if math.isinf(high) else f" and at most {ceiling}")
        )
        raise ConfigError(f"{what} is {value}; expected {wanted}.")
    return value


LARGEST = 2**32 - 1
"""The largest number that may be a size (of a layer, of a part of a data set …) or a seed."""


def whole_number(text: str) -> int | None:
    """Return the whole number that a text of the digits 0 to 9 stands for, None for another text or
    a number beyond `LARGEST`.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        return None
    return number if (number := int(text)) <= LARGEST else None


def check_sizes(who: str, *sizes: object) -> None:
    """Raise `ConfigError` unless every size is an integer from 1 to `LARGEST`."""
    given = f"{who}({' → '.join(repr(size) for size in sizes)}): sizes must be integers of"
    if any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in sizes):
        raise ConfigError(f"{given} at least 1.")
    if any(isinstance(s, int) and s > LARGEST for s in sizes):
        raise ConfigError(f"{given} at most {LARGEST}.")


def check_instance(
    who: str, what: str, value: object, kind: type | tuple[type, ...], wanted: str
) -> None:
    """Raise `ConfigError` unless `value` is an instance of `kind`; a class given in place of an
    instance is told so.
    """
    if not isinstance(value, kind):
        fix = (
            f" Write {value.__name__}() with parentheses."
            if isinstance(value, type) and issubclass(value, kind)
            else ""
        )
        given = f"the class {value.__name__}" if isinstance(value, type) else repr(value)
        raise ConfigError(f"{who}: {what} is {given}; expected {wanted}.{fix}")


def check_signal(who: str, x: Tensor, channels: int) -> None:
    """Raise `ShapeError` unless x is a floating tensor of shape (B, T, C=channels)
    with B, T ≥ 1.
    """
    if not hasattr(x, "is_floating_point"):
        raise ShapeError(
            f"{who}: x is a {type(x).__name__}; expected a torch tensor. Pass torch.as_tensor(x)."
        )
    shape = tuple(x.shape)
    wanted = f"(B, T, C={channels}) = recordings, time steps, channels"
    if x.dim() != 3:
        fix = ""
        if x.dim() == 2 and shape[1] == channels:
            fix = "\n  For a single recording pass x.unsqueeze(0)."
        elif x.dim() == 2 and channels == 1:
            fix = "\n  For a single channel pass x.unsqueeze(-1)."
        raise ShapeError(f"{who}: x has shape {shape}; expected {wanted}.{fix}")
    if shape[2] != channels:
        axis = shape.index(channels) if channels in shape else None
        if axis == 0:
            fix = (
                f"\n  Axis 0 has length {channels}. If it is the channel axis, pass "
                "x.permute(1, 2, 0)."
            )
        elif axis == 1:
            fix = (
                f"\n  Axis 1 has length {channels}. If it is the channel axis, pass "
                "x.transpose(1, 2)."
            )
        else:
            fix = (
                f"\n  No axis has length {channels}: build the network for {shape[2]} input "
                "channels, or encode the signal differently."
            )
        raise ShapeError(f"{who}: x has shape {shape}; expected {wanted}.{fix}")
    if shape[0] == 0 or shape[1] == 0:
        none = "recordings" if shape[0] == 0 else "time steps"
        raise ShapeError(
            f"{who}: x has shape {shape}: no {none}; expected {wanted}, B and T at least 1."
        )
    if not x.is_floating_point():
        raise ShapeError(f"{who}: x has dtype {x.dtype}; expected a floating type. Pass x.float().")


def check_lengths(who: str, lengths: Tensor, batch: int, steps: int) -> None:
    """Raise `ShapeError` unless lengths is an integer tensor of shape (B,) with 0 ≤ L ≤ T."""
    if not hasattr(lengths, "is_floating_point"):
        raise ShapeError(
            f"{who}: lengths is a {type(lengths).__name__}; expected a torch "
            "tensor. Pass torch.as_tensor(lengths)."
        )
    if lengths.shape != (batch,):
        raise ShapeError(
            f"{who}: lengths has shape {tuple(lengths.shape)}; expected "
            f"(B={batch},), one number of valid steps a recording."
        )
    if lengths.is_floating_point() or lengths.is_complex() or str(lengths.dtype) == "torch.bool":
        raise ShapeError(
            f"{who}: lengths has dtype {lengths.dtype}; expected integers. Pass lengths.long()."
        )
    if values_hidden():
        return
    low, high = int(lengths.min()), int(lengths.max())
    if low < 0 or high > steps:
        bad = low if low < 0 else high
        raise ShapeError(
            f"{who}: lengths holds {bad}; expected 0 ≤ L ≤ T={steps}. Lengths count "
            "steps, not samples or seconds."
        )


def check_finite(who: str, x: Tensor, valid: Tensor | None) -> None:
    """Raise `DataError` where x (B, T, C) holds a NaN or an infinity at a valid step: such a neuron
    would never spike again, unseen.
    """
    import torch

    # one pass over x, most of the time
    if values_hidden() or bool(torch.isfinite(x.detach().sum())):
        return
    bad = ~torch.isfinite(x)
    if valid is not None:
        bad &= valid.unsqueeze(-1)
    if bool(bad.any()):
        b, t, c = bad.nonzero()[0].tolist()
        raise DataError(
            f"{who}: x is {float(x[b, t, c])} at recording {b}, step {t}, channel {c}; "
            "expected finite numbers. Interpolate or cut the gap."
        )


def values_hidden() -> bool:
    """Whether values may not be looked at, so that checks of values are left out: torch.compile is
    reading this, torch.func transforms it, or a CUDA graph is captured.
    """
    import torch

    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    return (
        torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()  # type: ignore[no-untyped-call]
    )


def check_real_type(who: str, dtype: torch.dtype) -> None:
    """Raise `ConfigError` for a layer of another number type than real ones."""
    if not hasattr(dtype, "is_floating_point"):
        raise ConfigError(f"{who}: dtype is {dtype!r}; expected one such as torch.float32.")
    if not dtype.is_floating_point:
        raise ConfigError(
            f"{who}: the number type is {dtype}; weights, inputs and outputs are real numbers, as "
            "torch.float32. A state is complex where step returns it so."
        )
