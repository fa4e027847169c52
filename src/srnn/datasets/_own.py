"""What the readers of a user's own recordings share: the result, and how names become classes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srnn._check import ConfigError, DataError
from srnn.datasets.sample import Recordings


@dataclass(frozen=True)
class Own:
    """A user's own recordings, and what is known of them all.

    classes: the names of the labels 0 … K-1. channels: C. rate: steps (or samples) per second; 1.0
    when unknown, and for spikes, whose times are in seconds. kind: "signal", "audio" or "spikes".
    per_step: a label for every step, not one for each recording.
    steps: T of the longest recording; of spikes, which have none before they are binned, steps of
    10 ms up to the last spike.
    """

    recordings: Recordings[Any]
    classes: tuple[str, ...]
    channels: int
    rate: float
    kind: Literal["signal", "audio", "spikes"]
    per_step: bool
    steps: int


def class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the different names, sorted as numbers where all are whole numbers, else as text."""
    found = set(names)
    try:
        return tuple(sorted(found, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(found))


def check_classes(path: Path, names: Collection[str]) -> None:
    """Raise `DataError` where the recordings are of fewer than two classes."""
    if len(names) < 2:
        only = f"one class only, {next(iter(names))!r}" if names else "no label at all"
        raise DataError(
            f"{path} has {only}; a classifier needs recordings of at least two classes."
        )


def check_channels(path: Path, found: int, channels: int | None) -> None:
    """Raise `ConfigError` where another number of channels was asked for than is there."""
    if channels is not None and channels != found:
        raise ConfigError(
            f"{path} has {found} channels; {channels} were asked for. Leave the "
            "number out: only lists of spikes need it."
        )
