"""The cochlea on a stream: the same spikes however the sound is cut, and how far they are from
those of the whole recording.
"""

from __future__ import annotations

import numpy as np
import pytest

from srnn._check import ConfigError, DataError
from srnn.encode import Cochlea, cochlea_stream, nerve

RATE = 16000


def sound(seconds: float = 0.8, rate: int = RATE) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    tones = sum(
        np.sin(2 * np.pi * f * t) * (1 + np.sin(2 * np.pi * m * t))
        for f, m in ((300, 3), (900, 5), (2500, 2))
    )
    return 0.05 * tones + 0.002 * np.random.default_rng(0).standard_normal(len(t))


def heard(stream, x: np.ndarray, cuts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    pairs = [*(stream.push(p) for p in np.split(x, cuts)), stream.flush()]
    return tuple(np.concatenate([p[k] for p in pairs]) for k in (0, 1))


@pytest.mark.parametrize(("rate", "compiled"), [(16000, True), (8000, True), (16000, False)])
def test_random_cuts_give_the_same_spikes(rate, compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(nerve, "library", lambda: None)
    encoder = Cochlea(20, rate=RATE)
    x = sound(0.8 if compiled else 0.25, rate)
    checked = 0
    expected = None
    for seed in range(8 if compiled else 2):
        rng = np.random.default_rng(seed)
        cuts = np.sort(rng.integers(0, len(x) + 1, seed * 2)).tolist()
        times, units = heard(encoder.streaming(rate, 3.0), x, cuts)
        expected = expected or (times, units)
        assert np.array_equal(times, expected[0])
        assert np.array_equal(units, expected[1])
        checked += 1
    assert checked == (8 if compiled else 2)
    assert len(expected[0]) > 100
    assert (np.diff(expected[0]) >= 0).all()
    assert expected[0].max() < len(x) / rate


def test_the_compiled_ears_and_numpys_hear_the_same(monkeypatch):
    x, encoder = sound(0.3), Cochlea(20)
    one = heard(encoder.streaming(RATE, 3.0), x, [1000])
    monkeypatch.setattr(nerve, "library", lambda: None)
    two = heard(encoder.streaming(RATE, 3.0), x, [3000])
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert len(one[0]) > 30


def test_state_is_explicit():
    x, encoder = sound(), Cochlea(20)
    one, other = encoder.streaming(RATE, 3.0), encoder.streaming(RATE, 3.0)
    one.push(x[:6000])
    other.state = one.state
    for a, b in ((one.push(x[6000:]), other.push(x[6000:])), (one.flush(), other.flush())):
        assert all(np.array_equal(v, w) for v, w in zip(a, b, strict=True))
    first = heard(encoder.streaming(RATE, 3.0), x, [])
    assert all(np.array_equal(v, w) for v, w in zip(heard(one, x, [99]), first, strict=True))
    assert one.lag < 0.31 * RATE


def membranes(monkeypatch, encoder: Cochlea, seconds: float) -> np.ndarray:
    """The velocities that the ears of a stream are given, (channels, steps)."""
    caught, hear = [], nerve.hear
    monkeypatch.setattr(
        nerve, "hear", lambda ear, m, *more: (caught.append(m.copy()), hear(ear, m, *more))[1]
    )
    heard(encoder.streaming(RATE, 1.0, seconds), sound(), [])
    monkeypatch.setattr(nerve, "hear", hear)
    return np.concatenate(caught, 1)


def test_blocks_are_within_two_thousandths_of_one_block(monkeypatch):
    encoder = Cochlea(20)
    blocks = membranes(monkeypatch, encoder, 0.1)
    monkeypatch.setattr(cochlea_stream, "BEFORE", 0.4)
    monkeypatch.setattr(cochlea_stream, "AFTER", 0.4)
    one = membranes(monkeypatch, encoder, 0.8)
    assert blocks.shape[1] == one.shape[1] == 0.4 * RATE
    error = np.abs(blocks - one).max(1) / np.abs(one).max(1)
    assert len(error) == 20
    assert error.max() < 2e-3


def test_spikes_are_about_those_of_the_recording(monkeypatch):
    """The same sound, neither scaled nor faded: the counts of each channel are those of the
    encoder, but for the draws.
    """
    x = sound()
    gain = cochlea_stream.gain_of(x)
    monkeypatch.setattr(
        Cochlea, "_sound", lambda self, audio, rate: (gain * np.asarray(audio), RATE)
    )
    _, units = heard(Cochlea(40).streaming(RATE, gain), x, [])
    counts = np.bincount(units, minlength=40)
    whole, redrawn = (
        np.bincount(Cochlea(40, seed=seed)(x, RATE)[1], minlength=40) for seed in (0, 1)
    )
    assert whole.sum() > 1000
    assert abs(counts.sum() - whole.sum()) < 0.03 * whole.sum()
    assert np.abs(counts - whole).sum() < 2 * np.abs(redrawn - whole).sum() + 0.02 * whole.sum()


def test_what_cannot_be_heard():
    for rate, more, text in (
        (8000, {"gain": 1.0}, "at least 10000"),
        (RATE, {"gain": 0.0}, "gain"),
        (RATE, {"gain": 1.0, "seconds": 0.001}, "block"),
    ):
        with pytest.raises(ConfigError, match=text):
            Cochlea(20).streaming(rate, **more)
    with pytest.raises(DataError):
        Cochlea(20).streaming(RATE, 1.0).push([0.1, np.nan])
