"""Memory that is used again: when, and how much of it is kept."""

from __future__ import annotations

import gc

import pytest
import torch

from srnn.kernels import memory

MB = 1 << 20


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """A shelf of its own for each test."""
    gc.collect()
    monkeypatch.setattr(memory, "_shelf", [])
    for name in ("_requests", "_lent", "_peak"):
        monkeypatch.setattr(memory, name, 0)


def new(megabytes: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    like = torch.empty(0, dtype=dtype)
    return memory.empty(like, (int(megabytes * MB) // like.element_size(),))


def test_a_buffer_is_used_again_once_no_tensor_lies_on_it():
    x = new(4)
    place, view = x.data_ptr(), x[3:].view(2, -1) if x[3:].numel() % 2 == 0 else x[3:]
    del x
    assert memory.held() == 0  # the view still needs it
    y = new(4)
    assert y.data_ptr() != place
    del view
    assert memory.held() == 4 * MB
    assert new(4).data_ptr() == place


def test_what_autograd_keeps_is_not_given_away():
    x = new(2).fill_(2.0)
    w = torch.ones((), requires_grad=True)
    y = (x * w).sum()
    del x
    other = new(2).fill_(7.0)
    y.backward()
    assert w.grad == 2.0 * (2 * MB // 4)
    assert other[0] == 7.0


def test_small_results_are_torchs_own():
    assert new(0.5).untyped_storage().nbytes() == MB // 2
    assert memory.held() == 0
    assert memory._requests == 0


def test_sizes_are_rounded_by_an_eighth_at_most():
    for size in (MB, MB + 1, 3 * MB - 5, 7_000_001, 123_456_789):
        assert size <= memory._rounded(size) <= 1.125 * size
    x = new(4.02)
    place = x.data_ptr()
    del x
    assert new(4.1).data_ptr() == place


def test_lengths_that_never_repeat_do_not_pile_up():
    """Shelf and lent together stay below the most that was lent at once."""
    most = 0
    for k in range(60):
        kept = [new(2 + 0.37 * k) for _ in range(3)]
        most = max(most, memory._lent)
        assert memory.held() + memory._lent <= most
        del kept
    assert memory.held() > 0
    memory.clear()
    assert memory.held() == 0


def test_what_nobody_asks_for_goes_back_to_the_system():
    x = new(8)
    del x
    for _ in range(memory.IDLE + 2):
        new(2)
    assert memory.held() == 2 * MB


def test_dtype_shape_and_alignment():
    x = memory.empty(torch.empty(0, dtype=torch.float64), (3, 5, 70_001))
    assert (x.dtype, tuple(x.shape), x.is_contiguous(), x.data_ptr() % 64) == (
        torch.float64,
        (3, 5, 70_001),
        True,
        0,
    )
    x.fill_(1.0)
    assert x.sum() == 3 * 5 * 70_001
