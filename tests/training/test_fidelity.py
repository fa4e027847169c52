import numpy as np
import pytest
import torch

from srnn import Output, Stack, tasks
from srnn._check import ShapeError
from srnn.datasets import Sample
from srnn.tasks.objective import PerRecording
from srnn.tasks.settings import override
from srnn.training.fidelity import Played, compare


@pytest.fixture(scope="module", params=["a label a step", "a label a recording"])
def setting(request: pytest.FixtureRequest):
    """A task with a label a step, and one with a label a recording, of recordings of different
    lengths.
    """
    if request.param == "a label a step":
        task = tasks.load("ecg_sim")
        samples = list(task.load(None).test)[:5]
    else:
        task, samples = _of_recordings()
    torch.manual_seed(0)
    return task, task.build().eval(), samples


def _of_recordings():
    task = override(tasks.load("ecg_sim"), ["decode=PerRecording"])
    assert isinstance(task.decode, PerRecording)
    draw = np.random.default_rng(0)
    return task, [
        Sample(
            signal=draw.integers(0, 2, (n, 4)).astype(np.float32),
            label=k % 3,
            rate=1.0,
            name=f"r{k}",
        )
        for k, n in enumerate((7, 20, 13))
    ]


def _play(net: Stack, change=lambda out: out):
    def player(x: torch.Tensor, lengths: torch.Tensor) -> Played:
        out: Output = change(net(x, lengths=lengths, record=True))
        return Played(out.potential, out.output, out.trace.outputs)

    return player


def test_the_same_network_agrees_everywhere(setting):
    task, net, samples = setting
    found = compare(net, _play(net), task, samples)
    assert found.spike_agreement == found.recordings_equal == found.prediction_agreement == 1.0
    assert found.score_error == found.potential_error == 0.0
    assert found.accuracy_before == found.accuracy_after
    assert found.recordings == len(samples)
    assert found.steps == sum(len(s.signal) for s in samples)


def test_one_spike_less_is_counted_once(setting):
    task, net, samples = setting
    lost = []

    def drop(out: Output) -> Output:
        if not lost:
            spikes = out.trace.outputs[0]
            b, t, n = (spikes > 0).nonzero()[0].tolist()
            spikes[b, t, n] = 0.0
            lost.append((b, t, n))
        return out

    found = compare(net, _play(net, drop), task, samples)
    units = sum(layer.outputs for layer in net.parts() if layer.emits.binary)
    assert found.spike_agreement == pytest.approx(1 - 1 / (found.steps * units), abs=1e-12)
    assert found.recordings_equal == pytest.approx(1 - 1 / len(samples))


def test_other_scores_are_measured(setting):
    task, net, samples = setting

    def turn(out: Output) -> Output:
        return out._replace(potential=out.potential.roll(1, -1))

    found = compare(net, _play(net, turn), task, samples)
    assert found.score_error > 0
    assert found.score_error >= found.score_error_mean > 0
    assert found.potential_error > 0
    assert found.prediction_agreement < 1.0
    assert found.spike_agreement == 1.0


def test_a_player_may_show_no_spikes(setting):
    task, net, samples = setting
    found = compare(
        net, lambda x, lengths: _play(net)(x, lengths)._replace(outputs=()), task, samples
    )
    assert found.spike_agreement is None
    assert found.recordings_equal is None
    assert found.score_error == 0.0
    assert set(found.as_dict()) >= {"recordings", "steps", "score_error", "accuracy_after"}


def test_a_player_of_another_shape_is_refused(setting):
    task, net, samples = setting
    with pytest.raises(ShapeError, match="the player's potential has shape"):
        compare(
            net,
            lambda x, lengths: _play(net)(x, lengths)._replace(potential=torch.zeros(1, 2, 3)),
            task,
            samples,
        )
    with pytest.raises(ShapeError, match="outputs of 1 layers"):
        compare(
            net,
            lambda x, lengths: _play(net)(x, lengths)._replace(
                outputs=_play(net)(x, lengths).outputs[:1]
            ),
            task,
            samples,
        )
