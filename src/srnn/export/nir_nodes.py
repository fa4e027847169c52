"""How a layer of neurons is written in NIR, and which neurons can be.

NIR describes neurons by differential equations in continuous time; a network of ours is a
recurrence in steps. They meet in a rule that says what a step of `dt` does to a node; I is the
node's input during the step, d its decay:

    "exponential"    d = exp(-dt/τ)     exact for an input that is constant during the step
    "euler"          d = 1 - dt/τ       the forward Euler method (what snnTorch has)

    LI, LIF          v[t] = d v[t-1] + (1-d) (v_leak + R I[t])
    I, IF            v[t] = v[t-1] + dt R I[t]
    LIF, IF          z[t] = 1 where v[t] > v_threshold; at such a step v becomes v_reset,
                     after z was taken

A node is computed once a step, from the values of the same step. An edge that closes a cycle
without a Delay carries the value of the step before; Delay(dt) always does. So a decay of ours
gives τ, and τ a decay, exactly, once dt and the rule are stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from srnn import cells, neurons
from srnn._check import ConfigError, SrnnError
from srnn.activations import Identity, Spike
from srnn.nn.layers import Layer

try:
    import nir
except ImportError as error:
    raise SrnnError(
        'Reading and writing NIR needs nir. Install it with: pip install "srnn[export]"'
    ) from error

RULES = ("exponential", "euler")
Rule = Literal["exponential", "euler"]


@dataclass(frozen=True)
class Clock:
    """Seconds of a step, and the rule."""

    dt: float
    rule: Rule

    def tau(self, rate: Any) -> Any:
        """Return τ (seconds) of a decay exp(-rate) per step."""
        return self.dt / (rate if self.rule == "exponential" else -np.expm1(-rate))

    def rate(self, tau: Any) -> Any:
        """Return -log of the decay per step of a time constant τ (seconds)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.dt / tau if self.rule == "exponential" else -np.log1p(-self.dt / tau)


@dataclass(frozen=True)
class Slow:
    """The second state of a composed neuron, w[t] = e w[t-1] + (1-e) (from_u u[t-1] + from_s
    s[t-1]), and what it does.

    rate: -log e. into: times w[t-1] into u ("u"), times w[t] into u ("u now") or into the threshold
    ("spike").
    """

    rate: Any
    from_s: Any
    from_u: Any | None
    into: Any
    where: Literal["u", "u now", "spike"]


@dataclass(frozen=True)
class Composed:
    """A neuron that is linear between spikes and subtracts at a spike: u[t] = d u[t-1] + (1-d)
    (I[t] + reset s[t-1] + …), s[t] = 1 where u[t] > θ.

    rate: -log d, None where u does not leak: u[t] = u[t-1] + I[t] + reset s[t-1].
    """

    name: str
    rate: Any | None
    reset: Any
    threshold: Any
    slow: Slow | None = None


@dataclass(frozen=True)
class Native:
    """A neuron with a node of its own: LI, LIF or, without a rate, I, IF; gain: what multiplies the
    input in a step. threshold: None = no spikes.
    """

    name: str
    rate: Any | None
    gain: Any
    threshold: Any | None


def form(layer: Layer, who: str) -> Native | Composed | None:
    """Return how a layer's neuron is written; None: no node, what comes in goes out. Raises
    `ConfigError` with the reason where it cannot be.

    The arrays are (N,), float64. This is the one place that says which neuron equals which nodes;
    the tests compare all of it with the steps.
    """
    neuron, n, name = layer.neuron, layer.neurons, type(layer.neuron).__name__
    spiking = type(layer.activation) is Spike
    if not spiking and type(layer.activation) is not Identity:
        raise ConfigError(
            f"{who}: {name} with {type(layer.activation).__name__}: NIR's neurons "
            "spike, or give their potential."
        )
    if isinstance(layer.activation, Spike) and layer.activation.at_threshold:
        raise ConfigError(
            f"{who}: {name} spikes at its threshold (at_threshold=True); NIR's "
            "neurons spike above it."
        )
    c = {k: _array(v, n) for k, v in layer.constants().items()}
    if type(neuron) in (neurons.Leaky, neurons.AlphaLeaky, cells.Sum, cells.Dense):
        if spiking and type(neuron) is not cells.Dense:
            raise ConfigError(
                f"{who}: {name} with a Spike has no reset and no threshold of its "
                "own. Use a spiking neuron, or Identity()."
            )
        if type(neuron) is cells.Dense:
            return None
        if type(neuron) is cells.Sum:
            return Native(name, None, np.ones(n), None)
        rate = 1 / c["tau_m"] if type(neuron) is neurons.Leaky else _rate(c["alpha"])
        return Native(name, _checked(rate, who, name), -np.expm1(-rate), None)
    if not spiking and type(neuron).__module__.startswith("srnn.neurons"):
        raise ConfigError(
            f"{who}: {name} with Identity(): NIR's spiking neurons give spikes "
            "only. Use a Spike activation."
        )
    if type(neuron) is neurons.LIF:
        with np.errstate(invalid="ignore"):
            rate = -np.log1p(-1 / c["tau_m"])
        return Native(name, _checked(rate, who, name), 1 / c["tau_m"], c["threshold"])
    if type(neuron) is neurons.YinLIF:
        if bool((c["decay"] == 1).all()):
            return Native(name, None, np.ones(n), c["threshold"])
        return Native(name, _checked(_rate(c["decay"]), who, name), np.ones(n), c["threshold"])
    return _composed(layer, c, who)


def _composed(layer: Layer, c: dict[str, Any], who: str) -> Composed:
    neuron, name = layer.neuron, type(layer.neuron).__name__
    if type(neuron) is neurons.IF:
        return Composed(name, None, -c["threshold"], c["threshold"])
    if type(neuron) is neurons.ALIF:
        if bool(c["beta"].any()):
            raise ConfigError(
                f"{who}: ALIF subtracts θ[t] s[t-1] with θ = b0 + β η: a product of two "
                "signals, for which NIR has no node. "
                "Only β = 0 can be written exactly. ONNX and C export keep it."
            )
        rate = _checked(1 / c["tau_m"], who, name)
        return Composed(name, rate, c["b0"] / np.expm1(-rate), c["b0"])
    known = (
        neurons.SoftLIF,
        neurons.SparchLIF,
        neurons.AdLIF,
        neurons.SparchAdLIF,
        neurons.ThresholdLIF,
    )
    if type(neuron) not in known:
        why = _WHY_NOT.get(
            name, "it has no equal among NIR's nodes and is not known to be linear between spikes"
        )
        raise ConfigError(
            f"{who}: {name} cannot be written in NIR: {why}. ONNX and C export keep it."
        )
    rate, theta = _checked(_rate(c["alpha"]), who, name), c["threshold"]
    in_u = -np.expm1(-rate)  # 1 - α, through which everything reaches u
    if type(neuron) is neurons.SoftLIF:
        return Composed(name, rate, -theta / in_u, theta)
    before_decay = -np.exp(-rate) / in_u  # α (u - s)
    if type(neuron) is neurons.SparchLIF:
        return Composed(name, rate, before_decay, theta)
    slow = _checked(_rate(c["beta"]), who, name)
    in_w, one = -np.expm1(-slow), np.ones_like(theta)
    if type(neuron) is neurons.ThresholdLIF:
        return Composed(name, rate, before_decay, theta, Slow(slow, one, None, -c["b"], "spike"))
    if type(neuron) is neurons.AdLIF:
        return Composed(
            name, rate, -theta / in_u, theta, Slow(slow, c["b"] / in_w, c["a"], -one, "u")
        )
    # with stable=True the step has another a
    a = _array(layer.coeffs()["a"], layer.neurons)
    return Composed(
        name, rate, before_decay, theta, Slow(slow, c["b"] / in_w, a / in_w, -one, "u now")
    )


_WHY_NOT = {
    "AdEx": "its exponential has no node",
    "Izhikevich": "its square of the potential has no node",
    **dict.fromkeys(
        ("Elman", "GRU", "LSTM", "LiGRU", "LiBRU", "LiBRUProbability"),
        "gates and saturating functions have no node",
    ),
    "IndRNN": "its own feedback without a leak has no node",
}


def _array(value: Tensor, n: int) -> Any:
    """Return a constant as (n,) float64."""
    return value.detach().cpu().double().expand(n).numpy().copy()


def _rate(decay: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.log(decay)


def _checked(rate: Any, who: str, name: str) -> Any:
    """Return rates of decay that belong to time constants. Raises `ConfigError` for others."""
    bad = ~(np.isfinite(rate) & (rate > 0))
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        raise ConfigError(
            f"{who}: neuron {k} of {name} does not decay between 0 and 1 per step "
            f"(exp(-{rate[k]:g})); NIR's τ must be positive."
        )
    return rate


# ── nodes ─────────────────────────────────────────────────────────────────────────────────────────


def native_node(native: Native, clock: Clock) -> Any:
    """Return the NIR node of a neuron that has one."""
    n = len(native.gain)
    zero, hint = np.zeros(n), {"metadata": {"srnn": native.name}}
    if native.rate is None:
        r = native.gain / clock.dt
        return (
            nir.I(r=r, **hint)
            if native.threshold is None
            else nir.IF(r=r, v_threshold=native.threshold, v_reset=zero, **hint)
        )
    tau, r = clock.tau(native.rate), native.gain / -np.expm1(-native.rate)
    if native.threshold is None:
        return nir.LI(tau=tau, r=np.ones(n), v_leak=zero, **hint)
    r = np.ones(n) if native.name == "LIF" else r
    return nir.LIF(tau=tau, r=r, v_leak=zero, v_threshold=native.threshold, v_reset=zero, **hint)


def recurrent_graph(node: Any, recurrent: Any) -> Any:
    """Return a spiking node with its recurrent product as a graph of four nodes, as snnTorch and
    others write it.
    """
    n = len(node.v_threshold)
    nodes = {
        "input": nir.Input(np.array([n])),
        "lif": node,
        "w_rec": nir.Linear(recurrent),
        "output": nir.Output(np.array([n])),
    }
    return nir.NIRGraph(
        nodes,
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
        metadata={},
    )


def composed_graph(c: Composed, recurrent: Any | None, clock: Clock) -> Any:
    """Return a composed neuron as a graph: u (LI or I), spike (Threshold), delay, reset, and the
    nodes of its second state and its recurrence.
    """
    n = len(c.threshold)
    one, zero, step = np.ones(n), np.zeros(n), nir.Delay(np.full(n, clock.dt))
    u = (
        nir.I(r=one / clock.dt)
        if c.rate is None
        else nir.LI(tau=clock.tau(c.rate), r=one, v_leak=zero)
    )
    nodes = {
        "input": nir.Input(np.array([n])),
        "u": u,
        "spike": nir.Threshold(c.threshold),
        "delay": step,
        "reset": nir.Scale(c.reset),
    }
    edges = [
        ("input", "u"),
        ("u", "spike"),
        ("spike", "output"),
        ("spike", "delay"),
        ("delay", "reset"),
        ("reset", "u"),
    ]
    if recurrent is not None:
        nodes["w_rec"] = nir.Linear(recurrent)
        edges += [("delay", "w_rec"), ("w_rec", "u")]
    if c.slow is not None:
        nodes |= {
            "w": nir.LI(tau=clock.tau(c.slow.rate), r=one, v_leak=zero),
            "s_w": nir.Scale(c.slow.from_s),
            "w_out": nir.Scale(c.slow.into),
        }
        edges += [
            ("delay", "s_w"),
            ("s_w", "w"),
            ("w_out", "spike" if c.slow.where == "spike" else "u"),
        ]
        if c.slow.where == "u":
            nodes["delay_w"] = nir.Delay(np.full(n, clock.dt))
            edges += [("w", "delay_w"), ("delay_w", "w_out")]
        else:
            edges.append(("w", "w_out"))
        if c.slow.from_u is not None:
            nodes |= {"delay_u": nir.Delay(np.full(n, clock.dt)), "u_w": nir.Scale(c.slow.from_u)}
            edges += [("u", "delay_u"), ("delay_u", "u_w"), ("u_w", "w")]
    nodes["output"] = nir.Output(np.array([n]))
    return nir.NIRGraph(nodes, edges, metadata={"srnn": c.name})
