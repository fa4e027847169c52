"""TIMIT: a phone for every 10 ms of read speech, 61 phones (Yin, Corradi & Bohté 2021, Tables 1, 2
and S1).

39 MFCC features, each frame shown for 5 steps → 512 recurrent ALIF in each direction of time (β =
0.184, b0 = 1.6), side by side → 61 leaky integrators.

Accuracy is that of frames over 61 phones on the complete test part (1,344 sentences): what was
published, though the paper speaks of the core part. Beside it stands the accuracy of frames folded
to 39 phones on the core part (192 sentences), q left out (`accuracy_core_39`).

As published: the sentences in windows of 100 frames, the last one right-aligned, so that some
frames count twice (`--set data.frames=null` takes whole sentences); features scaled to [0, 1] by
the range of the training part; 512 neurons a direction (its table says 256). The features
themselves come from an external script; ours are `srnn.encode.Mfcc`. Learning rate, batch and
schedule are those of Table S1; the last stage of the published script fine-tunes weights alone,
from an earlier result, with Adamax and 1e-3.

What differs: the published read-out takes the mean of a frame's five steps and is updated once a
frame, with τ_m of about 3 frames; ours is updated at every step, with τ_m of about 15 steps, and
read and trained at the last step of each frame. The backward direction runs over each window within
its own length (published: shifted by one step). The checkpoint is selected on a tenth of the
training speakers (published: on the complete test part, `--set published_protocol=true`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from srnn import metrics
from srnn._check import check_range
from srnn.datasets import UNLABELLED, Recording, Sample, timit
from srnn.datasets._fetch import data_root
from srnn.datasets.split import split_groups
from srnn.encode import Mfcc
from srnn.tasks.encoders import Shape
from srnn.tasks.nets import AdaptiveNetwork
from srnn.tasks.objective import PerStep, Scores
from srnn.tasks.optimise import Optimiser, Schedule
from srnn.tasks.task import Parts, Published, Task


@dataclass(frozen=True)
class TimitData:
    """TIMIT as MFCC frames. frames: length of a window, null = whole sentences; repeat: steps a
    frame is shown.

    validation: about that fraction of the training part, whole speakers; split_seed: which.
    """

    frames: int | None = 100
    repeat: int = 5
    validation: float = 0.1
    split_seed: int = 0

    simulated: ClassVar[bool] = False
    dataset: ClassVar[str] = "timit"

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        check_range("data.repeat", self.repeat, 1)
        check_range("data.validation", self.validation, 0.0, 1.0, open_low=True)
        if self.frames is not None:
            check_range("data.frames", self.frames, 1)

    @property
    def shape(self) -> Shape:
        """Windows of features."""
        return Shape(
            self.frames and self.frames * self.repeat, Mfcc().features, 100.0 * self.repeat
        )

    def load(self, data_dir: str | Path | None) -> Parts[Recording]:
        """Return the parts; features of all sentences are computed now, into memory (200 MB)."""
        root = data_root(data_dir)
        spoken = [self._features(s) for s in timit.read(root, "train")]
        low = np.min([s.signal.min(0) for s in spoken], 0)
        span = np.max([s.signal.max(0) for s in spoken], 0) - low
        span = np.where(span > 0, span, 1.0).astype(np.float32)

        def cut(samples: Sequence[Sample]) -> list[Sample]:
            return [
                w
                for s in samples
                for w in self._windows(replace(s, signal=(s.signal - low) / span))
            ]

        train, validation = split_groups(spoken, self.validation, self.split_seed)
        tested = [self._features(s) for s in timit.read(root, "test")]
        return Parts(
            cut(train),
            cut(validation),
            cut(tested),
            "The complete test part. Parts share no speaker.",
        )

    def _features(self, sentence: Sample) -> Sample:
        mfcc, rate = Mfcc(), int(sentence.rate)
        frames = mfcc(sentence.signal[:, 0], rate)
        labels = timit.frame_labels(
            sentence.meta["phones"],
            len(frames),
            round(mfcc.hop * rate),
            round(mfcc.window * rate),
            len(sentence.signal),
        )
        return Sample(frames, labels, 100.0, sentence.name, sentence.group)

    def _windows(self, s: Sample) -> Iterator[Sample]:
        """Cut a sentence into windows, the last one right-aligned; a shorter one repeats its last
        frame. Then show each frame `repeat` times.
        """
        length = self.frames or len(s.signal)
        labels = np.asarray(s.label)
        for k, start in enumerate(window_starts(len(s.signal), length)):
            at = np.minimum(np.arange(start, start + length), len(s.signal) - 1)
            each = np.full((length, self.repeat), UNLABELLED, np.int64)
            each[:, -1] = labels[at]
            yield Sample(
                np.repeat(s.signal[at], self.repeat, 0),
                each.ravel(),
                100.0 * self.repeat,
                f"{s.name}/{k}",
                s.group,
            )

    def made_up(self, root: Path) -> Self:
        """Write a small data set in the true format; return what reads it."""
        timit.made_up(root)
        return self


def window_starts(frames: int, length: int) -> list[int]:
    """Return where windows of `length` begin in a sentence: one after the other, the last one
    ending with it (twice where they fit exactly).
    """
    if frames <= length:
        return [0]
    return [*range(0, frames // length * length, length), frames - length]


@dataclass(frozen=True)
class CoreFolded:
    """Accuracy of the core part's frames, folded to 39 phones: the scores of the phones that fall
    together are added up; q does not count.
    """

    def __call__(
        self,
        scores: Sequence[Tensor],
        labels: Sequence[Tensor],
        lengths: Sequence[Tensor],
        names: Sequence[str],
    ) -> Scores:
        """Return accuracy_core_39 and core_frames; without core sentences nothing."""
        of = torch.as_tensor(timit.FOLD)
        into = torch.zeros(len(of), len(timit.PHONES39))
        into[of >= 0, of[of >= 0]] = 1.0
        correct, counted, first = 0, 0, 0
        for s, y in zip(scores, labels, strict=True):
            core = torch.tensor(
                [_speaker(name) in timit.CORE for name in names[first : first + len(y)]]
            )
            first += len(y)
            hit, n = metrics.hits(s[core].exp() @ into, torch.as_tensor(timit.fold(y[core])))
            correct, counted = correct + hit, counted + n
        return {"accuracy_core_39": correct / counted, "core_frames": counted} if counted else {}


def _speaker(name: str) -> str:
    return name.split("/")[-3].upper()


TASK = Task(
    name="timit",
    summary="phones of read speech, one every 10 ms (TIMIT)",
    classes=timit.PHONES,
    data=TimitData(),
    network=AdaptiveNetwork(
        (512,),
        (True,),
        bidirectional=True,
        b0=1.6,
        beta=0.184,
        tau_adp=(200.0, 50.0),
        tau_out=(15.0, 5.0),
        recurrent_start=("fan_in",),
    ),
    decode=PerStep(),
    also=CoreFolded(),
    optimiser=Optimiser(lr=1e-2),
    schedule=Schedule("step", every=100),
    batch=16,
    epochs=200,
    published=(
        Published(
            "test accuracy",
            0.661,
            "Yin, Corradi & Bohté 2021, Table 1",
            "complete test part, selected on it",
        ),
        Published(
            "energy per step (pJ)",
            10626.8,
            "Yin, Corradi & Bohté 2021, Table S2",
            "256 neurons a direction",
        ),
    ),
)
