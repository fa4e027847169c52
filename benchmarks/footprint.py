"""Memory of a training step: what autograd holds between forward and backward, and by how much the
process grows.

`python -m benchmarks.footprint SHAPE IMPLEMENTATION --weights FILE` measures one implementation in
a process of its own and prints JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import networks
from benchmarks.shapes import BenchmarkError, Shape, named
from benchmarks.timing import first_line, set_threads

MIB = 2.0**20
IMPLEMENTATIONS = ("reference", "ours", "LSTM", "RNN")


def held_bytes(loss: Callable[[], Tensor], *known: Tensor) -> int:
    """Return the bytes that the graph of `loss()` keeps for its backward pass: distinct storages,
    each counted once and whole.

    known: tensors that are there anyway (parameters, input, labels); their storages do not count.
    """
    there = {t.untyped_storage().data_ptr() for t in known}
    held: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in there:
            held[storage.data_ptr()] = storage.nbytes()
        return t.detach()  # the same storage, kept alive: no address is used twice

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        kept = loss()
    del kept
    gc.collect()
    return sum(held.values())


def held_by(step: networks.TrainingStep) -> int:
    """Return the bytes held for backward by a training step, without parameters,
    input and labels.
    """
    return held_bytes(
        step.loss, step.x, step.labels, *step.module.parameters(), *step.module.buffers()
    )


def per_neuron(held: int, shape: Shape) -> float:
    """Return bytes for each recording, step and neuron, read-out neurons included."""
    return held / (shape.batch * shape.steps * shape.neurons)


def step_of(
    name: str, shape: Shape, x: Tensor, y: Tensor, weights: dict[str, Tensor] | None
) -> networks.TrainingStep:
    """Return the training step of an implementation; weights: the calibrated ones of
    our network.
    """
    if name in ("LSTM", "RNN"):
        return networks.gated(nn.LSTM if name == "LSTM" else nn.RNN, shape, x, y)
    net = networks.build(shape)
    if weights is not None:
        net.load_state_dict(weights)
    return networks.ours(net, x, y, "reference" if name == "reference" else "cpu")


def growth(step: Callable[[], object]) -> int:
    """Return by how many bytes the resident memory of this process rises, at its highest, above
    what it was before the step.
    """
    gc.collect()
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        reset.write_text("5")  # the high-water mark starts anew
        before = _kilobytes(status, "VmRSS")
    except OSError:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        step()
        grown: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return grown * (1 if sys.platform == "darwin" else 1024)
    step()
    return (_kilobytes(status, "VmHWM") - before) * 1024


def _kilobytes(status: Path, key: str) -> int:
    for line in status.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise OSError(f"{status} has no {key}")


def in_own_process(shape: Shape, name: str, weights: Path, threads: int) -> dict[str, Any]:
    """Measure one implementation in a fresh process: {"peak": bytes, "held": bytes}, or {"failed":
    why}.
    """
    command = [
        sys.executable,
        "-m",
        "benchmarks.footprint",
        shape.name,
        name,
        "--weights",
        str(weights),
        "--threads",
        str(threads),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {
            "failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][
                :160
            ]
        }
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(shape: Shape, name: str, weights: dict[str, Tensor] | None) -> dict[str, Any]:
    """Measure in this process, which should be a fresh one.

    A first, two-step sequence pays for what is allocated once and for all.
    """
    x, y = shape.data()
    step_of(name, shape, x[:, :2].contiguous(), y, weights)()
    step = step_of(name, shape, x, y, weights)
    return {"peak": growth(step), "held": held_by(step)}


def main() -> int:
    """Measure one implementation and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape")
    parser.add_argument("implementation", choices=IMPLEMENTATIONS)
    parser.add_argument(
        "--weights", type=Path, help="state of the calibrated network, from torch.save"
    )
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_threads(args.threads)
    try:
        (shape,) = named([args.shape])
        weights = torch.load(args.weights, weights_only=True) if args.weights else None
        print(json.dumps(measure(shape, args.implementation, weights)))
    except (BenchmarkError, RuntimeError, ValueError) as error:
        print(f"{type(error).__name__}: {first_line(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
