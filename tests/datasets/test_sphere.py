"""NIST SPHERE: both byte orders, what libsndfile makes of the same file, and every way a header can
be wrong.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from srnn._check import ConfigError, DataError
from srnn.datasets._sphere import read_sphere, write_sphere


def _written(folder: Path, order: str = "01") -> tuple[Path, np.ndarray]:
    path, x = folder / "SX1.WAV", np.random.default_rng(0).uniform(-1, 1, 3000)
    write_sphere(path, x, 16000, order)
    return path, x


@pytest.mark.parametrize("order", ["01", "10"])
def test_both_byte_orders(tmp_path: Path, order: str) -> None:
    path, x = _written(tmp_path, order)
    signal, rate = read_sphere(path)
    assert (rate, signal.shape, signal.dtype) == (16000, (3000, 1), np.float32)
    assert np.abs(signal[:, 0] - x).max() <= 1 / 32768
    other, other_rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert other_rate == 16000
    assert np.array_equal(signal, other)
    assert path.stat().st_size == 1024 + 6000
    assert [p.name for p in tmp_path.iterdir()] == ["SX1.WAV"]


def test_full_scale(tmp_path: Path) -> None:
    write_sphere(tmp_path / "a.wav", [-1.0, 0.0, 1.0], 8000)
    assert read_sphere(tmp_path / "a.wav")[0][:, 0].tolist() == [-1.0, 0.0, 32767 / 32768]


def test_a_header_of_another_length_and_bytes_after_the_samples(tmp_path: Path) -> None:
    path, x = _written(tmp_path)
    data = path.read_bytes()
    long = (
        data[:1024]
        .replace(b"   1024\n", b"   2048\n")
        .replace(b"sample_coding -s3 pcm\n", b"")
        .ljust(2048)
    )
    path.write_bytes(long + data[1024:] + b"tail")
    signal, _ = read_sphere(path)
    assert signal.shape == (3000, 1)
    assert np.abs(signal[:, 0] - x).max() <= 1 / 32768


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            b"-s3 pcm",
            b"-s26 pcm,embedded-shorten-v2.00",
            r"compressed or not linear "
            r"\(sample_coding pcm,embedded-shorten-v2.00\).*sph2pipe -f wav",
        ),
        (b"-s3 pcm", b"-s4 ulaw", "sample_coding ulaw.*RIFF WAV"),
        (b"channel_count -i 1", b"channel_count -i 2", "channel_count is 2; expected 1"),
        (b"sample_n_bytes -i 2", b"sample_n_bytes -i 1", "sample_n_bytes is 1; expected 2"),
        (b"-s2 01", b"-s2 11", "sample_byte_format is 11; expected 01 or 10"),
        (b"sample_byte_format -s2 01", b"", r"sample_byte_format is \(missing\)"),
        (
            b"sample_count -i 3000",
            b"sample_count -i 3001",
            "cut: its header promises 3001 samples, 3000 are there",
        ),
        (
            b"sample_count -i 3000",
            b"sample_count -i 0",
            "sample_count is 0; expected an integer of at least 1",
        ),
        (b"sample_count -i 3000", b"sample_count -i 1" + 300 * b"0", "cut: its header promises"),
        (b"sample_count -i 3000\n", b"", r"sample_count is \(missing\)"),
        (b"sample_rate -i 16000", b"sample_rate -r 16k", "sample_rate is 16k"),
        (b"end_head", b"end_hand", "no end_head within its 1024 bytes"),
        (b"   1024\n", b"   none\n", "no end_head within its 0 bytes"),
        (b"NIST_1A", b"NIST_2A", "not a NIST SPHERE file: it starts with b'NIST_2A"),
    ],
)
def test_bad_headers(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    path, _ = _written(tmp_path)
    data = path.read_bytes()
    head = data[:1024].replace(old, new)
    assert head != data[:1024]
    path.write_bytes(head.rstrip(b" ").ljust(1024) + data[1024:])
    with pytest.raises(DataError, match=message) as caught:
        read_sphere(path)
    assert str(path) in str(caught.value)


def test_cut_files(tmp_path: Path) -> None:
    """Wherever a file ends, it is an error that names it."""
    path, _ = _written(tmp_path)
    data = path.read_bytes()
    lengths = [*range(0, 1100, 7), 5000, len(data) - 1]
    for length in lengths:
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"SX1\.WAV"):
            read_sphere(path)
    assert len(lengths) == 160
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        read_sphere(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_sphere(tmp_path / "none.wav")


def test_bad_writing(tmp_path: Path) -> None:
    for bad in ([0.0, np.nan], [1.5], [], [[0.0]]):
        with pytest.raises(DataError, match=r"a\.wav: signal has shape"):
            write_sphere(tmp_path / "a.wav", bad, 16000)
    with pytest.raises(ConfigError, match="there is no '11'"):
        write_sphere(tmp_path / "a.wav", [0.0], 16000, "11")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_sphere(tmp_path / "file" / "a.wav", [0.0], 16000)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
