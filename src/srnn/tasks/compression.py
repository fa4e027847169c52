"""How much smaller the network of a task is: a setting like any other, so that a compressed run is
an ordinary run folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from srnn import compress
from srnn._check import ConfigError, check_range
from srnn.energy import INT8, Process
from srnn.kernels.fixed_weights import check_bits
from srnn.nn.networks import Stack


@dataclass(frozen=True)
class Compression:
    """The network of the task with fewer bits, connections and neurons (see `srnn.compress`).
    Fractions are of the network as `Task.network` has it.

    bits: of the weights, which are trained straight through the rounding; None = not quantised.
    sparsity: fraction of the entries of all matrices that are removed, smallest first; scope:
    compared over the whole network, or in each matrix.
    steps: at the start of each of the first so many epochs some of them go, many at first
    (`compress.gradual`); 1 = all of them before the first one. No network is selected before they
    are over.
    structured: fraction of the neurons of every hidden layer that are removed. `srnn compress`
    chooses them; a training from scratch has a narrower network.
    """

    bits: int | None = None
    sparsity: float = 0.0
    scope: Literal["global", "layer"] = "global"
    steps: int = 1
    structured: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be removed."""
        check_bits("compression.bits", self.bits)
        for name in ("sparsity", "structured"):
            check_range(f"compression.{name}", getattr(self, name), 0.0, 1.0)
            if getattr(self, name) == 1:
                raise ConfigError(
                    f"compression.{name} is 1: nothing would be left. Set it below 1."
                )
        check_range("compression.steps", self.steps, 1)

    @property
    def process(self) -> Process | None:
        """What an operation costs where weights are integers of 8 bits or fewer; None = as a rule
        set has it.
        """
        return INT8 if self.bits is not None and self.bits <= 8 else None

    def prepared(self, net: Stack) -> Stack:
        """Return the network in the shape its checkpoints have: narrower, with masks and bits;
        which neurons and connections are left, they say.
        """
        if self.structured:
            net = compress.remove_neurons(net, compress.widths(net, self.structured))
        if self.sparsity:
            compress.open_masks(net)
        if self.bits is not None:
            compress.set_bits(net, self.bits)
        return net

    def prune(self, net: Stack, epoch: int) -> None:
        """Remove the connections that go at the start of epoch 0, 1, …; the same weights and epoch,
        the same ones.
        """
        if self.sparsity and epoch < self.steps:
            compress.prune(net, compress.gradual(self.sparsity, epoch, self.steps), self.scope)

    def settled(self, epochs: int) -> bool:
        """Whether a network after so many epochs may be compared with earlier ones: as small."""
        return epochs > self.steps or self.steps == 1
