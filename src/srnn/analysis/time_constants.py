"""Time constants before and after training, by layer (Yin, Corradi & Bohté 2020, figure 7; 2021,
figure 4c).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from srnn._check import ConfigError, ShapeError, check_instance
from srnn.analysis.style import LINES, Drawn, array, finish, new_figure, plain, tidy
from srnn.nn.layers import Layer
from srnn.nn.networks import Stack

Weights = Stack | Mapping[str, Tensor]
"""A network, or its state dictionary."""


def constants_of(net: Weights) -> dict[str, dict[str, Any]]:
    """Return the constants by layer and name, flat float64 arrays; those of a network within their
    bounds, of a state dictionary as stored.

    Names of a checkpoint of a run ("net.layers.0…") are understood too.
    """
    found: dict[str, dict[str, Any]] = {}
    if isinstance(net, Stack):
        for path, module in net.named_modules():
            if isinstance(module, Layer):
                found[path] = {
                    name: array(name, v, (0, 1), "(N,)").reshape(-1)
                    for name, v in module.constants().items()
                }
        return found
    wanted = "a network, srnn.Stack(…), or a state dictionary"
    check_instance("time_constants", "net", net, Mapping, wanted)
    for path, value in net.items():
        layer, sep, name = path.removeprefix("net.").partition(".constants.")
        if sep:
            found.setdefault(layer, {})[name] = array(path, value, (0, 1), "(N,)").reshape(-1)
    return found


def time_constants(
    before: Weights,
    after: Weights,
    *,
    chosen: Callable[[str], bool] = lambda name: name.startswith("tau"),
    step_seconds: float | None = None,
    title: str = "",
    simulated: bool = False,
) -> Drawn:
    """Draw histograms of time constants before and after training, a row a layer, a column a
    constant.

    before, after: two networks or state dictionaries of the same build. chosen: which constants, by
    name. step_seconds: draw milliseconds in place of steps. Constants that all neurons share (one
    value) are drawn as lines. Returns, by layer and constant, the values `before` and `after` in
    steps, and the mean absolute change `moved`.
    """
    old, new = (
        {k: {n: v for n, v in c.items() if chosen(n)} for k, c in constants_of(net).items()}
        for net in (before, after)
    )
    shapes = [
        {(k, n): v.size for k, c in side.items() for n, v in c.items()} for side in (old, new)
    ]
    if shapes[0] != shapes[1]:
        apart = sorted(
            {f"{layer}.{name}" for (layer, name), _ in shapes[0].items() ^ shapes[1].items()}
        )
        raise ShapeError(
            f"time_constants: the two networks differ in {', '.join(apart)}; "
            "expected two of the same build."
        )
    if not shapes[0]:
        raise ConfigError(
            "time_constants: no constant of these networks is chosen; expected "
            'some named "tau…", or pass chosen=lambda name: …'
        )
    layers, names = (
        [k for k in old if old[k]],
        list(dict.fromkeys(n for c in old.values() for n in c)),
    )
    scale, unit = (1.0, "steps") if step_seconds is None else (1000 * step_seconds, "ms")
    figure = new_figure(figsize=(1 + 3.1 * len(names), 0.7 + 2.0 * len(layers)))
    axes = figure.subplots(len(layers), len(names), squeeze=False)
    numbers: dict[str, Any] = {}
    for row, layer in zip(axes, layers, strict=True):
        for axis, name in zip(row, names, strict=True):
            if name not in old[layer]:
                axis.set_axis_off()
                continue
            a, b = old[layer][name], new[layer][name]
            _histogram(axis, scale * a, scale * b)
            tidy(axis, f"{name} ({unit})", "neurons" if axis is row[0] else "")
            axis.set_title(layer, fontsize=9, loc="left")
            numbers.setdefault(layer, {})[name] = {
                "before": plain(a),
                "after": plain(b),
                "moved": float(np.abs(b - a).mean()),
            }
    drawn = next(axis for axis in axes.flat if axis.axison)
    figure.legend(
        *drawn.get_legend_handles_labels(),
        loc="outside upper right",
        ncols=2,
        fontsize=8,
        frameon=False,
    )
    finish(figure, title or " ", simulated)
    return figure, numbers


def _histogram(axis: Any, before: Any, after: Any) -> None:
    """Draw both in the same bins: before filled, after as an outline; single values as lines."""
    if before.size == 1:
        axis.axvline(float(before[0]), color="#999999", lw=3, label="before training")
        axis.axvline(float(after[0]), color=LINES[1], lw=1.6, label="after training")
        axis.set_yticks([])
        axis.margins(x=0.3)
        return
    both = np.concatenate((before, after))
    low, high = float(both.min()), float(both.max())
    pad = 0.02 * (high - low) or 0.5
    bins = np.linspace(low - pad, high + pad, int(np.clip(np.sqrt(before.size) * 2, 8, 40)) + 1)
    axis.hist(before, bins=bins, color="#BBBBBB", label="before training")
    axis.hist(after, bins=bins, histtype="step", color=LINES[1], lw=1.6, label="after training")
    axis.yaxis.get_major_locator().set_params(integer=True)
