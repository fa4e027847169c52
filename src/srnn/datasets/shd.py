"""Spiking Heidelberg Digits: spoken digits in English and German as spikes of a model cochlea of
700 channels (Cramer et al. 2020).

One file a part, laid out as `spikes_h5` says. Twelve people spoke each digit about 40 times;
speakers 4 and 5 are in the test part only, which also has 5 % of the recordings of the others.
There is no validation part: hold out speakers. The paper counts 8332 + 2088 recordings, the files
that are published hold 8156 + 2264. Recordings last 0.3 to 1.2 s.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from srnn._check import DataError, check_choice
from srnn.datasets import spikes_h5
from srnn.datasets.sample import Recordings, Spikes

CLASSES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
)
"""Names of the labels 0 … 19."""

CHANNELS = 700
PARTS = ("train", "test")
COUNTS = {"train": (8156, 8332), "test": (2264, 2088)}
"""Recordings of each part: in the published files, and in the paper."""

MD5 = {"train": "f3252aeb598ac776c1b526422d90eecb", "test": "1503a5064faa34311c398fb0a1ed0a6f"}
"""Checksums of the published zip files."""

LICENCE = "Spiking Heidelberg Digits: Creative Commons Attribution 4.0 International (CC BY 4.0)."
CITATION = (
    "B. Cramer, Y. Stradmann, J. Schemmel, F. Zenke: The Heidelberg Spiking Data Sets for "
    "the Systematic Evaluation of Spiking Neural Networks. "
    "IEEE Transactions on Neural Networks and Learning Systems 33 (2022) 2744-2757 (online "
    "2020). https://doi.org/10.1109/TNNLS.2020.3044364"
)


def read(root: str | Path, part: str) -> Recordings[Spikes]:
    """Find the recordings of part "train" or "test" under root (root/shd, root/SHD or root itself);
    each is read when it is asked for.

    group: the speaker. Raises `DataError` for a file that is missing, still packed, damaged or of
    other classes, `ConfigError` for another part.
    """
    check_choice("shd.read(part)", part, PARTS)
    path = spikes_h5.find(root, "shd", part)
    recordings, names = spikes_h5.read(path, CHANNELS)
    if len(names) != len(CLASSES):
        raise DataError(
            f"{path} has {len(names)} classes; expected {len(CLASSES)} digits. Is it "
            "a file of another data set?"
        )
    return recordings


def fetch(root: str | Path) -> list[Path]:
    """Download and unpack both parts into root/shd; see `spikes_h5.fetch`."""
    return spikes_h5.fetch(root, "shd", MD5)


def verify(root: str | Path) -> list[tuple[str, bool, str]]:
    """Count the recordings and classes of both files: (file, right?, what is wrong or "ok")."""
    return spikes_h5.verify(root, "shd", COUNTS, len(CLASSES))


def made_up(root: Path, seed: int = 0) -> None:
    """Write a small data set (0.2 MB) into root/shd: 20 speakers to train, of whom each says half
    of the digits, and speakers 4 and 5 to test.
    """
    speakers = {"train": [s for s in range(22) if s not in (4, 5)], "test": [4, 5]}
    for part, numbers in speakers.items():
        generator = np.random.default_rng((seed, PARTS.index(part)))
        said = [(label, speaker) for speaker in numbers for label in range(len(CLASSES))]
        if part == "train":
            said = [(label, speaker) for label, speaker in said if (label + speaker) % 2]
        order = generator.permutation(len(said))
        spikes = (made_up_word(said[i][0], said[i][1], len(CLASSES), generator) for i in order)
        spikes_h5.write(Path(root) / "shd" / f"shd_{part}.h5", spikes, CLASSES, dtype="float16")


def made_up_word(
    label: int, speaker: int | None, classes: int, generator: np.random.Generator
) -> Spikes:
    """Return a made-up recording: a sweep over the channels whose start and slope tell the class
    and whose pitch the speaker, among stray spikes.
    """
    seconds, count = generator.uniform(0.4, 0.9), int(generator.integers(120, 200))
    times = np.sort(generator.uniform(0, seconds, count))
    pitch = 0 if speaker is None else 3 * (speaker % 8)
    sweep = (1 - 2 * (label % 2)) * 150 * (times / seconds - 0.5)
    units = 90 + 500 * label / classes + pitch + sweep + generator.normal(0, 8, count)
    stray = generator.random(count) < 0.1
    units[stray] = generator.uniform(0, CHANNELS, stray.sum())
    group = "" if speaker is None else str(speaker)
    return Spikes(
        times,
        np.clip(units, 0, CHANNELS - 1).astype(np.uint16),
        CHANNELS,
        label,
        f"{label}/{group}",
        group,
    )
