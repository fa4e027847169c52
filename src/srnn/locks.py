"""Locks that the processes of a sweep share: files, or a PostgreSQL server that all of them reach.

Both are given back by whoever keeps them, the kernel or the server, when their process ends,
however it ends. On files a process waits for one on the same machine, or on another that sees the
same folder; the server's reach every machine that sees the database.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from srnn import _files


class Locks(Protocol):
    """What a sweep asks of its locks."""

    def claiming(self) -> contextlib.AbstractContextManager[object]:
        """Keep all other processes of the study out."""

    def worker(self) -> contextlib.AbstractContextManager[dict[str, Any]]:
        """Sign as a process that trains; gives what `ended` needs to know of it."""

    def ended(self, worker: dict[str, Any]) -> bool:
        """Return whether a process that signed is known to be gone."""


class FileLock:
    """An exclusive lock on a file, for one thread at a time: the kernel frees it when its process
    ends, however it ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        file = _files.append(self.path)  # closed by release
        fcntl.flock(file, fcntl.LOCK_EX)
        self._file = file
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._file.close()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *about: object) -> None:
        self.release()


class FileLocks:
    """Locks on files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def claiming(self) -> FileLock:
        """Keep all other processes of the study out."""
        return FileLock(self.folder / "claim")

    @contextmanager
    def worker(self) -> Iterator[dict[str, Any]]:
        """Sign as a process that trains."""
        path = (self.folder / f"worker-{uuid.uuid4().hex}").absolute()
        try:
            with FileLock(path):
                yield {"lock": str(path), "host": platform.node(), "pid": os.getpid()}
        finally:
            path.unlink(missing_ok=True)

    def ended(self, worker: dict[str, Any]) -> bool:
        """Return whether a process that held its lock file is gone; of one on another machine whose
        lock is not seen here nothing is known.
        """
        try:
            with open(worker["lock"]) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
        except FileNotFoundError:
            return bool(worker["host"] == platform.node())
        except OSError:
            return False


class ServerLocks:
    """Advisory locks of a PostgreSQL server, each held by a connection: freed when that ends, or
    gives no sign of life for two minutes.
    """

    def __init__(self, url: str) -> None:
        import sqlalchemy

        # how the server asks whether we are there
        asks = {"tcp_keepalives_idle": 60, "tcp_keepalives_interval": 15, "tcp_keepalives_count": 4}
        options = {"options": " ".join(f"-c {name}={value}" for name, value in asks.items())}
        self._engine = sqlalchemy.create_engine(
            url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT", connect_args=options
        )
        self._text = sqlalchemy.text

    def _ask(self, connection: Any, function: str, name: str) -> bool:
        key = int.from_bytes(
            hashlib.sha256(f"srnn {name}".encode()).digest()[:8], "big", signed=True
        )
        return bool(
            connection.execute(self._text(f"SELECT {function}(:key)"), {"key": key}).scalar()
        )

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """Keep all other processes out, of other studies here too: one makes the tables."""
        with self._engine.connect() as connection:
            self._ask(connection, "pg_advisory_lock", "claim")
            yield  # the connection's end frees it

    @contextmanager
    def worker(self) -> Iterator[dict[str, Any]]:
        """Sign as a process that trains."""
        name = uuid.uuid4().hex
        with self._engine.connect() as connection:
            self._ask(connection, "pg_advisory_lock", name)
            yield {"name": name, "host": platform.node(), "pid": os.getpid()}

    def ended(self, worker: dict[str, Any]) -> bool:
        """Return whether the connection of a process that signed has ended."""
        with self._engine.connect() as connection:
            return "name" in worker and self._ask(
                connection, "pg_try_advisory_lock", worker["name"]
            )
