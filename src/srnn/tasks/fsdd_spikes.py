"""Spoken digits as spikes of a cochlea: real speech (Free Spoken Digit Dataset) through the model
that made SHD. Ours: a stand-in for SHD offline.

700 → 128 recurrent ALIF → 128 recurrent ALIF → 10 leaky integrators, the network and decoder of
`shd`; `--variant adlif` is the adaptive LIF network of Bittar & Garner. The recordings (8 kHz) are
resampled to 16 kHz, the rate of the recordings behind SSC, and become spikes once
(`srnn.encode.Cochlea`, fixed seed); the spikes are kept in the user's cache, in the format of SHD.
Speech ends at 4 kHz here, so that the channels of higher frequencies have nothing to say.

Parts as in `fsdd`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from srnn import _files
from srnn._build import user_cache
from srnn._check import check_range
from srnn.datasets import Entry, Recording, Recordings, Sample, Spikes, fsdd, spikes_h5
from srnn.datasets._fetch import data_root
from srnn.encode import Cochlea
from srnn.tasks.encoders import EventBins, Shape
from srnn.tasks.fsdd import divided
from srnn.tasks.nets import AdaptiveNetwork
from srnn.tasks.objective import PerRecording
from srnn.tasks.optimise import Optimiser, Schedule
from srnn.tasks.task import Parts, Task, Variant


@dataclass(frozen=True)
class FsddSpikes:
    """FSDD through the cochlea. rate: the recordings are resampled to it first (Hz); seed: of the
    nerve fibres. The rest as in `FsddData`.
    """

    test_speaker: str | None = None
    validation: float = 0.1
    split_seed: int = 0
    channels: int = 700
    rate: int = 16000
    seed: int = 0

    simulated: ClassVar[bool] = False
    dataset: ClassVar[str] = "fsdd"

    def __post_init__(self) -> None:
        """Refuse a fraction that cannot work."""
        check_range("data.validation", self.validation, 0.0, 1.0, open_low=True)

    @property
    def shape(self) -> Shape:
        """Spikes, not yet in steps."""
        return Shape(None, self.channels, 1.0, events=True)

    def load(self, data_dir: str | Path | None) -> Parts[Recording]:
        """Return the parts. The first time, every recording goes through the cochlea (minutes)."""
        spoken = fsdd.read_all(data_root(data_dir))
        heard, _ = spikes_h5.read(self._heard(spoken), self.channels)

        def read(entry: Entry) -> Spikes:
            found: Spikes = heard[entry.at]
            return replace(found, name=entry.name, group=entry.group)

        spikes = Recordings(
            [replace(e, at=i) for i, e in enumerate(spoken.entries)], read, heard.source
        )
        return divided(spikes, self.test_speaker, self.validation, self.split_seed)

    def _heard(self, spoken: Recordings[Sample]) -> Path:
        """Return the file of spikes of these recordings, made where it is not there yet."""
        cochlea = Cochlea(self.channels, rate=self.rate, seed=self.seed)
        digest = hashlib.sha256(
            repr(
                (
                    cochlea,
                    cochlea.version(),
                    spoken.source,
                    [(e.name, e.size) for e in spoken.entries],
                )
            ).encode()
        )
        path = user_cache() / "srnn" / "fsdd_spikes" / f"{digest.hexdigest()[:20]}.h5"
        if not path.exists():

            def listen() -> Iterator[Spikes]:
                for sample in spoken:
                    times, units = cochlea(sample.signal[:, 0], sample.rate)
                    yield Spikes(
                        times, units, self.channels, int(sample.label), sample.name, sample.group
                    )

            _files.make_private(path.parent)
            spikes_h5.write(path, listen(), fsdd.CLASSES)
        return path

    def made_up(self, root: Path) -> Self:
        """Write a small data set in the true format; return what reads it, with a tenth of the
        channels, to be quick.
        """
        fsdd.made_up(root)
        return replace(self, channels=70)


CURRENT = ("network=CurrentNetwork", "decode.skip=0", "optimiser=Optimiser")

TASK = Task(
    name="fsdd_spikes",
    summary="spoken digits as cochlear spikes (Free Spoken Digit Dataset)",
    classes=fsdd.CLASSES,
    data=FsddSpikes(),
    network=AdaptiveNetwork((128, 128), tau_adp=(150.0, 10.0)),
    encode=EventBins(0.010, 100),
    decode=PerRecording(skip=11),
    optimiser=Optimiser(lr=1e-2, eps=1e-5),
    schedule=Schedule("cosine"),
    batch=32,
    epochs=30,
    variants=(
        Variant("adlif", "Bittar & Garner 2022: adLIF 3 x 128", (*CURRENT, "network.neuron=adLIF")),
        Variant("radlif", "Bittar & Garner 2022: RadLIF 3 x 128", CURRENT),
    ),
)
