"""Memory for the kernels' results, used again and again.

The system hands out fresh memory page by page, each set to zero; for arrays as large as a layer's
output over time that costs more than the arithmetic. Here a buffer goes back on a shelf when the
last tensor on it is gone, and the next result of about that size gets it. Shelf and lent buffers
together never hold more than was lent at once before.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
import weakref
from collections.abc import Sequence

import numpy as np
import torch
import torch.utils.deterministic
from torch import Tensor

SMALL = 1 << 20
"""Bytes below which torch's own memory is as fast."""

IDLE = 256
"""A buffer that so many requests passed by is given back to the system."""

Buffer = np.ndarray[tuple[int], np.dtype[np.uint8]]
_lock = threading.RLock()  # the collector may return a buffer in the middle of a request
_shelf: list[tuple[int, Buffer]] = []  # (when it came back, buffer), oldest first
_requests = _lent = _peak = 0


def empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a new tensor of this shape, of the dtype of `like`, on the CPU, not set."""
    size = math.prod(shape) * like.element_size()
    if size < SMALL:
        return like.new_empty(tuple(shape))
    buffer = _take(_rounded(size))
    # an array of its own: when the last tensor lets go of it, the buffer is free
    lent = buffer[:size]
    weakref.finalize(lent, _give_back, buffer).atexit = False
    tensor = torch.from_numpy(lent).view(like.dtype).view(tuple(shape))
    if (
        torch.are_deterministic_algorithms_enabled()
        and torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    ):
        tensor.fill_(torch.nan)
    return tensor


def held() -> int:
    """Return the bytes on the shelf: free, and not given back to the system."""
    with _lock:
        return sum(buffer.nbytes for _, buffer in _shelf)


def clear() -> None:
    """Give everything on the shelf back to the system."""
    with _lock:
        _shelf.clear()


def _rounded(size: int) -> int:
    """Round up by at most an eighth, so that recordings of similar lengths share buffers."""
    step = 1 << (size.bit_length() - 4)
    return -(-size // step) * step


def _take(size: int) -> Buffer:
    global _requests, _lent, _peak
    with _lock:
        _requests += 1
        while _shelf and _requests - _shelf[0][0] > IDLE:
            del _shelf[0]
        _lent += size
        _peak = max(_peak, _lent)
        fit = next((k for k in reversed(range(len(_shelf))) if _shelf[k][1].nbytes == size), None)
        if fit is not None:
            return _shelf.pop(fit)[1]
        while _shelf and _lent + held() > _peak:
            del _shelf[0]
    pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)  # fewer pages to be found and set to zero
    return np.frombuffer(pages, np.uint8)


def _give_back(buffer: Buffer) -> None:
    global _lent
    with _lock:
        # in a forked child, buffers of its parent come back too
        _lent = max(0, _lent - buffer.nbytes)
        _shelf.append((_requests, buffer))


def _after_fork() -> None:
    """A forked child starts afresh: another thread of its parent may have held the lock."""
    global _lock, _lent, _peak
    _lock, _lent, _peak = threading.RLock(), 0, 0
    _shelf.clear()


os.register_at_fork(after_in_child=_after_fork)
