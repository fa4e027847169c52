"""The sections of one run."""

from __future__ import annotations

import shlex
from typing import Any

from srnn import energy, tables
from srnn.report.page import Command, Facts, Fold, Grid, Heat, Picture, Section, Words
from srnn.report.pictures import Shown, percent
from srnn.report.read import Read, moved, other_network, told
from srnn.report.svg import inline
from srnn.tasks.objective import PerStep
from srnn.tasks.settings import listed

Numbers = dict[str, Any]
MISSING = "missing"


def sections(r: Read, drawn: dict[str, Shown | str]) -> tuple[list[Section], Numbers]:
    """Return the sections of a run and the numbers they show."""
    counted, costs = cost(r)
    made = [
        Section("result", "Result", [*result(r), *_compressed(r)]),
        Section("learning", "Learning", [picture(drawn, "learning")]),
        Section("classes", "Classes", _classes(r)),
        Section("time", "Decisions over time", [picture(drawn, "anytime")]),
        Section("recording", "One recording", [picture(drawn, "recording")]),
        Section(
            "firing",
            "Firing rates",
            [*_rates(r), *([picture(drawn, "firing")] if any(r.spiking) else [])],
        ),
        Section("constants", "Time constants", [picture(drawn, "constants")]),
        Section("energy", "Operations and energy", counted),
        Section("settings", "Settings", _settings(r)),
        Section("environment", "Environment", _environment(r)),
        Section("again", "Run it again", _again(r)),
    ]
    return made, {
        **about(r),
        "costs": costs,
        "settings": moved(r),
        "command": command(r),
        "figures": {k: s.numbers for k, s in drawn.items() if isinstance(s, Shown)},
        "left_out": {k: s for k, s in drawn.items() if isinstance(s, str)},
    }


def about(r: Read) -> Numbers:
    """Return what a run is and its headline numbers; None where they are not known."""
    m = r.metrics or {}
    return {
        "run": str(r.run.path),
        "task": r.task.name,
        "seed": r.seed,
        "simulated": r.simulated,
        "state": r.state,
        "epochs": len(r.rows),
        "of_epochs": r.task.epochs,
        "selected_by": r.task.selected_by,
        "best_epoch": m.get("best_epoch"),
        "part": r.part if r.metrics else None,
        **{
            k: m.get(k)
            for k in (
                "test_accuracy",
                "test_accuracy_labelled",
                "validation_accuracy",
                "firing_rate",
                "firing_rates",
                "parameters",
            )
        },
        "energy": {name: c["energy"] for name, c in m.get("energy", {}).items()},
        "published": m.get("published", []),
    }


def picture(drawn: dict[str, Shown | str], key: str) -> Picture | Words:
    """Return a figure as the page holds it, or why there is none."""
    s = drawn[key]
    return (
        Words(s, MISSING)
        if isinstance(s, str)
        else Picture(inline(s.figure, f"fig-{key}", s.title, s.says), s.caption)
    )


# ── the result ────────────────────────────────────────────────────────────────────────────────────


def lead(r: Read) -> str:
    """Say in a sentence what this is, and how far."""
    done = f"{len(r.rows)} of {r.task.epochs} epochs"
    states = {
        "finished": f"Finished after {len(r.rows)} epochs.",
        "running": f"Not finished: it is being trained, {done} are done.",
        "stopped": f"Not finished: it was stopped after {done}.",
        "diverged": f"Diverged after {done}: {r.message}",
    }
    return f"{r.task.summary}. {states[r.state]} Folder: {r.run.path}"


def marks(r: Read) -> list[str]:
    """Return what nobody may overlook."""
    return [
        *(["SIMULATED DATA"] if r.simulated else []),
        *(["NOT FINISHED"] if r.state in ("running", "stopped") else []),
        *(["DIVERGED"] if r.state == "diverged" else []),
    ]


def result(r: Read) -> list[Any]:
    """Return the headline, beside what was published, with the protocol of both."""
    m = r.metrics
    if m is None:
        best = max(r.rows, key=lambda row: row["validation_accuracy"], default=None)
        so_far = (
            ""
            if best is None
            else (
                " Best validation accuracy so far: "
                f"{percent(best['validation_accuracy'])}, epoch {best['epoch']}."
            )
        )
        return [
            Words(
                "There is no result yet: the test part is evaluated once, when the "
                f"training has ended.{so_far}",
                MISSING,
            )
        ]
    energies = m["energy"]
    facts = []
    if "test_accuracy" in m:
        first = _published(m, "test accuracy")
        another = "another network, " if other_network(r) else ""
        beside = (
            (f"published: {100 * first['value']:.1f} % ({another}{first['source']})")
            if first
            else f"{m['test_recordings']:,} recordings"
        )
        facts.append(
            (
                "Test accuracy"
                + (", published convention" if isinstance(r.task.decode, PerStep) else ""),
                percent(m["test_accuracy"]),
                beside,
            )
        )
    else:
        facts.append(
            (
                "Validation accuracy",
                percent(m["validation_accuracy"]),
                "the test part was not evaluated",
            )
        )
    if any(r.spiking):
        facts.append(
            ("Firing rate", f"{m['firing_rate']:.4f}", "spikes per step, all spiking units")
        )
    facts.append(
        (
            "Energy per step",
            _pj(energies["measured"]["energy"]),
            f"rules measured; {_pj(energies['yin2021']['energy'])} by rules yin2021",
        )
    )
    facts.append(
        (
            "Trained numbers",
            f"{m['parameters']:,}",
            f"and {m['parameters_unused']:,} that nothing reads"
            if m["parameters_unused"]
            else "all in use",
        )
    )
    test = (
        (f"evaluated once on the test part ({m['test_recordings']:,} recordings)")
        if "test_recordings" in m
        else "the test part was left alone"
    )
    ours = (
        f"Checkpoint of epoch {m['best_epoch']} of {m['epochs']}, selected by "
        f"{m['selected_by']}; {test}; seed {r.seed}."
    )
    blocks: list[Any] = [Facts(facts), Words(f"Protocol. {ours} {m['data_note']}".strip())]
    if r.simulated:
        return [
            *blocks,
            _measured(r, m),
            Words("The data are simulated: no published number is shown beside them.", MISSING),
        ]
    if not m["published"]:
        return [
            *blocks,
            _measured(r, m),
            Words(
                "Nobody has published a number for this task "
                "with this data and network that we know of.",
                MISSING,
            ),
        ]
    return [*blocks, _measured(r, m), *_apart(r), _beside(r, m)]


def _published(m: Numbers, what: str) -> Numbers | None:
    return next((p for p in m["published"] if p["what"] == what), None)


def _apart(r: Read) -> list[Words]:
    """Say in what the run differs from the task whose numbers were published."""
    settings = moved(r)
    if settings == []:
        return []
    those = (
        [s for s in settings or [] if s.startswith(("network", "compression"))]
        if other_network(r)
        else settings
    )
    what = ", ".join(those) if those else "its settings (below)"
    return [
        Words(
            f"The network is not the one the published numbers are of: {what}."
            if other_network(r)
            else f"Set for this run: {what}."
        )
    ]


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
        rows.append(
            (
                p["what"],
                _ours(r, m, p["what"]) or "not measured",
                value,
                p["source"],
                "; ".join(how),
            )
        )
    return Grid(
        "Beside what was published",
        ("what", "this run", "published", "by", "how the published number came about"),
        rows,
        frozenset({1, 2}),
    )


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
            names["test_accuracy"] += (
                f" (unlabelled steps count as {r.task.classes[r.task.decode.unlabelled_as]})"
            )
    names |= {
        k: k.removeprefix("test_accuracy_").replace("_", " ")
        for k in m
        if k.startswith("test_accuracy_") and k not in names
    }
    rows = [(name, percent(m[key])) for key, name in names.items() if key in m]
    mark = ", simulated data" if r.simulated else ""
    return Grid(f"Accuracy{mark}", ("measured on", "accuracy"), rows, frozenset({1}))


def _compressed(r: Read) -> list[Any]:
    m = r.metrics
    if m is None or "compression" not in m:
        return []
    table = tables.compressed(m, "Before and after compression")
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    names = [str(c.header) for c in table.columns]
    names[0], names[-1] = "what", "change"
    note = (
        f"Compressed from {m['compressed_from']}. Accuracies under before are those that run "
        "has on record."
    )
    return [
        Grid(str(table.title), names, list(zip(*columns, strict=True)), frozenset({1, 2, 3})),
        Words(note),
    ]


def _classes(r: Read) -> list[Any]:
    m = r.metrics
    if m is None:
        return [Words("There is no confusion matrix before the run is finished.", MISSING)]
    counts, recall = m[f"{r.part}_confusion"], m[f"{r.part}_recall"]
    unit = "labelled steps" if isinstance(r.task.decode, PerStep) else "recordings"
    mark = ", SIMULATED DATA" if r.simulated else ""
    worst = sorted(
        ((n, a, b) for a, row in enumerate(counts) for b, n in enumerate(row) if a != b and n),
        reverse=True,
    )[:5]
    rows = [
        (name, f"{sum(row):,}", "no label" if x is None else percent(x), f"{row[k]:,}")
        for k, (name, row, x) in enumerate(zip(m["classes"], counts, recall, strict=True))
    ]
    said = "; ".join(f"{m['classes'][a]} taken for {m['classes'][b]}: {n:,}" for n, a, b in worst)
    heat = Heat(
        f"Confusion in percent of each label, {r.part} part, {unit}{mark}", m["classes"], counts
    )
    return [
        Grid(
            f"Recall of each class, {r.part} part{mark}",
            ("class", unit, "recall", "right"),
            rows,
            frozenset({1, 2, 3}),
        ),
        heat,
        *([Words(f"Most often confused: {said}.")] if said else [Words("Nothing was confused.")]),
    ]


def _rates(r: Read) -> list[Any]:
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
    return [
        Grid(
            f"Spikes per neuron and step, {r.part} part{mark}",
            ("layer", "firing rate"),
            rows,
            frozenset({1}),
        )
    ]


# ── what it costs ─────────────────────────────────────────────────────────────────────────────────


def cost(r: Read) -> tuple[list[Any], Numbers]:
    """Return the operations and energies by both accountings, why they differ, and what a dense
    LSTM would take.
    """
    if r.net is None or r.activity is None:
        return [
            Words(
                "Operations follow from the firing rates that are measured when the run is "
                "finished.",
                MISSING,
            )
        ], {}
    counts = energy.counts(r.net, r.activity)
    published, measured = counts["yin2021"], counts["measured"]
    others = {
        f"dense LSTM of the same size, {name}": energy.lstm_counts(r.net, p)
        for name, p in (("int32 as published", energy.PUBLISHED), ("int8", energy.INT8))
    }
    small = None if r.task.compression is None else r.task.compression.process
    if small is not None:
        others = {
            f"this network, {small.source.split(',')[0]}": energy.counts(r.net, r.activity, small)
        } | others

    mark = ", SIMULATED DATA" if r.simulated else ""
    grids = []
    for rules, what in (("yin2021", "as published"), ("measured", "with nothing left out")):
        own, rows = counts[rules].energy, []
        for name, of in {"this network": counts, **others}.items():
            c = of[rules]
            rows.append(
                (
                    name,
                    f"{c.mac:,.0f}",
                    f"{c.ac:,.1f}",
                    f"{c.energy:,.1f}",
                    f"{c.energy / own:,.3g}" if own else "",
                )
            )
        columns = ("network", "MAC", "AC", "pJ", "times")
        grids.append(
            Grid(f"Per step, rules {rules}: {what}{mark}", columns, rows, frozenset({1, 2, 3, 4}))
        )
    reasons = energy.reasons(published, measured)
    why = Grid(
        "Why measured differs from yin2021, pJ per step",
        ("charged differently", "pJ"),
        [(k, f"{v:+,.1f}") for k, v in reasons.items()],
        frozenset({1}),
    )
    layers = Grid(
        "By layer, per step",
        ("rules", "layer", "MAC", "AC"),
        [
            (name, layer.name, f"{layer.mac:,.0f}", f"{layer.ac:,.1f}")
            for name, c in counts.items()
            for layer in c.layers
        ],
        frozenset({2, 3}),
    )
    said = Words(
        "yin2021 is the published accounting: products with the neuron's own spike and "
        "with constants are free, one mean rate stands for all "
        "connections. measured charges all that the recorded network does, with the rates "
        "of each layer, biases, resets and analog input. "
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
    return [
        *grids,
        said,
        why,
        Fold("Operations of each layer, by all four rule sets", [layers]),
    ], numbers


# ── how it was run ────────────────────────────────────────────────────────────────────────────────


def _settings(r: Read) -> list[Any]:
    differ = moved(r)
    if differ:
        rows = [tuple(s.partition("=")[::2]) for s in differ]
        first: Any = Grid(
            f"What differs from {r.task.name} as it comes", ("setting", "value"), rows
        )
    else:
        first = Words(
            f"Every setting is as {r.task.name} comes."
            if differ is not None
            else "What differs from the task as it comes cannot be told in settings."
        )
    every = [(path, value) for path, value, _ in listed(r.task)]
    return [
        first,
        Fold(
            f"All {len(every)} settings",
            [Grid("Settings, as --set takes them", ("setting", "value"), every)],
        ),
    ]


def _environment(r: Read) -> list[Any]:
    rows = [(k, "not known" if v is None else str(v)) for k, v in r.env.items() if k != "resumed"]
    again = (
        [
            Words(
                f"It was resumed {len(r.env['resumed'])} times; the last time on "
                f"{r.env['resumed'][-1].get('started')}."
            )
        ]
        if r.env.get("resumed")
        else []
    )
    data = [(k, str(v)) for k, v in r.run.stored()["data"].items()]
    return [
        Grid("Where it ran", ("what", "value"), rows),
        *again,
        Grid("Data: recordings in each part, and a checksum", ("part", "value"), data),
    ]


def command(r: Read) -> str | None:
    """Return the command that makes this run again, quoted for a shell; None where no settings
    express it.
    """
    t = told(r)
    if t.settings is None or r.run.checkpoint("start").exists():
        return None
    return shlex.join(
        [
            "srnn",
            "train",
            r.task.name,
            *t.words,
            "--seed",
            str(r.seed),
            *_where(r),
            "--out",
            f"{r.run.path}-again",
        ]
    )


def _where(r: Read) -> list[str]:
    data = [] if r.simulated or r.data_dir is None else ["--data-dir", str(r.data_dir)]
    usual = {"device": "cpu", "threads": 1}
    more = [
        w for k, v in usual.items() if (now := r.env.get(k, v)) != v for w in (f"--{k}", str(now))
    ]
    return [
        *data,
        *more,
        *(["--backend", "reference"] if r.env.get("backend") == "reference" else []),
    ]


def _again(r: Read) -> list[Any]:
    blocks: list[Any] = []
    if r.state != "finished":
        blocks += [
            Words("Go on with it:"),
            Command(
                shlex.join(
                    ["srnn", "train", r.task.name, "--resume", "--out", str(r.run.path), *_where(r)]
                )
            ),
        ]
    made = command(r)
    if made is not None:
        note = (
            "The same command on the same kind of processor gives the same bits."
            if r.env.get("device") == "cpu"
            else "On a GPU the bits may differ."
        )
        return [*blocks, Words("Train it anew:"), Command(made), Words(note)]
    if r.run.checkpoint("start").exists():
        return [*blocks, *_compress_again(r)]
    return [
        *blocks,
        Words(
            "No --set settings express this task (it was made in Python, or by another "
            "version); task.json in the folder has all of it.",
            MISSING,
        ),
    ]


def _compress_again(r: Read) -> list[Any]:
    """Say how a network was made from another run."""
    source, c, lr = (
        (r.metrics or {}).get("compressed_from", "RUN"),
        r.task.compression,
        r.task.optimiser.lr,
    )
    named: dict[str, Any] = (
        {}
        if c is None
        else {"bits": c.bits, "sparsity": c.sparsity or None, "structured": c.structured or None}
    )
    named |= {"steps": c.steps if c is not None and (c.sparsity or r.task.regulariser) else None}
    named |= {
        "rate": None if r.task.regulariser is None else r.task.regulariser.high,
        "epochs": r.task.epochs,
        "lr": lr,
        "seed": r.seed,
    }
    words = [
        w
        for k, v in named.items()
        if v is not None
        for w in (f"--{k}", f"{v:g}" if isinstance(v, float) else str(v))
    ]
    by = (
        (" Whether neurons were chosen by activity or by weight (--by) is not on record.")
        if c is not None and c.structured
        else ""
    )
    return [
        Words("The run began with the weights of another one:"),
        Command(
            shlex.join(
                [
                    "srnn",
                    "compress",
                    str(source),
                    *words,
                    *_where(r),
                    "--out",
                    f"{r.run.path}-again",
                ]
            )
        ),
        *([Words(by.strip())] if by else []),
    ]


def _pj(value: float) -> str:
    return next(
        f"{value / size:,.1f} {unit}"
        for size, unit in ((1e6, "µJ"), (1e3, "nJ"), (1, "pJ"))
        if value >= 10 * size or size == 1
    )
