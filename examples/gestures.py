"""Write a folder of recordings as somebody would bring them: an accelerometer on the wrist, a CSV
file a gesture, a sub-folder a class.

    python examples/gestures.py gestures
    srnn train my --set data=gestures --set data.rate=50

The recordings are simulated: three axes, 50 samples a second, 1.2 to 2 seconds, other speed,
strength and noise each time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

RATE = 50.0


def gesture(kind: str, draw: np.random.Generator) -> np.ndarray:
    """Return one recording, (T, 3), in units of g."""
    t = np.arange(draw.integers(60, 100)) / RATE
    speed, strength, phase = (
        draw.uniform(1.5, 2.5),
        draw.uniform(0.6, 1.2),
        draw.uniform(0, 2 * np.pi),
    )
    turn = 2 * np.pi * speed * t + phase
    if kind == "circle":
        moved = np.stack((np.cos(turn), np.sin(turn), 0 * t), 1)
    elif kind == "wave":
        moved = np.stack((np.sin(turn), 0 * t, 0.3 * np.sin(2 * turn)), 1)
    else:  # a push: once forwards and back
        middle = t[-1] * draw.uniform(0.4, 0.6)
        moved = np.stack(
            (0 * t, 0 * t, -(t - middle) * 8 * np.exp(-(((t - middle) * speed * 2) ** 2))), 1
        )
    still = np.array([0.0, 0.0, 1.0])
    return (still + strength * moved + draw.normal(0, 0.1, (len(t), 3))).round(4)


def write(folder: Path, each: int = 30) -> int:
    """Write `each` recordings of every class; return how many files."""
    draw, written = np.random.default_rng(0), 0
    for kind in ("circle", "push", "wave"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for k in range(each):
            np.savetxt(
                folder / kind / f"{k:02}.csv",
                gesture(kind, draw),
                delimiter=",",
                header="x,y,z",
                comments="",
                fmt="%g",
            )
            written += 1
    return written


if __name__ == "__main__":
    print(f"{write(Path(sys.argv[1] if len(sys.argv) > 1 else 'gestures'))} recordings")
