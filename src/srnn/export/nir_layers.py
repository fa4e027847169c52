"""Layers with the weights and constants of NIR nodes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from srnn import cells, neurons
from srnn._check import ConfigError
from srnn.activations import Identity, Spike
from srnn.export.nir_nodes import Clock
from srnn.init import Constant, Fixed, Init
from srnn.neuron import Neuron
from srnn.nn.layers import Layer, Part

import nir  # isort: skip  (after nir_nodes, which says how to install it)

WIDE = torch.float64
"""What layers are built in, so that no number is rounded twice; the network's own type comes at the
end.
"""

_NEAR = 1e-6
"""Relative difference up to which an R counts as neutral: that of a few roundings in float32, in
which other tools write.
"""


class Affine(NamedTuple):
    """W x + b on the way to a neuron; b None where there is none."""

    weight: Any
    bias: Any | None


def flat(value: Any, who: str, n: int | None = None) -> Any:
    """Return a parameter as (N,) float64."""
    if np.asarray(value).dtype.kind not in "fiu":
        raise ConfigError(
            f"{who} has parameters of type {np.asarray(value).dtype}; expected real numbers."
        )
    flat = np.atleast_1d(np.asarray(value, np.float64))
    if flat.ndim != 1 or (n is not None and flat.size not in (1, n)):
        raise ConfigError(
            f"{who} has parameters of shape {np.shape(value)}; expected one value "
            "for each neuron, in one axis."
        )
    return flat if n is None else np.broadcast_to(flat, (n,))


def affine_of(node: Any, who: str, n: int | None = None) -> Affine:
    """Return the product of an Affine, Linear or Scale node; n: of a neuron with itself."""
    if isinstance(node, nir.Scale):
        return Affine(np.diag(flat(node.scale, who)), None)
    weight = np.asarray(node.weight)
    bias = np.asarray(node.bias) if isinstance(node, nir.Affine) else None
    if weight.ndim != 2 or (n is not None and weight.shape != (n, n)):
        wanted = "(N, C)" if n is None else f"({n}, {n}), of {n} neurons with themselves"
        raise ConfigError(f"{who} has a weight of shape {weight.shape}; expected {wanted}.")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ConfigError(
            f"{who} has a bias of shape {bias.shape} for a weight of {weight.shape}; expected "
            f"({len(weight)},)."
        )
    for array in (weight, bias):
        if array is not None and array.dtype.kind not in "fiu":
            raise ConfigError(f"{who} has numbers of type {array.dtype}; expected real ones.")
    return Affine(weight, bias)


def at(waiting: Affine | None, n: int, who: str) -> Affine:
    """Return the weights in front of n neurons: those that wait for them, or the identity."""
    if waiting is None:
        return Affine(np.eye(n), None)
    if (rows := waiting.weight.shape[0]) != n:
        raise ConfigError(f"{who} has {n} neurons, and the weights before it give {rows} currents.")
    return waiting


@torch.no_grad()
def filled(layer: Any, affine: Affine, recurrent: Any | None = None, **constants: Any) -> Any:
    """Return a layer with these weights and trained constants."""
    layer.weight.copy_(torch.as_tensor(np.array(affine.weight)))
    if layer.bias is not None:
        layer.bias.copy_(torch.as_tensor(np.array(affine.bias)))
    if recurrent is not None:
        layer.recurrent.copy_(torch.as_tensor(np.array(recurrent)))
    for name, value in constants.items():
        getattr(layer.constants, name).copy_(torch.as_tensor(np.array(value)))
    return layer


def dense(affine: Affine) -> Layer:
    """Return a layer that is only a product."""
    n, inputs = affine.weight.shape
    biased = affine.bias is not None
    layer = Layer(inputs, n, cells.Dense(), Identity(), recurrent=False, bias=biased, dtype=WIDE)
    made: Layer = filled(layer, affine)
    return made


def fixed(values: Any) -> Init:
    """Return a threshold as a constant that is not trained: one number where all
    neurons share it.
    """
    return float(values[0]) if np.ptp(values) == 0 else Fixed(values.tolist())


def neuron_layer(
    node: Any, loop: Any | None, waiting: Affine | None, who: str, clock: Clock
) -> Layer:
    """Return the layer of an LI, I, LIF or IF node."""
    n = int(np.prod(node.input_type["input"]))
    leaks, spikes = isinstance(node, nir.LI | nir.LIF), isinstance(node, nir.LIF | nir.IF)
    if spikes and flat(node.v_reset, who).any():
        raise ConfigError(
            f"{who} is reset to {flat(node.v_reset, who).max():g}; the neurons here start "
            "from and are reset to 0. Shift its potential."
        )
    r, leak = flat(node.r, who, n), flat(node.v_leak, who, n) if leaks else np.zeros(n)
    rate = rates(node.tau, n, who, clock) if leaks else np.zeros(n)
    # what R I is multiplied by in a step
    in_u = -np.expm1(-rate) if leaks else np.full(n, clock.dt)
    # the neuron here takes I as it is
    own_gain = not leaks or (spikes and np.allclose(r * in_u, 1, rtol=_NEAR, atol=0))
    scale = r * in_u if own_gain else r
    affine = at(waiting, n, who)
    recurrent = None if loop is None else affine_of(loop, f"{who}: its recurrence", n)
    biases = [part.bias for part in (affine, recurrent) if part and part.bias is not None]
    bias = sum(biases, np.zeros(n)) if biases else None
    if not np.allclose(scale, 1, rtol=_NEAR, atol=0):
        affine = affine._replace(weight=affine.weight * scale[:, None])
        bias = None if bias is None else bias * scale
        if recurrent is not None:
            recurrent = recurrent._replace(weight=recurrent.weight * scale[:, None])
    if leak.any():
        bias = (0 if bias is None else bias) + leak * (in_u if own_gain else 1)
    hint = node.metadata.get("srnn")
    neuron, values = _neuron(
        hint, own_gain, spikes, leaks, rate, node.v_threshold if spikes else None, n
    )
    layer = Layer(
        affine.weight.shape[1],
        n,
        neuron,
        Spike() if spikes else Identity(),
        recurrent=loop is not None,
        bias=bias is not None,
        dtype=WIDE,
    )
    R = None if recurrent is None else recurrent.weight
    made: Layer = filled(layer, Affine(affine.weight, bias), R, **values)
    return made


def _neuron(
    hint: str | None, own_gain: bool, spikes: bool, leaks: bool, rate: Any, threshold: Any, n: int
) -> tuple[Neuron, dict[str, Any]]:
    """Return the neuron of a node and its trained constants; hint: its name, where `to_nir` wrote
    the node.
    """
    if not leaks and not spikes:
        return cells.Sum(), {}
    if not spikes:
        if hint == "AlphaLeaky":
            return neurons.AlphaLeaky(Constant(0.5)), {"alpha": np.exp(-rate)}
        return neurons.Leaky(Constant(20.0)), {"tau_m": 1 / rate}
    theta = fixed(np.broadcast_to(np.asarray(threshold, np.float64), (n,)))
    if own_gain:
        return neurons.YinLIF(fixed(np.exp(-rate)), theta), {}
    return neurons.LIF(Constant(20.0), theta), {"tau_m": 1 / -np.expm1(-rate)}


def rates(tau: Any, n: int, who: str, clock: Clock) -> Any:
    """Return -log of the decays per step.

    Raises `ConfigError` where a τ gives none between 0 and 1.
    """
    values = flat(tau, who, n)
    rate = clock.rate(values)
    if not (np.isfinite(rate) & (rate > 0)).all():
        raise ConfigError(
            f"{who} has τ of {values.min():g} s with steps of {clock.dt:g} s; "
            f"rule={clock.rule!r} makes no decay of that. Pass a shorter dt."
        )
    return rate


def current_based(node: Any, waiting: Affine | None, who: str, clock: Clock) -> list[Part]:
    """Return the two layers of a current-based neuron: its synapse, a leaky integrator, and its
    membrane.
    """
    n = int(np.prod(node.input_type["input"]))
    synapse = nir.LI(tau=flat(node.tau_syn, who, n), r=flat(node.w_in, who, n), v_leak=np.zeros(n))
    names = {"tau": "tau_mem", "r": "r", "v_leak": "v_leak"}
    spiking = isinstance(node, nir.CubaLIF)
    if spiking:
        names |= {"v_threshold": "v_threshold", "v_reset": "v_reset"}
    values = {name: flat(getattr(node, there), who, n) for name, there in names.items()}
    membrane = nir.LIF(**values) if spiking else nir.LI(**values)
    return [
        neuron_layer(synapse, None, waiting, who, clock),
        neuron_layer(membrane, None, None, who, clock),
    ]
