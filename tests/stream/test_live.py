"""What reads a live source: lines, binary samples, gaps, queues, pace, percentiles, and how samples
become recordings.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from srnn._check import DataError
from srnn.stream.buffer import Bounded, Pace, Percentiles
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
    pieces = repair(rows)
    made = np.concatenate([p.samples for p in pieces])[:, 0].tolist()
    assert len(made) == samples
    assert (repair.late, repair.missing) == (3, 2 + 495)
    assert sum(p.reset for p in pieces) == resets
    assert made[:2] + made[-1:] == [1, 2, 4]
    assert made[2:4] == {"hold": [2, 2], "zero": [0, 0]}.get(policy, [3, 4])


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
    time.sleep(0.1)
    assert done == [0, 1]
    assert [queue.get() for _ in range(6)] == list(range(6))
    thread.join(5)
    assert queue.dropped == 0
    assert queue.put(9, 99)  # one item at least, however large
    thread = threading.Thread(target=lambda: done.append(queue.put(1, 1)))
    thread.start()
    queue.close()
    thread.join(5)
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
