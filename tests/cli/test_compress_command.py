"""`srnn compress`: what it makes of a run, that it resumes with the same bits, and
what it refuses.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from contextlib import contextmanager

import pytest
import torch

from srnn import compress, report
from srnn.cli import main as cli
from srnn.nn.networks import single_layers
from srnn.training import train as training
from srnn.training.runs import Run, load_checkpoint, load_run

TINY = [
    "data.train=8",
    "data.validation=4",
    "data.test=4",
    "data.steps=24",
    "batch=4",
    "epochs=3",
    "network.hidden=[6]",
]
SET = [text for setting in TINY for text in ("--set", setting)]
FULL = [
    "--bits",
    "8",
    "--sparsity",
    "0.5",
    "--structured",
    "0.5",
    "--rate",
    "0.1",
    "--epochs",
    "3",
    "--steps",
    "2",
]


def command(*argv):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(a) for a in argv])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    out = tmp_path_factory.mktemp("source") / "run"
    code, _, err = command("train", "ecg_sim", *SET, "--seed", "3", "--out", out)
    assert code == 0, err
    return out


@pytest.fixture(scope="module")
def small(source, tmp_path_factory):
    """Everything at once, and what was printed."""
    out = tmp_path_factory.mktemp("small") / "run"
    code, shown, err = command("compress", source, *FULL, "--out", out, "--json")
    assert code == 0, err
    return out, json.loads(shown)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Reports take longer than these trainings, and have tests of their own."""
    monkeypatch.setattr(report, "of_run", lambda path, data_dir=None: path / "report.html")


def less_seconds(row):
    return {key: value for key, value in row.items() if key != "seconds"}


def assert_same(a, b):
    """Compare two finished runs bit by bit; return how many tensors were compared."""
    compared = 0
    for name in ("start", "last", "best"):
        (tensors, state), (others, other) = (
            load_checkpoint(a.checkpoint(name)),
            load_checkpoint(b.checkpoint(name)),
        )
        assert tensors.keys() == others.keys()
        for key, value in tensors.items():
            assert torch.equal(value, others[key]), f"{name}: {key} differs"
            compared += 1
        assert state == other
    assert [less_seconds(row) for row in a.rows()] == [less_seconds(row) for row in b.rows()]
    assert less_seconds(a.read("metrics.json")) == less_seconds(b.read("metrics.json"))
    assert a.read("task.json") == b.read("task.json")
    return compared


def test_the_result_is_an_ordinary_run(small, source, srnn):
    out, shown = small
    metrics = Run(out).read("metrics.json")
    assert shown == metrics
    assert metrics["compressed_from"] == str(source)
    _, task, seed, net = load_run(out)
    assert (seed, task.epochs, task.optimiser.lr) == (3, 3, 5e-3)
    assert (
        task.compression.bits,
        task.compression.sparsity,
        task.compression.steps,
        task.compression.structured,
    ) == (8, 0.5, 2, 0.5)
    assert (task.regulariser.low, task.regulariser.high) == (0.01, 0.1)
    assert task.regulariser.factor > 0
    assert [part.outputs for part in net.parts()] == [3, 6]
    assert {layer.bits for layer in single_layers(net)} == {8}
    assert compress.size(net).connections == round(0.5 * (3 * 4 + 3 * 3 + 6 * 3))

    code, text, err = srnn("evaluate", out, "--json")
    assert code == 0, err
    assert json.loads(text)["accuracy"] == metrics["test_accuracy"]
    code, text, err = srnn("energy", out, "--json")
    assert code == 0, err
    counted = json.loads(text)["measured"]
    after = metrics["compression"]["after"]
    assert counted["process"].startswith("int8")
    assert (counted["mac"], counted["ac"], counted["energy"]) == (
        after["mac"],
        after["ac"],
        pytest.approx(after["energy_own"]),
    )


def test_both_sides_are_compared(small, source):
    both, first = (
        Run(small[0]).read("metrics.json")["compression"],
        Run(source).read("metrics.json"),
    )
    before, after = both["before"], both["after"]
    assert (before["test_accuracy"], before["validation_accuracy"]) == (
        first["test_accuracy"],
        first["validation_accuracy"],
    )
    assert (before["bits"], after["bits"], before["neurons"], after["neurons"]) == (
        None,
        8,
        [6, 6],
        [3, 6],
    )
    assert (before["entries"], before["connections"], after["entries"]) == (
        24 + 36 + 36,
        96,
        12 + 9 + 18,
    )
    # biases; time constants of both layers; their four fixed numbers, b0 and beta of each
    assert before["bytes"] == 4 * (96 + 18 + 4 * 6 + 4)
    # maps and 20 weights; scales; the other numbers
    assert after["bytes"] <= (2 + 2 + 3 + 20) + 4 * (3 + 3 + 6) + 4 * (12 + 2 * 3 + 2 * 6 + 4)
    assert before["energy"] == pytest.approx(first["energy"]["measured"]["energy"])
    assert after["energy_own"] < 0.1 * before["energy_own"]
    assert both["untrained_validation_accuracy"] is None, (
        "pruned step by step, the start is no candidate"
    )


def test_without_training_the_weights_stay_and_are_rounded(source, tmp_path, srnn):
    code, text, err = srnn(
        "compress", source, "--bits", "4", "--epochs", "0", "--out", tmp_path / "ptq"
    )
    assert code == 0, err
    for words in (
        "float32",
        "int4",
        "before training went on",
        "SIMULATED",
        "pJ per step, float32 | int8",
        "Report: ",
    ):
        assert words in text
    assert {p.name for p in (tmp_path / "ptq").iterdir()} == {
        "task.json",
        "env.json",
        "metrics.json",
        "checkpoints",
        ".lock",
    }
    _, _, _, net = load_run(tmp_path / "ptq")
    _, _, _, old = load_run(source)
    assert all(
        torch.equal(a, b)
        for a, b in zip(net.state_dict().values(), old.state_dict().values(), strict=True)
    )
    metrics = Run(tmp_path / "ptq").read("metrics.json")
    assert (metrics["epochs"], metrics["best_epoch"]) == (0, 0)
    assert metrics["validation_accuracy"] == metrics["compression"]["untrained_validation_accuracy"]
    distinct = {
        float(q)
        for layer in single_layers(net)
        for row in layer.weights()[0]
        for q in (row / row.abs().max() * 7).detach().round(decimals=3)
    }
    assert distinct <= {float(k) for k in range(-7, 8)}


def test_training_never_selects_worse_than_its_start(source, tmp_path):
    code, _, err = command(
        "compress", source, "--bits", "8", "--lr", "30", "--epochs", "2", "--out", tmp_path / "hot"
    )
    assert code == 0, err
    metrics = Run(tmp_path / "hot").read("metrics.json")
    assert metrics["validation_accuracy"] >= metrics["compression"]["untrained_validation_accuracy"]
    rows = [row["validation_accuracy"] for row in Run(tmp_path / "hot").rows()]
    assert metrics["validation_accuracy"] == max(
        *rows, metrics["compression"]["untrained_validation_accuracy"]
    )


def test_of_a_gradual_pruning_only_epochs_at_the_target_are_selected(small):
    out, _ = small
    metrics, rows = Run(out).read("metrics.json"), Run(out).rows()
    assert metrics["best_epoch"] in (2, 3)
    assert metrics["validation_accuracy"] == max(row["validation_accuracy"] for row in rows[1:])


def test_a_quieter_network_is_selected_among_the_later_epochs(source, tmp_path):
    """By accuracy alone it would be the one that fires as often as before."""
    code, _, err = command(
        "compress",
        source,
        "--rate",
        "0.01",
        "--epochs",
        "8",
        "--lr",
        "1e-2",
        "--out",
        tmp_path / "run",
    )
    assert code == 0, err
    run = Run(tmp_path / "run")
    metrics, rows = run.read("metrics.json"), run.rows()
    assert run.task()[0].compression.steps == 4
    assert metrics["compression"]["untrained_validation_accuracy"] is None
    assert metrics["best_epoch"] >= 4
    assert metrics["validation_accuracy"] == max(row["validation_accuracy"] for row in rows[3:])
    assert sum(rows[-1]["firing_rates"]) < 0.8 * sum(rows[0]["firing_rates"])


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_an_interrupted_run_goes_on_with_the_same_bits(small, source, tmp_path, monkeypatch, stop):
    """Stopped at a batch (two an epoch), in the middle of an epoch or at its end, while connections
    are still being removed or after.
    """
    out, asked = tmp_path / "run", []

    @contextmanager
    def soon():
        yield lambda: asked.append(1) or len(asked) == stop

    with monkeypatch.context() as patch:
        patch.setattr(training, "stop_requests", soon)
        code, shown, err = command("compress", source, *FULL, "--out", out)
    assert (code, shown) == (130, "")
    assert "Go on with: srnn compress" in err
    assert "--resume" in err
    assert not (out / "metrics.json").exists()
    code, _, err = command("compress", source, "--resume", "--out", out)  # its settings go on
    assert code == 0, err
    assert assert_same(Run(small[0]), Run(out)) > 60


def test_a_finished_run_is_evaluated_once_more(small, source, tmp_path):
    shutil.copytree(small[0], tmp_path / "run")
    code, _, err = command("compress", source, *FULL, "--resume", "--out", tmp_path / "run")
    assert code == 0, err
    assert_same(Run(small[0]), Run(tmp_path / "run"))


def test_a_run_killed_before_its_first_checkpoint_starts_from_the_same_weights(
    small, source, tmp_path
):
    out = tmp_path / "run"
    shutil.copytree(small[0], out)
    for name in (
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
        "metrics.json",
        "log.jsonl",
    ):
        (out / name).unlink()
    # the ordinary command knows it too
    code, _, err = command("train", "ecg_sim", "--resume", "--out", out)
    assert code == 0, err
    for name in ("start", "last", "best"):
        a, b = (
            load_checkpoint(Run(small[0]).checkpoint(name))[0],
            load_checkpoint(Run(out).checkpoint(name))[0],
        )
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_folder_left_before_its_task_was_written_is_free(small, source, tmp_path):
    out = tmp_path / "run"
    (out / "checkpoints").mkdir(parents=True)
    shutil.copy(Run(small[0]).checkpoint("start"), out / "checkpoints")
    code, _, err = command("compress", source, *FULL, "--out", out)
    assert code == 0, err
    assert assert_same(Run(small[0]), Run(out)) > 60


def test_step_by_step_a_network_gets_smaller_still(small, tmp_path):
    """A compressed run is compressed further: what was removed stays so."""
    code, _, err = command(
        "compress",
        small[0],
        "--bits",
        "4",
        "--sparsity",
        "0.75",
        "--epochs",
        "1",
        "--out",
        tmp_path / "again",
    )
    assert code == 0, err
    _, task, _, net = load_run(tmp_path / "again")
    assert (task.compression.bits, task.compression.sparsity, task.compression.structured) == (
        4,
        0.75,
        0.5,
    )
    assert compress.size(net).connections == round(0.25 * 39)
    _, _, _, before = load_run(small[0])
    for now, was in zip(single_layers(net), single_layers(before), strict=True):
        assert not bool((now.weight_mask & ~was.weight_mask).any())
        assert now.neurons == was.neurons


def test_where_the_result_goes(source, tmp_path, monkeypatch):
    own = tmp_path / "mine"
    shutil.copytree(source, own)
    code, _, err = command("compress", own, "--bits", "8", "--sparsity", "0.25", "--epochs", "0")
    assert code == 0, err
    assert (tmp_path / "mine-int8-sparse0.25" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Nothing to do: give at least one of --bits"),
        (["--bits", "1"], "compression.bits is 1"),
        (["--sparsity", "1"], "compression.sparsity is 1: nothing would be left"),
        (["--sparsity", "2"], "compression.sparsity is 2"),
        (["--structured", "-1"], "compression.structured is -1"),
        (
            ["--sparsity", "0.5", "--epochs", "1", "--steps", "2"],
            "compression.steps is 2, with 1 epochs",
        ),
        (
            ["--sparsity", "0.5", "--epochs", "0", "--steps", "2"],
            "compression.steps is 2, with 0 epochs",
        ),
        (["--sparsity", "0.99"], "without any input. Use"),
        (["--bits", "8", "--steps", "1"], "give --sparsity or --rate too"),
        (["--bits", "8", "--lr", "-1"], "optimiser.lr is -1"),
        (["--bits", "8", "--epochs", "-1"], "epochs is -1"),
        (["--rate", "0"], "--rate is 0"),
        (["--rate", "0.1", "--epochs", "0"], "--rate is trained"),
        (["--bits", "8", "--set", "batchs=3"], "Did you mean 'batch'?"),
        (["--bits", "8", "--set", "network.hidden=[7]"], "does not fit the network"),
        (["--bits", "8", "--set", "data.seed=1"], "was started on other data"),
        (["--bits", "8", "--resume"], "is no run folder"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_left(source, tmp_path, words, message):
    code, out, err = command("compress", source, *words, "--out", tmp_path / "run")
    assert (code, out) == (2, ""), err
    assert message in err
    assert err.count("srnn compress: ") == 1
    assert list(tmp_path.iterdir()) == []


def test_runs_that_cannot_be_compressed(source, small, tmp_path):
    assert "is no run folder" in command("compress", tmp_path, "--bits", "8")[2]
    half = tmp_path / "half"
    shutil.copytree(source, half)
    (half / "metrics.json").unlink()
    assert ("is not finished. Let it go on with srnn train ecg_sim --resume") in command(
        "compress", half, "--bits", "8"
    )[2]
    assert (
        "Nothing to do" in command("compress", small[0], "--bits", "8", "--out", tmp_path / "x")[2]
    )
    for option, value in (("--sparsity", "0.25"), ("--structured", "0.25")):
        assert (
            "what was removed is gone"
            in command("compress", small[0], option, value, "--out", tmp_path / "x")[2]
        )
    assert "exists already" in command("compress", source, "--bits", "8", "--out", small[0])[2]
    for words, message in (
        (("--bits", "4"), "compression.bits: 8 → 4"),
        (("--rate", "0.2"), "started with another one"),
        (("--seed", "4"), "seed: 3"),
    ):
        code, _, err = command("compress", source, *words, "--resume", "--out", small[0])
        assert code == 2
        assert message in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["half"]
