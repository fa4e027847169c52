"""The pictures of a table, from its results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srnn import analysis
from srnn.papers.results import Result
from srnn.papers.table import Picture, Table, value
from srnn.runs import write_atomically

_SCALE = {"accuracy": 0.01}
_AXES = {"accuracy": "accuracy (%)", "rate": "firing rate (spikes per neuron and step)", "spikes_per_step": "spikes per step"}


def draw(table: Table, results: Sequence[Result], out: Path) -> list[Path]:
    """Draw what the table asks for into out/NAME.svg, its numbers into out/NAME-figure.json; return the files, none without results."""
    if table.picture is None:
        return []
    done = [r for r in results if table.picture.shows in r.ours]
    if not done:
        return []
    figure, numbers = _DRAWN[table.picture.kind](table.picture, done, f"{table.name}: {table.title}", any(r.simulated for r in done))
    svg, data = out / f"{table.name}.svg", out / f"{table.name}-figure.json"
    figure.savefig(svg, format="svg")
    write_atomically(data, (json.dumps(numbers, indent=1) + "\n").encode())
    return [svg, data]


def _values(r: Result, metric: str) -> list[float]:
    return [_SCALE.get(metric, 1.0) * v for v in r.ours[metric].values]


def _bars(picture: Picture, done: Sequence[Result], title: str, simulated: bool) -> analysis.Drawn:
    values: dict[str, dict[str, Any]] = {}
    published: dict[str, dict[str, float]] = {}
    for r in done:
        series = str(r.row.at.get("series", r.row.task))
        category = str(r.row.at.get("category", r.row.label))
        values.setdefault(series, {})[category] = _values(r, picture.shows)
        if picture.shows in r.published:
            published.setdefault(series, {})[category] = _SCALE.get(picture.shows, 1.0) * value(r.published[picture.shows])
    scale = 1 / _SCALE.get(picture.shows, 1.0)
    return analysis.compare(values, y=_AXES.get(picture.shows, picture.shows), scale=scale, published=published, title=title, simulated=simulated)


def _grid(picture: Picture, done: Sequence[Result], title: str, simulated: bool) -> analysis.Drawn:
    rows = sorted({r.row.at[picture.y] for r in done}, key=float)
    columns = sorted({r.row.at[picture.x] for r in done}, key=float)
    nan = float("nan")
    accuracy, rate = ([[nan] * len(columns) for _ in rows] for _ in range(2))
    for r in done:
        i, j = rows.index(r.row.at[picture.y]), columns.index(r.row.at[picture.x])
        accuracy[i][j] = r.ours["accuracy"].mean / 100
        rate[i][j] = r.ours["rate"].mean if "rate" in r.ours else nan
    return analysis.heat_map(rows, columns, accuracy, rate, names=(picture.y, picture.x), title=title, simulated=simulated)


def _pareto(picture: Picture, done: Sequence[Result], title: str, simulated: bool) -> analysis.Drawn:
    points = {f"{r.row.label} ({r.row.task})": (list(r.ours["energy"].values), _values(r, "accuracy")) for r in done if "energy" in r.ours}
    return analysis.pareto(points, title=title, simulated=simulated)


_DRAWN = {"bars": _bars, "grid": _grid, "pareto": _pareto}
