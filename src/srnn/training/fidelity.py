"""Is it still the same network? An exported network beside the one it came from, on real
recordings.

Both start every recording from the neurons' own start, so that accuracies here may differ a little
from those of a task that draws its starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from srnn._check import ShapeError
from srnn.datasets import Sample
from srnn.decode import valid_mask
from srnn.export.played import Played as Played
from srnn.export.played import Player as Player
from srnn.nn.networks import Output, Stack
from srnn.tasks.task import Task, collate


@dataclass(frozen=True)
class Fidelity:
    """How well an exported network agrees with the one it came from.

    recordings, steps: how much was compared. spike_agreement: fraction of (step, neuron) of the
    spiking layers with the same output, None where the exported form shows none or no layer spikes;
    recordings_equal: of recordings in which all of them agree. score_error: the largest difference
    of two scores (what the task's decoder makes of the last layer), score_error_mean: their mean.
    potential_error: the largest difference of two potentials of the last layer.
    prediction_agreement: fraction of decisions (steps or recordings) that are the same.
    accuracy_before, accuracy_after: by the task's own rule.
    """

    recordings: int
    steps: int
    spike_agreement: float | None
    recordings_equal: float | None
    score_error: float
    score_error_mean: float
    potential_error: float
    prediction_agreement: float
    accuracy_before: float
    accuracy_after: float

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


@torch.no_grad()
def compare(
    net: Stack, player: Player, task: Task, samples: Sequence[Sample], *, backend: str = "auto"
) -> Fidelity:
    """Play all samples through both and return how far they agree.

    Raises `ShapeError` where the player's results do not fit the network's.
    """
    training, decode = net.training, task.decode
    net.eval()
    before, after, labels, lengths = list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()
    same, units, equal, potential = 0, 0, 0, 0.0
    for first in range(0, len(samples), task.batch):
        batch = collate(list(samples[first : first + task.batch]))
        ours, theirs = (
            net(batch.x, lengths=batch.lengths, record=True, backend=backend),
            player(batch.x, batch.lengths),
        )
        assert ours.trace is not None
        _check(ours, theirs)
        potential = max(potential, float((ours.potential - theirs.potential).abs().max()))
        before.append(decode.scores(ours, batch.lengths))
        after.append(
            decode.scores(
                Output(
                    theirs.potential.to(ours.potential), theirs.output.to(ours.output), (), None
                ),
                batch.lengths,
            )
        )
        labels.append(batch.labels)
        lengths.append(batch.lengths)
        whole = torch.ones(len(batch.x), dtype=torch.bool)
        for a, b, spiking in zip(
            ours.trace.outputs, theirs.outputs, ours.trace.spiking, strict=False
        ):
            if spiking:
                agree = (a == b) & valid_mask(a, batch.lengths).unsqueeze(-1)
                same += int(agree.sum())
                units += int(batch.lengths.sum()) * a.shape[-1]
                whole &= agree.sum((1, 2)) == batch.lengths * a.shape[-1]
        equal += int(whole.sum())
    net.train(training)
    steps = int(sum(n.sum() for n in lengths))
    errors, decisions = _differences(before, after, lengths)
    return Fidelity(
        recordings=len(samples),
        steps=steps,
        spike_agreement=same / units if units else None,
        recordings_equal=equal / len(samples) if units else None,
        score_error=float(errors.max()),
        score_error_mean=float(errors.mean()),
        potential_error=potential,
        prediction_agreement=float(decisions.double().mean()),
        accuracy_before=decode.results(before, labels, lengths)["accuracy"],
        accuracy_after=decode.results(after, labels, lengths)["accuracy"],
    )


def _check(ours: Output, theirs: Played) -> None:
    assert ours.trace is not None
    pairs = [
        ("potential", ours.potential, theirs.potential),
        ("output", ours.output, theirs.output),
    ]
    pairs += [
        (f"outputs[{k}]", a, b)
        for k, (a, b) in enumerate(zip(ours.trace.outputs, theirs.outputs, strict=False))
    ]
    for name, a, b in pairs:
        if a.shape != b.shape:
            raise ShapeError(
                f"compare: the player's {name} has shape {tuple(b.shape)}; expected "
                f"{tuple(a.shape)}, as the network has it."
            )
    if theirs.outputs and len(theirs.outputs) != len(ours.trace.outputs):
        raise ShapeError(
            f"compare: the player gives outputs of {len(theirs.outputs)} layers; "
            f"expected {len(ours.trace.outputs)}, or none at all."
        )


def _differences(
    before: Sequence[Tensor], after: Sequence[Tensor], lengths: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the differences of all scores and whether each decision is the same, over recordings,
    or over valid steps where each is scored.
    """
    errors, decisions = [], []
    for a, b, n in zip(before, after, lengths, strict=True):
        valid = valid_mask(a, n) if a.dim() == 3 else torch.ones(len(a), dtype=torch.bool)
        errors.append((a - b).abs()[valid].flatten())
        decisions.append((a.argmax(-1) == b.argmax(-1))[valid].flatten())
    return torch.cat(errors), torch.cat(decisions)
