"""What reads a live source: lines, binary samples, gaps, queues, pace, percentiles, and how samples
become recordings.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from helpers import GENEROUS, until
from srnn._check import DataError
from srnn.stream.buffer import Bounded, Pace, Percentiles
from srnn.stream.clock import UNITS
from srnn.stream.encoding import SpikeTrains, Windows
from srnn.stream.parse import LONGEST, Binary, Lines, Repair
from srnn.tasks.encoders import EventBins, Shape

TEXT = (
    b"1,2,3\n4 5 6\r\n\n# a comment\n7;8;9\n1,,3\nnan 1 2\nhello\n1,2\n1,2,inf\n1_0,2,3\n"
    b"1e31,0,0\n\xff\x00\n10\t11\t12\n-1e-3,+2,.5"
)
GOOD = [
    [1, 2, 3],
    [4, 5, 6],
    [7, 8, 9],
    [1, np.nan, 3],
    [np.nan, 1, 2],
    [10, 11, 12],
    [-1e-3, 2, 0.5],
]


def fed(parser, data: bytes, cuts: list[int]):
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    made = [*(parser.feed(p) for p in pieces), parser.end()]
    bad = [m.malformed for m in made if m.malformed is not None]
    return np.concatenate([m.samples for m in made]), sum(m.lines for m in bad), bad


def test_lines_in_random_pieces():
    rng = np.random.default_rng(0)
    for trial in range(40):
        cuts = sorted(rng.integers(0, len(TEXT) + 1, trial % 9).tolist())
        samples, bad, malformed = fed(Lines(3), TEXT, cuts)
        assert np.array_equal(samples, GOOD, equal_nan=True)
        assert bad == 6
        assert malformed[0].first == 8
        assert malformed[0].text == "hello"


def test_a_line_without_end_is_dropped_and_the_next_one_read():
    parser = Lines(2)
    made = [
        parser.feed(b"x" * LONGEST),
        parser.feed(b"x" * 9),
        parser.feed(b"y" * LONGEST),
        parser.feed(b"z\n1,2\n"),
        parser.end(),
    ]
    assert sum(m.malformed.lines for m in made if m.malformed) == 1
    assert np.concatenate([m.samples for m in made]).tolist() == [[1, 2]]
    assert len(parser._rest) == 0


@pytest.mark.parametrize("kind", ["f32", "i16"])
def test_binary_samples_in_random_pieces(kind):
    x = (
        np.random.default_rng(0)
        .integers(-99, 99, (50, 3))
        .astype("<f4" if kind == "f32" else "<i2")
    )
    data = x.tobytes() + b"\x01"
    rng = np.random.default_rng(1)
    for _ in range(20):
        samples, bad, malformed = fed(
            Binary(3, kind, 0.5), data, sorted(rng.integers(0, len(data) + 1, 5).tolist())
        )
        assert np.array_equal(samples, x * 0.5)
        assert (bad, malformed[0].first) == (1, 51)


def test_an_infinite_binary_value_is_a_missing_one():
    x = np.array([[1, np.inf], [np.nan, 2]], "<f4")
    samples, bad, _ = fed(Binary(2, "f32", 1.0), x.tobytes(), [])
    assert np.array_equal(samples, [[1, np.nan], [np.nan, 2]], equal_nan=True)
    assert bad == 1


GAP = np.array([[1.0, 2.0], [np.nan, 3.0], [np.nan, np.nan], [5.0, 6.0]])


@pytest.mark.parametrize(
    ("policy", "samples", "resets"),
    [
        ("hold", [[1, 2], [1, 3], [1, 3], [5, 6]], 0),
        ("zero", [[1, 2], [0, 3], [0, 0], [5, 6]], 0),
        ("drop", [[1, 2], [5, 6]], 0),
        ("reset", [[1, 2], [5, 6]], 1),
    ],
)
def test_missing_values(policy, samples, resets):
    for size in (1, 2, 4):
        repair = Repair(2, policy)
        pieces = [p for k in range(0, 4, size) for p in repair(GAP[k : k + size])]
        assert np.concatenate([p.samples for p in pieces]).tolist() == samples
        assert sum(p.gap for p in pieces) == repair.missing == 2
        assert sum(p.reset for p in pieces) == resets
        assert [p.samples.tolist() for p in pieces if p.reset] == [[[5, 6]]] * resets


@pytest.mark.parametrize(
    ("policy", "samples", "resets"),
    [("hold", 6, 1), ("zero", 6, 1), ("drop", 4, 1), ("reset", 4, 2)],
)
def test_missing_samples_are_seen_by_their_times(policy, samples, resets):
    rows = np.array([[0.0, 1], [0.1, 2], [0.4, 3], [0.4, 9], [0.3, 9], [np.nan, 9], [50.0, 4]])
    repair = Repair(1, policy, timed=True, rate=10.0, longest=100)
    pieces = [*repair(rows), *repair.end()]
    made = np.concatenate([p.samples for p in pieces])[:, 0].tolist()
    assert len(made) == samples
    assert (repair.late, repair.missing) == (3, 2 + 495)
    assert sum(p.reset for p in pieces) == resets
    assert made[:2] + made[-1:] == [1, 2, 4]
    assert made[2:4] == {"hold": [2, 2], "zero": [0, 0]}.get(policy, [3, 4])


def played(times, policy="drop", **more):
    """Send samples 0, 1, 2 … with these times, one by one and together; return those that were
    used, the resets, the gaps, and (late, missing).
    """
    rows = np.column_stack([times, np.arange(len(times))])
    found = []
    for size in (1, len(rows)):
        repair = Repair(1, policy, timed=True, **{"rate": 250.0, **more})
        pieces = [p for k in range(0, len(rows), size) for p in repair(rows[k : k + size])]
        pieces += repair.end()
        used = np.concatenate([p.samples for p in pieces])[:, 0].astype(int).tolist()
        gaps = [p.gap for p in pieces if p.gap]
        found.append((used, sum(p.reset for p in pieces), sum(gaps), repair.late, repair.missing))
        assert sum(gaps) == repair.missing
    assert found[0] == found[1]
    return found[0]


NINE = [0, 0.004, 0.008, 0.012, 0.016, 0.020, 0.024, 0.028, 0.032]


def at(k, time, times=NINE):
    """The times, of which the kth is another one."""
    return [time if n == k else t for n, t in enumerate(times)]


@pytest.mark.parametrize("time", [9e9, -9e9, 1e30, -1e30, 1e308, 20.0, -20.0, 2.1])
@pytest.mark.parametrize("k", [1, 2, 4, 7])
def test_an_outlier_of_the_clock_is_one_gap_and_later_samples_go_on(time, k):
    """Alone, with its place in time left empty and with none; whatever is done about gaps."""
    rest = [n for n in range(9) if n != k]
    assert played(at(k, time)) == (rest, 0, 1, 0, 1)
    assert played([*NINE[:k], time, *NINE[k:]]) == ([n for n in range(10) if n != k], 0, 1, 0, 1)
    used, resets, *_ = played(at(k, time), "hold")
    assert (used, resets) == ([k - 1 if n == k else n for n in range(9)], 0)
    assert played(at(k, time), "reset")[:2] == (rest, 1)


def test_outliers_in_turn_and_in_a_row_stop_nothing():
    times = [t for k in range(50) for t in (0.008 * k, 0.008 * k + 0.004, 9e9 * (-1) ** k)]
    used, resets, gaps, late, _ = played([*times, 0.4])
    assert used == [n for n in range(151) if n % 3 != 2 or n == 150]
    assert (resets, gaps, late) == (0, 50, 0)
    # two that fit each other are a clock that was set, there and back again
    used, resets, _, late, _ = played([*NINE[:4], 9e9, 9e9 + 1e-2, *NINE[4:]])
    assert (used, resets, late) == (list(range(11)), 2, 0)


@pytest.mark.parametrize("back", [20.0, 3600.0, 9e9])
def test_a_clock_that_was_set_back_begins_anew_and_goes_on(back):
    assert played([*(t + back for t in NINE), *NINE]) == (list(range(18)), 1, 1, 0, 1)


def test_a_clock_that_goes_back_a_little_loses_what_it_repeats():
    times = [*np.arange(50) / 250, *np.arange(30, 60) / 250]
    used, resets, gaps, late, _ = played(times)
    assert used == [*range(50), *range(70, 80)]
    assert (resets, gaps, late) == (0, 0, 20)


def test_times_that_repeat_or_are_no_numbers_are_late():
    times = [0, 0.004, 0.004, np.nan, 0.008, np.inf, -np.inf, 0.012, 0.012, 0.016]
    assert played(times) == ([0, 1, 4, 7, 9], 0, 0, 5, 0)
    for lead in ([np.nan] * 3, [np.inf, np.nan, -np.inf]):
        assert played([*lead, *NINE])[0] == list(range(3, 12))
    # one that stands still later is late as long as it does, and no longer
    used, resets, *_ = played([*NINE, *[0.032] * 500, 2.036, 2.040])
    assert (used, resets) == ([*range(9), 509, 510], 0)


def test_a_long_gap_begins_anew_and_lone_samples_between_gaps_stay():
    assert played([0, 0.004, 50, 50.004, 50.008])[:2] == ([0, 1, 2, 3, 4], 1)
    assert played([0, 0.004, 50, 130, 190, 190.004])[:2] == ([0, 1, 2, 3, 4, 5], 3)
    assert played([0, 0.004, 2.5, 2.504], "hold")[0] == [0, *[1] * 623, 1, 2, 3]
    assert played([0, 50])[:2] == ([0, 1], 1)
    assert played([7.0])[:2] == ([0], 0)


@pytest.mark.parametrize(("unit", "factor"), [("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)])
@pytest.mark.parametrize("start", [0.0, 1.7e9])
def test_times_have_a_unit_and_a_wrong_one_is_refused_with_the_right_one(unit, factor, start):
    times = (start + np.arange(300) / 250) * factor
    assert played(times, unit=unit) == (list(range(300)), 0, 0, 0, 0)
    jitter = times + np.random.default_rng(0).uniform(-1e-3, 1e-3, 300) * factor
    assert played(jitter, unit=unit)[0] == list(range(300))
    for other in UNITS:
        if other == unit:
            continue
        for t in (times, jitter):
            repair = Repair(1, "hold", timed=True, rate=250.0, unit=other)
            made = []
            # none is run before: one by one, they are all held until the last is refused
            with pytest.raises(DataError, match=rf"probably in {unit}: --time-unit {unit}\."):
                made.extend(p for v in np.column_stack([t, t]) for p in repair(v[None]))
            assert made == []


def test_a_clock_that_never_moves_is_refused():
    rows = np.column_stack([np.full(101, 5.0), np.arange(101)])
    with pytest.raises(
        DataError, match=r"stands still: 100 samples took 0 s, at 250 .*--time-unit"
    ):
        Repair(1, "hold", timed=True, rate=250.0)(rows)
    assert len(Repair(1, "hold", timed=True, rate=250.0)(rows[:100])) == 0


def test_no_times_whatever_stop_a_clock_for_good():
    """After anything, a clock that goes on as it should is followed within three samples."""
    rng, checked = np.random.default_rng(0), 0
    wild = (0.0, 0.004, 1.0, 9e9, -9e9, np.nan, np.inf, 2.5, 1e30, 4.0)
    for _ in range(300):
        times = [0.0, 0.004, *(float(rng.choice(wild)) for _ in range(rng.integers(1, 30)))]
        begin = float(rng.choice([1e5, -1e5, 1e12]))
        after = (begin + np.arange(20) / 250) if begin < 1e12 else 1e12 + np.arange(20) * 4.0
        used = played([*times, *after], rate=250.0 if begin < 1e12 else 0.25)[0]
        assert set(range(len(times) + 3, len(times) + 20)) <= set(used)
        assert used == sorted(used)
        checked += 1
    assert checked == 300


def test_a_full_queue_blocks_or_drops_what_is_oldest():
    queue: Bounded[int] = Bounded(10, "drop-oldest")
    for k in range(6):
        queue.put(k, 4)
    assert (queue.dropped, queue.most) == (16, 8)
    assert [queue.get(), queue.get(), queue.get(timeout=0.01)] == [4, 5, None]
    queue = Bounded(10, "block")
    done: list[int] = []

    def put() -> None:
        for k in range(6):
            queue.put(k, 4)
            done.append(k)

    thread = threading.Thread(target=put)
    thread.start()
    until(lambda: len(done) == 2)
    thread.join(0.1)
    assert done == [0, 1]
    assert [queue.get() for _ in range(6)] == list(range(6))
    thread.join(GENEROUS)
    assert queue.dropped == 0
    assert queue.put(9, 99)  # one item at least, however large
    thread = threading.Thread(target=lambda: done.append(queue.put(1, 1)))
    thread.start()
    queue.close()
    thread.join(GENEROUS)
    assert done[-1] is False


def test_pace_waits_for_what_is_due():
    pace = Pace(1000.0)
    begin = time.perf_counter()
    for _ in range(5):
        pace.wait(10)
    assert time.perf_counter() - begin >= 0.05


def test_percentiles_are_within_one_percent_in_constant_memory():
    x = np.random.default_rng(0).lognormal(-11, 2, 5000)
    p = Percentiles()
    for v in x:
        p.add(float(v))
    p.add(1e9)
    found = p.summary()
    ranked = np.sort([*x, 1e9])
    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert found[name] == pytest.approx(1e6 * ranked[int(np.ceil(q * 5001)) - 1], rel=0.01)
    assert (found["max"], p.count) == (1e15, 5001)
    assert Percentiles().summary() == dict.fromkeys(("mean", "p50", "p95", "p99", "max"))


def test_windows_are_encoded_one_by_one():
    def encode(x):
        if not x.any():
            raise DataError("silence")
        return x * 2

    x = np.arange(1.0, 24.0)[:, None]
    x[5:10] = 0
    for size in (1, 4, 23):
        windows = Windows(encode, 5)
        made = [
            s for k in range(0, 23, size) for s in windows.push(x[k : k + size])
        ] + windows.flush()
        assert [len(s.steps) for s in made] == [5, 5, 5, 3]
        assert all(s.end for s in made)
        assert windows.failed == 1
        assert np.concatenate([s.steps for s in made])[-1, 0] == 46


def test_spikes_are_cut_into_recordings_by_their_time():
    encode = EventBins(0.01, 10, counts=True)
    bad = [[-1, 0], [0.01, 6], [0.01, 1.5], [1e9, 1]]
    rows = np.array([[0.005, 1], [0.055, 2], [0.156, 3], *bad, [0.316, 4], [0.02, 5], [0.326, 1]])
    for size in (1, 2, 10):
        trains = SpikeTrains(encode.streaming(Shape(None, 6, 1.0, events=True)), 0.1, 6)
        made = [
            s for k in range(0, len(rows), size) for s in trains.push(rows[k : k + size])
        ] + trains.flush()
        steps = np.concatenate([s.steps for s in made])
        assert sum(s.end for s in made) == 4
        assert steps.shape == (40, 6)
        late = [(2, 5)] if size == 10 else []  # one that comes with those before it is not late
        assert {(int(t), int(u)) for t, u in np.argwhere(steps)} == {
            (0, 1),
            (5, 2),
            (15, 3),
            (31, 4),
            (32, 1),
            *late,
        }
        assert (trains.late, trains.malformed) == (1 - len(late), 4)
