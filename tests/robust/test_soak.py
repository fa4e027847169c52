"""Nothing grows: a short form of benchmarks/soak.py."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

soak = importlib.import_module("benchmarks.soak")


def test_nothing_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # what other processes put into the common folder is theirs
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = soak.measure(30, 100)
    assert list(found) == ["30 epochs", "100 streams"]
    assert {name: soak.leaks(numbers) for name, numbers in found.items()} == {
        "30 epochs": [],
        "100 streams": [],
    }, found


def test_what_grows_is_seen() -> None:
    held = []
    seen = []
    for _ in range(10):
        held.append(open("/dev/null"))  # noqa: SIM115
        seen.append(soak.look())
    assert soak.leaks(soak.grown(seen)) == ["files"]
    for file in held:
        file.close()
