"""What a report is made of: a run folder, read once, finished or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from srnn import tasks
from srnn._check import RunError, SrnnError
from srnn.datasets import Sample
from srnn.energy import Activity
from srnn.nn.networks import Stack
from srnn.tasks.settings import differences, not_comparable, settings_to, varied
from srnn.tasks.task import Parts, Task
from srnn.training.runs import DIVERGED, Run, load_checkpoint, load_weights

_NEEDED = frozenset(
    {
        "classes",
        "best_epoch",
        "epochs",
        "selected_by",
        "validation_accuracy",
        "firing_rate",
        "firing_rates",
        "input_rate",
        "input_events",
        "sops_per_step",
        "sops_per_sample",
        "parameters",
        "parameters_unused",
        "energy",
        "published",
        "data_note",
    }
)
"""What metrics.json must hold."""


@dataclass(frozen=True)
class Read:
    """A run. metrics: None until it is finished. net: with the weights of the selected checkpoint,
    None before the first; before: as it began.

    parts: its data, None where they are not at hand, and then why.
    """

    run: Run
    task: Task
    seed: int
    rows: Sequence[dict[str, Any]]
    env: dict[str, Any]
    state: Literal["finished", "running", "stopped", "diverged"]
    message: str = ""
    metrics: dict[str, Any] | None = None
    net: Stack | None = None
    before: Stack | None = None
    parts: Parts[Sample] | None = None
    why: str = ""
    data_dir: str | Path | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return (
            f"{self.task.name}{' compressed' if self.task.compression is not None else ''}, "
            f"seed {self.seed}"
        )

    @property
    def simulated(self) -> bool:
        """Whether no real signal is in it."""
        return self.task.data.simulated

    @property
    def part(self) -> Literal["test", "validation"]:
        """The part that may be looked at: the test part only after the selected checkpoint was
        evaluated on it.
        """
        return (
            "test" if self.metrics is not None and "test_accuracy" in self.metrics else "validation"
        )

    @property
    def activity(self) -> Activity | None:
        """The activity that was measured when the run was evaluated."""
        m = self.metrics
        return None if m is None else Activity.stored(m)

    @property
    def spiking(self) -> tuple[bool, ...]:
        """Which layers emit spikes."""
        return tuple(part.emits.binary for part in (self.net or self.task.build()).parts())

    @property
    def layers(self) -> list[str]:
        """What each layer is: "layer 1: 36 ALIF"."""
        found = []
        for k, part in enumerate((self.net or self.task.build()).parts()):
            inner = getattr(part, "forward_layer", part)
            neuron = getattr(inner, "neuron", None)
            kind = (
                type(part).__name__
                if neuron is None
                else type(neuron).__name__ + (", both directions" if inner is not part else "")
            )
            found.append(f"layer {k + 1}: {part.outputs} {kind}")
        return found


def runs_in(path: Path) -> list[Path]:
    """Return the run folders that `path` stands for: itself, or those in it.

    Raises `RunError` where there is none.
    """
    if (path / "task.json").is_file():
        return [path]
    found = sorted(p.parent for p in path.glob("*/task.json")) if path.is_dir() else []
    if not found:
        Run.open(path)  # says what a run folder is
    return found


def read_run(path: Path, data_dir: str | Path | None = None) -> Read:
    """Read a run folder and the data it was trained on.

    Raises `RunError` where the folder is damaged; data that are not there are no error.
    """
    run = Run.open(path)
    task, seed = run.task()
    metrics = run.read("metrics.json") if (path / "metrics.json").exists() else None
    if metrics is not None and (missing := _NEEDED - set(metrics)):
        raise RunError(
            f"{path / 'metrics.json'} is damaged: it has no "
            f"{', '.join(sorted(missing))}. Write it anew with srnn train --resume."
        )
    if metrics is not None and (apart := not_comparable(task)):  # also of runs of before
        metrics |= {"published": [], "published_not": apart}
    state: Any = "diverged" if (path / DIVERGED).exists() else "stopped"
    if metrics is not None:
        state = "finished"
    elif run.in_use():
        state = "running"
    message = str(run.read(DIVERGED)["message"]) if state == "diverged" else ""
    net, before = None, None
    if run.checkpoint("best").exists():
        net, before = task.build(), _before(run, task, seed)
        load_weights(net, load_checkpoint(run.checkpoint("best"))[0])
        net.eval()
    parts, why = None, ""
    try:
        parts = task.load(data_dir)
        run.check_data(parts)
    except SrnnError as error:
        parts, why = None, str(error).splitlines()[0]
    return Read(
        run,
        task,
        seed,
        run.rows(),
        run.read("env.json"),
        state,
        message,
        metrics,
        net,
        before,
        parts,
        why,
        data_dir,
    )


def _before(run: Run, task: Task, seed: int) -> Stack:
    """Return the network as the run began: with given weights, or drawn again from its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = task.build()
    if run.checkpoint("start").exists():
        load_weights(net, load_checkpoint(run.checkpoint("start"))[0])
    return net.eval()


@dataclass(frozen=True)
class Told:
    """How a run is told on a command line. variant: of the task, or None; settings: after it; None
    where no settings express the task.
    """

    variant: str | None
    settings: tuple[str, ...] | None

    @property
    def words(self) -> list[str]:
        """What stands on the command line."""
        chosen = [] if self.variant is None else ["--variant", self.variant]
        return [*chosen, *(word for setting in self.settings or () for word in ("--set", setting))]


def told(r: Read) -> Told:
    """Return the variant and the fewest settings that make the task of a run.

    What a task takes from the data is not said again, where the data are at hand to check that it
    comes out the same.
    """
    usual = tasks.load(r.task.name)
    found = [
        (name, settings_to(r.task, varied(usual, name) if name else usual))
        for name in (None, *(v.name for v in usual.variants))
    ]
    known = [(name, settings) for name, settings in found if settings is not None]
    if not known:
        return Told(None, None)
    name, settings = min(known, key=lambda one: len(one[1]))
    if hasattr(r.task.data, "resolve"):
        settings = _unresolved(r, settings)
    return Told(name, tuple(settings))


def _unresolved(r: Read, settings: list[str]) -> list[str]:
    """Leave out what the data say themselves."""
    from srnn.tasks.settings import override

    short = [s for s in settings if not s.startswith(("encode", "decode", "data.seen"))]
    if r.parts is not None:
        usual = tasks.load(r.task.name)
        for shorter in (short, [s for s in settings if not s.startswith("data.seen")]):
            try:
                if override(usual, shorter).resolved(r.data_dir) == r.task:
                    return shorter
            except SrnnError:
                continue
    return settings


def moved(r: Read) -> list[str] | None:
    """Return the settings that differ from the task as it comes; None where none say it."""
    return settings_to(r.task, tasks.load(r.task.name))


def other_network(r: Read) -> bool:
    """Whether the network is not the one that the task comes with."""
    usual = tasks.load(r.task.name)
    return bool(
        differences(
            {"n": r.task.network, "c": r.task.compression},
            {"n": usual.network, "c": usual.compression},
        )
    )
