"""Every reader on a few changed files (benchmarks/fuzz.py has thousands), and that the harness sees
what it looks for.
"""

from __future__ import annotations

import importlib
import re
import time
from pathlib import Path
from typing import Any

import pytest

import srnn
from srnn._check import DataError

fuzz = importlib.import_module("benchmarks.fuzz")
READERS = {reader.name: reader for reader in fuzz.readers()}
TRIES = {"run, read": 12, "run, resume": 12}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_reads_or_refuses(name: str) -> None:
    tries = TRIES.get(name, 40)
    counts = fuzz.fuzz(READERS[name], tries, seed=1)
    assert counts.bad == 0, counts.faults
    assert counts.found["read"] + counts.found["refused"] == tries
    assert counts.found["refused"] >= tries // 8, "the changes do no harm: are they read at all?"


def test_every_data_set_is_registered() -> None:
    """What has a made-up form is a data set; each of them has a reader here."""
    folder = Path(srnn.__file__).parent / "datasets"
    made_up = {
        p.stem for p in folder.glob("*.py") if re.search(r"^def made_up\(", p.read_text(), re.M)
    }
    assert len(made_up) >= 9
    names = {re.split(r"\W", name)[0] for name in READERS}
    assert made_up <= names


def _reader(read: Any) -> Any:
    return fuzz.Reader("trial", lambda folder: (folder / "a").write_bytes(b"abc"), read, ("a",))


def _unless_whole(folder: Path, fault: Any) -> None:
    if not (folder / "a").is_file() or (folder / "a").read_bytes() != b"abc":
        fault()


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (lambda: _raise(KeyError("x")), "traceback"),
        (lambda: _raise(SystemExit(1)), "traceback"),
        (lambda: _raise(MemoryError()), "memory"),
        (lambda: time.sleep(60), "hang"),
        (lambda: _raise(DataError("no")), "refused"),
        (lambda: None, "read"),
    ],
)
def test_the_harness_sees(fault: Any, kind: str) -> None:
    counts = fuzz.fuzz(_reader(lambda folder: _unless_whole(folder, fault)), 3, seconds=0.05)
    assert counts.found[kind] >= 2
    assert counts.bad == (counts.found[kind] if kind in ("traceback", "memory", "hang") else 0)


def test_the_same_seed_makes_the_same_changes() -> None:
    import random

    def draw(seed: int) -> list[bytes | None]:
        return [
            fuzz.mutated(b'{"a": [1, 2]}', "x.json", random.Random(f"{seed} {k}"))
            for k in range(50)
        ]

    assert draw(0) == draw(0) != draw(1)
    assert len(set(draw(0))) > 10
