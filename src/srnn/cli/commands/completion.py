"""`srnn completion`: a script that lets a shell complete commands, options and the
names of tasks.
"""

from __future__ import annotations

import argparse
import json

from srnn.cli.parser import Parser

SUMMARY = "Print a script that lets a shell complete commands, options and tasks."
EXAMPLES = """\
  srnn completion bash     into ~/.local/share/bash-completion/completions/srnn
  srnn completion zsh      into ~/.zfunc/_srnn, where ~/.zfunc is in $fpath
  srnn completion fish     into ~/.config/fish/completions/srnn.fish
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(parser=parser)


_TASKS = ("task", "tasks", "what")
"""Arguments that take the name of a task (`what`: or a run folder)."""


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from srnn import tasks

    for command in args.parser.commands.values():
        _complete(command, tasks.names())
    script = shtab.complete(args.parser, args.shell)
    print(json.dumps({"shell": args.shell, "script": script}) if args.json else script)
    return 0


def _complete(parser: Parser, names: tuple[str, ...]) -> None:
    """Say of each argument what completes it."""
    import shtab

    for action in parser._actions:
        folder = action.metavar in ("DIR", "FOLDER") or action.dest in ("run", "runs")
        if action.dest in _TASKS and not action.option_strings:
            action.choices = names
        elif folder:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar == "FILE" or action.dest == "input":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
