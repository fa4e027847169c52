"""Runs of rows: shared, resumed, stopped, diverged, without data; and what is read of them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from helpers import command, until
from srnn import tasks
from srnn._check import RunError
from srnn.datasets import qtdb
from srnn.papers import pool
from srnn.papers.jobs import Presence, jobs_of, key, state_of, write_index
from srnn.papers.pool import Pool
from srnn.papers.results import read
from srnn.papers.table import Row, Table
from srnn.tasks.settings import override
from srnn.training.runs import Run
from srnn.training.train import fit

TINY = (
    "data.train=8",
    "data.validation=4",
    "data.test=4",
    "data.steps=24",
    "batch=4",
    "epochs=2",
    "network.hidden=[6]",
)


def small(*rows, **more):
    return Table("test-table", "a table", "nowhere", rows, **more)


def row(name, *settings, **more):
    return Row(name, name, more.pop("task", "ecg_sim"), settings, "events", **more)


def train(table, runs, *, workers=2, seeds=(0,), more=TINY, data_dir=None):
    """Train a table; return its results and what was said."""
    said = []
    presence = Presence(data_dir)
    pool = Pool(workers, presence, say=said.append)
    pool.train([job for r in table.rows for job in jobs_of(table, r, runs, seeds, more)])
    return read(table, runs, seeds, more, presence, pool.failed), said


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Rows that are equal, and one that diverges; two seeds."""
    runs = tmp_path_factory.mktemp("runs")
    table = small(
        row("a", published={"accuracy": "90.0"}),
        row("same", "network.dropout=0"),
        row("wild", "optimiser.lr=1e30", "clip_norm=null"),
    )
    return (table, runs, *train(table, runs, seeds=(0, 1)))


def test_rows_are_trained_and_read(trained):
    _table, _runs, results, said = trained
    a, same, _ = results
    assert [len(r.ours["accuracy"].values) for r in (a, same)] == [2, 2]
    for result in (a, same):
        m = [json.loads((p / "metrics.json").read_text()) for p in result.paths]
        assert result.ours["accuracy"].values == tuple(100 * x["test_accuracy"] for x in m)
        assert result.ours["energy"].values == tuple(x["energy"]["yin2021"]["energy"] for x in m)
        assert result.ours["energy_measured"].values == tuple(
            x["energy"]["measured"]["energy"] for x in m
        )
        assert result.protocol == "n = 2 seeds, 2 epochs, selected by validation accuracy"
    assert len([line for line in said if " % (" in line]) == 2
    assert a.ours["accuracy"].sd is not None


def test_simulated_data_stands_beside_no_published_number(trained):
    a = trained[2][0]
    assert a.row.published == {"accuracy": "90.0"}
    assert a.simulated
    assert (a.published, a.difference, a.interval("published")) == (
        {},
        None,
        "not applicable: steps of a recording are not independent",
    )


def test_the_same_task_is_trained_once(trained):
    _table, runs, (a, same, _), _ = trained
    assert a.paths == same.paths
    assert len(list(runs.glob("ecg_sim/*/seed0"))) == 2  # a and same, wild


def test_what_diverges_is_said_and_the_rest_goes_on(trained):
    _table, _runs, (*_, wild), said = trained
    assert [s.kind for s in wild.states] == ["diverged", "diverged"]
    assert "is not finite" in wild.states[0].message
    assert wild.status.startswith("2 diverged (Epoch 1, batch ")
    assert not wild.ours
    assert sum("diverged" in line for line in said) == 2


def test_nothing_is_trained_twice(trained):
    table, runs, results, _ = trained
    before = {p: p.stat().st_mtime_ns for p in runs.rglob("*") if p.is_file()}
    again, said = train(table, runs, seeds=(0, 1))
    assert said == []
    assert [r.ours for r in again] == [r.ours for r in results]
    assert {p: p.stat().st_mtime_ns for p in runs.rglob("*") if p.is_file()} == before
    assert len(before) > 20


def test_a_run_of_other_settings_is_not_taken(trained, tmp_path):
    """A folder whose task.json says something else is told, and not counted."""
    table, runs, _, _ = trained
    shutil.copytree(runs, tmp_path / "runs")
    (job,) = jobs_of(table, table.rows[0], tmp_path / "runs", [0], TINY)
    stored = json.loads((job.path / "task.json").read_text())
    stored["resolved"]["clip_norm"] = 2.5
    (job.path / "task.json").write_text(json.dumps(stored))
    state = state_of(job)
    assert state.kind == "other"
    assert "clip_norm: 2.5, now 1.0" in state.message
    del stored["resolved"]["clip_norm"]  # one that the run did not know yet
    stored["resolved"]["cache_mb"] = 3.0  # and one that moves no result
    (job.path / "task.json").write_text(json.dumps(stored))
    assert state_of(job).kind == "finished"


def test_an_unfinished_run_goes_on(tmp_path):
    table, more = small(row("a")), (*TINY, "epochs=3")
    (job,) = jobs_of(table, table.rows[0], tmp_path, [0], more)
    fit(job.task, job.path, seed=0)
    whole = json.loads((job.path / "metrics.json").read_text())
    (job.path / "metrics.json").unlink()  # as if it had been killed before its last step
    assert state_of(job).kind == "stopped"
    assert state_of(job).message == "3 of 3 epochs"
    ((result,), _) = train(table, tmp_path, more=more)
    assert result.states[0].kind == "finished"
    assert result.states[0].metrics["test_accuracy"] == whole["test_accuracy"]
    assert len(json.loads((job.path / "env.json").read_text())["resumed"]) == 1


def test_a_run_that_another_process_has_is_left_alone(tmp_path):
    table = small(row("a"))
    (job,) = jobs_of(table, table.rows[0], tmp_path, [0], TINY)
    fit(job.task, job.path, seed=0)
    (job.path / "metrics.json").unlink()
    with Run(job.path).locked():
        assert state_of(job).kind == "running"
        results, said = train(table, tmp_path)
    assert said == []
    assert results[0].status == "1 running (2 of 2 epochs)"


def test_folds_validate_and_leave_the_test_part_alone(tmp_path):
    table = small(row("a"), folds=2, metric="validation_accuracy")
    ((result,), _) = train(table, tmp_path)
    m = [json.loads((p / "metrics.json").read_text()) for p in result.paths]
    assert len(set(result.paths)) == 2
    assert not any(k.startswith("test_") for x in m for k in x)
    assert result.ours["accuracy"].values == tuple(100 * x["validation_accuracy"] for x in m)
    assert sum(x["validation_recordings"] for x in m) == 12 == result.recordings
    assert result.protocol.startswith("n = 2 folds of 2")


def test_missing_data_is_told_in_the_loader_s_words(tmp_path):
    table = small(
        row("a", "epochs=1", task="shd"), row("b", "epochs=1", "network.hidden=[4,4]", task="shd")
    )
    results, said = train(table, tmp_path / "runs", more=(), data_dir=tmp_path)
    assert said == []
    assert [r.cannot for r in results] == [results[0].cannot] * 2
    assert results[0].cannot.startswith("No shd/shd_train.h5")
    assert results[0].status.startswith("cannot run here: No shd/shd_train.h5")
    assert not (tmp_path / "runs").exists()


def test_damaged_data_is_found_by_the_process_that_reads_it(tmp_path):
    qtdb.made_up(tmp_path)
    file = next(tmp_path.glob("**/QTDB_train.mat"))
    file.write_bytes(file.read_bytes()[:200])
    table = small(row("a", "epochs=1", task="ecg"), row("b", "epochs=1", "batch=7", task="ecg"))
    results, said = train(table, tmp_path / "runs", workers=1, more=(), data_dir=tmp_path)
    assert len(said) == 1  # the second row is not even tried
    assert ": data: " in said[0]
    assert [str(file) in r.cannot for r in results] == [True, True]


def test_the_key_of_a_task_is_drawn_from_what_matters():
    ecg = tasks.load("ecg")
    same = [
        override(ecg, ["cache_mb=5"]),
        override(ecg, ["batch=8"]),
        override(ecg, ["network.dropout=0"]),
    ]
    other = [
        override(ecg, [s])
        for s in (
            "batch=9",
            "network.dropout=0.1",
            "data.split_seed=1",
            "optimiser.rates.*tau_m=2",
            "fold=[0,3]",
        )
    ]
    assert {key(t) for t in same} == {key(ecg)}
    assert len({key(ecg), *map(key, other)}) == 6


def test_which_rows_a_run_serves_is_noted(tmp_path):
    table = small(row("a"), row("twin"))
    jobs = [job for r in table.rows for job in jobs_of(table, r, tmp_path, [0, 1], TINY)]
    write_index(table, jobs)
    write_index(Table("other", "o", "nowhere", (row("a"),)), jobs[:1])
    (index,) = tmp_path.rglob("rows.json")
    known = json.loads(index.read_text())
    assert set(known) == {"test-table/a", "test-table/twin", "other/a"}
    assert known["other/a"] == {"task": "ecg_sim", "settings": list(TINY)}
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="cannot be created: Not a directory"):
        write_index(table, jobs_of(table, table.rows[0], tmp_path / "file", [0], TINY))


# ── a signal ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_with_their_checkpoints_written(tmp_path, monkeypatch, number):
    if number == signal.SIGTERM:  # with programs, as they are started outside of the tests
        monkeypatch.setattr(pool, "subprocess", subprocess)
    qtdb.made_up(tmp_path / "data")
    runs = tmp_path / "runs"
    words = [
        "reproduce",
        "yin2021-table2",
        "--rows",
        "ecg-ours",
        "ecg-lstm",
        "--seeds",
        "0",
        "--set",
        "epochs=4000",
        "--jobs",
        "2",
        "--runs",
        str(runs),
        "--data-dir",
        str(tmp_path / "data"),
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = command(*words, **pipes)

    def both() -> list[Path]:
        begun = [p for p in runs.rglob("log.jsonl") if len(p.read_text().splitlines()) >= 2]
        return begun if len(begun) == 2 else []

    begun = until(both, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=200)
    assert (process.returncode, out) == (130, ""), err
    assert (
        "Stopped; the checkpoints are written.\n"
        "Go on with: srnn reproduce yin2021-table2 --rows ecg-ours ecg-lstm --seeds 0 "
    ) in err
    for log in begun:
        done = len(log.read_text().splitlines())
        assert 2 <= done < 4000
        assert (log.parent / "checkpoints/last.safetensors").exists()
        assert (
            json.loads(Path(f"{log.parent}.log").read_text().splitlines()[-1])["kind"] == "stopped"
        )
        with Run(log.parent).locked():  # nobody has it any more
            pass
