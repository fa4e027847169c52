"""Archives: good ones come out whole, hostile and damaged ones are one clear error and leave
nothing.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from srnn._check import DataError
from srnn.datasets import _archive, _fetch
from srnn.datasets._archive import extract

FILES = {
    "a.txt": b"alpha",
    "deep/er/b.bin": np.random.default_rng(0).bytes(70_000),
    "deep/empty": b"",
}
ENDINGS = (".tar", ".tar.gz", ".tgz", ".zip")


def _tar(members: list[tarfile.TarInfo | tuple[str, bytes]], zipped: bool = False) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as file:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                file.addfile(info, io.BytesIO(member[1]))
    return gzip.compress(out.getvalue(), 1) if zipped else out.getvalue()


def _zip(members: list[zipfile.ZipInfo | tuple[str, bytes]], content: bytes = b"x") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for member in members:
            file.writestr(*((member, content) if isinstance(member, zipfile.ZipInfo) else member))
    return out.getvalue()


def _archived(ending: str, files: dict[str, bytes] = FILES) -> bytes:
    return (
        _zip(list(files.items()))
        if ending == ".zip"
        else _tar(list(files.items()), ending != ".tar")
    )


def _special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _zip_mode(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (mode | 0o777) << 16
    return info


def _tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in sorted(folder.rglob("*"))
    }


# -- good archives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("there", [False, True])
def test_good_archive(tmp_path: Path, ending: str, there: bool) -> None:
    archive, to = tmp_path / f"x{ending}", tmp_path / "new" / "out"
    archive.write_bytes(_archived(ending))
    if there:
        (to / "deep").mkdir(parents=True)
        (to / "deep" / "mine").write_bytes(b"stays")
        (to / "a.txt").write_bytes(b"old")
    assert _fetch.extract(archive, to) == [to / name for name in FILES]
    expected = FILES | ({"deep/mine": b"stays"} if there else {})
    assert {k: v for k, v in _tree(to).items() if v is not None} == expected
    assert sorted(os.listdir(tmp_path)) == ["new", archive.name]
    assert os.listdir(tmp_path / "new") == ["out"]
    assert stat.S_IMODE(to.stat().st_mode) == stat.S_IMODE((to / "deep").stat().st_mode)


def test_gz_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "x.h5.gz").write_bytes(gzip.compress(FILES["deep/er/b.bin"]))
    assert extract(tmp_path / "x.h5.gz", tmp_path) == [tmp_path / "x.h5"]
    assert (tmp_path / "x.h5").read_bytes() == FILES["deep/er/b.bin"]
    assert sorted(os.listdir(tmp_path)) == ["x.h5", "x.h5.gz"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_only_some_members_and_a_link_among_the_others(tmp_path: Path, ending: str) -> None:
    files = {"top/keep/1.wav": b"1", "top/no/2.wav": b"2"}
    content = _archived(ending, files)
    if ending != ".zip":
        content = _tar(
            [_special("top/no/link", tarfile.SYMTYPE, "/etc"), *files.items()], ending != ".tar"
        )
    (tmp_path / f"x{ending}").write_bytes(content)
    assert extract(
        tmp_path / f"x{ending}", tmp_path / "out", lambda name: name.startswith("top/keep/")
    ) == [tmp_path / "out/top/keep/1.wav"]
    assert _tree(tmp_path / "out") == {"top": None, "top/keep": None, "top/keep/1.wav": b"1"}
    with pytest.raises(DataError, match="no file of those that were asked for"):
        extract(tmp_path / f"x{ending}", tmp_path / "none", lambda name: False)
    assert not (tmp_path / "none").exists()


def test_dotted_names_folders_and_a_gzip_without_end_mark(tmp_path: Path) -> None:
    content = _tar(
        [
            _special(".", tarfile.DIRTYPE),
            _special("./d", tarfile.DIRTYPE),
            ("./d/a", b"a"),
            _special("e", tarfile.DIRTYPE),
        ]
    )
    (tmp_path / "x.tgz").write_bytes(gzip.compress(content[: 5 * 512]))
    assert extract(tmp_path / "x.tgz", tmp_path / "out") == [tmp_path / "out" / "d" / "a"]
    assert _tree(tmp_path / "out") == {"d": None, "d/a": b"a", "e": None}


# -- hostile and damaged ones ----------------------------------------------------------------------

ZIP = _archived(".zip")
TAR = _archived(".tar")
TGZ = _archived(".tgz")
GZ = gzip.compress(FILES["deep/er/b.bin"])


def _changed(content: bytes, at: int, to: bytes) -> bytes:
    at %= len(content)
    return content[:at] + to + content[at + len(to) :]


def _encrypted() -> bytes:
    at = ZIP.index(b"PK\x01\x02")
    return _changed(_changed(ZIP, 6, b"\x01"), at + 8, b"\x01")


def _zip_renamed(old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new)
    return _zip([(old.decode(), b"x")]).replace(old, new)


def _huge_header() -> bytes:
    """A PAX header that claims a gigabyte."""
    info = _special("PaxHeaders/x", tarfile.XHDTYPE)
    info.size = 1 << 30
    return gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20))


def _sparse() -> bytes:
    return _special("holes", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT) + bytes(1024)


SECOND_HEADER = 2 * 512  # in TAR: after the header and the one block of a.txt

HOSTILE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "tar absolute": (
        ".tar",
        lambda: _tar([("ok", b"1"), ("/tmp/evil", b"x")]),
        r"'/tmp/evil' leaves its folder",
    ),
    "tar parent": (
        ".tgz",
        lambda: _tar([("ok", b"1"), ("../evil", b"x")], True),
        r"'\.\./evil' leaves its folder",
    ),
    "tar parent inside": (
        ".tar",
        lambda: _tar([("ok", b"1"), ("a/../../evil", b"x")]),
        "leaves its folder",
    ),
    "tar backslash": (".tar", lambda: _tar([("a\\..\\evil", b"x")]), "leaves its folder"),
    "tar drive": (".tar", lambda: _tar([("C:evil", b"x")]), "'C:evil' leaves its folder"),
    "tar link": (
        ".tar",
        lambda: _tar([("ok", b"1"), _special("l", tarfile.SYMTYPE, "/etc"), ("l/evil", b"x")]),
        "'l' is a symbolic link",
    ),
    "tar link inside": (
        ".tgz",
        lambda: _tar([("ok", b"1"), _special("l", tarfile.SYMTYPE, "ok")], True),
        "'l' is a symbolic link",
    ),
    "tar hard link": (
        ".tar",
        lambda: _tar([("ok", b"1"), _special("l", tarfile.LNKTYPE, "ok")]),
        "'l' is a hard link",
    ),
    "tar device": (".tar", lambda: _tar([_special("null", tarfile.CHRTYPE)]), "'null' is a device"),
    "tar fifo": (".tar", lambda: _tar([_special("pipe", tarfile.FIFOTYPE)]), "'pipe' is a device"),
    "tar sparse": (".tar", _sparse, "'holes' is a device, or a file of a rare kind"),
    "tar twice": (
        ".tar",
        lambda: _tar([("a", b"1"), ("b", b"1"), ("./a", b"2")]),
        "holds 'a' twice",
    ),
    "tar file then folder": (
        ".tar",
        lambda: _tar([("a", b"1"), ("a/b", b"2")]),
        "'a' is both a file and a folder",
    ),
    "tar folder then file": (
        ".tar",
        lambda: _tar([("a/b", b"1"), ("a", b"2")]),
        "'a' is both a file and a folder",
    ),
    "tar long name": (
        ".tar",
        lambda: _tar([("ok", b"1"), ("n" * 300, b"2")]),
        "cannot be unpacked",
    ),
    "tar bomb": (
        ".tgz",
        lambda: _tar([("ok", b"1"), ("zeros", bytes(2_000_000))], True),
        "more than the limit of 1000000 bytes",
    ),
    "tar header bomb": (".tgz", _huge_header, "damaged .*header of 1073741824 bytes"),
    "tar empty": (".tar", lambda: _tar([]), "holds no file"),
    "tar folders only": (".tar", lambda: _tar([_special("d", tarfile.DIRTYPE)]), "holds no file"),
    "tar cut in a file": (".tar", lambda: TAR[:40_000], "truncated or damaged"),
    "tar cut between files": (
        ".tar",
        lambda: TAR[:SECOND_HEADER],
        "truncated or damaged .*before its end mark",
    ),
    "tar cut in a header": (".tar", lambda: TAR[: SECOND_HEADER + 100], "truncated or damaged"),
    "tar broken first header": (".tar", lambda: _changed(TAR, 0, b"zz"), "truncated or damaged"),
    "tar broken second header": (
        ".tar",
        lambda: _changed(TAR, SECOND_HEADER, b"zz"),
        "truncated or damaged .*before its end mark",
    ),
    "tgz cut": (".tar.gz", lambda: TGZ[: len(TGZ) // 2], "truncated or damaged .*EOFError"),
    "tgz last bytes cut": (".tar.gz", lambda: TGZ[:-4], "truncated or damaged .*EOFError"),
    "tgz changed": (
        ".tgz",
        lambda: _changed(TGZ, len(TGZ) // 2, b"\x00\xff\x00\xff"),
        "truncated or damaged",
    ),
    "tgz wrong sum": (
        ".tgz",
        lambda: _changed(TGZ, -8, b"\x00\x01\x02\x03"),
        "truncated or damaged .*CRC",
    ),
    "tgz of text": (".tgz", lambda: gzip.compress(b"<html>" * 500), "truncated or damaged"),
    "tgz that is html": (
        ".tgz",
        lambda: b"<!DOCTYPE html>",
        "not a .tgz file: it starts with b'<!DOCTYPE",
    ),
    "zip absolute": (
        ".zip",
        lambda: _zip([("ok", b"1"), ("/evil", b"x")]),
        "'/evil' leaves its folder",
    ),
    "zip parent": (
        ".zip",
        lambda: _zip([("ok", b"1"), ("a/../../evil", b"x")]),
        "leaves its folder",
    ),
    "zip backslash": (".zip", lambda: _zip_renamed(b"..|evil", b"..\\evil"), "leaves its folder"),
    "zip drive": (".zip", lambda: _zip_renamed(b"c/evil", b"c:evil"), "'c:evil' leaves its folder"),
    "zip nul": (
        ".zip",
        lambda: _zip_renamed(b"evil.txt", b"evil\x00txt"),
        r"'evil\\x00txt' leaves its folder",
    ),
    "zip link": (
        ".zip",
        lambda: _zip([("ok", b"1"), _zip_mode("l", stat.S_IFLNK)], b"/etc"),
        "'l' is a symbolic link",
    ),
    "zip fifo": (".zip", lambda: _zip([_zip_mode("p", stat.S_IFIFO)]), "'p' is a device"),
    "zip encrypted": (".zip", _encrypted, "'a.txt' is an encrypted file"),
    "zip bomb": (
        ".zip",
        lambda: _zip([("ok", b"1"), ("zeros", bytes(2_000_000))]),
        "more than the limit of 1000000 bytes",
    ),
    "zip many small": (
        ".zip",
        lambda: _zip([(str(i), bytes(300_000)) for i in range(4)]),
        "more than the limit of 1000000 bytes",
    ),
    "zip twice": (
        ".zip",
        lambda: _zip([("a", b"1"), ("b", b"1"), ("./a", b"2")]),
        "holds 'a' twice",
    ),
    "zip file then folder": (
        ".zip",
        lambda: _zip([("a", b"1"), ("a/b", b"2")]),
        "'a' is both a file and a folder",
    ),
    "zip empty": (".zip", lambda: _zip([]), "holds no file"),
    "zip cut": (".zip", lambda: ZIP[: len(ZIP) // 2], "truncated or damaged .*BadZipFile"),
    "zip without start": (".zip", lambda: b"PK" + ZIP[40_000:], "truncated or damaged"),
    "zip changed": (
        ".zip",
        lambda: _changed(ZIP, len(ZIP) // 2, b"\x00\xff\x00\xff"),
        "truncated or damaged",
    ),
    "zip wrong sum": (
        ".zip",
        lambda: ZIP.replace(struct.pack("<I", __import__("zlib").crc32(b"alpha")), b"\0\1\2\3"),
        "truncated or damaged .*CRC",
    ),
    "zip unknown method": (
        ".zip",
        lambda: _changed(ZIP, ZIP.index(b"PK\x01\x02") + 10, b"\x63"),
        "truncated or damaged .*",
    ),
    "zip that is html": (".zip", lambda: b"<html>", "not a .zip file"),
    "gz cut": (".gz", lambda: GZ[: len(GZ) // 2], "truncated or damaged .*EOFError"),
    "gz header only": (".gz", lambda: GZ[:10], "truncated or damaged .*EOFError"),
    "gz wrong sum": (".gz", lambda: _changed(GZ, -8, b"\0\1\2\3"), "truncated or damaged .*CRC"),
    "gz with rubbish": (".gz", lambda: GZ + b"rubbish", "truncated or damaged"),
    "gz bomb": (
        ".gz",
        lambda: gzip.compress(bytes(2_000_000)),
        "more than the limit of 1000000 bytes",
    ),
    "gz empty": (".gz", lambda: b"", "is empty"),
    "unknown kind": (".rar", lambda: b"Rar!", "no archive by its name"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archive_is_one_error_and_nothing_stays(tmp_path: Path, case: str) -> None:
    ending, make, message = HOSTILE[case]
    archive, to = tmp_path / f"x{ending}", tmp_path / "data" / "out"
    content = make()  # once: it holds the time of day
    archive.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        extract(archive, to, limit=1_000_000)
    assert str(archive) in str(caught.value)
    assert os.listdir(tmp_path) == [archive.name]
    to.mkdir(parents=True)
    (to / "mine").write_bytes(b"stays")
    with pytest.raises(DataError, match=message):
        extract(archive, to, limit=1_000_000)
    assert _tree(tmp_path) == {
        archive.name: content,
        "data": None,
        "data/out": None,
        "data/out/mine": b"stays",
    }


def test_there_are_enough_hostile_archives() -> None:
    assert len(HOSTILE) >= 50
    assert {ending for ending, _, _ in HOSTILE.values()} == {
        ".tar",
        ".tar.gz",
        ".tgz",
        ".zip",
        ".gz",
        ".rar",
    }


@pytest.mark.parametrize("ending", [*ENDINGS, ".gz"])
def test_every_cut_is_an_error(tmp_path: Path, ending: str) -> None:
    content = (
        GZ
        if ending == ".gz"
        else _archived(ending, {"a": b"1" * 600, "b": np.random.default_rng(1).bytes(3000)})
    )
    # zeros after the end mark may be cut
    whole = len(content.rstrip(b"\0")) // 512 * 512 + 512 if ending == ".tar" else len(content) - 1
    cuts = range(0, whole, max(1, whole // 110))
    for cut in cuts:
        (tmp_path / f"x{ending}").write_bytes(content[:cut])
        with pytest.raises(DataError):
            extract(tmp_path / f"x{ending}", tmp_path / "out")
        assert os.listdir(tmp_path) == [f"x{ending}"]
    assert len(cuts) >= 100


@pytest.mark.parametrize("ending", [".tgz", ".zip"])
def test_every_changed_byte_is_an_error_or_harmless(tmp_path: Path, ending: str) -> None:
    files = {"a": b"1" * 600, "b/c": np.random.default_rng(1).bytes(300)}
    content, refused, tried = _archived(ending, files), 0, 0
    for at in range(0, len(content), 4):
        (tmp_path / f"x{ending}").write_bytes(_changed(content, at, bytes([content[at] ^ 0xFF])))
        tried += 1
        try:
            paths = extract(tmp_path / f"x{ending}", tmp_path / "out")
        except DataError:
            refused += 1
            assert os.listdir(tmp_path) == [f"x{ending}"]
        else:  # a date, say; or a name, which no checksum of a zip guards
            assert sorted(p.read_bytes() for p in paths) == sorted(files.values())
            shutil.rmtree(tmp_path / "out")
    assert refused > tried // 2 > 50


def test_what_stands_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(_tar([("new", b"1"), ("a/b", b"2")]))
    (tmp_path / "file").write_text("x")
    (tmp_path / "1/a/b").mkdir(parents=True)
    (tmp_path / "2").mkdir()
    (tmp_path / "2/a").write_text("x")
    before = _tree(tmp_path)
    for to, message in (
        ("file", "is a file; expected a folder"),
        ("1", "file 'a/b' would replace a folder"),
        ("2", "folder 'a' would replace a file"),
    ):
        with pytest.raises(DataError, match=message):
            extract(tmp_path / "x.tar", tmp_path / to)
        assert _tree(tmp_path) == before
    with pytest.raises(DataError, match="cannot be read: No such file"):
        extract(tmp_path / "none.zip", tmp_path / "out")
    with pytest.raises(DataError, match="cannot be written"):
        extract(tmp_path / "x.tar", tmp_path / "file" / "out")
    assert _tree(tmp_path) == before


def test_a_failing_move_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.tar").write_bytes(_tar([("a", b"new"), ("d/b", b"new"), ("z", b"new")]))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_bytes(b"old")
    (tmp_path / "out" / "z").write_bytes(b"old")
    before, rename = _tree(tmp_path), Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "z" and self.parent.name.endswith(".part"):
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(DataError, match="Permission denied"):
        extract(tmp_path / "x.tar", tmp_path / "out")
    assert _tree(tmp_path) == before


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.tgz").write_bytes(TGZ)
    monkeypatch.setattr(
        _archive.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000)
    )
    with pytest.raises(DataError, match="more than the 1000 bytes that are free on the disk"):
        extract(tmp_path / "x.tgz", tmp_path / "out")
    assert os.listdir(tmp_path) == ["x.tgz"]


def test_relative_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.zip").write_bytes(ZIP)
    monkeypatch.chdir(tmp_path)
    assert extract("x.zip", ".") == [Path(name) for name in FILES]
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "deep", "x.zip"]
