"""Kernels of random neurons beside the reference loop. `python -m benchmarks.random_neurons`.

Each case is a neuron, a layer and an input of their own (tests/kernels/random_neurons.py); values
and gradients are compared where they are finite. Prints how many cases ran, and each mismatch with
the seed that makes it again. Exit code 1 where there is one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "kernels"))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="how many (default: 2000)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first one (default: 0)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SRNN_KERNELS"] = folder  # thousands of kernels that nobody needs again
        from random_neurons import mismatch

        wrong = 0
        for seed in range(args.first, args.first + args.cases):
            if (why := mismatch(seed)) is not None:
                wrong += 1
                print(f"seed {seed}: {why}", flush=True)
    print(f"{args.cases} random neurons, {wrong} mismatches")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
