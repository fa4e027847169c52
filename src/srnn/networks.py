"""Networks: a stack of layers with explicit state, and the trace of what its neurons did."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from srnn import init, scan
from srnn._check import ConfigError, ShapeError, check_finite, check_instance, check_range, check_signal
from srnn.activations import Activation, Identity, Soft
from srnn.layers import Bidirectional, Layer, LayerState, valid_steps
from srnn.surrogates import FastSigmoid

NetworkState = tuple[LayerState, ...]
"""One state a layer, first layer first."""


@dataclass(frozen=True)
class Trace:
    """What happened inside, recorded by `Stack(..., record=True)`; padded steps are 0 everywhere.

    input: (B, T, C) as the first layer saw it. outputs, potentials: (B, T, N) for each layer; outputs before dropout, those of a
    bidirectional layer side by side (B, T, 2N).
    lengths: (B,) valid steps. spiking: for each layer, whether its outputs are binary spikes.
    """

    input: Tensor
    outputs: tuple[Tensor, ...]
    potentials: tuple[Tensor, ...]
    lengths: Tensor
    spiking: tuple[bool, ...]

    @property
    def steps(self) -> int:
        """Valid steps of all recordings together."""
        return int(self.lengths.sum())

    def rates(self) -> tuple[float, ...]:
        """Return for each layer the mean output per neuron and valid step: the firing rate in spikes per step, for spiking layers."""
        return tuple(float(o.detach().double().sum()) / max(1, self.steps * o.shape[-1]) for o in self.outputs)

    def rate(self) -> float:
        """Return the mean firing rate over all spiking units together, spikes per unit and step (as published by Yin et al. 2021)."""
        units = sum(o.shape[-1] for o, s in zip(self.outputs, self.spiking, strict=True) if s)
        return self.spikes() / max(1, self.steps * units)

    def spikes(self) -> float:
        """Return the number of spikes emitted by all spiking layers, all recordings."""
        return sum(float(o.detach().double().sum()) for o, s in zip(self.outputs, self.spiking, strict=True) if s)


class Output(NamedTuple):
    """What a network returns.

    potential, output: (B, T, K) of the last layer. state: after each recording's own last step. trace: with record=True, else None.
    """

    potential: Tensor
    output: Tensor
    state: NetworkState
    trace: Trace | None


class Stack(nn.Module):
    """Layers one above the other, evaluated bottom-up within the same step: no delay between layers.

    net = Stack(Layer(700, 128, ALIF()), Layer(128, 128, ALIF()), Readout(128, 20))
    out = net(x, lengths=lengths)           # x: (B, T, 700)
    out = net(more, state=out.state)        # goes on where it stopped
    """

    def __init__(self, *layers: Layer | Bidirectional) -> None:
        super().__init__()
        if not layers:
            raise ConfigError("Stack: no layers; expected at least one.")
        for k, layer in enumerate(layers):
            check_instance("Stack", f"layer {k}", layer, (Layer, Bidirectional), "Layer, Readout or Bidirectional, as in Stack(first, second)")
        for k, (below, above) in enumerate(itertools.pairwise(layers)):
            if below.outputs != above.inputs:
                raise ConfigError(f"Stack: layer {k} gives {below.outputs} channels, layer {k + 1} takes {above.inputs}; they must be equal.")
        self.layers = nn.ModuleList(layers)

    @property
    def inputs(self) -> int:
        """Channels C of the input."""
        return int(self.parts()[0].inputs)

    @property
    def outputs(self) -> int:
        """Channels K of the output."""
        return int(self.parts()[-1].outputs)

    def parts(self) -> tuple[Layer | Bidirectional, ...]:
        """Return the layers, first one first."""
        return tuple(self.layers)  # type: ignore[arg-type]

    def start(self, batch: int) -> NetworkState:
        """Return the state before the first step for `batch` recordings."""
        return tuple(layer.start(batch) for layer in self.parts())

    def which_backend(self, x: Tensor | None = None, backend: str = "auto") -> scan.Choice:
        """Return the backend that runs this network on x, and why."""
        return scan.which(backend)

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, *, state: NetworkState | None = None, record: bool = False, backend: str = "auto"
    ) -> Output:
        """Run over time.

        x: (B, T, C). lengths: (B,) integers, 0 ≤ L ≤ T, or None = all steps valid; what lies beyond a length is never read (NaN is harmless).
        state: from `start` or an earlier call. record: keep outputs and potentials of every layer. Raises `ShapeError` when
        something does not fit, `DataError` where a valid step is not finite.
        """
        check_signal("Stack", x, self.inputs)
        valid = valid_steps("Stack", x, lengths)
        check_finite("Stack", x, valid)
        if valid is None:
            lengths = None
        if state is None:
            state = self.start(x.shape[0])
        if not isinstance(state, tuple) or len(state) != len(self.layers):
            got = f"{len(state)} parts" if isinstance(state, tuple) else f"a {type(state).__name__}"
            raise ShapeError(f"Stack: state is {got} for {len(self.layers)} layers; pass the tuple that `start(batch)` or a call returned.")
        h, states, outputs, potentials, last = x, [], [], [], len(self.layers) - 1
        for k, layer in enumerate(self.layers):
            run = layer(h, lengths, state[k], potential=record or k == last, backend=backend)
            h = run.output
            states.append(run.state)
            if record:
                outputs.append(run.emitted)
                potentials.append(run.potential)
        assert run.potential is not None
        trace = None
        if record:
            counts = torch.full((x.shape[0],), x.shape[1]) if lengths is None else lengths
            seen = x if valid is None else torch.where(valid.unsqueeze(-1), x, 0.0)
            trace = Trace(seen, tuple(outputs), tuple(potentials), counts, tuple(activation_of(layer).binary for layer in self.parts()))
        return Output(run.potential, h, tuple(states), trace)


def activation_of(layer: Layer | Bidirectional) -> Activation:
    """Return the activation of a layer (of its forward direction)."""
    return layer.forward_layer.activation if isinstance(layer, Bidirectional) else layer.activation


def single_layers(net: Stack) -> list[Layer]:
    """Return every `Layer` of the network, both directions of bidirectional ones."""
    return [module for module in net.modules() if isinstance(module, Layer)]


def count_parameters(net: Stack) -> tuple[int, int]:
    """Return (used, unused) trained numbers: a number is unused when no output can depend on it.

    Examples are τ_adp where β is fixed at 0, the diagonal of a zero-diagonal R, connections removed by sparsity. They are found by differentiating
    a smooth copy of the network (`Soft`, float64, everything trained, the input and a graded start drawn at random) and counting the zeros of
    the gradient: the count depends on how the network is built, not on the values it holds.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        probe = copy.deepcopy(net).cpu().double().eval().requires_grad_()
        for layer in single_layers(probe):
            if not isinstance(layer.activation, Identity):
                layer.activation = Soft(FastSigmoid())
            _randomise(layer)
        x = torch.randn(2, 5, net.inputs, dtype=torch.float64)
        state = tuple(_random_state(s) for s in probe.start(2))
        out = probe(x, state=state)
        (out.potential.sin().sum() + out.output.sin().sum()).backward()
    unused = sum(int((p.grad == 0).sum()) if p.grad is not None else p.numel() for p in probe.parameters())
    return sum(p.numel() for p in net.parameters()) - unused, unused


@torch.no_grad()
def _randomise(layer: Layer) -> None:
    """Set everything trained to random values at which no gradient vanishes by chance."""
    for name, p in layer.named_parameters():
        constant = name.removeprefix("constants.")
        bounds = init.bounds(layer.neuron.constants()[constant]) if constant != name else None
        if bounds is not None:
            p.uniform_(*bounds)
        elif constant != name:
            p.add_(0.01 + 0.01 * torch.rand_like(p))
        else:
            p.normal_()


def _random_state(state: LayerState) -> LayerState:
    if isinstance(state, tuple):
        return tuple({k: torch.rand_like(v) for k, v in part.items()} for part in state)  # type: ignore[return-value]
    return {k: torch.rand_like(v) for k, v in state.items()}


# ── where a network starts ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Zeros:
    """Start every recording from the neurons' own start (zero, for most), with no spike before the first step."""

    def __call__(self, net: Stack, batch: int, generator: torch.Generator | None = None) -> NetworkState:
        """Return the state for `batch` recordings."""
        return net.start(batch)


@dataclass(frozen=True)
class UniformStart:
    """Start the potentials of every recording anew from U[low, high); with graded=True the output before the first step is that same number.

    The published scripts start so, in training and in evaluation (Yin: U[0, 1)·b0, the output at -1 being the same graded tensor). Here a
    generator may be passed, so that an evaluation gives the same result every time.
    """

    low: float = 0.0
    high: float = 1.0
    graded: bool = False

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        check_range("start.high", self.high, self.low)

    def __call__(self, net: Stack, batch: int, generator: torch.Generator | None = None) -> NetworkState:
        """Return the state for `batch` recordings."""

        def draw(state: LayerState) -> LayerState:
            if isinstance(state, tuple):
                return tuple(draw(part) for part in state)  # type: ignore[return-value]
            if "u" not in state:
                raise ConfigError("UniformStart: a layer has no potential u to draw; start it from Zeros, or pass a state of your own.")
            u = torch.rand(state["s"].shape, generator=generator, dtype=torch.float64) * (self.high - self.low) + self.low
            u = u.to(state["s"])
            return {**state, "u": u, "s": u if self.graded else state["s"]}

        return tuple(draw(state) for state in net.start(batch))


Start = Zeros | UniformStart
"""Where a task starts its recordings."""
