"""The results of one run: accuracy beside what was published, compression, classes, firing."""

from __future__ import annotations

from typing import Any

from srnn import tables
from srnn.report.page import MISSING, Facts, Grid, Heat, Words
from srnn.report.pictures import percent
from srnn.report.read import Read, moved, other_network
from srnn.tasks.objective import PerStep

Numbers = dict[str, Any]


def result(r: Read) -> list[Any]:
    """Return the headline, beside what was published, with the protocol of both."""
    m = r.metrics
    if m is None:
        return [Words(_so_far(r), MISSING)]
    facts = [_accuracy(r, m)]
    if any(r.spiking):
        of = "spikes per step, all spiking units"
        facts.append(("Firing rate", f"{m['firing_rate']:.4f}", of))
    measured, published = (_pj(m["energy"][rules]["energy"]) for rules in ("measured", "yin2021"))
    rules = f"rules measured; {published} by rules yin2021"
    facts.append(("Energy per step", measured, rules))
    unused = "all in use"
    if m["parameters_unused"]:
        unused = f"and {m['parameters_unused']:,} that nothing reads"
    facts.append(("Trained numbers", f"{m['parameters']:,}", unused))
    test = "the test part was left alone"
    if "test_recordings" in m:
        test = f"evaluated once on the test part ({m['test_recordings']:,} recordings)"
    ours = (
        f"Checkpoint of epoch {m['best_epoch']} of {m['epochs']}, selected by "
        f"{m['selected_by']}; {test}; seed {r.seed}."
    )
    protocol = Words(f"Protocol. {ours} {m['data_note']}".strip())
    blocks: list[Any] = [Facts(facts), protocol, _measured(r, m)]
    if r.simulated:
        what = "The data are simulated: no published number is shown beside them."
        return [*blocks, Words(what, MISSING)]
    if not m["published"]:
        what = (
            "Nobody has published a number for this task that we know of."
            if not r.task.published
            else f"No published number is shown beside them: {m.get('published_not')}."
        )
        return [*blocks, Words(what, MISSING)]
    return [*blocks, *_apart(r), _beside(r, m)]


def _so_far(r: Read) -> str:
    said = "There is no result yet: the test part is evaluated once, when the training has ended."
    best = max(r.rows, key=lambda row: row["validation_accuracy"], default=None)
    if best is None:
        return said
    accuracy = percent(best["validation_accuracy"])
    return f"{said} Best validation accuracy so far: {accuracy}, epoch {best['epoch']}."


def _accuracy(r: Read, m: Numbers) -> tuple[str, str, str]:
    """Return the accuracy that counts: its name, itself, and what it is seen beside."""
    if "test_accuracy" not in m:
        accuracy = percent(m["validation_accuracy"])
        return "Validation accuracy", accuracy, "the test part was not evaluated"
    per_step = isinstance(r.task.decode, PerStep)
    convention = ", published convention" if per_step and m["published"] else ""
    beside = f"{m['test_recordings']:,} recordings"
    if first := _published(m, "test accuracy"):
        another = "another network, " if other_network(r) else ""
        beside = f"published: {100 * first['value']:.1f} % ({another}{first['source']})"
    return f"Test accuracy{convention}", percent(m["test_accuracy"]), beside


def _published(m: Numbers, what: str) -> Numbers | None:
    return next((p for p in m["published"] if p["what"] == what), None)


def _apart(r: Read) -> list[Words]:
    """Say in what the run differs from the task whose numbers were published."""
    settings = moved(r)
    if settings == []:
        return []
    said, those = "Set for this run", settings or []
    if other_network(r):
        said = "The network is not the one the published numbers are of"
        those = [s for s in those if s.startswith(("network", "compression"))]
    return [Words(f"{said}: {', '.join(those) if those else 'its settings (below)'}.")]


def _ours(r: Read, m: Numbers, what: str) -> str:
    """Return our number of what was published, as it is written."""
    if "accuracy" in what:
        value = m.get(what.replace(" ", "_"))
        return "" if value is None else percent(value)
    cost = m["energy"]["yin2021"]
    known = {
        "parameters": f"{m['parameters'] + m['parameters_unused']:,}",
        "MAC per step": f"{cost['mac']:,.10g} (rules yin2021)",
        "energy per step (pJ)": f"{cost['energy']:,.1f} (rules yin2021)",
        "firing rate": f"{m['firing_rate']:.4f}",
    }
    return known.get(what, "")


_PARTS = {"train": "training", "validation": "validation", "test": "test"}


def _beside(r: Read, m: Numbers) -> Grid:
    rows = []
    for p in m["published"]:
        accuracy = "accuracy" in p["what"]
        selected = f"selected on the {_PARTS[r.task.published_selection]} part"
        how = [selected] if accuracy and selected not in p["protocol"] else []
        how += [p["protocol"]] if p["protocol"] else []
        value = f"{100 * p['value']:.1f} %" if accuracy else f"{p['value']:,g}"
        ours = _ours(r, m, p["what"]) or "not measured"
        rows.append((p["what"], ours, value, p["source"], "; ".join(how)))
    columns = ("what", "this run", "published", "by", "how the published number came about")
    return Grid("Beside what was published", columns, rows, frozenset({1, 2}))


def _measured(r: Read, m: Numbers) -> Grid:
    """Return every accuracy that is on record."""
    names = {
        "test_accuracy": "test part",
        "test_accuracy_labelled": "test part, labelled steps only",
        "validation_accuracy": "validation part",
    }
    if isinstance(r.task.decode, PerStep):
        names["test_accuracy"] = "test part, published convention"
        if r.task.decode.unlabelled_as is not None:
            counted = r.task.classes[r.task.decode.unlabelled_as]
            names["test_accuracy"] += f" (unlabelled steps count as {counted})"
    names |= {
        k: k.removeprefix("test_accuracy_").replace("_", " ")
        for k in m
        if k.startswith("test_accuracy_") and k not in names
    }
    rows = [(name, percent(m[key])) for key, name in names.items() if key in m]
    mark = ", simulated data" if r.simulated else ""
    return Grid(f"Accuracy{mark}", ("measured on", "accuracy"), rows, frozenset({1}))


def compressed(r: Read) -> list[Any]:
    """Return what compression did, where there was any."""
    m = r.metrics
    if m is None or "compression" not in m:
        return []
    table = tables.compressed(m, "Before and after compression")
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    names = [str(c.header) for c in table.columns]
    names[0], names[-1] = "what", "change"
    note = (
        f"Compressed from {m['compressed_from']}. "
        "Accuracies under before are those that run has on record."
    )
    rows = list(zip(*columns, strict=True))
    return [Grid(str(table.title), names, rows, frozenset({1, 2, 3})), Words(note)]


def classes(r: Read) -> list[Any]:
    """Return recall and confusion of the classes."""
    m = r.metrics
    if m is None:
        return [Words("There is no confusion matrix before the run is finished.", MISSING)]
    counts, recall = m[f"{r.part}_confusion"], m[f"{r.part}_recall"]
    unit = "labelled steps" if isinstance(r.task.decode, PerStep) else "recordings"
    mark = ", SIMULATED DATA" if r.simulated else ""
    wrong = [(n, a, b) for a, row in enumerate(counts) for b, n in enumerate(row) if a != b and n]
    worst = sorted(wrong, reverse=True)[:5]
    rows = [
        (name, f"{sum(row):,}", "no label" if x is None else percent(x), f"{row[k]:,}")
        for k, (name, row, x) in enumerate(zip(m["classes"], counts, recall, strict=True))
    ]
    said = "; ".join(f"{m['classes'][a]} taken for {m['classes'][b]}: {n:,}" for n, a, b in worst)
    recalled = f"Recall of each class, {r.part} part{mark}"
    confused = f"Confusion in percent of each label, {r.part} part, {unit}{mark}"
    return [
        Grid(recalled, ("class", unit, "recall", "right"), rows, frozenset({1, 2, 3})),
        Heat(confused, m["classes"], counts),
        Words(f"Most often confused: {said}." if said else "Nothing was confused."),
    ]


def rates(r: Read) -> list[Any]:
    """Return firing rates of the layers."""
    if not any(r.spiking):
        return [Words("No layer of this network spikes: there are no firing rates.", MISSING)]
    if r.metrics is None:
        return []
    rows = [
        (name, f"{rate:.4f}" if spiking else "does not spike")
        for name, rate, spiking in zip(r.layers, r.metrics["firing_rates"], r.spiking, strict=True)
    ]
    rows += [("all spiking units", f"{r.metrics['firing_rate']:.4f}")]
    mark = ", SIMULATED DATA" if r.simulated else ""
    what = f"Spikes per neuron and step, {r.part} part{mark}"
    return [Grid(what, ("layer", "firing rate"), rows, frozenset({1}))]


def _pj(value: float) -> str:
    for size, unit in ((1e6, "µJ"), (1e3, "nJ")):
        if value >= 10 * size:
            return f"{value / size:,.1f} {unit}"
    return f"{value:,.1f} pJ"
