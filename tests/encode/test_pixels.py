"""Pixel windows: by pencil, the published windows of MNIST, the order of pixels, speed is left to a
benchmark, bad input.
"""

from __future__ import annotations

import numpy as np
import pytest

from srnn._check import ConfigError, DataError, ShapeError
from srnn.encode.pixels import Pixels


def test_windows_by_pencil() -> None:
    """n = 6, window 3: steps 0 … 2 slide, steps 3 … 5 all see the last three pixels."""
    seen = Pixels(3)(np.arange(6.0))
    assert seen.dtype == np.float32
    assert seen.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [3, 4, 5], [3, 4, 5]]


@pytest.mark.parametrize("window", [1, 4, 8, 784])
@pytest.mark.parametrize("permutation", [None, 0, 5])
def test_published_rule(window: int, permutation: int | None) -> None:
    """Step i sees pixels i … i+k-1 for i < 784-k, else the last k, of the image in its order."""
    x = np.random.default_rng(0).random(784)
    seen = Pixels(window, permutation)(x)
    order = (
        np.arange(784)
        if permutation is None
        else np.random.default_rng(permutation).permutation(784)
    )
    y = x[order].astype(np.float32)
    wanted = [y[i : i + window] if i < 784 - window else y[-window:] for i in range(784)]
    assert seen.shape == (784, window)
    assert np.array_equal(seen, np.array(wanted))
    assert seen.flags.c_contiguous
    assert np.array_equal(seen, Pixels(window, permutation)(x[:, None]))


def test_one_order_for_all_images() -> None:
    a, b = np.random.default_rng(0).random((2, 784))
    pair = Pixels(1, 3)(a)[:, 0] + Pixels(1, 3)(b)[:, 0]
    assert np.allclose(pair, Pixels(1, 3)(a + b)[:, 0])
    assert np.array_equal(np.sort(Pixels(1, 3)(a)[:, 0]), np.sort(a.astype(np.float32)))
    assert not np.array_equal(Pixels(1, 3)(a), Pixels(1, 4)(a))


def test_binarise() -> None:
    x = np.array([0.0, 0.1, 0.11, 1.0], np.float32)
    assert Pixels(1, binarise=0.1)(x)[:, 0].tolist() == [0, float(np.float32(0.1) > 0.1), 1, 1]
    assert Pixels(1, binarise=0.5)(x)[:, 0].tolist() == [0, 0, 0, 1]


def test_result_does_not_share_memory() -> None:
    x = np.zeros(10, np.float32)
    seen = Pixels(2)(x)
    seen += 1
    assert not x.any()


def test_bad_input() -> None:
    for wrong in ({"window": 0}, {"window": 1.5}, {"permutation": -1}, {"binarise": float("nan")}):
        with pytest.raises(ConfigError, match="Pixels"):
            Pixels(**wrong)  # type: ignore[arg-type]
    for x in (np.zeros(7), np.zeros((28, 28)), np.zeros((28, 28, 1)), np.zeros(0), np.array(1.0)):
        with pytest.raises(ShapeError, match=r"expected \(n,\) or \(n, 1\) with n ≥ 8"):
            Pixels(8)(x)
    with pytest.raises(DataError, match="pixel 5 is not a finite"):
        Pixels(8)(np.where(np.arange(20) == 5, np.nan, 0.0))
