"""Truncated BPTT: one chunk is full BPTT bit by bit, more are a loop written by hand; carried
scores, exact resume, processes, refusals.
"""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch.nn.functional import cross_entropy, nll_loss

from srnn import BatchNorm, Bidirectional, Layer, LayerNorm, Readout, Stack, tasks
from srnn._check import ConfigError
from srnn.datasets import Sample
from srnn.neurons import ALIF
from srnn.nn.networks import detached
from srnn.tasks.encoders import Shape
from srnn.tasks.objective import FiringRate, PerRecording, PerStep
from srnn.tasks.optimise import Optimiser
from srnn.tasks.settings import describe, listed, override
from srnn.tasks.task import Parts, Task, collate
from srnn.tasks.truncation import Truncation
from srnn.training import loop
from srnn.training import train as training
from srnn.training.chunks import Whole, chunks, walk
from srnn.training.evaluate import assess
from srnn.training.loop import Interrupted, Progress
from srnn.training.runs import Run, load_checkpoint
from srnn.training.session import Team
from srnn.training.train import fit

LENGTHS = (24, 17, 14, 5)
POOLS = ("softmax_sum", "mean", "last", "max_over_time", "spike_count")


@dataclass(frozen=True)
class Toy:
    """Recordings of noise with a label each, or one a step."""

    each_step: bool = False
    lengths: tuple[int, ...] = LENGTHS
    simulated: ClassVar[bool] = True
    shape: ClassVar[Shape] = Shape(None, 4, 1.0)

    def load(self, data_dir):
        g = torch.Generator().manual_seed(5)
        samples = []
        for k, n in enumerate(self.lengths):
            label = torch.randint(-1, 3, (n,), generator=g).numpy() if self.each_step else k % 3
            samples.append(Sample(torch.randn(n, 4, generator=g).numpy(), label, 1.0, f"toy/{k}"))
        return Parts(samples, samples[:3], samples[:3])


@dataclass(frozen=True)
class ToyNetwork:
    """4 → 6 → 3; spiking: read by its output."""

    spiking: bool = False
    norm: str = ""

    def build(self, inputs, classes):
        norm = {"": None, "batch": BatchNorm(), "layer": LayerNorm()}[self.norm]
        last = Layer(6, 3, ALIF(), recurrent=False) if self.spiking else Readout(6, 3)
        return Stack(Layer(4, 6, ALIF(b0=0.1), norm=norm), last)


def toy(truncation=None, *, decode=PerRecording(skip=2), network=ToyNetwork(), **changes):
    data = Toy(isinstance(decode, PerStep), changes.pop("lengths", LENGTHS))
    settings = {"epochs": 3, "batch": len(data.lengths), "optimiser": Optimiser(lr=0.05), **changes}
    return Task(
        "toy",
        "noise",
        ("a", "b", "c"),
        data,
        network,
        decode=decode,
        truncation=truncation,
        **settings,
    )


def trained(task, out, **kwargs):
    """Train; return every tensor of the last checkpoint but the generator's, and the log."""
    fit(task, out, **kwargs)
    run = Run(out)
    weights = {
        k: v
        for k, v in load_checkpoint(run.checkpoint("last"))[0].items()
        if not k.startswith("rng")
    }
    assert len(weights) > 10
    return weights, [{k: v for k, v in row.items() if k != "seconds"} for row in run.rows()]


def by_hand(task, epochs=3):
    """Yield, epoch after epoch, a fresh network and the batch as a run with seed 0 sees it, and its
    optimiser; the caller steps.
    """
    parts = task.load(None)
    torch.manual_seed(0)
    net = task.build()
    optimiser = task.optimiser.build(net)
    for epoch in range(epochs):
        order = torch.randperm(
            len(parts.train), generator=torch.Generator().manual_seed(epoch)
        ).tolist()
        yield net.train(), collate([parts.train[i] for i in order]), optimiser


def same_weights(weights, net, exactly=True):
    compared = 0
    for name, value in net.state_dict().items():
        if exactly:
            assert torch.equal(weights[f"net.{name}"], value), name
        else:
            torch.testing.assert_close(weights[f"net.{name}"], value, rtol=1e-5, atol=1e-6)
        compared += 1
    assert compared >= 9


# ── one chunk is full BPTT ────────────────────────────────────────────────────────────────────────


OBJECTIVES = [
    PerStep(2),
    PerStep(0, mean_over_steps=True),
    *(PerRecording("potential", pool, 2 if pool != "last" else 0) for pool in POOLS),
]


@pytest.mark.parametrize("decode", OBJECTIVES, ids=str)
def test_one_chunk_is_full_bptt(tmp_path, decode):
    """Weights, optimiser and log bit by bit; steps on the way, carried scores and regulariser
    change nothing when there is one chunk.
    """
    for k, regulariser in enumerate(
        (None, FiringRate(5.0, 0.3)) if decode in OBJECTIVES[1:3] else (None,)
    ):
        task = toy(decode=decode, regulariser=regulariser, epochs=2)
        weights, log = trained(task, tmp_path / f"full{k}")
        each = Truncation(24, step_per_chunk=True, carry_scores=isinstance(decode, PerRecording))
        others, other = trained(replace(task, truncation=each), tmp_path / f"chunk{k}")
        assert all(torch.equal(value, others[name]) for name, value in weights.items())
        assert log == other


def test_more_chunks_are_not(tmp_path):
    weights, _ = trained(toy(), tmp_path / "full")
    others, _ = trained(toy(Truncation(23)), tmp_path / "cut")
    assert not torch.equal(weights["net.layers.0.recurrent"], others["net.layers.0.recurrent"])


# ── a loop written by hand ────────────────────────────────────────────────────────────────────────


def cut_points(chunk):
    return [(a, min(a + chunk, max(LENGTHS))) for a in range(0, max(LENGTHS), chunk)]


@pytest.mark.parametrize("each", [False, True])
def test_a_label_a_step_is_a_loop_written_by_hand(tmp_path, each):
    """Detached at every chunk; what has ended adds nothing; the losses of the chunks add up to that
    of the whole, which is what is logged.
    """
    task = toy(Truncation(7, step_per_chunk=each), decode=PerStep(skip=3))
    weights, log = trained(task, tmp_path / "run")
    for (net, batch, optimiser), row in zip(by_hand(task), log, strict=True):
        state, total = net.start(4), 0.0
        optimiser.zero_grad()
        for a, b in cut_points(7):
            out = net(
                batch.x[:, a:b].contiguous(),
                lengths=(batch.lengths - a).clamp(0, b - a),
                state=state,
            )
            state = detached(out.state)
            labels = batch.labels.clone()
            labels[:, :3] = -1
            loss = (
                nll_loss(
                    torch.log_softmax(out.potential, -1).flatten(0, 1),
                    labels[:, a:b].flatten(),
                    ignore_index=-1,
                    reduction="sum",
                )
                / 4
            )
            total += float(loss.detach())
            loss.backward()
            if each or b == 24:
                torch.nn.utils.clip_grad_norm_(net.parameters(), task.clip_norm)
                optimiser.step()
                optimiser.zero_grad()
        assert row["loss"] == pytest.approx(total, rel=1e-5)
    same_weights(weights, net, exactly=False)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("carry", [False, True])
def test_spike_counts_are_carried_as_in_the_published_script(tmp_path, each, carry):
    """The sum of the output spikes goes on, detached, and every chunk ends in a cross-entropy of it
    (and a step): PS-MNIST of Yin 2021.
    """
    lengths = (24, 24, 24, 24)
    decode, optimiser = PerRecording("output", "spike_count", 1), Optimiser("adamax", 0.02)
    task = toy(
        Truncation(7, each, carry),
        decode=decode,
        network=ToyNetwork(spiking=True),
        optimiser=optimiser,
        lengths=lengths,
        clip_norm=None,
    )
    weights, log = trained(task, tmp_path / "run")
    spikes = 0.0
    for (net, batch, optimiser), row in zip(by_hand(task), log, strict=True):
        state, total = net.start(4), torch.zeros(4, 3)
        optimiser.zero_grad()
        running = torch.zeros(4, 3)
        for a, b in cut_points(7):
            out = net(batch.x[:, a:b].contiguous(), state=state)
            state = detached(out.state)
            own = out.output[:, 1 if a == 0 else 0 :].sum(1)
            running = running.detach() + own if carry else own
            total = total + own.detach()
            cross_entropy(running, batch.labels).backward()
            if each or b == 24:
                optimiser.step()
                optimiser.zero_grad()
        spikes += float(total.sum())
        # of whole recordings, carried or not
        assert row["loss"] == pytest.approx(float(cross_entropy(total, batch.labels)), rel=1e-6)
    assert spikes > 20
    same_weights(weights, net, exactly=False)


def test_a_recording_that_has_ended_takes_no_part():
    """Its label changes nothing in later chunks, and its share in the mean stays."""
    task = toy(Truncation(7))
    _, batch, _ = next(by_hand(task))
    net = task.build()
    torch.nn.init.normal_(net.layers[1].bias)  # or no class is ahead before the first spike

    def losses_of(batch):
        return [float(c.loss.detach()) for c in chunks(task, net, batch, "auto")]

    losses = losses_of(batch)
    assert len(losses) == 4
    for k, n in enumerate(batch.lengths.tolist()):
        changed = batch.labels.clone()
        changed[k] = (changed[k] + 1) % 3
        assert [
            a != b for a, b in zip(losses, losses_of(replace(batch, labels=changed)), strict=True)
        ] == [7 * c < n for c in range(4)]
    one = replace(
        batch,
        x=batch.x[batch.lengths == 24],
        labels=batch.labels[batch.lengths == 24],
        lengths=batch.lengths[batch.lengths == 24],
    )
    assert losses[-1] == pytest.approx(losses_of(one)[-1] / 4, rel=1e-5)


def test_the_regulariser_weighs_what_it_weighs_on_whole_recordings():
    """A label a step: as much as the chunk's share of the steps; a label a recording: as much as
    the cross-entropy, which is whole in each chunk.
    """
    for decode in (PerStep(), PerRecording()):
        plain = toy(Truncation(7), decode=decode)
        _, batch, _ = next(by_hand(plain))
        torch.manual_seed(0)
        net = plain.build()
        with_it = replace(plain, regulariser=FiringRate(2.0, 0.9, 1.0))
        traces = [
            out.trace
            for _, out in walk(
                net, batch, net.start(4), 7, record=True, backend="auto", segment=None
            )
        ]
        pairs = list(
            zip(chunks(plain, net, batch, "auto"), chunks(with_it, net, batch, "auto"), strict=True)
        )
        assert len(pairs) == len(traces) == 4
        for (a, b), trace in zip(pairs, traces, strict=True):
            share = trace.steps / sum(LENGTHS) if isinstance(decode, PerStep) else 1.0
            penalty = float(with_it.regulariser.loss(trace).detach())
            assert penalty > 1
            assert float((b.loss - a.loss).detach()) == pytest.approx(share * penalty, rel=1e-4)


# ── scores and state of the whole ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("chunk", [1, 5, 7, 24])
def test_chunks_give_the_scores_and_the_state_of_the_whole(chunk):
    compared = 0
    for decode in [
        PerStep(),
        *(PerRecording("potential", pool, skip) for pool in POOLS for skip in (0, 6)),
    ]:
        task = toy(decode=decode)
        _, batch, _ = next(by_hand(task))
        net = task.build()
        out, whole = net(batch.x, lengths=batch.lengths), Whole(task, batch)
        for first, piece in walk(
            net, batch, net.start(4), chunk, record=False, backend="auto", segment=None
        ):
            whole.add(piece, first)
        torch.testing.assert_close(whole.scores(), decode.scores(out, batch.lengths).detach())
        for a, b in zip(out.state, piece.state, strict=True):
            assert all(torch.equal(a[name], b[name]) for name in a)
        compared += 1
    assert compared == 11


def test_an_evaluation_in_pieces_gives_what_a_whole_one_gives():
    for decode in OBJECTIVES:
        task = toy(decode=decode)
        net = task.build()
        samples = task.load(None).train
        cost = decode == OBJECTIVES[0]
        whole = assess(net, task, samples, cost=cost)
        for cut in (replace(task, truncation=Truncation(7)), replace(task, segment=5)):
            pieces = assess(net, cut, samples, cost=cost)
            assert pieces.keys() == whole.keys()
            for key, value in whole.items():
                if key == "firing_rates":  # None: of a layer without spikes
                    value, pieces[key] = (
                        [math.nan if rate is None else rate for rate in rates]
                        for rates in (value, pieces[key])
                    )
                if key not in ("energy", "confusion", "recall"):
                    assert pieces[key] == pytest.approx(value, rel=1e-5, nan_ok=True), key
            assert pieces["confusion"] == whole["confusion"]
            if cost:
                assert pieces["energy"]["measured"]["mac"] == pytest.approx(
                    whole["energy"]["measured"]["mac"]
                )


def test_segments_train_as_the_whole_does(tmp_path):
    """Activation checkpointing in a run, alone and within chunks."""
    for k, truncation in enumerate((None, Truncation(12))):
        task = toy(truncation, decode=PerStep(), regulariser=FiringRate(), epochs=2)
        weights, log = trained(task, tmp_path / f"whole{k}")
        others, other = trained(replace(task, segment=5), tmp_path / f"cut{k}")
        for name, value in weights.items():
            torch.testing.assert_close(others[name], value, rtol=1e-4, atol=1e-5)
        assert [row["loss"] for row in other] == pytest.approx(
            [row["loss"] for row in log], rel=1e-5
        )


# ── runs ──────────────────────────────────────────────────────────────────────────────────────────


SETTINGS = [
    "data.train=8",
    "data.validation=4",
    "data.test=4",
    "data.steps=24",
    "batch=4",
    "epochs=2",
    "network.hidden=[6]",
    "start=UniformStart",
]
SETTINGS += [
    "truncation=Truncation",
    "truncation.chunk=11",
    "truncation.step_per_chunk=true",
    "segment=6",
]


def test_resume_is_exact(tmp_path, monkeypatch):
    task = override(tasks.load("ecg_sim"), SETTINGS)
    weights, log = trained(task, tmp_path / "whole")

    @contextmanager
    def signals():
        yield lambda: True  # stop after every batch

    monkeypatch.setattr(training, "stop_requests", signals)
    stops = 0
    while True:
        try:
            others, other = trained(task, tmp_path / "run", resume=stops > 0)
            break
        except Interrupted:
            stops += 1
            assert stops < 9
    assert stops == 4
    assert all(torch.equal(value, others[name]) for name, value in weights.items())
    assert log == other
    assert Run(tmp_path / "run").task() == (task, 0)


@pytest.mark.parametrize("each", [False, True])
def test_processes_take_the_same_number_of_steps(tmp_path, monkeypatch, each):
    """Two members of a team (threads here), one with longer recordings than the other, then one
    without any: the weights of one process.
    """
    ranks, slots, barrier = threading.local(), {}, threading.Barrier(2, timeout=60)

    def all_reduce(tensor):
        slots[ranks.mine] = tensor.clone()
        barrier.wait()
        total = slots[0] + slots[1]
        barrier.wait()
        tensor.copy_(total)

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(loop.Loop, "end_epoch", lambda self, parts: None)
    task = toy(
        Truncation(7, step_per_chunk=each),
        decode=PerStep(),
        network=ToyNetwork(norm="layer"),
        batch=2,
        lengths=(24, 5, 6, 17, 3),
    )
    parts, nets, steps, failed = task.load(None), {}, {0: 0, 1: 0, 2: 0}, []

    def member(rank, team):
        ranks.mine = rank
        optimiser = task.optimiser.build(nets[rank])
        optimiser.register_step_post_hook(lambda *_: steps.update({rank: steps[rank] + 1}))
        try:
            loop.Loop(
                task,
                None,
                nets[rank],
                optimiser,
                "auto",
                0,
                torch.device("cpu"),
                Progress(),
                lambda: False,
                team,
            ).one_epoch(parts, 3)
        except BaseException as error:
            failed.append(error)
            barrier.abort()

    for rank in (0, 1, 2):
        torch.manual_seed(0)
        nets[rank] = task.build()
    member(2, Team())
    threads = [threading.Thread(target=member, args=(rank, Team(rank, 2))) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert steps[0] == steps[1] == steps[2] >= (5 if each else 3)
    for one, two, alone in zip(*(nets[rank].parameters() for rank in (0, 1, 2)), strict=True):
        assert torch.equal(one, two)
        torch.testing.assert_close(one, alone, rtol=1e-4, atol=1e-5)


def test_batch_norm_takes_the_statistics_of_each_chunk(tmp_path):
    weights, log = trained(
        toy(Truncation(12), network=ToyNetwork(norm="batch"), lengths=(24, 24, 20)),
        tmp_path / "run",
    )
    assert int(weights["net.layers.0.norm.num_batches_tracked"]) == 3 * 2
    assert all(math.isfinite(row["loss"]) for row in log)


# ── settings ──────────────────────────────────────────────────────────────────────────────────────


def test_settings():
    ecg = tasks.load("ecg")
    assert (ecg.truncation, ecg.segment) == (None, None)
    assert ("truncation", "null", "Truncation | null") in listed(ecg)
    assert ("segment", "null", "int | None") in listed(ecg)
    task = override(ecg, ["truncation=Truncation", "truncation.chunk=50"])
    assert task.truncation == Truncation(50)
    rows = {path: value for path, value, _ in listed(task)}
    assert (
        rows["truncation.chunk"],
        rows["truncation.step_per_chunk"],
        rows["truncation.carry_scores"],
    ) == ("50", "False", "False")
    assert describe(task)["truncation"] == {
        "is": "Truncation",
        "chunk": 50,
        "step_per_chunk": False,
        "carry_scores": False,
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["truncation.chunk=0"], "truncation.chunk is 0; expected a number of at least 1."),
        (["truncation.chunk=many"], "--set truncation.chunk=many: 'many' is not of type int."),
        (
            ["truncation.chunk=10"],
            "truncation.chunk is 10 with decode.skip=10: nothing would "
            "count in the first chunk. "
            "Set truncation.chunk to at least 11.",
        ),
        (
            ["truncation.carry_scores=true"],
            "truncation.carry_scores: with decode=PerStep every "
            "step is scored by itself, there is nothing to carry. "
            "Set it to false.",
        ),
        (["segment=0"], "segment is 0; expected a number of at least 1."),
    ],
)
def test_what_cannot_work_is_refused(settings, message):
    with pytest.raises(ConfigError) as refused:
        override(tasks.load("ecg"), ["truncation=Truncation", *settings])
    assert str(refused.value) == message


def test_a_chunk_is_a_whole_number_of_steps():
    with pytest.raises(
        ConfigError,
        match=r"^truncation.chunk is 2.5; expected a whole number of "
        r"steps\.$",
    ):
        Truncation(2.5)


@dataclass(frozen=True)
class BothWays:
    """A network that needs the end."""

    def build(self, inputs, classes):
        return Stack(Bidirectional(Layer(4, 3, ALIF())), Readout(6, 3))


@pytest.mark.parametrize("changes", [{"truncation": Truncation(7)}, {"segment": 7}])
def test_a_network_that_needs_the_end_is_refused_before_anything_is_written(tmp_path, changes):
    with pytest.raises(
        ConfigError,
        match=r"=7: layer 0 is bidirectional and needs a recording's "
        r"end before its start",
    ):
        fit(toy(network=BothWays(), **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    if "segment" in changes:
        with pytest.raises(ConfigError, match=r"^segment=7: the batch norm of layer 0"):
            fit(toy(network=ToyNetwork(norm="batch"), **changes), tmp_path / "run")
