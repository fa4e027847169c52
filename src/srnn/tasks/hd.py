"""Heidelberg Digits: the recordings behind SHD, from Kaldi filterbanks (Bittar & Garner 2022, Table
6).

40 filterbank energies → 128 RLIF → 128 RLIF → 20 leaky integrators, batch norm, dropout 0.1; a
softmax of the read-out summed over time. `--set network.neuron=LIF` for the other row of the table.
The adaptive neurons of the published code diverge on so long recordings, and the paper has no
number for them: `--set network.neuron=RadLIF --set network.stable=true` keeps them in bounds.

As published: the filterbank takes the 48 kHz recordings for 16 kHz ones, so that a frame lasts 3.3
ms and a word about 250 of them (`--set encode.assumed_rate=null` uses the true rate). Adam with
1e-3, the rate × 0.7 when validation stands still for more than 10 epochs. Batches and epochs are
not published; 128 and 100 are ours. What differs: the checkpoint is selected on a speaker that is
not trained on (published: on the test part, `--set published_protocol=true`); padding and start as
in `sc`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from srnn._check import check_range
from srnn.datasets import Recording, hd
from srnn.datasets._fetch import data_root
from srnn.datasets.split import split_groups
from srnn.tasks.encoders import FilterbankFrames, Shape
from srnn.tasks.nets import CurrentNetwork
from srnn.tasks.objective import PerRecording
from srnn.tasks.optimise import Optimiser, Schedule
from srnn.tasks.task import Parts, Published, Task


@dataclass(frozen=True)
class HdData:
    """Heidelberg Digits. validation: about that fraction of the training part, whole speakers;
    split_seed: which speakers.
    """

    validation: float = 0.1
    split_seed: int = 0

    simulated: ClassVar[bool] = False
    dataset: ClassVar[str] = "hd"

    def __post_init__(self) -> None:
        """Refuse a fraction that cannot work."""
        check_range("data.validation", self.validation, 0.0, 1.0, open_low=True)

    @property
    def shape(self) -> Shape:
        """Sound."""
        return Shape(None, 1, 48000.0)

    def load(self, data_dir: str | Path | None) -> Parts[Recording]:
        """Return the parts."""
        root = data_root(data_dir)
        train, validation = split_groups(hd.read(root, "train"), self.validation, self.split_seed)
        return Parts(
            train,
            validation,
            hd.read(root, "test"),
            "The validation part has speakers of its own; so has most of the test part.",
        )

    def made_up(self, root: Path) -> Self:
        """Write a small data set in the true format; return what reads it."""
        hd.made_up(root)
        return self


TASK = Task(
    name="hd",
    summary="spoken digits, sound (Heidelberg Digits)",
    classes=hd.CLASSES,
    data=HdData(),
    network=CurrentNetwork("RLIF", 128),
    encode=FilterbankFrames(),
    decode=PerRecording(),
    optimiser=Optimiser(lr=1e-3),
    schedule=Schedule("plateau", factor=0.7, patience=10),
    batch=128,
    epochs=100,
    published=(
        Published(
            "test accuracy",
            0.9935,
            "Bittar & Garner 2022, Table 6, RLIF 3 x 128",
            "selected on the test part",
        ),
        Published(
            "test accuracy",
            0.9840,
            "Bittar & Garner 2022, Table 6, LIF 3 x 128",
            "selected on the test part",
        ),
    ),
)
