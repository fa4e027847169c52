"""What every figure shares: the palette, an empty figure, the mark of simulated data,
mean and sd.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from srnn._check import ConfigError, ShapeError, SrnnError, check_instance

COLOURS = ("#4477AA", "#66CCEE", "#228833", "#CCBB44", "#EE6677", "#AA3377", "#BBBBBB")
"""Colour of each class (Paul Tol's bright scheme: told apart by colour-blind readers,
and in grey).
"""

LINES = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#66CCEE", "#CCBB44", "#777777")
"""The same colours for curves: those far apart come first, the pale ones last."""

DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

Drawn = tuple[Any, dict[str, Any]]
"""A matplotlib Figure and the numbers it shows."""


def new_figure(**kwargs: Any) -> Any:
    """Return an empty figure that belongs to no window: matplotlib's global state is left alone."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SrnnError(
            'Figures need matplotlib. Install it with: pip install "srnn[report]"'
        ) from None
    return Figure(layout="constrained", **kwargs)


def mark_simulated(figure: Any) -> None:
    """Say on the figure that no real signal is in it."""
    figure.text(
        0.5,
        0.995,
        "SIMULATED DATA",
        ha="center",
        va="top",
        color="#CC3311",
        fontsize=9,
        weight="bold",
    )


def finish(figure: Any, title: str, simulated: bool) -> None:
    """Put title and mark on a figure."""
    if title or simulated:
        figure.suptitle(title or " ", x=0.01, ha="left", fontsize=10)
    if simulated:
        mark_simulated(figure)


def tidy(axis: Any, x: str = "", y: str = "") -> None:
    """Name the axes and take away the frame that says nothing."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    if x:
        axis.set_xlabel(x, fontsize=9)
    if y:
        axis.set_ylabel(y, fontsize=9)


def plain_log(axis: Any) -> None:
    """Number a logarithmic axis (figure.axes[0].xaxis, say) as 1,000 and 10,000: read at once, and
    without formulas.
    """
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:,.10g}" if super().__call__(x, pos) else ""

    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain(labelOnlyBase=False, minor_thresholds=(1, 0.4)))


def array(who: str, values: Any, dims: tuple[int, ...], shape: str) -> Any:
    """Return values (tensor, array, list) as a float64 array.

    Raises `ShapeError` unless it has one of the numbers of dimensions.
    """
    try:
        if isinstance(values, Tensor) and values.is_complex():
            raise TypeError("complex numbers")
        made = (
            values.detach().cpu().double().numpy()
            if isinstance(values, Tensor)
            else np.asarray(values, dtype=np.float64)
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(
            f"{who} is no array of real numbers ({error}); expected {shape}."
        ) from None
    if made.ndim not in dims or not made.size:
        raise ShapeError(f"{who} has shape {made.shape}; expected {shape}.")
    return made


def not_empty(who: str, given: Any, what: str) -> None:
    """Raise `ConfigError` where there is no dictionary, or nothing in it to draw."""
    check_instance(who, "what to draw", given, Mapping, what)
    if not given:
        raise ConfigError(f"{who}: there is nothing to draw; expected {what}.")


def time_axis(steps: int, step_seconds: float | None) -> tuple[Any, str]:
    """Return the time of each step, (T,), and the name of the axis: steps 1 … T, or seconds
    (milliseconds below one second) at their end.
    """
    count = np.arange(1, steps + 1)
    if step_seconds is None:
        return count, "step"
    if not (math.isfinite(step_seconds) and step_seconds > 0):
        raise ConfigError(
            f"step_seconds is {step_seconds}; expected the duration of a step in "
            "seconds, more than 0."
        )
    short = steps * step_seconds < 1
    return count * step_seconds * (1000 if short else 1), "time (ms)" if short else "time (s)"


def mean_sd(values: Iterable[float]) -> tuple[float | None, float | None]:
    """Return mean and sample sd of the finite values; None where there are too few."""
    known = np.asarray([v for v in values if math.isfinite(v)], dtype=np.float64)
    return (
        float(known.mean()) if known.size else None,
        float(known.std(ddof=1)) if known.size > 1 else None,
    )


def plain(values: Any) -> Any:
    """Return an array as nested lists with None for what is not finite: JSON as it should be."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, list):
        return [plain(v) for v in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def runs_of(labels: Any) -> list[tuple[int, int, int]]:
    """Return stretches of equal labels (T,): (first, one past the last, label)."""
    labels = np.asarray(labels)
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    return [(a, b, int(labels[a])) for a, b in itertools.pairwise(edges) if b > a]
