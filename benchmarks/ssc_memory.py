"""Memory and speed of reading Spiking Speech Commands: `python -m benchmarks.ssc_memory`.

Writes 20,000 recordings in the format of the published files, 8,000 spikes each (0.6 GiB), into a
temporary folder, then reads all of them in a fresh process as the task `ssc` does, in 250 bins of 4
ms, and prints the peak of the resident memory above what the imports took. Dense, they would be 3.3
GiB as bytes and 13 GiB as float32. The second row keeps what fits into `cache_mb` and reads
everything twice.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py  # noqa: F401 (the memory it takes is that of an import)
import numpy as np

from benchmarks.footprint import MIB, growth
from srnn import tasks
from srnn.datasets import Spikes, spikes_h5
from srnn.datasets.speech_commands import WORDS_V2


def recordings(count: int, spikes: int) -> Iterator[Spikes]:
    """Yield recordings of random spikes within a second."""
    generator = np.random.default_rng(0)
    for i in range(count):
        times, units = np.sort(generator.random(spikes)), generator.integers(0, 700, spikes)
        yield Spikes(times, units, 700, i % len(WORDS_V2), f"made-up/{i}")


def measure(root: str, cache_mb: float, rounds: int) -> tuple[int, float, float]:
    """Read all recordings of the training part `rounds` times; return how many that were, how many
    a second, and MiB above the imports.
    """
    task, read = replace(tasks.load("ssc"), cache_mb=cache_mb), 0

    def read_all() -> None:
        nonlocal read
        train = task.load(root).train
        for _ in range(rounds):
            read += sum(sample.signal.shape == (250, 700) for sample in train)

    began = time.perf_counter()
    grown = growth(read_all)
    return read, read / (time.perf_counter() - began), grown / MIB


def main() -> None:
    """Write the file, print a row for each size of the cache."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recordings", type=int, default=20_000)
    parser.add_argument("--spikes", type=int, default=8_000, help="of each recording")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="srnn-ssc-") as root:
        for part, count in (("train", args.recordings), ("valid", 100), ("test", 100)):
            path = spikes_h5.write(
                Path(root) / "ssc" / f"ssc_{part}.h5",
                recordings(count, args.spikes),
                WORDS_V2,
                dtype="float16",
            )
            if part == "train":
                print(
                    f"{path.name}: {args.recordings:,} recordings of {args.spikes:,} spikes, "
                    f"{path.stat().st_size / MIB:,.0f} MiB",
                    flush=True,
                )
        for cache_mb, rounds in ((0.0, 1), (256.0, 2)):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                read, speed, memory = pool.submit(measure, root, cache_mb, rounds).result()
            print(
                f"cache {cache_mb:3.0f} MB: {read:,} read, {speed:,.0f} a second, peak "
                f"{memory:,.0f} MiB above the imports",
                flush=True,
            )


if __name__ == "__main__":
    main()
