"""Shared by all tests: one torch thread (bit-equality, and no fight over cores), the folder with real data, the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data; skips the test where there is none."""
    folder = os.environ.get("SRNN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no real data: $SRNN_DATA is not set")
    return Path(folder)


@pytest.fixture
def srnn(capsys):
    """Run a command; return (exit code, stdout, stderr)."""
    from srnn import cli

    def run(*argv):
        capsys.readouterr()
        try:
            code = cli.main([str(a) for a in argv])
        except SystemExit as stop:  # argparse
            code = stop.code
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


_real: dict[str, bool] = {}
_browser: dict[str, bool] = {}
_seen: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note which tests on real data, and in a browser, passed."""
    if report.when == "call":
        _seen.add(report.nodeid)
        if "real_data" in report.keywords:
            _real[report.nodeid] = report.passed
        if "browser" in report.keywords:
            _browser[report.nodeid] = report.passed


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail when fewer tests on real data passed than $SRNN_REAL_TESTS demands, or fewer in a browser than $SRNN_BROWSER_TESTS.

    A skipped test is not a passed one. Of several processes (pytest-xdist), the one that gathers the results asks.
    """
    if hasattr(session.config, "workerinput"):
        return
    for what, name, results in (("on real data", "SRNN_REAL_TESTS", _real), ("in a browser", "SRNN_BROWSER_TESTS", _browser)):
        wanted, passed = int(os.environ.get(name, "0")), sum(results.values())
        if wanted and passed < wanted and len(_seen) > 50:
            print(f"\n{passed} tests {what} passed; ${name} demands {wanted}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        elif wanted:
            print(f"\n{passed} tests {what} passed, {wanted} demanded")
