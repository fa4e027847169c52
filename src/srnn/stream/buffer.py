"""Between a source and the network: a queue with a bound, and a clock that paces files; percentiles
in constant memory.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")

POLICIES = ("block", "drop-oldest")


class Bounded(Generic[T]):
    """A queue of items that together hold at most `limit` samples (one item at least).

    policy: "block", who puts waits until there is room; "drop-oldest": what waits longest is
    dropped to make room, and counted in `dropped`.
    """

    def __init__(self, limit: int, policy: str) -> None:
        self.limit, self.policy, self.dropped, self.most = limit, policy, 0, 0
        self._items: deque[tuple[T, int]] = deque()
        self._held, self._closed = 0, False
        self._changed = threading.Condition()

    def put(self, item: T, size: int) -> bool:
        """Add an item of so many samples; return False where nobody reads any more."""
        with self._changed:
            while self._items and self._held + size > self.limit and not self._closed:
                if self.policy == "block":
                    self._changed.wait()
                else:
                    self.dropped += self._taken()[1]
            self._items.append((item, size))
            self._held += size
            self.most = max(self.most, self._held)
            self._changed.notify_all()
            return not self._closed

    def _taken(self) -> tuple[T, int]:
        item, size = self._items.popleft()
        self._held -= size
        return item, size

    def get(self, timeout: float | None = None) -> T | None:
        """Return the next item, waiting for it; None after the timeout."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._items, timeout):
                return None
            item, _ = self._taken()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Let nobody wait to put any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Pace:
    """Lets samples through at `rate` a second; `wait(n)` returns when the next n are due."""

    def __init__(self, rate: float) -> None:
        self.rate, self._begin, self._sent = rate, time.perf_counter(), 0

    def wait(self, samples: int) -> None:
        """Sleep until these samples are due."""
        self._sent += samples
        left = self._begin + self._sent / self.rate - time.perf_counter()
        if left > 0:
            time.sleep(left)


_GROWTH = 1.01
_LEAST = 1e-8


class Percentiles:
    """Percentiles of times, within 1 %, in constant memory: counts on a logarithmic scale from 10
    ns to 20 minutes.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(2560, np.int64)
        self._largest, self._total, self.count = 0.0, 0.0, 0

    def add(self, seconds: float, count: int = 1) -> None:
        """Take in a time, so many times."""
        place = int(np.log(max(seconds, _LEAST) / _LEAST) / np.log(_GROWTH))
        self._counts[min(place, len(self._counts) - 1)] += count
        self._largest, self._total, self.count = (
            max(self._largest, seconds),
            self._total + seconds * count,
            self.count + count,
        )

    def summary(self) -> dict[str, float | None]:
        """Return mean, p50, p95, p99 and max, in microseconds."""
        if not self.count:
            return dict.fromkeys(("mean", "p50", "p95", "p99", "max"))
        sums = np.cumsum(self._counts)
        at = {
            name: int(np.searchsorted(sums, q * self.count))
            for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        }
        found = {name: min(_LEAST * _GROWTH ** (k + 0.5), self._largest) for name, k in at.items()}
        return {
            k: round(1e6 * v, 3)
            for k, v in {"mean": self._total / self.count, **found, "max": self._largest}.items()
        }
