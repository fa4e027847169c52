"""Data sets: one file each.

Raw signals (or published events) out, as typed `Sample`s or `Spikes`. Those are loaded when they
are used: the list of the data sets needs no NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srnn.datasets.sample import UNLABELLED as UNLABELLED
    from srnn.datasets.sample import Entry as Entry
    from srnn.datasets.sample import Recording as Recording
    from srnn.datasets.sample import Recordings as Recordings
    from srnn.datasets.sample import Sample as Sample
    from srnn.datasets.sample import Spikes as Spikes
    from srnn.datasets.sample import joined as joined

_NAMES = ("UNLABELLED", "Entry", "Recording", "Recordings", "Sample", "Spikes", "joined")


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from srnn.datasets import sample

    return getattr(sample, name)
