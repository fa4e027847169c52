"""A layer that runs over each recording forwards, and one that runs backwards, merged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
        there = self.forward_layer(x, lengths, state[0], potential=potential, backend=backend)
        back = self.backward_layer(
            reverse(x, steps), lengths, state[1], potential=potential, backend=backend
        )

        def merged(a: Tensor, b: Tensor) -> Tensor:
            return self.merge(a, reverse(b, steps))

        return LayerOutput(
            merged(there.output, back.output),
            torch.cat((there.emitted, reverse(back.emitted, steps)), -1),
            merged(there.potential, back.potential) if potential else None,
            (there.state, back.state),
        )


def reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each recording of x (B, T, C) within its own length; padded steps stay where they
    are.
    """
    t = torch.arange(x.shape[1], device=x.device)
    ends = lengths.to(x.device).unsqueeze(1)
    index = torch.where(t < ends, ends - 1 - t, t)
    return x.gather(1, index.unsqueeze(-1).expand_as(x))
