"""Where data lies, and how it gets there: one folder, exact checksums, no half-written files."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path, PurePosixPath

from srnn._build import user_cache
from srnn._check import DataError, SrnnError

_TIMEOUT = 30.0
"""Seconds without an answer after which a server counts as gone."""


def data_root(folder: str | Path | None = None) -> Path:
    """Return the data folder: `folder` if given, else `$SRNN_DATA`, else `srnn` in the user's cache. It need not exist yet.

    Raises `DataError` where that path is a file.
    """
    root = Path(folder or os.environ.get("SRNN_DATA") or user_cache() / "srnn").expanduser()
    if root.exists() and not root.is_dir():
        raise DataError(f"The data folder {root} is a file; expected a folder. Set --data-dir or $SRNN_DATA to a folder.")
    return root


def find(root: str | Path, *candidates: str, name: str = "NAME") -> Path:
    """Return the first of `root/candidate` that exists.

    name: the data set as `srnn data fetch` calls it, for the message. Raises `DataError` where none exists.
    """
    for candidate in candidates:
        path = Path(root) / candidate
        if path.exists():
            return path
    raise DataError(
        f"No {' or '.join(candidates)} in {root}.\n  Get the data with `srnn data fetch {name}`, or say where it lies with --data-dir or $SRNN_DATA."
    )


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hexadecimal digits. Raises `DataError` where the file cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def read_sums(text: str) -> dict[str, str]:
    """Parse a SHA256SUMS.txt (`<64 hex digits>  <relative path>` a line, as PhysioNet publishes it) into {path: sha256}.

    Raises `DataError` for an empty list, a line of another form, or a path that leaves its folder.
    """
    sums = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64})\s+\*?(\S.*?)\s*", line)
        if match is None:
            raise DataError(f"Checksum list, line {number}: {line[:60]!r} is not `<sha256>  <path>`. Is it an error page of the server?")
        path = PurePosixPath(match[2])
        if path.is_absolute() or ".." in path.parts or "\\" in match[2] or ":" in match[2]:
            raise DataError(f"Checksum list, line {number}: the path {match[2]!r} leaves its folder.")
        sums[str(path)] = match[1].lower()
    if not sums:
        raise DataError("The checksum list is empty.")
    return sums


def download(url: str, checksum: str | None, to: str | Path) -> Path:
    """Download `url` to the file `to` and return it; a file that is there and right is left alone.

    checksum: the SHA-256, 64 hexadecimal digits; None takes what comes (for a checksum list) and always asks the server anew.
    The file appears under its name only when whole and right, so an interrupted set of files is resumed by calling again.
    Raises `DataError` for an unreachable server, a refused or cut transfer, a wrong checksum or a folder that cannot be written,
    `SrnnError` without the extra "data".
    """
    to = Path(to)
    if checksum is not None and to.is_file() and sha256(to) == checksum:
        return to
    try:
        import pooch
    except ImportError as error:
        raise SrnnError('Downloading needs pooch. Install it with: pip install "srnn[data]"') from error
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            pooch.HTTPDownloader(timeout=_TIMEOUT, chunk_size=1 << 16)(url, str(part), None)
            got = sha256(part)
            if checksum is not None and got != checksum:
                raise DataError(
                    f"{url} has SHA-256 {got}; expected {checksum}.\n"
                    "  The transfer was damaged or the file was changed at its source; nothing was kept. Try again."
                )
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:  # every failure of the network library is an OSError too
        raise DataError(
            f"{url} could not be downloaded to {to}: {error}.\n  Check the connection, or copy the file there by hand; nothing was kept."
        ) from error
    return to
