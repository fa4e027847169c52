"""Sound files: whole, finite and at the right rate, or an error that names the file.

Read through soundfile (PCM and float WAV, FLAC, OGG, NIST SPHERE and more); written as 16-bit PCM
WAV.
"""

from __future__ import annotations

import os
import re
import struct
import wave
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn import _files
from srnn._check import DataError, SrnnError
from srnn._files import _limit

_UNKNOWN_SIZE = 0x7FFFF000
"""A data chunk of at least this size was written to a pipe: its writer did not know how long it
would get.
"""

_ONE_SAMPLE_A_BLOCK = (1, 3, 6, 7, 0xFFFE)
"""WAVE format tags whose block is one sample of each channel: PCM, float, A-law, mu-law,
extensible.
"""


def read_audio(
    path: str | Path, start: int = 0, stop: int | None = None
) -> tuple[NDArray[np.float32], int]:
    """Read a sound file, or its samples [start, stop): ((n, channels) float32, samples per second).

    Integer formats are scaled to [-1, 1). A WAV or SPHERE file that is shorter than its header says
    is refused, and so is a file of another format of which fewer samples can be read than it
    promises; an OGG, AIFF or AU file that was cut is taken for a shorter one. Raises `DataError`
    for a missing, empty, damaged or cut file, for one that holds no sound, no sample or a sample
    that is not finite, and for samples [start, stop) that it does not have; `SrnnError` without the
    extra "data".
    """
    try:
        import soundfile
    except ImportError as error:
        raise SrnnError(
            'Reading sound files needs soundfile. Install it with: pip install "srnn[data]"'
        ) from error
    path = Path(path)
    _check_whole(path)
    try:
        with soundfile.SoundFile(path) as file:
            rate, total = int(file.samplerate), int(file.frames)
            wanted = (
                range(total)[start:stop]
                if 0 <= start <= (total if stop is None else stop) <= total
                else None
            )
            if wanted:
                _limit.check(path, 4 * len(wanted) * file.channels, f"{len(wanted)} samples")
                file.seek(start)
                signal = file.read(len(wanted), dtype="float32", always_2d=True)
    except DataError:
        raise
    # besides its own errors, soundfile lets type, value and decoding errors pass
    except Exception as error:
        raise DataError(
            f"{path} is not a sound file, or is damaged "
            f"({str(error).strip() or type(error).__name__})."
        ) from error
    if not total:
        raise DataError(f"{path} holds no sample.")
    if not wanted:
        raise DataError(
            f"{path} holds {total} samples; expected it to have those from {start} up to {stop}."
        )
    if len(signal) < len(wanted):
        raise DataError(
            f"{path} is cut or damaged: its header promises {total} samples, only "
            f"{start + len(signal)} can be read."
        )
    if not np.isfinite(signal).all():
        n, channel = (int(i) for i in np.argwhere(~np.isfinite(signal))[0])
        raise DataError(
            f"{path}: sample {start + n} of channel {channel} is "
            f"{signal[n, channel]}; expected finite numbers."
        )
    return signal, rate


def _check_whole(path: Path) -> None:
    """Raise `DataError` where the file is missing, empty, or a WAV or SPHERE file that ends before
    its header says.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
            if not head:
                raise DataError(f"{path} is empty.")
            if head[:7] == b"NIST_1A":
                _check_sphere(path, head + file.read(1012), os.fstat(file.fileno()).st_size)
            elif head[:4] in (b"RIFF", b"RIFX") and head[8:] == b"WAVE":
                _check_chunks(path, file, "<" if head[:4] == b"RIFF" else ">")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _check_chunks(path: Path, file: BinaryIO, order: str) -> None:
    """Walk the chunks of a WAV file up to its samples, and compare how many there are with how many
    its header promises.
    """
    end = os.fstat(file.fileno()).st_size
    block, unit = 1, "bytes"
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack(f"{order}4sI", head)
        if name == b"data":
            found = end - file.tell()
            if found < size < _UNKNOWN_SIZE:
                raise DataError(
                    f"{path} is cut: its header promises {size // block} {unit}, "
                    f"{found // block} are there. Get the file anew."
                )
            return
        chunk = file.read(size + size % 2)
        if name == b"fmt " and len(chunk) >= 16:
            tag, *_, block, _ = struct.unpack(f"{order}HHIIHH", chunk[:16])
            block, unit = max(block, 1), "samples" if tag in _ONE_SAMPLE_A_BLOCK else "blocks"
    raise DataError(f"{path} is cut: it ends before its samples begin.")


def _check_sphere(path: Path, header: bytes, size: int) -> None:
    """Compare the size of a SPHERE file with the samples that its header, lines of
    `name -type value`, promises.
    """
    fields = {
        name: int(value)
        for name, value in re.findall(
            rb"(sample_count|channel_count|sample_n_bytes) "
            rb"-i (\d+)",
            header,
        )
    }
    if b"end_head" not in header or b"sample_count" not in fields:
        raise DataError(f"{path} is cut or damaged: its header is not whole.")
    block = max(1, fields.get(b"channel_count", 1) * fields.get(b"sample_n_bytes", 2))
    found = max(0, size - 1024) // block
    if found < fields[b"sample_count"]:
        raise DataError(
            f"{path} is cut: its header promises {fields[b'sample_count']} samples, "
            f"{found} are there. Get the file anew."
        )


def mono(
    path: str | Path, rate: int | None = None, start: int = 0, stop: int | None = None
) -> NDArray[np.float32]:
    """Read a sound file of one channel, or its samples [start, stop): (n,) float32.

    rate: the samples per second it must have; None takes any. Raises `DataError` for another rate
    or more channels, and as `read_audio`.
    """
    signal, found = read_audio(path, start, stop)
    if signal.shape[1] != 1:
        raise DataError(
            f"{path} has {signal.shape[1]} channels; expected one. Mix or choose one: "
            "read_audio(path)[0].mean(axis=1), or `sox IN OUT remix 1`."
        )
    if rate is not None and found != rate:
        raise DataError(
            f"{path} has {found} samples per second; expected {rate}. Resample it, "
            f"with `sox IN -r {rate} OUT` for one."
        )
    return signal[:, 0]


def write_wav(path: str | Path, signal: ArrayLike, rate: int) -> None:
    """Write 16-bit PCM WAV: signal (n,) or (n, channels) in [-1, 1], n ≥ 1; rate: samples per
    second.

    The file appears under its name only when whole; its folder is made. Raises `DataError` for
    another shape, a sample that is not finite or beyond [-1, 1], or a folder that cannot be
    written.
    """
    path, x = Path(path), np.asarray(signal, dtype=np.float64)
    if x.ndim not in (1, 2) or not x.size:
        raise DataError(
            f"{path}: signal has shape {x.shape}; expected (n,) or (n, channels), n at least 1."
        )
    if not (np.abs(x) <= 1).all():
        raise DataError(
            f"{path}: signal reaches from {x.min()} to {x.max()}; expected finite "
            "numbers in [-1, 1]. Divide it by its maximum."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _files.whole(path) as made, wave.open(made, "wb") as file:
            file.setnchannels(1 if x.ndim == 1 else x.shape[1])
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(np.minimum(np.rint(x * 32768), 32767).astype("<i2").tobytes())
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error


def tones(
    frequencies: ArrayLike, samples: int, rate: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return a made-up word, (samples,) in [-1, 1]: sines of these frequencies (Hz), each weaker
    than the one before, that swell and fade.
    """
    t = np.arange(samples) / rate
    phases = generator.uniform(0, 2 * np.pi, np.size(frequencies))
    waves = sum(
        0.5**k * np.sin(2 * np.pi * f * t + p)
        for k, (f, p) in enumerate(zip(np.ravel(frequencies), phases, strict=True))
    )
    x = 0.35 * np.sin(
        np.pi * (np.arange(samples) + 0.5) / samples
    ) * waves + 0.01 * generator.standard_normal(samples)
    return np.asarray(np.clip(x, -1, 1))
