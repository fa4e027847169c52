"""Spiking Speech Commands: the 35 words of Speech Commands v0.02 as spikes of a model cochlea of
700 channels (Cramer et al. 2020).

One file a part, laid out as `spikes_h5` says. The parts follow the rule of Speech Commands, which
keeps all recordings of a speaker together, with 10 % for validation and 20 % for testing: 75,466 +
9,981 + 20,382 recordings. Which number stands for which word, each file says (`classes`); `read`
gives the words the numbers they have in `speech_commands.WORDS_V2`. Recordings last 0.2 to 1 s.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from srnn._check import DataError, check_choice
from srnn.datasets import shd, spikes_h5
from srnn.datasets.sample import Recordings, Spikes
from srnn.datasets.speech_commands import WORDS_V2

CHANNELS = 700
PARTS = ("train", "valid", "test")
COUNTS = {"train": (75466,), "valid": (9981,), "test": (20382,)}
"""Recordings of each part."""

MD5 = {
    "train": "d102be95e7144fcc0553d1f45ba94170",
    "valid": "b4eee3516a4a90dd0c71a6ac23a8ae43",
    "test": "a35ff1e9cffdd02a20eb850c17c37748",
}
"""Checksums of the published zip files."""

LICENCE = "Spiking Speech Commands: Creative Commons Attribution 4.0 International (CC BY 4.0)."
CITATION = shd.CITATION


def read(root: str | Path, part: str) -> Recordings[Spikes]:
    """Find the recordings of part "train", "valid" or "test" under root (root/ssc, root/SSC or root
    itself); each is read when it is asked for.

    label: the place of the word in `speech_commands.WORDS_V2`, whatever its number in the file.
    group: "" unless the file tells speakers. Raises `DataError` for a file that is missing, still
    packed, damaged or of other words, `ConfigError` for another part.
    """
    check_choice("ssc.read(part)", part, PARTS)
    path = spikes_h5.find(root, "ssc", part)
    stored, words = spikes_h5.read(path, CHANNELS)
    places = [WORDS_V2.index(word) for word in _checked(path, words)]
    entries = [
        replace(entry, label=places[entry.label])
        for entry in stored.entries
        if entry.label is not None
    ]
    return Recordings(entries, stored.read, stored.source)


def classes(root: str | Path) -> tuple[str, ...]:
    """Return the words in the order of their numbers in the file of the training part; labels that
    `read` gives follow `WORDS_V2` instead.

    Raises `DataError` as `read` does.
    """
    path = spikes_h5.find(root, "ssc", "train")
    return _checked(path, spikes_h5.classes(path))


def _checked(path: Path, words: tuple[str, ...]) -> tuple[str, ...]:
    if strange := [word for word in words if word not in WORDS_V2]:
        raise DataError(
            f"{path} has a class {strange[0]!r}; expected the words of Speech "
            "Commands v0.02. Is it a file of another data set?"
        )
    if twice := [word for i, word in enumerate(words) if word in words[:i]]:
        raise DataError(
            f"{path} has two classes {twice[0]!r}; expected each word once. The file "
            "is damaged; get it anew."
        )
    return words


def fetch(root: str | Path) -> list[Path]:
    """Download and unpack the three parts into root/ssc; see `spikes_h5.fetch`."""
    return spikes_h5.fetch(root, "ssc", MD5)


def verify(root: str | Path) -> list[tuple[str, bool, str]]:
    """Count the recordings and classes of all files: (file, right?, what is wrong or "ok")."""
    return spikes_h5.verify(root, "ssc", COUNTS, len(WORDS_V2))


def made_up(root: Path, seed: int = 0) -> None:
    """Write a small data set (0.3 MB) into root/ssc: 5 recordings of each word to train, 2 for
    validation and 2 to test; words not in order.
    """
    words = np.random.default_rng(seed).permutation(WORDS_V2).tolist()
    for part, each in zip(PARTS, (5, 2, 2), strict=True):
        generator = np.random.default_rng((seed, PARTS.index(part)))
        labels = generator.permutation(np.repeat(np.arange(len(words)), each))
        spikes = (shd.made_up_word(int(label), None, len(words), generator) for label in labels)
        spikes_h5.write(Path(root) / "ssc" / f"ssc_{part}.h5", spikes, words, dtype="float16")
