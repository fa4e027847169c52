"""`srnn encode`: sound through a cochlea into a file of spikes, in the format of SHD."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from srnn._check import ConfigError
from srnn.cli.shared import console, show

if TYPE_CHECKING:
    from srnn.datasets import Recordings, Sample, Spikes

SUMMARY = (
    "Sound through a cochlea (LAUSCHER, Cramer et al. 2020): spikes of many channels, in "
    "the format of SHD."
)
EXAMPLES = """\
  srnn encode word.wav --to spikes.h5 --picture word.png
  srnn encode one.wav two.flac --to spikes.h5 --label digit
  srnn encode FOLDER --to spikes.h5        a folder with a sub-folder of recordings for each class
  srnn train my --set data=spikes.h5
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument(
        "sound",
        nargs="+",
        type=Path,
        help="sound files, or one folder with a sub-folder for each class",
    )
    parser.add_argument(
        "--to", type=Path, required=True, metavar="FILE.h5", help="HDF5 file to write"
    )
    parser.add_argument(
        "--label", default="recording", help="class of single files (default: recording)"
    )
    parser.add_argument(
        "--channels", type=int, default=700, help="channels of the cochlea (default: 700)"
    )
    parser.add_argument(
        "--resample",
        type=int,
        metavar="HZ",
        help="resample to this rate first (default: as recorded)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the nerve fibres (default: 0)")
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="draw the first recording: wave, log-mel energies, spikes",
    )


def run(args: argparse.Namespace) -> int:
    """Run `srnn encode`."""
    from srnn.datasets import Spikes, spikes_h5
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
    from srnn.datasets import Entry, Recordings, Sample, own
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
