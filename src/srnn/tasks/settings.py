"""Override a task field by field from text (`network.hidden=[48]`), and describe it
as plain JSON.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

from srnn._check import LARGEST, ConfigError, suggest
from srnn.tasks.task import Task


def override(task: Task, settings: Iterable[str]) -> Task:
    """Return the task with `field=value` settings applied, each checked against its field's type.

    A dotted path reaches nested settings; a choice between dataclasses is made by class name
    (`start=UniformStart`), before its fields are set; None is written `null`. Raises `ConfigError`
    naming the field, what was given and what fits.
    """
    for setting in settings:
        path, sep, text = setting.partition("=")
        if not sep or not path:
            raise ConfigError(
                f"--set {setting!r}: expected field=value, for example epochs=30 "
                "or network.hidden=[48]."
            )
        task = _set(task, path.strip().split("."), text, path.strip())
    return task


def varied(task: Task, name: str) -> Task:
    """Return the task in its variant `name`. Raises `ConfigError` with the known ones."""
    known = {v.name: v for v in task.variants}
    if name not in known:
        raise ConfigError(f"{task.name} has no variant {name!r}.{suggest(name, known)}")
    return override(task, known[name].settings)


def not_comparable(task: Task) -> str | None:
    """Return why the numbers published for a task say nothing about this one, None where they do:
    its data, its parts or its convention are not those they were measured with.

    Another network, another training, or another validation part, changes what is measured, not
    what it is measured on.
    """
    if task.data.simulated:
        return "the data are simulated"
    if task.fold is not None:
        return "a fold of the training part is measured, not the test part"
    from srnn.tasks import load, names

    if task.name not in names():
        return "nobody has published a number for this task that we know of"
    usual = load(task.name)
    here, there = (
        {k: v for k, v in describe(t.data).items() if k not in _CARVED} for t in (task, usual)
    )
    if moved := differences(there, here, "data"):
        return f"the data or their parts are others ({'; '.join(moved)})"
    now, then = (
        (type(d).__name__, getattr(d, "unlabelled_as", None)) for d in (task.decode, usual.decode)
    )
    if now != then:
        return "another convention says what counts (decode)"
    return None


_CARVED = ("validation", "split_seed")
"""Settings of data that say how the validation part is cut from the training part."""


def _set(node: Any, keys: list[str], text: str, path: str) -> Any:
    known = [f.name for f in fields(node) if not (isinstance(node, Task) and f.name in Task.locked)]
    if keys[0] not in known:
        raise ConfigError(
            f"--set {path}: {type(node).__name__} has no setting "
            f"{keys[0]!r}.{suggest(keys[0], known)}"
        )
    value, hint = getattr(node, keys[0]), typing.get_type_hints(type(node))[keys[0]]
    if keys[1:]:
        if isinstance(value, dict):
            key = ".".join(keys[1:])
            # in front: it wins
            return replace(
                node,
                **{
                    keys[0]: {key: _parse(float, text, path)}
                    | {k: v for k, v in value.items() if k != key}
                },
            )
        if value is None and (known_types := value_types(hint)):
            first = "; or ".join(
                f"--set {path.removesuffix('.' + '.'.join(keys[1:]))}={c.__name__}"
                for c in known_types
            )
            raise ConfigError(f"--set {path}: {keys[0]} is null. Choose it first: {first}.")
        if not is_dataclass(value):
            raise ConfigError(
                f"--set {path}: {keys[0]} is {value!r}, which has no settings of its own."
            )
        new = _set(value, keys[1:], text, path)
    else:
        choices = {c.__name__: c for c in _choices(value, hint)}
        new = _choose(value, choices, hint, text, path) if choices else _parse(hint, text, path)
    return replace(node, **{keys[0]: new})


def value_types(hint: Any) -> list[type]:
    """Return the dataclasses a type hint admits."""
    members = (
        typing.get_args(hint)
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
        else (hint,)
    )
    return [m for m in members if isinstance(m, type) and is_dataclass(m)]


def _choices(value: Any, hint: Any) -> list[type]:
    """Return the dataclasses that may stand in a field: those its type admits, and that of its
    value (a task's own network or data).
    """
    own = type(value)
    return value_types(hint) + (
        [own] if is_dataclass(value) and own not in value_types(hint) else []
    )


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def _choose(value: Any, choices: dict[str, type], hint: Any, text: str, path: str) -> Any:
    if text in ("null", "None") and type(None) in typing.get_args(hint):
        return None
    # data=FOLDER for data.path=FOLDER
    if text not in choices and (short := getattr(value, "shorthand", None)):
        return replace(value, **{short: text})
    if text not in choices:
        raise ConfigError(
            f"--set {path}={text}: expected the name of a choice, then its "
            f"settings as {path}.<setting>=….{suggest(text, choices)}"
        )
    return choices[text]()


def _parse(hint: Any, text: str, path: str) -> Any:
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    try:
        value = parser.parse_args([f"--value={text}"]).value
    except (ArgumentError, TypeError, ValueError):
        raise ConfigError(
            f"--set {path}={text}: {text!r} is not of type {_type_name(hint)}."
        ) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"--set {path}={text}: expected a finite number.")
    for number in value if isinstance(value, tuple | list) else (value,):
        if isinstance(number, int) and abs(number) > LARGEST:
            raise ConfigError(f"--set {path}={text}: expected whole numbers of at most {LARGEST}.")
    return value


def describe(value: Any) -> Any:
    """Return a task (or any part of it) as plain JSON values; a dataclass becomes a dictionary with
    its class under "is".
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {"is": type(value).__name__} | {
            f.name: describe(getattr(value, f.name)) for f in fields(value)
        }
    if isinstance(value, dict):
        return {str(k): describe(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [describe(v) for v in value]
    return value


def listed(task: Any, path: str = "") -> list[tuple[str, str, str]]:
    """Return every setting as (path, value, type): what `--set path=value` takes, nested settings
    after the choice they belong to.
    """
    rows = []
    for f in fields(task):
        if isinstance(task, Task) and f.name in Task.locked:
            continue
        value, hint, here = (
            getattr(task, f.name),
            typing.get_type_hints(type(task))[f.name],
            f"{path}{f.name}",
        )
        choices = " | ".join(c.__name__ for c in _choices(value, hint)) or _type_name(hint)
        optional = " | null" if type(None) in typing.get_args(hint) and value_types(hint) else ""
        if is_dataclass(value) and not isinstance(value, type):
            rows += [(here, type(value).__name__, choices + optional), *listed(value, f"{here}.")]
        elif isinstance(value, dict):
            rows += [(f"{here}.{key}", str(v), "float") for key, v in value.items()]
        else:
            rows.append((here, _as_taken(value), choices + optional))
    return rows


def settings_to(task: Task, usual: Task) -> list[str] | None:
    """Return the settings that `override` makes `task` of `usual` with, as few as suffice; None
    where no settings do.
    """
    made, found, left = usual, list[str](), _moved(task, usual)
    while left:
        # some are refused before others are made: entries a layer before the number of layers
        for setting in left:
            try:
                made = override(made, [setting])
            except (ConfigError, TypeError):
                continue
            found.append(setting)
            left.remove(setting)
            break
        else:
            return None
    facts = {name: getattr(task, name) for name in Task.locked}  # classes that came from the data
    return found if replace(made, **facts) == task else None


def _moved(now: Any, usual: Any, path: str = "") -> list[str]:
    rows = []
    for f in fields(now):
        value, base, here = getattr(now, f.name), getattr(usual, f.name), f"{path}{f.name}"
        if value == base or (isinstance(now, Task) and f.name in Task.locked):
            continue
        if is_dataclass(value) and not isinstance(value, type):
            if type(base) is not type(value) or not _within_reach(value, base):
                rows.append(f"{here}={type(value).__name__}")
                base = type(value)()
            rows += _moved(value, base, f"{here}.")
        elif isinstance(value, dict):
            rows += [f"{here}.{key}={v}" for key, v in value.items() if base.get(key) != v]
        else:
            rows.append(f"{here}={_as_taken(value)}")
    return rows


def _within_reach(value: Any, base: Any) -> bool:
    """Whether no entry of a dictionary would have to go: settings add and change them only."""
    pairs = ((getattr(value, f.name), getattr(base, f.name)) for f in fields(value))
    return all(not isinstance(old, dict) or old.keys() <= new.keys() for new, old in pairs)


def _as_taken(value: Any) -> str:
    """Return a setting as `--set` takes it."""
    if isinstance(value, tuple):
        return "[" + ",".join(map(_as_taken, value)) + "]"
    return "null" if value is None else str(value)


def rebuild(template: Any, description: Any, hint: Any = None) -> Any:
    """Return what `describe` described, where this version can express it; what it cannot stays as
    in `template`.

    A dataclass is found by its name among the classes that the field's type admits and that of the
    template (data and networks are known by protocol only). Compare `describe` of the result with
    the description to see whether anything was left out.
    """
    if isinstance(description, dict) and "is" in description:
        choices = {c.__name__: c for c in _choices(template, hint)}
        if description["is"] not in choices:
            return template
        made = choices[description["is"]]
        same, hints = isinstance(template, made), typing.get_type_hints(made)
        given = {
            f.name: rebuild(
                getattr(template, f.name) if same else None, description[f.name], hints[f.name]
            )
            for f in fields(made)
            if f.name in description
        }
        for name, value in given.items():
            if not _fits(value, hints[name]):
                raise ConfigError(
                    f"{made.__name__}.{name} is {str(value)[:60]!r}, which is not of type "
                    f"{_type_name(hints[name])}"
                )
        return replace(template, **given) if same else made(**given)
    if isinstance(description, list):
        items = typing.get_args(hint)[0] if typing.get_args(hint) else None
        kept = list(template) if isinstance(template, tuple | list) else []
        return tuple(
            rebuild(kept[k] if k < len(kept) else None, value, items)
            for k, value in enumerate(description)
        )
    return description


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the type of a field, as far as the hint says it in plain types."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, types.UnionType) or origin is typing.Union:
        return any(_fits(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        each = inner[:1] * len(value) if inner[1:] == (...,) else inner
        return len(each) == len(value) and all(map(_fits, value, each))
    if origin is dict:
        return isinstance(value, dict) and all(_fits(v, inner[1]) for v in value.values())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (str, bool):
        return isinstance(value, hint)
    if hint in (None, type(None)):
        return value is None
    if isinstance(hint, type) and is_dataclass(hint):
        return isinstance(value, hint)
    # a protocol (a network, data), which no dictionary or list fulfils
    return not isinstance(value, dict | list | tuple | str | int | float) or hint is Any


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Return the paths at which two descriptions differ, with both values."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in sorted(a.keys() | b.keys()):
            found += differences(a.get(key), b.get(key), f"{path}.{key}" if path else key)
        return found
    return [] if a == b else [f"{path}: {a!r} → {b!r}"]


def completed(description: Any, now: Any) -> Any:
    """Return a description with the settings that it does not know yet, for they came later: those
    that are at the default of their class in `now`.
    """
    if is_dataclass(now) and isinstance(description, dict):
        if description.get("is") != type(now).__name__:
            return description
        added = {
            f.name: describe(f.default)
            for f in fields(now)
            if f.name not in description
            and f.default is not MISSING
            and getattr(now, f.name) == f.default
        }
        return added | {
            k: completed(v, getattr(now, k, None)) if k != "is" else v
            for k, v in description.items()
        }
    if isinstance(now, tuple) and isinstance(description, list) and len(now) == len(description):
        return [completed(*pair) for pair in zip(description, now, strict=True)]
    return description
