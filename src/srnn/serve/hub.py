"""From the player to the viewers: each has a short queue, of which the oldest frame goes when it is
full. Nobody is waited for.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter, deque
from typing import Any

QUEUE = 6
"""Frames that wait for a viewer, at most: a fifth of a second."""
KEPT = 600
"""Frames that are kept for who comes later, at most."""


class Viewer:
    """Somebody who looks. left_out: frames that were not sent, for the newer ones were wanted."""

    def __init__(self, recent: list[bytes]) -> None:
        self.left_out = 0
        self._recent, self._frames = recent, deque[bytes]()
        self._state: str | None = None
        self._notes: deque[str] = deque(maxlen=QUEUE)
        self._told, self._there = 0, asyncio.Event()

    def frame(self, frame: bytes) -> None:
        """Offer a frame."""
        if len(self._frames) == QUEUE:
            self._frames.popleft()
            self.left_out += 1
        self._frames.append(frame)
        self._there.set()

    def state(self, text: str) -> None:
        """Offer a state; of several that wait the last one is sent."""
        self._state = text
        self._there.set()

    def note(self, about: dict[str, Any]) -> None:
        """Offer a message for this viewer alone."""
        self._notes.append(json.dumps(about))
        self._there.set()

    async def next(self) -> list[str | bytes]:
        """Wait; return what is to be sent now."""
        await self._there.wait()
        self._there.clear()
        made: list[str | bytes] = list(self._notes)
        self._notes.clear()
        if self._state is not None:
            made.append(self._state)
            self._state = None
        made += [*self._recent, *self._frames]
        self._recent = []
        self._frames.clear()
        if self.left_out != self._told:
            self._told = self.left_out
            made.append(json.dumps({"type": "left_out", "frames": self.left_out}))
        return made


class Hub:
    """All viewers of one stream. window: steps that who joins is shown.

    frames: made so far. left_out: not sent to viewers who are gone. refused: messages that were
    none, by reason.
    """

    def __init__(self, window: int) -> None:
        self.viewers: set[Viewer] = set()
        self.refused: Counter[str] = Counter()
        self.frames = self.left_out = 0
        self.last: dict[str, Any] = {}
        self.window, self._recent, self._steps = window, deque[tuple[int, bytes]](), 0
        self._inbox: deque[bytes | dict[str, Any]] = deque(maxlen=KEPT)
        self._lock, self._called = threading.Lock(), False
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand on what is published, in this loop."""
        self._loop = loop

    def close(self) -> None:
        """Hand on nothing more."""
        with self._lock:
            self._loop = None

    def publish(self, what: bytes | dict[str, Any]) -> None:
        """Take a frame or a state; from any thread, at once."""
        with self._lock:
            self._inbox.append(what)
            if self._loop is not None and not self._called:
                self._called = True
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            arrived = list(self._inbox)
            self._inbox.clear()
            self._called = False
        for what in arrived:
            if isinstance(what, bytes):
                self.frames += 1
                self._keep(what)
                for viewer in self.viewers:
                    viewer.frame(what)
            else:
                self.last = what
        if any(isinstance(what, dict) for what in arrived):
            self.tell()

    def tell(self) -> None:
        """Offer the state to every viewer."""
        text = json.dumps(self.state(), allow_nan=False)
        for viewer in self.viewers:
            viewer.state(text)

    def state(self) -> dict[str, Any]:
        """Return the last state, with what the hub knows."""
        left_out = self.left_out + sum(viewer.left_out for viewer in self.viewers)
        counts = {
            "viewers": len(self.viewers),
            "frames": self.frames,
            "left_out": left_out,
            "refused": sum(self.refused.values()),
        }
        return {**self.last, "type": "state", **counts}

    def _keep(self, frame: bytes) -> None:
        size = int.from_bytes(frame[:4], "little")
        n = int(json.loads(frame[4 : 4 + size])["n"])
        self._recent.append((n, frame))
        self._steps += n
        while len(self._recent) > 1 and (
            self._steps - self._recent[0][0] >= self.window or len(self._recent) > KEPT
        ):
            self._steps -= self._recent.popleft()[0]

    def join(self) -> Viewer:
        """Return a new viewer, who is first shown what was last."""
        viewer = Viewer([frame for _, frame in self._recent])
        self.viewers.add(viewer)
        self.tell()
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer."""
        self.viewers.discard(viewer)
        self.left_out += viewer.left_out
        self.tell()
