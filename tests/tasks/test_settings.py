"""Overriding a task from text: every kind of field, every refusal, and the way to JSON and back."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass, replace

import pytest

from srnn import tasks
from srnn._check import ConfigError
from srnn.nn.networks import UniformStart, Zeros
from srnn.tasks.encoders import LevelCrossings
from srnn.tasks.settings import describe, differences, not_comparable, override, value_types
from srnn.tasks.task import FiringRate, PerRecording, PerStep, Start, Task, Truncation
from srnn.training.runs import Run

ECG = tasks.load("ecg")


def get(task, path):
    for name in path.split("."):
        task = getattr(task, name)
    return task


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("epochs=30", "epochs", 30),
        ("optimiser.lr=1e-3", "optimiser.lr", 1e-3),
        ("optimiser.lr=1", "optimiser.lr", 1.0),
        ("network.beta=-0.5", "network.beta", -0.5),
        ("encode.published=true", "encode.published", True),
        ("encode.published=False", "encode.published", False),
        ("clip_norm=null", "clip_norm", None),
        ("clip_norm=2.5", "clip_norm", 2.5),
        ("decode.unlabelled_as=null", "decode.unlabelled_as", None),
        ("decode.unlabelled_as=5", "decode.unlabelled_as", 5),
        ("early_stop=7", "early_stop", 7),
        ("optimiser.kind=adamax", "optimiser.kind", "adamax"),
        ("schedule.kind=plateau", "schedule.kind", "plateau"),
        ("data.source=raw", "data.source", "raw"),
        ("network.hidden=[48]", "network.hidden", (48,)),
        ("start=UniformStart", "start", UniformStart()),
        ("start=Zeros", "start", Zeros()),
        ("decode=PerRecording", "decode", PerRecording()),
        ("regulariser=FiringRate", "regulariser", FiringRate()),
        ("truncation=Truncation", "truncation", Truncation()),
        ("segment=50", "segment", 50),
        ("encode=null", "encode", None),
        ("optimiser.rates={}", "optimiser.rates", {}),
        (" epochs =30", "epochs", 30),
    ],
)
def test_each_kind_of_field_can_be_set(setting, path, value):
    assert get(ECG, path) != value or path in ("start", "encode.published")
    got = get(override(ECG, [setting]), path)
    assert got == value
    assert type(got) is type(value)


def test_nothing_else_changes():
    changed = override(ECG, ["network.hidden=[48]", "optimiser.lr=0.5"])
    assert differences(describe(ECG), describe(changed)) == [
        "network.hidden: [36] → [48]",
        "optimiser.lr: 0.02 → 0.5",
    ]
    assert ECG.network.hidden == (36,)
    assert override(ECG, []) is ECG


def test_settings_are_applied_in_order_and_a_choice_before_its_fields():
    task = override(
        ECG, ["start=UniformStart", "start.high=0.1", "start.graded=true", "epochs=3", "epochs=4"]
    )
    assert (task.start, task.epochs) == (UniformStart(high=0.1, graded=True), 4)
    task = override(task, ["start=UniformStart"])  # chosen anew: its defaults
    assert task.start == UniformStart()
    task = override(ECG, ["regulariser=FiringRate", "regulariser.factor=2", "regulariser=null"])
    assert task.regulariser is None


def test_rates_are_set_by_the_path_of_the_parameter():
    task = override(
        ECG, ["optimiser.rates.layers.0.weight=0.5", "optimiser.rates.layers.0.constants.tau_*=4"]
    )
    published = ECG.optimiser.rates
    assert len(published) == 2
    assert task.optimiser.rates == {
        **published,
        "layers.0.weight": 0.5,
        "layers.0.constants.tau_*": 4.0,
    }
    first = next(
        iter(override(ECG, ["optimiser.rates.layers.0.constants.tau_m=1"]).optimiser.rates)
    )
    # before the pattern of the task: the first match wins
    assert first == "layers.0.constants.tau_m"
    assert "layers.0.weight" not in published  # the dictionary of the task is left alone


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "epochs",
            "--set 'epochs': expected field=value, for example epochs=30 or network.hidden=[48].",
        ),
        ("=3", "--set '=3': expected field=value, for example epochs=30 or network.hidden=[48]."),
        (
            "epoch=3",
            "--set epoch: Task has no setting 'epoch'. Did you mean 'epochs'? Known: "
            "augment, balanced, batch, cache_mb, "
            "checkpoint_seconds, clip_norm, compression, data, decode, early_stop, encode, "
            "epochs, fold, network, optimiser, published_protocol, refit, "
            "regulariser, schedule, segment, start, truncation.",
        ),
        (
            "network.hiden=3",
            "--set network.hiden: AdaptiveNetwork has no setting 'hiden'. Did "
            "you mean 'hidden'? "
            "Known: activation, adaptive, b0, beta, beta_out, bidirectional, dropout, eta0, "
            "hidden, neuron, norm, output, recurrent, recurrent_start, shared, "
            "sparsity, surrogate, tau_adp, tau_adp_out, tau_m, tau_min, tau_out, trained, "
            "weight_gain.",
        ),
        ("start.high=1", "--set start.high: Zeros has no setting 'high'. Known: (none)."),
        ("epochs=many", "--set epochs=many: 'many' is not of type int."),
        ("epochs=2.5", "--set epochs=2.5: '2.5' is not of type int."),
        ("epochs=true", "--set epochs=true: 'true' is not of type int."),
        ("epochs=", "--set epochs=: '' is not of type int."),
        ("epochs=null", "--set epochs=null: 'null' is not of type int."),
        ("optimiser.lr=fast", "--set optimiser.lr=fast: 'fast' is not of type float."),
        ("optimiser.lr=nan", "--set optimiser.lr=nan: 'nan' is not of type float."),
        ("network.b0=.inf", "--set network.b0=.inf: expected a finite number."),
        ("encode.published=1", "--set encode.published=1: '1' is not of type bool."),
        ("clip_norm=off", "--set clip_norm=off: 'off' is not of type float | None."),
        (
            "optimiser.kind=sgd",
            "--set optimiser.kind=sgd: 'sgd' is not of type Literal['adam', 'adamax'].",
        ),
        (
            "data.source=wrong",
            "--set data.source=wrong: 'wrong' is not of type Literal['encoded', 'raw'].",
        ),
        (
            "optimiser.rates.layers.0.weight=big",
            "--set optimiser.rates.layers.0.weight=big: 'big' is not of type float.",
        ),
        (
            "start=Uniform",
            "--set start=Uniform: expected the name of a choice, then its settings "
            "as start.<setting>=…. "
            "Did you mean 'UniformStart'? Known: UniformStart, Zeros.",
        ),
        (
            "start=null",
            "--set start=null: expected the name of a choice, then its settings as "
            "start.<setting>=…. Known: UniformStart, Zeros.",
        ),
        (
            "data=SimulatedEcg",
            "--set data=SimulatedEcg: expected the name of a choice, then its "
            "settings as data.<setting>=…. Known: QtdbData.",
        ),
        ("epochs.more=3", "--set epochs.more: epochs is 300, which has no settings of its own."),
        (
            "regulariser.factor=1",
            "--set regulariser.factor: regulariser is null. Choose it "
            "first: --set regulariser=FiringRate.",
        ),
        (
            "truncation.chunk=9",
            "--set truncation.chunk: truncation is null. Choose it first: "
            "--set truncation=Truncation.",
        ),
        ("optimiser.lr=0", "optimiser.lr is 0.0; expected a number more than 0 and at most 1e+30."),
        ("batch=0", "batch is 0; expected a number of at least 1."),
        ("epochs=0", "epochs is 0; expected a number of at least 1."),
        ("clip_norm=-1", "clip_norm is -1.0; expected a number more than 0."),
        ("early_stop=0", "early_stop is 0; expected a number of at least 1."),
        ("checkpoint_seconds=-1", "checkpoint_seconds is -1.0; expected a number of at least 0."),
        ("decode.skip=-1", "decode.skip is -1; expected a number of at least 0."),
        (
            "decode.unlabelled_as=6",
            "decode.unlabelled_as is 6; expected a number of at least 0 and at most 5.",
        ),
        ("schedule.every=0", "schedule.every is 0; expected a number of at least 1."),
        (
            "schedule.factor=1.5",
            "schedule.factor is 1.5; expected a number more than 0 and at most 1.",
        ),
        ("schedule.patience=-1", "schedule.patience is -1; expected a number of at least 0."),
        ("optimiser.eps=-1", "optimiser.eps is -1.0; expected a number of at least 0."),
        (
            "optimiser.weight_decay=-1",
            "optimiser.weight_decay is -1.0; expected a number of at least 0.",
        ),
        (
            "optimiser.rates.layers.0.weight=-1",
            "optimiser.rates.layers.0.weight is -1.0; "
            "expected a number of at least 0 and at most 1e+06.",
        ),
        (
            "data.validation=0",
            "data.validation is 0.0; expected a number more than 0 and at most 1.",
        ),
        ("data.split_seed=-1", "data.split_seed is -1; expected a number of at least 0."),
        ("encode.threshold=0", "encode.threshold is 0.0; expected a number more than 0."),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(setting, message):
    with pytest.raises(ConfigError) as refused:
        override(ECG, [setting])
    assert str(refused.value) == message


@pytest.mark.parametrize("name", ["name", "summary", "classes", "published", "variants"])
def test_what_makes_the_task_cannot_be_set(name):
    with pytest.raises(ConfigError, match=f"Task has no setting '{name}'"):
        override(ECG, [f"{name}=1"])


@pytest.mark.parametrize("name", ["train", "validation", "test", "steps"])
def test_simulated_parts_cannot_have_negative_sizes(name):
    """A negative size would let the parts overlap."""
    with pytest.raises(ConfigError, match=f"data.{name} is -5"):
        override(tasks.load("ecg_sim"), [f"data.{name}=-5"])


def test_value_types():
    assert value_types(Start) == [Zeros, UniformStart]
    assert value_types(LevelCrossings | None) == [LevelCrossings]
    assert value_types(int | None) == []
    assert value_types(PerStep) == [PerStep]


def test_describe_is_json_with_every_field():
    text = json.dumps(describe(ECG), allow_nan=False)
    back = json.loads(text)
    assert differences(back, json.loads(json.dumps(describe(override(ECG, []))))) == []
    assert set(back) == {"is"} | {f.name for f in fields(Task)}
    nested = [name for name in back if name != "is" and is_dataclass(getattr(ECG, name))]
    assert len(nested) == 7
    for name in nested:
        assert back[name]["is"] == type(getattr(ECG, name)).__name__
        assert set(back[name]) == {"is"} | {f.name for f in fields(getattr(ECG, name))}
    assert back["published"][0]["value"] == 0.859
    assert back["optimiser"]["rates"] == dict(ECG.optimiser.rates)


def test_differences():
    assert differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2}}) == []
    assert differences({"a": 1, "b": {"c": 2}}, {"a": 3, "b": {"c": 4}}) == [
        "a: 1 → 3",
        "b.c: 2 → 4",
    ]
    assert differences({"a": 1}, {"b": None}) == ["a: 1 → None"]
    assert differences(describe(ECG), describe(override(ECG, ["start=UniformStart"]))) == [
        "start.graded: None → False",
        "start.high: None → 1.0",
        "start.is: 'Zeros' → 'UniformStart'",
        "start.low: None → 0.0",
    ]


EVERYTHING = [
    "data.train=9",
    "network.hidden=[5]",
    "network.b0=0.25",
    "encode.published=true",
    "start=UniformStart",
    "start.high=0.125",
    "decode.skip=3",
    "decode.unlabelled_as=2",
    "regulariser=FiringRate",
    "regulariser.low=0.02",
    "optimiser.kind=adamax",
    "optimiser.rates.layers.0.weight=0.5",
    "schedule.kind=plateau",
    "clip_norm=null",
    "early_stop=3",
    "batch=2",
    "segment=7",
    "truncation=Truncation",
    "truncation.chunk=20",
    "truncation.step_per_chunk=true",
]


def test_a_task_comes_back_from_its_run_folder(tmp_path):
    for name, settings in (("ecg", []), ("ecg_sim", []), ("ecg_sim", EVERYTHING)):
        task = override(tasks.load(name), settings)
        run = Run.create(tmp_path / f"{name}{len(settings)}", task, 7, {"train": 1}, {"torch": "x"})
        assert run.task() == (task, 7)
        assert Run.open(run.path).task() == (task, 7)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_task_made_in_python_comes_back(tmp_path):
    """Nothing but task.json is needed: a task changed in Python, without --set, is the same after a
    run as before.
    """
    task = replace(
        tasks.load("ecg"),
        batch=7,
        start=UniformStart(0.0, 0.1, graded=True),
        regulariser=FiringRate(high=0.2),
        published=(),
    )
    task = replace(
        task,
        optimiser=replace(task.optimiser, rates={"layers.0.weight": 0.5}),
        data=replace(task.data, source="raw"),
    )
    run = Run.create(tmp_path / "run", task, 3, {"train": 1}, {})
    assert run.task() == (task, 3)
    assert differences(describe(task), describe(tasks.load("ecg"))) != []


@pytest.mark.parametrize(
    ("task", "settings", "why"),
    [
        ("ecg", [], None),
        ("ecg", ["network.hidden=[48]", "epochs=3", "encode.threshold=0.2"], None),
        ("ecg", ["data.validation=0.2", "data.split_seed=3"], None),
        ("ecg", ["data.source=raw"], r"the data or their parts are others \(data.source: "),
        ("ecg", ["fold=[0,3]"], "a fold of the training part"),
        ("ecg", ["decode.unlabelled_as=null"], "another convention"),
        ("ecg", ["decode=PerRecording"], "another convention"),
        ("gsc", ["data.split=speakers"], "the data or their parts are others"),
        ("ecg_sim", [], "simulated"),
    ],
)
def test_published_numbers_stand_beside_what_they_were_measured_on(task, settings, why):
    found = not_comparable(override(tasks.load(task), settings))
    assert found is None if why is None else re.search(why, found)


def test_every_task_is_comparable_with_itself():
    found = {name: not_comparable(tasks.load(name)) for name in tasks.names()}
    assert [name for name, why in found.items() if why] == ["ecg_sim"]
    assert sum(bool(tasks.load(name).published) for name, why in found.items() if not why) >= 8
