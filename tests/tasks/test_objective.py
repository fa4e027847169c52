"""One label for all steps, scored at every step: targets, loss and results by hand, in pieces and
padded.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from srnn import tasks
from srnn._check import ConfigError
from srnn.datasets import Sample
from srnn.nn.networks import Output
from srnn.tasks.nets import AdaptiveNetwork
from srnn.tasks.objective import PerStep
from srnn.tasks.task import collate
from srnn.tasks.truncation import Truncation
from srnn.training.chunks import chunks

SPREAD = PerStep(spread=True)
LABELS, LENGTHS = torch.tensor([1, 0, -1, 1]), torch.tensor([3, 1, 2, 2])

GUESSES = [[1, 0, 0], [0], [1, 1], [0, 1]]
"""What is guessed at each step: with 3/4 of two classes."""


def scores():
    """(4, 3, 2) log-probabilities; beyond a recording's end they are zero."""
    potential = torch.zeros(4, 3, 2)
    for b, row in enumerate(GUESSES):
        for t, guess in enumerate(row):
            potential[b, t, guess] = math.log(3)
    return SPREAD.scores(Output(potential, torch.zeros_like(potential), (), None), LENGTHS)


@pytest.mark.parametrize(
    ("decode", "expected"),
    [
        (SPREAD, [[1, 1, 1], [0, -1, -1], [-1, -1, -1], [1, 1, -1]]),
        (PerStep(spread=True, skip=1), [[-1, 1, 1], [-1, -1, -1], [-1, -1, -1], [-1, 1, -1]]),
        (PerStep(spread=True, unlabelled_as=0), [[1, 1, 1], [0, -1, -1], [0, 0, -1], [1, 1, -1]]),
    ],
)
def test_targets(decode, expected):
    assert decode.targets(LABELS, LENGTHS).tolist() == expected
    # a batch padded beyond its longest recording
    assert decode.targets(LABELS, LENGTHS, 5).tolist() == [[*row, -1, -1] for row in expected]
    assert decode.targets(LABELS, LENGTHS, 2).tolist() == expected  # a chunk of it


def test_loss():
    right, wrong = math.log(4 / 3), math.log(4)
    cases = [
        # steps of the first, the second and the last; mean over four recordings
        (SPREAD, (right + wrong + wrong + right + wrong + right) / 4),
        (PerStep(spread=True, mean_over_steps=True), (3 * right + 3 * wrong) / 6),
        (PerStep(spread=True, skip=1), (wrong + wrong + right) / 4),
        (PerStep(spread=True, unlabelled_as=1), (5 * right + 3 * wrong) / 4),
    ]
    for decode, expected in cases:
        assert float(decode.loss(scores(), LABELS, LENGTHS)) == pytest.approx(expected), decode
        pieces = [
            float(decode.loss(scores()[:, first : first + 2], LABELS, LENGTHS, first))
            for first in (0, 2)
        ]
        assert sum(pieces) == pytest.approx(expected), decode


def test_results():
    got = SPREAD.results([scores()], [LABELS], [LENGTHS])
    # mean over labelled recordings of the fraction of right steps
    assert got["accuracy"] == pytest.approx((1 / 3 + 1 + 1 / 2) / 3)
    assert got["accuracy_labelled"] == 3 / 6
    assert (got["recordings"], got["labelled_steps"]) == (4, 6)
    assert got["confusion"] == [[1, 0], [3, 2]]
    assert got["recall"] == [1.0, pytest.approx(2 / 5)]
    # the last steps: 0 for 1, 0 for 0, 1 for 1; the third has no label
    assert got["accuracy_last"] == pytest.approx(2 / 3)
    assert got["accuracy_last_class_mean"] == pytest.approx((1 + 1 / 2) / 2)
    two = SPREAD.results(
        [scores()[:1], scores()[1:, :2]], [LABELS[:1], LABELS[1:]], [LENGTHS[:1], LENGTHS[1:]]
    )
    assert two == got
    assert not {
        k
        for k in PerStep().results([scores()], [SPREAD.targets(LABELS, LENGTHS)], [LENGTHS])
        if "last" in k
    }


def test_a_class_without_a_recording_is_left_out_of_the_mean():
    got = SPREAD.results([scores()[:1]], [LABELS[:1]], [LENGTHS[:1]])
    assert (got["accuracy_last"], got["accuracy_last_class_mean"], got["recall"][0]) == (
        0.0,
        0.0,
        None,
    )


def test_what_counts():
    one = Sample(np.zeros((3, 1), np.float32), 1, 1.0, "one")
    assert [PerStep(spread=True, skip=skip).counts(one) for skip in (0, 2, 3)] == [
        True,
        True,
        False,
    ]
    nothing = replace(one, label=-1)
    assert [PerStep(spread=True, unlabelled_as=as_).counts(nothing) for as_ in (None, 0)] == [
        False,
        True,
    ]
    each = replace(one, label=np.array([-1, -1, 1]))
    assert SPREAD.counts(each)
    # labels a step stay
    assert SPREAD.targets(torch.tensor([[-1, -1, 1]]), torch.tensor([3])).tolist() == [[-1, -1, 1]]
    with pytest.raises(
        ConfigError,
        match=r"one has one label for all its steps; decode=PerStep "
        r"needs one a step. Set decode=PerRecording, or",
    ):
        PerStep().counts(one)


@pytest.mark.parametrize("padded", [0, 9])
def test_chunks_add_up_to_the_whole(padded):
    """With truncation, and in a batch as one of several processes has it: padded to the longest
    recording of all of them.
    """
    generator = np.random.default_rng(0)
    recordings = [
        Sample((generator.random((n, 6)) < 0.3).astype(np.uint8), n % 3, 1.0, f"r{n}", events=True)
        for n in (7, 4, 2)
    ]
    task = replace(
        tasks.load("ecg_sim"),
        classes=("a", "b", "c"),
        network=AdaptiveNetwork((5,), (True,)),
        decode=SPREAD,
        truncation=Truncation(3),
        regulariser=None,
    )
    torch.manual_seed(0)
    net = task.network.build(6, 3)
    batch = collate(recordings, padded)
    assert batch.x.shape == (3, max(7, padded), 6)
    made = list(chunks(task, net, batch, "auto"))
    (whole,) = chunks(replace(task, truncation=None), net, collate(recordings), "auto")
    assert len(made) == 3
    assert sum(float(c.loss.detach()) for c in made) == pytest.approx(
        float(whole.loss.detach()), rel=1e-6
    )
    assert float(made[-1].total) == pytest.approx(float(whole.loss.detach()), rel=1e-6)
    assert made[-1].scores.shape == (3, max(7, padded), 3)
    assert (
        task.decode.results([made[-1].scores], [batch.labels], [batch.lengths])["labelled_steps"]
        == 13
    )
