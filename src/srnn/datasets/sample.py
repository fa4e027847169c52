"""The typed sample every data set gives: one recording, its labels, its clock and whose it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srnn._check import DataError

UNLABELLED = -1
"""Label of a step (or recording) that nobody labelled."""


@dataclass(frozen=True)
class Sample:
    """One recording.

    signal: (T, C) array: samples in physical units, or events in {-1, 0, 1} when `events` is true.
    label:  a class index, or (T,) integers with one class a step; `UNLABELLED` = -1 where there is none.
    rate:   steps per second of `signal` (Hz).
    name:   unique within the data set; group: the record, subject or speaker it comes from ("" = not known).
    meta:   whatever else is known (sex, lead names, R-peak positions …); JSON-like values and arrays.
    """

    signal: NDArray[np.float32]
    label: int | NDArray[np.int64]
    rate: float
    name: str
    group: str = ""
    events: bool = False
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check shapes, finiteness and labels: raises `DataError` naming the sample."""
        if self.signal.ndim != 2 or 0 in self.signal.shape:
            raise DataError(f"{self.name}: signal has shape {self.signal.shape}; expected (T, C) with T, C ≥ 1.")
        if not np.isfinite(self.signal).all():
            t, c = np.argwhere(~np.isfinite(self.signal))[0]
            raise DataError(f"{self.name}: signal is {self.signal[t, c]} at step {t}, channel {c}; expected finite numbers.")
        label = np.asarray(self.label)
        if label.ndim and label.shape != self.signal.shape[:1]:
            raise DataError(f"{self.name}: {label.shape} labels for {self.signal.shape[0]} steps; expected one a step, or one for all.")
        if not np.issubdtype(label.dtype, np.integer) or int(label.min()) < UNLABELLED:
            got = f"dtype {label.dtype}, minimum {label.min()}"
            raise DataError(f"{self.name}: labels must be integers ≥ 0 (or {UNLABELLED} = unlabelled); got {got}.")
