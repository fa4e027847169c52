"""What a wheel takes along: every file of the package that is no module."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def globs() -> list[str]:
    """The files beside the modules, as pyproject.toml names them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(settings["package-data"]) == {"srnn"}
    return settings["package-data"]["srnn"]


def test_every_file_is_in_the_wheel():
    """Those that are kept under version control; each glob is for some of them."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout: what belongs to the package is not known")
    listed = subprocess.run(
        ["git", "ls-files", "src/srnn"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    kept = {name.removeprefix("src/srnn/") for name in listed if not name.endswith(".py")}
    assert {"py.typed", "kernels/triton/scan.txt", "kernels/c/scan.c"} <= kept
    matched = {glob: [name for name in kept if Path(name).match(glob)] for glob in globs()}
    assert all(matched.values()), matched
    # a wheel's glob names its folder: none reaches into another one
    packed = {n for glob, many in matched.items() for n in many if n.count("/") == glob.count("/")}
    assert kept == packed
