"""Where data lies, and how it gets there: one folder, exact checksums, no half-written files,
transfers that go on where they were cut.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from srnn import _files
from srnn._build import user_cache
from srnn._check import ConfigError, DataError, SrnnError
from srnn.datasets._archive import extract as extract

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there, and the bytes there will be if the server has said so."""

_TIMEOUT = 30.0
"""Seconds without an answer after which a server counts as gone."""

_TRIES = 3
"""How often one call asks a server that cannot be reached or breaks off."""

_PAUSE = 1.0
"""Seconds before the second try; twice as long before each one after it."""

_CHUNK = 1 << 14


def data_root(folder: str | Path | None = None) -> Path:
    """Return the data folder: `folder` if given, else `$SRNN_DATA`, else `srnn` in the user's
    cache. It need not exist yet.

    Raises `DataError` where that path is a file.
    """
    given = folder or os.environ.get("SRNN_DATA") or user_cache() / "srnn"
    root = Path(os.path.expanduser(given))
    if root.exists() and not root.is_dir():
        raise DataError(
            f"The data folder {root} is a file; expected a folder. Set --data-dir or "
            "$SRNN_DATA to a folder."
        )
    return root


def find(root: str | Path, *candidates: str, name: str = "NAME") -> Path:
    """Return the first of `root/candidate` that exists.

    name: the data set as `srnn data fetch` calls it, for the message. Raises `DataError` where none
    exists.
    """
    for candidate in candidates:
        path = Path(root) / candidate
        if path.exists():
            return path
    raise DataError(
        f"No {' or '.join(candidates)} in {root}.\n"
        f"  Get the data with `srnn data fetch {name}`, or say where it lies with "
        "--data-dir or $SRNN_DATA."
    )


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hexadecimal digits.

    Raises `DataError` where the file cannot be read.
    """
    return _digest(path, "sha256")


def read_sums(text: str) -> dict[str, str]:
    """Parse a SHA256SUMS.txt (`<64 hex digits>  <relative path>` a line, as PhysioNet publishes it)
    into {path: sha256}.

    Raises `DataError` for an empty list, a line of another form, or a path that leaves its folder.
    """
    sums = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64})\s+\*?(\S.*?)\s*", line)
        if match is None:
            raise DataError(
                f"Checksum list, line {number}: {line[:60]!r} is not `<sha256>  "
                "<path>`. Is it an error page of the server?"
            )
        path = PurePosixPath(match[2])
        if path.is_absolute() or ".." in path.parts or "\\" in match[2] or ":" in match[2]:
            raise DataError(
                f"Checksum list, line {number}: the path {match[2]!r} leaves its folder."
            )
        sums[str(path)] = match[1].lower()
    if not sums:
        raise DataError("The checksum list is empty.")
    return sums


def verify_files(root: str | Path, checksums: Mapping[str, str]) -> list[tuple[str, bool, str]]:
    """Compare files with their checksums (as in `download`), by path relative to root: (path,
    right?, what is wrong or "ok") for each.
    """
    rows = []
    for name, checksum in checksums.items():
        path = Path(root) / name
        wrong = _difference(path, checksum) if path.is_file() else f"missing: {path}"
        rows.append((name, wrong is None, wrong or "ok"))
    return rows


def _difference(path: Path, checksum: str) -> str | None:
    """Return what differs from the checksum, or None where the file is right."""
    match = re.fullmatch(r"(?:sha256:)?([0-9a-f]{64})|md5:([0-9a-f]{32})", checksum.lower())
    if match is None:
        raise ConfigError(
            f"The checksum is {checksum!r}; expected 64 hexadecimal digits "
            "(SHA-256), or md5: and 32 of them."
        )
    kind, wanted = ("sha256", match[1]) if match[1] else ("md5", match[2])
    got = _digest(path, kind)
    return (
        None
        if got == wanted
        else (f"{path} has {'SHA-256' if match[1] else 'MD5'} {got}; expected {wanted}")
    )


def _digest(path: str | Path, kind: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(
                file, lambda: hashlib.new(kind, usedforsecurity=False)
            ).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def fetch_archive(
    url: str,
    checksum: str | None,
    to: str | Path,
    *,
    keep: bool = False,
    name: str | None = None,
    members: Callable[[str], bool] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Download an archive beside the folder `to`, unpack it there, remove it unless `keep`, and
    return the files.

    name: of the archive, where the address does not end in one. members: which files to unpack. A
    right archive that cannot be unpacked (for want of space, say) stays, so that it need not come
    again. Errors: as of `download` and `extract`.
    """
    archive = Path(to).absolute().parent / (name or unquote(PurePosixPath(urlsplit(url).path).name))
    download(url, checksum, archive, progress=progress)
    try:
        files = extract(archive, to, members)
    except DataError:
        if checksum is None:
            archive.unlink()
        raise
    if not keep:
        archive.unlink()
    return files


def download(
    url: str, checksum: str | None, to: str | Path, *, progress: Progress | None = None
) -> Path:
    """Download `url` (http or https) to the file `to` and return it; a file that is there and right
    is left alone.

    checksum: the SHA-256, 64 hexadecimal digits, or "md5:" and 32 of them; None takes what comes,
    unless it is a web page, and always asks anew. The file appears under its name only when whole
    and right. What a broken transfer brought is kept beside it (.NAME.part, and .NAME.part.json
    about where it is from); the same call goes on from there if the server can and still has the
    same file, else it starts anew. A server that cannot be reached or breaks off is asked three
    times. Where several processes fetch one file, one does and the others wait. Raises `DataError`
    for an unreachable server, a refused or broken transfer, a wrong checksum or a folder that
    cannot be written, `ConfigError` for another kind of address or checksum, `SrnnError` without
    the extra "data".
    """
    to = Path(to)
    if not re.match(r"https?://[^/]", url, re.IGNORECASE):
        raise ConfigError(
            f"{url!r} cannot be downloaded; expected an address that starts with "
            "https:// or http://."
        )
    if checksum is not None and to.is_file() and _difference(to, checksum) is None:
        return to
    part = to.with_name(f".{to.name}.part")
    try:
        session = _session()
        if to.is_relative_to(cache := user_cache() / "srnn"):
            _files.make_private(cache)  # kernels lie in it too, and are run
        to.parent.mkdir(parents=True, exist_ok=True)
        with session, _locked(part) as file:
            # brought by the process that was waited for
            if checksum is not None and to.is_file() and _difference(to, checksum) is None:
                file.truncate(0)
                return to
            _transfer(session, url, file, part, checksum, progress)
            wrong = checksum and _difference(part, checksum)
            if wrong:
                file.truncate(0)
                raise DataError(
                    f"{url}: {wrong.removeprefix(f'{part} ')}.\n"
                    "  The transfer was damaged or the file was changed at its source; "
                    "nothing was kept. Try again."
                )
            part.replace(to)
    except OSError as error:  # every failure of the network library is an OSError too
        raise DataError(
            f"{url} could not be downloaded to {to}: {error}.\n"
            f"  Check the connection, or copy the file there by hand; {_kept(part)}."
        ) from error
    return to


# -- one transfer, and what is known of it ---------------------------------------------------------


@dataclass(frozen=True)
class _Origin:
    """Where the bytes of a .part file are from: the address, and what the server said of the file
    (size in bytes; None or "" = nothing).
    """

    url: str
    size: int | None = None
    etag: str = ""
    modified: str = ""

    @property
    def validator(self) -> str:
        """What If-Range takes: the strong entity tag, else the date, else nothing."""
        return self.etag if self.etag.startswith('"') else self.modified

    @classmethod
    def read(cls, part: Path) -> _Origin | None:
        try:
            stored = json.loads(_note(part).read_text(encoding="utf-8"))
            size = stored["size"]
            return cls(
                str(stored["url"]),
                None if size is None else int(size),
                str(stored["etag"]),
                str(stored["modified"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _kept(part: Path) -> str:
    have = part.stat().st_size if part.is_file() else 0
    if not have:
        return "nothing was kept"
    origin = _Origin.read(part)
    of = f" of {origin.size}" if origin and origin.size is not None else ""
    return (
        f"{have}{of} bytes are kept in {part}, and the same command goes on from there if the "
        "server can"
    )


@contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """Open the .part file for appending, held by this process alone; in the end an empty one goes,
    and so does a note without its file.
    """
    while True:
        file = _files.append(part)
        try:
            _lock(file)
            same = part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat())
        except BaseException:
            file.close()
            raise
        if same:
            break
        file.close()  # it was renamed or removed by the process that held it: look again
    try:
        yield file
    finally:
        if not os.fstat(file.fileno()).st_size:
            part.unlink(missing_ok=True)
        if not part.exists():
            _note(part).unlink(missing_ok=True)
        file.close()


def _lock(file: Any) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:  # some network file systems have no locks; there a checksum must tell
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise


def _session() -> Any:
    try:
        import requests
    except ImportError as error:
        raise SrnnError(
            'Downloading needs requests. Install it with: pip install "srnn[data]"'
        ) from error
    return requests.Session()


def _transfer(
    session: Any,
    url: str,
    file: BinaryIO,
    part: Path,
    checksum: str | None,
    progress: Progress | None,
) -> None:
    """Bring the .part file to its full length, in several tries. Raises `OSError`."""
    import requests
    import urllib3

    for attempt in range(_TRIES):
        try:
            return _attempt(session, url, file, part, checksum, progress)
        except (
            requests.ConnectionError,
            requests.Timeout,
            urllib3.exceptions.HTTPError,
            EOFError,
        ) as error:
            failure = error
        if attempt + 1 < _TRIES:
            time.sleep(_PAUSE * 2**attempt)
    reason = re.sub(
        r"""["']\)+$""", "", str(failure.args[0] if failure.args else failure).rsplit(": ", 1)[-1]
    )
    raise OSError(f"{reason} (tried {_TRIES} times)") from failure


def _attempt(
    session: Any,
    url: str,
    file: BinaryIO,
    part: Path,
    checksum: str | None,
    progress: Progress | None,
) -> None:
    have, origin = os.fstat(file.fileno()).st_size, _Origin.read(part)
    usable = (
        origin is not None
        and origin.url == url
        and 0 < have <= (origin.size or have)
        and (checksum is not None or origin.validator != "")
    )
    if origin is None or not usable:
        have, origin = 0, None
    elif have == origin.size and checksum is not None:
        return  # whole, but never looked at
    answer = _ask(session, url, have, origin)
    if (
        origin is not None
        and answer.status_code in (206, 416)
        and not _goes_on(answer, have, origin)
    ):
        answer.close()
        origin = None
        answer = _ask(session, url, 0, None)
    with answer:
        answer.raise_for_status()
        if answer.status_code != 200 and (answer.status_code != 206 or origin is None):
            raise OSError(f"the server answers {answer.status_code} {answer.reason}")
        if (
            checksum is None
            and answer.headers.get("Content-Type", "").startswith("text/html")
            and ".htm" not in part.name
        ):
            raise OSError("the server sent a web page instead")
        if answer.status_code == 200 or origin is None:
            have, origin = 0, _origin(url, answer)
            file.truncate(0)
            _files.write(_note(part), json.dumps(asdict(origin)))
        # as stored: the checksum of a .gz is that of the .gz
        for chunk in answer.raw.stream(_CHUNK, decode_content=False):
            file.write(chunk)
            file.flush()
            have += len(chunk)
            if progress is not None:
                progress(have, origin.size)
    if origin.size not in (None, have):
        raise EOFError(f"the transfer broke off after {have} of {origin.size} bytes")


def _ask(session: Any, url: str, have: int, origin: _Origin | None) -> Any:
    headers = {"Accept-Encoding": "identity"}
    if origin is not None:
        headers["Range"] = f"bytes={have}-"
        if origin.validator:
            headers["If-Range"] = origin.validator
    return session.get(url, headers=headers, stream=True, timeout=_TIMEOUT)


def _goes_on(answer: Any, have: int, origin: _Origin) -> bool:
    """Tell whether a partial answer goes on where the .part file ends, in the same version."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != have:
        return False
    same_size = origin.size is None or match[2] in ("*", str(origin.size))
    return same_size and (
        "" in (origin.etag, tag := answer.headers.get("ETag", "")) or tag == origin.etag
    )


def _origin(url: str, answer: Any) -> _Origin:
    length = answer.headers.get("Content-Length", "")
    return _Origin(
        url,
        int(length) if length.isdigit() else None,
        answer.headers.get("ETag", ""),
        answer.headers.get("Last-Modified", ""),
    )
