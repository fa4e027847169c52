"""What a run needs from where it runs: the device, signals, a fingerprint of the data, and a record of the environment."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import platform
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from srnn import __version__
from srnn._check import ConfigError
from srnn.scan import Choice
from srnn.tasks.task import Parts


def find_device(name: str) -> torch.device:
    """Return the device called `name`. Raises `ConfigError` when it cannot be used here."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used here: {str(error).splitlines()[0]}") from None
    return device


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a request to stop after the batch; a second one stops at once."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def fingerprint(parts: Parts) -> dict[str, Any]:
    """Return the size of each part and one SHA-256 over every name, signal and label: the same data gives the same fingerprint."""
    digest = hashlib.sha256()
    sizes = {}
    for name in ("train", "validation", "test"):
        samples = getattr(parts, name)
        sizes[name] = len(samples)
        for sample in samples:
            digest.update(sample.name.encode())
            digest.update(np.ascontiguousarray(sample.signal).tobytes())
            digest.update(np.asarray(sample.label, dtype=np.int64).tobytes())
    return {**sizes, "sha256": digest.hexdigest()}


def environment(device: torch.device, backend: Choice, seed: int) -> dict[str, Any]:
    """Return what a result depends on beside task and data: versions, machine, backend and why, threads, seed, git commit of the package."""
    commit = None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        here = Path(__file__).parent
        tracked = subprocess.run(["git", "ls-files", "--error-unmatch", __file__], cwd=here, capture_output=True, timeout=10)
        if tracked.returncode == 0:
            head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10)
            commit = head.stdout.strip() or None
    return {
        "srnn": __version__,
        "git_commit": commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "backend": backend.name,
        "backend_reason": backend.reason,
        "seed": seed,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@contextmanager
def tensorboard_writer(folder: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield what writes one log row to TensorBoard in `folder`, or does nothing for None. Needs the extra "track" (`check_tensorboard`)."""
    if folder is None:
        yield lambda row: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:

        def write(row: dict[str, Any]) -> None:
            for key, value in row.items():
                values = {f"{key}/{k}": v for k, v in enumerate(value)} if isinstance(value, list) else {key: value}
                for name, number in values.items():
                    if key != "epoch":
                        writer.add_scalar(name, number, row["epoch"])

        yield write


def check_tensorboard() -> None:
    """Raise `ConfigError` where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError('--tensorboard needs the package tensorboard. Install it with: pip install "srnn[track]"')
