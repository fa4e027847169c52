"""What a task is: one frozen dataclass that says everything a run needs, each field overridable
from the command line.

    data → encode → network (from start) → decode → loss → optimiser, schedule

Nested choices are small frozen dataclasses too, so that a resolved task is plain JSON and every
setting has a type to be checked against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Generic, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from srnn._check import ConfigError, DataError, check_range
from srnn.datasets import Recording, Recordings, Sample, Spikes, joined
from srnn.datasets.sample import R
from srnn.datasets.split import split_fold
from srnn.encode import Augment
from srnn.nn.networks import Stack, Start, Zeros
from srnn.tasks.baseline_nets import Networks
from srnn.tasks.compression import Compression
from srnn.tasks.encoders import Encoders, Shape
from srnn.tasks.objective import FiringRate, PerRecording, PerStep, Scores
from srnn.tasks.optimise import Optimiser, Schedule
from srnn.tasks.truncation import Truncation


@dataclass(frozen=True)
class Parts(Generic[R]):
    """The three parts of a data set. note: what a reader of the result must know about how they
    were split.
    """

    train: Sequence[R]
    validation: Sequence[R]
    test: Sequence[R]
    note: str = ""


class Data(Protocol):
    """Where recordings come from: a frozen dataclass of settings with `load`. simulated: no real
    signal in it.

    A data set with files also has `dataset`, the name it is fetched by, and `made_up(root)`, which
    writes a small one in the true format and returns the settings that read it.
    """

    @property
    def simulated(self) -> bool:
        """Whether the data is made by a generator."""
        ...

    @property
    def shape(self) -> Shape:
        """What a recording looks like before it is encoded."""
        ...

    def load(self, data_dir: str | Path | None) -> Parts[Recording]:
        """Return the parts.

        Raises `DataError` when files are missing or damaged, saying what to do.
        """
        ...


class Network(Protocol):
    """A network: a frozen dataclass of sizes and constants with `build`."""

    def build(self, inputs: int, classes: int) -> Stack:
        """Return a freshly initialised network (weights drawn from torch's global generator)."""
        ...


class Also(Protocol):
    """Further results of a task: a frozen dataclass, called with scores and labels as
    `decode.results` and the names of the recordings.
    """

    def __call__(
        self,
        scores: Sequence[Tensor],
        labels: Sequence[Tensor],
        lengths: Sequence[Tensor],
        names: Sequence[str],
    ) -> Scores:
        """Return named numbers."""
        ...


@dataclass(frozen=True)
class Published:
    """A published number and how it came about. unused: how many of published parameters nothing
    reads, named in `protocol`; we do not have them.
    """

    what: str
    value: float
    source: str
    protocol: str = ""
    unused: int = 0


@dataclass(frozen=True)
class Variant:
    """Other settings a paper or its code has: a name, what it is, and what it overrides, as `--set`
    takes it.
    """

    name: str
    what: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """A row of the papers' tables.

    Validation and test parts come from `data`. published_selection: what the published number was
    selected on; published_protocol: select on that too, and say so. balanced: draw recordings with
    a weight of 1 / size of their class, with replacement. augment: of the training part only.
    also: further results. variants: other published settings.
    clip_norm: largest gradient norm, None = no clipping.
    truncation: truncated BPTT, None = the gradient of whole recordings. segment: steps of a segment
    of activation checkpointing, None = none.
    fold: (k, n) for cross-validation: train on the other n - 1 of n parts of training and
    validation part together, validate on part k (0 … n - 1).
    early_stop: stop after that many epochs without a better validation accuracy, None = never.
    checkpoint_seconds: also save within long epochs.
    refit: a final run with settings chosen before: train on the validation part too, keep the last
    epoch.
    compression: fewer bits, connections and neurons than `network` says, None = as it is. With it,
    `epochs` may be 0: what `srnn compress` makes of another run, without training.
    cache_mb: encoded recordings that are kept in memory, where they do not lie there anyway; the
    others are read and encoded whenever needed.
    """

    name: str
    summary: str
    classes: tuple[str, ...]
    data: Data
    network: Network | Networks
    encode: Encoders | None = None
    augment: Augment | None = None
    start: Start = Zeros()
    decode: PerStep | PerRecording = PerRecording()
    also: Also | None = None
    regulariser: FiringRate | None = None
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    clip_norm: float | None = 1.0
    truncation: Truncation | None = None
    segment: int | None = None
    batch: int = 64
    epochs: int = 100
    balanced: bool = False
    fold: tuple[int, int] | None = None
    early_stop: int | None = None
    refit: bool = False
    compression: Compression | None = None
    published_protocol: bool = False
    cache_mb: float = 1024.0
    checkpoint_seconds: float = 120.0
    published: tuple[Published, ...] = ()
    published_selection: Literal["validation", "test", "train"] = "test"
    variants: tuple[Variant, ...] = ()

    locked: ClassVar[frozenset[str]] = frozenset(
        {"name", "summary", "classes", "also", "published", "published_selection", "variants"}
    )
    """Fields that are facts, not settings."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        check_range("batch", self.batch, 1)
        check_range("epochs", self.epochs, 1 if self.compression is None else 0)
        check_range("checkpoint_seconds", self.checkpoint_seconds, 0.0)
        check_range("cache_mb", self.cache_mb, 0.0)
        if self.clip_norm is not None:
            check_range("clip_norm", self.clip_norm, 0.0, open_low=True)
        if self.early_stop is not None:
            check_range("early_stop", self.early_stop, 1)
        if self.fold is not None:
            check_range("fold: n", self.fold[1], 2)
            check_range("fold: k", self.fold[0], 0, self.fold[1] - 1)
            if self.refit or self.published_protocol:
                raise ConfigError(
                    "fold carves a validation part; refit and published_protocol "
                    "do without one. Set one of them only."
                )
        if isinstance(self.decode, PerStep):
            check_range(
                "decode.unlabelled_as", self.decode.unlabelled_as or 0, 0, len(self.classes) - 1
            )
        if self.refit and (self.early_stop is not None or self.schedule.kind == "plateau"):
            what = "early_stop" if self.early_stop is not None else "schedule.kind=plateau"
            raise ConfigError(
                f"refit trains on the validation part, {what} watches it. Set one of them only."
            )
        if self.refit and self.published_protocol:
            raise ConfigError(
                "refit keeps the last epoch, published_protocol selects one as the "
                "paper did. Set one of them only."
            )
        if self.segment is not None:
            check_range("segment", self.segment, 1)
        if self.compression is not None and self.compression.steps > max(1, self.epochs):
            raise ConfigError(
                f"compression.steps is {self.compression.steps}, with "
                f"{self.epochs} epochs; expected no more steps than epochs."
            )
        if self.truncation is not None:
            self._check_truncation(self.truncation)

    def _check_truncation(self, truncation: Truncation) -> None:
        if truncation.chunk <= self.decode.skip:
            raise ConfigError(
                f"truncation.chunk is {truncation.chunk} with "
                f"decode.skip={self.decode.skip}: nothing would count in the first chunk. "
                f"Set truncation.chunk to at least {self.decode.skip + 1}."
            )
        if truncation.carry_scores and isinstance(self.decode, PerStep):
            raise ConfigError(
                "truncation.carry_scores: with decode=PerStep every step is scored by "
                "itself, there is nothing to carry. Set it to false."
            )

    @property
    def shape(self) -> Shape:
        """What the network sees of a recording."""
        return self.encode.shape(self.data.shape) if self.encode is not None else self.data.shape

    @property
    def step_seconds(self) -> float:
        """Duration of one step."""
        return 1 / self.shape.rate

    @property
    def selected_by(self) -> str:
        """What the checkpoint that is evaluated is selected by, in words."""
        if self.refit:
            return "nothing: the last epoch, trained on the validation part too"
        return (
            f"{self.published_selection} accuracy, as published"
            if self.published_protocol
            else "validation accuracy"
        )

    def build(self) -> Stack:
        """Return a freshly initialised network for the data as encoded."""
        net = self.network.build(self.shape.channels, len(self.classes))
        return net if self.compression is None else self.compression.prepared(net)

    def resolved(self, data_dir: str | Path | None) -> Task:
        """Return the task with what it takes from the data filled in (the classes and channels of a
        user's own recordings); mostly itself.
        """
        fill = getattr(self.data, "resolve", None)
        task: Task = fill(self, data_dir) if fill is not None else self
        return task

    def on_made_up(self, root: Path) -> Task:
        """Write a small made-up data set in the true format into root; return the task on it."""
        write = getattr(self.data, "made_up", None)
        return replace(self, data=write(root)) if write is not None else self

    def load(self, data_dir: str | Path | None) -> Parts[Sample]:
        """Return the encoded parts, labels checked against the classes. Raises `DataError`."""
        raw = self.data.load(data_dir)
        if self.published_protocol:
            raw = self._as_published(raw)
        if self.fold is not None:
            k, n = self.fold
            note = f"Fold {k + 1} of {n} of training and validation part together validates."
            raw = Parts(
                *split_fold(joined(raw.train, raw.validation), k, n),
                raw.test,
                f"{raw.note} {note}".strip(),
            )
        parts = {
            "train": self._encoded(raw.train),
            "validation": self._encoded(raw.validation),
            "test": self._encoded(raw.test),
        }
        for name, samples in parts.items():
            if not len(samples):
                raise DataError(
                    f"{self.name}: the {name} part is empty; expected at least one recording."
                )
            if not any(self.decode.counts(s) for s in samples):
                raise DataError(
                    f"{self.name}: nothing in the {name} part counts: every step is "
                    "unlabelled or left out by decode.skip."
                )
        if self.refit:
            seen = (
                "The validation part was trained on: its accuracy says nothing, the last "
                "epoch is kept."
            )
            parts["train"] = joined(parts["train"], parts["validation"])
            return Parts(**parts, note=f"{raw.note} {seen}".strip())
        return Parts(**parts, note=raw.note)

    def _as_published(self, raw: Parts[Recording]) -> Parts[Recording]:
        """Return the parts as the published number was selected on them."""
        if self.published_selection == "validation":
            return raw
        train = joined(raw.train, raw.validation)
        watched = raw.test if self.published_selection == "test" else train
        note = (
            f"As published, the checkpoint was selected on the {self.published_selection} "
            "part: its accuracy is no estimate for new data."
        )
        return Parts(train, watched, raw.test, f"{raw.note} {note}".strip())

    def _encoded(self, part: Sequence[Recording]) -> Sequence[Sample]:
        if isinstance(part, Recordings):
            return part.map(self.encoded).kept(int(self.cache_mb * 2**20))
        return [self.encoded(s) for s in part]

    def encoded(self, recording: Recording) -> Sample:
        """Return one recording as the network takes it."""
        highest = int(np.max(recording.label))
        if highest >= len(self.classes):
            raise DataError(
                f"{recording.name}: label {highest} out of range; {self.name} has "
                f"{len(self.classes)} classes "
                f"0 … {len(self.classes) - 1} ({', '.join(self.classes)}), and -1 for unlabelled."
            )
        if self.encode is not None:
            return self.encode(recording)
        if isinstance(recording, Spikes):
            raise ConfigError(
                f"{recording.name} is a list of spikes, and {self.name} has no "
                "encode to put them into steps. Set encode=EventBins."
            )
        return recording

    def augmented(self, sample: Sample, seed: int, epoch: int, index: int) -> Sample:
        """Return a training sample as an epoch sees it: the same for the same three numbers."""
        if self.augment is None:
            return sample
        return replace(
            sample, signal=self.augment(sample.signal, np.random.default_rng((seed, epoch, index)))
        )


@dataclass(frozen=True)
class Batch:
    """Recordings padded to one length: x (B, T, C), labels (B,) or (B, T) with -1 = unlabelled or
    padded, lengths (B,).
    """

    x: Tensor
    labels: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        return Batch(self.x.to(device), self.labels.to(device), self.lengths.to(device))

    def emptied(self) -> Batch:
        """Return the batch without a valid step or a label: it takes part in nothing."""
        return Batch(
            torch.zeros_like(self.x),
            torch.full_like(self.labels, -1),
            torch.zeros_like(self.lengths),
        )


def collate(samples: Sequence[Sample], steps: int = 0) -> Batch:
    """Pad recordings with zeros (labels with -1) to the longest, or to `steps`, and stack them.

    Raises `DataError` when channels differ.
    """
    samples = list(samples)  # each is read once
    lengths = torch.tensor([len(s.signal) for s in samples])
    channels = {s.signal.shape[1] for s in samples}
    if len(channels) > 1:
        raise DataError(
            f"Recordings of {sorted(channels)} channels in one batch "
            f"({samples[0].name} …); expected the same number in all."
        )
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
