"""A user's own recordings. What they are is found from what is there:

- a NumPy archive `.npz` (`own_npz`): arrays X and y;
- a folder of text tables `.csv`, `.tsv` or of sound files `.wav`, `.flac` (`own_folders`): in
  sub-folders named after the classes, or with a list;
- spikes in an HDF5 file `.h5`, `.hdf5`, laid out as Spiking Heidelberg Digits (`spikes_h5`).

A folder that holds just one archive or HDF5 file stands for that file.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from srnn import _files
from srnn._check import ConfigError, DataError, check_choice, check_sizes
from srnn.datasets import spikes_h5
from srnn.datasets._audio import tones, write_wav
from srnn.datasets._own import Own as Own
from srnn.datasets._own import check_classes
from srnn.datasets.own_folders import read_folder, visible_files
from srnn.datasets.own_npz import read_npz
from srnn.datasets.sample import Spikes

NPZ, HDF5 = (".npz",), (".h5", ".hdf5")

SPIKE_STEP = 0.010
"""Seconds of a step in which `Own.steps` measures lists of spikes."""

_ANY = 1 << 31


def read(path: str | Path, *, rate: float | None = None, channels: int | None = None) -> Own:
    """Read the recordings of a file or folder.

    rate: steps per second, of archives (else what they say) and tables. Sound files know theirs,
    and spikes have times in seconds.
    channels: how many units lists of spikes have; where it is not given, the highest unit of the
    file + 1, rounded up (`round_up`). For anything else it is only checked. Raises `DataError` for
    what is missing, damaged, mixed, unlabelled or of one class only, naming the file; `ConfigError`
    for a rate or a number of channels that is not that of the data; `SrnnError` where sound or HDF5
    files need the extra "data".
    """
    path = Path(os.path.expanduser(path))
    if not path.exists():
        raise DataError(f"There is no file or folder {path}.")
    if path.is_dir():
        names = visible_files(path)
        single = [name for name in names if name.lower().endswith(NPZ + HDF5)]
        if not single:
            return read_folder(path, rate, channels)
        others = [n for n in names if n.lower().endswith((".csv", ".tsv", ".wav", ".flac"))]
        if len(single) > 1 or others:
            raise DataError(
                f"{path} holds {single[0]} and {(single[1:] + others)[0]}; expected "
                "one kind of recordings. Name the file that is meant."
            )
        path = path / single[0]
    if path.suffix.lower() in NPZ:
        return read_npz(path, rate, channels)
    if path.suffix.lower() in HDF5:
        return _read_spikes(path, rate, channels)
    raise DataError(
        f"{path} is a {path.suffix or 'nameless'} file; expected {', '.join(NPZ + HDF5)}, "
        "or a folder of .csv, .tsv, .wav or .flac files."
    )


def _read_spikes(path: Path, rate: float | None, channels: int | None) -> Own:
    """Read lists of spikes; all of them once, for the highest unit and the last spike."""
    if rate is not None:
        raise ConfigError(
            f"{path}: rate {rate:g} was asked for, but spikes have times in seconds. Leave "
            "it out; the step is set where they are binned."
        )
    if channels is not None:
        check_sizes("own.read(channels)", channels)
    recordings, classes = spikes_h5.read(path, channels or _ANY)
    check_classes(
        path, {classes[entry.label] for entry in recordings.entries if entry.label is not None}
    )
    highest, last = 0, 0.0
    for spikes in recordings:
        if len(spikes.times):
            highest, last = (
                max(highest, int(spikes.units.max())),
                max(last, float(spikes.times[-1])),
            )
    count = channels or round_up(highest + 1)
    recordings = recordings.map(lambda spikes: replace(spikes, channels=count))
    return Own(recordings, classes, count, 1.0, "spikes", False, math.floor(last / SPIKE_STEP) + 1)


def round_up(units: int) -> int:
    """Return the first round number from `units` on: a power of two, or a multiple of 10, of 100
    from 100 on (698 -> 700, 127 -> 128, 65 -> 70).
    """
    tens = 10 if units <= 100 else 100
    return min(1 << (units - 1).bit_length(), tens * math.ceil(units / tens))


# -- made-up recordings ----------------------------------------------------------------------------

_CLASSES = ("circle", "line", "square")
_PEOPLE = tuple(f"person{i:02d}" for i in range(20))
_TAKES = 3


def made_up(path: str | Path, kind: Literal["npz", "csv", "wav", "h5"], seed: int = 0) -> Path:
    """Write a small set of recordings that can be learnt, and return what `read` then takes: 3
    classes, three times each by 20 people.

    npz: two channels of 40 to 60 steps, with groups. csv: the same as tables with a labels.csv.
    wav: a fifth of a second at 8 kHz in sub-folders.
    h5: spikes of 70 units within 0.3 s. path: a folder, made if need be; for npz and h5 also the
    name of a file that ends so.
    """
    check_choice("own.made_up(kind)", kind, ("npz", "csv", "wav", "h5"))
    path, generator = Path(path), np.random.default_rng(seed)
    plan = [(k, person) for person in _PEOPLE for _ in range(_TAKES) for k in range(len(_CLASSES))]
    if kind in ("npz", "h5") and path.suffix.lower() != f".{kind}":
        path = path / f"recordings.{kind}"
    (path.parent if kind in ("npz", "h5") else path).mkdir(parents=True, exist_ok=True)
    if kind == "h5":
        return spikes_h5.write(path, [_burst(k, person, generator) for k, person in plan], _CLASSES)
    if kind == "wav":
        for i, (k, person) in enumerate(plan):
            write_wav(
                path / _CLASSES[k] / f"{person}_{i:03d}.wav",
                tones(300.0 * 2**k * np.array([1.0, 1.5]), 1600, 8000, generator),
                8000,
            )
        return path
    signals = [_wave(k, generator) for k, _ in plan]
    if kind == "npz":
        joined, lengths = np.concatenate(signals), [len(x) for x in signals]
        y, groups = [_CLASSES[k] for k, _ in plan], [person for _, person in plan]
        with _files.whole(path) as file:
            np.savez_compressed(file, X=joined, lengths=lengths, y=y, groups=groups, rate=100.0)
        return path
    lines = ["file,label,group"]
    for i, ((k, person), x) in enumerate(zip(plan, signals, strict=True)):
        with _files.whole(path / f"{i:03d}.csv") as file:
            np.savetxt(file, x, fmt="%.4f", delimiter=",", header="x,y", comments="")
        lines.append(f"{i:03d}.csv,{_CLASSES[k]},{person}")
    _files.write(path / "labels.csv", "\n".join(lines) + "\n")
    return path


def _wave(k: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Two channels, whose rhythm and phase tell the class."""
    t = np.arange(generator.integers(40, 61))[:, None] + generator.uniform(0, 20)
    return (
        np.sin(2 * np.pi * t * (k + 1) / 20 + [0.0, k])
        + 0.2 * generator.standard_normal((len(t), 2))
    ).astype(np.float32)


def _burst(k: int, person: str, generator: np.random.Generator) -> Spikes:
    """Spikes that run up or down the units, or stay in the middle."""
    times = np.sort(generator.uniform(0.0, 0.3, generator.integers(60, 100)))
    centre = (10 + 160 * times, np.full(len(times), 35.0), 60 - 160 * times)[k]
    units = np.clip(np.rint(centre + 3 * generator.standard_normal(len(times))), 0, 69).astype(
        np.int64
    )
    return Spikes(times, units, 70, k, "", person)
