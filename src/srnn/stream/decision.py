"""From what the last layer does to scores, a class and a confidence at every step: the decoders of
`srnn.decode` in their running form.

All sums are kept in float64, one step after the other, so that they do not depend on how a stream
is cut into chunks.

    per_step        log_softmax(u[t])                 confidence softmax(u[t])
    softmax_sum     Σ softmax(u)                      its share: Σ softmax(u) / number of steps
    mean            Σ u / number of steps             softmax(scale · scores)
    last            u[t]                              softmax(scale · scores)
    max_over_time   max u                             softmax(scale · scores)
    spike_count     Σ s                               softmax(scale · scores)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srnn._check import check_choice, check_range

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

POOLS = ("per_step", "softmax_sum", "mean", "last", "max_over_time", "spike_count")


@dataclass(frozen=True)
class Decision:
    """How a stream decides. read: the last layer's "potential" or "output"; pool: see the module's
    text; skip: first steps that do not count.

    scale: factor on scores that are the logits of a softmax, as the loss has it. A task's
    `decode.running()` is the one it was trained with.
    """

    pool: Literal["per_step", "softmax_sum", "mean", "last", "max_over_time", "spike_count"] = (
        "per_step"
    )
    read: Literal["potential", "output"] = "potential"
    skip: int = 0
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot decide."""
        check_choice("Decision(pool)", self.pool, POOLS)
        check_choice("Decision(read)", self.read, ("potential", "output"))
        check_range("Decision(skip)", self.skip, 0)
        check_range("Decision(scale)", self.scale, 0.0, open_low=True)

    def shares(self, scores: Floats) -> Floats:
        """Return the probabilities (…, K) of scores that count, whose greatest is the
        confidence.
        """
        if self.pool == "per_step":
            return np.exp(scores)
        if self.pool == "softmax_sum":
            return np.asarray(scores / np.maximum(scores.sum(-1, keepdims=True), 1e-300))
        return _softmax(self.scale * scores)


class Event(NamedTuple):
    """Something that happened on a stream.

    kind: "class", the leading class is another one (or the first); "confident", its confidence
    reached the threshold; "unsure", it fell below it again; "decided", it held for `hold` steps:
    the any-time decision, once until the stream is reset.
    stream: which one of the batch. step: steps since its last reset. label: the class; confidence:
    of it, at that step. since: the first step of what is told (for "decided" the step at which the
    confidence came).
    """

    kind: str
    stream: int
    step: int
    label: int
    confidence: float
    since: int


class Pool:
    """The running scores of `batch` streams of `classes` classes. total: sums, means or maxima so
    far; count: steps that count; seen: all steps.
    """

    def __init__(self, decision: Decision, batch: int, classes: int) -> None:
        self.decision = decision
        self._start = -np.inf if decision.pool == "max_over_time" else 0.0
        self.total: Floats = np.full((batch, classes), self._start)
        self.count, self.seen = np.zeros(batch, np.int64), np.zeros(batch, np.int64)

    def reset(self, rows: Any) -> None:
        """Begin anew."""
        self.total[rows], self.count[rows], self.seen[rows] = self._start, 0, 0

    def add(
        self, u: Floats, lengths: Whole | None
    ) -> tuple[Floats, Floats, NDArray[np.bool_] | None]:
        """Take in u (B, T, K), of each stream its first `lengths` steps; return scores and
        probabilities (B, T, K), and which steps count.

        The last is (B, T), or None for all. Where a step does not count, both are 0.
        """
        d, steps = self.decision, u.shape[1]
        counts = None
        if lengths is not None or (d.skip and int(self.seen.min()) < d.skip):
            t = np.arange(steps)
            counts = self.seen[:, None] + t >= d.skip
            if lengths is not None:
                counts &= t < lengths[:, None]
        scores, shares = self._pooled(u, counts)
        if counts is None:
            self.count += steps
        else:
            scores, shares = (
                np.where(counts[..., None], scores, 0.0),
                np.where(counts[..., None], shares, 0.0),
            )
            self.count += counts.sum(1)
        self.seen += steps if lengths is None else lengths
        return scores, shares, counts

    def _pooled(self, u: Floats, counts: NDArray[np.bool_] | None) -> tuple[Floats, Floats]:
        d = self.decision
        if d.pool == "per_step":
            top = u - np.maximum.reduce(u, -1, keepdims=True)
            e = np.exp(top)
            total = np.add.reduce(e, -1, keepdims=True)
            return top - np.log(total), e / total
        if d.pool == "last":
            return u, _softmax(d.scale * u)
        if d.pool == "max_over_time":
            run = np.maximum.accumulate(
                np.concatenate(
                    [
                        self.total[:, None],
                        u if counts is None else np.where(counts[..., None], u, -np.inf),
                    ],
                    1,
                ),
                1,
            )
            self.total = run[:, -1].copy()
            scores = np.where(np.isfinite(run[:, 1:]), run[:, 1:], 0.0)
            return scores, _softmax(d.scale * scores)
        v = _softmax(u) if d.pool == "softmax_sum" else u
        if counts is not None:
            v = np.where(counts[..., None], v, 0.0)
        sums = np.add.accumulate(np.concatenate([self.total[:, None], v], 1), 1)[:, 1:]
        self.total = sums[:, -1].copy()
        if d.pool == "spike_count":
            return sums, _softmax(d.scale * sums)
        n = self.count[:, None] + (
            np.arange(1, u.shape[1] + 1) if counts is None else np.cumsum(counts, 1)
        )
        means = sums / np.maximum(n, 1)[..., None]
        return (sums, means) if d.pool == "softmax_sum" else (means, _softmax(d.scale * means))


def _softmax(x: Floats) -> Floats:
    e = np.exp(x - np.maximum.reduce(x, -1, keepdims=True))
    made: Floats = e / np.add.reduce(e, -1, keepdims=True)
    return made


class Watch:
    """Finds events in the classes and confidences of `batch` streams.

    label: the leading class, -1 before the first. sure: that class while its confidence is at or
    above the threshold, else -1. since: the step at which `sure` became what it is. decided: the
    any-time decision, -1 before it, and decided_at its step.
    """

    names = ("label", "sure", "since", "decided", "decided_at")

    def __init__(self, batch: int, threshold: float | None, hold: int) -> None:
        self.threshold, self.hold = threshold, hold
        self.label, self.sure, self.since, self.decided, self.decided_at = (
            np.full(batch, -1, np.int64) for _ in self.names
        )

    def reset(self, rows: Any) -> None:
        """Begin anew."""
        for name in self.names:
            getattr(self, name)[rows] = -1

    def find(
        self, seen: Whole, labels: Whole, confidence: Floats, counts: NDArray[np.bool_] | None
    ) -> list[Event]:
        """Return the events of a chunk. seen: (B,) steps before it. labels, confidence (B, T);
        counts: which steps count, (B, T), None = all.
        """
        if labels.shape == (1, 1):
            return (
                self._one(int(seen[0]), int(labels[0, 0]), float(confidence[0, 0]))
                if counts is None or counts[0, 0]
                else []
            )
        events: list[Event] = []
        for b in range(len(labels)):
            row, c = labels[b], confidence[b]
            at = None if counts is None else np.flatnonzero(counts[b])
            if at is not None:
                row, c = row[at], c[at]
            if len(row):
                events += self._chunk(b, int(seen[b]), row, c, at)
        return events

    def _one(self, step: int, label: int, confidence: float) -> list[Event]:
        """Do what `_chunk` does, for one step of the only stream."""
        events = []
        if label != self.label[0]:
            self.label[0] = label
            events.append(Event("class", 0, step, label, confidence, step))
        if self.threshold is None:
            return events
        sure, before = (label if confidence >= self.threshold else -1), int(self.sure[0])
        if sure != before:
            if sure >= 0:
                events.append(Event("confident", 0, step, label, confidence, step))
            else:
                events.append(Event("unsure", 0, step, label, confidence, step))
            self.sure[0], self.since[0] = sure, step
        if sure >= 0 and self.decided[0] < 0 and step - self.since[0] + 1 >= self.hold:
            self.decided[0], self.decided_at[0] = label, step
            events.append(Event("decided", 0, step, label, confidence, int(self.since[0])))
        return events

    def _chunk(
        self, b: int, first: int, labels: Whole, confidence: Floats, at: Whole | None
    ) -> list[Event]:
        """Events of stream b over steps first + at (None = 0, 1, …)."""

        def step(k: int) -> int:
            return first + (k if at is None else int(at[k]))

        def event(kind: str, k: int, since: int) -> Event:
            return Event(kind, b, step(k), int(labels[k]), float(confidence[k]), since)

        found = [(k, 0, event("class", k, step(k))) for k in _changes(labels, self.label[b])]
        self.label[b] = labels[-1]
        if self.threshold is not None:
            sure = np.where(confidence >= self.threshold, labels, -1)
            begins = _changes(sure, self.sure[b])
            found += [
                (k, 1, event("confident" if sure[k] >= 0 else "unsure", k, step(k))) for k in begins
            ]
            if self.decided[b] < 0:
                runs = [(0, int(self.since[b]))] if not begins or begins[0] else []
                runs += [(k, step(k)) for k in begins]
                for (k, since), end in zip(
                    runs, [*(k for k, _ in runs[1:]), len(sure)], strict=True
                ):
                    j = (
                        max(k, since + self.hold - 1 - first)
                        if at is None
                        else k + int(np.searchsorted(at[k:], since + self.hold - 1 - first))
                    )
                    if sure[k] >= 0 and j < end:
                        self.decided[b], self.decided_at[b] = sure[k], step(j)
                        found.append((j, 2, event("decided", j, since)))
                        break
            if begins:
                self.since[b] = step(begins[-1])
            self.sure[b] = sure[-1]
        return [e for _, _, e in sorted(found, key=lambda f: f[:2])]


def _changes(values: Whole, before: Any) -> list[int]:
    """Return where a value differs from the one before it."""
    found: list[int] = np.flatnonzero(values[1:] != values[:-1]).tolist()
    return [*([0] if values[0] != before else []), *(k + 1 for k in found)]
