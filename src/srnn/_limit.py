"""How much memory one file of data may ask for: the one place that knows."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any

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
    """Raise `DataError` where the packed parts of a MATLAB 5 file unpack to more than `most_bytes`.

    A file that is no such, or damaged, is left to its reader. Raises OSError.
    """
    data, most, total = path.read_bytes(), most_bytes(), 0
    order, at = "big" if data[126:128] == b"MI" else "little", 128
    while at + 8 <= len(data):
        kind = int.from_bytes(data[at : at + 4], order)  # type: ignore[arg-type]
        size = int.from_bytes(data[at + 4 : at + 8], order)  # type: ignore[arg-type]
        left, unpack = data[at + 8 : at + 8 + size], zlib.decompressobj()
        while kind == 15 and left:
            try:
                total += len(unpack.decompress(left, _CHUNK))
            except zlib.error:
                return
            check(path, total if total <= most else 2 * most, "what it unpacks to")
            left = b"" if unpack.eof else unpack.unconsumed_tail
        at += 8 + size
