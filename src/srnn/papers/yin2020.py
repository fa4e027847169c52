"""Yin, Corradi & Bohté 2020, "Effective and efficient computation with multiple-timescale spiking
recurrent neural networks".

Tables 1 and 2, and Figures 5 to 8, which are images. All networks have the plain Gaussian
surrogate. Of its baselines only sizes are known here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from srnn import cells
from srnn.activations import Identity, Relu
from srnn.neurons import ALIF, LIF
from srnn.nn.bidirectional import Bidirectional
from srnn.nn.layers import Layer
from srnn.nn.networks import Stack
from srnn.papers.table import Picture, Row, Table
from srnn.papers.yin2021.networks import ECG_LIF_SCRIPTED, EVENTS, SPIKES, row, variant

PAPER = "Yin, Corradi & Bohté 2020"
GAUSSIAN = ("network.surrogate=Gaussian",)
POPULATION = "a population code of the pixel"
SHD = (*variant("shd", "yin2020"), *GAUSSIAN)
"""Bins of 10 ms."""
ON_TEST = (
    "single networks, selected on the test part (ECG: on the training part); SHD: see the "
    "paper of 2021."
)


def shd(name: str, label: str, accuracy: str, *settings: str) -> tuple[Row, Row]:
    """Return a network on SHD, and on the spoken digits that stand in for it."""
    own = Row(
        f"shd-{name}", f"SHD, {label}", "shd", (*SHD, *settings), SPIKES, {"accuracy": accuracy}
    )
    ours = Row(
        f"fsdd-{name}",
        f"digits as cochlear spikes, {label}",
        "fsdd_spikes",
        (*GAUSSIAN, *settings),
        SPIKES,
        stands_for=own.name,
    )
    return own, ours


def hidden(*sizes: int) -> tuple[str, str]:
    """Return the settings of recurrent layers of these sizes."""
    return "network.recurrent=[true]", f"network.hidden=[{','.join(map(str, sizes))}]"


_LIF = ("network.neuron=YinLIF", "optimiser=Optimiser", "optimiser.lr=1e-2", "optimiser.eps=1e-5")
_MNIST_LIF = ("network.neuron=YinLIF", "optimiser=Optimiser", "optimiser.lr=5e-3")

ECG = (
    Row(
        "ecg-36",
        "ECG, SRNN 36",
        "ecg",
        GAUSSIAN,
        EVENTS,
        {"accuracy": "84.4"},
        note="46 = 4 + 36 + 6 in the paper",
    ),
    Row(
        "ecg-24",
        "ECG, SRNN 24",
        "ecg",
        (*GAUSSIAN, "network.hidden=[24]"),
        EVENTS,
        {"accuracy": "81.8"},
        note="from a comment of the script",
    ),
    Row(
        "ecg-lif",
        "ECG, LIF",
        "ecg",
        (*GAUSSIAN, *ECG_LIF_SCRIPTED),
        EVENTS,
        {"accuracy": "73.7"},
        note="the neuron of the script: fixed decay, hard reset",
    ),
    *(row(name, against=None) for name in ("ecg-relu", "ecg-rnn", "ecg-lstm", "ecg-bilstm")),
)
SHD_ROWS = (
    *shd("128-128", "SRNN 128 + 128", "84.4", *hidden(128, 128)),
    *shd("256", "SRNN 256", "81.71", *hidden(256)),
    *shd("128", "SRNN 128", "79.4", *hidden(128)),
    *shd("lif-256", "LIF 256", "78.93", *hidden(256), *_LIF),
)

TABLE1 = Table(
    "yin2020-table1",
    "accuracy of spiking and other recurrent networks",
    f"{PAPER}, Table 1",
    (
        *ECG,
        Row(
            "smnist-40",
            "S-MNIST, SRNN 40 + 256 + 128",
            "smnist",
            (*variant("smnist", "population40"), *GAUSSIAN),
            POPULATION,
            {"accuracy": "97.82"},
        ),
        Row(
            "smnist-80",
            "S-MNIST, SRNN 80 + 120 + 100",
            "smnist",
            (*variant("smnist", "population80"), *GAUSSIAN),
            POPULATION,
            {"accuracy": "97.2"},
        ),
        Row(
            "psmnist-80",
            "PS-MNIST, SRNN 80 + 512 + 50",
            "psmnist",
            (*variant("psmnist", "population80"), *GAUSSIAN),
            POPULATION,
            {"accuracy": "91.0"},
        ),
        Row(
            "psmnist-lif",
            "PS-MNIST, LIF 80 + 512 + 50",
            "psmnist",
            (*variant("psmnist", "population80"), *GAUSSIAN, *_MNIST_LIF),
            POPULATION,
            {"accuracy": "10"},
            note="published as failed to learn",
        ),
        *SHD_ROWS,
    ),
    picture=Picture("bars"),
    protocol=f"{ON_TEST} Its firing rates and the accuracies of its "
    "baselines are not among our notes.",
)

M, N, FR = 4, 36, 0.1
"""Inputs, units and firing rate that the formulas are compared at."""


def layer(
    name: str, label: str, builds: Callable[[], Stack], mac: int, ac: int, rate: float | None = None
) -> Row:
    """Return a layer and what the paper's formula gives for it: mac, ac before the firing rate."""
    return Row(
        name,
        label,
        sees=f"{M} inputs, {N} units",
        published={"mac": str(mac), "ac": f"{ac * FR:g}"} if ac else {"mac": str(mac)},
        rate=rate,
        builds=builds,
        cannot="a layer: counted, not trained",
    )


_DENSE = M * N + N * N
TABLE2 = Table(
    "yin2020-table2",
    "operations of a layer per step",
    f"{PAPER}, Table 2, its formulas at m = {M}, n = {N}, Fr = {FR}",
    (
        layer("lif", "LIF: (mn + nn) Fr AC", lambda: Stack(Layer(M, N, LIF(10.0))), 0, _DENSE, FR),
        layer(
            "alif",
            "adaptive: (mn + nn + 2n) Fr AC + 2n MAC",
            lambda: Stack(Layer(M, N, ALIF())),
            2 * N,
            _DENSE + 2 * N,
            FR,
        ),
        layer(
            "lif-feedforward",
            "LIF, feed-forward: mn Fr AC",
            lambda: Stack(Layer(M, N, LIF(10.0), recurrent=False)),
            0,
            M * N,
            FR,
        ),
        layer(
            "alif-feedforward",
            "adaptive, feed-forward: (mn + 2n) Fr AC + 2n MAC",
            lambda: Stack(Layer(M, N, ALIF(), recurrent=False)),
            2 * N,
            M * N + 2 * N,
            FR,
        ),
        layer(
            "relu",
            "adaptive, not spiking: (mn + nn + 4n) MAC",
            lambda: Stack(Layer(M, N, ALIF(), Relu())),
            _DENSE + 4 * N,
            0,
        ),
        layer(
            "rnn",
            "RNN: (mn + nn) MAC",
            lambda: Stack(Layer(M, N, cells.Elman(), Identity())),
            _DENSE,
            0,
        ),
        layer(
            "lstm",
            "LSTM: (4mn + 4nn + 3n) MAC",
            lambda: Stack(Layer(M, N, cells.LSTM(), Identity(), recurrent_bias=True)),
            4 * _DENSE + 3 * N,
            0,
        ),
        layer(
            "bilstm",
            "bidirectional LSTM: 2 (4mn + 4nn + 3n) MAC",
            lambda: Stack(
                Bidirectional(Layer(M, N, cells.LSTM(), Identity(), recurrent_bias=True))
            ),
            2 * (4 * _DENSE + 3 * N),
            0,
        ),
    ),
    costs=("mac", "ac", "energy"),
    rules="yin2020",
    protocol="The energies that the paper derives (its Table 3) are not among our notes.",
)


def plain(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return rows for a figure, whose numbers are not known."""
    return tuple(replace(row, published={}) for row in rows)


FIGURES = (
    Table(
        "yin2020-fig5",
        "accuracy of each network, SHD",
        f"{PAPER}, Figure 5",
        plain(SHD_ROWS),
        picture=Picture("bars"),
        assigned=True,
    ),
    Table(
        "yin2020-fig6",
        "mean firing rates",
        f"{PAPER}, Figure 6",
        plain((*ECG[:3], *SHD_ROWS)),
        picture=Picture("bars", "rate"),
        assigned=True,
    ),
    Table(
        "yin2020-fig7",
        "time constants before and after training",
        f"{PAPER}, Figure 7",
        plain((ECG[0], *SHD_ROWS[:2])),
        picture=Picture("time_constants"),
    ),
    Table(
        "yin2020-fig8",
        "accuracy against energy",
        f"{PAPER}, Figure 8",
        plain((*ECG, *SHD_ROWS)),
        rules="yin2020",
        picture=Picture("pareto"),
    ),
)

TABLES: tuple[Table, ...] = (TABLE1, TABLE2, *FIGURES)
