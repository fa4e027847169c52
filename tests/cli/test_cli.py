"""The command line: every command, its JSON, its help, its exit codes, and what it says to bad
input.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from helpers import GENEROUS
from srnn import energy, report, tables, tasks
from srnn._check import DataError
from srnn.cli import main as cli
from srnn.datasets import own, qtdb, shd
from srnn.energy import Activity
from srnn.tasks.settings import describe, override, varied
from srnn.training import loop
from srnn.training import train as training
from srnn.training.runs import Run, load_run

TINY = [
    "data.train=8",
    "data.validation=4",
    "data.test=4",
    "data.steps=24",
    "batch=4",
    "epochs=2",
    "network.hidden=[6]",
]
SET = [text for setting in TINY for text in ("--set", setting)]


def strict(text):
    """Parse JSON and nothing but JSON: no NaN, nothing before or after."""
    return json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))


def refuses(result, command, message, code=2):
    """Check a refusal: exit code, nothing on stdout, one message on stderr.

    `message` is what it must hold; returns it whole.
    """
    got, out, err = result
    assert got == code, err
    assert out == ""
    assert err.startswith(f"srnn {command}: ")
    assert len(re.findall(r"^srnn ", err, re.M)) == 1
    assert "Traceback" not in err
    assert message in err, err
    return err


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run on simulated data, with what the command printed."""
    import contextlib
    import io

    out = tmp_path_factory.mktemp("runs") / "sim"
    shown, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(said):
        code = cli.main(["train", "ecg_sim", *SET, "--seed", "3", "--out", str(out)])
    assert code == 0, said.getvalue()
    return out, shown.getvalue(), said.getvalue()


# ── every command ─────────────────────────────────────────────────────────────────────────────────


def commands():
    (sub,) = [a for a in cli.command_line()._actions if isinstance(a, argparse._SubParsersAction)]
    return list(sub.choices)


def test_the_commands_are_known():
    assert commands() == [
        "tasks",
        "check",
        "data",
        "train",
        "sweep",
        "evaluate",
        "compress",
        "energy",
        "reproduce",
        "encode",
        "export",
        "stream",
        "serve",
        "report",
        "doctor",
        "completion",
    ]


@pytest.mark.parametrize("command", commands())
def test_help_of_each_command_shows_examples_that_parse(srnn, command):
    code, out, err = srnn(command, "--help")
    assert (code, err) == (0, "")
    examples = [
        re.split(r"\s{2,}", line.strip())[0]
        for line in out.splitlines()
        if line.startswith(f"  srnn {command}")
    ]
    assert examples
    for example in examples:
        args = cli.command_line().parse_args(shlex.split(example)[1:])
        assert args.command == command
    assert "--json" in out


def test_help_version_and_no_command(srnn):
    from srnn import __version__

    code, out, err = srnn("--help")
    assert (code, err) == (0, "")
    examples = [
        re.split(r"\s{2,}", line.strip())[0]
        for line in out.splitlines()
        if line.startswith("  srnn ")
    ]
    assert len(examples) >= 6
    for example in examples:
        cli.command_line().parse_args(shlex.split(example)[1:])
    assert srnn("--version") == (0, f"srnn {__version__}\n", "")
    code, out, _ = srnn()
    assert code == 2
    assert "srnn train ecg_sim" in out
    code, out, err = srnn("trian")
    assert (code, out) == (2, "")
    assert err.startswith("srnn: there is no command 'trian'. Did you mean 'train'? Known: tasks, ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("train --sed 3 ecg", "srnn train: there is no option --sed. Did you mean '--seed'?"),
        ("train ecg extra", "srnn train: 'extra' is one argument too many."),
        ("train", "srnn train: the following arguments are required: task."),
        ("train egc", "srnn train: There is no task 'egc'. Did you mean 'ecg'?"),
        ("train ecg --set optimizer.lr=1", "Did you mean 'optimiser'?"),
        ("train psmnist --variant publishd", "Did you mean 'published'?"),
        ("train ecg --seed x", "srnn train: argument --seed: invalid int value: 'x'."),
        ("export runs/x --to onx", "srnn export: --to: there is no 'onx'. Did you mean 'onnx'?"),
        ("reproduce yin2021-tabel2", "Did you mean 'yin2021-table2'?"),
        ("data fetch qtbd", "Did you mean 'qtdb'?"),
        ("evaluate runs/nothing", "srnn evaluate: runs/nothing is no run folder"),
        ("doctor --verbose", "srnn doctor: there is no option --verbose."),
        ("--nothing", "srnn: there is no option --nothing."),
    ],
)
def test_what_was_probably_meant(srnn, argv, message):
    code, out, err = srnn(*argv.split())
    assert (code, out) == (2, "")
    assert message in err
    assert len(re.findall(r"^srnn", err, re.M)) == 1
    assert "usage:" not in err


def test_bash_completes_commands_options_choices_and_tasks(srnn, tmp_path):
    code, script, err = srnn("completion", "bash")
    assert (code, err) == (0, "")
    (tmp_path / "srnn.bash").write_text(script)

    def completed(*words):
        line = (
            f"source {tmp_path}/srnn.bash; COMP_WORDS=({' '.join(map(shlex.quote, words))}); "
            f"COMP_CWORD={len(words) - 1}; _shtab_srnn"
        )
        ask = f'{line} 2>/dev/null; printf "%s\n" "${{COMPREPLY[@]}}"'
        return subprocess.run(
            ["bash", "-c", ask], capture_output=True, text=True, timeout=GENEROUS, check=True
        ).stdout.split()

    assert completed("srnn", "tr") == ["train"]
    assert completed("srnn", "train", "ecg") == ["ecg", "ecg_sim"]
    assert set(completed("srnn", "train", "ecg", "--see")) == {"--seed", "--seeds"}
    assert completed("srnn", "data", "show", "ecg", "--part", "t") == ["train", "test"]
    for shell, shows in (("zsh", "#compdef srnn"), ("fish", "complete -c srnn")):
        code, script, _ = srnn("completion", shell)
        assert code == 0
        assert shows in script
        assert "psmnist" in script
    assert strict(srnn("completion", "zsh", "--json")[1])["shell"] == "zsh"


def test_tasks(srnn):
    code, out, err = srnn("tasks", "--json")
    assert (code, err) == (0, "")
    rows = {row["task"]: row for row in strict(out)}
    assert set(rows) == set(tasks.names())
    assert (
        rows["ecg"]["simulated"],
        len(rows["ecg"]["classes"]),
        len(rows["ecg"]["published"]),
    ) == (False, 6, 5)
    assert (rows["ecg_sim"]["simulated"], rows["ecg_sim"]["published"]) == (True, [])
    code, out, _ = srnn("tasks")
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines() if line.split()}
    assert "85.9 %" in lines["ecg"]
    assert "%" not in lines["ecg_sim"]


def write_mat(folder, part="train", n=12, steps=24, change=lambda x, y: (x, y)):
    """A small file in the published form; `change` spoils it."""
    rng = np.random.default_rng(0)
    x = (rng.random((n, steps, 4)) < 0.2).astype(np.float64)
    y = np.eye(6)[np.arange(steps) // 4 % 6][None].repeat(n, axis=0)
    x, y = change(x, y)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"QTDB_{part}.mat"
    scipy.io.savemat(path, {"x": x, "y": y}, do_compression=True)
    return path


def test_data_list_and_verify(srnn, tmp_path):
    code, out, err = srnn("data", "list", "--data-dir", tmp_path, "--json")
    assert (code, err) == (0, "")
    rows = {row["name"]: row for row in strict(out)}
    assert (rows["qtdb"]["here"], rows["ecg_sim"]["here"]) == (False, True)
    assert "ODC-BY" in rows["qtdb"]["licence"]
    code, out, _ = srnn("data", "list", "--data-dir", tmp_path)
    assert code == 0
    assert "srnn data fetch qtdb" in out
    code, out, _ = srnn("data", "verify", "qtdb", "--data-dir", tmp_path, "--json")
    assert code == 2
    assert [(row["file"], row["ok"]) for row in strict(out)] == [
        ("QTDB_train.mat", False),
        ("QTDB_test.mat", False),
    ]
    assert all(row["detail"].startswith("missing") for row in strict(out))


def test_data_fetch_says_where_the_files_are_and_under_which_licence(srnn, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        qtdb,
        "fetch",
        lambda root, raw=False: (
            asked.append((root, raw)) or [root / "qtdb/a.mat", root / "qtdb/b.mat"]
        ),
    )
    code, out, err = srnn("data", "fetch", "qtdb", "--data-dir", tmp_path)
    assert (code, err) == (0, "")
    assert all(text in out for text in (f"2 files in {tmp_path / 'qtdb'}", "ODC-BY 1.0", "Laguna"))
    code, out, _ = srnn("data", "fetch", "qtdb", "--raw", "--data-dir", tmp_path, "--json")
    assert strict(out) == [str(tmp_path / "qtdb/a.mat"), str(tmp_path / "qtdb/b.mat")]
    assert asked == [(tmp_path, False), (tmp_path, True)]


@pytest.mark.real_data
def test_data_on_the_real_files(srnn, real_data, tmp_path):
    code, out, _ = srnn("data", "verify", "qtdb", "--data-dir", real_data, "--json")
    assert code == 0
    assert len(strict(out)) >= 2
    assert all(row["ok"] for row in strict(out))
    code, out, _ = srnn(
        "data", "show", "ecg", "--data-dir", real_data, "--out", tmp_path / "real.svg", "--json"
    )
    assert code == 0
    assert strict(out)["steps"] == 1301
    assert "SIMULATED" not in (tmp_path / "real.svg").read_text()


def test_data_show_writes_a_figure_that_can_be_read(srnn, tmp_path, monkeypatch):
    from matplotlib.image import imread

    monkeypatch.chdir(tmp_path)
    where = ["data", "show", "ecg_sim", *SET]
    code, out, err = srnn(*where, "--part", "test", "--index", "1")
    assert (code, err) == (0, "")
    assert "24 steps at 250 Hz, 4 channels. Figure: ecg_sim-test-1.png" in out
    image = imread("ecg_sim-test-1.png")
    assert image.shape[0] > 300
    assert image.shape[1] > 800
    assert float(image[..., :3].std()) > 0.02, "blank"
    code, out, _ = srnn(*where, "--out", "deep/fig[b].svg", "--json")
    assert code == 0
    assert strict(out)["figure"] == "deep/fig[b].svg"
    text = Path("deep/fig[b].svg").read_text()
    assert ET.fromstring(text).tag.endswith("svg")
    assert "SIMULATED DATA" in text
    assert all(f"<!-- {name} -->" in text for name in qtdb.CLASSES)
    code, out, _ = srnn(*where, "--out", "fig[b].png")
    assert "Figure: fig[b].png" in out  # brackets are text, not markup
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [
        "ecg_sim-test-1.png",
        "fig[b].png",
        "fig[b].svg",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["show"], "data show: which one? Expected the name of a task."),
        (
            ["fetch"],
            "data fetch: which one? Expected the name of a data set: fsdd, hd, mnist, "
            "qtdb, shd, soli, speech_commands, ssc, timit.",
        ),
        (
            ["verify", "minst"],
            "There is no data set 'minst'. Did you mean 'mnist'? Known: fsdd, hd, mnist",
        ),
        (["show", "egc"], "There is no task 'egc'. Did you mean 'ecg'?"),
        (
            ["show", "ecg_sim", *SET, "--index", "8"],
            "--index 8: the train part of ecg_sim has recordings 0 … 7.",
        ),
        (
            ["show", "ecg_sim", *SET, "--index", "-1"],
            "--index -1: the train part of ecg_sim has recordings 0 … 7.",
        ),
        (
            ["show", "ecg_sim", *SET, "--out", "fig.xyz"],
            "fig.xyz: no figure format '.xyz'. Known: ",
        ),
        (
            ["show", "ecg_sim", *SET, "--out", "file/below.png"],
            "file/below.png cannot be written: ",
        ),
        (
            ["show", "ecg_sim", *SET, "--out", "folder.png"],
            "folder.png cannot be written: Is a directory",
        ),
    ],
)
def test_data_refuses(srnn, tmp_path, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("folder.png").mkdir()
    refuses(srnn("data", *argv), "data", message)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]
    assert Path("file").read_text() == "mine"


# ── train, evaluate, energy ───────────────────────────────────────────────────────────────────────


def test_train_shows_epochs_results_and_where_the_run_is(finished):
    out, shown, said = finished
    assert len(re.findall(r"^epoch", said, re.M)) == 2
    assert f"Run folder: {out}" in shown
    metrics = Run(out).read("metrics.json")
    assert metrics["seed"] == 3
    assert f"{100 * metrics['test_accuracy']:.2f} %" in shown
    assert "ecg_sim, seed 3" in shown
    assert "SIMULATED DATA" in shown
    assert "no label" in shown  # a recall without any label
    assert "nan" not in shown
    assert f"Report: {out / 'report.html'}" in shown
    assert '<p class="mark">SIMULATED DATA</p>' in (out / "report.html").read_text()


def cells(table):
    return [str(cell) for column in table.columns for cell in (column.header, *column.cells)]


def test_simulated_results_never_show_a_published_number(finished):
    out, shown, _ = finished
    metrics = Run(out).read("metrics.json")
    assert metrics["published"] == []
    assert "85.9" not in shown
    published = [
        {"what": "test accuracy", "value": 0.859},
        {"what": "MAC per step", "value": 90},
        {"what": "energy per step (pJ)", "value": 325.7},
    ]
    for simulated in (True, False):
        both = tables.result({**metrics, "simulated": simulated, "published": published}, "title")
        assert len(both) == 2
        for table in both:
            assert ("published" in [column.header for column in table.columns]) != simulated
            assert len(table.columns) == (2 if simulated else 3)
        text = [cell for table in both for cell in cells(table)]
        assert len(text) > 20
        assert sum(cell in ("85.9 %", "90", "325.7") for cell in text) == (0 if simulated else 3)
        assert ("SIMULATED" in both[0].title) == simulated


def test_results_that_nothing_published_stands_beside(finished):
    """No column for it, and the convention is named as published only where a published number
    has it.
    """
    metrics = {**Run(finished[0]).read("metrics.json"), "simulated": False}
    text = [cell for table in tables.result(metrics, "title") for cell in cells(table)]
    assert not [cell for cell in text if "published" in cell]
    assert "all steps" in text
    beside = [{"what": "test accuracy", "value": 0.859}]
    shown = tables.result({**metrics, "published": beside}, "title")
    text = [cell for table in shown for cell in cells(table)]
    assert {"all steps, published convention", "published", "85.9 %"} <= set(text)


def test_only_layers_that_spike_have_a_rate(srnn, tmp_path):
    """The read-out's mean potential is none: not in the log, not in metrics.json, not in tables."""
    out = tmp_path / "run"
    leaky = ("network.output=leaky", "network.hidden=[6]", "epochs=1")
    words = [w for s in leaky for w in ("--set", s)]
    code, shown, _ = srnn("train", "ecg_sim", *SET, *words, "--out", out)
    run = Run(out)
    assert code == 0
    assert [r is None for r in run.read("metrics.json")["firing_rates"]] == [False, True]
    assert all([r is None for r in row["firing_rates"]] == [False, True] for row in run.rows())
    assert "layer 1" in shown
    assert "layer 2" not in shown
    net = load_run(out)[3]
    told = Activity.stored(run.read("metrics.json"))
    other = replace(told, layers=(told.layers[0], -11.5))
    assert energy.counts(net, told) == energy.counts(net, other)


def test_train_prints_only_json_with_json(srnn, finished, tmp_path):
    code, out, _ = srnn(
        "train", "ecg_sim", *SET, "--seed", "3", "--out", tmp_path / "run", "--json"
    )
    assert code == 0
    result = strict(out)
    stored = Run(finished[0]).read("metrics.json")
    assert {k: v for k, v in result.items() if k != "seconds"} == {
        k: v for k, v in stored.items() if k != "seconds"
    }
    assert (tmp_path / "run/report.html").is_file()  # the same run folder as without --json


def test_several_seeds(srnn, tmp_path):
    code, out, _ = srnn(
        "train", "ecg_sim", *SET, "--seeds", "0", "1", "--out", tmp_path / "both", "--json"
    )
    assert code == 0
    results = strict(out)
    assert [r["seed"] for r in results] == [0, 1]
    assert [Run(tmp_path / f"both/seed{s}").read("metrics.json")["seed"] for s in (0, 1)] == [0, 1]
    table = tables.spread(results, "title")
    accuracy = [r["test_accuracy"] for r in results]
    mean = f"{50 * sum(accuracy):.4g} %"
    assert mean in cells(table)
    for rules in ("yin2021", "measured"):
        energies = [r["energy"][rules]["energy"] for r in results]
        assert f"energy per step (pJ), rules {rules}" in cells(table)
        assert f"{sum(energies) / 2:.4g}" in cells(table)
    refuses(
        srnn("train", "ecg_sim", "--seed", "0", "--seeds", "1"),
        "train",
        "--seed and --seeds: give one of them.",
    )


def test_resume_takes_settings_and_seed_from_the_run(srnn, finished, tmp_path):
    import shutil

    out = Path(shutil.copytree(finished[0], tmp_path / "run"))
    before = Run(out).read("metrics.json")
    code, text, _ = srnn("train", "ecg_sim", "--resume", "--out", out, "--json")
    assert code == 0
    assert {k: v for k, v in strict(text).items() if k != "seconds"} == {
        k: v for k, v in before.items() if k != "seconds"
    }
    message = refuses(
        srnn("train", "ecg_sim", "--resume", "--out", out, "--seed", "4"),
        "train",
        "was started with other settings (seed: 3 → 4)",
    )
    assert "A resumed run keeps its settings" in message


def test_evaluate(srnn, finished):
    out, _, _ = finished
    metrics = Run(out).read("metrics.json")
    for part, key in (("validation", "validation_accuracy"), ("test", "test_accuracy")):
        code, text, err = srnn("evaluate", out, "--part", part, "--json")
        assert (code, err) == (0, "")
        result = strict(text)
        assert (result["part"], result["simulated"], result["accuracy"]) == (
            part,
            True,
            metrics[key],
        )
    assert result["energy"] == metrics["energy"]
    code, text, _ = srnn("evaluate", out)
    assert code == 0
    assert "SIMULATED DATA" in text
    assert f"{metrics['test_accuracy']:.6g}" in text
    assert "no label" in text


def test_energy_of_the_published_network(srnn):
    code, out, err = srnn("energy", "ecg", "--rate", "0.282", "--json")
    assert (code, err) == (0, "")
    counts = strict(out)
    assert set(counts) == {"yin2020", "yin2021", "bittar2022", "measured", "reasons", "lstm"}
    assert counts["yin2021"]["mac"] == 90
    assert round(counts["yin2021"]["energy"], 1) == 325.7
    assert sum(layer["mac"] for layer in counts["yin2021"]["layers"]) == 90
    code, out, _ = srnn("energy", "ecg", "--rate", "0.282")
    assert code == 0
    assert "325.7" in out
    assert "assumed firing rate 0.282" in out
    assert counts["lstm"]["yin2021"]["mac"] == 6588  # a dense LSTM of 36 units, and its read-out
    assert sum(counts["reasons"].values()) == pytest.approx(
        counts["measured"]["energy"] - counts["yin2021"]["energy"]
    )
    assert "measured is +145.2 pJ from yin2021" in out
    assert "dense LSTM of the same hidden sizes (36), int8" in out


def test_energy_of_another_process_and_with_memory(srnn):
    def of(*more: str) -> dict:
        code, out, err = srnn("energy", "soli", "--rate", "0.0403", *more, "--json")
        assert (code, err) == (0, "")
        return strict(out)

    published, analog, small, stored = (
        of(),
        of("--analog"),
        of("--analog", "--process", "int8"),
        of("--analog", "--memory", "sram8k"),
    )
    assert published["yin2021"]["mac"] == 3083
    assert analog["measured"]["energy"] > 50 * published["measured"]["energy"]
    assert small["measured"]["energy"] == pytest.approx(
        0.23 * analog["measured"]["mac"] + 0.03 * analog["measured"]["ac"]
    )
    assert stored["measured"]["energy"] == pytest.approx(
        analog["measured"]["energy"] + 5 * stored["measured"]["accesses"]
    )
    assert stored["yin2021"]["energy"] == analog["yin2021"]["energy"]
    assert stored["lstm"]["measured"]["traffic"] > 0
    code, out, _ = srnn("energy", "soli", "--rate", "0.0403", "--analog", "--memory", "sram8k")
    assert code == 0
    assert "accesses / step" in out
    refuses(
        srnn("energy", "soli", "--rate", "0.1", "--process", "int7"),
        "energy",
        "--process: there is no 'int7'. Did you mean 'int8'?",
    )
    refuses(
        srnn("energy", "soli", "--rate", "0.1", "--memory", "flash"),
        "energy",
        "--memory: there is no 'flash'.",
    )


def test_energy_of_a_run_uses_its_measured_rates(srnn, finished):
    out, _, _ = finished
    code, text, err = srnn("energy", out, "--json")
    assert (code, err) == (0, "")
    counts = strict(text)
    for rules, count in Run(out).read("metrics.json")["energy"].items():
        assert {k: counts[rules][k] for k in count} == pytest.approx(count)
    refuses(
        srnn("energy", out, "--rate", "0.1"),
        "energy",
        "is a run: its rates were measured. --rate, --analog, --set and --variant are for a task.",
    )
    refuses(
        srnn("energy", "ecg"),
        "energy",
        "an untrained network has no firing rate. Assume "
        "one with --rate 0.1, or name a run folder.",
    )
    for rate in ("-0.1", "1.5", "nan"):
        refuses(
            srnn("energy", "ecg", f"--rate={rate}"),
            "energy",
            f"--rate is {float(rate)}; expected a number of at least 0 and at most 1.",
        )
    refuses(
        srnn("energy", "runs/nothing", "--rate", "0.1"),
        "energy",
        "There is no task 'runs/nothing'.",
    )


def test_a_run_that_is_not_finished_or_no_run(srnn, finished, tmp_path):
    import shutil

    out = Path(shutil.copytree(finished[0], tmp_path / "run"))
    (out / "metrics.json").unlink()
    refuses(
        srnn("energy", out),
        "energy",
        "is not finished, so its rates are not known. Let it go on with srnn train",
    )
    shutil.rmtree(out / "checkpoints")
    refuses(srnn("evaluate", out), "evaluate", "There is no checkpoint")
    refuses(srnn("evaluate", tmp_path), "evaluate", "is no run folder: it has no task.json.")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--threads", "0"], "--threads is 0; expected a number of at least 1 and at most 512."),
        (["--seed", "-1"], "seed is -1; expected a number of at least 0 and at most 4294967295."),
        (["--device", "gpu"], "device: there is no 'gpu'. Did you mean 'cpu'? Known: cpu, cuda."),
        (["--device", "meta"], "device: there is no 'meta'. Known: cpu, cuda."),
        (
            ["--device", "cpu:3"],
            "device 'cpu:3' cannot be used here: there are 1 devices of kind cpu.",
        ),
        (["--backend", "fast"], "'fast'"),
    ],
)
def test_options_that_do_not_work(srnn, tmp_path, argv, message):
    refuses(srnn("train", "ecg_sim", *SET, *argv, "--out", tmp_path / "run"), "train", message)
    assert list(tmp_path.iterdir()) == []


def test_exit_code_of_a_run_that_diverged(srnn, tmp_path):
    result = srnn(
        "train",
        "ecg_sim",
        *SET,
        "--set",
        "network.tau_min=null",
        "--set",
        "network.tau_m=[0,0]",
        "--out",
        tmp_path / "run",
    )  # exp(-1/0) has no derivative
    message = refuses(result, "train", "Epoch 1, batch 1: the gradient norm is not finite", code=1)
    assert "the first such tensor is the gradient of layers.0.constants.tau_m" in message
    assert "no checkpoint was written yet" in message
    assert "Usual repairs" in message
    assert Run(tmp_path / "run").read("diverged.json")["message"] in message


def test_exit_code_of_a_run_that_was_interrupted(srnn, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise loop.Interrupted("Stopped in epoch 1 after batch 1 of 2; the checkpoint is written.")

    monkeypatch.setattr(training, "fit", stop)
    code, out, err = srnn(
        "train", "ecg_sim", "--out", tmp_path / "a run", "--data-dir", tmp_path, "--threads", "2"
    )
    assert (code, out) == (130, "")
    assert "the checkpoint is written" in err
    (line,) = [line for line in err.splitlines() if line.startswith("Go on with: ")]
    args = cli.command_line().parse_args(shlex.split(line.removeprefix("Go on with: "))[1:])
    assert (args.task, args.resume, args.out, args.data_dir) == (
        "ecg_sim",
        True,
        tmp_path / "a run",
        str(tmp_path),
    )
    assert (args.threads, args.device, args.tensorboard) == (2, "cpu", False)


# ── ten bad inputs ────────────────────────────────────────────────────────────────────────────────


def with_nan(x, y):
    x[3, 5, 1] = np.nan
    return x, y


def label_out_of_range(x, y):
    y[2, 7, 0] = 6
    return x, y


def spoil(path, content):
    path.write_bytes(content(path.read_bytes()))


BAD_FILES = {
    "wrong shape": (
        lambda d: write_mat(d, change=lambda x, y: (x[..., :3], y)),
        "QTDB_train.mat: x has shape (12, 24, 3) and y (12, 24, 6); expected (N, T, 4) and "
        "(N, T, 6).",
    ),
    "NaN": (
        lambda d: write_mat(d, change=with_nan),
        "QTDB_train.mat: x[3, 5, 1] is nan; expected events in (-1, 0, 1).",
    ),
    "label out of range": (
        lambda d: write_mat(d, change=label_out_of_range),
        "QTDB_train.mat: y[2, 7, 0] is 6.0; expected one-hot labels in (0, 1).",
    ),
    "empty": (
        lambda d: spoil(write_mat(d), lambda b: b""),
        "QTDB_train.mat is empty.\n  Delete it and get it anew with `srnn data fetch qtdb`",
    ),
    "truncated": (
        lambda d: spoil(write_mat(d), lambda b: b[: len(b) // 2]),
        "QTDB_train.mat is truncated or damaged (",
    ),
    "missing": (
        lambda d: d.mkdir(),
        "No qtdb/QTDB_train.mat or QTDB_train.mat in {d}.\n"
        "  Get the data with `srnn data fetch qtdb`, or say where it lies with --data-dir",
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_data_is_refused_before_anything_is_written(srnn, tmp_path, kind):
    make, message = BAD_FILES[kind]
    data = tmp_path / "data"
    make(data)
    if kind != "missing":
        write_mat(data, "test")
    before = {p.name: p.read_bytes() for p in data.iterdir()}
    for argv in (
        ["train", "ecg", "--out", tmp_path / "run"],
        ["data", "show", "ecg", "--out", tmp_path / "fig.png"],
    ):
        refuses(srnn(*argv, "--data-dir", data), argv[0], message.replace("{d}", str(data)))
    assert {p.name: p.read_bytes() for p in data.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_good_data_in_the_same_form_is_taken(srnn, tmp_path):
    """The files above are refused for what was spoilt, not for how they were made."""
    write_mat(tmp_path / "data")
    write_mat(tmp_path / "data", "test", n=4)
    code, out, err = srnn(
        "train",
        "ecg",
        "--data-dir",
        tmp_path / "data",
        "--set",
        "epochs=1",
        "--set",
        "batch=6",
        "--out",
        tmp_path / "run",
        "--json",
    )
    assert code == 0, err
    assert strict(out)["simulated"] is False
    assert strict(out)["test_recordings"] == 4
    text = (tmp_path / "run/report.html").read_text()
    assert "SIMULATED" not in text
    assert "85.9 %" in text


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "network.hiden=8",
            "srnn train: --set network.hiden: AdaptiveNetwork has no setting "
            "'hiden'. Did you mean 'hidden'? "
            "Known: activation, adaptive, b0, beta, beta_out, bidirectional, dropout, eta0, "
            "hidden, neuron, norm, output, recurrent, recurrent_start, shared, "
            "sparsity, surrogate, tau_adp, tau_adp_out, tau_m, tau_min, tau_out, trained, "
            "weight_gain.\n",
        ),
        ("epochs=many", "srnn train: --set epochs=many: 'many' is not of type int.\n"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(srnn, tmp_path, setting, message):
    assert (
        refuses(
            srnn("train", "ecg_sim", *SET, "--set", setting, "--out", tmp_path / "run"),
            "train",
            "--set",
        )
        == message
    )
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_refused(srnn, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file/run"
    message = refuses(srnn("train", "ecg_sim", *SET, "--out", out), "train", "cannot be created")
    assert message == (
        f"srnn train: {out} cannot be created: Not a directory. Choose a folder "
        "you may write to with --out.\n"
    )

    def denied(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    message = refuses(
        srnn("train", "ecg_sim", *SET, "--out", tmp_path / "run"),
        "train",
        "cannot be created: Permission denied",
    )
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_resume_of_a_different_task_is_refused(srnn, finished, tmp_path):
    out, _, _ = finished
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert len(before) > 6
    message = refuses(
        srnn("train", "ecg", "--resume", "--out", out, "--data-dir", tmp_path),
        "train",
        "is a run of task",
    )
    assert message == (
        f"srnn train: {out} is a run of task 'ecg_sim', not 'ecg'. Resume it as "
        "that task, or choose another --out.\n"
    )
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_a_folder_that_is_taken_or_no_run_is_refused(srnn, finished, tmp_path):
    out, _, _ = finished
    refuses(
        srnn("train", "ecg_sim", *SET, "--out", out),
        "train",
        "exists already. Continue that run with --resume, or choose another folder",
    )
    refuses(
        srnn("train", "ecg_sim", "--resume", "--out", tmp_path / "none"),
        "train",
        "is no run folder: it has no task.json",
    )
    assert list(tmp_path.iterdir()) == []


def test_every_setting_of_a_task_is_listed_as_set_takes_it(srnn):
    code, out, _ = srnn("tasks", "ecg", "--json")
    settings = json.loads(out)
    assert code == 0
    assert settings["optimiser.rates.layers.0.constants.tau_*"] == "3.0"
    assert settings["schedule.kind"] == "cosine"
    assert len(settings) >= 38
    task = tasks.load("ecg")
    for path, value in settings.items():  # each is accepted as it stands, and changes nothing
        if path not in ("data", "network", "network.surrogate"):  # a choice, then its settings
            assert override(task, [f"{path}={value}"]) == task or path in (
                "decode",
                "schedule",
                "optimiser",
            )
    code, out, _ = srnn("tasks", "ecg")
    assert "epochs=300" in out
    refuses(srnn("tasks", "egc"), "tasks", "Did you mean 'ecg'?")


def test_several_seeds_are_refused_before_the_first_is_trained(srnn, tmp_path):
    (tmp_path / "runs" / "seed1").mkdir(parents=True)
    (tmp_path / "runs" / "seed1" / "notes.txt").write_text("mine")
    refuses(
        srnn("train", "ecg_sim", *SET, "--seeds", "0", "1", "--out", tmp_path / "runs"),
        "train",
        "seed1 exists already",
    )
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["seed1"]
    refuses(
        srnn("train", "ecg_sim", *SET, "--seeds", "3", "3", "--out", tmp_path / "runs"),
        "train",
        "--seeds 3 3: one is given twice.",
    )


# ── many tasks ────────────────────────────────────────────────────────────────────────────────────


def test_the_table_lists_every_task(srnn, tmp_path):
    code, out, err = srnn("tasks", "--data-dir", tmp_path)
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line.split()}
    assert [name for name in tasks.names() if name not in lines] == []
    assert len(tasks.names()) == 14
    assert max(map(len, out.splitlines())) <= 160
    for name, what in (
        ("shd", "90.4 %"),
        ("shd", "fetch shd"),
        ("shd", "250 x 700"),
        ("ecg_sim", "comes with the package"),
        ("my", "as the data"),
    ):
        assert what in lines[name], lines[name]
    code, out, err = srnn("tasks", "--data-dir", tmp_path, "--json")
    assert (code, err) == (0, "")
    rows = strict(out)
    assert [row["task"] for row in rows] == list(tasks.names())
    for row in rows:
        task = tasks.load(row["task"])
        assert row["published"] == [] or row["published"][0].keys() == {
            "what",
            "value",
            "source",
            "protocol",
            "unused",
        }
        if row["task"] != "my":
            assert row["parameters"] == sum(p.numel() for p in task.build().parameters())
            assert row["classes"] == list(task.classes)


def test_variants_are_listed_with_what_they_stand_for(srnn):
    code, out, err = srnn("tasks", "shd")
    assert (code, err) == (0, "")
    assert [v.name for v in tasks.load("shd").variants] == ["yin2020", "bittar"]
    for text in (
        "--variant yin2020",
        "--variant bittar",
        "--set encode.step_seconds=0.010",
        "--set network=CurrentNetwork",
    ):
        assert text in out
    code, out, _ = srnn("tasks", "shd", "--json")
    assert strict(out)["variant yin2020"] == ["encode.step_seconds=0.010", "encode.steps=100"]
    code, out, _ = srnn("tasks", "my")
    assert "Variants" not in out


def test_check(srnn):
    code, out, err = srnn("check", "ecg", "fsdd", "my")
    assert code == 0
    shown = ["[1 of 3] checking ecg …", "[2 of 3] checking fsdd …", "[3 of 3] checking my …"]
    assert [line for line in err.splitlines() if "checking" in line] == shown
    assert "3 of 3 tasks work." in out
    assert "FAILED" not in out
    assert len(re.findall(r"^\s*(?:ecg|fsdd|my)\s+ok\s+8 x \d+ x \d+", out, re.M)) == 3, out
    refuses(srnn("check", "egc"), "check", "There is no task 'egc'. Did you mean 'ecg'?")


def test_check_says_which_task_failed(srnn, monkeypatch):
    def broken(root, **kwargs):
        raise DataError("the file is damaged")

    monkeypatch.setattr(own, "read", broken)
    code, out, _ = srnn("check", "ecg_sim", "my", "--json")
    assert code == 2
    rows = strict(out)
    assert [(row["task"], row["ok"]) for row in rows] == [("ecg_sim", True), ("my", False)]
    assert rows[1]["detail"] == "the file is damaged"
    code, out, _ = srnn("check", "my")
    assert code == 2
    assert "0 of 1 tasks work." in out
    assert "FAILED" in out


def test_own_data_from_the_command_line(srnn, tmp_path, monkeypatch):
    from matplotlib.image import imread

    path = own.made_up(tmp_path / "made", "npz")
    where = ["--set", f"data={path}"]
    code, out, err = srnn(
        "data", "show", "my", *where, "--part", "test", "--out", tmp_path / "one.png", "--json"
    )
    assert (code, err) == (0, "")
    assert (strict(out)["rate"], strict(out)["channels"]) == (100.0, 2)  # one label a recording
    assert imread(tmp_path / "one.png").std() > 0.02
    train = [
        "train",
        "my",
        *where,
        "--set",
        "network=CellNetwork",
        "--set",
        "network.hidden=[4]",
        "--set",
        "epochs=1",
        "--set",
        "batch=64",
    ]
    out_folder = tmp_path / "run"
    code, out, err = srnn(*train, "--out", out_folder)
    assert code == 0, err
    assert "Parts share no group" in out
    assert (out_folder / "report.html").is_file()
    before = (out_folder / "metrics.json").read_text()
    monkeypatch.setattr(report, "of_run", lambda *args: "none written")
    assert srnn(*train, "--out", out_folder, "--resume")[0] == 0  # the same words again
    assert srnn("train", "my", "--out", out_folder, "--resume")[0] == 0
    assert (out_folder / "metrics.json").read_text() == before
    assert srnn("evaluate", out_folder, "--json")[0] == 0
    assert srnn("energy", out_folder, "--json")[0] == 0
    code, out, err = srnn("energy", "my", *where, "--rate", "0.1", "--json")
    assert (code, err) == (0, "")
    (mac,) = {count["mac"] for name, count in strict(out).items() if name == "yin2021"}
    net = override(tasks.load("my"), [f"data={path}"]).resolved(None).build()
    assert (net.inputs, net.outputs) == (2, 3)
    assert mac == energy.count(net, energy.Activity.assumed(net, 0.1), energy.Yin2021()).mac
    refuses(
        srnn("energy", "my", "--rate", "0.1"),
        "energy",
        "my: which data? Give a file or folder: --set data=PATH",
    )
    refuses(
        srnn("train", "my", "--out", tmp_path / "none"),
        "train",
        "my: which data? Give a file or folder: --set data=PATH",
    )
    refuses(
        srnn("train", "my", "--set", f"data={tmp_path / 'no'}", "--out", tmp_path / "none"),
        "train",
        "There is no file or folder",
    )
    assert not (tmp_path / "none").exists()


def test_a_variant_is_taken_before_the_settings_and_kept_by_a_run(srnn, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "of_run", lambda *args: "none written")
    refuses(
        srnn("train", "shd", "--variant", "bitar"),
        "train",
        "shd has no variant 'bitar'. Did you mean 'bittar'?",
    )
    refuses(
        srnn("train", "ecg_sim", "--variant", "paper"), "train", "ecg_sim has no variant 'paper'."
    )
    shd.made_up(tmp_path / "data")
    out, settings = tmp_path / "run", ["network.hidden=[3,3]", "epochs=1", "batch=64"]
    train = ["train", "shd", "--data-dir", tmp_path / "data", "--out", out]
    small = [word for setting in settings for word in ("--set", setting)]
    code, _, err = srnn(*train, "--variant", "yin2020", *small)
    assert code == 0, err
    stored = Run(out).stored()["resolved"]
    assert (
        stored
        == describe(override(varied(tasks.load("shd"), "yin2020"), settings))
        != describe(override(tasks.load("shd"), settings))
    )
    assert srnn(*train, "--resume")[0] == 0
    assert srnn(*train, "--variant", "yin2020", *small, "--resume")[0] == 0  # the same words again
    refuses(
        srnn(*train, "--variant", "bittar", "--resume"),
        "train",
        "was started with other settings (batch: 64 → 128; ",
    )
    assert Run(out).stored()["resolved"] == stored
