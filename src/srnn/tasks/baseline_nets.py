"""The networks that the papers compare spiking ones with, under the same call and the same training
(`--set network=CellNetwork`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from srnn import cells, init
from srnn._check import ConfigError, check_range
from srnn.activations import Activation, Identity, Relu
from srnn.neuron import Neuron
from srnn.neurons import IF
from srnn.nn.baselines import CausalConv, CumulativeReadout, Exponential, Tandem
from srnn.nn.bidirectional import Bidirectional, Concat, Mean
from srnn.nn.layers import BatchNorm, Layer, Part, Readout
from srnn.nn.networks import Stack
from srnn.tasks.nets import AdaptiveNetwork, CurrentNetwork, hidden_layers, norm_of

Cell = Literal[
    "MLP",
    "RNN",
    "RNN-tanh",
    "RNN-ReLU",
    "LSTM",
    "GRU",
    "LiGRU",
    "LiBRU",
    "LiBRU-log",
    "LiBRU-probs",
    "IndRNN",
]
_CELLS: dict[str, tuple[Neuron, Activation]] = {
    "MLP": (cells.Elman(logistic=True), Identity()),
    "RNN": (cells.Elman(logistic=True), Identity()),
    "RNN-tanh": (cells.Elman(), Identity()),
    "RNN-ReLU": (cells.Dense(), Relu()),
    "LSTM": (cells.LSTM(), Identity()),
    "GRU": (cells.GRU(), Identity()),
    "LiGRU": (cells.LiGRU(), Identity()),
    "LiBRU": (cells.LiBRU(), Identity()),
    "LiBRU-log": (cells.LiBRU(arithmetic=True), Identity()),
    "LiBRU-probs": (cells.LiBRUProbability(), Identity()),
    "IndRNN": (cells.IndRNN(), Relu()),
}
_BY_ITSELF = ("MLP", "IndRNN")
"""Cells without a recurrent matrix."""


@dataclass(frozen=True)
class CellNetwork:
    """Layers of an artificial cell and a read-out.

    cell: "MLP" (logistic, no recurrence), "RNN" (logistic, Bittar's), "RNN-tanh" (torch's),
    "RNN-ReLU", "LSTM", "GRU" (as torch.nn has them), "LiGRU", "LiBRU" (softplus candidate,
    geometric mean), "LiBRU-log" and "LiBRU-probs" (the two other published forms), "IndRNN" (ReLU).
    hidden: units of each layer. bidirectional: every layer; merge: both directions side by side, or
    their mean, as the energies of Yin 2021 have it.
    head: sizes of dense ReLU layers before the read-out; the published Bi-LSTM "290" is
    hidden=[120,40], bidirectional, merge=mean, head=[100,20].
    readout: "linear" at every step; "cumulative", Bittar's as coded (Σ softmax over the last
    layer's units, then a linear layer; decode.pool=last); "own": the last layer is one more layer
    of the cell, with a unit for each class (Bittar's MLP as described; decode.pool=softmax_sum).
    norm: of the feed-forward part (and of the scores of a cumulative read-out). dropout: of the
    outputs of the layers.
    weights: "torch", uniform within ± 1/sqrt(hidden), as torch.nn.LSTM starts; "bittar", W uniform
    within ± 1/sqrt(inputs), R orthogonal.
    """

    cell: Cell = "LSTM"
    hidden: tuple[int, ...] = (128,)
    bidirectional: bool = False
    merge: Literal["concat", "mean"] = "concat"
    head: tuple[int, ...] = ()
    readout: Literal["linear", "cumulative", "own"] = "linear"
    norm: Literal["batch", "layer"] | None = None
    dropout: float = 0.0
    weights: Literal["torch", "bittar"] = "torch"

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        if not self.hidden:
            raise ConfigError(
                "network.hidden is empty; give the units of each layer, as [128,128]."
            )
        check_range("network.dropout", self.dropout, 0.0, 1.0)

    def build(self, inputs: int, classes: int) -> Stack:
        """Return the network."""

        def hidden(k: int, inputs: int, n: int) -> Iterator[Part]:
            last = k == len(self.hidden)  # the cell is its own read-out
            layer = self._layer(inputs, n, 0.0 if last else self.dropout)
            merge = Concat() if self.merge == "concat" else Mean()
            both = self.bidirectional and not last
            part: Part = Bidirectional(layer, merge=merge) if both else layer
            yield part
            if self.cell == "LiBRU-probs":
                yield Exponential(part.outputs)

        def dense(k: int, inputs: int, n: int) -> tuple[Part]:
            return (Layer(inputs, n, cells.Dense(), Relu(), recurrent=False, weight_init=start),)

        start, own = init.FanIn(), self.readout == "own"
        layers, inputs = hidden_layers(inputs, (*self.hidden, *[classes] * own), hidden)
        head, inputs = hidden_layers(inputs, self.head, dense)
        if own:
            return Stack(*layers, *head)
        if self.readout == "linear":
            return Stack(*layers, *head, Readout(inputs, classes, cells.Dense(), weight_init=start))
        norm = BatchNorm() if self.norm == "batch" else None
        return Stack(*layers, *head, CumulativeReadout(inputs, classes, norm=norm))

    def _layer(self, inputs: int, n: int, dropout: float) -> Layer:
        neuron, activation = _CELLS[self.cell]
        torch_start, loop = init.UniformWeight(1 / math.sqrt(n)), self.cell not in _BY_ITSELF
        more: dict[str, Any] = {"weight_init": torch_start, "recurrent_init": torch_start}
        if self.weights == "bittar":
            more = {"weight_init": init.FanIn(), "recurrent_init": init.Orthogonal()}
        # torch's two biases; of a GRU they are the blocks of one
        both = loop and self.cell == "LSTM"
        return Layer(
            inputs,
            n,
            neuron,
            activation,
            recurrent=loop,
            recurrent_bias=both,
            norm=norm_of(self.norm),
            dropout=dropout,
            **more,
        )


@dataclass(frozen=True)
class TandemNetwork:
    """Layers of integrate-and-fire neurons trained by tandem learning (Wu et al. 2021), and a
    linear layer of their spike counts (decode.pool=last).

    threshold: of the neurons. dropout: of the spikes of a layer, in training.
    """

    hidden: tuple[int, ...] = (128, 128)
    threshold: float = 1.0
    dropout: float = 0.0

    def build(self, inputs: int, classes: int) -> Stack:
        """Return the network."""
        more: dict[str, Any] = {"bias": False, "weight_init": init.FanIn()}

        def hidden(k: int, inputs: int, n: int) -> tuple[Part]:
            neuron, dropout = IF(self.threshold), self.dropout
            return (Tandem(Layer(inputs, n, neuron, recurrent=False, dropout=dropout, **more)),)

        layers, inputs = hidden_layers(inputs, self.hidden, hidden)
        return Stack(*layers, Readout(inputs, classes, cells.Sum(), **more))


@dataclass(frozen=True)
class ConvNetwork:
    """Causal convolutions over time, each `kernel` steps wide and reaching back `dilation`^k steps,
    and a linear read-out of every step.

    The architecture is ours. channels: of each layer.
    """

    channels: tuple[int, ...] = (64, 64, 64)
    kernel: int = 5
    dilation: int = 2
    norm: Literal["batch"] | None = "batch"
    dropout: float = 0.0

    def build(self, inputs: int, classes: int) -> Stack:
        """Return the network."""

        def hidden(k: int, inputs: int, n: int) -> tuple[Part]:
            norm, reach = BatchNorm() if self.norm is not None else None, self.dilation**k
            return (CausalConv(inputs, n, self.kernel, reach, norm=norm, dropout=self.dropout),)

        layers, inputs = hidden_layers(inputs, self.channels, hidden)
        return Stack(*layers, Readout(inputs, classes, cells.Dense(), weight_init=init.FanIn()))


Networks = AdaptiveNetwork | CurrentNetwork | CellNetwork | TandemNetwork | ConvNetwork
"""What any task may take as `network`."""
