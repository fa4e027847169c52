"""Sound files: what is read and written, and what is refused."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from srnn._check import DataError, SrnnError
from srnn.datasets._audio import mono, read_audio, tones, write_wav

RATE = 8000


def _tone(n: int = 500, channels: int = 1) -> np.ndarray:
    return 0.5 * np.sin(np.arange(n)[:, None] * np.arange(1, channels + 1) / 10)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_write_and_read(tmp_path: Path, channels: int) -> None:
    x = _tone(channels=channels)
    write_wav(tmp_path / "new" / "a.wav", x, RATE)
    signal, rate = read_audio(tmp_path / "new" / "a.wav")
    assert rate == RATE
    assert signal.dtype == np.float32
    assert signal.shape == (500, channels)
    assert np.abs(signal - x).max() <= 0.5 / 32768
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.wav"]


def test_full_scale_and_one_dimension(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", [-1, 0, 1], RATE)
    assert read_audio(tmp_path / "a.wav")[0][:, 0].tolist() == [-1.0, 0.0, 32767 / 32768]
    write_wav(tmp_path / "b.wav", mono(tmp_path / "a.wav"), RATE)
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()


@pytest.mark.parametrize(
    ("name", "subtype", "error"),
    [
        ("a.wav", "PCM_U8", 0.01),
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "PCM_32", 1e-6),
        ("a.wav", "FLOAT", 1e-6),
        ("a.wav", "DOUBLE", 1e-6),
        ("a.wav", "ULAW", 0.02),
        ("a.flac", "PCM_16", 1e-4),
        ("a.flac", "PCM_24", 1e-6),
        ("a.aiff", "PCM_16", 1e-4),
        ("a.sph", "PCM_16", 1e-4),
        ("a.ogg", "VORBIS", 0.1),
    ],
)
def test_formats(tmp_path: Path, name: str, subtype: str, error: float) -> None:
    x = _tone(4000)
    path = tmp_path / name
    soundfile.write(path, x, RATE, subtype=subtype, format="NIST" if name == "a.sph" else None)
    signal = mono(path, RATE)
    assert len(signal) - len(x) in range(600)  # a block format fills its last block
    assert np.abs(signal[: len(x)] - x[:, 0]).max() < error


def test_a_piece(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", _tone(), RATE)
    whole = mono(tmp_path / "a.wav")
    for start, stop in ((0, 500), (100, 101), (499, 500), (100, None)):
        assert np.array_equal(mono(tmp_path / "a.wav", RATE, start, stop), whole[start:stop])
    for start, stop in ((0, 501), (10, 10), (-5, 10), (500, None), (600, None), (20, 10)):
        with pytest.raises(
            DataError,
            match=r"a\.wav holds 500 samples; expected it to have "
            r"those from",
        ):
            mono(tmp_path / "a.wav", RATE, start, stop)


def test_every_cut_of_a_wav_flac_or_sphere_file_is_an_error(tmp_path: Path) -> None:
    path, refused = tmp_path / "cut", 0
    for kind in ("WAV", "FLAC", "NIST"):
        name = f"a.{kind}"
        soundfile.write(tmp_path / name, _tone(400), RATE, subtype="PCM_16", format=kind)
        content = (tmp_path / name).read_bytes()
        for cut in range(0, len(content), 7):
            path.write_bytes(content[:cut])
            with pytest.raises(DataError, match="cut"):
                read_audio(path)
            refused += 1
    assert refused > 400


def test_a_cut_wav_file_names_both_counts(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", _tone(400, 2), RATE, subtype="PCM_16")
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-44])
    assert soundfile.info(tmp_path / "a.wav").frames == 389  # read by soundfile without a word
    with pytest.raises(
        DataError,
        match=r"a\.wav is cut: its header promises 400 samples, 389 "
        r"are there",
    ):
        read_audio(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.sph", _tone(400, 2), RATE, subtype="PCM_16", format="NIST")
    (tmp_path / "a.sph").write_bytes((tmp_path / "a.sph").read_bytes()[:-44])
    with pytest.raises(
        DataError,
        match=r"a\.sph is cut: its header promises 400 samples, 389 "
        r"are there",
    ):
        read_audio(tmp_path / "a.sph")
    soundfile.write(tmp_path / "b.wav", _tone(4000), RATE, subtype="IMA_ADPCM")
    (tmp_path / "b.wav").write_bytes((tmp_path / "b.wav").read_bytes()[:-300])
    with pytest.raises(DataError, match=r"b\.wav is cut: its header promises \d+ blocks"):
        read_audio(tmp_path / "b.wav")


def test_chunks_before_the_data_big_endian_and_unknown_size(tmp_path: Path) -> None:
    x = np.arange(10, dtype="<i2")
    form = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"

    def content(size: int, before: bytes = odd) -> bytes:
        body = (
            b"WAVEfmt "
            + struct.pack("<I", 16)
            + form
            + before
            + b"data"
            + struct.pack("<I", size)
            + x.tobytes()
        )
        return b"RIFF" + struct.pack("<I", len(body)) + body

    path = tmp_path / "a.wav"
    for size in (20, 0xFFFFFFFF):
        path.write_bytes(content(size))
        assert np.array_equal(mono(path) * 32768, x)
    path.write_bytes(content(22))
    with pytest.raises(DataError, match="promises 11 samples, 10 are there"):
        mono(path)
    soundfile.write(path, x, RATE, endian="BIG")
    assert path.read_bytes().startswith(b"RIFX")
    assert np.array_equal(mono(path) * 32768, x)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match="promises 10 samples, 9 are there"):
        mono(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"RIFF", "is not a sound file, or is damaged"),
        (b"<!DOCTYPE html><p>not found", "is not a sound file, or is damaged"),
        (b"RIFF\x24\0\0\0WAVE", "is cut: it ends before its samples begin"),
        (b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0", "is cut: it ends before its samples begin"),
        (b"RIFF\x0c\0\0\0WAVEdata\0\0\0\0", "is not a sound file, or is damaged"),
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.raw", "a"])
def test_bad_content(tmp_path: Path, content: bytes, message: str, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} {message}"):
        read_audio(tmp_path / name)


def test_flipped_header_bytes_never_raise_another_error(tmp_path: Path) -> None:
    tried, refused = 0, []
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, _tone(200), RATE, subtype="PCM_16")
        content = (tmp_path / name).read_bytes()
        for at in range(60):
            (tmp_path / "bad").write_bytes(
                content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]
            )
            try:
                assert np.isfinite(read_audio(tmp_path / "bad")[0]).all()
            except DataError as error:
                refused.append(str(error))
            tried += 1
    assert tried == 120
    assert len(refused) > 30
    assert all(str(tmp_path / "bad") in message for message in refused)


def test_missing_folder_no_sample_not_finite(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.wav cannot be read: No such file"):
        read_audio(tmp_path / "none.wav")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_audio(tmp_path)
    soundfile.write(tmp_path / "zero.wav", np.zeros(0), RATE)
    with pytest.raises(DataError, match=r"zero\.wav holds no sample"):
        read_audio(tmp_path / "zero.wav")
    x = _tone(50, 2)
    x[7, 1] = np.nan
    soundfile.write(tmp_path / "nan.wav", x, RATE, subtype="FLOAT")
    with pytest.raises(DataError, match=r"nan\.wav: sample 7 of channel 1 is nan; expected finite"):
        read_audio(tmp_path / "nan.wav")
    with pytest.raises(DataError, match="sample 7 of channel 1"):
        read_audio(tmp_path / "nan.wav", 5, 20)
    assert len(read_audio(tmp_path / "nan.wav", 8)[0]) == 42


def test_mono_refuses_stereo_and_another_rate(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", _tone(channels=2), RATE)
    with pytest.raises(DataError, match=r"a\.wav has 2 channels; expected one. Mix or choose one"):
        mono(tmp_path / "a.wav")
    write_wav(tmp_path / "a.wav", _tone(), RATE)
    assert len(mono(tmp_path / "a.wav")) == 500
    with pytest.raises(
        DataError,
        match=r"has 8000 samples per second; expected 16000. Resample "
        r"it",
    ):
        mono(tmp_path / "a.wav", 16000)


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        ([], r"shape \(0,\); expected"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        ([0.0, 1.5], r"reaches from 0.0 to 1.5; expected finite numbers in \[-1, 1\]"),
        ([0.0, np.nan], "expected finite"),
    ],
)
def test_nothing_bad_is_written(tmp_path: Path, signal: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_wav(tmp_path / "a.wav", np.asarray(signal), RATE)
    assert list(tmp_path.iterdir()) == []


def test_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_wav(tmp_path / "file" / "a.wav", [0.0], RATE)
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write_wav(tmp_path / "a.wav", [0.0], RATE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "file"]


def test_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(SrnnError, match=r'soundfile. Install it with: pip install "srnn\[data\]"'):
        read_audio(tmp_path / "a.wav")


def test_tones_are_where_they_were_asked_for() -> None:
    x = tones([500, 1500], 4000, RATE, np.random.default_rng(0))
    assert x.shape == (4000,)
    assert 0.2 < np.abs(x).max() <= 1
    spectrum = np.abs(np.fft.rfft(x))
    assert set(np.argsort(spectrum)[-2:] * 2) == {500, 1500}


@pytest.mark.real_data
def test_real_flac(real_data: Path) -> None:
    path = real_data / "lauscher" / "spoken_digit.flac"
    whole = mono(path, 48000)
    assert len(whole) > 10000
    assert 0.001 < np.abs(whole).max() < 1
    assert np.array_equal(mono(path, 48000, 5000, 9000), whole[5000:9000])
