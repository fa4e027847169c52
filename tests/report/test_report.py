"""The report of one run: its structure, its numbers, what it leaves out and says so, and that text
never becomes markup.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from tests.report.pages import HOSTILE, check_structure, page

from srnn import energy, report, tasks
from srnn._check import RunError, SrnnError
from srnn.cli import main as cli
from srnn.report import figures, outcome, single
from srnn.report.pictures import FIGURES
from srnn.report.read import read_run, told
from srnn.report.watch import look
from srnn.tasks.settings import describe, override, settings_to, varied
from srnn.training.runs import DIVERGED, Run
from srnn.training.train import fit

SECTIONS = [
    "result",
    "learning",
    "classes",
    "time",
    "recording",
    "firing",
    "constants",
    "energy",
    "settings",
    "environment",
    "again",
]


def test_the_page_has_every_section_and_figure(simulated):
    made, seen = simulated
    ids, tables, drawings = check_structure(seen)
    assert [attrs["id"] for attrs in seen.all("section")] == SECTIONS
    assert drawings == 5
    assert tables >= 10
    assert ids > 30
    assert sorted(made.numbers["runs"][0]["figures"]) == [
        "anytime",
        "constants",
        "firing",
        "learning",
        "recording",
    ]
    assert made.numbers["runs"][0]["left_out"] == {}
    json.dumps(made.numbers, allow_nan=False)


def test_simulated_data_are_marked_everywhere_and_never_beside_a_published_number(simulated):
    made, seen = simulated
    assert seen.texts["title"][0].startswith("SIMULATED DATA")
    # every figure, the page, tables of classes, rates, operations
    assert seen.words.count("SIMULATED DATA") >= 5 + 1 + 4
    assert "no published number is shown" in seen.words
    assert "85.9" not in seen.words
    assert made.numbers["runs"][0]["published"] == []


def test_the_numbers_are_those_of_the_run(simulated, sim):
    made, seen = simulated
    (numbers,), metrics = made.numbers["runs"], Run(sim).read("metrics.json")
    for key in (
        "test_accuracy",
        "test_accuracy_labelled",
        "validation_accuracy",
        "firing_rate",
        "parameters",
    ):
        assert numbers[key] == metrics[key]
    assert numbers["costs"]["counts"] == metrics["energy"]
    for key in ("test_accuracy", "validation_accuracy"):
        assert f"{100 * metrics[key]:.2f} %" in seen.texts["td"]
    reasons, counts = numbers["costs"]["reasons"], metrics["energy"]
    assert sum(reasons.values()) == pytest.approx(
        counts["measured"]["energy"] - counts["yin2021"]["energy"]
    )
    lstm = energy.lstm_counts(read_run(sim).net)
    assert numbers["costs"]["beside"]["dense LSTM of the same size, int8"] == {
        k: c.as_dict() for k, c in lstm.items()
    }
    drawn = numbers["figures"]
    assert drawn["learning"]["validation_accuracy"] == [
        row["validation_accuracy"] for row in Run(sim).rows()
    ]
    assert (drawn["anytime"]["recordings"], drawn["anytime"]["of"]) == (6, 6)
    assert drawn["anytime"]["accuracy"] == pytest.approx(metrics["test_accuracy"], abs=1e-12)
    assert "Evaluated anew for this figure, the accuracy is that of metrics.json" in seen.words


def test_the_confusion_matrix_is_a_table_with_headers(simulated, sim):
    counts = Run(sim).read("metrics.json")["test_confusion"]
    cells = [attrs for attrs in simulated[1].all("td") if "title" in attrs]
    assert [int(c["title"]) for c in cells] == [n for row in counts for n in row]
    assert len(cells) == 36
    shares = [n / max(1, sum(row)) for row in counts for n in row]
    assert [float(c["style"].removeprefix("--share: ")) for c in cells] == pytest.approx(
        shares, abs=1e-3
    )


def test_hostile_names_stay_text(injected, hostile):
    made, seen = injected
    _, _, drawings = check_structure(seen)
    assert drawings == 5
    assert seen.all("img") == seen.all("b") == seen.all("u") == []
    html = made.page.html()
    assert "<script" not in html
    assert "<img" not in html
    assert "]]>" not in html.replace("]]&gt;", "")
    for name in HOSTILE:
        assert sum(name in t for t in seen.texts["th"]) >= 3, name  # recall, confusion twice
    # in SVG: the title of a recording, what is decided
    assert sum(name in t for name in HOSTILE for t in seen.texts["text"]) >= 2
    assert str(hostile) in seen.words
    (numbers,) = made.numbers["runs"]
    words = shlex.split(numbers["command"])
    assert words[:3] == ["srnn", "train", "my"]
    assert words[-1] == f"{hostile}-again"
    assert numbers["command"] in seen.texts["code"]
    assert numbers["figures"]["anytime"]["accuracy"] == numbers["test_accuracy"]


def test_the_command_makes_the_same_task(injected, hostile, simulated, sim):
    for path, (made, _) in ((hostile, injected), (sim, simulated)):
        words = shlex.split(made.numbers["runs"][0]["command"])
        args = cli.command_line().parse_args(words[1:])
        # what the data say themselves is not said again
        assert not any(s.startswith(("encode", "data.seen")) for s in args.set)
        task = override(tasks.load(args.task), args.set).resolved(None)
        stored, _ = Run(path).task()
        assert describe(task) == describe(stored)
        assert args.seed == 0


@pytest.mark.parametrize("name", sorted(tasks.names()))
def test_settings_tell_every_variant_and_other_networks(name):
    usual = tasks.load(name)
    assert settings_to(usual, usual) == []
    changes = [
        ["epochs=7", "clip_norm=null"],
        ["network=CellNetwork", "network.cell=GRU", "optimiser=Optimiser", "optimiser.lr=0.003"],
        ["fold=[1,4]", "start=UniformStart", "start.high=0.25"],
        ["optimiser.rates.layers.9=0.5"],
    ]
    for task in (
        *(varied(usual, v.name) for v in usual.variants),
        *(override(usual, c) for c in changes),
    ):
        settings = settings_to(task, usual)
        assert settings is not None
        assert override(usual, settings) == task
    assert settings_to(override(usual, changes[0]), usual) == ["clip_norm=null", "epochs=7"]


def test_a_variant_is_named_where_it_says_more(sim):
    r = read_run(sim)
    shd = replace(r, task=override(varied(tasks.load("shd"), "bittar"), ["epochs=3"]))
    assert told(shd).words == ["--variant", "bittar", "--set", "epochs=3"]


def test_a_network_that_does_not_spike(lstm):
    made, seen = page(lstm)
    check_structure(seen)
    left = made.numbers["runs"][0]["left_out"]
    assert sorted(left) == ["constants", "firing"]
    for reason in left.values():
        assert reason in seen.words
    assert "does not spike" not in seen.words
    assert "Nothing spikes." in seen.words


def test_without_the_data_the_rest_is_shown(sim, tmp_path, monkeypatch):
    def gone(*args, **kwargs):
        raise SrnnError("The files <b>are gone</b>.")

    monkeypatch.setattr("srnn.tasks.task.Task.load", gone)
    made, seen = page(sim)
    check_structure(seen)
    (numbers,) = made.numbers["runs"]
    assert sorted(numbers["figures"]) == ["constants", "learning"]
    assert sorted(numbers["left_out"]) == ["anytime", "firing", "recording"]
    assert (
        seen.words.count(
            "The data of the run are not at hand, and this needs them: The files <b>are gone</b>."
        )
        == 3
    )
    assert numbers["test_accuracy"] == Run(sim).read("metrics.json")["test_accuracy"]


def test_other_data_are_not_taken_for_those_of_the_run(sim, tmp_path):
    shutil.copytree(sim, tmp_path / "run")
    stored = json.loads((tmp_path / "run/task.json").read_text())
    stored["data"]["sha256"] = "0" * 64
    (tmp_path / "run/task.json").write_text(json.dumps(stored))
    r = read_run(tmp_path / "run")
    assert r.parts is None
    assert "was started on other data" in r.why


def test_a_trial_that_was_never_tested_is_not_tested_here(trial):
    r = read_run(trial)
    assert r.part == "validation"
    assert look(r).sample.name in {s.name for s in r.parts.validation} - {
        s.name for s in r.parts.test
    }
    made, seen = page(trial)
    check_structure(seen)
    (numbers,) = made.numbers["runs"]
    assert numbers["test_accuracy"] is None
    assert "the test part was left alone" in seen.words
    assert "test part (" not in seen.words
    assert numbers["figures"]["anytime"]["accuracy"] == pytest.approx(
        numbers["validation_accuracy"]
    )


def unfinished(sim, out):
    shutil.copytree(sim, out)
    (out / "metrics.json").unlink()
    return out


def test_a_stopped_run_says_so_and_how_to_go_on(sim, tmp_path):
    made, seen = page(unfinished(sim, tmp_path / "a run"))
    check_structure(seen)
    assert "NOT FINISHED" in seen.texts["p"]
    assert "There is no result yet" in seen.words
    assert any(
        shlex.split(c)[:3] == ["srnn", "train", "ecg_sim"] and "--resume" in c
        for c in seen.texts["code"]
    )
    assert made.numbers["runs"][0]["state"] == "stopped"
    # the test part is not looked at before the end
    assert "recordings of the validation part" in seen.words
    assert "test part" not in " ".join(seen.texts["figcaption"])
    (tmp_path / "a run" / DIVERGED).write_text(json.dumps({"message": "Epoch 3: <i>NaN</i>"}))
    r = read_run(tmp_path / "a run")
    assert single.marks(r) == ["SIMULATED DATA", "DIVERGED"]
    assert "Diverged after 3 of 3 epochs: Epoch 3: <i>NaN</i>" in single.lead(r)


def test_a_run_without_a_checkpoint(sim, tmp_path):
    out = unfinished(sim, tmp_path / "run")
    shutil.rmtree(out / "checkpoints")
    (out / "log.jsonl").unlink()
    with Run(out).locked():
        made, seen = page(out)
    check_structure(seen)
    assert made.numbers["runs"][0]["state"] == "running"
    assert len(made.numbers["runs"][0]["left_out"]) == 5
    assert "it is being trained, 0 of 3 epochs are done" in seen.words


def test_a_compressed_run_shows_both_sides(sim, tmp_path, srnn, monkeypatch):
    monkeypatch.setattr(report, "of_run", lambda path, data_dir=None: path / "report.html")
    out = tmp_path / "small"
    code, _, err = srnn(
        "compress", sim, "--bits", "8", "--sparsity", "0.5", "--epochs", "0", "--out", out
    )
    assert code == 0, err
    made, seen = page(out)
    check_structure(seen)
    assert "Before and after compression (SIMULATED DATA)" in seen.texts["caption"]
    assert "this network, int8" in seen.texts["th"]
    assert "Nothing was trained: no learning curves." in seen.words
    (command,) = seen.texts["code"]
    assert shlex.split(command)[:9] == [
        "srnn",
        "compress",
        str(sim),
        "--bits",
        "8",
        "--sparsity",
        "0.5",
        "--steps",
        "1",
    ]
    cli.command_line().parse_args(shlex.split(command)[1:])
    assert made.numbers["runs"][0]["command"] is None


def test_only_so_many_recordings_are_looked_at(sim, monkeypatch):
    r = read_run(sim)
    monkeypatch.setattr("srnn.report.watch.MOST", 3)
    w = look(r)
    assert (w.used, w.there, len(w.curve)) == (3, 6, 60)
    monkeypatch.setattr("srnn.report.watch.STEPS", 130)
    w = look(r)
    assert w.used == 2
    said = FIGURES["anytime"](r, w).caption
    assert "2 of the 6 recordings of the test part" in said
    assert (
        f"Accuracy on these recordings: {100 * w.accuracy:.2f} %; on the whole part, in "
        "metrics.json: "
    ) in said
    other = FIGURES["anytime"](
        replace(r, metrics={**r.metrics, "test_accuracy": 0.5}), replace(w, used=6)
    ).caption
    assert "metrics.json has 50.00 %, from another device or version" in other


def test_decisions_at_any_time_end_as_the_task_decides(hostile):
    w, metrics = look(read_run(hostile)), Run(hostile).read("metrics.json")
    assert w.used == w.there == metrics["test_recordings"]
    assert w.curve[-1] == pytest.approx(metrics["test_accuracy"])
    assert len(w.predicted) == len(w.sample.signal)
    assert np.all((w.confidence >= 1 / 3 - 1e-9) & (w.confidence <= 1))


def test_the_same_run_gives_the_same_file_and_a_broken_write_leaves_the_old_one(
    sim, simulated, tmp_path, srnn, monkeypatch
):
    out = tmp_path / "deep/report.html"
    code, shown, err = srnn(
        "report", sim, "--out", out, "--figures", tmp_path / "figures", "--json"
    )
    assert (code, err) == (0, "")
    data = json.loads(shown)
    assert (data["report"], len(data["runs"])) == (str(out), 1)
    names = [
        "anytime.svg",
        "confusion.svg",
        "constants.svg",
        "firing.svg",
        "learning.svg",
        "recording.svg",
    ]
    assert (
        sorted(p.name for p in (tmp_path / "figures").iterdir())
        == names
        == sorted(p.rpartition("/")[2] for p in data["figures"])
    )
    before = out.read_bytes()
    assert simulated[0].page.html().encode() == before
    assert b'charset="utf-8"' in before
    assert [p.name for p in out.parent.iterdir()] == ["report.html"]

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("srnn.training.runs.os.fsync", full)
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        simulated[0].write(out)
    assert out.read_bytes() == before
    assert [p.name for p in out.parent.iterdir()] == ["report.html"]


def test_a_package_that_is_missing_is_named(sim, srnn, monkeypatch, simulated):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(
        SrnnError,
        match=r"A report needs Jinja2\. Install it with: pip install "
        r'"srnn\[report\]"',
    ):
        simulated[0].page.html()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, shown, err = srnn("report", sim)
    assert (code, shown) == (2, "")
    assert err == (
        'srnn report: A report needs matplotlib. Install it with: pip install "srnn[report]"\n'
    )
    assert not (sim / "report.html").exists()


def test_what_is_no_run_is_refused(sim, tmp_path, srnn):
    (tmp_path / "file").write_text("x")
    for argv, message in (
        ([tmp_path], "is no run folder: it has no task.json"),
        ([tmp_path / "file"], "is no run folder"),
        ([tmp_path / "none"], "is no run folder"),
        (
            [sim, "--out", tmp_path / "report.pdf"],
            "a report is an HTML file; give a name that ends in .html",
        ),
    ):
        code, shown, err = srnn("report", *argv)
        assert (code, shown) == (2, ""), argv
        assert message in err
        assert err.count("\n") == 1
    damaged = tmp_path / "damaged"
    shutil.copytree(sim, damaged)
    metrics = json.loads((damaged / "metrics.json").read_text())
    del metrics["firing_rates"]
    (damaged / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(RunError, match=r"metrics\.json is damaged: it has no firing_rates"):
        report.compose([damaged])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["damaged", "file"]


def test_published_numbers_stand_beside_with_both_protocols(sim):
    """On real data: the same run, as if its data were not simulated."""
    r, ecg = read_run(sim), tasks.load("ecg")
    published = [
        {
            "what": p.what,
            "value": p.value,
            "source": p.source,
            "protocol": p.protocol,
            "unused": p.unused,
        }
        for p in ecg.published
    ]
    task = replace(ecg, network=replace(ecg.network, hidden=(6,)))
    blocks = outcome.result(
        replace(r, task=task, metrics={**r.metrics, "simulated": False, "published": published})
    )
    text = repr(blocks)
    assert "85.9 % (another network, Yin, Corradi & Bohté 2021)" in text
    assert (
        "selected on the training part; best training accuracy; unlabelled steps count as P"
    ) in text
    assert "selected by validation accuracy; evaluated once on the test part (6 recordings)" in text
    assert "The network is not the one the published numbers are of: network.hidden=[6]." in text


def test_figures_know_more_classes_than_colours(hostile):
    sample = read_run(hostile).parts.test[0]
    names = [f"class {k}" for k in range(12)]
    figure = figures.recording(
        sample, names, predicted=np.repeat([11, -1], 20), confidence=np.linspace(0, 1, 40)
    )
    assert figure.legends == []
    assert "class 11" in [t.get_text() for axis in figure.axes for t in axis.texts]


SMALL = [
    "epochs=1",
    "network.recurrent=[true]",
    "network.recurrent_start=[orthogonal]",
    "network.hidden=[8]",
]


@pytest.mark.parametrize("name", ["soli", "psmnist", "timit", "shd"])
def test_any_task_is_watched_as_it_was_evaluated(name, tmp_path):
    """Labels a step, spread ones, truncated training, spikes; benchmarks/reports.py makes the whole
    report of every task.
    """
    task = override(
        tasks.load(name),
        [
            *SMALL[:1],
            *(
                SMALL[1:]
                if name in ("psmnist", "shd")
                else ["network.hidden=[8]"]
                if name == "timit"
                else []
            ),
        ],
    )
    task = task.on_made_up(tmp_path / "data")
    metrics = fit(task, tmp_path / "run", data_dir=tmp_path / "data")
    r = read_run(tmp_path / "run", tmp_path / "data")
    w = look(r)
    assert w.used == w.there == metrics["test_recordings"]
    assert w.accuracy == metrics["test_accuracy"]
    assert len(w.curve) == max(len(s.signal) for s in r.parts.test)
    assert w.trace.steps == sum(len(s.signal) for s in list(r.parts.test)[: r.task.batch])
    words = ["train", name, *told(r).words]
    args = cli.command_line().parse_args(words)
    assert describe(override(tasks.load(name), args.set)) == describe(r.task)
