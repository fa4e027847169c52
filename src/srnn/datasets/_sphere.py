"""NIST SPHERE sound files, as TIMIT has them: a header of text, then 16-bit samples, the low or the
high byte first.

The header is "NIST_1A", its own length in bytes (1024), then one field a line, `name -type value`,
up to `end_head`:

    sample_count -i 46797
    channel_count -i 1
    sample_n_bytes -i 2
    sample_rate -i 16000
    sample_coding -s3 pcm
    sample_byte_format -s2 01      (01: low byte first, 10: high byte first)

Source: NIST Speech Header Resources, SPHERE 2.6.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn import _files
from srnn._check import DataError, check_choice
from srnn._files import _limit

MAGIC = b"NIST_1A\n"
_HEADER = 1024  # bytes of a header that is written
_ORDERS = {"01": "<i2", "10": ">i2"}
_REPAIR = "Convert it to plain PCM with `sph2pipe -f wav IN OUT`, or use a copy saved as RIFF WAV."


def read_sphere(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """Read one file: ((n, 1) float32 in [-1, 1), samples per second).

    Raises `DataError` for a file that is missing, damaged, cut, compressed, or holds anything but
    16-bit samples of one channel.
    """
    path = Path(path)
    try:
        # as bytes, and as numbers
        _limit.check(path, 3 * path.stat().st_size)
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    size, fields = _header(path, data)
    coding = fields.get("sample_coding", "pcm")
    if coding != "pcm":
        raise DataError(
            f"{path} is compressed or not linear (sample_coding {coding}); expected pcm. {_REPAIR}"
        )
    for name, wanted in (("channel_count", 1), ("sample_n_bytes", 2)):
        if (got := _integer(path, fields, name)) != wanted:
            raise DataError(
                f"{path}: {name} is {got}; expected {wanted}, 16-bit samples of one "
                f"channel. {_REPAIR}"
            )
    count, rate = _integer(path, fields, "sample_count"), _integer(path, fields, "sample_rate")
    order = _ORDERS.get(fields.get("sample_byte_format", ""))
    if order is None:
        raise DataError(
            f"{path}: sample_byte_format is "
            f"{fields.get('sample_byte_format', '(missing)')}; expected 01 or 10. {_REPAIR}"
        )
    there = (len(data) - size) // 2
    if there < count:
        raise DataError(
            f"{path} is cut: its header promises {count} samples, {max(there, 0)} "
            "are there. Copy the file anew."
        )
    samples = np.frombuffer(data, order, count, offset=size)
    return (samples.astype(np.float32) / np.float32(32768))[:, None], rate


def _header(path: Path, data: bytes) -> tuple[int, dict[str, str]]:
    """Return the length of the header in bytes, and its fields."""
    if not data.startswith(MAGIC):
        raise DataError(
            f"{path} is "
            f"{'not a NIST SPHERE file: it starts with ' + repr(data[:8]) if data else 'empty'}; "
            "expected NIST_1A."
        )
    length = data[len(MAGIC) : 16].strip()
    size = int(length) if length.isdigit() else 0
    text, end, _ = data[:size].decode("latin-1").partition("end_head")
    if not end:
        raise DataError(
            f"{path}: its header has no end_head within its {size} bytes. Copy the file anew."
        )
    lines = [line.split(maxsplit=2) for line in text.splitlines()[2:]]
    return size, {line[0]: line[2].strip() for line in lines if len(line) == 3}


def _integer(path: Path, fields: dict[str, str], name: str) -> int:
    """Return a field that must be an integer of at least 1."""
    value = fields.get(name, "")
    if not value.isdecimal() or int(value[:12]) < 1:
        raise DataError(
            f"{path}: {name} is {value[:20] or '(missing)'}; expected an integer of "
            "at least 1 in its header. Copy the file anew."
        )
    return int(value[:12])


def write_sphere(path: str | Path, signal: ArrayLike, rate: int, order: str = "01") -> None:
    """Write 16-bit PCM: signal (n,) in [-1, 1]; rate: samples per second; order: "01" low byte
    first, "10" high byte first.

    The file appears under its name only when whole; its folder is made. Raises `DataError` where
    the signal does not fit or the folder cannot be written.
    """
    check_choice("write_sphere(order)", order, tuple(_ORDERS))
    path, x = Path(path), np.asarray(signal, dtype=np.float64)
    if x.ndim != 1 or not x.size or not (np.abs(x) <= 1).all():
        raise DataError(
            f"{path}: signal has shape {x.shape}; expected (n,), n at least 1, "
            "finite numbers in [-1, 1]."
        )
    fields = (
        f"sample_count -i {len(x)}\nsample_rate -i {rate}\nchannel_count -i 1\n"
        "sample_n_bytes -i 2\n"
        f"sample_byte_format -s2 {order}\nsample_sig_bits -i 16\nsample_coding -s3 pcm\nend_head\n"
    )
    header = MAGIC + f"{_HEADER:7d}\n{fields}".encode()
    samples = np.minimum(np.rint(x * 32768), 32767).astype(_ORDERS[order])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _files.write(path, header.ljust(_HEADER) + samples.tobytes())
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error
