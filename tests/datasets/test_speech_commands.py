"""Speech Commands: a made-up corpus in its layout, and clips of the real test set
where they are.
"""

from __future__ import annotations

import shutil
import tarfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from srnn._check import ConfigError, DataError
from srnn.datasets import _fetch, speech_commands
from srnn.datasets._audio import mono, write_wav
from srnn.datasets.speech_commands import (
    CLASSES_12,
    COMMANDS,
    PARTS,
    WORDS,
    WORDS_V1,
    WORDS_V2,
    Silence,
    part_of,
    read,
    read_folder,
)
from srnn.datasets.split import split_groups

CORPUS = "speech_commands/speech_commands_v0.02"
TEST_SET = "speech_commands/speech_commands_test_set_v0.02"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made_up")
    speech_commands.made_up(folder)
    return folder


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(made / "speech_commands", tmp_path / "speech_commands")
    return tmp_path


def test_names() -> None:
    assert (len(WORDS_V1), len(WORDS_V2), len(CLASSES_12)) == (30, 35, 12)
    assert list(WORDS_V2) == sorted(set(WORDS_V2))
    assert list(WORDS_V1) == sorted(set(WORDS_V1))
    assert set(COMMANDS) < set(WORDS_V1) < set(WORDS_V2)
    assert CLASSES_12[10:] == ("_silence_", "_unknown_")
    assert [sum(counts) for counts in speech_commands.COUNTS.values()] == [64727 - 6, 105829]


def test_part_of_is_the_rule_of_the_lists() -> None:
    # by `printf %s NAME | sha1sum` and a calculator
    shares = {"0132a06d": 58.1392, "022cd682": 12.0836, "0bac8a71": 11.7327, "deadbeef": 45.9042}
    for speaker, share in shares.items():
        assert part_of(speaker, share + 1e-3, 0) == "validation"
        assert part_of(speaker, share - 1e-3, 0) == "train"
        assert part_of(speaker, share - 1e-3, 2e-3) == "test"
    speakers = [f"{i:08x}" for i in range(2000)]
    parts = Counter(part_of(f"yes/{speaker}_nohash_0.wav") for speaker in speakers)
    assert sum(parts.values()) == 2000
    assert parts["validation"] == pytest.approx(200, abs=45)
    assert parts["test"] == pytest.approx(200, abs=45)
    for speaker in speakers[:50]:
        assert (
            len(
                {
                    part_of(name)
                    for name in (
                        f"yes/{speaker}_nohash_0.wav",
                        f"a/no/{speaker}_nohash_12.wav.wav",
                        speaker,
                    )
                }
            )
            == 1
        )
        assert part_of(speaker, 0, 0) == "train"
        assert part_of(speaker, 0, 101) == "test"
        assert part_of(speaker, 101, 0) == "validation"
    # the parts of Spiking Speech Commands: the same validation part
    larger = Counter((part_of(s), part_of(s, 10, 20)) for s in speakers)
    assert set(larger) == {
        ("validation", "validation"),
        ("test", "test"),
        ("train", "test"),
        ("train", "train"),
    }


@pytest.mark.parametrize("part", PARTS)
def test_every_word_is_a_class(made: Path, part: str) -> None:
    recordings = read(made, part)
    assert len(recordings) == {"train": 110, "validation": 45, "test": 85}[part]
    assert len({e.name for e in recordings.entries}) == len(recordings)
    assert {e.label for e in recordings.entries} == set(range(35))
    assert (
        len({e.group for e in recordings.entries}) == {"train": 3, "validation": 2, "test": 6}[part]
    )
    for entry in recordings.entries:
        word, _, file = entry.name.partition("/")
        assert WORDS_V2[entry.label or 0] == word
        assert file.startswith(f"{entry.group}_nohash_")
        assert part_of(entry.name) == part
    for i in range(0, len(recordings), 10):
        sample = recordings[i]
        assert (sample.name, sample.label, sample.group) == (
            recordings.entries[i].name,
            recordings.entries[i].label,
            recordings.entries[i].group,
        )
        assert (sample.rate, sample.meta, sample.signal.dtype) == (
            16000.0,
            {"audio": True},
            np.float32,
        )
        assert np.array_equal(sample.signal[:, 0], mono(made / CORPUS / sample.name))
        assert 1600 <= len(sample.signal) < 16000


def test_parts_share_no_speaker(made: Path) -> None:
    groups = [{e.group for e in read(made, part).entries} for part in PARTS]
    assert [len(g) for g in groups] == [3, 2, 6]
    assert len(set.union(*groups)) == 11


@pytest.mark.parametrize("part", ["train", "validation"])
def test_twelve_classes(made: Path, part: str) -> None:
    every, twelve = read(made, part), read(made, part, classes=12, silence=Silence(40, 9))
    crops = 40 if part == "train" else 9
    assert len(twelve) == len(every) + crops
    assert len({e.name for e in twelve.entries}) == len(twelve)
    for a, b in zip(every.entries, twelve.entries, strict=False):
        word = WORDS_V2[a.label or 0]
        assert (a.name, a.group, a.size) == (b.name, b.group, b.size)
        assert b.label == (COMMANDS.index(word) if word in COMMANDS else 11)
    assert Counter(e.label for e in twelve.entries)[10] == crops
    assert {e.group for e in twelve.entries[len(every) :]} == {""}
    assert {e.label for e in twelve.entries} == set(range(12))


def test_silence_is_cut_from_the_noise_and_drawn_from_the_seed(made: Path) -> None:
    train = read(made, "train", classes=12).entries[110:]
    assert (len(train), len(read(made, "validation", classes=12)) - 45) == (2300, 260)
    files = Counter(Path(e.at[0]).name for e in train)
    assert set(files) == {"pink_noise.wav", "white_noise.wav"}
    assert min(files.values()) > 1000
    starts = np.array([e.at[1] for e in train])
    assert 0 <= starts.min() < 200
    assert 15800 < starts.max() <= 16000
    few = read(made, "train", classes=12, silence=Silence(30, 30)).entries[110:]
    assert few == train[:30]
    assert few != read(made, "train", classes=12, silence=Silence(30, 30, seed=1)).entries[110:]
    assert [e.at for e in few] != [
        e.at for e in read(made, "validation", classes=12, silence=Silence(30, 30)).entries[45:]
    ]
    sample = read(made, "train", classes=12)[110]
    path, start, stop = train[0].at
    assert np.array_equal(sample.signal[:, 0], mono(path)[start:stop])
    assert (sample.signal.shape, sample.label, sample.group) == ((16000, 1), 10, "")
    assert sum(1 for p in made.rglob("*") if "_silence_" in p.parts[-2]) == 6


def test_test_part_of_twelve_classes(root: Path) -> None:
    official = read(root, "test", classes=12)
    assert official.source == "speech_commands_test_set_v0.02"
    assert len(official) == 91
    assert Counter(e.label for e in official.entries) == dict.fromkeys(range(10), 6) | {
        10: 6,
        11: 25,
    }
    assert {part_of(e.group) for e in official.entries if e.label != 10} == {"test"}
    assert [e.label for e in official.entries] == [e.label for e in read_folder(root).entries]
    shutil.rmtree(root / TEST_SET)
    listed = read(root, "test", classes=12)
    assert listed.source == "testing_list.txt"
    assert Counter(e.label for e in listed.entries) == dict.fromkeys(range(10), 6) | {11: 25}


def test_a_folder_of_twelve_classes(made: Path) -> None:
    recordings = read_folder(made)
    speakers = defaultdict(set)
    for entry in recordings.entries:
        speakers[entry.group].add(entry.label)
    assert speakers.pop("") == {10}
    assert sorted(len(labels) for labels in speakers.values()) == [10] * 5 + [11]
    assert all(len(speaker) == 8 for speaker in speakers)
    rest, part = split_groups(recordings, 0.3)
    assert len(rest) + len(part) == 91
    assert not {s.group for s in rest if s.group} & {s.group for s in part if s.group}


@pytest.mark.parametrize(
    "place",
    [
        "speech_commands",
        ".",
        "speech_commands_test_set_v0.01",
        "speech_commands/speech_commands_test_set_v0.02",
    ],
)
def test_places_of_a_folder(made: Path, tmp_path: Path, place: str) -> None:
    shutil.copytree(made / TEST_SET, tmp_path / place, dirs_exist_ok=True)
    assert len(read_folder(tmp_path)) == 91


@pytest.mark.parametrize(
    "place",
    ["speech_commands", ".", "speech_commands_v0.01", "SpeechCommands/speech_commands_v0.01"],
)
def test_version_one_and_its_places(made: Path, tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    shutil.copytree(made / CORPUS, folder, dirs_exist_ok=True)
    for word in set(WORDS_V2) - set(WORDS_V1):
        shutil.rmtree(folder / word)
    for name in ("validation_list.txt", "testing_list.txt"):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text(
            "\n".join(line for line in lines if line.partition("/")[0] in WORDS_V1)
        )
    parts = [read(tmp_path, part, version="0.01") for part in PARTS]
    assert [len(part) for part in parts] == [100, 40, 80]
    assert {e.label for part in parts for e in part.entries} == set(range(30))
    assert (
        Counter(
            e.label == 11
            for e in read(
                tmp_path, "validation", version="0.01", classes=12, silence=Silence(0, 0)
            ).entries
        )[True]
        == 20
    )
    with pytest.raises(DataError, match=r"No Speech Commands corpus of version 0\.02"):
        read(tmp_path, "train")


def test_wrong_settings(made: Path) -> None:
    with pytest.raises(ConfigError, match=r"no 'valid'\. Did you mean 'validation'"):
        read(made, "valid")
    with pytest.raises(ConfigError, match=r"no '2'.*Known: 0\.01, 0\.02"):
        read(made, "train", version="2")
    with pytest.raises(ConfigError, match=r"classes\) is 35; version 0\.01 has 12 or 30"):
        read(made, "train", version="0.01", classes=35)
    with pytest.raises(ConfigError, match=r"Silence\(validation\) is -1"):
        Silence(5, -1)
    assert len(read(made, "train", classes=35)) == 110


def test_incomplete_data(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"No Speech Commands corpus of version 0\.02 in "
        r".*\n.*srnn data fetch speech_commands",
    ):
        read(tmp_path / "elsewhere", "train")
    with pytest.raises(
        DataError,
        match=r"No folder with down, go.*\n.*srnn data fetch "
        r"speech_commands",
    ):
        read_folder(tmp_path / "elsewhere")
    corpus = root / CORPUS
    gone = read(root, "validation").entries[3].name
    (corpus / gone).unlink()
    with pytest.raises(
        DataError,
        match=rf"has no {gone}, which validation_list.txt names, and 0 "
        r"others",
    ):
        read(root, "train")
    write_wav(corpus / gone, [0.0], 16000)
    (corpus / ".hidden.wav").write_bytes(b"")
    (corpus / "cat" / ".hidden.wav").write_bytes(b"")
    assert len(read(root, "train")) == 110
    shutil.rmtree(corpus / "zero")
    with pytest.raises(DataError, match="zero cannot be read: No such file"):
        read(root, "train")
    (corpus / "validation_list.txt").write_text("")
    with pytest.raises(DataError, match=r"validation_list\.txt is empty"):
        read(root, "train")
    (corpus / "validation_list.txt").unlink()
    with pytest.raises(DataError, match=r"validation_list\.txt cannot be read"):
        read(root, "train")
    for file in (root / TEST_SET / "up").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"up holds no \.wav file"):
        read_folder(root)


def test_damaged_recordings_and_noise(root: Path) -> None:
    corpus = root / CORPUS
    entry = read(root, "train").entries[0]
    path = Path(entry.at[0])
    content = path.read_bytes()
    for change, message in (
        (content[:-10], "is cut"),
        (b"", "is empty"),
        (b"<html>" * 20, "not a sound file"),
    ):
        path.write_bytes(change)
        with pytest.raises(DataError, match=message):
            read(root, "train")[0]
    write_wav(path, np.zeros(100), 8000)
    with pytest.raises(DataError, match="8000 samples per second; expected 16000"):
        read(root, "train")[0]
    for name in ("pink_noise", "white_noise"):
        write_wav(corpus / "_background_noise_" / f"{name}.wav", np.zeros(15999), 16000)
    with pytest.raises(
        DataError,
        match=r"_background_noise_ holds no \.wav file of at least a "
        r"second",
    ):
        read(root, "train", classes=12)
    write_wav(corpus / "_background_noise_" / "pink_noise.wav", np.zeros(16000), 16000)
    assert {e.at[1:] for e in read(root, "train", classes=12).entries[110:]} == {(0, 16000)}


def test_verify(made: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert speech_commands.verify(tmp_path / "elsewhere") == [
        ("speech_commands_v0.02", False, "missing")
    ]
    rows = speech_commands.verify(root)
    assert [row[0] for row in rows] == [
        *(f"speech_commands_v0.02 {p}" for p in (*PARTS, "_background_noise_")),
        "speech_commands_test_set_v0.02",
    ]
    assert not any(row[1] for row in rows)
    assert rows[0][2] == "110 recordings; expected 84843"
    for n in range(4):
        write_wav(root / CORPUS / "_background_noise_" / f"{n}.wav", [0.0], 16000)
    monkeypatch.setitem(speech_commands.COUNTS, "0.02", (110, 45, 85))
    monkeypatch.setitem(speech_commands.TEST_SET_COUNTS, "0.02", 91)
    assert [row[1:] for row in speech_commands.verify(root)] == [(True, "ok")] * 5
    shutil.rmtree(root / CORPUS / "yes")
    shutil.rmtree(root / TEST_SET / "yes")
    rows = speech_commands.verify(root)
    assert [(row[0], row[1]) for row in rows] == [
        ("speech_commands_v0.02", False),
        ("speech_commands_test_set_v0.02", False),
    ]
    assert all("yes cannot be read" in row[2] for row in rows)
    shutil.rmtree(root / TEST_SET)
    assert speech_commands.verify(root)[1][2].startswith("missing")
    shutil.rmtree(root / CORPUS)
    shutil.copytree(made / TEST_SET, root / TEST_SET)
    assert speech_commands.verify(root) == [("speech_commands_test_set_v0.02", True, "ok")]


@pytest.mark.parametrize("version", ["0.01", "0.02"])
def test_fetch(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    asked: list[tuple[str, str | None]] = []

    def download(url: str, checksum: str | None, to: Path) -> Path:
        asked.append((url.rpartition("/")[2], checksum))
        to.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(to, "w:gz") as tar:
            tar.add(made / (TEST_SET if "test_set" in url else CORPUS), ".")
        return to

    monkeypatch.setattr(_fetch, "download", download)
    names = [f"speech_commands{kind}_v{version}" for kind in ("", "_test_set")]
    for _ in range(2):
        assert speech_commands.fetch(tmp_path, version) == [
            tmp_path / "speech_commands" / name for name in names
        ]
    assert asked == [(f"{name}.tar.gz", speech_commands.CHECKSUMS[name]) for name in names]
    assert [p.name for p in (tmp_path / "speech_commands").iterdir() if p.is_file()] == []
    if version == "0.02":
        assert len(read(tmp_path, "test", classes=12)) == 91
    with pytest.raises(ConfigError, match=r"no '0\.03'"):
        speech_commands.fetch(tmp_path, "0.03")


def test_made_up_is_learnable_and_repeatable(made: Path, tmp_path: Path) -> None:
    speech_commands.made_up(tmp_path)
    files = sorted(p.relative_to(made) for p in made.rglob("*") if p.is_file())
    assert len(files) == 110 + 45 + 85 + 2 + 91 + 2
    assert all((made / f).read_bytes() == (tmp_path / f).read_bytes() for f in files[::20])
    assert set(WORDS["0.02"]) < {f.parts[2] for f in files}

    def spectra(part: str) -> np.ndarray:
        return np.stack(
            [
                np.log(np.abs(np.fft.rfft(s.signal[:, 0], 16000))[:8000].reshape(100, 80).mean(1))
                for s in read(made, part)
            ]
        )

    labels = [np.array([e.label for e in read(made, part).entries]) for part in ("train", "test")]
    nearest = ((spectra("test")[:, None] - spectra("train")) ** 2).sum(2).argmin(1)
    assert np.mean(labels[0][nearest] == labels[1]) > 0.9


@pytest.mark.real_data
def test_real_clips(real_data: Path) -> None:
    recordings = read_folder(real_data)
    assert len(recordings) == 2661
    counts = [215, 225, 243, 232, 226, 218, 214, 226, 230, 241, 198, 193]
    assert Counter(e.label for e in recordings.entries) == dict(enumerate(counts))
    speakers = defaultdict(set)
    for entry in recordings.entries:
        speakers[entry.group].add(entry.label)
    assert speakers.pop("") == {10}
    assert len(speakers) == 187
    assert sum(len(labels) > 1 for labels in speakers.values()) == 132
    # the rule of the official lists, on 187 speakers of the official test set
    assert {part_of(speaker) for speaker in speakers} == {"test"}
    for i in range(0, 2661, 20):
        assert recordings[i].signal.shape == (16000, 1)
    assert {e.size for e in recordings.entries} == {32044}
