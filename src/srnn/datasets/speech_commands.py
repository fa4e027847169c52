"""Google Speech Commands (Warden 2018): one-second clips of spoken words, 16 kHz mono 16-bit WAV,
by thousands of speakers.

`read` gives the parts of the whole corpus, versions 0.01 (30 words) and 0.02 (35 words), in two
forms:

- every word is a class, parts as in the official lists (Bittar & Garner 2022);
- twelve classes (Yin et al. 2021): ten commands, silence (one-second crops of the background noise)
  and unknown (all other words, not subsampled); the test part is the official test set, an archive
  of its own with silence and unknown words in it.

`read_folder` gives a folder of twelve classes in the layout of that test set, to be split by
speaker.

    <corpus>/<word>/<speaker>_nohash_<n>.wav
    <corpus>/_background_noise_/*.wav
    <corpus>/{validation,testing}_list.txt
    <test set>/<command>/<speaker>_nohash_<n>.wav
    <test set>/_silence_/*.wav
    <test set>/_unknown_/<word>_<speaker>_nohash_<n>.wav.wav

Clips shorter than a second stay short.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srnn import _files
from srnn._check import ConfigError, DataError, check_choice, check_range
from srnn.datasets import _fetch
from srnn.datasets._audio import mono, tones, write_wav
from srnn.datasets._speech_files import (
    CLASSES_12 as CLASSES_12,
)
from srnn.datasets._speech_files import (
    COMMANDS as COMMANDS,
)
from srnn.datasets._speech_files import (
    LISTS,
    NOISE,
    corpus_entries,
    find_corpus,
    find_test_set,
    folder_entries,
    sound_files,
)
from srnn.datasets._speech_files import (
    PARTS as PARTS,
)
from srnn.datasets._speech_files import (
    RATE as RATE,
)
from srnn.datasets._speech_files import (
    WORDS as WORDS,
)
from srnn.datasets._speech_files import (
    WORDS_V1 as WORDS_V1,
)
from srnn.datasets._speech_files import (
    WORDS_V2 as WORDS_V2,
)
from srnn.datasets._speech_files import (
    part_of as part_of,
)
from srnn.datasets.sample import Entry, Recordings, Sample

COUNTS = {"0.01": (51088, 6798, 6835), "0.02": (84843, 9981, 11005)}
"""Version -> recordings of each of `PARTS` by the official lists (with the six noise files of 0.01,
its 64,727 files).
"""

TEST_SET_COUNTS = {"0.01": 3081, "0.02": 4890}
"""Version -> recordings of the official test set of twelve classes."""

URL = "https://storage.googleapis.com/download.tensorflow.org/data"
CHECKSUMS = {
    "speech_commands_v0.01": "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
    "speech_commands_v0.02": "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    "speech_commands_test_set_v0.01": None,
    "speech_commands_test_set_v0.02": (
        "cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df"
    ),
}
"""Archive URL/<name>.tar.gz -> its SHA-256; None where none could be confirmed (`verify` counts its
recordings).
"""

LICENCE = "Speech Commands: Creative Commons Attribution 4.0 International (CC BY 4.0)."
CITATION = (
    "P. Warden: Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition. "
    "arXiv:1804.03209 (2018)."
)


@dataclass(frozen=True)
class Silence:
    """How many one-second crops of the background noise stand for silence, and the seed that their
    files and places are drawn from.

    The numbers of Yin et al. 2021 are the default. Crops of one noise file may be in both parts,
    and may overlap.
    """

    train: int = 2300
    validation: int = 260
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise `ConfigError` for a number below 0."""
        for name in ("train", "validation", "seed"):
            check_range(f"Silence({name})", getattr(self, name), 0)


def read(
    root: str | Path,
    part: str,
    *,
    version: str = "0.02",
    classes: int | None = None,
    silence: Silence | None = None,
) -> Recordings[Sample]:
    """Find the recordings of `part` ("train", "validation" or "test") under root; each is read when
    it is asked for.

    version: "0.01" or "0.02". classes: None for every word (labels in alphabetical order), or 12
    for `CLASSES_12`.
    silence: with 12 classes, the crops of the training and validation parts; None for the published
    numbers. They are cut when they are read.
    signal: (T, 1) float32 in [-1, 1), T ≤ 16000, 16 kHz; group: the speaker ("" for silence). With
    12 classes the test part is the official test set where it is there
    (root/speech_commands/speech_commands_test_set_v<version>), else what the corpus has in its own
    test part, which has no silence; `Recordings.source` says which. Raises `DataError` where the
    corpus is missing, incomplete or of the other version, `ConfigError` for another part, version
    or number.
    """
    check_choice("speech_commands.read(part)", part, PARTS)
    check_choice("speech_commands.read(version)", version, tuple(WORDS))
    if classes not in (None, 12, len(WORDS[version])):
        raise ConfigError(
            f"speech_commands.read(classes) is {classes}; version {version} has 12 "
            f"or {len(WORDS[version])}."
        )
    if classes != 12:
        return _recordings(
            corpus_entries(find_corpus(root, version), version, WORDS[version])[part]
        )
    if part == "test" and (test_set := find_test_set(root, version)):
        return _recordings(list(folder_entries(test_set)), test_set.name)
    corpus = find_corpus(root, version)
    entries = corpus_entries(corpus, version, CLASSES_12)[part]
    if part == "test":
        return _recordings(entries, LISTS["test"])
    return _recordings(entries + _crops(corpus / NOISE, part, silence or Silence()))


def read_folder(root: str | Path) -> Recordings[Sample]:
    """Find all recordings of a folder of twelve classes in the layout of the official test set, as
    `read`; to be split by the caller.

    It is root/speech_commands, a test set unpacked there, or root itself. group: the speaker, the
    same one in all classes; a recording of silence has none. Raises `DataError` where there is no
    such folder or one of its classes is empty.
    """
    names = (
        "speech_commands",
        "speech_commands/speech_commands_test_set_v0.02",
        "speech_commands_test_set_v0.02",
        "speech_commands/speech_commands_test_set_v0.01",
        "speech_commands_test_set_v0.01",
        ".",
    )
    for name in names:
        if (Path(root) / name / "_unknown_").is_dir():
            return _recordings(list(folder_entries(Path(root) / name)))
    raise DataError(
        f"No folder with {', '.join(COMMANDS)}, _silence_ and _unknown_ in {root}, nor in "
        f"its {', '.join(names[:-1])}.\n"
        "  Get it with `srnn data fetch speech_commands`, or say where it lies with "
        "--data-dir or $SRNN_DATA."
    )


def _crops(noise: Path, part: str, silence: Silence) -> list[Entry]:
    """Return one-second pieces of the background noise, at places drawn from the seed, for each
    part by itself.
    """
    lengths = {file: len(mono(noise / file, RATE)) for file, _ in sound_files(noise)}
    names = [file for file, length in lengths.items() if length >= RATE]
    if not names:
        raise DataError(
            f"{noise} holds no .wav file of at least a second; expected background "
            "noise to cut silence from."
        )
    generator = np.random.default_rng((silence.seed, PARTS.index(part)))
    entries = []
    for i in range(getattr(silence, part)):
        file = names[generator.integers(len(names))]
        start = int(generator.integers(lengths[file] - RATE + 1))
        name = f"_silence_/{i:04d}_{file}_{start}"
        entries.append(
            Entry(
                name,
                CLASSES_12.index("_silence_"),
                at=(f"{noise}/{file}", start, start + RATE),
                size=2 * RATE,
            )
        )
    return entries


def _recordings(entries: list[Entry], source: str = "") -> Recordings[Sample]:
    return Recordings(entries, _read, source)


def _read(entry: Entry) -> Sample:
    path, start, stop = entry.at
    assert entry.label is not None
    return Sample(
        mono(path, RATE, start, stop)[:, None],
        entry.label,
        float(RATE),
        entry.name,
        entry.group,
        meta={"audio": True},
    )


def fetch(root: str | Path, version: str = "0.02") -> list[Path]:
    """Download and unpack the corpus (1.5 or 2.4 GB) and the test set (0.1 GB) of a version into
    root/speech_commands; return the two folders.

    A folder that is there is left alone; an archive is deleted when it has been unpacked. Raises
    `DataError` where the network, a checksum or the folder fails, `ConfigError` for another
    version.
    """
    check_choice("speech_commands.fetch(version)", version, tuple(WORDS))
    folders = []
    for name in (f"speech_commands_v{version}", f"speech_commands_test_set_v{version}"):
        folder = Path(root) / "speech_commands" / name
        if not folder.is_dir():
            archive = _fetch.download(
                f"{URL}/{name}.tar.gz", CHECKSUMS[name], folder.with_name(f"{name}.tar.gz")
            )
            _fetch.extract(archive, folder)
            archive.unlink()
        folders.append(folder)
    return folders


def verify(root: str | Path) -> list[tuple[str, bool, str]]:
    """Count the recordings under root: (what, right?, what is wrong or "ok") for the parts and the
    test set of each version that is there.

    Where no version is there, the missing version 0.02 is the only row. That a recording can be
    read shows when it is read.
    """
    rows = []
    for version in WORDS:
        try:
            rows += _verify_corpus(find_corpus(root, version), version)
            there = True
        except DataError:
            there = False
        test_set = find_test_set(root, version)
        if there or test_set:
            rows.append(_verify_test_set(test_set, version))
    return rows or [("speech_commands_v0.02", False, "missing")]


def _verify_corpus(corpus: Path, version: str) -> list[tuple[str, bool, str]]:
    name = f"speech_commands_v{version}"
    try:
        parts = corpus_entries(corpus, version, WORDS[version])
        noise = len(sound_files(corpus / NOISE))
    except DataError as error:
        return [(name, False, str(error))]
    rows = [
        _count(f"{name} {part}", len(parts[part]), count)
        for part, count in zip(PARTS, COUNTS[version], strict=True)
    ]
    return [*rows, _count(f"{name} {NOISE}", noise, 6)]


def _verify_test_set(folder: Path | None, version: str) -> tuple[str, bool, str]:
    name = f"speech_commands_test_set_v{version}"
    if folder is None:
        what = f"missing: {LISTS['test']} of the corpus is the test part of twelve classes"
        return name, False, what
    try:
        return _count(name, len(list(folder_entries(folder))), TEST_SET_COUNTS[version])
    except DataError as error:
        return name, False, str(error)


def _count(what: str, found: int, expected: int) -> tuple[str, bool, str]:
    right = found == expected
    return what, right, "ok" if right else f"{found} recordings; expected {expected}"


def made_up(root: Path, seed: int = 0) -> None:
    """Write a small corpus of version 0.02 and its test set (1.4 MB) into root/speech_commands:
    words are two tones, each speaker has a pitch.

    3 speakers for training, 2 for validation, 6 for testing, who say the commands (for training
    twice); one or two of each say the other words.
    """
    generator = np.random.default_rng(seed)
    corpus, test_set = (
        root / "speech_commands" / f"speech_commands{kind}_v0.02" for kind in ("", "_test_set")
    )
    listed: dict[str, list[str]] = {part: [] for part in PARTS}
    for part, speaker, pitch, words in _made_up_speakers(generator):
        for word in words:
            for n in range(2 if part == "train" and word in COMMANDS else 1):
                file = f"{speaker}_nohash_{n}.wav"
                clip = _made_up_clip(word, pitch, generator)
                write_wav(corpus / word / file, clip, RATE)
                listed[part].append(f"{word}/{file}")
                if part == "test":
                    unknown = f"_unknown_/{word}_{file}.wav"
                    name = f"{word}/{file}" if word in COMMANDS else unknown
                    write_wav(test_set / name, clip, RATE)
    for part, name in LISTS.items():
        lines = "".join(f"{file}\n" for file in sorted(listed[part]))
        _files.write(corpus / name, lines)
    for name in ("pink_noise", "white_noise"):
        write_wav(corpus / NOISE / f"{name}.wav", 0.05 * generator.uniform(-1, 1, 2 * RATE), RATE)
    for n in range(6):
        write_wav(
            test_set / "_silence_" / f"{n}.wav", 0.05 * generator.uniform(-1, 1, RATE // 10), RATE
        )


def _made_up_speakers(
    generator: np.random.Generator,
) -> Iterator[tuple[str, str, float, tuple[str, ...]]]:
    """Yield part, speaker, pitch and words, the speaker's name being one that `part_of` puts into
    this part.
    """
    for part, speakers, talkative in (("train", 3, 2), ("validation", 2, 1), ("test", 6, 1)):
        for n in range(speakers):
            name = ""
            while part_of(name) != part or not name:
                name = generator.bytes(4).hex()
            words = WORDS_V2 if n < talkative else COMMANDS
            yield part, name, float(generator.uniform(0.95, 1.05)), words


def _made_up_clip(word: str, pitch: float, generator: np.random.Generator) -> NDArray[np.float64]:
    high, low = divmod(WORDS_V2.index(word), 7)
    formants = pitch * 300 * 1.2**low, pitch * 1200 * 1.3**high
    return tones(formants, int(generator.integers(RATE // 10, RATE // 7)), RATE, generator)
