"""Every loader on damaged files: twenty kinds of damage to one file of a made-up data set; one
clear error that names it, or the data as they were.

What may not happen: an exception that is not the package's own, a wrong number of recordings passed
over in silence, anything left behind.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srnn._check import DataError
from srnn.datasets import fsdd, hd, mnist, own, qtdb, shd, soli, speech_commands, ssc, timit


@dataclass(frozen=True)
class Loader:
    """made_up: writes the data; read: reads all of a part; file: which one is damaged; least: of
    how many damages must be told.
    """

    made_up: Callable[[Path], Any]
    read: Callable[[Path], Sequence[Any]]
    file: str
    least: int = 17


LOADERS = {
    "fsdd": Loader(fsdd.made_up, fsdd.read_all, "fsdd/recordings/3_*_7.wav"),
    "hd": Loader(hd.made_up, lambda root: hd.read(root, "train"), "hd/audio/*.flac"),
    "mnist": Loader(
        mnist.made_up, lambda root: mnist.read(root, "train"), "mnist/train-images-idx3-ubyte.gz"
    ),
    "qtdb": Loader(
        qtdb.made_up, lambda root: qtdb.encoded(root, "train"), "qtdb/QTDB_train.mat", 16
    ),
    "shd": Loader(shd.made_up, lambda root: shd.read(root, "train"), "shd/shd_train.h5", 15),
    "soli": Loader(soli.made_up, lambda root: soli.read(root, "train"), "soli/dsp/*.h5", 15),
    "speech_commands": Loader(
        speech_commands.made_up,
        lambda root: speech_commands.read(root, "train"),
        "speech_commands/speech_commands_v0.02/yes/*.wav",
    ),
    "ssc": Loader(ssc.made_up, lambda root: ssc.read(root, "train"), "ssc/ssc_train.h5", 15),
    "timit, sound": Loader(
        timit.made_up, lambda root: timit.read(root, "train"), "timit/TRAIN/*/*/SX*.WAV"
    ),
    "timit, phones": Loader(
        timit.made_up, lambda root: timit.read(root, "train"), "timit/TRAIN/*/*/SX*.PHN", 12
    ),
    "own, npz": Loader(
        lambda root: own.made_up(root / "x.npz", "npz"),
        lambda root: own.read(root).recordings,
        "x.npz",
        15,
    ),
    "own, csv": Loader(
        lambda root: own.made_up(root, "csv"), lambda root: own.read(root).recordings, "007.csv", 12
    ),
    "own, wav": Loader(
        lambda root: own.made_up(root, "wav"),
        lambda root: own.read(root).recordings,
        "circle/*.wav",
    ),
    "own, spikes": Loader(
        lambda root: own.made_up(root / "x.h5", "h5"),
        lambda root: own.read(root).recordings,
        "x.h5",
        15,
    ),
}


def _noise(n: int) -> bytes:
    return np.random.default_rng(0).bytes(n)


def _flipped(data: bytes, at: float, length: int = 24) -> bytes:
    start = int(at * max(0, len(data) - length))
    return (
        data[:start]
        + bytes(b ^ 0xA5 for b in data[start : start + length])
        + data[start + length :]
    )


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "empty": lambda d: b"",
    "one byte": lambda d: d[:1],
    "first 7 bytes": lambda d: d[:7],
    "a tenth": lambda d: d[: len(d) // 10],
    "a quarter": lambda d: d[: len(d) // 4],
    "half": lambda d: d[: len(d) // 2],
    "three quarters": lambda d: d[: 3 * len(d) // 4],
    "ninety percent": lambda d: d[: 9 * len(d) // 10],
    "the last byte missing": lambda d: d[:-1],
    "zeros": lambda d: bytes(len(d)),
    "noise": lambda d: _noise(len(d)),
    "header of zeros": lambda d: bytes(16) + d[16:],
    "header of noise": lambda d: _noise(32) + d[32:],
    "flipped at the start": lambda d: _flipped(d, 0.0),
    "an HTML page": lambda d: b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
    "a text": lambda d: b"NaN, nan, inf, -1e999\n" * 40,
    "packed once more": lambda d: gzip.compress(d),
    "a byte too early": lambda d: b"\n" + d,
    "a folder": lambda d: None,
    "a line of letters": lambda d: b"a" * 5000,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Each data set, written once."""
    found: dict[str, tuple[Path, int]] = {}

    def get(name: str) -> tuple[Path, int]:
        if name not in found:
            root = tmp_path_factory.mktemp("made") / "data"
            root.mkdir()
            LOADERS[name].made_up(root)
            found[name] = root, sum(1 for _ in LOADERS[name].read(root))
        return found[name]

    return get


@pytest.mark.parametrize("name", LOADERS)
def test_damage_is_told(name, made, tmp_path):
    loader, (source, count) = LOADERS[name], made(name)
    told = 0
    for damage, change in DAMAGES.items():
        root = tmp_path / damage.replace(" ", "-")
        shutil.copytree(source, root)
        path = sorted(root.glob(loader.file))[0]
        content = change(path.read_bytes())
        path.unlink()
        path.mkdir() if content is None else path.write_bytes(content)
        before = sorted(p.relative_to(root) for p in root.rglob("*"))
        try:
            # a folder is no recording
            assert sum(1 for _ in loader.read(root)) in (
                (count - 1,) if damage == "a folder" else (count,)
            ), damage
        except DataError as error:
            told += path.stem.split(".")[0] in str(error) or path.parent.name in str(error)
        assert sorted(p.relative_to(root) for p in root.rglob("*")) == before, damage
        shutil.rmtree(root)
    assert told >= loader.least, told


def test_how_much_that_is():
    assert (len(LOADERS), len(DAMAGES)) == (14, 20)
