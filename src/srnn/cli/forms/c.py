"""`srnn export --to c`: C99 for a microcontroller, compiled and compared here."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn import _files
from srnn._check import ConfigError
from srnn.cli.forms.form import Form, Given, Written

if TYPE_CHECKING:
    from torch import Tensor

CALIBRATION = 16
"""So many recordings of the training part show which values occur, where integers are wanted; and
of the test part, what a step costs.
"""


class C(Form):
    """C99, with float numbers or in whole numbers."""

    name = "c"
    options = ("bits", "name")

    def check(self, args: argparse.Namespace) -> None:
        super().check(args)
        if args.bits not in (None, 4, 8):
            raise ConfigError(
                f"--bits is {args.bits}; expected 8 or 4 (whole numbers), or none for float."
            )

    def folder(self, args: argparse.Namespace) -> str:
        return "c-float" if args.bits is None else f"c-int{args.bits}"

    def write(self, given: Given, work: Path) -> Written:
        from srnn.export import CPlayer, footprint, to_c
        from srnn.tasks.task import collate
        from srnn.training.evaluate import assess

        args, net = given.args, given.net
        calibration = collate([given.train[k] for k in range(min(CALIBRATION, len(given.train)))]).x
        model = to_c(net, work, name=args.name, bits=args.bits, calibration=calibration)
        player, first = CPlayer(model), collate(given.test[:1])
        _write_example(work, first.x[0], player(first.x, first.lengths).potential[0])
        cost = assess(net, given.task, given.test[:CALIBRATION], seed=given.seed)["energy"][
            "measured"
        ]
        return player, {
            "numbers": "float32" if args.bits is None else f"int{args.bits}",
            "footprint": footprint(model).as_dict(),
            "nanoseconds_per_step": player.nanoseconds(first.x[0]),
            "mac_per_step": cost["mac"],
            "ac_per_step": cost["ac"],
        }

    def rows(self, data: dict[str, Any]) -> list[tuple[str, str]]:

        def percent(value: float | None) -> str:
            return "no spikes" if value is None else f"{100 * value:.3f} %"

        size = data["footprint"]
        return [
            ("numbers", data["numbers"]),
            (
                "flash (bytes)",
                f"{size['flash']} = {size['tables']} of tables + {size['code']} of "
                "code of this processor, -Os",
            ),
            ("RAM (bytes)", f"{size['ram']} = {size['state']} of state + {size['stack']} of stack"),
            (
                "operations per step",
                f"{data['mac_per_step']:.4g} MAC + {data['ac_per_step']:.4g} AC (rules measured)",
            ),
            ("time per step, this processor", f"{data['nanoseconds_per_step']:.0f} ns, -O3"),
            (
                "compared",
                f"{data['recordings']} recordings of the test part, {data['steps']} steps",
            ),
            ("spikes that agree", percent(data["spike_agreement"])),
            ("recordings with all spikes equal", percent(data["recordings_equal"])),
            ("decisions that agree", percent(data["prediction_agreement"])),
            (
                "score error, largest / mean",
                f"{data['score_error']:.3g} / {data['score_error_mean']:.3g}",
            ),
            (
                "accuracy before → after",
                f"{100 * data['accuracy_before']:.2f} % → {100 * data['accuracy_after']:.2f} %",
            ),
        ]


def _write_example(folder: Path, x: Tensor, scores: Tensor) -> None:
    """Write a recording (T, C) as main.c reads it, and what it must print for it."""
    _files.write(
        folder / "example.txt",
        "".join(" ".join(f"{v:.9g}" for v in step) + "\n" for step in x.tolist()),
    )
    lines = (
        f"{max(range(len(step)), key=step.__getitem__)} {' '.join(f'{v:.9g}' for v in step)}\n"
        for step in scores.tolist()
    )
    _files.write(folder / "expected.txt", "".join(lines))
