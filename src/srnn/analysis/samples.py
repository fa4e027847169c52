"""What networks are given, as pictures: spikes of a cochlea, an image as a sequence of pixels,
radar frames (Yin et al. 2021, figure 3a-c).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from srnn._check import ConfigError
from srnn.analysis.style import LINES, Drawn, array, finish, new_figure, plain, tidy, time_axis


def raster(
    events: Any,
    *,
    step_seconds: float | None = None,
    channel: str = "channel",
    title: str = "",
    simulated: bool = False,
) -> Drawn:
    """Draw spikes (T, C) with a dot each, a count above 1 larger, and the events per step above.

    Returns events per step and per channel.
    """
    x = array("raster: events", events, (2,), "(T, C)")
    time, name = time_axis(len(x), step_seconds)
    t, c = np.nonzero(x)
    figure = new_figure(figsize=(6, 4))
    above, axis = figure.subplots(2, 1, sharex=True, height_ratios=[1, 4])
    above.fill_between(time, np.abs(x).sum(1), step="pre", color=LINES[0], lw=0)
    tidy(above, "", "events\nper step")
    above.set_ylim(bottom=0)
    size = float(np.clip(2500 / x.shape[1], 3, 14))
    axis.scatter(
        time[t],
        c,
        s=size * np.abs(x[t, c]),
        marker=".",
        lw=0,
        color="black",
        rasterized=len(t) > 4_000,
    )
    tidy(axis, name, channel)
    axis.set_xlim(0, float(time[-1]))
    axis.set_ylim(-0.5, x.shape[1] - 0.5)
    finish(figure, title, simulated)
    return figure, {
        "events": float(np.abs(x).sum()),
        "per_step": plain(np.abs(x).sum(1)),
        "per_channel": plain(np.abs(x).sum(0)),
    }


def pixels(image: Any, order: Any = None, *, title: str = "", simulated: bool = False) -> Drawn:
    """Draw an image (H, W) and the sequence of its pixels, row by row or in `order` (H·W,) as
    PS-MNIST permutes them. Returns the sequence.
    """
    x = array("pixels: image", image, (2,), "(H, W)")
    flat = x.reshape(-1)
    if order is not None:
        index = np.asarray(order, dtype=int).reshape(-1)
        if sorted(index.tolist()) != list(range(flat.size)):
            raise ConfigError(f"pixels: order is no permutation of 0 … {flat.size - 1}.")
        flat = flat[index]
    figure = new_figure(figsize=(8.5, 2.4))
    left, right = figure.subplots(1, 2, width_ratios=[1, 3.4])
    left.imshow(x, cmap="gray_r", interpolation="nearest")
    left.set_xticks([])
    left.set_yticks([])
    left.set_xlabel(f"{x.shape[0]} x {x.shape[1]} pixels", fontsize=9)
    right.fill_between(np.arange(1, flat.size + 1), flat, step="mid", color=LINES[0], lw=0)
    right.set_xlim(1, flat.size)
    right.set_ylim(bottom=min(0.0, float(flat.min())))
    tidy(
        right,
        "step (one pixel each" + (", permuted)" if order is not None else ", row by row)"),
        "intensity",
    )
    finish(figure, title, simulated)
    return figure, {"sequence": plain(flat)}


def frames(
    maps: Any,
    *,
    shown: int = 6,
    x: str = "Doppler bin",
    y: str = "range bin",
    title: str = "",
    simulated: bool = False,
) -> Drawn:
    """Draw some of the frames (F, H, W) of a radar recording, evenly over time, on one scale.

    Returns their indices, from 0, and the scale.
    """
    m = array("frames: maps", maps, (3,), "(F, H, W)")
    chosen = np.unique(np.linspace(0, len(m) - 1, min(shown, len(m))).round().astype(int))
    figure = new_figure(figsize=(1.1 + 1.7 * len(chosen), 2.5))
    axes = figure.subplots(1, len(chosen), squeeze=False)[0]
    low, high = float(m[chosen].min()), float(m[chosen].max())
    for axis, k in zip(axes, chosen, strict=True):
        drawn = axis.imshow(
            m[k], origin="lower", cmap="viridis", vmin=low, vmax=high, interpolation="nearest"
        )
        axis.set_title(f"frame {k + 1} of {len(m)}", fontsize=8)
        tidy(axis, x, y if axis is axes[0] else "")
        if axis is not axes[0]:
            axis.set_yticks([])
    bar = figure.colorbar(drawn, ax=axes.tolist(), shrink=0.8)
    bar.set_label("intensity", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    finish(figure, title, simulated)
    return figure, {"frames": chosen.tolist(), "low": low, "high": high}
