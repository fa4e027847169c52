"""How much memory one file of data may ask for: the one place that knows."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from srnn._check import ConfigError, DataError

_CHUNK = 1 << 20


def most_bytes() -> int:
    """Return the bytes that what a file holds may take in memory: $SRNN_MAX_BYTES, else 8 GiB or
    half of the memory, whichever is less.

    Raises `ConfigError` where the variable is no whole number above 0.
    """
    given = os.environ.get("SRNN_MAX_BYTES")
    if given:
        if not (given.isascii() and given.isdigit() and 0 < len(given) < 19 and int(given)):
            raise ConfigError(
                f"SRNN_MAX_BYTES is {given[:40]!r}; expected a whole number of bytes above 0, as "
                f"{8 << 30}."
            )
        return int(given)
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        memory = 16 << 30
    return min(8 << 30, memory // 2)


def check(path: Path, size: int, what: str = "it") -> None:
    """Raise `DataError` where what a file holds would take more than `most_bytes`.

    size: bytes. what: that takes them, "the array X".
    """
    most = most_bytes()
    if not 0 <= size <= most:
        raise DataError(
            f"{path}: {what} would take {size} bytes of memory; at most {most} are allowed. If you "
            f"trust the file, raise the limit: SRNN_MAX_BYTES={size}."
        )


def content(path: Path) -> bytes:
    """Return what a file holds, unpacked where it is gzip; no more than `most_bytes`.

    Raises `DataError` beyond that, OSError, EOFError and zlib.error.
    """
    check(path, path.stat().st_size)
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            return raw.read()
        most, parts, size = most_bytes(), list[bytes](), 0
        with gzip.GzipFile(fileobj=raw) as file:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                if size > most:
                    raise DataError(
                        f"{path} unpacks to more than {most} bytes. If you trust the file, raise "
                        f"the limit: SRNN_MAX_BYTES={2 * most}."
                    )
                parts.append(chunk)
        return b"".join(parts)
