"""Free Spoken Digit Dataset: made-up recordings in its layout, and the real ones where they are."""

from __future__ import annotations

import shutil
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from srnn._check import ConfigError, DataError
from srnn.datasets import _fetch, fsdd
from srnn.datasets._audio import write_wav
from srnn.datasets.split import split_groups


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made_up")
    fsdd.made_up(folder)
    return folder


def test_parts(root: Path) -> None:
    everything, train, test = fsdd.read_all(root), fsdd.read(root, "train"), fsdd.read(root, "test")
    assert (len(everything), len(train), len(test)) == (320, 120, 200)
    assert {e.name for e in everything.entries} == {e.name for e in (*train.entries, *test.entries)}
    assert len({e.name for e in everything.entries}) == 320
    assert {int(e.name.rpartition("_")[2]) for e in test.entries} == {0, 1, 2, 3, 4}
    for part, each in ((train, 12), (test, 20)):
        assert Counter(e.label for e in part.entries) == dict.fromkeys(range(10), each)
        assert {e.group for e in part.entries} == {"ada", "ben", "cleo", "dan"}
    rest, part = split_groups(everything, 0.25)
    assert (len(rest), len(part)) == (240, 80)


def test_recordings(root: Path) -> None:
    everything = fsdd.read_all(root)
    read = 0
    for entry, sample in zip(everything.entries[::16], everything[::16], strict=True):
        assert (sample.name, sample.label, sample.group, sample.rate) == (
            entry.name,
            entry.label,
            entry.group,
            8000.0,
        )
        assert entry.name.startswith(f"{entry.label}_{entry.group}_")
        assert sample.meta == {"audio": True}
        assert sample.signal.dtype == np.float32
        assert sample.signal.shape[1] == 1
        assert 0.2 <= len(sample.signal) / 8000 <= 0.5
        assert entry.size == 44 + 2 * len(sample.signal)
        read += 1
    assert read == 20


def test_made_up_is_learnable_and_repeatable(root: Path, tmp_path: Path) -> None:
    fsdd.made_up(tmp_path)
    files = sorted(p.relative_to(root) for p in root.rglob("*.wav"))
    assert len(files) == 320
    assert all((root / f).read_bytes() == (tmp_path / f).read_bytes() for f in files[::40])

    def spectra(samples: object) -> np.ndarray:
        return np.stack(
            [
                np.log(
                    np.abs(np.fft.rfft(s.signal[:, 0], 8000))
                    .reshape(-1)[:4000]
                    .reshape(80, 50)
                    .mean(1)
                )
                for s in samples
            ]
        )  # type: ignore[attr-defined]

    train, test = fsdd.read(root, "train"), fsdd.read(root, "test")
    labels = np.array([e.label for e in train.entries])
    known, asked = spectra(train), spectra(test)
    nearest = labels[((asked[:, None] - known) ** 2).sum(2).argmin(1)]
    assert np.mean(nearest == [e.label for e in test.entries]) > 0.9


@pytest.mark.parametrize(
    "place",
    [
        "fsdd",
        "recordings",
        "free-spoken-digit-dataset-master/recordings",
        f"fsdd/{fsdd.RELEASE}/recordings",
    ],
)
def test_places(tmp_path: Path, place: str) -> None:
    write_wav(
        tmp_path / place / ("recordings" if place == "fsdd" else "") / "7_jackson_32.wav",
        [0.5, -0.5],
        8000,
    )
    (sample,) = fsdd.read_all(tmp_path)
    assert (sample.name, sample.label, sample.group) == ("7_jackson_32", 7, "jackson")
    assert len(fsdd.read(tmp_path, "train")) == 1
    assert len(fsdd.read(tmp_path, "test")) == 0


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No fsdd/recordings or .*\n.*srnn data fetch fsdd"):
        fsdd.read_all(tmp_path)
    folder = tmp_path / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds no \.wav file"):
        fsdd.read_all(tmp_path)
    write_wav(folder / "7_jackson_32.wav", np.zeros(100), 8000)
    (folder / ".7_jackson_33.wav").write_bytes(b"")
    assert len(fsdd.read_all(tmp_path)) == 1
    with pytest.raises(ConfigError, match=r"no 'validation'.*Known: test, train"):
        fsdd.read(tmp_path, "validation")
    write_wav(folder / "7_jackson_33.wav", np.zeros(100), 16000)
    write_wav(folder / "7_jackson_34.wav", np.zeros((100, 2)), 8000)
    (folder / "7_jackson_35.wav").write_bytes((folder / "7_jackson_32.wav").read_bytes()[:-50])
    for i, message in (
        (1, "33.wav has 16000 samples per second; expected 8000"),
        (2, "34.wav has 2 channels"),
        (3, "promises 100 samples, 75 are"),
    ):
        with pytest.raises(DataError, match=message):
            fsdd.read_all(tmp_path)[i]
    write_wav(folder / "seven.wav", np.zeros(100), 8000)
    with pytest.raises(DataError, match=r"seven\.wav is not named <digit>_<speaker>_<index>\.wav"):
        fsdd.read_all(tmp_path)


def test_verify(tmp_path: Path) -> None:
    assert [row[:2] for row in fsdd.verify(tmp_path)] == [("recordings", False)]
    write_wav(tmp_path / "one.wav", [0.0], 8000)
    folder = tmp_path / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    for speaker in ("ada", "ben_b"):
        for digit in range(10):
            for index in range(50):
                shutil.copyfile(tmp_path / "one.wav", folder / f"{digit}_{speaker}_{index}.wav")
    assert fsdd.verify(tmp_path) == [("ada", True, "ok"), ("ben_b", True, "ok")]
    (folder / "3_ada_17.wav").rename(folder / "3_ada_50.wav")
    assert fsdd.verify(tmp_path) == [
        ("ada", False, "1 missing, 1 too many: digit 3, index 17"),
        ("ben_b", True, "ok"),
    ]


def test_fetch(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def download(url: str, checksum: str | None, to: Path) -> Path:
        asked.append((url, checksum))
        with tarfile.open(to, "w:gz") as tar:
            tar.add(root / "fsdd" / "recordings", f"{fsdd.RELEASE}/recordings")
            tar.add(__file__, f"{fsdd.RELEASE}/README.md")
        return to

    monkeypatch.setattr(_fetch, "download", download)
    for _ in range(2):
        assert fsdd.fetch(tmp_path) == [tmp_path / "fsdd" / fsdd.RELEASE / "recordings"]
    assert asked == [(fsdd.URL, fsdd.CHECKSUM)]
    assert len(fsdd.read_all(tmp_path)) == 320
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 320


@pytest.mark.real_data
def test_real_recordings(real_data: Path) -> None:
    everything = fsdd.read_all(real_data)
    assert len(everything) == 2000
    assert Counter(e.group for e in everything.entries) == dict.fromkeys(
        ("george", "jackson", "lucas", "nicolas"), 500
    )
    assert (len(fsdd.read(real_data, "train")), len(fsdd.read(real_data, "test"))) == (1800, 200)
    assert fsdd.verify(real_data) == [
        (speaker, True, "ok") for speaker in ("george", "jackson", "lucas", "nicolas")
    ]
    lengths = np.array([len(s.signal) for s in everything])
    assert (lengths.min(), lengths.max()) == (1149, 10504)
