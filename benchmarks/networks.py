"""The network of a shape, ours and torch's, its loss and its training step; and the dense products
alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

import srnn
from benchmarks.calibrate import RECORDINGS, check_rates, find_gain
from benchmarks.shapes import ANALOG_GRID, Shape

LEARNING_RATE = 1e-8
"""So small that the weights, and with them the firing rates, stay what they were while steps are
timed; Adam's work is the same.
"""


def build(shape: Shape, seed: int = 0) -> srnn.Stack:
    """Return the network of a shape, not yet calibrated: recurrent ALIF, trained constants,
    Multi-Gaussian surrogate; leaky read-out.
    """
    torch.manual_seed(seed)
    hidden = [
        srnn.Layer(below, above, srnn.ALIF()) for below, above in itertools.pairwise(shape.widths)
    ]
    return srnn.Stack(*hidden, srnn.Readout(shape.hidden[-1], shape.classes))


def hidden_layers(net: srnn.Stack) -> list[srnn.Layer]:
    """Return the spiking layers."""
    return [
        layer for layer in net.parts() if isinstance(layer, srnn.Layer) and layer.activation.binary
    ]


@torch.no_grad()
def calibrate(net: srnn.Stack, shape: Shape, x: Tensor) -> tuple[float, ...]:
    """Scale the input weights of each hidden layer until it fires at the wanted rate; put all
    weights on a grid; return the rates on all of x.
    """
    h, grid = x[:RECORDINGS], 1.0 if shape.density is not None else ANALOG_GRID
    for layer in hidden_layers(net):
        start = layer.weight.clone()

        def rate(
            gain: float,
            layer: srnn.Layer = layer,
            start: Tensor = start,
            h: Tensor = h,
            grid: float = grid,
        ) -> float:
            layer.weight.copy_(start * gain)
            to_grid(layer, float(h.abs().max()), grid)
            return float(layer(h, backend="reference").output.mean())

        find_gain(rate, shape.rate)
        h, grid = layer(h, backend="reference").output, 1.0
    rates: tuple[float, ...] = net(x, record=True, backend="reference").trace.rates()[:-1]
    check_rates("srnn", shape, rates)
    return rates


@torch.no_grad()
def to_grid(layer: srnn.Layer, largest_input: float, input_grid: float) -> None:
    """Round W and R to multiples of a power of two so that W x + R s is exact in float32, in
    whatever order it is summed.

    Rounding differences then cannot flip a spike, and two implementations that order their sums
    differently must agree spike for spike: a network of this size otherwise loses many of its
    recordings to a single flip somewhere in it. Inputs are multiples of `input_grid` (events: 1),
    so that what is summed are multiples of grid · input_grid, and no partial sum exceeds 2^24 of
    them.
    """
    bound = layer.weight.abs().sum(1).max() * largest_input
    if layer.recurrent is not None:
        bound = bound + layer.recurrent.abs().sum(1).max()
    grid = 2.0 ** (math.ceil(math.log2(float(bound) / input_grid)) - 23)
    for weight in (layer.weight, layer.recurrent):
        if weight is not None:
            weight.copy_((weight / grid).round() * grid)


class Gated(nn.Module):
    """torch.nn.LSTM or torch.nn.RNN of the widths of a shape, with a linear read-out of every step.

    Time first: (T, B, C), its best case.
    """

    def __init__(self, kind: type[nn.LSTM] | type[nn.RNN], shape: Shape) -> None:
        super().__init__()
        pairs = itertools.pairwise(shape.widths)
        same = len(set(shape.hidden)) == 1
        self.cells = nn.ModuleList(
            [kind(shape.inputs, shape.hidden[0], len(shape.hidden))]
            if same
            else [kind(a, b) for a, b in pairs]
        )
        self.readout = nn.Linear(shape.hidden[-1], shape.classes)

    def forward(self, x: Tensor) -> Tensor:
        """x: (T, B, C). Returns (T, B, K)."""
        for cell in self.cells:
            x = cell(x)[0]
        scores: Tensor = self.readout(x)
        return scores


class TrainingStep:
    """One training step when called: forward, cross entropy of the mean over time of the read-out,
    backward, Adam.

    module: what Adam trains. forward: from x to the read-out of every step; time: its time axis.
    """

    def __init__(
        self,
        module: nn.Module,
        forward: Callable[[Tensor], Tensor],
        x: Tensor,
        labels: Tensor,
        time: int,
    ) -> None:
        self.module, self.forward, self.x, self.labels, self.time = module, forward, x, labels, time
        self.optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)

    def loss(self) -> Tensor:
        """Return the loss, with its graph."""
        return functional.cross_entropy(self.forward(self.x).mean(self.time), self.labels)

    def __call__(self) -> float:
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())


def ours(net: srnn.Stack, x: Tensor, labels: Tensor, backend: str) -> TrainingStep:
    """Return the training step of our network on one backend."""
    return TrainingStep(net, lambda x: net(x, backend=backend).potential, x, labels, time=1)


def gated(
    kind: type[nn.LSTM] | type[nn.RNN], shape: Shape, x: Tensor, labels: Tensor
) -> TrainingStep:
    """Return the training step of torch.nn.LSTM or torch.nn.RNN."""
    torch.manual_seed(0)
    module = Gated(kind, shape)
    return TrainingStep(module, module, x.transpose(0, 1).contiguous(), labels, time=0)


class DenseProducts:
    """The products of one training step as dense matrix products and nothing else, each for all
    steps at once, into memory that is there already.

    Feed-forward: W x, dW, and dx except for the first layer. Recurrent: R s, dI·R, dR.
    """

    def __init__(self, shape: Shape) -> None:
        rows = shape.batch * shape.steps
        ends = (*shape.widths, shape.classes)
        self.products: list[tuple[Tensor, Tensor, Tensor]] = []
        signals = [torch.rand(rows, n) for n in ends]
        for k, (below, above) in enumerate(itertools.pairwise(ends)):
            x, dI, W = signals[k], signals[k + 1], torch.rand(above, below)
            self._add(x, W.t())
            self._add(dI.t(), x)
            if k:
                self._add(dI, W)
            if k < len(shape.hidden):
                R = torch.rand(above, above)
                self._add(dI, R.t())
                self._add(dI, R)
                self._add(dI.t(), dI)
        self.flop = sum(2 * a.shape[0] * a.shape[1] * b.shape[1] for a, b, _ in self.products)

    def _add(self, a: Tensor, b: Tensor) -> None:
        self.products.append((a, b, torch.empty(a.shape[0], b.shape[1])))

    def __call__(self) -> float:
        for a, b, out in self.products:
            torch.mm(a, b, out=out)
        return 0.0
