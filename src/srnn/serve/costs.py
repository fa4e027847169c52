"""What the network did in the last seconds, and what it cost: firing rates and operations by the
rules of `srnn.energy`, beside a dense LSTM.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np

from srnn import energy
from srnn.nn.networks import Stack
from srnn.serve.playing import Array
from srnn.tasks.task import Task

SECONDS = 2.0
"""Of signal, that are looked back on."""


class _Chunk(NamedTuple):
    steps: int
    input: float
    events: bool
    layers: tuple[float, ...]


class Costs:
    """Sums over the last steps. rate: steps a second.

    Operations are a step's, as `srnn energy` has them, times that.
    """

    def __init__(self, net: Stack, task: Task, rate: float) -> None:
        self._net, self._rate = net, rate
        self._spiking = tuple(bool(part.emits.binary) for part in net.parts())
        self._units = tuple(part.outputs for part in net.parts())
        self._process = task.compression.process if task.compression is not None else None
        self._chunks: deque[_Chunk] = deque()
        self._steps = 0
        self.lstm = self._told(energy.lstm_counts(net)["measured"])

    def add(self, steps: Array, outputs: tuple[Array, ...]) -> None:
        """Take in steps (T, C) and the output of every layer for them, (1, T, N)."""
        magnitude = np.abs(steps)
        sums = tuple(float(o.sum(dtype=np.float64)) for o in outputs)
        self._chunks.append(
            _Chunk(
                len(steps),
                float(magnitude.sum(dtype=np.float64)),
                bool(((magnitude == 0) | (magnitude == 1)).all()),
                sums,
            )
        )
        self._steps += len(steps)
        while self._steps - self._chunks[0].steps >= SECONDS * self._rate:
            self._steps -= self._chunks.popleft().steps

    def clear(self) -> None:
        """Forget what was before."""
        self._chunks.clear()
        self._steps = 0

    def activity(self) -> energy.Activity | None:
        """Return the mean activity of the last steps; None before the first."""
        n = self._steps
        if not n:
            return None
        layers = [sum(c.layers[k] for c in self._chunks) for k in range(len(self._units))]
        spikes = sum(v for v, spiking in zip(layers, self._spiking, strict=True) if spiking)
        units = sum(u for u, spiking in zip(self._units, self._spiking, strict=True) if spiking)
        return energy.Activity(
            sum(c.input for c in self._chunks) / (n * self._net.inputs),
            all(c.events for c in self._chunks),
            tuple(v / (n * u) for v, u in zip(layers, self._units, strict=True)),
            spikes / max(1, n * units),
        )

    def told(self) -> dict[str, Any]:
        """Return rates (spikes a unit and step) and cost as JSON has them."""
        activity = self.activity()
        if activity is None:
            return {}
        count = energy.count(self._net, activity, energy.Measured(), self._process)
        return {
            "input_rate": activity.input,
            "rates": [
                rate if spiking else None
                for rate, spiking in zip(activity.layers, self._spiking, strict=True)
            ],
            "rate": activity.network,
            "cost": self._told(count),
        }

    def _told(self, count: energy.Count) -> dict[str, Any]:
        """Return operations and energy (pJ) a step, and a second."""
        return {
            "mac": count.mac,
            "ac": count.ac,
            "energy": count.energy,
            "operations_per_second": (count.mac + count.ac) * self._rate,
            "nanowatts": count.energy * self._rate / 1000,
            "process": count.process.source,
        }
