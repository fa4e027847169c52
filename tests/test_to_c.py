"""The ten commands of docs/to-c.md, one after the other, in an empty folder."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from srnn import _build
from srnn.cli.main import main

ROOT = Path(__file__).parent.parent
COMMANDS = re.findall(r"(?m)^\$ (.+)$", (ROOT / "docs" / "to-c.md").read_text())


def say(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run one command as a reader would; return what it prints."""
    program, *words = shlex.split(command)
    if program == "srnn":  # in this process: torch is loaded once
        assert main(words) == 0, command
        out = capsys.readouterr()
        return out.out + out.err
    done = subprocess.run(
        [{"python": sys.executable}.get(program, program), *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ten_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        _build.compiler()
    except _build.BuildError:
        pytest.skip("no C compiler")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    assert len(COMMANDS) == 10
    said = {
        command.split()[-1] if command.startswith("make") else " ".join(command.split()[:2]): say(
            command, capsys
        )
        for command in COMMANDS
    }
    assert "90 recordings" in said["python examples/gestures.py"]
    assert (tmp_path / "gesture.png").stat().st_size > 5000
    assert json.loads((tmp_path / "runs/gestures/metrics.json").read_text())["test_accuracy"] > 0.8
    assert "pJ" in said["srnn energy"]
    assert json.loads((tmp_path / "runs/small/metrics.json").read_text())["test_accuracy"] > 0.8
    assert "accuracy" in said["srnn evaluate"]
    events = [json.loads(line) for line in said["srnn stream"].splitlines() if line.startswith("{")]
    assert events[-2]["label"] == "wave"
    fidelity = json.loads((tmp_path / "firmware/fidelity.json").read_text())
    assert fidelity["spike_agreement"] > 0.99
    assert fidelity["footprint"]["flash"] < 6000
    assert "the same" in said["check"]
    expected = (tmp_path / "firmware/expected.txt").read_text().splitlines()
    assert len(expected) == len((tmp_path / "firmware/example.txt").read_text().splitlines()) > 50
    (tmp_path / "firmware/expected.txt").write_text("\n".join(["9 0 0 0", *expected[1:]]) + "\n")
    # the check can fail
    assert subprocess.run(["make", "-C", "firmware", "check"], capture_output=True).returncode != 0
