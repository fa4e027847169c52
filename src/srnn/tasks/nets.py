"""The spiking networks of the papers, as a task has them: sizes and constants by name, built for
the shape of the data.

`AdaptiveNetwork` is that of Yin, Corradi & Bohté 2020 and 2021, `CurrentNetwork` that of Bittar &
Garner 2022. What they are compared with is in `srnn.tasks.baseline_nets`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from srnn import init
from srnn._check import ConfigError, check_range
from srnn.activations import Activation, Relu, Spike
from srnn.neuron import Neuron
from srnn.neurons import (
    ALIF,
    LIF,
    AdLIF,
    AlphaLeaky,
    Leaky,
    SoftLIF,
    SparchAdLIF,
    SparchLIF,
    ThresholdLIF,
    YinLIF,
)
from srnn.nn.bidirectional import Bidirectional
from srnn.nn.layers import BatchNorm, Layer, LayerNorm, Part, Readout
from srnn.nn.networks import Stack
from srnn.surrogates import (
    Boxcar,
    FastSigmoid,
    Gaussian,
    MGLeft,
    MGRight,
    MultiGaussian,
    Sigmoid,
    SLayer,
    Triangular,
)

Surrogates = (
    MultiGaussian
    | MGLeft
    | MGRight
    | Gaussian
    | Triangular
    | SLayer
    | Boxcar
    | FastSigmoid
    | Sigmoid
)
"""What stands in for the derivative of a spike."""

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

    hidden: neurons of each hidden layer; recurrent: whether they are, one for all or one each;
    bidirectional: the first one runs in both directions, side by side.
    output: "leaky", integrators read by their potential, or "spiking", one more layer of the same
    neurons.
    neuron: "ALIF", "LIF" (2021, eqs 2-4; b0 is its threshold) or "YinLIF" (as scripted, nothing
    trained). adaptive: fraction of the hidden ALIF, drawn at random, that adapt; the others have β
    = 0 (with `trained=[]` an LSNN, Bellec et al. 2018).
    b0, beta: base threshold and strength of adaptation, 0 = none; beta_out: that of a spiking
    output where it differs; eta0: the adaptation before the first step.
    Time constants (steps) start at N(mean, sd), one a neuron, and are kept at tau_min or more (None
    = never clamped, as published): tau_m and tau_adp of the hidden neurons and of a spiking output
    (tau_adp_out where that differs), tau_out of leaky read-outs. trained: which of them are;
    shared: one for a whole layer.
    surrogate: of the spikes. activation: "relu" makes the non-spiking twin. weight_gain: factor on
    the Xavier start of the matrices between layers.
    recurrent_start: how the recurrent matrices start, one for all or one a layer. dropout: fraction
    of spikes that do not reach the next layer.
    sparsity: fraction of the connections into hidden layers and within them that are removed for
    good.
    """

    hidden: tuple[int, ...] = (128, 128)
    recurrent: tuple[bool, ...] = (True,)
    output: Literal["leaky", "spiking"] = "leaky"
    bidirectional: bool = False
    neuron: Literal["ALIF", "LIF", "YinLIF"] = "ALIF"
    adaptive: float = 1.0
    b0: float = 0.01
    beta: float = 1.8
    beta_out: float | None = None
    eta0: float = 0.0
    tau_m: tuple[float, float] = (20.0, 5.0)
    tau_adp: tuple[float, float] = (150.0, 10.0)
    tau_adp_out: tuple[float, float] | None = None
    tau_out: tuple[float, float] = (20.0, 5.0)
    tau_min: float | None = 1.0
    trained: tuple[Literal["tau_m", "tau_adp", "tau_out"], ...] = ("tau_m", "tau_adp", "tau_out")
    shared: bool = False
    surrogate: Surrogates = MultiGaussian()
    activation: Literal["spike", "relu"] = "spike"
    weight_gain: float = 1.0
    recurrent_start: tuple[Start, ...] = ("orthogonal",)
    norm: Literal["batch", "layer"] | None = None
    dropout: float = 0.0
    sparsity: float = 0.0

    def __post_init__(self) -> None:
        """Refuse lists that do not fit each other."""
        for name in ("recurrent", "recurrent_start"):
            if (given := len(getattr(self, name))) not in (1, len(self.hidden)):
                raise ConfigError(
                    f"network.{name} has {given} entries for {len(self.hidden)} "
                    "layers; give one for all, or one each."
                )
        for name in ("dropout", "adaptive", "sparsity"):
            check_range(f"network.{name}", getattr(self, name), 0.0, 1.0)
        check_range("network.eta0", self.eta0)
        if self.eta0 and self.neuron != "ALIF":
            raise ConfigError(
                f"network.eta0={self.eta0:g}: {self.neuron} does not adapt. "
                "Use network.neuron=ALIF."
            )
        if self.activation == "relu" and self.neuron != "ALIF":
            raise ConfigError(
                f"network.activation=relu: {self.neuron} resets by (1 - s)·u, which turns "
                "negative where s > 1. Use network.neuron=ALIF."
            )

    def _tau(self, name: str, given: tuple[float, float]) -> init.Constant | init.Normal:
        train = name in self.trained
        if not given[1]:
            return init.Constant(given[0], train, self.shared, self.tau_min)
        return init.Normal(*given, train=train, shared=self.shared, low=self.tau_min)

    def _neuron(self, n: int, *, out: bool = False) -> Neuron:
        tau_m = self._tau("tau_m", self.tau_m)
        if self.neuron == "LIF":
            return LIF(tau_m, self.b0)
        if self.neuron == "YinLIF":
            return YinLIF()
        tau_adp = self._tau(
            "tau_adp", self.tau_adp_out if out and self.tau_adp_out is not None else self.tau_adp
        )
        beta = self.beta_out if out and self.beta_out is not None else self.beta
        if out or self.adaptive == 1:
            return ALIF(tau_m, tau_adp, self.b0, beta, self.eta0)
        adapts = torch.zeros(n)
        adapts[torch.randperm(n)[: round(self.adaptive * n)]] = beta
        return ALIF(tau_m, tau_adp, self.b0, init.Fixed(adapts.tolist()), self.eta0)

    def build(self, inputs: int, classes: int) -> Stack:
        """Return the network."""
        fire: Activation = Spike(self.surrogate) if self.activation == "spike" else Relu()
        between = init.XavierUniform(self.weight_gain)

        def hidden(k: int, inputs: int, n: int) -> tuple[Part]:
            loop = self.recurrent[k % len(self.recurrent)]
            layer = Layer(
                inputs,
                n,
                self._neuron(n),
                fire,
                recurrent=loop,
                recurrent_bias=loop,
                weight_init=between,
                recurrent_init=_STARTS[self.recurrent_start[k % len(self.recurrent_start)]],
                norm=norm_of(self.norm),
                dropout=self.dropout,
                sparsity=self.sparsity,
                recurrent_sparsity=self.sparsity if loop else 0.0,
            )
            return (Bidirectional(layer) if self.bidirectional and not k else layer,)

        layers, inputs = hidden_layers(inputs, self.hidden, hidden)
        if self.output == "leaky":
            readout = Leaky(self._tau("tau_out", self.tau_out))
            return Stack(*layers, Readout(inputs, classes, readout))
        neuron = self._neuron(classes, out=True)
        last = Layer(inputs, classes, neuron, fire, recurrent=False, weight_init=between)
        return Stack(*layers, last)


@dataclass(frozen=True)
class CurrentNetwork:
    """Equal layers of LIF neurons with or without adaptation (Bittar & Garner 2022).

    layers counts the read-out, a layer of leaky integrators; output="spiking" makes it one of the
    same neurons, without recurrence.
    neuron: "LIF", "adLIF", or with recurrence "RLIF", "RadLIF". adaptation: by a "current", or in
    its place by a moving "threshold" (Table 11).
    form: "sparch", what the published code computes and the published numbers came from, or
    "paper", its equations; they differ (see `srnn.neurons.adlif`). stable: keep sparch's adaptation
    where it cannot diverge (recordings beyond 250 steps need it).
    constants: "trained", or "fixed" where they start; heterogeneous: one a neuron, else one a
    layer, in the middle of their range.
    norm: of the feed-forward current, read-out included; bias: where there is no norm to supply it.
    sparsity: fraction of connections that are removed for good, in sparse="hidden": all but the
    read-out's, recurrent ones too (Table 10), or in "first": those from the input only (Table 9).
    surrogate: None = the boxcar of that form.
    """

    neuron: Literal["LIF", "adLIF", "RLIF", "RadLIF"] = "RadLIF"
    hidden: int = 128
    layers: int = 3
    output: Literal["leaky", "spiking"] = "leaky"
    adaptation: Literal["current", "threshold"] = "current"
    form: Literal["sparch", "paper"] = "sparch"
    stable: bool = False
    constants: Literal["trained", "fixed"] = "trained"
    heterogeneous: bool = True
    norm: Literal["batch", "layer"] | None = "batch"
    bias: bool = False
    dropout: float = 0.1
    bidirectional: bool = False
    sparsity: float = 0.0
    sparse: Literal["hidden", "first"] = "hidden"
    surrogate: Surrogates | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        check_range("network.layers", self.layers, 2)
        check_range("network.dropout", self.dropout, 0.0, 1.0)

    def _neuron(self) -> Neuron:
        adaptive, sparch = "ad" in self.neuron, self.form == "sparch"
        if adaptive and self.adaptation == "threshold":
            return self._with_constants(ThresholdLIF())
        if sparch:
            return self._with_constants(
                SparchAdLIF(stable=self.stable) if adaptive else SparchLIF()
            )
        return self._with_constants(AdLIF() if adaptive else SoftLIF())

    def _with_constants(self, neuron: Neuron) -> Neuron:
        """Return the neuron with its ranges trained or fixed, one number a neuron or
        one a layer.
        """
        changed = {}
        for name, value in neuron.constants().items():
            if isinstance(value, init.Uniform):
                value = replace(value, train=self.constants == "trained")
                if not self.heterogeneous:
                    middle = 0.5 * (value.low + value.high)
                    value = replace(value, low=middle, high=middle, shared=True, clamp=False)
                changed[name] = value
        return replace(neuron, **changed)

    def build(self, inputs: int, classes: int) -> Stack:
        """Return the network."""
        recurrent, sparch = self.neuron.startswith("R"), self.form == "sparch"
        spike = Spike(
            self.surrogate or Boxcar(gain=1.0 if sparch else 0.5), at_threshold=not sparch
        )
        readout = self._with_constants(
            AlphaLeaky() if sparch else AlphaLeaky(init.Uniform(0.60, 0.96, clamp=True))
        )
        norm, start = norm_of(self.norm), init.FanIn()
        common: dict[str, Any] = {"bias": self.bias, "norm": norm, "weight_init": start}
        everywhere = self.sparse == "hidden"

        def hidden(k: int, inputs: int, n: int) -> tuple[Part]:
            more = {"sparsity": self.sparsity if everywhere or not k else 0.0, **common}
            if recurrent:
                more |= {"zero_diagonal": True}
                more |= {"recurrent_sparsity": self.sparsity if everywhere else 0.0}
            neuron, dropout = self._neuron(), self.dropout
            layer = Layer(inputs, n, neuron, spike, recurrent=recurrent, dropout=dropout, **more)
            return (Bidirectional(layer, layer) if self.bidirectional else layer,)

        layers, inputs = hidden_layers(inputs, (self.hidden,) * (self.layers - 1), hidden)
        if self.output == "leaky":
            return Stack(*layers, Readout(inputs, classes, readout, **common))
        last = Layer(inputs, classes, self._neuron(), spike, recurrent=False, **common)
        return Stack(*layers, last)


def hidden_layers(
    inputs: int, sizes: Iterable[int], made: Callable[[int, int, int], Iterable[Part]]
) -> tuple[list[Part], int]:
    """Return the parts of hidden layers, one upon the other, and how many channels the last gives.

    sizes: of the layers. made(k, inputs, n): the parts of layer k = 0, 1 …, first one first.
    """
    parts: list[Part] = []
    for k, n in enumerate(sizes):
        parts += made(k, inputs, n)
        inputs = parts[-1].outputs
    return parts, inputs


def norm_of(kind: str | None) -> BatchNorm | LayerNorm | None:
    """Return the norm of that name."""
    return None if kind is None else BatchNorm() if kind == "batch" else LayerNorm()
