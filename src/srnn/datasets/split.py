"""Carve a part from a data set so that no record, subject or speaker is on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from srnn._check import ConfigError, check_range
from srnn.datasets.sample import Sample


def split_groups(samples: Sequence[Sample], fraction: float, seed: int = 0) -> tuple[list[Sample], list[Sample]]:
    """Split into (rest, part), part holding about `fraction` (0 < fraction < 1) of the samples, each side in the given order.

    Samples of one group stay together; a sample without a group is its own. Groups are taken in an order drawn from `seed` (and from
    nothing else: not the order of the samples) as long as each brings the part closer to `fraction` of all samples.
    Raises `ConfigError` for a fraction outside (0, 1) and where either side would be empty.
    """
    check_range("split_groups(fraction)", fraction, 0.0, 1.0, open_low=True)
    keys = [(bool(s.group), s.group or s.name) for s in samples]
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
            f"{'the part' if taken == 0 else 'the rest'} empty; expected some on both sides. Choose another fraction, or give more groups."
        )
    rest = [s for s, key in zip(samples, keys, strict=True) if key not in chosen]
    part = [s for s, key in zip(samples, keys, strict=True) if key in chosen]
    return rest, part
