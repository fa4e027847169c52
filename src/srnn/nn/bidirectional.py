"""A layer that runs over each recording forwards, and one that runs backwards, merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from srnn._check import ConfigError, ShapeError, check_instance, check_signal
from srnn.activations import Activation
from srnn.neuron import State
from srnn.nn.layers import Layer
from srnn.nn.part import LayerOutput, LayerState, Part
from srnn.nn.plain import copied


@dataclass(frozen=True)
class Concat:
    """Join the two directions on the channel axis: N + N channels."""

    def width(self, n: int) -> int:
        """Channels after merging two directions of n."""
        return 2 * n

    def __call__(self, forward: Tensor, backward: Tensor) -> Tensor:
        """Merge two (B, T, N)."""
        return torch.cat((forward, backward), -1)


@dataclass(frozen=True)
class Mean:
    """Average the two directions: N channels."""

    def width(self, n: int) -> int:
        """Channels after merging two directions of n."""
        return n

    def __call__(self, forward: Tensor, backward: Tensor) -> Tensor:
        """Merge two (B, T, N)."""
        return 0.5 * (forward + backward)


class Bidirectional(Part):
    """A layer run forwards and one run backwards over each recording within its own length.

    `Bidirectional(layer)` gives the backward direction its own, freshly drawn weights;
    `Bidirectional(layer, layer)` shares them.
    A shared layer with batch norm takes its statistics over both directions in one batch (Bittar &
    Garner 2022), so that they move once a step.
    merge: `Concat()` or `Mean()`. The state is the pair (forward, backward). It cannot run on a
    stream: the backward direction needs the end.
    """

    whole = "is bidirectional and needs a recording's end before its start"

    def __init__(
        self,
        forward_layer: Layer,
        backward_layer: Layer | None = None,
        merge: Concat | Mean | None = None,
    ) -> None:
        super().__init__()
        check_instance("Bidirectional", "forward_layer", forward_layer, Layer, "a Layer")
        if backward_layer is not None:
            check_instance(
                "Bidirectional",
                "backward_layer",
                backward_layer,
                Layer,
                "a Layer (the merge is merge=srnn.Mean())",
            )
        if merge is not None:
            check_instance(
                "Bidirectional", "merge", merge, (Concat, Mean), "srnn.Concat() or srnn.Mean()"
            )
        if backward_layer is None:
            backward_layer = copied(forward_layer)
            backward_layer.reset_parameters()
        if (backward_layer.inputs, backward_layer.neurons) != (
            forward_layer.inputs,
            forward_layer.neurons,
        ):
            raise ConfigError(
                "Bidirectional: the directions differ in size: "
                f"{forward_layer._who()} and {backward_layer._who()}."
            )
        if backward_layer.activation != forward_layer.activation:
            raise ConfigError(
                "Bidirectional: the directions differ in activation: "
                f"{forward_layer.activation} and {backward_layer.activation}."
            )
        self.merge = merge if merge is not None else Concat()
        self.forward_layer, self.backward_layer = forward_layer, backward_layer
        self.inputs, self.outputs = forward_layer.inputs, self.merge.width(forward_layer.neurons)

    @property
    def emits(self) -> Activation:
        return self.forward_layer.activation

    def start(self, batch: int) -> tuple[State, State]:
        """Return the pair of states before the first step."""
        return self.forward_layer.start(batch), self.backward_layer.start(batch)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        state: LayerState | None = None,
        *,
        potential: bool = False,
        backend: str = "auto",
    ) -> LayerOutput:
        """Run both directions; arguments and result as in `Layer.forward`, with the
        pair as state.
        """
        check_signal(f"Bidirectional({self.forward_layer._who()})", x, self.inputs)
        if state is None:
            state = self.start(x.shape[0])
        if not isinstance(state, tuple) or len(state) != 2:
            raise ShapeError(
                f"Bidirectional: state is a {type(state).__name__}; expected the "
                "pair (forward, backward) that `start(batch)` returns."
            )
        steps = (
            x.new_full((x.shape[0],), x.shape[1], dtype=torch.long) if lengths is None else lengths
        )
        options: dict[str, Any] = {"potential": potential, "backend": backend}
        if self._one_batch():
            there, back = self._together(x, steps, state, options)
        else:
            there = self.forward_layer(x, lengths, state[0], **options)
            back = self.backward_layer(reverse(x, steps), lengths, state[1], **options)

        def merged(a: Tensor, b: Tensor) -> Tensor:
            return self.merge(a, reverse(b, steps))

        return LayerOutput(
            merged(there.output, back.output),
            torch.cat((there.emitted, reverse(back.emitted, steps)), -1),
            merged(there.potential, back.potential) if potential else None,
            (there.state, back.state),
        )

    def _one_batch(self) -> bool:
        """Whether both directions move the same running statistics."""
        shared = self.forward_layer is self.backward_layer
        return shared and self.training and isinstance(self.forward_layer.norm, nn.BatchNorm1d)

    def _together(
        self, x: Tensor, steps: Tensor, state: tuple[State, State], options: dict[str, Any]
    ) -> tuple[Any, Any]:
        """Run the one layer on the recordings and the reversed recordings, as one batch."""
        there, back = state
        both = {name: torch.cat((there[name], back[name])) for name in there}
        twice = torch.cat((x, reverse(x, steps)))
        return _parted(
            self.forward_layer(twice, torch.cat((steps, steps)), both, **options), len(x)
        )


def _parted(out: Any, count: int) -> tuple[LayerOutput, LayerOutput]:
    """Return what a layer gave for the first `count` recordings, and for the rest."""

    def part(rows: slice) -> LayerOutput:
        potential = None if out.potential is None else out.potential[rows]
        state = {name: value[rows] for name, value in out.state.items()}
        return LayerOutput(out.output[rows], out.emitted[rows], potential, state)

    return part(slice(count)), part(slice(count, None))


def reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each recording of x (B, T, C) within its own length; padded steps stay where they
    are.
    """
    t = torch.arange(x.shape[1], device=x.device)
    ends = lengths.to(x.device).unsqueeze(1)
    index = torch.where(t < ends, ends - 1 - t, t)
    return x.gather(1, index.unsqueeze(-1).expand_as(x))
