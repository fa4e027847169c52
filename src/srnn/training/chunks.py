"""A batch run chunk by chunk: truncated backpropagation through time (`srnn.tasks.truncation`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from srnn import processes
from srnn.nn.networks import NetworkState, Output, Stack, detached, piece_lengths
from srnn.tasks.task import Batch, Task
from srnn.tasks.truncation import Truncation


@dataclass(frozen=True)
class Chunk:
    """What a chunk gives. loss: a scalar to differentiate. last: no chunk of this batch follows.

    The last one also has, of the whole recordings and without a gradient, the scores, as
    `task.decode` gives them, and their loss, `total`.
    """

    loss: Tensor
    last: bool
    scores: Tensor | None
    total: Tensor | None


def chunks(task: Task, net: Stack, batch: Batch, backend: str) -> Iterator[Chunk]:
    """Run a batch chunk by chunk (one chunk of all steps without `task.truncation`).

    The weights may be changed between two chunks.
    """
    decode, lengths, steps = task.decode, batch.lengths, batch.x.shape[1]
    cut = task.truncation or Truncation(steps)
    whole, penalties = Whole(task, batch), batch.x.new_zeros(())
    record = task.regulariser is not None
    for first, out in walk(
        net,
        batch,
        task.start(net, len(batch.x)),
        cut.chunk,
        record=record,
        backend=backend,
        segment=task.segment,
    ):
        own, running = whole.add(out, first)
        loss = decode.loss(running if cut.carry_scores else own, batch.labels, lengths, first)
        if task.regulariser is not None and out.trace is not None:
            here, all_steps = processes.summed(
                torch.tensor([float(out.trace.steps), float(lengths.sum())], device=batch.x.device)
            ).tolist()
            share = here / max(1.0, all_steps)
            penalty = task.regulariser.loss(out.trace)
            loss = loss + penalty * (share if decode.adds_up else 1.0)
            penalties = penalties + penalty.detach() * share
        last = first + cut.chunk >= steps
        del out, own, running  # what a chunk holds is freed before the next one runs
        yield Chunk(
            loss, last, *((whole.scores(), whole.loss() + penalties) if last else (None, None))
        )
        del loss


def walk(
    net: Stack,
    batch: Batch,
    state: NetworkState,
    chunk: int,
    *,
    record: bool,
    backend: str,
    segment: int | None,
) -> Iterator[tuple[int, Output]]:
    """Run a batch chunk by chunk from `state`, which is handed on without its gradient; yield the
    first step of each chunk and what it gives.
    """
    for first in range(0, batch.x.shape[1], chunk):
        x = batch.x[:, first : first + chunk].contiguous()
        made = [
            net(
                x,
                lengths=piece_lengths(batch.lengths, first, x),
                state=state,
                record=record,
                backend=backend,
                segment=segment,
            )
        ]
        state = detached(made[0].state)
        yield first, made.pop()  # nothing here holds it while the backward pass runs


class Whole:
    """Scores of whole recordings, gathered chunk by chunk."""

    def __init__(self, task: Task, batch: Batch) -> None:
        self._decode, self._batch, self._parts = task.decode, batch, list[Tensor]()

    def add(self, out: Output, first: int) -> tuple[Tensor, Tensor]:
        """Take in a chunk; return its own scores and those up to its end (the same where every step
        is scored by itself), with its gradient.
        """
        own = self._decode.scores(out, self._batch.lengths, first)
        running = (
            self._decode.carried(
                self._parts[-1], own, self._batch.lengths, first, out.potential.shape[1]
            )
            if self._parts
            else own
        )
        self._parts = [*(self._parts if self._decode.adds_up else []), running.detach()]
        return own, running

    def scores(self) -> Tensor:
        """Return the scores of the whole recordings, without gradient."""
        return self._decode.joined(self._parts)

    def loss(self) -> Tensor:
        """Return their loss."""
        return self._decode.loss(self.scores(), self._batch.labels, self._batch.lengths)
