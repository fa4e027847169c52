"""Tasks: each one documented, its network fitting its data; decoding, loss and regulariser worked
by hand; collate.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
import typing
from dataclasses import dataclass, fields, is_dataclass, replace

import numpy as np
import pytest
import torch

from srnn import tasks
from srnn._check import ConfigError, DataError
from srnn.datasets import Sample
from srnn.nn.networks import Output, Trace, Zeros, count_parameters
from srnn.tasks import task as task_module
from srnn.tasks.encoders import LevelCrossings, Shape
from srnn.tasks.nets import AdaptiveNetwork
from srnn.tasks.settings import override
from srnn.tasks.task import FiringRate, Parts, PerRecording, PerStep, Published, Task, collate
from srnn.training.train import fit


def test_the_names_of_the_tasks_are_those_of_their_modules():
    assert {"ecg", "ecg_sim"} <= set(tasks.names())
    assert not {"task", "settings"} & set(tasks.names())
    assert all(tasks.load(name).name == name for name in tasks.names())
    with pytest.raises(
        ConfigError,
        match=r"There is no task 'ecgs'\. Did you mean 'ecg'\? "
        r"Known: ecg, ecg_sim",
    ):
        tasks.load("ecgs")
    with pytest.raises(ConfigError, match="There is no task 'settings'"):
        tasks.load("settings")


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_is_documented_and_its_published_numbers_have_sources(name):
    task = tasks.load(name)
    assert 10 < len(task.summary) < 100
    assert len(task.classes) == len(set(task.classes)) >= 2
    assert task.step_seconds > 0
    for part in (task.data, task.network, task.decode, task.optimiser, task.schedule, task.start):
        doc = inspect.getdoc(type(part))
        assert is_dataclass(part)
        assert doc
        assert not doc.startswith(f"{type(part).__name__}(")  # not the one dataclasses write
    assert "published" in vars(task)
    # ours
    assert bool(task.published) != (task.data.simulated or name in ("fsdd", "fsdd_spikes", "my"))
    for number in task.published:
        assert re.search(r"\b(19|20)\d\d\b", number.source), number
        assert number.what
        assert math.isfinite(number.value)
        assert "accuracy" not in number.what or number.protocol, (
            "a published accuracy says how it was selected"
        )


def test_every_setting_of_a_choice_is_explained():
    checked = 0
    for choice in (
        PerStep,
        PerRecording,
        FiringRate,
        LevelCrossings,
        task_module.Optimiser,
        task_module.Schedule,
        Task,
    ):
        doc = inspect.getdoc(choice)
        for field in fields(choice):
            if choice is Task and field.name in (
                "name",
                "summary",
                "classes",
                "data",
                "network",
                "encode",
                "start",
                "decode",
                "regulariser",
                "optimiser",
                "schedule",
                "batch",
                "epochs",
                "published",
            ):
                continue
            known = field.name in doc or field.name in (
                "kind",
                "lr",
                "eps",
                "weight_decay",
                "threshold",
                "low",
                "high",
                "factor",
            )
            assert known, f"{choice.__name__}.{field.name}"
            checked += 1
    assert checked >= 25


def test_ecg_is_the_published_network():
    net = tasks.load("ecg").build()
    hidden, out = net.parts()
    assert (hidden.inputs, hidden.neurons, out.inputs, out.neurons) == (4, 36, 36, 6)
    assert (hidden.recurrent is not None, out.recurrent is not None) == (True, False)
    assert (hidden.recurrent_bias is not None, hidden.activation.binary, out.activation.binary) == (
        True,
        True,
        True,
    )
    assert sum(p.numel() for p in net.parameters()) == 1818
    assert 36 * 4 + 36 * 36 + 2 * 36 + 2 * 36 + 6 * 36 + 6 + 2 * 6 == 1818
    assert count_parameters(net) == (1782, 36)  # tau_adp of the hidden layer, where β = 0
    start = {
        name: float(value.detach().unique())
        for layer in (0, 1)
        for name, value in _constants(net, layer).items()
    }
    assert start == pytest.approx(
        {
            "0.tau_m": 20,
            "0.tau_adp": 7,
            "0.b0": 0.1,
            "0.beta": 0,
            "1.tau_m": 20,
            "1.tau_adp": 100,
            "1.b0": 0.1,
            "1.beta": 1.8,
        }
    )
    task = tasks.load("ecg")
    assert (task.decode, task.start, task.batch, task.epochs) == (
        PerStep(skip=10, unlabelled_as=0),
        Zeros(),
        8,
        300,
    )
    assert [p.value for p in task.published] == [0.859, 0.844, 1818, 90, 325.7]


def _constants(net, layer):
    return {f"{layer}.{name}": value for name, value in net.parts()[layer].constants().items()}


TINY = ["data.train=5", "data.validation=3", "data.test=2", "data.steps=40", "network.hidden=[6]"]


def test_simulated_parts_are_encoded_and_share_no_patient():
    task = override(tasks.load("ecg_sim"), TINY)
    parts = task.load(None)
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [5, 3, 2]
    groups = [s.group for part in (parts.train, parts.validation, parts.test) for s in part]
    assert len(set(groups)) == 10
    for sample in [*parts.train, *parts.validation, *parts.test]:
        assert sample.signal.shape == (40, 4) == (40, task.shape.channels)
        assert sample.events
        assert set(np.unique(sample.signal)) <= {0.0, 1.0}
        assert sample.meta["signal"].shape == (40, 2)
        assert sample.rate == pytest.approx(1 / task.step_seconds)
    out = task.build()(collate(parts.train).x)
    assert out.potential.shape == (5, 40, len(task.classes))


# ── data that does not fit ────────────────────────────────────────────────────────────────────────


def sample(label, steps=4, channels=4, name="rec/1", value=0.0):
    return Sample(np.full((steps, channels), value, np.float32), label, 250.0, name, events=True)


@dataclass(frozen=True)
class Given:
    """Data handed over as it is."""

    simulated: typing.ClassVar[bool] = True
    shape: typing.ClassVar[Shape] = Shape(None, 4, 250.0, events=True)
    samples: typing.ClassVar[tuple] = ()

    def load(self, data_dir):
        return Parts(self.samples, self.samples, self.samples)


def with_data(*samples, **changes):
    data = Given()
    object.__setattr__(data, "samples", samples)
    return replace(tasks.load("ecg_sim"), data=data, **changes)


def test_a_label_out_of_range_is_refused():
    with pytest.raises(DataError) as refused:
        with_data(sample(np.array([0, 5, 6, -1]))).load(None)
    assert str(refused.value) == (
        "rec/1: label 6 out of range; ecg_sim has 6 classes 0 … 5 (P, "
        "PQ, QR, RS, ST, TP), and -1 for unlabelled."
    )
    good = np.array([0, 5, -1, -1])
    assert len(with_data(sample(good), decode=PerStep()).load(None).train) == 1


def test_labels_of_the_other_kind_are_refused():
    with pytest.raises(
        ConfigError,
        match=r"rec/1 has one label for all its steps; "
        r"decode=PerStep needs one a step\. Set decode=PerRecording",
    ):
        with_data(sample(3)).load(None)
    with pytest.raises(
        ConfigError,
        match=r"rec/1 has a label for every step; "
        r"decode=PerRecording needs one for all\. Set decode=PerStep",
    ):
        with_data(sample(np.zeros(4, np.int64)), decode=PerRecording()).load(None)


def test_a_part_without_anything_that_counts_is_refused():
    cases = [
        (sample(np.zeros(10, np.int64), steps=10), PerStep(skip=10), False),
        (sample(np.zeros(11, np.int64), steps=11), PerStep(skip=10), True),
        (sample(np.full(11, -1), steps=11), PerStep(skip=10), False),
        (sample(np.full(11, -1), steps=11), PerStep(skip=10, unlabelled_as=0), True),
        (sample(-1), PerRecording(), False),
        (sample(0), PerRecording(), True),
    ]
    for one, decode, fine in cases:
        if fine:
            assert len(with_data(one, decode=decode).load(None).test) == 1
        else:
            with pytest.raises(DataError, match="nothing in the train part counts"):
                with_data(one, decode=decode).load(None)
    with pytest.raises(DataError, match="the train part is empty"):
        with_data().load(None)


@dataclass(frozen=True)
class Stubborn:
    """A network of one size, whatever it is asked for."""

    inputs: int = 4
    classes: int = 6

    def build(self, inputs, classes):
        return AdaptiveNetwork((3,), (True,)).build(self.inputs, self.classes)


def test_a_network_that_does_not_fit_the_data_is_refused(tmp_path):
    fine = sample(np.arange(12) % 6, steps=12)
    narrow = sample(np.arange(12) % 6, steps=12, channels=2)
    cases = [
        (
            with_data(narrow),
            "the network takes 4 channels, the encoded data has 2; encode and data do not fit.",
        ),
        (
            with_data(fine, network=Stubborn(inputs=3)),
            "the network takes 3 channels, the encoded data has 4; encode and data do not",
        ),
        (
            with_data(fine, network=Stubborn(classes=5)),
            "the network has 5 outputs for 6 classes; they must be equal.",
        ),
    ]
    for task, message in cases:
        with pytest.raises(ConfigError, match=f"ecg_sim: {message}"):
            fit(task, tmp_path / "run")
        assert not (tmp_path / "run").exists()
    assert fit(with_data(fine, network=Stubborn(), epochs=1), tmp_path / "run")["epochs"] == 1


# ── collate ───────────────────────────────────────────────────────────────────────────────────────


def test_collate_pads_signals_with_zeros_and_labels_with_minus_one():
    batch = collate(
        [sample(np.array([1, 2, 3]), steps=3, value=1.0), sample(np.array([4]), steps=1, value=2.0)]
    )
    assert batch.x.shape == (2, 3, 4)
    assert batch.x[0].tolist() == [[1.0] * 4] * 3
    assert batch.x[1].tolist() == [[2.0] * 4, [0.0] * 4, [0.0] * 4]
    assert batch.labels.tolist() == [[1, 2, 3], [4, -1, -1]]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.labels.dtype == batch.lengths.dtype == torch.int64


@pytest.mark.parametrize("kind", [int, np.int64, np.asarray])
def test_collate_takes_one_label_a_recording(kind):
    batch = collate([sample(kind(2), steps=3), sample(kind(0), steps=2)])
    assert batch.labels.tolist() == [2, 0]
    assert batch.labels.dtype == torch.int64


def test_collate_refuses_other_channels():
    with pytest.raises(
        DataError,
        match=r"Recordings of \[2, 4\] channels in one batch \(rec/1 "
        r"…\); expected the same number in all",
    ):
        collate([sample(0), sample(0, channels=2)])


# ── one label a step, by hand ─────────────────────────────────────────────────────────────────────

LABELS = torch.tensor([[0, 1, -1, 2], [2, -1, -1, -1]])
LENGTHS = torch.tensor([4, 2])


@pytest.mark.parametrize(
    ("decode", "expected"),
    [
        (PerStep(), [[0, 1, -1, 2], [2, -1, -1, -1]]),
        (PerStep(skip=1), [[-1, 1, -1, 2], [-1, -1, -1, -1]]),
        (PerStep(unlabelled_as=1), [[0, 1, 1, 2], [2, 1, -1, -1]]),  # padding never counts
        (PerStep(skip=1, unlabelled_as=0), [[-1, 1, 0, 2], [-1, 0, -1, -1]]),
        (PerStep(skip=9), [[-1] * 4, [-1] * 4]),
    ],
)
def test_targets_of_each_step(decode, expected):
    assert decode.targets(LABELS, LENGTHS).tolist() == expected


def output(potential):
    return Output(potential, torch.zeros_like(potential), (), None)


def potentials():
    """(2, 4, 3): log-probabilities of p = softmax; the guesses are 0, 1, 1, 0 and 2, 0 (and nothing
    beyond the end).
    """
    p = torch.tensor(
        [
            [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.5, 0.25], [0.5, 0.25, 0.25]],
            [[0.25, 0.25, 0.5], [0.5, 0.25, 0.25], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]],
        ]
    )
    return torch.log(p) + 3.0  # a constant more changes nothing


def test_scores_are_log_probabilities_of_valid_steps():
    scores = PerStep().scores(output(potentials()), LENGTHS)
    assert torch.allclose(scores[0].exp().sum(-1), torch.ones(4))
    assert scores[0, 0].exp().tolist() == pytest.approx([0.5, 0.25, 0.25])
    assert scores[1, 2:].eq(0).all()


def test_loss_of_each_step_by_hand():
    log2, log4 = math.log(2), math.log(4)
    cases = [
        # steps 0, 1, 3 of the first, step 0 of the second; mean over two recordings
        (PerStep(), (log2 + log2 + log4 + log2) / 2),
        (PerStep(mean_over_steps=True), (3 * log2 + log4) / 4),
        (PerStep(skip=1), (log2 + log4) / 2),
        (PerStep(unlabelled_as=0), (log2 + log2 + log4 + log4 + log2 + log2) / 2),
        (PerStep(skip=9), 0.0),
        (PerStep(skip=9, mean_over_steps=True), 0.0),
    ]
    for decode, expected in cases:
        scores = decode.scores(output(potentials()), LENGTHS)
        assert float(decode.loss(scores, LABELS, LENGTHS)) == pytest.approx(expected), decode


def test_results_of_each_step_by_hand():
    scores = PerStep().scores(output(potentials()), LENGTHS)
    plain = PerStep().results([scores], [LABELS], [LENGTHS])
    # labelled: (0 → 0), (1 → 1), (2 → 0) | (2 → 2); the mean over recordings is (2/3 + 1) / 2,
    # pooled it is 3/4
    assert plain["accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert plain["accuracy_labelled"] == 0.75
    assert (plain["recordings"], plain["labelled_steps"]) == (2, 4)
    assert plain["confusion"] == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert plain["recall"] == [1.0, 1.0, 0.5]
    as_p = PerStep(unlabelled_as=0).results([scores], [LABELS], [LENGTHS])
    # unlabelled steps are class 0: step 2 of the first (guess 1, wrong), step 1 of the second
    # (guess 0, right)
    assert as_p["accuracy"] == pytest.approx((2 / 4 + 2 / 2) / 2)
    assert {k: v for k, v in as_p.items() if k != "accuracy"} == {
        k: v for k, v in plain.items() if k != "accuracy"
    }
    skipped = PerStep(skip=1).results([scores], [LABELS], [LENGTHS])
    assert skipped["accuracy"] == 0.5  # the second recording has no step left and does not count
    assert skipped["recall"] == [None, 1.0, 0.0]
    two = PerStep().results(
        [scores[:1], scores[1:, :2]], [LABELS[:1], LABELS[1:, :2]], [LENGTHS[:1], LENGTHS[1:]]
    )
    assert two == plain  # batches padded to other lengths


# ── one label a recording, by hand ────────────────────────────────────────────────────────────────


def softmax(*values):
    e = [math.exp(v) for v in values]
    return [x / sum(e) for x in e]


POTENTIAL = torch.tensor(
    [[[1.0, 0.0], [3.0, 5.0], [2.0, 2.0]], [[-1.0, -2.0], [9.0, 9.0], [9.0, 9.0]]]
)
SPIKES = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]])
ENDS = torch.tensor([3, 1])


@pytest.mark.parametrize(
    ("pool", "read", "expected"),
    [
        (
            "softmax_sum",
            "potential",
            [
                [sum(p[k] for p in (softmax(1, 0), softmax(3, 5), softmax(2, 2))) for k in (0, 1)],
                softmax(-1, -2),
            ],
        ),
        ("mean", "potential", [[2.0, 7 / 3], [-1.0, -2.0]]),
        ("last", "potential", [[2.0, 2.0], [-1.0, -2.0]]),
        ("max_over_time", "potential", [[3.0, 5.0], [-1.0, -2.0]]),
        ("spike_count", "output", [[2.0, 1.0], [0.0, 1.0]]),
    ],
)
def test_each_pool_by_hand(pool, read, expected):
    decode = PerRecording(read=read, pool=pool)
    scores = decode.scores(Output(POTENTIAL, SPIKES, (), None), ENDS)
    assert scores.tolist() == [pytest.approx(row) for row in expected]
    labels = torch.tensor([1, 0])
    by_hand = (
        sum(-math.log(softmax(*row)[label]) for row, label in zip(expected, (1, 0), strict=True))
        / 2
    )
    assert float(decode.loss(scores, labels, ENDS)) == pytest.approx(by_hand)


def test_skip_leaves_out_first_steps_and_every_pool_is_tested():
    pools = typing.get_type_hints(PerRecording)["pool"]
    assert set(typing.get_args(pools)) == {
        "softmax_sum",
        "mean",
        "last",
        "max_over_time",
        "spike_count",
    }
    out = Output(POTENTIAL, SPIKES, (), None)
    assert PerRecording(pool="mean", skip=1).scores(out, ENDS).tolist() == [[2.5, 3.5], [0.0, 0.0]]
    assert PerRecording(pool="last", skip=1).scores(out, ENDS).tolist() == [
        [2.0, 2.0],
        [-1.0, -2.0],
    ]


def test_results_of_each_recording():
    scores = [
        torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]]),
        torch.tensor([[3.0, 0.0, 1.0], [0.0, 0.0, 1.0]]),
    ]
    got = PerRecording().results(
        scores, [torch.tensor([0, 1]), torch.tensor([1, -1])], [ENDS, ENDS]
    )
    assert got == {
        "accuracy": pytest.approx(2 / 3),
        "recordings": 4,
        "confusion": [[1, 0, 0], [1, 1, 0], [0, 0, 0]],
        "recall": [1.0, 0.5, None],
    }


def test_a_task_with_one_label_a_recording_trains(tmp_path):
    made = override(tasks.load("ecg_sim"), TINY).load(None)
    labelled = [
        Sample(s.signal, np.int64(k % 6), s.rate, s.name, events=True)
        for k, s in enumerate(made.train)
    ]
    task = with_data(*labelled, decode=PerRecording(pool="mean"), epochs=2, batch=3)
    task = replace(task, published=(Published("test accuracy", 0.859, "somebody 2020"),))
    result = fit(task, tmp_path / "run")
    assert (result["epochs"], result["test_recordings"]) == (2, 5)
    assert "test_accuracy_labelled" not in result
    # never beside a published number
    assert (result["simulated"], result["published"]) == (True, [])


# ── firing rates ──────────────────────────────────────────────────────────────────────────────────


def test_firing_rate_by_hand():
    spikes = torch.zeros(2, 3, 3)
    spikes[0, :, 0] = 1.0  # 3 of 5 valid steps: 0.6
    spikes[1, 0, 1] = 1.0  # 0.2; the third unit is silent
    spikes.requires_grad_()
    analog = torch.ones(2, 3, 2)
    trace = Trace(
        torch.zeros(2, 3, 1),
        (spikes, analog),
        (spikes, analog),
        torch.tensor([3, 2]),
        (True, False),
    )
    assert float(FiringRate(factor=1.0, low=0.1, high=0.5).loss(trace).detach()) == pytest.approx(
        0.1 + 0.1
    )
    assert float(FiringRate(factor=0.5, low=0.25, high=0.5).loss(trace).detach()) == pytest.approx(
        0.5 * (0.1 + 0.05 + 0.25)
    )
    assert float(FiringRate(factor=1.0, low=0.0, high=1.0).loss(trace).detach()) == 0.0
    (gradient,) = torch.autograd.grad(FiringRate(factor=2.0, low=0.1, high=0.5).loss(trace), spikes)
    # ± factor / steps where a bound is crossed
    assert gradient[0, 0].tolist() == pytest.approx([0.4, 0.0, -0.4])


# ── the real data ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.real_data
def test_ecg_on_the_published_files(real_data, tmp_path, monkeypatch):
    task = override(tasks.load("ecg"), ["network.hidden=[4]", "batch=2", "epochs=1"])
    parts = task.load(real_data)
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [556, 62, 141]
    names = [s.name for p in (parts.train, parts.validation, parts.test) for s in p]
    assert len(set(names)) == 759
    assert parts.train[0].signal.shape == (1301, task.shape.channels)
    assert "shares records with the training part" in parts.note

    batch = collate(parts.test[:20])
    targets = task.decode.targets(batch.labels, batch.lengths)
    counted = batch.labels[:, 10:]
    assert int((counted < 0).sum()) > 100
    assert torch.equal(targets[:, 10:], torch.where(counted < 0, 0, counted))
    assert targets[:, :10].eq(-1).all()
    labelled = override(task, ["decode.unlabelled_as=null"]).decode.targets(
        batch.labels, batch.lengths
    )
    assert (
        int((labelled >= 0).sum())
        == int((counted >= 0).sum())
        < int((targets >= 0).sum())
        == 20 * 1291
    )

    def cut(s):
        return Sample(s.signal[:100], s.label[:100], s.rate, s.name, events=True)

    few = Parts(*([cut(s) for s in p[:2]] for p in (parts.train, parts.validation, parts.test)))
    monkeypatch.setattr(Task, "load", lambda self, data_dir: few)
    result = fit(task, tmp_path / "run")
    assert (result["simulated"], result["epochs"], result["test_recordings"]) == (False, 1, 2)
    assert len(result["published"]) == 5
    assert 0 <= result["test_accuracy"] <= 1


def test_the_modules_of_tasks_say_where_they_come_from():
    checked = 0
    for name in tasks.names():
        module = inspect.getmodule(type(tasks.load(name).data))
        doc = ast.get_docstring(ast.parse(inspect.getsource(module)))
        assert len(doc) > 100
        checked += 1
    assert checked >= 2
