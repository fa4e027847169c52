"""Runs in lockstep are each what they are alone: the same bits of weights, logs and results,
whatever the others do.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

import srnn
from helpers import until
from srnn import tasks as srnn_tasks
from srnn._check import DivergedError, SrnnError
from srnn.cli.commands import train as train_command
from srnn.kernels import lockstep, scan
from srnn.nn.networks import UniformStart
from srnn.search import space
from srnn.search.study import Sweep
from srnn.search.sweep import work
from srnn.search.trials import results
from srnn.tasks.objective import FiringRate
from srnn.tasks.settings import override
from srnn.tasks.truncation import Truncation
from srnn.training import session
from srnn.training import train as training
from srnn.training.loop import Interrupted, Progress
from srnn.training.runs import Run, load_checkpoint
from srnn.training.train import fit, fit_together
from uneven import BASE, BITTAR, STEPS

VARIANTS = {
    "dropout, batch norm, random starts": replace(
        BASE,
        network=replace(BITTAR, dropout=0.3),
        start=UniformStart(high=0.5),
        regulariser=FiringRate(low=0.2, high=0.3),
    ),
    "chunks": replace(BASE, truncation=Truncation(4, step_per_chunk=True, carry_scores=True)),
    "segments": replace(STEPS, segment=4),
    "early stop": override(replace(BASE, early_stop=1, epochs=5), ["optimiser.lr=0.2"]),
}


def same(a: Path, b: Path) -> None:
    """The same bits: weights, optimiser and random numbers of the last checkpoint, log and results,
    times apart.
    """
    one, other = (load_checkpoint(Run(p).checkpoint("last")) for p in (a, b))
    assert one[0].keys() == other[0].keys()
    assert len(one[0]) >= 20
    assert all(torch.equal(one[0][k], other[0][k]) for k in one[0])
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in Run(p).rows()] for p in (a, b)
    ]
    assert rows[0] == rows[1]
    results = [
        {k: v for k, v in Run(p).read("metrics.json").items() if k != "seconds"} for p in (a, b)
    ]
    assert results[0] == results[1]


@pytest.fixture
def launches(monkeypatch):
    """How many layers were run in each launch, and how many losses in each backward pass."""
    layers, losses, run, back = [], [], scan.run_many, torch.autograd.backward
    monkeypatch.setattr(scan, "run_many", lambda jobs: (layers.append(len(jobs)), run(jobs))[1])

    def backward(tensors, *rest, **more):
        if isinstance(tensors, list):
            losses.append(len(tensors))
        back(tensors, *rest, **more)

    monkeypatch.setattr(torch.autograd, "backward", backward)
    return layers, losses


@pytest.mark.parametrize("name", VARIANTS)
def test_three_seeds_together_are_each_as_alone(name, tmp_path, launches):
    task = VARIANTS[name]
    together = fit_together(
        [
            partial(fit, task, tmp_path / f"together{seed}", seed=seed, together=3)
            for seed in range(3)
        ]
    )
    assert all(isinstance(r, dict) for r in together)
    layers, losses = launches
    # with other chunks or ends they come apart
    assert layers.count(3) >= {"dropout, batch norm, random starts": 60, "early stop": 16}.get(
        name, 10
    )
    assert losses.count(3) >= 6
    epochs = {r["epochs"] for r in together}
    assert (len(epochs) > 1) == (name == "early stop")
    for seed in range(3):
        fit(task, tmp_path / f"alone{seed}", seed=seed)
        same(tmp_path / f"together{seed}", tmp_path / f"alone{seed}")
    assert Run(tmp_path / "together1").read("env.json")["together"] == 3
    assert len({r["test_loss"] for r in together}) == 3
    assert torch._C._is_fwd_grad_enabled()  # what torch keeps for everybody is as it was


def test_by_the_reference_too(tmp_path):
    fit_together(
        [
            partial(fit, BASE, tmp_path / f"together{seed}", seed=seed, backend="reference")
            for seed in range(2)
        ]
    )
    fit(BASE, tmp_path / "alone", seed=1, backend="reference")
    same(tmp_path / "together1", tmp_path / "alone")


def test_different_settings_and_one_that_diverges(tmp_path):
    """As the trials of a sweep: another network, another batch size, a rate at which nothing is
    left of the numbers.
    """
    tasks = [
        BASE,
        replace(BASE, batch=3),
        override(BASE, ["network.hidden=[4]"]),
        override(BASE, ["optimiser.lr=1e30", "clip_norm=null", "network.activation=relu"]),
    ]
    found = fit_together([partial(fit, task, tmp_path / str(k)) for k, task in enumerate(tasks)])
    assert isinstance(found[3], DivergedError)
    assert not (tmp_path / "3" / "metrics.json").exists()
    for k in range(3):
        fit(tasks[k], tmp_path / f"alone{k}")
        same(tmp_path / str(k), tmp_path / f"alone{k}")


def test_a_signal_stops_all_and_each_goes_on(tmp_path):
    def stop(epoch: int, batch: int, loss: float) -> None:
        if (epoch, batch) == (1, 1):
            os.kill(os.getpid(), signal.SIGTERM)

    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    fits = [
        partial(
            fit,
            BASE,
            tmp_path / f"s{seed}",
            seed=seed,
            progress=Progress(batch=stop if seed else lambda *a: None),
        )
        for seed in range(2)
    ]
    found = fit_together(fits)
    assert [type(r) for r in found] == [Interrupted, Interrupted]
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert session._asked is None
    assert fit(BASE, tmp_path / "s0", seed=0, resume=True)["epochs"] == BASE.epochs  # one alone
    again = fit_together(
        [
            partial(fit, BASE, tmp_path / "s1", seed=1, resume=True),
            partial(fit, BASE, tmp_path / "s2", seed=2),
        ]
    )
    assert all(isinstance(r, dict) for r in again)
    for seed in range(3):
        fit(BASE, tmp_path / f"alone{seed}", seed=seed)
        same(tmp_path / f"s{seed}", tmp_path / f"alone{seed}")


# ── the meeting itself ────────────────────────────────────────────────────────────────────────────


def test_what_torch_keeps_for_everybody_each_has_for_itself():
    layer, x = srnn.Layer(2, 3, srnn.ALIF()), torch.zeros(1, 2, 2)

    def model(seed: int, wanted: bool, autocast: bool) -> tuple[Tensor, list[bool]]:
        torch.manual_seed(seed)
        seen, drawn = [], []
        with (
            torch.set_grad_enabled(wanted),
            torch.autocast("cpu", torch.bfloat16, enabled=autocast),
        ):
            for _ in range(3):
                drawn.append(torch.rand(2))
                seen.append(layer(x).output.requires_grad)
                assert torch.is_grad_enabled() is wanted
                assert torch.is_autocast_enabled("cpu") is autocast
        return torch.cat(drawn), seen

    kinds = [(0, True, False), (1, False, False), (2, True, True), (0, True, False)]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = lockstep.together([partial(model, *kind) for kind in kinds])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")
    assert scan.meeting is None
    for kind, (drawn, seen) in zip(kinds, found, strict=True):
        torch.manual_seed(kind[0])
        assert torch.equal(drawn, torch.cat([torch.rand(2) for _ in range(3)]))
        assert seen == [kind[1]] * 3
    assert torch.equal(found[0][0], found[3][0])
    assert not torch.equal(found[0][0], found[1][0])


def test_a_mode_that_one_leaves_is_still_on_for_another():
    """torch's autocast keeps rounded copies of weights where a mode does not forbid it: who leaves
    its mode first allows them for itself only.
    """
    layer, x = srnn.Layer(2, 3, srnn.ALIF()), torch.zeros(1, 2, 2)

    def model(layers: int) -> Tensor:
        product, ones = torch.nn.Linear(2, 2, bias=False), torch.ones(1, 2)
        with session.Mode("bfloat16").on(torch.device("cpu"), "triton"):
            for _ in range(layers):
                layer(x, backend="reference")
            before = product(ones)
            with torch.no_grad():
                product.weight.add_(1)
            return product(ones) - before

    for change in lockstep.together([partial(model, 1), partial(model, 4)]):
        assert isinstance(change, Tensor), change
        assert (change > 1.9).all()
    assert torch.is_autocast_cache_enabled()


def test_an_exception_is_its_own_and_an_interrupt_is_everybodys(monkeypatch):
    layer, x = srnn.Layer(2, 3, srnn.ALIF()), torch.zeros(1, 2, 2)

    def fails() -> None:
        layer(x)
        raise ValueError("mine")

    def works() -> int:
        layer(x)
        layer(x)
        return 3

    found = lockstep.together([fails, works, works])
    assert isinstance(found[0], ValueError)
    assert found[1:] == [3, 3]

    ended = []

    def interrupted() -> None:
        layer(x)
        raise KeyboardInterrupt

    def waits() -> None:
        try:
            while True:
                layer(x)
        finally:
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        lockstep.together([waits, interrupted, waits])
    assert ended == [True, True]
    assert scan.meeting is None
    assert layer(x).output.shape == (1, 2, 3)

    def broken(jobs: object) -> None:
        raise RuntimeError("no memory for all")

    with monkeypatch.context() as patch:
        patch.setattr(scan, "run_many", broken)
        assert [str(e) for e in lockstep.together([works, works])] == ["no memory for all"] * 2


def test_one_alone_needs_nothing_and_several_need_greenlet(monkeypatch):
    assert lockstep.available()
    monkeypatch.setattr(lockstep, "greenlet", None)
    assert not lockstep.available()
    args = SimpleNamespace(
        together=None, task="ecg_sim", device="cpu", backend="auto", variant=None, set=[]
    )
    monkeypatch.setattr(training, "gains", lambda *a: True)
    assert train_command._together(args, 3) == 1  # nobody asked for it
    args.together = 2
    assert train_command._together(args, 3) == 2
    assert lockstep.together([lambda: 1]) == [1]
    with pytest.raises(
        SrnnError,
        match=r"need greenlet\. Install it with: pip install "
        r'"srnn\[gpu\]"',
    ):
        lockstep.together([lambda: 1, lambda: 2])


# ── the command ───────────────────────────────────────────────────────────────────────────────────

TINY = [
    "--set",
    "data.train=8",
    "--set",
    "data.validation=4",
    "--set",
    "data.test=4",
    "--set",
    "data.steps=24",
    "--set",
    "epochs=1",
]


def test_the_command_trains_seeds_in_lockstep_where_that_gains(srnn, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        training, "gains", lambda task, device, backend: asked.append(backend) or True
    )
    code, out, err = srnn(
        "train", "ecg_sim", *TINY, "--seeds", "0:2", "5", "--together", "2", "--out", tmp_path / "a"
    )
    assert code == 0, err
    assert "2 runs in one launch: seeds 0, 1" in err
    assert [line.split()[:2] for line in err.splitlines() if line.lstrip().startswith("seed")] == [
        ["seed", "0"],
        ["seed", "1"],
    ]
    assert [Run(tmp_path / "a" / f"seed{s}").read("env.json")["together"] for s in (0, 1, 5)] == [
        2,
        2,
        1,
    ]
    assert "seed 5" in out  # alone
    assert "3 seeds" in out or "±" in out
    code, _, err = srnn(
        "train", "ecg_sim", *TINY, "--seeds", "0", "1", "--together", "2", "--out", tmp_path / "a"
    )
    assert code == 2
    assert "seed0" in err


def test_on_a_cpu_they_run_one_after_the_other(srnn, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "fit_together", None)
    code, _, err = srnn(
        "train", "ecg_sim", *TINY, "--seeds", "0", "1", "--together", "2", "--out", tmp_path / "a"
    )
    assert code == 0, err
    assert all((tmp_path / "a" / f"seed{s}" / "metrics.json").exists() for s in (0, 1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--together", "0"], "--together is 0; expected"),
        (["--seeds", "3:1"], "'3:1' is no seed; expected a whole number, or FIRST:END such as 0:8"),
        (["--seeds", "0:3", "2"], "one is given twice"),
    ],
)
def test_bad_input(srnn, tmp_path, given, message):
    code, _, err = srnn("train", "ecg_sim", *TINY, "--out", tmp_path, *given)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_with_torchrun_it_is_refused(srnn, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = srnn("train", "ecg_sim", "--seeds", "0", "1", "--together", "2")
    assert code == 2
    assert "torchrun trains one run in several" in err


# ── a sweep ───────────────────────────────────────────────────────────────────────────────────────


def test_trials_in_lockstep_are_those_of_a_sweep(srnn, tmp_path, monkeypatch):
    """Three at a time, of five: the study has five, each with a result of its own, one of which
    fails for its settings.
    """
    monkeypatch.setattr("srnn.search.sweep.gains", lambda *a: True)
    sizes = []
    monkeypatch.setattr(
        "srnn.search.sweep.fit_together",
        lambda fits: (sizes.append(len(fits)), fit_together(fits))[1],
    )
    argv = [
        "sweep",
        "ecg_sim",
        *TINY,
        "--search",
        "optimiser.lr=1e-3:1e-2:log",
        "--search",
        "batch=2,4,6",
        "--trials",
        "5",
    ]
    code, out, err = srnn(*argv, "--together", "3", "--out", tmp_path / "s", "--json")
    assert code == 0, err
    assert sizes == [3, 2]
    trials = json.loads(out)["trials"]
    assert [t["trial"] for t in trials] == list(range(5))
    assert all(t["state"] == "complete" for t in trials)
    assert len({t["settings"]["optimiser.lr"] for t in trials}) == 5
    one = trials[4]
    settings = [
        word for path, value in one["settings"].items() for word in ("--set", f"{path}={value}")
    ]
    fit(
        override(srnn_tasks.load("ecg_sim"), [w for w in (*TINY, *settings) if w != "--set"]),
        tmp_path / "alone",
        test=False,
    )
    assert (
        Run(tmp_path / "alone").read("metrics.json")["validation_accuracy"]
        == one["validation_accuracy"]
    )


def test_a_sweep_in_lockstep_stops(tmp_path, monkeypatch):
    monkeypatch.setattr("srnn.search.sweep.gains", lambda *a: True)
    task = override(
        srnn_tasks.load("ecg_sim"), [w for w in TINY if w != "--set"] + ["epochs=100000"]
    )
    sweep = Sweep(
        task,
        space.parse(task, ["optimiser.lr=1e-3:1e-2:log"]),
        4,
        tmp_path / "s",
        "rate",
        tmp_path / "j.log",
        together=2,
    )
    sweep.prepare()

    def stop() -> None:
        until(lambda: len(list((tmp_path / "s").glob("trial-*/log.jsonl"))) == 2)
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(KeyboardInterrupt):
        work(sweep, lambda line: None)
    stopping.join()
    assert [row["state"] for row in results(sweep)["trials"]] == ["interrupted"] * 2
