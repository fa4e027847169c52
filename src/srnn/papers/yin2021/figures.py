"""Yin, Corradi & Bohté 2021: Figures 3 and 4, S1, and the extended figures 3, 4 and 5.

The figures are images: none of their numbers is known here, so that no row has a published one.
Where not even the caption is known (`assigned`), the comparison is one that the paper makes, put to
the panel by us.
"""

from __future__ import annotations

from srnn.papers.table import Picture, Row, Table
from srnn.papers.yin2021.comparisons import (
    ALL,
    ECG,
    ECG_ADAPTIVE,
    FSDD,
    GSC,
    SHD,
    SOLI,
    SURROGATES,
    Change,
    across,
    depths,
    grid,
    halves,
    lif,
    lsnn,
    sizes,
    starts,
    trained,
    types,
)
from srnn.papers.yin2021.networks import RELU, row
from srnn.papers.yin2021.results import PAPER


def table(
    name: str,
    title: str,
    rows: tuple[Row, ...],
    picture: Picture,
    *,
    assigned: bool = True,
    folds: int | None = None,
) -> Table:
    """Return a figure as a table."""
    label = {"fig": "Figure ", "ext": "Extended Data Figure "}[name[:3]] + name[3:]
    metric = "validation_accuracy" if folds else "test_accuracy"
    return Table(
        f"yin2021-{name}",
        title,
        f"{PAPER}, {label}",
        rows,
        metric=metric,  # type: ignore[arg-type]
        folds=folds,
        picture=picture,
        assigned=assigned,
    )


OURS = (
    *(
        row(n)
        for n in (
            "ecg-ours",
            "smnist-ours",
            "psmnist-ours",
            "shd-ours",
            "ssc-ours",
            "soli-ours",
            "timit-ours",
            "gsc-ours",
        )
    ),
    *(row(n) for n in ("fsdd-ours", "gsc-folder-ours")),
)
_GRID = (
    *grid(SOLI, [round(0.1 * k, 1) for k in range(1, 12)], list(range(1, 11))),
    *grid(ECG, (0.05, 0.15, 0.45), (2, 6, 10)),
    *grid(FSDD, (0.05, 0.15, 0.45), (2, 6, 10)),
)
_ADAPTIVE = tuple(
    Change(
        f"adaptive{100 * f:.0f}",
        f"{100 * f:.0f} % of the neurons adapt",
        (f"network.adaptive={f:g}",),
    )
    for f in (0.0, 0.25, 0.5, 0.75, 1.0)
)
_TWINS = (Change("spiking", "ALIF"), Change("relu", "ReLU twin", RELU))


FIGURES = (
    table(
        "fig3d",
        "accuracy with each surrogate gradient",
        across(ALL, SURROGATES),
        Picture("bars"),
        assigned=False,
    ),
    table(
        "fig3e",
        "which time constants are trained",
        tuple(
            trained(b, *c)
            for b in (ECG_ADAPTIVE, *ALL[1:])
            for c in ((), ("tau_m",), ("tau_adp",), ("tau_m", "tau_adp"))
        ),
        Picture("bars"),
        assigned=False,
    ),
    table(
        "fig3f",
        "mean firing rate of the SRNN on every task",
        OURS,
        Picture("bars", "rate"),
        assigned=False,
    ),
    table(
        "fig3g",
        "spikes emitted per step (the paper's SOPs) on every task",
        OURS,
        Picture("bars", "spikes_per_step"),
        assigned=False,
    ),
    table(
        "fig3h",
        "neuron type, size and surrogate",
        (*types(ECG, 24, 36), *types(SHD, 64, 128), *types(FSDD, 32, 128)),
        Picture("bars"),
        assigned=False,
    ),
    table(
        "fig3i",
        "depth and surrogate",
        (*depths(ECG, 36, 1, 2), *depths(SHD, 128, 1, 2, 3), *depths(FSDD, 64, 1, 2, 3)),
        Picture("bars"),
        assigned=False,
    ),
    table(
        "fig4a",
        "accuracy over height h and width s of the Multi-Gaussian's negative lobes",
        _GRID,
        Picture("grid", x="s", y="h"),
        assigned=False,
        folds=3,
    ),
    table(
        "fig4b",
        "firing rate over height h and width s of the Multi-Gaussian's negative lobes",
        _GRID,
        Picture("grid", "rate", x="s", y="h"),
        assigned=False,
        folds=3,
    ),
    table(
        "fig4c",
        "time constants before and after training",
        (
            row("shd-ours"),
            row("soli-ours"),
            row("fsdd-ours"),
            row("ecg-ours"),
            row("ecg-described"),
            row("gsc-folder-ours"),
        ),
        Picture("time_constants"),
        assigned=False,
    ),
    table(
        "fig4d", "an ECG as it is decoded", (row("ecg-ours"),), Picture("streaming"), assigned=False
    ),
    table(
        "fig4e",
        "accuracy if the decision were taken at each step",
        (
            row("soli-ours"),
            row("shd-ours"),
            row("gsc-ours"),
            row("fsdd-ours"),
            row("gsc-folder-ours"),
            row("gsc-folder-streaming"),
        ),
        Picture("anytime"),
    ),
    table(
        "fig4f",
        "accuracy over the number of neurons",
        (
            *sizes(ECG, 12, 24, 36, 48, 72),
            *sizes(SHD, 32, 64, 128, 256),
            *sizes(FSDD, 16, 32, 64, 128),
            *sizes(GSC, 50, 100, 200, 300),
        ),
        Picture("bars"),
    ),
    table(
        "fig4g",
        "accuracy over the share of neurons that adapt",
        (
            *across((ECG_ADAPTIVE, SHD, FSDD, GSC), _ADAPTIVE),
            *(lsnn(b) for b in (ECG_ADAPTIVE, SHD, FSDD, GSC)),
        ),
        Picture("bars"),
    ),
    table(
        "fig4h",
        "spiking, its ReLU twin, and without adaptation",
        (*across(ALL, _TWINS), *(lif(b) for b in ALL)),
        Picture("bars"),
    ),
    table(
        "fig4i",
        "accuracy against energy, ECG",
        tuple(
            row(n)
            for n in (
                "ecg-ours",
                "ecg-described",
                "ecg-lif",
                "ecg-relu",
                "ecg-relu-shipped",
                "ecg-lstm",
                "ecg-gru",
                "ecg-rnn",
                "ecg-bilstm",
            )
        ),
        Picture("pareto"),
    ),
    table(
        "figS1",
        "how time constants start: drawn, equal, one for a layer",
        tuple(r for b in (ECG_ADAPTIVE, SHD, FSDD, GSC) for r in starts(b)),
        Picture("bars"),
        assigned=False,
    ),
    table(
        "ext3",
        "the negative part of the Multi-Gaussian on one side only, over its width, LIF",
        halves(ECG, 0.3, 0.5, 1.0),
        Picture("bars"),
        assigned=False,
    ),
    table(
        "ext4",
        "firing rate with the negative part on one side only, over its width, LIF",
        halves(ECG, 0.3, 0.5, 1.0),
        Picture("bars", "rate"),
        assigned=False,
    ),
    table(
        "ext5",
        "accuracy over height h and width s of the negative lobes, in three folds, on other data",
        _GRID[-18:],
        Picture("grid", x="s", y="h"),
        assigned=False,
        folds=3,
    ),
)
