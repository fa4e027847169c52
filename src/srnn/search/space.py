"""What a sweep searches: one field of a task's settings, its range or values, read from text and
checked against the field's type.

    optimiser.lr=1e-3:1e-1:log     a number between two, on a logarithmic scale
    batch=4:16                     whole numbers, for a field that holds such
    batch=4,8,16                   one of some values
    start=Zeros,UniformStart       one of some choices
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from srnn._check import ConfigError
from srnn.tasks.settings import override
from srnn.tasks.task import Task

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Dimension:
    """One searched field: between `low` and `high`, or one of `values` (as `--set` takes them).
    text: as it was given.
    """

    path: str
    text: str
    low: int | float = 0
    high: int | float = 0
    log: bool = False
    values: tuple[str, ...] = ()

    def suggest(self, trial: optuna.Trial) -> str:
        """Let Optuna choose; return the value as `--set` takes it, with all its digits."""
        if self.values:
            return str(trial.suggest_categorical(self.path, self.values))
        if isinstance(self.low, int) and isinstance(self.high, int):
            return str(trial.suggest_int(self.path, self.low, self.high, log=self.log))
        return repr(trial.suggest_float(self.path, self.low, self.high, log=self.log))

    def shown(self, value: Any) -> str:
        """Return a value of this field as `--set` takes it."""
        return value if isinstance(value, str) else repr(value)


def parse(task: Task, texts: Iterable[str]) -> tuple[Dimension, ...]:
    """Read --search options.

    Raises `ConfigError` naming the field, what was given and what fits.
    """
    found: list[Dimension] = []
    for text in texts:
        path, sep, given = (part.strip() for part in text.partition("="))
        if not (sep and path and given):
            raise ConfigError(
                f"--search {text!r}: expected field=low:high, field=low:high:log or field=a,b,c."
            )
        if any(d.path == path for d in found):
            raise ConfigError(f"--search {path} is given twice.")
        values = _split(given)
        found.append(_values(task, path, values) if len(values) > 1 else _range(task, path, given))
    return tuple(found)


def check_honest(task: Task) -> None:
    """Raise `ConfigError` where the validation accuracy would say nothing about new data."""
    if task.refit:
        raise ConfigError(
            "refit trains on the validation part, so that its accuracy cannot "
            "choose settings. Search without it, refit afterwards."
        )
    if task.published_protocol and task.published_selection != "validation":
        raise ConfigError(
            f"published_protocol selects on the {task.published_selection} part; a "
            "sweep looks at the validation part only."
        )


def _split(given: str) -> list[str]:
    """Split at commas outside brackets."""
    parts, depth = [""], 0
    for character in given:
        depth += (character in "[({") - (character in "])}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _value(task: Task, path: str, text: str) -> Any:
    """Return what a field holds after `--set path=text`.

    Raises `ConfigError` when it cannot be set so.
    """
    try:
        changed: Any = override(task, [f"{path}={text}"])
        check_honest(changed)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--set ", "--search ", 1)) from None
    keys = path.split(".")
    while keys:
        if isinstance(changed, dict):
            return changed[".".join(keys)]
        changed = getattr(changed, keys.pop(0))
    return changed


def _values(task: Task, path: str, values: list[str]) -> Dimension:
    if "" in values:
        raise ConfigError(f"--search {path}={','.join(values)}: one of the values is empty.")
    made = [_value(task, path, v) for v in values]
    for k, value in enumerate(made):
        if value in made[:k]:
            raise ConfigError(f"--search {path}={','.join(values)}: {values[k]} is given twice.")
    return Dimension(path, f"{path}={','.join(values)}", values=tuple(values))


def _range(task: Task, path: str, given: str) -> Dimension:
    ends = [part.strip() for part in given.split(":")]
    if len(ends) not in (2, 3) or "" in ends:
        _value(task, path, given)  # what is wrong with the field comes first
        raise ConfigError(
            f"--search {path}={given}: that is one value. Expected low:high, "
            "low:high:log or at least two values a,b."
        )
    if len(ends) == 3 and ends[2] != "log":
        raise ConfigError(
            f"--search {path}={given}: expected nothing or 'log' after low:high, not {ends[2]!r}."
        )
    low, high = (_value(task, path, end) for end in ends[:2])
    for end, value in zip(ends, (low, high), strict=False):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(
                f"--search {path}={given}: {end!r} gives {path} no number; give "
                f"the values: {path}=a,b,c."
            )
    if isinstance(low, float) or isinstance(high, float):
        low, high = float(low), float(high)
    if not low < high or math.isinf(high - low):
        raise ConfigError(f"--search {path}={given}: expected low < high, got {low} and {high}.")
    if len(ends) == 3 and low <= 0:
        raise ConfigError(
            f"--search {path}={given}: a logarithmic range starts above 0, not at {low}."
        )
    return Dimension(
        path, f"{path}={low!r}:{high!r}{':log' * (len(ends) == 3)}", low, high, len(ends) == 3
    )
