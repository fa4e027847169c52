"""What a person sees while a run goes on: a bar with rate and time left on a terminal, one line an epoch in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from srnn.train import Progress


@contextmanager
def shown(console: Console, title: str) -> Iterator[Progress]:
    """Yield callbacks that show a run on `console`."""

    def line(row: dict[str, Any]) -> str:
        rates = " ".join(f"{r:.3f}" for r in row["firing_rates"])
        return (
            f"epoch {row['epoch']:>3}  loss {row['loss']:8.2f}  train {100 * row['train_accuracy']:5.2f} %  "
            f"valid {100 * row['validation_accuracy']:5.2f} %  rates {rates}  {row['seconds']:.1f} s"
        )

    if not console.is_terminal:
        yield Progress(epoch=lambda row: console.print(line(row)))
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[now]}"))
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("", total=None, now="", start=False)
        batches = 1

        def start(epochs: int, per_epoch: int, done: int) -> None:
            nonlocal batches
            batches = per_epoch
            bar.update(task, total=epochs * per_epoch, completed=done * per_epoch)
            bar.start_task(task)

        def batch(epoch: int, number: int, loss: float) -> None:
            bar.update(task, completed=epoch * batches + number, now=f"epoch {epoch + 1}  loss {loss:.3f}")

        yield Progress(start, batch, lambda row: bar.console.print(line(row)))
