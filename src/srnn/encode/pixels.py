"""An image as a sequence: one step a pixel, at each step a window of the pixels to come.

    step i sees pixels i … i+window-1 for i < n-window, and afterwards the last `window` pixels

for an image of n pixels in raster order (sequential MNIST) or in a fixed shuffled order (permuted
MNIST). This is how the published networks of Yin, Corradi & Bohté 2021 read MNIST: window 8 for the
sequential form, window 4 for the permuted one, whose training code also replaces a grey value by 1
where it is above 0.1 and by 0 elsewhere. Their permutation is not published; here any order is
drawn from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import ConfigError, DataError, ShapeError, check_range, check_sizes
from srnn.encode import streaming


@dataclass(frozen=True)
class Pixels:
    """Windows of `window` pixels, one window a pixel.

    permutation: the seed of the order of pixels, `np.random.default_rng(seed).permutation(n)`; None
    = as they come, raster order.
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
            raise ShapeError(
                f"Pixels({self.window}): values have shape {x.shape}; expected (n,) "
                f"or (n, 1) with n ≥ {self.window}."
            )
        x, n = x.ravel(), len(x)
        if not np.isfinite(x).all():
            raise DataError(
                f"Pixels: pixel {int(np.argmin(np.isfinite(x)))} is not a finite number."
            )
        if self.permutation is not None:
            x = x[_order(self.permutation, n)]
        if self.binarise is not None:
            x = (x > self.binarise).astype(np.float32)
        seen = np.empty((n, self.window), np.float32)
        # row i is x[i : i + window]
        seen[: n - self.window] = np.ndarray(
            (n - self.window, self.window), np.float32, x, strides=(4, 4)
        )
        seen[n - self.window :] = x[n - self.window :]
        return seen

    def streaming(self) -> PixelStream:
        """Return the encoder for pixels that come in pieces.

        Raises `ConfigError` for a permutation, which needs the whole image.
        """
        if self.permutation is not None:
            raise ConfigError(
                "Pixels(permutation) needs the whole image, so that it cannot run "
                "on a stream. Encode image by image."
            )
        return PixelStream(self)


class PixelStream:
    """Windows of pixels that come in pieces: a step is known `window` - 1 pixels after its own."""

    def __init__(self, encoder: Pixels) -> None:
        self.encoder = encoder
        self.state: dict[str, Any] = {"pixels": np.empty(0, np.float32)}

    @property
    def lag(self) -> int:
        return self.encoder.window - 1

    def push(self, samples: ArrayLike) -> NDArray[np.float32]:
        x, window = (
            streaming.signal("Pixels", np.asarray(samples).reshape(-1, 1), 1)[:, 0].astype(
                np.float32
            ),
            self.encoder.window,
        )
        if self.encoder.binarise is not None:
            x = (x > self.encoder.binarise).astype(np.float32)
        x = np.concatenate([self.state["pixels"], x])
        if len(x) < window:
            self.state = {**self.state, "pixels": x}
            return np.empty((0, window), np.float32)
        self.state = {"pixels": x[len(x) - window + 1 :], "last": x[len(x) - window :]}
        return np.lib.stride_tricks.sliding_window_view(x, window).copy()

    def flush(self) -> NDArray[np.float32]:
        """Return the last steps, which all see the last window; none of less than one window."""
        window, left = self.encoder.window, self.state["pixels"]
        seen = self.state.get("last", None)
        self.state = {"pixels": np.empty(0, np.float32)}
        return (
            np.empty((0, window), np.float32)
            if seen is None
            else np.repeat(seen[None], len(left), 0)
        )


@lru_cache(maxsize=8)
def _order(seed: int, pixels: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(pixels)
