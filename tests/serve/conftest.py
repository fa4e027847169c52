"""Runs to serve, servers in threads, and a real browser."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

import helpers
from srnn import tasks
from srnn.cli import main as cli
from srnn.nn.networks import Stack
from srnn.serve.controls import Command
from srnn.serve.frames import unpack
from srnn.serve.player import Player
from srnn.serve.server import Server, bind, hub_for
from srnn.serve.tracks import HeldOut, SimulatedEcg
from srnn.tasks.task import Task
from srnn.training.runs import load_run


def command(*argv: Any) -> None:
    """Run a command that must succeed, silently."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert cli.main([str(a) for a in argv]) == 0


@pytest.fixture(scope="session")
def ecg(tmp_path_factory) -> Path:
    """A run on simulated ECG of 200 steps."""
    folder = tmp_path_factory.mktemp("serve") / "sim"
    sizes = [
        "data.train=8",
        "data.validation=4",
        "data.test=6",
        "data.steps=200",
        "batch=4",
        "epochs=1",
        "network.hidden=[8]",
    ]
    command("train", "ecg_sim", "--out", folder, *(a for s in sizes for a in ("--set", s)))
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> tuple[Path, Path]:
    """A run on made-up spoken digits, and its data."""
    root = tmp_path_factory.mktemp("digits")
    tasks.load("fsdd").on_made_up(root / "data")
    command(
        "train",
        "fsdd",
        "--data-dir",
        root / "data",
        "--out",
        root / "run",
        "--set",
        "epochs=1",
        "--set",
        "network.hidden=16",
    )
    return root / "run", root / "data"


QUIET = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Served:
    """A server in a thread."""

    server: Server
    thread: threading.Thread
    opened: list[Watcher] = field(default_factory=list)

    @property
    def player(self) -> Player:
        return self.server.player

    @property
    def port(self) -> int:
        return int(re.search(r":(\d+)/", self.server.url)[1])

    @property
    def about(self) -> dict[str, Any]:
        return self.server.about

    def open(self, **options: Any) -> Watcher:
        url = self.server.url.replace("http", "ws").replace("/?", "/live?") + (
            "" if "?" in self.server.url else "live"
        )
        self.opened.append(Watcher(connect(url, close_timeout=0.05, **options)))
        return self.opened[-1]

    def rest(self) -> None:
        """Send everybody away, and play as at the beginning."""
        for watcher in self.opened:
            watcher.socket.close()
        self.opened.clear()
        for what in (
            Command("source", "test"),
            Command("speed", 1.0),
            Command("noise", 0.0),
            Command("lead", None),
            Command("pause", False),
        ):
            self.player.command(what)

    def close(self) -> None:
        self.rest()
        self.server.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()


class Watcher:
    """A viewer: what it was told, and the steps that came."""

    def __init__(self, connecting: connect) -> None:
        self.socket: ClientConnection = connecting.__enter__()
        self.about, self.state, self.told = {}, {}, []
        self.frames: list[tuple[dict, dict]] = []

    def send(self, **what: Any) -> None:
        self.socket.send(json.dumps(what))

    def take(self, timeout: float = 15) -> None:
        """Take in one message."""
        message = self.socket.recv(timeout)
        if isinstance(message, bytes):
            rows = [self.about["input"]["rows"], *(layer["rows"] for layer in self.about["layers"])]
            self.frames.append(unpack(message, rows, len(self.about["classes"])))
            return
        what = json.loads(message)
        if what["type"] == "hello":
            self.about = what
        elif what["type"] == "state":
            self.state = what
        else:
            self.told.append(what)

    def until(self, true, seconds: float = 30) -> None:
        """Take in messages until something is true."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not come true"
            self.take()

    @property
    def step(self) -> int:
        """The step after the last one that came."""
        return self.frames[-1][0]["step"] + self.frames[-1][0]["n"] if self.frames else 0


def serve(run: Path, data: Path | None = None, **options: Any) -> Served:
    """Serve a run from a thread."""
    _, task, seed, net = load_run(run)
    return serve_network(task, seed, net, data, **options)


def serve_network(
    task: Task,
    seed: int,
    net: Stack,
    data: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
) -> Served:
    """Serve a network from a thread."""
    sources = [
        HeldOut(task, task.data.load(data).test),
        *([SimulatedEcg(task, 500)] if task.name == "ecg_sim" else []),
    ]
    hub, ready = hub_for(task), threading.Event()
    server = Server(
        bind(host, port),
        host,
        token,
        Player(task, seed, net, sources, hub.publish),
        hub,
        {"run": "a run"},
    )
    thread = threading.Thread(target=server.run, args=(ready.set,), daemon=True)
    thread.start()
    assert ready.wait(30)
    return Served(server, thread)


@pytest.fixture(scope="module")
def _served(ecg):
    made = serve(ecg)
    yield made
    made.close()


@pytest.fixture
def served(_served):
    """The run on simulated ECG, served from a thread to all tests of a module."""
    yield _served
    _served.rest()


def not_reading(port: int, path: str) -> socket.socket:
    """Return the connection of a viewer who reads nothing."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    return made


@dataclass
class Process:
    """`srnn serve` in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    port: int


def start(*argv: Any) -> Process:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = helpers.command("serve", *argv, "--json", **pipes)
    line = process.stdout.readline()
    assert line, process.stderr.read()
    ready = json.loads(line)
    return Process(process, ready["url"], ready["port"])


@pytest.fixture
def launch(chromium):
    """Start another Chromium, with a microphone that plays a sound file."""
    made = []

    def start_(sound: Path):
        flags = (
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={sound}",
        )
        made.append(
            chromium.browser_type.launch(
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-gpu", *QUIET, *flags],
            )
        )
        return made[-1]

    yield start_
    for browser in made:
        browser.close()
