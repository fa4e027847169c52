"""The selected network once more on a bounded number of recordings: decisions as time goes by, one
recording in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from srnn.datasets import Sample
from srnn.nn.networks import Trace
from srnn.report.read import Read
from srnn.stream.decision import Pool
from srnn.tasks.objective import PerStep
from srnn.tasks.task import Batch, collate

MOST = 256
"""Recordings that are looked at, evenly from all over a part."""

STEPS = 400_000
"""Steps of these together, about: of long recordings there are fewer."""


@dataclass(frozen=True)
class Watched:
    """What was seen. used, there: recordings looked at, and in the part. accuracy: of those, as the
    task counts it.

    curve: (T,) fraction right at each step, NaN where nothing counts. trace: of the first batch.
    sample: its first recording; predicted, confidence: (T,) what would be decided at each of its
    steps, -1 where no step counts yet.
    """

    used: int
    there: int
    accuracy: float
    curve: Any
    trace: Trace
    sample: Sample
    predicted: Any
    confidence: Any

    @property
    def spikes(self) -> list[Any]:
        """(T, N) of each spiking layer, of `sample`."""
        steps = len(self.sample.signal)
        return [
            o[0, :steps].numpy()
            for o, spiking in zip(self.trace.outputs, self.trace.spiking, strict=True)
            if spiking
        ]


@torch.no_grad()
def look(r: Read) -> Watched:
    """Run the network of `r` on some recordings of the part that may be looked at, batch by batch
    as it was evaluated.
    """
    assert r.net is not None
    assert r.parts is not None
    task, part = r.task, getattr(r.parts, r.part)
    number = max(1, min(len(part), MOST, STEPS // len(part[0].signal)))
    chosen = [k * len(part) // number for k in range(number)]  # all of them, where that is so many
    generator, first = torch.Generator().manual_seed(r.seed), dict[str, Any]()
    scores, labels, lengths = [], [], []
    right, counted = np.zeros(0), np.zeros(0)
    for begin in range(0, number, task.batch):
        samples = [part[k] for k in chosen[begin : begin + task.batch]]
        batch = collate(samples)
        out = r.net(
            batch.x,
            lengths=batch.lengths,
            state=task.start(r.net, len(samples), generator),
            record=not first,
        )
        scores.append(task.decode.scores(out, batch.lengths))
        labels.append(batch.labels)
        lengths.append(batch.lengths)
        read = out.output if task.decode.running().read == "output" else out.potential
        pool = Pool(task.decode.running(), len(samples), len(task.classes))
        running, shares, counts = pool.add(read.double().numpy(), batch.lengths.numpy())
        guess = (
            np.where(counts, running.argmax(-1), -1) if counts is not None else running.argmax(-1)
        )
        if not first:
            steps = len(samples[0].signal)
            first = {
                "trace": out.trace,
                "sample": samples[0],
                "predicted": guess[0, :steps],
                "confidence": shares[0, :steps].max(-1),
            }
        hit, there = _right(r, guess, batch)
        right, counted = _sum(right, hit), _sum(counted, there)
    with np.errstate(invalid="ignore"):
        curve = right / np.where(counted > 0, counted, np.nan)
    accuracy = task.decode.results(scores, labels, lengths)["accuracy"]
    return Watched(number, len(part), accuracy, curve, **first)


def _right(r: Read, guess: Any, batch: Batch) -> tuple[Any, Any]:
    """Return how many recordings are right at each step, and how many count.

    One that has ended keeps its last decision.
    """
    if isinstance(r.task.decode, PerStep):
        wanted = r.task.decode.targets(batch.labels, batch.lengths, guess.shape[1]).numpy()
        return ((guess == wanted) & (wanted >= 0)).sum(0).astype(float), (wanted >= 0).sum(
            0
        ).astype(float)
    labels = batch.labels.numpy()[:, None]
    ends = np.minimum(np.arange(guess.shape[1]), np.maximum(batch.lengths.numpy()[:, None] - 1, 0))
    kept = np.take_along_axis(guess, ends, 1)
    return ((kept == labels) & (labels >= 0)).sum(0).astype(float), np.full(
        guess.shape[1], float((labels >= 0).sum())
    )


def _sum(a: Any, b: Any) -> Any:
    """Add two curves of different lengths, the shorter one held at its last value: its recordings
    have ended.
    """
    if not len(a):
        return b
    longest = max(len(a), len(b))
    return sum(np.pad(x, (0, longest - len(x)), mode="edge") for x in (a, b))
