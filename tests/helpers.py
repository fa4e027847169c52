"""What several test files share: the classes of a module, and processes that start at once.

`pyproject.toml` puts this folder on the path of the tests.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import srnn
from srnn.cli import main as cli
from srnn.neuron import Neuron
from srnn.surrogates import Surrogate


def classes(module: object, base: type) -> list[type]:
    """All classes of a module below `base`, by name."""
    found = {
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, base) and c is not base
    }
    return sorted(found, key=lambda c: c.__name__)


NEURONS, CELLS, SURROGATES = (
    classes(srnn.neurons, Neuron),
    classes(srnn.cells, Neuron),
    classes(srnn.surrogates, Surrogate),
)


def forked(function: Callable[[], int | None], env: dict[str, str] | None = None, **popen: Any):
    """Start a function in a process of its own, as `subprocess.Popen` starts a program.

    The process is a fork of this one, so that nothing has to be imported again: torch alone takes a
    second. It has standard streams, a session and signals of its own. What it returns is its exit
    code, 0 for None; an exception is 1, with the traceback on stderr.
    """

    before = {int(name) for name in os.listdir("/dev/fd")}

    def child() -> None:
        # what Popen has opened, also the pipe on which it waits for a program to begin
        for name in os.listdir("/dev/fd"):
            if int(name) > 2 and int(name) not in before:
                with contextlib.suppress(OSError):
                    os.close(int(name))
        os.environ.update(env or {})
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(fd, mode, closefd=False) for fd, mode in enumerate("rww")
        )
        try:
            code = function() or 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 1
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
                stream.flush()
        os._exit(code)

    # restore_signals is for other programs than Python, which ignores SIGPIPE
    return subprocess.Popen(["true"], preexec_fn=child, restore_signals=False, **popen)


def command(*argv: object, **popen: Any):
    """Start a command of the command line in a process of its own (`forked`)."""
    return forked(lambda: cli.main([str(a) for a in argv]), **popen)


def worker(argv: list[str], **popen: Any):
    """Stand in for `subprocess.Popen` where runs of a table are started (`srnn.papers.pool`)."""
    import json

    from srnn.papers import worker as module

    assert argv[:3] == [sys.executable, "-m", "srnn.papers.worker"]
    return forked(lambda: module.CODES[module.main(json.loads(argv[3]))], **popen)


def until(what: Callable[[], Any], process: Any = None, seconds: float = 120.0) -> Any:
    """Wait until something is true, and return it; a process that ends before is an error."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"it did not happen within {seconds:.0f} seconds"
        time.sleep(0.02)
    return found
