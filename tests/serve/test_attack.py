"""What must not end a live page: connections that say nothing, and a viewer who says too much.

The attacks themselves, on loopback, bounded in number and time. `python -m benchmarks.serve
--attack` prints what honest viewers see meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from helpers import GENEROUS, until
from srnn.serve import app, door
from srnn.serve.door import Door, quiet

from .conftest import serve

IDLE = 1150
FILES = 1024
"""Files that the server may open: less than the attack has connections."""
ENDS = 10.0
"""Seconds from SIGTERM to the end, at most, on a machine that does much else; alone it is below 2.
"""


@pytest.fixture
def many_files():
    """Let this process have as many files as the attack needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < IDLE + 300:
        pytest.skip(f"at most {hard} open files: {IDLE} connections are not tried")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE + 300), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def idle(port: int, count: int) -> list[socket.socket]:
    """Open connections that say nothing, or half of what they want."""
    made = []
    for k in range(count):
        made.append(socket.create_connection(("127.0.0.1", port), timeout=GENEROUS))
        if k % 2:
            made[-1].sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nUpgra")
    return made


@pytest.mark.parametrize("files", [FILES, 96])
def test_idle_connections_keep_nobody_out(ecg, many_files, tmp_path, files) -> None:
    """More of them than the server may open files: who comes meanwhile is served, little is said,
    and SIGTERM ends it at once.
    """
    said = tmp_path / "said"
    with said.open("wb") as errors:
        server = subprocess.Popen(
            [sys.executable, "-m", "srnn", "serve", str(ecg), "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=errors,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
        )
    attack: list[socket.socket] = []
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        port = int(url.rsplit(":", 1)[1].strip("/"))
        attack += idle(port, IDLE)
        with connect(url.replace("http", "ws") + "live", open_timeout=GENEROUS) as viewer:
            frames = 0
            attack += idle(port, 100)  # and more while one looks
            while frames < 20:
                frames += isinstance(viewer.recv(GENEROUS), bytes)
            begin = time.monotonic()
            server.send_signal(signal.SIGTERM)
            with contextlib.suppress(ConnectionClosed):
                while True:
                    viewer.recv(GENEROUS)
        server.wait(GENEROUS)
        assert time.monotonic() - begin < ENDS
    finally:
        server.kill()
        server.wait()
        for one in attack:
            one.close()
    assert server.returncode in (0, 130, -signal.SIGTERM, 143)
    assert said.stat().st_size < 2000, said.read_text()[:2000]
    assert "Traceback" not in said.read_text()
    assert len(attack) == IDLE + 100


def test_a_flood_of_messages_is_read_no_faster_than_its_share(ecg, monkeypatch, caplog) -> None:
    """All of them valid. The honest viewer goes on, and the end is not held up."""
    served = serve(ecg)
    taken, take = [0], served.player.command

    def counted(command):
        taken[0] += 1
        return take(command)

    monkeypatch.setattr(served.player, "command", counted)
    bad, sent, going = served.open(), [0], threading.Event()

    def flood() -> None:
        try:
            while True:
                bad.socket.send('{"noise": 0.1}')
                sent[0] += 1
                if sent[0] > 2000:
                    going.set()
        except (ConnectionClosed, OSError):
            going.set()

    honest = served.open()
    honest.until(lambda: honest.frames)
    begin = time.monotonic()
    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    assert going.wait(GENEROUS)
    step = honest.step
    honest.until(lambda: honest.step > step + 500)  # two seconds of signal
    heard, passed = taken[0], time.monotonic() - begin
    assert app.BURST / 2 < heard <= app.BURST + app.RATE * passed + 2
    assert sent[0] > 4 * heard
    begin = time.monotonic()
    served.server.stop()
    served.thread.join(GENEROUS)
    assert not served.thread.is_alive()
    assert time.monotonic() - begin < ENDS
    assert not [r for r in caplog.records if r.exc_info], "no traceback"
    thread.join(GENEROUS)


def test_who_goes_is_forgotten_though_messages_of_theirs_wait(ecg, monkeypatch) -> None:
    served = serve(ecg)
    taken, take = [0], served.player.command

    def counted(command):
        taken[0] += 1
        return take(command)

    monkeypatch.setattr(served.player, "command", counted)
    bad = served.open()
    bad.until(lambda: bad.frames)
    for _ in range(2000):  # half a minute of them
        bad.socket.send('{"noise": 0.1}')
    bad.socket.socket.shutdown(socket.SHUT_RDWR)
    until(lambda: not served.server.hub.viewers)
    assert taken[0] < 1500
    served.close()


def ended(one: socket.socket) -> bool:
    """Read until the other side ends a connection; say whether it said anything before."""
    said = b""
    try:
        while data := one.recv(1 << 16):
            said += data
    except ConnectionResetError:
        pass
    return bool(said)


def test_a_head_that_does_not_come_has_a_deadline(ecg, monkeypatch) -> None:
    monkeypatch.setattr(door, "HEAD", 0.3)
    served = serve(ecg)
    heads = (b"", b"GET / HTTP/1.1\r\n", b"GET /live HTTP/1.1\r\nHos", b"\0" * 1000)
    for k, said in enumerate(heads):
        with socket.create_connection(("127.0.0.1", served.port), timeout=GENEROUS) as slow:
            slow.sendall(said)
            assert not ended(slow)
        assert served.server.door.turned_away == k + 1
    viewer = served.open()  # who is through stays, whatever the deadline
    viewer.until(lambda: viewer.step > 500)
    served.close()


def test_an_endless_head_and_a_second_request_end_a_connection(ecg) -> None:
    """A second head has no deadline of its own: every answer ends its connection."""
    served = serve(ecg)
    address = ("127.0.0.1", served.port)
    with socket.create_connection(address, timeout=GENEROUS) as one, contextlib.suppress(OSError):
        one.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * (door.LONGEST_HEAD + 1))
        assert not ended(one)
    with socket.create_connection(address, timeout=GENEROUS) as one:
        # in pieces, as a slow network has it
        for piece in (b"GET /static/live.js HT", b"TP/1.1\r\nHost: local", b"host\r\n\r", b"\n"):
            one.sendall(piece)
        assert ended(one)
    served.close()


class Wire(asyncio.Transport):
    """A connection that is only counted. unread: bytes that nobody takes."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 1), "socket": self})
        self.closed, self.unread, self.written = False, 0, b""

    def set_protocol(self, protocol) -> None:
        self.protocol = protocol

    def get_protocol(self):
        return self.protocol

    def fileno(self) -> int:
        return -1 if self.closed else 1

    def write(self, data) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def close(self) -> None:
        self.closed = True

    abort = close


def in_a_thread(work: Coroutine[Any, Any, None]) -> None:
    """Run it in a loop of its own: a browser of another test may have left one in this thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def test_who_is_counted_and_who_goes() -> None:
    """Where it is full, who has waited longest; one address of elsewhere has a share, whoever is on
    this machine has none, for they look alike.
    """

    async def counted() -> None:
        gate = Door(most=100)

        def call(address: str, *, waits: bool = True) -> Wire:
            wire, caller = Wire(address), door.Caller(gate, asyncio.Protocol)
            caller.connection_made(wire)
            caller.waits = waits and caller.waits
            return wire

        inside = [call("192.0.2.1", waits=False) for _ in range(door.PEER)]
        turned = call("192.0.2.1")
        assert turned.closed
        assert b" 503 " in turned.written
        assert not any(w.closed for w in inside)
        others = [call("::1") for _ in range(100 - door.PEER)]
        first, *rest = others
        assert not first.closed
        late = call("2001:db8::1")
        assert first.closed
        assert not any(w.closed for w in (*inside, *rest, late))
        assert gate.turned_away == 2
        inside[3].unread = door.UNREAD + 1
        gate.check()
        assert [k for k, w in enumerate(inside) if w.closed] == [3]
        gate.close()
        assert all(w.closed for w in (*inside, *others, late))

    in_a_thread(counted())


def test_an_answer_that_nobody_takes_has_a_deadline(monkeypatch) -> None:
    monkeypatch.setattr(door, "EXCHANGE", 0.1)

    async def asked() -> None:
        gate, wires = Door(most=100), []
        for upgraded in (False, True):
            wire = Wire("127.0.0.1")
            caller = door.Caller(gate, asyncio.Protocol)
            caller.connection_made(wire)
            for piece in (b"GET / HTTP/1.1\r", b"\n\r", b"\n"):
                assert caller.waits
                caller.data_received(piece)
            assert not caller.waits
            if upgraded:  # a WebSocket is no answer: it may last
                wire.set_protocol(asyncio.Protocol())
            wires.append(wire)
        while not wires[0].closed:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert not wires[1].closed
        assert gate.turned_away == 1

    in_a_thread(asyncio.wait_for(asked(), GENEROUS))


def test_no_room_is_one_line_and_other_errors_are_told(capsys) -> None:
    class Loop:
        def __init__(self) -> None:
            self.told = list[dict]()

        def default_exception_handler(self, context: dict) -> None:
            self.told.append(context)

    loop, handle = Loop(), quiet()
    for code in (errno.EMFILE, errno.ENFILE) * 500:
        handle(loop, {"message": "accept", "exception": OSError(code, "no room")})
    assert capsys.readouterr().err.count("\n") == 1
    others = [{"message": "x", "exception": OSError(errno.EPIPE, "")}, {"message": "y"}]
    for context in others:
        handle(loop, context)
    assert loop.told == others
