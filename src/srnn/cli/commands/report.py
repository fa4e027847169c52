"""`srnn report`: one HTML file of a run, or of several side by side."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from srnn._check import ConfigError
from srnn.cli import options
from srnn.cli.shared import set_threads, show

SUMMARY = (
    "Write one HTML file of a run, or of several side by side; it needs no network "
    "(docs/report.md)."
)
EXAMPLES = """\
  srnn report runs/ecg-seed1                     runs/ecg-seed1/report.html, as srnn train writes it
  srnn report runs/ecg-seed* --out ecg.html      several: mean and sd, accuracy against energy
  srnn report runs/ecg-sweep                     all runs in a folder
  srnn report runs/ecg-seed1 --figures figures   also every figure as an SVG file

An unfinished run gets a report that says so. What needs data that are not there is left out,
with the reason.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run folders, or a folder of runs"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="HTML file to write (default: parser.html in the folder of the run, or of the runs)",
    )
    parser.add_argument(
        "--figures", type=Path, metavar="FOLDER", help="also write every figure there as SVG"
    )
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of torch (default: 1)"
    )
    options.data(parser)


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
