"""The one way in which this package opens files for writing.

A file is written whole, under a name of its own, and renamed; or it is appended to. In both cases
the name is never followed where it is a symbolic link, and nothing is emptied: a link that somebody
put into a folder does not lead a write anywhere else. `tests/test_files.py` walks the source for
other ways.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def write(
    path: Path, content: bytes | str, *, mode: int = 0o666, inside: Path | None = None
) -> None:
    """Write a file whole, in place of what has its name; text as UTF-8.

    mode: of a new file, less the umask. inside: a folder that must hold the file, links followed.
    Raises OSError; what was there before is unchanged then, and nothing half-written stays.
    """
    with whole(path, mode=mode, inside=inside) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole(path: Path, *, mode: int = 0o666, inside: Path | None = None) -> Iterator[BinaryIO]:
    """Give a new file to write into (its `name` is its path), which becomes `path` at the end, when
    it lies on the disk.

    As `write`; an error in the block leaves everything as it was.
    """
    check_inside(path, inside)
    part = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.part")
    try:
        with _opened(part, "xb", mode) as file:
            yield file
            file.flush()
            # a library may have written to the file by its name
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def append(path: Path, *, inside: Path | None = None) -> BinaryIO:
    """Open a file at its end; it is made where it is missing, and never emptied.

    inside: as in `write`. Raises OSError, also where the name is a link or no regular file.
    """
    check_inside(path, inside)
    return _opened(path, "ab", 0o666)


def check_inside(path: Path, folder: Path | None) -> None:
    """Raise OSError where a symbolic link leads what would be written as `path` out of `folder`."""
    if folder is None:
        return
    here = path.parent.resolve()
    if not here.is_relative_to(folder.resolve()):
        raise OSError(errno.ELOOP, f"a symbolic link leads it to {here}; remove the link")


def make_private(folder: Path) -> None:
    """Make a folder and those above it that are missing, each closed to others. Raises OSError."""
    missing = []
    for level in (folder, *folder.parents):
        if level.is_dir():
            break
        missing.append(level)
    for level in reversed(missing):
        level.mkdir(mode=0o700, exist_ok=True)


def _opened(path: Path, mode: str, permissions: int) -> BinaryIO:
    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | _FLAGS, permissions)

    try:
        file: IO[Any] = open(path, mode, opener=opener)  # noqa: SIM115 (the caller closes it)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link; remove it", str(path)) from error
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "it is no regular file; remove it", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file; remove it", str(path))
    return cast(BinaryIO, file)
