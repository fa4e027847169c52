"""`srnn encode`: sound through a cochlea into a file of spikes, in the format of SHD."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from srnn._check import ConfigError
from srnn.cli.shared import console, show
from srnn.datasets import Entry, Recordings, Sample, Spikes


def run(args: argparse.Namespace) -> int:
    """Run `srnn encode`."""
    from srnn.datasets import spikes_h5
    from srnn.encode import Cochlea
    from srnn.report import figures
    from srnn.tasks.encoders import mono

    if args.to.suffix not in (".h5", ".hdf5"):
        raise ConfigError(f"--to {args.to}: expected a file that ends in .h5.")
    cochlea = Cochlea(args.channels, rate=args.resample, seed=args.seed)
    sounds, classes = _sounds(args.sound, args.label)
    counts: list[int] = []
    first: list[Spikes] = []

    def heard() -> Iterator[Spikes]:
        for sample in sounds:
            times, units = cochlea(mono(sample), sample.rate)
            counts.append(len(times))
            console(stderr=True).print(
                f"{sample.name}: {len(sample.signal) / sample.rate:.2f} s, {len(times)} spikes"
            )
            made = Spikes(times, units, args.channels, int(sample.label), sample.name, sample.group)
            first.extend([made] * (not first))
            yield made

    spikes_h5.write(args.to, heard(), classes)
    drawn = ""
    if args.picture is not None:
        drawn = f" Picture: {figures.save(figures.spoken(sounds[0], first[0]), args.picture)}"
    about = {
        "file": str(args.to),
        "recordings": len(counts),
        "spikes": sum(counts),
        "channels": args.channels,
        "classes": list(classes),
    }
    show(
        args,
        about,
        f"{len(counts)} recordings, {sum(counts)} spikes of {args.channels} "
        f"channels in {args.to}.{drawn}",
    )
    return 0


def _sounds(paths: list[Path], label: str) -> tuple[Recordings[Sample], tuple[str, ...]]:
    """Return the recordings and their classes: of a folder as `own.read` has them, of single files
    all of class `label`.
    """
    from srnn.datasets import own
    from srnn.datasets._audio import read_audio

    if len(paths) == 1 and paths[0].is_dir():
        found = own.read(paths[0])
        if found.kind != "audio":
            raise ConfigError(f"{paths[0]} holds {found.kind}, not sound; the cochlea hears sound.")
        return found.recordings, found.classes
    if folders := [p for p in paths if p.is_dir()]:
        raise ConfigError(f"{folders[0]} is a folder; give one folder alone, or sound files.")

    def read(entry: Entry) -> Sample:
        signal, rate = read_audio(entry.at)
        return Sample(signal, 0, float(rate), entry.name, meta={"audio": True})

    return Recordings([Entry(path.name, 0, at=path) for path in paths], read), (label,)
