"""A training step as one CUDA graph: forward pass, loss, backward pass and the optimiser's step. A
GPU that waits for Python between hundreds of small kernels waits no more; of several models in
lockstep the steps are one graph.

What a graph does is fixed when it is captured: it belongs to one shape of batch, and nothing in it
may look at a number. The optimiser's rates, which change, lie on the GPU while it steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from srnn._check import ConfigError
from srnn.kernels import lockstep
from srnn.nn.networks import Stack, Zeros, single_layers
from srnn.tasks import optimise
from srnn.tasks.task import Batch, Task
from srnn.training.chunks import Chunk, chunks

_T = TypeVar("_T")
SHAPES = 16
"""So many shapes of batches are captured; each holds the memory of a whole training step."""


class Capture(Protocol):
    """What captures `run`: returns what does it again, and what `run` returned, where results will
    stand. changed: what `run` changes in place.
    """

    def __call__(
        self, run: Callable[[], _T], changed: Sequence[Tensor]
    ) -> tuple[Callable[[], None], _T]:
        """Capture."""


def capture_cuda(run: Callable[[], _T], changed: Sequence[Tensor]) -> tuple[Callable[[], None], _T]:
    """Capture what `run` does on the GPU (`Capture`).

    What it changes and the random numbers are afterwards as they were.
    """
    random, before = torch.cuda.get_rng_state(), [t.detach().clone() for t in changed]
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    # what is done once only: kernels are compiled, libraries take their memory
    with torch.cuda.stream(side):
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(side)
    with torch.no_grad():
        for to, value in zip(changed, before, strict=True):
            to.copy_(value)
    torch.cuda.set_rng_state(random)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = run()
    return graph.replay, made


@dataclass(frozen=True)
class Step:
    """What a training step gives, as scalars on the device: its chunk, the norm of the gradient,
    the largest size of a parameter afterwards.
    """

    chunk: Chunk
    norm: Tensor
    largest: Tensor


class _Asked(NamedTuple):
    model: Graphed
    batch: Batch
    shape: tuple[torch.Size, bool]
    """Of x, and whether all recordings fill it: the two kinds run other operations."""


@dataclass(frozen=True)
class _Captured:
    models: list[Graphed]
    batches: list[Batch]
    replay: Callable[[], None]
    made: list[Step]


class Graphed:
    """The training steps of a task, captured shape by shape. Raises `ConfigError` for a task whose
    step cannot be.

    together: of so many models in lockstep this is one.
    """

    def __init__(
        self,
        net: Stack,
        task: Task,
        optimiser: torch.optim.Optimizer,
        backend: str,
        together: int = 1,
        capture: Capture = capture_cuda,
    ) -> None:
        layers = single_layers(net)
        for why in (
            "a truncated gradient steps more than once a batch"
            if task.truncation is not None
            else "",
            "segments run layers again within the backward pass"
            if task.segment is not None
            else "",
            "a firing-rate regulariser counts steps" if task.regulariser is not None else "",
            "random starts are drawn on the CPU" if not isinstance(task.start, Zeros) else "",
            "there is no GPU" if capture is capture_cuda and not torch.cuda.is_available() else "",
            f"the backend is {net.which_backend(backend=backend).name}"
            if net.which_backend(backend=backend).name != "triton"
            else "",
        ):
            if why:
                raise ConfigError(
                    f"--graph: {task.name} cannot be trained as a CUDA graph: "
                    f"{why}. Train it without."
                )
        # a graph draws for all of them in turn
        if together > 1 and any(layer.dropout for layer in layers):
            raise ConfigError(
                f"--graph: several runs of {task.name} as one CUDA graph would not drop "
                "what each drops alone. "
                "Train them one after the other (--together 1), or without --graph."
            )
        self.net, self.task, self.optimiser, self.backend, self.capture = (
            net,
            task,
            optimiser,
            backend,
            capture,
        )
        self.normed = any(layer.norm is not None for layer in layers)
        self.rates = [
            torch.tensor(group["lr"], device=next(net.parameters()).device)
            for group in optimiser.param_groups
        ]
        self.held: dict[tuple[torch.Size, bool], _Captured] = {}

    def step(self, batch: Batch) -> Step:
        """Train on a batch.

        The very first one runs as it is: it makes the optimiser's state, which a graph must find.
        """
        whole = bool((batch.lengths == batch.x.shape[1]).all())
        if self.normed and not whole:
            raise ConfigError(
                f"--graph: {self.task.name} has a norm, which looks at lengths, "
                "and recordings of different lengths. Train it without."
            )
        shape = batch.x.shape, whole
        made: Step = lockstep.jointly(_steps, _Asked(self, batch, shape), shape)
        return made

    def train(self, batch: Batch) -> Step:
        """Do what is captured."""
        self.net.zero_grad(set_to_none=True)
        (chunk,) = chunks(self.task, self.net, batch, self.backend)
        lockstep.backward(chunk.loss)
        norm = optimise.gradient_norm(self.net)
        with self._capturable():
            largest = optimise.step(self.net, self.optimiser, self.task.clip_norm, norm)
        # What led to the loss is let go: a parameter's place in it belongs to the stream it ran on,
        # and the next capture runs on another.
        return Step(replace(chunk, loss=chunk.loss.detach()), norm, largest)

    def settle(self) -> None:
        """Put rates and counts of steps where a graph reads them."""
        for rate, group in zip(self.rates, self.optimiser.param_groups, strict=True):
            rate.fill_(group["lr"])
        # after a resume counts are where they were loaded
        for state in self.optimiser.state.values():
            state["step"] = state["step"].to(self.rates[0].device)

    def changed(self) -> list[Tensor]:
        """Return what a step changes in place."""
        state = [value for values in self.optimiser.state.values() for value in values.values()]
        return [*self.net.parameters(), *self.net.buffers(), *state]

    @contextmanager
    def _capturable(self) -> Iterator[None]:
        """An optimiser that a graph can hold.

        Outside of this its rates are Python's, as schedule and checkpoint have them.
        """
        groups = self.optimiser.param_groups
        before = [{name: group[name] for name in ("lr", "capturable")} for group in groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group.update(lr=rate, capturable=rate.is_cuda)
        try:
            yield
        finally:
            for group, was in zip(groups, before, strict=True):
                group.update(was)


def _steps(asked: Sequence[_Asked]) -> list[Step]:
    """A training step of each, on batches of one shape: the first model holds the graph of all."""
    models, batches = [a.model for a in asked], [a.batch for a in asked]
    first, shape = models[0], asked[0].shape
    for model in models:
        model.settle()
    if not all(model.optimiser.state for model in models):
        return _train(models, batches)
    held = first.held.pop(shape, None)
    if held is None or held.models != models:
        del held  # another set of models: its memory is free before that of the next is taken
        if len(first.held) == SHAPES:
            raise ConfigError(
                f"--graph: {first.task.name} has more than {SHAPES} shapes of "
                "batches, each with its own memory. Train it without."
            )
        held = _captured(models, batches)
    first.held[shape] = held
    for own, batch in zip(held.batches, batches, strict=True):
        for to, value in (
            (own.x, batch.x),
            (own.labels, batch.labels),
            (own.lengths, batch.lengths),
        ):
            to.copy_(value)
    held.replay()
    return held.made


def _train(models: Sequence[Graphed], batches: Sequence[Batch]) -> list[Step]:
    made = lockstep.together(
        [partial(model.train, batch) for model, batch in zip(models, batches, strict=True)]
    )
    for result in made:
        if isinstance(result, BaseException):
            raise result
    return made  # type: ignore[return-value]


def _captured(models: list[Graphed], batches: Sequence[Batch]) -> _Captured:
    own = [Batch(b.x.clone(), b.labels.clone(), b.lengths.clone()) for b in batches]
    first = models[0]
    try:
        replay, made = first.capture(
            lambda: _train(models, own), [t for model in models for t in model.changed()]
        )
    except RuntimeError as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"--graph: a training step of {first.task.name} cannot be captured "
            f"({why}). Train it without."
        ) from error
    return _Captured(models, own, replay, made)
