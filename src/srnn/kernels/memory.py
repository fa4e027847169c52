"""Memory for the kernels' results, used again and again.

The system hands out fresh memory page by page, each set to zero; for arrays as large as a layer's output over time that costs more than the
arithmetic. Here a buffer goes back on a shelf when the last tensor on it is gone, and the next result of that size gets it.
"""

from __future__ import annotations

import math
import mmap
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
_shelf: dict[int, list[tuple[int, Buffer]]] = {}
_requests = 0


def empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a new tensor of this shape, of the dtype of `like`, on the CPU, not set."""
    size = math.prod(shape) * like.element_size()
    if size < SMALL:
        return like.new_empty(tuple(shape))
    buffer = _buffer(size)
    lent = buffer[:]  # an array of its own: when the last tensor lets go of it, the buffer is free
    weakref.finalize(lent, _give_back, buffer).atexit = False
    tensor = torch.from_numpy(lent).view(like.dtype).view(tuple(shape))
    if torch.are_deterministic_algorithms_enabled() and torch.utils.deterministic.fill_uninitialized_memory:  # type: ignore[attr-defined]
        tensor.fill_(torch.nan)
    return tensor


def held() -> int:
    """Return the bytes on the shelf: free, and not given back to the system."""
    with _lock:
        return sum(buffer.nbytes for row in _shelf.values() for _, buffer in row)


def clear() -> None:
    """Give everything on the shelf back to the system."""
    with _lock:
        _shelf.clear()


def _buffer(size: int) -> Buffer:
    global _requests
    with _lock:
        _requests += 1
        if _requests % IDLE == 0:
            for key, row in list(_shelf.items()):
                row[:] = [(since, buffer) for since, buffer in row if _requests - since < IDLE]
                if not row:
                    del _shelf[key]
        if _shelf.get(size):
            return _shelf[size].pop()[1]
    pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)  # fewer pages to be found and set to zero
    return np.frombuffer(pages, np.uint8)


def _give_back(buffer: Buffer) -> None:
    with _lock:
        _shelf.setdefault(buffer.nbytes, []).append((_requests, buffer))
