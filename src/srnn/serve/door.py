"""Who is let in: how many connections there are, and how long somebody may take to say what they
want. The web server behind it sees whole heads of requests only.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 512
"""Connections at a time, at most; fewer where this process may open fewer files."""
PEER = 64
"""Connections from one address of another machine, at most."""
HEAD = 5.0
"""Seconds until the head of a request is there."""
EXCHANGE = 20.0
"""Seconds until its answer is taken."""
LONGEST_HEAD = 1 << 16
"""Bytes of a head, at most."""
UNREAD = 1 << 22
"""Bytes that wait for somebody who does not read them, at most."""
AT_ONCE = 32
"""Connections that are taken before anything else is done."""
_END = re.compile(rb"\n\r?\n")
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Door:
    """Counts connections. most: at a time. turned_away: connections that got no answer, or were
    too slow.

    Where it is full, who has waited longest without a request goes; where nobody waits, who comes
    is turned away.
    """

    def __init__(self, most: int | None = None) -> None:
        spare = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _open_files()
        self.most = min(CONNECTIONS, max(spare // 2, 8)) if most is None else most
        self.at_once = min(AT_ONCE, max(spare // 16, 1))
        self.turned_away = 0
        self._callers: dict[Caller, None] = {}  # in the order in which they came

    def __call__(self, **given: Any) -> Caller:
        """Return the protocol of a new connection, as uvicorn asks for it."""
        return Caller(self, lambda: H11Protocol(**given))

    def admits(self, caller: Caller) -> bool:
        """Say whether a connection may stay, and make room for it."""
        self._callers = {c: None for c in self._callers if c.is_open}
        alike = [c for c in self._callers if c.peer is not None and c.peer == caller.peer]
        for crowd, most in ((alike, PEER), (list(self._callers), self.most)):
            if len(crowd) < most:
                continue
            self.turned_away += 1
            waiting = next((c for c in crowd if c.waits), None)
            if waiting is None:
                return False
            waiting.leave()
            self._callers.pop(waiting, None)
        self._callers[caller] = None
        return True

    def check(self) -> None:
        """Send away who lets too much wait unread."""
        for caller in self._callers:
            if caller.is_open and caller.unread > UNREAD:
                self.turned_away += 1
                caller.leave()

    def close(self) -> None:
        """Send everybody away."""
        for caller in self._callers:
            caller.leave()


class Caller(asyncio.Protocol):
    """A connection until the head of its first request is there. peer: the address of another
    machine; None: this one, whose callers are not told apart.
    """

    def __init__(self, door: Door, behind: Callable[[], asyncio.Protocol]) -> None:
        self._door, self._behind, self._head = door, behind, bytearray()
        self.peer: str | None = None
        self.waits = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._socket = transport.get_extra_info("socket")
        address = (transport.get_extra_info("peername") or ("127.0.0.1",))[0]
        self.peer = None if ipaddress.ip_address(address.split("%")[0]).is_loopback else address
        self._timer = asyncio.get_running_loop().call_later(HEAD, self._late, self)
        if not self._door.admits(self):
            self.waits = False
            transport.write(_FULL)
            transport.close()

    def data_received(self, data: bytes) -> None:
        begin = max(0, len(self._head) - 3)
        self._head += data
        if not self.waits or not _END.search(self._head, begin):
            if len(self._head) > LONGEST_HEAD:
                self.leave()
            return
        self._timer.cancel()
        self.waits, behind = False, self._behind()
        self._timer = asyncio.get_running_loop().call_later(EXCHANGE, self._late, behind)
        self._transport.set_protocol(behind)
        behind.connection_made(self._transport)
        behind.data_received(bytes(self._head))
        self._head.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()

    def _late(self, protocol: asyncio.BaseProtocol) -> None:
        """End it where it is no further than it was; a WebSocket has a protocol of its own."""
        if self.is_open and self._transport.get_protocol() is protocol:
            self._door.turned_away += 1
            self.leave()

    @property
    def is_open(self) -> bool:
        """Whether it still takes a file of this process."""
        return bool(self._socket.fileno() >= 0)

    @property
    def unread(self) -> int:
        """Bytes that were sent and not taken."""
        return self._transport.get_write_buffer_size()

    def leave(self) -> None:
        """End it at once."""
        self.waits = False
        self._transport.abort()


def _open_files() -> int:
    with suppress(OSError):
        return len(os.listdir("/dev/fd"))
    return 64


def quiet() -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Return what is done about errors of the loop: that there is no room for another connection is
    one line a minute.
    """
    told = float("-inf")

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal told
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _NO_ROOM:
            loop.default_exception_handler(context)
        elif time.monotonic() - told > 60:
            told = time.monotonic()
            print(
                f"srnn serve: no room for another connection ({os.strerror(error.errno)}). "
                "Allow more open files: ulimit -n 4096.",
                file=sys.stderr,
                flush=True,
            )

    return handle
