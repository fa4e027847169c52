"""Labels beside points, placed so that they cover neither each other nor a point."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

_ANGLES = (45, 135, -45, -135, 0, 180, 90, -90, 20, 160, -20, -160, 70, 110, -70, -110)


Segment = tuple[float, float, float, float]
"""A line that labels should not cross: x0, y0, x1, y1, along one of the axes."""


def spread_labels(
    figure: Any,
    axis: Any,
    points: Sequence[tuple[float, float, str]],
    lines: Sequence[Segment] = (),
    size: float = 8.0,
) -> None:
    """Write a label beside each point (x, y, text), the nearest free place first; a label further
    away gets a thin line to its point.

    Labels keep off points, legend and `lines`. Where no place is free, the one with the least
    overlap is taken.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # settles the layout
    renderer, pixel = canvas.get_renderer(), figure.dpi / 72
    dots = [axis.transData.transform((x, y)) for x, y, _ in points]
    taken = [
        Bbox.from_extents(px - 5 * pixel, py - 5 * pixel, px + 5 * pixel, py + 5 * pixel)
        for px, py in dots
    ]
    for x0, y0, x1, y1 in lines:
        (px0, py0), (px1, py1) = axis.transData.transform([(x0, y0), (x1, y1)])
        taken.append(
            Bbox.from_extents(
                min(px0, px1) - pixel,
                min(py0, py1) - pixel,
                max(px0, px1) + pixel,
                max(py0, py1) + pixel,
            )
        )
    if axis.get_legend() is not None:
        taken.append(axis.get_legend().get_window_extent(renderer))
    frame = axis.get_window_extent(renderer)
    for (x, y, text), (px, py) in zip(points, dots, strict=True):
        probe = axis.text(x, y, text, fontsize=size)
        box = probe.get_window_extent(renderer)
        probe.remove()
        best: tuple[float, Any, tuple[float, float]] | None = None
        for far, angle in itertools.product((7, 13, 20, 30, 42), _ANGLES):
            dx, dy = (
                far * pixel * math.cos(math.radians(angle)),
                far * pixel * math.sin(math.radians(angle)),
            )
            left = (
                px + dx - (box.width if dx < -pixel else box.width / 2 if abs(dx) <= pixel else 0)
            )
            low = py + dy - box.height / 2
            here = Bbox.from_bounds(left, low, box.width, box.height)
            outside = box.width * box.height - _overlap(here, frame)
            cost = sum(_overlap(here, other) for other in taken) + outside + 0.01 * far
            if best is None or cost < best[0] - 1e-9:
                best = (cost, here, (dx, dy))
        assert best is not None
        _, here, (dx, dy) = best
        taken.append(here)
        line = (
            {"arrowstyle": "-", "color": "#999999", "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
            if math.hypot(dx, dy) > 12 * pixel
            else None
        )
        where = ((here.x0 - px) / pixel, (here.y0 - py) / pixel)
        axis.annotate(
            text, (x, y), xytext=where, textcoords="offset points", fontsize=size, arrowprops=line
        )


def _overlap(a: Any, b: Any) -> float:
    """Return the area two boxes share, square pixels."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(max(0.0, width) * max(0.0, height))
