"""Spike trains in one HDF5 file a part, as Spiking Heidelberg Digits and Spiking Speech Commands
are published (Cramer et al. 2020).

    spikes/times[i]       seconds, floating, as many as there are spikes
    spikes/units[i]       integers, as many as times
    labels[i]             class of recording i
    extra/speaker[i]      who spoke (may lack)
    extra/keys[k]         name of class k

Times may be of any floating type and out of order; further entries (extra/meta_info) are ignored.
`read` reads labels, speakers and names at once, and the spikes of a recording when it is asked for;
`write` takes recordings one by one. Neither holds more than a few of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from operator import eq
from pathlib import Path
from typing import Any, Literal

import numpy as np

from srnn import _files
from srnn._check import ConfigError, DataError, SrnnError, check_choice, check_sizes
from srnn._files import _limit
from srnn.datasets import _fetch
from srnn.datasets.sample import Entry, Recordings, Spikes

URL = "https://zenkelab.org/datasets"
"""Folder of the published files, each as .h5.zip and .h5.gz."""

_BLOCK = 256
"""Recordings that `write` holds at a time."""

_MOST_BYTES = 1 << 24
"""An entry of the file that would take more memory, the spikes aside, is taken for damaged: room
for two million recordings.
"""

_HEAP = b"GCOL\x01\0\0\0"
"""What a global heap, in which the lists lie, begins with."""

_SCAN = 1 << 12
"""Bytes that are looked at in one go for the beginning of a heap."""

_LISTS = {"spikes/times": "lists of floating numbers", "spikes/units": "lists of integers"}


def read(path: str | Path, channels: int = 700) -> tuple[Recordings[Spikes], tuple[str, ...]]:
    """Open a file: its recordings, each read when it is asked for, and the names of the classes.

    channels: how many units there are. A recording is named <file>/<index>, its group is its
    speaker ("" where the file has none); the source of the recordings is the SHA-256 of the file.
    Raises `DataError` where the file is missing, damaged or laid out otherwise, and where a
    recording is that is read later; `SrnnError` without the extra "data".
    """
    check_sizes("spikes_h5.read", channels)
    path = Path(path).absolute()
    with _opened(path) as file:
        labels = _dataset(path, file, "labels", "integers")[:]
        columns = {
            "labels": len(labels),
            **{key: len(_dataset(path, file, key, kind)) for key, kind in _LISTS.items()},
        }
        names = _names(path, file)
        speakers: Sequence[Any] = [""] * len(labels)
        if "extra/speaker" in file:
            speakers = _dataset(path, file, "extra/speaker", "integers", "text")[:]
            columns["extra/speaker"] = len(speakers)
    if len(set(columns.values())) > 1 or not len(labels):
        lengths = ", ".join(f"{length} {key}" for key, length in columns.items())
        raise DataError(
            f"{path} holds {lengths}; expected one of each a recording, and at least one recording."
        )
    if (bad := (labels < 0) | (labels >= len(names))).any():
        i = int(bad.argmax())
        raise DataError(
            f"{path}: label {labels[i]} of recording {i}; expected 0 … "
            f"{len(names) - 1}, the classes in extra/keys."
        )
    entries = [
        Entry(f"{path.stem}/{i:05d}", int(label), _text(speaker), at=i)
        for i, (label, speaker) in enumerate(zip(labels, speakers, strict=True))
    ]
    return Recordings(entries, _Reader(path, channels), _fetch.sha256(path)), names


def classes(path: str | Path) -> tuple[str, ...]:
    """Return the names of the classes of a file, in the order of its labels.

    Raises as `read` does.
    """
    path = Path(path)
    with _opened(path) as file:
        return _names(path, file)


class _Reader:
    """Reads the spikes of a recording. The file is opened at the first one, stays open as long as
    the reader is there, and is opened anew by a forked process or a pickled copy.
    """

    def __init__(self, path: Path, channels: int) -> None:
        self.path, self.channels = path, channels
        self.opened: tuple[int, Any, Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "opened": None}

    def __call__(self, entry: Entry) -> Spikes:
        with _named(self.path, f", recording {entry.at},"):
            times, units = self._lists()
            t, u = np.asarray(times[entry.at], dtype=np.float64), np.asarray(units[entry.at])
        if t.shape == u.shape and (t[1:] < t[:-1]).any():
            order = np.argsort(t, kind="stable")
            t, u = t[order], u[order]
        assert entry.label is not None
        try:
            with np.errstate(invalid="ignore"):  # differences of infinite times
                return Spikes(t, u, self.channels, entry.label, entry.name, entry.group)
        except DataError as error:
            raise DataError(f"{self.path}: {error}") from error

    def _lists(self) -> tuple[Any, Any]:
        if self.opened is None or self.opened[0] != os.getpid():
            self.opened = None  # lets go of the handle of the parent process
            file = _h5py().File(self.path, "r")
            self.opened = (os.getpid(), file, file["spikes/times"], file["spikes/units"])
        return self.opened[2:]


# -- the file --------------------------------------------------------------------------------------


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise SrnnError(
            'Spikes in HDF5 files need h5py. Install it with: pip install "srnn[data]"'
        ) from error
    return h5py


@contextmanager
def _named(path: Path, where: str = "") -> Iterator[None]:
    """Turn whatever h5py raises at a damaged byte into a `DataError` that names the file."""
    try:
        yield
    except SrnnError:
        raise
    except Exception as error:
        raise DataError(
            f"{path}{where} is truncated or damaged ({type(error).__name__}: "
            f"{error}). Delete the file and get it anew."
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    h5py = _h5py()
    try:
        with path.open("rb") as raw:
            start = raw.read(8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    with _named(path):
        if not h5py.is_hdf5(path):
            raise DataError(
                f"{path} is "
                f"{f'not an HDF5 file: it starts with {start!r}' if start else 'empty'}. "
                "Delete it and get it anew."
            )
        check_heaps(path)
        with h5py.File(path, "r") as file:
            yield file


def check_heaps(path: Path) -> None:
    """Raise `DataError` where a hole in the file would keep the HDF5 library (2.0 and before) busy
    for ever.

    The lists lie in global heaps, whose objects follow each other up to the free space at the end.
    The library walks along them, and does not check that it gets on: an entry of free space that
    says it is empty, such as one overwritten with zeros, is where it stays.
    Source: HDF5 File Format Specification 3.0, III.E; heaps whose sizes are wrong otherwise are
    told by the library itself.
    """
    try:
        with path.open("rb", buffering=0) as file:
            descriptor, end, at = file.fileno(), os.fstat(file.fileno()).st_size, 0
            while at < end:
                found = os.pread(descriptor, _SCAN, at).find(_HEAP)
                if found < 0:
                    at += _SCAN - len(_HEAP) + 1
                    continue
                at += found
                at = _walked(path, descriptor, at) or at + len(_HEAP)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _walked(path: Path, descriptor: int, start: int) -> int | None:
    """Return where the heap at `start` ends, or None where its objects do not end there."""
    end = start + int.from_bytes(os.pread(descriptor, 8, start + 8), "little")
    at = start + 16
    while at + 16 <= end and len(header := os.pread(descriptor, 16, at)) == 16:
        index, size = int.from_bytes(header[:2], "little"), int.from_bytes(header[8:], "little")
        step = (size if index == 0 else 16 + (size + 7) // 8 * 8) % (1 << 64)
        if step == 0:
            raise DataError(
                f"{path} is damaged: its list at byte {start} has a hole "
                f"at byte {at}. Delete the file and get it anew."
            )
        at += step
    return end if end - 16 < at <= end else None


def _dataset(path: Path, file: Any, key: str, *wanted: str) -> Any:
    """Return the entry `key` of the file, one-dimensional, of a kind that is `wanted`, and stored
    within the file.
    """
    h5py = _h5py()
    dataset = file.get(key)
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(
            f"{path} has no {key}; expected {', '.join(_LISTS)}, labels and "
            "extra/keys. It is damaged, or of another data set."
        )
    kind = _kind(dataset.dtype)
    if kind not in wanted or dataset.ndim != 1:
        raise DataError(
            f"{path}: {key} holds {kind} of shape {dataset.shape}; expected "
            f"{' or '.join(wanted)}, (N,)."
        )
    if dataset.size * dataset.dtype.itemsize > _MOST_BYTES:
        raise DataError(
            f"{path}: {key} claims to hold {dataset.size} entries of "
            f"{dataset.dtype.itemsize} bytes. The file is damaged; get it anew."
        )
    _limit.check_dataset(path, dataset)
    if dataset.file.filename != file.filename or dataset.external or dataset.is_virtual:
        raise DataError(
            f"{path}: {key} refers to another file; expected its content here. Do "
            "not trust this file."
        )
    return dataset


def _kind(dtype: Any) -> str:
    """Say what an entry of this dtype holds."""
    h5py = _h5py()
    if dtype.kind == "S" or h5py.check_string_dtype(dtype) is not None:
        return "text"
    numbers = {"f": "floating numbers", "i": "integers", "u": "integers"}
    base = h5py.check_vlen_dtype(dtype)
    if base is None:
        return numbers.get(dtype.kind, str(dtype))
    return f"lists of {numbers.get(np.dtype(base).kind, str(base))}"


def _names(path: Path, file: Any) -> tuple[str, ...]:
    return tuple(_text(key) for key in _dataset(path, file, "extra/keys", "text")[:])


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


# -- writing ---------------------------------------------------------------------------------------


def write(
    path: str | Path,
    recordings: Iterable[Spikes],
    classes: Sequence[str],
    *,
    dtype: Literal["float16", "float32", "float64"] = "float32",
) -> Path:
    """Write recordings as `read` reads them, one after another; return the path.

    classes: names of the labels. dtype: of the times; SHD and SSC are published in float16, which
    resolves 1 ms above 1 s. Units and labels are stored as uint16, and so are speakers (the groups
    of the recordings) where all are numbers; names and meta are not stored. The file appears under
    its name only when whole; its folder is made. Raises `DataError` for no recording, a label that
    has no class, more than 65536 channels, or a folder that cannot be written; `SrnnError` without
    the extra "data".
    """
    h5py, path = _h5py(), Path(path)
    check_choice("spikes_h5.write(dtype)", dtype, ("float16", "float32", "float64"))
    if not classes:
        raise ConfigError("spikes_h5.write: classes is empty; expected the names of the labels.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _files.whole(path) as made, h5py.File(made.name, "w") as file:
            _write(file, path, recordings, classes, dtype)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}. Nothing was kept."
        ) from error
    return path


def _write(
    file: Any, path: Path, recordings: Iterable[Spikes], classes: Sequence[str], dtype: str
) -> None:
    h5py = _h5py()
    times, units = (
        file.create_dataset(
            key, (0,), h5py.vlen_dtype(np.dtype(kind)), maxshape=(None,), chunks=(_BLOCK,)
        )
        for key, kind in (("spikes/times", dtype), ("spikes/units", "uint16"))
    )
    labels: list[int] = []
    speakers: list[str] = []
    left = iter(recordings)
    while block := list(islice(left, _BLOCK)):
        for recording in block:
            if not 0 <= recording.label < len(classes) or recording.channels > 1 << 16:
                wanted = f"a label 0 … {len(classes) - 1} and at most 65536 channels"
                raise DataError(
                    f"{path}: {recording.name} has label {recording.label} and "
                    f"{recording.channels} channels; expected {wanted}."
                )
        old, new = len(labels), len(labels) + len(block)
        for dataset, lists in (
            (times, [r.times.astype(dtype) for r in block]),
            (units, [r.units.astype(np.uint16) for r in block]),
        ):
            dataset.resize((new,))
            # one by one: h5py takes lists of equal length for a matrix
            for at, values in enumerate(lists, old):
                dataset[at] = values
        labels += [r.label for r in block]
        speakers += [r.group for r in block]
    if not labels:
        raise DataError(f"{path}: there is no recording to write.")
    file["labels"] = np.array(labels, np.uint16)
    file["extra/keys"] = np.array([name.encode() for name in classes])
    if all(
        speaker.isdecimal() and int(speaker) < 1 << 16 and speaker == str(int(speaker))
        for speaker in speakers
    ):
        file["extra/speaker"] = np.array([int(speaker) for speaker in speakers], np.uint16)
    elif any(speakers):
        file["extra/speaker"] = np.array([speaker.encode() for speaker in speakers])


# -- the published files ---------------------------------------------------------------------------


def find(root: str | Path, name: str, part: str) -> Path:
    """Return the file of a part of data set `name` ("shd", "ssc"): root/<name>/<name>_<part>.h5, in
    root/<NAME>, or in root itself.

    Raises `DataError` where there is none, also where it is still packed (.h5.gz, .h5.zip).
    """
    places = _places(name, part)
    packed = _packed(root, name, part)
    if packed and not any((Path(root) / place).is_file() for place in places):
        raise DataError(
            f"{packed} is still packed. Unpack it with `srnn data fetch {name}`, or "
            "with gunzip or unzip in its folder."
        )
    return _fetch.find(root, *places, name=name)


def _places(name: str, part: str) -> tuple[str, ...]:
    file = f"{name}_{part}.h5"
    return f"{name}/{file}", f"{name.upper()}/{file}", file


def _packed(root: str | Path, name: str, part: str) -> Path | None:
    paths = (
        Path(root) / f"{place}{ending}"
        for place in _places(name, part)
        for ending in (".zip", ".gz")
    )
    return next((path for path in paths if path.is_file()), None)


def fetch(root: str | Path, name: str, md5: Mapping[str, str]) -> list[Path]:
    """Download and unpack the parts of a data set into root/<name>, md5 giving the checksum of the
    zip of each; return the files.

    A file that is there is left alone, one that is there packed is unpacked beside its archive,
    which stays. Raises `DataError` where the network, a checksum or the folder fails.
    """
    for part, checksum in md5.items():
        file = f"{name}_{part}.h5"
        if any((Path(root) / place).is_file() for place in _places(name, part)):
            continue
        if packed := _packed(root, name, part):
            _fetch.extract(packed, packed.parent, partial(eq, file))
            continue
        to = Path(root) / name
        _fetch.fetch_archive(
            f"{URL}/{file}.zip",
            f"md5:{checksum}",
            to,
            name=f"{name}/.{file}.zip",
            members=partial(eq, file),
        )
    return [find(root, name, part) for part in md5]


def verify(
    root: str | Path, name: str, counts: Mapping[str, Sequence[int]], classes: int
) -> list[tuple[str, bool, str]]:
    """Open the file of each part: (file, right?, what is wrong or "ok"). counts: how many
    recordings each part may have. classes: how many it has.

    That a recording can be read shows when it is read.
    """
    rows = []
    for part, allowed in counts.items():
        try:
            recordings, names = read(find(root, name, part))
        except DataError as error:
            rows.append((f"{name}_{part}.h5", False, str(error).splitlines()[0]))
            continue
        right = len(recordings) in allowed and len(names) == classes
        wanted = f"{' or '.join(map(str, allowed))} in {classes}"
        text = (
            "ok"
            if right
            else (f"{len(recordings)} recordings in {len(names)} classes; expected {wanted}")
        )
        rows.append((f"{name}_{part}.h5", right, text))
    return rows
