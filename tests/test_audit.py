"""The audit finds nothing here, and would find what it looks for."""

from __future__ import annotations

import importlib

audit = importlib.import_module("benchmarks.audit")


def test_nothing_is_found() -> None:
    files, found = audit.secrets()
    assert files > 400
    assert found == []
    sources, run = audit.calls()
    assert sources > 200
    assert run == []
    assert audit.licences() == []


def test_what_it_looks_for_is_found(tmp_path, monkeypatch) -> None:
    assert audit.SECRETS.search("api" + '_key = "abcdefgh12345678"')
    assert audit.SECRETS.search("-----BEGIN RSA " + "PRIVATE KEY-----")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text(
        "import pickle, subprocess\npickle.load(f)\n"
        "subprocess.run(x, shell=True)\nurl = 'http://example.org'\n"
    )
    monkeypatch.setattr(audit, "ROOT", tmp_path)
    assert audit.calls() == (
        1,
        ["src/a.py:2: pickle.load", "src/a.py:3: subprocess.run", "src/a.py:4: http://example.org"],
    )
    assert not audit.PERMISSIVE.search("GNU General Public License v3")
