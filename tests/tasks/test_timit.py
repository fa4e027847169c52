"""TIMIT as a task: where windows begin, which step of a frame is labelled, and the folded accuracy
of the core part by hand.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from srnn import tasks
from srnn.datasets import Sample, timit
from srnn.tasks.timit import CoreFolded, TimitData, window_starts

P = timit.PHONES.index


@pytest.mark.parametrize(
    ("frames", "length", "starts"),
    [
        (50, 100, [0]),
        (100, 100, [0]),
        (101, 100, [0, 1]),
        (199, 100, [0, 99]),
        (200, 100, [0, 100, 100]),  # as published: the last one twice where they fit exactly
        (250, 100, [0, 100, 150]),
        (3, 1, [0, 1, 2, 2]),
    ],
)
def test_windows_cover_a_sentence(frames, length, starts):
    assert window_starts(frames, length) == starts
    assert {f for s in starts for f in range(s, s + length) if f < frames} == set(range(frames))


def sentence(frames):
    return Sample(
        np.arange(frames, dtype=np.float32)[:, None] * [1.0, 2.0],
        np.arange(frames) % 7,
        100.0,
        "train/DR1/FCJF0/SI648",
        "FCJF0",
    )


def test_frames_are_shown_several_times_and_labelled_once():
    windows = list(TimitData(frames=4, repeat=3)._windows(sentence(6)))
    assert [w.name for w in windows] == ["train/DR1/FCJF0/SI648/0", "train/DR1/FCJF0/SI648/1"]
    for window, shown in zip(windows, ([0, 1, 2, 3], [2, 3, 4, 5]), strict=True):
        assert window.signal[:, 0].tolist() == [f for f in shown for _ in range(3)]
        assert window.label.tolist() == [x for f in shown for x in (-1, -1, f)]
        assert (window.rate, window.group) == (300.0, "FCJF0")


def test_a_short_sentence_repeats_its_last_frame_and_a_whole_one_is_as_it_is():
    (short,) = TimitData(frames=4, repeat=1)._windows(sentence(2))
    assert short.signal[:, 0].tolist() == [0, 1, 1, 1]
    assert short.label.tolist() == [0, 1, 1, 1]
    (whole,) = TimitData(frames=None, repeat=2)._windows(sentence(9))
    assert whole.signal.shape == (18, 2)
    assert (replace(TimitData(), frames=None).shape.steps, TimitData().shape.steps) == (None, 500)


# ── the folded accuracy ───────────────────────────────────────────────────────────────────────────

CORE, OTHER = "MDAB0", "FAKS0"


def frame(**shares):
    """Log-probabilities over 61 phones; what is left goes to q, which counts for nothing."""
    p = torch.full((61,), 1e-9)
    for phone, share in shares.items():
        p[P(phone)] = share
    p[P("q")] = 1.0 - sum(shares.values())
    return p.log()


def test_scores_of_phones_that_fall_together_add_up():
    """ao and aa are one class, ih and ix another, closures and h# are silence: by single phones
    each of the first three would be judged otherwise.
    """
    scores = torch.stack(
        [
            frame(aa=0.3, ao=0.3, iy=0.4),  # aa: 0.6, right, though iy is the likeliest phone
            frame(ih=0.2, ix=0.25, ao=0.3),  # ih: 0.45, wrong, though ao is the likeliest phone
            frame(pcl=0.2, tcl=0.2, iy=0.3),  # silence: 0.4, right for h#
            frame(iy=0.1),  # q has 0.9, and is no class: iy, right
            frame(iy=0.9),  # the label is q: does not count
            frame(iy=0.9),  # unlabelled: does not count
        ]
    )[None]
    labels = torch.tensor([[P("aa"), P("ao"), P("h#"), P("iy"), P("q"), -1]])
    names = [f"test/DR1/{CORE}/SI1039/0"]
    assert CoreFolded()([scores], [labels], [torch.tensor([6])], names) == {
        "accuracy_core_39": 3 / 4,
        "core_frames": 4,
    }


def test_only_core_speakers_count_and_names_follow_the_batches():
    right, wrong = frame(iy=0.9)[None], frame(aa=0.9)[None]
    label = torch.tensor([[P("iy")]] * 2)
    first, second = torch.stack([right, wrong]), torch.stack([wrong, right])
    names = [f"test/DR1/{s}/SI1/{k}" for k, s in enumerate((CORE, OTHER, OTHER, CORE.lower()))]
    lengths = [torch.ones(2, dtype=torch.int64)] * 2
    assert CoreFolded()([first, second], [label, label], lengths, names) == {
        "accuracy_core_39": 1.0,
        "core_frames": 2,
    }
    assert CoreFolded()([first, second], [label, label], lengths, names[1:] + names[:1]) == {
        "accuracy_core_39": 1 / 2,
        "core_frames": 2,
    }
    assert (
        CoreFolded()([first], [label], lengths[:1], [f"test/DR1/{OTHER}/SI1/{k}" for k in range(2)])
        == {}
    )


def test_the_task_reports_it():
    task = tasks.load("timit")
    assert task.also == CoreFolded()
    assert len(task.classes) == 61
    assert (len(timit.CORE), len(set(timit.FOLD) - {-1}), sum(f == -1 for f in timit.FOLD)) == (
        24,
        39,
        1,
    )
    assert task.step_seconds == pytest.approx(0.002)
    assert math.isclose(task.shape.rate, 500.0)
