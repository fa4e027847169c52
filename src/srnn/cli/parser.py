"""The argument parser: one line on what is wrong, with the name that was probably meant, in place
of the whole usage.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from srnn._check import LARGEST, meant, whole_number


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors say what came, what was wanted and where to read on."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **settings)
        self.commands: dict[str, Parser] = {}

    def command(self, name: str) -> Parser:
        """Return the parser of a command, or this one where there is none."""
        return self.commands.get(name, self)

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse; an option that does not exist is refused by the command it was given to."""
        args, rest = self.parse_known_args(argv)
        if rest:
            own = self.command(getattr(args, "command", None) or "")
            own.unknown(next((word for word in rest if word.startswith("-")), rest[0]))
        return args

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help; argparse would keep quiet where it cannot be written."""
        (file or sys.stderr).write(message)

    def unknown(self, word: str) -> NoReturn:
        """Refuse a word that is no option and has no place."""
        if not word.startswith("-"):
            self.error(f"{word!r} is one argument too many.")
        name = word.partition("=")[0]
        self.error(f"there is no option {name}.{meant(name, self._option_string_actions)}")

    def error(self, message: str) -> NoReturn:
        """Print one message and end with code 2."""
        choice = re.fullmatch(
            r"argument (\S+): invalid choice: "
            r"'?(.*?)'? \(choose from (.*)\)",
            message,
        )
        if choice is not None:
            what, given, listed = choice.groups()
            known = [word.strip().strip("'") for word in listed.split(",")]
            message = (
                f"there is no {'command' if what == 'COMMAND' else what} "
                f"{given!r}.{meant(given, known)} Known: {', '.join(known)}."
            )
        message += "" if message.endswith((".", "?")) else "."
        print(f"{self.prog}: {message} `{self.prog} --help` shows what it takes.", file=sys.stderr)
        sys.exit(2)


def seeds(text: str) -> list[int]:
    """Return the seeds that a word of --seeds stands for: "3", or "0:8" for 0 to 7."""
    first, colon, end = text.partition(":")
    begin = whole_number(first)
    stop = whole_number(end) if colon else None if begin is None else begin + 1
    if begin is None or stop is None or not 0 < stop - begin <= MOST_SEEDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no seed; expected a whole number, or FIRST:END such as 0:8: numbers up "
            f"to {LARGEST}, at most {MOST_SEEDS} seeds"
        )
    return list(range(begin, stop))


MOST_SEEDS = 10_000
"""Runs that one command may ask for."""
