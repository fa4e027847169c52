"""A user's own recordings as files in a folder: text tables (.csv, .tsv) or sound (.wav, .flac).

What a recording is comes from, in this order:

- a column `label` in every table: one label a step; the sub-folder, if any, is the group (speaker,
  patient, machine);
- a list `labels.csv` in the folder, with the columns file, label and, if wanted, group; files it
  does not name are left out;
- the sub-folder: its name is the class.

With a column `label`, a list may give groups alone (file, group). Whatever begins with a dot, and
files of other kinds, are ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from srnn._check import ConfigError, DataError, check_range
from srnn.datasets._audio import read_audio
from srnn.datasets._own import Own, check_channels, check_classes, class_names
from srnn.datasets.own_csv import fields, open_table, sniff, text_of
from srnn.datasets.sample import UNLABELLED, Entry, Recordings, Sample

TABLES, SOUNDS = (".csv", ".tsv"), (".wav", ".flac")
LIST = "labels.csv"

SOUND_RATE = 2000.0
"""Samples per second from which on a sound file is taken for sound; below, WAV is just how a
sensor's signal was stored.
"""


@dataclass(frozen=True)
class _File:
    """A recording's file. name: its path in the folder. label, group: from the list, else from the
    sub-folder; label None = in neither.
    """

    path: Path
    name: str
    label: str | None
    group: str


def read_folder(root: Path, rate: float | None = None, channels: int | None = None) -> Own:
    """Read a folder of tables or of sound files (see the module's text); samples are read when a
    recording is asked for.

    rate: steps per second of tables, 1.0 where it is not given; sound files know theirs. Raises
    `DataError` for an empty folder, kinds of files that are mixed, files that differ in channels or
    rate, labels that are missing or of one class only, and files that cannot be read; `ConfigError`
    for a rate that is not that of the sound files, or another number of channels.
    """
    names = visible_files(root)
    tables, sounds = (
        [n for n in names if n.lower().endswith(kind) and n != LIST] for kind in (TABLES, SOUNDS)
    )
    if tables and sounds:
        raise DataError(
            f"{root} holds tables ({tables[0]}) and sound files ({sounds[0]}); "
            "expected one kind. Move one of them elsewhere."
        )
    if not tables and not sounds:
        raise DataError(
            f"{root} holds no recordings. Looked for .npz and .h5 files, and for "
            f"{', '.join(TABLES + SOUNDS)} files in sub-folders."
        )
    files = (
        _listed(root, set(tables or sounds))
        if LIST in names
        else _sorted_by_folder(root, tables or sounds)
    )
    return (
        _sound_files(root, files, rate, channels)
        if sounds
        else _table_files(root, files, rate, channels)
    )


def visible_files(root: Path) -> list[str]:
    """Return the paths, from the folder on, of all files below it but those with a dot before their
    name or a folder's.
    """
    paths = (p.relative_to(root) for p in root.rglob("*") if p.is_file())
    return sorted(p.as_posix() for p in paths if not any(part.startswith(".") for part in p.parts))


def _sorted_by_folder(root: Path, names: list[str]) -> list[_File]:
    return [_File(root / n, n, PurePosixPath(n).parts[0] if "/" in n else None, "") for n in names]


def _listed(root: Path, known: set[str]) -> list[_File]:
    """Read the list of files, labels and groups."""
    path = root / LIST
    lines = [(i, line) for i, line in enumerate(text_of(path).splitlines(), 1) if line.strip()]
    delimiter = sniff(lines[0][1]) if lines else None
    header = [name.lower() for name in fields(lines[0][1], delimiter)] if lines else []
    if "file" not in header or not {"label", "group"} & set(header):
        raise DataError(
            f"{path} has the columns {', '.join(header) or '(none)'}; its first line "
            "must name file and label, and may name group."
        )
    files: dict[str, _File] = {}
    for number, line in lines[1:]:
        cells = fields(line, delimiter)
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {number} has {len(cells)} columns; expected "
                f"{len(header)}: {', '.join(header)}."
            )
        row = dict(zip(header, cells, strict=True))
        name = PurePosixPath(row["file"].replace("\\", "/")).as_posix()
        if name not in known:
            raise DataError(
                f"{path}, line {number}: there is no recording {row['file']!r} in {root}."
            )
        if name in files:
            raise DataError(f"{path}, line {number} names {name} for the second time.")
        files[name] = _File(root / name, name, row.get("label") or None, row.get("group", ""))
    if not files:
        raise DataError(f"{path} names no file.")
    return [files[name] for name in sorted(files)]


def _table_files(root: Path, files: list[_File], rate: float | None, channels: int | None) -> Own:
    rate = check_range("own.read(rate)", 1.0 if rate is None else rate, 0.0, open_low=True)
    first, steps, seen = open_table(files[0].path), 0, set[str]()
    for file in files:
        table = open_table(file.path)
        if len(table.columns) != len(first.columns):
            raise DataError(
                f"{file.path} has {len(table.columns)} channels, {first.path} has "
                f"{len(first.columns)}; expected the same in all."
            )
        if (table.label is None) != (first.label is None):
            has, lacks = (table, first) if first.label is None else (first, table)
            raise DataError(
                f"{has.path} has a column named label, {lacks.path} has none; "
                "expected one in all files or in none."
            )
        steps = max(steps, len(table.lines))
        seen.update(table.labels())
    check_channels(root, len(first.columns), channels)
    if first.label is None:

        def signal(file: _File) -> Sample:
            return Sample(
                open_table(file.path).signal(), index[file.label or ""], rate, file.name, file.group
            )

        index = _classes(root, files)
        return Own(
            _recordings(files, signal, index),
            tuple(index),
            len(first.columns),
            rate,
            "signal",
            False,
            steps,
        )

    classes = class_names(seen - {""})
    check_classes(root, classes)
    numbers = {name: k for k, name in enumerate(classes)} | {"": UNLABELLED}

    def labelled(file: _File) -> Sample:
        table = open_table(file.path)
        return Sample(
            table.signal(),
            np.array([numbers[name] for name in table.labels()], np.int64),
            rate,
            file.name,
            file.group,
        )

    grouped = files if (root / LIST).exists() else [replace(f, group=f.label or "") for f in files]
    return Own(
        _recordings(grouped, labelled), classes, len(first.columns), rate, "signal", True, steps
    )


def _sound_files(root: Path, files: list[_File], rate: float | None, channels: int | None) -> Own:
    index = _classes(root, files)
    first = _Sound.of(files[0].path)
    steps = 0
    for file in files:
        sound = _Sound.of(file.path)
        for what in ("rate", "channels"):
            found, wanted = getattr(sound, what), getattr(first, what)
            if found != wanted:
                what = "samples per second" if what == "rate" else what
                raise DataError(
                    f"{file.path} has {found} {what}, {files[0].path} has {wanted}; "
                    "expected the same in all. Convert one of them."
                )
        steps = max(steps, sound.samples)
    if rate is not None and rate != first.rate:
        raise ConfigError(
            f"{root}: rate {rate:g} was asked for, its files have {first.rate} samples per "
            "second. Leave it out, or resample the files."
        )
    check_channels(root, first.channels, channels)
    audio = first.rate >= SOUND_RATE

    def sound_of(file: _File) -> Sample:
        signal, _ = read_audio(file.path)
        return Sample(
            signal,
            index[file.label or ""],
            float(first.rate),
            file.name,
            file.group,
            meta={"audio": True} if audio else {},
        )

    recordings = _recordings(files, sound_of, index)
    return Own(
        recordings,
        tuple(index),
        first.channels,
        float(first.rate),
        "audio" if audio else "signal",
        False,
        steps,
    )


@dataclass(frozen=True)
class _Sound:
    """What the header of a sound file says."""

    rate: int
    channels: int
    samples: int

    @staticmethod
    def of(path: Path) -> _Sound:
        """Read the header and one sample, so that a file that is cut or no sound shows.

        Raises `DataError` and `SrnnError` as `read_audio`.
        """
        one, rate = read_audio(path, 0, 1)
        import soundfile

        return _Sound(rate, one.shape[1], int(soundfile.info(str(path)).frames))


def _classes(root: Path, files: list[_File]) -> dict[str, int]:
    """Return the label of each class name. Raises `DataError` for a file without one."""
    if unnamed := [file.name for file in files if not file.label]:
        raise DataError(
            f"{root / unnamed[0]} has no label. Put each file into a sub-folder named "
            f"after its class, or list all in {LIST} (file,label,group); "
            "a table may have a column named label instead."
        )
    classes = tuple(sorted({file.label or "" for file in files}))
    check_classes(root, classes)
    return {name: k for k, name in enumerate(classes)}


def _recordings(
    files: list[_File], read: Callable[[_File], Sample], index: dict[str, int] | None = None
) -> Recordings[Sample]:
    """Return the recordings of these files; without `index` they have a label a step."""
    entries = [
        Entry(f.name, index[f.label or ""] if index else None, f.group, f, f.path.stat().st_size)
        for f in files
    ]
    return Recordings(entries, lambda entry: read(entry.at))
