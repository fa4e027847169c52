"""Count a network by a rule set, or by all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from srnn._check import ConfigError, check_instance, check_range
from srnn.energy.process import Memory, Process
from srnn.energy.rules import Bittar2022, Measured, Rules, Yin2020, Yin2021
from srnn.energy.tally import Count
from srnn.energy.units import Activity
from srnn.nn.networks import Stack, Trace
from srnn.nn.plain import check_plain

_MEASURED = Measured()


def count(
    net: Stack,
    trace: Trace | Activity,
    rules: Rules = _MEASURED,
    process: Process | None = None,
    *,
    every: Mapping[int, float] | None = None,
) -> Count:
    """Return the operations per step of `net` on what was recorded (`net(x, record=True).trace`) by
    a rule set.

    process: what an operation costs, or None = as the rule set's paper has it. every: parts that
    are not evaluated at every step, by position, and once in how many they are: {2: 250} is a head
    that reads a recording of 250 steps once. Raises `ConfigError` when the trace is not one of this
    network, or a part is of a kind that cannot be counted.
    """
    check_instance(
        "energy.count", "trace", trace, (Trace, Activity), "a trace: net(x, record=True).trace"
    )
    check_plain("energy.count", net)
    activity = Activity.of(trace) if isinstance(trace, Trace) else trace
    if len(activity.layers) != len(net.layers):
        raise ConfigError(
            f"energy: rates of {len(activity.layers)} layers for a network of "
            f"{len(net.layers)}; pass a trace of this network."
        )
    every = every or {}
    for position, steps in every.items():
        if position not in range(len(net.layers)):
            raise ConfigError(
                f"energy: every names part {position} of a network of "
                f"{len(net.layers)}; the first is 0."
            )
        check_range(f"energy: every[{position}]", steps, 1.0)
    found = rules(net, activity)
    layers = tuple(
        layer.per(every[layer.position]) if layer.position in every else layer
        for layer in found.layers
    )
    return replace(found, layers=layers, process=found.process if process is None else process)


def counts(
    net: Stack,
    trace: Trace | Activity,
    process: Process | None = None,
    *,
    memory: Memory | None = None,
    every: Mapping[int, float] | None = None,
) -> dict[str, Count]:
    """Return the count by every rule set, by name. memory: charged by `Measured`.

    Other arguments as in `count`.
    """
    sets: tuple[Rules, ...] = (Yin2020(), Yin2021(), Bittar2022(), Measured(memory=memory))
    return {rules.name: count(net, trace, rules, process, every=every) for rules in sets}
