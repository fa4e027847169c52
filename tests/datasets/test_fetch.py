"""Downloads from a loopback server: right, wrong, refused, cut, resumed; nothing half-written stays."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from srnn._check import DataError, SrnnError
from srnn.datasets import _fetch, qtdb

CONTENT = bytes(range(256)) * 400


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Server:
    """A loopback server of `files`; a path in `cut` promises more than it sends."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.asked: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append(self.path)
                body = owner.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if self.path in owner.cut else body)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
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
    [
        ("wrong", "has SHA-256 .*; expected 0000"),
        ("absent", "could not be downloaded.*404"),
        ("cut", "could not be downloaded|has SHA-256"),
    ],
)
def test_bad_download_leaves_nothing(server: Server, tmp_path: Path, case: str, message: str) -> None:
    if case != "absent":
        server.files["/a.bin"] = CONTENT
    if case == "cut":
        server.cut.add("/a.bin")
    with pytest.raises(DataError, match=message) as caught:
        _fetch.download(f"{server.url}/a.bin", "0" * 64 if case == "wrong" else _sum(CONTENT), tmp_path / "a.bin")
    assert "nothing was kept" in str(caught.value)
    assert os.listdir(tmp_path) == []
    assert server.asked == ["/a.bin"]


def test_cut_download_without_checksum_is_noticed(server: Server, tmp_path: Path) -> None:
    server.files["/sums"], server.cut = CONTENT, {"/sums"}
    with pytest.raises(DataError, match="could not be downloaded"):
        _fetch.download(f"{server.url}/sums", None, tmp_path / "sums")
    assert os.listdir(tmp_path) == []


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


def test_interrupt_leaves_nothing(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/a.bin"] = CONTENT

    def interrupt(path: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(_fetch, "sha256", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _fetch.download(f"{server.url}/a.bin", _sum(CONTENT), tmp_path / "a.bin")
    assert os.listdir(tmp_path) == []


def test_without_pooch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(SrnnError, match=r'pip install "srnn\[data\]"'):
        _fetch.download("http://127.0.0.1/a", _sum(b""), tmp_path / "a")


def test_read_sums() -> None:
    a, b = "0" * 64, "AB" * 32
    assert _fetch.read_sums(f"{a}  sel100.dat\n\n{b} *old/x y.txt\r\n") == {"sel100.dat": a, "old/x y.txt": b.lower()}
    bad = [("<html>", "is not"), ("", "empty"), (f"{a}  ../../etc/x", "leaves"), (f"{a}  /etc/x", "leaves"), (f"{a}  a\\b", "leaves")]
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
    with pytest.raises(DataError, match=r"No x or y in .*\n.*srnn data fetch shd.*--data-dir or \$SRNN_DATA"):
        _fetch.find(tmp_path, "x", "y", name="shd")
    with pytest.raises(DataError, match="cannot be read"):
        _fetch.sha256(tmp_path / "none")


def test_qtdb_raw_fetch_resume_and_verify(server: Server, tmp_path: Path) -> None:
    """A registry of three records: one is refused at first; the second call fetches only what lacks; verify finds a damaged file."""
    names = [f"sel{n}{suffix}" for n in (100, 102, 103) for suffix in (".hea", ".dat", ".q1c", ".xws")]
    bodies = {name: name.encode() * 50 for name in names}
    server.files = {f"/qtdb/{name}": body for name, body in bodies.items()}
    server.files["/qtdb/SHA256SUMS.txt"] = "".join(f"{_sum(body)}  {name}\n" for name, body in bodies.items()).encode()
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
    assert [what for what, (ok, _) in rows.items() if not ok] == ["QTDB_train.mat", "QTDB_test.mat", "sel102.dat"]
    assert rows["QTDB_train.mat"][1].startswith("missing")
    assert "expected" in rows["sel102.dat"][1]
    assert rows["sel100.hea"] == (True, "ok")


@pytest.mark.parametrize(("body", "message"), [(b"<html>busy</html>", "error page"), (b"0" * 64 + b"  a.txt\n", "no record")])
def test_qtdb_bad_registry_is_not_kept(server: Server, tmp_path: Path, body: bytes, message: str) -> None:
    server.files["/SHA256SUMS.txt"] = body
    with pytest.raises(DataError, match=message):
        qtdb.fetch(tmp_path, raw=True, raw_url=server.url)
    assert os.listdir(tmp_path / "qtdb" / "1.0.0") == []


def test_qtdb_encoded_fetch(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files = {"/QTDB_train.mat": b"a", "/QTDB_test.mat": b"b"}
    monkeypatch.setattr(qtdb, "FILES", {n: (f"{server.url}/{n}", _sum(server.files[f"/{n}"])) for n in qtdb.FILES})
    assert [p.name for p in qtdb.fetch(tmp_path)] == ["QTDB_train.mat", "QTDB_test.mat"]
    assert [row[1:] for row in qtdb.verify(tmp_path)] == [(True, "ok")] * 2
