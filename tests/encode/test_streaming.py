"""Every streaming encoder, fed in random pieces, gives what the encoder gives for the whole
recording, to the bit.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from srnn._check import ConfigError, DataError, ShapeError
from srnn.datasets import Sample, Spikes
from srnn.encode import (
    Bins,
    Filterbank,
    LevelCrossing,
    LogMel,
    Mfcc,
    Pixels,
    Poisson,
    Population,
    normalise,
)
from srnn.encode.level_crossing import NormaliseStream
from srnn.encode.log_mel import YIN_2021
from srnn.encode.streaming import Derivatives, with_derivatives
from srnn.tasks import encoders
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

RATE = 8000.0
CUTS = 12
"""Ways each recording is cut."""


def speech(n: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    return 0.2 * np.sin(np.arange(n) ** 1.3 / 40) * rng.random(n) + 0.01 * rng.standard_normal(n)


def walk(n: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, 2)).cumsum(0)


def grey(n: int) -> np.ndarray:
    return np.random.default_rng(n).random((n, 1)).astype(np.float32)


def generator() -> np.random.Generator:
    return np.random.default_rng(7)


SOUND, SIGNAL, GREY = (0, 100, 240, 1000, 3000), (1, 40, 700), (8, 9, 60)
CASES = {
    "level crossing": (walk, SIGNAL, LevelCrossing(0.3), lambda e: e.streaming(2)),
    "level crossing, published": (
        walk,
        SIGNAL,
        LevelCrossing(0.3, published=True),
        lambda e: e.streaming(2),
    ),
    "z-scores of all": (walk, SIGNAL, normalise, lambda e: NormaliseStream(2, 700)),
    "log-mel": (speech, SOUND, LogMel(), lambda e: e.streaming(RATE)),
    "log-mel, derivatives": (speech, SOUND, LogMel(deltas=2), lambda e: e.streaming(RATE)),
    "log-mel, hop beyond window": (
        speech,
        SOUND,
        LogMel(bands=20, hop=0.045, high=None, deltas=1),
        lambda e: e.streaming(RATE),
    ),
    "cepstra": (speech, SOUND, Mfcc(), lambda e: e.streaming(RATE)),
    "cepstra alone": (speech, SOUND, Mfcc(deltas=0, energy=False), lambda e: e.streaming(RATE)),
    "filterbank": (speech, SOUND, Filterbank(40, None), lambda e: e.streaming(RATE)),
    "filterbank, told 16 kHz": (
        speech,
        (0, 399, 400, 3000),
        Filterbank(),
        lambda e: e.streaming(RATE),
    ),
    "pixels": (grey, GREY, Pixels(8), lambda e: e.streaming()),
    "pixels, one": (grey, GREY, Pixels(1, None, 0.5), lambda e: e.streaming()),
    "population": (grey, GREY, Population(10, spikes="deterministic"), lambda e: e.streaming(1)),
    "population, drawn": (
        grey,
        GREY,
        lambda x: Population(10)(x, generator()),
        lambda e: Population(10).streaming(1, generator()),
    ),
    "rate": (
        grey,
        GREY,
        lambda x: Poisson()(x, generator()),
        lambda e: Poisson().streaming(1, generator()),
    ),
}


def cut(x: np.ndarray, seed: int) -> list[np.ndarray]:
    """Cut at random places; the first ways are all at once, one by one, and with empty pieces."""
    rng = np.random.default_rng((seed, len(x)))
    if seed == 0:
        return [x]
    if seed == 1 and len(x) < 500:
        return list(np.split(x, len(x))) if len(x) else []
    return np.split(x, np.sort(rng.integers(0, len(x) + 1, rng.integers(1, 12))))


def whole(encoder, x: np.ndarray, sound: bool) -> np.ndarray | None:
    try:
        return encoder(x, RATE) if sound else encoder(x)
    except ShapeError:  # less than one window
        return None


def test_every_encoder_that_a_task_may_have_is_here():
    kinds = {type(e).__name__ for _, _, e, _ in CASES.values()} | {"Bins", "Population", "Poisson"}
    from srnn import encode

    # the cochlea has a test of its own
    public = {name for name in dir(encode) if name[0].isupper()} - {"Augment", "Cochlea"}
    assert public <= kinds, public - kinds


@pytest.mark.parametrize("name", CASES)
def test_random_cuts_give_the_bits_of_the_whole(name):
    signal, sizes, encoder, begin = CASES[name]
    checked = 0
    for n in sizes:
        x = signal(n)
        expected = whole(encoder, x, signal is speech)
        for seed in range(CUTS):
            stream = begin(encoder)
            pieces = cut(x, seed)
            got = np.concatenate([*(stream.push(p) for p in pieces), stream.flush()])
            if expected is None:
                assert len(got) == 0
            else:
                assert got.shape == expected.shape
                assert np.array_equal(got, expected), np.abs(got - expected).max()
            checked += 1
    assert checked == len(sizes) * CUTS


@pytest.mark.parametrize("name", CASES)
def test_state_is_explicit(name):
    """A stream that gets the state of another goes on as it does; after a flush it begins anew."""
    signal, sizes, encoder, begin = CASES[name]
    x = signal(sizes[-1])
    one = begin(encoder)
    first = one.push(x[: len(x) // 3])
    other, kept = begin(encoder), copy.deepcopy(one.state)
    rest = np.concatenate([one.push(x[len(x) // 3 :]), one.flush()])
    other.state = kept
    assert np.array_equal(rest, np.concatenate([other.push(x[len(x) // 3 :]), other.flush()]))
    assert len(first) + len(rest) > 0
    assert one.lag >= 0
    if "drawn" not in name and name != "rate":
        again = np.concatenate([one.push(x), one.flush()])
        assert np.array_equal(again, np.concatenate([first, rest]))


@pytest.mark.parametrize("form", ["plain", "yin", "sparch"])
def test_spikes_in_random_pieces_give_the_bins_of_the_whole(form):
    checked = 0
    for counts in (False, True):
        if form == "yin" and counts:
            continue
        bins = Bins(0.004, 50, 30, counts, form)
        for seed in range(CUTS):
            rng = np.random.default_rng(seed)
            times = np.sort(np.round(rng.random(300) * 0.25, 3))  # many at the edges of the bins
            units = rng.integers(0, 30, 300)
            stream = bins.streaming()
            pieces = zip(cut(times, seed), cut(units, seed), strict=True)
            got = np.concatenate([*(stream.push(t, u) for t, u in pieces), stream.flush()])
            assert got.shape == (50, 30)
            assert np.array_equal(got, bins(times, units))
            assert stream.state["late"] == 0
            checked += 1
    assert checked == CUTS * (1 if form == "yin" else 2)


def test_spikes_that_come_too_late_are_counted_and_time_may_go_on_without_any():
    stream = Bins(0.01, 10, 3).streaming()
    assert len(stream.push([], [], until=0.035)) == 3
    assert len(stream.push([0.02, 0.036], [1, 2])) == 0
    assert stream.state["late"] == 1
    rest = stream.flush()
    assert rest.shape == (7, 3)
    assert rest.sum() == rest[0, 2] == 1
    assert stream.state["given"] == 0


def test_derivatives_are_those_of_librosa_in_pieces_too():
    librosa = pytest.importorskip("librosa")
    x = np.random.default_rng(0).standard_normal((40, 5))
    made = with_derivatives(x, 2)
    for k in (1, 2):
        assert np.allclose(
            made[:, 5 * k : 5 * k + 5].T, librosa.feature.delta(x.T, order=k), atol=1e-12
        )
    stream = Derivatives(2, 5)
    pieces = [stream.push(p) for p in np.split(x, [3, 8, 9, 30])]
    assert [len(p) for p in pieces] == [0, 0, 5, 21, 10]
    assert np.array_equal(np.concatenate([*pieces, stream.flush()]), made)


def test_what_needs_the_whole_recording_says_so():
    for encoder, what in (
        (YIN_2021, "pad_to"),
        (LogMel(normalise=True), "normalise"),
        (LogMel(published=True), "published"),
    ):
        with pytest.raises(ConfigError, match=what):
            encoder.streaming(RATE)
    with pytest.raises(ConfigError, match="permutation"):
        Pixels(1, 3).streaming()
    with pytest.raises(ConfigError, match="generator"):
        Population().streaming(1)


def test_a_bad_piece_changes_nothing():
    for stream, bad, error in (
        (LogMel().streaming(RATE), [0.1, np.nan], DataError),
        (Mfcc().streaming(RATE), np.zeros((3, 2)), ShapeError),
        (Filterbank().streaming(RATE), np.zeros(3, np.int16), DataError),
        (LevelCrossing().streaming(2), [[1.0, np.inf]], DataError),
        (NormaliseStream(2, 4), [[1.0]], ShapeError),
        (Bins(0.1, 3, 3).streaming(), None, DataError),
    ):
        before = copy.deepcopy(stream.state)
        with pytest.raises(error):
            stream.push(bad) if bad is not None else stream.push([-1.0], [0])
        assert str(stream.state) == str(before)


# ── as tasks have them ────────────────────────────────────────────────────────────────────────────


def sample(x: np.ndarray, rate: float = RATE) -> Sample:
    return Sample(x.astype(np.float32), 0, rate, "a")


TASKS = {
    "LevelCrossings": (LevelCrossings(), walk(400), Shape(400, 2, 250.0), {}),
    "LevelCrossings, published": (
        LevelCrossings(0.3, True),
        walk(400),
        Shape(None, 2, 250.0),
        {"first": 400},
    ),
    "PixelWindows": (PixelWindows(8, None, 0.1), grey(80), Shape(80, 1, 1.0), {}),
    "PixelPopulation": (PixelPopulation(10), grey(80), Shape(80, 1, 1.0), {"name": "a"}),
    "LogMelFrames": (LogMelFrames(deltas=1), speech(3000)[:, None], Shape(None, 1, RATE), {}),
    "LogMelFrames, drawn": (
        LogMelFrames(poisson=True),
        speech(3000)[:, None],
        Shape(None, 1, RATE),
        {"name": "a"},
    ),
    "FilterbankFrames": (FilterbankFrames(), speech(3000)[:, None], Shape(None, 1, RATE), {}),
    "Direct": (Direct((1.0, 2.0), (3.0, 4.0)), walk(50), Shape(None, 2, 100.0), {}),
    "Direct, as it is": (Direct(), walk(50), Shape(None, 2, 100.0), {}),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_tasks_encoder_on_a_stream(name):
    encode, x, raw, more = TASKS[name]
    expected = encode(sample(x, raw.rate)).signal
    for seed in range(CUTS):
        stream = encode.streaming(raw, **more)
        got = np.concatenate(
            [*(stream.push(p) for p in cut(x.astype(np.float32), seed)), stream.flush()]
        )
        assert np.array_equal(got, expected)


def test_every_encoder_of_a_task_has_been_here():
    from typing import get_args

    assert {k.__name__ for k in get_args(encoders.Encoders)} == {
        type(t[0]).__name__ for t in TASKS.values()
    } | {"EventBins"}


def test_bins_of_a_task_recording_after_recording():
    encode = EventBins(0.01, 20, counts=True, merge=2)
    rng = np.random.default_rng(0)
    times, units = np.sort(rng.random(200) * 0.2), rng.integers(0, 10, 200)
    expected = encode(Spikes(times, units, 10, 0, "a")).signal
    stream = encode.streaming(Shape(None, 10, 1.0, events=True))
    for seed in range(CUTS):
        rows = np.column_stack([times, units])
        got = np.concatenate([*(stream.push(p) for p in cut(rows, seed)), stream.flush()])
        assert np.array_equal(got, expected)


def test_level_crossings_of_a_stream_without_a_length_need_to_know_the_scale():
    with pytest.raises(ConfigError, match="first samples"):
        LevelCrossings().streaming(Shape(None, 2, 250.0))
    events = replace(Shape(None, 4, 250.0), events=True)
    assert np.array_equal(LevelCrossings().streaming(events).push(np.ones((3, 4))), np.ones((3, 4)))
