"""Evaluate a network on one part of a task: accuracy, firing rates, operations and energy,
deterministic by seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from srnn import energy
from srnn.datasets import Sample
from srnn.nn.networks import Stack, Trace
from srnn.tasks.objective import Scores
from srnn.tasks.task import Batch, Task, collate
from srnn.training.chunks import Whole, walk


@dataclass
class Meter:
    """Sums over recorded batches, from which rates and operation counts follow."""

    steps: int = 0
    recordings: int = 0
    spikes: float = 0.0
    events: bool = True
    input: float = 0.0
    network: float = 0.0
    layers: list[float] = field(default_factory=list)

    def add(self, trace: Trace) -> None:
        """Take in a recorded batch, or some of its steps; who adds counts the recordings."""
        batch, n = energy.Activity.of(trace), trace.steps
        self.steps, self.spikes = self.steps + n, self.spikes + trace.spikes()
        self.events &= batch.events
        self.input += n * batch.input
        self.network += n * batch.network
        self.layers = [
            a + n * b
            for a, b in zip(self.layers or [0.0] * len(batch.layers), batch.layers, strict=True)
        ]

    def mean(self) -> energy.Activity:
        """Return the mean activity per step."""
        n = max(1, self.steps)
        return energy.Activity(
            self.input / n, self.events, tuple(r / n for r in self.layers), self.network / n
        )


def assess(
    net: Stack,
    task: Task,
    samples: Sequence[Sample],
    *,
    seed: int = 0,
    backend: str = "auto",
    cost: bool = True,
) -> Scores:
    """Return the results of `task.decode` on `samples`, the mean loss per recording, firing rates,
    and with `cost` operations and energy.

    The same network, samples and seed always give the same numbers: random starts are drawn from a
    generator of their own. A task that is trained in chunks or segments is evaluated in such pieces
    too, with no more memory.
    """
    scores, labels, lengths, names, loss, activity = [], [], [], list[str](), 0.0, Meter()
    for read, batch, whole in _batches(net, task, samples, activity.add, seed, backend):
        names += [s.name for s in read]
        activity.recordings += len(batch.x)
        loss += float(whole.loss()) * len(batch.x)
        scores.append(whole.scores().cpu())
        labels.append(batch.labels.cpu())
        lengths.append(batch.lengths.cpu())
    results = task.decode.results(scores, labels, lengths) | {"loss": loss / len(samples)}
    if task.also is not None:
        results |= task.also(scores, labels, lengths, names)
    mean = activity.mean()
    results |= {
        "firing_rate": mean.network,
        "firing_rates": list(mean.layers),
        "input_rate": mean.input,
        "input_events": mean.events,
        "sops_per_sample": activity.spikes / max(1, activity.recordings),
        "sops_per_step": activity.spikes / max(1, activity.steps),
    }
    if cost:
        results["energy"] = {name: c.as_dict() for name, c in energy.counts(net, mean).items()}
    return results


def unit_rates(
    net: Stack, task: Task, samples: Sequence[Sample], *, seed: int = 0, backend: str = "auto"
) -> tuple[list[Tensor], float]:
    """Return the mean output of every unit of each layer per valid step (of a bidirectional layer
    both directions), and the mean loss per recording.

    Evaluated as `assess` does.
    """
    sums, steps, loss = [torch.zeros((), dtype=torch.float64)] * len(net.parts()), 0, 0.0

    def add(trace: Trace) -> None:
        nonlocal sums, steps
        sums, steps = (
            [a + o.double().sum((0, 1)).cpu() for a, o in zip(sums, trace.outputs, strict=True)],
            steps + trace.steps,
        )

    for _, batch, whole in _batches(net, task, samples, add, seed, backend):
        loss += float(whole.loss()) * len(batch.x)
    return [s / max(1, steps) for s in sums], loss / len(samples)


@torch.no_grad()
def _batches(
    net: Stack,
    task: Task,
    samples: Sequence[Sample],
    take: Callable[[Trace], None],
    seed: int,
    backend: str,
) -> Iterator[tuple[list[Sample], Batch, Whole]]:
    """Run all samples through the network as it evaluates, handing what is recorded to `take`,
    chunk by chunk; yield each batch with its scores.
    """
    device, generator, training = (
        next(net.parameters()).device,
        torch.Generator().manual_seed(seed),
        net.training,
    )
    net.eval()
    for first in range(0, len(samples), task.batch):
        read = list(samples[first : first + task.batch])
        batch = collate(read).to(device)
        whole, chunk = (
            Whole(task, batch),
            task.truncation.chunk
            if task.truncation is not None
            else task.segment or batch.x.shape[1],
        )
        for start, out in walk(
            net,
            batch,
            task.start(net, len(batch.x), generator),
            chunk,
            record=True,
            backend=backend,
            segment=None,
        ):
            whole.add(out, start)
            assert out.trace is not None
            take(out.trace)
        yield read, batch, whole
    net.train(training)


def first_not_finite(net: Stack, batch: Batch, backend: str = "auto") -> str:
    """Return the name of the first tensor that is not finite: input, parameter, then each layer's
    potential, then gradients.
    """
    if not bool(torch.isfinite(batch.x).all()):
        return "the input x"
    for name, value in net.named_parameters():
        if not bool(torch.isfinite(value).all()):
            return f"the parameter {name}"
    with torch.no_grad():
        trace = net(batch.x, lengths=batch.lengths, record=True, backend=backend).trace
    for k, potential in enumerate(trace.potentials):
        bad = ~torch.isfinite(potential)
        if bool(bad.any()):
            b, t, n = bad.nonzero()[bad.nonzero()[:, 1].argmin()].tolist()
            return f"the potential of layers.{k} (recording {b} of the batch, step {t}, neuron {n})"
    for name, value in net.named_parameters():
        if value.grad is not None and not bool(torch.isfinite(value.grad).all()):
            return f"the gradient of {name}"
    return "the loss itself"
