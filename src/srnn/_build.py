"""Find the machine's C compiler, compile, keep the result, load it.

A library is kept under a key of its source, the flags, the compiler and the processor, with its
source beside it. Any number of processes may build at once: each compiles to a name of its own and
renames. A kept library is loaded only when its checksum agrees; a folder that cannot be written to,
or that others could put a library into, is replaced by a temporary one.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from srnn import _files
from srnn._check import SrnnError

FLAGS = (
    "-std=gnu11",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
    "-pthread",
)
"""For every kernel.

Never -ffast-math: it would change how the whole process treats denormal numbers, and what NaN
means.
"""


class BuildError(SrnnError):
    """There is no compiler, or it fails."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler: its path, what it says it is, and the flags that come with it ($CC) or make it
    write for this processor.
    """

    path: str
    version: str
    options: tuple[str, ...]


def user_cache() -> Path:
    """Return the folder in which the user's caches lie."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@functools.cache
def compiler() -> Compiler:
    """Return the compiler: $CC if set, else cc, gcc or clang.

    Raises `BuildError` where there is none.
    """
    try:
        wanted, *options = shlex.split(os.environ.get("CC", "")) or [""]
    except ValueError as error:
        raise BuildError(f"CC={os.environ['CC']!r} cannot be read ({error})") from error
    names = (wanted,) if wanted else ("cc", "gcc", "clang")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        raise BuildError(
            f"no C compiler ({', '.join(names)} not found; install gcc or clang, or set CC)"
        )
    try:
        version = subprocess.run(
            [path, *options, "--version"], capture_output=True, text=True, timeout=60, check=True
        ).stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        raise BuildError(f"the C compiler {path} does not run ({error})") from error
    for native in (("-march=native",), ("-mcpu=native",), ()):
        probe = subprocess.run(
            [path, *options, *native, "-fsyntax-only", "-xc", "-"],
            input="",
            capture_output=True,
            text=True,
            timeout=60,
        )
        if probe.returncode == 0:
            return Compiler(path, version, (*options, *native))
    raise BuildError(
        f"the C compiler {path} cannot compile an empty file ({probe.stderr.strip()[-200:]})"
    )


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return "\n".join(
        sorted(
            {
                line
                for line in lines
                if line.startswith(("model name", "flags", "Features", "CPU part"))
            }
        )
    )


def load(name: str, source: str, *flags: str, headers: tuple[Path, ...] = ()) -> ctypes.CDLL:
    """Return the library that `source` compiles to, compiled now or before.

    name: what its files are called. headers: files it includes, by their names. Raises `BuildError`
    where it cannot be compiled.
    """
    try:
        return _load(name, source, flags, headers)
    # no folder at all, no right to load a library …
    except (OSError, subprocess.SubprocessError, ValueError, RuntimeError) as error:
        raise BuildError(f"{name}: {type(error).__name__}: {error}") from error


def _load(name: str, source: str, flags: tuple[str, ...], headers: tuple[Path, ...]) -> ctypes.CDLL:
    cc = compiler()
    command = [cc.path, *FLAGS, *cc.options, *flags]
    parts = [source, *(h.read_text() for h in headers), " ".join(command), cc.version, _processor()]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    file = f"{name}-{key}"
    found = _kept(cache() / f"{file}.so") if trusted(cache()) else None
    return (
        found if found is not None else _compile(_writable(cache()), file, source, command, headers)
    )


def _kept(path: Path) -> ctypes.CDLL | None:
    """Load a library that was compiled before; None where there is none, or not whole."""
    try:
        if path.with_suffix(".sha256").read_text() != hashlib.sha256(path.read_bytes()).hexdigest():
            return None
        return ctypes.CDLL(str(path))
    except (OSError, UnicodeDecodeError):
        return None


def _compile(
    folder: Path, file: str, source: str, command: list[str], headers: tuple[Path, ...]
) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory(prefix="srnn-", ignore_cleanup_errors=True) as work:
        text, made = Path(work) / f"{file}.c", Path(work) / f"{file}.so"
        text.write_text(source)
        include = sorted({f"-I{h.parent}" for h in headers})
        done = subprocess.run(
            [*command, *include, str(text), "-o", str(made), "-lm"], capture_output=True, text=True
        )
        if done.returncode:
            raise BuildError(f"{command[0]} cannot compile {file}.c:\n{done.stderr.strip()}")
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        try:
            for path in (text, made):
                _files.write(folder / path.name, path.read_bytes())
            _files.write(folder / f"{file}.sha256", digest.encode())
            return ctypes.CDLL(str(folder / made.name))
        except OSError:  # a full disk, a folder that went away: this process still gets its library
            return ctypes.CDLL(str(made))


def cache() -> Path:
    """Return the folder of kept libraries: $SRNN_KERNELS, else in the user's cache."""
    return Path(os.environ.get("SRNN_KERNELS") or user_cache() / "srnn" / "kernels")


def trusted(folder: Path) -> bool:
    """Return whether nobody but this user (and root) can put a library into the folder; what lies
    there is run.
    """
    try:
        found = folder.stat()
    except OSError:
        return False
    return not hasattr(os, "getuid") or (
        found.st_uid in (os.getuid(), 0) and not found.st_mode & stat.S_IWOTH
    )


def _writable(folder: Path) -> Path:
    """Return the folder, made where it is missing; a temporary one where it cannot be written to,
    or others could.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder if trusted(folder) else _temporary()
    except OSError:
        return _temporary()


@functools.cache
def _temporary() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="srnn-kernels-", ignore_cleanup_errors=True)
    _keep.append(folder)
    return Path(folder.name)


_keep: list[object] = []
"""Temporary folders live as long as the process."""
