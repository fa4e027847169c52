"""What a search has found so far."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from srnn.search.study import Sweep, reap
from srnn.training.runs import write_atomically


def results(sweep: Sweep) -> dict[str, Any]:
    """Return the study so far: {"study", "task", "simulated", "seed", "wanted", "trials": a row
    each, "best": a row or None}.
    """
    states = {
        "COMPLETE": "complete",
        "PRUNED": "pruned",
        "FAIL": "failed",
        "RUNNING": "running",
        "WAITING": "waiting",
    }
    study = sweep.open()
    with sweep.locks.claiming():
        reap(sweep, study)
    rows = []
    for t in study.get_trials(deepcopy=False):
        about = t.user_attrs
        reported = [v for _, v in sorted(t.intermediate_values.items())]
        rows.append(
            {
                "trial": t.number,
                "state": "interrupted" if about.get("interrupted") else states[t.state.name],
                "validation_accuracy": t.value if t.state.name == "COMPLETE" else None,
                "epochs": len(reported),
                "best_epoch": about.get("best_epoch"),
                "firing_rate": about.get("firing_rate"),
                "sops_per_sample": about.get("sops_per_sample"),
                "parameters": about.get("parameters"),
                **{f"energy_{rules}": value for rules, value in about.get("energy", {}).items()},
                "seconds": about.get("seconds"),
                "settings": {
                    d.path: d.shown(t.params[d.path]) for d in sweep.space if d.path in t.params
                },
                "reason": about.get("reason", ""),
                "folder": about.get("folder", ""),
            }
        )
    complete = [r for r in rows if r["state"] == "complete"]
    best = max(complete, key=lambda r: (r["validation_accuracy"], -r["trial"]), default=None)
    return {
        "study": sweep.study,
        "task": sweep.task.name,
        "simulated": sweep.task.data.simulated,
        "seed": sweep.seed,
        "wanted": sweep.trials,
        "trials": rows,
        "best": best,
    }


def write_csv(sweep: Sweep, found: dict[str, Any]) -> Path:
    """Write the table of trials to out/trials.csv, a column a searched setting; return its path."""
    paths = [d.path for d in sweep.space]
    apart = ("settings", "reason", "folder")
    plain = list(dict.fromkeys(k for row in found["trials"] for k in row if k not in apart))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*plain, *paths, "reason", "folder"])
    for row in found["trials"]:
        cells = [*(row.get(k) for k in plain), *(row["settings"].get(p) for p in paths)]
        cells += [row["reason"], row["folder"]]
        writer.writerow(["" if c is None else c for c in cells])
    path = sweep.out / "trials.csv"
    write_atomically(path, text.getvalue().encode())
    return path
