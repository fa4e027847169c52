"""Networks: a stack of layers with explicit state, and the trace of what its neurons did."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from srnn import init
from srnn._check import (
    ConfigError,
    ShapeError,
    check_finite,
    check_instance,
    check_range,
    check_signal,
)
from srnn.activations import Identity, Soft
from srnn.kernels import scan
from srnn.kernels.trace import numbers
from srnn.neuron import as_complex
from srnn.nn.layers import Layer, LayerState, Part, valid_steps
from srnn.nn.plain import copied, settle
from srnn.nn.segments import recomputed
from srnn.surrogates import FastSigmoid

NetworkState = tuple[LayerState, ...]
"""One state a layer, first layer first."""


@dataclass(frozen=True)
class Trace:
    """What happened inside, recorded by `Stack(..., record=True)`; padded steps are 0 everywhere.

    input: (B, T, C) as the first layer saw it. outputs, potentials: (B, T, N) for each layer;
    outputs before dropout, those of a bidirectional layer side by side (B, T, 2N).
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
        """Return for each layer the mean output per neuron and valid step: the firing rate in
        spikes per step, for spiking layers.
        """
        return tuple(
            float(o.detach().double().sum()) / max(1, self.steps * o.shape[-1])
            for o in self.outputs
        )

    def rate(self) -> float:
        """Return the mean firing rate over all spiking units together, spikes per unit and step (as
        published by Yin et al. 2021).
        """
        units = sum(o.shape[-1] for o, s in zip(self.outputs, self.spiking, strict=True) if s)
        return self.spikes() / max(1, self.steps * units)

    def spikes(self) -> float:
        """Return the number of spikes emitted by all spiking layers, all recordings."""
        return sum(
            float(o.detach().double().sum())
            for o, s in zip(self.outputs, self.spiking, strict=True)
            if s
        )


class Output(NamedTuple):
    """What a network returns.

    potential, output: (B, T, K) of the last layer. state: after each recording's own last step.
    trace: with record=True, else None.
    """

    potential: Tensor
    output: Tensor
    state: NetworkState
    trace: Trace | None


class Stack(nn.Module):
    """Layers one above the other, evaluated bottom-up within the same step: no delay between
    layers.

    net = Stack(Layer(700, 128, ALIF()), Layer(128, 128, ALIF()), Readout(128, 20))
    out = net(x, lengths=lengths)           # x: (B, T, 700)
    out = net(more, state=out.state)        # goes on where it stopped
    """

    def __init__(self, *layers: Part) -> None:
        super().__init__()
        if not layers:
            raise ConfigError("Stack: no layers; expected at least one.")
        for k, layer in enumerate(layers):
            check_instance(
                "Stack",
                f"layer {k}",
                layer,
                Part,
                "Layer, Readout or Bidirectional, as in Stack(first, second)",
            )
        for k, (below, above) in enumerate(itertools.pairwise(layers)):
            if below.outputs != above.inputs:
                raise ConfigError(
                    f"Stack: layer {k} gives {below.outputs} channels, layer "
                    f"{k + 1} takes {above.inputs}; they must be equal."
                )
        self.layers = nn.ModuleList(layers)

    @property
    def inputs(self) -> int:
        """Channels C of the input."""
        return int(self.parts()[0].inputs)

    @property
    def outputs(self) -> int:
        """Channels K of the output."""
        return int(self.parts()[-1].outputs)

    def parts(self) -> tuple[Part, ...]:
        """Return the layers, first one first."""
        return tuple(self.layers)  # type: ignore[arg-type]

    def start(self, batch: int) -> NetworkState:
        """Return the state before the first step for `batch` recordings."""
        return tuple(layer.start(batch) for layer in self.parts())

    def which_backend(self, x: Tensor | None = None, backend: str = "auto") -> scan.Choice:
        """Return the backend that runs this network, and why; where layers differ, each with its
        own.

        x: not looked at; the weights' device and type decide, which x must share.
        """
        chosen = [layer.which_backend(backend) for layer in single_layers(self)] or [
            scan.Choice("torch", "no layer of neurons")
        ]
        if len(set(chosen)) == 1:
            return chosen[0]
        return scan.Choice(
            " + ".join(dict.fromkeys(c.name for c in chosen)),
            "; ".join(f"layer {k}: {c.name} ({c.reason})" for k, c in enumerate(chosen)),
        )

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        state: NetworkState | None = None,
        record: bool = False,
        backend: str = "auto",
        segment: int | None = None,
    ) -> Output:
        """Run over time.

        x: (B, T, C). lengths: (B,) integers, 0 ≤ L ≤ T, or None = all steps valid; what lies beyond
        a length is never read (NaN is harmless).
        state: from `start` or an earlier call. record: keep outputs and potentials of every layer.
        segment: activation checkpointing: run in segments of that many steps, of which the backward
        pass keeps the state at the start and computes the rest anew; the same result and the same
        (untruncated) gradient with less memory. Raises `ShapeError` when something does not fit,
        `DataError` where a valid step is not finite, `ConfigError` for a network that cannot run in
        segments.
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
            raise ShapeError(
                f"Stack: state is {got} for {len(self.layers)} layers; pass the "
                "tuple that `start(batch)` or a call returned."
            )
        run = (
            self._run(x, lengths, state, record, backend)
            if segment is None
            else self._segments(x, lengths, state, record, backend, segment)
        )
        trace = None
        if record:
            counts = torch.full((x.shape[0],), x.shape[1]) if lengths is None else lengths
            seen = x if valid is None else torch.where(valid.unsqueeze(-1), x, 0.0)
            trace = Trace(
                seen,
                run.outputs,
                run.potentials,
                counts,
                tuple(layer.emits.binary for layer in self.parts()),
            )
        return Output(run.potential, run.output, run.state, trace)

    def _run(
        self, x: Tensor, lengths: Tensor | None, state: NetworkState, record: bool, backend: str
    ) -> _Run:
        """Run all layers over the steps of x, one after the other."""
        h, states, outputs, potentials, last = x, [], [], [], len(self.layers) - 1
        for k, layer in enumerate(self.layers):
            run = layer(h, lengths, state[k], potential=record or k == last, backend=backend)
            h = run.output
            states.append(run.state)
            if record:
                outputs.append(run.emitted)
                potentials.append(run.potential)
        assert run.potential is not None
        return _Run(run.potential, h, tuple(states), tuple(outputs), tuple(potentials))

    def _segments(
        self,
        x: Tensor,
        lengths: Tensor | None,
        state: NetworkState,
        record: bool,
        backend: str,
        segment: int,
    ) -> _Run:
        """Run segment after segment; of each one only its input and the state at its start are kept
        for the backward pass.
        """
        if not isinstance(segment, int) or isinstance(segment, bool) or segment < 1:
            raise ConfigError(
                f"Stack: segment is {segment!r}; expected a whole number of steps, "
                "at least 1, or None."
            )
        self.check_pieces(f"segment={segment}", whole=True)
        layers = self.parts()
        names = [
            (*k.neuron.states, "s") if isinstance(k, Layer) else tuple(map(str, part))
            for k, part in zip(layers, state, strict=True)
        ]
        state = tuple(
            layer.checked(part, x.shape[0]) if isinstance(layer, Layer) else part
            for layer, part in zip(layers, state, strict=True)
        )
        inner = (
            v
            for layer in single_layers(self)
            for v in numbers(layer.activation).values()
            if isinstance(v, Tensor)
        )
        parameters = [p for p in (*self.parameters(), *inner) if p.requires_grad]
        # what another part draws is not known
        random = any(k.training and getattr(k, "dropout", True) for k in layers)
        contiguous = x.is_contiguous()
        parts: list[list[Tensor]] = []
        # split: one backward for all pieces
        for first, piece in zip(
            range(0, x.shape[1], segment), torch.split(x, segment, 1), strict=True
        ):
            valid = piece_lengths(lengths, first, piece)

            def run(x: Tensor, *values: Tensor, valid: Tensor | None = valid) -> list[Tensor]:
                # laid out as the whole is: torch adds the bias in another order where it is not,
                # and the bits would differ
                made = self._run(
                    x.contiguous() if contiguous else x,
                    valid,
                    _named(names, values),
                    record,
                    backend,
                )
                return [
                    *_values(names, made.state),
                    made.potential,
                    made.output,
                    *made.outputs,
                    *made.potentials,
                ]

            parts.append(
                recomputed(run, [piece, *_values(names, state)], parameters, random=random)
            )
            state = _named(names, parts[-1])
        potential, output, *recorded = (
            torch.cat(pieces, 1)
            for pieces in list(zip(*parts, strict=True))[sum(map(len, names)) :]
        )
        return _Run(
            potential,
            output,
            state,
            tuple(recorded[: len(recorded) // 2]),
            tuple(recorded[len(recorded) // 2 :]),
        )

    def check_pieces(self, why: str, *, whole: bool) -> None:
        """Raise `ConfigError` where this network cannot run piece by piece; whole: and give what it
        gives on all steps together.
        """
        for k, layer in enumerate(self.parts()):
            if layer.whole is not None:
                raise ConfigError(f"{why}: layer {k} {layer.whole}: it cannot run piece by piece.")
            if whole and any(isinstance(m, _BatchNorm) and m.training for m in layer.modules()):
                raise ConfigError(
                    f"{why}: the batch norm of layer {k} takes its statistics over all "
                    "steps together, a segment has only its own. "
                    "Use LayerNorm(), truncated BPTT (its chunks have their own "
                    "statistics), or net.eval()."
                )


class _Run(NamedTuple):
    """What the layers give on a stretch of steps; outputs and potentials of every layer where they
    are recorded.
    """

    potential: Tensor
    output: Tensor
    state: NetworkState
    outputs: tuple[Tensor, ...]
    potentials: tuple[Tensor, ...]


def _values(names: Sequence[Sequence[str]], state: NetworkState) -> list[Tensor]:
    return [part[name] for part, own in zip(state, names, strict=True) for name in own]  # type: ignore[call-overload, misc]


def _named(names: Sequence[Sequence[str]], values: Sequence[Tensor]) -> NetworkState:
    """Return the state whose `_values` are the first of `values`."""
    given = iter(values)
    return tuple({name: next(given) for name in own} for own in names)


def piece_lengths(lengths: Tensor | None, first: int, piece: Tensor) -> Tensor | None:
    """Return how many steps of `piece` (B, T', C), cut at step `first`, are valid; None = all."""
    return None if lengths is None else (lengths - first).clamp(0, piece.shape[1])


def detached(state: NetworkState) -> NetworkState:
    """Return the same state without its history: no gradient flows back into the
    steps before it.
    """

    def cut(part: LayerState) -> LayerState:
        return (
            tuple(cut(p) for p in part)  # type: ignore[return-value]
            if isinstance(part, tuple)
            else {name: value.detach() for name, value in part.items()}
        )

    return tuple(cut(part) for part in state)


def single_layers(net: Stack) -> list[Layer]:
    """Return every `Layer` of the network, both directions of bidirectional ones."""
    return [module for module in net.modules() if isinstance(module, Layer)]


def count_parameters(net: Stack) -> tuple[int, int]:
    """Return (used, unused) trained numbers: a number is unused when no output can depend on it.

    Examples are τ_adp where β is fixed at 0, the diagonal of a zero-diagonal R, connections removed
    by sparsity. They are found by differentiating a smooth copy of the network (`Soft`, float64,
    everything trained, the input and a graded start drawn at random) and counting the zeros of the
    gradient: the count depends on how the network is built, not on the values it holds.
    """
    check_instance("count_parameters", "net", net, Stack, "a network, srnn.Stack(…)")
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        probe = copied(net).cpu().double().eval().requires_grad_()
        settle(probe)
        for layer in single_layers(probe):
            layer.bits = None
            if not isinstance(layer.activation, Identity):
                layer.activation = Soft(FastSigmoid())
        silent = [torch.ones_like(p, dtype=torch.bool) for p in probe.parameters()]
        for _ in range(_PROBES):
            for layer in single_layers(probe):
                _randomise(layer)
            x = torch.randn(2, 5, net.inputs, dtype=torch.float64)
            out = probe(
                x, state=tuple(_random_state(s) for s in probe.start(2)), backend="reference"
            )
            probe.zero_grad()
            (out.potential.sin().sum() + out.output.sin().sum()).backward()
            silent = [
                mask if p.grad is None else mask & (p.grad == 0)
                for mask, p in zip(silent, probe.parameters(), strict=True)
            ]
            if not any(bool(mask.any()) for mask in silent):
                break
    unused = sum(int(mask.sum()) for mask in silent)
    return sum(p.numel() for p in net.parameters()) - unused, unused


_PROBES = 24
"""Draws until a weight counts as unused: in one of them, a ReLU inside a step may happen to be
silent, or a constant to lie at its bound.
"""


@torch.no_grad()
def _randomise(layer: Layer) -> None:
    """Set everything trained to random values at which no gradient vanishes by chance."""
    for name, p in layer.named_parameters():
        constant = name.removeprefix("constants.")
        drawn = layer.neuron.constants().get(constant) if constant != name else None
        bounds = init.bounds(drawn) if drawn is not None else None
        if bounds is not None:
            p.uniform_(bounds[0], bounds[1] if bounds[1] < math.inf else bounds[0] + 20.0)
        elif constant != name:
            p.add_(0.01 + 0.01 * torch.rand_like(p))
        else:
            p.normal_()


def _random_state(state: LayerState) -> LayerState:
    if isinstance(state, tuple):
        return tuple(_random_state(part) for part in state)  # type: ignore[return-value]
    # what a neuron starts from by its constants depends on them still
    return {
        k: v - v.detach() + torch.rand_like(v) if v.is_floating_point() or v.is_complex() else v
        for k, v in state.items()
    }


# ── where a network starts ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Zeros:
    """Start every recording from the neurons' own start (zero, for most), with no spike before the
    first step.
    """

    def __call__(
        self, net: Stack, batch: int, generator: torch.Generator | None = None
    ) -> NetworkState:
        """Return the state for `batch` recordings."""
        return net.start(batch)


@dataclass(frozen=True)
class UniformStart:
    """Start the potentials of every recording anew from U[low, high); with graded=True the output
    before the first step is that same number. Of a complex u the real part is drawn.

    The published scripts start so, in training and in evaluation (Yin: U[0, 1)·b0, the output at -1
    being the same graded tensor). Here a generator may be passed, so that an evaluation gives the
    same result every time.
    """

    low: float = 0.0
    high: float = 1.0
    graded: bool = False

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        check_range("start.high", self.high, self.low)

    def __call__(
        self, net: Stack, batch: int, generator: torch.Generator | None = None
    ) -> NetworkState:
        """Return the state for `batch` recordings."""

        def draw(state: LayerState) -> LayerState:
            if isinstance(state, tuple):
                return tuple(draw(part) for part in state)  # type: ignore[return-value]
            if "u" not in state:
                raise ConfigError(
                    "UniformStart: a layer has no potential u to draw; start it "
                    "from Zeros, or pass a state of your own."
                )
            u = (
                torch.rand(state["s"].shape, generator=generator, dtype=torch.float64)
                * (self.high - self.low)
                + self.low
            )
            u = u.to(state["s"])
            whole = as_complex(u) if state["u"].is_complex() else u
            return {**state, "u": whole, "s": u if self.graded else state["s"]}

        return tuple(draw(state) for state in net.start(batch))


Start = Zeros | UniformStart
"""Where a task starts its recordings."""
