"""Tasks on made-up recordings of different lengths that train in a moment: what several tests of
the training share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from srnn import tasks
from srnn.datasets import Sample
from srnn.tasks.encoders import Shape
from srnn.tasks.nets import AdaptiveNetwork, CurrentNetwork
from srnn.tasks.objective import PerRecording, PerStep
from srnn.tasks.task import Parts


@dataclass(frozen=True)
class Uneven:
    """Recordings of 6, 8, 10, 12 and 14 steps, six channels, three classes; with a label a step
    some steps have none.
    """

    per_step: bool = False
    train: int = 9

    simulated: ClassVar[bool] = True
    shape: ClassVar[Shape] = Shape(14, 6, 100.0, events=True)

    def load(self, data_dir):
        made = []
        for part, count in enumerate((self.train, 4, 4)):
            rng, samples = np.random.default_rng(part), []
            for k in range(count):
                steps, label = 6 + 2 * ((3 * k + part) % 5), k % 3
                busy = np.where(np.arange(6) // 2 == label, 0.8, 0.15)
                each = np.where(rng.random(steps) < 0.3, -1, label)
                samples.append(
                    Sample(
                        (rng.random((steps, 6)) < busy).astype(np.uint8),
                        each if self.per_step else label,
                        100.0,
                        f"{part}/{k}",
                    )
                )
            made.append(samples)
        return Parts(*made, "a note")


NET = AdaptiveNetwork((6,), (True,), output="leaky")
BASE = replace(
    tasks.load("ecg_sim"),
    classes=("a", "b", "c"),
    data=Uneven(),
    encode=None,
    network=NET,
    decode=PerRecording(),
    regulariser=None,
    optimiser=replace(tasks.load("shd").optimiser, lr=0.02, eps=1e-3),
    batch=4,
    epochs=3,
    checkpoint_seconds=0.0,
)
STEPS = replace(BASE, data=Uneven(per_step=True), decode=PerStep(skip=1))
BITTAR = CurrentNetwork("RadLIF", 6, dropout=0.0)
