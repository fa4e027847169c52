"""Compare counts: why two rule sets differ, one network with another, and with the dense LSTM that
could do the same job.
"""

from __future__ import annotations

from dataclasses import dataclass

from srnn import cells, init
from srnn._check import check_instance, check_range
from srnn.activations import Identity
from srnn.energy.counting import count
from srnn.energy.process import INT8, Memory, Process
from srnn.energy.rules import Measured, Yin2021
from srnn.energy.tally import Count
from srnn.energy.units import Activity
from srnn.nn.baselines import Exponential
from srnn.nn.bidirectional import Bidirectional
from srnn.nn.layers import Layer, Readout
from srnn.nn.networks import Stack

_REASONS = {
    "analog input": "the analog input",
    "event input": "the input's own rate",
    "synapses": "one rate for all",
}
"""What it means that two counts differ in an item, where the item's name does not say it."""


def reasons(published: Count, other: Count) -> dict[str, float]:
    """Return what makes `other` differ from `published`: pJ per step by reason, greatest first.

    They add up to the difference of the energies.
    """
    _check_counts(published, other)
    a, b = published.items(), other.items()
    found: dict[str, float] = {}
    for what in dict.fromkeys((*a, *b)):
        there, here = (
            0.0 if what not in x else c.process.mac * x[what].mac + c.process.ac * x[what].ac
            for c, x in ((published, a), (other, b))
        )
        found[_REASONS.get(what, what)] = here - there
    found["memory traffic"] = other.traffic - published.traffic
    return dict(
        sorted(((k, v) for k, v in found.items() if abs(v) > 1e-9), key=lambda item: -abs(item[1]))
    )


def _check_counts(*counts: Count) -> None:
    for given in counts:
        check_instance("energy", "a count", given, Count, "what srnn.energy.count gives")


def explain(published: Count, other: Count) -> str:
    """Say in one line by how much two counts of a network differ, and why."""
    found, difference = reasons(published, other), other.energy - published.energy
    ratio = f", {other.energy / published.energy:.3g} times" if published.energy else ""
    head = f"{other.rules} is {difference:+.1f} pJ from {published.rules}{ratio}"
    if not found:
        return f"{head}: every item is the same."
    shares = (
        f"{what} {v:+.1f} pJ" + (f" ({100 * v / difference:.1f} %)" if difference else "")
        for what, v in found.items()
    )
    return f"{head}: {', '.join(shares)}."


@dataclass(frozen=True)
class Comparison:
    """A network beside another that does the same job: the columns of Yin, Corradi & Bohté 2021,
    Table S2.

    energy, other_energy: pJ per step. error, other_error: fractions of wrong decisions. What is not
    known is None, and so is what follows from it. The paper's energy ratios are these (its numbers
    say so); how it gets error ratio and efficiency is not in what we have of it, so those
    definitions are ours: a ratio above 1 speaks for this network.
    """

    energy: float | None
    other_energy: float | None
    error: float | None = None
    other_error: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be divided by."""
        for name in ("energy", "other_energy", "error", "other_error"):
            if (value := getattr(self, name)) is not None:
                check_range(f"Comparison: {name}", value, 0.0, open_low=True)

    @property
    def energy_ratio(self) -> float | None:
        """How many times as much energy the other one takes."""
        return (
            None
            if self.energy is None or self.other_energy is None
            else self.other_energy / self.energy
        )

    @property
    def error_ratio(self) -> float | None:
        """How many times as often the other one is wrong."""
        return (
            None
            if self.error is None or self.other_error is None
            else self.other_error / self.error
        )

    @property
    def efficiency(self) -> float | None:
        """Energy ratio times error ratio."""
        return (
            None
            if self.energy_ratio is None or self.error_ratio is None
            else self.energy_ratio * self.error_ratio
        )


def dense_lstm(net: Stack) -> Stack:
    """Return an LSTM network with as many units in every hidden layer as `net`, as many directions,
    and a linear read-out; its weights are 0.

    A network of one layer has no hidden one: an LSTM of its size stands for it.
    """
    check_instance("dense_lstm", "net", net, Stack, "a network, srnn.Stack(…)")
    parts, layers = net.parts(), list[Layer | Bidirectional]()
    for part in (p for p in parts[:-1] or parts if not isinstance(p, Exponential)):
        units = part.forward_layer.neurons if isinstance(part, Bidirectional) else part.outputs
        layer = Layer(
            part.inputs,
            units,
            cells.LSTM(),
            Identity(),
            weight_init=init.Zeros(),
            recurrent_init=init.Zeros(),
        )
        layers.append(
            Bidirectional(layer, merge=part.merge) if isinstance(part, Bidirectional) else layer
        )
    if len(parts) > 1:
        layers.append(
            Readout(parts[-1].inputs, net.outputs, cells.Dense(), weight_init=init.Zeros())
        )
    return Stack(*layers)


def lstm_counts(
    net: Stack, process: Process = INT8, memory: Memory | None = None
) -> dict[str, Count]:
    """Return the counts of `dense_lstm(net)` by `Yin2021` and `Measured`, quantised to 8 bits by
    default.

    Dense: every connection is a MAC at every step, on event inputs too.
    """
    lstm = dense_lstm(net)
    activity = Activity.assumed(lstm, 1.0, events=False)
    return {
        rules.name: count(lstm, activity, rules, process)
        for rules in (Yin2021(), Measured(memory=memory))
    }
