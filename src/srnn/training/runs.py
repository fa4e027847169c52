"""The run folder: task.json, env.json, log.jsonl, metrics.json, report.html and checkpoints, each
written so that a reader never sees half a file.

A checkpoint is one safetensors file: tensors (weights `net.*`, optimiser `optimiser.*`, RNG state),
and JSON (schedule, position, best result, schema version) and a checksum of all that in its
metadata. No pickle. `last` continues a run; `best` holds the weights with the highest validation
accuracy; `start`, which few runs have, those it began with.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srnn import _files
from srnn._check import ConfigError, RunError, check_instance
from srnn._files import _json, _tensors
from srnn.datasets import Recordings, Sample
from srnn.nn.networks import Stack
from srnn.tasks import load as load_task
from srnn.tasks.settings import completed, describe, differences, rebuild
from srnn.tasks.task import Parts, Task

SCHEMA = 1
"""Version of the layout of task.json."""

CHECKPOINT_SCHEMA = 2
"""Version of the layout of checkpoints; 1, which had no checksum, is read as well."""

DIVERGED = "diverged.json"
"""What a run that diverged says of it: {"message"}; it is gone where the run went on."""


_COUNT = range(2**53)
_SHARE = (float, None)
"""null: nothing was there to count, as no recording of a class."""

METRICS = {
    **dict.fromkeys(("task?", "selected_by?", "data_note?", "compressed_from?"), str),
    **dict.fromkeys(("simulated?", "input_events?"), bool),
    **dict.fromkeys(("best_epoch?", "epochs?", "parameters?", "parameters_unused?"), _COUNT),
    **dict.fromkeys(("validation_recordings?", "test_recordings?"), _COUNT),
    **dict.fromkeys(("input_rate?", "sops_per_step?", "sops_per_sample?", "seconds?"), float),
    **dict.fromkeys(("validation_loss?", "test_loss?"), float),
    **dict.fromkeys(("firing_rate?", "validation_accuracy?", "test_accuracy?"), _SHARE),
    **dict.fromkeys(("validation_accuracy_labelled?", "test_accuracy_labelled?"), _SHARE),
    "firing_rates?": [_SHARE],
    "validation_recall?": [_SHARE],
    "test_recall?": [_SHARE],
    "validation_confusion?": [[_COUNT]],
    "test_confusion?": [[_COUNT]],
    "classes?": [str],
    "energy?": {str: {"mac": float, "ac": float, "energy": float}},
    "published?": [{"what": str, "value": float, "source": str, "protocol?": str, "unused?": int}],
    "compression?": {"before": dict, "after": dict},
}
SCHEMAS: dict[str, Any] = {
    "task.json": {
        "schema": int,
        "task": str,
        "seed": range(2**63),
        "data": {str: (str, int)},
        "resolved": dict,
    },
    "env.json": {"device?": str, "backend?": (str, None), "resumed?": [{"started?": str}]},
    "metrics.json": METRICS,
    DIVERGED: {"message": str},
    "sweep.json": {"id?": str},
}
"""What the files of a run are, by their names, for `_json`; checked where they are read."""

ROW = {
    "epoch": _COUNT,
    **dict.fromkeys(("loss", "train_accuracy", "learning_rate", "seconds"), float),
    **dict.fromkeys(("validation_loss", "validation_accuracy", "grad_norm_max?"), float),
    "firing_rates": [_SHARE],
}
"""What a line of log.jsonl is."""

CHECKPOINT = {
    "schema": int,
    "epoch?": _COUNT,
    "validation_accuracy?": _SHARE,
    "groups?": [dict],
    "schedule?": dict,
    "position?": {
        **dict.fromkeys(("epoch", "batch", "recordings", "correct", "counted"), _COUNT),
        **dict.fromkeys(("loss", "grad_norm", "seconds"), float),
        "best": _SHARE,
        "best_epoch": _COUNT,
    },
}
"""What the JSON of a checkpoint is."""


@dataclass(frozen=True)
class Run:
    """A run folder. Create one with `create`, find one with `open`."""

    path: Path

    @staticmethod
    def create(
        path: Path,
        task: Task,
        seed: int,
        data: dict[str, Any],
        environment: dict[str, Any],
        start: tuple[dict[str, Tensor], dict[str, Any]] | None = None,
    ) -> Run:
        """Make the folder, write task.json (data: its fingerprint), env.json and the checkpoint
        `start`, if the run has one.

        Raises `RunError` when it exists or cannot be written.
        """
        run = Run(path)
        Run.check_free(path)
        try:
            if _stillborn(path):
                shutil.rmtree(path)
            # of two processes that start here at once, one gets it
            (path / "checkpoints").mkdir(parents=True)
        except OSError as error:
            raise RunError(
                f"{path} cannot be created: {error.strerror}. Choose a folder you may "
                "write to with --out."
            ) from error
        try:
            run.write("env.json", environment)
            if start is not None:
                save_checkpoint(run.checkpoint("start"), *start)
            run.write(
                "task.json",
                {
                    "schema": SCHEMA,
                    "task": task.name,
                    "seed": seed,
                    "data": data,
                    "resolved": describe(task),
                },
            )
        except BaseException:  # or the name would be taken by a folder that is no run
            shutil.rmtree(path, ignore_errors=True)
            raise
        return run

    @staticmethod
    def check_free(path: Path) -> None:
        """Raise `RunError` when a new run cannot have this folder."""
        try:
            taken = path.exists() and (not path.is_dir() or any(path.iterdir()))
        except OSError as error:
            raise RunError(
                f"{path} cannot be read: {error.strerror}. Choose another folder with --out."
            ) from error
        if taken and not _stillborn(path):
            raise RunError(
                f"{path} exists already. Continue that run with --resume, or choose "
                "another folder with --out."
            )

    @staticmethod
    def open(path: Path) -> Run:
        """Return an existing run. Raises `RunError` when the folder is not one."""
        if not (path / "task.json").is_file():
            raise RunError(
                f"{path} is no run folder: it has no task.json. A run is started with "
                f"`srnn train TASK --out {path}`."
            )
        return Run(path)

    def task(self) -> tuple[Task, int]:
        """Return the task as it was resolved, and the seed.

        Raises `RunError` when this version of the package cannot express it.
        """
        stored = self.stored()
        try:
            task = rebuild(load_task(stored["task"]), stored["resolved"])
            if not isinstance(task, Task):
                raise ConfigError("what is resolved there is no task")
        except (ConfigError, TypeError) as error:  # a field that is missing, or is of another type
            raise RunError(
                f"{self.path}: this version of srnn cannot express the task of that "
                f"run ({error}). Start a new run."
            ) from error
        changed = differences(completed(stored["resolved"], task), describe(task))
        if changed:
            raise RunError(
                f"{self.path}: this version of srnn cannot express the task of that "
                f"run ({'; '.join(changed[:3])}). Start a new run."
            )
        return task, stored["seed"]

    def stored(self) -> dict[str, Any]:
        """Return task.json. Raises `RunError` when it is damaged or of another version."""
        path = self.path / "task.json"
        try:
            stored = _json.read(path)
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}.") from error
        schema = stored.get("schema") if isinstance(stored, dict) else None
        if schema != SCHEMA or isinstance(schema, bool):
            raise RunError(
                f"{path} has schema {schema}; this version reads {SCHEMA}.{_newer(schema, SCHEMA)}"
            )
        return dict(self.read("task.json"))

    def check_data(self, parts: Parts[Sample]) -> None:
        """Raise `RunError` unless these are the data the run was started on."""
        changed = differences(self.stored()["data"], fingerprint(parts))
        if changed:
            raise RunError(
                f"{self.path} was started on other data ({'; '.join(changed)}). Point "
                "--data-dir at the same data, or start a new run."
            )

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file atomically. Raises `RunError` when it cannot be written."""
        write_atomically(
            self.path / name,
            (json.dumps(value, indent=1, allow_nan=False) + "\n").encode(),
            self.path,
        )

    def read(self, name: str) -> Any:
        """Read a JSON file. Raises `RunError` when it is missing, damaged, or not what a file of
        that name holds (`SCHEMAS`).
        """
        path = self.path / name
        try:
            return _json.read(path, SCHEMAS.get(name, dict))
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
        except ValueError as error:
            damaged = "cannot be read" if isinstance(error, json.JSONDecodeError) else "is damaged"
            raise RunError(
                f"{path} {damaged}: {error}. Put back a copy of it, or start a new run."
            ) from error

    def log(self, row: dict[str, Any]) -> None:
        """Append one line to log.jsonl."""
        try:
            with _files.append(self.path / "log.jsonl") as file:
                file.write((json.dumps(row, allow_nan=False) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(
                f"{self.path / 'log.jsonl'} cannot be written: {error.strerror}."
            ) from error

    def rows(self) -> list[dict[str, Any]]:
        """Return the lines of log.jsonl; what is no line of an epoch, as a last one cut short, is
        left out.
        """
        path, rows = self.path / "log.jsonl", list[dict[str, Any]]()
        try:
            text = _json.content(path) if path.exists() else b""
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or error
            raise RunError(f"{path} cannot be read: {said}.") from error
        lines = text.decode(errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            with contextlib.suppress(ValueError):
                row = _json.parse(line)
                if isinstance(row, dict) and "epoch" in row:
                    if (wrong := _json.misfit(row, ROW)) is not None:
                        raise RunError(
                            f"{path}, line {number}: {wrong}. Delete that line: the epoch is then "
                            "not shown, and the run goes on."
                        )
                    rows.append(row)
        return rows

    def rewind(self, epochs: int) -> None:
        """Drop log lines of epochs after the first `epochs`: they will be run again."""
        kept = [row for row in self.rows() if row["epoch"] <= epochs]
        write_atomically(
            self.path / "log.jsonl", "".join(json.dumps(row) + "\n" for row in kept).encode()
        )

    def checkpoint(self, name: str) -> Path:
        """Return the path of a checkpoint ("last", "best", or "start" of a run that began with
        given weights).
        """
        return self.path / "checkpoints" / f"{name}.safetensors"

    def in_use(self) -> bool:
        """Whether a process has this run."""
        try:
            if not (self.path / ".lock").is_file():
                return False
            with open(self.path / ".lock") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except BlockingIOError:
            return True
        except OSError:
            return False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one process, and clear away what a killed one left half-written.

        Raises `RunError` when another one has it.
        """
        try:
            file = _files.append(self.path / ".lock")
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be locked: {error.strerror}. A run needs a "
                "folder it may write to."
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{self.path} is in use by another process. Wait for it, or "
                    "choose another folder with --out."
                ) from None
            except OSError as error:
                raise RunError(
                    f"{self.path} cannot be locked: {error.strerror}. Choose a folder "
                    "on another file system with --out."
                ) from error
            folders = (self.path, self.path / "checkpoints")
            for part in (p for f in folders if not f.is_symlink() for p in f.glob(".*.part")):
                part.unlink(missing_ok=True)
            yield


def fingerprint(parts: Parts[Sample]) -> dict[str, Any]:
    """Return the size of each part and one SHA-256: the same data gives the same fingerprint.

    It runs over every name, signal and label; of `Recordings`, which are not read for it, over
    every entry and the checksum of their source.
    """
    digest = hashlib.sha256()
    sizes = {}
    for name in ("train", "validation", "test"):
        samples = getattr(parts, name)
        sizes[name] = len(samples)
        if isinstance(samples, Recordings):
            digest.update(samples.source.encode())
            digest.update(
                repr([(e.name, e.label, e.group, e.size) for e in samples.entries]).encode()
            )
            continue
        for sample in samples:
            digest.update(sample.name.encode())
            digest.update(np.ascontiguousarray(sample.signal).tobytes())
            digest.update(np.asarray(sample.label, dtype=np.int64).tobytes())
    return {**sizes, "sha256": digest.hexdigest()}


def _stillborn(path: Path) -> bool:
    """Whether a folder is what a process left that was killed while it made a run: no task.json,
    and nothing but its first files.
    """
    if not path.is_dir():
        return False
    entries = list(path.iterdir())
    known = all(
        e.name in ("env.json", "checkpoints", ".lock") or e.name.endswith(".part") for e in entries
    )
    return (
        bool(entries)
        and known
        and not (path / "task.json").exists()
        and not any(c.stem != "start" for c in (path / "checkpoints").glob("*.safetensors"))
    )


def write_atomically(path: Path, content: bytes, inside: Path | None = None) -> None:
    """Write a file under a temporary name, flush it to disk, and rename it.

    inside: a folder that no symbolic link may lead it out of. Raises `RunError`; nothing
    half-written stays behind.
    """
    try:
        _files.write(path, content, inside=inside)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error.strerror}. What was there before is unchanged."
        ) from error


def save_checkpoint(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write tensors and JSON state as one safetensors file, with a checksum, atomically."""
    packed = _tensors.pack(tensors, {"schema": CHECKPOINT_SCHEMA, **state})
    write_atomically(path, packed, path.parent.parent)


def _newer(schema: Any, known: int) -> str:
    return (
        " A newer version of srnn wrote it: update srnn."
        if isinstance(schema, int) and schema > known
        else ""
    )


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, state).

    Raises `RunError` for a missing, damaged or newer file; damage anywhere is noticed.
    """
    if not path.is_file():
        beside = path.with_name("last.safetensors").exists()
        fix = (
            ("Delete last.safetensors beside it and train again with --resume.")
            if beside
            else ("The run stopped before its first one: use --resume.")
        )
        raise RunError(f"There is no checkpoint {path}. {fix}")
    try:
        tensors, state = _tensors.unpack(path, CHECKPOINT, unchecked=1)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} is damaged or no checkpoint of srnn ({error}). Start the run "
            "again, or put back a copy of that file."
        ) from error
    if (schema := state["schema"]) not in (1, CHECKPOINT_SCHEMA):
        raise RunError(
            f"{path} has schema {schema}; this version reads "
            f"{CHECKPOINT_SCHEMA}.{_newer(schema, CHECKPOINT_SCHEMA)}"
        )
    return tensors, state


def pack_optimiser(
    optimiser: torch.optim.Optimizer,
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Return an optimiser's state as named tensors and JSON groups."""
    state = optimiser.state_dict()
    tensors = {
        f"{index}.{key}": value
        for index, values in state["state"].items()
        for key, value in values.items()
    }
    return tensors, state["param_groups"]


def unpack_optimiser(
    optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """Put back what `pack_optimiser` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    groups = [{k: tuple(v) if k == "betas" else v for k, v in group.items()} for group in groups]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def load_weights(net: Stack, tensors: dict[str, Tensor]) -> None:
    """Put the weights of a checkpoint into the network.

    Raises `RunError` when they do not fit it.
    """
    weights = {
        name.removeprefix("net."): t for name, t in tensors.items() if name.startswith("net.")
    }
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(f"The checkpoint does not fit the network: {error}") from error


def load_run(path: str | Path, device: str | torch.device = "cpu") -> tuple[Run, Task, int, Stack]:
    """Return a finished or stopped run: folder, task, seed, and the network with the weights of its
    best checkpoint, in evaluation mode.

    Raises `RunError` where there is none, `ConfigError` where path is no path.
    """
    check_instance("load_run", "path", path, (str, Path), "the folder of a run, a text or a Path")
    run = Run.open(Path(path))
    task, seed = run.task()
    net = task.build()
    tensors, _ = load_checkpoint(run.checkpoint("best"))
    load_weights(net, tensors)
    return run, task, seed, net.to(device).eval()
