"""A network in whole numbers, and its simulation: what the exported integer C computes, bit for
bit.

The current of a row is I = round(Σ q x · m_W) + round(Σ q_R s · m_R) + b in the layer's 2^-F, each
Σ exact in an int32, each m a multiplier with a shift. The step is that of `kernels.fixed`: int32
values, saturating. A product sees spikes as 0 or 1, and numbers as int16 with their own bits behind
the point, so few that no Σ can overflow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from srnn._check import ConfigError, check_finite, check_instance, check_lengths, check_signal
from srnn.export.calibrate import Ranges, ranges
from srnn.export.described import Described, check_finite_numbers, described
from srnn.export.fold import currents_folded
from srnn.export.played import Played
from srnn.kernels import fixed
from srnn.kernels.fixed import FixedStep, as_fixed, fraction_for, lower, multipliers
from srnn.kernels.fixed_ops import rounded, saturated
from srnn.kernels.fixed_weights import quantise
from srnn.kernels.graph import currents
from srnn.nn.networks import Stack


@dataclass(frozen=True)
class Numbers:
    """How numbers enter a product: value = integer · 2^-fraction, sizes up to limit (int16)."""

    fraction: int
    limit: int

    def integers(self, x: Tensor) -> Tensor:
        """Return x as it enters: x · 2^fraction rounded half to even, saturated, int64."""
        return (
            torch.round(x.double() * 2.0**self.fraction)
            .clamp(-self.limit, self.limit)
            .to(torch.int64)
        )


@dataclass(frozen=True)
class IntegerMatrix:
    """q: (rows, K) int64 weights. multiplier (rows,), shift: they turn a sum into the format."""

    q: Tensor
    multiplier: Tensor
    shift: int

    def __call__(self, x: Tensor) -> Tensor:
        """Return the product with x (B, K) in the layer's format.

        The sum is exact: all partial sums are whole and far below 2^53.
        """
        total = (x.double() @ self.q.double().T).to(torch.int64)
        return rounded(total * self.multiplier, self.shift)


@dataclass(frozen=True)
class IntegerLayer:
    """One layer; `fraction` bits behind the point. seen: how its inputs enter the product, None =
    spikes; fed: its own outputs, likewise.

    matrix: None where the input is the current. below: fraction of the layer below (of the input,
    for the first one).
    """

    who: str
    inputs: int
    neurons: int
    gates: int
    fraction: int
    below: int
    matrix: IntegerMatrix | None
    bias: Tensor
    recurrent: IntegerMatrix | None
    step: FixedStep
    start: dict[str, Tensor]
    binary: bool
    delays: tuple[int, ...]
    seen: Numbers | None
    fed: Numbers | None

    @property
    def reach(self) -> int:
        """How many earlier inputs the layer keeps."""
        return max(self.delays)


@dataclass(frozen=True)
class IntegerStack:
    """A network in whole numbers. bits: of the weights. input: the format of its input.

    `run` takes whole numbers; a call takes x (B, T, C) and lengths and gives real numbers, as a
    player of `srnn.training.fidelity` does.
    """

    layers: tuple[IntegerLayer, ...]
    input: Numbers
    bits: int

    @torch.no_grad()
    def run(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the scores (B, T, K) and the outputs (B, T, N) of every layer, int64, for x (B, T,
        C) int64 from the start.
        """
        outputs, scores = list[Tensor](), x
        for k, layer in enumerate(self.layers):
            spikes, potentials = _run(layer, outputs[-1] if k else x, first=k == 0)
            outputs.append(spikes)
            scores = potentials
        return scores, tuple(outputs)

    def __call__(self, x: Tensor, lengths: Tensor) -> Played:
        """Return potential and output (B, T, K) of the last layer and the outputs of every layer as
        real numbers, 0 beyond each length.

        Raises `DataError` where x is not finite: a NaN is no whole number.
        """
        check_signal("IntegerStack", x, self.layers[0].inputs)
        check_lengths("IntegerStack", lengths, *x.shape[:2])
        valid = torch.arange(x.shape[1]) < lengths.unsqueeze(1)
        check_finite("IntegerStack", x, valid)
        live = valid.unsqueeze(-1)
        scores, outputs = self.run(self.input.integers(torch.where(live, x, 0.0)))
        real = [
            o.float() if layer.binary else o.float() * 2.0**-layer.fraction
            for o, layer in zip(outputs, self.layers, strict=True)
        ]
        shown = [
            torch.where(live, o, 0.0)
            for o in (scores.float() * 2.0 ** -self.layers[-1].fraction, *real)
        ]
        return Played(shown[0], shown[-1], tuple(shown[1:]))


def narrowed(v: Tensor, fraction: int, numbers: Numbers) -> Tensor:
    """Return values of a layer as they enter a product."""
    return rounded(v, fraction - numbers.fraction).clamp(-numbers.limit, numbers.limit)


def _run(layer: IntegerLayer, x: Tensor, *, first: bool) -> tuple[Tensor, Tensor]:
    """Return outputs and potentials (B, T, N); potentials are those of the outputs where the step
    shows none.
    """
    batch = len(x)
    if layer.matrix is not None and layer.seen is not None and not first:
        x = narrowed(x, layer.below, layer.seen)
    past = torch.cat((x.new_zeros(batch, layer.reach, layer.inputs), x), 1)
    state = {k: v.expand(batch, -1) for k, v in layer.start.items()}
    outputs, potentials = [], []
    for t in range(x.shape[1]):
        if layer.matrix is None:
            current = _moved(x[:, t], layer.fraction - layer.below)
        else:
            current = (
                layer.matrix(
                    torch.cat([past[:, layer.reach + t - delay] for delay in layer.delays], 1)
                )
                + layer.bias
            )
        if layer.recurrent is not None:
            s = state["s"]
            current = current + layer.recurrent(
                s if layer.fed is None else narrowed(s, layer.fraction, layer.fed)
            )
        gates = saturated(current).chunk(layer.gates, 1)
        given = dict(zip(currents(layer.gates), gates, strict=True)) | {
            k if k == "s" else f"state.{k}": v for k, v in state.items()
        }
        made = layer.step.run(given)
        state = {k: made["s" if k == "s" else f"state.{k}"].expand(batch, -1) for k in state}
        outputs.append(state["s"])
        potentials.append(made.get("potential", state["s"]).expand(batch, -1))
    return torch.stack(outputs, 1), torch.stack(potentials, 1)


def _moved(v: Tensor, left: int) -> Tensor:
    """Return values with so many more bits behind the point."""
    return saturated(v * 2**left) if left >= 0 else rounded(v, -left)


def to_integer(net: Stack, bits: int, calibration: Tensor) -> IntegerStack:
    """Return a network with integer weights of so many bits (8 or 4), integer state and integer
    steps.

    calibration: (B, T, C) recordings that show which values occur: they fix where the points stand.
    Raises `ConfigError` naming what has no integer form, and why.
    """
    check_instance("to_integer", "net", net, Stack, "a network, srnn.Stack(…)")
    if not isinstance(bits, int) or bits not in (4, 8):
        raise ConfigError(f"bits is {bits!r}; expected 8 or 4.")
    check_signal("to_integer: calibration", calibration, net.inputs)
    check_finite("to_integer: calibration", calibration, None)
    layers = tuple(currents_folded(layer) for layer in described(net))
    check_finite_numbers(layers)
    for layer in layers:
        if layer.norm is not None:
            fix = (
                "Train with BatchNorm(), which becomes part of W, or export it with float numbers."
            )
            raise ConfigError(
                f"{layer.who}: LayerNorm has no integer form (it divides by a "
                f"standard deviation at every step). {fix}"
            )
    found = ranges(layers, calibration)
    whole = bool((calibration == calibration.round()).all())
    first = _numbers(
        0.0 if whole else float(calibration.abs().max()),
        _limit([layers[0].weight], bits),
        whole=whole,
    )
    made, below, seen = list[IntegerLayer](), first.fraction, first
    for k, (layer, span) in enumerate(zip(layers, found, strict=True)):
        above = layers[k + 1].weight if k + 1 < len(layers) else None
        made.append(
            _layer(layer, span, bits, below, None if k and layers[k - 1].binary else seen, above)
        )
        below, seen = made[-1].fraction, made[-1].fed or seen
    return IntegerStack(tuple(made), first, bits)


def _layer(
    layer: Described,
    span: Ranges,
    bits: int,
    below: int,
    seen: Numbers | None,
    above: Tensor | None,
) -> IntegerLayer:
    fraction = fraction_for(span.values, layer.who)
    if span.smallest < 2.0 ** (8 - fraction):
        raise ConfigError(
            f"{layer.who}: it takes the logarithm, root or inverse of numbers down to "
            f"{span.smallest:.2g}, which fixed point with {fraction} bits "
            "behind the point does not tell from 0. Export it with float numbers (without --bits)."
        )
    fed = None
    if not layer.binary:
        numbers = _numbers(span.outputs, _limit([layer.recurrent, above], bits))
        fed = Numbers(min(numbers.fraction, fraction), numbers.limit)
    step = lower(layer.step, fraction, binary=layer.binary, who=layer.who)
    start = {
        k: v.to(torch.int64) if k == "s" and layer.binary else as_fixed(v, fraction)
        for k, v in layer.start.items()
    }
    return IntegerLayer(
        layer.who,
        layer.inputs,
        layer.neurons,
        layer.gates,
        fraction,
        0 if seen is None and layer.weight is None else below,
        None
        if layer.weight is None
        else _matrix(layer.weight, bits, fraction - (0 if seen is None else seen.fraction)),
        as_fixed(layer.bias, fraction),
        None
        if layer.recurrent is None
        else _matrix(layer.recurrent, bits, fraction - (0 if fed is None else fed.fraction)),
        step,
        start,
        layer.binary,
        layer.delays,
        seen,
        fed,
    )


def _matrix(weight: Tensor, bits: int, left: int) -> IntegerMatrix:
    q, scale = quantise(weight, bits)
    used = torch.where((q != 0).any(1), scale, 0.0)
    return IntegerMatrix(q.to(torch.int64), *multipliers(used * 2.0**left))


def _limit(weights: Sequence[Tensor | None], bits: int) -> int:
    """Return the largest size of an int16 with which no sum of q · x over a row can leave an int32:
    2^b - 1.
    """
    sums = [
        int(quantise(w, bits)[0].to(torch.int64).abs().sum(1).max())
        for w in weights
        if w is not None
    ]
    fit = fixed.HIGHEST // max(1, *sums) if sums else fixed.HIGHEST
    return (1 << min(15, (fit + 1).bit_length() - 1)) - 1


def _numbers(largest: float, limit: int, *, whole: bool = False) -> Numbers:
    """Return the format in which values up to twice `largest` fit; whole numbers (events, counts)
    keep none behind the point.
    """
    if whole:
        return Numbers(0, limit)
    room = limit.bit_length() - (math.frexp(2 * largest)[1] if largest else 0)
    return Numbers(room, limit)
