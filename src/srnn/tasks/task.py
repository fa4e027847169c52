"""What a task is: one frozen dataclass that says everything a run needs, each field overridable from the command line.

    data → encode → network (from start) → decode → loss → optimiser, schedule

Nested choices are small frozen dataclasses too, so that a resolved task is plain JSON and every setting has a type to be checked against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from srnn._check import ConfigError, DataError, check_range
from srnn.datasets import Sample
from srnn.encode.level_crossing import LevelCrossing, normalise
from srnn.networks import Stack, Start, Zeros
from srnn.tasks.objective import FiringRate, PerRecording, PerStep
from srnn.tasks.optimise import Optimiser, Schedule
from srnn.tasks.truncation import Truncation


@dataclass(frozen=True)
class Parts:
    """The three parts of a data set. note: what a reader of the result must know about how they were split."""

    train: Sequence[Sample]
    validation: Sequence[Sample]
    test: Sequence[Sample]
    note: str = ""


class Data(Protocol):
    """Where samples come from: a frozen dataclass of settings with `load`. simulated: no real signal in it."""

    @property
    def simulated(self) -> bool:
        """Whether the data is made by a generator."""
        ...

    def load(self, data_dir: str | Path | None) -> Parts:
        """Return the parts. Raises `DataError` when files are missing or damaged, saying what to do."""
        ...


class Network(Protocol):
    """A network: a frozen dataclass of sizes and constants with `build`."""

    def build(self) -> Stack:
        """Return a freshly initialised network (weights drawn from torch's global generator)."""
        ...


@dataclass(frozen=True)
class LevelCrossings:
    """Each channel z-scored over the sample (a window, for records that were cut), then encoded as crossings of ±threshold (`LevelCrossing`).

    published: the successive-difference form of Yin et al. 2020. Samples that are events already pass unchanged.
    """

    threshold: float = 0.3
    published: bool = False

    def __post_init__(self) -> None:
        """Refuse a threshold that cannot work."""
        check_range("encode.threshold", self.threshold, 0.0, open_low=True)

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample as events (T, 2C); the signal stays in meta["signal"] for figures."""
        if sample.events:
            return sample
        events = LevelCrossing(self.threshold, self.published)(normalise(sample.signal))
        return replace(sample, signal=events, events=True, meta={**sample.meta, "signal": sample.signal})


@dataclass(frozen=True)
class Published:
    """A published number and how it came about."""

    what: str
    value: float
    source: str
    protocol: str = ""


@dataclass(frozen=True)
class Task:
    """A row of the papers' tables.

    step_seconds: duration of one step. validation and test parts come from `data`. clip_norm: largest gradient norm, None = no clipping.
    truncation: truncated BPTT, None = the gradient of whole recordings. segment: steps of a segment of activation checkpointing, None = none.
    early_stop: stop after that many epochs without a better validation accuracy, None = never. checkpoint_seconds: also save within long epochs.
    refit: a final run with settings chosen before: train on the validation part too, keep the last epoch.
    """

    name: str
    summary: str
    classes: tuple[str, ...]
    step_seconds: float
    data: Data
    network: Network
    encode: LevelCrossings | None = None
    start: Start = Zeros()
    decode: PerStep | PerRecording = PerRecording()
    regulariser: FiringRate | None = None
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    clip_norm: float | None = 1.0
    truncation: Truncation | None = None
    segment: int | None = None
    batch: int = 64
    epochs: int = 100
    early_stop: int | None = None
    refit: bool = False
    checkpoint_seconds: float = 120.0
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        check_range("batch", self.batch, 1)
        check_range("epochs", self.epochs, 1)
        check_range("checkpoint_seconds", self.checkpoint_seconds, 0.0)
        if self.clip_norm is not None:
            check_range("clip_norm", self.clip_norm, 0.0, open_low=True)
        if self.early_stop is not None:
            check_range("early_stop", self.early_stop, 1)
        if isinstance(self.decode, PerStep):
            check_range("decode.unlabelled_as", self.decode.unlabelled_as or 0, 0, len(self.classes) - 1)
        if self.refit and (self.early_stop is not None or self.schedule.kind == "plateau"):
            what = "early_stop" if self.early_stop is not None else "schedule.kind=plateau"
            raise ConfigError(f"refit trains on the validation part, {what} watches it. Set one of them only.")
        if self.segment is not None:
            check_range("segment", self.segment, 1)
        if self.truncation is not None:
            self._check_truncation(self.truncation)

    def _check_truncation(self, truncation: Truncation) -> None:
        if truncation.chunk <= self.decode.skip:
            raise ConfigError(
                f"truncation.chunk is {truncation.chunk} with decode.skip={self.decode.skip}: nothing would count in the first chunk. "
                f"Set truncation.chunk to at least {self.decode.skip + 1}."
            )
        if truncation.carry_scores and isinstance(self.decode, PerStep):
            raise ConfigError(
                "truncation.carry_scores: with decode=PerStep every step is scored by itself, there is nothing to carry. Set it to false."
            )

    def load(self, data_dir: str | Path | None) -> Parts:
        """Return the encoded parts, labels checked against the classes. Raises `DataError`."""
        parts = self.data.load(data_dir)
        train, validation, test = ([self.encoded(s) for s in part] for part in (parts.train, parts.validation, parts.test))
        for name, samples in (("train", train), ("validation", validation), ("test", test)):
            if not samples:
                raise DataError(f"{self.name}: the {name} part is empty; expected at least one recording.")
            if not any(self.decode.counts(s) for s in samples):
                raise DataError(f"{self.name}: nothing in the {name} part counts: every step is unlabelled or left out by decode.skip.")
        if self.refit:
            seen = "The validation part was trained on: its accuracy says nothing, the last epoch is kept."
            return Parts([*train, *validation], validation, test, f"{parts.note} {seen}".strip())
        return Parts(train, validation, test, parts.note)

    def encoded(self, sample: Sample) -> Sample:
        """Return one sample as the network takes it."""
        label = torch.as_tensor(sample.label)
        if int(label.max()) >= len(self.classes):
            raise DataError(
                f"{sample.name}: label {int(label.max())} out of range; {self.name} has {len(self.classes)} classes "
                f"0 … {len(self.classes) - 1} ({', '.join(self.classes)}), and -1 for unlabelled."
            )
        return self.encode(sample) if self.encode is not None else sample


@dataclass(frozen=True)
class Batch:
    """Recordings padded to one length: x (B, T, C), labels (B,) or (B, T) with -1 = unlabelled or padded, lengths (B,)."""

    x: Tensor
    labels: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        return Batch(self.x.to(device), self.labels.to(device), self.lengths.to(device))


def collate(samples: Sequence[Sample], steps: int = 0) -> Batch:
    """Pad recordings with zeros (labels with -1) to the longest, or to `steps`, and stack them. Raises `DataError` when channels differ."""
    lengths = torch.tensor([len(s.signal) for s in samples])
    channels = {s.signal.shape[1] for s in samples}
    if len(channels) > 1:
        raise DataError(f"Recordings of {sorted(channels)} channels in one batch ({samples[0].name} …); expected the same number in all.")
    x = torch.zeros(len(samples), max(steps, int(lengths.max())), channels.pop())
    each_step = np.ndim(samples[0].label) == 1
    labels = torch.full(x.shape[:2] if each_step else x.shape[:1], -1)
    for k, sample in enumerate(samples):
        x[k, : lengths[k]] = torch.as_tensor(sample.signal)
        if each_step:
            labels[k, : lengths[k]] = torch.as_tensor(sample.label)
        else:
            labels[k] = int(sample.label)
    return Batch(x, labels, lengths)
