"""The page, its API and its WebSocket, and who may see them.

Who binds to loopback serves this machine: requests must name it (Host: localhost, 127.0.0.1,
[::1]), so that a page of somebody else whose name was turned to this machine (DNS rebinding) gets
nothing. Elsewhere a token is asked for on page, API and WebSocket, and Host must be an address, or
this machine's name. A WebSocket must come from a page of this server (Origin), or from no page at
all.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from srnn.serve import controls
from srnn.serve.controls import Command, RefusedError
from srnn.serve.hub import Hub, Viewer
from srnn.serve.player import Player

STATIC = Path(__file__).parent / "static"
FILES = {
    "live.js": "text/javascript",
    "scope.js": "text/javascript",
    "microphone.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cache-control": "no-store",
}

MALFORMED, WRONG_TOKEN, TOO_LONG = 1008, 4401, 1009
"""Codes that a WebSocket is closed with."""
PATIENCE = 200
"""Messages in a row that are none, after which a viewer is shown the door."""
VIEWERS = 256
"""Viewers at a time, at most."""


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:@/\[\]]+)(?::\d{1,5})?")


@dataclass(frozen=True)
class Guard:
    """Who may see. token: asked for, None = nobody is. host: what was bound to."""

    host: str
    token: str | None

    def knows(self, connection: HTTPConnection) -> bool:
        """Say whether a request brings the token."""
        given = connection.query_params.get("token", "")
        return self.token is None or secrets.compare_digest(given.encode(), self.token.encode())

    def named(self, connection: HTTPConnection) -> bool:
        """Say whether a request names this machine as its host."""
        found = _HOST.fullmatch(connection.headers.get("host", "").lower())
        name = found[1].strip("[]").rstrip(".") if found else ""
        if name in ("localhost", "127.0.0.1", "::1"):
            return True
        if self.token is None:
            return False
        return _is_address(name) or name in {
            self.host.lower(),
            socket.gethostname().lower(),
            socket.getfqdn().lower(),
        }

    def own(self, connection: HTTPConnection) -> bool:
        """Say whether a request comes from a page of this server, or from no page."""
        origin, host = connection.headers.get("origin"), connection.headers.get("host", "").lower()
        return origin is None or origin.lower() in (f"http://{host}", f"https://{host}")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Headers:
    """Puts the headers on every answer, and refuses who names another host."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in HEADERS.items()),
                ]
            await send(message)

        if self._guard.named(Request(scope)):
            await self._app(scope, receive, sent)
            return
        await PlainTextResponse("This server is not called so.\n", 421)(scope, receive, sent)


def make(
    player: Player, hub: Hub, guard: Guard, about: dict[str, Any], ready: Callable[[], None]
) -> ASGIApp:
    """Return the application. about: told to a viewer first. ready: called once it answers."""
    desk = _Desk(player, hub, about)

    def known(answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            if not guard.knows(request):
                return PlainTextResponse(
                    "Wrong token. Open the address that srnn serve printed.\n", 401
                )
            return answer(request)

        return checked

    def file(request: Request) -> Response:
        name = request.path_params["name"]
        return (
            FileResponse(STATIC / name, media_type=FILES[name])
            if name in FILES
            else PlainTextResponse("Not found\n", 404)
        )

    async def static(request: Request) -> Response:  # the same for everybody, and no secret
        return file(request)

    async def look(socket: WebSocket) -> None:
        if not (guard.named(socket) and guard.own(socket)):
            hub.refused["origin"] += 1
            await socket.close(MALFORMED)  # before it is accepted: 403
            return
        await socket.accept()
        if not guard.knows(socket):
            await socket.close(WRONG_TOKEN, "wrong token")
        elif len(hub.viewers) >= VIEWERS:
            await socket.close(1013, "too many viewers")
        else:
            await desk.serve(socket)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        hub.open(asyncio.get_running_loop())
        player.start()
        ready()
        yield
        hub.close()
        player.stop()

    routes = [
        Route(
            "/", known(lambda request: FileResponse(STATIC / "index.html", media_type="text/html"))
        ),
        Route("/static/{name}", static),
        Route("/api/state", known(lambda request: JSONResponse({**about, "state": hub.state()}))),
        WebSocketRoute("/live", look),
    ]
    return _Headers(Starlette(routes=routes, lifespan=lifespan), guard)


class _Desk:
    """Talks with viewers. One of them may be the microphone."""

    def __init__(self, player: Player, hub: Hub, about: dict[str, Any]) -> None:
        self._player, self._hub, self._about = player, hub, about
        self._speaks: Viewer | None = None

    async def serve(self, socket: WebSocket) -> None:
        """Show and listen until the viewer goes."""
        viewer = self._hub.join()
        viewer.note({**self._about, "type": "hello"})
        sends = asyncio.create_task(self._send(socket, viewer))
        try:
            await self._listen(socket, viewer)
        except WebSocketDisconnect as gone:
            if gone.code == TOO_LONG:
                self._hub.refused["too long"] += 1
        finally:
            sends.cancel()
            self._hub.leave(viewer)
            if self._speaks is viewer:
                self._speaks = None
                self._player.command(Command("source", next(iter(self._player.sources))))

    async def _send(self, socket: WebSocket, viewer: Viewer) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            while True:
                for message in await viewer.next():
                    if isinstance(message, bytes):
                        await socket.send_bytes(message)
                    else:
                        await socket.send_text(message)

    async def _listen(self, socket: WebSocket, viewer: Viewer) -> None:
        bad = 0
        while bad < PATIENCE:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code") or 1005)
            try:
                self._take(message, viewer)
                bad = 0
            except RefusedError as why:
                bad += 1
                self._hub.refused["malformed"] += 1
                viewer.note({"type": "refused", "why": str(why)})
        if socket.application_state is WebSocketState.CONNECTED:
            await socket.close(MALFORMED, "too many messages that are none")

    def _take(self, message: Message, viewer: Viewer) -> None:
        if message.get("bytes") is not None:
            if self._speaks is not viewer:
                raise RefusedError(
                    "Sound from a viewer who is not the microphone. First send "
                    '{"source": "microphone"}.'
                )
            self._player.hear(controls.heard(message["bytes"]))
            return
        asked = controls.command(message["text"])
        if asked.what == "source":
            if asked.value not in self._about["sources"] or (
                asked.value == "microphone" and self._speaks not in (None, viewer)
            ):
                why = (
                    "another viewer's microphone is on"
                    if asked.value == "microphone" and self._speaks is not None
                    else "there is no such source"
                )
                raise RefusedError(
                    f"{asked.value!r}: {why}. Sources: {', '.join(self._about['sources'])}."
                )
            self._speaks = viewer if asked.value == "microphone" else None
        if not self._player.command(asked):
            raise RefusedError("Too many commands wait; try again.")
