"""Downloads from a loopback server: right, wrong, refused, cut, gone on with; no half-written file
ever has the name of a whole one.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from helpers import until
from srnn._check import ConfigError, DataError, SrnnError
from srnn.datasets import _fetch, qtdb

CONTENT = bytes(range(256)) * 400


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Server:
    """A loopback server of `files` that counts what it is asked.

    cut: {path: how often} it sends half of what it promises. ranges: whether it can send a part.
    etag, extra: what it says of every file.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.answered: list[int] = []
        self.ranges, self.etag, self.slow = True, '"one"', 0.0
        self.extra: dict[str, str] = {}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(ConnectionError):  # the other side has hung up
                    owner.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        self.headers.append(dict(request.headers))
        body = self.files.get(request.path)
        start = int(request.headers.get("Range", "bytes=0-")[6:-1]) if self.ranges else 0
        if request.headers.get("If-Range", self.etag) != self.etag:
            start = 0
        status = 404 if body is None else 416 if start >= len(body) > 0 else 206 if start else 200
        self.answered.append(status)
        if body is None or status == 416:
            request.send_error(status)
            return
        request.send_response(status)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if self.etag:
            request.send_header("ETag", self.etag)
        for name, value in self.extra.items():
            request.send_header(name, value)
        body = body[start:]
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.cut.get(request.path, 0) > 0:
            self.cut[request.path] -= 1
            body = body[: len(body) // 2]
        for at in range(0, len(body), 1 << 14):
            request.wfile.write(body[at : at + (1 << 14)])
            time.sleep(self.slow)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_fetch, "_PAUSE", 0.0)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_good_download_and_skip(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    to = tmp_path / "deep" / "a.bin"
    assert _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), to) == to
    assert to.read_bytes() == CONTENT
    assert _fetch.sha256(to) == _sum(CONTENT)
    assert os.listdir(to.parent) == ["a.bin"]
    _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), to)
    assert server.asked == ["/a.bin"]
    to.write_bytes(CONTENT[:100])  # damaged since: fetched anew
    _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), to)
    assert to.read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("case", "message"),
    [("wrong", "has SHA-256 .*; expected 0000"), ("absent", "could not be downloaded.*404")],
)
def test_bad_download_leaves_nothing(
    server: Server, tmp_path: Path, case: str, message: str
) -> None:
    if case != "absent":
        server.files["/a.bin"] = CONTENT
    with pytest.raises(DataError, match=message) as caught:
        _fetch.download(
            f"{server.url}/a.bin",
            "0" * 64 if case == "wrong" else _sum(CONTENT),
            tmp_path / "a.bin",
        )
    assert "nothing was kept" in str(caught.value)
    assert os.listdir(tmp_path) == []
    assert server.asked == ["/a.bin"]


def test_no_server(server: Server, tmp_path: Path) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(DataError, match="Check the connection"):
        _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), tmp_path / "a.bin")
    assert os.listdir(tmp_path) == []


def test_folder_that_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(DataError, match="could not be downloaded to"):
        _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), tmp_path / "f" / "a.bin")
    assert server.asked == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a", "file:///etc/passwd", "a.bin", "https://"])
def test_other_addresses(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="starts with https:// or http://"):
        _fetch.download(url, None, tmp_path / "a")
    assert os.listdir(tmp_path) == []


def test_without_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(SrnnError, match=r'requests. Install it with: pip install "srnn\[data\]"'):
        _fetch.download("http://127.0.0.1/a", _sum(b""), tmp_path / "deep" / "a")
    assert os.listdir(tmp_path) == []


def test_checksums(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    md5 = hashlib.md5(CONTENT).hexdigest()
    for number, checksum in enumerate(
        (f"md5:{md5}", f"sha256:{_sum(CONTENT)}", _sum(CONTENT).upper())
    ):
        _fetch.download(f"{server.url}/a.bin", checksum, tmp_path / str(number))
    assert len(server.asked) == 3
    with pytest.raises(DataError, match=f"has MD5 {md5}; expected {'0' * 32}"):
        _fetch.download(f"{server.url}/a.bin", "md5:" + "0" * 32, tmp_path / "a.bin")
    with pytest.raises(ConfigError, match="The checksum is 'abc'; expected 64 hexadecimal digits"):
        _fetch.download(f"{server.url}/a.bin", "abc", tmp_path / "0")
    rows = _fetch.verify_files(tmp_path, {"0": f"md5:{md5}", "1": "0" * 64, "no/such": md5})
    assert [row[:2] for row in rows] == [("0", True), ("1", False), ("no/such", False)]
    assert rows[0][2] == "ok"
    assert "has SHA-256" in rows[1][2]
    assert rows[2][2].startswith("missing")


# -- transfers that are cut ------------------------------------------------------------------------


def _files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


PARTS = [".a.bin.part", ".a.bin.part.json"]


@pytest.mark.parametrize("checksum", [_sum(CONTENT), None])
def test_cut_transfer_goes_on_within_one_call(
    server: Server, tmp_path: Path, checksum: str | None
) -> None:
    server.files["/a.bin"], server.cut = CONTENT, {"/a.bin": 2}
    seen: list[tuple[int, int | None]] = []
    _fetch.download(
        f"{server.url}/a.bin",
        checksum,
        tmp_path / "a.bin",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert _files(tmp_path) == ["a.bin"]
    assert server.answered == [200, 206, 206]
    kept = [int(h.get("Range", "bytes=0-")[6:-1]) for h in server.headers]
    assert 0 == kept[0] < len(CONTENT) // 2 - (1 << 14) <= kept[1] < kept[2] < len(CONTENT)
    assert [h.get("If-Range") for h in server.headers] == [None, '"one"', '"one"']
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {len(CONTENT)}
    assert seen[-1][0] == len(CONTENT)


def test_cut_three_times_then_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"], server.cut = CONTENT, {"/a.bin": 3}
    with pytest.raises(DataError, match=r"could not be downloaded.*tried 3 times") as caught:
        _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), tmp_path / "a.bin")
    part = tmp_path / ".a.bin.part"
    have = part.stat().st_size
    assert have > 0.7 * len(CONTENT)
    assert (
        f"{have} of {len(CONTENT)} bytes are kept in {part}, and the same command goes on "
        "from there"
    ) in str(caught.value)
    assert _files(tmp_path) == PARTS
    _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), tmp_path / "a.bin")
    assert server.headers[-1]["Range"] == f"bytes={have}-"
    assert len(server.asked) == 4
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert _files(tmp_path) == ["a.bin"]


def _interrupted(server: Server, tmp_path: Path, checksum: str | None = _sum(CONTENT)) -> int:
    """Leave a part of the file, as Ctrl-C would; return its length."""
    server.files.setdefault("/a.bin", CONTENT)

    def stop(done: int, total: int | None) -> None:
        if done > 30_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fetch.download(f"{server.url}/a.bin", checksum, tmp_path / "a.bin", progress=stop)
    assert _files(tmp_path) == PARTS
    have = (tmp_path / ".a.bin.part").stat().st_size
    assert 30_000 < have < len(CONTENT)
    return have


def test_interrupt_keeps_what_came(server: Server, tmp_path: Path) -> None:
    have = _interrupted(server, tmp_path)
    _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), tmp_path / "a.bin")
    assert server.headers[-1]["Range"] == f"bytes={have}-"
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


OTHER = CONTENT[::-1]


@pytest.mark.parametrize(
    ("case", "checksum", "answers"),
    [
        ("no ranges", _sum(CONTENT), [200]),
        ("other tag", _sum(OTHER), [200]),
        ("other tag", None, [200]),
        ("other tag, If-Range ignored", _sum(OTHER), [206, 200]),
        ("other size", _sum(CONTENT[:-9]), [206, 200]),
        ("shorter than the part", _sum(CONTENT[:999]), [416, 200]),
        ("no validator", _sum(CONTENT), [206]),
        ("no validator", None, [200]),
        ("weak tag", None, [200]),
        ("date only", None, [206]),
        ("note lost", _sum(CONTENT), [200]),
        ("note damaged", _sum(CONTENT), [200]),
        ("note of another address", _sum(CONTENT), [200]),
        ("whole but not looked at", _sum(CONTENT), []),
        ("whole but not looked at", None, [416, 200]),
        ("too long", _sum(CONTENT), [200]),
    ],
)
def test_what_is_gone_on_with_and_what_not(
    server: Server, tmp_path: Path, case: str, checksum: str | None, answers: list[int]
) -> None:
    part, note = (tmp_path / name for name in PARTS)
    if case == "no validator":
        server.etag = ""
    elif case == "weak tag":
        server.etag = 'W/"one"'
    elif case == "date only":
        server.etag, server.extra = "", {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
    _interrupted(server, tmp_path, checksum)
    if case == "no ranges":
        server.ranges = False
    elif case.startswith("other tag"):
        server.files["/a.bin"], server.etag = OTHER, '"two"'
        if "ignored" in case:
            server.answer = _ignoring_if_range(server.answer)  # type: ignore[method-assign]
    elif case == "other size":
        server.files["/a.bin"] = CONTENT[:-9]
    elif case == "shorter than the part":
        server.files["/a.bin"] = CONTENT[:999]
    elif case == "date only":
        server.etag = server.extra["Last-Modified"]  # what this server compares If-Range with
        server.extra = {}
    elif case == "note lost":
        note.unlink()
    elif case == "note damaged":
        note.write_text('{"url": 1')
    elif case == "note of another address":
        note.write_text(note.read_text().replace("/a.bin", "/b.bin"))
    elif case == "whole but not looked at":
        part.write_bytes(CONTENT)
    elif case == "too long":
        part.write_bytes(CONTENT + b"x")
    server.answered.clear()
    _fetch.download(f"{server.url}/a.bin", checksum, tmp_path / "a.bin")
    assert server.answered == answers
    assert (tmp_path / "a.bin").read_bytes() == server.files["/a.bin"]
    assert _files(tmp_path) == ["a.bin"]


def _ignoring_if_range(
    answer: Callable[[BaseHTTPRequestHandler], None],
) -> Callable[[BaseHTTPRequestHandler], None]:
    def ignoring(request: BaseHTTPRequestHandler) -> None:
        del request.headers["If-Range"]
        answer(request)

    return ignoring


def test_damaged_part_is_found_out_and_deleted(server: Server, tmp_path: Path) -> None:
    _interrupted(server, tmp_path)
    part = tmp_path / ".a.bin.part"
    part.write_bytes(b"?" + part.read_bytes()[1:])
    with pytest.raises(DataError, match=r"has SHA-256 .*\n.*nothing was kept"):
        _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), tmp_path / "a.bin")
    assert _files(tmp_path) == []
    _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), tmp_path / "a.bin")
    assert server.answered == [200, 206, 200]


def test_part_outlives_a_refusal(server: Server, tmp_path: Path) -> None:
    have = _interrupted(server, tmp_path)
    held = server.files.pop("/a.bin")
    with pytest.raises(DataError, match=f"404.*\n.*{have} of {len(CONTENT)} bytes are kept"):
        _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), tmp_path / "a.bin")
    server.files["/a.bin"] = held
    _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), tmp_path / "a.bin")
    assert server.answered == [200, 404, 206]


def test_web_page_in_place_of_a_file(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"], server.extra = (
        b"<html>log in</html>",
        {"Content-Type": "text/html; charset=utf-8"},
    )
    with pytest.raises(DataError, match=r"a web page instead\.\n.*nothing was kept"):
        _fetch.download(f"{server.url}/a.zip", None, tmp_path / "a.zip")
    assert _files(tmp_path) == []
    _fetch.download(f"{server.url}/a.zip", None, tmp_path / "a.html")
    assert _files(tmp_path) == ["a.html"]


def test_stored_bytes_are_not_decoded(server: Server, tmp_path: Path) -> None:
    content = gzip.compress(CONTENT)
    server.files["/a.gz"], server.extra = content, {"Content-Encoding": "x-gzip"}
    _fetch.download(f"{server.url}/a.gz", _sum(content), tmp_path / "a.gz")
    assert (tmp_path / "a.gz").read_bytes() == content
    assert server.headers[0]["Accept-Encoding"] == "identity"


def test_empty_file(server: Server, tmp_path: Path) -> None:
    server.files["/empty"] = b""
    assert _fetch.download(f"{server.url}/empty", _sum(b""), tmp_path / "empty").read_bytes() == b""
    assert _files(tmp_path) == ["empty"]


CHILD = """if True:
    import sys, types
    package = sys.modules["srnn"] = types.ModuleType("srnn")  # without torch, which takes seconds
    package.__path__ = [sys.argv[4]]
    from srnn.datasets import _fetch
    _fetch.download(*sys.argv[1:4])
"""


def _child(server: Server, to: Path) -> subprocess.Popen[str]:
    arguments = [
        f"{server.url}/a.bin",
        _sum(server.files["/a.bin"]),
        str(to),
        str(Path(_fetch.__file__).parents[1]),
    ]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stderr=subprocess.PIPE, text=True
    )


def _wait_for(path: Path, size: int) -> None:
    until(lambda: path.exists() and path.stat().st_size >= size)


def test_killed_process_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"], server.slow = CONTENT * 10, 0.05
    part = tmp_path / ".a.bin.part"
    child = _child(server, tmp_path / "a.bin")
    _wait_for(part, 100_000)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    child.communicate()
    have, server.slow = part.stat().st_size, 0.0
    assert 100_000 <= have < len(CONTENT) * 10
    assert _files(tmp_path) == PARTS
    _fetch.download(f"{server.url}/a.bin", _sum(CONTENT * 10), tmp_path / "a.bin")
    assert server.headers[-1]["Range"] == f"bytes={have}-"
    assert (tmp_path / "a.bin").read_bytes() == CONTENT * 10
    assert _files(tmp_path) == ["a.bin"]


def test_two_processes_and_three_threads_fetch_one_file_once(
    server: Server, tmp_path: Path
) -> None:
    server.files["/a.bin"], server.slow = CONTENT, 0.2
    child = _child(server, tmp_path / "a.bin")
    _wait_for(tmp_path / ".a.bin.part", 1)
    with ThreadPoolExecutor(3) as pool:
        futures = [
            pool.submit(_fetch.download, f"{server.url}/a.bin", _sum(CONTENT), tmp_path / "a.bin")
            for _ in range(3)
        ]
        assert child.poll() is None
    assert [future.result() for future in futures] == [tmp_path / "a.bin"] * 3
    assert (child.wait(), child.communicate()[1]) == (0, "")
    assert server.asked == ["/a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert _files(tmp_path) == ["a.bin"]


def test_file_system_without_locks(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*args: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    server.files["/a.bin"] = CONTENT
    assert (
        _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), tmp_path / "a.bin").read_bytes()
        == CONTENT
    )


# -- archives --------------------------------------------------------------------------------------


def test_fetch_archive(server: Server, tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("x/a.txt", "a")
        file.writestr("x/b.bin", CONTENT)
    content = out.getvalue()
    server.files = {
        "/set/x%20y.zip": content,
        "/share/download": content,
        "/bad.zip": content[:900],
    }
    to = tmp_path / "set"
    assert _fetch.fetch_archive(f"{server.url}/set/x%20y.zip", _sum(content), to) == [
        to / "x/a.txt",
        to / "x/b.bin",
    ]
    assert _files(tmp_path) == ["set"]
    url = f"{server.url}/share/download"
    assert _fetch.fetch_archive(
        url, None, to, keep=True, name="s.zip", members=lambda name: name == "x/a.txt"
    ) == [to / "x/a.txt"]
    assert _files(tmp_path) == ["s.zip", "set"]
    with pytest.raises(DataError, match=r"bad\.zip is truncated or damaged"):
        _fetch.fetch_archive(f"{server.url}/bad.zip", None, to)
    assert _files(tmp_path) == ["s.zip", "set"]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="is a file; expected a folder"):
        _fetch.fetch_archive(f"{server.url}/set/x%20y.zip", _sum(content), tmp_path / "file")
    assert _files(tmp_path) == ["file", "s.zip", "set", "x y.zip"]


# -- folders and checksum lists --------------------------------------------------------------------


def test_read_sums() -> None:
    a, b = "0" * 64, "AB" * 32
    assert _fetch.read_sums(f"{a}  sel100.dat\n\n{b} *old/x y.txt\r\n") == {
        "sel100.dat": a,
        "old/x y.txt": b.lower(),
    }
    bad = [
        ("<html>", "is not"),
        ("", "empty"),
        (f"{a}  ../../etc/x", "leaves"),
        (f"{a}  /etc/x", "leaves"),
        (f"{a}  a\\b", "leaves"),
    ]
    for text, message in bad:
        with pytest.raises(DataError, match=message):
            _fetch.read_sums(text)


def test_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRNN_DATA", str(tmp_path / "env"))
    assert _fetch.data_root(tmp_path) == tmp_path
    assert _fetch.data_root() == tmp_path / "env"
    monkeypatch.delenv("SRNN_DATA")
    assert _fetch.data_root(None).name == "srnn"
    (tmp_path / "f").write_text("")
    with pytest.raises(DataError, match="is a file; expected a folder"):
        _fetch.data_root(tmp_path / "f")


def test_find(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("")
    assert _fetch.find(tmp_path, "a", "b") == tmp_path / "b"
    with pytest.raises(
        DataError,
        match=r"No x or y in .*\n.*srnn data fetch shd.*--data-dir or "
        r"\$SRNN_DATA",
    ):
        _fetch.find(tmp_path, "x", "y", name="shd")
    with pytest.raises(DataError, match="cannot be read"):
        _fetch.sha256(tmp_path / "none")


def test_qtdb_raw_fetch_resume_and_verify(server: Server, tmp_path: Path) -> None:
    """A registry of three records: one is refused at first; the second call fetches only what
    lacks; verify finds a damaged file.
    """
    names = [
        f"sel{n}{suffix}" for n in (100, 102, 103) for suffix in (".hea", ".dat", ".q1c", ".xws")
    ]
    bodies = {name: name.encode() * 50 for name in names}
    server.files = {f"/qtdb/{name}": body for name, body in bodies.items()}
    server.files["/qtdb/SHA256SUMS.txt"] = "".join(
        f"{_sum(body)}  {name}\n" for name, body in bodies.items()
    ).encode()
    held = server.files.pop("/qtdb/sel103.q1c")
    with pytest.raises(DataError, match=r"sel103\.q1c could not be downloaded"):
        qtdb.fetch(tmp_path, raw=True, raw_url=f"{server.url}/qtdb")
    server.files["/qtdb/sel103.q1c"] = held
    server.asked.clear()
    paths = qtdb.fetch(tmp_path, raw=True, raw_url=f"{server.url}/qtdb")
    assert server.asked == ["/qtdb/SHA256SUMS.txt", "/qtdb/sel103.q1c"]
    assert [p.name for p in paths] == [n for n in names if not n.endswith(".xws")]
    assert qtdb.records(tmp_path) == ["sel100", "sel102", "sel103"]
    (tmp_path / "qtdb" / "1.0.0" / "sel102.dat").write_bytes(b"short")
    rows = {what: (ok, detail) for what, ok, detail in qtdb.verify(tmp_path)}
    assert len(rows) == 11
    assert [what for what, (ok, _) in rows.items() if not ok] == [
        "QTDB_train.mat",
        "QTDB_test.mat",
        "sel102.dat",
    ]
    assert rows["QTDB_train.mat"][1].startswith("missing")
    assert "expected" in rows["sel102.dat"][1]
    assert rows["sel100.hea"] == (True, "ok")


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"<html>busy</html>", "error page"), (b"0" * 64 + b"  a.txt\n", "no record")],
)
def test_qtdb_bad_registry_is_not_kept(
    server: Server, tmp_path: Path, body: bytes, message: str
) -> None:
    server.files["/SHA256SUMS.txt"] = body
    with pytest.raises(DataError, match=message):
        qtdb.fetch(tmp_path, raw=True, raw_url=server.url)
    assert os.listdir(tmp_path / "qtdb" / "1.0.0") == []


def test_qtdb_encoded_fetch(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files = {"/QTDB_train.mat": b"a", "/QTDB_test.mat": b"b"}
    monkeypatch.setattr(
        qtdb, "FILES", {n: (f"{server.url}/{n}", _sum(server.files[f"/{n}"])) for n in qtdb.FILES}
    )
    assert [p.name for p in qtdb.fetch(tmp_path)] == ["QTDB_train.mat", "QTDB_test.mat"]
    assert [row[1:] for row in qtdb.verify(tmp_path)] == [(True, "ok")] * 2
