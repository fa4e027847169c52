"""Training: the run folder, exact resume from anything that can stop a run, honest selection, and
numbers that are not finite.
"""

from __future__ import annotations

import ast
import errno
import json
import math
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import srnn
from helpers import GENEROUS, command, until
from srnn import _files, tasks
from srnn._check import ConfigError, DivergedError, RunError
from srnn._files import _tensors
from srnn.tasks.nets import AdaptiveNetwork
from srnn.tasks.settings import override
from srnn.tasks.task import Parts, Task
from srnn.training import loop, runs
from srnn.training import train as training
from srnn.training.evaluate import assess
from srnn.training.loop import Interrupted, Progress
from srnn.training.runs import Run, load_checkpoint, load_run
from srnn.training.train import fit

TINY = [
    "data.train=8",
    "data.validation=4",
    "data.test=4",
    "data.steps=24",
    "batch=4",
    "epochs=3",
    "network.hidden=[6]",
]
RANDOM = [*TINY, "start=UniformStart", "start.high=0.5"]
"""Two batches an epoch; RANDOM draws from torch's generator in every batch, as dropout would."""

BATCHES = 2


def run_task(out, *extra, settings=RANDOM, resume=False, seed=0, progress=None, **kwargs):
    task = override(tasks.load("ecg_sim"), [*settings, *extra])
    return fit(task, out, resume=resume, seed=seed, progress=progress, **kwargs)


def less_seconds(row):
    return {key: value for key, value in row.items() if key != "seconds"}


def final(out):
    """Everything a finished run leaves that must not depend on how often it was stopped."""
    run = Run(out)
    return {
        "last": load_checkpoint(run.checkpoint("last")),
        "best": load_checkpoint(run.checkpoint("best")),
        "log": [less_seconds(row) for row in run.rows()],
        "metrics": less_seconds(run.read("metrics.json")),
        "task": run.read("task.json"),
    }


def assert_same(a, b):
    """Compare two results of `final` bit by bit; return how many tensors were compared."""
    compared = 0
    for name in ("last", "best"):
        (tensors, state), (others, other) = a[name], b[name]
        assert state == other
        assert tensors.keys() == others.keys()
        for key, value in tensors.items():
            assert value.dtype == others[key].dtype
            assert torch.equal(value, others[key]), f"{name}: {key} differs"
            compared += 1
    for key in ("log", "metrics", "task"):
        assert a[key] == b[key]
    kinds = {key.split(".")[0] for key in a["last"][0]}
    assert kinds == {"net", "optimiser", "rng"}
    assert compared > 40
    return compared


def leftovers(out):
    return [str(path) for path in Path(out).rglob("*.part")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run_task(out)
    return out


# ── the run folder ────────────────────────────────────────────────────────────────────────────────


def test_the_run_folder_holds_what_the_design_names(whole):
    files = {str(p.relative_to(whole)) for p in whole.rglob("*") if p.is_file()}
    assert files == {
        "task.json",
        "env.json",
        "log.jsonl",
        "metrics.json",
        ".lock",
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
    }
    metrics = json.loads(
        (whole / "metrics.json").read_text(),
        parse_constant=lambda c: pytest.fail(f"metrics.json holds {c}: no JSON"),
    )
    wanted = (
        "task simulated seed backend epochs parameters parameters_unused "
        "validation_accuracy test_accuracy test_accuracy_labelled"
    )
    wanted = [
        *wanted.split(),
        "firing_rate",
        "firing_rates",
        "sops_per_sample",
        "sops_per_step",
        "energy",
        "published",
        "seconds",
    ]
    assert len(wanted) == 17
    assert [key for key in wanted if key not in metrics] == []
    assert (
        metrics["task"],
        metrics["simulated"],
        metrics["seed"],
        metrics["epochs"],
        metrics["published"],
    ) == ("ecg_sim", True, 0, 3, [])
    assert metrics["backend"] == "cpu"
    assert set(metrics["energy"]) == {"yin2020", "yin2021", "bittar2022", "measured"}
    assert all(set(e) == {"mac", "ac", "energy"} for e in metrics["energy"].values())
    # 4·6 + 6·6 + 2·6 + 6, 6·6 + 6, 2·6; 6 tau_adp of the hidden layer
    assert (metrics["parameters"], metrics["parameters_unused"]) == (132, 6)
    for key in ("validation_accuracy", "test_accuracy", "test_accuracy_labelled", "firing_rate"):
        assert 0 <= metrics[key] <= 1
    assert len(metrics["firing_rates"]) == 2
    assert metrics["sops_per_sample"] == pytest.approx(24 * metrics["sops_per_step"])
    assert metrics["firing_rate"] == pytest.approx(
        (6 * metrics["firing_rates"][0] + 6 * metrics["firing_rates"][1]) / 12
    )


def test_a_class_without_labels_has_no_recall(whole):
    metrics = Run(whole).read("metrics.json")
    empty = [k for k, row in enumerate(metrics["test_confusion"]) if sum(row) == 0]
    assert len(empty) >= 1
    assert [k for k, value in enumerate(metrics["test_recall"]) if value is None] == empty


def test_log_has_one_line_an_epoch(whole):
    rows = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    keys = {
        "epoch",
        "loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "firing_rates",
        "learning_rate",
        "grad_norm_max",
        "seconds",
    }
    assert all(set(row) == keys for row in rows)
    assert all(math.isfinite(v) for row in rows for v in row.values() if isinstance(v, float))
    assert rows[-1]["seconds"] > 0


def test_env_says_what_the_result_depends_on(whole):
    env = Run(whole).read("env.json")
    keys = [
        "srnn",
        "git_commit",
        "python",
        "torch",
        "numpy",
        "platform",
        "processor",
        "processes",
        "threads",
        "together",
        "precision",
        "deterministic",
        "graph",
        "device",
        "backend",
        "backend_reason",
        "seed",
        "started",
    ]
    assert sorted(env) == sorted(keys)
    assert (env["srnn"], env["torch"], env["threads"], env["seed"]) == (
        srnn.__version__,
        torch.__version__,
        torch.get_num_threads(),
        0,
    )
    assert (env["device"], env["backend"]) == ("cpu", "cpu")
    assert len(env["backend_reason"]) > 10
    assert env["git_commit"] is None or len(env["git_commit"]) == 40


def test_task_json_gives_the_task_back(whole):
    task, seed = Run(whole).task()
    assert (task, seed) == (override(tasks.load("ecg_sim"), RANDOM), 0)
    stored = Run(whole).stored()
    stored["resolved"]["batch"] = 5  # a default that changes later does not change a run
    stored["resolved"]["colour"] = "red"
    changed = whole.parent / "changed"
    changed.mkdir()
    (changed / "task.json").write_text(json.dumps(stored))
    with pytest.raises(
        RunError,
        match=r"cannot express the task of that run \(colour: 'red' → "
        r"None\)",
    ):
        Run(changed).task()


def test_checkpoints_are_safetensors_and_nothing_is_pickled(whole):
    opened = 0
    for path in whole.rglob("checkpoints/*"):
        with safe_open(path, framework="pt") as file:
            assert len(list(file.keys())) > 5
            assert json.loads(file.metadata()["srnn"])["schema"] == runs.CHECKPOINT_SCHEMA
        opened += 1
    assert opened == 2
    sources = sorted(Path(srnn.__file__).parent.rglob("*.py"))
    assert len(sources) > 30
    forbidden = {"pickle", "dill", "shelve", "marshal", "joblib", "cloudpickle"}
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import | ast.ImportFrom)
                else []
            )
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not forbidden & {name.split(".")[0] for name in names}, source
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "torch"
            ):
                assert node.attr not in ("save", "load"), source


# ── the same seed, the same bits ──────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_bits_and_another_does_not(whole, tmp_path):
    run_task(tmp_path / "again")
    assert_same(final(whole), final(tmp_path / "again"))
    run_task(tmp_path / "other", seed=1)
    a, b = (load_checkpoint(Run(p).checkpoint("last"))[0] for p in (whole, tmp_path / "other"))
    assert not torch.equal(a["net.layers.0.weight"], b["net.layers.0.weight"])


def test_order_is_drawn_anew_each_epoch_and_every_recording_is_used_once(tmp_path, monkeypatch):
    seen, real = [], loop.collate
    monkeypatch.setattr(
        loop,
        "collate",
        lambda samples, *args: seen.append([s.name for s in samples]) or real(samples, *args),
    )
    run_task(tmp_path / "run")
    assert len(seen) == 3 * BATCHES
    epochs = [seen[BATCHES * e] + seen[BATCHES * e + 1] for e in range(3)]
    assert all(sorted(names) == [f"sim/{i:04d}" for i in range(8)] for names in epochs)
    assert len({tuple(names) for names in epochs}) == 3


def test_evaluation_is_deterministic_and_leaves_the_generator_alone(whole):
    _, task, seed, net = load_run(whole)
    assert seed == 0
    samples = task.load(None).validation
    before = torch.get_rng_state()
    first = assess(net, task, samples, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert assess(net, task, samples, seed=3) == first
    assert assess(net, task, samples, seed=4)["loss"] != first["loss"]  # the start is random
    assert net.training is False
    assess(net.train(), task, samples)
    assert net.training is True


def test_training_does_not_depend_on_evaluation(whole, tmp_path, monkeypatch):
    calls = []

    def twice(*args, **kwargs):
        calls.append(1)
        assess(*args, **kwargs)
        return assess(*args, **kwargs)

    for module in (loop, training):
        monkeypatch.setattr(module, "assess", twice)
    run_task(tmp_path / "twice")
    assert len(calls) == 4
    assert_same(final(whole), final(tmp_path / "twice"))
    monkeypatch.undo()
    run_task(tmp_path / "smaller", "data.validation=2")
    a, b = (load_checkpoint(Run(p).checkpoint("last"))[0] for p in (whole, tmp_path / "smaller"))
    weights = [key for key in a if key.startswith("net.")]
    assert len(weights) >= 9
    assert all(torch.equal(a[key], b[key]) for key in weights)


# ── resume ────────────────────────────────────────────────────────────────────────────────────────


def test_resume_from_every_state_the_disk_was_ever_in(whole, tmp_path, monkeypatch):
    """A kill leaves what was written until then: the folder is copied after each write and each
    line, and every copy resumed.
    """
    out, copies = tmp_path / "run", []
    write, log = runs.write_atomically, Run.log

    def copy():
        if (out / "task.json").exists():
            copies.append(shutil.copytree(out, tmp_path / f"copy{len(copies)}"))

    monkeypatch.setattr(runs, "write_atomically", lambda *args: (write(*args), copy()))
    monkeypatch.setattr(Run, "log", lambda self, row: (log(self, row), copy()))
    run_task(out, progress=Progress(batch=lambda *args: copy()))
    monkeypatch.undo()
    improved = sum(
        load_checkpoint(p / "checkpoints/best.safetensors")[1]["epoch"] >= 1
        for p in copies
        if (p / "checkpoints/best.safetensors").exists()
    )
    assert improved >= 3
    bests = len(
        {
            json.dumps(load_checkpoint(p / "checkpoints/best.safetensors")[1])
            for p in copies
            if (p / "checkpoints/best.safetensors").exists()
        }
    )
    # task.json; batches; log and last; best; metrics.json
    assert len(copies) == 1 + 3 * BATCHES + 3 * 2 + bests + 1
    wanted = final(whole)
    for path in copies:
        run_task(path, resume=True)
        assert_same(wanted, final(path))
        assert leftovers(path) == []


def stop_when(monkeypatch, when):
    """Replace the signals: `when(n)` says whether the n-th question is answered with "stop"."""
    asked = []

    @contextmanager
    def signals():
        def stopped():
            asked.append(1)
            return when(len(asked))

        yield stopped

    monkeypatch.setattr(training, "stop_requests", signals)


def until_finished(out, *extra, settings=RANDOM):
    """Start a run and resume it as often as it is stopped; return the messages."""
    messages = []
    for attempt in range(50):
        try:
            run_task(out, *extra, settings=settings, resume=attempt > 0)
            return messages
        except Interrupted as stop:
            messages.append(str(stop))
    raise AssertionError("never finished")


def test_resume_after_a_stop_at_every_batch_and_epoch(whole, tmp_path, monkeypatch):
    stop_when(monkeypatch, lambda n: True)
    messages = until_finished(tmp_path / "run")
    each = [[f"in epoch {e} after batch 1 of 2", f"after epoch {e}"] for e in (1, 2, 3)]
    assert messages == [
        f"Stopped {where}; the checkpoint is written." for epoch in each for where in epoch
    ]
    assert_same(final(whole), final(tmp_path / "run"))


def test_the_generator_is_what_makes_resume_exact(whole, tmp_path, monkeypatch):
    """Without restoring the generator the result differs: the test above really sees it."""
    stop_when(monkeypatch, lambda n: True)
    monkeypatch.setattr(torch, "set_rng_state", lambda state: None)
    until_finished(tmp_path / "run")
    a, b = (load_checkpoint(Run(p).checkpoint("last"))[0] for p in (whole, tmp_path / "run"))
    assert not torch.equal(a["net.layers.0.weight"], b["net.layers.0.weight"])


def test_checkpoints_are_also_written_within_long_epochs(whole, tmp_path):
    saved = []
    out = tmp_path / "run"

    def batch(epoch, number, loss):
        if (out / "checkpoints/last.safetensors").exists():
            position = load_checkpoint(out / "checkpoints/last.safetensors")[1]["position"]
            saved.append((position["epoch"], position["batch"]))

    run_task(out, "checkpoint_seconds=0", progress=Progress(batch=batch))
    # seen at the end of each batch but the first, before its own checkpoint
    assert saved == [(0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    a, b = (load_checkpoint(Run(p).checkpoint("last"))[0] for p in (whole, out))
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("cut", [1, 20, 0])
def test_a_last_log_line_cut_short_is_written_again(whole, tmp_path, cut):
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    stop = tmp_path / "two"
    copies = []
    run_task(
        stop,
        progress=Progress(
            epoch=lambda row: copies.append(shutil.copytree(stop, tmp_path / f"at{row['epoch']}"))
        ),
    )
    path = copies[1] / "log.jsonl"
    lines = (out / "log.jsonl").read_text().splitlines(keepends=True)
    # the third epoch was logged, its checkpoint not written
    path.write_text("".join(lines[:2]) + (lines[2][:-cut] if cut else lines[2]))
    run_task(copies[1], resume=True)
    assert [row["epoch"] for row in map(json.loads, path.read_text().splitlines())] == [1, 2, 3]
    assert_same(final(whole), final(copies[1]))


def test_resume_of_a_finished_run_changes_nothing(whole, tmp_path):
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    run_task(out, resume=True)
    assert_same(final(whole), final(out))


LONG = "epochs=40"


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    out = tmp_path_factory.mktemp("long") / "run"
    run_task(out, LONG)
    return out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_stopped_goes_on_to_the_same_bits(long, tmp_path, number):
    out, log = tmp_path / "run", tmp_path / "run/log.jsonl"
    sets = [text for setting in [*RANDOM, LONG] for text in ("--set", setting)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = command("train", "ecg_sim", *sets, "--out", out, **pipes)
    try:
        until(lambda: log.exists() and log.read_text().count("\n"), process)
        wait = random.uniform(0, 0.25)
        time.sleep(wait)
        process.send_signal(number)
        shown, said = process.communicate(timeout=GENEROUS)
    finally:
        process.kill()
    done = len(Run(out).rows())
    assert 1 <= done < 40, f"stopped {wait:.3f} s after the first epoch, at epoch {done}"
    assert not (out / "metrics.json").exists()
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "the checkpoint is written" in said
        assert f"Go on with: srnn train ecg_sim --resume --out {out}" in said
        assert "Traceback" not in said
    assert shown == ""
    run_task(out, LONG, resume=True)
    assert_same(final(long), final(out))
    assert leftovers(out) == []


def test_a_full_disk_at_any_write_leaves_a_run_that_goes_on(tmp_path, monkeypatch):
    real, calls, fail_at = os.fsync, [], [10**9]

    def fsync(fd):
        calls.append(1)
        if len(calls) == fail_at[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd)

    monkeypatch.setattr(runs.os, "fsync", fsync)
    run_task(tmp_path / "count", "epochs=2")
    writes = len(calls)
    assert writes >= 2 + 2 * 2 + 1 + 1
    wanted, gone = final(tmp_path / "count"), 0
    for n in range(1, writes + 1):
        out = tmp_path / f"full{n}"
        calls.clear()
        fail_at[0] = n
        with pytest.raises(RunError, match="cannot be written: No space left on device"):
            run_task(out, "epochs=2")
        assert len(calls) == n
        assert leftovers(out) == []
        fail_at[0] = 10**9
        gone += not out.exists()
        run_task(out, "epochs=2", resume=out.exists())
        assert_same(wanted, final(out))
    assert gone == 2  # env.json and task.json: there was no run yet, and the name is free again


def test_a_disk_that_is_full_when_a_file_is_opened(whole, tmp_path, monkeypatch):
    out, opened = tmp_path / "run", []

    def full(path, mode="r", **more):
        opened.append(Path(path).name.startswith(".last"))
        if opened[-1] and sum(opened) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return open(path, mode, **more)

    monkeypatch.setattr(_files, "open", full, raising=False)
    with pytest.raises(
        RunError,
        match=r"last\.safetensors cannot be written: No space left on "
        r"device\. What was there before is unchanged",
    ):
        run_task(out)
    assert load_checkpoint(Run(out).checkpoint("last"))[1]["position"]["epoch"] == 1
    monkeypatch.undo()
    run_task(out, resume=True)
    assert_same(final(whole), final(out))


def test_what_a_killed_process_left_half_written_is_cleared_away(whole, tmp_path):
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    (out / "checkpoints/.last.safetensors.123.part").write_bytes(b"half")
    (out / ".metrics.json.123.part").write_bytes(b"half")
    run_task(out, resume=True)
    assert leftovers(out) == []
    assert_same(final(whole), final(out))


# ── schedules, stopping, clipping, regulariser ────────────────────────────────────────────────────


def expected_rates(kind, accuracies):
    if kind == "plateau":
        rates, best = [0.2], -1.0
        for accuracy in accuracies[:-1]:
            rates.append(rates[-1] if accuracy > best else max(rates[-1] / 2, 1e-6))
            best = max(best, accuracy)
        return rates
    factor = {
        "constant": lambda e: 1.0,
        "step": lambda e: 0.5 ** (e // 2),
        "linear": lambda e: 1 - e / 5,
        "cosine": lambda e: (1 + math.cos(math.pi * e / 5)) / 2,
    }[kind]
    return [0.2 * factor(e) for e in range(5)]


@pytest.mark.parametrize("kind", ["constant", "step", "linear", "cosine", "plateau"])
def test_every_schedule_is_followed_and_resumed(tmp_path, monkeypatch, kind):
    chosen = [
        "epochs=5",
        f"schedule.kind={kind}",
        "schedule.every=2",
        "schedule.patience=0",
        "optimiser.lr=0.2",
    ]
    run_task(tmp_path / "whole", *chosen)
    stop_when(monkeypatch, lambda n: n % 5 in (3, 4))
    assert len(until_finished(tmp_path / "parts", *chosen)) >= 2
    assert_same(final(tmp_path / "whole"), final(tmp_path / "parts"))
    rows = Run(tmp_path / "whole").rows()
    rates = [row["learning_rate"] for row in rows]
    assert len(rates) == 5
    assert rates == pytest.approx(
        expected_rates(kind, [row["validation_accuracy"] for row in rows])
    )
    assert (len(set(rates)) == 1) == (kind == "constant")


def test_early_stopping(tmp_path, monkeypatch):
    # nothing moves: the first epoch stays the best
    still = ["epochs=9", "early_stop=2", "optimiser.lr=1e-12"]
    result = run_task(tmp_path / "run", *still)
    assert (result["epochs"], result["best_epoch"]) == (3, 1)
    assert [row["epoch"] for row in Run(tmp_path / "run").rows()] == [1, 2, 3]
    run_task(tmp_path / "run", *still, resume=True)
    assert len(Run(tmp_path / "run").rows()) == 3
    stop_when(monkeypatch, lambda n: n % 2 == 1)
    assert len(until_finished(tmp_path / "parts", *still)) >= 3
    assert_same(final(tmp_path / "run"), final(tmp_path / "parts"))
    monkeypatch.undo()
    assert (
        run_task(tmp_path / "never", "epochs=9", "early_stop=null", "optimiser.lr=1e-12")["epochs"]
        == 9
    )


def last_weight(out):
    return load_checkpoint(Run(out).checkpoint("last"))[0]["net.layers.0.weight"]


def test_clipping_and_no_clipping(tmp_path):
    for name, value in (("null", "null"), ("large", "1e9"), ("small", "0.01")):
        run_task(tmp_path / name, f"clip_norm={value}")
    assert torch.equal(last_weight(tmp_path / "null"), last_weight(tmp_path / "large"))
    assert not torch.equal(last_weight(tmp_path / "null"), last_weight(tmp_path / "small"))
    norms = [Run(tmp_path / name).rows()[0]["grad_norm_max"] for name in ("null", "small")]
    assert norms[0] > 0.01  # the norm before clipping is what is logged
    assert norms[1] > 0.01


def test_clipping_scales_the_gradient_to_the_norm_asked_for(tmp_path, monkeypatch):
    norms, step = [], torch.optim.Adam.step

    def seen(self, *args, **kwargs):
        norms.append(
            float(
                torch.nn.utils.get_total_norm(
                    [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
                )
            )
        )
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", seen)
    run_task(tmp_path / "run", "clip_norm=0.25")
    assert len(norms) == 3 * BATCHES
    assert norms == pytest.approx([0.25] * 6, rel=1e-4)


def test_the_regulariser_changes_the_gradient(tmp_path):
    for name, extra in (
        ("without", []),
        ("zero", ["regulariser.factor=0"]),
        ("with", ["regulariser.low=0.9", "regulariser.factor=1000"]),
    ):
        run_task(tmp_path / name, *(["regulariser=FiringRate", *extra] if extra else []))
    assert torch.equal(last_weight(tmp_path / "without"), last_weight(tmp_path / "zero"))
    assert not torch.equal(last_weight(tmp_path / "without"), last_weight(tmp_path / "with"))
    rates = [Run(tmp_path / name).rows()[-1]["firing_rates"][0] for name in ("without", "with")]
    assert rates[1] > rates[0]


def test_adamax_is_used_when_asked_for(tmp_path):
    run_task(tmp_path / "run", "optimiser.kind=adamax")
    tensors, _ = load_checkpoint(Run(tmp_path / "run").checkpoint("last"))
    assert any(key.endswith(".exp_inf") for key in tensors)
    run_task(tmp_path / "run", "optimiser.kind=adamax", resume=True)


# ── selection ─────────────────────────────────────────────────────────────────────────────────────


def test_the_best_checkpoint_has_the_highest_validation_accuracy(tmp_path):
    out = tmp_path / "run"
    result = run_task(out, "epochs=8", "optimiser.lr=0.05")
    accuracies = [row["validation_accuracy"] for row in Run(out).rows()]
    best = accuracies.index(max(accuracies)) + 1
    assert len(set(accuracies)) > 1
    assert best < 8, "the last epoch is the best: the test would not see a mistake"
    _, task, seed, net = load_run(out)
    assert (result["best_epoch"], result["validation_accuracy"]) == (best, max(accuracies))
    assert load_checkpoint(Run(out).checkpoint("best"))[1]["epoch"] == best
    parts = task.load(None)
    assert assess(net, task, parts.validation, seed=seed)["accuracy"] == max(accuracies)
    assert assess(net, task, parts.test, seed=seed)["accuracy"] == result["test_accuracy"]


def test_a_refit_trains_on_the_validation_part_and_keeps_the_last_epoch(tmp_path):
    out = tmp_path / "run"
    result = run_task(out, "epochs=8", "optimiser.lr=0.05", "refit=true")
    assert (result["best_epoch"], result["epochs"]) == (8, 8)
    assert result["selected_by"].startswith("nothing: the last epoch")
    assert "was trained on" in result["data_note"]
    _, task, _, _ = load_run(out)
    plain, refit = replace(task, refit=False).load(None), task.load(None)
    assert len(refit.train) == len(plain.train) + len(plain.validation)
    for setting in ("early_stop=2", "schedule.kind=plateau"):
        with pytest.raises(ConfigError, match="refit trains on the validation part"):
            override(tasks.load("ecg_sim"), [setting, "refit=true"])


def test_the_test_part_is_touched_once_at_the_end(tmp_path, monkeypatch):
    out, touched, load = tmp_path / "run", [], Task.load

    class Guarded(list):
        def __getitem__(self, key):
            touched.append(len(Run(out).rows()))
            return super().__getitem__(key)

        def __iter__(self):
            touched.append(len(Run(out).rows()))
            return super().__iter__()

    def guarded(self, data_dir):
        parts = load(self, data_dir)
        return Parts(parts.train, parts.validation, Guarded(parts.test), parts.note)

    monkeypatch.setattr(Task, "load", guarded)
    run_task(out)
    # its fingerprint before the first epoch; then one batch that holds all four recordings
    assert touched == [0, 3]


def test_resume_on_other_data_is_refused(tmp_path, monkeypatch):
    out = tmp_path / "run"
    run_task(out)
    assert Run(out).stored()["data"]["train"] == 8
    load = Task.load

    def other(self, data_dir):
        parts = load(self, data_dir)
        last = replace(parts.test[-1], signal=1 - parts.test[-1].signal)
        return Parts(parts.train, parts.validation, [*parts.test[:-1], last], parts.note)

    monkeypatch.setattr(Task, "load", other)
    with pytest.raises(
        RunError,
        match=r"was started on other data \(sha256: .* → .*\)\. Point "
        r"--data-dir",
    ):
        run_task(out, resume=True)


def test_evaluating_on_other_data_is_refused(whole):
    run, task, _, _ = load_run(whole)
    parts = task.load(None)
    run.check_data(parts)
    with pytest.raises(RunError, match=r"was started on other data \(sha256: .*; train: 8 → 7\)"):
        run.check_data(replace(parts, train=parts.train[1:]))


def test_where_a_run_went_on_is_kept_and_a_change_is_told(tmp_path):
    out = tmp_path / "run"
    run_task(out)
    assert "resumed" not in Run(out).read("env.json")
    run_task(out, resume=True)
    Run(out).write("env.json", Run(out).read("env.json") | {"threads": 99})
    with pytest.warns(UserWarning, match=r"goes on in another environment \(threads: 99 → "):
        run_task(out, resume=True)
    env = Run(out).read("env.json")
    assert [r["threads"] for r in env["resumed"]] == [torch.get_num_threads()] * 2


def test_a_folder_left_by_a_process_killed_while_it_began_is_taken_over(tmp_path):
    out = tmp_path / "run"
    for left in ([], ["env.json"], ["env.json", ".task.json.1.part"]):
        (out / "checkpoints").mkdir(parents=True)
        for name in left:
            (out / name).write_text("{}")
        run_task(out)
        assert Run(out).task()[1] == 0
        shutil.rmtree(out)
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        run_task(out)
    assert (out / "notes.txt").read_text() == "mine"


# ── numbers that are not finite ───────────────────────────────────────────────────────────────────


@pytest.fixture
def nets(monkeypatch):
    """Every network that is built from now on."""
    built, build = [], AdaptiveNetwork.build
    monkeypatch.setattr(
        AdaptiveNetwork, "build", lambda self, *args: built.append(build(self, *args)) or built[-1]
    )
    return built


def all_finite(path):
    tensors, _ = load_checkpoint(path)
    weights = [t for key, t in tensors.items() if not key.startswith("rng")]
    assert len(weights) > 5
    return all(bool(torch.isfinite(t).all()) for t in weights)


def test_a_huge_learning_rate_stops_the_run_and_keeps_good_weights(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(
        DivergedError,
        match=r"^Epoch \d, batch \d: .* is not finite; the first "
        r"such tensor is ",
    ) as stop:
        run_task(out, "optimiser.lr=1e30", "optimiser.rates.layers.*=1e6", "epochs=30")
    assert "a smaller learning rate (--set optimiser.lr=…)" in str(stop.value)
    assert not (out / "metrics.json").exists()
    for path in out.glob("checkpoints/*"):
        assert all_finite(path)


def test_a_parameter_that_is_nan_is_named(tmp_path, nets):
    def poison(epoch, number, loss):
        if (epoch, number) == (1, 1):
            nets[0].layers[1].constants.tau_m.data[2] = math.nan

    out = tmp_path / "run"
    last = out / "checkpoints/last.safetensors"
    with pytest.raises(DivergedError) as stop:
        run_task(out, progress=Progress(batch=poison))
    assert str(stop.value).startswith(
        "Epoch 2, batch 2: the loss is not finite; the first such tensor is the parameter "
        "layers.1.constants.tau_m. "
        f"Nothing of it was saved; the last good checkpoint is {last}."
    )
    assert all_finite(last)
    assert load_checkpoint(last)[1]["position"]["epoch"] == 1
    assert len(Run(out).rows()) == 1


def test_a_run_goes_on_from_before_it_diverged(whole, tmp_path, nets):
    def poison(epoch, number, loss):
        if (epoch, number) == (1, 1):
            nets[0].layers[0].weight.data[0, 0] = math.inf

    with pytest.raises(DivergedError, match=r"parameter layers\.0\.weight"):
        run_task(tmp_path / "run", progress=Progress(batch=poison))
    run_task(tmp_path / "run", resume=True)
    assert_same(final(whole), final(tmp_path / "run"))


@pytest.mark.parametrize("name", ["layers.1.bias", "layers.0.recurrent"])
def test_a_gradient_that_is_nan_is_named_and_no_other(tmp_path, monkeypatch, name):
    build = AdaptiveNetwork.build

    def poisoned(self, *args):
        net = build(self, *args)
        net.get_parameter(name).register_hook(lambda gradient: gradient * math.nan)
        return net

    monkeypatch.setattr(AdaptiveNetwork, "build", poisoned)
    with pytest.raises(DivergedError) as stop:
        run_task(tmp_path / "run")
    assert (
        "Epoch 1, batch 1: the gradient norm is not finite; the first such tensor is the "
        f"gradient of {name}."
    ) in str(stop.value)
    assert "no checkpoint was written yet" in str(stop.value)
    assert not list((tmp_path / "run/checkpoints").iterdir())


def test_an_input_and_a_potential_are_named(whole):
    _, task, _, net = load_run(whole)
    batch = loop.collate(task.load(None).test)
    good = loop.first_not_finite(net, batch)
    assert good == "the loss itself"
    net.layers[1].weight.data.fill_(3e38)
    net.layers[0].bias.data.fill_(1e3)  # all spike: six inputs of 3e38 are too much
    assert loop.first_not_finite(net, batch).startswith(
        "the potential of layers.1 (recording 0 of the batch, step "
    )
    batch.x[0, 0, 0] = math.nan
    assert loop.first_not_finite(net, batch) == "the input x"


def test_a_step_of_the_optimiser_that_is_not_finite_is_never_saved(tmp_path, monkeypatch):
    steps, step = [], torch.optim.Adam.step

    def poisoned(self, *args, **kwargs):
        result = step(self, *args, **kwargs)
        steps.append(1)
        if len(steps) == 2 * BATCHES:  # the last batch of epoch 2: what follows is the checkpoint
            self.param_groups[0]["params"][0].data[0, 0] = math.nan
        return result

    monkeypatch.setattr(torch.optim.Adam, "step", poisoned)
    with pytest.raises(
        DivergedError,
        match=r"^Epoch 2, batch 2: a parameter after the step .* "
        r"the parameter layers\.0\.weight\.",
    ):
        run_task(tmp_path / "run")
    assert all_finite(tmp_path / "run/checkpoints/last.safetensors")
    assert len(Run(tmp_path / "run").rows()) == 1


def test_a_validation_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    calls = []

    def infinite(*args, **kwargs):
        calls.append(1)
        return assess(*args, **kwargs) | ({"loss": math.inf} if len(calls) == 2 else {})

    monkeypatch.setattr(loop, "assess", infinite)
    with pytest.raises(
        DivergedError,
        match=r"^Epoch 2, validation: the validation loss is not "
        r"finite",
    ):
        run_task(tmp_path / "run")
    assert len(Run(tmp_path / "run").rows()) == 1
    assert (
        load_checkpoint(tmp_path / "run/checkpoints/last.safetensors")[1]["position"]["epoch"] == 1
    )


# ── a folder that is not what it should be ────────────────────────────────────────────────────────


def snapshot(out):
    return {
        str(p.relative_to(out)): p.read_bytes()
        for p in sorted(Path(out).rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


def refused(out, match, *extra, settings=RANDOM, **kwargs):
    before = snapshot(out)
    assert len(before) >= 1
    with pytest.raises(RunError, match=match):
        run_task(out, *extra, settings=settings, resume=True, **kwargs)
    assert snapshot(out) == before


def test_two_processes_in_one_folder(whole, tmp_path):
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    hold = (
        f"import fcntl, sys; f = open({str(out / '.lock')!r}, 'w'); fcntl.flock(f, "
        "fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-S", "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        refused(
            out,
            r"run is in use by another process\. Wait for it, or choose another folder "
            r"with --out",
        )
    finally:
        other.communicate()
    run_task(out, resume=True)
    assert_same(final(whole), final(out))


def test_of_two_processes_that_start_at_once_one_gets_the_folder(whole, tmp_path, monkeypatch):
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    before = snapshot(out)
    monkeypatch.setattr(Run, "check_free", lambda path: None)  # it was free when both looked
    with pytest.raises(RunError, match="cannot be created: File exists"):
        run_task(out, seed=5)
    assert snapshot(out) == before


def test_a_folder_that_cannot_be_locked(whole, tmp_path):
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    (out / ".lock").unlink()
    (out / ".lock").mkdir()
    refused(out, "cannot be locked: Is a directory")


def damage_list():
    def truncated(fraction):
        return lambda path: path.write_bytes(
            path.read_bytes()[: int(fraction * path.stat().st_size)]
        )

    def rewritten(change):
        def damage(path):
            tensors, state = load_checkpoint(path)
            change(tensors, state)
            about = json.dumps(state)
            save_file(
                tensors, path, metadata={"srnn": about, "sha256": _tensors.checksum(tensors, about)}
            )

        return damage

    def changed(path):  # one bit of one weight
        raw = bytearray(path.read_bytes())
        raw[-9] ^= 1
        path.write_bytes(raw)

    return {
        "a bit": (changed, "its checksum does not agree"),
        "empty": (lambda p: p.write_bytes(b""), "is damaged or no checkpoint of srnn"),
        "header only": (truncated(0.01), "is damaged or no checkpoint of srnn"),
        "half": (truncated(0.5), "is damaged or no checkpoint of srnn"),
        "all but a byte": (
            lambda p: p.write_bytes(p.read_bytes()[:-1]),
            "is damaged or no checkpoint of srnn",
        ),
        "garbage": (
            lambda p: p.write_bytes(random.Random(0).randbytes(5000)),
            "is damaged or no checkpoint of srnn",
        ),
        "pickle": (
            lambda p: p.write_bytes(pickle.dumps({"net": [1.0]})),
            "is damaged or no checkpoint of srnn",
        ),
        "torch file": (
            lambda p: torch.save({"net": torch.ones(2)}, p),
            "is damaged or no checkpoint of srnn",
        ),
        "safetensors of others": (
            lambda p: save_file({"a": torch.ones(2)}, p),
            "is damaged or no checkpoint of srnn",
        ),
        "no schema": (
            rewritten(lambda t, s: s.pop("schema")),
            "is damaged or no checkpoint of srnn",
        ),
        "newer schema": (
            rewritten(lambda t, s: s.update(schema=99)),
            "has schema 99; this version reads 2. A newer version of srnn wrote it",
        ),
        "no position": (
            rewritten(lambda t, s: s.pop("position")),
            "does not hold what a run needs to continue",
        ),
        "no generator": (
            rewritten(lambda t, s: t.pop("rng.cpu")),
            "does not hold what a run needs to continue",
        ),
        "a weight less": (
            rewritten(lambda t, s: t.pop("net.layers.0.weight")),
            "does not fit the network",
        ),
        "other width": (
            rewritten(lambda t, s: t.update({"net.layers.0.bias": torch.ones(9)})),
            "does not fit the network",
        ),
    }


@pytest.mark.parametrize("kind", damage_list())
def test_a_damaged_checkpoint_is_refused(whole, tmp_path, kind):
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    damage, match = damage_list()[kind]
    damage(out / "checkpoints/last.safetensors")
    refused(out, match)
    shutil.copy(out / "checkpoints/last.safetensors", out / "checkpoints/best.safetensors")
    # of the best checkpoint only the weights are read
    if kind not in ("no position", "no generator"):
        with pytest.raises(RunError, match=match):
            load_run(out)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "cannot be read"),
        ("[]", "has schema None"),
        ("{}", "has schema None"),
        ('{"schema": 2}', "has schema 2; this version reads 1"),
        ('{"schema": 1}', "is damaged: it has no data, resolved, seed, task"),
    ],
)
def test_a_damaged_task_json_is_refused(whole, tmp_path, text, match):
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    (out / "task.json").write_text(text)
    refused(out, match)
    with pytest.raises(RunError, match=match):
        load_run(out)


def test_resume_keeps_task_settings_and_seed(whole, tmp_path):
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    refused(
        out,
        r"was started with other settings \(batch: 4 → 8\)\. A resumed run keeps its "
        r"settings",
        "batch=8",
    )
    refused(
        out,
        r"other settings \(optimiser\.lr: 0\.02 → 0\.5; schedule\.kind: 'cosine' → "
        r"'step'\)",
        "optimiser.lr=0.5",
        "schedule.kind=step",
    )
    refused(out, r"other settings \(seed: 0 → 7\)", seed=7)
    before = snapshot(out)
    with pytest.raises(
        RunError,
        match=r"is a run of task 'ecg_sim', not 'ecg'\. Resume it as "
        r"that task, or choose another --out",
    ):
        # no data there: the folder is looked at first
        fit(tasks.load("ecg"), out, data_dir=tmp_path, resume=True)
    assert snapshot(out) == before


def test_what_is_no_run_cannot_be_resumed(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    refused(
        tmp_path,
        "is no run folder: it has no task.json. A run is started with `srnn train TASK --out",
    )
    with pytest.raises(RunError, match="is no run folder"):
        run_task(tmp_path / "missing", resume=True)
    assert not (tmp_path / "missing").exists()


def test_a_folder_that_is_taken_is_not_overwritten(whole, tmp_path):
    before = snapshot(whole)
    with pytest.raises(
        RunError,
        match=r"exists already\. Continue that run with --resume, or "
        r"choose another folder with --out",
    ):
        run_task(whole)
    assert snapshot(whole) == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        run_task(tmp_path / "file")
    with pytest.raises(RunError, match="cannot be created: Not a directory"):
        run_task(tmp_path / "file/below")
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    run_task(tmp_path / "empty", "epochs=1")
    assert (tmp_path / "empty/metrics.json").exists()


def test_another_environment_is_said(whole, tmp_path):
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    env = json.loads((out / "env.json").read_text())
    (out / "env.json").write_text(json.dumps(env | {"torch": "1.0", "threads": 8}))
    with pytest.warns(
        UserWarning,
        match=r"in another environment \(torch: 1\.0 → .*; threads: 8 "
        r"→ 1\): it may not end with the same bits",
    ):
        run_task(out, resume=True)


@pytest.mark.parametrize("seed", [-1, 2**32, 10**30])
def test_a_seed_out_of_range_is_refused(tmp_path, seed):
    with pytest.raises(ConfigError, match="seed is "):
        run_task(tmp_path / "run", seed=seed)
    assert not (tmp_path / "run").exists()


# ── rates for each parameter ──────────────────────────────────────────────────────────────────────


def rates_of(task):
    net = task.build()
    optimiser = task.optimiser.build(net)
    by_id = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    return {name: by_id[id(p)] for name, p in net.named_parameters()}, len(optimiser.param_groups)


def test_parameters_have_the_rates_asked_for():
    rates, groups = rates_of(tasks.load("ecg"))
    assert len(rates) == 10
    assert groups == 3
    for name, rate in rates.items():
        factor = {"layers.0.constants": 3.0, "layers.1.constants": 2.0}.get(
            name.rsplit(".", 1)[0], 1.0
        )
        assert rate == pytest.approx(2e-2 * factor), name
    assert sum(rate != 2e-2 for rate in rates.values()) == 4


def test_a_rate_that_is_set_comes_before_the_patterns_of_the_task():
    task = override(
        tasks.load("ecg"),
        ["optimiser.rates.layers.0.constants.tau_m=0.5", "optimiser.rates.layers.1.weight=0"],
    )
    rates, _ = rates_of(task)
    assert rates["layers.0.constants.tau_m"] == pytest.approx(1e-2)
    assert rates["layers.0.constants.tau_adp"] == pytest.approx(6e-2)
    assert rates["layers.1.weight"] == 0
    # the pattern of the task is left without any parameter
    both = override(task, ["optimiser.rates.layers.0.constants.tau_adp=0.25"])
    assert rates_of(both)[0]["layers.0.constants.tau_adp"] == pytest.approx(0.5e-2)


def test_a_rate_of_nought_freezes_a_parameter(tmp_path):
    run_task(tmp_path / "run", "optimiser.rates.layers.0.weight=0")
    start = torch.manual_seed(0) and override(tasks.load("ecg_sim"), RANDOM).build()
    assert torch.equal(last_weight(tmp_path / "run"), start.layers[0].weight)
    end = load_checkpoint(tmp_path / "run/checkpoints/last.safetensors")[0]["net.layers.1.weight"]
    assert not torch.equal(end, start.layers[1].weight)


def test_a_pattern_that_fits_nothing_is_refused_with_the_names(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"'layers\.0\.wieght' fits no parameter\. Did you mean "
        r"'layers\.0\.weight'\? Known: layers\.0\.bias, ",
    ):
        run_task(tmp_path / "run", "optimiser.rates.layers.0.wieght=0.5")
    assert not (tmp_path / "run").exists()


# ── devices and TensorBoard ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("nonsense", "there is no 'nonsense'"),
        ("cuda:99", "'cuda:99' cannot be used here: there are"),
    ],
)
def test_a_device_that_is_not_there_is_refused(tmp_path, device, message):
    with pytest.raises(ConfigError, match=message):
        run_task(tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()


def test_tensorboard_that_is_not_installed_is_refused_before_anything_is_written(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError,
        match=r"needs the package tensorboard\. Install it with: pip "
        r'install "srnn\[track\]"',
    ):
        run_task(tmp_path / "run", tensorboard=True)
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_events_are_written_when_asked_for(tmp_path):
    pytest.importorskip("tensorboard")
    run_task(tmp_path / "run", "epochs=1", tensorboard=True)
    events = list((tmp_path / "run/tensorboard").iterdir())
    assert len(events) == 1
    content = events[0].read_bytes()
    assert all(
        tag in content for tag in (b"validation_accuracy", b"firing_rates/1", b"learning_rate")
    )
