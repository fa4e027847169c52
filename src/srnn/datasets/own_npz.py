"""A user's own recordings in one NumPy archive (.npz), of equal or different lengths."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srnn._check import DataError, check_range, suggest
from srnn._files import _limit
from srnn.datasets import _fetch
from srnn.datasets._own import Own, check_channels, check_classes
from srnn.datasets.sample import UNLABELLED, Entry, Recordings, Sample

KEYS = ("X", "y", "lengths", "groups", "rate", "classes")
"""The arrays an archive may hold; X and y must be there."""

Array = NDArray[Any]


def read_npz(path: Path, rate: float | None = None, channels: int | None = None) -> Own:
    """Read an archive written by `np.savez(path, X=…, y=…)`; never a pickle.

    X: (N, T, C) or (N, T) numbers, recordings behind one another; or, with lengths, (S, C) or (S,),
    all steps of all recordings joined.
    lengths: (N,) valid steps of each recording; what lies behind them in a padded X is never looked
    at.
    y: (N,) one label a recording, or one a step, (N, T) or (S,) as X is. Whole numbers 0 … K-1, -1
    = unlabelled; or strings, "" = unlabelled.
    classes: (K,) names of the labels; else strings are sorted, and every number from 0 to the
    highest must occur.
    groups: (N,) strings or numbers, the speaker, patient or machine. rate: steps per second.

    The arrays stay in memory. Raises `DataError` for what does not fit, naming the file and the
    array.
    """
    arrays = _arrays(path)
    signal, starts, lengths = _unrolled(path, arrays["X"], arrays.get("lengths"))
    valid = np.zeros(len(signal), bool)
    for start, length in zip(starts, lengths, strict=True):
        valid[start : start + length] = True
    _check_finite(path, signal, valid, starts)
    check_channels(path, signal.shape[1], channels)
    y = arrays["y"]
    per_step = _per_step(path, y, arrays["X"], len(starts))
    labels, classes = _labels(
        path,
        y,
        valid.reshape(y.shape) if per_step else np.ones(len(y), bool),
        arrays.get("classes"),
    )
    groups = _groups(path, arrays.get("groups"), len(starts))
    rate = _rate(path, arrays.get("rate"), rate)
    digits = len(str(len(starts) - 1))

    def recording(entry: Entry) -> Sample:
        here = slice(starts[entry.at], starts[entry.at] + lengths[entry.at])
        label = labels.ravel()[here] if per_step else int(labels[entry.at])
        return Sample(signal[here], label, rate, entry.name, entry.group)

    entries = [
        Entry(f"{i:0{digits}d}", None if per_step else int(labels[i]), group, i, int(length))
        for i, (group, length) in enumerate(zip(groups, lengths, strict=True))
    ]
    return Own(
        Recordings(entries, recording, _fetch.sha256(path)),
        classes,
        signal.shape[1],
        rate,
        "signal",
        per_step,
        int(lengths.max()),
    )


def _arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of the archive, all of them known and none of them objects."""
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(
                f"{path} is no .npz archive, or is cut. Write it with "
                f"np.savez({path.name!r}, X=…, y=…)."
            )
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive.files)
            for name in names:
                if name not in KEYS:
                    raise DataError(
                        f"{path} holds an array {name!r}, which means nothing "
                        f"here.{suggest(name, KEYS)}"
                    )
            if missing := [name for name in ("X", "y") if name not in names]:
                raise DataError(
                    f"{path} holds no {' and no '.join(missing)}; expected X "
                    f"(recordings) and y (labels). It has: {', '.join(names)}."
                )
            _check_sizes(path, archive.zip)
            return {name: np.asarray(archive[name]) for name in names}
    except DataError:
        raise
    # damaged bytes show as zip, zlib, value, key, memory or end-of-file errors
    except Exception as error:
        if "pickle" in str(error):
            fix = (
                "Recordings of different lengths: join them, X=np.concatenate(list), "
                "lengths=[len(x) for x in list]."
            )
            raise DataError(
                f"{path} holds arrays of Python objects, which are not read: they "
                f"could run code. {fix}"
            ) from error
        raise DataError(
            f"{path} is damaged ({type(error).__name__}: {error}). Write it anew."
        ) from error


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise `DataError` where the arrays would take more memory than is allowed, unpacked and as
    what becomes of them: X as float32, and text as text of Python, four bytes a letter.
    """
    total = 0
    for member in archive.infolist():
        # a header that promises more than the member has is told by numpy while it reads
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            shape, _, dtype = read(file)
        size = math.prod(shape)
        if dtype.kind not in "OV" and size * dtype.itemsize > member.file_size:
            raise DataError(
                f"{path} is damaged: {member.filename} promises {size} numbers, and has "
                f"{member.file_size} bytes. Write it anew."
            )
        work = 4 * dtype.itemsize if dtype.kind == "S" else dtype.itemsize
        # text is copied as it is sorted into classes
        copies = 3 if dtype.kind in "SU" else 1
        total += member.file_size + size * (copies * work if copies > 1 else 4 + 8)
    _limit.check(path, total, "its arrays")


def _unrolled(
    path: Path, X: Array, lengths: Array | None
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return X as (S, C) steps, where each recording starts in it, and how long it is."""
    if X.dtype.kind not in "fiub":
        raise DataError(f"{path}: X has dtype {X.dtype}; expected numbers.")
    if X.size == 0:
        raise DataError(f"{path}: X has shape {X.shape}; it holds nothing.")
    with np.errstate(over="ignore"):
        x = X.astype(np.float32)
    if lengths is None:
        if x.ndim not in (2, 3):
            joined = " Joined recordings need lengths." if x.ndim == 1 else ""
            raise DataError(
                f"{path}: X has shape {x.shape}; expected (N, T, C) or (N, T) = "
                f"recordings, time steps, channels.{joined}"
            )
        lengths = np.full(len(x), x.shape[1])
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise DataError(
            f"{path}: lengths has shape {lengths.shape} and dtype {lengths.dtype}; "
            "expected (N,) whole numbers, steps a recording."
        )
    lengths = lengths.astype(np.int64)
    if x.ndim == 3 or (x.ndim == 2 and len(lengths) == len(x)):
        if len(lengths) != len(x):
            raise DataError(
                f"{path}: {len(lengths)} lengths for {len(x)} recordings in X "
                f"{x.shape}; expected one each."
            )
        starts, longest = np.arange(len(x)) * x.shape[1], x.shape[1]
        x = x.reshape(len(x) * x.shape[1], -1)
    else:
        if x.ndim > 2 or lengths.sum() != len(x):
            raise DataError(
                f"{path}: X has shape {x.shape}, and {len(lengths)} lengths add up to "
                f"{lengths.sum()}; expected either X ({len(lengths)}, T, C), "
                f"padded, or X ({lengths.sum()}, C), joined."
            )
        starts, longest = np.cumsum(lengths) - lengths, len(x)
        x = x.reshape(len(x), -1)
    if (bad := (lengths < 1) | (lengths > longest)).any():
        i = int(np.argmax(bad))
        raise DataError(
            f"{path}: lengths[{i}] is {lengths[i]}; expected 1 … {longest}, steps of X {X.shape}."
        )
    return x, starts, lengths


def _check_finite(
    path: Path, signal: NDArray[np.float32], valid: NDArray[np.bool_], starts: NDArray[np.int64]
) -> None:
    bad = valid & ~np.isfinite(signal).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        recording = int(np.searchsorted(starts, row, "right")) - 1
        channel = int(np.argmin(np.isfinite(signal[row])))
        where = f"recording {recording}, step {row - starts[recording]}, channel {channel}"
        raise DataError(
            f"{path}: X is {signal[row, channel]} at {where}; expected finite "
            "numbers (float32). Interpolate or cut the gap."
        )


def _per_step(path: Path, y: Array, X: Array, recordings: int) -> bool:
    """Return whether y has one label a step, by its shape."""
    if y.shape == (recordings,):
        return False
    steps = X.shape[:2] if len(X) == recordings and X.ndim > 1 else X.shape[:1]
    if y.shape == steps:
        return True
    raise DataError(
        f"{path}: y has shape {y.shape}; expected {(recordings,)}, one label a "
        f"recording, or {steps}, one a step."
    )


def _labels(
    path: Path, y: Array, valid: NDArray[np.bool_], names: Array | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return labels as class indices, in the shape of y, `UNLABELLED` where nothing is valid; and
    the names of the classes.
    """
    given = None if names is None else _given(path, names)
    if y.dtype.kind in "US":
        text = _text(path, "y", y)
        text[~valid] = ""
        classes = given or tuple(sorted(set(np.unique(text).tolist()) - {""}))
        if unknown := set(np.unique(text).tolist()) - {"", *classes}:
            raise DataError(
                f"{path}: y holds {min(unknown)!r}, which is not among "
                f"classes.{suggest(min(unknown), classes)}"
            )
        index = {name: k for k, name in enumerate(classes)} | {"": UNLABELLED}
        different, inverse = np.unique(text, return_inverse=True)
        labels = np.array([index[name] for name in different.tolist()], np.int64)[inverse].reshape(
            y.shape
        )
    else:
        seen = np.where(valid, y, 0) if y.dtype.kind in "iubf" else np.array([np.nan])
        if not (np.abs(seen) < 2**31).all() or (seen != np.rint(seen)).any():
            raise DataError(
                f"{path}: y has dtype {y.dtype}; expected whole numbers 0 … K-1 (or "
                f"{UNLABELLED} = unlabelled), or strings."
            )
        labels = np.where(valid, seen, UNLABELLED).astype(np.int64)
        count = len(given) if given else int(labels.max()) + 1
        if (bad := (labels < UNLABELLED) | (labels >= count)).any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            raise DataError(
                f"{path}: y{list(where)} is {labels[where]}; expected 0 … "
                f"{count - 1} (or {UNLABELLED} = unlabelled)."
            )
        present = set(np.unique(labels).tolist())
        if given is None and (absent := set(range(count)) - present):
            raise DataError(
                f"{path}: y reaches {count - 1}, but nothing is of class "
                f"{min(absent)}. Number the labels from 0, or name all classes."
            )
        classes = given or tuple(str(k) for k in range(count))
    check_classes(path, [classes[k] for k in np.unique(labels).tolist() if k != UNLABELLED])
    return labels, classes


def _given(path: Path, names: Array) -> tuple[str, ...]:
    given = tuple(_text(path, "classes", names).ravel().tolist())
    if names.ndim != 1 or len(set(given)) != len(given) or "" in given:
        raise DataError(f"{path}: classes is {names.tolist()}; expected a list of different names.")
    return given


def _groups(path: Path, groups: Array | None, recordings: int) -> list[str]:
    if groups is None:
        return [""] * recordings
    if groups.shape != (recordings,):
        raise DataError(
            f"{path}: groups has shape {groups.shape}; expected {(recordings,)}, one a recording."
        )
    return [str(name) for name in _text(path, "groups", groups).tolist()]


def _rate(path: Path, stored: Array | None, asked: float | None) -> float:
    if asked is not None:
        return check_range("own.read(rate)", asked, 0.0, open_low=True)
    if stored is None:
        return 1.0
    if (
        stored.size != 1
        or stored.dtype.kind not in "fiu"
        or not np.isfinite(stored).all()
        or stored.item() <= 0
    ):
        raise DataError(
            f"{path}: rate is {stored.tolist()}; expected one number above 0, steps per second."
        )
    return float(stored.item())


def _text(path: Path, name: str, values: Array) -> Array:
    """Return an array of strings or numbers as strings."""
    if values.dtype.kind == "S":
        try:
            return np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: {name} holds bytes that are no UTF-8 text.") from error
    if values.dtype.kind not in "Uiufb":
        raise DataError(f"{path}: {name} has dtype {values.dtype}; expected strings or numbers.")
    return values.astype(str)
