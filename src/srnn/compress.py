"""Make a network smaller: fewer bits, fewer connections, fewer neurons. Transforms only; who
fine-tunes is the training loop.

    compress.set_bits(net, 8)          weights as 8-bit integers, a scale for each row
    compress.prune(net, 0.9)           keep the largest tenth of all weights
    compress.widths(net, 0.5)          sizes: half of every hidden layer
    compress.remove_neurons(net, …)    a network of these sizes
    compress.size(net)                 bytes, and how they are counted

`set_bits` trains straight through. It and `prune` change the network they are given (an optimiser
goes on with its parameters), `remove_neurons` returns another one. A compressed network is an
ordinary one: it trains on every backend, streams, is counted and exported like any other. Both
directions of a layer are compressed like two layers; a tandem layer (`srnn.nn.baselines`) cannot
lose neurons; parts with weights of another kind are refused by name.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from srnn import init
from srnn._check import ConfigError, check_choice, check_instance, check_range
from srnn.kernels.fixed_weights import check_bits
from srnn.kernels.trace import numbers
from srnn.neuron import Neuron
from srnn.nn.baselines import Exponential, Tandem
from srnn.nn.bidirectional import Bidirectional, Concat, Mean
from srnn.nn.layers import Layer
from srnn.nn.networks import Stack, single_layers
from srnn.nn.plain import check_plain

Scope = Literal["global", "layer"]
SCOPES: tuple[Scope, ...] = ("global", "layer")
"""Which weights are compared: those of the whole network, or those of one matrix at a time."""


# ── bits ──────────────────────────────────────────────────────────────────────────────────────────


def set_bits(net: Stack, bits: int | None) -> None:
    """Let every layer use its weights as integers of so many bits (`srnn.kernels.fixed_weights`),
    from now on; None: as they are.

    Biases, time constants and thresholds stay as they are. Raises `ConfigError` for a width or a
    part that cannot be.
    """
    check_bits("bits", bits)
    for layer in _layers(net, "bits"):
        layer.bits = bits


# ── connections ───────────────────────────────────────────────────────────────────────────────────


def open_masks(net: Stack) -> None:
    """Give every matrix a mask, all of whose connections are there where it had none: the form in
    which pruned networks are stored.
    """
    for layer, name in _matrices(net):
        if getattr(layer, f"{name}_mask") is None:
            setattr(layer, f"{name}_mask", torch.ones_like(getattr(layer, name), dtype=torch.bool))


@torch.no_grad()
def prune(net: Stack, sparsity: float, scope: Scope = "global") -> int:
    """Remove the smallest weights, so that at most round((1 - sparsity) · entries) of the entries
    of all matrices are left. Returns how many are.

    scope: "global" compares all W and R of the network, "layer" prunes each of them by itself. What
    was removed before stays so and counts. Raises `ConfigError` for a sparsity outside [0, 1),
    where a layer would get no input any more, and for parts that have no such matrices.
    """
    check_range("sparsity", sparsity, 0.0, 1.0)
    check_choice("scope", scope, SCOPES)
    open_masks(net)
    every, chosen = _matrices(net), list[Tensor]()
    for group in [every] if scope == "global" else [[m] for m in every]:
        # torch's own pruning keeps a mask of that name, of numbers
        masks = [getattr(layer, f"{name}_mask").bool() for layer, name in group]
        size = torch.cat(
            [
                torch.where(mask, getattr(layer, name).abs(), -1.0).flatten()
                for (layer, name), mask in zip(group, masks, strict=True)
            ]
        )
        kept = torch.zeros_like(size, dtype=torch.bool)
        kept[size.argsort(descending=True, stable=True)[: round((1 - sparsity) * len(size))]] = True
        pieces = torch.split(kept, [mask.numel() for mask in masks])
        chosen += [mask & piece.view_as(mask) for mask, piece in zip(masks, pieces, strict=True)]
    for (layer, name), mask in zip(every, chosen, strict=True):
        if name == "weight" and not bool(mask.any()):
            repair = (
                'scope="layer" or a smaller sparsity' if scope == "global" else "a smaller sparsity"
            )
            raise ConfigError(
                f"sparsity {sparsity:g} would leave {layer._who()} without any input. Use {repair}."
            )
    for (layer, name), mask in zip(every, chosen, strict=True):
        setattr(layer, f"{name}_mask", mask)
    return sum(int(mask.sum()) for mask in chosen)


def gradual(sparsity: float, step: int, steps: int) -> float:
    """Return the sparsity at step 0 … steps - 1 of a gradual pruning: 1 - (1 - (step + 1) / steps)³
    of it, all of it from the last one on.

    Much is removed early, little late, as of Zhu & Gupta 2017 ("To prune, or not to prune"),
    section 3, from no sparsity at the start.
    """
    check_range("gradual: sparsity", sparsity, 0.0, 1.0)
    check_range("gradual: step", step, 0)
    check_range("gradual: steps", steps, 1)
    return sparsity * (1 - (1 - min(1.0, (step + 1) / steps)) ** 3)


# ── neurons ───────────────────────────────────────────────────────────────────────────────────────


def widths(net: Stack, fraction: float) -> tuple[int, ...]:
    """Return how many neurons each hidden layer (each direction of it) has without round(fraction ·
    N) of its N neurons; at least one.
    """
    check_range("fraction of neurons", fraction, 0.0, 1.0)
    return tuple(
        max(1, n - round(fraction * n)) for n in (layers[0].neurons for layers in _hidden(net))
    )


@torch.no_grad()
def importance(net: Stack, rates: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Return for each hidden layer how much each neuron matters: (N,), of a bidirectional layer
    (2N,), the forward direction first.

    It is the norm of the weights that read it: its columns of the next W and of its own R. rates:
    with the mean output of every neuron, as long as the result, it is that times the norm: what the
    neuron does in a recording, not only what it could do.
    """
    found = []
    for k, layers in enumerate(_hidden(net)):
        part, n, scores = net.parts()[k], layers[0].neurons, []
        for d, layer in enumerate(layers):
            first = (
                d * n if isinstance(part, Bidirectional) and isinstance(part.merge, Concat) else 0
            )
            _, recurrent = layer.weights()
            read = [
                above.weights()[0][:, first : first + n]
                for above in _directions(net.parts()[k + 1])
            ]
            scores.append(torch.cat(read if recurrent is None else [*read, recurrent]).norm(dim=0))
        score = torch.cat(scores)
        found.append(score if rates is None else score * rates[k].abs().to(score))
    return found


@torch.no_grad()
def remove_neurons(
    net: Stack, keep: Sequence[int], scores: Sequence[Tensor] | None = None
) -> Stack:
    """Return a network in which hidden layer k has the keep[k] neurons that matter most; in their
    old order. `net` stays as it is.

    scores: as of `importance`, which is the default. The result computes what `net` would with the
    outputs of the others held at 0, but for layer norms, whose mean is over fewer neurons. Both
    directions of a layer lose the same number; where they share weights or are averaged, the same
    ones. Raises `ConfigError` where layers are not as many or have not so many neurons, and for
    parts that cannot lose any.
    """
    check_plain("remove_neurons", net, computed=False)
    net = copy.deepcopy(net)
    hidden = _hidden(net)
    scores = importance(net) if scores is None else scores
    if len(keep) != len(hidden) or any(
        not 1 <= n <= layers[0].neurons for n, layers in zip(keep, hidden, strict=False)
    ):
        there = ", ".join(str(layers[0].neurons) for layers in hidden)
        raise ConfigError(
            f"remove_neurons: keep is {tuple(keep)} for hidden layers of {there} neurons; "
            "expected a number for each, 1 to all of them."
        )
    channels = torch.arange(net.inputs)
    for k, part in enumerate(net.parts()):
        layers = _directions(part)
        n = layers[0].neurons
        rows = (
            _chosen(part, scores[k], keep[k])
            if k < len(hidden)
            else [torch.arange(n)] * len(layers)
        )
        # a shared one once
        for layer, own in {
            id(layer): (layer, own) for layer, own in zip(layers, rows, strict=True)
        }.values():
            _cut(layer, own, channels)
        part.inputs = len(channels)
        joined = isinstance(part, Bidirectional) and isinstance(part.merge, Concat)
        channels = torch.cat([d * n + own for d, own in enumerate(rows)]) if joined else rows[0]
        part.outputs = len(channels)
    return net


def _chosen(part: nn.Module, scores: Tensor, keep: int) -> list[Tensor]:
    """Return the neurons of each direction that stay, in order."""
    each = scores.view(len(_directions(part)), -1)
    if isinstance(part, Bidirectional) and (
        isinstance(part.merge, Mean) or part.forward_layer is part.backward_layer
    ):
        each = each.sum(0, keepdim=True).expand_as(each)
    return [
        score.argsort(descending=True, stable=True)[:keep].sort().values.cpu() for score in each
    ]


def _cut(layer: Layer, rows: Tensor, channels: Tensor) -> None:
    """Leave a layer only these of its neurons and these of its input channels."""
    n, gates = layer.neurons, layer.neuron.gates
    varied = [
        name
        for name, value in numbers(layer.activation).items()
        if isinstance(value, Tensor) and value.numel() > 1
    ]
    if varied:
        raise ConfigError(
            f"{layer}: {varied[0]} of the activation is one number a neuron; a "
            "layer can lose neurons only where it is one for all."
        )
    every = (torch.arange(gates).unsqueeze(1) * n + rows).flatten()  # of each gate's block

    def cut(module: nn.Module, name: str, *index: Tensor) -> None:
        """Keep these rows (and columns) of a parameter or buffer."""
        value = getattr(module, name)
        if value is None or not value.dim():
            return
        for axis, kept in enumerate(index):
            value = value.detach().index_select(axis, kept.to(value.device))
        trained = name in module._parameters
        setattr(
            module,
            name,
            nn.Parameter(value, requires_grad=getattr(module, name).requires_grad)
            if trained
            else value,
        )

    for name, columns in (("weight", channels), ("recurrent", rows)):
        cut(layer, name, every, columns)
        cut(layer, f"{name}_mask", every, columns)
    for name in ("bias", "recurrent_bias"):
        cut(layer, name, every)
    for name in [*layer.constants._parameters, *layer.constants._buffers]:
        cut(layer.constants, name, rows)
    if isinstance(layer.norm, nn.BatchNorm1d | nn.LayerNorm):
        for name in [*layer.norm._parameters, *layer.norm._buffers]:
            cut(layer.norm, name, every)
        if isinstance(layer.norm, nn.LayerNorm):
            layer.norm.normalized_shape = (len(every),)
        else:
            layer.norm.num_features = len(every)
    layer.inputs, layer.outputs, layer.neurons = len(channels), len(rows), len(rows)
    layer._neuron = _of(layer.neuron, rows)  # whose constants were cut above


def _of(neuron: Neuron, rows: Tensor) -> Neuron:
    """Return a neuron whose lists of one value a neuron hold those of `rows` alone."""
    listed = {
        name: value.tensor()
        for name, value in neuron.constants().items()
        if isinstance(value, init.Fixed)
    }
    return dataclasses.replace(
        neuron,
        **{name: init.Fixed(value[rows].tolist()) for name, value in listed.items() if value.dim()},
    )


# ── bytes ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Size:
    """How much a network holds.

    entries: of all matrices; connections: those that are there. bytes: what stores it all, each
    matrix in the cheapest of three forms:

        every entry                          entries · bits / 8
        a map of one bit an entry,
          and those that are there           entries / 8 + connections · bits / 8
        a list a row: a count, then          2 · rows
          column and value of each           + connections · (1 or 2, beyond 256 columns 2)
                                             + connections · bits / 8
        a map of one bit an entry, and those that are there   entries / 8 + connections · bits / 8
        a list a row: a count, then column and value of each  2 · rows + connections · (1 or 2,
                                                              beyond 256 columns 2) + connections ·
                                                              bits / 8

    each rounded up to whole bytes; with 4 bytes a row for its scale where weights are integers.
    Other numbers (biases, constants of neurons, norms) take 4 bytes each. bits is 32 where weights
    are not quantised.
    """

    entries: int
    connections: int
    bytes: int

    def as_dict(self) -> dict[str, int]:
        """Return the numbers by name."""
        return dataclasses.asdict(self)


def size(net: Stack) -> Size:
    """Count the bytes of a network of layers; see `Size`.

    Raises `ConfigError` for parts of another kind.
    """
    check_plain("size", net, computed=False)
    matrices, entries, connections, total = _matrices(net), 0, 0, 0
    for layer, name in matrices:
        weight, mask = getattr(layer, name), getattr(layer, f"{name}_mask")
        rows, columns = weight.shape
        there = weight.numel() if mask is None else int(mask.sum())
        bits = 32 if layer.bits is None else layer.bits
        values, index = -(-there * bits // 8), there * (1 if columns <= 256 else 2)
        total += min(
            -(-weight.numel() * bits // 8),
            -(-weight.numel() // 8) + values,
            2 * rows + index + values,
        )
        total += 0 if layer.bits is None else 4 * rows
        entries, connections = entries + weight.numel(), connections + there
    stored = {id(t): t for t in (*net.parameters(), *net.buffers()) if t.is_floating_point()}
    others = sum(t.numel() for t in stored.values()) - entries
    return Size(entries, connections, total + 4 * others)


# ── what there is to change ───────────────────────────────────────────────────────────────────────


def _layers(net: Stack, what: str) -> list[Layer]:
    """Return every layer. Raises `ConfigError` for a part that has weights but is none."""
    check_instance(what, "net", net, Stack, "a network, srnn.Stack(…)")
    check_plain(what, net)
    for k, part in enumerate(net.parts()):
        if not isinstance(part, Layer | Bidirectional | Tandem | Exponential):
            raise ConfigError(
                f"{what}: part {k} of the network is a {type(part).__name__}; only "
                "layers of neurons can be compressed."
            )
    return single_layers(net)


def _matrices(net: Stack) -> list[tuple[Layer, str]]:
    """Return every W and R."""
    named = (
        (layer, name) for layer in _layers(net, "connections") for name in ("weight", "recurrent")
    )
    return [(layer, name) for layer, name in named if getattr(layer, name) is not None]


def _directions(part: nn.Module) -> list[Layer]:
    """Return a layer, or the two of a bidirectional one. Raises `ConfigError` for other parts."""
    if isinstance(part, Bidirectional):
        return [part.forward_layer, part.backward_layer]
    if not isinstance(part, Layer):
        raise ConfigError(
            f"neurons: the network has a {type(part).__name__}; only layers of "
            "neurons, in one direction or both, can lose some."
        )
    return [part]


def _hidden(net: Stack) -> list[list[Layer]]:
    """Return the layers of every part but the last, whose outputs are the classes.

    Raises `ConfigError` where a part is none.
    """
    check_instance("neurons", "net", net, Stack, "a network, srnn.Stack(…)")
    return [_directions(part) for part in net.parts()][:-1]
