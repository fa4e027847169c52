"""Train a task into a run folder: exact resume, honest selection.

A run that was stopped anywhere, by a signal, kill -9 or a full disk, continues from its last
checkpoint and on a CPU ends with the same bits as one that was never stopped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from srnn._check import ConfigError, RunError, check_range
from srnn.datasets import Sample
from srnn.kernels import lockstep
from srnn.nn.networks import Stack, count_parameters
from srnn.tasks.settings import completed, describe, differences, not_comparable
from srnn.tasks.task import Parts, Task
from srnn.training.evaluate import assess
from srnn.training.graphed import Graphed
from srnn.training.loop import Loop, Progress
from srnn.training.runs import Run, fingerprint, load_checkpoint, load_weights
from srnn.training.session import (
    Mode,
    check_tensorboard,
    environment,
    find_device,
    stop_requests,
    team_of,
    tensorboard_writer,
)

_T = TypeVar("_T")


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
    together: int = 1,
    mode: Mode | None = None,
) -> dict[str, Any]:
    """Train a task into the run folder `out`, evaluate it once on the test part (test=False: on the
    validation part), return metrics.json.

    The checkpoint evaluated is the one with the best validation accuracy; with `task.refit`, the
    last.
    start: a checkpoint (tensors, state) whose weights the run begins with, in place of fresh ones.
    Where the state has their "validation_accuracy", they may be selected too, as epoch 0. together:
    of so many runs in lockstep this is one (`fit_together`); it is only noted.
    mode: how a GPU is used.

    Started by torchrun, the processes share every batch and the first one writes (the others return
    {}): the gradient is that of the whole batch whatever the loss is a mean over. Random starts and
    dropout then differ from those of a single process. Raises `DataError`, `ConfigError`,
    `RunError`, `DivergedError`, and `Interrupted` after SIGINT or SIGTERM.
    """
    check_range("seed", seed, 0, 2**32 - 1)
    where, mode = find_device(device), mode or Mode()
    if tensorboard:
        check_tensorboard()
    with team_of(where) as team:
        if resume:
            run = Run.open(out)
        elif team.first:
            Run.check_free(out)
            if start is None and not task.epochs:
                raise ConfigError(
                    "epochs is 0 without weights to start from: there would be no "
                    "network. Set it to at least 1."
                )
        if mode.graph and team.world > 1:
            raise ConfigError(
                "--graph captures the step of one process; those of torchrun add "
                "up in between. Use one of them."
            )
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
        optimiser = task.optimiser.build(net)
        with mode.on(where, net.which_backend(backend=backend).name):
            chosen = net.which_backend(backend=backend)
            graph = Graphed(net, task, optimiser, backend, together) if mode.graph else None
        env = environment(where, chosen, seed, together, mode)
        if not resume and team.first:
            Run.create(out, task, seed, fingerprint(parts), env, start)
        team.sum(1)  # nobody goes on before the folder is there
        run = Run.open(out)
        with (
            run.locked() if team.first else nullcontext(),
            stop_requests() as stopped,
            mode.on(where, chosen.name),
        ):
            loop = Loop(
                task,
                run,
                net,
                optimiser,
                backend,
                seed,
                where,
                progress or Progress(),
                stopped,
                team,
            )
            loop.graph = graph
            loop.begin()
            if resume:
                loop.restore()
                if team.first:
                    _note_environment(run, env)
            with tensorboard_writer(
                run.path / "tensorboard" if tensorboard and team.first else None, loop.at.epoch
            ) as loop.write:
                loop.epochs(parts)
            result = _finish(task, run, net, parts, seed, backend, test) if team.first else {}
        team.sum(1)  # nobody leaves while another still works
        return result


def fit_together(fits: Sequence[Callable[[], _T]]) -> list[_T | BaseException]:
    """Run several `fit`s in lockstep, their layers in one launch where the backend can; return what
    each gives, or what ended it.

    Every run is what it is alone. A signal asks all of them to stop, and each writes its
    checkpoint; they are resumed together or each alone.
    """
    with stop_requests():
        return lockstep.together(fits)


def check_mode(task: Task, device: str, backend: str, mode: Mode, together: int = 1) -> None:
    """Raise `ConfigError` where a task cannot be trained in a mode, as `fit` would."""
    where = find_device(device)
    net = task.build().to(where)
    with mode.on(where, net.which_backend(backend=backend).name):
        if mode.graph:
            Graphed(net, task, task.optimiser.build(net), backend, together)


def gains(task: Task, device: str, backend: str) -> bool:
    """Return whether runs of a task gain from lockstep: several layers in one launch are known to
    the triton backend only.
    """
    net = task.build().to(find_device(device))
    return "triton" in net.which_backend(backend=backend).name


def _finish(
    task: Task, run: Run, net: Stack, parts: Parts[Sample], seed: int, backend: str, test: bool
) -> dict[str, Any]:
    """Evaluate the selected checkpoint once on the test part, or on the validation part in place of
    it, and write metrics.json.
    """
    tensors, best = load_checkpoint(run.checkpoint("best"))
    load_weights(net, tensors)
    rows = run.rows()
    part = "test" if test else "validation"
    found = assess(net, task, getattr(parts, part), seed=seed, backend=backend)
    used, unused = count_parameters(net)
    apart = not_comparable(task)
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
        **{
            f"{part}_{key}": found.pop(key)
            for key in list(found)
            if key.startswith(("accuracy", "confusion", "recall"))
        },
        f"{part}_recordings": found.pop("recordings"),
        f"{part}_loss": found.pop("loss"),
        **found,
        "classes": list(task.classes),
        "data_note": parts.note,
        "published": [] if apart else [asdict(p) for p in task.published],
        "published_not": apart,
        "seconds": round(sum(row["seconds"] for row in rows), 1),
    }
    run.write("metrics.json", result)
    return result


def _check_same(run: Run, task: Task, seed: int) -> None:
    stored = run.stored()
    if stored["task"] != task.name:
        raise RunError(
            f"{run.path} is a run of task {stored['task']!r}, not {task.name!r}. "
            "Resume it as that task, or choose another --out."
        )
    changed = differences(completed(stored["resolved"], task), describe(task)) + differences(
        {"seed": stored["seed"]}, {"seed": seed}
    )
    if changed:
        what = "; ".join(changed[:3])
        raise RunError(
            f"{run.path} was started with other settings ({what}). A resumed run "
            "keeps its settings; start a new one instead."
        )


def _check_fit(net: Stack, task: Task, parts: Parts[Sample]) -> None:
    if task.segment is not None:
        net.check_pieces(f"segment={task.segment}", whole=True)
    if task.truncation is not None:
        net.check_pieces(f"truncation.chunk={task.truncation.chunk}", whole=False)
    channels = parts.train[0].signal.shape[1]
    if net.inputs != channels:
        raise ConfigError(
            f"{task.name}: the network takes {net.inputs} channels, the encoded "
            f"data has {channels}; encode and data do not fit."
        )
    if net.outputs != len(task.classes):
        raise ConfigError(
            f"{task.name}: the network has {net.outputs} outputs for "
            f"{len(task.classes)} classes; they must be equal."
        )


def _note_environment(run: Run, now: dict[str, Any]) -> None:
    """Add the environment in which a run goes on to env.json; warn when it may move the bits."""
    before = run.read("env.json")
    run.write("env.json", {**before, "resumed": [*before.get("resumed", []), now]})
    before = {"processes": 1, "precision": "float32", **before}
    names = ("torch", "threads", "processes", "processor", "device", "backend", "precision")
    changed = [f"{k}: {before.get(k)} → {now[k]}" for k in names if before.get(k) != now[k]]
    if changed:
        warnings.warn(
            f"{run.path} goes on in another environment ({'; '.join(changed)}): it may "
            "not end with the same bits.",
            stacklevel=3,
        )
