"""`srnn data`: list, fetch, verify or show data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from srnn._check import ConfigError
from srnn.cli import options
from srnn.cli.shared import show, task_of

SUMMARY = "List, fetch, verify or show data."
EXAMPLES = """\
  srnn data list
  srnn data fetch qtdb            the encoded files of Yin et al. (0.6 MB)
  srnn data fetch qtdb --raw      the PhysioNet records (about 75 MB)
  srnn data fetch speech_commands --corpus 0.01
  srnn data verify qtdb
  srnn data show ecg --index 3 --out ecg.png
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("action", choices=("list", "fetch", "verify", "show"))
    parser.add_argument("name", nargs="?", help="data set (fetch, verify) or task (show)")
    parser.add_argument(
        "--raw",
        action="store_true",
        help="fetch qtdb: the original records instead of the encoded files",
    )
    parser.add_argument(
        "--corpus",
        choices=("0.01", "0.02"),
        help="fetch speech_commands: which version (default: 0.02)",
    )
    parser.add_argument(
        "--part",
        default="train",
        choices=("train", "validation", "test"),
        help="show: which part (default: train)",
    )
    parser.add_argument("--index", type=int, default=0, help="show: which recording (default: 0)")
    options.task(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="show: svg, png or pdf file (default: TASK-PART-INDEX.png)",
    )
    options.data(parser)


def run(args: argparse.Namespace) -> int:
    """Run `srnn data`."""
    from srnn import tables
    from srnn.datasets import catalogue
    from srnn.datasets._fetch import data_root

    root = data_root(args.data_dir)
    if args.action != "list" and args.name is None:
        known = "task" if args.action == "show" else f"data set: {', '.join(catalogue.NAMES)}"
        raise ConfigError(f"data {args.action}: which one? Expected the name of a {known}.")
    if args.action == "show":
        return _show(args)
    if args.action == "list":
        rows = [_row(name, root) for name in catalogue.NAMES]
        rows.append(
            {
                "name": "ecg_sim",
                "what": "simulated ECG, comes with the package",
                "here": True,
                "licence": "as srnn",
                "folder": "",
            }
        )
        texts = [
            (
                r["name"],
                r["what"],
                "yes" if r["here"] else f"srnn data fetch {r['name']}",
                r["licence"],
            )
            for r in rows
        ]
        show(
            args, rows, tables.plain(f"Data in {root}", ("name", "what", "here", "licence"), texts)
        )
        return 0
    module = catalogue.load(args.name)
    if args.action == "fetch":
        paths = module.fetch(root, **_options(args))
        show(
            args,
            [str(p) for p in paths],
            f"{len(paths)} files in {paths[0].parent}\n{module.LICENCE}\n{module.CITATION}",
        )
        return 0
    checks = module.verify(root)
    found = [{"file": name, "ok": ok, "detail": detail} for name, ok, detail in checks]
    show(
        args,
        found,
        tables.plain(
            f"Data in {root}",
            ("file", "ok", "detail"),
            [(n, "yes" if ok else "NO", d) for n, ok, d in checks],
        ),
    )
    return 0 if all(ok for _, ok, _ in checks) else 2


def _row(name: str, root: Path) -> dict[str, Any]:
    from srnn.datasets import catalogue

    what, licence = catalogue.about(name)
    return {
        "name": name,
        "what": what.rstrip(".:"),
        "here": catalogue.present(name, root),
        "licence": licence.partition(": ")[2],
        "folder": str(root),
    }


def _options(args: argparse.Namespace) -> dict[str, Any]:
    if args.raw and args.name != "qtdb":
        raise ConfigError(f"--raw is for qtdb; {args.name} has one form only.")
    if args.corpus is not None and args.name != "speech_commands":
        raise ConfigError(f"--corpus is for speech_commands; {args.name} has one version only.")
    return ({"raw": True} if args.raw else {}) | (
        {"version": args.corpus} if args.corpus is not None else {}
    )


def _show(args: argparse.Namespace) -> int:
    from srnn.report import figures

    task = task_of(args, args.name).resolved(args.data_dir)
    samples = getattr(task.load(args.data_dir), args.part)
    if not 0 <= args.index < len(samples):
        raise ConfigError(
            f"--index {args.index}: the {args.part} part of {task.name} has "
            f"recordings 0 … {len(samples) - 1}."
        )
    sample = samples[args.index]
    title = f"{task.name}, {args.part} part, recording {args.index} ({sample.name})"
    figure = figures.recording(sample, task.classes, simulated=task.data.simulated, title=title)
    path = figures.save(figure, args.out or Path(f"{task.name}-{args.part}-{args.index}.png"))
    about = {
        "name": sample.name,
        "steps": len(sample.signal),
        "channels": sample.signal.shape[1],
        "rate": sample.rate,
        "figure": str(path),
    }
    show(
        args,
        about,
        f"{sample.name}: {about['steps']} steps at {sample.rate:g} Hz, "
        f"{about['channels']} channels. Figure: {path}",
    )
    return 0
