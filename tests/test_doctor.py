"""`srnn doctor`: what it says where all works, and of each fault."""

from __future__ import annotations

import json
import subprocess

import pytest

from srnn import _build, doctor


@pytest.fixture
def anew():
    """Compilers are looked for again, now and after the test."""
    _build.compiler.cache_clear()
    yield
    _build.compiler.cache_clear()


def by_name(checks):
    return {c["what"] if isinstance(c, dict) else c.what: c for c in checks}


def test_all_is_well(srnn, tmp_path):
    code, out, err = srnn("doctor", "--json", "--data-dir", tmp_path)
    found = by_name(json.loads(out))
    assert (code, err) == (0, "")
    assert {c["state"] for c in found.values()} <= {"ok", "missing", "warning"}
    assert found["kernels"]["state"] == "ok"
    assert "reference loop" in found["kernels"]["found"]
    assert found["C compiler"]["state"] == "ok"
    assert {f"extra {name}" for name in doctor.EXTRAS} <= set(found)
    assert found["data not here"]["found"].startswith("fsdd, hd, mnist, qtdb")
    assert all(c["repair"] for c in found.values() if c["state"] not in ("ok",))


def test_the_table_and_the_data_that_is_here(srnn, tmp_path, monkeypatch):
    (tmp_path / "shd").mkdir()
    (tmp_path / "shd" / "shd_train.h5").touch()
    monkeypatch.setattr(
        doctor,
        "_kernels",
        lambda: doctor.Check("kernels", "broken", "a small network fails: boom", "empty it"),
    )
    code, out, _ = srnn("doctor", "--data-dir", tmp_path)
    assert code == 1
    assert "a small network fails: boom" in out
    assert " shd in " in " ".join(out.split())
    assert "srnn data verify NAME" in out


def test_no_compiler(anew, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    assert (doctor._compiler().state, doctor._kernels().state) == ("warning", "warning")
    assert "no-such-compiler not found" in doctor._compiler().found
    assert "no-such-compiler not found" in doctor._kernels().found


@pytest.mark.parametrize(
    ("code", "out", "err", "state", "shows"),
    [
        (-11, "", "", "broken", "ended with code -11"),
        (1, "", "Traceback\nImportError: no torch", "broken", "ImportError: no torch"),
        (0, "cpu\n0.5\nasked for", "", "broken", "5.0e-01"),
        (0, "cpu\n0.0\nasked for", "", "ok", "to the bit"),
        (0, "reference\n0.0\nno C compiler", "", "warning", "no C compiler"),
    ],
    ids=["crash", "error", "wrong", "right", "reference"],
)
def test_what_the_trial_shows(monkeypatch, code, out, err, state, shows):
    monkeypatch.setattr(
        subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, code, out, err)
    )
    check = doctor._kernels()
    assert check.state == state
    assert shows in check.found
    assert (state == "ok") == (check.repair == "")


def test_a_trial_that_hangs(monkeypatch):
    def hang(*args, **settings):
        raise subprocess.TimeoutExpired(args, 300)

    monkeypatch.setattr(subprocess, "run", hang)
    assert doctor._kernels().state == "broken"


def test_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SRNN_KERNELS", str(tmp_path / "gone"))
    assert doctor._cache().state == "warning"
    folder = tmp_path / "kernels"
    folder.mkdir(mode=0o700)
    (folder / "a.so").write_bytes(b"0" * 2**20)
    monkeypatch.setenv("SRNN_KERNELS", str(folder))
    assert (doctor._cache().state, doctor._cache().found) == (
        "ok",
        f"{folder}, 1 libraries, 1.0 MiB",
    )
    folder.chmod(0o777)
    assert doctor._cache().state == "warning"
    assert doctor._cache().found == (
        f"{folder}: not used, for {folder} may be written to by its group "
        f"({folder.stat().st_gid}) and everybody"
    )
    assert doctor._cache().repair == f"chmod go-w {folder}"


def test_what_others_may_write_is_not_run(tmp_path, monkeypatch):
    """A library lies in a folder that anybody can write to: it is not loaded, and none is put
    there.
    """
    monkeypatch.setenv("SRNN_KERNELS", str(tmp_path / "kernels"))
    source = "int answer(void) { return 42; }"
    assert _build.load("trial", source).answer() == 42
    made = sorted((tmp_path / "kernels").iterdir())
    assert len(made) == 3
    (tmp_path / "kernels").chmod(0o777)
    for path in made:
        path.unlink()
    with pytest.warns(UserWarning, match=rf"everybody; .* Repair: chmod go-w {tmp_path}/kernels$"):
        assert _build.load("trial", source).answer() == 42
    assert list((tmp_path / "kernels").iterdir()) == []


def test_extras_and_torch(monkeypatch):
    found = {c.what: c for c in doctor._extras()}
    assert found["extra serve"].state == "ok"
    assert "starlette" in found["extra serve"].found
    version = doctor._version
    monkeypatch.setattr(
        doctor, "_version", lambda name: None if name == "optuna" else version(name)
    )
    found = {c.what: c for c in doctor._extras()}
    assert found["extra search"] == doctor.Check(
        "extra search",
        "missing",
        "no optuna: searches settings: `srnn sweep`",
        'pip install "srnn[search]"',
    )
    assert sum(c.state == "missing" for c in found.values()) == 1
    monkeypatch.setattr(doctor.torch, "__version__", "2.4.0")
    assert doctor._torch().state == "broken"
    assert doctor._torch().repair.startswith('pip install "torch>=2.')


def test_a_data_folder_that_is_a_file(tmp_path):
    (tmp_path / "data").touch()
    (check,) = doctor._data(tmp_path / "data")
    assert check.state == "broken"
    assert "is a file" in check.found
