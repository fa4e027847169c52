"""SSC: three parts, words in whatever order the file has them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srnn._check import ConfigError, DataError
from srnn.datasets import spikes_h5, ssc
from srnn.datasets.sample import Spikes
from srnn.datasets.speech_commands import WORDS_V2
from srnn.encode.bins import Bins


def test_made_up_data(tmp_path: Path) -> None:
    ssc.made_up(tmp_path)
    assert sorted(os.listdir(tmp_path / "ssc")) == ["ssc_test.h5", "ssc_train.h5", "ssc_valid.h5"]
    assert sum(path.stat().st_size for path in (tmp_path / "ssc").iterdir()) < 500_000
    sums = set()
    for part, count in (("train", 175), ("valid", 70), ("test", 70)):
        recordings = ssc.read(tmp_path, part)
        assert len(recordings) == count
        assert {e.label for e in recordings.entries} == set(range(35))
        assert {e.group for e in recordings.entries} == {""}
        assert len(recordings.source) == 64
        sums |= {float(s.times.sum()) for s in recordings}
    assert len(sums) == 315
    words = spikes_h5.classes(tmp_path / "ssc" / "ssc_train.h5")
    assert sorted(words) == list(WORDS_V2)
    assert words != WORDS_V2


def test_labels_follow_the_words_whatever_their_numbers_in_the_file(tmp_path: Path) -> None:
    """Each part by its own keys: a file whose numbers run otherwise gives the same words, in
    entries and in what is read.
    """
    ssc.made_up(tmp_path)
    stored, words = spikes_h5.read(tmp_path / "ssc" / "ssc_valid.h5")
    said = [words[e.label] for e in stored.entries if e.label is not None]
    renumbered = [replace(s, label=34 - s.label) for s in stored]
    for keys, recordings in ((words, list(stored)), (words[::-1], renumbered)):
        spikes_h5.write(tmp_path / "ssc" / "ssc_valid.h5", recordings, keys)
        read = ssc.read(tmp_path, "valid")
        assert [WORDS_V2[e.label] for e in read.entries if e.label is not None] == said
        assert [WORDS_V2[s.label] for s in read] == said
        assert [s.times.tolist() for s in read] == [s.times.tolist() for s in recordings]
    assert len(said) == 70
    few = [s for s in renumbered if s.label in (0, 1)]
    # a file of some of the words
    spikes_h5.write(tmp_path / "ssc" / "ssc_valid.h5", few, ("yes", "no"))
    assert [WORDS_V2[s.label] for s in ssc.read(tmp_path, "valid")] == [
        ("yes", "no")[s.label] for s in few
    ]
    assert len(few) == 4


def test_made_up_data_can_be_learnt_and_repeats(tmp_path: Path) -> None:
    """A recording is nearest to the mean of its word; the same seed gives the same data, another
    one other data.
    """
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        ssc.made_up(tmp_path / name, seed)
    first, again, other = (
        [s.times.sum() for s in ssc.read(tmp_path / name, "test")] for name in "abc"
    )
    assert first == again
    assert first != other
    bins = Bins(0.25, 4, 700)
    means, right = np.zeros((35, 4, 70)), 0
    for s in ssc.read(tmp_path / "a", "train"):
        means[s.label] += bins(s.times, s.units).reshape(4, 70, 10).sum(2)
    means /= np.linalg.norm(means, axis=(1, 2), keepdims=True)
    test = ssc.read(tmp_path / "a", "test")
    for s in test:
        right += (
            int((means * bins(s.times, s.units).reshape(4, 70, 10).sum(2)).sum((1, 2)).argmax())
            == s.label
        )
    assert right / len(test) > 0.7


def test_speakers_are_read_where_the_file_has_them(tmp_path: Path) -> None:
    ssc.made_up(tmp_path)
    spikes = [replace(s, group=f"c0ffee{i % 9}") for i, s in enumerate(ssc.read(tmp_path, "valid"))]
    spikes_h5.write(tmp_path / "ssc" / "ssc_valid.h5", spikes, WORDS_V2)
    assert [e.group for e in ssc.read(tmp_path, "valid").entries] == [
        f"c0ffee{i % 9}" for i in range(70)
    ]


@pytest.mark.parametrize("folder", ["ssc", "SSC", "."])
def test_layouts(tmp_path: Path, folder: str) -> None:
    ssc.made_up(tmp_path / "made")
    (tmp_path / "root" / folder).mkdir(parents=True)
    for part, count in (("train", 175), ("valid", 70), ("test", 70)):
        (tmp_path / "made" / "ssc" / f"ssc_{part}.h5").rename(
            tmp_path / "root" / folder / f"ssc_{part}.h5"
        )
        assert len(ssc.read(tmp_path / "root", part)) == count
    assert len(ssc.classes(tmp_path / "root")) == 35


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no 'validation'\. Did you mean 'valid'"):
        ssc.read(tmp_path, "validation")
    calls: tuple[Callable[[Path], Any], ...] = (ssc.classes, lambda root: ssc.read(root, "train"))
    cases: tuple[tuple[Callable[[Path], Any], str], ...] = (
        (
            lambda path: path.unlink(missing_ok=True),
            r"No ssc/ssc_train\.h5 or .*\n.*srnn data "
            r"fetch ssc",
        ),
        (
            lambda path: spikes_h5.write(path, spikes, ("yes", "Yes")),
            r"ssc_train\.h5 has a class 'Yes'; "
            r"expected the words",
        ),
        (
            lambda path: spikes_h5.write(path, spikes, ("yes", "no", "yes")),
            r"ssc_train\.h5 has two classes 'yes'",
        ),
        (lambda path: path.write_bytes(b"x"), r"ssc_train\.h5 is not an HDF5 file"),
        (
            lambda path: path.rename(f"{path}.zip"),
            r"ssc_train\.h5\.zip is still packed. Unpack "
            r"it with `srnn data fetch ssc`",
        ),
    )
    spikes = [Spikes(np.zeros(1), np.zeros(1, int), 700, 0, "a")]
    for spoil, message in cases:
        spoil(tmp_path / "ssc" / "ssc_train.h5")
        for call in calls:
            with pytest.raises(DataError, match=message):
                call(tmp_path)
    assert len(calls) * len(cases) == 10


def test_verify_and_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssc.made_up(tmp_path)
    assert ssc.verify(tmp_path)[2] == (
        "ssc_test.h5",
        False,
        "70 recordings in 35 classes; expected 20382 in 35",
    )
    monkeypatch.setattr(ssc, "COUNTS", {"train": (175,), "valid": (70,), "test": (70,)})
    assert ssc.verify(tmp_path) == [(f"ssc_{part}.h5", True, "ok") for part in ssc.PARTS]
    asked: list[Any] = []

    def fetch(*args: Any) -> list[Path]:
        asked.append(args)
        return []

    monkeypatch.setattr(spikes_h5, "fetch", fetch)
    assert ssc.fetch(tmp_path) == []
    assert asked == [(tmp_path, "ssc", ssc.MD5)]
    assert [len(md5) for md5 in ssc.MD5.values()] == [32] * 3
