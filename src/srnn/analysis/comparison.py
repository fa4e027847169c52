"""Results side by side: categories with every seed, grids of two settings (Yin et al. 2021, figures
3, 4), accuracy over energy (2020, figure 8).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from srnn._check import ConfigError, ShapeError, check_instance
from srnn.analysis.labels import spread_labels
from srnn.analysis.style import (
    LINES,
    MARKERS,
    Drawn,
    array,
    finish,
    mean_sd,
    new_figure,
    not_empty,
    plain,
    plain_log,
    tidy,
)

Seeds = Sequence[float] | float
"""One number a seed."""


def compare(
    values: Mapping[str, Mapping[str, Seeds]],
    *,
    y: str = "accuracy (%)",
    scale: float = 100.0,
    published: Mapping[str, Mapping[str, float]] | None = None,
    log: bool = False,
    title: str = "",
    simulated: bool = False,
) -> Drawn:
    """Draw categories side by side: each seed as a dot, mean ± sd beside them; series by colour and
    marker.

    values: series → category → one number a seed; a category that a series lacks, or that has no
    finite value, stays empty. scale: factor from the numbers to the unit of `y` (100 for accuracies
    in [0, 1]). published: the same nesting, drawn as short lines. log: logarithmic axis. Returns
    mean, sd, n and the values, in the numbers' own unit.
    """
    wanted = "{series: {category: numbers}}"
    not_empty("compare", values, wanted)
    not_empty("compare", {k: v for k, v in values.items() if v}, wanted)
    published = published or {}
    if unknown := [s for s in published if s not in values]:
        raise ConfigError(
            f"compare: published numbers of {unknown[0]!r}, which is no series. "
            f"Known: {', '.join(values)}."
        )
    categories = list(dict.fromkeys(c for series in values.values() for c in series))
    figure = new_figure(
        figsize=(max(4.0, 1.4 + 0.55 * len(categories) * (1 + 0.6 * (len(values) - 1))), 3.6)
    )
    axis, width = figure.subplots(), 0.8 / len(values)
    numbers: dict[str, Any] = {}
    for k, (series, by_category) in enumerate(values.items()):
        style, named = {"color": LINES[k % len(LINES)], "marker": MARKERS[k % len(MARKERS)]}, series
        for name, given in by_category.items():
            all_of = array(
                f"compare: {series}, {name}",
                np.atleast_1d(np.asarray(given, dtype=float)),
                (1,),
                "one number a seed",
            )
            seeds = all_of[np.isfinite(all_of)]
            mean, sd = mean_sd(seeds)
            numbers.setdefault(series, {})[name] = {
                "mean": mean,
                "sd": sd,
                "n": len(seeds),
                "values": plain(all_of),
            }
            if mean is None:
                continue
            at = categories.index(name) + (k + 0.5) * width - 0.4
            jitter = np.linspace(-0.16, 0.02, len(seeds)) * width if len(seeds) > 1 else np.zeros(1)
            axis.plot(
                at + jitter, scale * seeds, ls="none", ms=4, alpha=0.55, mew=0, label="_", **style
            )
            axis.errorbar(
                at + 0.2 * width,
                scale * mean,
                scale * sd if sd is not None else None,
                ms=6,
                capsize=3,
                lw=1.4,
                label=named,
                **style,
            )
            named = "_"  # one entry a series in the legend
        for name, value in published.get(series, {}).items():
            if name in categories:
                left = categories.index(name) + k * width - 0.4
                line = axis.hlines(
                    scale * value,
                    left + 0.1 * width,
                    left + 0.9 * width,
                    color="black",
                    lw=1.6,
                    ls=(0, (3, 1)),
                )
                line.set_label("_" if "published" in numbers else "published")
                numbers.setdefault("published", {}).setdefault(series, {})[name] = value
    axis.margins(y=0.1)
    if log:
        axis.set_yscale("log")
        plain_log(axis.yaxis)
    long = max(map(len, categories)) * len(categories) > 60
    axis.set_xticks(
        range(len(categories)),
        categories,
        rotation=30 if long else 0,
        ha="right" if long else "center",
        rotation_mode="anchor",
    )
    axis.set_xlim(-0.6, len(categories) - 0.4)
    tidy(axis, "", y)
    axis.grid(axis="y", lw=0.4, color="#DDDDDD")
    axis.set_axisbelow(True)
    if len(values) > 1 or published:
        figure.legend(
            *axis.get_legend_handles_labels(),
            loc="outside upper right",
            ncols=4,
            frameon=False,
            fontsize=8,
        )
    finish(figure, title or " ", simulated)
    return figure, numbers


def heat_map(
    rows: Sequence[Any],
    columns: Sequence[Any],
    accuracy: Any,
    rate: Any,
    *,
    names: tuple[str, str] = ("h", "s"),
    title: str = "",
    simulated: bool = False,
) -> Drawn:
    """Draw accuracy and firing rate over a grid of two settings side by side, as for h and s of the
    Multi-Gaussian (figure 4a-b).

    rows, columns: the values of the settings called `names`. accuracy, rate: (rows, columns) or
    (seeds, rows, columns); NaN = that run failed, and stays empty. The best mean accuracy is
    framed. Returns the means over seeds and the best cell.
    """
    for what, values in (("rows", rows), ("columns", columns)):
        kinds = (Sequence, np.ndarray)
        check_instance("heat_map", what, values, kinds, "the values of a setting, a list")
    figure = new_figure(figsize=(2.6 + 1.05 * len(columns), 1.4 + 0.42 * len(rows)))
    means = []
    for axis, given, what, scale, form, colours in zip(
        figure.subplots(1, 2),
        (accuracy, rate),
        ("accuracy (%)", "firing rate (spikes per neuron and step)"),
        (100, 1),
        (".1f", ".3f"),
        ("viridis", "cividis"),
        strict=True,
    ):
        grid = array(
            f"heat_map: {what}", given, (2, 3), "(rows, columns) or (seeds, rows, columns)"
        )
        grid = grid if grid.ndim == 3 else grid[None]
        if grid.shape[1:] != (len(rows), len(columns)):
            raise ShapeError(
                f"heat_map: {what} has shape {grid.shape[1:]} for {len(rows)} rows "
                f"and {len(columns)} columns."
            )
        known = np.isfinite(grid).sum(0)
        mean = np.where(
            known > 0,
            np.nansum(np.where(np.isfinite(grid), grid, 0.0), 0) / np.maximum(known, 1),
            np.nan,
        )
        drawn = axis.imshow(scale * mean, cmap=colours, aspect="auto")
        for (i, j), value in np.ndenumerate(scale * mean):
            dark = math.isfinite(value) and drawn.norm(value) < 0.6
            axis.text(
                j,
                i,
                format(value, form) if math.isfinite(value) else "failed",
                ha="center",
                va="center",
                fontsize=7.5,
                color="white" if dark else "black",
            )
        axis.set_xticks(
            range(len(columns)),
            [f"{c:g}" if isinstance(c, float) else str(c) for c in columns],
            fontsize=8,
        )
        axis.set_yticks(
            range(len(rows)),
            [f"{r:g}" if isinstance(r, float) else str(r) for r in rows],
            fontsize=8,
        )
        axis.set_xlabel(names[1])
        axis.set_ylabel(names[0])
        axis.set_title(what, fontsize=9)
        means.append((axis, mean))
    (axis, mean), (_, rates) = means
    best = None
    if np.isfinite(mean).any():
        from matplotlib.patches import Rectangle

        i, j = (int(k) for k in np.unravel_index(np.nanargmax(mean), mean.shape))
        for a, _ in means:
            a.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, ec="#EE6677", lw=2.2))
        best = {
            names[0]: rows[i],
            names[1]: columns[j],
            "accuracy": float(mean[i, j]),
            "rate": plain(float(rates[i, j])),
        }
    finish(figure, title, simulated)
    return figure, {"accuracy": plain(mean), "rate": plain(rates), "best": best}


def pareto(
    points: Mapping[str, tuple[Seeds, Seeds]],
    *,
    energy: str = "energy per step (pJ)",
    title: str = "",
    simulated: bool = False,
) -> Drawn:
    """Draw accuracy against energy (logarithmic), each point mean ± sd over seeds, and the Pareto
    front (2020, figure 8).

    points: label → (energies > 0, accuracies in [0, 1]), one number a seed. The front is the
    networks than which no other is both more accurate and no more costly. Returns mean and sd of
    each, and the labels on the front, cheapest first.
    """
    not_empty("pareto", points, "{label: (energies, accuracies)}")
    rows: list[dict[str, Any]] = []
    for label, (cost, accuracy) in points.items():
        e, a = (
            np.atleast_1d(np.asarray(cost, dtype=float)),
            np.atleast_1d(np.asarray(accuracy, dtype=float)),
        )
        if not (
            np.isfinite(e).all() and np.isfinite(a).all() and e.size and a.size and (e > 0).all()
        ):
            raise ConfigError(
                f"pareto: {label} has energies {plain(e)} and accuracies "
                f"{plain(a)}; expected finite numbers, energies above 0."
            )
        (em, es), (am, asd) = mean_sd(e), mean_sd(a)
        rows.append(
            {"label": label, "energy": em, "energy_sd": es, "accuracy": am, "accuracy_sd": asd}
        )
    front: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda r: (r["energy"], -r["accuracy"])):
        if not front or row["accuracy"] > front[-1]["accuracy"]:
            front.append(row)
    figure = new_figure(figsize=(6.8, 4.4))
    axis = figure.subplots()
    corners = [(r["energy"], 100 * r["accuracy"]) for r in front]
    axis.step(
        *zip(*corners, strict=True),
        where="post",
        color="#777777",
        lw=1.1,
        ls="--",
        label="Pareto front",
    )
    lines = [(ax, ay, bx, ay) for (ax, ay), (bx, _) in itertools.pairwise(corners)]
    lines += [(bx, ay, bx, by) for (_, ay), (bx, by) in itertools.pairwise(corners)]
    for row in rows:
        on = any(row is f for f in front)
        spread = [
            None if row[k] is None else f * row[k]
            for k, f in (("accuracy_sd", 100), ("energy_sd", 1))
        ]
        # a log axis has no 0
        reach = None if spread[1] is None else [[min(spread[1], 0.9 * row["energy"])], [spread[1]]]
        if spread[0] is not None:
            lines.append(
                (
                    row["energy"],
                    100 * row["accuracy"] - spread[0],
                    row["energy"],
                    100 * row["accuracy"] + spread[0],
                )
            )
        if reach is not None:
            lines.append(
                (
                    row["energy"] - reach[0][0],
                    100 * row["accuracy"],
                    row["energy"] + reach[1][0],
                    100 * row["accuracy"],
                )
            )
        style = (
            {"color": LINES[0], "ms": 7} if on else {"color": LINES[1], "ms": 5.5, "mfc": "white"}
        )
        axis.errorbar(
            row["energy"],
            100 * row["accuracy"],
            spread[0],
            reach,
            marker="o" if on else "s",
            capsize=2.5,
            lw=1.1,
            **style,
        )
    axis.set_xscale("log")
    plain_log(axis.xaxis)
    axis.margins(0.14)
    tidy(axis, energy, "accuracy (%)")
    axis.grid(lw=0.4, color="#E4E4E4")
    axis.set_axisbelow(True)
    axis.legend(frameon=False, fontsize=8, loc="best")
    finish(figure, title, simulated)
    spread_labels(
        figure, axis, [(r["energy"], 100 * r["accuracy"], r["label"]) for r in rows], lines
    )
    return figure, {"points": rows, "front": [r["label"] for r in front]}
