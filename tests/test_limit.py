"""Small files that would take much memory: refused, by name and with the setting that raises the
limit, by every reader that unpacks.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srnn._check import ConfigError, DataError, SrnnError
from srnn._files import _limit

LIMIT = 1 << 20
BIG = 4 << 20
"""Bytes that each bomb unpacks to."""


def npz(path: Path) -> Callable[[], object]:
    np.savez_compressed(
        path / "x.npz", X=np.zeros((4, BIG // 16), np.float32), y=np.array([0, 1, 0, 1])
    )
    return own(path / "x.npz")


def npz_text(path: Path) -> Callable[[], object]:
    """Long text labels: 4 MB each in memory, a few bytes in the file."""
    np.savez_compressed(
        path / "x.npz", X=np.zeros((2, 3), np.float32), y=np.array(["a" * (BIG // 4), "b"])
    )
    return own(path / "x.npz")


def npz_bytes(path: Path) -> Callable[[], object]:
    """Text of bytes, four times as large when it is read as text."""
    y = np.array([b"a" * (LIMIT // 4), b"b"])
    np.savez_compressed(path / "x.npz", X=np.zeros((2, 3), np.float32), y=y)
    return own(path / "x.npz")


def own(path: Path) -> Callable[[], object]:
    from srnn.datasets import own

    return lambda: list(own.read(path).recordings)


def flac(path: Path) -> Callable[[], object]:
    import soundfile

    from srnn.datasets._audio import read_audio

    soundfile.write(path / "a.flac", np.zeros(BIG // 4), 8000, subtype="PCM_16")
    return lambda: read_audio(path / "a.flac")


def mnist(path: Path) -> Callable[[], object]:
    from srnn.datasets import mnist

    mnist.made_up(path)
    images = struct.pack(">4I", 0x803, BIG // 784, 28, 28) + bytes(BIG // 784 * 784)
    (path / "mnist/train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    return lambda: mnist.read(path, "train")


def soli(path: Path, **how: Any) -> Callable[[], object]:
    import h5py

    from srnn.datasets import soli

    soli.made_up(path)
    target = next((path / "soli/dsp").glob("*.h5"))
    with h5py.File(target, "r+") as file:
        frames = len(file["ch0"])
        del file["ch0"]
        how = {"shape": (frames, 1024), "compression": "gzip", **how}
        file.create_dataset("ch0", dtype="f4", maxshape=(None, 1024), **how)
    return lambda: [list(soli.read(path, part, channels=(0, 1))) for part in ("train", "eval")]


def soli_chunk(path: Path) -> Callable[[], object]:
    """One frame lies in a chunk of 1,024 frames, all of which HDF5 unpacks."""
    return soli(path, chunks=(1024, 1024))


def soli_shape(path: Path) -> Callable[[], object]:
    """Frames that take no room in the file: they were never written."""
    return soli(path, shape=(BIG // 4096, 1024), chunks=(1, 1024))


def packed_chunk(path: Path) -> Callable[[], object]:
    """A chunk that says it is small, and unpacks to much more."""
    import h5py

    from srnn.datasets import shd

    shd.made_up(path)
    target = path / "shd/shd_train.h5"
    with h5py.File(target, "r+") as file:
        labels = file["labels"][:]
        del file["labels"]
        made = file.create_dataset("labels", data=labels, chunks=(len(labels),), compression="gzip")
        made.id.write_direct_chunk((0,), zlib.compress(bytes(BIG), 9))
    return lambda: shd.read(path, "train")


def matlab(path: Path) -> Callable[[], object]:
    from scipy.io import savemat

    from srnn.datasets import qtdb

    qtdb.made_up(path)
    arrays = {"x": np.zeros((BIG // 4, 1, 4), np.uint8), "y": np.zeros((BIG // 4, 1, 6), np.uint8)}
    savemat(path / "qtdb/QTDB_train.mat", arrays, do_compression=True)
    return lambda: qtdb.encoded(path, "train")


def wfdb(path: Path) -> Callable[[], object]:
    import importlib

    fuzz = importlib.import_module("benchmarks.fuzz")
    fuzz._wfdb(path)
    head = path / "qtdb/1.0.0/sel1.hea"
    head.write_text(head.read_text().replace("250 2000", f"250 {BIG}"))
    return lambda: fuzz._qtdb(path)


def nir(path: Path) -> Callable[[], object]:
    import h5py

    from srnn.export.nir_read import from_nir

    with h5py.File(path / "net.nir", "w") as file:
        file.create_dataset("node/weight", (BIG // 4, 1), "f4", compression="gzip")
    return lambda: from_nir(path / "net.nir")


def sphere(path: Path) -> Callable[[], object]:
    from srnn.datasets._sphere import read_sphere, write_sphere

    write_sphere(path / "a.WAV", np.zeros(LIMIT // 4), 8000)
    return lambda: read_sphere(path / "a.WAV")


def csv(path: Path) -> Callable[[], object]:
    from srnn.datasets import own as mine

    mine.made_up(path, "csv")
    (path / "000.csv").write_text("x,y\n" + "1,2\n" * (LIMIT // 8))
    return own(path)


BOMBS = (
    npz, npz_text, npz_bytes, flac, mnist, soli_chunk, soli_shape, packed_chunk, matlab, wfdb, nir,
    sphere, csv,
)  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_a_bomb_is_refused_by_the_limit(bomb, tmp_path, monkeypatch):
    read = bomb(tmp_path)
    monkeypatch.setenv("SRNN_MAX_BYTES", str(LIMIT))
    with pytest.raises(DataError, match=r"raise the limit: SRNN_MAX_BYTES=\d+") as refused:
        read()
    assert str(tmp_path) in str(refused.value)
    # it was the limit, and nothing else
    monkeypatch.setenv("SRNN_MAX_BYTES", str(8 << 30))
    try:
        read()
    except SrnnError as error:
        assert "SRNN_MAX_BYTES" not in str(error)  # noqa: PT017 (a bomb need not be right otherwise)


@pytest.mark.parametrize("value", ["0", "-1", "x", "1e9", "²", " 1", "9" * 30])
def test_a_limit_that_is_none(value, monkeypatch):
    monkeypatch.setenv("SRNN_MAX_BYTES", value)
    with pytest.raises(ConfigError, match=r"SRNN_MAX_BYTES is .* expected a whole number of bytes"):
        _limit.most_bytes()


def test_the_limit_is_8_GiB_or_half_the_memory(monkeypatch):  # noqa: N802
    monkeypatch.delenv("SRNN_MAX_BYTES", raising=False)
    for pages, wanted in ((1 << 30, 8 << 30), (1 << 20, 2 << 30)):
        known = {"SC_PHYS_PAGES": pages, "SC_PAGE_SIZE": 4096}
        monkeypatch.setattr(_limit.os, "sysconf", known.get)
        assert _limit.most_bytes() == wanted


def test_a_matlab_type_that_there_is_not_is_refused(tmp_path):
    """SciPy would end the whole process with a segmentation fault."""
    from srnn.datasets import qtdb

    qtdb.made_up(tmp_path)
    path = tmp_path / "qtdb/QTDB_train.mat"
    data = path.read_bytes()
    size = int.from_bytes(data[132:136], "little")
    content = bytearray(zlib.decompress(data[136 : 136 + size]))
    at = content.index(b"x", 40) - 4 + 8  # behind the name, the type of the values
    assert content[at] == 3  # int16
    content[at] = 64
    packed = zlib.compress(bytes(content))
    path.write_bytes(data[:132] + len(packed).to_bytes(4, "little") + packed + data[136 + size :])
    with pytest.raises(DataError, match="damaged: it holds data of type 64"):
        qtdb.encoded(tmp_path, "train")
