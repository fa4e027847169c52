"""Where live samples come from: standard input, a file, a sound file, a serial port, a TCP socket
on loopback.

-                    standard input (the default)
FILE                 a file of lines or binary samples; .wav and .flac are read as sound
serial:PATH[:BAUD]   a serial port, as serial:/dev/ttyUSB0:115200 (needs pyserial)
tcp:HOST:PORT        connect to a server on this machine
listen:PORT          wait for one client on 127.0.0.1; port 0 takes a free one
"""

from __future__ import annotations

import ipaddress
import os
import select
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from srnn._check import ConfigError, DataError, SrnnError, whole_number
from srnn.datasets._audio import read_audio

BLOCK = 1 << 16
"""Bytes read at once, at most."""
_WAIT = 0.2
"""Seconds after which a source that waits looks whether it was closed."""


class Source(Protocol):
    """Somewhere bytes come from. name: for people."""

    name: str

    def chunks(self) -> Iterator[bytes]:
        """Yield bytes as they come, until the end, or until it is closed.

        Raises `DataError` where reading fails.
        """
        ...

    def close(self) -> None:
        """Stop, also from another thread."""
        ...


def open_source(text: str) -> Source:
    """Return the source.

    Raises `ConfigError` for one that cannot be meant, `DataError` where it cannot be opened.
    """
    kind, _, rest = text.partition(":")
    if text == "-":
        return _Descriptor(sys.stdin.fileno(), "standard input", own=False)
    if kind == "serial" and rest:
        return _Serial(rest)
    if kind in ("tcp", "listen") and rest:
        return _Socket(kind, rest)
    path = Path(text)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError(
                f"{path} is a folder; expected a file, or -, serial:PATH, "
                "tcp:HOST:PORT, listen:PORT."
            )
        return _Descriptor(os.open(path, os.O_RDONLY), str(path), own=True)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


class _Descriptor:
    """Standard input, a file, or a named pipe."""

    def __init__(self, descriptor: int, name: str, *, own: bool) -> None:
        self._descriptor, self.name, self._own = descriptor, name, own
        self._closed = threading.Event()

    def chunks(self) -> Iterator[bytes]:
        regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        try:
            while not self._closed.is_set():
                if not regular and not select.select([self._descriptor], [], [], _WAIT)[0]:
                    continue
                data = os.read(self._descriptor, BLOCK)
                if not data:
                    return
                yield data
        except OSError as error:
            raise DataError(f"{self.name} cannot be read: {error.strerror or error}.") from error
        finally:
            if self._own:
                os.close(self._descriptor)

    def close(self) -> None:
        self._closed.set()


class _Socket:
    """A TCP socket on loopback: what goes over it is neither encrypted nor signed."""

    def __init__(self, kind: str, rest: str) -> None:
        host, _, port = rest.rpartition(":") if kind == "tcp" else ("127.0.0.1", "", rest)
        host = host.strip("[]") or "127.0.0.1"
        number = whole_number(port)
        if number is None or number > 65535:
            raise ConfigError(
                f"{kind}:{rest}: {port!r} is no port; expected tcp:HOST:PORT or "
                "listen:PORT, as listen:9000."
            )
        if not _loopback(host):
            raise ConfigError(
                f"{kind}:{rest}: {host} is not this machine. Forward a port: ssh "
                f"-L {port}:localhost:{port} {host}."
            )
        self._closed = threading.Event()
        self._server: socket.socket | None = None
        self._socket: socket.socket | None = None
        try:
            if kind == "listen":
                self._server = socket.create_server((host, int(port)))
                port = str(self._server.getsockname()[1])
            else:
                self._socket = socket.create_connection((host, int(port)), timeout=10)
        except OSError as error:
            raise DataError(
                f"{kind}:{rest} cannot be opened: {error.strerror or error}."
            ) from error
        self.name = f"{kind}:{host}:{port}"

    def chunks(self) -> Iterator[bytes]:
        try:
            while self._socket is None and not self._closed.is_set():
                assert self._server is not None
                if select.select([self._server], [], [], _WAIT)[0]:
                    self._socket, _ = self._server.accept()
            while not self._closed.is_set():
                assert self._socket is not None
                if select.select([self._socket], [], [], _WAIT)[0]:
                    data = self._socket.recv(BLOCK)
                    if not data:
                        return
                    yield data
        except ConnectionError:  # the other side was stopped: that is its end
            return
        except OSError as error:
            raise DataError(f"{self.name} cannot be read: {error.strerror or error}.") from error
        finally:
            for s in (self._socket, self._server):
                if s is not None:
                    with suppress(OSError):
                        s.close()

    def close(self) -> None:
        self._closed.set()


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Serial:
    """A serial port; it ends when the device is gone."""

    def __init__(self, rest: str) -> None:
        try:
            import serial
        except ImportError as error:
            raise SrnnError(
                'Serial ports need pyserial. Install it with: pip install "srnn[stream]"'
            ) from error
        path, _, baud = (
            rest.rpartition(":")
            if whole_number(rest.rpartition(":")[2]) is not None
            else (rest, "", "115200")
        )
        self.name, self._closed = f"serial:{path}:{baud}", threading.Event()
        self._gone: type[Exception] = serial.SerialException
        try:
            self._port: Any = serial.Serial(path, int(baud), timeout=_WAIT)
        except (serial.SerialException, ValueError, OSError) as error:
            raise DataError(f"{self.name} cannot be opened: {error}.") from error

    def chunks(self) -> Iterator[bytes]:
        try:
            while not self._closed.is_set():
                data = self._port.read(max(1, min(BLOCK, self._port.in_waiting)))
                if data:
                    yield data
        except (self._gone, OSError, TypeError):  # the device was unplugged: that is its end
            return
        finally:
            self._port.close()

    def close(self) -> None:
        self._closed.set()


class _Sound:
    """A sound file, read whole."""

    def __init__(self, path: Path, signal: NDArray[np.float32]) -> None:
        self.name, self._signal = str(path), signal
        self._closed = threading.Event()

    def chunks(self) -> Iterator[bytes]:
        rows = max(1, BLOCK // (4 * self._signal.shape[1]))
        for first in range(0, len(self._signal), rows):
            if self._closed.is_set():
                return
            yield self._signal[first : first + rows].astype("<f4").tobytes()

    def close(self) -> None:
        self._closed.set()


def open_sound(path: Path) -> tuple[Source, int, int]:
    """Return a sound file as a source of float32 samples, its channels and its samples a second.

    Raises `DataError`.
    """
    signal, rate = read_audio(path)
    return _Sound(path, signal), signal.shape[1], rate
