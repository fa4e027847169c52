"""SoLi radar gestures: eleven hand gestures as range-Doppler images of a radar (Wang et al. 2016;
Yin, Corradi & Bohté 2021, Tables 1, 2 and S1).

One channel of 32 x 32 pixels as currents, 40 frames → 512 feed-forward ALIF → 512 recurrent ALIF (β
= 1.84, b0 = 0.1, surrogate of width 0.3) → 11 leaky integrators, read at every frame.

The paper's two numbers come from one network: 79.8 % of all frames (`accuracy`), and 91.9 % for the
last frame, averaged over classes (`accuracy_last_class_mean`). `--variant whole` trains on the last
frame alone. Followed is the notebook that gives them: readout τ_m from N(3, 1) (Table S1: (20; 5)),
Adam with 1.5e-2 (2e-2), τ_m at 2.5 and τ_adp at 5 times that, halved every 30 epochs (0.75 every
50), 80 epochs (150): `--variant paper`. The split file of the data has a training and an evaluation
part only, with all users in both; the published third part is unknown. Here the checkpoint is
selected on sessions of the training part that are not trained on. Potentials start at zero, τ is
kept at one step or more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from srnn._check import check_range
from srnn.datasets import Recording, soli
from srnn.datasets._fetch import data_root
from srnn.datasets.split import split_groups
from srnn.surrogates import MultiGaussian
from srnn.tasks.encoders import Shape
from srnn.tasks.nets import AdaptiveNetwork
from srnn.tasks.objective import PerStep
from srnn.tasks.optimise import Optimiser, Schedule
from srnn.tasks.task import Parts, Published, Task, Variant


@dataclass(frozen=True)
class SoliData:
    """Deep Soli, its cross-user split. channels: which of the four receivers. validation: about
    that fraction of the training part, whole sessions.

    split_seed: which sessions.
    """

    channels: tuple[int, ...] = (3,)
    validation: float = 0.1
    split_seed: int = 0

    simulated: ClassVar[bool] = False
    dataset: ClassVar[str] = "soli"

    def __post_init__(self) -> None:
        """Refuse a fraction that cannot work."""
        check_range("data.validation", self.validation, 0.0, 1.0, open_low=True)

    @property
    def shape(self) -> Shape:
        """Windows of 40 images."""
        return Shape(40, 1024 * len(self.channels), soli.RATE)

    def load(self, data_dir: str | Path | None) -> Parts[Recording]:
        """Return the parts."""
        root = data_root(data_dir)
        train, validation = split_groups(
            soli.read(root, "train", self.channels), self.validation, self.split_seed
        )
        return Parts(
            train,
            validation,
            soli.read(root, "eval", self.channels),
            "Training and test part share users, as published.",
        )

    def made_up(self, root: Path) -> Self:
        """Write a small data set in the true format; return what reads it."""
        soli.made_up(root)
        return replace(self, validation=0.25)  # one of its four sessions


TASK = Task(
    name="soli",
    summary="hand gestures on a radar, a decision at every frame (SoLi)",
    classes=soli.CLASSES,
    data=SoliData(),
    network=AdaptiveNetwork(
        (512, 512),
        (False, True),
        b0=0.1,
        beta=1.84,
        tau_adp=(20.0, 5.0),
        tau_out=(3.0, 1.0),
        surrogate=MultiGaussian(sigma=0.3),
    ),
    decode=PerStep(spread=True),
    optimiser=Optimiser(lr=1.5e-2, rates={"*tau_m": 2.5, "*tau_adp": 5.0}),
    schedule=Schedule("step", every=30),
    batch=128,
    epochs=80,
    published=(
        Published(
            "test accuracy",
            0.798,
            "Yin, Corradi & Bohté 2021, Table 1",
            "all frames; selected on a part that is not published",
        ),
        Published(
            "test accuracy last class mean",
            0.919,
            "Yin, Corradi & Bohté 2021, Table 1",
            "last frame, mean over classes; the same network",
        ),
        Published("MAC per step", 3083, "Yin, Corradi & Bohté 2021, Table S2"),
        Published("energy per step (pJ)", 13804, "Yin, Corradi & Bohté 2021, Table S2"),
    ),
    variants=(
        Variant(
            "whole",
            "one decision a recording, at its last frame",
            ("decode=PerRecording", "decode.pool=last"),
        ),
        Variant(
            "paper",
            "optimiser, schedule and constants of Table S1",
            (
                "optimiser.lr=2e-2",
                "schedule.every=50",
                "schedule.factor=0.75",
                "epochs=150",
                "network.tau_out=[20,5]",
            ),
        ),
    ),
)
