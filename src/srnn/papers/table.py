"""What a published table or figure is here: rows of (task, settings, published numbers)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal

from srnn._check import ConfigError
from srnn.nn.networks import Stack
from srnn.tasks import load as load_task
from srnn.tasks.settings import override
from srnn.tasks.task import Task

Numbers = Mapping[str, str]
"""Metric → number as printed: "85.9", "13,804", "1.9k".

Accuracies are in %, costs are per step, energies in pJ.
"""

_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6}
LITERATURE = "literature: another paper's network"


def value(printed: str) -> float:
    """Return a printed number: "1.9k" is 1900."""
    return float(printed.rstrip("kKM").replace(",", "")) * _SCALES.get(printed[-1], 1.0)


def unit(printed: str) -> float:
    """Return what one more in the last printed digit is worth: 100 for "1.9k"."""
    return float(
        10.0 ** -len(printed.rstrip("kKM").partition(".")[2]) * _SCALES.get(printed[-1], 1.0)
    )


def agrees(printed: str, computed: float) -> bool:
    """Return whether a number, rounded, is printed so."""
    return abs(value(printed) - computed) <= unit(printed) / 2 * (1 + 1e-9) + 1e-9 * abs(computed)


@dataclass(frozen=True)
class Row:
    """A row of a table, or a point of a figure.

    name: a slug, unique in its table. label: as the paper calls it. sees: what the network sees of
    a recording. task, settings: what is trained, as `srnn train TASK --set …`. cannot: why the row
    is only printed; one without a task says so. published: numbers as printed; published_sees: what
    the published network saw, where that differs. rate: the published or implied firing rate that a
    count without training assumes. against: the row whose energy and error the ratios are relative
    to. explained: metric → why the computed number is not the published one; note: anything else.
    stands_for: the row of another data set that a row of ours stands in for; such a row has no
    published number.
    at: coordinates in a figure. Of the published count: analog_macs: it charges the analog input as
    MACs; builds: the network, where no setting of the task makes it; every: parts evaluated once in
    so many steps.
    """

    name: str
    label: str
    task: str | None = None
    settings: tuple[str, ...] = ()
    sees: str = ""
    published: Numbers = field(default_factory=dict)
    published_sees: str = ""
    rate: float | None = None
    against: str | None = None
    explained: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    cannot: str = ""
    stands_for: str = ""
    at: Mapping[str, float | str] = field(default_factory=dict)
    analog_macs: bool = False
    builds: Callable[[], Stack] | None = None
    every: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse rows that could mislead."""
        if self.stands_for and self.published:
            raise ConfigError(
                f"row {self.name}: it stands in for {self.stands_for!r} on other "
                "data, so that it has no published number."
            )
        if self.task is None and not self.cannot:
            raise ConfigError(
                f"row {self.name}: it has neither a task nor a reason why it cannot be run."
            )
        for printed in self.published.values():
            value(printed)

    def resolved(self, more: Iterable[str] = ()) -> Task:
        """Return the task with the settings of the row, then `more`. Raises `ConfigError`."""
        assert self.task is not None
        return override(load_task(self.task), (*self.settings, *more))


@dataclass(frozen=True)
class Picture:
    """How the numbers of a table are drawn.

    bars: rows side by side, by their coordinates "series" (else the task) and "category" (else the
    label); grid: over the coordinates y and x of the rows; pareto: accuracy over energy. Of the
    first run of each row: time_constants, before and after training; streaming, a recording as it
    is decoded; of all runs: anytime, accuracy if the decision were taken at each step. shows: the
    metric.
    """

    kind: Literal["bars", "grid", "pareto", "time_constants", "streaming", "anytime"]
    shows: str = "accuracy"
    x: str = ""
    y: str = ""


@dataclass(frozen=True)
class Table:
    """A published table or figure.

    name: as `srnn reproduce` takes it. costs: the metrics that are counted without training, by the
    rule set `rules`. metric: what "ours" is: of a grid the validation accuracy, over `folds` parts
    of the training data, the test part left alone. protocol: how the published numbers came about.
    assigned: the reference keeps no text or number of this panel; what it compares is our reading.
    """

    name: str
    title: str
    source: str
    rows: tuple[Row, ...]
    costs: tuple[str, ...] = ()
    rules: str = "yin2021"
    metric: Literal["test_accuracy", "validation_accuracy"] = "test_accuracy"
    folds: int | None = None
    picture: Picture | None = None
    protocol: str = ""
    assigned: bool = False

    def __post_init__(self) -> None:
        """Refuse rows of one name, and ratios to rows that are not there."""
        names = [row.name for row in self.rows]
        if twice := {n for n in names if names.count(n) > 1}:
            raise ConfigError(f"{self.name}: two rows are called {sorted(twice)[0]!r}.")
        for row in self.rows:
            if row.against is not None and row.against not in names:
                raise ConfigError(
                    f"{self.name}: {row.name} is compared with {row.against!r}, "
                    "which is no row of it."
                )

    def row(self, name: str) -> Row:
        """Return the row called `name`."""
        return next(row for row in self.rows if row.name == name)

    def only(self, rows: Iterable[str] = (), tasks: Iterable[str] = ()) -> Table:
        """Return the table with the rows that fit a pattern of `rows` and are of one of `tasks`;
        all where these are empty.

        A ratio to a row that is left out is left out too. Raises `ConfigError` where no row is
        left.
        """
        patterns, wanted = tuple(rows), tuple(tasks)
        known = ", ".join(row.name for row in self.rows)
        for pattern in patterns:
            if not any(fnmatchcase(row.name, pattern) for row in self.rows):
                raise ConfigError(f"{self.name} has no row {pattern!r}. Rows: {known}.")
        kept = [
            row
            for row in self.rows
            if (not patterns or any(fnmatchcase(row.name, p) for p in patterns))
            and (not wanted or row.task in wanted)
        ]
        if not kept:
            raise ConfigError(
                f"{self.name} has no such row on {', '.join(wanted)}. Tasks: "
                f"{', '.join(sorted({r.task for r in self.rows if r.task}))}."
            )
        names = {row.name for row in kept}
        return replace(
            self, rows=tuple(r if r.against in names else replace(r, against=None) for r in kept)
        )
