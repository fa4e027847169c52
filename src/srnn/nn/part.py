"""The contract of a network's parts: (B, T, C) → (B, T, N) over time, with explicit state."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from srnn.activations import Activation, Identity
from srnn.neuron import State

LayerState = State | tuple[State, State]
"""State of a part, each tensor (B, M), or the pair of a bidirectional one."""


class LayerOutput(NamedTuple):
    """What a part returns.

    output: (B, T, N) after dropout. emitted: before it; of a bidirectional layer both directions
    side by side, (B, T, 2N).
    potential: (B, T, N) or None. state: after each recording's own last step.
    """

    output: Tensor
    emitted: Tensor
    potential: Tensor | None
    state: LayerState


class Part(nn.Module):
    """A module with `inputs` and `outputs` channels that can stand in a `Stack`; it keeps no state
    of its own.

    whole: why it cannot run piece by piece (on a stream, in segments), in words that follow its
    name; None where it can.
    """

    inputs: int
    outputs: int
    whole: ClassVar[str | None] = None

    @property
    def emits(self) -> Activation:
        """What the outputs are: binary spikes, or numbers."""
        return Identity()

    def start(self, batch: int) -> LayerState:
        """Return the state before the first step for `batch` recordings."""
        return {}

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        state: LayerState | None = None,
        *,
        potential: bool = False,
        backend: str = "auto",
    ) -> LayerOutput:
        """Run over time.

        x: (B, T, C). lengths: (B,) valid steps of each recording, or None = T. state: from `start`
        or an earlier call, or None = start. Raises `ShapeError` when x, lengths or state do not
        fit.
        """
        raise NotImplementedError
