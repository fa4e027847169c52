"""`srnn doctor`: what works on this machine, and what to do about what does not."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from srnn.cli import options
from srnn.cli.shared import show

SUMMARY = "Say what works on this machine, and what to do about what does not."
EXAMPLES = """\
  srnn doctor
  srnn doctor --data-dir data --json
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    options.data(parser)


_STYLES = {"ok": "green", "warning": "yellow", "missing": "dim", "broken": "bold red"}


def run(args: argparse.Namespace) -> int:
    """Look, and print. Return 1 where something that is needed does not work."""
    from rich.text import Text

    from srnn import doctor, tables

    checks = doctor.examine(args.data_dir)
    rows = [(c.what, Text(c.state, style=_STYLES[c.state]), c.found, c.repair) for c in checks]
    show(
        args,
        [asdict(c) for c in checks],
        tables.plain(
            "srnn doctor", ("what", "", "found", "what to do"), rows, folded=("found", "what to do")
        ),
    )
    return 1 if any(c.state == "broken" for c in checks) else 0
