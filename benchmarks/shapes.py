"""The shapes that are measured: sizes, density of the input, firing rate of the hidden layers.

No row is a task, nor its training time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ANALOG_GRID = 2.0**-6
"""Analog inputs are multiples of this, so that sums of products can be exact (see
`networks.to_grid`).
"""


class BenchmarkError(Exception):
    """Something that keeps a row from being measured honestly; says what, and what was wanted."""


@dataclass(frozen=True)
class Shape:
    """One row. batch: B recordings; steps: T; inputs → hidden → classes: widths.

    density: fraction of input values that are events (1, all others 0), or None = analog, standard
    normal. rate: wanted spikes per hidden neuron and step, equal in every hidden layer of every
    spiking implementation.
    """

    name: str
    batch: int
    steps: int
    inputs: int
    hidden: tuple[int, ...]
    classes: int
    density: float | None
    rate: float = 0.10

    @property
    def band(self) -> tuple[float, float]:
        """Return the range in which every hidden layer must fire: ± half of the wanted rate, at
        most ± 5 points.
        """
        slack = min(0.5 * self.rate, 0.05)
        return self.rate - slack, self.rate + slack

    @property
    def widths(self) -> tuple[int, ...]:
        """Return the widths from the input to the last hidden layer."""
        return (self.inputs, *self.hidden)

    @property
    def neurons(self) -> int:
        """Return all neurons, read-out included."""
        return sum(self.hidden) + self.classes

    def sizes(self) -> str:
        """Return the sizes in one line."""
        return f"{self.batch}, {self.steps}, {' → '.join(map(str, (*self.widths, self.classes)))}"

    def input_kind(self) -> str:
        """Say what the input is."""
        return "analog" if self.density is None else f"{self.density:.0%} events"

    def data(self, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return input (B, T, C) and labels (B,); the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        size = (self.batch, self.steps, self.inputs)
        if self.density is None:
            x = (
                torch.randn(size, generator=generator).clamp(-4, 4) / ANALOG_GRID
            ).round() * ANALOG_GRID
        else:
            x = (torch.rand(size, generator=generator) < self.density).float()
        return x, torch.randint(self.classes, (self.batch,), generator=generator)


SHAPES = (
    Shape("ECG", 64, 1301, 4, (36, 36), 6, 0.08),
    Shape("SHD", 64, 250, 700, (128, 128), 20, 0.02),
    Shape("SSC", 32, 250, 700, (400, 400), 35, 0.02),
    Shape("GSC", 64, 101, 120, (300, 300), 12, None),
    Shape("S-MNIST", 64, 784, 8, (256, 256), 10, 0.20),
    Shape("S-MNIST-30", 64, 784, 8, (256, 256), 10, 0.20, rate=0.30),
)


def named(names: list[str] | None) -> tuple[Shape, ...]:
    """Return the shapes of these names (in any case), or all.

    Raises `BenchmarkError` for an unknown one.
    """
    if not names:
        return SHAPES
    known = {shape.name.lower(): shape for shape in SHAPES}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        raise BenchmarkError(
            f"unknown shape {unknown[0]!r}; expected one of "
            f"{', '.join(shape.name for shape in SHAPES)}"
        )
    return tuple(known[name.lower()] for name in names)
