"""What a run needs from where it runs: the device, the processes that work together, signals,
TensorBoard, and a record of the environment.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import platform
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch.distributed

from srnn import __version__, _files, processes
from srnn._check import ConfigError, RunError, check_choice, whole_number
from srnn.kernels.scan import Choice


def find_device(name: str) -> torch.device:
    """Return the device called `name`; of "cuda" without a number, each of the processes that
    torchrun started takes its own.

    Raises `ConfigError` when it cannot be used here.
    """
    kind = check_choice("device", name.split(":")[0], ("cpu", "cuda"))
    count = torch.cuda.device_count() if kind == "cuda" else 1
    own = os.environ.get("LOCAL_RANK") if kind == "cuda" else None
    index = name.partition(":")[2] or own or "0"
    number = whole_number(index)
    if number is None or number >= count:
        raise ConfigError(
            f"device {name!r} cannot be used here: there are {count} devices of kind {kind}."
        )
    return torch.device(kind, number) if own is not None else torch.device(name)


PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class Mode:
    """How a run uses a GPU: in which type products are taken, whether the same run must give the
    same bits, whether its steps are a CUDA graph.

    precision: "tf32" or "bfloat16" change numbers, and so spikes: only where they are asked for.
    deterministic: torch takes no algorithm whose result depends on the order in which threads come;
    the scans themselves never do.
    """

    precision: str = "float32"
    deterministic: bool = False
    graph: bool = False

    def __post_init__(self) -> None:
        """Refuse precisions that do not exist."""
        check_choice("precision", self.precision, PRECISIONS)

    @contextmanager
    def on(self, device: torch.device, backend: str) -> Iterator[None]:
        """Work so while this is open.

        Raises `ConfigError` where the layers do not run by Triton, which alone knows other types
        and graphs.
        """
        if self == Mode():
            yield
            return
        if backend != "triton":
            asked = "--graph" if self.graph else "--deterministic"
            if self.precision != "float32":
                asked = f"--precision {self.precision}"
            raise ConfigError(
                f"{asked} is for the triton backend, on a GPU (--device cuda); "
                f"here layers run by {backend}. Leave it out."
            )
        precision = torch.get_float32_matmul_precision()
        deterministic = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        if self.deterministic:
            # what cuBLAS needs to be so; it is read when it first multiplies
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        if self.precision == "tf32":
            torch.set_float32_matmul_precision("high")
        try:
            # weights change meanwhile
            with torch.autocast(
                device.type,
                torch.bfloat16,
                enabled=self.precision == "bfloat16",
                cache_enabled=False,
            ):
                yield
        finally:
            torch.set_float32_matmul_precision(precision)
            torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])


@dataclass(frozen=True)
class Team:
    """The processes that train one run together, as torchrun starts them: each takes a share of
    every batch; the first one writes.
    """

    rank: int = 0
    world: int = 1
    device: torch.device | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes, logs and shows progress."""
        return self.rank == 0

    def sum(self, *numbers: float) -> list[float]:
        """Return the sums over all processes; every process must call it at the same point."""
        if self.world == 1:
            return list(numbers)
        return processes.add_up(
            torch.tensor(numbers, dtype=torch.float64, device=self.device)
        ).tolist()

    def sum_gradients(self, net: torch.nn.Module) -> None:
        """Replace every gradient by its sum over all processes, the same bits on each.

        One that only others have counts as 0 here.
        """
        if self.world == 1:
            return
        parameters = list(net.parameters())
        # a process without a valid step in a chunk may lack some
        found = self.sum(*(p.grad is not None for p in parameters))
        reached = [p for p, n in zip(parameters, found, strict=True) if n]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in reached]
        flat = processes.add_up(torch.cat([g.flatten() for g in gradients]))
        for p, total in zip(
            reached, torch.split(flat, [g.numel() for g in gradients]), strict=True
        ):
            p.grad = total.view_as(p)


@contextmanager
def team_of(device: torch.device) -> Iterator[Team]:
    """Join the processes that torchrun started ($WORLD_SIZE of them), or be alone.

    The group is made once a process and ends with it: made anew in the same process, one may meet
    what is left of the last one, and wait for ever.
    """
    if processes.started() == 1:
        yield Team()
        return
    if not torch.distributed.is_initialized():
        gpu = device.type == "cuda"
        torch.distributed.init_process_group(
            "nccl" if gpu else "gloo", device_id=device if gpu else None
        )
        atexit.register(torch.distributed.destroy_process_group)
    with processes.sharing():
        yield Team(torch.distributed.get_rank(), torch.distributed.get_world_size(), device)


_asked: Callable[[], bool] | None = None


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a request to stop after the batch; a second one stops
    at once. Within another one, it is the same.
    """
    global _asked
    if _asked is not None:
        yield _asked
        return
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}

    def asked_for() -> bool:
        return bool(asked)

    _asked = asked_for
    try:
        yield _asked
    finally:
        _asked = None
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let SIGTERM end what runs as Ctrl-C does, and SIGINT also where it was ignored at the start,
    in the background of a shell.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def environment(
    device: torch.device, backend: Choice, seed: int, together: int = 1, mode: Mode | None = None
) -> dict[str, Any]:
    """Return what a result depends on beside task and data: versions, machine, backend and why,
    threads, processes, models trained together, seed, git commit of the package.
    """
    commit = None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        here = Path(__file__).parent
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", __file__],
            cwd=here,
            capture_output=True,
            timeout=10,
        )
        if tracked.returncode == 0:
            head = subprocess.run(
                ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10
            )
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
        "processes": processes.started(),
        "together": together,
        **asdict(mode or Mode()),
        "device": str(device),
        "backend": backend.name,
        "backend_reason": backend.reason,
        "seed": seed,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@contextmanager
def tensorboard_writer(
    folder: Path | None, epochs_done: int = 0
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield what writes one log row to TensorBoard in `folder`, or does nothing for None.

    Rows after `epochs_done` replace older ones. Needs the extra "track" (`check_tensorboard`).
    """
    if folder is None:
        yield lambda row: None
        return
    from torch.utils.tensorboard import SummaryWriter

    try:
        _files.check_inside(folder / "events", folder.parent)
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror}.") from error
    with SummaryWriter(str(folder), purge_step=epochs_done + 1) as writer:

        def write(row: dict[str, Any]) -> None:
            for key, value in row.items():
                values = (
                    {f"{key}/{k}": v for k, v in enumerate(value)}
                    if isinstance(value, list)
                    else {key: value}
                )
                for name, number in values.items():
                    if key != "epoch":
                        writer.add_scalar(name, number, row["epoch"])

        yield write


def check_tensorboard() -> None:
    """Raise `ConfigError` where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "--tensorboard needs the package tensorboard. Install it with: pip "
            'install "srnn[track]"'
        )
