"""The ECG network in every form it is put to work in, on real recordings: it is still the same
network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from srnn import Stack, Stream, _build, tasks
from srnn.datasets import Sample
from srnn.export import CPlayer, to_c, to_integer
from srnn.tasks.task import Task, collate
from srnn.training.fidelity import Fidelity, compare

pytestmark = pytest.mark.real_data
N = 12


@pytest.fixture(scope="module")
def ecg(request: pytest.FixtureRequest) -> tuple[Task, Stack, list[Sample], torch.Tensor]:
    """The task, its network with input weights that make it fire, recordings of the test part, and
    others to calibrate on.
    """
    task, data = tasks.load("ecg"), request.getfixturevalue("real_data")
    parts = task.load(data)
    torch.manual_seed(0)
    net = task.build().eval()
    with torch.no_grad():
        net.parts()[0].weight.mul_(4.0)
    return (
        task,
        net,
        [parts.test[k] for k in range(N)],
        collate([parts.train[k] for k in range(8)]).x,
    )


def _checked(found: Fidelity, at_least: float) -> None:
    assert found.recordings == N
    assert found.steps == N * 1301
    assert found.spike_agreement is not None
    assert found.spike_agreement >= at_least
    assert abs(found.accuracy_after - found.accuracy_before) <= 0.02


def test_c(ecg: tuple[Task, Stack, list[Sample], torch.Tensor], tmp_path: Path) -> None:
    task, net, test, calibration = ecg
    try:
        _build.compiler()
    except _build.BuildError:
        pytest.skip("no C compiler")
    batch = collate(test)
    rates = net(batch.x, record=True).trace.rates()
    assert 0.02 < rates[0] < 0.6  # a silent network would agree with anything
    plain = compare(net, CPlayer(to_c(net, tmp_path / "float")), task, test)
    _checked(plain, 0.9999)
    whole = CPlayer(to_c(net, tmp_path / "int8", bits=8, calibration=calibration))
    _checked(compare(net, whole, task, test), 0.9)
    for a, b in zip(
        whole(batch.x, batch.lengths).outputs,
        to_integer(net, 8, calibration)(batch.x, batch.lengths).outputs,
        strict=True,
    ):
        assert torch.equal(a, b)


def test_onnx(ecg: tuple[Task, Stack, list[Sample], torch.Tensor], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from srnn.export.onnx import to_onnx
    from srnn.export.onnx_play import OnnxPlayer

    task, net, test, _ = ecg
    _checked(compare(net, OnnxPlayer(to_onnx(net, tmp_path / "net.onnx")), task, test), 0.999)


def test_stream(ecg: tuple[Task, Stack, list[Sample], torch.Tensor]) -> None:
    task, net, test, _ = ecg
    draw, same, skip = np.random.default_rng(0), 0, task.decode.skip
    assert skip == 10
    with torch.no_grad():
        offline = net(collate(test).x).potential.argmax(-1).numpy()
    for k, sample in enumerate(test):
        stream, labels = Stream(net, decision=task.decode.running()), list[int]()
        cuts = np.sort(draw.integers(0, len(sample.signal), 9))
        for piece in np.split(np.asarray(sample.signal, np.float32), cuts):
            labels += stream.push(piece[None]).label[0].tolist()
        assert set(labels[:skip]) == {-1}  # steps that do not count have no label
        same += int(np.sum(labels[skip:] == offline[k, skip:]))
    assert same == N * (1301 - skip)
