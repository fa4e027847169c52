"""Runs that reports are made of, trained once."""

from __future__ import annotations

import numpy as np
import pytest
from tests.report.pages import HOSTILE, LSTM, page, train


@pytest.fixture(scope="session")
def sim(tmp_path_factory):
    """A finished run with a label a step."""
    return train(tmp_path_factory.mktemp("report") / "sim")


@pytest.fixture(scope="session")
def lstm(tmp_path_factory):
    """A bidirectional LSTM, which does not spike."""
    return train(tmp_path_factory.mktemp("report") / "lstm", LSTM)


@pytest.fixture(scope="session")
def trial(tmp_path_factory):
    """A run as a sweep leaves it, never tested."""
    return train(tmp_path_factory.mktemp("report") / "trial-0000", test=False)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """A run with one label a recording, whose classes, files and folders are named to
    break a page.
    """
    root = tmp_path_factory.mktemp("report")
    rng, data = np.random.default_rng(0), root / "<b>$a_&\"'.npz"
    labels = np.repeat(np.arange(3), 12)
    signals = rng.normal(size=(36, 40, 2)).astype(np.float32) + labels[:, None, None]
    np.savez(data, X=signals, y=labels, classes=np.array(HOSTILE), rate=np.array(20.0))
    return train(
        root / "<u>run & ]]>", [f"data.path={data}", "network.hidden=[6]", "epochs=2"], "my"
    )


@pytest.fixture(scope="session")
def simulated(sim):
    """The report of `sim`, and its page as parsed."""
    return page(sim)


@pytest.fixture(scope="session")
def injected(hostile):
    """The report of `hostile`, and its page as parsed."""
    return page(hostile)
