"""One training in a process of its own: `python -m srnn.papers.worker '{"task": …, "settings": […],
"seed": 0, …}'`.

Goes on with a run that was stopped. The last line of its output is JSON: {"kind": …, "message": …},
with one of the kinds of CODES.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CODES = {"finished": 0, "diverged": 1, "data": 2, "error": 2, "stopped": 130}


def main(order: dict[str, Any]) -> str:
    """Train what the order says; return what came of it, after saying it."""
    import torch

    from srnn._check import DataError, DivergedError, SrnnError
    from srnn.tasks import load
    from srnn.tasks.settings import override
    from srnn.training.loop import Interrupted, Progress
    from srnn.training.runs import DIVERGED, Run
    from srnn.training.train import fit

    torch.set_num_threads(1)
    out, kind, message = Path(order["out"]), "finished", ""
    try:
        task, seed, resume = (
            override(load(order["task"]), order["settings"]),
            order["seed"],
            (out / "task.json").exists(),
        )
        if resume:  # as that run was started: settings that move no result may have changed
            task, seed = Run.open(out).task()
        fit(
            task,
            out,
            data_dir=order["data_dir"],
            seed=seed,
            backend=order["backend"],
            resume=resume,
            progress=Progress(epoch=_say),
            test=order["test"],
        )
    except Interrupted as stop:
        kind, message = "stopped", str(stop)
    except KeyboardInterrupt:
        kind, message = "stopped", "Stopped before an epoch was trained."
    except DivergedError as error:
        kind, message = "diverged", str(error)
        Run.open(out).write(DIVERGED, {"message": message})
    except DataError as error:
        kind, message = "data", str(error)
    except SrnnError as error:
        kind, message = "error", str(error)
    print(json.dumps({"kind": kind, "message": message}), flush=True)
    return kind


def _say(row: dict[str, Any]) -> None:
    print(
        f"epoch {row['epoch']} loss {row['loss']:.4f} validation "
        f"{100 * row['validation_accuracy']:.2f} % {row['seconds']:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(CODES[main(json.loads(sys.argv[1]))])
