"""Find the machine's C compiler, compile, keep the result, load it.

A library is kept under a key of its source, the flags, the compiler and the processor, with its
source beside it. Any number of processes may build at once: each compiles to a name of its own and
renames. A kept library is loaded only when its checksum agrees; a folder that cannot be written to,
or that others could put a library into (`refusal`), is replaced by a temporary one.
"""

from __future__ import annotations

import contextlib
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
import warnings
from collections import deque
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
        if not all(_ours(file.lstat()) for file in (path, path.with_suffix(".sha256"))):
            return None
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
        with _files.append(text) as printed:
            printed.write(source.encode())
        include = sorted({f"-I{h.parent}" for h in headers})
        done = subprocess.run(
            [*command, *include, str(text), "-o", str(made), "-lm"], capture_output=True, text=True
        )
        if done.returncode:
            raise BuildError(f"{command[0]} cannot compile {file}.c:\n{done.stderr.strip()}")
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        try:
            for path in (text, made):
                place(path.read_bytes(), folder / path.name)
            place(digest.encode(), folder / f"{file}.sha256")
            return ctypes.CDLL(str(folder / made.name))
        except OSError:  # a full disk, a folder that went away: this process still gets its library
            return ctypes.CDLL(str(made))


def place(data: bytes, path: Path) -> None:
    """Write a file whole that nobody else may write to: under a name of its own, then renamed."""
    _files.write(path, data, mode=0o644)


def cache() -> Path:
    """Return the folder of kept libraries: $SRNN_KERNELS, else in the user's cache."""
    return Path(os.environ.get("SRNN_KERNELS") or user_cache() / "srnn" / "kernels")


@dataclass(frozen=True)
class Refusal:
    """Why a folder is not used: what was found, at which path, and what mends it."""

    path: Path
    found: str
    repair: str

    def __str__(self) -> str:
        return f"{self.path} {self.found}: {self.repair}"


def refusal(folder: Path) -> Refusal | None:
    """Return why somebody else could put a library into this folder, or put another folder in its
    place; None where nobody but this user and root can.

    Looks at every folder from / down and at every link on the way. One that others may write to is
    let pass only as /tmp is: owned by root and sticky. What is missing counts as safe: it is made
    by us.
    """
    if not hasattr(os, "getuid"):
        return None
    whole = folder.absolute()
    here, left, links = Path(whole.anchor), deque(whole.parts[1:]), 0
    try:
        if (found := _unsafe(here, here.lstat())) is not None:
            return found
        while left:
            name = left.popleft()
            if name == "..":
                here = here.parent
                continue
            about = (here / name).lstat()
            if (found := _unsafe(here / name, about)) is not None:
                return found
            if not stat.S_ISLNK(about.st_mode):
                here /= name
                continue
            links += 1
            if links > 40:
                return Refusal(here / name, "is a link to itself", f"rm {here / name}")
            target = Path(os.readlink(here / name))
            if target.is_absolute():
                here = Path(target.anchor)
            left.extendleft(reversed(target.parts[target.is_absolute() :]))
    except OSError:
        pass
    return None


def _unsafe(path: Path, about: os.stat_result) -> Refusal | None:
    """Say what lets somebody else change a folder or link."""
    if about.st_uid not in (os.getuid(), 0):
        return Refusal(
            path,
            f"belongs to somebody else (user {about.st_uid})",
            f"choose another folder, or chown it to user {os.getuid()}",
        )
    # the mode of a link says nothing; /tmp
    if stat.S_ISLNK(about.st_mode) or (about.st_uid == 0 and about.st_mode & stat.S_ISVTX):
        return None
    who = [
        (letter, name)
        for bit, letter, name in (
            (stat.S_IWGRP, "g", f"its group ({about.st_gid})"),
            (stat.S_IWOTH, "o", "everybody"),
        )
        if about.st_mode & bit
    ]
    if not who:
        return None
    letters = "".join(letter for letter, _ in who)
    names = " and ".join(name for _, name in who)
    return Refusal(path, f"may be written to by {names}", f"chmod {letters}-w {path}")


def _ours(about: os.stat_result) -> bool:
    """Whether a kept file is a plain one that only this user, or root, could have written."""
    return stat.S_ISREG(about.st_mode) and _unsafe(Path(), about) is None


def trusted(folder: Path) -> bool:
    """Return whether the folder is there, and nobody but this user (and root) can put a library
    into it; what lies there is run. Where it is refused, one warning a process says why.
    """
    if not folder.is_dir():
        return False
    found = refusal(folder)
    if found is not None:
        _warn(found)
    return found is None


@functools.cache
def _warn(found: Refusal) -> None:
    """Say once what is wrong with the folder of kernels."""
    warnings.warn(
        f"kernels are not kept in {cache()}, for what lies there is run and {found.path} "
        f"{found.found}; every process compiles anew. Repair: {found.repair}",
        stacklevel=2,
    )


def _writable(folder: Path) -> Path:
    """Return the folder, made where it is missing; a temporary one where it cannot be written to,
    or others could.
    """
    try:
        if refusal(folder) is None:
            _files.make_private(folder)
        if not trusted(folder):
            return _temporary()
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return _temporary()


@functools.cache
def _temporary() -> Path:
    """Return a folder for this process alone. Raises `BuildError` where $TMPDIR is not safe."""
    folder = tempfile.TemporaryDirectory(prefix="srnn-kernels-", ignore_cleanup_errors=True)
    if (found := refusal(Path(folder.name))) is not None:
        raise BuildError(f"no safe folder for kernels: {found}")
    _keep.append(folder)
    return Path(folder.name)


_keep: list[object] = []
"""Temporary folders live as long as the process."""


def kept(name: str) -> bytes | None:
    """Return a file that was kept beside the libraries, None where there is none that this user or
    root alone could have written.
    """
    try:
        return (cache() / name).read_bytes() if trusted(cache()) else None
    except OSError:
        return None


def keep(name: str, content: bytes) -> None:
    """Keep a file beside the libraries, where that can be done."""
    with contextlib.suppress(OSError):
        place(content, _writable(cache()) / name)
