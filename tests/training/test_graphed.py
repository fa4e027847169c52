"""A training step as a CUDA graph. Without a GPU the capture is a stand-in with a graph's ways: it
runs the step again on the same tensors, and puts what comes where the captured step had put it. On
a GPU the same tests capture.
"""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from srnn import tasks
from srnn._check import ConfigError, DivergedError, ShapeError, check_finite, values_hidden
from srnn.kernels import gpu, lockstep
from srnn.kernels.scan import Choice
from srnn.nn.layers import valid_steps
from srnn.nn.networks import Stack, UniformStart
from srnn.tasks import optimise
from srnn.tasks.objective import FiringRate
from srnn.tasks.settings import override
from srnn.tasks.task import collate
from srnn.tasks.truncation import Truncation
from srnn.training import graphed, loop, session
from srnn.training import train as training
from srnn.training.chunks import chunks
from srnn.training.graphed import Graphed, capture_cuda
from srnn.training.runs import Run, load_checkpoint
from srnn.training.session import Mode
from srnn.training.train import fit, fit_together
from uneven import BASE, BITTAR

GPU = torch.cuda.is_available() and not gpu.interpreting()
DEVICE = torch.device("cuda" if GPU else "cpu")
TINY = [
    "data.train=8",
    "data.validation=4",
    "data.test=4",
    "data.steps=24",
    "batch=3",
    "epochs=3",
    "network.hidden=[6]",
]
ECG = override(tasks.load("ecg_sim"), TINY)  # batches of 3, 3 and 2: two shapes


class StandIn:
    """Replays by running again; what a graph writes to the same places is written to the same
    places.
    """

    def __init__(self):
        self.captured, self.replayed = [], 0

    def __call__(self, run, changed):
        before = [t.detach().clone() for t in changed]
        made = run()
        self.captured.append(len(made))
        with torch.no_grad():
            for to, value in zip(changed, before, strict=True):
                to.copy_(value)

        def replay():
            self.replayed += 1
            places = [t.data_ptr() for t in changed]
            for step, again in zip(made, run(), strict=True):
                for to, value in zip(numbers(step), numbers(again), strict=True):
                    to.detach().copy_(value.detach())
            assert [t.data_ptr() for t in changed] == places

        return replay, made


def numbers(step):
    assert not step.chunk.loss.requires_grad
    return step.chunk.loss, step.chunk.scores, step.chunk.total, step.norm, step.largest


@pytest.fixture
def capture(monkeypatch):
    """What captures, and a backend that calls itself triton."""
    if GPU:
        return capture_cuda
    real = Stack.which_backend
    monkeypatch.setattr(
        Stack,
        "which_backend",
        lambda self, x=None, backend="auto": Choice("triton", real(self, x, backend).reason),
    )
    return StandIn()


def graph_of(task, capture, net=None, **more):
    torch.manual_seed(0)
    net = net or task.build().to(DEVICE)
    return Graphed(net, task, task.optimiser.build(net), "auto", capture=capture, **more)


@pytest.mark.parametrize("kind", ["adam", "adamax"])
def test_a_captured_step_is_the_step(capture, kind):
    """Loss, scores, norm and weights after batch upon batch, of two shapes, while the
    rate changes.
    """
    task = override(
        ECG,
        [
            f"optimiser.kind={kind}",
            "clip_norm=0.5",
            'optimiser.rates={"layers.*.constants.*": 3.0}',
        ],
    )
    parts = task.load(None)
    graph = graph_of(task, capture)
    plain = copy.deepcopy(graph.net)
    optimiser = task.optimiser.build(plain)
    seen = []
    for k, (first, size) in enumerate(((0, 3), (3, 3), (6, 2), (1, 3), (4, 2))):
        batch = collate(parts.train[first : first + size]).to(DEVICE)
        for each in (graph.optimiser, optimiser):
            for group, rate in zip(each.param_groups, (0.01, 0.03), strict=True):
                group["lr"] = rate / (1 + k)
        made = graph.step(batch)
        (wanted,) = chunks(task, plain, batch, "auto")
        optimiser.zero_grad()
        wanted.loss.backward()
        norm = optimise.gradient_norm(plain)
        largest = optimise.step(plain, optimiser, task.clip_norm, norm)
        for got, want in zip(
            numbers(made), (wanted.loss, wanted.scores, wanted.total, norm, largest), strict=True
        ):
            torch.testing.assert_close(got.detach(), want.detach())
        for (name, got), want in zip(graph.net.named_parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(got, want, msg=lambda m, name=name: f"{name}: {m}")
        assert [type(group["lr"]) for group in graph.optimiser.param_groups] == [float, float]
        assert not any(group["capturable"] for group in graph.optimiser.param_groups)
        seen.append(float(made.chunk.loss))
    assert len(set(seen)) == 5
    assert len(graph.held) == 2
    if not GPU:
        # the first batch makes the optimiser's state
        assert (capture.captured, capture.replayed) == ([1, 1], 4)


@pytest.fixture
def graphs(capture, monkeypatch):
    """`fit` captures so too; which batches were replayed."""
    replayed, real = [], loop.Loop.replay
    monkeypatch.setattr(training, "Graphed", lambda *given: Graphed(*given, capture=capture))
    monkeypatch.setattr(
        loop.Loop, "replay", lambda self, *a: (replayed.append(self.at.batch), real(self, *a))[1]
    )
    return replayed


def log(run):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in Run(run).rows()]


def weights(run):
    return load_checkpoint(Run(run).checkpoint("last"))[0]


def test_a_run_with_graphs_is_the_run_without(graphs, tmp_path):
    for name, mode in (("graph", Mode(graph=True)), ("plain", Mode())):
        fit(ECG, tmp_path / name, device=str(DEVICE), mode=mode)
    assert graphs == [0, 1, 2] * 3
    for a, b in zip(*(log(tmp_path / name) for name in ("graph", "plain")), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        assert a["validation_accuracy"] == pytest.approx(b["validation_accuracy"], abs=1e-3)
        assert a["learning_rate"] == b["learning_rate"]
        assert a["grad_norm_max"] == pytest.approx(b["grad_norm_max"], rel=1e-4)
    a, b = (weights(tmp_path / name) for name in ("graph", "plain"))
    for key in (k for k in a if k.startswith("net.")):
        torch.testing.assert_close(a[key], b[key], atol=1e-5, rtol=1e-4)
    assert [Run(tmp_path / n).read("env.json")["graph"] for n in ("graph", "plain")] == [
        True,
        False,
    ]


def test_it_is_resumed_to_the_same_bits_with_graphs_and_goes_on_without(graphs, tmp_path):
    def stop(row):
        raise loop.Interrupted

    graph = Mode(graph=True)
    fit(ECG, tmp_path / "whole", device=str(DEVICE), mode=graph)
    for name in ("graph", "plain"):
        with pytest.raises(loop.Interrupted):
            fit(
                ECG,
                tmp_path / name,
                device=str(DEVICE),
                mode=graph,
                progress=loop.Progress(epoch=stop),
            )
        _, state = load_checkpoint(Run(tmp_path / name).checkpoint("last"))
        assert [type(g["lr"]) for g in state["groups"]] == [float] * len(state["groups"])
    fit(ECG, tmp_path / "graph", device=str(DEVICE), mode=graph, resume=True)
    assert log(tmp_path / "graph") == log(tmp_path / "whole")
    a, b = weights(tmp_path / "graph"), weights(tmp_path / "whole")
    assert all(torch.equal(a[key], b[key]) for key in b)
    fit(ECG, tmp_path / "plain", device=str(DEVICE), resume=True)
    assert [row["loss"] for row in log(tmp_path / "plain")] == pytest.approx(
        [row["loss"] for row in log(tmp_path / "whole")], rel=1e-5
    )


def test_seeds_together_are_one_graph_and_each_what_it_is_alone(graphs, capture, tmp_path):
    """One ends an epoch before the others: from there on those two are captured anew."""
    tasks = [ECG, replace(ECG, epochs=2), ECG]
    modes = {"device": str(DEVICE), "mode": Mode(graph=True)}
    made = fit_together(
        [
            partial(fit, t, tmp_path / f"t{k}", seed=k, together=3, **modes)
            for k, t in enumerate(tasks)
        ]
    )
    assert [m["epochs"] for m in made] == [3, 2, 3]
    if not GPU:
        assert capture.captured == [3, 3, 2, 2]
        assert capture.replayed == 3 + 3 + 3 - 1
    for k, task in enumerate(tasks):
        fit(task, tmp_path / f"a{k}", seed=k, **modes)
        alone, together = weights(tmp_path / f"a{k}"), weights(tmp_path / f"t{k}")
        if GPU:
            assert log(tmp_path / f"t{k}")[-1]["loss"] == pytest.approx(
                log(tmp_path / f"a{k}")[-1]["loss"], rel=1e-3
            )
        else:
            assert log(tmp_path / f"t{k}") == log(tmp_path / f"a{k}")
            assert all(torch.equal(alone[key], together[key]) for key in alone)


def test_one_that_diverges_in_the_graph_of_all_ends_alone(graphs, tmp_path):
    wild = override(ECG, ["optimiser.lr=1e30"])
    modes = {"device": str(DEVICE), "mode": Mode(graph=True), "together": 2}
    calm, lost = fit_together(
        [
            partial(fit, ECG, tmp_path / "calm", **modes),
            partial(fit, wild, tmp_path / "wild", **modes),
        ]
    )
    assert isinstance(lost, DivergedError), lost
    assert calm["epochs"] == 3
    fit(ECG, tmp_path / "alone", device=str(DEVICE), mode=Mode(graph=True))
    assert [row["loss"] for row in log(tmp_path / "calm")] == pytest.approx(
        [row["loss"] for row in log(tmp_path / "alone")], rel=1e-3
    )


REFUSED = {
    "truncated": (
        replace(BASE, truncation=Truncation(4)),
        "a truncated gradient steps more than once a batch",
    ),
    "segments": (replace(BASE, segment=4), "segments run layers again within the backward pass"),
    "regulariser": (
        replace(BASE, regulariser=FiringRate()),
        "a firing-rate regulariser counts steps",
    ),
    "random starts": (
        replace(BASE, start=UniformStart(high=0.5)),
        "random starts are drawn on the CPU",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_captured_is_refused_before_anything_is_written(capture, tmp_path, name):
    task, why = REFUSED[name]
    with pytest.raises(
        ConfigError,
        match=f"^--graph: ecg_sim cannot be trained as a CUDA graph: {why}. Train it without.$",
    ):
        fit(task, tmp_path / "run", device=str(DEVICE), mode=Mode(graph=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(GPU, reason="there is a GPU")
def test_without_a_gpu_there_is_nothing_to_capture(capture):
    with pytest.raises(ConfigError, match="cannot be trained as a CUDA graph: there is no GPU"):
        graph_of(BASE, capture_cuda)


def test_what_turns_out_while_training_is_refused_too(capture, monkeypatch):
    parts = BASE.load(None)
    normed = replace(BASE, network=replace(BITTAR, dropout=0.0))
    with pytest.raises(
        ConfigError, match="has a norm, which looks at lengths, and recordings of different lengths"
    ):
        graph_of(normed, capture).step(collate(parts.train[:4]).to(DEVICE))
    monkeypatch.setattr(graphed, "SHAPES", 2)
    graph = graph_of(BASE, capture)
    batches = [collate(parts.train[:k]).to(DEVICE) for k in (1, 2, 3)]
    for batch in batches[:1] + batches[:2]:  # the first of all is not captured
        graph.step(batch)
    with pytest.raises(ConfigError, match="more than 2 shapes of batches"):
        graph.step(batches[2])

    def fails(run, changed):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    graph = graph_of(BASE, fails)
    graph.step(batches[0])
    with pytest.raises(
        ConfigError,
        match=r"^--graph: a training step of ecg_sim cannot be "
        r"captured \(operation not .* capturing\)\. Train",
    ):
        graph.step(batches[0])
    dropping = replace(BASE, network=replace(BITTAR, dropout=0.1))
    graph_of(dropping, capture)
    with pytest.raises(
        ConfigError,
        match=r"would not drop what each drops alone\. Train them "
        r"one after the other \(--together 1\), or",
    ):
        graph_of(dropping, capture, together=2)


def test_while_a_graph_is_captured_nothing_looks_at_values(monkeypatch):
    x, late = torch.full((2, 3, 6), torch.nan), torch.tensor([3, 9])
    assert not values_hidden()
    with pytest.raises(ShapeError, match="lengths holds 9"):
        valid_steps("net", x, late)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert values_hidden()
    # a mask, where otherwise None says that all steps are valid
    assert valid_steps("net", x, late).all()
    check_finite("net", x, None)
    assert lockstep._State().cuda is None  # nor asks for random numbers, which a capture forbids


def test_trials_of_a_sweep_are_one_graph_in_their_mode(graphs, capture, srnn, tmp_path):
    """Their rates differ; what none of them could do is refused before there is a study."""
    pytest.importorskip("optuna")
    argv = [
        "sweep",
        "ecg_sim",
        *itertools.chain(*(("--set", s) for s in TINY)),
        "--search",
        "optimiser.lr=1e-3:1e-2:log",
        "--trials",
        2,
    ]
    argv += [
        "--together",
        2,
        "--graph",
        "--precision",
        "tf32",
        "--device",
        DEVICE,
        "--out",
        tmp_path / "s",
    ]
    code, out, err = srnn(*argv, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [t["state"] for t in found["trials"]] == ["complete"] * 2
    assert graphs == [0, 0, 1, 1, 2, 2] * 3
    if not GPU:
        assert capture.captured == [2, 2]
    assert found["command"].endswith(f"{' --device cuda' * GPU} --precision tf32 --graph")
    env = Run(tmp_path / "s/trial-0001").read("env.json")
    assert (env["together"], env["precision"], env["graph"]) == (2, "tf32", True)
    code, _, err = srnn(
        *argv,
        "--set",
        "network.dropout=0.1",
        "--study",
        "other",
        "--journal",
        tmp_path / "j",
        "--out",
        tmp_path / "o",
    )
    assert code == 2
    assert "would not drop what each drops alone" in err
    assert not (tmp_path / "o").exists()


# ── modes ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(GPU, reason="there is a GPU")
@pytest.mark.parametrize("command", ["train", "sweep"])
@pytest.mark.parametrize("option", [["--precision", "bfloat16"], ["--graph"], ["--deterministic"]])
def test_on_a_cpu_they_are_refused(srnn, tmp_path, command, option):
    more = ["--search", "optimiser.lr=1e-3:1e-2"] if command == "sweep" else []
    code, _, err = srnn(
        command,
        "ecg_sim",
        *itertools.chain(*(("--set", s) for s in TINY)),
        *option,
        *more,
        "--out",
        tmp_path / "run",
    )
    assert code == 2
    wanted = (
        "is for the triton backend, on a GPU (--device cuda); here layers run by cpu. Leave it out."
    )
    assert err == f"srnn {command}: {' '.join(option)} {wanted}\n"
    assert not (tmp_path / "run").exists()


def test_under_bfloat16_a_weight_that_changes_is_seen():
    """torch keeps a weight's rounded copy for as long as autocast is on; here that is a whole
    training.
    """
    layer, x = torch.nn.Linear(2, 2, bias=False), torch.ones(1, 2)
    with Mode("bfloat16").on(torch.device("cpu"), "triton"):
        before = layer(x)
        with torch.no_grad():
            layer.weight.add_(1)
        assert before.dtype == torch.bfloat16
        assert (layer(x) - before > 1.9).all()


def test_a_mode_holds_while_it_is_on():
    before = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    cpu = torch.device("cpu")
    with Mode("bfloat16", deterministic=True).on(cpu, "triton"):
        assert gpu.product_type("cpu", torch.float32) == "bfloat16"
        assert torch.are_deterministic_algorithms_enabled()
    with Mode("tf32").on(cpu, "triton"):
        assert gpu.product_type("cpu", torch.float32) == "tf32"
    assert gpu.product_type("cpu", torch.float32) == "float32"
    assert (
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
    ) == before
    with pytest.raises(
        ConfigError,
        match=r"precision: there is no 'half'\. .*Known: bfloat16, "
        r"float32, tf32\.",
    ):
        Mode("half")
    assert session.PRECISIONS == ("float32", "tf32", "bfloat16")
