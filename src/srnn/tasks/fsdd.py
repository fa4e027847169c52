"""Free Spoken Digit Dataset: ten digits, from log-mel energies. Ours, not a row of a paper: real
speech, small enough to train in minutes.

40 log-mel bands at 8 kHz → 128 RadLIF → 128 RadLIF → 10 leaky integrators (Bittar & Garner's
network), a softmax of the read-out summed over time.

Two questions can be asked. Known speakers (the default): the official test part is recordings 0 to
4 of each digit and speaker; the checkpoint is selected on a stratified tenth of the rest, which has
the same speakers, as the test part has. A speaker never heard: `--set data.test_speaker=jackson`
tests on all recordings of that one, and validates on another whole speaker; for a final result over
all of them, settings chosen before, `--set refit=true` trains on that one too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from srnn._check import check_range
from srnn.datasets import Recording, fsdd
from srnn.datasets._fetch import data_root
from srnn.datasets.sample import R, entries_of, pick
from srnn.datasets.split import leave_out, split_stratified
from srnn.tasks.encoders import LogMelFrames, Shape
from srnn.tasks.nets import CurrentNetwork
from srnn.tasks.objective import PerRecording
from srnn.tasks.optimise import Optimiser, Schedule
from srnn.tasks.task import Parts, Task


@dataclass(frozen=True)
class FsddData:
    """FSDD. test_speaker: test on this one alone, null = on the official recordings of all.

    validation: fraction of the rest, where speakers are known; split_seed: which recordings, or
    which other speaker.
    """

    test_speaker: str | None = None
    validation: float = 0.1
    split_seed: int = 0

    simulated: ClassVar[bool] = False
    dataset: ClassVar[str] = "fsdd"

    def __post_init__(self) -> None:
        """Refuse a fraction that cannot work."""
        check_range("data.validation", self.validation, 0.0, 1.0, open_low=True)

    @property
    def shape(self) -> Shape:
        """Sound."""
        return Shape(None, 1, float(fsdd.RATE))

    def load(self, data_dir: str | Path | None) -> Parts[Recording]:
        """Return the parts."""
        return divided(
            fsdd.read_all(data_root(data_dir)), self.test_speaker, self.validation, self.split_seed
        )

    def made_up(self, root: Path) -> Self:
        """Write a small data set in the true format; return what reads it."""
        fsdd.made_up(root)
        return self


def divided(
    spoken: Sequence[R], test_speaker: str | None, validation: float, seed: int
) -> Parts[R]:
    """Return the parts of all recordings: the official ones of known speakers, or `test_speaker`
    for testing and another one for validation.
    """
    if test_speaker is None:
        official = [fsdd.is_test(e.name) for e in entries_of(spoken)]
        rest, test = (
            pick(spoken, [i for i, yes in enumerate(official) if yes == wanted])
            for wanted in (False, True)
        )
        train, watched = split_stratified(rest, validation, seed)
        return Parts(train, watched, test, "All parts have the same speakers.")
    rest, test = leave_out(spoken, {test_speaker})
    others = sorted({e.group for e in entries_of(rest)})
    watching = others[seed % len(others)]
    train, watched = leave_out(rest, {watching})
    return Parts(train, watched, test, f"Tested on {test_speaker}, validated on {watching}.")


TASK = Task(
    name="fsdd",
    summary="spoken digits, sound (Free Spoken Digit Dataset)",
    classes=fsdd.CLASSES,
    data=FsddData(),
    network=CurrentNetwork("RadLIF", 128, stable=True),
    encode=LogMelFrames(window=0.025, deltas=0),
    decode=PerRecording(),
    optimiser=Optimiser(lr=1e-2),
    schedule=Schedule("cosine"),
    batch=32,
    epochs=30,
)
