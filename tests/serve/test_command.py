"""`srnn serve`: it says where it plays, ends when it is told to, and refuses what
cannot be served.
"""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request

import pytest
from websockets.sync.client import connect

import srnn as package
from helpers import GENEROUS
from srnn.cli.commands import serve as serving

from .conftest import not_reading, start


@pytest.mark.parametrize(
    ("number", "host"),
    [(signal.SIGINT, "127.0.0.1"), (signal.SIGTERM, "0.0.0.0")],
    ids=["ctrl-c", "sigterm"],
)
def test_it_ends_with_viewers_there(ecg, number, host) -> None:
    made = start(ecg, "--port", 0, "--host", host)
    token = re.search(r"\?token=[\w-]{24}$", made.url)
    assert bool(token) == (host != "127.0.0.1")  # elsewhere one is made
    query = token[0] if token else ""
    with urllib.request.urlopen(
        f"http://127.0.0.1:{made.port}/api/state{query}", timeout=GENEROUS
    ) as answer:
        assert json.loads(answer.read())["task"] == "ecg_sim"
    if token:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{made.port}/", timeout=GENEROUS)
    viewers = [
        connect(f"ws://127.0.0.1:{made.port}/live{query}", close_timeout=0.1) for _ in range(3)
    ]
    sockets = [v.__enter__() for v in viewers]
    assert all(s.recv(GENEROUS) for s in sockets)
    stalled = not_reading(made.port, f"/live{query}")
    sockets[0].send('{"speed": 100}')
    time.sleep(0.5)  # until its buffers are full
    made.process.send_signal(number)
    made.process.send_signal(number)  # an impatient second one changes nothing
    assert made.process.wait(GENEROUS) == 0  # benchmarks/serve.py has how long that takes
    out, err = made.process.communicate()
    assert out == err == ""
    for s in (*sockets, stalled):
        s.close()


def test_a_port_in_use_is_one_clear_error(srnn, ecg) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, out, err = srnn("serve", ecg, "--port", taken.getsockname()[1])
    assert (code, out) == (2, "")
    assert re.fullmatch(
        r"srnn serve: 127\.0\.0\.1, port \d+: Address already in use\. Choose "
        r"another one, or --port 0 for a free one\.\n",
        err,
    )


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--port", 70000), "--port is 70000"),
        (("--host", "192.0.2.1", "--port", 0), "an address of this machine"),
        (("--host", "no such host", "--port", 0), "no such host, port 0"),
        (("--token", ""), "--token is empty"),
        (("--port", 0, "--backend", "gpu"), "gpu"),
        (("nowhere.csv", "--port", 0), "nowhere.csv cannot be read"),
        (("--threads", 0), "--threads is 0"),
    ],
    ids=["port", "address", "name", "token", "backend", "file", "threads"],
)
def test_what_cannot_be_is_refused(srnn, ecg, argv, said) -> None:
    code, out, err = srnn("serve", ecg, *argv)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_no_run_is_refused(srnn, tmp_path) -> None:
    code, out, err = srnn("serve", tmp_path)
    assert (code, out) == (2, "")
    assert "is no run folder" in err


def test_a_bidirectional_network_is_refused(srnn, ecg, tmp_path, monkeypatch) -> None:
    from srnn.training import runs

    given = runs.load_run(ecg)
    layer = package.Layer(4, 6, package.LIF())
    net = package.Stack(package.Bidirectional(layer), package.Readout(12, 6))
    monkeypatch.setattr(runs, "load_run", lambda path: (*given[:3], net))
    code, out, err = srnn("serve", ecg, "--port", 0)
    assert (code, out) == (2, "")
    assert "cannot be served: layer 0" in err
    assert "it cannot run piece by piece" in err


def test_without_the_extra_it_is_named(srnn, ecg, monkeypatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        serving.importlib.util, "find_spec", lambda name: None if name == "uvicorn" else found(name)
    )
    code, out, err = srnn("serve", ecg)
    assert (code, out) == (2, "")
    assert err == (
        'srnn serve: The live page needs uvicorn. Install it with: pip install "srnn[serve]"\n'
    )
