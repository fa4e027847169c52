"""Free Spoken Digit Dataset: the ten English digits, 8 kHz mono 16-bit WAV, 50 recordings of each
digit by each speaker.

    recordings/<digit>_<speaker>_<index>.wav

Official parts: index 0 … 4 is the test part, the others are for training; every speaker is in both.
Which speakers there are depends on the release. Source: Jackson et al.,
https://github.com/Jakobovski/free-spoken-digit-dataset.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from srnn._check import DataError, check_choice
from srnn.datasets import _fetch
from srnn.datasets._audio import mono, tones, write_wav
from srnn.datasets.sample import Entry, Recordings, Sample

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""Names of the labels 0 … 9."""

RATE = 8000
"""Samples per second of all recordings."""

RELEASE = "free-spoken-digit-dataset-1.0.9"
URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz"
CHECKSUM = "8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0"
"""Archive that `fetch` takes, and its SHA-256: 5 speakers, 2500 recordings.

Other releases are read as well.
"""

LICENCE = (
    "Free Spoken Digit Dataset: Creative Commons Attribution-ShareAlike 4.0 International "
    "(CC BY-SA 4.0)."
)
CITATION = (
    "Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite: "
    "Jakobovski/free-spoken-digit-dataset. "
    "Zenodo (2018). https://doi.org/10.5281/zenodo.1342401"
)

_FOLDERS = (
    *("fsdd/recordings", f"fsdd/{RELEASE}/recordings", f"{RELEASE}/recordings"),
    *(
        "free-spoken-digit-dataset/recordings",
        "free-spoken-digit-dataset-master/recordings",
        "recordings",
    ),
)
_INDICES = 50
_TEST_INDICES = 5


def read(root: str | Path, part: str) -> Recordings[Sample]:
    """Find the recordings of the official part "train" or "test" under root, as `read_all`.

    Raises `ConfigError` for another part.
    """
    check_choice("fsdd.read(part)", part, ("train", "test"))
    everything = read_all(root)
    return everything.pick(
        [i for i, entry in enumerate(everything.entries) if is_test(entry.name) == (part == "test")]
    )


def is_test(name: str) -> bool:
    """Return whether the recording of that name is in the official test part: indices 0 to 4."""
    return int(name.rpartition("_")[2]) < _TEST_INDICES


def read_all(root: str | Path) -> Recordings[Sample]:
    """Find all recordings under root, ordered by digit, speaker and index; each is read when it is
    asked for.

    signal: (T, 1) float32 in [-1, 1), 8 kHz; label: the digit; group: the speaker; name: the file
    without its suffix. Raises `DataError` where there are none, or a .wav file has another name;
    and, when read, for a damaged file, another rate or stereo.
    """
    folder = _fetch.find(root, *_FOLDERS, name="fsdd")
    paths = sorted((p for p in folder.glob("*.wav") if not p.name.startswith(".")), key=_parse)
    if not paths:
        raise DataError(
            f"{folder} holds no .wav file; expected <digit>_<speaker>_<index>.wav. "
            "Get them with `srnn data fetch fsdd`."
        )
    entries = [
        Entry(p.stem, digit, speaker, p, p.stat().st_size)
        for p in paths
        for digit, speaker, _ in (_parse(p),)
    ]
    return Recordings(entries, _read)


def _parse(path: Path) -> tuple[int, str, int]:
    """Return digit, speaker and index of a recording."""
    match = re.fullmatch(r"(\d)_(.+)_(\d+)\.wav", path.name)
    if match is None:
        raise DataError(
            f"{path} is not named <digit>_<speaker>_<index>.wav, as "
            "7_jackson_32.wav. Rename it or take it away."
        )
    return int(match[1]), match[2], int(match[3])


def _read(entry: Entry) -> Sample:
    assert entry.label is not None
    return Sample(
        mono(entry.at, RATE)[:, None],
        entry.label,
        float(RATE),
        entry.name,
        entry.group,
        meta={"audio": True},
    )


def fetch(root: str | Path) -> list[Path]:
    """Download release 1.0.9 (12 MB) and unpack it into root/fsdd; return the folder of recordings.

    Recordings that are there are left alone; the archive is deleted when it has been unpacked.
    Raises `DataError` where the network, the checksum or the folder fails.
    """
    folder = Path(root) / "fsdd"
    if not any((Path(root) / place).is_dir() for place in _FOLDERS):
        archive = _fetch.download(URL, CHECKSUM, folder.with_name(f"{RELEASE}.tar.gz"))
        _fetch.extract(archive, folder, lambda name: "/recordings" in name)
        archive.unlink()
    return [_fetch.find(root, *_FOLDERS, name="fsdd")]


def verify(root: str | Path) -> list[tuple[str, bool, str]]:
    """Count the recordings of each speaker: (speaker, right?, what is wrong or "ok"); 50 of each
    digit make 500.

    That a recording can be read shows when it is read.
    """
    try:
        entries = read_all(root).entries
    except DataError as error:
        return [("recordings", False, str(error))]
    wanted = {(digit, index) for digit in range(len(CLASSES)) for index in range(_INDICES)}
    rows = []
    for speaker in sorted({entry.group for entry in entries}):
        there = {
            (digit, index)
            for digit, _, index in (_parse(e.at) for e in entries if e.group == speaker)
        }
        missing, more = sorted(wanted - there), sorted(there - wanted)
        wrong = (
            f"{len(missing)} missing, {len(more)} too many: digit "
            f"{(missing or more)[0][0]}, index {(missing or more)[0][1]}"
            if missing or more
            else ""
        )
        rows.append((speaker, not wrong, wrong or "ok"))
    return rows


def made_up(root: Path, seed: int = 0) -> None:
    """Write a small data set (1.4 MB) into root/fsdd/recordings: 4 speakers, 8 recordings of each
    digit, three tones at the speaker's pitch.
    """
    generator = np.random.default_rng(seed)
    for speaker in ("ada", "ben", "cleo", "dan"):
        pitch = generator.uniform(0.9, 1.1)
        for digit in range(len(CLASSES)):
            formants = pitch * np.array(
                [250 + 60 * (digit % 5), 1000 + 300 * (digit // 2), 2600 + 90 * digit]
            )
            for index in range(8):
                samples = int(generator.integers(RATE // 5, RATE // 3))
                write_wav(
                    root / "fsdd" / "recordings" / f"{digit}_{speaker}_{index}.wav",
                    tones(formants, samples, RATE, generator),
                    RATE,
                )
