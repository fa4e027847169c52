"""The GPU kernels on a GPU: parity first, then layers, seeds and an epoch, in one process, one
implementation after the other, medians.

    python -m benchmarks.gpu [--rounds N] [--json FILE] [--dry]

Layers: forward and backward of one recurrent ALIF layer, W x included, beside the eager loop,
torch.compile of its step, and torch.nn.LSTM (cuDNN) of the same width at the same precision.
"graph": replayed from a CUDA graph. Seeds: the same layer of 1, 2, 4 and 8 models in one launch.
Epoch: training steps of the task shd on made-up data that lies on the GPU, of one model and of
eight in lockstep. No ratio is printed where a layer does not compute what the reference computes.
SpikingJelly's fused neurons know no recurrent product within their loop over time, and are
therefore not in the table. --dry: tiny, under Triton's interpreter on a CPU (TRITON_INTERPRET=1):
does the script run? Its times say nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import srnn
from benchmarks import networks, parity, report, timing
from benchmarks.shapes import Shape
from srnn import tasks
from srnn.kernels import gpu, lockstep, scan
from srnn.tasks import optimise
from srnn.tasks.settings import override
from srnn.tasks.task import Batch
from srnn.training.chunks import chunks
from srnn.training.graphed import Graphed, capture_cuda

LAYERS = (
    Shape("SHD", 64, 250, 700, (128,), 20, 0.02),
    Shape("S-MNIST", 256, 784, 4, (256,), 10, 0.20),
    Shape("SSC", 32, 250, 700, (400,), 35, 0.02),
    Shape("ECG", 64, 1301, 4, (36,), 6, 0.08),
)
EPOCH = Shape("SHD, whole", 64, 250, 700, (128, 128), 20, 0.02)
TINY_EPOCH = Shape("SHD, tiny", 4, 12, 700, (16,), 20, 0.02)
RECORDINGS = 8156
TINY = (
    Shape("tiny", 8, 10, 5, (16,), 3, 0.5, rate=0.2),
    Shape("tiny, wide", 4, 5, 4, (130,), 3, 0.5, rate=0.2),
)
PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class Place:
    """Where it is measured: the device, and how long to wait until it has done what
    it was given.
    """

    device: str
    dry: bool

    def done(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()


@contextlib.contextmanager
def precision(name: str, device: str) -> Iterator[None]:
    """Take products in a type, as a user would."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        with torch.autocast(device, torch.bfloat16, enabled=name == "bfloat16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def way(name: str) -> Iterator[None]:
    """Let recurrent layers run this way."""
    before, gpu.STEPWISE = gpu.STEPWISE, name == "stepwise"
    try:
        yield
    finally:
        gpu.STEPWISE = before


def ways(n: int, product: str) -> list[str]:
    """Return the ways a recurrent layer of n neurons can run."""
    return (
        ["persistent", "stepwise"]
        if gpu.plan(n, 1, True, product).name == "persistent"
        else ["stepwise"]
    )


@functools.cache
def calibrated(shape: Shape) -> srnn.Stack:
    """Return the network of a shape, firing at its rate, on the CPU; who moves it takes a copy."""
    net = networks.build(shape)
    networks.calibrate(net, shape, shape.data()[0])
    return net


# ── parity ────────────────────────────────────────────────────────────────────────────────────────


def compared(shape: Shape, place: Place) -> list[dict[str, Any]]:
    """Compare every way with the reference loop on the same device, in float32 and float64; exact
    sums, so that no spike may differ.
    """
    rows = []
    x, y = shape.data()
    for dtype in (torch.float32, torch.float64):
        moved = copy.deepcopy(calibrated(shape)).to(place.device, dtype)
        given = x.to(place.device, dtype), y.to(place.device)
        for name in ways(shape.hidden[0], str(dtype).removeprefix("torch.")):
            with way(name):
                found = parity.compare(
                    moved,
                    *given,
                    *(
                        lambda n, x, b=b: n(x, record=True, backend=b)
                        for b in ("reference", "triton")
                    ),
                )
            rows.append(
                {
                    "shape": shape.name,
                    "type": str(dtype).removeprefix("torch."),
                    "way": name,
                    **found.as_dict(),
                }
            )
    return rows


# ── layers ────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Step:
    """Forward and backward pass of a module on x, in a precision and a way, from a CUDA graph if
    asked for; and waiting for the device.
    """

    run: Callable[[Tensor], Tensor]
    module: nn.Module
    x: Tensor
    place: Place
    kind: str = "float32"
    way: str = ""
    graph: bool = False
    replay: Callable[[], None] | None = None

    def work(self) -> None:
        """Hand the work to the device."""
        self.module.zero_grad(set_to_none=True)
        self.run(self.x).square().sum().backward()

    def launch(self) -> None:
        """Hand it over in its precision and way; capture it first if that is asked for."""
        with precision(self.kind, self.place.device), way(self.way):
            if self.graph and self.replay is None:
                self.replay, _ = capture_cuda(self.work, list(self.module.buffers()))
            (self.replay or self.work)()

    def __call__(self) -> None:
        self.launch()
        self.place.done()


def layer_steps(shape: Shape, kind: str, place: Place) -> dict[str, Step]:
    """Return what is timed for a shape in a precision."""
    n, x = shape.hidden[0], shape.data()[0].to(place.device)
    layer = copy.deepcopy(calibrated(shape).layers[0]).to(place.device)
    lstm = nn.LSTM(shape.inputs, n, batch_first=True).to(place.device)
    steps: dict[str, Step] = {}
    captured = (False,) if place.dry else (False, True)
    for graph in captured if kind == "float32" else ():
        steps[f"reference loop{', graph' * graph}"] = Step(
            lambda x: layer(x, backend="reference").output, layer, x, place, kind, graph=graph
        )
    if kind == "float32" and shape is LAYERS[0]:  # half a minute of compilation a shape
        steps["reference loop, step compiled"] = Step(compiled(layer), layer, x, place, kind)
    for name, graph in itertools.product(ways(n, kind), captured):
        steps[f"{name}{', graph' * graph}"] = Step(
            lambda x: layer(x, backend="triton").output, layer, x, place, kind, name, graph
        )
    if kind != "bfloat16" or not place.dry:
        steps["torch.nn.LSTM"] = Step(lambda x: lstm(x)[0], lstm, x, place, kind)
    return steps


def compiled(layer: srnn.Layer) -> Callable[[Tensor], Tensor]:
    """Return the reference loop with torch.compile around what it does in a step."""
    neuron, activation = layer.neuron, layer.activation

    def step(
        I: Tensor, s: Tensor, u: Tensor, eta: Tensor, R: Tensor, c: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, new = neuron.step(torch.addmm(I, s, R.t()), s, {"u": u, "eta": eta}, c)
        return activation(x), new["u"], new["eta"]

    quick = torch.compile(step)

    def run(x: Tensor) -> Tensor:
        weight, bias, R = layer.connections()
        state, outputs = layer.start(len(x)), []
        s, u, eta, c = state["s"], state["u"], state["eta"], neuron.coeffs(layer.constants())
        for I in nn.functional.linear(x, weight, bias).unbind(1):
            s, u, eta = quick(I, s, u, eta, R, c)
            outputs.append(s)
        return torch.stack(outputs, 1)

    return run


# ── seeds ─────────────────────────────────────────────────────────────────────────────────────────


def seed_steps(
    shape: Shape, counts: tuple[int, ...], place: Place
) -> tuple[dict[str, Callable[[], object]], bool]:
    """Return forward and backward of so many models in one launch; and whether each model gets what
    it gets alone.
    """
    layers = [networks.build(shape, seed).layers[0].to(place.device) for seed in range(max(counts))]
    xs = [shape.data(seed)[0].to(place.device) for seed in range(max(counts))]

    def jobs(count: int) -> list[scan.Job]:
        made = []
        for layer, x in zip(layers[:count], xs, strict=False):
            weight, bias, R = layer.connections()
            start = layer.start(len(x))
            made.append(
                scan.Job(
                    layer.neuron,
                    layer.activation,
                    x,
                    R,
                    layer.neuron.coeffs(layer.constants()),
                    start,
                    weight,
                    bias,
                    None,
                    False,
                    "triton",
                )
            )
        return made

    def step(count: int) -> Callable[[], None]:
        def run() -> None:
            torch.autograd.backward([r.output.square().sum() for r in scan.run_many(jobs(count))])
            place.done()

        return run

    with torch.no_grad():
        together, alone = (
            scan.run_many(jobs(max(counts))),
            [scan.run_many([job])[0] for job in jobs(max(counts))],
        )
        same = all(torch.equal(a.output, b.output) for a, b in zip(together, alone, strict=True))
    return {f"{count} in one launch": step(count) for count in counts}, same


# ── an epoch ──────────────────────────────────────────────────────────────────────────────────────


class Epoch:
    """Training steps of the task shd, of so many models in lockstep, from a CUDA graph or not:
    forward pass, loss, backward pass and Adam.
    """

    def __init__(self, models: int, steps: int, graph: bool, place: Place) -> None:
        task = tasks.load("shd")
        if place.dry:
            task = override(task, ["network.hidden=[16]"])
        x, y = (t.to(place.device) for t in (TINY_EPOCH if place.dry else EPOCH).data())
        self.batch = Batch(x, y, torch.full_like(y, x.shape[1]))
        self.task, self.steps, self.place = task, steps, place
        self.nets = [task.build().to(place.device) for _ in range(models)]
        self.optimisers = [task.optimiser.build(net) for net in self.nets]
        made = zip(self.nets, self.optimisers, strict=True)
        self.graphs = (
            [Graphed(net, task, optimiser, "triton", models) for net, optimiser in made]
            if graph
            else []
        )

    def __call__(self) -> None:
        for result in lockstep.together(
            [functools.partial(self.run, k) for k in range(len(self.nets))]
        ):
            if isinstance(result, BaseException):
                raise result
        self.place.done()

    def run(self, k: int) -> None:
        """The steps of one model."""
        for _ in range(self.steps):
            if self.graphs:
                self.graphs[k].step(self.batch)
                continue
            self.optimisers[k].zero_grad()
            (chunk,) = chunks(self.task, self.nets[k], self.batch, "triton")
            lockstep.backward(chunk.loss)
            optimise.step(
                self.nets[k],
                self.optimisers[k],
                self.task.clip_norm,
                optimise.gradient_norm(self.nets[k]),
            )


# ── the tables ────────────────────────────────────────────────────────────────────────────────────


def main(argv: list[str] | None = None) -> int:
    """Compare, measure, print; return 1 where parity does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--dry",
        action="store_true",
        help="tiny shapes under Triton's interpreter: does the script run?",
    )
    args = parser.parse_args(argv)
    if args.dry and not gpu.interpreting():
        parser.error("--dry runs under Triton's interpreter: set TRITON_INTERPRET=1.")
    if not args.dry and (gpu.interpreting() or not torch.cuda.is_available()):
        parser.error(
            "there is no GPU here (torch.cuda.is_available()), or TRITON_INTERPRET is "
            "set. With --dry the script runs on a CPU."
        )
    place = Place("cpu" if args.dry else "cuda", args.dry)
    shapes, counts, rounds = (TINY, (1, 2), 1) if args.dry else (LAYERS, (1, 2, 4, 8), args.rounds)
    out = report.console()
    out.print(
        f"torch {torch.__version__}, "
        f"{'Triton interpreter: times say nothing' if args.dry else torch.cuda.get_device_name()}",
        markup=False,
    )
    found: dict[str, Any] = {"parity": [], "layers": [], "seeds": [], "epoch": []}

    for shape in shapes:
        found["parity"] += compared(shape, place)
    columns = (
        "shape",
        "type",
        "way",
        "recordings",
        "spikes",
        "spike-equal",
        "potentials",
        "gradients",
        "holds",
    )
    lines = [
        [
            r["shape"],
            r["type"],
            r["way"],
            str(r["recordings"]),
            str(r["spikes"]),
            f"{r['unflipped']:.0%}",
            f"{r['potential']:.0e}",
            f"{r['gradient']:.0e}",
            "yes" if r["holds"] else r["why"],
        ]
        for r in found["parity"]
    ]
    out.print(report.table("Parity with the reference loop", columns, lines, text_columns=3))
    holds = {
        s.name: all(r["holds"] for r in found["parity"] if r["shape"] == s.name) for s in shapes
    }

    for shape in shapes:
        lines, base = [], None
        for kind in PRECISIONS:
            times = timing.alternate(layer_steps(shape, kind, place), rounds)
            base = base or times["reference loop"]
            lstm = times.get("torch.nn.LSTM")
            for name, kept in times.items():
                why = "" if holds[shape.name] else "no parity"
                against = (
                    report.ratio_cell(lstm, kept, why)
                    if lstm is not None and name != "torch.nn.LSTM"
                    else ""
                )
                lines.append(
                    [
                        name,
                        kind,
                        report.time_cell(kept),
                        report.ratio_cell(base, kept, why),
                        against,
                    ]
                )
                found["layers"].append(
                    {"shape": shape.name, "what": name, "precision": kind, **kept.as_dict()}
                )
        columns = ("implementation", "products", "forward + backward", "× reference", "× LSTM")
        out.print(report.table(f"{shape.name}: {shape.sizes()}", columns, lines, text_columns=2))

    for shape in shapes[:1] if args.dry else (LAYERS[0], LAYERS[3]):
        steps, same = seed_steps(shape, counts, place)
        times = timing.alternate(steps, rounds)
        one = times["1 in one launch"]
        lines = [
            [name, report.time_cell(kept), f"{kept.median / one.median:.2f}"]
            for name, kept in times.items()
        ]
        title = (
            f"Seeds: {shape.name}; outputs of each are {'those' if same else 'NOT those'} of "
            "it alone"
        )
        out.print(report.table(title, ("models", "forward + backward", "time of one"), lines))
        found["seeds"] += [
            {"shape": shape.name, "what": name, "same": same, **kept.as_dict()}
            for name, kept in times.items()
        ]

    recordings, batch = (8, TINY_EPOCH.batch) if args.dry else (RECORDINGS, EPOCH.batch)
    steps = {
        f"{models} model{'s' * (models > 1)}{', graph' * graph}": Epoch(
            models, -(-recordings // batch), graph, place
        )
        for graph, models in itertools.product(
            (False,) if args.dry else (False, True), (1, counts[-1])
        )
    }
    times = timing.alternate(steps, 1 if args.dry else 3)
    lines = [
        [
            name,
            report.time_cell(kept),
            f"{kept.median / times['1 model' + ', graph' * ('graph' in name)].median:.2f}",
        ]
        for name, kept in times.items()
    ]
    out.print(
        report.table(
            f"An epoch of {recordings} recordings in batches of {batch}",
            ("what", "time", "time of one"),
            lines,
        )
    )
    found["epoch"] = [{"what": name, **kept.as_dict()} for name, kept in times.items()]
    report.write_json(args.json, found)
    return int(not all(holds.values()))


if __name__ == "__main__":
    sys.exit(main())
