"""The training loop: one batch after the other, one epoch after the other, checkpoints, and no
number that is not finite.

A run is a pure function of (task, seed): the order of epoch e is drawn from (seed, e), everything
else from torch's generator, whose state every checkpoint holds.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from srnn import metrics
from srnn._check import DivergedError, RunError
from srnn.datasets import Sample
from srnn.datasets.sample import entries_of
from srnn.kernels import lockstep
from srnn.nn.networks import Stack
from srnn.tasks import optimise
from srnn.tasks.task import Batch, Parts, Task, collate
from srnn.training.chunks import Chunk, chunks
from srnn.training.evaluate import assess, first_not_finite
from srnn.training.graphed import Graphed
from srnn.training.runs import (
    Run,
    load_checkpoint,
    load_weights,
    pack_optimiser,
    save_checkpoint,
    unpack_optimiser,
)
from srnn.training.session import Team


class Interrupted(Exception):  # noqa: N818 (nothing went wrong)
    """A signal asked the run to stop; its checkpoint is written."""


@dataclass
class Position:
    """Where a run is: `epoch` epochs done, `batch` batches into the next one, with that epoch's
    sums and the best result so far.
    """

    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    recordings: int = 0
    correct: int = 0
    counted: int = 0
    grad_norm: float = 0.0
    seconds: float = 0.0
    best: float | None = None
    best_epoch: int = 0

    def next_epoch(self) -> None:
        """Go to the start of the next epoch."""
        self.epoch += 1
        self.batch = self.recordings = self.correct = self.counted = 0
        self.loss = self.grad_norm = self.seconds = 0.0


@dataclass
class Progress:
    """What is shown while a run goes on; every callback may be replaced."""

    start: Callable[[int, int, int], None] = lambda epochs, batches, done: None
    batch: Callable[[int, int, float], None] = lambda epoch, batch, loss: None
    epoch: Callable[[dict[str, Any]], None] = lambda row: None


@dataclass
class Loop:
    """A run going on: network, optimiser, schedule and position, epoch after epoch."""

    task: Task
    run: Run
    net: Stack
    optimiser: torch.optim.Optimizer
    backend: str
    seed: int
    device: torch.device
    progress: Progress
    stopped: Callable[[], bool]
    team: Team
    write: Callable[[dict[str, Any]], None] = lambda row: None
    graph: Graphed | None = None

    def __post_init__(self) -> None:
        self.schedule = self.task.schedule.build(self.optimiser, max(1, self.task.epochs))
        self.at = Position()
        self.draw_apart()

    def draw_apart(self) -> None:
        """Let the other processes draw other random numbers than the first one."""
        if not self.team.first:
            torch.manual_seed((self.seed + 7919 * self.team.rank) * 1_000_003 + self.at.epoch)

    def epochs(self, parts: Parts[Sample]) -> None:
        """Run all epochs that are left."""
        batches = math.ceil(len(parts.train) / self.task.batch)
        self.progress.start(self.task.epochs, batches, self.at.epoch)
        patience = self.task.early_stop
        while self.at.epoch < self.task.epochs and not (
            patience and self.at.epoch - self.at.best_epoch >= patience and self.at.epoch
        ):
            self.one_epoch(parts, batches)

    def one_epoch(self, parts: Parts[Sample], batches: int) -> None:
        """Train on every recording once, validate, log, and write the checkpoints."""
        order = self.order(parts)
        saved = began = time.monotonic()
        before = self.at.seconds
        if self.task.compression is not None and not self.at.batch:
            self.task.compression.prune(self.net, self.at.epoch)
        self.net.train()
        while self.at.batch < batches:
            chosen = order[self.at.batch * self.task.batch : (self.at.batch + 1) * self.task.batch]
            mine = chosen[self.team.rank :: self.team.world]
            steps = 0
            # on every process the same number of chunks
            if self.task.truncation and self.team.world > 1:
                steps = max(len(parts.train[i].signal) for i in chosen)
            batch = collate(
                [
                    self.task.augmented(parts.train[i], self.seed, self.at.epoch, i)
                    for i in mine or chosen[:1]
                ],
                steps,
            ).to(self.device)
            self.one_batch(batch if mine else batch.emptied(), len(mine), len(chosen))
            self.at.batch += 1
            self.at.seconds = before + time.monotonic() - began
            self.progress.batch(self.at.epoch, self.at.batch, self.at.loss / self.at.recordings)
            if self.at.batch == batches:
                break
            stop, due = self.team.sum(
                self.stopped(),
                self.team.first and time.monotonic() - saved > self.task.checkpoint_seconds,
            )
            if stop or due:
                self.save()
                saved = time.monotonic()
                if stop:
                    where = f"in epoch {self.at.epoch + 1} after batch {self.at.batch} of {batches}"
                    raise Interrupted(f"Stopped {where}; the checkpoint is written.")
        self.end_epoch(parts)
        if self.team.sum(self.stopped())[0]:
            raise Interrupted(f"Stopped after epoch {self.at.epoch}; the checkpoint is written.")

    def order(self, parts: Parts[Sample]) -> list[int]:
        """Return the recordings of this epoch in the order they are trained on, drawn from seed and
        epoch.
        """
        generator, n = (
            torch.Generator().manual_seed(self.seed * 1_000_003 + self.at.epoch),
            len(parts.train),
        )
        if not self.task.balanced:
            return torch.randperm(n, generator=generator).tolist()
        labels = [e.label for e in entries_of(parts.train)]
        sizes = Counter(labels)
        return torch.multinomial(
            torch.tensor([1 / sizes[label] for label in labels]),
            n,
            replacement=True,
            generator=generator,
        ).tolist()

    def one_batch(self, batch: Batch, mine: int, total: int) -> None:
        """Train on a batch of `total` recordings, of which this process has `mine`; in place of
        none it has one without steps or label.
        """
        task, share = self.task, 1.0
        # the loss is a mean over recordings or steps, of which each process has some
        if self.team.world > 1:
            weight = (
                float(task.decode.weight(batch.labels, batch.lengths, batch.x.shape[1]))
                if mine
                else 0.0
            )
            share = weight / max(1.0, self.team.sum(weight)[0])
        chunk = self.train(batch, share) if self.graph is None else self.replay(self.graph, batch)
        assert chunk.scores is not None
        assert chunk.total is not None
        correct, counted = metrics.hits(
            chunk.scores, task.decode.targets(batch.labels, batch.lengths, batch.x.shape[1])
        )
        loss_sum, correct_sum, counted_sum = self.team.sum(
            float(chunk.total) * share, correct, counted
        )
        self.at.loss += loss_sum * total
        self.at.recordings += total
        self.at.correct += int(correct_sum)
        self.at.counted += int(counted_sum)

    def train(self, batch: Batch, share: float) -> Chunk:
        """Train on a batch chunk by chunk; return the last one."""
        fresh, truncation = True, self.task.truncation
        for chunk in chunks(self.task, self.net, batch, self.backend):
            if self.team.sum(not bool(torch.isfinite(chunk.loss)))[0]:
                self.diverged("the loss", batch)
            if fresh:
                self.optimiser.zero_grad()
            lockstep.backward(chunk.loss * share)
            fresh = chunk.last or (truncation is not None and truncation.step_per_chunk)
            if fresh:
                self.step(batch)
        return chunk

    def step(self, batch: Batch) -> None:
        """One step of the optimiser with the gradients of all processes, the same on each."""
        self.team.sum_gradients(self.net)
        norm = optimise.gradient_norm(self.net)
        # before clipping spreads it over every gradient
        self.check(norm, "the gradient norm", batch)
        self.stepped(
            norm, optimise.step(self.net, self.optimiser, self.task.clip_norm, norm), batch
        )

    def replay(self, graph: Graphed, batch: Batch) -> Chunk:
        """Train on a batch as a CUDA graph."""
        made = graph.step(batch)
        self.check(made.chunk.loss, "the loss", batch)
        self.check(made.norm, "the gradient norm", batch)
        self.stepped(made.norm, made.largest, batch)
        return made.chunk

    def stepped(self, norm: Tensor, largest: Tensor, batch: Batch) -> None:
        """Check the parameters after a step, before a checkpoint would keep them, and note the norm
        of its gradient.
        """
        self.check(largest, "a parameter after the step of the optimiser", batch)
        self.at.grad_norm = max(self.at.grad_norm, float(norm))

    def check(self, value: Tensor, what: str, batch: Batch) -> None:
        """Stop where a scalar, the same on all processes, is not finite."""
        if not bool(torch.isfinite(value)):
            self.diverged(what, batch)

    def end_epoch(self, parts: Parts[Sample]) -> None:
        """Validate, step the schedule, log, write `last` and, if it is the best so far, `best`."""
        validated = assess(
            self.net, self.task, parts.validation, seed=self.seed, backend=self.backend, cost=False
        )
        accuracy = validated["accuracy"]
        if not math.isfinite(validated["loss"]):
            self.diverged(
                "the validation loss", collate(parts.validation[: self.task.batch]).to(self.device)
            )
        row = {
            "epoch": self.at.epoch + 1,
            "loss": self.at.loss / self.at.recordings,
            "train_accuracy": self.at.correct / max(1, self.at.counted),
            "validation_loss": validated["loss"],
            "validation_accuracy": accuracy,
            "firing_rates": validated["firing_rates"],
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "grad_norm_max": self.at.grad_norm,
            "seconds": round(self.at.seconds, 3),
        }
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(accuracy)
        else:
            self.schedule.step()
        self.at.next_epoch()
        fewer = self.task.compression is not None and not self.task.compression.settled(
            self.at.epoch
        )
        if self.task.refit or fewer or self.at.best is None or accuracy > self.at.best:
            self.at.best, self.at.best_epoch = accuracy, self.at.epoch
            if self.team.first:
                save_checkpoint(
                    self.run.checkpoint("best"),
                    self.weights(),
                    {"epoch": self.at.epoch, "validation_accuracy": accuracy},
                )
        if self.team.first:
            self.run.log(row)
        self.save()
        self.write(row)
        self.progress.epoch(row)

    def weights(self) -> dict[str, Tensor]:
        """Return the network's tensors under their names in a checkpoint."""
        return {f"net.{name}": t for name, t in self.net.state_dict().items()}

    def save(self) -> None:
        """Write the checkpoint from which the run continues; every process holds the same, the
        first one writes.
        """
        if not self.team.first:
            return
        tensors, groups = pack_optimiser(self.optimiser)
        tensors = {f"optimiser.{name}": t for name, t in tensors.items()}
        rng = {"rng.cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["rng.cuda"] = torch.cuda.get_rng_state(self.device)
        # -inf: as it starts
        schedule = {
            k: v
            for k, v in self.schedule.state_dict().items()
            if not isinstance(v, float) or math.isfinite(v)
        }
        state = {"groups": groups, "schedule": schedule, "position": asdict(self.at)}
        save_checkpoint(self.run.checkpoint("last"), self.weights() | tensors | rng, state)

    def begin(self) -> None:
        """Take the weights that the run starts from, if it has some."""
        if not self.run.checkpoint("start").exists():
            return
        tensors, state = load_checkpoint(self.run.checkpoint("start"))
        load_weights(self.net, tensors)
        if (known := state.get("validation_accuracy")) is not None:
            self.at.best = known
            if self.team.first and not self.run.checkpoint("last").exists():
                save_checkpoint(
                    self.run.checkpoint("best"),
                    self.weights(),
                    {"epoch": 0, "validation_accuracy": known},
                )

    def restore(self) -> None:
        """Continue from the last checkpoint; a run that was stopped before its first one starts
        again.
        """
        if not self.run.checkpoint("last").exists():
            if self.team.first:
                self.run.rewind(0)
            return
        tensors, state = load_checkpoint(self.run.checkpoint("last"))
        load_weights(self.net, tensors)
        strip = len("optimiser.")
        try:
            unpack_optimiser(
                self.optimiser,
                {n[strip:]: t for n, t in tensors.items() if n.startswith("optimiser.")},
                state["groups"],
            )
            self.schedule.load_state_dict(state["schedule"])
            self.at = Position(**state["position"])
            torch.set_rng_state(tensors["rng.cpu"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(
                f"{self.run.checkpoint('last')} does not hold what a run needs to "
                f"continue ({error}). Start a new run."
            ) from error
        if self.device.type == "cuda" and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)
        self.draw_apart()
        if self.team.first:
            self.run.rewind(self.at.epoch)

    def diverged(self, what: str, batch: Batch) -> None:
        """Stop with a message that names the epoch, the batch and the first tensor that is not
        finite. Nothing is written.
        """
        last = self.run.checkpoint("last")
        kept = (
            f"the last good checkpoint is {last}"
            if last.exists()
            else "no checkpoint was written yet"
        )
        raise DivergedError(
            f"Epoch {self.at.epoch + 1}, "
            f"{'validation' if 'validation' in what else f'batch {self.at.batch + 1}'}: "
            f"{what} is not finite; "
            f"the first such tensor is {first_not_finite(self.net, batch, self.backend)}. "
            f"Nothing of it was saved; {kept}.\n"
            "  Usual repairs: a smaller learning rate (--set optimiser.lr=…), gradient "
            "clipping (--set clip_norm=1)."
        )
