"""`srnn serve`: a live page of a trained network."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

from srnn._check import ConfigError, SrnnError, check_range
from srnn.cli import options
from srnn.cli.shared import console, set_threads

if TYPE_CHECKING:
    from srnn.serve.tracks import Tracks
    from srnn.tasks.task import Task

SUMMARY = "Show a trained network at work on a live page in the browser (docs/serve.md)."
EXAMPLES = """\
  srnn serve runs/ecg-seed1                  recordings of the test part; a simulated ECG
  srnn serve runs/fsdd-seed0 word.wav        a file; the page can also take the browser's microphone
  srnn serve runs/ecg-seed1 --port 0 --json  a free port; a line of JSON when it is ready
  srnn serve runs/ecg-seed1 --host 0.0.0.0   to other machines, who need the token in the URL
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument(
        "file",
        nargs="?",
        help="play this first: .wav, .flac, or lines of numbers as `srnn stream` reads them",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, this machine alone)",
    )
    parser.add_argument(
        "--port", type=int, default=8765, help="port to listen on, 0 for a free one (default: 8765)"
    )
    parser.add_argument(
        "--token",
        help="word that the URL must have (default: none on this machine alone, else one is made)",
    )
    parser.add_argument("--backend", default="auto", help="auto, cpu or reference (default: auto)")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of torch (default: 1)"
    )
    options.data(parser)


SIMULATED = ("ecg", "ecg_sim")
"""Tasks whose input a simulated ECG can be."""


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    check_extras()
    from srnn.serve.player import Player
    from srnn.serve.server import Server, bind, hub_for, is_loopback, new_token
    from srnn.training.runs import load_run
    from srnn.training.session import signals_interrupt

    check_range("--port", args.port, 0, 65535)
    if args.token is not None and not args.token:
        raise ConfigError("--token is empty. Leave it off: where one is needed, it is made.")
    set_threads(args)
    run_, task, seed, net = load_run(args.run)
    net.check_pieces(f"{args.run} cannot be served", whole=False)
    token = args.token or (None if is_loopback(args.host) else new_token())
    listener = bind(args.host, args.port)
    try:
        parts = task.load(args.data_dir)
        run_.check_data(parts)
        sources = _sources(args, task)
        about = {"run": str(args.run), "part": parts.note}
        hub = hub_for(task)
        server = Server(
            listener,
            args.host,
            token,
            Player(task, seed, net, sources, hub.publish, args.backend),
            hub,
            about,
        )

        def ready() -> None:
            if args.json:
                print(
                    json.dumps(
                        {
                            "url": server.url,
                            "port": listener.getsockname()[1],
                            "task": task.name,
                            "run": str(args.run),
                        }
                    ),
                    flush=True,
                )
            else:
                console().print(f"{args.run} plays at {server.url}\nCtrl-C stops it.")

        try:
            with signals_interrupt():
                server.run(ready)
        except KeyboardInterrupt:  # the usual end of a server
            pass
    finally:
        listener.close()
    return 0


def check_extras() -> None:
    """Raise `SrnnError` where something that serves is not installed."""
    if missing := [
        name
        for name in ("starlette", "uvicorn", "websockets")
        if importlib.util.find_spec(name) is None
    ]:
        raise SrnnError(
            f'The live page needs {", ".join(missing)}. Install it with: pip install "srnn[serve]"'
        )


def _sources(args: argparse.Namespace, task: Task) -> list[Tracks]:
    """Return what can be played, first what plays first."""
    from srnn.serve.tracks import HeldOut, OneFile, SimulatedEcg

    made: list[Tracks] = [HeldOut(task, task.data.load(args.data_dir).test)]
    if task.name in SIMULATED:
        made.append(SimulatedEcg(task))
    if args.file is not None:
        made.insert(0, OneFile.open(task, Path(args.file)))
    return made
