"""Truncated backpropagation through time: a batch cut into chunks, the state handed on, the
gradient not.

The gradient of a chunk ends at its start, so that memory is held for one chunk only. Activation
checkpointing (`Task.segment`) is the other way to save memory: it keeps the whole gradient and
computes twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from srnn._check import ConfigError, check_range


@dataclass(frozen=True)
class Truncation:
    """Cut the gradient every `chunk` steps.

    step_per_chunk: the optimiser steps after every chunk, so that the weights change within a
    recording; otherwise the gradients of all chunks are added up for one step at the end.
    carry_scores (one label a recording): the decoder's running scores of the chunks before, without
    their gradient, go into the loss of a chunk, instead of the chunk's own scores alone. With both,
    this is the published PS-MNIST training (Yin, Corradi & Bohté 2021; its script counts one step
    more into its first chunk).

    With a label for every step the losses of the chunks add up to that of the whole recordings.
    With one label a recording every chunk is compared with it, and the whole cross-entropy counts
    in each; in chunks after its end a recording takes no part. A firing-rate regulariser sees the
    rates of each chunk. Batch norm takes the statistics of each chunk.
    """

    chunk: int = 100
    step_per_chunk: bool = False
    carry_scores: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        check_range("truncation.chunk", self.chunk, 1)
        if not isinstance(self.chunk, int):
            raise ConfigError(
                f"truncation.chunk is {self.chunk}; expected a whole number of steps."
            )
