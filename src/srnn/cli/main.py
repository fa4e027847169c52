"""The command line: one module of `srnn.cli.commands` for each command, with its arguments and what
it does.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from srnn._check import DivergedError, SrnnError
from srnn.cli.parser import Parser

COMMANDS = (
    *("tasks", "check", "data", "train", "sweep", "evaluate", "compress", "energy", "reproduce"),
    *("encode", "export", "stream", "serve", "report", "doctor", "completion"),
)
"""All commands, in the order of the help: names of modules in `srnn.cli.commands`."""

_MAIN = """Spiking recurrent neural networks on time-domain signals.

  srnn tasks                                   what can be trained
  srnn train ecg_sim                           train now, on data that comes with the package
  srnn check                                   try every task on made-up data, in a minute
  srnn data fetch qtdb                         get the real ECG
  srnn train ecg --set epochs=30 --seed 1      train on it; every setting can be overridden
  srnn train ecg --seed 1 --resume             go on where it was stopped
  srnn sweep ecg --search optimiser.lr=1e-3:1e-1:log   search settings by validation accuracy
  srnn evaluate runs/ecg-seed1                 accuracy, firing rates, energy of a run
  srnn report runs/ecg-seed1                   one HTML file of a run, or of several side by side
  srnn compress runs/ecg-seed1 --bits 8        fewer bits, connections, neurons or spikes
  srnn energy ecg --rate 0.282                 what the network would cost at a firing rate
  srnn reproduce yin2021-table2 --jobs 2       a published table with our numbers beside it
  srnn train my --set data=FOLDER              train on your own recordings
  srnn encode word.wav --to spikes.h5          sound through a cochlea, as spikes
  srnn export runs/ecg-seed1 --to c --bits 8   C99 for a microcontroller; or onnx, nir, torch, state
  srnn stream runs/ecg-seed1 samples.csv       on live samples, one JSON line an event
  srnn serve runs/ecg-seed1                    a live page: signal, spikes, decision and cost
  srnn doctor                                  what works on this machine, and what to do about it
"""


def command_line(only: str | None = None) -> Parser:
    """Return the parser of the command line, with all commands, or with one of them."""
    parser = Parser(prog="srnn", description=_MAIN)
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in COMMANDS if only is None else (only,):
        module = importlib.import_module(f"srnn.cli.commands.{name}")
        own = parser.commands[name] = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY,
            epilog=f"examples:\n{module.EXAMPLES}",
        )
        own.add_argument("--json", action="store_true", help="print JSON instead of tables")
        module.arguments(own)
        own.set_defaults(handler=module.run, parser=parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns the exit code: 0, 1 = training diverged, 2 = bad input, 130 = interrupted.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if words == ["--version"]:
        from srnn import __version__

        print(f"srnn {__version__}")
        return 0
    # completion describes all commands; any other needs its own
    alone = words[0] if words and words[0] in COMMANDS and words[0] != "completion" else None
    reader = command_line(alone)
    args = reader.read(words)
    if args.version:
        return main(["--version"])
    if args.command is None:
        reader.print_help()
        return 2
    try:
        code: int = args.handler(args)
        return code
    except SrnnError as error:
        print(f"srnn {args.command}: {error}", file=sys.stderr)
        return 1 if isinstance(error, DivergedError) else 2
    except KeyboardInterrupt:
        print(f"srnn {args.command}: interrupted", file=sys.stderr)
        return 130
    except Warning as warning:  # PYTHONWARNINGS=error makes errors of them
        print(f"srnn {args.command}: {warning}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise  # torch has no class for a CPU without memory, only these words
        print(
            f"srnn {args.command}: there is not enough memory ({error or 'nothing is left'}). "
            "Make the network, the batch or the data smaller.",
            file=sys.stderr,
        )
        return 2


def run() -> None:
    """Run the command line as a program, with whatever standard streams there are.

    A process of torchrun ends without the interpreter's own clean-up. One such process was once
    seen to abort in it ("terminate called without an active exception"), after its run was written;
    the cause is not known.
    """
    _mend_streams()
    try:
        try:
            code = main()
        except SystemExit as stop:  # --help, and words that are no arguments
            code = stop.code if isinstance(stop.code, int) else 0
        sys.stdout.flush()
    except KeyboardInterrupt:  # while arguments were parsed, or after all was done
        code = 130
    except OSError as error:
        if error.filename is not None:
            raise
        code = 0 if error.errno == errno.EPIPE else 2  # a reader that has gone wants no more
        if code:
            with suppress(OSError):  # it may be this one that is full
                print(f"srnn: the output cannot be written: {error.strerror}.", file=sys.stderr)
        # what is still in the buffers goes nowhere
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(null, stream.fileno())
    if "TORCHELASTIC_RUN_ID" in os.environ:
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _mend_streams() -> None:
    """Open standard streams that are closed on the null device, so that no file takes their number;
    print what an encoding does not know by its number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    run()
