"""For every test of the kernels: what torch hands out unset is NaN, so that a number nobody wrote
is seen.
"""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def nan_filled():
    """Fill `torch.empty` with NaN."""
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    fill = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    torch.utils.deterministic.fill_uninitialized_memory = fill
