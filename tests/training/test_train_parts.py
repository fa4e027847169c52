"""Training on recordings that are read when asked for: what is drawn, changed, joined, kept in
memory, and told of the selection.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from srnn import tasks
from srnn._check import ConfigError
from srnn.datasets import Entry, Recordings, Sample
from srnn.datasets.sample import entries_of
from srnn.encode import Augment
from srnn.tasks.encoders import Shape
from srnn.tasks.nets import AdaptiveNetwork
from srnn.tasks.objective import PerRecording
from srnn.tasks.task import Parts
from srnn.training import evaluate, loop
from srnn.training import train as training
from srnn.training.evaluate import assess
from srnn.training.loop import Interrupted, Position
from srnn.training.runs import Run, fingerprint, load_checkpoint
from srnn.training.train import fit

SIZES = {"train": (14, 3, 1), "validation": (2, 2, 2), "test": (3, 3, 3)}
"""Recordings of each class in each part."""

READ: list[str] = []
"""Names of the recordings that were read, in order."""


def read(entry: Entry) -> Sample:
    """Twelve steps of six channels; those of its class are busier."""
    READ.append(entry.name)
    busy = np.where(np.arange(6) // 2 == entry.label, 0.8, 0.1)
    events = (np.random.default_rng(entry.at).random((12, 6)) < busy).astype(np.uint8)
    return Sample(events, entry.label, 100.0, entry.name, entry.group, events=True)


def recordings(part: str) -> Recordings[Sample]:
    labels = [k for k, size in enumerate(SIZES[part]) for _ in range(size)]
    at = list(SIZES).index(part)
    return Recordings(
        [Entry(f"{part}/{i}", k, f"person{i % 4}", (at, i), 72) for i, k in enumerate(labels)],
        read,
        f"checksum of {part}",
    )


@dataclass(frozen=True)
class Lazy:
    """Recordings none of which is read before it is asked for."""

    simulated: ClassVar[bool] = True
    shape: ClassVar[Shape] = Shape(12, 6, 100.0, events=True)

    def load(self, data_dir):
        return Parts(*(recordings(part) for part in SIZES), "a note")


TASK = replace(
    tasks.load("ecg_sim"),
    classes=("a", "b", "c"),
    data=Lazy(),
    encode=None,
    network=AdaptiveNetwork((5,), (True,)),
    decode=PerRecording(),
    optimiser=replace(tasks.load("shd").optimiser, lr=0.02),
    regulariser=None,
    batch=6,
    epochs=3,
)


@pytest.fixture(autouse=True)
def nothing_read():
    READ.clear()


def weights(out, name="last"):
    return load_checkpoint(Run(out).checkpoint(name))[0]


def same_weights(a, b):
    """Compare the weights of two runs bit by bit; return whether they are equal."""
    one, other = weights(a), weights(b)
    names = [n for n in one if n.startswith("net.")]
    assert one.keys() == other.keys()
    assert len(names) >= 8
    return all(torch.equal(one[n], other[n]) for n in names)


def names_of(part):
    return [e.name for e in entries_of(part)]


# ── the order ─────────────────────────────────────────────────────────────────────────────────────


def orders(task, epochs, seed=0):
    parts = Lazy().load(None)
    return [
        loop.Loop.order(SimpleNamespace(task=task, seed=seed, at=Position(epoch=e)), parts)
        for e in range(epochs)
    ]


def test_a_balanced_epoch_draws_each_class_equally_often():
    drawn = orders(replace(TASK, balanced=True), 400)
    assert all(len(order) == 18 for order in drawn)
    counts = Counter(i for order in drawn for i in order)
    labels = [e.label for e in recordings("train").entries]
    of_class = [sum(counts[i] for i in range(18) if labels[i] == k) for k in range(3)]
    assert sum(of_class) == 400 * 18
    # five standard deviations of a binomial of 7200 and 1/3
    assert of_class == pytest.approx([2400] * 3, abs=5 * 40)
    for k, size in enumerate(SIZES["train"]):  # and within a class each recording
        each = [counts[i] for i in range(18) if labels[i] == k]
        assert each == pytest.approx([2400 / size] * size, rel=0.4)
    assert len({tuple(order) for order in drawn}) == 400
    assert orders(replace(TASK, balanced=True), 3) == drawn[:3]
    assert orders(replace(TASK, balanced=True), 3, seed=1) != drawn[:3]
    assert READ == []  # labels are known without reading


def test_otherwise_each_recording_is_used_once_an_epoch():
    drawn = orders(TASK, 20)
    assert all(sorted(order) == list(range(18)) for order in drawn)
    assert len({tuple(order) for order in drawn}) == 20


def test_a_balanced_run_trains_on_what_was_drawn(tmp_path, monkeypatch):
    seen, collate = [], loop.collate
    monkeypatch.setattr(
        loop,
        "collate",
        lambda samples, *args: seen.extend(s.name for s in samples) or collate(samples, *args),
    )
    task = replace(TASK, balanced=True)
    fit(task, tmp_path / "run")
    assert seen == [f"train/{i}" for order in orders(task, 3) for i in order]
    assert len(seen) == 54
    assert not same_weights(tmp_path / "run", fitted(TASK, tmp_path / "plain"))


def fitted(task, out, **kwargs):
    fit(task, out, **kwargs)
    return out


# ── augmentation ──────────────────────────────────────────────────────────────────────────────────

AUGMENTED = replace(TASK, augment=Augment(channel_jitter=0.7, time_shift=2, drop=0.2))


def stop_always(monkeypatch):
    @contextmanager
    def signals():
        yield lambda: True

    monkeypatch.setattr(training, "stop_requests", signals)


def until_finished(task, out):
    """Start a run and resume it after every batch; return how often it was stopped."""
    for stops in range(50):
        try:
            fit(task, out, resume=stops > 0)
            return stops
        except Interrupted:
            pass
    raise AssertionError("never finished")


@pytest.mark.parametrize("balanced", [False, True])
def test_a_stopped_run_sees_the_same_changes(tmp_path, monkeypatch, balanced):
    task = replace(AUGMENTED, balanced=balanced)
    whole = fitted(task, tmp_path / "whole")
    stop_always(monkeypatch)
    assert until_finished(task, tmp_path / "stopped") == 9  # three batches an epoch
    assert same_weights(whole, tmp_path / "stopped")
    monkeypatch.undo()
    assert not same_weights(whole, fitted(replace(task, augment=None), tmp_path / "plain"))


def test_each_epoch_changes_the_training_part_anew_and_nothing_else(tmp_path, monkeypatch):
    trained, assessed, collate = [], [], loop.collate
    monkeypatch.setattr(
        loop, "collate", lambda samples, *args: trained.extend(samples) or collate(samples, *args)
    )
    monkeypatch.setattr(
        evaluate,
        "collate",
        lambda samples, *args: assessed.extend(samples) or collate(samples, *args),
    )
    fit(AUGMENTED, tmp_path / "run")
    raw = {e.name: read(e).signal for part in SIZES for e in recordings(part).entries}
    epochs = [{s.name: s.signal for s in trained[18 * e : 18 * (e + 1)]} for e in range(3)]
    assert [len(e) for e in epochs] == [18] * 3
    changed = sum(
        not np.array_equal(a[n], b[n])
        for n in epochs[0]
        for a, b in ((epochs[0], epochs[1]), (epochs[1], epochs[2]), (epochs[0], raw))
    )
    assert changed >= 50  # of 54: few events may stay where they were
    assert len(assessed) == 3 * 6 + 9
    assert all(np.array_equal(s.signal, raw[s.name]) for s in assessed)
    sample = read(recordings("train").entries[0])
    again = [
        AUGMENTED.augmented(sample, *which).signal
        for which in ((0, 1, 2), (0, 1, 2), (0, 1, 3), (0, 2, 2), (1, 1, 2))
    ]
    assert np.array_equal(again[0], again[1])
    assert not any(np.array_equal(again[0], other) for other in again[2:])


# ── selection ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("selection", ["test", "train", "validation"])
def test_selection_as_published_says_so(tmp_path, selection):
    plain = TASK.load(None)
    task = replace(TASK, published_selection=selection, published_protocol=True)
    parts = task.load(None)
    watched = {
        "test": names_of(plain.test),
        "train": names_of(plain.train) + names_of(plain.validation),
        "validation": names_of(plain.validation),
    }
    assert names_of(parts.validation) == watched[selection]
    assert names_of(parts.test) == names_of(plain.test)
    joined = [*names_of(plain.train), *names_of(plain.validation)]
    assert names_of(parts.train) == (names_of(plain.train) if selection == "validation" else joined)
    result = fit(task, tmp_path / "run")
    assert result["selected_by"] == f"{selection} accuracy, as published"
    if selection == "validation":
        assert result["data_note"] == "a note"
        assert same_weights(tmp_path / "run", fitted(TASK, tmp_path / "plain"))
    else:
        assert (
            f"the checkpoint was selected on the {selection} part: its accuracy is no "
            "estimate for new data"
        ) in result["data_note"]
    assert (result["validation_accuracy"] == result["test_accuracy"]) or selection != "test"


def test_without_it_the_validation_part_selects(tmp_path):
    for selection in ("test", "train", "validation"):
        assert names_of(
            replace(TASK, published_selection=selection).load(None).validation
        ) == names_of(recordings("validation"))
    assert fit(TASK, tmp_path / "run")["selected_by"] == "validation accuracy"
    with pytest.raises(
        ConfigError, match="refit keeps the last epoch, published_protocol selects one"
    ):
        replace(TASK, refit=True, published_protocol=True)


def test_a_refit_joins_the_parts_without_reading_them(tmp_path):
    parts = replace(TASK, refit=True).load(None)
    firsts = [f"{part}/0" for part in SIZES]
    assert firsts == READ  # one of each, to see that anything counts
    assert isinstance(parts.train, Recordings)
    assert names_of(parts.train) == names_of(recordings("train")) + names_of(
        recordings("validation")
    )
    assert [s.name for s in parts.train] == names_of(parts.train)
    # those read before were kept, and nothing twice
    assert READ[3:] == names_of(parts.train)[1:18] + names_of(parts.train)[19:]
    result = fit(replace(TASK, refit=True), tmp_path / "run")
    assert (result["best_epoch"], result["epochs"]) == (3, 3)
    assert "was trained on" in result["data_note"]
    assert Run(tmp_path / "run").stored()["data"]["train"] == 18 + 6


# ── fingerprint and memory ────────────────────────────────────────────────────────────────────────


def test_the_fingerprint_of_recordings_reads_nothing_and_sees_what_changes():
    parts = Lazy().load(None)
    entries = parts.train.entries
    wanted = fingerprint(parts)
    assert {k: v for k, v in wanted.items() if k != "sha256"} == {
        "train": 18,
        "validation": 6,
        "test": 9,
    }
    assert fingerprint(Lazy().load(None)) == wanted
    # encoding and memory are not the data
    assert fingerprint(replace(parts, train=parts.train.map(lambda s: s).kept(100))) == wanted
    others = [
        Recordings(entries, read, "another checksum"),
        Recordings([replace(entries[0], name="x"), *entries[1:]], read, parts.train.source),
        Recordings([replace(entries[0], label=1), *entries[1:]], read, parts.train.source),
        Recordings([replace(entries[0], group="somebody"), *entries[1:]], read, parts.train.source),
        Recordings([replace(entries[0], size=73), *entries[1:]], read, parts.train.source),
        Recordings([entries[1], entries[0], *entries[2:]], read, parts.train.source),
    ]
    digests = {fingerprint(replace(parts, train=other))["sha256"] for other in others} | {
        wanted["sha256"]
    }
    assert len(digests) == 7
    assert READ == []
    whole = replace(parts, train=list(parts.train))
    changed = replace(
        whole, train=[replace(whole.train[0], signal=1 - whole.train[0].signal), *whole.train[1:]]
    )
    # of a list the signals count
    assert fingerprint(whole)["sha256"] != fingerprint(changed)["sha256"]


def test_memory_changes_what_is_read_and_not_what_is_learnt(tmp_path):
    reads = {}
    # a recording is 72 + 8 bytes: ten of a part fit into the last one
    for mb in (1024.0, 0.0, 800 / 2**20):
        READ.clear()
        fit(replace(TASK, cache_mb=mb), tmp_path / str(mb))
        reads[mb] = len(READ)
    assert reads[1024.0] == 18 + 6 + 9
    # one of each part to see that it counts, one for its channels, then each whenever needed
    assert reads[0.0] == 3 + 1 + 3 * (18 + 6) + 9
    assert reads[800 / 2**20] == 18 + 2 * 8 + 6 + 9
    assert same_weights(tmp_path / "1024.0", tmp_path / "0.0")
    assert same_weights(tmp_path / "1024.0", tmp_path / str(800 / 2**20))
    first, second = (Run(tmp_path / name).read("metrics.json") for name in ("1024.0", "0.0"))
    assert {k: v for k, v in first.items() if k != "seconds"} == {
        k: v for k, v in second.items() if k != "seconds"
    }


def test_what_is_learnt_is_learnt(tmp_path):
    result = fit(replace(TASK, balanced=True, epochs=10), tmp_path / "run")
    assert result["test_accuracy"] >= 2 / 3  # of three classes
    assert assess(TASK.build(), TASK, recordings("test"))["recordings"] == 9
