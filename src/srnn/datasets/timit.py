"""TIMIT (LDC93S1): read English sentences, 16 kHz, every sample within one of 61 phones marked by
hand.

    <corpus>/TRAIN/DR1/FCJF0/SI1027.WAV  .PHN
        dialect region DR1 … DR8, speaker (F or M, three letters, a digit), sentence

The two SA sentences, which every speaker reads, are left out, as in all published results; five SX
and three SI sentences a speaker remain:

    train   462 speakers, 3,696 sentences
    test    168 speakers, 1,344 sentences
    core    24 of the test speakers, 192 sentences
    dev     50 others of them, 400 sentences (those of Kaldi's recipe)

"test" is the complete test part, which Yin, Corradi & Bohté 2021 report; most of the literature
reports "core".

Names are matched in upper and lower case; sound is NIST SPHERE, or RIFF in copies that were saved
anew. A .PHN file has a line `start end phone` for each phone, in samples, the end not included.
Source: Garofolo et al. 1993, and the test set document of the corpus; folding to 39 phones: Lee &
Hon 1989.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn import _files
from srnn._check import DataError, ShapeError, SrnnError, check_choice, check_range, check_sizes
from srnn.datasets import _audio, _sphere
from srnn.datasets.sample import UNLABELLED, Entry, Recordings, Sample

RATE = 16000
"""Samples per second of all recordings (Hz)."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PHONES = _words(
    "aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er ey f g gcl "
    "h# hh hv ih ix iy jh k kcl l m n ng nx ow oy p pau pcl "
    "q r s sh t tcl th uh uw ux v w y z zh"
)
"""Names of the 61 phones, 0 … 60."""

CLASSES = PHONES

_ALIKE = {
    "aa": "ao",
    "ah": "ax ax-h",
    "er": "axr",
    "hh": "hv",
    "ih": "ix",
    "l": "el",
    "m": "em",
    "n": "en nx",
    "ng": "eng",
    "sh": "zh",
    "sil": "bcl dcl gcl pcl tcl kcl epi pau h#",
    "uw": "ux",
}
_CLASS = {phone: phone for phone in PHONES} | {
    phone: name for name, phones in _ALIKE.items() for phone in _words(phones)
}
PHONES39 = tuple(sorted({_CLASS[phone] for phone in PHONES if phone != "q"}))
"""Names of the 39 classes that results are compared in, 0 … 38."""

FOLD = tuple(UNLABELLED if phone == "q" else PHONES39.index(_CLASS[phone]) for phone in PHONES)
"""The class (of `PHONES39`) of each phone; q, the glottal stop, has none."""

CORE = _words(
    "MDAB0 MWBT0 FELC0 MTAS1 MWEW0 FPAS0 MJMP0 MLNT0 FPKT0 MLLL0 MTLS0 FJLM0 MBPM0 MKLT0 "
    "FNLP0 MCMJ0 MJDH0 FMGD0 MGRT0 MNJM0 FDHC0 MJLN0 MPAM0 FMLD0"
)
"""Speakers of the core test part, three of each dialect region."""

DEV = _words(
    "FAKS0 FDAC1 FJEM0 MGWT0 MJAR0 MMDB1 MMDM2 MPDF0 FCMH0 FKMS0 MBDG0 MBWM0 MCSH0 FADG0 "
    "FDMS0 FEDW0 MGJF0 MGLB0 MRTK0 MTAA0 MTDT0 MTHC0 MWJG0 "
    "FNMR0 FREW0 FSEM0 MBNS0 MMJR0 MDLS0 MDLF0 MDVC0 MERS0 FMAH0 FDRW0 MRCS0 MRJM4 FCAL1 "
    "MMWH0 FJSJ0 MAJC0 MJSW0 MREB0 FGJD0 FJMG0 MROA0 MTEB0 "
    "MJFC0 MRJR0 FMML0 MRWS1"
)
"""Speakers of the development part of Kaldi's recipe, from the test part."""

PARTS = {"train": (462, 3696), "test": (168, 1344), "core": (24, 192), "dev": (50, 400)}
"""Speakers and sentences of each part of the complete corpus."""

LICENCE = (
    "TIMIT (LDC93S1): a licence of the Linguistic Data Consortium is needed; the corpus "
    "may not be passed on."
)
CITATION = (
    "J. S. Garofolo, L. F. Lamel, W. M. Fisher, J. G. Fiscus, D. S. Pallett, N. L. "
    "Dahlgren, V. Zue: TIMIT acoustic-phonetic continuous speech "
    "corpus. LDC93S1, Linguistic Data Consortium, Philadelphia (1993). "
    "https://doi.org/10.35111/17gk-bn40"
)

_FOLDERS = (
    "timit",
    "timit/timit",
    "timit/data",
    "timit/data/lisa/data/timit/raw/timit",
    "data/lisa/data/timit/raw/timit",
    "ldc93s1/timit",
    "",
)
_WHERE = (
    "Put it so that ROOT/timit/TRAIN/DR1 … and ROOT/timit/TEST/DR1 … are there (upper or "
    "lower case), and name ROOT with --data-dir or $SRNN_DATA."
)


def read(root: str | Path, part: str) -> Recordings[Sample]:
    """Return the sentences of part "train", "test" (complete), "core" or "dev", without SA, sorted
    by name.

    signal: (n, 1), sound in [-1, 1), 16 kHz; label: `UNLABELLED`: a sentence has no class, its
    phones do (see `frame_labels`).
    name: "<TRAIN or TEST>/<dialect>/<speaker>/<sentence>" in upper case; group: the speaker.
    meta: audio (True), phones ((M, 3) int64: first sample, sample after the last, index into
    `PHONES`), core, dialect ("DR1" …), sex ("F", "M"). Raises `DataError` where there is no corpus
    or a sentence lacks its sound or its phones, and when a damaged file is read.
    """
    check_choice("timit.read(part)", part, tuple(PARTS))
    side = "TRAIN" if part == "train" else "TEST"
    chosen = {"core": CORE, "dev": DEV}.get(part)
    corpus = _corpus(root)
    entries = [e for e in _entries(corpus, side) if chosen is None or e.group in chosen]
    if not entries:
        raise DataError(
            f"{corpus} holds no sentence of part {part!r} "
            f"({side}/DR*/<speaker>/S[IX]*.WAV with .PHN). {_WHERE}"
        )
    return Recordings(entries, _sentence)


def frame_labels(
    phones: ArrayLike, frames: int, hop: int, window: int, n_samples: int
) -> NDArray[np.int64]:
    """Return the phone at the centre of each frame: (frames,), `UNLABELLED` where there is none.

    phones: (M, 3), as in meta["phones"]. hop, window: samples. Frame t starts at sample t · hop, so
    its centre is t · hop + window // 2; for frames that are centred on t · hop already (`LogMel`),
    pass window=0. A centre right at the end of the n_samples counts as the last sample. Raises
    `ShapeError` for another shape of phones, `ConfigError` for sizes that cannot work.
    """
    marks = np.asarray(phones, dtype=np.int64)
    if marks.ndim != 2 or marks.shape[1] != 3 or not len(marks):
        raise ShapeError(
            f"frame_labels: phones have shape {marks.shape}; expected (M, 3), M at "
            "least 1: start, end, phone."
        )
    check_sizes("frame_labels: frames → hop → n_samples ", frames, hop, n_samples)
    check_range("frame_labels(window)", window, 0)
    centres = np.arange(frames) * hop + window // 2
    centres[centres == n_samples] -= 1
    last = np.maximum(np.searchsorted(marks[:, 0], centres, side="right") - 1, 0)
    inside = (marks[last, 0] <= centres) & (centres < marks[last, 1])
    return np.where(inside, marks[last, 2], UNLABELLED)


def fold(labels: ArrayLike) -> NDArray[np.int64]:
    """Return the class (of `PHONES39`) of each phone (of `PHONES`), any shape; `UNLABELLED` for q
    and where there was none.
    """
    return np.array([*FOLD, UNLABELLED])[np.asarray(labels, dtype=np.int64)]  # -1 picks the last


def read_phones(path: str | Path, n_samples: int) -> NDArray[np.int64]:
    """Read a .PHN file of a sentence of n_samples: (M, 3), first sample, sample after the last,
    index into `PHONES`.

    A last phone that ends after the sentence is cut there. Raises `DataError`, naming file and
    line, for an unknown phone, a time that is not a number, and phones that are empty, overlap, run
    backwards or begin after the sentence.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    marks: list[tuple[int, int, int]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where, words = f"{path}, line {number}", line.split()
        if len(words) != 3 or not all(re.fullmatch("[0-9]{1,9}", word) for word in words[:2]):
            raise DataError(
                f"{where}: {line.strip()[:60]!r}; expected `start end phone`, in samples."
            )
        start, end, phone = int(words[0]), int(words[1]), words[2].lower()
        if phone not in PHONES:
            raise DataError(
                f"{where}: there is no phone {words[2][:20]!r}; expected one of the 61 of TIMIT."
            )
        before = marks[-1][1] if marks else 0
        if not before <= start < end:
            raise DataError(
                f"{where}: from {start} to {end}, after a phone that ends at "
                f"{before}; expected phones in order, without overlap."
            )
        if start >= n_samples:
            raise DataError(
                f"{where}: {phone} begins at sample {start} of a sentence of "
                f"{n_samples}. Do sound and phones belong together?"
            )
        marks.append((start, min(end, n_samples), PHONES.index(phone)))
    if not marks:
        raise DataError(f"{path} holds no phone.")
    return np.array(marks, dtype=np.int64)


def _sentence(entry: Entry) -> Sample:
    sound, marks = entry.at
    signal = _sound(sound)
    _, dialect, speaker, _ = entry.name.split("/")
    meta = {
        "audio": True,
        "phones": read_phones(marks, len(signal)),
        "core": speaker in CORE,
        "dialect": dialect,
        "sex": speaker[0],
    }
    return Sample(signal, UNLABELLED, float(RATE), entry.name, speaker, meta=meta)


def _sound(path: Path) -> NDArray[np.float32]:
    try:
        with path.open("rb") as file:
            sphere = file.read(len(_sphere.MAGIC)) == _sphere.MAGIC
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    signal, rate = _sphere.read_sphere(path) if sphere else _audio.read_audio(path)
    if rate != RATE or signal.shape[1] != 1:
        raise DataError(
            f"{path}: {signal.shape[1]} channels at {rate} Hz; expected one at "
            f"{RATE}, which its phones are counted in."
        )
    return signal


def _corpus(root: str | Path) -> Path:
    """Return the folder that holds TRAIN and TEST."""
    for candidate in _FOLDERS:
        folder: Path | None = Path(root)
        for name in filter(None, candidate.split("/")):
            folder = folder and _child(folder, name)
        sides = (folder and _child(folder, side) for side in ("train", "test"))
        if folder and any(_children(side, r"dr[1-8]") for side in sides if side):
            return folder
    looked = ", ".join(filter(None, _FOLDERS))
    raise DataError(
        f"No TIMIT in {root}: looked for TRAIN or TEST with folders DR1 … DR8 in it "
        f"and in its {looked}.\n  {_WHERE}"
    )


def _children(folder: Path, pattern: str) -> dict[str, Path]:
    """Return what in a folder has such a name, in any case: {NAME in upper case: path}, sorted."""
    try:
        found = (
            sorted(folder.iterdir(), key=lambda path: path.name.upper()) if folder.is_dir() else []
        )
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return {
        path.name.upper(): path
        for path in found
        if re.fullmatch(pattern, path.name, re.IGNORECASE) and path.exists()
    }


def _child(folder: Path, name: str) -> Path | None:
    return next(iter(_children(folder, re.escape(name)).values()), None)


def _sentences(folder: Path, suffix: str) -> dict[str, Path]:
    """Return the files of a speaker that end so, by sentence; the first of several counts."""
    found = _children(folder, rf"s[ix]\d+{suffix}")
    return {name.split(".")[0]: path for name, path in reversed(found.items())}


def _entries(corpus: Path, side: str) -> Iterator[Entry]:
    """Yield the sentences of TRAIN or TEST, sorted by name.

    Raises `DataError` for one without its sound or its phones.
    """
    top = _child(corpus, side)
    for dialect, region in _children(top, r"dr[1-8]").items() if top else ():
        for speaker, folder in _children(region, r"[fm][a-z]{3}\d").items():
            sounds = _sentences(folder, r"(\.wav|\.riff)?\.wav")
            marks = _sentences(folder, r"\.phn")
            if lonely := sorted(sounds.keys() ^ marks.keys()):
                missing = "no .PHN" if lonely[0] in sounds else "no .WAV"
                raise DataError(
                    f"{folder}: sentence {lonely[0]} has {missing} file; expected "
                    "both. Copy the folder anew."
                )
            for sentence in sorted(sounds):
                at = (sounds[sentence], marks[sentence])
                yield Entry(
                    f"{side}/{dialect}/{speaker}/{sentence}",
                    None,
                    speaker,
                    at,
                    at[0].stat().st_size,
                )


def fetch(root: str | Path) -> list[Path]:
    """Raise `SrnnError`: TIMIT cannot be downloaded without a licence; the message says where to
    get it and where to put it.
    """
    raise SrnnError(
        "TIMIT needs a licence: get LDC93S1 from "
        f"https://catalog.ldc.upenn.edu/LDC93S1.\n  {_WHERE.replace('ROOT', str(root))}"
    )


def verify(root: str | Path) -> list[tuple[str, bool, str]]:
    """Count speakers and sentences of each part and read every file: (part or sentence, right?,
    what is wrong or "ok").

    A row for each part, and one for each sentence that cannot be read.
    """
    rows = []
    for part, (speakers, sentences) in PARTS.items():
        try:
            recordings = read(root, part)
        except DataError as error:
            rows.append((part, False, str(error).splitlines()[0]))
            continue
        found = (len({e.group for e in recordings.entries}), len(recordings))
        right = found == (speakers, sentences)
        rows.append(
            (
                part,
                right,
                "ok"
                if right
                else f"{found[0]} speakers, {found[1]} "
                f"sentences; expected {speakers} and {sentences}",
            )
        )
        for entry in recordings.entries if part in ("train", "test") else ():
            try:
                recordings.read(entry)
            except DataError as error:
                rows.append((entry.name, False, str(error)))
    return rows


_MADE_UP = {
    "TRAIN": ("DR1/FCJF0", "DR1/MCPM0", "DR1/FDAW0", "DR2/FAEM0", "DR2/MARC0", "DR2/MBJV0"),
    # two of the core part, two of the development part
    "TEST": ("DR1/MDAB0", "DR1/FELC0", "DR1/FAKS0", "DR1/FDAC1"),
}


def made_up(root: str | Path, seed: int = 0, lower: bool = False) -> None:
    """Write a small corpus (600 kB) into root/timit: 6 + 4 speakers, an SA, an SI and an SX
    sentence each, of seven phones that are tones.

    lower: names in lower case, as on some discs.
    """
    generator = np.random.default_rng(seed)
    for side, speakers in _MADE_UP.items():
        for speaker in speakers:
            pitch = generator.uniform(0.95, 1.05)
            for sentence in ("SA1", "SI901", "SX902"):
                name = f"timit/{side}/{speaker}/{sentence}"
                sound, marks = (
                    Path(root) / (n.lower() if lower else n) for n in (f"{name}.WAV", f"{name}.PHN")
                )
                signal, text = _made_up_sentence(pitch, generator)
                _sphere.write_sphere(sound, signal, RATE)
                _files.write(marks, text)


def _made_up_sentence(
    pitch: float, generator: np.random.Generator
) -> tuple[NDArray[np.float64], str]:
    """Return sound and the lines of its .PHN file: silence, the phones in any order for 50 to 83 ms
    each, silence.
    """
    # Hz
    tones = {
        "h#": 0,
        "aa": 450,
        "iy": 900,
        "uw": 1350,
        "s": 1800,
        "n": 2250,
        "tcl": 2700,
        "ax-h": 3150,
    }
    phones = ["h#", *generator.permutation(list(tones)[1:]), "h#"]
    lengths = generator.integers(RATE // 20, RATE // 12, len(phones))
    phase = np.concatenate(
        [
            tones[phone] * pitch / RATE * np.arange(length)
            for phone, length in zip(phones, lengths, strict=True)
        ]
    )
    ends = np.cumsum(lengths)
    text = "".join(
        f"{end - length} {end} {phone}\n"
        for phone, length, end in zip(phones, lengths, ends, strict=True)
    )
    return 0.3 * np.sin(2 * np.pi * phase) + 0.01 * generator.normal(size=len(phase)), text
