"""Encoders of tasks: what they make has the shape they say; the same recording gives the same
spikes; the wrong kind is refused.
"""

from __future__ import annotations

import numpy as np
import pytest

from srnn._check import ConfigError, DataError
from srnn.datasets import Sample, Spikes
from srnn.tasks.encoders import (
    Direct,
    EventBins,
    FilterbankFrames,
    LevelCrossings,
    LogMelFrames,
    PixelPopulation,
    PixelWindows,
    Shape,
)

GENERATOR = np.random.default_rng(0)
ECG = Sample(
    GENERATOR.standard_normal((60, 2)).astype(np.float32), np.zeros(60, np.int64), 250.0, "ecg"
)
IMAGE = Sample(GENERATOR.random((784, 1)).astype(np.float32), 3, 1.0, "image")
SOUND = Sample(
    GENERATOR.standard_normal((16000, 1)).astype(np.float32) * 0.1,
    1,
    16000.0,
    "sound",
    meta={"audio": True},
)
HEARD = Spikes(
    np.sort(GENERATOR.random(500)), GENERATOR.integers(0, 700, 500), 700, 2, "heard", "anna"
)

CASES = [
    (LevelCrossings(), ECG, Shape(60, 2, 250.0)),
    (EventBins(0.004, 250, "yin"), HEARD, Shape(None, 700, 1.0, True)),
    (EventBins(0.0141414, 100, "sparch", counts=True), HEARD, Shape(None, 700, 1.0, True)),
    (EventBins(0.01, 50, merge=5), HEARD, Shape(None, 700, 1.0, True)),
    (PixelWindows(8), IMAGE, Shape(784, 1, 1.0)),
    (PixelWindows(4, permutation=1, binarise=0.1), IMAGE, Shape(784, 1, 1.0)),
    (PixelPopulation(40), IMAGE, Shape(784, 1, 1.0)),
    (PixelPopulation(20, "deterministic", permutation=0), IMAGE, Shape(784, 1, 1.0)),
    (LogMelFrames(), SOUND, Shape(None, 1, 16000.0)),
    (
        LogMelFrames(deltas=2, high=4000.0, seconds=1.0, normalise=True, published=True),
        SOUND,
        Shape(None, 1, 16000.0),
    ),
    (LogMelFrames(poisson=True), SOUND, Shape(None, 1, 16000.0)),
    (FilterbankFrames(), SOUND, Shape(None, 1, 16000.0)),
    (Direct((0.1, 0.2), (2.0, 3.0)), ECG, Shape(60, 2, 250.0)),
]


@pytest.mark.parametrize(
    ("encoder", "recording", "raw"),
    CASES,
    ids=[f"{type(e).__name__}{k}" for k, (e, _, _) in enumerate(CASES)],
)
def test_what_is_made_has_the_shape_that_is_said(encoder, recording, raw):
    said, made = encoder.shape(raw), encoder(recording)
    assert made.signal.shape == (said.steps or len(made.signal), said.channels)
    assert (made.rate, made.events) == (pytest.approx(said.rate), said.events)
    assert (made.name, np.array_equal(made.label, recording.label), made.group) == (
        recording.name,
        True,
        recording.group,
    )
    # the same spikes whenever it is read
    assert np.array_equal(encoder(recording).signal, made.signal)
    assert float(np.abs(made.signal).sum()) > 0
    if said.events:
        assert set(np.unique(made.signal)) <= (
            {0, 1} if not getattr(encoder, "counts", False) else set(range(20))
        )


def test_the_cases_hold_every_encoder():
    assert len({type(e) for e, _, _ in CASES}) == 7


def test_the_wrong_kind_is_refused():
    refused = 0
    for encoder, recording, _ in CASES:
        other = ECG if isinstance(recording, Spikes) else HEARD
        with pytest.raises(ConfigError, match=r"Set encode=EventBins|is a signal"):
            encoder(other)
        refused += 1
    assert refused == 13
    stereo = Sample(np.zeros((16000, 2), np.float32), 0, 16000.0, "stereo")
    for encoder in (LogMelFrames(), FilterbankFrames()):
        with pytest.raises(DataError, match="stereo: 2 channels of sound"):
            encoder(stereo)
    with pytest.raises(ConfigError, match="has a label for every sample"):
        LogMelFrames()(Sample(SOUND.signal, np.zeros(16000, np.int64), 16000.0, "each"))
    with pytest.raises(ConfigError, match=r"encode.merge=3 does not divide 700"):
        EventBins(merge=3).shape(Shape(None, 700, 1.0, True))
    with pytest.raises(ConfigError, match="has 1 channels; encode has 2 means"):
        Direct((0.0, 0.0), (1.0, 1.0))(IMAGE)


def test_numbers_by_hand():
    bins = EventBins(0.1, 3)(
        Spikes(np.array([0.0, 0.05, 0.1, 0.25, 0.9]), np.array([0, 1, 0, 1, 0]), 2, 0, "few")
    )
    assert bins.signal.tolist() == [[1, 1], [1, 0], [0, 1]]
    merged = EventBins(0.1, 3, counts=True, merge=2)(
        Spikes(np.array([0.0, 0.05, 0.1]), np.array([0, 1, 0]), 2, 0, "few")
    )
    assert merged.signal.tolist() == [[2], [1], [0]]
    direct = Direct((1.0, 0.0), (2.0, 1.0))(
        Sample(np.array([[3.0, 5.0]], np.float32), 0, 1.0, "two")
    )
    assert direct.signal.tolist() == [[1.0, 5.0]]
