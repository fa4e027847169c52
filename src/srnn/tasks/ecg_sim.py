"""ECG wave labelling on simulated recordings: the network of `ecg` on data that comes with the
package, for a first try without a download.

The recordings are made by `datasets.ecg_sim` (a dynamical model in the manner of McSharry et al.
2003) and encoded by level crossing. Nothing measured here says anything about real ECG; results are
marked as simulated and are never compared with published numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from srnn._check import check_range
from srnn.datasets import Recording, ecg_sim, qtdb
from srnn.tasks.ecg import NETWORK, RATES
from srnn.tasks.encoders import LevelCrossings, Shape
from srnn.tasks.objective import PerStep
from srnn.tasks.optimise import Optimiser, Schedule
from srnn.tasks.task import Parts, Task


@dataclass(frozen=True)
class SimulatedEcg:
    """How many simulated patients are in each part, one recording of `steps` steps each; seed:
    which patients.
    """

    train: int = 160
    validation: int = 64
    test: int = 128
    steps: int = 500
    seed: int = 0

    simulated: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work: a negative one would let the parts overlap."""
        for name in ("train", "validation", "test", "steps"):
            check_range(f"data.{name}", getattr(self, name), 1, 1_000_000)
        check_range("data.seed", self.seed, 0)

    @property
    def shape(self) -> Shape:
        """Two leads."""
        return Shape(self.steps, 2, qtdb.RATE)

    def load(self, data_dir: str | Path | None) -> Parts[Recording]:
        """Return the parts; no patient is in two of them. `data_dir` is not used."""
        total = self.train + self.validation + self.test
        made = ecg_sim.generate(total, steps=self.steps, rate=qtdb.RATE, seed=self.seed)
        cut = self.train + self.validation
        return Parts(
            made[: self.train],
            made[self.train : cut],
            made[cut:],
            "Simulated data: no statement about real ECG.",
        )


TASK = Task(
    name="ecg_sim",
    summary="ECG wave labelling, simulated data that comes with the package",
    classes=qtdb.CLASSES,
    data=SimulatedEcg(),
    network=NETWORK,
    encode=LevelCrossings(0.3),
    decode=PerStep(skip=10),
    optimiser=Optimiser(lr=2e-2, rates=RATES),
    schedule=Schedule("cosine"),
    clip_norm=1.0,
    batch=8,
    epochs=100,
)
