"""A training step as a CUDA graph. Without a GPU the capture is a stand-in with a graph's ways: it runs the step again on the same tensors, and puts
what comes where the captured step had put it. On a GPU the same tests capture.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from srnn import graphed, loop, session, tasks
from srnn import train as training
from srnn._check import ConfigError, ShapeError, check_finite, values_hidden
from srnn.graphed import Graphed, capture_cuda
from srnn.kernels import gpu
from srnn.layers import valid_steps
from srnn.networks import Stack, UniformStart
from srnn.runs import Run, load_checkpoint
from srnn.scan import Choice
from srnn.session import Mode
from srnn.tasks.objective import FiringRate
from srnn.tasks.settings import override
from srnn.tasks.task import collate
from srnn.tasks.truncation import Truncation, chunks
from srnn.train import fit

sys.path.insert(0, str(Path(__file__).parent))
from uneven import BASE, BITTAR

GPU = torch.cuda.is_available() and not gpu.interpreting()
DEVICE = torch.device("cuda" if GPU else "cpu")
TINY = ["data.train=8", "data.validation=4", "data.test=4", "data.steps=24", "batch=3", "epochs=3", "network.hidden=[6]"]
ECG = override(tasks.load("ecg_sim"), TINY)  # batches of 3, 3 and 2: two shapes


class StandIn:
    """Replays by running again; what a graph writes to the same places is written to the same places."""

    def __init__(self):
        self.captured, self.replayed, self.graphs = 0, 0, []

    def __call__(self, run, net):
        self.captured += 1
        run()
        made = self.chunks(run)
        first = {"loss": made[0].loss.detach(), "scores": made[0].scores, "total": made[0].total}
        object.__setattr__(made[0], "loss", first["loss"])
        chunk, grads = made[0], {p: p.grad for p in net.parameters()}

        def replay():
            self.replayed += 1
            run()
            for name, to in first.items():
                to.copy_(getattr(made[0], name).detach())
            made[0] = chunk
            for p, to in grads.items():
                if to is not None:
                    to.copy_(p.grad)
                p.grad = None

        return replay

    @staticmethod
    def chunks(run):
        cells = dict(zip(run.__code__.co_freevars, run.__closure__, strict=True))
        return cells["made"].cell_contents


@pytest.fixture
def capture(monkeypatch):
    """What captures, and a backend that calls itself triton."""
    if GPU:
        return capture_cuda
    real = Stack.which_backend
    monkeypatch.setattr(Stack, "which_backend", lambda self, x=None, backend="auto": Choice("triton", real(self, x, backend).reason))
    return StandIn()


def net_of(task):
    torch.manual_seed(0)
    return task.build().to(DEVICE)


def gradients(net):
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def test_a_captured_step_is_the_step(capture):
    """Loss, scores and gradients of batch after batch, of two shapes, through one set of tensors; the optimiser steps in between."""
    task = ECG
    parts = task.load(None)
    ours, plain = net_of(task), net_of(task)
    graph = Graphed(ours, task, "auto", capture)
    optimisers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in (ours, plain)]
    seen = []
    for first, size in ((0, 3), (3, 3), (6, 2), (1, 3), (4, 2)):
        batch = collate(parts.train[first : first + size]).to(DEVICE)
        made = graph.step(batch)
        optimisers[0].zero_grad()
        graph.put_gradients()
        (wanted,) = chunks(task, plain, batch, "auto")
        optimisers[1].zero_grad()
        wanted.loss.backward()
        torch.testing.assert_close(made.loss.detach(), wanted.loss.detach())
        torch.testing.assert_close(made.scores, wanted.scores)
        got, want = gradients(ours), gradients(plain)
        assert got.keys() == want.keys()
        assert len(got) >= 7
        for name in got:
            torch.testing.assert_close(got[name], want[name], msg=lambda m, name=name: f"{name}: {m}")
        seen.append(float(made.loss))
        for optimiser in optimisers:
            optimiser.step()
    assert len(set(seen)) == 5
    assert len(graph._held) == 2
    if not GPU:
        assert (capture.captured, capture.replayed) == (2, 5)


def test_a_run_with_graphs_is_the_run_without(capture, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "Graphed", lambda net, task, backend: Graphed(net, task, backend, capture))
    used = []
    real = loop.Loop.one_batch
    monkeypatch.setattr(loop.Loop, "one_batch", lambda self, *a: (used.append(self.graph is not None), real(self, *a))[1])
    for name, mode in (("graph", Mode(graph=True)), ("plain", Mode())):
        fit(ECG, tmp_path / name, device=str(DEVICE), mode=mode)
    assert used == [True] * 9 + [False] * 9
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in Run(tmp_path / n).rows()] for n in ("graph", "plain")]
    for a, b in zip(*rows, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        assert a["validation_accuracy"] == pytest.approx(b["validation_accuracy"], abs=1e-3)
    a, b = (load_checkpoint(Run(tmp_path / n).checkpoint("last"))[0] for n in ("graph", "plain"))
    for key in (k for k in a if k.startswith("net.")):
        torch.testing.assert_close(a[key], b[key], atol=1e-5, rtol=1e-4)
    assert [Run(tmp_path / n).read("env.json")["graph"] for n in ("graph", "plain")] == [True, False]


REFUSED = {
    "truncated": (replace(BASE, truncation=Truncation(4)), "a truncated gradient steps more than once a batch"),
    "segments": (replace(BASE, segment=4), "segments run layers again within the backward pass"),
    "regulariser": (replace(BASE, regulariser=FiringRate()), "a firing-rate regulariser counts steps"),
    "random starts": (replace(BASE, start=UniformStart(high=0.5)), "random starts are drawn on the CPU"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_captured_is_refused_before_anything_is_written(capture, tmp_path, name):
    task, why = REFUSED[name]
    with pytest.raises(ConfigError, match=f"^--graph: ecg_sim cannot be trained as a CUDA graph: {why}. Train it without.$"):
        fit(task, tmp_path / "run", device=str(DEVICE), mode=Mode(graph=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(GPU, reason="there is a GPU")
def test_without_a_gpu_there_is_nothing_to_capture(capture):
    with pytest.raises(ConfigError, match="cannot be trained as a CUDA graph: there is no GPU"):
        Graphed(net_of(BASE), BASE, "auto")


def test_what_turns_out_while_training_is_refused_too(capture, monkeypatch):
    parts = BASE.load(None)
    normed = replace(BASE, network=replace(BITTAR, dropout=0.0))
    with pytest.raises(ConfigError, match="has a norm, which looks at lengths, and recordings of different lengths"):
        Graphed(net_of(normed), normed, "auto", capture).step(collate(parts.train[:4]).to(DEVICE))
    monkeypatch.setattr(graphed, "SHAPES", 2)
    graph = Graphed(net_of(BASE), BASE, "auto", capture)
    batches = [collate(parts.train[:k]).to(DEVICE) for k in (1, 2, 3)]
    for batch in batches[:2]:
        graph.step(batch)
    with pytest.raises(ConfigError, match="more than 2 shapes of batches"):
        graph.step(batches[2])

    def fails(run, net):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    with pytest.raises(ConfigError, match=r"^--graph: a training step of ecg_sim cannot be captured \(operation not .* capturing\)\. Train"):
        Graphed(net_of(BASE), BASE, "auto", fails).step(collate(parts.train[:2]).to(DEVICE))


def test_while_a_graph_is_captured_nothing_looks_at_values(monkeypatch):
    x, late = torch.full((2, 3, 6), torch.nan), torch.tensor([3, 9])
    assert not values_hidden()
    with pytest.raises(ShapeError, match="lengths holds 9"):
        valid_steps("net", x, late)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert values_hidden()
    assert valid_steps("net", x, late).all()  # a mask, where otherwise None says that all steps are valid
    check_finite("net", x, None)


# ── modes ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(GPU, reason="there is a GPU")
@pytest.mark.parametrize(("option", "said"), [(["--precision", "bfloat16"],) * 2, (["--graph"],) * 2, (["--deterministic"],) * 2])
def test_on_a_cpu_they_are_refused(srnn, tmp_path, option, said):
    code, _, err = srnn("train", "ecg_sim", *itertools.chain(*(("--set", s) for s in TINY)), *option, "--out", tmp_path / "run")
    assert code == 2
    assert err == f"srnn train: {' '.join(said)} is for the triton backend, on a GPU (--device cuda); here layers run by cpu. Leave it out.\n"
    assert not (tmp_path / "run").exists()


def test_a_mode_holds_while_it_is_on():
    before = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    cpu = torch.device("cpu")
    with Mode("bfloat16", deterministic=True).on(cpu, "triton"):
        assert gpu.product_type("cpu", torch.float32) == "bfloat16"
        assert torch.are_deterministic_algorithms_enabled()
    with Mode("tf32").on(cpu, "triton"):
        assert gpu.product_type("cpu", torch.float32) == "tf32"
    assert gpu.product_type("cpu", torch.float32) == "float32"
    assert (torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()) == before
    with pytest.raises(ConfigError, match=r"precision: there is no 'half'\. .*Known: bfloat16, float32, tf32\."):
        Mode("half")
    with pytest.raises(ConfigError, match="--together meet in between"):
        fit(BASE, Path("nowhere"), mode=Mode(graph=True), together=2)
    assert session.PRECISIONS == ("float32", "tf32", "bfloat16")
