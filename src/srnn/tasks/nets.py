"""The networks of the papers, as a task has them: sizes and constants by name, built for the shape of the data.

`AdaptiveNetwork` is that of Yin, Corradi & Bohté 2020 and 2021, `CurrentNetwork` that of Bittar & Garner 2022, `LstmNetwork` what they are compared
with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from srnn import cells, init
from srnn._check import ConfigError, check_range
from srnn.activations import Identity, Spike
from srnn.layers import BatchNorm, Bidirectional, Layer, LayerNorm, Readout
from srnn.networks import Stack
from srnn.neuron import Neuron
from srnn.neurons import ALIF, AdLIF, AlphaLeaky, Leaky, SoftLIF, SparchAdLIF, SparchLIF
from srnn.surrogates import Boxcar, MultiGaussian

Start = Literal["orthogonal", "xavier", "fan_in", "kaiming", "zeros"]
_STARTS: dict[str, Callable[[Tensor], None]] = {
    "orthogonal": init.Orthogonal(),
    "xavier": init.XavierUniform(),
    "fan_in": init.FanIn(),
    "kaiming": init.KaimingNormal(),
    "zeros": init.Zeros(),
}


@dataclass(frozen=True)
class AdaptiveNetwork:
    """Layers of adaptive LIF neurons with trained time constants (Yin, Corradi & Bohté 2021).

    hidden: neurons of each hidden layer; recurrent: for each, whether it is; bidirectional: the first one runs in both directions, side by side.
    output: "leaky", integrators read by their potential, or "spiking", one more layer of ALIF. Time constants (steps) are drawn from
    N(mean, sd), one a neuron, and trained: tau_m and tau_adp of the ALIF, tau_out of leaky read-outs; they are kept at tau_min or more
    (None = never clamped, as published). beta: strength of adaptation, 0 = none. sigma, gain: width and height of the Multi-Gaussian surrogate.
    weight_gain: factor on the Xavier start of the matrices between layers.
    recurrent_start: how the recurrent matrices start, one for all or one a layer. dropout: fraction of spikes that do not reach the next layer.
    """

    hidden: tuple[int, ...] = (128, 128)
    recurrent: tuple[bool, ...] = (True, True)
    output: Literal["leaky", "spiking"] = "leaky"
    bidirectional: bool = False
    b0: float = 0.01
    beta: float = 1.8
    tau_m: tuple[float, float] = (20.0, 5.0)
    tau_adp: tuple[float, float] = (150.0, 10.0)
    tau_out: tuple[float, float] = (20.0, 5.0)
    tau_min: float | None = 1.0
    sigma: float = 0.5
    gain: float = 0.5
    weight_gain: float = 1.0
    recurrent_start: tuple[Start, ...] = ("orthogonal",)
    norm: Literal["batch", "layer"] | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse lists that do not fit each other."""
        if len(self.recurrent) != len(self.hidden):
            raise ConfigError(f"network.hidden has {len(self.hidden)} layers, network.recurrent {len(self.recurrent)}; give one true or false each.")
        if len(self.recurrent_start) not in (1, len(self.hidden)):
            raise ConfigError(
                f"network.recurrent_start has {len(self.recurrent_start)} entries for {len(self.hidden)} layers; give one, or one each."
            )
        check_range("network.dropout", self.dropout, 0.0, 1.0)

    def _tau(self, given: tuple[float, float]) -> init.Normal:
        return init.Normal(*given, low=self.tau_min)

    def build(self, inputs: int, classes: int) -> Stack:
        neuron, spike = (
            ALIF(self._tau(self.tau_m), self._tau(self.tau_adp), self.b0, self.beta),
            Spike(MultiGaussian(sigma=self.sigma, gain=self.gain)),
        )
        starts = self.recurrent_start * (len(self.hidden) if len(self.recurrent_start) == 1 else 1)
        layers: list[Layer | Bidirectional] = []
        for k, (n, loop) in enumerate(zip(self.hidden, self.recurrent, strict=True)):
            more: dict[str, Any] = {"recurrent_bias": loop, "recurrent_init": _STARTS[starts[k]], "norm": _norm(self.norm), "dropout": self.dropout}
            more["weight_init"] = init.XavierUniform(self.weight_gain)
            layer = Layer(inputs, n, neuron, spike, recurrent=loop, **more)
            layers.append(Bidirectional(layer) if self.bidirectional and not k else layer)
            inputs = layers[-1].outputs
        if self.output == "leaky":
            return Stack(*layers, Readout(inputs, classes, Leaky(self._tau(self.tau_out))))
        return Stack(*layers, Layer(inputs, classes, neuron, spike, recurrent=False, weight_init=init.XavierUniform(self.weight_gain)))


@dataclass(frozen=True)
class CurrentNetwork:
    """Equal layers of LIF neurons with or without an adaptation current (Bittar & Garner 2022).

    layers counts the read-out, a layer of leaky integrators. neuron: "LIF", "adLIF", or with recurrence "RLIF", "RadLIF".
    form: "sparch", what the published code computes and the published numbers came from, or "paper", its equations; they differ (see
    `srnn.neurons.adlif`). stable: keep sparch's adaptation where it cannot diverge (recordings beyond 250 steps need it).
    norm: of the feed-forward current, read-out included; bias: where there is no norm to supply it.
    sparsity: fraction of the connections between layers and of the recurrent ones, read-out excluded, that are removed for good.
    """

    neuron: Literal["LIF", "adLIF", "RLIF", "RadLIF"] = "RadLIF"
    hidden: int = 128
    layers: int = 3
    form: Literal["sparch", "paper"] = "sparch"
    stable: bool = False
    norm: Literal["batch", "layer"] | None = "batch"
    bias: bool = False
    dropout: float = 0.1
    bidirectional: bool = False
    sparsity: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        check_range("network.layers", self.layers, 2)
        check_range("network.dropout", self.dropout, 0.0, 1.0)

    def build(self, inputs: int, classes: int) -> Stack:
        adaptive, recurrent = "ad" in self.neuron, self.neuron.startswith("R")
        if self.form == "sparch":
            neuron: Neuron = SparchAdLIF(stable=self.stable) if adaptive else SparchLIF()
        else:
            neuron = AdLIF() if adaptive else SoftLIF()
        spike = Spike(Boxcar(gain=1.0 if self.form == "sparch" else 0.5), at_threshold=self.form == "paper")
        readout = AlphaLeaky() if self.form == "sparch" else AlphaLeaky(init.Uniform(0.60, 0.96, clamp=True))
        layers: list[Layer | Bidirectional] = []
        common: dict[str, Any] = {"bias": self.bias, "norm": _norm(self.norm), "weight_init": init.FanIn()}
        for _ in range(self.layers - 1):
            more = {**common, "zero_diagonal": True, "recurrent_sparsity": self.sparsity} if recurrent else common
            layer = Layer(inputs, self.hidden, neuron, spike, recurrent=recurrent, dropout=self.dropout, sparsity=self.sparsity, **more)
            layers.append(Bidirectional(layer, layer) if self.bidirectional else layer)
            inputs = layers[-1].outputs
        return Stack(*layers, Readout(inputs, classes, readout, **common))


@dataclass(frozen=True)
class LstmNetwork:
    """Layers of LSTM cells, as torch.nn.LSTM has them (weights uniform within ± 1/sqrt(hidden)), and a linear read-out of every step."""

    hidden: int = 128
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        check_range("network.layers", self.layers, 1)
        check_range("network.dropout", self.dropout, 0.0, 1.0)

    def build(self, inputs: int, classes: int) -> Stack:
        layers: list[Layer | Bidirectional] = []
        start = init.UniformWeight(1 / math.sqrt(self.hidden))
        for _ in range(self.layers):
            more: dict[str, Any] = {"recurrent_bias": True, "weight_init": start, "recurrent_init": start, "dropout": self.dropout}
            layer = Layer(inputs, self.hidden, cells.LSTM(), Identity(), **more)
            layers.append(Bidirectional(layer) if self.bidirectional else layer)
            inputs = layers[-1].outputs
        return Stack(*layers, Readout(inputs, classes, AlphaLeaky(0.0), weight_init=init.FanIn()))


Networks = AdaptiveNetwork | CurrentNetwork | LstmNetwork
"""What any task may take as `network`, beside one of its own."""


def _norm(kind: str | None) -> BatchNorm | LayerNorm | None:
    return None if kind is None else BatchNorm() if kind == "batch" else LayerNorm()
