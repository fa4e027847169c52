"""A network on live streams: numbers in, scores, classes and events out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srnn._check import (
    ConfigError,
    ShapeError,
    check_instance,
    check_range,
    check_sizes,
)
from srnn.kernels.pairs import join, split
from srnn.kernels.scan import Choice
from srnn.neuron import State
from srnn.nn.networks import NetworkState, Stack
from srnn.stream import saved
from srnn.stream.decision import Decision, Event, Pool, Watch
from srnn.stream.engine import Engine


class Step(NamedTuple):
    """What a stream says to what was pushed; of a chunk (B, T, C) for every step, of (B, C) for
    every stream, of (C,) for the one.

    scores: (…, K), float64, as `Decision` has them. label: the leading class, -1 where no step
    counts yet. confidence: of it, in [0, 1].
    events: in order of time for each stream.
    """

    scores: NDArray[np.float64]
    label: NDArray[np.int64]
    confidence: NDArray[np.float64]
    events: list[Event]


class Stream:
    """`batch` independent streams through one network, with explicit state.

    net: as it is now; it is copied, so that later changes of its weights are not seen. batch: B.
    decision: how the last layer is read.
    threshold: confidence in [0, 1] from which a class counts as sure, None = no such events. hold:
    steps it must last for the any-time decision.
    start: state of one recording before its first step, None = the network's own. backend: "auto",
    "cpu" or "reference"; `backend` says which.
    record: keep what every layer gave (`recorded`), in one call of C a layer.

    Fed in any pieces, the results are the same; on the cpu backend to the bit, and potentials are
    those of `net(x)` on the whole recording. Raises `ConfigError` for a network that needs the
    whole recording, with the reason, and for settings that cannot work.
    """

    def __init__(
        self,
        net: Stack,
        *,
        batch: int = 1,
        decision: Decision | None = None,
        threshold: float | None = None,
        hold: int = 1,
        start: NetworkState | None = None,
        backend: str = "auto",
        record: bool = False,
    ) -> None:
        check_sizes("Stream: batch ", batch)
        check_sizes("Stream: hold ", hold)
        if threshold is not None:
            check_range("Stream(threshold)", threshold, 0.0, 1.0)
        if decision is not None:
            check_instance(
                "Stream",
                "decision",
                decision,
                Decision,
                'srnn.stream.Decision("softmax_sum") or a task\'s decode.running()',
            )
        self.decision = decision if decision is not None else Decision()
        self._engine = Engine(net, batch, backend, record)
        self._start = start if start is not None else net.start(1)
        self._pool = Pool(self.decision, batch, self._engine.outputs)
        self._watch = Watch(batch, threshold, hold)
        self._read = 0 if self.decision.read == "potential" else 1
        self.reset()

    @property
    def batch(self) -> int:
        """Number of streams B."""
        return self._engine.batch

    @property
    def inputs(self) -> int:
        """Channels C."""
        return self._engine.inputs

    @property
    def classes(self) -> int:
        """Classes K."""
        return self._engine.outputs

    @property
    def backend(self) -> Choice:
        """What runs the layers, and why."""
        return self._engine.backend

    @property
    def recorded(self) -> tuple[NDArray[Any], ...]:
        """With record=True, the output of every layer for what was pushed last, each (B, T, N):
        spikes, of layers that spike.
        """
        return self._engine.recorded

    @property
    def steps(self) -> NDArray[np.int64]:
        """Steps of each stream since its last reset, (B,)."""
        return self._pool.seen.copy()

    @property
    def label(self) -> NDArray[np.int64]:
        """The leading class of each stream, (B,); -1 before the first step that counts."""
        return self._watch.label.copy()

    @property
    def confident_since(self) -> NDArray[np.int64]:
        """The step since which each stream has been sure of its class, (B,); -1 where it is not."""
        return np.where(self._watch.sure >= 0, self._watch.since, -1)

    @property
    def decided(self) -> NDArray[np.int64]:
        """The any-time decision of each stream, (B,): the first class that was sure for `hold`
        steps; -1 where there is none yet.
        """
        return self._watch.decided.copy()

    @property
    def decided_at(self) -> NDArray[np.int64]:
        """The step of that decision, (B,); -1 where there is none yet."""
        return self._watch.decided_at.copy()

    def push(self, x: Any, lengths: Any = None) -> Step:
        """Run one sample (C,), one of each stream (B, C), or a chunk (B, T, C); arrays, lists or
        tensors of real numbers.

        lengths: (B,) how many of a chunk's steps each stream has; what lies beyond is not read, and
        gives 0 and -1. Raises `ShapeError` for another shape, `DataError` where a valid number is
        not finite; then nothing was run.
        """
        x = _array("x", x)
        if x.ndim == 3:
            return self._chunk(x, lengths)
        if lengths is not None:
            raise ShapeError("Stream: lengths go with a chunk (B, T, C).")
        if x.shape != (self.batch, self.inputs) and (x.shape != (self.inputs,) or self.batch != 1):
            raise self._shape_error(x.shape)
        made = self._engine.step(x)[self._read].astype(np.float64)
        scores, label, confidence, events = self._decide(made, None)
        if x.ndim == 1:
            return Step(scores[0, 0], label[0, 0], confidence[0, 0], events)
        return Step(scores[:, 0], label[:, 0], confidence[:, 0], events)

    def _chunk(self, x: NDArray[Any], lengths: Any) -> Step:
        if x.shape[0] != self.batch or x.shape[2] != self.inputs:
            raise self._shape_error(x.shape)
        if lengths is not None:
            lengths = _array("lengths", lengths, kinds="iu")
            if lengths.shape != (self.batch,) or lengths.min() < 0 or lengths.max() > x.shape[1]:
                raise ShapeError(
                    f"Stream: lengths are {lengths.tolist()}; expected "
                    f"(B={self.batch},) integers, 0 to T={x.shape[1]}."
                )
        if not x.shape[1]:
            none = np.zeros((self.batch, 0))
            return Step(np.zeros((self.batch, 0, self.classes)), none.astype(np.int64), none, [])
        if lengths is not None:
            lengths = lengths.astype(np.int64)
        return self._decide(self._engine.run(x, lengths)[self._read].astype(np.float64), lengths)

    def _decide(self, u: NDArray[np.float64], lengths: NDArray[np.int64] | None) -> Step:
        before = self._pool.seen.copy()
        scores, shares, counts = self._pool.add(u, lengths)
        label, confidence = shares.argmax(-1), np.maximum.reduce(shares, -1)
        if counts is not None:
            label[~counts] = -1
        return Step(scores, label, confidence, self._watch.find(before, label, confidence, counts))

    def _shape_error(self, shape: tuple[int, ...]) -> ShapeError:
        wanted = f"({self.inputs},), " if self.batch == 1 else ""
        fix = (
            " A chunk of one stream is (1, T, C): pass x[None]."
            if len(shape) == 2 and shape[-1] == self.inputs
            else ""
        )
        return ShapeError(
            f"Stream: x has shape {shape}; expected {wanted}(B={self.batch}, "
            f"C={self.inputs}) or a chunk (B={self.batch}, T, C={self.inputs}).{fix}"
        )

    def reset(self, streams: Any = slice(None)) -> None:
        """Begin anew: all streams, or those of these numbers or this mask."""
        rows = np.arange(self.batch)[streams].reshape(-1)
        self._engine.put(_repeated(self._start, len(rows)), rows)
        self._pool.reset(rows)
        self._watch.reset(rows)

    @property
    def state(self) -> NetworkState:
        """A copy of the network's state, as `net.start(B)` or `net(x).state` have it."""
        return self._engine.state

    @state.setter
    def state(self, state: NetworkState) -> None:
        self._engine.put(state)

    def save(self, path: str | Path, more: Mapping[str, Any] | None = None) -> None:
        """Write everything the streams know into one file (safetensors, with a description in
        JSON and a checksum), whole or not at all.

        more: further entries of the description. Raises `RunError`.
        """
        saved.write(Path(path), self._memory(), {**self._about(), **(more or {})})

    def load(self, path: str | Path) -> dict[str, Any]:
        """Take over what `save` wrote; return its description.

        Raises `RunError` where it is damaged, or is not of this network, batch and decision;
        nothing changes then.
        """
        tensors, about = saved.read(Path(path), self._memory(), self._about())
        self.state = tuple(
            join({name: tensors[f"layer.{k}.{name}"] for name in split(part)})
            for k, part in enumerate(self._parts())
        )
        for owner, names in self._arrays():
            for name in names:
                getattr(owner, name)[...] = tensors[f"{_PREFIX[type(owner)]}.{name}"].numpy()
        return about

    def _parts(self) -> list[State]:
        """Return the states of the parts; none of them is a pair, for nothing here has two
        directions.
        """
        return [part for part in self.state if isinstance(part, dict)]

    def _arrays(self) -> tuple[tuple[Any, tuple[str, ...]], ...]:
        """Return what keeps the decision, with the names of its arrays."""
        return (self._pool, ("total", "count", "seen")), (self._watch, Watch.names)

    def _memory(self) -> dict[str, Tensor]:
        """Return copies of all that the streams know, by name."""
        layers = {
            f"layer.{k}.{name}": v
            for k, part in enumerate(self._parts())
            for name, v in split(part).items()
        }
        return layers | {
            f"{_PREFIX[type(owner)]}.{name}": torch.from_numpy(getattr(owner, name).copy())
            for owner, names in self._arrays()
            for name in names
        }

    def _about(self) -> dict[str, Any]:
        """Return what a saved state must have in common with the stream it is loaded into."""
        return {
            "layers": [{k: list(v.shape[1:]) for k, v in part.items()} for part in self._parts()],
            "batch": self.batch,
            "inputs": self.inputs,
            "classes": self.classes,
            "dtype": str(self._engine.dtype),
            "decision": asdict(self.decision),
            "threshold": self._watch.threshold,
            "hold": self._watch.hold,
        }


_PREFIX = {Pool: "pool", Watch: "watch"}


def _array(what: str, given: Any, kinds: str = "fiub") -> NDArray[Any]:
    """Return what was pushed as an array. Raises `ShapeError` where it is none of such numbers."""
    if isinstance(given, Tensor):
        given = given.detach().cpu()
        given = given.float() if given.dtype is torch.bfloat16 else given
    try:
        made = np.asarray(given)
    except (TypeError, ValueError, RuntimeError):  # as of rows of different lengths
        made = np.asarray(None)
    if made.dtype.kind not in kinds:
        came = f"a {type(given).__name__}" if made.dtype.kind == "O" else f"of type {made.dtype}"
        wanted = "real numbers" if "f" in kinds else "integers"
        raise ShapeError(
            f"Stream: {what} is {came}; expected an array, a list or a tensor of {wanted}, "
            "its rows of one length."
        )
    return made


def _repeated(state: NetworkState, count: int) -> NetworkState:
    """Return the state of one recording for `count` of them."""

    def many(part: Any) -> Any:
        if isinstance(part, tuple):
            raise ConfigError("Stream: a bidirectional layer cannot run on a stream.")
        if any(len(v) != 1 for v in part.values()):
            raise ShapeError(
                "Stream: start is the state of several recordings; expected one, as net.start(1)."
            )
        return {name: torch.as_tensor(v).expand(count, *v.shape[1:]) for name, v in part.items()}

    return tuple(many(part) for part in state)
