"""How much memory one file of data may ask for: the one place that knows."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from srnn._check import ConfigError, DataError

_CHUNK = 1 << 20
_DEFLATE = 1032
"""By how much zlib can pack at most (its own technical notes); LZF packs less."""


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


def check_dataset(path: Path, dataset: Any) -> None:
    """Raise `DataError` where an entry of an HDF5 file would take more than `most_bytes`: all of
    it, the piece in which HDF5 reads it, or what a packed piece could unpack to, whatever it says.
    """
    name, each = str(dataset.name).lstrip("/"), int(dataset.dtype.itemsize)
    check(path, math.prod(dataset.shape or (0,)) * each, name)
    if dataset.chunks is None:
        return
    check(path, math.prod(dataset.chunks) * each, f"a chunk of {name}")
    settings, most = dataset.id.get_create_plist(), most_bytes()
    # 1, 32000: deflate and LZF; of others, as shuffle and checksums, nothing grows
    packed = [settings.get_filter(k)[0] for k in range(settings.get_nfilters())]
    grows = _DEFLATE ** sum(number not in (2, 3, 5, 6) for number in packed)
    if grows == 1 or dataset.id.get_storage_size() * grows <= most:
        return
    for k in range(dataset.id.get_num_chunks()):
        check(path, dataset.id.get_chunk_info(k).size * grows, f"a packed chunk of {name}")


def check_hdf5(path: Path) -> None:
    """Look at every entry of an HDF5 file as `check_dataset` does. Raises OSError too."""
    import h5py

    def look(_: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            check_dataset(path, entry)

    with h5py.File(path, "r") as file:
        file.visititems(look)


def check_matlab(path: Path) -> None:
    """Raise `DataError` where the packed parts of a MATLAB 5 file unpack to more than `most_bytes`,
    or where a part names a type of data that there is not: SciPy (1.17 and before) ends the process
    at one.

    A file that is damaged otherwise is left to its reader. Raises OSError.
    """
    data, most, total = path.read_bytes(), most_bytes(), 0
    for kind, packed in _elements(data[128:], data[126:128]):
        content, left, unpack = (
            bytearray(packed if kind == 14 else b""),
            packed,
            zlib.decompressobj(),
        )
        while kind == 15 and left:
            try:
                content += unpack.decompress(left, _CHUNK)
            except zlib.error:
                break
            total_now = total + len(content)
            check(path, total_now if total_now <= most else 2 * most, "what it unpacks to")
            left = b"" if unpack.eof else unpack.unconsumed_tail
        total += len(content)
        inner = bytes(content[8:]) if kind == 15 else bytes(content)
        if wrong := [k for k, _ in _elements(inner, data[126:128]) if k not in _MATLAB]:
            raise DataError(
                f"{path} is damaged: it holds data of type {wrong[0]}, which MATLAB has not."
            )


_MATLAB = {*range(1, 8), 9, *range(12, 19)}
"""Types of data in MATLAB 5 files."""


def _elements(data: bytes, mark: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of the elements of a MATLAB 5 file or array."""
    order: Literal["little", "big"] = "big" if mark == b"MI" else "little"
    at = 0
    while at + 8 <= len(data):
        first = int.from_bytes(data[at : at + 4], order)
        if first >> 16:  # up to four bytes lie in the tag
            yield first & 0xFFFF, data[at + 4 : at + 4 + (first >> 16)]
            at += 8
            continue
        size = int.from_bytes(data[at + 4 : at + 8], order)
        yield first, data[at + 8 : at + 8 + size]
        at += 8 + size + (-size % 8 if first != 15 else 0)
