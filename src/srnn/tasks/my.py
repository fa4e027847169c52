"""Your own recordings: `srnn train my --set data=FOLDER_OR_FILE`.

A NumPy file (.npz), a folder of CSV or of sound files, or spikes in HDF5: the layouts are in
docs/own-data.md and `srnn.datasets.own`. Classes, channels and the length of a step come from the
data; so does how it is encoded, unless `encode` is set: signals are standardised with mean and sd
of the training part, sound becomes log-mel energies, spikes go into 10 ms bins. With one label a
recording the read-out is summed up over time, with one a step every step is scored.

→ 128 recurrent ALIF → 128 recurrent ALIF → leaky integrators, with layer norm: the running means of
batch norm need more updates than few recordings give, and neurons with a high threshold may never
begin to fire.

Parts: `data.test` and `data.validation` of the recordings, whole groups (speakers, subjects,
records) where they are given, so that the result is about groups never seen; otherwise the same
fraction of each class.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from srnn._check import ConfigError, check_range
from srnn.datasets import Recording, own
from srnn.datasets.sample import entries_of
from srnn.datasets.split import split_groups, split_stratified
from srnn.tasks.encoders import Direct, EventBins, LogMelFrames, Shape
from srnn.tasks.nets import AdaptiveNetwork
from srnn.tasks.objective import PerRecording, PerStep
from srnn.tasks.optimise import Optimiser, Schedule
from srnn.tasks.task import Parts, Task

_PLACEHOLDER = ("(from", "the data)")


@dataclass(frozen=True)
class MyData:
    """Recordings of your own. path: file or folder. rate: samples or steps a second, null = what
    the files say.

    channels: of spikes in HDF5, null = as many as occur. test, validation: about these fractions of
    the recordings; split_seed: which ones.
    seen: what was found there, filled in when the run begins: channels, steps a second, and whether
    they are spikes.
    """

    path: str = ""
    rate: float | None = None
    channels: int | None = None
    test: float = 0.2
    validation: float = 0.1
    split_seed: int = 0
    seen: tuple[int, float, bool] = (1, 1.0, False)

    simulated: ClassVar[bool] = False
    dataset: ClassVar[str] = ""
    shorthand: ClassVar[str] = "path"

    def __post_init__(self) -> None:
        """Refuse fractions that cannot work."""
        for name in ("validation", "test"):
            check_range(f"data.{name}", getattr(self, name), 0.0, 1.0, open_low=True)
        check_range("data.split_seed", self.split_seed, 0)

    @property
    def shape(self) -> Shape:
        """What was found."""
        return Shape(None, *self.seen)

    def _read(self, data_dir: str | Path | None) -> own.Own:
        if not self.path:
            raise ConfigError(
                "my: which data? Give a file or folder: --set data=PATH (see docs/own-data.md)."
            )
        path = Path(os.path.expanduser(self.path))
        if not path.exists() and data_dir is not None and (Path(data_dir) / path).exists():
            path = Path(data_dir) / path
        return own.read(path, rate=self.rate, channels=self.channels)

    def load(self, data_dir: str | Path | None) -> Parts[Recording]:
        """Return the parts."""
        return self._divide(self._read(data_dir))

    def _divide(self, found: own.Own) -> Parts[Recording]:
        groups = {e.group for e in entries_of(found.recordings)} - {""}
        # of few groups, one at least
        split, least = (split_groups, 1 / len(groups)) if groups else (split_stratified, 0.0)
        rest, test = split(found.recordings, max(self.test, least), self.split_seed)
        train, validation = split(rest, max(self.validation, least), self.split_seed)
        note = "Parts share no group."
        if not groups:
            note = (
                "No groups are known: recordings of one speaker, subject or device may be in "
                "all parts."
            )
        return Parts(train, validation, test, note)

    def resolve(self, task: Task, data_dir: str | Path | None) -> Task:
        """Return the task with classes, shape and encoding of the data; what was set stays."""
        if task.classes != _PLACEHOLDER:
            return task  # a run that goes on
        found = self._read(data_dir)
        data = replace(self, seen=(found.channels, found.rate, found.kind == "spikes"))
        changes: dict[str, Any] = {"classes": found.classes, "data": data}
        if task.encode == Direct():
            changes["encode"] = {
                "audio": LogMelFrames(),
                "spikes": EventBins(0.010, max(1, found.steps)),
            }.get(found.kind) or _standardised(data, found)
        if found.per_step and task.decode == PerRecording():
            changes["decode"] = PerStep()
        return replace(task, **changes)

    def made_up(self, root: Path) -> Self:
        """Write a small data set of signals; return what reads it."""
        own.made_up(root / "my.npz", "npz")
        return replace(self, path=str(root / "my.npz"))


def _standardised(data: MyData, found: own.Own) -> Direct:
    """Return the encoder with mean and sd of each channel over the training part."""
    count, total, squares = 0, np.zeros(found.channels), np.zeros(found.channels)
    for sample in data._divide(found).train:
        signal = sample.signal.astype(np.float64)  # type: ignore[union-attr]
        count, total, squares = (
            count + len(signal),
            total + signal.sum(0),
            squares + (signal**2).sum(0),
        )
    mean = total / count
    sd = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return Direct(
        tuple(mean.tolist()),
        tuple(np.where(sd > 1e-12 * np.maximum(1.0, np.abs(mean)), sd, 1.0).tolist()),
    )


TASK = Task(
    name="my",
    summary="your own recordings: --set data=FOLDER_OR_FILE",
    classes=_PLACEHOLDER,
    data=MyData(),
    network=AdaptiveNetwork((128, 128), norm="layer"),
    encode=Direct(),
    decode=PerRecording(),
    optimiser=Optimiser(lr=1e-2),
    schedule=Schedule("cosine"),
    batch=16,
    epochs=30,
)
