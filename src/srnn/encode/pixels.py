"""An image as a sequence: one step a pixel, at each step a window of the pixels to come.

    step i sees pixels i … i+window-1 for i < n-window, and afterwards the last `window` pixels

for an image of n pixels in raster order (sequential MNIST) or in a fixed shuffled order (permuted MNIST). This is how the published networks of
Yin, Corradi & Bohté 2021 read MNIST: window 8 for the sequential form, window 4 for the permuted one, whose training code also replaces a grey
value by 1 where it is above 0.1 and by 0 elsewhere. Their permutation is not published; here any order is drawn from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import DataError, ShapeError, check_range, check_sizes


@dataclass(frozen=True)
class Pixels:
    """Windows of `window` pixels, one window a pixel.

    permutation: the seed of the order of pixels, `np.random.default_rng(seed).permutation(n)`; None = as they come, raster order.
    binarise: values above it become 1, others 0; None = as they are.
    """

    window: int = 8
    permutation: int | None = None
    binarise: float | None = None

    def __post_init__(self) -> None:
        """Raise `ConfigError` for settings that cannot work."""
        check_sizes("Pixels", self.window)
        if self.permutation is not None:
            check_range("Pixels(permutation)", self.permutation, 0)
        if self.binarise is not None:
            check_range("Pixels(binarise)", self.binarise)

    def __call__(self, values: ArrayLike) -> NDArray[np.float32]:
        """Encode: (n,) or (n, 1) pixels, n ≥ window -> (n, window), the step's own pixel first.

        Raises `ShapeError` for another shape, `DataError` for a value that is not finite.
        """
        x = np.asarray(values, dtype=np.float32)
        if x.ndim not in (1, 2) or x.size != len(x) or len(x) < self.window:
            raise ShapeError(f"Pixels({self.window}): values have shape {x.shape}; expected (n,) or (n, 1) with n ≥ {self.window}.")
        x, n = x.ravel(), len(x)
        if not np.isfinite(x).all():
            raise DataError(f"Pixels: pixel {int(np.argmin(np.isfinite(x)))} is not a finite number.")
        if self.permutation is not None:
            x = x[_order(self.permutation, n)]
        if self.binarise is not None:
            x = (x > self.binarise).astype(np.float32)
        seen = np.empty((n, self.window), np.float32)
        seen[: n - self.window] = np.ndarray((n - self.window, self.window), np.float32, x, strides=(4, 4))  # row i is x[i : i + window]
        seen[n - self.window :] = x[n - self.window :]
        return seen


@lru_cache(maxsize=8)
def _order(seed: int, pixels: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(pixels)
