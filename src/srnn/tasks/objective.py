"""What a task wants of its network: how the last layer is read, the loss that trains it, and how it
is scored.

Scores and loss are of whole recordings, or of a chunk of them that begins at step `first`
(truncated BPTT, `srnn.training.chunks`); lengths and labels are always those of the whole
recordings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from srnn import decode, metrics, processes
from srnn._check import ConfigError, check_range
from srnn.datasets import Sample
from srnn.nn.networks import Output, Trace, piece_lengths
from srnn.stream import Decision

Scores = dict[str, Any]
"""Named results of an evaluation: numbers, or lists for confusion and recall."""


@dataclass(frozen=True)
class PerStep:
    """A label for every step, read from the last layer's potential: log_softmax(u[t]), negative
    log-likelihood.

    skip: first steps that neither train nor count. The loss is the mean over recordings of the sum
    over steps (as published), unless mean_over_steps. unlabelled_as: the class that steps without a
    label are trained and scored as (the published ECG convention gives 0 = P);
    None: they are left out. spread: recordings with one label have it at every step (a decision at
    any time, as in the published SoLi runs).
    """

    skip: int = 0
    unlabelled_as: int | None = None
    mean_over_steps: bool = False
    spread: bool = False

    adds_up: ClassVar[bool] = True
    """The losses of all chunks add up to that of the whole recordings."""

    def __post_init__(self) -> None:
        """Refuse what cannot count."""
        check_range("decode.skip", self.skip, 0)
        check_range("decode.unlabelled_as", self.unlabelled_as or 0, 0)

    def counts(self, sample: Sample) -> bool:
        """Return whether any step of a recording trains and counts.

        Raises `ConfigError` where it has one label for all steps.
        """
        label = np.asarray(sample.label)
        if not label.ndim and not self.spread:
            fix = "Set decode=PerRecording, or decode.spread=true to give every step that label"
            raise ConfigError(
                f"{sample.name} has one label for all its steps; decode=PerStep "
                f"needs one a step. {fix}."
            )
        label = np.broadcast_to(label, len(sample.signal))
        return bool(
            len(label) > self.skip
            and (self.unlabelled_as is not None or (label[self.skip :] >= 0).any())
        )

    def running(self) -> Decision:
        """Return how a stream decides as this does."""
        return Decision("per_step", skip=self.skip)

    def scores(self, out: Output, lengths: Tensor | None, first: int = 0) -> Tensor:
        """Return (B, T, K) log-probabilities."""
        return decode.per_step(out.potential, piece_lengths(lengths, first, out.potential))

    def carried(
        self, before: Tensor, own: Tensor, lengths: Tensor | None, first: int, steps: int
    ) -> Tensor:
        """Return the scores of a chunk: its own, for every step is scored by itself."""
        return own

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the scores of whole recordings from those of their chunks."""
        return torch.cat(list(parts), 1)

    def targets(self, labels: Tensor, lengths: Tensor | None, steps: int = 0) -> Tensor:
        """Return the labels (B, T) that train and count by this task's convention; -1 elsewhere.

        With `spread`, T is the longest recording's, or `steps` where a batch is padded further.
        """
        if labels.dim() == 1 and lengths is not None:
            labels = labels.unsqueeze(1).expand(-1, max(steps, int(lengths.max())))
        if self.unlabelled_as is not None:
            labels = torch.where(labels < 0, self.unlabelled_as, labels)
        return torch.where(decode.valid_mask(labels.unsqueeze(-1), lengths, self.skip), labels, -1)

    def weight(self, labels: Tensor, lengths: Tensor | None, steps: int = 0) -> Tensor:
        """Return how many the loss of a batch is a mean over: recordings, or steps that count."""
        return (
            (self.targets(labels, lengths, steps) >= 0).sum()
            if self.mean_over_steps
            else labels.new_full((), len(labels))
        )

    def loss(
        self, scores: Tensor, labels: Tensor, lengths: Tensor | None, first: int = 0
    ) -> Tensor:
        """Return the loss of a batch, a scalar; of a chunk: its part of that."""
        steps = first + scores.shape[1]
        chunk = self.targets(labels, lengths, steps)[:, first:steps]
        total = functional.nll_loss(
            scores.flatten(0, 1), chunk.flatten(), ignore_index=-1, reduction="sum"
        )
        return total / self.weight(labels, lengths, steps).clamp(min=1)

    def results(
        self, scores: Sequence[Tensor], labels: Sequence[Tensor], lengths: Sequence[Tensor]
    ) -> Scores:
        """Return accuracy (published convention: mean over recordings of the fraction of steps),
        accuracy_labelled (labelled steps only, all pooled), confusion and recall (labelled steps
        only; None for a class without any), and how many steps were counted. With `spread` also
        accuracy_last, of the last step of each recording, and accuracy_last_class_mean, the mean of
        that over classes.
        """
        published, correct, labelled, matrix = [], 0, 0, torch.zeros(0)
        for s, y, n in zip(scores, labels, lengths, strict=True):
            published.append(metrics.per_recording_accuracy(s, self.targets(y, n, s.shape[1])))
            masked = replace(self, unlabelled_as=None).targets(y, n, s.shape[1])
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
            **(_at_the_end(scores, labels, lengths) if self.spread else {}),
        }


@dataclass(frozen=True)
class PerRecording:
    """One label for each recording: a decoder pools the last layer over time, cross-entropy trains
    it.

    read: the last layer's "potential" or "output"; pool: how time is pooled (see `srnn.decode`);
    skip: first steps to leave out.
    scale: factor on the scores where they are the logits of the loss; spike counts of hundreds of
    steps leave a softmax no doubt.
    """

    read: Literal["potential", "output"] = "potential"
    pool: Literal["softmax_sum", "mean", "last", "max_over_time", "spike_count"] = "softmax_sum"
    skip: int = 0
    scale: float = 1.0

    adds_up: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse what cannot count."""
        check_range("decode.skip", self.skip, 0)
        check_range("decode.scale", self.scale, 0.0, open_low=True)

    def counts(self, sample: Sample) -> bool:
        """Return whether a recording has a label. Raises `ConfigError` where it has one a step."""
        if np.ndim(sample.label):
            raise ConfigError(
                f"{sample.name} has a label for every step; decode=PerRecording "
                "needs one for all. Set decode=PerStep."
            )
        return bool(sample.label >= 0)

    def running(self) -> Decision:
        """Return how a stream decides as this does, at any time."""
        return Decision(self.pool, self.read, 0 if self.pool == "last" else self.skip, self.scale)

    def scores(self, out: Output, lengths: Tensor | None, first: int = 0) -> Tensor:
        """Return (B, K) scores."""
        x = out.potential if self.read == "potential" else out.output
        skip = {} if self.pool == "last" else {"skip": max(0, self.skip - first)}
        pooled: Tensor = getattr(decode, self.pool)(x, piece_lengths(lengths, first, x), **skip)
        return pooled

    def carried(
        self, before: Tensor, own: Tensor, lengths: Tensor | None, first: int, steps: int
    ) -> Tensor:
        """Return the scores up to the end of a chunk of `steps` steps: earlier ones and its own."""
        if self.pool in ("softmax_sum", "spike_count"):
            return before + own
        ends = torch.full((len(own), 1), first + steps) if lengths is None else lengths.unsqueeze(1)
        ends, skip = ends.to(own.device), 0 if self.pool == "last" else self.skip
        # steps that count
        old, new = (
            (ends.clamp(max=first) - skip).clamp(min=0),
            (ends.clamp(max=first + steps) - max(first, skip)).clamp(min=0),
        )
        if self.pool == "last":
            scores = own
        elif self.pool == "mean":
            scores = (before * old + own * new) / (old + new).clamp(min=1)
        else:
            scores = torch.where(old > 0, torch.maximum(before, own), own)
        return torch.where(new > 0, scores, before)

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the scores of whole recordings from the running ones."""
        return parts[-1]

    def targets(self, labels: Tensor, lengths: Tensor | None, steps: int = 0) -> Tensor:
        """Return the labels (B,) that train and count."""
        return labels

    def weight(self, labels: Tensor, lengths: Tensor | None, steps: int = 0) -> Tensor:
        """Return how many the loss of a batch is a mean over: labelled recordings."""
        return (labels >= 0).sum()

    def loss(
        self, scores: Tensor, labels: Tensor, lengths: Tensor | None, first: int = 0
    ) -> Tensor:
        """Return the mean cross-entropy over the labelled recordings of a batch, a scalar; those
        that end before `first` add nothing.
        """
        here = labels if lengths is None or not first else torch.where(lengths > first, labels, -1)
        total = functional.cross_entropy(
            self.scale * scores, here, ignore_index=-1, reduction="sum"
        )
        return total / self.weight(labels, lengths).clamp(min=1)

    def results(
        self, scores: Sequence[Tensor], labels: Sequence[Tensor], lengths: Sequence[Tensor]
    ) -> Scores:
        """Return accuracy, confusion and recall (None for a class without any) over recordings."""
        s, y = torch.cat(list(scores)), torch.cat(list(labels))
        matrix = metrics.confusion(s, y)
        return {
            "accuracy": metrics.accuracy(s, y),
            "recordings": len(y),
            "confusion": matrix.tolist(),
            "recall": _recall(matrix),
        }


def _at_the_end(
    scores: Sequence[Tensor], labels: Sequence[Tensor], lengths: Sequence[Tensor]
) -> Scores:
    last = torch.cat([decode.last(s, n) for s, n in zip(scores, lengths, strict=True)])
    y = torch.cat(list(labels))
    return {
        "accuracy_last": metrics.accuracy(last, y),
        "accuracy_last_class_mean": float(metrics.recall(metrics.confusion(last, y)).nanmean()),
    }


def _recall(matrix: Tensor) -> list[float | None]:
    return [None if math.isnan(r) else r for r in metrics.recall(matrix).tolist()]


@dataclass(frozen=True)
class FiringRate:
    """Firing-rate regulariser (Bittar & Garner 2022): factor · Σ_k [max(0, low - r_k) + max(0, r_k
    - high)].

    r_k is unit k's rate, spikes per step over the valid steps of the batch, before dropout; the sum
    runs over the units of all spiking layers. Of a batch that several processes share, the rates
    are those of the whole.
    """

    factor: float = 0.5
    low: float = 0.01
    high: float = 0.5

    def loss(self, trace: Trace) -> Tensor:
        """Return the penalty of a recorded batch, a scalar."""
        total = trace.input.new_zeros(())
        steps = max(
            1.0,
            float(processes.summed(torch.tensor(float(trace.steps), device=trace.input.device))),
        )
        for out, spiking in zip(trace.outputs, trace.spiking, strict=True):
            if spiking:
                rate = processes.summed(out.sum((0, 1))) / steps
                total = (
                    total
                    + (self.low - rate).clamp(min=0).sum()
                    + (rate - self.high).clamp(min=0).sum()
                )
        return self.factor * total
