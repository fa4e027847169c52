"""From a source to events, live: a thread that reads, a bounded queue, and a loop that encodes,
runs the network and says what happens.

Every event is a dictionary with "event" as its first key; docs/stream.md lists them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from srnn._check import DataError, SrnnError
from srnn.stream.buffer import Bounded, Pace, Percentiles
from srnn.stream.encoding import Array, Encoding
from srnn.stream.parse import Malformed, Parsed, Parser, Piece, Repair
from srnn.stream.sources import Source
from srnn.stream.stream import Stream

BLOCK = 256
"""Samples that are run at once, at most."""
_TICK = 0.002
"""Seconds of signal that a paced source sends at once, about."""

Emit = Callable[[dict[str, Any]], None]


class _Item(NamedTuple):
    samples: Array
    malformed: Malformed | None
    arrived: float


@dataclass(frozen=True)
class Settings:
    """How a live stream runs.

    rate: steps a second of the network, for times. every: scores of every so many steps, None =
    none. reset_every: begin anew after so many steps.
    queue: samples that may wait; full: what then, "block" or "drop-oldest". pace: samples a second
    a file is read at, None = as fast as it goes.
    limit: stop after so many steps.
    """

    rate: float
    every: int | None = None
    reset_every: int | None = None
    queue: int = 4096
    full: str = "block"
    pace: float | None = None
    limit: int | None = None


class Live:
    """One source through one network to `emit`. classes: their names."""

    def __init__(
        self,
        source: Source,
        parser: Parser,
        repair: Repair,
        encoding: Encoding,
        stream: Stream,
        classes: Sequence[str],
        settings: Settings,
        emit: Emit,
    ) -> None:
        self.source, self.parser, self.repair, self.encoding = source, parser, repair, encoding
        self.stream, self.classes, self.settings, self.emit = stream, classes, settings, emit
        self.queue: Bounded[_Item | None] = Bounded(settings.queue, settings.full)
        self.samples = self.steps = self.malformed = self.recordings = self.resets = 0
        self.compute, self.response = Percentiles(), Percentiles()
        self.kinds: Counter[str] = Counter()
        self._error: SrnnError | None = None
        self._dropped, self._begin = 0, time.perf_counter()

    # ── the thread that reads ──

    def _read(self) -> None:
        try:
            pace = Pace(self.settings.pace) if self.settings.pace is not None else None
            for data in self.source.chunks():
                if not self._put(self.parser.feed(data), pace):
                    return
            self._put(self.parser.end(), pace)
        except SrnnError as error:
            self._error = error
        finally:
            self.queue.put(None, 0)

    def _put(self, parsed: Parsed, pace: Pace | None) -> bool:
        """Put samples into the queue in blocks; return False where nobody takes them any more."""
        block = BLOCK if pace is None else min(BLOCK, max(1, round(pace.rate * _TICK)))
        malformed, going = parsed.malformed, True
        for first in range(0, max(len(parsed.samples), 1), block):
            samples = parsed.samples[first : first + block]
            if pace is not None:
                pace.wait(len(samples))
            if len(samples) or malformed is not None:
                going = self.queue.put(_Item(samples, malformed, time.perf_counter()), len(samples))
            malformed = None
        return going

    # ── the loop ──

    def run(self) -> dict[str, Any]:
        """Run until the source ends, the limit is reached, or `emit` raises; return the report,
        which is the event "end".

        Raises `SrnnError` where the source or its clock fails, after the report was emitted;
        BrokenPipeError and KeyboardInterrupt pass.
        """
        reader = threading.Thread(target=self._read, daemon=True, name="srnn-source")
        self._begin = time.perf_counter()
        reader.start()
        try:
            while not self._done():
                item = self.queue.get()
                if item is None:
                    self._pieces(self.repair.end(), time.perf_counter())
                    for steps, end in self.encoding.flush():
                        self._steps(steps, end, time.perf_counter())
                    break
                self._item(item)
            self._say_dropped()
            if int(self.stream.steps[0]):
                self._recording("end")
        except DataError as error:  # what comes is not what was said to come
            self._error = error
        finally:
            self.source.close()
            self.queue.close()
            reader.join(2)
        report = self.report()
        self.emit(report)
        if self._error is not None:
            raise self._error
        return report

    def _done(self) -> bool:
        return self.settings.limit is not None and self.steps >= self.settings.limit

    def _item(self, item: _Item) -> None:
        self._say_dropped()
        if item.malformed is not None:
            self.malformed += item.malformed.lines
            self._say(
                "malformed",
                count=item.malformed.lines,
                line=item.malformed.first,
                text=item.malformed.text,
            )
        self.samples += len(item.samples)
        late = self.repair.late
        self._pieces(self.repair(item.samples), item.arrived)
        if self.repair.late > late:
            self._say("late", samples=self.repair.late - late, total=self.repair.late)

    def _pieces(self, pieces: list[Piece], arrived: float) -> None:
        for piece in pieces:
            if piece.gap:
                self._say("gap", missing=piece.gap, policy=self.repair.policy, total=self.steps)
            if piece.reset:
                self._recording("gap")
                self.encoding.begin()
            for steps, end in self.encoding.push(piece.samples):
                self._steps(steps, end, arrived)

    def _steps(self, steps: Array, end: bool, arrived: float) -> None:
        """Run steps (T, C), cut where the network begins anew."""
        while len(steps) and not self._done():
            left = [len(steps)]
            if self.settings.reset_every is not None:
                left.append(self.settings.reset_every - int(self.stream.steps[0]))
            if self.settings.limit is not None:
                left.append(self.settings.limit - self.steps)
            now, steps = steps[: min(left)], steps[min(left) :]
            self._push(now, arrived)
            if (
                self.settings.reset_every is not None
                and int(self.stream.steps[0]) >= self.settings.reset_every
            ):
                self._recording("reset-every")
        if end:
            self._recording("window")

    def _push(self, steps: Array, arrived: float) -> None:
        first = int(self.stream.steps[0])
        offset = self.steps - first
        begin = time.perf_counter()
        made = self.stream.push(steps[None])
        self.compute.add((time.perf_counter() - begin) / len(steps), len(steps))
        # a state that is not finite would stay so for good
        if not np.isfinite(made.confidence).all():
            self.steps += len(steps)
            self.resets += 1
            self._say("diverged", total=self.steps)
            self.stream.reset()
            return
        for e in made.events:
            more = {} if e.kind in ("class", "unsure") else {"since": e.since}
            self._say(
                e.kind, **self._at(e.step, offset), **self._named(e.label, e.confidence), **more
            )
        if self.settings.every is not None:
            # the steps whose number, from 1, is a multiple
            k = -(self.steps + 1) % self.settings.every
            for t in range(k, len(steps), self.settings.every):
                named = self._named(int(made.label[0, t]), float(made.confidence[0, t]))
                self._say(
                    "scores",
                    **self._at(first + t, offset),
                    **named,
                    scores=[round(s, 6) for s in made.scores[0, t].tolist()],
                )
        self.steps += len(steps)
        self.response.add(time.perf_counter() - arrived, len(steps))

    def _at(self, step: int, offset: int) -> dict[str, Any]:
        return {
            "step": step,
            "total": offset + step,
            "time": round((offset + step + 1) / self.settings.rate, 6),
        }

    def _named(self, label: int, confidence: float) -> dict[str, Any]:
        return {
            "class": label,
            "label": self.classes[label] if label >= 0 else None,
            "confidence": round(confidence, 6),
        }

    def _recording(self, why: str) -> None:
        """Say what the recording that ends was found to be, and begin anew."""
        steps = int(self.stream.steps[0])
        if steps:
            self.recordings += 1
            label, decided, at = (
                int(self.stream.label[0]),
                int(self.stream.decided[0]),
                int(self.stream.decided_at[0]),
            )
            early = {} if decided < 0 else {"decided": self.classes[decided], "decided_at": at}
            named = {"class": label, "label": self.classes[label] if label >= 0 else None}
            self._say(
                "recording",
                number=self.recordings,
                steps=steps,
                total=self.steps,
                **named,
                **early,
                ended_by=why,
            )
        if why != "end":
            self.resets += 1
            self.stream.reset()

    def _say_dropped(self) -> None:
        """Say what the queue dropped since it was last said."""
        total = self.queue.dropped
        if total > self._dropped:
            self._say("dropped", samples=total - self._dropped, total=total)
            self._dropped = total

    def _say(self, kind: str, **more: Any) -> None:
        self.kinds[kind] += 1
        self.emit({"event": kind, **more})

    def report(self) -> dict[str, Any]:
        """Return the last event: counts, and percentiles of times in microseconds a step."""
        seconds = time.perf_counter() - self._begin
        counts = {
            "samples": self.samples,
            "steps": self.steps,
            "recordings": self.recordings,
            "resets": self.resets,
        }
        lost = {
            "malformed": self.malformed + self.encoding.malformed,
            "missing": self.repair.missing,
            "late": self.repair.late + self.encoding.late,
            "dropped": self.queue.dropped,
        }
        return {
            "event": "end",
            **counts,
            **lost,
            "windows_failed": self.encoding.failed,
            "events": dict(sorted(self.kinds.items())),
            "seconds": round(seconds, 3),
            "steps_per_second": round(self.steps / max(seconds, 1e-9), 1),
            "compute_us": self.compute.summary(),
            "response_us": self.response.summary(),
            "queue_most": self.queue.most,
        }
