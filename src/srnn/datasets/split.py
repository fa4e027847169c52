"""Carve a part from a data set: so that no record, subject or speaker is on both sides, or with
equal shares of each class.

All functions take lists of recordings or `Recordings`, of which nothing is read, and return the
same kind.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from srnn._check import ConfigError, check_range
from srnn.datasets.sample import R, entries_of, pick


def split_groups(
    samples: Sequence[R], fraction: float, seed: int = 0
) -> tuple[Sequence[R], Sequence[R]]:
    """Split into (rest, part), part holding about `fraction` (0 < fraction < 1) of the samples,
    each side in the given order.

    Samples of one group stay together; a sample without a group is its own. Groups are taken in an
    order drawn from `seed` (and from nothing else: not the order of the samples) as long as each
    brings the part closer to `fraction` of all samples. Raises `ConfigError` for a fraction outside
    (0, 1) and where either side would be empty.
    """
    check_range("split_groups(fraction)", fraction, 0.0, 1.0, open_low=True)
    keys = [(bool(e.group), e.group or e.name) for e in entries_of(samples)]
    sizes: dict[tuple[bool, str], int] = {}
    for key in keys:
        sizes[key] = sizes.get(key, 0) + 1
    units = sorted(sizes)
    wanted, taken, chosen = fraction * len(samples), 0, set()
    for i in np.random.default_rng(seed).permutation(len(units)):
        size = sizes[units[i]]
        if abs(taken + size - wanted) < abs(taken - wanted):
            taken += size
            chosen.add(units[i])
    if not 0 < taken < len(samples):
        raise ConfigError(
            f"split_groups: {fraction:g} of {len(samples)} samples in {len(units)} groups leaves "
            f"{'the part' if taken == 0 else 'the rest'} empty; expected some on both "
            "sides. Choose another fraction, or give more groups."
        )
    return _divided(samples, [key in chosen for key in keys])


def split_stratified(
    samples: Sequence[R], fraction: float, seed: int = 0
) -> tuple[Sequence[R], Sequence[R]]:
    """Split into (rest, part), part holding about `fraction` (0 < fraction < 1) of each class, each
    side in the given order.

    Which recordings is drawn from `seed`, over the names in sorted order. Speakers may be on both
    sides: for data without any, or whose test part has the speakers of the training part. Raises
    `ConfigError` for a fraction outside (0, 1) and where either side would be empty.
    """
    check_range("split_stratified(fraction)", fraction, 0.0, 1.0, open_low=True)
    entries = entries_of(samples)
    classes: dict[int | None, list[int]] = {}
    for i in sorted(range(len(entries)), key=lambda i: entries[i].name):
        classes.setdefault(entries[i].label, []).append(i)
    generator, chosen, owed = np.random.default_rng(seed), set[int](), 0.0
    for label in sorted(classes, key=lambda label: (label is None, label or 0)):
        members = classes[label]
        owed += fraction * len(members)  # what one class rounds off, the next one makes good
        take = min(len(members), max(0, round(owed)))
        owed -= take
        chosen.update(members[i] for i in generator.permutation(len(members))[:take])
    if not 0 < len(chosen) < len(samples):
        raise ConfigError(
            f"split_stratified: {fraction:g} of {len(samples)} samples leaves a "
            "side empty. Choose another fraction."
        )
    return _divided(samples, [i in chosen for i in range(len(samples))])


def split_fold(
    samples: Sequence[R], k: int, n: int, seed: int = 0
) -> tuple[Sequence[R], Sequence[R]]:
    """Split into (rest, fold k of n), each in the given order: for n-fold cross-validation, every
    recording being in one fold.

    Recordings of one group stay together; groups are dealt in an order drawn from `seed`, largest
    shares first to the smallest fold, classes in turn. Raises `ConfigError` where there are fewer
    groups than folds.
    """
    entries = entries_of(samples)
    members: dict[tuple[bool, str], list[int]] = {}
    for i, entry in enumerate(entries):
        members.setdefault((bool(entry.group), entry.group or entry.name), []).append(i)
    if len(members) < n:
        raise ConfigError(
            f"split_fold: {len(members)} groups of recordings for {n} folds; "
            "expected at least one a fold."
        )
    units = sorted(members)
    order = [units[i] for i in np.random.default_rng(seed).permutation(len(units))]
    order.sort(key=lambda unit: (-len(members[unit]), str(entries[members[unit][0]].label)))
    sizes, chosen = [0] * n, set[int]()
    for unit in order:
        fold = min(range(n), key=lambda f: sizes[f])
        sizes[fold] += len(members[unit])
        if fold == k:
            chosen.update(members[unit])
    return _divided(samples, [i in chosen for i in range(len(samples))])


def leave_out(samples: Sequence[R], groups: Collection[str]) -> tuple[Sequence[R], Sequence[R]]:
    """Split into (rest, part), part being all recordings of these groups.

    Raises `ConfigError` for a group that is not there, or an empty rest.
    """
    entries = entries_of(samples)
    known = {e.group for e in entries if e.group}
    if missing := set(groups) - known:
        raise ConfigError(
            f"There is no speaker or record {min(missing)!r} in this data. Known: "
            f"{', '.join(sorted(known)[:20]) or '(none)'}."
        )
    inside = [e.group in groups for e in entries]
    if all(inside):
        raise ConfigError(
            "Nothing is left to train on: every recording is of a group that was left out."
        )
    return _divided(samples, inside)


def _divided(samples: Sequence[R], inside: Sequence[bool]) -> tuple[Sequence[R], Sequence[R]]:
    rest, part = ([i for i, b in enumerate(inside) if b == side] for side in (False, True))
    return pick(samples, rest), pick(samples, part)
