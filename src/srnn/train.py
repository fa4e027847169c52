"""The training loop over a task: exact resume, honest selection, and no number that is not finite.

A run is a pure function of (task, seed): the order of epoch e is drawn from (seed, e), everything else from torch's generator, whose state
every checkpoint holds. A run that was stopped anywhere, by a signal, kill -9 or a full disk, continues from its last checkpoint
and on a CPU ends with the same bits as one that was never stopped.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srnn import metrics
from srnn._check import ConfigError, DivergedError, RunError, check_range
from srnn.datasets import Sample
from srnn.datasets.sample import entries_of
from srnn.evaluate import assess, first_not_finite
from srnn.networks import Stack, count_parameters
from srnn.runs import Run, fingerprint, load_checkpoint, load_weights, pack_optimiser, save_checkpoint, unpack_optimiser
from srnn.session import Team, check_tensorboard, environment, find_device, stop_requests, team_of, tensorboard_writer
from srnn.tasks.settings import describe, differences
from srnn.tasks.task import Batch, Parts, Task, collate
from srnn.tasks.truncation import chunks


class Interrupted(Exception):  # noqa: N818 (nothing went wrong)
    """A signal asked the run to stop; its checkpoint is written."""


@dataclass
class Position:
    """Where a run is: `epoch` epochs done, `batch` batches into the next one, with that epoch's sums and the best result so far."""

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


def fit(
    task: Task,
    out: Path,
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    backend: str = "auto",
    resume: bool = False,
    tensorboard: bool = False,
    progress: Progress | None = None,
    test: bool = True,
    start: tuple[dict[str, Tensor], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Train a task into the run folder `out`, evaluate it once on the test part (test=False: on the validation part), return metrics.json.

    The checkpoint evaluated is the one with the best validation accuracy; with `task.refit`, the last.
    start: a checkpoint (tensors, state) whose weights the run begins with, in place of fresh ones. Where the state has their "validation_accuracy",
    they may be selected too, as epoch 0.

    Started by torchrun, the processes share every batch and the first one writes (the others return {}): the gradient is that of the whole batch
    for losses that are means over recordings. Random starts and dropout then differ from those of a single process.
    Raises `DataError`, `ConfigError`, `RunError`, `DivergedError`, and `Interrupted` after SIGINT or SIGTERM.
    """
    check_range("seed", seed, 0, 2**32 - 1)
    where = find_device(device)
    if tensorboard:
        check_tensorboard()
    with team_of(where) as team:
        if resume:
            run = Run.open(out)
        elif team.first:
            Run.check_free(out)
            if start is None and not task.epochs:
                raise ConfigError("epochs is 0 without weights to start from: there would be no network. Set it to at least 1.")
        task = task.resolved(data_dir)
        if resume:  # what can be refused at once is refused before the data is read
            _check_same(run, task, seed)
        parts = task.load(data_dir)
        if resume:
            run.check_data(parts)
        torch.manual_seed(seed)
        net = task.build().to(where)
        _check_fit(net, task, parts)
        if start is not None:
            load_weights(net, start[0])
        env = environment(where, net.which_backend(backend=backend), seed)
        optimiser = task.optimiser.build(net)
        if not resume and team.first:
            Run.create(out, task, seed, fingerprint(parts), env, start)
        team.sum(1)  # nobody goes on before the folder is there
        run = Run.open(out)
        with run.locked() if team.first else nullcontext(), stop_requests() as stopped:
            loop = _Loop(task, run, net, optimiser, backend, seed, where, progress or Progress(), stopped, team)
            loop.begin()
            if resume:
                loop.restore()
                if team.first:
                    _note_environment(run, env)
            with tensorboard_writer(run.path / "tensorboard" if tensorboard and team.first else None, loop.at.epoch) as loop.write:
                loop.epochs(parts)
            result = _finish(task, run, net, parts, seed, backend, test) if team.first else {}
        team.sum(1)  # nobody leaves while another still works: the process group ends for all at once
        return result


@dataclass
class _Loop:
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
        while self.at.epoch < self.task.epochs and not (patience and self.at.epoch - self.at.best_epoch >= patience and self.at.epoch):
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
            if self.task.truncation and self.team.world > 1:  # on every process the same number of chunks
                steps = max(len(parts.train[i].signal) for i in chosen)
            batch = collate([self.task.augmented(parts.train[i], self.seed, self.at.epoch, i) for i in mine or chosen[:1]], steps).to(self.device)
            self.one_batch(batch, len(mine), len(chosen))
            self.at.batch += 1
            self.at.seconds = before + time.monotonic() - began
            self.progress.batch(self.at.epoch, self.at.batch, self.at.loss / self.at.recordings)
            if self.at.batch == batches:
                break
            stop, due = self.team.sum(self.stopped(), self.team.first and time.monotonic() - saved > self.task.checkpoint_seconds)
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
        """Return the recordings of this epoch in the order they are trained on, drawn from seed and epoch."""
        generator, n = torch.Generator().manual_seed(self.seed * 1_000_003 + self.at.epoch), len(parts.train)
        if not self.task.balanced:
            return torch.randperm(n, generator=generator).tolist()
        labels = [e.label for e in entries_of(parts.train)]
        sizes = Counter(labels)
        return torch.multinomial(torch.tensor([1 / sizes[label] for label in labels]), n, replacement=True, generator=generator).tolist()

    def one_batch(self, batch: Batch, mine: int, total: int) -> None:
        """Train on a batch, which holds this process's `mine` of the `total` recordings (one that does not count when mine = 0)."""
        task, fresh = self.task, True
        for chunk in chunks(task, self.net, batch, self.backend):
            if self.team.sum(not bool(torch.isfinite(chunk.loss)))[0]:
                self.diverged("the loss", batch)
            if fresh:
                self.optimiser.zero_grad()
            (chunk.loss * (mine / total)).backward()  # type: ignore[no-untyped-call]
            fresh = chunk.last or (task.truncation is not None and task.truncation.step_per_chunk)
            if fresh:
                self.step(batch)
        assert chunk.scores is not None
        assert chunk.total is not None
        correct, counted = metrics.hits(chunk.scores, task.decode.targets(batch.labels, batch.lengths, batch.x.shape[1])) if mine else (0, 0)
        loss_sum, correct_sum, counted_sum = self.team.sum(float(chunk.total) * mine, correct, counted)
        self.at.loss += loss_sum
        self.at.recordings += total
        self.at.correct += int(correct_sum)
        self.at.counted += int(counted_sum)

    def step(self, batch: Batch) -> None:
        """One step of the optimiser with the gradients of all processes, the same on each."""
        net, clip = self.net, self.task.clip_norm
        self.team.sum_gradients(net)
        norm = torch.nn.utils.get_total_norm([p.grad for p in net.parameters() if p.grad is not None])
        if not bool(torch.isfinite(norm)):  # found before clipping spreads it over every gradient
            self.diverged("the gradient norm", batch)
        if clip is not None:
            torch.nn.utils.clip_grads_with_norm_(net.parameters(), clip, norm)
        self.optimiser.step()
        if not all(bool(torch.isfinite(p).all()) for p in net.parameters()):  # or the next checkpoint would keep it
            self.diverged("a parameter after the step of the optimiser", batch)
        self.at.grad_norm = max(self.at.grad_norm, float(norm))

    def end_epoch(self, parts: Parts[Sample]) -> None:
        """Validate, step the schedule, log, write `last` and, if it is the best so far, `best`."""
        validated = assess(self.net, self.task, parts.validation, seed=self.seed, backend=self.backend, cost=False)
        accuracy = validated["accuracy"]
        if not math.isfinite(validated["loss"]):
            self.diverged("the validation loss", collate(parts.validation[: self.task.batch]).to(self.device))
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
        fewer = self.task.compression is not None and not self.task.compression.settled(self.at.epoch)
        if self.task.refit or fewer or self.at.best is None or accuracy > self.at.best:
            self.at.best, self.at.best_epoch = accuracy, self.at.epoch
            if self.team.first:
                save_checkpoint(self.run.checkpoint("best"), self.weights(), {"epoch": self.at.epoch, "validation_accuracy": accuracy})
        if self.team.first:
            self.run.log(row)
        self.save()
        self.write(row)
        self.progress.epoch(row)

    def weights(self) -> dict[str, Tensor]:
        """Return the network's tensors under their names in a checkpoint."""
        return {f"net.{name}": t for name, t in self.net.state_dict().items()}

    def save(self) -> None:
        """Write the checkpoint from which the run continues; every process holds the same, the first one writes."""
        if not self.team.first:
            return
        tensors, groups = pack_optimiser(self.optimiser)
        tensors = {f"optimiser.{name}": t for name, t in tensors.items()}
        rng = {"rng.cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["rng.cuda"] = torch.cuda.get_rng_state(self.device)
        schedule = {k: v for k, v in self.schedule.state_dict().items() if not isinstance(v, float) or math.isfinite(v)}  # -inf: as it starts
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
                save_checkpoint(self.run.checkpoint("best"), self.weights(), {"epoch": 0, "validation_accuracy": known})

    def restore(self) -> None:
        """Continue from the last checkpoint; a run that was stopped before its first one starts again."""
        if not self.run.checkpoint("last").exists():
            if self.team.first:
                self.run.rewind(0)
            return
        tensors, state = load_checkpoint(self.run.checkpoint("last"))
        load_weights(self.net, tensors)
        strip = len("optimiser.")
        try:
            unpack_optimiser(self.optimiser, {n[strip:]: t for n, t in tensors.items() if n.startswith("optimiser.")}, state["groups"])
            self.schedule.load_state_dict(state["schedule"])
            self.at = Position(**state["position"])
            torch.set_rng_state(tensors["rng.cpu"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(f"{self.run.checkpoint('last')} does not hold what a run needs to continue ({error}). Start a new run.") from error
        if self.device.type == "cuda" and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)
        self.draw_apart()
        if self.team.first:
            self.run.rewind(self.at.epoch)

    def diverged(self, what: str, batch: Batch) -> None:
        """Stop with a message that names the epoch, the batch and the first tensor that is not finite. Nothing is written."""
        last = self.run.checkpoint("last")
        kept = f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was written yet"
        raise DivergedError(
            f"Epoch {self.at.epoch + 1}, {'validation' if 'validation' in what else f'batch {self.at.batch + 1}'}: {what} is not finite; "
            f"the first such tensor is {first_not_finite(self.net, batch, self.backend)}. Nothing of it was saved; {kept}.\n"
            "  Usual repairs: a smaller learning rate (--set optimiser.lr=…), gradient clipping (--set clip_norm=1)."
        )


def _finish(task: Task, run: Run, net: Stack, parts: Parts[Sample], seed: int, backend: str, test: bool) -> dict[str, Any]:
    """Evaluate the selected checkpoint once on the test part, or on the validation part in place of it, and write metrics.json."""
    tensors, best = load_checkpoint(run.checkpoint("best"))
    load_weights(net, tensors)
    rows = run.rows()
    part = "test" if test else "validation"
    found = assess(net, task, getattr(parts, part), seed=seed, backend=backend)
    used, unused = count_parameters(net)
    result = {
        "task": task.name,
        "simulated": task.data.simulated,
        "seed": seed,
        "backend": net.which_backend(backend=backend).name,
        "epochs": len(rows),
        "best_epoch": best["epoch"],
        "selected_by": task.selected_by,
        "parameters": used,
        "parameters_unused": unused,
        "validation_accuracy": best["validation_accuracy"],
        **{f"{part}_{key}": found.pop(key) for key in list(found) if key.startswith(("accuracy", "confusion", "recall"))},
        f"{part}_recordings": found.pop("recordings"),
        f"{part}_loss": found.pop("loss"),
        **found,
        "classes": list(task.classes),
        "data_note": parts.note,
        "published": [] if task.data.simulated else [asdict(p) for p in task.published],
        "seconds": round(sum(row["seconds"] for row in rows), 1),
    }
    run.write("metrics.json", result)
    return result


def _check_same(run: Run, task: Task, seed: int) -> None:
    stored = run.stored()
    if stored["task"] != task.name:
        raise RunError(f"{run.path} is a run of task {stored['task']!r}, not {task.name!r}. Resume it as that task, or choose another --out.")
    changed = differences(stored["resolved"], describe(task)) + differences({"seed": stored["seed"]}, {"seed": seed})
    if changed:
        what = "; ".join(changed[:3])
        raise RunError(f"{run.path} was started with other settings ({what}). A resumed run keeps its settings; start a new one instead.")


def _check_fit(net: Stack, task: Task, parts: Parts[Sample]) -> None:
    if task.segment is not None:
        net.check_pieces(f"segment={task.segment}", whole=True)
    if task.truncation is not None:
        net.check_pieces(f"truncation.chunk={task.truncation.chunk}", whole=False)
    channels = parts.train[0].signal.shape[1]
    if net.inputs != channels:
        raise ConfigError(f"{task.name}: the network takes {net.inputs} channels, the encoded data has {channels}; encode and data do not fit.")
    if net.outputs != len(task.classes):
        raise ConfigError(f"{task.name}: the network has {net.outputs} outputs for {len(task.classes)} classes; they must be equal.")


def _note_environment(run: Run, now: dict[str, Any]) -> None:
    """Add the environment in which a run goes on to env.json; warn when it may move the bits."""
    before = run.read("env.json")
    run.write("env.json", {**before, "resumed": [*before.get("resumed", []), now]})
    changed = [f"{k}: {before.get(k)} → {now[k]}" for k in ("torch", "threads", "processor", "device", "backend") if before.get(k) != now[k]]
    if changed:
        warnings.warn(f"{run.path} goes on in another environment ({'; '.join(changed)}): it may not end with the same bits.", stacklevel=3)
