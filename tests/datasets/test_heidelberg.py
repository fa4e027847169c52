"""The Heidelberg data sets and Spiking Speech Commands: parts, speakers, class names, where they are looked for, what is refused."""

from __future__ import annotations

import gzip
import shutil

import numpy as np
import pytest

from srnn._check import ConfigError, DataError
from srnn.datasets import Spikes, hd, shd, spikes_h5, ssc
from srnn.datasets.speech_commands import WORDS_V2


def test_shd(tmp_path):
    shd.made_up(tmp_path)
    train, test = shd.read(tmp_path, "train"), shd.read(tmp_path, "test")
    speakers = [{e.group for e in part.entries} for part in (train, test)]
    assert speakers[1] == {"4", "5"}
    assert speakers[0].isdisjoint(speakers[1])
    assert {e.label for e in train.entries} == set(range(20)) == {e.label for e in test.entries}
    first = train[0]
    assert (first.channels, first.label, first.group) == (700, train.entries[0].label, train.entries[0].group)
    assert (first.times.dtype, len(first.times) > 100) == (np.float64, True)
    assert len(shd.CLASSES) == 20 == len(set(shd.CLASSES))
    assert [ok for _, ok, _ in shd.verify(tmp_path)] == [False, False]  # not as many as were published
    assert len(train.source) == 64 != len(test.source[:-1])


def test_ssc_labels_follow_the_words_whatever_their_number_in_the_file(tmp_path):
    ssc.made_up(tmp_path)
    stored, words = spikes_h5.read(tmp_path / "ssc" / "ssc_train.h5")
    train = ssc.read(tmp_path, "train")
    assert words != WORDS_V2
    assert [WORDS_V2[e.label] for e in train.entries] == [words[e.label] for e in stored.entries]
    assert [train[i].label for i in range(40)] == [train.entries[i].label for i in range(40)]
    assert {e.label for e in train.entries} == set(range(35))
    assert [len(ssc.read(tmp_path, part)) for part in ssc.PARTS] == [175, 70, 70]
    spikes_h5.write(tmp_path / "ssc" / "ssc_valid.h5", [train[0]], ("yes", "no", *(f"word{i}" for i in range(33))))
    with pytest.raises(DataError, match=r"ssc_valid\.h5 has a class 'word0'"):
        ssc.read(tmp_path, "valid")


def test_recordings_of_equal_length_and_one_alone_are_written(tmp_path):
    for count in (1, 3):
        made = [Spikes(np.arange(4) / 8, np.full(4, k), 9, k % 2, f"r{k}", str(k)) for k in range(count)]
        back, names = spikes_h5.read(spikes_h5.write(tmp_path / f"{count}.h5", iter(made), ("a", "b")), 9)
        assert (len(back), names) == (count, ("a", "b"))
        for k in range(count):
            assert np.array_equal(back[k].times, made[k].times)
            assert np.array_equal(back[k].units, made[k].units)
            assert (back[k].label, back[k].group) == (k % 2, str(k))


def test_hd(tmp_path):
    hd.made_up(tmp_path)
    train, test = hd.read(tmp_path, "train"), hd.read(tmp_path, "test")
    assert {e.label for e in train.entries} == set(range(20))
    assert {e.group for e in train.entries}.isdisjoint({e.group for e in test.entries})
    assert len({e.group for e in train.entries}) >= 3
    sound = train[0]
    assert (sound.rate, sound.signal.shape[1], sound.meta["audio"]) == (48000.0, 1, True)
    languages = {label // 10 for label in (e.label for e in train.entries)}
    assert languages == {0, 1}


@pytest.mark.parametrize(("module", "name", "part"), [(shd, "shd", "train"), (ssc, "ssc", "valid")])
def test_packed_and_missing_files(module, name, part, tmp_path):
    module.made_up(tmp_path)
    path = tmp_path / name / f"{name}_{part}.h5"
    path.with_suffix(".h5.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    with pytest.raises(DataError, match=f"is still packed. Unpack it with `srnn data fetch {name}`"):
        module.read(tmp_path, part)
    path.with_suffix(".h5.gz").unlink()
    with pytest.raises(DataError, match=f"srnn data fetch {name}"):
        module.read(tmp_path, part)
    with pytest.raises(ConfigError, match="there is no 'all'"):
        module.read(tmp_path, "all")


def test_natural_layouts(tmp_path):
    shd.made_up(tmp_path / "x")
    for place in (".", "SHD"):
        root = tmp_path / place.replace(".", "flat")
        (root / place).mkdir(parents=True, exist_ok=True)
        for path in (tmp_path / "x" / "shd").iterdir():
            shutil.copy(path, root / place)
        assert len(shd.read(root, "test")) > 0
