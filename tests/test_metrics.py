"""Metrics, by numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from srnn import metrics
from srnn._check import ConfigError, ShapeError

SCORES = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.0, 0.1, 0.9], [0.2, 0.5, 0.3]])
"""Decisions 1, 0, 2, 1."""


def one_hot(rows: list[list[int]], classes: int = 3) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(rows), classes).float()


def test_accuracy_counts_labelled_items_only():
    assert metrics.hits(SCORES, torch.tensor([1, 0, 0, -1])) == (2, 3)
    assert metrics.accuracy(SCORES, torch.tensor([1, 0, 0, -1])) == 2 / 3
    assert metrics.accuracy(SCORES, torch.tensor([1, 0, 2, 1])) == 1.0
    assert metrics.accuracy(SCORES, torch.tensor([-1, -1, -1, -1])) == 0.0
    assert metrics.hits(SCORES.view(2, 2, 3), torch.tensor([[1, 1], [2, 1]])) == (3, 4)


def test_accuracy_of_each_recording():
    scores = one_hot([[0, 1, 2], [0, 0, 0], [1, 1, 1]])
    labels = torch.tensor([[0, 1, 1], [0, -1, 1], [-1, -1, -1]])
    found = metrics.per_recording_accuracy(scores, labels).tolist()
    assert found[:2] == pytest.approx([2 / 3, 1 / 2])
    assert math.isnan(found[2])


def test_confusion_and_recall():
    """Rows are labels: 2 of class 0 (one taken for 1), 1 of class 1, none of class 2."""
    matrix = metrics.confusion(SCORES, torch.tensor([0, 0, -1, 1]))
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert int(matrix.sum()) == 3
    found = metrics.recall(matrix).tolist()
    assert found[:2] == [0.5, 1.0]
    assert math.isnan(found[2])
    assert (
        metrics.confusion(SCORES.view(2, 2, 3), torch.tensor([[0, 0], [-1, 1]])).tolist()
        == matrix.tolist()
    )
    assert metrics.confusion(SCORES, torch.tensor([-1] * 4)).tolist() == [[0] * 3] * 3


def test_anytime_accuracy():
    """Decisions over three steps 0 1 1 | 2 2 0 | 1 1 1 for labels 1, 2, 0."""
    scores, labels = one_hot([[0, 1, 1], [2, 2, 0], [1, 1, 1]]), torch.tensor([1, 2, 0])
    assert metrics.anytime_accuracy(scores, labels).tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 3])
    # the second keeps its decision of step 2
    ended = metrics.anytime_accuracy(scores, labels, torch.tensor([3, 2, 1]))
    assert ended.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert metrics.anytime_accuracy(
        scores, labels, torch.tensor([1, 3, 0])
    ).tolist() == pytest.approx([1 / 3, 1 / 3, 0.0])


def test_anytime_accuracy_leaves_unlabelled_recordings_out():
    scores = one_hot([[0, 1, 1], [2, 2, 0], [1, 1, 1]])
    assert metrics.anytime_accuracy(scores, torch.tensor([1, -1, 1])).tolist() == [0.5, 1.0, 1.0]
    assert metrics.anytime_accuracy(scores, torch.tensor([-1, -1, -1])).isnan().all()


@pytest.mark.parametrize(
    ("percent", "total", "half_width"),
    [
        (61.63, 2088, 2.09),
        (94.62, 2088, 0.97),
        (61.63, 2264, 2.00),
        (94.62, 2264, 0.93),
        (29.27, 20382, 0.62),
        (77.40, 20382, 0.57),
        (53.16, 11005, 0.93),
        (95.06, 11005, 0.40),
    ],
)
def test_credible_interval_of_the_published_accuracies(percent, total, half_width):
    """Half-widths in percent, 1.96 sqrt(p q / n), for the test sets of SHD (both counts), SSC and
    SC.
    """
    assert 196 * math.sqrt(percent / 100 * (1 - percent / 100) / total) == pytest.approx(
        half_width, abs=6e-3
    )
    low, high = metrics.credible_interval(round(percent / 100 * total), total)
    assert 100 * (high - low) / 2 == pytest.approx(half_width, abs=0.015)
    assert low < percent / 100 < high


def test_credible_interval_in_closed_form():
    """No item: uniform.

    All n correct: Beta(n + 1, 1), whose quantile q is q^(1/(n+1)); none correct is its mirror.
    """
    pytest.importorskip("scipy")
    assert metrics.credible_interval(0, 0) == pytest.approx((0.025, 0.975))
    assert metrics.credible_interval(9, 9) == pytest.approx((0.025**0.1, 0.975**0.1))
    assert metrics.credible_interval(0, 9) == pytest.approx((1 - 0.975**0.1, 1 - 0.025**0.1))
    assert metrics.credible_interval(9, 9, level=0.5) == pytest.approx((0.25**0.1, 0.75**0.1))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            (1, 2, 1.5),
            r"^credible_interval: level is 1\.5; expected a number of at least 0 and "
            r"at most 1\.$",
        ),
        (
            (3, 2),
            r"^credible_interval: correct is 3; expected a number of at least 0 and at most "
            r"2\.$",
        ),
        (
            (-1, 2),
            r"^credible_interval: correct is -1; expected a number of at least 0 and at "
            r"most 2\.$",
        ),
    ],
)
def test_credible_interval_of_nonsense(args, message):
    with pytest.raises(ConfigError, match=message):
        metrics.credible_interval(*args)


def test_shapes_that_do_not_fit():
    message = (
        r"^metrics: scores \(4, 3\) and labels \(3,\): expected \(\.\.\., K\) and "
        r"\(\.\.\.\)\.$"
    )
    for f in (metrics.accuracy, metrics.hits, metrics.confusion, metrics.per_recording_accuracy):
        with pytest.raises(ShapeError, match=message):
            f(SCORES, torch.tensor([0, 1, 2]))
    with pytest.raises(ShapeError, match=message):
        metrics.anytime_accuracy(SCORES.unsqueeze(1), torch.tensor([0, 1, 2]))
    with pytest.raises(
        ShapeError,
        match=r"^metrics: label 3 for 3 classes; expected labels 0 … "
        r"2, or < 0 for unlabelled\.$",
    ):
        metrics.confusion(SCORES, torch.tensor([0, 1, 3, 0]))
