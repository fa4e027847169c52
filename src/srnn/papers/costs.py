"""What the networks of a table cost, counted without training at the published firing rate, beside
the published numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from srnn import energy
from srnn.nn.networks import Stack, single_layers
from srnn.papers.table import Row, Table, agrees, value

RATIOS = ("energy_ratio", "error_ratio", "efficiency")
"""Of a row to the one it is compared with: the properties of `energy.Comparison`."""


@dataclass(frozen=True)
class Compared:
    """A metric of a row: as printed (None: not published), as computed (None: not known), and what
    there is to say.
    """

    metric: str
    published: str | None
    computed: float | None
    why: str = ""

    @property
    def verdict(self) -> str:
        """Return "equal", "explained", "DIFFERS", or "" where there is nothing to compare."""
        if self.published is None or self.computed is None:
            return ""
        if agrees(self.published, self.computed):
            return "equal"
        return "explained" if self.why else "DIFFERS"


def costs(table: Table) -> dict[str, list[Compared]]:
    """Return for each row the metrics `table.costs`.

    Builds every network; trains nothing and reads no data.
    """
    counted = {row.name: count(row, table.rules) for row in table.rows}
    found = {}
    for row in table.rows:
        computed = counted[row.name] | _ratios(table, row, counted)
        found[row.name] = [
            Compared(m, row.published.get(m), computed.get(m), row.explained.get(m, ""))
            for m in table.costs
        ]
    return found


def count(row: Row, rules: str) -> dict[str, float]:
    """Return parameters, mac, ac and energy per step of a row's network; ac and energy of spiking
    ones only where the row has a rate.
    """
    if row.builds is None and (row.task is None or row.cannot):
        return {}
    net = row.builds() if row.builds is not None else row.resolved().build()
    sparsity = getattr(row.resolved().network, "sparsity", 0.0) if row.task is not None else 0.0
    numbers: dict[str, float] = {"parameters": float(_parameters(net, sparsity))}
    spiking = any(part.emits.binary for part in net.parts())
    activity = energy.Activity.assumed(net, row.rate or 0.0)
    if row.analog_macs:
        counted = energy.count(
            net,
            replace(activity, events=False),
            energy.Yin2021(analog_input_mac=True),
            every=row.every,
        )
    else:
        counted = energy.counts(net, activity, every=row.every)[rules]
    numbers |= {"mac": counted.mac}
    if row.rate is not None or not spiking:
        numbers |= {"ac": counted.ac, "energy": counted.energy}
    return numbers


def _parameters(net: Stack, sparsity: float) -> int:
    """Count trained numbers as the papers do: what nothing reads too (a zero diagonal, τ_adp where
    β = 0), less that share of the sparse matrices.
    """
    numbers, pool = sum(p.numel() for p in net.parameters()), 0
    for layer in single_layers(net):
        both = [
            (m, mask)
            for m, mask in (
                (layer.weight, layer.weight_mask),
                (layer.recurrent, layer.recurrent_mask),
            )
            if m is not None
        ]
        pool += sum(m.numel() for m, _ in both) if layer.weight_mask is not None else 0
        if layer.neuron.gates > 1:  # blocks that a gate does not have
            numbers -= sum(int((~mask.bool()).sum()) for _, mask in both if mask is not None)
    return round(numbers - sparsity * pool)


def _ratios(table: Table, row: Row, counted: dict[str, dict[str, float]]) -> dict[str, float]:
    if row.against is None:
        return {}
    other = table.row(row.against)
    pair = energy.Comparison(
        counted[other.name].get("energy") or None,
        counted[row.name].get("energy") or None,
        _error(other),
        _error(row),
    )
    return {name: ratio for name in RATIOS if (ratio := getattr(pair, name)) is not None}


def _error(row: Row) -> float | None:
    return 1 - value(row.published["accuracy"]) / 100 if "accuracy" in row.published else None


def as_json(found: dict[str, list[Compared]]) -> list[dict[str, Any]]:
    """Return costs as plain values."""
    fields = ("metric", "published", "computed", "verdict", "why")
    kept = [
        (name, c)
        for name, compared in found.items()
        for c in compared
        if c.published is not None or c.computed is not None
    ]
    return [{"row": name, **{field: getattr(c, field) for field in fields}} for name, c in kept]
