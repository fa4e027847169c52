"""TIMIT: a made-up corpus in the true layout, read in both cases of letters and from the usual
places; folding; frames; damaged files.
"""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from srnn._check import ConfigError, DataError, ShapeError, SrnnError
from srnn.datasets import UNLABELLED, timit
from srnn.datasets._audio import write_wav
from srnn.datasets._sphere import read_sphere, write_sphere
from srnn.datasets.split import split_groups


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    timit.made_up(tmp_path)
    return tmp_path


def test_tables() -> None:
    assert (len(timit.PHONES), len(set(timit.PHONES)), len(timit.PHONES39), len(timit.FOLD)) == (
        61,
        61,
        39,
        61,
    )
    assert [timit.PHONES[i] for i in range(61) if timit.FOLD[i] == UNLABELLED] == ["q"]
    counts = Counter(timit.FOLD)
    assert set(counts) == {*range(39), UNLABELLED}
    sizes = {timit.PHONES39[c]: n for c, n in counts.items() if c >= 0 and n > 1}
    assert sizes == {
        "sil": 9,
        "ah": 3,
        "n": 3,
        **dict.fromkeys(("aa", "er", "hh", "ih", "l", "m", "ng", "sh", "uw"), 2),
    }
    assert (len(set(timit.CORE)), len(set(timit.DEV)), set(timit.CORE) & set(timit.DEV)) == (
        24,
        50,
        set(),
    )
    folded = timit.fold(
        [
            [timit.PHONES.index("zh"), timit.PHONES.index("q")],
            [UNLABELLED, timit.PHONES.index("h#")],
        ]
    )
    assert folded.tolist() == [[timit.PHONES39.index("sh"), -1], [-1, timit.PHONES39.index("sil")]]


def test_parts(corpus: Path) -> None:
    parts = {part: timit.read(corpus, part) for part in timit.PARTS}
    assert {part: len(r) for part, r in parts.items()} == {
        "train": 12,
        "test": 8,
        "core": 4,
        "dev": 4,
    }
    speakers = {part: {e.group for e in r.entries} for part, r in parts.items()}
    assert speakers["core"] == {"MDAB0", "FELC0"}
    assert speakers["dev"] == {"FAKS0", "FDAC1"}
    assert speakers["core"] | speakers["dev"] == speakers["test"]
    assert not speakers["train"] & speakers["test"]
    names = [e.name for e in parts["train"].entries]
    assert names == sorted(names)
    assert names[:2] == ["TRAIN/DR1/FCJF0/SI901", "TRAIN/DR1/FCJF0/SX902"]
    rest, held_out = split_groups(parts["train"], 0.3)
    assert (len(rest), len(held_out)) == (8, 4)


def test_sentences(corpus: Path) -> None:
    seen: Counter[str] = Counter()
    recordings = timit.read(corpus, "train")
    for entry, sample in zip(recordings.entries, recordings, strict=True):
        assert (sample.rate, sample.label, entry.label, sample.group) == (
            16000.0,
            UNLABELLED,
            None,
            sample.name.split("/")[2],
        )
        assert (sample.signal.dtype, sample.signal.shape[1]) == (np.float32, 1)
        assert entry.size == 1024 + 2 * len(sample.signal)
        phones = sample.meta["phones"]
        assert (phones.dtype, phones.shape) == (np.int64, (9, 3))
        assert np.array_equal(phones[1:, 0], phones[:-1, 1])
        assert (phones[0, 0], phones[-1, 1]) == (0, len(sample.signal))
        assert sample.meta["audio"] is True
        assert sample.meta["core"] is False
        assert (sample.meta["dialect"], sample.meta["sex"]) == (
            sample.name.split("/")[1],
            sample.group[0],
        )
        seen.update(timit.PHONES[p] for p in phones[:, 2])
    assert seen == {"h#": 24, **dict.fromkeys(("aa", "iy", "uw", "s", "n", "tcl", "ax-h"), 12)}
    assert all(s.meta["core"] for s in timit.read(corpus, "core"))


def test_phones_can_be_told_from_the_sound(corpus: Path) -> None:
    """A tone's frequency is its phone's, whatever the speaker: the made-up corpus can be learnt."""
    heights: dict[int, list[float]] = {}
    for sample in timit.read(corpus, "test"):
        for start, end, phone in sample.meta["phones"]:
            spectrum = np.abs(np.fft.rfft(sample.signal[start:end, 0], 16000))
            if timit.PHONES[phone] != "h#":
                heights.setdefault(int(phone), []).append(float(spectrum.argmax()))
    assert {p: len(h) for p, h in heights.items()} == {
        timit.PHONES.index(p): 8 for p in ("aa", "iy", "uw", "s", "n", "tcl", "ax-h")
    }
    ranges = sorted((min(h), max(h)) for h in heights.values())
    assert all(below[1] < above[0] for below, above in itertools.pairwise(ranges))


def test_lower_case_reads_the_same(corpus: Path, tmp_path: Path) -> None:
    timit.made_up(tmp_path / "low", lower=True)
    assert (tmp_path / "low" / "timit" / "train" / "dr1" / "fcjf0" / "si901.phn").is_file()
    for part in timit.PARTS:
        upper, lower = timit.read(corpus, part), timit.read(tmp_path / "low", part)
        assert len(upper) == len(lower) > 0
        for a, b in zip(upper, lower, strict=True):
            assert (a.name, a.group) == (b.name, b.group)
            assert np.array_equal(a.signal, b.signal)
            assert np.array_equal(a.meta["phones"], b.meta["phones"])


@pytest.mark.parametrize(
    "place",
    [
        "TIMIT",
        "timit/TIMIT",
        "TIMIT/data",
        "timit/data/lisa/data/timit/raw/TIMIT",
        "data/lisa/data/timit/raw/TIMIT",
        ".",
    ],
)
def test_places(corpus: Path, tmp_path: Path, place: str) -> None:
    target = tmp_path / "root" / place
    target.mkdir(parents=True)
    for side in ("TRAIN", "TEST"):
        (corpus / "timit" / side).rename(target / side)
    assert len(timit.read(tmp_path / "root", "train")) == 12
    assert len(timit.read(tmp_path / "root", "core")) == 4


def test_riff_copies(corpus: Path) -> None:
    """Saved anew in place, and beside the original as SX902.WAV.wav; hidden files of other systems
    do not count.
    """
    folder = corpus / "timit" / "TRAIN" / "DR1" / "FCJF0"
    before = timit.read(corpus, "train")[1]
    write_wav(folder / "SX902.WAV.wav", before.signal, 16000)
    (folder / "._SX902.WAV").write_bytes(b"other")
    assert len(timit.read(corpus, "train")) == 12
    (folder / "SX902.WAV").unlink()
    for name in ("SX902.WAV.wav", "SX902.WAV"):
        after = timit.read(corpus, "train")[1]
        assert after.name == before.name
        assert np.array_equal(after.signal, before.signal)
        if name == "SX902.WAV.wav":
            (folder / name).rename(folder / "SX902.WAV")


def test_frame_labels_by_pencil() -> None:
    """10 samples: silence 0-3, a gap, phone 7 at 5-8, phone 9 at 8-10; frames of 4 every 2."""
    phones = np.array([[0, 3, 27], [5, 8, 7], [8, 10, 9]])
    assert timit.frame_labels(phones, 4, 2, 4, 10).tolist() == [27, -1, 7, 9]  # centres 2, 4, 6, 8
    # centres 0 … 12; 10 counts as 9
    assert timit.frame_labels(phones, 7, 2, 0, 10).tolist() == [27, 27, -1, 7, 9, 9, -1]
    # nothing before the first phone
    assert timit.frame_labels(phones[1:], 3, 2, 2, 10).tolist() == [-1, -1, 7]
    assert timit.frame_labels(phones, 10, 1, 1, 10).tolist() == [27, 27, 27, -1, -1, 7, 7, 7, 9, 9]


def test_frame_labels_of_a_sentence(corpus: Path) -> None:
    sample = timit.read(corpus, "train")[0]
    n = len(sample.signal)
    frames = 1 + (n - 400) // 160
    labels = timit.frame_labels(sample.meta["phones"], frames, 160, 400, n)
    assert labels.shape == (frames,)
    assert (labels >= 0).all()
    order = labels[np.flatnonzero(np.diff(labels, prepend=-1))]
    assert np.array_equal(order, sample.meta["phones"][:, 2])


def test_bad_frame_labels() -> None:
    with pytest.raises(ShapeError, match=r"phones have shape \(0, 3\)"):
        timit.frame_labels(np.zeros((0, 3)), 1, 1, 1, 1)
    with pytest.raises(ShapeError, match=r"phones have shape \(2, 2\)"):
        timit.frame_labels(np.zeros((2, 2)), 1, 1, 1, 1)
    with pytest.raises(ConfigError, match=r"frames → hop → n_samples .*sizes must be integers"):
        timit.frame_labels([[0, 1, 2]], 1, 0, 1, 1)
    with pytest.raises(ConfigError, match=r"frame_labels\(window\) is -1"):
        timit.frame_labels([[0, 1, 2]], 1, 1, -1, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "0 100 h#\n90 200 aa\n",
            "line 2: from 90 to 200, after a phone that ends at 100; expected phones in order",
        ),
        ("0 100 h#\n200 150 aa\n", "line 2: from 200 to 150"),
        ("0 100 h#\n100 100 aa\n", "line 2: from 100 to 100"),
        ("100 200 aa\n0 100 h#\n", "line 2: from 0 to 100"),
        ("0 100 h#\n\n100 200 zz\n", "line 3: there is no phone 'zz'; expected one of the 61"),
        ("0 nan h#\n", "line 1: '0 nan h#'; expected `start end phone`"),
        ("-5 100 h#\n", "line 1: '-5 100 h#'"),
        ("0 1e3 h#\n", "line 1: '0 1e3 h#'"),
        ("0 99999999999999999999 h#\n", "line 1"),
        ("0 100\n", "line 1: '0 100'"),
        ("0 900 h#\n1000 1100 aa\n", "line 2: aa begins at sample 1000 of a sentence of 1000"),
        ("\x00\xff\xfe\n", "line 1"),
        ("\n \n", "holds no phone"),
    ],
)
def test_bad_phones(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "SX1.PHN"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=message) as caught:
        timit.read_phones(path, 1000)
    assert str(path) in str(caught.value)


def test_phones_upper_case_gaps_and_a_late_end(tmp_path: Path) -> None:
    path = tmp_path / "SX1.PHN"
    path.write_bytes(b"10 100 H#\r\n150 1003 AX-H\r\n")
    phones = timit.read_phones(path, 1000)
    assert phones.tolist() == [
        [10, 100, timit.PHONES.index("h#")],
        [150, 1000, timit.PHONES.index("ax-h")],
    ]
    with pytest.raises(DataError, match="cannot be read"):
        timit.read_phones(tmp_path / "none.PHN", 1000)


def test_bad_sound(corpus: Path) -> None:
    recordings = timit.read(corpus, "train")
    path, _ = recordings.entries[0].at
    signal = read_sphere(path)[0][:, 0]
    write_sphere(path, signal, 8000)
    with pytest.raises(
        DataError,
        match=r"SI901\.WAV: 1 channels at 8000 Hz; expected one at "
        r"16000",
    ):
        recordings[0]
    write_wav(path, np.stack([signal, signal], axis=1), 16000)
    with pytest.raises(DataError, match="2 channels at 16000 Hz"):
        recordings[0]
    write_sphere(path, signal[:1000], 16000)
    with pytest.raises(DataError, match=r"SI901\.PHN, line \d: .* of a sentence of 1000"):
        recordings[0]
    for damage in (b"", b"noise", b"NIST_1A\n"):
        path.write_bytes(damage)
        with pytest.raises(DataError, match=r"SI901\.WAV"):
            recordings[0]
    path.unlink()
    with pytest.raises(DataError, match=r"SI901\.WAV cannot be read"):
        recordings[0]


def test_incomplete(corpus: Path, tmp_path: Path) -> None:
    folder = corpus / "timit" / "TRAIN" / "DR1" / "FCJF0"
    (folder / "SX902.PHN").unlink()
    with pytest.raises(DataError, match=r"FCJF0: sentence SX902 has no \.PHN file; expected both"):
        timit.read(corpus, "train")
    (folder / "SI901.WAV").unlink()
    with pytest.raises(DataError, match=r"sentence SI901 has no \.WAV file"):
        timit.read(corpus, "train")
    shutil.rmtree(corpus / "timit" / "TRAIN")
    with pytest.raises(
        DataError,
        match=r"holds no sentence of part 'train' "
        r"\(TRAIN/DR\*.*\n?.*ROOT/timit/TRAIN/DR1",
    ):
        timit.read(corpus, "train")
    assert len(timit.read(corpus, "test")) == 8
    with pytest.raises(
        DataError,
        match=r"No TIMIT in .*: looked for TRAIN or TEST .* timit, "
        r"timit/timit.*\n.*SRNN_DATA",
    ):
        timit.read(tmp_path / "none", "test")
    with pytest.raises(ConfigError, match=r"there is no 'valid'.*Known: core, dev, test, train"):
        timit.read(corpus, "valid")


def test_verify(corpus: Path) -> None:
    rows = timit.verify(corpus)
    assert [row[:2] for row in rows] == [
        ("train", False),
        ("test", False),
        ("core", False),
        ("dev", False),
    ]
    assert rows[0][2] == "6 speakers, 12 sentences; expected 462 and 3696"
    (corpus / "timit" / "TEST" / "DR1" / "MDAB0" / "SX902.PHN").write_text("0 nan h#\n")
    broken = [row for row in timit.verify(corpus) if row[0] not in timit.PARTS]
    assert len(broken) == 1
    assert broken[0][:2] == ("TEST/DR1/MDAB0/SX902", False)
    assert "line 1" in broken[0][2]
    assert [row[2].startswith("No TIMIT in") for row in timit.verify(corpus / "none")] == [True] * 4


def test_verify_a_whole_corpus(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        timit, "PARTS", {"train": (6, 12), "test": (4, 8), "core": (2, 4), "dev": (2, 4)}
    )
    assert timit.verify(corpus) == [(part, True, "ok") for part in ("train", "test", "core", "dev")]


def test_fetch_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        SrnnError,
        match=r"LDC93S1 from "
        r"https://catalog\.ldc\.upenn\.edu/LDC93S1.*\n.*/timit/TRAIN/DR1",
    ) as caught:
        timit.fetch(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_made_up_is_the_same_for_a_seed(corpus: Path, tmp_path: Path) -> None:
    timit.made_up(tmp_path / "again")
    timit.made_up(tmp_path / "other", seed=1)
    files = sorted((corpus / "timit").rglob("*.*"))
    assert len(files) == 2 * 3 * 10
    same = [
        f.read_bytes() == (tmp_path / "again" / f.relative_to(corpus)).read_bytes() for f in files
    ]
    differ = [
        f.read_bytes() != (tmp_path / "other" / f.relative_to(corpus)).read_bytes() for f in files
    ]
    assert all(same)
    assert all(differ)
    assert sum(f.stat().st_size for f in files) < 700_000
