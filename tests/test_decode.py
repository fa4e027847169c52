"""Decoders, by numbers worked out by hand.

That they see each recording alone is in `test_lengths.py`.
"""

from __future__ import annotations

import math

import pytest
import torch

from srnn import decode
from srnn._check import ConfigError, ShapeError

L3, L7 = math.log(3), math.log(7)
U = torch.tensor(
    [
        [[0.0, 0.0], [L3, 0.0], [0.0, L7], [5.0, -2.0]],
        [[1.0, 2.0], [3.0, -4.0], [9.0, 9.0], [9.0, 9.0]],
    ],
    dtype=torch.float64,
)
"""softmax of the first recording: (1/2, 1/2), (3/4, 1/4), (1/8, 7/8), …"""
LENGTHS = torch.tensor([3, 2])
S = torch.tensor([[[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]])


def test_softmax_sum():
    scores = decode.softmax_sum(U, LENGTHS)
    assert scores[0].tolist() == pytest.approx([1 / 2 + 3 / 4 + 1 / 8, 1 / 2 + 1 / 4 + 7 / 8])
    assert decode.softmax_sum(U, LENGTHS, skip=1)[0].tolist() == pytest.approx(
        [3 / 4 + 1 / 8, 1 / 4 + 7 / 8]
    )
    e = math.exp
    assert scores[1].tolist() == pytest.approx(
        [1 / (1 + e(1)) + 1 / (1 + e(-7)), 1 / (1 + e(-1)) + 1 / (1 + e(7))]
    )


@pytest.mark.parametrize(
    ("skip", "lengths", "steps"),
    [
        (0, None, [4, 4]),
        (3, None, [1, 1]),
        (4, None, [0, 0]),
        (9, None, [0, 0]),
        (2, [3, 1], [1, 0]),
    ],
)
def test_softmax_sum_sums_to_the_number_of_steps(skip, lengths, steps):
    scores = decode.softmax_sum(U, None if lengths is None else torch.tensor(lengths), skip)
    assert scores.sum(-1).tolist() == pytest.approx(steps)


def test_softmax_sum_bears_large_potentials():
    assert decode.softmax_sum(torch.tensor([[[1e30, 0.0], [-1e30, 0.0]]])).tolist() == [[1.0, 1.0]]


def test_mean():
    assert decode.mean(U, LENGTHS)[0].tolist() == pytest.approx([L3 / 3, L7 / 3])
    assert decode.mean(U, LENGTHS)[1].tolist() == [2.0, -1.0]
    assert decode.mean(U, LENGTHS, skip=1)[1].tolist() == [3.0, -4.0]
    assert decode.mean(U, LENGTHS, skip=2)[1].tolist() == [0.0, 0.0]
    assert decode.mean(U)[1].tolist() == [5.5, 4.0]


def test_last():
    assert decode.last(U).tolist() == [[5.0, -2.0], [9.0, 9.0]]
    assert decode.last(U, LENGTHS).tolist() == [[0.0, L7], [3.0, -4.0]]
    assert decode.last(U, torch.tensor([3, 0])).tolist() == [[0.0, L7], [0.0, 0.0]]


def test_max_over_time():
    assert decode.max_over_time(U).tolist() == [[5.0, L7], [9.0, 9.0]]
    assert decode.max_over_time(U, LENGTHS).tolist() == [[L3, L7], [3.0, 2.0]]
    assert decode.max_over_time(U, LENGTHS, skip=1)[1].tolist() == [3.0, -4.0]
    # a mask of zeros would give 0
    assert decode.max_over_time(-U.abs(), LENGTHS).tolist() == [[0.0, 0.0], [-1.0, -2.0]]
    assert decode.max_over_time(U, torch.tensor([0, 2])).tolist() == [[0.0, 0.0], [3.0, 2.0]]


def test_spike_count():
    assert decode.spike_count(S).tolist() == [[2, 3]]
    assert decode.spike_count(S, torch.tensor([3])).tolist() == [[1, 3]]
    assert decode.spike_count(S, torch.tensor([3]), skip=1).tolist() == [[1, 2]]


def test_per_step():
    logs = decode.per_step(U, LENGTHS)
    assert logs.shape == U.shape
    assert logs[0, :3].exp().flatten().tolist() == pytest.approx(
        [1 / 2, 1 / 2, 3 / 4, 1 / 4, 1 / 8, 7 / 8]
    )
    assert not logs[0, 3:].any()
    assert not logs[1, 2:].any()
    assert decode.per_step(U).exp().sum(-1).flatten().tolist() == pytest.approx([1.0] * 8)


def test_the_mask():
    assert decode.valid_mask(U, LENGTHS).tolist() == [
        [True, True, True, False],
        [True, True, False, False],
    ]
    assert decode.valid_mask(U, LENGTHS, 2).tolist() == [[False, False, True, False], [False] * 4]
    assert decode.valid_mask(U, skip=3).tolist() == [[False, False, False, True]] * 2


@pytest.mark.parametrize(
    "f",
    [
        decode.softmax_sum,
        decode.mean,
        decode.last,
        decode.max_over_time,
        decode.spike_count,
        decode.per_step,
    ],
)
def test_input_that_does_not_fit(f):
    with pytest.raises(
        ShapeError,
        match=r"^decode: got shape \(4, 2\); expected \(B, T, K\) = "
        r"recordings, time steps, classes\.$",
    ):
        f(U[0])
    with pytest.raises(ShapeError, match=r"^decode: lengths holds 5; expected 0 ≤ L ≤ T=4\."):
        f(U, torch.tensor([5, 1]))
    with pytest.raises(ShapeError, match=r"^decode: lengths has shape \(1,\); expected \(B=2,\)"):
        f(U, torch.tensor([3]))
    with pytest.raises(
        ShapeError,
        match=r"^decode: lengths has dtype torch.float32; expected "
        r"integers",
    ):
        f(U, torch.tensor([3.0, 1.0]))


@pytest.mark.parametrize(
    "f", [decode.softmax_sum, decode.mean, decode.max_over_time, decode.spike_count]
)
def test_a_negative_skip(f):
    with pytest.raises(
        ConfigError,
        match=r"^decode: skip is -1; expected the number of first "
        r"steps to leave out, at least 0\.$",
    ):
        f(U, skip=-1)
