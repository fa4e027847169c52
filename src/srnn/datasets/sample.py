"""What every data set gives: typed recordings, and sequences of them that are read only when asked
for.

A data set that fits into memory may give a plain list of `Sample`s. One that does not gives
`Recordings`: what is known of every recording (`Entry`: name, label, speaker), and a reader that is
called for one recording at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from srnn._check import DataError

UNLABELLED = -1
"""Label of a step (or recording) that nobody labelled."""


@dataclass(frozen=True)
class Sample:
    """One recording.

    signal: (T, C) array: samples in physical units (float32), or events in {-1, 0, 1} or counts
            when `events` is true (float32 or small integers).
    label:  a class index, or (T,) integers with one class a step; `UNLABELLED` = -1 where there is
            none.
    rate:   steps per second of `signal` (Hz).
    name:   unique within the data set; group: the record, subject or speaker it comes from ("" =
            not known).
    meta:   whatever else is known (sex, lead names, R-peak positions …); JSON-like values and
            arrays. meta["audio"]: the signal is sound.
    """

    signal: NDArray[Any]
    label: int | NDArray[np.int64]
    rate: float
    name: str
    group: str = ""
    events: bool = False
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check shapes, finiteness and labels: raises `DataError` naming the sample."""
        if self.signal.ndim != 2 or 0 in self.signal.shape:
            raise DataError(
                f"{self.name}: signal has shape {self.signal.shape}; expected (T, C) with T, C ≥ 1."
            )
        if self.signal.dtype.kind not in "iub" and not np.isfinite(self.signal).all():
            t, c = np.argwhere(~np.isfinite(self.signal))[0]
            raise DataError(
                f"{self.name}: signal is {self.signal[t, c]} at step {t}, channel "
                f"{c}; expected finite numbers."
            )
        label = np.asarray(self.label)
        if label.ndim and label.shape != self.signal.shape[:1]:
            raise DataError(
                f"{self.name}: {label.shape} labels for {self.signal.shape[0]} "
                "steps; expected one a step, or one for all."
            )
        _check_label(self.name, label)

    @property
    def nbytes(self) -> int:
        """Bytes of memory the arrays take."""
        return self.signal.nbytes + np.asarray(self.label).nbytes


@dataclass(frozen=True)
class Spikes:
    """One recording as a list of spikes (Spiking Heidelberg Digits and its kin).

    times: (M,) seconds, float64, ascending, ≥ 0. units: (M,) integers, 0 ≤ unit < channels; which
    unit spiked at that time. M may be 0.
    label, name, group, meta: as in `Sample`, one label for the recording.
    """

    times: NDArray[np.float64]
    units: NDArray[Any]
    channels: int
    label: int
    name: str
    group: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check shapes, order and ranges: raises `DataError` naming the recording."""
        if self.times.ndim != 1 or self.units.shape != self.times.shape:
            raise DataError(
                f"{self.name}: times {self.times.shape} and units "
                f"{self.units.shape}; expected one unit for each of (M,) times."
            )
        if self.units.dtype.kind not in "iu":
            raise DataError(
                f"{self.name}: units have dtype {self.units.dtype}; expected "
                f"integers, 0 … {self.channels - 1}."
            )
        if len(self.times):
            if (
                not np.isfinite(self.times).all()
                or self.times[0] < 0
                or (np.diff(self.times) < 0).any()
            ):
                bad = int(
                    np.argmax(
                        ~np.isfinite(self.times)
                        | (self.times < 0)
                        | (np.diff(self.times, prepend=self.times[:1]) < 0)
                    )
                )
                raise DataError(
                    f"{self.name}: spike {bad} is at {self.times[bad]} s; expected "
                    "finite times ≥ 0 in ascending order."
                )
            low, high = int(self.units.min()), int(self.units.max())
            if low < 0 or high >= self.channels:
                bad = low if low < 0 else high
                raise DataError(
                    f"{self.name}: a spike of unit {bad}; expected units 0 … {self.channels - 1}."
                )
        _check_label(self.name, np.asarray(self.label))

    @property
    def nbytes(self) -> int:
        """Bytes of memory the arrays take."""
        return self.times.nbytes + self.units.nbytes


def _check_label(name: str, label: NDArray[Any]) -> None:
    if not np.issubdtype(label.dtype, np.integer) or int(label.min()) < UNLABELLED:
        got = f"dtype {label.dtype}, minimum {label.min()}"
        raise DataError(
            f"{name}: labels must be integers ≥ 0 (or {UNLABELLED} = unlabelled); got {got}."
        )


Recording = Sample | Spikes
"""What a data set may give, before it is encoded."""

R = TypeVar("R", bound=Recording)
S = TypeVar("S", bound=Recording)


@dataclass(frozen=True)
class Entry:
    """What is known of a recording before it is read.

    name, group: as in `Sample`. label: its class; None where it has one a step. at: what its reader
    needs to find it (a path, an index).
    size: of what is stored (bytes, samples or events), which tells two versions of a data set
    apart.
    """

    name: str
    label: int | None
    group: str = ""
    at: Any = None
    size: int = 0


class Recordings(Sequence[R], Generic[R]):
    """A sequence of recordings, each read when it is asked for and not kept (but see `kept`).

    entries: what is known without reading; read: returns the recording of an entry, raising
    `DataError` where its file is damaged.
    source: a checksum of what cannot be seen in the entries (the SHA-256 of an HDF5 file, say);
    part of the fingerprint of a run.
    """

    def __init__(
        self, entries: Sequence[Entry], read: Callable[[Entry], R], source: str = ""
    ) -> None:
        self.entries, self.read, self.source = tuple(entries), read, source

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> R: ...

    @overload
    def __getitem__(self, index: slice) -> Recordings[R]: ...

    def __getitem__(self, index: int | slice) -> R | Recordings[R]:
        if isinstance(index, slice):
            return Recordings(self.entries[index], self.read, self.source)
        return self.read(self.entries[index])

    def pick(self, indices: Sequence[int]) -> Recordings[R]:
        """Return the recordings at these positions."""
        return Recordings([self.entries[i] for i in indices], self.read, self.source)

    def map(self, change: Callable[[R], S]) -> Recordings[S]:
        """Return the same recordings, each changed by `change` whenever it is read."""
        read = self.read
        return Recordings(self.entries, lambda entry: change(read(entry)), self.source)

    def kept(self, budget: int) -> Recordings[R]:
        """Return the same recordings, of which those read first stay in memory, up to `budget`
        bytes in all; names must be unique.
        """
        memory: dict[str, R] = {}
        left, read = budget, self.read

        def remembered(entry: Entry) -> R:
            nonlocal left
            if entry.name in memory:
                return memory[entry.name]
            made = read(entry)
            if made.nbytes <= left:
                left -= made.nbytes
                memory[entry.name] = made
            return made

        return Recordings(self.entries, remembered, self.source)


def joined(first: Sequence[R], second: Sequence[R]) -> Sequence[R]:
    """Return the recordings of both, the first ones first."""
    if not isinstance(first, Recordings) or not isinstance(second, Recordings):
        return [*first, *second]
    own = [(part, entry) for part in (first, second) for entry in part.entries]
    return Recordings(
        [replace(e, at=(part, e)) for part, e in own],
        lambda e: e.at[0].read(e.at[1]),
        "".join((first.source, second.source)),
    )


def entries_of(samples: Sequence[Recording]) -> Sequence[Entry]:
    """Return what is known of recordings without reading those that are not in memory."""
    if isinstance(samples, Recordings):
        return samples.entries
    return [
        Entry(s.name, None if np.ndim(s.label) else int(s.label), s.group, size=s.nbytes)
        for s in samples
    ]


def pick(samples: Sequence[R], indices: Sequence[int]) -> Sequence[R]:
    """Return the recordings at these positions, of a list as a list."""
    return (
        samples.pick(indices) if isinstance(samples, Recordings) else [samples[i] for i in indices]
    )
