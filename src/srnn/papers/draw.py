"""The pictures of a table, from its results and its run folders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srnn import _files, analysis, decode, metrics
from srnn._check import SrnnError
from srnn.nn.networks import Output
from srnn.papers.results import Result
from srnn.papers.table import Table, value
from srnn.tasks.objective import PerStep
from srnn.tasks.task import Task, collate
from srnn.training.runs import load_run, write_atomically

_AXES = {
    "accuracy": "accuracy (%)",
    "rate": "firing rate (spikes per neuron and step)",
    "spikes_per_step": "spikes per step",
}
Named = Iterator[tuple[str, analysis.Drawn]]
"""Pictures by what is added to the table's name in that of the file."""


def draw(
    table: Table, results: Sequence[Result], out: Path, data_dir: str | Path | None
) -> list[Path]:
    """Draw what the table asks for into out/NAME….svg, the numbers beside it as JSON; return the
    files, none without results. Raises `SrnnError`.
    """
    if table.picture is None:
        return []
    done = [r for r in results if table.picture.shows in r.ours]
    if not done:
        return []
    files = []
    for more, (figure, numbers) in _DRAWN[table.picture.kind](table, done, data_dir):
        svg, data = out / f"{table.name}{more}.svg", out / f"{table.name}{more}-figure.json"
        try:
            with _files.whole(svg) as file:
                figure.savefig(file, format="svg")
        except OSError as error:
            raise SrnnError(f"{svg} cannot be written: {error.strerror}.") from error
        write_atomically(data, (json.dumps(numbers, indent=1) + "\n").encode())
        files += [svg, data]
    return files


def _scale(metric: str) -> float:
    return 0.01 if metric == "accuracy" else 1.0


def _values(r: Result, metric: str) -> list[float]:
    return [_scale(metric) * v for v in r.ours[metric].values]


def _title(table: Table, r: Result | None = None) -> str:
    return f"{table.name}: {table.title if r is None else r.row.label}"


def _bars(table: Table, done: Sequence[Result], data_dir: object) -> Named:
    assert table.picture is not None
    shows = table.picture.shows
    values: dict[str, dict[str, Any]] = {}
    published: dict[str, dict[str, float]] = {}
    for r in done:
        series, category = (
            str(r.row.at.get("series", "ours")),
            str(r.row.at.get("category", r.row.label)),
        )
        values.setdefault(series, {})[category] = _values(r, shows)
        if shows in r.published:
            published.setdefault(series, {})[category] = _scale(shows) * value(r.published[shows])
    simulated = any(r.simulated for r in done)
    yield (
        "",
        analysis.compare(
            values,
            y=_AXES.get(shows, shows),
            scale=1 / _scale(shows),
            published=published,
            title=_title(table),
            simulated=simulated,
        ),
    )


def _grid(table: Table, done: Sequence[Result], data_dir: object) -> Named:
    assert table.picture is not None
    x, y = table.picture.x, table.picture.y
    for task in dict.fromkeys(r.row.task for r in done):
        those = [r for r in done if r.row.task == task]
        rows, columns = (sorted({r.row.at[c] for r in those}, key=float) for c in (y, x))
        accuracy, rate = ([[float("nan")] * len(columns) for _ in rows] for _ in range(2))
        for r in those:
            i, j = rows.index(r.row.at[y]), columns.index(r.row.at[x])
            accuracy[i][j] = r.ours["accuracy"].mean / 100
            rate[i][j] = r.ours["rate"].mean if "rate" in r.ours else float("nan")
        simulated = any(r.simulated for r in those)
        yield (
            f"-{task}",
            analysis.heat_map(
                rows,
                columns,
                accuracy,
                rate,
                names=(y, x),
                title=f"{_title(table)}, {task}",
                simulated=simulated,
            ),
        )


def _pareto(table: Table, done: Sequence[Result], data_dir: object) -> Named:
    for task in dict.fromkeys(r.row.task for r in done):
        points = {
            r.row.label: (list(r.ours["energy"].values), _values(r, "accuracy"))
            for r in done
            if r.row.task == task and "energy" in r.ours
        }
        simulated = any(r.simulated for r in done if r.row.task == task)
        if points:
            yield (
                f"-{task}",
                analysis.pareto(points, title=f"{_title(table)}, {task}", simulated=simulated),
            )


def _time_constants(table: Table, done: Sequence[Result], data_dir: object) -> Named:
    for r in done:
        _, task, seed, after = load_run(_first(r))
        torch.manual_seed(seed)  # as the run began
        before = task.build()
        drawn = analysis.time_constants(
            before,
            after,
            step_seconds=task.step_seconds,
            title=_title(table, r),
            simulated=r.simulated,
        )
        yield f"-{r.row.name}", drawn


def _streaming(table: Table, done: Sequence[Result], data_dir: str | Path | None) -> Named:
    for r in done:
        run, task, _, net = load_run(_first(r))
        if not isinstance(task.decode, PerStep):
            continue
        parts = task.load(data_dir)
        run.check_data(parts)
        batch = collate(parts.test[:1])
        with torch.no_grad():
            scores = task.decode.scores(net(batch.x, lengths=batch.lengths), batch.lengths).exp()[0]
        truth = task.decode.targets(batch.labels, batch.lengths, batch.x.shape[1])[0]
        yield (
            f"-{r.row.name}",
            analysis.streaming(
                batch.x[0],
                truth,
                scores,
                task.classes,
                step_seconds=task.step_seconds,
                title=f"{_title(table, r)}: {parts.test[0].name}",
                simulated=r.simulated,
            ),
        )


def _anytime(table: Table, done: Sequence[Result], data_dir: str | Path | None) -> Named:
    for task_name in dict.fromkeys(r.row.task for r in done):
        curves, those = dict[str, Any](), [r for r in done if r.row.task == task_name]
        for r in those:
            runs = [
                load_run(p) for p, s in zip(r.paths, r.states, strict=True) if s.kind == "finished"
            ]
            parts = runs[0][1].load(data_dir)
            each = []
            for run, task, _, net in runs:
                run.check_data(parts)
                batch = collate(list(parts.test))
                if batch.labels.dim() > 1:
                    break  # a label for every step: there is no decision to wait for
                with torch.no_grad():
                    pieces = zip(
                        torch.split(batch.x, 32), torch.split(batch.lengths, 32), strict=True
                    )
                    so_far = torch.cat(
                        [scores_so_far(task, net(x, lengths=n), n) for x, n in pieces]
                    )
                each.append(metrics.anytime_accuracy(so_far, batch.labels, batch.lengths).tolist())
            if each:
                curves[r.row.label] = each
        if curves:
            task = runs[0][1]
            yield (
                f"-{task_name}",
                analysis.anytime(
                    curves,
                    step_seconds=task.step_seconds,
                    chance=1 / len(task.classes),
                    title=_title(table),
                    simulated=any(r.simulated for r in those),
                ),
            )


def scores_so_far(task: Task, out: Output, lengths: Tensor) -> Tensor:
    """Return the scores of a task's decoder up to each step, (B, T, K)."""
    if isinstance(task.decode, PerStep):
        return task.decode.scores(out, lengths)
    x = out.potential if task.decode.read == "potential" else out.output
    valid = decode.valid_mask(x, lengths, task.decode.skip).unsqueeze(-1)
    if task.decode.pool == "last":
        return x
    if task.decode.pool == "max_over_time":
        return torch.where(valid, x, float("-inf")).cummax(1).values.nan_to_num(neginf=0.0)
    each = x.softmax(-1) if task.decode.pool == "softmax_sum" else x
    total = torch.where(valid, each, 0.0).cumsum(1)
    return total / valid.cumsum(1).clamp(min=1) if task.decode.pool == "mean" else total


def _first(r: Result) -> Path:
    return next(p for p, s in zip(r.paths, r.states, strict=True) if s.kind == "finished")


_DRAWN = {
    "bars": _bars,
    "grid": _grid,
    "pareto": _pareto,
    "time_constants": _time_constants,
    "streaming": _streaming,
    "anytime": _anytime,
}
