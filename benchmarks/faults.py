"""What a training survives: faults are made, the run goes on, and must end as one that nothing
happened to.

    python -m benchmarks.faults                     the table: fault, tries, survived, lost
    python -m benchmarks.faults --tries 5 --json faults.json

A try starts the small task below in a process of its own, lets the fault happen, and goes on with
`resume`. It *survived* where the final checkpoint (weights, optimiser, random state) is equal to
the bit to that of the undisturbed run and the log has each epoch once, or, where nothing can go on
(a damaged file, a folder that is taken), where it was refused with one message of this package and
nothing was changed. Anything else is *lost*.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.timing import machine
from srnn import tasks
from srnn._check import SrnnError
from srnn.tasks.settings import override
from srnn.tasks.task import Task
from srnn.training import session, train
from srnn.training.runs import Run, load_checkpoint

SETTINGS = [
    "data.train=8",
    "data.validation=2",
    "data.test=2",
    "data.steps=24",
    "batch=4",
    "epochs=3",
    "network.hidden=[6]",
    "checkpoint_seconds=0",
]

REFUSED, OTHER = 3, 4
"""Exit codes of a try: an error of the package; any other one."""


@dataclass
class Lab:
    """Where tries are made: a folder, the task, the undisturbed run and how long it took."""

    folder: Path
    task: Task
    whole: Path
    seconds: float
    calls: int
    draw: random.Random

    def fresh(self) -> Path:
        """Return a folder that is not there."""
        path = self.folder / "try" / "run"
        shutil.rmtree(path.parent, ignore_errors=True)
        return path

    def go(
        self, path: Path, before: Callable[[], None] = lambda: None, task: Task | None = None
    ) -> int:
        """Start a process that trains, or goes on, after `before()` in it; return its id."""
        sys.stdout.flush()
        child = os.fork()
        if child:
            return child
        code = OTHER
        try:
            os.setsid()
            before()
            train.fit(task or self.task, path, seed=0, resume=(path / "task.json").exists())
            code = 0
        except SrnnError as error:
            (self.folder / "message").write_text(str(error))
            code = REFUSED
        except (train.Interrupted, KeyboardInterrupt):
            code = 130
        except BaseException as error:
            (self.folder / "message").write_text(f"{type(error).__name__}: {error}")
        finally:
            os._exit(code)

    def end(self, child: int) -> int:
        """Wait for a process; return its exit code, negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def equal(self, path: Path) -> bool:
        """Whether the run ended as the undisturbed one did."""
        if [row["epoch"] for row in Run(path).rows()] != [
            row["epoch"] for row in Run(self.whole).rows()
        ]:
            return False
        for name in ("last", "best"):
            (a, _), (b, _) = (load_checkpoint(Run(p).checkpoint(name)) for p in (path, self.whole))
            if a.keys() != b.keys() or not all(torch.equal(a[k], b[k]) for k in a):
                return False
        return (path / "metrics.json").exists() and not list(path.rglob("*.part"))

    def recovers(self, path: Path) -> bool:
        """Whether the run goes on and ends as the undisturbed one did."""
        return self.end(self.go(path)) == 0 and self.equal(path)

    def stop_midway(self, path: Path) -> None:
        """Start a run and kill it once it has a checkpoint."""
        child = self.go(path)
        while not Run(path).checkpoint("last").exists():
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        self.end(child)

    def message(self) -> str:
        """Return what the last refusal said."""
        path = self.folder / "message"
        return path.read_text() if path.exists() else ""


@dataclass(frozen=True)
class Fault:
    """A fault: its name, and what makes `tries` of it, yielding whether each was survived."""

    name: str
    tries: Callable[[Lab, int], Iterator[bool]]


def killed(lab: Lab, tries: int) -> Iterator[bool]:
    for _ in range(tries):
        path = lab.fresh()
        child = lab.go(path)
        time.sleep(lab.draw.uniform(0, lab.seconds))
        os.kill(child, signal.SIGKILL)
        lab.end(child)
        yield lab.recovers(path)


def killed_while_writing(lab: Lab, tries: int) -> Iterator[bool]:
    """Die at the k-th fsync or rename of the run: at every one of them, or at `tries` of them."""
    chosen = (
        range(lab.calls) if tries >= lab.calls else sorted(lab.draw.sample(range(lab.calls), tries))
    )
    for k in chosen:
        path = lab.fresh()
        assert lab.end(lab.go(path, lambda k=k: _count(k))) == -signal.SIGKILL
        yield lab.recovers(path)


def _count(fatal: int | None = None, note: Path | None = None) -> None:
    """Count every fsync and rename of this process; kill it before the `fatal`-th, or write how
    many there were so far into `note`.
    """
    seen, fsync, replace = [0], os.fsync, Path.replace

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            if seen[0] == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            seen[0] += 1
            if note is not None:
                note.write_text(str(seen[0]))
            return call(*args)

        return run

    os.fsync = counted(fsync)
    Path.replace = counted(replace)  # type: ignore[method-assign]


def asked_to_stop(
    number: signal.Signals, twice: bool = False
) -> Callable[[Lab, int], Iterator[bool]]:
    def tries(lab: Lab, n: int) -> Iterator[bool]:
        for _ in range(n):
            path = lab.fresh()
            child = lab.go(path)
            time.sleep(lab.draw.uniform(0.2, 0.8) * lab.seconds)
            for _ in range(1 + twice):
                os.kill(child, number)
            lab.end(child)
            yield lab.recovers(path)

    return tries


def halted(lab: Lab, tries: int) -> Iterator[bool]:
    for _ in range(tries):
        path = lab.fresh()
        child = lab.go(path)
        time.sleep(lab.draw.uniform(0.2, 0.8) * lab.seconds)
        os.kill(child, signal.SIGSTOP)
        time.sleep(0.2)
        os.kill(child, signal.SIGCONT)
        yield lab.end(child) == 0 and lab.equal(path)


def disk_full(lab: Lab, tries: int) -> Iterator[bool]:
    """No file may grow beyond a size: the write that would fails, as on a full disk."""
    largest = lab.whole.joinpath("checkpoints", "last.safetensors").stat().st_size
    for k in range(tries):
        limit = max(1, largest * (k + 1) // (tries + 1))

        def small(limit: int = limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        path = lab.fresh()
        code = lab.end(lab.go(path, small))
        yield code == REFUSED and "cannot be" in lab.message() and lab.recovers(path)


def damaged(lab: Lab, tries: int) -> Iterator[bool]:
    """A byte of the checkpoint is another one, anywhere in the file; or the file is cut."""
    path = lab.fresh()
    lab.stop_midway(path)
    good = path.with_name("good")
    shutil.copytree(path, good)
    size = Run(good).checkpoint("last").stat().st_size
    for k in range(tries):
        shutil.rmtree(path)
        shutil.copytree(good, path)
        file = Run(path).checkpoint("last")
        raw = bytearray(file.read_bytes())
        at = size * k // tries
        if k % 5 == 4:
            del raw[at:]
        else:
            raw[at] ^= 1 << lab.draw.randrange(8)
        file.write_bytes(raw)
        code = lab.end(lab.go(path))
        refused = code == REFUSED and "damaged" in lab.message() and file.read_bytes() == bytes(raw)
        yield refused or (code == 0 and lab.equal(path))


def two_at_once(lab: Lab, tries: int) -> Iterator[bool]:
    for _ in range(tries):
        path = lab.fresh()
        first = lab.go(path)
        while not (path / "checkpoints" / "last.safetensors").exists():
            time.sleep(0.01)
        os.kill(first, signal.SIGSTOP)
        second = lab.end(lab.go(path))
        refused = second == REFUSED and "in use by another process" in lab.message()
        os.kill(first, signal.SIGCONT)
        yield lab.end(first) == 0 and refused and lab.equal(path)


def clock_jumps(lab: Lab, tries: int) -> Iterator[bool]:
    """The clock of the wall jumps by years, forwards and back, at every look."""
    for _ in range(tries):

        def wild() -> None:
            now, looks = time.time, [0]

            class Wild(datetime.datetime):
                @classmethod
                def now(cls, tz: Any = None) -> Any:
                    return datetime.datetime.fromtimestamp(time.time(), tz)

            def jumping() -> float:
                looks[0] += 1
                return now() + (-1) ** looks[0] * 3e8

            time.time = jumping
            session.datetime = Wild  # type: ignore[misc, attr-defined]

        path = lab.fresh()
        child = lab.go(path, wild)
        time.sleep(0.5 * lab.seconds)
        os.kill(child, signal.SIGTERM)
        lab.end(child)
        yield lab.end(lab.go(path, wild)) == 0 and lab.equal(path)


def other_data(lab: Lab, tries: int) -> Iterator[bool]:
    other = (
        override(lab.task, ["data.seed=77"])
        if hasattr(lab.task.data, "seed")
        else override(lab.task, ["data.train=11"])
    )
    for _ in range(tries):
        path = lab.fresh()
        lab.stop_midway(path)
        before = Run(path).checkpoint("last").read_bytes()
        refused = (
            lab.end(lab.go(path, task=other)) == REFUSED
            and Run(path).checkpoint("last").read_bytes() == before
        )
        yield refused and lab.recovers(path)


def folder_gone(lab: Lab, tries: int) -> Iterator[bool]:
    for _ in range(tries):
        path = lab.fresh()
        child = lab.go(path)
        while not (path / "checkpoints" / "last.safetensors").exists():
            time.sleep(0.01)
        # at once; what is deleted file by file may be written anew meanwhile
        path.rename(path.with_name("gone"))
        yield lab.end(child) == REFUSED and str(path) in lab.message()


def odd_names(lab: Lab, tries: int) -> Iterator[bool]:
    for name in ("a b", "quote'\"s", "line\nbreak", "größe-θ", "-rf", "%s{0}", "x" * 200)[:tries]:
        path = lab.fresh().with_name(name)
        child = lab.go(path)
        time.sleep(0.5 * lab.seconds)
        os.kill(child, signal.SIGKILL)
        lab.end(child)
        yield lab.recovers(path)


FAULTS = (
    (Fault("kill -9 at a random moment", killed), 50),
    (Fault("kill -9 at an fsync or a rename, each of them", killed_while_writing), 10_000),
    (Fault("SIGTERM", asked_to_stop(signal.SIGTERM)), 10),
    (Fault("SIGINT twice", asked_to_stop(signal.SIGINT, twice=True)), 10),
    (Fault("SIGSTOP, SIGCONT", halted), 5),
    (Fault("a full disk (no file beyond a size)", disk_full), 10),
    (Fault("a damaged checkpoint: a flipped bit, or cut, over all of the file", damaged), 60),
    (Fault("two processes in one folder", two_at_once), 5),
    (Fault("the clock jumps by years at every look", clock_jumps), 5),
    (Fault("other data than it was started on", other_data), 3),
    (Fault("the folder is deleted while it trains", folder_gone), 5),
    (Fault("odd folder names, killed and resumed", odd_names), 7),
)
"""Each fault, and how many tries the long form makes."""


def laboratory(folder: Path) -> Lab:
    """Run the task undisturbed, and count what it writes."""
    torch.set_num_threads(1)
    task = override(tasks.load("ecg_sim"), SETTINGS)
    lab = Lab(folder, task, folder / "whole", 0.0, 0, random.Random(0))
    assert lab.end(lab.go(folder / "warm")) == 0, lab.message()  # the kernels are compiled
    began = time.monotonic()
    assert lab.end(lab.go(lab.whole, lambda: _count(note=folder / "calls"))) == 0, lab.message()
    lab.seconds = time.monotonic() - began
    lab.calls = int((folder / "calls").read_text())
    return lab


def measure(
    most: int | None = None, say: Callable[[str], None] = lambda text: None
) -> list[dict[str, Any]]:
    """Return a row for each fault; at most `most` tries of each."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="srnn-faults-") as folder:
        lab = laboratory(Path(folder))
        for fault, tries in FAULTS:
            found = list(fault.tries(lab, tries if most is None else min(most, tries)))
            rows.append(
                {
                    "fault": fault.name,
                    "tries": len(found),
                    "survived": sum(found),
                    "lost": len(found) - sum(found),
                }
            )
            say(
                f"{fault.name}: {sum(found)} of {len(found)}"
                + (f"  (last message: {lab.message()})" if not all(found) else "")
            )
    return rows


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 where anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tries", type=int, metavar="N", help="at most so many tries of each fault"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows")
    args = parser.parse_args(argv)
    console = Console(stderr=True)
    rows = measure(args.tries, console.print)
    table = Table(title="Faults of a training", header_style="bold")
    for heading in ("fault", "tries", "survived", "lost"):
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    for row in rows:
        table.add_row(*(str(row[k]) for k in ("fault", "tries", "survived", "lost")))
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(1), "rows": rows}, indent=1))
    return 1 if any(row["lost"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
