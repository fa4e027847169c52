"""Train many runs in parallel processes, one thread each; a signal stops all of them with their
checkpoints written.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from srnn import _files
from srnn._check import RunError
from srnn.papers.jobs import Job, Presence, State, state_of
from srnn.training.session import signals_interrupt

_PAUSE, _PATIENCE = 0.1, 120.0
"""Seconds between two looks at the processes, and until one that was asked to stop is ended."""


@dataclass
class Pool:
    """workers: processes at a time. say: is given a line for each run that ends. presence: which
    data are here.
    """

    workers: int
    presence: Presence
    backend: str = "auto"
    say: Callable[[str], None] = lambda line: None
    failed: dict[Path, State] = field(default_factory=dict)
    """Runs that ended with an error, by their folders."""

    def train(self, jobs: Sequence[Job]) -> None:
        """Train what is not finished, each folder once, in this order.

        Raises `KeyboardInterrupt` after SIGINT or SIGTERM, when all have stopped.
        """
        waiting = list(
            {job.path: job for job in jobs if state_of(job).kind in ("none", "stopped")}.values()
        )
        total, active = len(waiting), list[_Running]()
        with signals_interrupt():
            try:
                while waiting or active:
                    while waiting and len(active) < self.workers:
                        job = waiting.pop(0)
                        if self.presence.missing(job.task):
                            total -= 1
                        else:
                            active.append(_Running.start(job, self.presence.data_dir, self.backend))
                    time.sleep(_PAUSE if active else 0)
                    for running in [r for r in active if r.process.poll() is not None]:
                        active.remove(running)
                        self._ended(running, f"{total - len(waiting) - len(active)} of {total}")
            except BaseException:
                _stop(active)
                raise

    def _ended(self, running: _Running, count: str) -> None:
        job, (kind, message) = running.job, running.outcome()
        if kind == "data":
            self.presence.note(job.task, message)
        elif kind not in ("finished", "diverged"):
            self.failed[job.path] = State("failed", message)
        state = state_of(job) if kind == "finished" else State("failed", message)
        m = state.metrics or {}
        key = "test_accuracy" if "test_accuracy" in m else "validation_accuracy"
        result = (
            f"{100 * m[key]:.2f} %"
            if key in m
            else (f"{kind}: {message.splitlines()[0] if message else ''}")
        )
        self.say(f"[{count}] {job.task.name}, {job.title}: {result} ({running.seconds:.0f} s)")


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    began: float

    @staticmethod
    def start(job: Job, data_dir: str | Path | None, backend: str) -> _Running:
        order = {
            "task": job.task.name,
            "settings": job.settings,
            "seed": job.seed,
            "out": str(job.path),
            "backend": backend,
            "test": job.fold is None,
            "data_dir": None if data_dir is None else str(data_dir),
        }
        try:
            job.path.parent.mkdir(parents=True, exist_ok=True)
            log = _files.append(_log(job))  # closed when the process ends
        except OSError as error:
            raise RunError(
                f"{_log(job)} cannot be written: {error.strerror}. Choose a folder "
                "you may write to with --runs."
            ) from error
        command = [sys.executable, "-m", "srnn.papers.worker", json.dumps(order)]
        # Ctrl-C is for us to pass on
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        return _Running(job, process, log, time.monotonic())

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def outcome(self) -> tuple[str, str]:
        """Return (kind, message) of a process that has ended."""
        self.log.close()
        lines = _log(self.job).read_text(errors="replace").splitlines()
        try:
            said = json.loads(lines[-1])
            return str(said["kind"]), str(said["message"])
        except (IndexError, ValueError, KeyError, TypeError):
            return "failed", (
                f"the process ended with code {self.process.returncode}; see {_log(self.job)}"
            )


def _log(job: Job) -> Path:
    return job.path.with_suffix(".log")


def _stop(active: Sequence[_Running]) -> None:
    """Ask the processes to write their checkpoints and stop; end those that do not, or all when
    asked a second time.
    """
    for running in active:
        with contextlib.suppress(ProcessLookupError):
            running.process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _PATIENCE
    try:
        for running in active:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for running in active:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()
            running.log.close()
