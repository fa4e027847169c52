"""`srnn reproduce`: a published table or figure with our numbers beside it."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn._check import ConfigError, RunError, SrnnError, check_range
from srnn.cli import options
from srnn.cli.shared import MOST_THREADS, console, show

if TYPE_CHECKING:
    from srnn.papers import Table
    from srnn.papers.jobs import Job
    from srnn.papers.pool import Pool
    from srnn.papers.results import Result

SUMMARY = (
    "Fill in a published table or figure: train its rows, print published | ours | difference."
)
EXAMPLES = """\
  srnn reproduce                                    the tables there are
  srnn reproduce yin2021-tableS2 --only-costs       operations and energies, without training
  srnn reproduce yin2021-table2 --on ecg --seeds 0 1 2 --jobs 2 --set epochs=60
  srnn reproduce yin2021-table2 --on ecg --read     only what is finished
  srnn reproduce claims --jobs 2 --out docs         our campaign, and the page of what holds

Runs lie in RUNS/TASK/KEY/seedN and are shared by the tables that want them: a finished run is read,
an interrupted one goes on. A row whose data is not here says so. Writes OUT/NAME.md,
NAME.csv and figures. Exit code 1: a run diverged or failed.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument(
        "name",
        nargs="?",
        help="table or figure, as yin2021-table2, or claims; without one they are listed",
    )
    parser.add_argument("--list", action="store_true", help="list the tables and figures")
    parser.add_argument(
        "--only-costs",
        action="store_true",
        help="count operations and energies at the published firing rates; no training, no data",
    )
    parser.add_argument(
        "--rows", nargs="+", default=[], metavar="GLOB", help="only rows whose names fit"
    )
    parser.add_argument(
        "--on", nargs="+", default=[], metavar="TASK", help="only rows on these tasks"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="SEED",
        help="seeds of every row (default: 0 1 2; of a grid, whose runs are folds: 0)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="override a setting of every row, as epochs=60",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="trainings at a time, one thread each (default: 1)",
    )
    parser.add_argument("--read", action="store_true", help="train nothing, read what is finished")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs/reproduce"),
        metavar="DIR",
        help="where the runs lie (default: runs/reproduce)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where tables and figures are written (default: RUNS/tables)",
    )
    parser.add_argument(
        "--backend",
        default="auto",
        help="who runs the time loop: auto or reference (default: auto)",
    )
    options.data(parser)


def run(args: argparse.Namespace) -> int:
    """List the tables, count the costs of one, or train and read its rows; 1 where a run diverged
    or failed.
    """
    from srnn import papers

    if args.name is None or args.list:
        return _list(args)
    if args.name == "claims":
        return _claims(args)
    table = papers.load(args.name).only(args.rows, args.on)
    return _costs(args, table) if args.only_costs else _results(args, table)


def _list(args: argparse.Namespace) -> int:
    from srnn import papers, tables

    known = papers.tables()
    rows = [
        (
            t.name,
            t.title,
            str(len(t.rows)),
            ", ".join(sorted({r.task for r in t.rows if r.task})),
            "yes" if t.costs else "",
        )
        for t in known
    ]
    data = [
        {
            "name": t.name,
            "title": t.title,
            "source": t.source,
            "rows": [r.name for r in t.rows],
            "costs": list(t.costs),
        }
        for t in known
    ]
    show(
        args,
        data,
        tables.plain(
            "Tables and figures",
            ("name", "what", "rows", "tasks", "--only-costs"),
            rows,
            folded=("what", "tasks"),
        ),
    )
    return 0


def _costs(args: argparse.Namespace, table: Table) -> int:
    from srnn import tables
    from srnn.papers import costs, report

    if not table.costs:
        raise ConfigError(f"{table.name} has no published costs. Leave out --only-costs.")
    found = costs.costs(table)
    columns, rows, feet = report.cost_shown(table, found)
    title = f"{table.name}: {table.title} (counted, nothing trained; rules {table.rules})"
    data = costs.as_json(found)
    show(
        args,
        data,
        tables.plain(title, columns, rows, folded=("row", "sees")),
        *feet,
        "",
        *report.prose(table),
    )
    _write(
        args,
        table,
        f"{table.name}-costs",
        *report.cost_lines(table, found),
        [
            "",
            f"Counted by the rules {table.rules} from the networks as built; nothing was trained.",
        ],
    )
    return 1 if any(c.verdict == "DIFFERS" for compared in found.values() for c in compared) else 0


def _results(args: argparse.Namespace, table: Table) -> int:
    from srnn import tables
    from srnn.papers import draw, jobs, pool, report, results

    check_range("--jobs", args.jobs, 1, MOST_THREADS)
    seeds = args.seeds if args.seeds is not None else [0] if table.folds else [0, 1, 2]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {' '.join(map(str, seeds))}: one is given twice.")
    for seed in seeds:
        check_range("--seeds", seed, 0, 2**32 - 1)
    wanted = [jobs.jobs_of(table, row, args.runs, seeds, args.set) for row in table.rows]
    # a seed of every row before the next seed
    ordered: list[Job] = [
        row[k] for k in range(max(map(len, wanted))) for row in wanted if k < len(row)
    ]
    presence = jobs.Presence(args.data_dir)
    workers = pool.Pool(args.jobs, presence, args.backend, console(stderr=True).print)
    _train(args, workers, [(table, ordered)])
    found = results.read(table, args.runs, seeds, args.set, presence, workers.failed)
    columns, rows, feet = report.shown(table, found)
    show(
        args,
        report.as_json(found),
        tables.plain(f"{table.name}: {table.title}", columns, rows, folded=("row", "sees", "runs")),
        *feet,
        "",
        *report.prose(table),
    )
    written = _write(args, table, table.name, report.COLUMNS, report.lines(found))
    if any(r.ours for r in found):
        try:
            written += draw.draw(table, found, _out(args), args.data_dir)
        except SrnnError as error:
            print(f"No figure: {error}", file=sys.stderr)
    if not args.json:
        print("Written: " + ", ".join(map(str, written)))
    return 1 if _broken(found) else 0


def _claims(args: argparse.Namespace) -> int:
    """Train what is missing of our campaign, in its order, and write the page of claims and what
    was measured for it.
    """
    from srnn.papers import campaign, jobs, measured, pool, record, report
    from srnn.training.runs import write_atomically

    if given := [o for o in ("rows", "on", "seeds", "set", "only_costs") if getattr(args, o)]:
        raise ConfigError(
            f"srnn reproduce claims: --{given[0].replace('_', '-')} is for a "
            "single table; the campaign has its own."
        )
    presence = jobs.Presence(args.data_dir)
    workers = pool.Pool(args.jobs, presence, args.backend, console(stderr=True).print)
    path = _made(_out(args)) / "claims.md"
    before = record.read(path.with_suffix(".json"))
    _train(args, workers, campaign.jobs(measured.PARTS, args.runs, record.rows(before)))
    results = record.recalled(
        campaign.results(measured.PARTS, args.runs, presence, workers.failed), before
    )
    text = campaign.page(measured.CLAIMS, results)
    write_atomically(path, text.encode())
    write_atomically(path.with_suffix(".json"), record.text(results).encode())
    if args.json:
        show(args, {table.name: report.as_json(rows) for _, table, rows in results})
    else:
        print(text.partition("## What was run")[0].rstrip() + f"\n\nWritten: {path}")
    return 1 if any(_broken(rows) for _, _, rows in results) else 0


def _broken(found: list[Result]) -> bool:
    return any(s.kind in ("diverged", "failed") for r in found for s in r.states)


def _train(args: argparse.Namespace, workers: Pool, wanted: list[tuple[Table, list[Job]]]) -> None:
    """Train what is missing of the runs of some tables, unless --read forbids it; say how to go on
    when stopped.
    """
    from srnn.papers import jobs

    if args.read:
        return
    here = [
        (table, [job for job in of_table if not workers.presence.missing(job.task)])
        for table, of_table in wanted
    ]
    for table, of_table in here:
        jobs.write_index(table, of_table)
    try:
        workers.train([job for _, of_table in here for job in of_table])
    except KeyboardInterrupt:
        print(f"Stopped; the checkpoints are written.\nGo on with: {_again(args)}", file=sys.stderr)
        raise


def _made(folder: Path) -> Path:
    """Return a folder that is there. Raises `RunError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be created: {error.strerror}. Choose a folder you may "
            "write to with --out."
        ) from error
    return folder


def _out(args: argparse.Namespace) -> Path:
    return Path(args.out) if args.out is not None else Path(args.runs) / "tables"


def _write(
    args: argparse.Namespace, table: Table, name: str, columns: Any, rows: Any, more: Any = ()
) -> list[Path]:
    """Write the table as Markdown and CSV; return the files."""
    from srnn.papers import report
    from srnn.training.runs import write_atomically

    out = _made(_out(args))
    files = [out / f"{name}.md", out / f"{name}.csv"]
    write_atomically(files[0], report.markdown(table, columns, rows, more).encode())
    write_atomically(files[1], report.as_csv(columns, rows).encode())
    return files


def _again(args: argparse.Namespace) -> str:
    """Return the command that goes on."""
    words = ["srnn", "reproduce", args.name]
    for option in ("rows", "on", "seeds"):
        if given := getattr(args, option):
            words += [f"--{option}", *map(str, given)]
    for setting in args.set:
        words += ["--set", setting]
    for option, usual in (
        ("jobs", 1),
        ("runs", Path("runs/reproduce")),
        ("out", None),
        ("data_dir", None),
        ("backend", "auto"),
    ):
        if (given := getattr(args, option)) != usual:
            words += [f"--{option.replace('_', '-')}", str(given)]
    return shlex.join(words) + (" --json" if args.json else "")
