"""The thread that plays: it takes what is due by its clock, runs the network, and hands frames on.

It waits for nobody.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from srnn._check import SrnnError
from srnn.nn.networks import Stack
from srnn.serve.controls import Command
from srnn.serve.costs import Costs
from srnn.serve.frames import Rows, pack
from srnn.serve.playing import Array, Disturbance, Listening, Piece, Playing
from srnn.serve.tracks import Tracks, hears, listening
from srnn.stream import Stream
from srnn.tasks.objective import PerStep
from srnn.tasks.task import Task

TICK = 1 / 30
"""Seconds from one frame to the next."""
TELL = 0.5
"""Seconds from one report on rates and cost to the next."""
BEHIND = 0.25
"""Seconds that are made up for after a stall; what is longer is let go, so that a slow machine
plays slower.
"""
TIMELESS = 5.0
"""Steps a second below which steps are no time (images): they are played at `PACE` a second."""
PACE = 100.0
WAITING = 64
"""Commands that may wait."""


def pace(task: Task) -> float:
    """Return steps a second at speed 1."""
    return task.shape.rate if task.shape.rate >= TIMELESS else PACE


class _Made(NamedTuple):
    """Steps that were run, not yet sent; as `frames.pack` takes them."""

    signal: Array
    label: Array
    truth: Array
    rows: list[Array]
    shares: Array


class Player:
    """One network, one thing that is played. publish: called with each frame (bytes) and each state
    (a dictionary), from this thread.

    `command`, `hear`, `start` and `stop` are for other threads; `play` is for who drives it in
    place of its own.
    """

    def __init__(
        self,
        task: Task,
        seed: int,
        net: Stack,
        sources: Sequence[Tracks],
        publish: Callable[[bytes | dict[str, Any]], None],
        backend: str = "auto",
    ) -> None:
        start = task.start(net, 1, torch.Generator().manual_seed(seed))
        self.stream = Stream(
            net, decision=task.decode.running(), start=start, backend=backend, record=True
        )
        self.task, self.net, self.sources = task, net, {s.key: s for s in sources}
        self.rate = pace(task)
        self.costs = Costs(net, task, self.rate)
        self.failed: BaseException | None = None
        self._publish = publish
        self._commands: queue.Queue[Command] = queue.Queue(WAITING)
        self._stop, self._random = threading.Event(), np.random.default_rng(seed)
        self._thread = threading.Thread(target=self._run, daemon=True, name="srnn-player")
        self._paused, self._speed, self._disturbance = False, 1.0, Disturbance()
        self._source, self._index = sources[0].key, 0
        self._listening: Listening | None = None
        self._feed: Playing | None = None
        self._note, self._error, self._diverged = sources[0].note, "", 0
        self._steps = self._number = self._right = self._known = 0
        self._begins: list[tuple[int, dict[str, Any]]] = []
        self._made: list[_Made] = []
        self.rows = self._shown()
        self._load(0)

    def _shown(self) -> list[Rows]:
        """Return how the input and each layer are shown: those that are no events on the scale of
        the first recording.
        """
        try:
            first = self._first_steps()
        except SrnnError:
            first = np.zeros((1, self.net.inputs))
        made = [Rows(self.net.inputs) if np.isin(first, (-1, 0, 1)).all() else Rows.of(first)]
        self.stream.push(first[None, :1000])
        parts = self.net.parts()
        for k, (part, out) in enumerate(zip(parts, self.stream.recorded, strict=True)):
            if part.emits.binary:
                made.append(Rows(part.outputs))
            elif k < len(parts) - 1 or not k:  # the last layer is read: its scores are shown
                made.append(Rows.of(out[0]))
        self.stream.reset()
        return made

    def _first_steps(self) -> Array:
        playing = Playing(next(iter(self.sources.values()))[0])
        pieces = playing.take(1e12, Disturbance(), self._random)
        return np.concatenate([p.steps for p in pieces if len(p.steps)]).astype(np.float32)

    # ── from other threads ──

    def start(self) -> None:
        """Begin to play."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join(2)

    def command(self, command: Command) -> bool:
        """Hand over a command; return False where too many wait."""
        try:
            self._commands.put_nowait(command)
        except queue.Full:
            return False
        return True

    def hear(self, samples: Array) -> None:
        """Put in what a microphone gives, (n,) in [-1, 1]; nothing where none is the source."""
        listens = self._listening
        if listens is not None:
            listens.hear(samples)

    # ── the thread ──

    def _run(self) -> None:
        try:
            self._loop()
        # who serves must know: a page that stands still looks like a network that is silent
        except BaseException as error:
            self.failed = error

    def _loop(self) -> None:
        last = told = time.perf_counter()
        played = 0
        self._tell(0.0)
        while not self._stop.wait(max(0.0, last + TICK - time.perf_counter())):
            changed = self._obey()
            now = time.perf_counter()
            passed, last = min(now - last, BEHIND), now
            if not self._paused:
                played += self.play(passed, time.monotonic() - passed)
            if changed or now - told >= TELL:
                self._tell(played / (now - told) / self.rate if now > told else 0.0)
                told, played = now, 0

    def _obey(self) -> bool:
        changed = False
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return changed
            self._do(command)
            changed = True

    def _do(self, command: Command) -> None:
        what, value = command
        self._error = ""
        if what == "pause":
            self._paused = value
        elif what == "speed":
            self._speed = value
        elif what == "noise":
            self._disturbance = Disturbance(value, self._disturbance.lead)
        elif what == "lead":
            self._disturbance = Disturbance(self._disturbance.noise, value)
        elif what == "recording":
            self._load(value)
        elif what == "source":
            self._turn(value)
        elif what == "reset":
            self._right = self._known = 0
            self._load(self._index)

    def _turn(self, key: str) -> None:
        """Play something else, from its beginning."""
        self._disturbance = Disturbance(self._disturbance.noise)
        if key == "microphone" and hears(self.task):
            self._source, self._index = key, 0
            self._listening, self._note = listening(self.task)
            self._right = self._known = 0
            self._begin(self._listening.word(), -1)
        elif key in self.sources:
            self._source, self._listening, self._note = key, None, self.sources[key].note
            self._right = self._known = 0
            self._load(0)
        else:
            self._error = f"There is no source {key!r}."

    def _load(self, index: int) -> None:
        """Play a recording from its beginning; where it cannot be read, say so and stand still."""
        if self._listening is not None:
            self._begin(self._listening.word(), -1)
            return
        tracks = self.sources[self._source]
        self._index = index % len(tracks)
        try:
            self._feed = Playing(tracks[self._index])
        except SrnnError as error:
            self._feed, self._error = None, str(error)
            return
        self._begin(self._feed.name, self._feed.truth)

    def _begin(self, name: str, truth: int | Array) -> None:
        self._number += 1
        self.stream.reset()
        about = {
            "number": self._number,
            "index": self._index,
            "name": name,
            "truth": None if np.ndim(truth) else int(truth),
        }
        self._begins = [b for b in self._begins if b[0] != self._held] + [(self._held, about)]

    @property
    def _held(self) -> int:
        """Steps that were run, and not yet sent."""
        return sum(len(m.label) for m in self._made)

    def play(self, seconds: float, due: float = 0.0) -> int:
        """Play what is due after so many seconds, and send it; return how many steps that was. due:
        when the first of them was.
        """
        owed = seconds * self._speed * self.rate
        if self._listening is not None:
            for piece in self._listening.take(0, self._disturbance, self._random):
                self._push(piece, -1)
                if piece.end:
                    self._begin(self._listening.word(), -1)
            owed = 0.0
        while self._feed is not None and owed > 0:
            feed, want, owed = self._feed, owed, 0.0
            try:
                pieces = feed.take(want, self._disturbance, self._random)
            except SrnnError as error:  # a signal that its encoder does not take
                self._feed, self._error = None, str(error)
                break
            for piece in pieces:
                self._push(piece, feed.truth)
                if piece.end:
                    owed = feed.left
                    self._ended(feed.truth)
                    self._load(self._index + 1)
        return self._send(due)

    def _send(self, due: float) -> int:
        made, n = self._made, self._held
        if not n:
            return 0
        now, later = [b for b in self._begins if b[0] < n], [b for b in self._begins if b[0] >= n]
        head = {"step": self._steps, "source": self._source, "begins": now, "clock": due}
        signal, label, truth, shares = (np.concatenate([m[k] for m in made]) for k in (0, 1, 2, 4))
        rows = [np.concatenate(parts) for parts in zip(*(m.rows for m in made), strict=True)]
        self._made, self._begins, self._steps = (
            [],
            [(0, about) for _, about in later],
            self._steps + n,
        )
        self._publish(pack(head, signal, label, truth, rows, shares))
        return n

    def _push(self, piece: Piece, truth: int | Array) -> None:
        """Run steps, and keep what is to be shown of them."""
        n = len(piece.steps)
        if not n:
            return
        first = int(self.stream.steps[0])
        made = self.stream.push(piece.steps[None])
        # a state that is not finite would stay so for good
        if not np.isfinite(made.confidence).all():
            self._diverged += 1
            self.stream.reset()
            return
        outputs = self.stream.recorded
        self.costs.add(piece.steps, outputs)
        label = made.label[0]
        shares = np.where(label[:, None] >= 0, self.stream.decision.shares(made.scores[0]), 0.0)
        true = np.full(n, truth) if not np.ndim(truth) else np.asarray(truth)[first : first + n]
        if np.ndim(truth) or isinstance(self.task.decode, PerStep):
            counts = (true >= 0) & (label >= 0)
            self._known += int(counts.sum())
            self._right += int((label == true)[counts].sum())
        rows = [
            self.rows[0](piece.steps),
            *(r(o[0]) for r, o in zip(self.rows[1:], outputs, strict=False)),
        ]
        self._made.append(_Made(piece.signal, label, true, rows, shares))

    def _ended(self, truth: int | Array) -> None:
        """Count the decision of a recording with one label."""
        if not np.ndim(truth) and truth >= 0 and not isinstance(self.task.decode, PerStep):
            self._known += 1
            self._right += int(self.stream.label[0]) == truth

    def _tell(self, speed: float) -> None:
        self._publish(
            {
                "type": "state",
                "paused": self._paused,
                "speed": self._speed,
                "speed_measured": round(speed, 3),
                "source": self._source,
                "index": self._index,
                "count": len(self.sources[self._source]) if self._source in self.sources else 0,
                "name": self._feed.name
                if self._feed is not None and self._listening is None
                else self._source,
                "noise": self._disturbance.noise,
                "lead": self._disturbance.lead,
                "leads": self._leads(),
                "noise_on": "events"
                if self._feed is not None and self._feed.track.events and self._listening is None
                else "signal",
                "note": self._note,
                "error": self._error,
                "steps": self._steps,
                "right": self._right,
                "known": self._known,
                "diverged": self._diverged,
                "unheard": self._listening.queue.dropped if self._listening is not None else 0,
                **self.costs.told(),
            }
        )

    def _leads(self) -> list[str]:
        """Return the names of the leads that can come off."""
        if self._listening is not None or self._feed is None:
            return ["microphone"] if self._listening is not None else []
        ecg = self.task.name in ("ecg", "ecg_sim")
        names = []
        for k, block in enumerate(self._feed.track.blocks):
            plain = (
                f"channel {block.start + 1}"
                if len(block) == 1
                else (f"channels {block.start + 1}–{block.stop}")
            )
            names.append(f"lead {'ab'[k]}" if ecg and len(self._feed.track.blocks) == 2 else plain)
        return names
