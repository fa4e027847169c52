"""Several runs side by side: groups, mean and sd, the Pareto front, links, and what must not be
compared.
"""

from __future__ import annotations

import json
import shutil
import statistics

import pytest
from tests.report.pages import TINY, Seen, check_structure, train

from srnn import report
from srnn.report.read import read_run
from srnn.report.several import groups_of
from srnn.training.runs import Run


@pytest.fixture(scope="module")
def runs(sim, lstm, hostile, tmp_path_factory):
    """Two seeds, an LSTM on the same data, another task; by name."""
    root = tmp_path_factory.mktemp("runs")
    second = train(root / "seed1", TINY, seed=1)
    return {"first": sim, "second": second, "lstm": lstm, "my": hostile}


@pytest.fixture(scope="module")
def compared(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "all.html"
    (runs["second"] / "report.html").write_text("a report")
    made = report.compose(list(runs.values()), out=out)
    return made, Seen(made.page.html())


def test_runs_are_grouped_by_all_settings_but_the_seed(compared, runs):
    made, seen = compared
    _, tables, drawings = check_structure(seen)
    assert (tables, drawings) == (2, 3)
    first, lstm, my = made.numbers["groups"]
    assert (first["seeds"], lstm["seeds"], my["seeds"]) == ([0, 1], [0], [0])
    assert (first["task"], my["task"]) == ("ecg_sim", "my")
    both = [Run(runs[name]).read("metrics.json") for name in ("first", "second")]
    for key in ("test_accuracy", "firing_rate", "validation_accuracy"):
        values = [m[key] for m in both]
        assert first[key] == {
            "mean": statistics.mean(values),
            "sd": statistics.stdev(values),
            "n": 2,
        }
    assert lstm["test_accuracy"]["sd"] is None
    mean, sd = (100 * first["test_accuracy"][k] for k in ("mean", "sd"))
    assert f"{mean:.2f} ± {sd:.2f} %" in seen.texts["td"]
    assert "n = 2 (0, 1)" in seen.texts["td"]
    assert "no spikes" in seen.texts["td"]
    assert "SIMULATED DATA" in seen.texts["p"]
    assert lstm["settings"][0] == "network=CellNetwork"
    assert "data.train=8" not in lstm["settings"]  # all groups of that task have it
    json.dumps(made.numbers, allow_nan=False)


def test_only_runs_on_the_same_recordings_stand_in_one_front(compared):
    made, seen = compared
    fronts = made.numbers["fronts"]
    assert [(name, len(front["points"])) for name, front in fronts.items()] == [
        ("ecg_sim, test accuracy", 2)
    ]
    assert (
        "my, test accuracy: one group on these recordings, nothing to compare it with."
    ) in seen.words
    # front and learning curves of the simulated task
    assert sum("SIMULATED DATA" in t for t in seen.texts["text"]) == 2
    assert sorted(made.figures) == ["learning-0", "learning-1", "pareto-0"]


def test_each_run_is_named_and_linked_where_it_has_a_report(compared, runs):
    _, seen = compared
    links = [attrs["href"] for attrs in seen.all("a") if not attrs["href"].startswith("#")]
    assert len(links) == 1
    assert links[0].endswith("/seed1/report.html")
    assert all(str(path) in seen.texts["th"] for name, path in runs.items() if name != "second")
    assert str(runs["second"]) in seen.texts["a"]


def test_what_is_not_the_same_is_not_averaged(sim, trial, tmp_path):
    """The same settings, but a copy of a seed, a run that was never tested, one on other data and
    an unfinished one.
    """
    for name in ("copy", "other", "stopped"):
        shutil.copytree(sim, tmp_path / name)
    stored = json.loads((tmp_path / "other/task.json").read_text())
    stored["data"]["sha256"] = "0" * 64
    (tmp_path / "other/task.json").write_text(json.dumps(stored))
    (tmp_path / "stopped/metrics.json").unlink()
    runs = [
        read_run(p) for p in (sim, trial, *(tmp_path / n for n in ("copy", "other", "stopped")))
    ]
    groups = groups_of(runs)
    assert [len(g.runs) for g in groups] == [2, 1, 1, 1]
    assert [g.letter for g in groups] == ["A", "B", "C", "D"]
    made = report.compose([r.run.path for r in runs])
    text = Seen(made.page.html()).words
    assert "A: 2 runs of 1 seeds; the same seed twice is no second sample" in text
    assert "1 not finished" in text
    assert "the test part was left alone" in text
    # tested on one data set, on another, and validated only: none beside another
    assert made.numbers["fronts"] == {}
    assert text.count("one group on these recordings") == 3
    assert made.numbers["groups"][3]["test_accuracy"] == {"mean": None, "sd": None, "n": 0}


def test_a_folder_of_runs_stands_for_them(sim, trial, tmp_path, srnn):
    folder = tmp_path / "sweep"
    for k, path in enumerate((sim, trial)):
        shutil.copytree(path, folder / f"trial-{k}")
    (folder / "trials.csv").write_text("")
    assert report.runs_in(folder) == [folder / "trial-0", folder / "trial-1"]
    code, shown, err = srnn("report", folder, folder / "trial-0")  # twice is once
    assert (code, err) == (0, "")
    assert shown == f"Report: {folder / 'report.html'}\n"
    assert "2 runs in 2 groups" in (folder / "report.html").read_text()
    code, _, err = srnn("report", sim, trial, "--out", tmp_path / "x.txt")
    assert code == 2
    assert not (tmp_path / "x.txt").exists()
