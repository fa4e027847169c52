"""What the figures of Yin, Corradi & Bohté 2021 compare: tasks, and rows of changes of their
settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from srnn.papers.table import Row
from srnn.papers.yin2021.networks import CURRENTS, ECG_DESCRIBED, ECG_LIF, EVENTS, FRAMES, SPIKES
from srnn.tasks.gsc import FOLDER


@dataclass(frozen=True)
class Base:
    """A task to compare on. plain: its optimiser without rates; rates: those to put back, by time
    constant; sigma: width of its surrogate.
    """

    name: str
    label: str
    task: str
    sees: str
    settings: tuple[str, ...] = ()
    stands_for: str = ""
    plain: tuple[str, ...] = ()
    rates: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hidden: int = 1
    sigma: float = 0.5


@dataclass(frozen=True)
class Change:
    """One of the things compared: a slug, what it is, its settings. wide: its surrogate takes the
    width of the task's.
    """

    name: str
    label: str
    settings: tuple[str, ...] = ()
    wide: bool = False


ECG = Base(
    "ecg",
    "ECG",
    "ecg",
    EVENTS,
    plain=("optimiser=Optimiser", "optimiser.lr=2e-2"),
    rates={
        c: (
            f"optimiser.rates.layers.0.constants.{c}=3",
            f"optimiser.rates.layers.1.constants.{c}=2",
        )
        for c in ("tau_m", "tau_adp")
    },
)

ECG_ADAPTIVE = Base(
    ECG.name,
    ECG.label,
    ECG.task,
    ECG.sees,
    ECG_DESCRIBED,
    plain=("optimiser=Optimiser", "optimiser.lr=1e-2"),
    rates=ECG.rates,
)
"""With an adaptive hidden layer."""

SHD = Base(
    "shd",
    "SHD",
    "shd",
    SPIKES,
    plain=("optimiser=Optimiser", "optimiser.lr=1e-2", "optimiser.eps=1e-5"),
    hidden=2,
)

FSDD = Base(
    "fsdd",
    "digits as cochlear spikes",
    "fsdd_spikes",
    SPIKES,
    stands_for="shd",
    plain=SHD.plain,
    hidden=2,
)

SOLI = Base(
    "soli",
    "SoLi",
    "soli",
    FRAMES,
    plain=("optimiser=Optimiser", "optimiser.lr=1.5e-2"),
    rates={"tau_m": ("optimiser.rates.*tau_m=2.5",), "tau_adp": ("optimiser.rates.*tau_adp=5",)},
    hidden=2,
    sigma=0.3,
)

GSC = Base(
    "gsc-folder",
    "commands of a folder",
    "gsc",
    CURRENTS,
    FOLDER,
    "gsc",
    ("optimiser=Optimiser", "optimiser.lr=3e-3"),
    {"tau_m": ("optimiser.rates.*tau_m=2",), "tau_adp": ("optimiser.rates.*tau_adp=2",)},
    2,
)

ALL = (ECG, SHD, FSDD, SOLI, GSC)

HERE = (ECG, FSDD, GSC)


def across(bases: Sequence[Base], changes: Sequence[Change]) -> tuple[Row, ...]:
    """Return a row for each change on each task; the stand-ins name what they stand for."""
    return tuple(compared(base, change) for base in bases for change in changes)


def compared(base: Base, change: Change, more: tuple[str, ...] = ()) -> Row:
    """Return one row of a comparison."""
    more += (f"network.surrogate.sigma={base.sigma:g}",) if change.wide else ()
    return Row(
        f"{base.name}-{change.name}",
        f"{base.label}, {change.label}",
        base.task,
        (*base.settings, *change.settings, *more),
        base.sees,
        stands_for=f"{base.stands_for}-{change.name}" if base.stands_for else "",
        at={"series": base.label, "category": change.label},
    )


def surrogate(name: str, label: str) -> Change:
    """Return a change of the surrogate gradient, with a gain of 0.5 as in every script."""
    return Change(
        name.lower(),
        label,
        (f"network.surrogate={name}", "network.surrogate.gain=0.5"),
        wide="Gaussian" in name or name.startswith("MG"),
    )


SURROGATES = (
    surrogate("MultiGaussian", "Multi-Gaussian"),
    surrogate("Gaussian", "Gaussian"),
    surrogate("Triangular", "linear"),
    surrogate("SLayer", "SLayer"),
)

HALVES = (
    surrogate("MultiGaussian", "Multi-Gaussian"),
    surrogate("MGLeft", "MG-L: negative part for x < 0 only"),
    surrogate("MGRight", "MG-R: negative part for x > 0 only"),
)


def trained(base: Base, *constants: str) -> Row:
    """Return a row in which only these time constants are trained (those of leaky read-outs with
    tau_m).
    """
    kept = [*constants, *(["tau_out"] if "tau_m" in constants and base is not ECG_ADAPTIVE else [])]
    rates = tuple(setting for c in constants for setting in base.rates.get(c, ()))
    name, label = (
        "-".join(constants).replace("tau_", "") or "none",
        " and ".join(constants) or "none",
    )
    return compared(
        base,
        Change(
            f"trained-{name}",
            f"trained: {label}",
            (f"network.trained=[{','.join(kept)}]", *base.plain),
        ),
        rates,
    )


def starts(base: Base) -> tuple[Row, ...]:
    """Return rows of time constants that start spread, equal, and as one for a whole layer."""
    spread = (
        "network.tau_m=[20,5]",
        "network.tau_adp=[150,10]" if base.task != "ecg" else "network.tau_adp=[7,2]",
    )
    equal = (
        "network.tau_m=[20,0]",
        "network.tau_adp=[150,0]" if base.task != "ecg" else "network.tau_adp=[7,0]",
    )
    return tuple(
        compared(base, change)
        for change in (
            Change("spread", "one a neuron, drawn", spread),
            Change("equal", "one a neuron, equal at the start", equal),
            Change("shared", "one a layer", (*equal, "network.shared=true")),
        )
    )


def grid(base: Base, heights: Sequence[float], widths: Sequence[float]) -> tuple[Row, ...]:
    """Return rows over h (height of the negative lobes) and s (their width) of the
    Multi-Gaussian.
    """
    return tuple(
        Row(
            f"{base.name}-h{h:g}-s{s:g}",
            f"{base.label}, h = {h:g}, s = {s:g}",
            base.task,
            (*base.settings, f"network.surrogate.h={h:g}", f"network.surrogate.s={s:g}"),
            base.sees,
            stands_for="soli" if base is not SOLI else "",
            at={"h": h, "s": s},
        )
        for h in heights
        for s in widths
    )


def sizes(base: Base, *neurons: int) -> tuple[Row, ...]:
    """Return rows of hidden layers of these sizes."""
    return tuple(
        compared(
            base,
            Change(
                f"n{n}",
                f"{n} neurons a layer",
                (f"network.hidden=[{','.join([str(n)] * base.hidden)}]",),
            ),
        )
        for n in neurons
    )


_LSNN = Change(
    "lsnn",
    "LSNN: 40 % adapt, no time constant trained",
    ("network.adaptive=0.4", "network.trained=[]"),
)


def lsnn(base: Base) -> Row:
    """Return the row of an LSNN: part of the neurons adapt, no time constant is trained."""
    return compared(base, Change(_LSNN.name, _LSNN.label, (*_LSNN.settings, *base.plain)))


def lif(base: Base) -> Row:
    """Return the row of plain LIF neurons."""
    return compared(base, Change("lif", "LIF", _PLAIN_LIF[base.task]))


_PLAIN_LIF = {
    "ecg": ECG_LIF,
    **dict.fromkeys(
        ("shd", "fsdd_spikes", "soli", "gsc"),
        ("network.neuron=LIF", "network.surrogate.gain=0.2", "optimiser=Optimiser"),
    ),
}
"""LIF of eqs 2-4; its hard reset needs a lower surrogate, or the gradient explodes over hundreds of
steps.
"""


def types(base: Base, *neurons: int) -> tuple[Row, ...]:
    """Return rows of neuron types, sizes and surrogates. adLIF, which the paper has not, stands
    beside them in both of its forms.
    """
    rows = []
    for n in neurons:
        size = (f"network.hidden=[{','.join([str(n)] * base.hidden)}]",)
        for kind in ("MultiGaussian", "Gaussian"):
            name = kind.lower()
            rows.append(
                compared(
                    base,
                    Change(
                        f"alif-{n}-{name}",
                        f"ALIF {n}, {kind}",
                        (*size, f"network.surrogate={kind}"),
                        wide=True,
                    ),
                )
            )
            lif = tuple(s for s in _PLAIN_LIF[base.task] if "gain" not in s)
            lowered = (
                f"network.surrogate={kind}",
                *(s for s in _PLAIN_LIF[base.task] if "gain" in s),
            )
            rows.append(
                compared(
                    base,
                    Change(
                        f"lif-{n}-{name}", f"LIF {n}, {kind}", (*size, *lif, *lowered), wide=True
                    ),
                )
            )
        for form, words in (("sparch", "as coded"), ("paper", "as printed")):
            current = (
                "network=CurrentNetwork",
                "network.neuron=RadLIF" if base.task == "ecg" else "network.neuron=adLIF",
                f"network.hidden={n}",
                f"network.layers={base.hidden + 1}",
                f"network.form={form}",
                "network.stable=true",
                *base.plain,
            )
            rows.append(
                compared(
                    base,
                    Change(
                        f"adlif-{n}-{form}",
                        f"{'RadLIF' if base.task == 'ecg' else 'adLIF'} {n}, {words}",
                        current,
                    ),
                )
            )
    return tuple(rows)


def depths(base: Base, n: int, *layers: int) -> tuple[Row, ...]:
    """Return rows of one, two … recurrent hidden layers of n neurons, with each surrogate."""
    rows = []
    for count in layers:
        shape = (
            "network.recurrent=[true]",
            f"network.hidden=[{','.join([str(n)] * count)}]",
            *base.plain,
        )
        for change in SURROGATES:
            name = f"depth{count}-{change.name}"
            rows.append(
                compared(
                    base,
                    replace(
                        change,
                        name=name,
                        label=f"{count} x {n}, {change.label}",
                        settings=(*shape, *change.settings),
                    ),
                )
            )
    return tuple(rows)


def halves(base: Base, *sigmas: float) -> tuple[Row, ...]:
    """Return rows of plain LIF neurons with the whole Multi-Gaussian and with one of its negative
    sides, over its width σ.
    """
    rows = []
    for sigma in sigmas:
        for change in HALVES:
            gain = next(s for s in _PLAIN_LIF[base.task] if "gain" in s)
            more = (
                *(s for s in _PLAIN_LIF[base.task] if "gain" not in s),
                change.settings[0],
                gain,
                f"network.surrogate.sigma={sigma:g}",
            )
            rows.append(
                compared(
                    base,
                    Change(
                        f"{change.name}-sigma{sigma:g}", f"LIF, {change.label}, σ = {sigma:g}", more
                    ),
                )
            )
    return tuple(rows)
