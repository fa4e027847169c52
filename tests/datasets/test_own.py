"""What kind of recordings a path holds, spikes, the made-up examples, and what is the same for all
kinds.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from srnn._check import ConfigError, DataError
from srnn.datasets import Sample, Spikes, own
from srnn.datasets.split import split_groups, split_stratified

KINDS = ("npz", "csv", "wav", "h5")


@pytest.mark.parametrize("kind", KINDS)
def test_made_up_is_read(tmp_path: Path, kind: str) -> None:
    written = own.made_up(tmp_path / "a", kind)  # type: ignore[arg-type]
    found = own.read(written)
    again = own.read(tmp_path / "a")
    assert again.recordings.entries == found.recordings.entries or kind in ("csv", "wav")
    assert found.classes == ("circle", "line", "square")
    assert len(found.recordings) == len(again.recordings) == 180
    assert [sum(e.label == k for e in found.recordings.entries) for k in range(3)] == [60, 60, 60]
    assert len({e.name for e in found.recordings.entries}) == 180
    assert not found.per_step
    steps = []
    for entry, recording in zip(found.recordings.entries, found.recordings, strict=True):
        assert (recording.name, recording.label, recording.group) == (
            entry.name,
            entry.label,
            entry.group,
        )
        if isinstance(recording, Sample):
            assert recording.signal.dtype == np.float32
            assert recording.signal.shape[1] == found.channels
            assert recording.rate == found.rate
            assert recording.meta.get("audio", False) == (found.kind == "audio")
            steps.append(len(recording.signal))
        else:
            assert isinstance(recording, Spikes)
            assert recording.channels == found.channels
            steps.append(int(recording.times[-1] / own.SPIKE_STEP) + 1)
    assert max(steps) == found.steps
    expected = {
        "npz": (2, 100.0, "signal"),
        "csv": (2, 1.0, "signal"),
        "wav": (1, 8000.0, "audio"),
        "h5": (70, 1.0, "spikes"),
    }
    assert (found.channels, found.rate, found.kind) == expected[kind]
    groups = {e.group for e in found.recordings.entries}
    assert len(groups) == (1 if kind == "wav" else 20)
    rest, part = (split_stratified if kind == "wav" else split_groups)(found.recordings, 0.25)
    assert len(rest) == 135
    assert len(part) == 45


@pytest.mark.parametrize("kind", KINDS)
def test_made_up_depends_on_its_seed_only(tmp_path: Path, kind: str) -> None:
    def first(name: str, seed: int) -> np.ndarray:
        r = own.read(own.made_up(tmp_path / name, kind, seed)).recordings[0]  # type: ignore[arg-type]
        return r.signal if isinstance(r, Sample) else r.times

    assert np.array_equal(first("a", 1), first("b", 1))
    assert not np.array_equal(first("a", 1), first("c", 2))


@pytest.mark.parametrize("kind", KINDS)
def test_made_up_can_be_learnt(tmp_path: Path, kind: str) -> None:
    """Nearest class mean of a crude feature, trained on 15 people, is right nearly always for the
    other five.
    """
    found = own.read(own.made_up(tmp_path, kind))  # type: ignore[arg-type]

    def feature(r: Sample | Spikes) -> np.ndarray:
        if isinstance(r, Spikes):
            early = r.times < 0.15
            x = np.array([r.units[early].mean(), r.units[~early].mean()])
        else:
            x = (
                np.abs(np.fft.rfft(r.signal[:, 0], 4096))[
                    : 2048 if found.kind == "signal" else 1400
                ]
                .reshape(-1, 8)
                .mean(1)
            )
        return np.asarray(x / np.linalg.norm(x))

    x, y = (
        np.array([feature(r) for r in found.recordings]),
        np.array([e.label for e in found.recordings.entries]),
    )
    test = np.arange(180) >= 135
    if kind == "wav":
        test = np.arange(180) % 4 == 0
    means = np.array([x[~test & (y == k)].mean(0) for k in range(3)])
    right = ((x[test, None] - means) ** 2).sum(2).argmin(1) == y[test]
    assert right.sum() >= 43
    assert len(right) == 45


def test_made_up_names_and_size(tmp_path: Path) -> None:
    assert own.made_up(tmp_path / "x.npz", "npz") == tmp_path / "x.npz"
    assert own.made_up(tmp_path / "new" / "x.h5", "h5") == tmp_path / "new" / "x.h5"
    assert own.made_up(tmp_path / "x.h5", "npz") == tmp_path / "x.h5" / "recordings.npz"
    assert own.made_up(tmp_path / "w", "wav") == tmp_path / "w"
    assert own.made_up(tmp_path / "c", "csv") == tmp_path / "c"
    size = sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file())
    assert 100_000 < size < 2_000_000
    with pytest.raises(ConfigError, match="no 'mp3'"):
        own.made_up(tmp_path, "mp3")  # type: ignore[arg-type]


# -- spikes ----------------------------------------------------------------------------------------


def test_channels_of_spikes(tmp_path: Path) -> None:
    path = own.made_up(tmp_path / "a.h5", "h5")
    highest = max(int(r.units.max()) for r in own.read(path).recordings)
    assert 65 <= highest <= 69
    assert own.read(path, channels=128).channels == 128
    assert own.read(path, channels=128).recordings[3].channels == 128
    with pytest.raises(DataError, match=r"a\.h5.*a spike of unit \d+; expected units 0 … 39"):
        own.read(path, channels=40)
    with pytest.raises(ConfigError, match="sizes must be integers of at least 1"):
        own.read(path, channels=0)
    with pytest.raises(
        ConfigError, match="rate 100 was asked for, but spikes have times in seconds"
    ):
        own.read(path, rate=100.0)


def test_round_up() -> None:
    pairs = {
        1: 1,
        2: 2,
        3: 4,
        5: 8,
        9: 10,
        16: 16,
        31: 32,
        65: 70,
        70: 70,
        98: 100,
        101: 128,
        127: 128,
        200: 200,
        253: 256,
        688: 700,
        700: 700,
        701: 800,
    }
    assert {n: own.round_up(n) for n in pairs} == pairs


def _write(path: Path, units: list[list[int]], labels: list[int]) -> Path:
    """Write spikes a millisecond apart, classes x and y."""
    with h5py.File(path, "w") as file:
        for key, dtype in (("times", np.float32), ("units", np.uint16)):
            lists = file.create_dataset(f"spikes/{key}", (len(units),), h5py.vlen_dtype(dtype))
            for i, u in enumerate(units):
                lists[i] = np.array(u if key == "units" else np.arange(len(u)) / 1000, dtype)
        file["labels"], file["extra/keys"] = labels, [b"x", b"y"]
    return path


def test_spikes_of_one_class_silent_and_damaged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one class only, 'x'"):
        own.read(_write(tmp_path / "one.h5", [[1], [2]], [0, 0]))
    silent = own.read(_write(tmp_path / "silent.h5", [[], []], [0, 1]))
    assert (silent.channels, silent.steps, len(silent.recordings)) == (1, 1, 2)
    long = own.read(_write(tmp_path / "long.h5", [[5] * 26, [3]], [0, 1]))
    assert (long.channels, long.steps) == (8, 3)
    (tmp_path / "bad.h5").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"bad\.h5 is not an HDF5 file"):
        own.read(tmp_path / "bad.h5")


# -- which kind ------------------------------------------------------------------------------------


def test_a_folder_with_one_archive_stands_for_it(tmp_path: Path) -> None:
    own.made_up(tmp_path, "npz")
    (tmp_path / "README.txt").write_text("mine")
    (tmp_path / ".hidden.npz").write_text("no")
    assert len(own.read(tmp_path).recordings) == 180
    shutil.copy(tmp_path / "recordings.npz", tmp_path / "second.NPZ")
    with pytest.raises(
        DataError,
        match=r"holds recordings\.npz and second\.NPZ; expected one "
        r"kind",
    ):
        own.read(tmp_path)
    (tmp_path / "second.NPZ").rename(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"holds recordings\.npz and a\.csv; expected one kind"):
        own.read(tmp_path)


def test_no_such_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no file or folder .*nowhere"):
        own.read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no recordings\. Looked for"):
        own.read(tmp_path)
    (tmp_path / "a.mp3").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.mp3 is a \.mp3 file; expected \.npz"):
        own.read(tmp_path / "a.mp3")
