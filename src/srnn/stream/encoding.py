"""How live samples become steps of the network, and where one recording ends and the
next begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from srnn._check import SrnnError
from srnn.encode.streaming import Streaming

Array = NDArray[Any]

LONGEST = 1000
"""Recordings without a spike that may follow each other."""


class Steps(NamedTuple):
    """Steps (T, C) of the recording that runs, which with them has come to its end or not."""

    steps: Array
    end: bool


class Encoding(Protocol):
    """Samples (n, C) in, steps out.

    failed: recordings that could not be encoded. late: samples that came too late for theirs.
    malformed: samples that cannot be.
    """

    failed: int
    malformed: int

    @property
    def late(self) -> int: ...

    def push(self, samples: Array) -> list[Steps]: ...

    def flush(self) -> list[Steps]: ...

    def begin(self) -> None:
        """Forget everything: a new recording begins."""
        ...


class Endless:
    """One recording without an end."""

    failed = late = malformed = 0

    def __init__(self, encoder: Streaming) -> None:
        self._encoder = encoder

    def push(self, samples: Array) -> list[Steps]:
        return [Steps(self._encoder.push(samples), end=False)]

    def flush(self) -> list[Steps]:
        return [Steps(self._encoder.flush(), end=False)]

    def begin(self) -> None:
        self._encoder.flush()


class Windows:
    """Recordings of `samples` samples, one after the other, each encoded as a whole by `encode`.
    The last one may be shorter.

    A window that cannot be encoded (silence, where a scale is wanted; less than one frame) is
    counted in `failed` and left out.
    """

    late = malformed = 0

    def __init__(self, encode: Callable[[Array], Array], samples: int) -> None:
        self._encode, self._samples, self.failed = encode, samples, 0
        self._waiting: list[Array] = []

    def push(self, samples: Array) -> list[Steps]:
        x = np.concatenate([*self._waiting, samples])
        whole = len(x) // self._samples * self._samples
        self._waiting = [x[whole:]]
        return [
            made
            for k in range(0, whole, self._samples)
            for made in self._window(x[k : k + self._samples])
        ]

    def _window(self, x: Array) -> list[Steps]:
        try:
            return [Steps(self._encode(x), end=True)]
        except SrnnError:
            self.failed += 1
            return []

    def flush(self) -> list[Steps]:
        waiting = np.concatenate(self._waiting) if self._waiting else np.empty((0, 0))
        self.begin()
        return self._window(waiting) if len(waiting) else []

    def begin(self) -> None:
        self._waiting = []


class Spikes(Protocol):
    """A streaming encoder of spikes, (n, 2) rows of seconds and unit, for recordings of one length.
    state["late"]: spikes that came too late.
    """

    state: dict[str, Any]

    def push(self, samples: Array) -> Array: ...

    def flush(self) -> Array: ...


class SpikeTrains:
    """Spikes whose times go on, cut into recordings of `seconds`: the steps of one are those of its
    spikes by their time in it.

    A spike before time 0, further ahead than `LONGEST` recordings, or of no unit 0 … channels - 1
    is malformed, and left out.
    """

    failed = 0

    def __init__(self, encoder: Spikes, seconds: float, channels: int) -> None:
        self._encoder, self._seconds, self._channels = encoder, seconds, channels
        self._number = self._late = self.malformed = 0

    @property
    def late(self) -> int:
        return self._late + int(self._encoder.state["late"])

    def push(self, samples: Array) -> list[Steps]:
        made: list[Steps] = []
        time, unit = samples[:, 0], samples[:, 1]
        ahead = (self._number + LONGEST) * self._seconds
        good = (
            (time >= 0)
            & (time < ahead)
            & (unit >= 0)
            & (unit < self._channels)
            & (unit == np.floor(unit))
        )
        self.malformed += int((~good).sum())
        samples = samples[good]
        number = np.floor(samples[:, 0] / self._seconds).astype(np.int64)
        for k in np.unique(number):
            while self._number < k:
                made += self.flush()
            rows = samples[number == k]
            if k < self._number:
                self._late += len(rows)
            else:
                made.append(
                    Steps(
                        self._encoder.push(
                            np.column_stack([rows[:, 0] - k * self._seconds, rows[:, 1]])
                        ),
                        end=False,
                    )
                )
        return made

    def flush(self) -> list[Steps]:
        self._number += 1
        return [Steps(self._encoder.flush(), end=True)]

    def begin(self) -> None:
        self._encoder.flush()
