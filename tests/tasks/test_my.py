"""Your own recordings: all four layouts train, what was found is stored with the run, and a run
goes on only on the same data.
"""

from __future__ import annotations

import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from srnn import tasks
from srnn._check import ConfigError, RunError
from srnn.datasets import own
from srnn.datasets.sample import entries_of
from srnn.tasks.encoders import Direct, EventBins, LogMelFrames
from srnn.tasks.objective import PerRecording, PerStep
from srnn.tasks.settings import override
from srnn.training import train as training
from srnn.training.evaluate import assess
from srnn.training.loop import Interrupted
from srnn.training.runs import Run, load_checkpoint, load_run
from srnn.training.train import fit

SMALL = ["epochs=6", "batch=8", "network.hidden=[24,24]"]
ENCODERS = {"npz": Direct, "csv": Direct, "wav": LogMelFrames, "h5": EventBins}


def task_on(path, *settings):
    return override(tasks.load("my"), [f"data={path}", *SMALL, *settings])


@pytest.mark.parametrize("kind", ENCODERS)
def test_each_layout_trains_and_comes_back(kind, tmp_path):
    path = own.made_up(tmp_path / "data", kind)
    result = fit(task_on(path), tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "task.json").read_text())["resolved"]
    assert stored["encode"]["is"] == ENCODERS[kind].__name__
    assert len(stored["classes"]) == 3
    assert result["test_accuracy"] > 0.6  # of three classes, after six epochs
    assert (result["simulated"], result["published"], result["test_recordings"]) == (False, [], 36)
    _, task, seed, net = load_run(tmp_path / "run")
    assert assess(net, task, task.load(None).test, seed=seed)["accuracy"] == result["test_accuracy"]


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_a_stopped_run_goes_on(kind, tmp_path, monkeypatch):
    """Resumed as it was begun, or with the task that its folder holds: the same bits as a run that
    was never stopped.
    """
    path = own.made_up(tmp_path / "data", kind)
    task = task_on(path, "epochs=2", "network.hidden=[6,6]", "batch=64")
    fit(task, tmp_path / "whole")

    @contextmanager
    def signals():
        yield lambda: True

    with monkeypatch.context() as patched:
        patched.setattr(training, "stop_requests", signals)
        with pytest.raises(Interrupted):
            fit(task, tmp_path / "run")
        with pytest.raises(Interrupted):
            fit(task, tmp_path / "run", resume=True)
    result = fit(Run(tmp_path / "run").task()[0], tmp_path / "run", resume=True)
    assert result["epochs"] == 2
    a, b = (
        load_checkpoint(Run(tmp_path / name).checkpoint("last"))[0] for name in ("whole", "run")
    )
    assert len(a) > 20
    assert all(torch.equal(a[name], b[name]) for name in a)
    with pytest.raises(RunError, match=r"started with other settings \(batch: 64 → 8\)"):
        fit(override(task, ["batch=8"]), tmp_path / "run", resume=True)


def test_groups_are_kept_apart_and_few_are_enough(tmp_path):
    path = own.made_up(tmp_path / "data", "npz")
    arrays = dict(np.load(path))
    for people in (20, 3):
        arrays["groups"] = np.array([f"p{i % people}" for i in range(len(arrays["y"]))])
        np.savez(path, **arrays)
        parts = task_on(path).resolved(None).load(None)
        groups = [
            {e.group for e in entries_of(part)}
            for part in (parts.train, parts.validation, parts.test)
        ]
        assert all(groups)
        assert len(set.union(*groups)) == people == sum(map(len, groups))
        assert "no group" in parts.note
    del arrays["groups"]
    np.savez(path, **arrays)
    parts = task_on(path).resolved(None).load(None)
    assert "No groups are known" in parts.note
    shares = [
        np.bincount([e.label for e in entries_of(part)], minlength=3)
        for part in (parts.train, parts.validation, parts.test)
    ]
    assert all(np.ptp(s) <= 1 for s in shares)


def test_signals_are_standardised_by_the_training_part(tmp_path):
    path = own.made_up(tmp_path / "data", "npz")
    arrays = dict(np.load(path))
    arrays["X"] = arrays["X"] * np.array([10.0, 0.0]) + np.array([5.0, 7.0])
    np.savez(path, **arrays)
    task = task_on(path).resolved(None)
    signal = np.concatenate([s.signal for s in task.load(None).train])
    assert signal.mean(0) == pytest.approx([0, 0], abs=1e-4)
    assert signal.std(0) == pytest.approx([1, 0], abs=1e-4)  # a constant channel stays one
    assert task.encode.sd[1] == 1.0
    kept = task_on(path, "encode=LevelCrossings").resolved(None)
    assert type(kept.encode).__name__ == "LevelCrossings"  # what was set stays


def test_a_label_for_every_step(tmp_path):
    generator = np.random.default_rng(0)
    y = np.repeat(generator.integers(0, 2, (40, 6)), 5, 1)
    np.savez(
        tmp_path / "steps.npz",
        X=y[..., None] + 0.1 * generator.standard_normal((40, 30, 1)),
        y=y,
        rate=50.0,
    )
    task = task_on(tmp_path / "steps.npz", "epochs=12")
    assert task.decode == PerRecording()
    assert task.resolved(None).decode == PerStep()
    result = fit(task, tmp_path / "run")
    assert result["test_accuracy_labelled"] > 0.6
    assert result["test_recordings"] == 8


def test_other_data_is_refused(tmp_path):
    path = own.made_up(tmp_path / "data", "npz")
    fit(task_on(path, "epochs=1"), tmp_path / "run")
    own.made_up(path, "npz", seed=1)
    _, task, seed, _ = load_run(tmp_path / "run")
    with pytest.raises(RunError, match="was started on other data"):
        fit(task, tmp_path / "run", seed=seed, resume=True)


def test_which_data():
    with pytest.raises(ConfigError, match=r"my: which data\? .*--set data=PATH"):
        override(tasks.load("my"), []).resolved(None)
    assert override(tasks.load("my"), ["data=some/folder"]).data.path == "some/folder"
    with pytest.raises(ConfigError, match="expected the name of a choice"):
        override(tasks.load("shd"), ["data=some/folder"])
