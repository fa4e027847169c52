"""Heidelberg Digits: spoken digits in English and German, FLAC, mono, 48 kHz (Cramer et al. 2020);
Spiking Heidelberg Digits was made from them.

    audio/lang-<english|german>_speaker-<id>_trial-<n>_digit-<d>.flac
    train_filenames.txt, test_filenames.txt       a file name a line

Twelve people spoke each digit about 40 times. Speakers 4 and 5 are in the test part only, which
also has 5 % of the recordings of the others.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from srnn import _files
from srnn._check import DataError, SrnnError, check_choice
from srnn.datasets import _fetch, shd, spikes_h5
from srnn.datasets._audio import read_audio, tones
from srnn.datasets.sample import Entry, Recordings, Sample

CLASSES = shd.CLASSES
"""Names of the labels 0 … 19: the digit, and 10 more in German."""

RATE = 48000
"""Samples per second of the published recordings."""

PARTS = ("train", "test")
ARCHIVE = "hd_audio.tar.gz"
LICENCE = "Heidelberg Digits: Creative Commons Attribution 4.0 International (CC BY 4.0)."
CITATION = shd.CITATION

_FOLDERS = ("hd", "HD", "hd_audio", ".")


def read(root: str | Path, part: str) -> Recordings[Sample]:
    """Find the recordings of part "train" or "test" under root (root/hd, root/HD, root/hd_audio or
    root itself), in the order of its list.

    Each is read when it is asked for: signal (T, 1) float32 in [-1, 1) at the rate of its file,
    label the digit (10 more in German), group the speaker; name: the file without its suffix; meta:
    audio, trial. Raises `DataError` where the list or a recording of it is missing, or a name is of
    another form; and, when read, for a damaged or stereo file. `ConfigError` for another part.
    """
    check_choice("hd.read(part)", part, PARTS)
    path = _list(root, part)
    names = _listed(path)
    folder = path.parent / "audio"
    try:
        sizes = [(folder / name).stat().st_size for name in names]
    except OSError as error:
        raise DataError(
            f"{error.filename}, which {path.name} names, cannot be read: "
            f"{error.strerror}. Unpack {ARCHIVE} anew."
        ) from error
    entries = [
        Entry(name.removesuffix(".flac"), label, speaker, (folder / name, trial), size)
        for name, size in zip(names, sizes, strict=True)
        for label, speaker, trial in (_parse(path, name),)
    ]
    return Recordings(entries, _read)


def _list(root: str | Path, part: str) -> Path:
    return _fetch.find(root, *(f"{folder}/{part}_filenames.txt" for folder in _FOLDERS), name="hd")


def _listed(path: Path) -> list[str]:
    """Return the names a list holds, a line each, each once."""
    try:
        names = [
            line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if not names:
        raise DataError(f"{path} is empty; expected a file name a line.")
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise DataError(
            f"{path} names {name} {times} times; expected each recording once. "
            f"Unpack {ARCHIVE} anew."
        )
    return names


def _parse(path: Path, name: str) -> tuple[int, str, int]:
    """Return label, speaker and trial of a recording that the list `path` names."""
    match = re.fullmatch(r"lang-(english|german)_speaker-(\d+)_trial-(\d+)_digit-(\d+)\.flac", name)
    if match is None or int(match[4]) > 9:
        raise DataError(
            f"{path} names {name!r}; expected "
            "lang-<english|german>_speaker-<id>_trial-<n>_digit-<0 … 9>.flac."
        )
    return int(match[4]) + 10 * (match[1] == "german"), str(int(match[2])), int(match[3])


def _read(entry: Entry) -> Sample:
    path, trial = entry.at
    signal, rate = read_audio(path)
    if signal.shape[1] != 1:
        raise DataError(
            f"{path} has {signal.shape[1]} channels; expected one. Get it anew with "
            "`srnn data fetch hd`."
        )
    assert entry.label is not None
    return Sample(
        signal,
        entry.label,
        float(rate),
        entry.name,
        entry.group,
        meta={"audio": True, "trial": trial},
    )


def fetch(root: str | Path) -> list[Path]:
    """Download the audio and unpack it into root/hd; return the two lists. Recordings that are
    there are left alone.

    The checksum is that of the server's md5sums.txt. Raises `DataError` where the network, the
    checksum or the folder fails.
    """
    try:
        return [_list(root, part) for part in PARTS]
    except DataError:
        pass
    folder = Path(root) / "hd"
    sums = _fetch.download(f"{spikes_h5.URL}/md5sums.txt", None, folder / ".md5sums.txt")
    text = sums.read_text(encoding="utf-8", errors="replace")
    sums.unlink()
    match = re.search(
        rf"^([0-9a-f]{{32}})[ "
        rf"*\t]+(?:\./)?{re.escape(ARCHIVE)}\s*$",
        text,
        re.MULTILINE | re.IGNORECASE,
    )
    if match is None:
        raise DataError(
            f"{spikes_h5.URL}/md5sums.txt has no line for {ARCHIVE}; expected `<md5> "
            f" {ARCHIVE}`. Get the archive by hand."
        )
    _fetch.fetch_archive(
        f"{spikes_h5.URL}/{ARCHIVE}", f"md5:{match[1]}", folder, name=f"hd/.{ARCHIVE}"
    )
    return [_list(root, part) for part in PARTS]


def verify(root: str | Path) -> list[tuple[str, bool, str]]:
    """Look for the recordings of both lists: (list, right?, what is wrong or "ok").

    The test part must have speakers 4 and 5, the training part must not. That a recording can be
    read shows when it is read.
    """
    rows = []
    for part in PARTS:
        try:
            entries = read(root, part).entries
        except DataError as error:
            rows.append((f"{part}_filenames.txt", False, str(error).splitlines()[0]))
            continue
        held_out = {"4", "5"} & {entry.group for entry in entries}
        right = held_out == ({"4", "5"} if part == "test" else set())
        text = "ok"
        if not right:
            seen = ", ".join(sorted(held_out)) or "none"
            text = f"the {part} part has of speakers 4 and 5: {seen}"
        rows.append((f"{part}_filenames.txt", right, text))
    return rows


def made_up(root: Path, seed: int = 0) -> None:
    """Write a small data set (0.6 MB) into root/hd: 20 speakers to train, of whom each says half of
    the digits, and speakers 4 and 5 to test.

    A digit is two tones at the speaker's pitch, lasting a tenth of a second. Raises `SrnnError`
    without the extra "data".
    """
    try:
        import soundfile
    except ImportError as error:
        raise SrnnError(
            'Writing FLAC files needs soundfile. Install it with: pip install "srnn[data]"'
        ) from error
    generator, folder = np.random.default_rng(seed), Path(root) / "hd"
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        names = []
        for speaker in range(22):
            if (speaker in (4, 5)) != (part == "test"):
                continue
            for label in range(len(CLASSES)):
                if part == "train" and (label + speaker) % 2:
                    continue
                language, digit = ("german", label - 10) if label > 9 else ("english", label)
                names.append(
                    f"lang-{language}_speaker-{speaker:02d}_trial-{speaker % 3}_digit-{digit}.flac"
                )
                pitch = 1 + 0.01 * (speaker % 8)
                high, low = divmod(label, 5)
                sound = tones(
                    (300 * 1.2**low * pitch, 1500 * 1.4**high * pitch),
                    int(generator.integers(4800, 6000)),
                    RATE,
                    generator,
                )
                coarse = np.rint(127 * sound) / 128  # 8 of the 16 bits, which FLAC packs well
                with _files.whole(folder / "audio" / names[-1]) as file:
                    soundfile.write(file.name, coarse, RATE, subtype="PCM_16", format="FLAC")
        _files.write(folder / f"{part}_filenames.txt", "".join(f"{name}\n" for name in names))
