"""One neuron under the microscope: input current, potential, threshold, adaptation and spikes (Yin,
Corradi & Bohté 2020, figure 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srnn import init
from srnn._check import ConfigError, check_instance
from srnn.activations import Activation, Spike
from srnn.analysis.style import (
    LINES,
    Drawn,
    array,
    finish,
    new_figure,
    not_empty,
    plain,
    tidy,
    time_axis,
)
from srnn.kernels import scan
from srnn.kernels.pairs import split
from srnn.neuron import (
    Neuron,
    as_complex,
    coefficients,
    complex_states,
    start_takes_constants,
    started,
)


def record_neuron(
    neuron: Neuron, current: Any, activation: Activation | None = None
) -> dict[str, Tensor]:
    """Run one neuron on an input current (T,) by the reference loop, step by step, and return all
    it did, each (T,), float64.

    "current", "spikes" (the output), every state by its name (a complex z as z.re and z.im), and
    "threshold" (u less what the step returns) where there is a real state u. States are those after
    a step, before a postponed reset: where u is above the threshold, the neuron spikes. Random
    constants are drawn once.
    """
    check_instance("record_neuron", "neuron", neuron, Neuron, "a neuron such as srnn.ALIF()")
    if neuron.gates != 1:
        raise ConfigError(
            f"record_neuron: {type(neuron).__name__} has {neuron.gates} gates; "
            "expected a neuron with one input current."
        )
    spike = activation if activation is not None else Spike()
    I = torch.as_tensor(array("record_neuron: current", current, (1,), "(T,)"))
    constants = {
        k: (v.tensor() if isinstance(v, init.Fixed) else v).double()
        for k, v in neuron.init(1).items()
    }
    like = torch.zeros(1).double()
    c = coefficients(neuron, constants, like, 1)
    takes = start_takes_constants(neuron)
    state = {
        k: v.expand(1, 1).clone()
        for k, v in started(neuron, 1, constants, like, takes=takes).items()
    }
    with torch.no_grad():
        whole = complex_states(neuron, {k: v.real for k, v in state.items()}, c)[0]
    state = {k: as_complex(v) if k in whole else v for k, v in state.items()}
    rows: list[dict[str, Tensor]] = []
    with torch.no_grad():
        for now in I.view(-1, 1, 1):
            x, _ = neuron.step(now, state["s"], {k: state[k] for k in neuron.states}, c)
            state = scan.run(
                neuron, spike, now.unsqueeze(1), None, c, state, backend="reference"
            ).state
            rows.append({**state, "x": x})
    kept = split({name: torch.cat([row[name].view(1) for row in rows]) for name in rows[0]})
    threshold = {"threshold": kept["u"] - kept["x"]} if "u" in kept else {}
    return {
        "current": I,
        "spikes": kept["s"],
        **{name: value for name, value in kept.items() if name not in ("s", "x")},
        **threshold,
    }


def neuron_traces(
    neurons: Mapping[str, Neuron],
    current: Any,
    *,
    step_seconds: float | None = None,
    title: str = "",
    simulated: bool = False,
) -> Drawn:
    """Draw neurons side by side under the same input current (T,): the current, potential with
    threshold and spikes, the other states.

    neurons: by label, such as {"LIF": LIF(tau_m=20.0), "ALIF": ALIF(tau_m=20.0, tau_adp=150.0)}.
    Returns what `record_neuron` returns for each.
    """
    not_empty("neuron_traces", neurons, "at least one neuron by label")
    traces = {
        label: {k: v.numpy() for k, v in record_neuron(n, current).items()}
        for label, n in neurons.items()
    }
    others = {
        label: [s for s in traces[label] if s != "u" and s.split(".")[0] in n.states]
        for label, n in neurons.items()
    }
    heights = [0.8, 0.3, 2.0, *([1.0] if any(others.values()) else [])]
    figure = new_figure(figsize=(max(5.0, 4.2 * len(neurons)), 1.0 + 1.15 * sum(heights)))
    axes = figure.subplots(
        len(heights), len(neurons), sharex=True, height_ratios=heights, squeeze=False
    )
    for k, (label, t) in enumerate(traces.items()):
        time, name = time_axis(len(t["current"]), step_seconds)
        above, spikes, potential, *rest = axes[:, k]
        above.plot(time, t["current"], color="black", lw=1)
        above.set_title(f"{label}: {int(t['spikes'].sum())} spikes", fontsize=10, loc="left")
        tidy(above, "", "input\ncurrent" if k == 0 else "")
        spikes.vlines(time[t["spikes"] > 0], 0, 1, color="black", lw=0.8)
        spikes.set_yticks([])
        spikes.set_ylim(-0.1, 1.1)
        tidy(spikes)
        if k == 0:
            spikes.set_ylabel("spikes", fontsize=9, rotation=0, ha="right", va="center")
        if "u" in t:
            potential.plot(time, t["u"], color=LINES[0], lw=1.1, label="potential u")
            potential.plot(time, t["threshold"], color=LINES[1], ls="--", lw=1.2, label="threshold")
        tidy(potential, "", "potential" if k == 0 else "")
        potential.margins(y=0.12)
        if "u" in t:
            potential.legend(
                frameon=False,
                fontsize=7,
                ncols=2,
                loc="lower center",
                bbox_to_anchor=(0.5, 0.98),
                borderaxespad=0,
            )
        for axis in rest:
            for j, state in enumerate(others[label]):
                axis.plot(time, t[state], color=LINES[(2 + j) % len(LINES)], lw=1.2, label=state)
            tidy(axis, "", "adaptation" if k == 0 else "")
            if others[label]:
                axis.legend(
                    frameon=False,
                    fontsize=7,
                    ncols=4,
                    loc="lower center",
                    bbox_to_anchor=(0.5, 0.98),
                    borderaxespad=0,
                )
            else:
                axis.set_yticks([])
                axis.text(
                    0.5,
                    0.5,
                    "no adaptation",
                    transform=axis.transAxes,
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="#777777",
                )
        axes[-1, k].set_xlabel(name, fontsize=9)
        axes[-1, k].set_xlim(0, float(time[-1]))
    lows, highs = zip(*(axis.get_ylim() for axis in axes[2]), strict=True)
    for axis in axes[2]:  # the same scale: the neurons are compared
        axis.set_ylim(min(lows), max(highs))
    finish(figure, title, simulated)
    return figure, {
        label: {k: plain(np.asarray(v)) for k, v in t.items()} for label, t in traces.items()
    }
