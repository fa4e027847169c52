"""The cochlea: seconds of compute, memory, and distance from the published model.
`python -m benchmarks.cochlea`.

Speed and memory are of noise through 700 channels to spikes, each row in a process of its own:
processor seconds (all threads; other programs do not count) per second of sound, for the first
recording (which computes the transfer function and loads the compiled loop) and then the median of
recordings that all have another length. Memory is the largest resident size of that process, and
what of it was there before the first recording.

Agreement needs the folder with real data ($SRNN_DATA): one Heidelberg digit through 70 channels,
against what LAUSCHER (Cramer et al. 2020) makes of it. Errors are the largest difference in a
channel over the largest value in that channel, worst channel.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

ROWS = ((16000, 1.0, 9), (48000, 1.0, 5), (16000, 0.4, 25))
"""Samples per second, seconds of a recording, recordings."""


def peak() -> float:
    """Return the largest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1e6 if sys.platform == "darwin" else 1e3
    )


def cost(rate: int, seconds: float, recordings: int) -> dict[str, float]:
    """Return seconds per second of sound (first recording, median of the others) and MB (before, at
    most), of this process.
    """
    from srnn.encode import Cochlea

    ear, rng, spent, before = Cochlea(), np.random.default_rng(0), [], peak()
    for k in range(recordings + 1):
        sound = 0.1 * rng.standard_normal(int(seconds * rate) + 37 * k)
        began = time.process_time()
        ear(sound, rate)
        spent.append((time.process_time() - began) * rate / len(sound))
    return {
        "first": spent[0],
        "then": statistics.median(spent[1:]),
        "before": before,
        "peak": peak(),
    }


def measured(*row: float) -> dict[str, float]:
    """Return these figures from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.cochlea", *map(str, row)]
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def agreement(folder: Path) -> dict[str, str]:
    """Return how far membrane, firing probability and spikes are from the reference recording."""
    import soundfile

    from srnn.encode import Cochlea

    known = np.load(folder / "lauscher_reference.npz")
    sound, rate = soundfile.read(folder / "spoken_digit.flac")
    channels, chosen = int(known["channels"]), known["selected"]
    ear = Cochlea(channels)

    def worst(got: np.ndarray, wanted: np.ndarray) -> str:
        return f"{(np.abs(got - wanted).max(1) / np.abs(wanted).max(1)).max():.1e}"

    probability = ear.firing_probability(sound, rate).T
    count, wanted = (
        np.bincount(u.astype(int), minlength=channels)
        for u in (ear(sound, rate)[1], known["spike_labels"])
    )
    off = np.abs(probability.mean(1) / known["mean_firing_probability"] - 1).max()
    apart = (np.abs(count - wanted) / np.sqrt(count + wanted + 1)).max()
    return {
        "membrane": worst(ear.membrane(sound, rate).T[chosen], known["basilar_membrane"]),
        "firing probability": worst(probability[chosen], known["firing_probability"]),
        "mean firing probability": f"{off:.1e}",
        "spikes, ours and theirs (one draw each)": f"{count.sum()}, {wanted.sum()}",
        "spikes of a channel, largest |n - m| / √(n + m + 1)": f"{apart:.2f}",
    }


def main() -> None:
    """Print the tables."""
    speed = Table(
        title="Cochlea of 700 channels",
        caption="processor seconds per second of sound; resident memory",
    )
    for column in (
        "rate, Hz",
        "recording, s",
        "first",
        "then, new lengths",
        "MB before",
        "MB at most",
    ):
        speed.add_column(column, justify="right")
    for row in ROWS:
        found = measured(*row)
        figures = (
            f"{found['first']:.2f}",
            f"{found['then']:.2f}",
            f"{found['before']:.0f}",
            f"{found['peak']:.0f}",
        )
        speed.add_row(str(row[0]), str(row[1]), *figures)
    Console().print(speed)
    folder = Path(os.environ.get("SRNN_DATA", "")) / "lauscher"
    if not (folder / "lauscher_reference.npz").is_file():
        Console().print("No reference recording ($SRNN_DATA/lauscher): agreement is not measured.")
        return
    close = Table(title="Against the published model, 70 channels", show_header=False)
    for name, figure in agreement(folder).items():
        close.add_row(name, figure)
    Console().print(close)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(cost(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
