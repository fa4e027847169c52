"""Unpack archives of strangers: all of an archive or nothing, and nothing outside the folder that
was named.

Files are written to a hidden folder beside the target while the archive is checked, and moved into
place when all of them are out and right. The reading is done by `tarfile`, `zipfile` and `gzip`;
what those let pass (cut tar files, names that lead elsewhere, links, bombs) is refused here.
"""

from __future__ import annotations

import gzip
import os
import re
import secrets
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from srnn._check import DataError

LIMIT = 64 << 30
"""Bytes an archive may unpack to, unless its caller says otherwise."""

_CHUNK = 1 << 20
_HEADER = 16 << 20
_BLOCK = 512
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Member:
    """name: as the archive spells it. kind: "file", "folder", or what else it is. size: bytes as
    promised, 0 where unknown. open: its content.
    """

    name: str
    kind: str
    size: int
    open: Callable[[], Any]


_Members = Generator[_Member, None, None]


def extract(
    archive: str | Path,
    to: str | Path,
    members: Callable[[str], bool] | None = None,
    limit: int = LIMIT,
) -> list[Path]:
    """Unpack a .tar, .tar.gz, .tgz, .zip or .gz (one file, which loses the .gz) into folder `to`;
    return its files in the order of the archive.

    to:      made when needed; other files in it stay, files of the same name are replaced. Owners,
             permissions and times are not taken over.
    members: which files and folders to unpack, by their names with "/" between folders; default:
             all.
    limit:   bytes the files may take in all; free disk space is a limit too.

    Raises `DataError`, leaving everything as it was, for an archive that is missing, of another
    kind, damaged, cut or empty, and for any member with an absolute path, "..", a backslash or
    drive letter; also for a wanted member that is a link, a device or encrypted, comes twice, is
    both file and folder, or would replace a folder by a file.
    """
    archive, to = Path(archive), Path(to)
    read = _reader(archive)
    with _hidden_folder(to) as temporary:
        free = shutil.disk_usage(temporary).free
        room = _Room(
            archive,
            min(limit, free),
            f"the limit of {limit} bytes"
            if limit <= free
            else f"the {free} bytes that are free on the disk",
        )
        with closing(read(archive)) as content:
            names = _unpack(archive, content, temporary, to, members, room)
        if not names:
            raise DataError(
                f"{archive} holds no "
                f"file{'' if members is None else ' of those that were asked for'}. Get it "
                "anew."
            )
        _move(temporary, to)
    return [to / name for name in names]


def _reader(archive: Path) -> Callable[[Path], _Members]:
    """Return the reader that the ending of the name calls for, having looked at the first bytes."""
    readers = {
        ".tar.gz": (_tar, b"\x1f\x8b"),
        ".tgz": (_tar, b"\x1f\x8b"),
        ".tar": (_tar, b""),
        ".zip": (_zip, b"PK"),
        ".gz": (_gz, b"\x1f\x8b"),
    }
    ending = next((e for e in readers if archive.name.lower().endswith(e)), None)
    if ending is None:
        raise DataError(
            f"{archive} is no archive by its name; expected one of "
            f"{', '.join(readers)}. Rename it if it is one."
        )
    read, magic = readers[ending]
    try:
        with archive.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise DataError(f"{archive} cannot be read: {error.strerror or error}.") from error
    if not start or not start.startswith(magic):
        raise DataError(
            f"{archive} is "
            f"{'empty' if not start else f'not a {ending} file: it starts with {start!r}'}. "
            "Delete it and get it anew."
        )
    return read


# -- what an archive holds -------------------------------------------------------------------------


def _zip(archive: Path) -> _Members:
    with zipfile.ZipFile(archive) as file:
        if _zip_count(archive) not in (len(file.infolist()) & 0xFFFF, 0xFFFF):
            raise zipfile.BadZipFile(
                f"{len(file.infolist())} files where {_zip_count(archive)} were promised"
            )
        for info in file.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)
            kind = (
                "an encrypted file" if info.flag_bits & 1 else "folder" if info.is_dir() else "file"
            )
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "a symbolic link" if mode == stat.S_IFLNK else "a device"
            yield _Member(
                info.orig_filename,
                kind,
                info.file_size,
                lambda info=info: file.open(info),  # type: ignore[misc]
            )


def _zip_count(archive: Path) -> int:
    """Return how many files the end record promises (0xFFFF: told elsewhere), which `zipfile` does
    not compare with what it found.
    """
    with archive.open("rb") as file:
        file.seek(-min(archive.stat().st_size, 22 + 0xFFFF), os.SEEK_END)
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06") + 10
    return int.from_bytes(tail[at : at + 2], "little")


def _gz(archive: Path) -> _Members:
    with gzip.open(archive) as file:
        yield _Member(archive.name[:-3], "file", 0, lambda: file)


def _tar(archive: Path) -> _Members:
    plain = archive.name.lower().endswith(".tar")
    with archive.open("rb") if plain else gzip.open(archive) as raw:
        stream = _Bounded(raw)
        with tarfile.open(fileobj=stream, mode="r:") as file:  # type: ignore[call-overload]
            for info in file:
                yield _Member(
                    info.name,
                    _tar_kind(info),
                    info.size,
                    lambda info=info: file.extractfile(info),  # type: ignore[misc]
                )
            # tarfile takes a cut or broken header for the end, which is a block of zeros; gzip has
            # an end of its own, so that there it may lack
            if stream.last != bytes(_BLOCK) and (stream.last or plain):
                raise tarfile.ReadError("it ends before its end mark")
        while raw.read(_CHUNK):  # gzip tells a wrong checksum at its own end only
            pass


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "a symbolic link" if info.issym() else "a hard link"
    if info.isdir():
        return "folder"
    if info.isreg() and not info.issparse():
        return "file"
    return "a device, or a file of a rare kind"


class _Bounded:
    """A stream for `tarfile`, which would read a header of as many bytes as the archive claims into
    memory; `last` is what was read last.
    """

    def __init__(self, raw: Any) -> None:
        self.raw, self.seek, self.tell, self.last = raw, raw.seek, raw.tell, b""

    def read(self, size: int) -> bytes:
        if size > _HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self.last = self.raw.read(size)
        return self.last


# -- out of the archive ----------------------------------------------------------------------------


@dataclass
class _Room:
    """Bytes that are left to write."""

    archive: Path
    left: int
    which: str

    def take(self, size: int) -> None:
        self.check(size)
        self.left -= size

    def check(self, size: int) -> None:
        if size > self.left:
            raise DataError(f"{self.archive} unpacks to more than {self.which}; nothing was kept.")


def _unpack(
    archive: Path,
    content: Iterator[_Member],
    temporary: Path,
    to: Path,
    wanted: Callable[[str], bool] | None,
    room: _Room,
) -> list[PurePosixPath]:
    """Write the wanted members below `temporary` and return the names of the files."""
    kinds: dict[PurePosixPath, str] = {}
    while (member := _guarded(archive, lambda: next(content, None))) is not None:
        name = _safe_name(archive, member.name)
        if not name.parts or (wanted is not None and not wanted(str(name))):
            continue
        if member.kind not in ("file", "folder"):
            raise DataError(
                f"{archive}: {member.name!r} is {member.kind}; expected files and "
                "folders only. Nothing was kept."
            )
        _claim(archive, kinds, name, member.kind, to)
        room.check(member.size)
        try:
            folder = name if member.kind == "folder" else name.parent
            (temporary / folder).mkdir(parents=True, exist_ok=True)
            if member.kind == "file":
                _write(archive, member, temporary / name, room)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{archive}: {member.name!r} cannot be unpacked into {to} ({error}); "
                "nothing was kept."
            ) from error
    return [name for name, kind in kinds.items() if kind == "file"]


def _write(archive: Path, member: _Member, path: Path, room: _Room) -> None:
    with path.open("xb") as file:
        source = _guarded(archive, member.open)
        while source is not None and (chunk := _guarded(archive, lambda: source.read(_CHUNK))):
            room.take(len(chunk))
            file.write(chunk)
        if member.size not in (0, file.tell()):
            raise DataError(
                f"{archive} is truncated: {member.name!r} has {file.tell()} of its "
                f"{member.size} bytes. Delete it and get it anew."
            )


def _guarded(archive: Path, read: Callable[[], _T]) -> _T:
    """Return read(), whose errors all mean damage: a wrong byte shows as an error of zlib, struct,
    codecs or of the reader itself.
    """
    try:
        return read()
    except Exception as error:
        raise DataError(
            f"{archive} is truncated or damaged ({type(error).__name__}: {error}). "
            "Delete it and get it anew."
        ) from error


def _safe_name(archive: Path, name: str) -> PurePosixPath:
    """Return the name of a member if it stays inside the folder; "." for the folder itself."""
    path = PurePosixPath(name)
    if (
        not name
        or path.is_absolute()
        or ".." in path.parts
        or re.match("[A-Za-z]:", name)
        or re.search(r"[\\\x00]", name)
    ):
        raise DataError(
            f"{archive}: the name {name!r} leaves its folder, or is none; nothing "
            "was kept. Do not trust this archive."
        )
    return path


def _claim(
    archive: Path, kinds: dict[PurePosixPath, str], name: PurePosixPath, kind: str, to: Path
) -> None:
    """Note that the archive holds `name` and the folders above it: raises `DataError` where that is
    taken, or stands in the way at the target.
    """
    if kind == "file" and kinds.get(name) == "file":
        raise DataError(f"{archive} holds {str(name)!r} twice; nothing was kept.")
    for path, what in [(name, kind), *((parent, "folder") for parent in name.parents[:-1])]:
        if kinds.setdefault(path, what) != what:
            raise DataError(
                f"{archive}: {str(path)!r} is both a file and a folder; nothing was kept."
            )
        if os.path.lexists(to / path) and (to / path).is_dir() != (what == "folder"):
            there = "folder" if what == "file" else "file"
            raise DataError(
                f"{archive}: the {what} {str(path)!r} would replace a {there} in "
                f"{to}; nothing was kept."
            )


# -- into place ------------------------------------------------------------------------------------


@contextmanager
def _hidden_folder(to: Path) -> Iterator[Path]:
    """Give a new folder beside `to`, and remove what is left of it in the end; also the folders
    above, where they had to be made and stay empty.
    """
    above = to.absolute().parent
    missing = [folder for folder in (above, *above.parents) if not folder.exists()]
    temporary = above / f".{to.absolute().name}.{secrets.token_hex(6)}.part"
    try:
        if os.path.lexists(to) and not to.is_dir():
            raise DataError(f"{to} is a file; expected a folder to unpack into.")
        temporary.mkdir(parents=True)
        yield temporary
    except OSError as error:
        raise DataError(
            f"{to} cannot be written: {error.strerror or error}. Nothing was kept."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            for folder in missing:
                folder.rmdir()


def _move(temporary: Path, to: Path) -> None:
    """Rename all that lies in `temporary` into `to`: at one stroke if that is new, else file by
    file, taken back where one of them fails.
    """
    if not os.path.lexists(to):
        temporary.rename(to)
        return
    old = temporary.with_name(f"{temporary.name}.old")
    undo: list[Callable[[], object]] = []
    try:
        for source in sorted(temporary.rglob("*")):
            target = to / source.relative_to(temporary)
            if source.is_dir():
                if not target.exists():
                    target.mkdir()
                    undo.append(target.rmdir)
                continue
            if os.path.lexists(target):
                aside = old / source.relative_to(temporary)
                aside.parent.mkdir(parents=True, exist_ok=True)
                target.rename(aside)
                undo.append(lambda aside=aside, target=target: aside.rename(target))  # type: ignore[misc]
            source.rename(target)
            undo.append(target.unlink)
    except BaseException:
        for step in reversed(undo):
            step()
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
