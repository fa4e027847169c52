"""SHD and SSC: small files of the published layout, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from srnn._check import ConfigError, DataError
from srnn.datasets import shd, spikes_h5
from srnn.datasets.sample import entries_of
from srnn.datasets.split import split_groups
from srnn.encode.bins import Bins


def test_made_up_data(tmp_path: Path) -> None:
    shd.made_up(tmp_path)
    assert sorted(os.listdir(tmp_path / "shd")) == ["shd_test.h5", "shd_train.h5"]
    assert sum(path.stat().st_size for path in (tmp_path / "shd").iterdir()) < 500_000
    train, test = shd.read(tmp_path, "train"), shd.read(tmp_path, "test")
    assert (len(train), len(test)) == (200, 40)
    assert {e.group for e in test.entries} == {"4", "5"}
    assert not {e.group for e in train.entries} & {"4", "5"}
    assert {e.label for e in train.entries} == {e.label for e in test.entries} == set(range(20))
    rest, validation = split_groups(train, 0.1)
    assert len({e.group for e in entries_of(validation)}) >= 2
    assert {e.label for e in entries_of(rest)} == set(range(20))
    for part in (train, test):
        for entry, spikes in zip(part.entries, part, strict=True):
            assert (spikes.label, spikes.group, spikes.name) == (
                entry.label,
                entry.group,
                entry.name,
            )
            assert spikes.channels == 700
            assert 100 < len(spikes.times) < 250
    with h5py.File(tmp_path / "shd" / "shd_train.h5") as file:
        assert file["spikes/times"].dtype.metadata["vlen"] == np.float16
        assert file["spikes/units"].dtype.metadata["vlen"] == np.uint16
        assert tuple(key.decode() for key in file["extra/keys"]) == shd.CLASSES


def test_made_up_data_can_be_learnt_and_repeats(tmp_path: Path) -> None:
    """A recording of an unseen speaker is nearest to the mean of its class; the same seed gives the
    same data, another one other data.
    """
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        shd.made_up(tmp_path / name, seed)
    first, again, other = (
        [s.times.sum() for s in shd.read(tmp_path / name, "test")] for name in "abc"
    )
    assert first == again
    assert first != other
    bins = Bins(0.25, 4, 700)
    means, right = np.zeros((20, 4, 70)), 0
    for s in shd.read(tmp_path / "a", "train"):
        means[s.label] += bins(s.times, s.units).reshape(4, 70, 10).sum(2)
    means /= np.linalg.norm(means, axis=(1, 2), keepdims=True)
    test = shd.read(tmp_path / "a", "test")
    for s in test:
        right += (
            int((means * bins(s.times, s.units).reshape(4, 70, 10).sum(2)).sum((1, 2)).argmax())
            == s.label
        )
    assert right / len(test) > 0.8


@pytest.mark.parametrize("folder", ["shd", "SHD", "."])
def test_layouts(tmp_path: Path, folder: str) -> None:
    shd.made_up(tmp_path / "made")
    (tmp_path / "root" / folder).mkdir(parents=True)
    for part in shd.PARTS:
        (tmp_path / "made" / "shd" / f"shd_{part}.h5").rename(
            tmp_path / "root" / folder / f"shd_{part}.h5"
        )
        assert len(shd.read(tmp_path / "root", part)) in (200, 40)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no 'valid'.*Known: test, train"):
        shd.read(tmp_path, "valid")
    with pytest.raises(DataError, match=r"No shd/shd_train\.h5 or .*\n.*srnn data fetch shd"):
        shd.read(tmp_path, "train")
    shd.made_up(tmp_path)
    path = tmp_path / "shd" / "shd_train.h5"
    spikes_h5.write(path, shd.read(tmp_path, "test"), [*shd.CLASSES, "ten"])
    with pytest.raises(DataError, match=r"shd_train\.h5 has 21 classes; expected 20 digits"):
        shd.read(tmp_path, "train")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"shd_train\.h5 is truncated or damaged"):
        shd.read(tmp_path, "train")
    path.rename(path.with_suffix(".h5.gz"))
    with pytest.raises(
        DataError,
        match=r"shd_train\.h5\.gz is still packed. Unpack it with "
        r"`srnn data fetch shd`",
    ):
        shd.read(tmp_path, "train")


def test_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [(file, right) for file, right, _ in shd.verify(tmp_path)] == [
        ("shd_train.h5", False),
        ("shd_test.h5", False),
    ]
    shd.made_up(tmp_path)
    assert shd.verify(tmp_path)[0] == (
        "shd_train.h5",
        False,
        "200 recordings in 20 classes; expected 8156 or 8332 in 20",
    )
    monkeypatch.setattr(shd, "COUNTS", {"train": (200,), "test": (41, 40)})
    assert shd.verify(tmp_path) == [("shd_train.h5", True, "ok"), ("shd_test.h5", True, "ok")]
    (tmp_path / "shd" / "shd_test.h5").write_bytes(b"")
    assert shd.verify(tmp_path)[1][:2] == ("shd_test.h5", False)


def test_fetch_takes_both_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def fetch(*args: Any) -> list[Path]:
        asked.append(args)
        return []

    monkeypatch.setattr(spikes_h5, "fetch", fetch)
    assert shd.fetch(tmp_path) == []
    assert asked == [(tmp_path, "shd", shd.MD5)]
    assert [len(md5) for md5 in shd.MD5.values()] == [32, 32]
    assert "CC BY 4.0" in shd.LICENCE
    assert "TNNLS.2020.3044364" in shd.CITATION
