"""`srnn export`: write the network of a run in another form, with a report on whether it is still the same network."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from srnn._check import check_choice
from srnn.commands import export_c, export_exchange

FORMATS: dict[str, Callable[[argparse.Namespace], int]] = {
    "c": export_c.run,
    "onnx": export_exchange.onnx,
    "nir": export_exchange.nir,
    "torch": export_exchange.torch,
    "state": export_exchange.state,
}
"""Each form by its name: what writes it, compares it and prints the result."""


def run(args: argparse.Namespace) -> int:
    """Export in the form that was asked for."""
    return FORMATS[check_choice("--to", args.to, tuple(FORMATS))](args)
