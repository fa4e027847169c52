"""A long live stream with garbage in it: what is lost, whether the labels are those of the whole
recordings, and memory.

    python -m benchmarks.stream_soak                                        ten minutes (below)
    python -m benchmarks.stream_soak --run runs/ecg-seed0 --data-dir DIR    a run of yours
    python -m benchmarks.stream_soak --minutes 1 --steps 50000              a short form

Ten minutes of signal come at 100 times real time, then a million steps as fast as they go.

Without --run, a network is trained for one epoch on the simulated ECG. `srnn stream` runs as a
process of its own; its standard input gets the steps of the test part, again and again, as lines of
numbers, every hundredth of them followed by a line that is none. Every label of every step is
compared with that of `net(x)` on the whole recording; the resident memory of the process is read
after every recording. Exit code 1 where anything is lost, differs or grows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

GARBAGE = (
    b"garbage",
    b"1,2",
    b"",
    b"1,2,3,4,5,6,7",
    b"x;y;z",
    b"\x00\xff\xfe",
    b"1e999,0,0,0",
    b"NaNcy,0,0,0",
    b"0x10,1_0,0,0",
)
GROWTH_MB = 4.0
"""Megabytes by which the memory may grow after the first tenth of the recordings."""


def run_folder(root: Path) -> Path:
    """Train a small network for one epoch on simulated ECG; return its run folder."""
    from srnn import tasks
    from srnn.tasks.settings import override
    from srnn.training.train import fit

    settings = ["epochs=1", "data.train=32", "data.validation=8", "data.test=16"]
    fit(override(tasks.load("ecg_sim"), settings), root / "run")
    return root / "run"


def whole(
    run: Path, data_dir: str | None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Return the steps of the test part (B, T, C), the label of every step by `net(x)` (B, T), and
    the first step that counts.
    """
    from srnn.tasks.task import collate
    from srnn.training.runs import load_run

    _, task, _, net = load_run(run)
    samples = list(task.load(data_dir).test)
    steps = min(len(s.signal) for s in samples)
    batch = collate([s for s in samples if len(s.signal) == steps][:200])
    with torch.no_grad():
        scores = task.decode.scores(net(batch.x, batch.lengths), batch.lengths)
    return batch.x.numpy(), scores.argmax(-1).numpy(), task.decode.skip


def feed(pipe: Any, rows: list[bytes], rate: float | None) -> None:
    """Write lines, at `rate` a second or as fast as they are taken, and close."""
    begin, block = time.perf_counter(), 100
    for first in range(0, len(rows), block):
        if rate is not None:
            time.sleep(max(0.0, begin + first / rate - time.perf_counter()))
        pipe.write(b"\n".join(rows[first : first + block]) + b"\n")
        pipe.flush()
    pipe.close()


def resident(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def soak(
    run: Path, x: Any, labels: Any, skip: int, *, steps: int, rate: float | None
) -> dict[str, Any]:
    """Feed so many steps, at `rate` a second or as fast as they go; return what happened."""
    batch, length, channels = x.shape
    many = steps // length
    lines = [b",".join(b"%g" % v for v in row) for row in x.reshape(-1, channels).tolist()]
    rng = np.random.default_rng(0)
    rows: list[bytes] = []
    garbage = 0
    for k in range(many * length):
        rows.append(lines[k % len(lines)])
        if k % 100 == 99:
            rows.append(GARBAGE[int(rng.integers(len(GARBAGE)))])
            garbage += bool(rows[-1])  # an empty line is none
    command = [
        sys.executable,
        "-m",
        "srnn",
        "stream",
        str(run),
        "--input",
        "steps",
        "--reset-every",
        str(length),
        "--json",
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    seen, memory = np.full(length, -1), list[float]()
    compared = wrong = 0
    begin, end = time.perf_counter(), dict[str, Any]()
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "start":
            begin = time.perf_counter()
            threading.Thread(target=feed, args=(process.stdin, rows, rate), daemon=True).start()
        elif event["event"] == "class":
            seen[event["step"] :] = event["class"]
        elif event["event"] == "recording":
            wrong += int((seen[skip:] != labels[len(memory) % batch, skip:]).sum())
            compared += length - skip
            seen[:] = -1
            memory.append(resident(process.pid))
        elif event["event"] == "end":
            end = event
    seconds = time.perf_counter() - begin
    code = process.wait()
    warm = memory[len(memory) // 10 :] or [float("nan")]
    return {
        "exit_code": code,
        "errors": process.stderr.read().decode()[-2000:],
        "seconds": round(seconds, 1),
        "steps_fed": many * length,
        "garbage_fed": garbage,
        "steps": end.get("steps"),
        "malformed": end.get("malformed"),
        "dropped": end.get("dropped"),
        "labels_compared": compared,
        "labels_that_differ": wrong,
        "rss_mb": {
            "after a tenth": round(warm[0], 1),
            "at the end": round(warm[-1], 1),
            "growth": round(max(warm) - warm[0], 1),
        },
        "compute_us": end.get("compute_us"),
        "response_us": end.get("response_us"),
        "steps_per_second": end.get("steps_per_second"),
    }


def holds(found: dict[str, Any]) -> bool:
    """Whether nothing was lost, nothing differs, and the memory is flat."""
    lost = (
        found["steps_fed"] - (found["steps"] or 0),
        found["garbage_fed"] - (found["malformed"] or 0),
        found["dropped"],
        found["labels_that_differ"],
    )
    flat = found["rss_mb"]["growth"] < GROWTH_MB
    return found["exit_code"] == 0 and not any(lost) and found["labels_compared"] > 0 and flat


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--run",
        type=Path,
        help="run folder with a label for every step (default: a network trained for an epoch)",
    )
    parser.add_argument("--data-dir")
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help="minutes of signal of the paced part (default: 10)",
    )
    parser.add_argument("--speed", type=float, default=100.0, help="times real time (default: 100)")
    parser.add_argument(
        "--steps",
        type=int,
        default=1_000_000,
        help="steps of the part that goes as fast as it can (default: a million)",
    )
    args = parser.parse_args(argv)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        run = args.run or run_folder(Path(folder))
        x, labels, skip = whole(run, args.data_dir)
        from srnn.training.runs import load_run

        per_second = 1 / load_run(run)[1].step_seconds
        for name, steps, rate in (
            (
                f"{args.minutes:g} minutes at {args.speed:g}x",
                int(60 * args.minutes * per_second),
                args.speed * per_second,
            ),
            (f"{args.steps} steps", args.steps, None),
        ):
            found = soak(run, x, labels, skip, steps=steps, rate=rate)
            good &= holds(found)
            print(json.dumps({"part": name, "holds": holds(found), **found}, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
