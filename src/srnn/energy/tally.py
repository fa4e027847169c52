"""Counts: operations per step of each layer, item by item, and the energy they take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from srnn.energy.process import PUBLISHED, Memory, Process

SYNAPTIC = ("analog input", "event input", "synapses")
"""The items that are products with weights."""


@dataclass(frozen=True)
class Charge:
    """One item of a layer's count, per step; `what` is the same in every rule set, so that they can
    be compared.
    """

    what: str
    mac: float = 0.0
    ac: float = 0.0


@dataclass(frozen=True)
class LayerCount:
    """Operations per step of one layer (or one direction of it), and numbers read from and written
    to memory.

    charges: the items that mac and ac are the sums of. position: of the part in the network.
    """

    name: str
    mac: float
    ac: float
    reads: float = 0.0
    writes: float = 0.0
    charges: tuple[Charge, ...] = ()
    position: int = 0

    @staticmethod
    def of(
        name: str, position: int, charges: Iterable[Charge], reads: float = 0.0, writes: float = 0.0
    ) -> LayerCount:
        """Add up; items that come to nothing are left out."""
        kept = tuple(c for c in charges if c.mac or c.ac)
        return LayerCount(
            name, sum(c.mac for c in kept), sum(c.ac for c in kept), reads, writes, kept, position
        )

    def per(self, steps: float) -> LayerCount:
        """Return the count of a layer that is evaluated once in so many steps."""
        charges = tuple(Charge(c.what, c.mac / steps, c.ac / steps) for c in self.charges)
        return replace(
            self,
            mac=self.mac / steps,
            ac=self.ac / steps,
            reads=self.reads / steps,
            writes=self.writes / steps,
            charges=charges,
        )


@dataclass(frozen=True)
class Count:
    """Operations per step of a network, by one rule set. energy: pJ per step, with memory traffic
    where a memory is given.
    """

    rules: str
    layers: tuple[LayerCount, ...]
    process: Process = PUBLISHED
    memory: Memory | None = None

    @property
    def mac(self) -> float:
        """Multiply-accumulates per step."""
        return sum(layer.mac for layer in self.layers)

    @property
    def ac(self) -> float:
        """Accumulates per step."""
        return sum(layer.ac for layer in self.layers)

    @property
    def accesses(self) -> float:
        """Numbers read and written per step; 0 for the rule sets that know no memory."""
        return sum(layer.reads + layer.writes for layer in self.layers)

    @property
    def traffic(self) -> float:
        """Energy of the memory traffic per step in pJ; 0 without a memory."""
        return 0.0 if self.memory is None else self.accesses * self.memory.access(self.process.bits)

    @property
    def energy(self) -> float:
        """Energy per step in pJ."""
        return self.process.mac * self.mac + self.process.ac * self.ac + self.traffic

    def items(self) -> dict[str, Charge]:
        """Return the items, summed over layers."""
        found: dict[str, Charge] = {}
        for charge in (c for layer in self.layers for c in layer.charges):
            before = found.get(charge.what, Charge(charge.what))
            found[charge.what] = Charge(charge.what, before.mac + charge.mac, before.ac + charge.ac)
        return found

    def synaptic(self) -> Charge:
        """Return the products with weights alone: what NeuroBench calls synaptic operations."""
        items = [charge for what, charge in self.items().items() if what in SYNAPTIC]
        return Charge("synaptic", sum(c.mac for c in items), sum(c.ac for c in items))

    def as_dict(self) -> dict[str, float]:
        """Return mac, ac and energy per step; with a memory also accesses and their share of the
        energy, traffic.
        """
        found = {"mac": self.mac, "ac": self.ac, "energy": self.energy}
        return (
            found
            if self.memory is None
            else found | {"accesses": self.accesses, "traffic": self.traffic}
        )
