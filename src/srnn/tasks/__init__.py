"""Tasks: one module each, readable as a row of the papers' tables.

A task's name is its module's name.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from srnn._check import ConfigError, check_instance, suggest

if TYPE_CHECKING:
    from srnn.tasks.task import Task as Task

_HELPERS = {
    "task",
    "settings",
    "objective",
    "optimise",
    "truncation",
    "compression",
    "encoders",
    "nets",
    "baseline_nets",
}


def names() -> tuple[str, ...]:
    """Return the names of all tasks, sorted."""
    return tuple(
        sorted(
            m.name
            for m in pkgutil.iter_modules(__path__)
            if m.name not in _HELPERS and not m.name.startswith("_")
        )
    )


def load(name: str) -> Task:
    """Return the task called `name`. Raises `ConfigError` with the known names."""
    check_instance("tasks.load", "name", name, str, "the name of a task, such as 'ecg'")
    if name not in names():
        raise ConfigError(f"There is no task {name!r}.{suggest(name, names())}")
    task: Task = importlib.import_module(f"{__name__}.{name}").TASK
    return task


def __getattr__(name: str) -> Any:
    """Load `Task` when it is used: the names of the tasks cost no more than a look at a folder."""
    if name != "Task":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from srnn.tasks.task import Task

    return Task
