"""`srnn export --to c`: what it writes and prints, and what it says to bad input."""

from __future__ import annotations

import json
import subprocess

import pytest

from srnn.cli import main as cli
from srnn.training import fidelity

SETTINGS = [
    "data.train=8",
    "data.validation=4",
    "data.test=4",
    "data.steps=40",
    "batch=4",
    "epochs=1",
    "network.hidden=[6]",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on simulated data."""
    out = tmp_path_factory.mktemp("runs") / "sim"
    assert (
        cli.main(
            ["train", "ecg_sim", *(a for s in SETTINGS for a in ("--set", s)), "--out", str(out)]
        )
        == 0
    )
    return out


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_files_and_report(bits, finished, srnn, tmp_path):
    folder = tmp_path / "made"
    code, out, err = srnn(
        "export",
        finished,
        "--to",
        "c",
        "--out",
        folder,
        "--json",
        *(() if bits is None else ("--bits", bits)),
    )
    assert code == 0, err
    data = json.loads(out)
    assert sorted(p.name for p in folder.iterdir()) == [
        "Makefile",
        "example.txt",
        "expected.txt",
        "fidelity.json",
        "main.c",
        "model.c",
        "model.h",
    ]
    assert json.loads((folder / "fidelity.json").read_text()) == {
        k: v for k, v in data.items() if k != "folder"
    }
    assert data["recordings"] == 4
    assert data["steps"] == 160
    assert data["simulated"] is True
    assert data["numbers"] == ("float32" if bits is None else f"int{bits}")
    if bits is None:
        assert (
            data["spike_agreement"] == data["recordings_equal"] == data["prediction_agreement"] == 1
        )
        assert data["score_error"] == data["potential_error"] == 0
        assert data["accuracy_before"] == data["accuracy_after"]
    assert data["footprint"]["flash"] > data["footprint"]["tables"] > 100
    assert data["nanoseconds_per_step"] > 0
    assert data["mac_per_step"] > 0
    done = subprocess.run(
        ["make", "-s", "-C", str(folder), "check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "example.txt: the same as expected.txt\n"), (
        done.stderr
    )
    assert len((folder / "expected.txt").read_text().splitlines()) == 40
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made"]


def test_the_table_and_the_usual_folder(finished, srnn):
    code, out, err = srnn(
        "export", finished, "--to", "c", "--bits", 8, "--recordings", 2, "--name", "heart"
    )
    assert code == 0, err
    assert "SIMULATED DATA" in out
    for words in (
        "flash (bytes)",
        "RAM (bytes)",
        "accuracy before → after",
        "2 recordings of the test part, 80 steps",
    ):
        assert words in out
    assert (finished / "export" / "c-int8" / "heart.c").exists()
    assert [p.name for p in (finished / "export").iterdir()] == ["c-int8"]


def test_refusals(finished, srnn, tmp_path):
    taken = tmp_path / "file"
    taken.write_text("mine")
    refused = {
        ("--to", "basic"): "--to: there is no 'basic'",
        ("--to", "c", "--bits", "6"): "--bits is 6; expected 8 or 4",
        ("--to", "c", "--name", "two words"): "no C identifier",
        ("--to", "c", "--out", taken): "is a file; choose a folder with --out",
        ("--to", "c", "--recordings", "0"): "--recordings is 0",
    }
    for arguments, message in refused.items():
        code, out, err = srnn(
            "export",
            finished,
            *(("--out", tmp_path / "none") if "--out" not in arguments else ()),
            *arguments,
        )
        assert code == 2, (arguments, err)
        assert out == ""
        assert message in err, err
    code, _, err = srnn("export", tmp_path, "--to", "c")
    assert code == 2
    assert "no run folder" in err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_error_on_the_way_leaves_what_was_there(finished, srnn, tmp_path, monkeypatch):
    folder = tmp_path / "made"
    assert srnn("export", finished, "--to", "c", "--out", folder)[0] == 0
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def broken(*args, **kwargs):
        raise fidelity.ShapeError("on the way")

    monkeypatch.setattr(fidelity, "compare", broken)
    code, out, err = srnn("export", finished, "--to", "c", "--bits", 8, "--out", folder)
    assert (code, out) == (2, "")
    assert "on the way" in err
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["made"]
