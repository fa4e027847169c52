"""`srnn check`: every task on a small made-up data set in its true format, one training step, one
evaluation.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn._check import SrnnError
from srnn.cli.shared import console, show

if TYPE_CHECKING:
    from srnn.tasks.task import Task


def run(args: argparse.Namespace) -> int:
    """Run `srnn check`; 2 where a task failed."""
    from srnn import tables, tasks

    chosen = [tasks.load(name) for name in args.tasks or tasks.names()]
    rows = []
    for k, task in enumerate(chosen, 1):
        console(stderr=True).print(f"[{k} of {len(chosen)}] checking {task.name} …")
        rows.append(check(task))
    texts = [
        (r["task"], "ok" if r["ok"] else "FAILED", r["seen"], f"{r['seconds']:.1f} s", r["detail"])
        for r in rows
    ]
    passed = sum(r["ok"] for r in rows)
    show(
        args,
        rows,
        tables.plain(
            "Made-up data, one training step", ("task", "", "a batch", "time", "detail"), texts
        ),
        f"{passed} of {len(rows)} tasks work.",
    )
    return 0 if passed == len(rows) else 2


def check(task: Task, batch: int = 8) -> dict[str, Any]:
    """Write made-up data for a task, read and encode it, train one step on `batch` recordings,
    evaluate as many; return what happened.
    """
    import torch

    from srnn.tasks.task import collate
    from srnn.training.chunks import chunks
    from srnn.training.evaluate import assess

    began, row = time.monotonic(), {"task": task.name, "ok": False, "seen": "", "detail": ""}
    with tempfile.TemporaryDirectory(prefix="srnn-check-") as folder:
        try:
            task = task.on_made_up(Path(folder)).resolved(folder)
            parts = task.load(folder)
            torch.manual_seed(0)
            net = task.build()
            before = [p.detach().clone() for p in net.parameters()]
            seen = collate(
                [
                    task.augmented(parts.train[i], 0, 0, i)
                    for i in range(min(batch, len(parts.train)))
                ]
            )
            row["seen"] = " x ".join(map(str, seen.x.shape))
            optimiser = task.optimiser.build(net)
            for chunk in chunks(task, net, seen, "auto"):
                chunk.loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            moved = sum(
                not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)
            )
            result = assess(net, task, parts.test[:batch])
            ok = moved > 0 and bool(torch.isfinite(chunk.loss)) and 0.0 <= result["accuracy"] <= 1.0
            row |= {
                "ok": ok,
                "detail": f"{len(parts.train)} + {len(parts.validation)} + "
                f"{len(parts.test)} recordings",
            }
        except SrnnError as error:
            row["detail"] = str(error)
    return {**row, "seconds": round(time.monotonic() - began, 2)}
