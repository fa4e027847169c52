"""Runs of tables start at once: a process of a run is a fork (`helpers.worker`)."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from helpers import worker
from srnn.papers import pool


@pytest.fixture(autouse=True, scope="session")
def forked_workers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": worker}))
        yield
