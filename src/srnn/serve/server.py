"""The port, the address to open, and the end."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import uvicorn

from srnn._check import ConfigError
from srnn.serve.app import Guard, make
from srnn.serve.controls import LONGEST, NOISE, SPEEDS
from srnn.serve.door import Door, quiet
from srnn.serve.hub import Hub
from srnn.serve.player import Player, pace
from srnn.serve.tracks import hears
from srnn.tasks.objective import PerStep

if TYPE_CHECKING:
    from srnn.tasks.task import Task

WINDOW = 5.0
"""Seconds of signal that a page shows, of so many steps at least and at most:"""
LEAST, MOST = 400, 1600
SEND_BUFFER = 1 << 17
"""Bytes that the system keeps for a viewer who does not read: what is late is not worth more."""
RECEIVE_BUFFER = 1 << 16
"""Bytes that it keeps of what a viewer sends, and twice that."""
QUEUED = 1024
"""Connections that it keeps until they are taken."""
LAST_WORDS = 0.5
"""Seconds that viewers have at the end to close; who does not read is cut off, which
is no error.
"""
logging.getLogger("uvicorn.error").addFilter(
    lambda record: not str(record.msg).startswith("Cancel %s running task")
)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises `ConfigError` where the port is in use, or cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.create_server(address[:2], family=family)
    except OSError as error:
        elsewhere = "" if error.errno == errno.EADDRINUSE else ", and an address of this machine"
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigError(
            f"{host}, port {port}: {why}. Choose another one, or --port 0 for a "
            f"free one{elsewhere}."
        ) from error
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    return made


def hub_for(task: Task) -> Hub:
    """Return a hub that shows who joins the last `WINDOW` seconds."""
    return Hub(round(min(max(WINDOW * pace(task), LEAST), MOST)))


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Server:
    """A live page on a socket that `bind` made for `host`. token: asked for, None = nobody is
    asked. about: what the page says of the run, to which is added what it must know of the network.

    url: to open, the token in it. run: serves until `stop`, or a signal.
    """

    def __init__(
        self,
        listener: socket.socket,
        host: str,
        token: str | None,
        player: Player,
        hub: Hub,
        about: dict[str, Any],
    ) -> None:
        self._listener, self.player, self.hub = listener, player, hub
        port = listener.getsockname()[1]
        shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/" + (
            f"?token={quote(token, safe='')}" if token else ""
        )
        self._guard, self.about = (
            Guard(host, token),
            {**about, **described(player), "window": hub.window},
        )
        self._server: uvicorn.Server | None = None

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve. ready: called when requests are answered. Raises what the player failed with."""
        self.door = Door()
        config = uvicorn.Config(
            make(self.player, self.hub, self._guard, self.about, ready),
            ws="websockets-sansio",
            ws_max_size=4 * LONGEST,
            ws_per_message_deflate=False,
            ws_max_queue=16,
            http=self.door,  # it is called, and returns a protocol
            backlog=self.door.at_once,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=LAST_WORDS,
            lifespan="on",
        )
        self._server = uvicorn.Server(config)
        # a second Ctrl-C changes nothing: the end takes two seconds at most
        self._server.handle_exit = lambda number, frame: self.stop()
        asyncio.run(self._serve(self._server))
        if self.player.failed is not None:
            raise self.player.failed

    async def _serve(self, server: uvicorn.Server) -> None:
        async def watch() -> None:
            while not server.started:
                await asyncio.sleep(0.01)
            self._listener.listen(QUEUED)  # the server asked for as many as it takes at once
            while self.player.failed is None:
                await asyncio.sleep(0.2)
                self.door.check()
            server.should_exit = True

        asyncio.get_running_loop().set_exception_handler(quiet())
        watching = asyncio.create_task(watch())
        try:
            await server.serve(sockets=[self._listener])
        finally:
            watching.cancel()
            self.door.close()

    def stop(self) -> None:
        """End; from any thread."""
        if self._server is not None:
            self._server.should_exit = True


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(18)


def described(player: Player) -> dict[str, Any]:
    """Return what a page must know of the network and the task, as JSON has it."""
    task, net = player.task, player.net
    names = [f"layer {k + 1}" for k in range(len(player.rows) - 1)]
    parts = net.parts()
    if len(player.rows) - 1 == len(parts) and len(parts) > 1:
        names[-1] = "output"
    layers = [
        {
            "name": name,
            "neurons": rows.channels,
            "rows": rows.rows,
            "group": rows.group,
            "spiking": bool(part.emits.binary),
        }
        for name, rows, part in zip(names, player.rows[1:], parts, strict=False)
    ]
    seen = player.rows[0]
    sources = {
        key: {"title": s.title, "count": len(s), "note": s.note}
        for key, s in player.sources.items()
    }
    if hears(task):
        sources["microphone"] = {
            "title": "Microphone",
            "count": 0,
            "note": "",
            "rate": task.data.shape.rate,
        }
    return {
        "task": task.name,
        "summary": task.summary,
        "simulated": task.data.simulated,
        "classes": list(task.classes),
        "input": {
            "channels": seen.channels,
            "rows": seen.rows,
            "group": seen.group,
            "sound": hears(task),
        },
        "layers": layers,
        "rate": player.rate,
        "timeless": player.rate != task.shape.rate,
        "per_step": isinstance(task.decode, PerStep),
        "decision": player.stream.decision.pool,
        "skip": player.stream.decision.skip,
        "backend": player.stream.backend.name,
        "speeds": list(SPEEDS),
        "noise": NOISE,
        "sources": sources,
        "lstm": player.costs.lstm,
    }
