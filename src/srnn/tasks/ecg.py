"""ECG wave labelling on the QT Database (Yin, Corradi & Bohté 2020; 2021, Table 2 and Table S1):
six wave labels a step.

4 event channels → 36 recurrent ALIF with β = 0 → 6 ALIF with β = 1.8, read at every step by their
potential. 1,818 trained numbers.

Where the paper, its script and the published weights disagree, this follows what gives the
published number:
- The hidden layer does not adapt (β = 0); its τ_adp is a parameter that nothing reads. b0 = 0.1
  (the script says 0.01; the weights need 0.1).
- Both linear maps of the hidden layer have a bias. Time constants start constant: 20 steps
  (membrane), 7 and 100 steps (adaptation).
- Steps that nobody labelled (8 % of the training steps) are trained and scored as class 0, P;
  accuracy is the mean over recordings of the fraction of steps from step 10 on. `accuracy_labelled`
  counts labelled steps only. `--set decode.unlabelled_as=null` trains on these only.

What differs from the published script, and why:
- Start: the potentials start at zero, so that an evaluation gives one number; the script starts
  them (and, graded, the output) at U[0, 0.1) and η at 0.01. The published weights were seen to give
  85.9 % from zero, 85.5 to 85.8 % from a random start (not repeated with this package, which has no
  importer for them yet). `--set start=UniformStart --set start.high=0.1 --set start.graded=true`
  brings it back, but for η, which stays 0.
- The gradient norm is clipped at 1: without it a learning rate of 1e-2 was seen to diverge near
  epoch 90 (not repeated with this package).
- Time constants are kept at one step or more. The script never clamps; at this learning rate one of
  42 crossed zero within 24 epochs, where the decay exp(-1/τ) turns into a growth, and the run ended
  in NaN (`--set network.tau_min=null`).
- Batches of 8 at a learning rate of 2e-2 with a cosine decay, 300 epochs, chosen on the validation
  part. The script: batches of 64, 1e-2, halved every 100 epochs, 400 epochs (`--set batch=64 --set
  optimiser.lr=1e-2 --set schedule.kind=step --set epochs=400`).
- The checkpoint is selected on a validation part carved from the training part (the script: best
  training accuracy). For a final result with these settings, `--set refit=true` trains on that part
  too and keeps the last epoch.
- The published channels and labels are used as they are, the end marker -1 in the last step
  included.
- Raw records (`--set data.source=raw`) are encoded by our level crossing, which follows a
  reference, on windows z-scored one by one; the script smooths (Savitzky-Golay) and compares
  successive samples (`--set encode.published=true` does the latter).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from srnn._check import check_range
from srnn.datasets import Recording, Sample, qtdb
from srnn.datasets._fetch import data_root
from srnn.datasets.split import split_groups
from srnn.tasks.encoders import LevelCrossings, Shape
from srnn.tasks.nets import AdaptiveNetwork
from srnn.tasks.objective import PerStep
from srnn.tasks.optimise import Optimiser, Schedule
from srnn.tasks.task import Parts, Published, Task


@dataclass(frozen=True)
class QtdbData:
    """QTDB. source: "encoded", the published event files, or "raw", the PhysioNet records
    (record-disjoint parts, labelled part of each).

    validation: fraction of the training part that selects the checkpoint. For raw records only:
    test, the fraction held out; steps, the length of a window. split_seed: draws the parts,
    independently of the seed of the run.
    """

    source: Literal["encoded", "raw"] = "encoded"
    validation: float = 0.1
    test: float = 0.2
    steps: int = 1301
    split_seed: int = 0

    simulated: ClassVar[bool] = False
    dataset: ClassVar[str] = "qtdb"

    def __post_init__(self) -> None:
        """Refuse fractions and sizes that cannot work."""
        for name in ("validation", "test"):
            check_range(f"data.{name}", getattr(self, name), 0.0, 1.0, open_low=True)
        check_range("data.steps", self.steps, 1)
        check_range("data.split_seed", self.split_seed, 0)

    @property
    def shape(self) -> Shape:
        """Events of two leads, or the leads."""
        return (
            Shape(1301, 4, qtdb.RATE, events=True)
            if self.source == "encoded"
            else Shape(self.steps, 2, qtdb.RATE)
        )

    def load(self, data_dir: str | Path | None) -> Parts[Recording]:
        """Return the parts."""
        root = data_root(data_dir)
        if self.source == "encoded":
            train, validation = split_groups(
                qtdb.encoded(root, "train"), self.validation, self.split_seed
            )
            note = (
                "The encoded files carry no record names: the validation part shares "
                "records with the training part, "
                "and the published test part may too."
            )
            return Parts(train, validation, qtdb.encoded(root, "test"), note)
        samples = [piece for name in qtdb.records(root) for piece in self._pieces(root, name)]
        rest, test = split_groups(samples, self.test, self.split_seed)
        train, validation = split_groups(rest, self.validation, self.split_seed)
        return Parts(
            train,
            validation,
            test,
            "Parts share no record and no person; this is not "
            "the split behind the published numbers.",
        )

    def made_up(self, root: Path) -> Self:
        """Write a few simulated recordings in the published file format; return what reads them."""
        qtdb.made_up(root)
        return self

    def _pieces(self, root: Path, name: str) -> list[Sample]:
        return qtdb.segments(qtdb.read_record(root, name), self.steps)


NETWORK = AdaptiveNetwork(
    (36,),
    (True,),
    "spiking",
    b0=0.1,
    beta=0.0,
    beta_out=1.8,
    tau_m=(20.0, 0.0),
    tau_adp=(7.0, 0.0),
    tau_adp_out=(100.0, 0.0),
)

RATES = {"layers.0.constants.tau_*": 3.0, "layers.1.constants.tau_*": 2.0}
"""Factors on the learning rate of the time constants, as published."""

TASK = Task(
    name="ecg",
    summary="ECG wave labelling, QT Database: six labels a step",
    classes=qtdb.CLASSES,
    data=QtdbData(),
    network=NETWORK,
    encode=LevelCrossings(0.3),  # raw records only: the published files are events already
    decode=PerStep(skip=10, unlabelled_as=0),
    optimiser=Optimiser(lr=2e-2, rates=RATES),
    schedule=Schedule("cosine"),
    clip_norm=1.0,
    batch=8,
    epochs=300,
    published_selection="train",
    published=(
        Published(
            "test accuracy",
            0.859,
            "Yin, Corradi & Bohté 2021",
            "best training accuracy; unlabelled steps count as P",
        ),
        Published(
            "test accuracy", 0.844, "Yin, Corradi & Bohté 2020", "unlabelled steps count as P"
        ),
        Published(
            "parameters",
            1818,
            "weights of Yin, Corradi & Bohté 2021",
            "incl. 36 unused: the hidden layer's τ_adp, as here",
            unused=0,
        ),
        Published("MAC per step", 90, "Yin, Corradi & Bohté 2021, Table 2"),
        Published(
            "energy per step (pJ)",
            325.7,
            "Yin, Corradi & Bohté 2021, Table S2",
            "implies a firing rate of 0.282",
        ),
    ),
)
