"""What a task is: one frozen dataclass that says everything a run needs, each field overridable from the command line.

    data → encode → network (from start) → decode → loss → optimiser, schedule

Nested choices are small frozen dataclasses too, so that a resolved task is plain JSON and every setting has a type to be checked against.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from srnn import decode, metrics
from srnn._check import ConfigError, DataError, check_range, suggest
from srnn.datasets import Sample
from srnn.encode.level_crossing import LevelCrossing, normalise
from srnn.networks import Output, Stack, Start, Trace, Zeros

Scores = dict[str, Any]
"""Named results of an evaluation: numbers, or lists for confusion and recall."""


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
    """Each channel z-scored over the recording, then encoded as up and down crossings of ±threshold (`encode.LevelCrossing`).

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


# ── decoding and loss ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class PerStep:
    """A label for every step, read from the last layer's potential: log_softmax(u[t]), negative log-likelihood.

    skip: first steps that neither train nor count. The loss is the mean over recordings of the sum over steps (as published), unless
    mean_over_steps. unlabelled_as: the class that steps without a label are trained and scored as (the published ECG convention gives 0 = P);
    None: they are left out.
    """

    skip: int = 0
    unlabelled_as: int | None = None
    mean_over_steps: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot count."""
        check_range("decode.skip", self.skip, 0)
        check_range("decode.unlabelled_as", self.unlabelled_as or 0, 0)

    def counts(self, sample: Sample) -> bool:
        """Return whether any step of a recording trains and counts. Raises `ConfigError` where it has one label for all steps."""
        label = np.asarray(sample.label)
        if not label.ndim:
            raise ConfigError(f"{sample.name} has one label for all its steps; decode=PerStep needs one a step. Set decode=PerRecording.")
        return bool(len(label) > self.skip and (self.unlabelled_as is not None or (label[self.skip :] >= 0).any()))

    def scores(self, out: Output, lengths: Tensor | None) -> Tensor:
        """Return (B, T, K) log-probabilities."""
        return decode.per_step(out.potential, lengths)

    def targets(self, labels: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the labels (B, T) that train and count by this task's convention; -1 elsewhere."""
        if self.unlabelled_as is not None:
            labels = torch.where(labels < 0, self.unlabelled_as, labels)
        return torch.where(decode.valid_mask(labels.unsqueeze(-1), lengths, self.skip), labels, -1)

    def loss(self, scores: Tensor, labels: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the loss of a batch, a scalar."""
        targets = self.targets(labels, lengths)
        total = functional.nll_loss(scores.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum")
        return total / ((targets >= 0).sum().clamp(min=1) if self.mean_over_steps else len(labels))

    def results(self, scores: Sequence[Tensor], labels: Sequence[Tensor], lengths: Sequence[Tensor]) -> Scores:
        """Return accuracy (published convention: mean over recordings of the fraction of steps), accuracy_labelled (labelled steps only,
        all pooled), confusion and recall (labelled steps only; None for a class without any), and how many steps were counted.
        """
        published, correct, labelled, matrix = [], 0, 0, torch.zeros(0)
        for s, y, n in zip(scores, labels, lengths, strict=True):
            published.append(metrics.per_recording_accuracy(s, self.targets(y, n)))
            masked = replace(self, unlabelled_as=None).targets(y, n)
            c, t = metrics.hits(s, masked)
            correct, labelled = correct + c, labelled + t
            batch = metrics.confusion(s, masked)
            matrix = batch if matrix.numel() == 0 else matrix + batch
        each = torch.cat(published)
        return {
            "accuracy": float(each.nanmean()),
            "accuracy_labelled": correct / max(1, labelled),
            "recordings": len(each),
            "labelled_steps": labelled,
            "confusion": matrix.tolist(),
            "recall": _recall(matrix),
        }


@dataclass(frozen=True)
class PerRecording:
    """One label for each recording: a decoder pools the last layer over time, cross-entropy trains it.

    read: the last layer's "potential" or "output"; pool: how time is pooled (see `srnn.decode`); skip: first steps to leave out.
    """

    read: Literal["potential", "output"] = "potential"
    pool: Literal["softmax_sum", "mean", "last", "max_over_time", "spike_count"] = "softmax_sum"
    skip: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot count."""
        check_range("decode.skip", self.skip, 0)

    def counts(self, sample: Sample) -> bool:
        """Return whether a recording has a label. Raises `ConfigError` where it has one a step."""
        if np.ndim(sample.label):
            raise ConfigError(f"{sample.name} has a label for every step; decode=PerRecording needs one for all. Set decode=PerStep.")
        return bool(sample.label >= 0)

    def scores(self, out: Output, lengths: Tensor | None) -> Tensor:
        """Return (B, K) scores."""
        x = out.potential if self.read == "potential" else out.output
        pooled: Tensor = getattr(decode, self.pool)(x, lengths, **({} if self.pool == "last" else {"skip": self.skip}))
        return pooled

    def targets(self, labels: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the labels (B,) that train and count."""
        return labels

    def loss(self, scores: Tensor, labels: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the mean cross-entropy of a batch, a scalar."""
        return functional.cross_entropy(scores, labels, ignore_index=-1)

    def results(self, scores: Sequence[Tensor], labels: Sequence[Tensor], lengths: Sequence[Tensor]) -> Scores:
        """Return accuracy, confusion and recall (None for a class without any) over recordings."""
        s, y = torch.cat(list(scores)), torch.cat(list(labels))
        matrix = metrics.confusion(s, y)
        return {
            "accuracy": metrics.accuracy(s, y),
            "recordings": len(y),
            "confusion": matrix.tolist(),
            "recall": _recall(matrix),
        }


def _recall(matrix: Tensor) -> list[float | None]:
    return [None if math.isnan(r) else r for r in metrics.recall(matrix).tolist()]


@dataclass(frozen=True)
class FiringRate:
    """Firing-rate regulariser (Bittar & Garner 2022): factor · Σ_k [max(0, low - r_k) + max(0, r_k - high)].

    r_k is unit k's rate, spikes per step over the valid steps of the batch, before dropout; the sum runs over the units of all spiking layers.
    """

    factor: float = 0.5
    low: float = 0.01
    high: float = 0.5

    def loss(self, trace: Trace) -> Tensor:
        """Return the penalty of a recorded batch, a scalar."""
        total = trace.input.new_zeros(())
        for out, spiking in zip(trace.outputs, trace.spiking, strict=True):
            if spiking:
                rate = out.sum((0, 1)) / max(1, trace.steps)
                total = total + (self.low - rate).clamp(min=0).sum() + (rate - self.high).clamp(min=0).sum()
        return self.factor * total


# ── optimisation ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Optimiser:
    """Adam or Adamax. rates: parameter path pattern → factor on lr, first match wins (`"layers.0.constants.tau_*": 3.0`)."""

    kind: Literal["adam", "adamax"] = "adam"
    lr: float = 1e-2
    eps: float = 1e-8
    weight_decay: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse rates that cannot work."""
        check_range("optimiser.lr", self.lr, 0.0, 1e30, open_low=True)
        check_range("optimiser.eps", self.eps, 0.0)
        check_range("optimiser.weight_decay", self.weight_decay, 0.0)
        for pattern, factor in self.rates.items():
            check_range(f"optimiser.rates.{pattern}", factor, 0.0, 1e6)

    def build(self, net: Stack) -> torch.optim.Optimizer:
        """Return the optimiser over the parameters of `net`, one group for each factor. Raises `ConfigError` for a pattern that fits nothing."""
        groups: dict[float, list[torch.nn.Parameter]] = {}
        unused, paths = set(self.rates), [name for name, _ in net.named_parameters()]
        for name, parameter in net.named_parameters():
            pattern = next((p for p in self.rates if fnmatch.fnmatchcase(name, p)), None)
            unused -= {p for p in unused if fnmatch.fnmatchcase(name, p)}
            groups.setdefault(self.rates[pattern] if pattern else 1.0, []).append(parameter)
        if unused:
            pattern = min(unused)
            raise ConfigError(f"optimiser.rates: {pattern!r} fits no parameter.{suggest(pattern, paths)}")
        make = torch.optim.Adam if self.kind == "adam" else torch.optim.Adamax
        return make(
            [{"params": ps, "lr": self.lr * factor} for factor, ps in groups.items()], lr=self.lr, eps=self.eps, weight_decay=self.weight_decay
        )


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes, once an epoch.

    constant; step: × factor every `every` epochs; linear: to 0 at the last epoch; cosine: to 0 at the last epoch;
    plateau: × factor after more than `patience` epochs without a better validation accuracy, down to min_lr.
    """

    kind: Literal["constant", "step", "linear", "cosine", "plateau"] = "constant"
    every: int = 100
    factor: float = 0.5
    patience: int = 10
    min_lr: float = 1e-6

    def __post_init__(self) -> None:
        """Refuse steps that cannot work."""
        check_range("schedule.every", self.every, 1)
        check_range("schedule.factor", self.factor, 0.0, 1.0 if self.kind != "plateau" else 1 - 1e-9, open_low=True)
        check_range("schedule.patience", self.patience, 0)
        check_range("schedule.min_lr", self.min_lr, 0.0)

    def build(self, optimiser: torch.optim.Optimizer, epochs: int) -> torch.optim.lr_scheduler.LRScheduler:
        """Return torch's scheduler of that kind."""
        s = torch.optim.lr_scheduler
        if self.kind == "step":
            return s.StepLR(optimiser, self.every, self.factor)
        if self.kind == "linear":
            return s.LambdaLR(optimiser, lambda epoch: max(0.0, 1 - epoch / epochs))
        if self.kind == "cosine":
            return s.CosineAnnealingLR(optimiser, epochs)
        if self.kind == "plateau":
            return s.ReduceLROnPlateau(optimiser, "max", factor=self.factor, patience=self.patience, min_lr=self.min_lr)
        return s.LambdaLR(optimiser, lambda epoch: 1.0)


# ── the task ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


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
    early_stop: stop after that many epochs without a better validation accuracy, None = never. checkpoint_seconds: also save within long epochs.
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
    batch: int = 64
    epochs: int = 100
    early_stop: int | None = None
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

    def load(self, data_dir: str | Path | None) -> Parts:
        """Return the encoded parts, labels checked against the classes. Raises `DataError`."""
        parts = self.data.load(data_dir)
        train, validation, test = ([self.encoded(s) for s in part] for part in (parts.train, parts.validation, parts.test))
        for name, samples in (("train", train), ("validation", validation), ("test", test)):
            if not samples:
                raise DataError(f"{self.name}: the {name} part is empty; expected at least one recording.")
            if not any(self.decode.counts(s) for s in samples):
                raise DataError(f"{self.name}: nothing in the {name} part counts: every step is unlabelled or left out by decode.skip.")
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


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad recordings with zeros (labels with -1) to the longest and stack them. Raises `DataError` when channels differ."""
    lengths = torch.tensor([len(s.signal) for s in samples])
    channels = {s.signal.shape[1] for s in samples}
    if len(channels) > 1:
        raise DataError(f"Recordings of {sorted(channels)} channels in one batch ({samples[0].name} …); expected the same number in all.")
    x = torch.zeros(len(samples), int(lengths.max()), channels.pop())
    each_step = np.ndim(samples[0].label) == 1
    labels = torch.full(x.shape[:2] if each_step else x.shape[:1], -1)
    for k, sample in enumerate(samples):
        x[k, : lengths[k]] = torch.as_tensor(sample.signal)
        if each_step:
            labels[k, : lengths[k]] = torch.as_tensor(sample.label)
        else:
            labels[k] = int(sample.label)
    return Batch(x, labels, lengths)
