"""Shared by all tests: one torch thread (bit-equality, and no fight over cores), the folder with
real data, the command line.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # and so in the processes that tests start


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
    from srnn.cli import main as cli

    def run(*argv):
        capsys.readouterr()
        try:
            code = cli.main([str(a) for a in argv])
        except SystemExit as stop:  # argparse
            code = stop.code
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


CHROMIUM = Path("/usr/bin/chromium")
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def chromium():
    """A browser (playwright's); skips the test where there is none.

    Tests that use it carry the marker `browser`.
    """
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no browser: the package playwright is not installed"
    )
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser: there is no {CHROMIUM}")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=list(_QUIET))
        yield browser
        browser.close()


COUNTED = {
    "real_data": ("SRNN_REAL_TESTS", "tests on real data"),
    "browser": ("SRNN_BROWSER_TESTS", "tests in a browser"),
    "postgres": ("SRNN_POSTGRES_TESTS", "tests with PostgreSQL"),
    "triton": ("SRNN_TRITON_TESTS", "tests of the triton kernels"),
}
"""Markers whose tests skip where something is not there: the variable that says how many of them
must pass, and what they are called.
"""

_passed: dict[str, set[str]] = {marker: set() for marker in COUNTED}
_seen: set[str] = set()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seconds N`: begin no more tests after so long, and say how many were left over."""
    parser.addoption("--seconds", type=float, metavar="N", help="begin no test after N seconds")


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop when the time is up."""
    limit = item.config.getoption("--seconds")
    if limit is not None and nextitem is not None and time.monotonic() - _BEGAN > limit:
        left = len(item.session.items) - item.session.items.index(nextitem)
        item.session.shouldstop = f"{limit:g} seconds are up, {left} tests are left over"


_BEGAN = time.monotonic()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note which of the tests that may skip passed."""
    if report.when == "call":
        _seen.add(report.nodeid)
        for marker, passed in _passed.items():
            if marker in report.keywords and report.passed:
                passed.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail when fewer tests passed than $SRNN_REAL_TESTS and $SRNN_BROWSER_TESTS demand: a skipped
    test is not a passed one.

    Of several processes (pytest-xdist), the one that gathers the results asks.
    """
    if hasattr(session.config, "workerinput"):
        return
    for marker, (variable, name) in COUNTED.items():
        wanted, passed = int(os.environ.get(variable, "0")), len(_passed[marker])
        if not wanted:
            continue
        if passed < wanted and len(_seen) > 50:
            print(f"\n{passed} {name} passed; ${variable} demands {wanted}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        else:
            print(f"\n{passed} {name} passed, {wanted} demanded")
