"""The folders of Speech Commands: where they lie, and which file is which word of which part."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from srnn._check import DataError
from srnn.datasets.sample import Entry

RATE = 16000
"""Samples per second of all recordings."""

COMMANDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")

CLASSES_12 = (*COMMANDS, "_silence_", "_unknown_")
"""Names of the labels 0 … 11 of the form with twelve classes."""

WORDS_V2 = (
    *("backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward"),
    *("four", "go", "happy", "house", "learn", "left", "marvin", "nine", "no", "off", "on"),
    *("one", "right", "seven", "sheila", "six", "stop", "three", "tree", "two", "up", "visual"),
    *("wow", "yes", "zero"),
)
WORDS_V1 = tuple(
    word for word in WORDS_V2 if word not in ("backward", "follow", "forward", "learn", "visual")
)

WORDS = {"0.01": WORDS_V1, "0.02": WORDS_V2}
"""Version -> names of the labels 0 … 29 or 0 … 34 of the form in which every word is a class."""

PARTS = ("train", "validation", "test")

NOISE = "_background_noise_"

LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


def part_of(name: str, validation: float = 10, testing: float = 10) -> str:
    """Return the part ("train", "validation" or "test") of a file by the rule that made the
    official lists: all clips of a speaker share it.

    name: a file name, with or without folders; what follows `_nohash_` does not count. validation,
    testing: per cent.
    """
    key = name.rpartition("/")[2].partition("_nohash_")[0]
    drawn = int(hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest(), 16) % 2**27
    percent = drawn * (100 / (2**27 - 1))
    if percent < validation:
        return "validation"
    return "test" if percent < validation + testing else "train"


def find_corpus(root: str | Path, version: str) -> Path:
    """Return the folder of the corpus: the first of the usual places that has the lists and the
    words of this version.
    """
    name = f"speech_commands_v{version}"
    places = (
        f"speech_commands/{name}",
        name,
        f"SpeechCommands/{name}",
        f"speech_commands/v{version}",
        "speech_commands",
        ".",
    )
    for place in places:
        folder = Path(root) / place
        second = (folder / "backward").is_dir()  # a word that version 0.01 has not
        if (folder / LISTS["test"]).is_file() and second == (version == "0.02"):
            return folder
    raise DataError(
        f"No Speech Commands corpus of version {version} in {root}: none of "
        f"{', '.join(places)} has {LISTS['test']} and the words of that version.\n"
        "  Get it with `srnn data fetch speech_commands`, or say where it lies with "
        "--data-dir or $SRNN_DATA."
    )


def find_test_set(root: str | Path, version: str) -> Path | None:
    """Return the folder of the official test set of a version; None where there is none."""
    name = f"speech_commands_test_set_v{version}"
    places = (Path(root) / "speech_commands" / name, Path(root) / name)
    return next((folder for folder in places if folder.is_dir()), None)


def sound_files(folder: Path) -> list[tuple[str, int]]:
    """Return name and size of the sound files of a folder, sorted; hidden files do not count."""
    try:
        with os.scandir(folder) as found:
            return sorted(
                (f.name, f.stat().st_size)
                for f in found
                if f.name.endswith(".wav") and not f.name.startswith(".")
            )
    except OSError as error:
        raise DataError(
            f"{folder} cannot be read: {error.strerror or error}. Is the data set "
            "unpacked completely?"
        ) from error


def _speaker(file: str) -> str:
    """Return the speaker of `<speaker>_nohash_<n>.wav` or `<word>_<speaker>_nohash_<n>.wav.wav`."""
    return file.partition("_nohash_")[0].rpartition("_")[2]


def _listed(corpus: Path, part: str) -> set[str]:
    """Return the names `<word>/<file>` that belong to the validation or test part."""
    path = corpus / LISTS[part]
    try:
        names = set(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if not names:
        raise DataError(
            f"{path} is empty; expected a line <word>/<file>.wav for each recording "
            f"of the {part} part."
        )
    return names


def corpus_entries(corpus: Path, version: str, classes: tuple[str, ...]) -> dict[str, list[Entry]]:
    """Return the recordings of each part, ordered by word and file; words that are no class are the
    last one, unknown.
    """
    part_by_name = {name: part for part in LISTS for name in _listed(corpus, part)}
    parts: dict[str, list[Entry]] = {part: [] for part in PARTS}
    for word in WORDS[version]:
        label = classes.index(word) if word in classes else len(classes) - 1
        for file, size in sound_files(corpus / word):
            name = f"{word}/{file}"
            parts[part_by_name.pop(name, "train")].append(
                Entry(name, label, _speaker(file), (f"{corpus}/{name}", 0, None), size)
            )
    if part_by_name:
        name, part = min(part_by_name.items())
        raise DataError(
            f"{corpus} has no {name}, which {LISTS[part]} names, and "
            f"{len(part_by_name) - 1} others.\n"
            "  The corpus is not complete: unpack its archive anew."
        )
    return parts


def folder_entries(folder: Path) -> Iterator[Entry]:
    """Yield the recordings of a folder of twelve classes."""
    for label, word in enumerate(CLASSES_12):
        files = sound_files(folder / word)
        if not files:
            raise DataError(
                f"{folder / word} holds no .wav file; expected some in each of "
                f"{', '.join(CLASSES_12)}."
            )
        for file, size in files:
            speaker = "" if word == "_silence_" else _speaker(file)
            yield Entry(
                f"{word}/{file}", label, speaker, (f"{folder}/{word}/{file}", 0, None), size
            )
