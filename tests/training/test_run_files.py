"""JSON of the wrong kind in the files of a run: one error that names file and place, from every
command that reads them.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from srnn import tasks
from srnn._check import RunError
from srnn.cli.main import main
from srnn.report.read import read_run
from srnn.tasks.settings import override
from srnn.training.runs import Run, load_run
from srnn.training.train import fit

SETTINGS = (
    "epochs=2", "network.hidden=[4]", "data.train=6", "data.validation=3", "data.test=3",
    "data.steps=40", "batch=3",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    fit(override(tasks.load("ecg_sim"), SETTINGS), out)
    return out


@pytest.fixture
def run(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def test_what_a_run_writes_is_what_is_wanted_of_it(whole):
    """Every file passes its own check, so that the checks are of the right names."""
    run = Run(whole)
    metrics = run.read("metrics.json")
    assert {"energy", "firing_rates", "parameters", "test_confusion", "test_recall"} <= set(metrics)
    assert set(metrics["energy"]["yin2021"]) >= {"mac", "ac", "energy"}
    assert [row["epoch"] for row in run.rows()] == [1, 2]
    assert run.stored()["seed"] == 0
    assert read_run(whole).state == "finished"


def test_no_task_at_all(run):
    stored = json.loads((run / "task.json").read_text())
    (run / "task.json").write_text(json.dumps({**stored, "resolved": {}}))
    with pytest.raises(RunError, match="what is resolved there is no task"):
        load_run(run)


CHANGES = {
    "a list as seed": ("task.json", {"seed": []}, r"task.json is damaged: seed is \[\]"),
    "a huge seed": ("task.json", {"seed": 10**400}, "a whole number of 1329 bits; expected 64"),
    "a negative seed": ("task.json", {"seed": -1}, "seed is -1; expected a whole number 0"),
    "a number as task": ("task.json", {"task": 3}, "task is 3; expected text"),
    "a list as settings": ("task.json", {"resolved": []}, r"resolved is \[\]; expected an object"),
    "text as data": ("task.json", {"data": "x"}, 'data is "x"; expected an object'),
    "text as schema": ("task.json", {"schema": "1"}, "has schema 1; this version reads 1"),
    "text as rates": ("metrics.json", {"firing_rates": "x"}, 'firing_rates is "x"'),
    "a list as rate": ("metrics.json", {"input_rate": []}, r"input_rate is \[\]"),
    "a number as energy": ("metrics.json", {"energy": {"yin2021": 3}}, "energy.yin2021 is 3"),
    "a share of text": ("metrics.json", {"test_recall": ["x"]}, r"test_recall\[0\] is \"x\""),
    "half a character": ("metrics.json", {"data_note": "\ud800"}, "half a character"),
    "a number as past": ("env.json", {"resumed": [3]}, r"resumed\[0\] is 3; expected an object"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_value_of_another_kind(change, run):
    name, values, wrong = CHANGES[change]
    path = run / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    with pytest.raises(RunError, match=wrong) as refused:
        read_run(run)
    assert str(path) in str(refused.value)
    assert main(["report", str(run), "--out", str(run / "report.html")]) == 2
    if name == "task.json":
        for words in (
            ["evaluate", str(run)],
            ["energy", str(run)],
            ["export", str(run), "--to", "state"],
        ):
            assert main(words) == 2
        assert main(["train", "ecg_sim", "--resume", "--out", str(run)]) == 2


@pytest.mark.parametrize("name", ["task.json", "metrics.json", "env.json"])
@pytest.mark.parametrize("text", ["3", "null", "[]", '"x"', "[" * 100_000, "", "\0"])
def test_a_file_of_another_kind(name, text, run):
    (run / name).write_text(text)
    with pytest.raises(RunError, match=name):
        read_run(run)


@pytest.mark.parametrize("name", ["task.json", "metrics.json", "env.json", "log.jsonl"])
def test_a_folder_in_place_of_a_file(name, run):
    (run / name).unlink()
    (run / name).mkdir()
    with pytest.raises(RunError, match=f"{run}"):
        read_run(run)
    with pytest.raises(RunError, match=f"{run}"):
        fit(override(tasks.load("ecg_sim"), SETTINGS), run, resume=True)


@pytest.mark.parametrize("name", ["metrics.json", "env.json", "log.jsonl", ".lock"])
def test_a_pipe_in_place_of_a_file_does_not_hang(name, run):
    (run / name).unlink()
    os.mkfifo(run / name)
    if name == ".lock":
        assert not Run(run).in_use()
        assert read_run(run).state == "finished"
        return
    with pytest.raises(RunError, match="it is no regular file"):
        read_run(run)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ('{"epoch": 7}', "line 3: it has no "),
        ('{"epoch": "7"}', "line 3: it has no "),
        ("LAST", 'line 3: loss is "x"; expected a number'),
    ],
)
def test_a_line_of_the_log_that_is_none(line, wrong, run):
    path = run / "log.jsonl"
    rows = path.read_text()
    last = {**json.loads(rows.splitlines()[-1]), "loss": "x"}
    path.write_text(rows + (json.dumps(last) if line == "LAST" else line) + "\n")
    with pytest.raises(RunError, match=wrong):
        read_run(run)
    # what a killed process leaves is no damage
    path.write_text(rows + line[:5])
    assert len(Run(run).rows()) == 2


@pytest.mark.parametrize(
    ("place", "value", "wrong"),
    [
        (("epochs",), "x", "epochs is 'x', which is not of type int"),
        (("batch",), 2.5, "batch is '2.5', which is not of type int"),
        (("network",), 3, "network is '3'"),
        (("network", "hidden"), "abc", "hidden is 'abc'"),
        (("network", "hidden"), [[]], "hidden"),
        (("network", "tau_m"), [20.0, 5.0, 1.0], "tau_m is '(20.0, 5.0, 1.0)'"),
        (("optimiser", "lr"), "x", "lr is 'x', which is not of type float"),
    ],
)
def test_a_setting_of_another_type(place, value, wrong, run):
    path = run / "task.json"
    stored = json.loads(path.read_text())
    node = stored["resolved"]
    for key in place[:-1]:
        node = node[key]
    assert place[-1] in node
    node[place[-1]] = value
    path.write_text(json.dumps(stored))
    with pytest.raises(RunError, match="cannot express the task of that run") as refused:
        load_run(run)
    assert wrong in str(refused.value)


def test_an_export_that_cannot_be_written(run, tmp_path, monkeypatch, capsys):
    """A parent that is a file, and a disk that is full: one message, nothing half-written."""
    import errno
    import os

    from srnn import _files

    (tmp_path / "file").write_text("mine")
    for to in ("state", "onnx"):
        assert main(["export", str(run), "--to", to, "--out", str(tmp_path / "file/net")]) == 2
        said = capsys.readouterr().err
        assert f"{tmp_path / 'file/net'} cannot be written: " in said
        assert "Choose another folder" in said

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_files.os, "fsync", full)
    for to in ("state", "onnx"):
        assert main(["export", str(run), "--to", to, "--out", str(tmp_path / "net")]) == 2
        assert "No space left on device" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "run"]


def test_an_export_is_not_led_out_of_the_run(run, tmp_path, capsys):
    (tmp_path / "outside").mkdir()
    (run / "export").symlink_to(tmp_path / "outside")
    assert main(["export", str(run), "--to", "state"]) == 2
    assert f"a symbolic link leads it to {tmp_path / 'outside'}" in capsys.readouterr().err
    assert list((tmp_path / "outside").iterdir()) == []
