"""The parts that we run, in order of importance, and the claims that they test.

Both name rows of the papers' tables.
"""

from __future__ import annotations

from srnn.papers.campaign import Part
from srnn.papers.claims import Claim, Compare

_YIN, _BITTAR = "Yin, Corradi & Bohté 2021", "Bittar & Garner 2022"
_ECG, _FSDD = ("epochs=15",), ("epochs=10",)

PARTS = (
    Part(
        "yin2021-table2",
        ("ecg",),
        ("epochs=30",),
        (
            "ecg-ours",
            "ecg-described",
            "ecg-lif",
            "ecg-lif-scripted",
            "ecg-relu",
            "ecg-relu-shipped",
            "ecg-rnn",
            "ecg-gru",
            "ecg-lstm",
        ),
        why="The published LSTM, GRU and RNN saw analog samples, ours see the events that the "
        "spiking network sees.",
    ),
    Part("yin2021-fig3d", ("ecg",), ("epochs=30",)),
    Part("yin2021-fig3d", ("fsdd_spikes",), ("epochs=12",)),
    Part("bittar2022-table5", ("fsdd_spikes",), ("epochs=12",), ("*-128",)),
    Part("bittar2022-table1", ("fsdd_spikes",), _FSDD, ("*-128-*",)),
    Part("yin2021-fig3e", ("fsdd_spikes",), _FSDD),
    Part("yin2021-fig3e", ("ecg",), _ECG),
    Part("bittar2022-table8", ("gsc",), ("epochs=15",), ("*-128",), seeds=(0,)),
    Part("bittar2022-table9", ("fsdd_spikes",), _FSDD),
    Part("bittar2022-table10", ("ecg",), _ECG),
    Part("bittar2022-table11", ("fsdd_spikes",), _FSDD, ("*-128-*",)),
    Part("yin2021-fig3h", ("fsdd_spikes",), _FSDD, ("*-128-*",)),
    Part("yin2021-figS1", ("fsdd_spikes",), _FSDD),
    Part("yin2021-figS1", ("ecg",), _ECG),
    Part("yin2021-fig4a", ("fsdd_spikes",), ("epochs=8",), seeds=(0,)),
    Part("yin2021-fig4a", ("ecg",), _ECG, seeds=(0,)),
    Part("yin2021-ext3", ("ecg",), _ECG),
    Part("yin2021-fig3h", ("ecg",), _ECG, ("*-36-*",)),
    Part(
        "yin2021-table2",
        ("ecg",),
        ("epochs=10",),
        ("ecg-bilstm",),
        why="An epoch of it takes as long as thirty of the spiking network.",
    ),
)


def _each(table: str, above: str, *below: str, metric: str = "accuracy") -> tuple[Compare, ...]:
    return tuple(Compare(table, above, name, metric) for name in below)


def _close(table: str, below: str, *above: str) -> tuple[Compare, ...]:
    """Return comparisons that say: none of `above` is more than two points better than `below`."""
    return tuple(Compare(table, name, below, at_most=2.0) for name in above)


def _pairs(table: str, *pairs: tuple[str, str]) -> tuple[Compare, ...]:
    return tuple(Compare(table, above, below) for above, below in pairs)


_SIZES = (("fsdd", 128), ("ecg", 36))

CLAIMS = (
    Claim(
        "On the ECG the spiking network is more accurate than LSTM, GRU and RNN of the same width.",
        "ours to ask; accuracies not among our notes",
        _each("yin2021-table2", "ecg-ours", "ecg-lstm", "ecg-gru", "ecg-rnn", "ecg-bilstm"),
    ),
    Claim(
        "Plain LIF neurons are far less accurate than the published network.",
        f"{_YIN}, Table 2",
        _each("yin2021-table2", "ecg-ours", "ecg-lif", "ecg-lif-scripted"),
    ),
    Claim(
        "It is as accurate as its non-spiking twin.",
        f"{_YIN}, Table 2 (SoLi)",
        _close("yin2021-table2", "ecg-ours", "ecg-relu", "ecg-relu-shipped"),
    ),
    Claim(
        "It takes less than a tenth of the energy of its twin and of an LSTM (published "
        "accounting; then ours).",
        f"{_YIN}, Table S2",
        tuple(
            Compare("yin2021-table2", other, "ecg-ours", metric, times=10)
            for other in ("ecg-relu", "ecg-lstm")
            for metric in ("energy", "energy_measured")
        ),
    ),
    Claim(
        "Its hidden neurons adapt, and it is better for it.",
        f"{_YIN}, text (the published weights have none)",
        _each("yin2021-table2", "ecg-described", "ecg-ours"),
    ),
    Claim(
        "The Multi-Gaussian surrogate is better than a Gaussian, linear or exponential one.",
        f"{_YIN}, Fig. 3d",
        tuple(
            c
            for on in ("ecg", "fsdd")
            for c in _each(
                "yin2021-fig3d",
                f"{on}-multigaussian",
                f"{on}-gaussian",
                f"{on}-triangular",
                f"{on}-slayer",
            )
        ),
    ),
    Claim(
        "Training the time constants helps.",
        f"{_YIN}, Fig. 3e",
        tuple(
            c
            for on in ("ecg", "fsdd")
            for c in _each("yin2021-fig3e", f"{on}-trained-m-adp", f"{on}-trained-none")
        ),
    ),
    Claim(
        "Time constants that start spread are better than equal ones, and one a neuron "
        "better than one a layer.",
        f"{_BITTAR}, heterogeneity study (no numbers)",
        tuple(
            c
            for on in ("ecg", "fsdd")
            for c in _each("yin2021-figS1", f"{on}-spread", f"{on}-equal", f"{on}-shared")
        ),
    ),
    Claim(
        "Of the Multi-Gaussian's negative lobes both are needed (plain LIF on the ECG).",
        f"{_YIN}, Extended Data Fig. 3",
        tuple(
            c
            for w in ("0.3", "0.5", "1")
            for c in _each(
                "yin2021-ext3",
                f"ecg-multigaussian-sigma{w}",
                f"ecg-mgleft-sigma{w}",
                f"ecg-mgright-sigma{w}",
            )
        ),
    ),
    Claim(
        "h = 0.15, s = 6 is a good choice of the lobes (three folds).",
        f"{_YIN}, Fig. 4a",
        tuple(
            c
            for on in ("ecg", "fsdd")
            for c in _each(
                "yin2021-fig4a",
                f"{on}-h0.15-s6",
                f"{on}-h0.05-s6",
                f"{on}-h0.45-s6",
                f"{on}-h0.15-s2",
                f"{on}-h0.15-s10",
            )
        ),
    ),
    Claim(
        "Adaptation makes LIF neurons better: adLIF over LIF, RadLIF over RLIF.",
        f"{_BITTAR}, Tables 5 to 8",
        (
            *_pairs(
                "bittar2022-table5",
                ("fsdd-adlif-128", "fsdd-lif-128"),
                ("fsdd-radlif-128", "fsdd-rlif-128"),
            ),
            *_pairs(
                "bittar2022-table8",
                ("gsc-folder-adlif-128", "gsc-folder-lif-128"),
                ("gsc-folder-radlif-128", "gsc-folder-rlif-128"),
            ),
        ),
    ),
    Claim(
        "Recurrence makes LIF neurons better: RLIF over LIF.",
        f"{_BITTAR}, Tables 5 to 8",
        (
            *_pairs("bittar2022-table5", ("fsdd-rlif-128", "fsdd-lif-128")),
            *_pairs("bittar2022-table8", ("gsc-folder-rlif-128", "gsc-folder-lif-128")),
        ),
    ),
    Claim(
        "Surrogate gradients beat tandem learning and an MLP.",
        f"{_BITTAR}, Table 5",
        _each("bittar2022-table5", "fsdd-lif-128", "fsdd-tandem-128", "fsdd-mlp-128"),
    ),
    Claim(
        "On spikes, RadLIF competes with gated networks.",
        f"{_BITTAR}, Table 5",
        _close(
            "bittar2022-table5", "fsdd-radlif-128", "fsdd-gru-128", "fsdd-libru-128", "fsdd-rnn-128"
        ),
    ),
    Claim(
        "The cumulative softmax is the best read-out.",
        f"{_BITTAR}, Table 1",
        tuple(
            c
            for n in ("lif", "adlif")
            for c in _each(
                "bittar2022-table1",
                f"fsdd-{n}-128-cumulative",
                f"fsdd-{n}-128-count",
                f"fsdd-{n}-128-last",
                f"fsdd-{n}-128-max",
            )
        ),
    ),
    Claim(
        "Most connections can be removed at little cost (two points).",
        f"{_BITTAR}, Tables 9, 10",
        (
            *(
                c
                for p in (50, 90, 99)
                for c in _close(
                    "bittar2022-table9", f"fsdd-adlif-128-sparse{p}", "fsdd-adlif-128-sparse0"
                )
            ),
            *(
                c
                for p in (50, 90)
                for c in _close("bittar2022-table10", f"ecg-sparse{p}", "ecg-sparse0")
            ),
        ),
    ),
    Claim(
        "An adaptation current is better than a moving threshold.",
        f"{_BITTAR}, Table 11",
        _each("bittar2022-table11", "fsdd-radlif-128-current", "fsdd-radlif-128-threshold"),
    ),
    Claim(
        "ALIF beats LIF.",
        f"{_YIN}, Fig. 3h",
        _pairs(
            "yin2021-fig3h",
            *((f"{on}-alif-{n}-multigaussian", f"{on}-lif-{n}-multigaussian") for on, n in _SIZES),
        ),
    ),
    Claim(
        "adLIF beats ALIF, and beats itself as coded rather than as printed.",
        "ours to ask; no paper has both",
        _pairs(
            "yin2021-fig3h",
            *(
                pair
                for on, n in _SIZES
                for pair in (
                    (f"{on}-adlif-{n}-sparch", f"{on}-alif-{n}-multigaussian"),
                    (f"{on}-adlif-{n}-sparch", f"{on}-adlif-{n}-paper"),
                )
            ),
        ),
    ),
)
