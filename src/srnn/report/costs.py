"""What the network of one run costs: operations and energy by every accounting, beside an LSTM."""

from __future__ import annotations

from typing import Any

from srnn import energy
from srnn.report.page import MISSING, Fold, Grid, Words
from srnn.report.read import Read


def cost(r: Read) -> tuple[list[Any], dict[str, Any]]:
    """Return the operations and energies by both accountings, why they differ, and what a dense
    LSTM would take.
    """
    if r.net is None or r.activity is None:
        what = "Operations follow from the firing rates that are measured when the run is finished."
        return [Words(what, MISSING)], {}
    counts = energy.counts(r.net, r.activity)
    published, measured = counts["yin2021"], counts["measured"]
    others = {
        f"dense LSTM of the same size, {name}": energy.lstm_counts(r.net, p)
        for name, p in (("int32 as published", energy.PUBLISHED), ("int8", energy.INT8))
    }
    small = None if r.task.compression is None else r.task.compression.process
    if small is not None:
        name = f"this network, {small.source.split(',')[0]}"
        others = {name: energy.counts(r.net, r.activity, small)} | others
    mark = ", SIMULATED DATA" if r.simulated else ""
    grids = []
    for rules, what in (("yin2021", "as published"), ("measured", "with nothing left out")):
        own, rows = counts[rules].energy, []
        for name, of in {"this network": counts, **others}.items():
            c = of[rules]
            times = f"{c.energy / own:,.3g}" if own else ""
            rows.append((name, f"{c.mac:,.0f}", f"{c.ac:,.1f}", f"{c.energy:,.1f}", times))
        title = f"Per step, rules {rules}: {what}{mark}"
        columns = ("network", "MAC", "AC", "pJ", "times")
        grids.append(Grid(title, columns, rows, frozenset({1, 2, 3, 4})))
    reasons = energy.reasons(published, measured)
    why = Grid(
        "Why measured differs from yin2021, pJ per step",
        ("charged differently", "pJ"),
        [(k, f"{v:+,.1f}") for k, v in reasons.items()],
        frozenset({1}),
    )
    each = [
        (name, layer.name, f"{layer.mac:,.0f}", f"{layer.ac:,.1f}")
        for name, c in counts.items()
        for layer in c.layers
    ]
    layers = Grid("By layer, per step", ("rules", "layer", "MAC", "AC"), each, frozenset({2, 3}))
    said = Words(
        "yin2021 is the published accounting: products with the neuron's own spike and with "
        "constants are free, one mean rate stands for all connections. measured charges all "
        "that the recorded network does, with the rates of each layer, biases, resets and "
        "analog input. "
        f"Both at 45 nm, {published.process.source}. "
        f"{energy.explain(published, measured).partition(':')[0]}."
    )
    numbers = {
        "counts": {name: c.as_dict() for name, c in counts.items()},
        "reasons": reasons,
        "beside": {
            name: {rules: of[rules].as_dict() for rules in ("yin2021", "measured")}
            for name, of in others.items()
        },
    }
    fold = Fold("Operations of each layer, by all four rule sets", [layers])
    return [*grids, said, why, fold], numbers
