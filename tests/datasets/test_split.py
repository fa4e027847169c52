"""split_groups: nobody on both sides, deterministic, close to the fraction, never empty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from srnn._check import ConfigError
from srnn.datasets.sample import Entry, Recordings, Sample
from srnn.datasets.split import leave_out, split_groups, split_stratified


def _samples(groups: list[str]) -> list[Sample]:
    return [Sample(np.zeros((2, 1), np.float32), 0, 1.0, f"s{i}", g) for i, g in enumerate(groups)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), min_size=2, max_size=40),
    st.floats(0.1, 0.9),
    st.integers(0, 5),
)
def test_groups_stay_together(groups: list[str], fraction: float, seed: int) -> None:
    samples = _samples(groups)
    if len(set(groups)) < 2 and groups[0]:
        with pytest.raises(ConfigError, match="empty"):
            split_groups(samples, fraction, seed)
        return
    try:
        rest, part = split_groups(samples, fraction, seed)
    except ConfigError:  # no choice of these groups comes close; its message is tested below
        assume(False)
    assert rest
    assert part
    assert sorted(s.name for s in rest + part) == sorted(s.name for s in samples)
    assert not {s.group for s in rest if s.group} & {s.group for s in part if s.group}
    order = [s.name for s in samples]
    for side in (rest, part):
        assert [s.name for s in side] == sorted((s.name for s in side), key=order.index)


def test_deterministic_and_independent_of_order() -> None:
    samples = _samples([f"g{i // 3}" for i in range(60)])
    rest, part = split_groups(samples, 0.2, seed=4)
    assert (len(rest), len(part)) == (48, 12)
    assert split_groups(samples, 0.2, seed=4) == (rest, part)
    assert {s.name for s in split_groups(samples[::-1], 0.2, seed=4)[1]} == {s.name for s in part}
    others = [{s.name for s in split_groups(samples, 0.2, seed=s)[1]} for s in range(5)]
    assert len({frozenset(o) for o in others}) == 5


def test_ungrouped_samples_split_one_by_one() -> None:
    rest, part = split_groups(_samples([""] * 618), 0.1)
    assert (len(rest), len(part)) == (556, 62)


def test_a_group_named_like_a_sample_is_not_that_sample() -> None:
    samples = _samples(["", "s0", "s0", ""])
    rest, part = split_groups(samples, 0.5, seed=0)
    assert {len(rest), len(part)} == {2}


@pytest.mark.parametrize(
    ("groups", "fraction", "side"),
    [
        (["a"] * 4, 0.3, "part"),
        (["a"] * 4, 0.9, "rest"),
        ([""] * 3, 0.1, "part"),
        ([], 0.5, "part"),
    ],
)
def test_empty_side_is_an_error(groups: list[str], fraction: float, side: str) -> None:
    with pytest.raises(ConfigError, match=f"leaves the {side} empty"):
        split_groups(_samples(groups), fraction)


@pytest.mark.parametrize("fraction", [0.0, 1.5, -0.1, float("nan")])
def test_bad_fraction(fraction: float) -> None:
    with pytest.raises(ConfigError, match=r"split_groups\(fraction\) is"):
        split_groups(_samples(["a", "b"]), fraction)


def lazy(n_classes=4, each=10):
    """Recordings that must not be read for a split."""

    def refuse(entry):
        raise AssertionError(f"{entry.name} was read")

    entries = [
        Entry(f"{k}_{i}", k, f"speaker{i % 5}") for k in range(n_classes) for i in range(each + k)
    ]
    return Recordings(entries, refuse)


def test_stratified_parts_have_equal_shares_of_each_class():
    recordings = lazy()
    rest, part = split_stratified(recordings, 0.25, 3)
    counts = [[sum(e.label == k for e in side.entries) for k in range(4)] for side in (rest, part)]
    assert [sum(pair) for pair in zip(*counts, strict=True)] == [10, 11, 12, 13]
    assert all(
        abs(n - 0.25 * total) <= 1 for n, total in zip(counts[1], (10, 11, 12, 13), strict=True)
    )
    assert len(part) == round(0.25 * 46)
    names = {e.name for e in part.entries}
    assert not names & {e.name for e in rest.entries}
    shuffled = recordings.pick(list(range(46))[::-1])
    # of the seed alone
    assert {e.name for e in split_stratified(shuffled, 0.25, 3)[1].entries} == names
    assert {e.name for e in split_stratified(recordings, 0.25, 4)[1].entries} != names


def test_whole_speakers_without_reading():
    rest, part = split_groups(lazy(), 0.2, 0)
    assert {e.group for e in part.entries}.isdisjoint({e.group for e in rest.entries})
    assert len({e.group for e in part.entries}) == 1
    rest, part = leave_out(lazy(), {"speaker2"})
    assert {e.group for e in part.entries} == {"speaker2"}
    assert len({e.group for e in rest.entries}) == 4


def test_what_cannot_be_split():
    with pytest.raises(ConfigError, match="There is no speaker or record 'anna'"):
        leave_out(lazy(), {"anna"})
    with pytest.raises(ConfigError, match="Nothing is left to train on"):
        leave_out(lazy(), {f"speaker{k}" for k in range(5)})
    with pytest.raises(ConfigError, match="leaves a side empty"):
        split_stratified(lazy(1, 2), 0.1)
    for fraction in (0.0, 1.5):
        with pytest.raises(ConfigError):
            split_stratified(lazy(), fraction)
