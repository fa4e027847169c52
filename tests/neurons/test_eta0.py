"""The adaptation of ALIF starts at eta0, in every form of a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import srnn
from srnn import tasks
from srnn._check import ConfigError, RunError
from srnn.export import CPlayer, to_c, to_integer
from srnn.stream import Stream
from srnn.tasks.settings import completed, describe, differences, override
from srnn.training.runs import Run


def network(eta0: float) -> srnn.Stack:
    torch.manual_seed(0)
    neuron = srnn.ALIF(b0=0.05, eta0=eta0)
    return srnn.Stack(srnn.Layer(3, 16, neuron), srnn.Readout(16, 2)).eval()


X = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_it_is_the_state_before_the_first_step(backend: str) -> None:
    net, plain = network(0.7), network(0.0)
    assert torch.equal(net.start(2)[0]["eta"], torch.full((2, 16), 0.7))
    start = plain.start(2)
    start[0]["eta"].fill_(0.7)
    with torch.no_grad():
        started, same = net(X, backend=backend), plain(X, state=start, backend=backend)
        without = plain(X, backend=backend)
    assert torch.equal(started.potential, same.potential)
    assert not torch.equal(started.potential, without.potential)
    assert net.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(net.state_dict())


def test_streams_and_c_start_there(tmp_path: Path) -> None:
    net = network(0.7)
    with torch.no_grad():
        whole, state = net(X, backend="cpu").potential, net(X, backend="cpu").state
    stream = Stream(net, batch=2)
    stream.push(X)
    for left, right in zip(stream.state, state, strict=True):
        assert left.keys() == right.keys()
        assert all(torch.equal(left[k], right[k]) for k in left)
    lengths = torch.tensor([30, 30])
    played = CPlayer(to_c(net, tmp_path / "float"))(X, lengths)
    torch.testing.assert_close(played.potential, whole, rtol=1e-4, atol=1e-5)
    integer = to_integer(net, 8, X)
    fixed = CPlayer(to_c(net, tmp_path / "fixed", bits=8, calibration=X))(X, lengths)
    assert integer.layers[0].start["eta"].unique().numel() == 1
    assert float(integer.layers[0].start["eta"][0]) > 0
    assert torch.equal(fixed.potential, integer(X, lengths).potential)


@pytest.mark.parametrize("bad", ["1", None, True, float("nan"), float("inf"), srnn.ALIF()])
def test_another_start_than_a_number_is_refused(bad: object) -> None:
    with pytest.raises(ConfigError, match="ALIF: eta0 is"):
        srnn.ALIF(eta0=bad)  # type: ignore[arg-type]


def test_a_task_has_it_and_a_run_of_before_is_still_read(tmp_path: Path) -> None:
    task = tasks.load("gsc")
    before = describe(task)
    assert before["network"].pop("eta0") == 0.0
    run = Run.create(tmp_path / "run", task, 0, {}, {})
    path = tmp_path / "run" / "task.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "resolved": before}))
    assert run.task() == (task, 0)
    # only what is at its class's default was so before
    del before["network"]["b0"]
    path.write_text(json.dumps({**stored, "resolved": before}))
    with pytest.raises(RunError, match=r"network\.b0"):
        run.task()
    started = override(task, ["network.eta0=1.6"])
    assert differences(completed(describe(task), started), describe(started)) == [
        "network.eta0: 0.0 → 1.6"
    ]
    net = started.network.build(4, 3)
    assert [float(s["eta"][0, 0]) for s in net.start(1) if "eta" in s] == pytest.approx([1.6, 1.6])
    with pytest.raises(ConfigError, match="YinLIF does not adapt"):
        override(task, ["network.eta0=1.6", "network.neuron=YinLIF"])
