"""Heidelberg Digits: FLAC files in the published tree, lists, speakers, and one real recording."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from srnn._check import ConfigError, DataError
from srnn.datasets import _fetch, hd, shd
from srnn.datasets.sample import entries_of
from srnn.datasets.split import split_groups


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hd")
    hd.made_up(root)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(made, tmp_path / "root")
    return tmp_path / "root"


def test_made_up_data(made: Path) -> None:
    files = list((made / "hd" / "audio").iterdir())
    assert len(files) == 240
    assert sum(path.stat().st_size for path in files) < 800_000
    train, test = hd.read(made, "train"), hd.read(made, "test")
    assert (len(train), len(test)) == (200, 40)
    assert {e.group for e in test.entries} == {"4", "5"}
    assert {e.label for e in train.entries} == {e.label for e in test.entries} == set(range(20))
    rest, validation = split_groups(train, 0.1)
    assert len({e.group for e in entries_of(validation)}) >= 2
    assert {e.label for e in entries_of(rest)} == set(range(20))
    for sample in test:
        assert (sample.rate, sample.signal.dtype.name, sample.signal.shape[1]) == (
            48000.0,
            "float32",
            1,
        )
        assert 4800 <= len(sample.signal) < 6000
        assert sample.meta["audio"] is True
        assert 0.05 < np.abs(sample.signal).max() < 1
    names = (made / "hd" / "test_filenames.txt").read_text().split()
    assert [f"{e.name}.flac" for e in test.entries] == names
    assert hd.CLASSES == shd.CLASSES


def test_names_tell_label_speaker_and_trial(made: Path, tmp_path: Path) -> None:
    """Ids count as numbers, however they are padded."""
    flac = next((made / "hd" / "audio").iterdir())
    names = {
        "lang-english_speaker-00_trial-0_digit-7.flac": (7, "0", 0),
        "lang-german_speaker-11_trial-64_digit-0.flac": (10, "11", 64),
        "lang-german_speaker-3_trial-007_digit-09.flac": (19, "3", 7),
    }
    (tmp_path / "audio").mkdir()
    for name in names:
        shutil.copy(flac, tmp_path / "audio" / name)
    (tmp_path / "train_filenames.txt").write_text("\r\n".join(names) + "\r\n\r\n")
    samples = hd.read(tmp_path, "train")
    assert [(s.label, s.group, s.meta["trial"]) for s in samples] == list(names.values())


@pytest.mark.parametrize("folder", ["hd", "HD", "hd_audio", "."])
def test_layouts(made: Path, tmp_path: Path, folder: str) -> None:
    shutil.copytree(made / "hd", tmp_path / folder, dirs_exist_ok=True)
    assert len(hd.read(tmp_path, "test")) == 40


def test_rate_and_width_are_those_of_the_file(root: Path) -> None:
    path = root / "hd" / "audio" / (root / "hd" / "test_filenames.txt").read_text().split()[0]
    signal = np.linspace(-0.5, 0.5, 1000)
    soundfile.write(path, signal, 16000, subtype="PCM_24")
    sample = hd.read(root, "test")[0]
    assert sample.rate == 16000
    assert np.abs(sample.signal[:, 0] - signal).max() < 1e-6


@pytest.mark.parametrize("case", ["empty", "cut", "half", "random", "text", "stereo", "no samples"])
def test_damaged_recordings(root: Path, case: str) -> None:
    path = root / "hd" / "audio" / (root / "hd" / "test_filenames.txt").read_text().split()[3]
    raw = path.read_bytes()
    if case in ("stereo", "no samples"):
        soundfile.write(path, np.zeros((100, 2) if case == "stereo" else (0, 1)), 48000)
    else:
        path.write_bytes(
            {
                "empty": b"",
                "cut": raw[:20],
                "half": raw[: len(raw) // 2],
                "random": np.random.default_rng(0).bytes(900),
            }.get(case, b"text")
        )
    recordings = hd.read(root, "test")
    assert len([recordings[i] for i in (0, 1, 2, 4)]) == 4
    with pytest.raises(DataError) as caught:
        recordings[3]
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no list", r"No hd/train_filenames\.txt or .*\n.*srnn data fetch hd"),
        ("empty list", r"train_filenames\.txt is empty"),
        ("binary list", r"train_filenames\.txt cannot be read"),
        (
            "missing recording",
            r"lang-english_speaker-00.*, which train_filenames\.txt names, "
            r"cannot be read: No such file",
        ),
        ("twice", r"train_filenames\.txt names lang-.*flac 2 times"),
        ("other name", r"train_filenames\.txt names 'zero\.flac'; expected lang-<english"),
        ("digit", r"names 'lang-english_speaker-00_trial-0_digit-10\.flac'"),
        ("path", r"names '\.\./lang-"),
        ("no audio", r"cannot be read: No such file"),
    ],
)
def test_bad_lists(root: Path, case: str, message: str) -> None:
    path = root / "hd" / "train_filenames.txt"
    names = path.read_text().split()
    if case == "no list":
        path.unlink()
    elif case == "empty list":
        path.write_text("\n \n")
    elif case == "binary list":
        path.write_bytes(b"\xff\xfe\x00")
    elif case == "missing recording":
        (root / "hd" / "audio" / names[0]).unlink()
    elif case == "no audio":
        shutil.rmtree(root / "hd" / "audio")
    else:
        more = {
            "twice": names[5],
            "other name": "zero.flac",
            "digit": "lang-english_speaker-00_trial-0_digit-10.flac",
            "path": f"../{names[0]}",
        }
        name = more[case]
        (root / "hd" / "audio" / name).write_bytes(b"x") if case in (
            "other name",
            "digit",
            "path",
        ) else None
        path.write_text("\n".join([*names, name]))
    with pytest.raises(DataError, match=message):
        hd.read(root, "train")


def test_bad_part(made: Path) -> None:
    with pytest.raises(ConfigError, match="there is no 'valid'"):
        hd.read(made, "valid")


def test_verify(root: Path) -> None:
    assert hd.verify(root) == [
        ("train_filenames.txt", True, "ok"),
        ("test_filenames.txt", True, "ok"),
    ]
    train, test = (root / "hd" / f"{part}_filenames.txt" for part in hd.PARTS)
    names = train.read_text()
    train.write_text(names + test.read_text().split()[0])
    assert hd.verify(root)[0] == (
        "train_filenames.txt",
        False,
        "the train part has of speakers 4 and 5: 4",
    )
    test.write_text(names)
    assert hd.verify(root)[1] == (
        "test_filenames.txt",
        False,
        "the test part has of speakers 4 and 5: none",
    )
    test.unlink()
    assert hd.verify(root)[1][:2] == ("test_filenames.txt", False)


def _tar(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "line",
    [
        "{}  hd_audio.tar.gz",
        "{} *hd_audio.tar.gz\r",
        "{}  ./hd_audio.tar.gz",
        "{}\thd_audio.tar.gz",
    ],
)
def test_fetch(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    archive = _tar(made / "hd")
    md5 = hashlib.md5(archive).hexdigest()
    sums = "\n".join(
        [f"{'0' * 32}  shd_test.h5.gz", line.format(md5), f"{'1' * 32}  ssc_test.h5.gz"]
    )
    asked: list[Any] = []

    def download(url: str, checksum: str | None, to: Path, **_: Any) -> Path:
        asked.append((url, checksum))
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(archive if url.endswith(".tar.gz") else sums.encode())
        return to

    monkeypatch.setattr(_fetch, "download", download)
    assert hd.fetch(tmp_path) == [tmp_path / "hd" / f"{part}_filenames.txt" for part in hd.PARTS]
    assert asked == [
        ("https://zenkelab.org/datasets/md5sums.txt", None),
        ("https://zenkelab.org/datasets/hd_audio.tar.gz", f"md5:{md5}"),
    ]
    assert sorted(os.listdir(tmp_path / "hd")) == [
        "audio",
        "test_filenames.txt",
        "train_filenames.txt",
    ]
    assert os.listdir(tmp_path) == ["hd"]
    assert len(list(hd.read(tmp_path, "test"))) == 40
    hd.fetch(tmp_path)
    assert len(asked) == 2  # what is there is not fetched again


def test_fetch_without_a_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(url: str, checksum: str | None, to: Path, **_: Any) -> Path:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(f"{'0' * 32}  other_hd_audio.tar.gz.old\n<html>")
        return to

    monkeypatch.setattr(_fetch, "download", download)
    with pytest.raises(DataError, match=r"md5sums\.txt has no line for hd_audio\.tar\.gz"):
        hd.fetch(tmp_path)
    assert os.listdir(tmp_path / "hd") == []


@pytest.mark.real_data
def test_a_real_recording(real_data: Path, tmp_path: Path) -> None:
    """The recording of the data set that is at hand: 48 kHz, 38172 samples."""
    (tmp_path / "hd" / "audio").mkdir(parents=True)
    name = "lang-english_speaker-00_trial-0_digit-0.flac"
    shutil.copy(real_data / "lauscher" / "spoken_digit.flac", tmp_path / "hd" / "audio" / name)
    (tmp_path / "hd" / "test_filenames.txt").write_text(f"{name}\n")
    (sample,) = hd.read(tmp_path, "test")
    assert (sample.signal.shape, sample.rate) == ((38172, 1), 48000.0)
    assert 0.01 < np.abs(sample.signal).max() <= 1
