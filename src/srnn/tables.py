"""Tables for a terminal: results, energy, tasks, data sets.

They degrade to plain text in a pipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from srnn.energy import Count


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k == 0 else "right", overflow="fold")
    return table


def plain(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    folded: Sequence[str] = (),
) -> Table:
    """Return a table of text, all columns to the left; where it is too wide, the columns `folded`
    give way, if there are any, else all.
    """
    table = _table(title, *columns)
    for column in table.columns:
        column.justify = "left"
        column.no_wrap = bool(folded) and column.header not in folded
        column.min_width = 8 if column.header in folded else None
    for row in rows:
        table.add_row(*row)
    return table


def result(metrics: dict[str, Any], title: str) -> list[Table]:
    """Return the tables of a metrics.json: accuracy (per class), firing, cost; published numbers
    beside them when the data is real.
    """
    shown = [] if metrics["simulated"] else metrics["published"]
    published = {p["what"]: p for p in reversed(shown)}

    def beside(what: str, percent: bool = False) -> str:
        p = published.get(what)
        return "" if p is None else f"{100 * p['value']:.1f} %" if percent else f"{p['value']:g}"

    mark = " (SIMULATED DATA)" if metrics["simulated"] else ""
    columns = ["published"] if published else []
    accuracy = _table(title + mark, "accuracy (test part)", "measured", *columns)

    def row(table: Table, name: str, value: str, other: str = "") -> None:
        table.add_row(name, value, *([other] if published else []))

    if "test_accuracy_labelled" not in metrics:
        row(
            accuracy,
            "recordings",
            f"{100 * metrics['test_accuracy']:.2f} %",
            beside("test accuracy", percent=True),
        )
    elif metrics["simulated"]:
        row(accuracy, "steps", f"{100 * metrics['test_accuracy']:.2f} %")
    else:
        row(
            accuracy,
            "all steps" + (", published convention" if published else ""),
            f"{100 * metrics['test_accuracy']:.2f} %",
            beside("test accuracy", percent=True),
        )
        row(accuracy, "labelled steps only", f"{100 * metrics['test_accuracy_labelled']:.2f} %")
    for key in (
        k for k in metrics if k.startswith("test_accuracy_") and k != "test_accuracy_labelled"
    ):
        what = key.replace("_", " ")
        row(
            accuracy,
            what.removeprefix("test "),
            f"{100 * metrics[key]:.2f} %",
            beside(what, percent=True),
        )
    for name, value in zip(metrics["classes"], metrics["test_recall"], strict=True):
        row(
            accuracy, f"  recall of {name}", "no label" if value is None else f"{100 * value:.2f} %"
        )
    if not metrics["selected_by"].startswith("nothing"):
        watched = metrics["selected_by"].replace("validation accuracy", "validation")
        row(
            accuracy,
            f"{watched} (selected epoch {metrics['best_epoch']} of {metrics['epochs']})",
            f"{100 * metrics['validation_accuracy']:.2f} %",
        )
    cost = _table("", "firing and cost", "measured", *columns)
    row(cost, "firing rate, all spiking units (spikes per step)", f"{metrics['firing_rate']:.4f}")
    for k, rate in enumerate(metrics["firing_rates"]):
        if rate is None:  # a layer that does not spike has none
            continue
        row(cost, f"  layer {k + 1}", f"{rate:.4f}")
    row(
        cost,
        "spikes per step / per recording",
        f"{metrics['sops_per_step']:.2f} / {metrics['sops_per_sample']:.0f}",
    )
    for name, count in metrics["energy"].items():
        paper = name == "yin2021"
        row(
            cost,
            f"MAC per step, rules {name}",
            f"{count['mac']:g}",
            beside("MAC per step") if paper else "",
        )
        row(cost, f"AC per step, rules {name}", f"{count['ac']:.1f}")
        row(
            cost,
            f"energy per step (pJ), rules {name}",
            f"{count['energy']:.1f}",
            beside("energy per step (pJ)") if paper else "",
        )
    row(
        cost,
        "trained numbers (and unused ones)",
        f"{metrics['parameters']} (+ {metrics['parameters_unused']})",
    )
    return [accuracy, cost]


def operations(counts: dict[str, Count], title: str) -> Table:
    """Return the operations of each layer by every rule set; with a memory also the numbers read
    and written.
    """
    memory = any(count.memory is not None for count in counts.values())
    table = _table(
        title,
        "rules",
        "layer",
        "MAC / step",
        "AC / step",
        *(["accesses / step"] if memory else []),
        "energy (pJ / step)",
    )
    for name, count in counts.items():
        charged = count.memory is not None
        for layer in count.layers:
            accesses = [f"{layer.reads + layer.writes:.1f}" if charged else ""] if memory else []
            table.add_row(name, layer.name, f"{layer.mac:.10g}", f"{layer.ac:.1f}", *accesses, "")
        accesses = [f"{count.accesses:.1f}" if charged else ""] if memory else []
        table.add_row(
            name,
            "all",
            f"{count.mac:.10g}",
            f"{count.ac:.1f}",
            *accesses,
            f"{count.energy:.1f}",
            end_section=True,
        )
    return table


def beside(others: dict[str, Count], counts: dict[str, Count], title: str) -> Table:
    """Return the operations of another network by some of the rule sets, and how many times the
    energy of the first one it takes.
    """
    table = _table(
        title, "rules", "MAC / step", "AC / step", "energy (pJ / step)", "times the network's"
    )
    for name, count in others.items():
        ratio = f"{count.energy / counts[name].energy:.3g}" if counts[name].energy else ""
        table.add_row(name, f"{count.mac:.10g}", f"{count.ac:.1f}", f"{count.energy:.1f}", ratio)
    return table


def compressed(metrics: dict[str, Any], title: str) -> Table:
    """Return a network before and after its compression, side by side."""
    before, after = metrics["compression"]["before"], metrics["compression"]["after"]
    mark = " (SIMULATED DATA)" if metrics["simulated"] else ""
    table = _table(title + mark, "", "before", "after", "")

    def percent(what: str, key: str) -> None:
        a, b = before[key], after[key]
        shown = ["not known" if x is None else f"{100 * x:.2f} %" for x in (a, b)]
        table.add_row(
            what, *shown, "" if a is None or b is None else f"{100 * (b - a):+.2f} points"
        )

    def number(what: str, key: str, form: str = ",.0f") -> None:
        a, b = before[key], after[key]
        table.add_row(what, f"{a:{form}}", f"{b:{form}}", f"x {b / a:.3g}" if a else "")

    percent("validation accuracy", "validation_accuracy")
    if (untrained := metrics["compression"]["untrained_validation_accuracy"]) is not None:
        table.add_row("  before training went on", "", f"{100 * untrained:.2f} %", "")
    percent("test accuracy", "test_accuracy")
    table.add_row(
        "weights",
        *("float32" if x["bits"] is None else f"int{x['bits']}" for x in (before, after)),
        "",
    )
    table.add_row("neurons", *("-".join(map(str, x["neurons"])) for x in (before, after)), "")
    number("connections", "connections")
    number("trained numbers in use", "parameters")
    number("bytes", "bytes")
    number("firing rate, all spiking units (spikes per step)", "firing_rate", ".4f")
    number("MAC per step, rules measured", "mac")
    number("AC per step, rules measured", "ac", ",.1f")
    number("pJ per step, int32 as published", "energy", ",.1f")
    widths = [x["process"].split(",")[0] for x in (before, after)]
    number(f"pJ per step, {widths[0]} | {widths[1]}", "energy_own", ",.1f")
    return table


def spread(results: Sequence[dict[str, Any]], title: str) -> Table:
    """Return mean ± sd over seeds of the headline numbers."""
    import statistics

    table = _table(title, f"{len(results)} seeds", "mean", "sd")
    accuracies = ("test_accuracy", "test_accuracy_labelled", "validation_accuracy")
    rows = {key: [100 * r[key] for r in results if key in r] for key in accuracies} | {
        "firing_rate": [r["firing_rate"] for r in results]
    }
    for rules in results[0]["energy"]:
        rows[f"MAC per step, rules {rules}"] = [r["energy"][rules]["mac"] for r in results]
        rows[f"energy per step (pJ), rules {rules}"] = [
            r["energy"][rules]["energy"] for r in results
        ]
    for name, values in rows.items():
        if len(values) > 1:
            unit = " %" if name in accuracies else ""
            table.add_row(
                name,
                f"{statistics.mean(values):.4g}{unit}",
                f"{statistics.stdev(values):.2g}{unit}",
            )
    return table
