"""What a person sees while a run goes on: a bar with rate and time left on a terminal, one line an
epoch in a pipe.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text

from srnn.training.loop import Progress


class Speed(ProgressColumn):
    """Batches a second."""

    def render(self, task: Task) -> Text:
        """Return the text; empty before there is a speed."""
        if not task.speed:
            return Text("")
        return Text(f"{task.speed:.1f}/s" if task.speed >= 1 else f"{1 / task.speed:.1f} s each")


def _line(row: dict[str, Any], mark: str = " ") -> str:
    rates = " ".join(f"{r:.3f}" for r in row["firing_rates"] if r is not None) or "none"
    return (
        f"epoch {row['epoch']:>3}  loss {row['loss']:8.2f}  train "
        f"{100 * row['train_accuracy']:5.2f} %  "
        f"valid {100 * row['validation_accuracy']:5.2f} %{mark} rates {rates}  "
        f"{row['seconds']:.1f} s"
    )


def lines(console: Console, title: str) -> Progress:
    """Return callbacks that show one of several runs that go on together: a line an epoch, its
    title in front.
    """
    return Progress(epoch=lambda row: console.print(f"{title:>8}  {_line(row)}"))


@contextmanager
def shown(console: Console, title: str) -> Iterator[Progress]:
    """Yield callbacks that show a run on `console`."""
    if not console.is_terminal:
        yield Progress(epoch=lambda row: console.print(_line(row)))
        return
    wide = console.width >= 100  # on a narrow terminal what can be done without goes first
    parts = (
        (TextColumn(title), BarColumn(20), MofNCompleteColumn(), Speed())
        if wide
        else (BarColumn(10), MofNCompleteColumn())
    )
    left = (TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[now]}"))
    with Bar(*parts, *((TimeElapsedColumn(),) if wide else ()), *left, console=console) as bar:
        task = bar.add_task("", total=None, now="", start=False)
        batches, best = 1, 0.0

        def start(epochs: int, per_epoch: int, done: int) -> None:
            nonlocal batches
            batches = per_epoch
            bar.update(task, total=epochs * per_epoch, completed=done * per_epoch)
            bar.start_task(task)

        def batch(epoch: int, number: int, loss: float) -> None:
            known = f"  best {100 * best:.1f} %" if best else ""
            bar.update(
                task,
                completed=epoch * batches + number,
                now=f"epoch {epoch + 1}  loss {loss:.3g}{known}",
            )

        def epoch(row: dict[str, Any]) -> None:
            nonlocal best
            better = row["validation_accuracy"] > best
            best = max(best, row["validation_accuracy"])
            bar.console.print(
                Text(_line(row, "*" if better else " "), style="bold" if better else "")
            )
            bar.update(task, now=f"epoch {row['epoch']}  best {100 * best:.1f} %  (*: best so far)")

        yield Progress(start, batch, epoch)
