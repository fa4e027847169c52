"""Recordings and microphones on their way to the network, disturbed on purpose."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from srnn.encode.streaming import Streaming
from srnn.stream.buffer import Bounded
from srnn.stream.encoding import Encoding

Array = NDArray[Any]

BLOCKS = 8
"""Leads that can come off, at most: of more channels, neighbours go together."""
FLIPPED = 0.1
"""Share of events that noise 1 flips."""


@dataclass(frozen=True)
class Disturbance:
    """What is done to a signal on purpose.

    noise: standard deviation of what is added, in deviations of the signal; of events, `FLIPPED`
    times that share is flipped. lead: the block of channels that is flat, or None.
    """

    noise: float = 0.0
    lead: int | None = None


@dataclass(frozen=True)
class Track:
    """A recording that can be played.

    samples: (n, C). encoder: makes the encoder that turns them into steps. per_step: samples of a
    step. truth: a class, or one a step, (T,); -1 = unknown. events: whether samples are events.
    signal: whether samples are worth a curve, beside the steps. blocks: channels of each lead.
    """

    name: str
    samples: Array
    encoder: Callable[[], Streaming]
    per_step: float
    truth: int | Array
    events: bool
    signal: bool
    blocks: tuple[range, ...]

    def disturbed(self, x: Array, by: Disturbance, random: np.random.Generator) -> Array:
        """Return samples x (m, C) of this recording as they come in; the very same where nothing
        disturbs.
        """
        if by.noise:
            if self.events:
                x = np.where(random.random(x.shape) < by.noise * FLIPPED, x == 0, x).astype(
                    np.float32
                )
            else:
                x = x + by.noise * self.samples.std(0) * random.standard_normal(x.shape)
        if by.lead is not None and by.lead < len(self.blocks):
            off = self.blocks[by.lead]
            x = x.astype(np.float64)
            x[:, off.start : off.stop] = (
                0.0 if self.events else self.samples[:, off.start : off.stop].mean(0)
            )
        return x


def blocks(channels: int, width: int = 1) -> tuple[range, ...]:
    """Return the leads of a signal: blocks of `width` channels, or `BLOCKS` greater ones where
    these would be too many.
    """
    count = channels // width
    cuts = (
        np.linspace(0, channels, min(count, BLOCKS) + 1).round().astype(int)
        if count > BLOCKS
        else np.arange(0, channels + 1, width)
    )
    return tuple(range(int(a), int(b)) for a, b in itertools.pairwise(cuts))


class Piece(NamedTuple):
    """Steps (k, C) with the range of each channel's samples in every step, (k, c, 2), c = 0 where
    there is no curve; end: the recording is over.
    """

    steps: Array
    signal: Array
    end: bool


class Feed(Protocol):
    """Where steps come from. name: of what is played; truth: as in `Track`."""

    name: str
    truth: int | Array

    def take(self, samples: float, by: Disturbance, random: np.random.Generator) -> list[Piece]:
        """Return what the next so many steps' worth of samples gives.

        A microphone gives what has come.
        """
        ...


class Playing:
    """A track that is played. left: of what was asked for last, the steps that lie
    beyond its end.
    """

    def __init__(self, track: Track) -> None:
        self.track, self.name, self.truth = track, track.name, track.truth
        self._encoder, self._curve = (
            track.encoder(),
            _Curve(track.per_step, track.samples.shape[1] if track.signal else 0),
        )
        self._at, self._due, self.left = 0, 0.0, 0.0

    def take(self, samples: float, by: Disturbance, random: np.random.Generator) -> list[Piece]:
        self._due += samples * self.track.per_step
        n = min(int(self._due), len(self.track.samples) - self._at)
        self._due -= n
        self.left = self._due / self.track.per_step
        x = self.track.disturbed(self.track.samples[self._at : self._at + n], by, random)
        self._at += n
        end = self._at == len(self.track.samples)
        made = [self._encoder.push(x)] if n else []
        if end:
            made.append(self._encoder.flush())
        steps = np.concatenate(made) if made else np.empty((0, 0))
        return [Piece(steps, self._curve(x, len(steps)), end)] if len(steps) or end else []


class _Curve:
    """The range of samples in every step: which, it knows by counting."""

    def __init__(self, per_step: float, channels: int) -> None:
        self._per_step, self._channels = per_step, channels
        self._waiting, self._first, self._steps = np.empty((0, channels), np.float32), 0, 0

    def __call__(self, samples: Array, steps: int) -> Array:
        """Take in samples (n, C); return the ranges (steps, C, 2) of the next steps."""
        if not self._channels:
            return np.empty((steps, 0, 2), np.float32)
        waiting = np.concatenate([self._waiting, samples.astype(np.float32)])
        if not steps:
            self._waiting = waiting
            return np.empty((0, self._channels, 2), np.float32)
        edges = (
            np.round((self._steps + np.arange(steps + 1)) * self._per_step).astype(int)
            - self._first
        )
        if edges[-1] > len(waiting) or not len(waiting):  # steps that the end of a recording gave
            last = waiting[-1:] if len(waiting) else np.zeros((1, self._channels), np.float32)
            waiting = np.concatenate([waiting, np.repeat(last, edges[-1] + 1 - len(waiting), 0)])
        low, high = (f.reduceat(waiting[: edges[-1]], edges[:-1]) for f in (np.minimum, np.maximum))
        self._waiting, self._first, self._steps = (
            waiting[edges[-1] :],
            self._first + int(edges[-1]),
            self._steps + steps,
        )
        return np.stack([low, high], -1)


class Listening:
    """A microphone. Samples of sound wait in `queue`, of which the oldest are dropped; a word ends
    where the next begins after a pause.

    per_step: samples of a step; rate: samples a second. whole: the encoding has ends of its own
    (windows).
    """

    LOUD, PAUSE, LONGEST = 3.0, 0.25, 3.0
    """Times the noise floor; seconds of quiet before a word, and of the longest word."""

    def __init__(self, encoding: Encoding, per_step: float, rate: float, *, whole: bool) -> None:
        self.name, self.truth, self._words = "microphone", -1, 0
        self.queue: Bounded[Array] = Bounded(int(2 * rate), "drop-oldest")
        self._encoding, self._curve, self._whole = (
            encoding,
            _Curve(per_step, 0 if whole else 1),
            whole,
        )
        self._step_seconds = per_step / rate
        self._floor, self._quiet, self._length = 0.01, 0.0, 0.0

    def word(self) -> str:
        """Return the name of the next word."""
        self._words += 1
        return f"word {self._words}"

    def hear(self, samples: Array) -> None:
        """Put in samples (n,) in [-1, 1]; from any thread."""
        self.queue.put(samples[:, None], len(samples))

    def take(self, samples: float, by: Disturbance, random: np.random.Generator) -> list[Piece]:
        pieces: list[Piece] = []
        while (x := self.queue.get(0)) is not None:
            x = x.astype(np.float64)
            if by.noise:
                x = x + 0.1 * by.noise * random.standard_normal(x.shape)
            x = 0 * x if by.lead is not None else x
            for k, (steps, end) in enumerate(self._encoding.push(x)):
                piece = Piece(steps, self._curve(x if not k else x[:0], len(steps)), end)
                pieces += [piece] if self._whole else self._cut(piece)
        return pieces

    def _cut(self, piece: Piece) -> list[Piece]:
        """Cut where a word begins."""
        cuts, loud = [0], np.abs(piece.signal).max((1, 2)) if len(piece.steps) else []
        for k, level in enumerate(loud):
            # falls at once, rises slowly
            self._floor = max(min(float(level), 1.002 * self._floor), 1e-3)
            self._length += self._step_seconds
            speaks = level > self.LOUD * self._floor
            if (speaks and self._quiet >= self.PAUSE) or self._length >= self.LONGEST:
                cuts.append(k)
                self._length = 0.0
            self._quiet = 0.0 if speaks else self._quiet + self._step_seconds
        cuts.append(len(piece.steps))
        parts = [
            Piece(piece.steps[a:b], piece.signal[a:b], b != cuts[-1])
            for a, b in itertools.pairwise(cuts)
        ]
        return [p for p in parts if len(p.steps) or p.end]
