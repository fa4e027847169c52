"""`srnn report`: one HTML file of a run, or of several side by side."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from srnn._check import ConfigError
from srnn.cli.shared import set_threads, show


def run(args: argparse.Namespace) -> int:
    """Write the report; with --figures its figures as files too."""
    from srnn import report

    set_threads(args)
    paths = list(dict.fromkeys(found for given in args.runs for found in report.runs_in(given)))
    out = args.out if args.out is not None else _place(paths)
    if out.suffix not in (".html", ".htm"):
        raise ConfigError(f"--out {out}: a report is an HTML file; give a name that ends in .html.")
    made = report.compose(paths, args.data_dir, out)
    drawn = made.write_figures(args.figures) if args.figures is not None else []
    made.write(out)
    more = f" {len(drawn)} figures: {args.figures}" if drawn else ""
    show(
        args,
        {**made.numbers, "report": str(out), "figures": [str(p) for p in drawn]},
        f"Report: {out}{more}",
    )
    return 0


def _place(paths: list[Path]) -> Path:
    """Return where a report goes: into the folder of the run, or into the one that
    holds all runs.
    """
    if len(paths) == 1:
        return paths[0] / "report.html"
    folder = Path(os.path.commonpath([p.resolve() for p in paths]))
    if (folder / "task.json").exists() or folder == Path(folder.anchor):
        raise ConfigError(
            "These runs share no folder of their own. Say where the report goes "
            "with --out FILE.html."
        )
    return folder / "report.html"
