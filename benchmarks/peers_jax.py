"""The network of a shape in Spyx: JAX, one jitted function for forward, backward and Adam, run on
the CPU.

Two ways to write it are measured: every product inside the scan over time, as Spyx's own Sequential
does, and with the feed-forward products taken out of it, one for all steps, as a careful user
would.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import spyx.nn
from flax import nnx
from torch import Tensor

from benchmarks.calibrate import RECORDINGS, check_rates, find_gain
from benchmarks.networks import LEARNING_RATE
from benchmarks.shapes import Shape

TAU_M = 20.0
NEURON = "RLIF: LIF, β trained per neuron, soft reset, SuperSpike"


class Network(nnx.Module):
    """Linear, RLIF for each hidden layer; linear, leaky integrator as read-out.

    Time first: (T, B, C).
    """

    def __init__(self, shape: Shape) -> None:
        rngs = nnx.Rngs(0)
        self.linears = nnx.List(
            [
                nnx.Linear(below, above, rngs=rngs)
                for below, above in itertools.pairwise(shape.widths)
            ]
        )
        self.cells = nnx.List([spyx.nn.RLIF((n,), rngs=rngs) for n in shape.hidden])
        decay = math.exp(-1 / TAU_M)
        for cell, n in zip(self.cells, shape.hidden, strict=True):
            cell.beta = nnx.Param(jnp.full((n,), decay))
            cell.recurrent_w = nnx.Param(
                nnx.initializers.orthogonal(1 - decay)(rngs.params(), (n, n))
            )
        self.readout = nnx.Linear(shape.hidden[-1], shape.classes, rngs=rngs)
        self.leaky = spyx.nn.LI((shape.classes,), rngs=rngs)

    def hidden(self, k: int, x: Any) -> Any:
        """Run hidden layer k over time, its feed-forward product taken out of the scan."""
        return spyx.nn.run(self.cells[k], self.linears[k](x))[0]

    def __call__(self, x: Any, in_scan: bool) -> Any:
        """Run over time: (T, B, C) → (T, B, K)."""
        if in_scan:
            pairs = zip(self.linears, self.cells, strict=True)
            return spyx.nn.run(
                spyx.nn.Sequential(*itertools.chain(*pairs), self.readout, self.leaky), x
            )[0]
        for k in range(len(self.cells)):
            x = self.hidden(k, x)
        return spyx.nn.run(self.leaky, self.readout(x))[0]


class SpyxStep:
    """One training step when called; the result is waited for."""

    def __init__(self, graph: Any, params: Any, x: Any, labels: Any, in_scan: bool) -> None:
        optimizer = optax.adam(LEARNING_RATE)

        def loss(params: Any, x: Any, labels: Any) -> Any:
            scores = nnx.merge(graph, params)(x, in_scan).mean(0)
            return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

        @jax.jit
        def step(params: Any, state: Any, x: Any, labels: Any) -> Any:
            value, grads = jax.value_and_grad(loss)(params, x, labels)
            updates, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, updates), state, value

        self.step, self.params, self.state, self.x, self.labels = (
            step,
            params,
            optimizer.init(params),
            x,
            labels,
        )

    def __call__(self) -> float:
        self.params, self.state, value = jax.block_until_ready(
            self.step(self.params, self.state, self.x, self.labels)
        )
        return float(value)


def calibrate(network: Network, shape: Shape, x: Any) -> tuple[float, ...]:
    """Scale the input weights of each hidden layer until it fires at the wanted rate; return the
    rates on all of x.
    """
    run = nnx.jit(Network.hidden, static_argnums=1)
    h = x[:, :RECORDINGS]
    for k in range(len(shape.hidden)):
        start = network.linears[k].kernel[...]

        def rate(gain: float, k: int = k, start: Any = start, h: Any = h) -> float:
            network.linears[k].kernel[...] = start * gain
            return float(run(network, k, h).mean())

        find_gain(rate, shape.rate)
        h = run(network, k, h)
    rates, h = [], x
    for k in range(len(shape.hidden)):
        h = run(network, k, h)
        rates.append(float(h.mean()))
    check_rates("Spyx", shape, tuple(rates))
    return tuple(rates)


def prepare(
    shape: Shape, x: Tensor, labels: Tensor
) -> tuple[dict[str, SpyxStep], tuple[float, ...]]:
    """Build and calibrate the network; return a training step for either way to write it, and the
    firing rates.
    """
    time_first = jnp.asarray(np.ascontiguousarray(x.transpose(0, 1).numpy()))
    network = Network(shape)
    rates = calibrate(network, shape, time_first)
    graph, params = nnx.split(network)
    # of a definite type: the step would be compiled twice otherwise
    params = jax.tree.map(lambda a: jnp.asarray(np.asarray(a)), params)
    y = jnp.asarray(labels.numpy())
    return {
        "Spyx": SpyxStep(graph, params, time_first, y, in_scan=True),
        "Spyx, products hoisted": SpyxStep(graph, params, time_first, y, in_scan=False),
    }, rates
