"""Sweeps: what can be searched, many processes on one study, what is killed, diverges, or is
pruned.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from helpers import command, until
from srnn import tasks
from srnn.cli import main as cli
from srnn.locks import FileLock
from srnn.search import space, sweep
from srnn.search.sweep import Sweep
from srnn.tasks.settings import override
from srnn.training import train
from srnn.training.runs import Run

optuna = pytest.importorskip("optuna")
TINY = [
    "data.train=8",
    "data.validation=4",
    "data.test=5",
    "data.steps=24",
    "epochs=2",
    "network.hidden=[6]",
]
SET = [text for setting in TINY for text in ("--set", setting)]
LR = ["--search", "optimiser.lr=1e-3:1e-1:log"]
BEGUN = 120  # seconds until a process has surely begun; never reached in a test that passes


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def tiny(*more):
    return override(tasks.load("ecg_sim"), [*TINY, *more])


def plan(out, trials=3, searched=("optimiser.lr=1e-3:1e-1:log",), more=(), **kwargs):
    task = tiny(*more)
    return Sweep(task, space.parse(task, searched), trials, out, "s", out / "journal.log", **kwargs)


def started(folder, *argv):
    """Start a command of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return command("sweep", "ecg_sim", *SET, *argv, cwd=folder, **pipes)


# ── the search space ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "low", "high", "log"),
    [
        ("optimiser.lr=1e-3:1e-1:log", 0.001, 0.1, True),
        ("optimiser.lr=1:2", 1.0, 2.0, False),
        ("batch=4:16", 4, 16, False),
        ("epochs = 1:64:log", 1, 64, True),
        ("clip_norm=1:2", 1.0, 2.0, False),
        ("optimiser.rates.layers.0.constants.tau_*=1:5", 1.0, 5.0, False),
    ],
)
def test_the_type_of_a_range_is_that_of_the_field(text, low, high, log):
    (d,) = space.parse(tiny(), [text])
    assert (d.low, d.high, d.log, d.values) == (low, high, log, ())
    assert type(d.low) is type(d.high) is type(low)
    chosen = [d.suggest(optuna.trial.FixedTrial({d.path: value})) for value in (d.low, d.high)]
    for value in chosen:
        override(tiny(), [f"{d.path}={value}"])
    assert [type(low)(value) for value in chosen] == [low, high]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("batch=4,8, 16", ("4", "8", "16")),
        ("schedule.kind=cosine,step", ("cosine", "step")),
        ("network.hidden=[4],[6]", ("[4]", "[6]")),
        ("start=Zeros,UniformStart", ("Zeros", "UniformStart")),
        ("clip_norm=null,1", ("null", "1")),
        ("decode.spread=true,false", ("true", "false")),
    ],
)
def test_values_are_taken_as_set_takes_them(text, values):
    (d,) = space.parse(tiny(), [text])
    assert d.values == values
    assert [d.suggest(optuna.trial.FixedTrial({d.path: v})) for v in values] == list(values)


BAD = [
    (["--search", "optimiser.lr"], "--search 'optimiser.lr': expected field=low:high"),
    (["--search", "=1:2"], "--search '=1:2': expected field="),
    (
        ["--search", "optimiser.rate=1:2"],
        "--search optimiser.rate: Optimiser has no setting 'rate'.",
    ),
    (["--search", "optimiser.lr=0.1:0.01"], "expected low < high, got 0.1 and 0.01"),
    (["--search", "optimiser.lr=0.1:0.1"], "expected low < high"),
    (["--search", "network.dropout=0:0.5:log"], "a logarithmic range starts above 0"),
    (["--search", "optimiser.lr=0:1"], "optimiser.lr is 0.0; expected a number more than"),
    (["--search", "optimiser.lr=a:b"], "--search optimiser.lr=a: 'a' is not of type float."),
    (["--search", "optimiser.lr=1:inf"], "--search optimiser.lr=inf: 'inf' is not"),
    (["--search", "optimiser.lr=1:2:lin"], "expected nothing or 'log' after low:high, not 'lin'"),
    (["--search", "optimiser.lr=1:2:log:3"], "--search optimiser.lr=1:2:log:3"),
    (["--search", "optimiser.lr=0.1"], "that is one value. Expected low:high"),
    (["--search", "batch=1.5:3"], "--search batch=1.5: '1.5' is not of type int."),
    (["--search", "batch=0:3"], "batch is 0"),
    (["--search", "batch=4,4"], "4 is given twice"),
    (["--search", "batch=4,"], "one of the values is empty"),
    (["--search", "schedule.kind=cosine,cosinus"], "--search schedule.kind=cosinus"),
    (
        ["--search", "balanced=false:true"],
        "'false' gives balanced no number; give the values: balanced=a,b,c.",
    ),
    (["--search", "start=Zero,UniformStart"], "Did you mean 'Zeros'?"),
    (["--search", "refit=false,true"], "refit trains on the validation part"),
    ([*LR, "--set", "refit=true"], "refit trains on the validation part"),
    ([*LR, "--set", "published_protocol=true"], "published_protocol selects on the test part"),
    ([*LR, *LR], "--search optimiser.lr is given twice"),
    ([*LR, "--set", "optimiser.lr=0.1"], "optimiser.lr is given by --set and by --search"),
    ([], "nothing is searched. Give at least one --search"),
    ([*LR, "--trials", "0"], "--trials is 0"),
    ([*LR, "--jobs", "0"], "--jobs is 0"),
    ([*LR, "--threads", "0"], "--threads is 0"),
    ([*LR, "--seed", "-1"], "seed is -1"),
    ([*LR, "--device", "gpu"], "device: there is no 'gpu'"),
    (
        [*LR, "--journal", "a", "--storage", "sqlite:///b"],
        "--journal and --storage: give one of them.",
    ),
    ([*LR, "--storage", "nonsense"], "nonsense cannot be used as a study"),
    ([*LR, "--journal", "notes.txt"], "notes.txt is no journal of Optuna"),
    ([*LR, "--out", "notes.txt"], "notes.txt"),
]


@pytest.mark.parametrize(("argv", "message"), BAD, ids=[" ".join(argv) for argv, _ in BAD])
def test_bad_input_is_one_message_and_leaves_nothing_behind(srnn, tmp_path, argv, message):
    (tmp_path / "notes.txt").write_text("mine\nno newline")
    code, out, err = srnn("sweep", "ecg_sim", *SET, *argv)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("srnn sweep: ")
    assert len(re.findall(r"^srnn ", err, re.M)) == 1
    assert "Traceback" not in err
    assert (tmp_path / "notes.txt").read_text() == "mine\nno newline"
    left = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "notes.txt"]
    assert [p for p in left if ".locks" not in str(p)] == []


# ── one process ───────────────────────────────────────────────────────────────────────────────────


def test_a_sweep_trains_judges_by_validation_and_says_how_to_train_the_best(
    srnn, tmp_path, monkeypatch
):
    seen = []
    real = train.assess
    monkeypatch.setattr(
        train,
        "assess",
        lambda net, task, samples, **kw: (
            seen.append(len(samples)) or real(net, task, samples, **kw)
        ),
    )
    code, text, _ = srnn(
        "sweep", "ecg_sim", *SET, *LR, "--search", "batch=2,4", "--trials", 4, "--seed", 1, "--json"
    )
    assert code == 0
    assert set(seen) == {4}, (
        "only the validation part (4 recordings) is looked at, never the test part (5)"
    )
    monkeypatch.undo()
    found = json.loads(text, parse_constant=pytest.fail)
    assert (found["task"], found["simulated"], [r["trial"] for r in found["trials"]]) == (
        "ecg_sim",
        True,
        [0, 1, 2, 3],
    )
    assert len({r["settings"]["optimiser.lr"] for r in found["trials"]}) == 4
    for row in found["trials"]:
        run = Run(tmp_path / row["folder"])
        metrics, resolved = run.read("metrics.json"), run.stored()["resolved"]
        assert not [k for k in metrics if k.startswith("test")]
        assert row["state"] == "complete"
        assert (
            row["validation_accuracy"]
            == metrics["validation_accuracy"]
            == max(r["validation_accuracy"] for r in run.rows())
        )
        assert {
            "optimiser.lr": repr(resolved["optimiser"]["lr"]),
            "batch": str(resolved["batch"]),
        } == row["settings"]
        assert 1e-3 <= resolved["optimiser"]["lr"] <= 1e-1
    best = max(found["trials"], key=lambda r: (r["validation_accuracy"], -r["trial"]))
    assert found["best"] == best
    os.chdir(tmp_path)
    assert cli.main([*shlex.split(found["command"])[1:], "--out", "best"]) == 0
    trained = Run(tmp_path / "best").read("metrics.json")
    assert trained["validation_accuracy"] == best["validation_accuracy"], (
        "the command trains the very same network"
    )
    assert trained["test_recordings"] == 5
    table = list(csv.DictReader((tmp_path / found["csv"]).open()))
    assert [
        (int(r["trial"]), float(r["validation_accuracy"]), r["optimiser.lr"], r["batch"])
        for r in table
    ] == [
        (
            r["trial"],
            r["validation_accuracy"],
            r["settings"]["optimiser.lr"],
            r["settings"]["batch"],
        )
        for r in found["trials"]
    ]


def test_a_sweep_that_goes_on_ends_as_one_that_never_stopped(srnn, tmp_path):
    def lines(*argv):
        code, text, _ = srnn("sweep", "ecg_sim", *SET, *LR, "--json", *argv)
        assert code == 0
        return [
            (r["trial"], r["settings"], r["validation_accuracy"])
            for r in json.loads(text)["trials"]
        ]

    assert len(lines("--trials", 2, "--out", "a")) == 2
    stopped = lines("--trials", 4, "--out", "a")
    assert stopped == lines("--trials", 4, "--out", "b")
    assert lines("--trials", 3, "--out", "a") == stopped  # there are enough: nothing is run
    assert len(list((tmp_path / "a").glob("trial-*"))) == 4


def test_the_table_names_best_and_marks_simulated_data(srnn):
    code, text, said = srnn("sweep", "ecg_sim", *SET, *LR, "--trials", 2)
    assert code == 0
    assert "2 trials (SIMULATED DATA)" in text
    assert "no estimate for new data" in text
    assert "  srnn train ecg_sim --set data.train=8" in text
    assert "New study 'ecg_sim-sweep' in runs/ecg_sim-sweep/journal.log" in said
    assert len(re.findall(r"^trial \d: optimiser.lr=", said, re.M)) == 2
    code, _, said = srnn("sweep", "ecg_sim", *SET, *LR, "--trials", 2)
    assert (code, "Joining the study" in said) == (0, True)


def test_trials_that_diverge_or_do_not_fit_fail_with_the_reason_and_the_search_goes_on(srnn):
    bad = [
        "--set",
        "network.tau_min=null",
        "--search",
        "network.tau_m=[0,0],[20,5]",
        "--search",
        "decode.skip=0,23",
    ]
    code, text, said = srnn(
        "sweep",
        "ecg_sim",
        *SET,
        *bad,
        "--set",
        "truncation=Truncation",
        "--set",
        "truncation.chunk=24",
        "--trials",
        8,
        "--json",
    )
    assert code == 0, said
    rows = json.loads(text)["trials"]
    assert len(rows) == 8
    failed = [r for r in rows if r["settings"]["network.tau_m"] == "[0,0]"]
    assert failed
    assert {r["state"] for r in failed} == {"failed"}
    assert all("is not finite" in r["reason"] for r in failed)
    assert {r["state"] for r in rows if r not in failed} == {"complete"}
    code, text, said = srnn(
        "sweep",
        "ecg_sim",
        *SET,
        "--search",
        "network.tau_m=[0,0],[0,1e-9]",
        *bad[:2],
        "--trials",
        2,
        "--out",
        "none",
    )
    assert code == 1
    assert "No trial gave an accuracy." in text


def test_settings_that_do_not_fit_together_fail_one_trial(tmp_path):
    searched = ["truncation.chunk=4,24", "decode.skip=0,8"]  # each fits alone
    made = plan(
        tmp_path,
        10,
        searched,
        more=["truncation=Truncation", "truncation.chunk=24", "decode.skip=0"],
    )
    made.prepare()
    sweep.work(made)
    rows = sweep.results(made)["trials"]
    for row in rows:
        apart = row["settings"] == {"truncation.chunk": "4", "decode.skip": "8"}
        assert row["state"] == ("failed" if apart else "complete")
        assert ("truncation.chunk is 4 with decode.skip=8" in row["reason"]) == apart
    assert {r["state"] for r in rows} == {"failed", "complete"}


def test_pruned_trials_were_worse_than_the_median(tmp_path):
    made = plan(
        tmp_path, 12, ["optimiser.lr=1e-9,0.02"], more=["epochs=4", "data.train=16"], prune=True
    )
    made.prepare()
    sweep.work(made)
    trials = made.open().get_trials()
    pruned = [t for t in trials if t.state.name == "PRUNED"]
    assert pruned
    assert len(trials) == 12
    for t in pruned:
        last, best = max(t.intermediate_values), max(t.intermediate_values.values())
        others = sorted(
            o.intermediate_values[last] for o in trials[: t.number] if o.state.name == "COMPLETE"
        )
        assert len(others) >= 4
        assert best < others[len(others) // 2]
        assert len(Run(tmp_path / f"trial-{t.number:04d}").rows()) == last
        assert t.user_attrs["reason"].startswith(f"pruned after epoch {last}")
    assert {row["state"] for row in sweep.results(made)["trials"]} == {"complete", "pruned"}
    never = plan(tmp_path / "never", 7, ["optimiser.lr=1e-9,0.02"], more=["epochs=3"])
    never.prepare()
    sweep.work(never)
    assert {row["state"] for row in sweep.results(never)["trials"]} == {"complete"}


# ── the study ─────────────────────────────────────────────────────────────────────────────────────


def test_a_study_is_joined_only_by_the_same_search(srnn, tmp_path):
    assert srnn("sweep", "ecg_sim", *SET, *LR, "--trials", 1)[0] == 0
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for argv, message in [
        (["--search", "optimiser.lr=1e-3:1"], "searches something else (search: "),
        ([*LR, "--set", "epochs=3"], "searches something else (resolved.epochs: 2 → 3)"),
        ([*LR, "--seed", "1"], "searches something else (seed: 0 → 1)"),
        ([*LR, "--journal", "other.log"], "runs/ecg_sim-sweep holds the runs of another sweep"),
        (
            [
                *LR,
                "--study",
                "other",
                "--journal",
                "runs/ecg_sim-sweep/journal.log",
                "--out",
                "runs/ecg_sim-sweep",
            ],
            "holds the runs of another sweep",
        ),
    ]:
        code, out, err = srnn("sweep", "ecg_sim", *SET, *argv)
        assert (code, out) == (2, "")
        assert message in err
    now = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    journal = tmp_path / "runs/ecg_sim-sweep/journal.log"
    # the other study's name may stand in it
    assert now.pop(journal).startswith(before.pop(journal))
    assert now == before


def test_a_journal_cut_short_is_mended_and_goes_on(tmp_path):
    made = plan(tmp_path, 1)
    made.prepare()
    sweep.work(made)
    whole = made.journal.read_bytes()
    made.journal.write_bytes(whole + b'{"op_code":4,"worker')
    more = plan(tmp_path, 2)
    assert not more.prepare()
    sweep.work(more)
    assert made.journal.read_bytes().startswith(whole)
    assert [r["state"] for r in sweep.results(more)["trials"]] == ["complete", "complete"]
    assert [json.loads(line) for line in made.journal.read_text().splitlines()]


def test_a_database_holds_a_study_too(srnn, tmp_path):
    argv = [*LR, "--storage", "sqlite:///study.db", "--trials"]
    assert srnn("sweep", "ecg_sim", *SET, *argv, 1)[0] == 0
    code, text, _ = srnn("sweep", "ecg_sim", *SET, *argv, 3, "--json")
    assert (code, [r["state"] for r in json.loads(text)["trials"]]) == (0, ["complete"] * 3)
    assert (tmp_path / "study.db").stat().st_size > 0
    assert not list(tmp_path.rglob("journal.log"))


def test_only_trials_of_processes_that_are_gone_are_marked(tmp_path):
    made = plan(tmp_path, 9)
    made.prepare()
    study = made.open()
    alive, dead = (
        {"lock": str(made.lock_folder / name), "host": os.uname().nodename, "pid": 1}
        for name in ("alive", "dead")
    )
    elsewhere = {"lock": str(tmp_path / "not/here"), "host": "another machine", "pid": 1}
    Path(dead["lock"]).touch()
    with FileLock(Path(alive["lock"])):
        for who in (alive, dead, elsewhere, {**elsewhere, "host": alive["host"]}, None):
            trial = study.ask()
            if who is not None:
                trial.set_user_attr("worker", who)
        assert [r["state"] for r in sweep.results(made)["trials"]] == [
            "running",
            "interrupted",
            "running",
            "interrupted",
            "interrupted",
        ]
    assert sweep.results(made)["trials"][0]["state"] == "interrupted"
    claimed = sweep.claim(made, study, alive)
    assert claimed is not None
    assert claimed[0].number == 5


def test_one_process_at_a_time_asks_for_a_trial(tmp_path):
    made = plan(tmp_path, 1)
    made.prepare()
    me, got = {"lock": str(made.lock_folder / "me"), "host": os.uname().nodename, "pid": 1}, []
    askers = [
        threading.Thread(target=lambda: got.append(sweep.claim(made, made.open(), me)))
        for _ in range(3)
    ]
    with FileLock(made.lock_folder / "me"):
        with FileLock(made.lock_folder / "claim"):
            for asker in askers:
                asker.start()
            for asker in askers:
                asker.join(0.5)
            assert got == [], "they wait"
        for asker in askers:
            asker.join()
    assert len(got) == 3
    assert sum(claimed is not None for claimed in got) == 1, "the study wants one trial"


# ── many processes ────────────────────────────────────────────────────────────────────────────────


def test_processes_share_a_study_and_no_trial_is_lost_or_doubled(tmp_path, srnn):
    argv = [*LR, "--journal", "one.log", "--out", "runs", "--trials"]
    both = [started(tmp_path, *argv, 5, "--json") for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    ran = [{int(n) for n in re.findall(r"^trial (\d+): optimiser", err, re.M)} for _, err in said]
    assert not ran[0] & ran[1], "one trial, one process"
    assert ran[0] | ran[1] == set(range(5))
    code, text, err = srnn("sweep", "ecg_sim", *SET, *argv, 8, "--jobs", 2, "--json")
    assert code == 0, err
    rows = json.loads(text)["trials"]
    assert [(r["trial"], r["state"]) for r in rows] == [(n, "complete") for n in range(8)]
    assert len({r["settings"]["optimiser.lr"] for r in rows}) == 8
    assert sorted(p.name for p in (tmp_path / "runs").glob("trial-*")) == [
        f"trial-{n:04d}" for n in range(8)
    ]
    assert all(
        Run(tmp_path / r["folder"]).read("metrics.json")["validation_accuracy"]
        == r["validation_accuracy"]
        for r in rows
    )
    assert not list((tmp_path / ".one.log.locks").glob("worker-*"))


LONG = ["--set", "epochs=100000", "--set", "data.train=64"]


def test_a_killed_process_loses_no_trial(tmp_path):
    process = started(tmp_path, *LR, *LONG, "--out", "runs", "--trials", 2)
    until(lambda: (tmp_path / "runs/trial-0000/log.jsonl").exists(), process)
    process.kill()
    process.communicate()
    made = Sweep(
        override(tiny(), LONG[1::2]),
        space.parse(tiny(), LR[1:]),
        2,
        tmp_path / "runs",
        "ecg_sim-sweep",
        tmp_path / "runs/journal.log",
    )
    assert not made.prepare()
    assert [r["state"] for r in sweep.results(made)["trials"]] == ["interrupted"]
    study = made.open()
    claimed = [
        sweep.claim(made, study, {"lock": str(tmp_path), "host": "x", "pid": 0}) for _ in range(3)
    ]
    assert [c and c[0].number for c in claimed] == [1, 2, None], (
        "it does not count: two are still to do"
    )


def test_stopping_stops_every_process_and_marks_their_trials(tmp_path):
    process = started(tmp_path, *LR, *LONG, "--out", "runs", "--trials", 4, "--jobs", 2)
    until(lambda: len(list((tmp_path / "runs").glob("trial-*/log.jsonl"))) == 2, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=BEGUN)
    assert (process.returncode, out) == (130, ""), err
    assert "Go on with the same command" in err
    assert "Traceback" not in err
    made = Sweep(
        override(tiny(), LONG[1::2]),
        space.parse(tiny(), LR[1:]),
        4,
        tmp_path / "runs",
        "ecg_sim-sweep",
        tmp_path / "runs/journal.log",
    )
    assert [(r["state"], r["reason"]) for r in sweep.results(made)["trials"]] == [
        ("interrupted", "interrupted")
    ] * 2
    assert not list(made.lock_folder.glob("worker-*"))


# ── the page ──────────────────────────────────────────────────────────────────────────────────────


def test_the_commands_of_the_page_work(srnn):
    page = (Path(__file__).parents[2] / "docs" / "sweep.md").read_text()
    commands = [
        line for block in re.findall(r"```\n(.*?)```", page, re.S) for line in block.splitlines()
    ]
    assert len(commands) == 4
    for line in commands:
        words = shlex.split(line)
        assert words[:3] == ["srnn", "sweep", "ecg_sim"]
        code, text, err = srnn(*words[1:], *SET)
        assert code == 0, err
        wanted = int(words[words.index("--trials") + 1])
        if "--json" in words:
            assert len(json.loads(text)["trials"]) == wanted
        else:
            assert f": {wanted} trials" in text
