"""Recordings that are read when asked for, spike trains as typed recordings: what is read, what is
kept, what is refused.
"""

from __future__ import annotations

import numpy as np
import pytest

from srnn._check import DataError
from srnn.datasets import Entry, Recordings, Sample, Spikes, joined
from srnn.datasets.sample import entries_of, pick


def counted(n: int = 6, prefix: str = "r") -> tuple[Recordings[Sample], list[str]]:
    """Recordings that write down which of them are read."""
    read: list[str] = []

    def reader(entry: Entry) -> Sample:
        read.append(entry.name)
        return Sample(
            np.full((4, 2), float(entry.at), np.float32),
            int(entry.at) % 3,
            1.0,
            entry.name,
            entry.group,
        )

    return Recordings(
        [Entry(f"{prefix}{i}", i % 3, f"g{i // 2}", i, 32) for i in range(n)], reader, "source"
    ), read


def test_nothing_is_read_before_it_is_asked_for():
    recordings, read = counted()
    picked, cut, changed = (
        recordings.pick([4, 1]),
        recordings[2:4],
        recordings.map(lambda s: Sample(s.signal + 1, s.label, 1.0, s.name)),
    )
    both = joined(picked, cut)
    assert (len(recordings), len(picked), len(cut), len(changed), len(both)) == (6, 2, 2, 6, 4)
    assert [e.name for e in both.entries] == ["r4", "r1", "r2", "r3"]
    assert read == []
    assert [s.name for s in both] == ["r4", "r1", "r2", "r3"] == read
    assert float(changed[3].signal[0, 0]) == 4.0
    assert recordings[-1].name == "r5"
    assert (picked.source, cut.source, changed.source, both.source) == (
        "source",
        "source",
        "source",
        "sourcesource",
    )


def test_recordings_are_kept_up_to_a_budget():
    # a sample is 32 + 8 bytes: two fit into 100
    for budget, reads_again in ((0, 6), (100, 4), (10**6, 0)):
        recordings, read = counted()
        kept = recordings.kept(budget)
        first = [s.signal.copy() for s in kept]
        del read[:]
        assert all(np.array_equal(a, s.signal) for a, s in zip(first, kept, strict=True))
        assert len(read) == reads_again


def test_lists_and_recordings_are_told_of_alike():
    recordings, read = counted(3)
    as_list = [recordings[i] for i in range(3)]
    del read[:]
    assert [(e.name, e.label, e.group) for e in entries_of(as_list)] == [
        (e.name, e.label, e.group) for e in entries_of(recordings)
    ]
    assert (
        [s.name for s in pick(as_list, [2, 0])]
        == [e.name for e in entries_of(pick(recordings, [2, 0]))]
        == ["r2", "r0"]
    )
    assert joined(as_list[:1], as_list[1:]) == as_list
    each_step = Sample(np.zeros((3, 1), np.float32), np.array([0, 1, -1]), 1.0, "steps")
    assert entries_of([each_step])[0].label is None
    assert read == []


def spikes(times, units, channels=3, label=0):
    return Spikes(np.asarray(times, np.float64), np.asarray(units), channels, label, "rec/1")


def test_spikes():
    made = spikes([0.0, 0.1, 0.1], [2, 0, 1])
    assert made.nbytes == 3 * 8 + 3 * 8
    assert len(spikes([], np.zeros(0, np.int64)).times) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([0.1, 0.2], [0]), "expected one unit for each"),
        (([[0.1]], [[0]]), "expected one unit for each"),
        (([0.1], [0.5]), "dtype float64"),
        (([0.2, 0.1], [0, 0]), "spike 1 is at 0.1 s"),
        (([-0.1], [0]), "spike 0 is at -0.1 s"),
        (([np.nan], [0]), "spike 0 is at nan s"),
        (([0.1, np.inf], [0, 0]), "spike 1 is at inf s"),
        (([0.1], [3]), "a spike of unit 3; expected units 0 … 2"),
        (([0.1], [-1]), "a spike of unit -1"),
        (([0.1], [0], 3, -2), "labels must be integers ≥ 0"),
        (([0.1], [0], 3, 0.5), "labels must be integers ≥ 0"),
    ],
)
def test_spikes_that_cannot_be(given, message):
    with pytest.raises(DataError, match=rf"rec/1: .*{message}"):
        spikes(*given)
