"""Forward pass, loss and backward pass of a batch as one CUDA graph: a GPU that waits for Python between hundreds of small kernels waits no more.

What a graph does is fixed when it is captured: it belongs to one shape of batch, and nothing in it may look at a number. The optimiser's step, which
changes its rates, stays outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srnn._check import ConfigError
from srnn.networks import Stack, Zeros, single_layers
from srnn.tasks.task import Batch, Task
from srnn.tasks.truncation import Chunk, chunks

Capture = Callable[[Callable[[], None], nn.Module], Callable[[], None]]
SHAPES = 16
"""So many shapes of batches are captured; each holds the memory of a whole training step."""


def capture_cuda(run: Callable[[], None], net: nn.Module) -> Callable[[], None]:
    """Capture what `run` does on the GPU; return what does it again. The network and the random numbers are afterwards as they were."""
    random, buffers = torch.cuda.get_rng_state(), {name: b.clone() for name, b in net.named_buffers()}
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what is done once only: kernels are compiled, libraries take their memory
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(side)
    for name, b in net.named_buffers():
        b.copy_(buffers[name])
    torch.cuda.set_rng_state(random)
    net.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


@dataclass
class _Captured:
    batch: Batch
    replay: Callable[[], None]
    chunk: Chunk
    gradients: dict[nn.Parameter, Tensor]


class Graphed:
    """The training steps of a task, captured shape by shape. Raises `ConfigError` for a task whose step cannot be."""

    def __init__(self, net: Stack, task: Task, backend: str, capture: Capture = capture_cuda) -> None:
        for why in (
            "a truncated gradient steps more than once a batch" if task.truncation is not None else "",
            "segments run layers again within the backward pass" if task.segment is not None else "",
            "a firing-rate regulariser counts steps" if task.regulariser is not None else "",
            "random starts are drawn on the CPU" if not isinstance(task.start, Zeros) else "",
            "there is no GPU" if capture is capture_cuda and not torch.cuda.is_available() else "",
            f"the backend is {net.which_backend(backend=backend).name}" if net.which_backend(backend=backend).name != "triton" else "",
        ):
            if why:
                raise ConfigError(f"--graph: {task.name} cannot be trained as a CUDA graph: {why}. Train it without.")
        self.net, self.task, self.backend, self.capture = net, task, backend, capture
        self.normed = any(layer.norm is not None for layer in single_layers(net))
        self._held: dict[tuple[torch.Size, bool], _Captured] = {}
        self._last: _Captured | None = None

    def step(self, batch: Batch) -> Chunk:
        """Run a batch forward and backward; `put_gradients` hands the gradients to the network."""
        whole = bool((batch.lengths == batch.x.shape[1]).all())
        if self.normed and not whole:
            raise ConfigError(f"--graph: {self.task.name} has a norm, which looks at lengths, and recordings of different lengths. Train it without.")
        key = (batch.x.shape, whole)
        if key not in self._held:
            if len(self._held) == SHAPES:
                raise ConfigError(f"--graph: {self.task.name} has more than {SHAPES} shapes of batches, each with its own memory. Train it without.")
            self._held[key] = self._captured(batch)
        held = self._last = self._held[key]
        for to, value in ((held.batch.x, batch.x), (held.batch.labels, batch.labels), (held.batch.lengths, batch.lengths)):
            to.copy_(value)
        held.replay()
        return held.chunk

    def put_gradients(self) -> None:
        """Give every parameter the gradient of the last step."""
        assert self._last is not None
        for p, grad in self._last.gradients.items():
            p.grad = grad

    def _captured(self, batch: Batch) -> _Captured:
        own = Batch(batch.x.clone(), batch.labels.clone(), batch.lengths.clone())
        made: list[Chunk] = []

        def run() -> None:
            self.net.zero_grad(set_to_none=True)
            made[:] = chunks(self.task, self.net, own, self.backend)
            made[0].loss.backward()  # type: ignore[no-untyped-call]

        try:
            replay = self.capture(run, self.net)
        except RuntimeError as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(f"--graph: a training step of {self.task.name} cannot be captured ({why}). Train it without.") from error
        gradients = {p: p.grad for p in self.net.parameters() if p.grad is not None}
        return _Captured(own, replay, made[0], gradients)
