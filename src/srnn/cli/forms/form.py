"""What `srnn export` asks of a form: to write a network's files, to play them back, and to say what
there is to say of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from srnn._check import ConfigError

if TYPE_CHECKING:
    from srnn.datasets import Sample
    from srnn.nn.networks import Stack
    from srnn.tasks.task import Task
    from srnn.training.fidelity import Player


Written = tuple["Player | None", dict[str, Any]]
"""What plays the files that were written, None where nothing does, and what else there is to
report.
"""


@dataclass(frozen=True)
class Given:
    """What is exported: the network of a run, with its task and seed; recordings to calibrate on,
    and those of the test part to compare on.
    """

    net: Stack
    task: Task
    seed: int
    train: Sequence[Sample]
    test: Sequence[Sample]
    args: argparse.Namespace


class Form:
    """One form. name: as --to has it. options: those of the command that are for it, by the names
    of their values.
    """

    name: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()

    def check(self, args: argparse.Namespace) -> None:
        """Raise `ConfigError` for options that are not for this form, or cannot be."""
        for option, usual in (
            ("bits", None),
            ("dt", None),
            ("rule", "exponential"),
            ("name", "model"),
        ):
            if option not in self.options and getattr(args, option) != usual:
                raise ConfigError(f"--{option} is not for --to {self.name}. Leave it off.")

    def folder(self, args: argparse.Namespace) -> str:
        """Return the name of the folder, in RUN/export."""
        return self.name

    def write(self, given: Given, work: Path) -> Written:
        """Write the files into the folder `work`."""
        raise NotImplementedError

    def rows(self, data: dict[str, Any]) -> list[tuple[str, str]]:
        """Return the table of a report."""
        return [(name, _shown(value)) for name, value in data.items()]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
