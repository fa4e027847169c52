"""Options that several commands have."""

from __future__ import annotations

import argparse


def data(parser: argparse.ArgumentParser) -> None:
    """Where data lie."""
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="where the data sets lie (default: $SRNN_DATA, else the user's cache)",
    )


def task(parser: argparse.ArgumentParser) -> None:
    """Settings of a task."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="override a setting of the task; may be given many times",
    )
    parser.add_argument(
        "--variant",
        metavar="NAME",
        help="other published settings of the task (`srnn tasks TASK` lists them), before --set",
    )


def run(parser: argparse.ArgumentParser) -> None:
    """How a network is run."""
    data(parser)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 … (default: cpu)")
    parser.add_argument(
        "--backend",
        default="auto",
        help="who runs the time loop: auto, cpu, triton or reference (default: auto)",
    )
    why = (
        "the reference loop makes many tiny products; with more threads they wait for each "
        "other when the machine is busy"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help=f"threads of torch (default 1: {why})",
    )


def mode(parser: argparse.ArgumentParser) -> None:
    """How a GPU is used."""
    parser.add_argument(
        "--precision",
        default="float32",
        help="type of products on a GPU: float32, tf32 or bfloat16 (default: float32, as on a CPU)",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="on a GPU: the same bits every time (on a CPU they always are)",
    )
    parser.add_argument(
        "--graph",
        action="store_true",
        help="on a GPU: a training step, of all runs in lockstep, as one CUDA graph",
    )
