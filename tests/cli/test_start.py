"""What the command line loads before it has anything to compute, and standard streams of any kind:
closed, full, in an encoding that knows few letters.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import subprocess
import sys

import pytest

from helpers import command, until
from srnn import tasks
from srnn.cli.main import COMMANDS
from srnn.tasks.settings import override
from srnn.training.train import fit

TINY = ["data.train=4", "data.validation=4", "data.test=4", "data.steps=24", "batch=4"]
HEAVY = {"torch", "numpy", "scipy", "matplotlib", "pandas"}
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@functools.cache
def loaded(line: str) -> frozenset[str]:
    """All modules that are loaded when a command has run, in a fresh interpreter."""
    code = f"""
import contextlib, io, json, sys
from srnn.cli.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main({shlex.split(line)!r})
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return frozenset(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("line", ["--version", "--help", "data list", "completion bash"])
def test_what_computes_nothing_loads_no_arrays(line):
    assert not loaded(line) & HEAVY


def test_help_of_every_command_loads_no_arrays():
    """In one process: what one of them loads, all would show."""
    code = f"""
import contextlib, io, json, sys
from srnn.cli.main import main
seen = 0
for name in {COMMANDS!r}:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            main([name, "--help"])
        except SystemExit as stop:
            seen += stop.code == 0 and f"usage: srnn {{name}}" in out.getvalue()
print(json.dumps([seen, sorted(sys.modules)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seen, modules = json.loads(done.stdout)
    assert seen == len(COMMANDS) == 16
    assert not set(modules) & HEAVY


def test_a_command_loads_its_own_module_only():
    assert {m for m in loaded("data list") if m.startswith("srnn.cli.commands.")} == {
        "srnn.cli.commands.data"
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("start") / "run"
    fit(override(tasks.load("ecg_sim"), [*TINY, "epochs=1"]), out)
    return out


UNUSED = {"torch._dynamo", "matplotlib", "pandas", "sympy"}


def test_a_stream_loads_neither_compiler_nor_pictures(trained):
    code = f"""
import json, sys
from srnn.cli.main import main
code = main(["stream", {str(trained)!r}, "--input", "steps"])
print(json.dumps([code, sorted(sys.modules)]))
"""
    lines = "0,1,0,0\n" * 4
    for _ in range(2):  # the first may have to trace the neuron
        done = subprocess.run(
            [sys.executable, "-c", code], input=lines, capture_output=True, text=True, check=True
        )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert not UNUSED & set(modules)
    assert "torch" in modules


def test_a_live_page_loads_neither_compiler_nor_pictures(trained):
    """Once it has answered."""
    code = f"""
import json, os, sys, threading, time, urllib.request
from srnn.cli.main import main
def look():
    said = json.loads(os.fdopen(read).readline())
    urllib.request.urlopen(said["url"]).read()
    os.write(2, json.dumps(sorted(sys.modules)).encode())
    os._exit(0)
read, write = os.pipe()
os.dup2(write, 1)
threading.Thread(target=look, daemon=True).start()
main(["serve", {str(trained)!r}, "--port", "0", "--json"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(done.stderr.splitlines()[-1]))
    assert not UNUSED & modules
    assert "uvicorn" in modules


# ── standard streams ──────────────────────────────────────────────────────────────────────────────


def program(line: str, shell: str = "{}", **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a program of its own, within a line of a shell."""
    text = shell.format(f"{shlex.quote(sys.executable)} -m srnn {line}")
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {text}"],
        capture_output=True,
        env={**os.environ, **env},
        timeout=120,
    )


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ("{} < /dev/null", 0),
        ("{} <&-", 0),
        ("{} >&-", 0),
        ("{} 2>&-", 0),
        ("{} <&- >&- 2>&-", 0),
        ("{} > /dev/full", 2),
        ("{} | true", 0),
    ],
)
def test_streams_may_be_closed_full_or_gone(shell, code):
    done = program("--help", shell)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    if code:
        assert done.stderr == (b"srnn: the output cannot be written: No space left on device.\n")


def test_an_error_that_cannot_be_written_keeps_its_code():
    assert program("tasks nope", "{} 2> /dev/full").returncode == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_every_help_can_be_printed_in_any_encoding(encoding):
    """All in one process."""
    code = f"""
import contextlib, sys
from srnn.cli.main import _mend_streams, main
_mend_streams()
for name in {COMMANDS!r}:
    with contextlib.suppress(SystemExit):
        main([name, "--help"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding).count("usage: srnn ") == len(COMMANDS)


def test_tables_can_be_printed_in_ascii(tmp_path):
    done = program(
        "reproduce yin2021-tableS2 --only-costs", PYTHONIOENCODING="ascii", COLUMNS="200"
    )
    assert done.returncode == 0, done.stderr
    assert b"\\xb1" in done.stdout or b"\\u" in done.stdout
    assert b"Traceback" not in done.stderr


def test_ctrl_c_while_arguments_are_parsed(monkeypatch):
    """As early as it can come: within `run` itself."""
    from srnn.cli import main as cli

    def stop(only=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "command_line", stop)
    monkeypatch.setattr(sys, "argv", ["srnn", "tasks"])
    monkeypatch.setattr(cli, "_mend_streams", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.run()
    assert ended.value.code == 130


# ── sizes ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train ecg_sim --seeds 0:3000000000", "at most 10000 seeds"),
        ("train ecg_sim --seeds ²", "'²' is no seed"),
        ("train ecg_sim --set data.steps=99999999999999", "at most 4294967295"),
        ("train ecg_sim --set data.steps=99999999", "data.steps is 99999999; expected"),
        ("train ecg_sim --set network.hidden=[9999999999]", "at most 4294967295"),
        ("train ecg_sim --set network.hidden=[999999999]", "not enough memory"),
        ("train ecg_sim --threads 100000", "at most 512"),
        ("sweep ecg_sim --search batch=4,8 --threads 100000", "at most 512"),
        ("sweep ecg_sim --search batch=4,8 --jobs 999999999", "at most 512"),
        ("reproduce yin2021-table2 --jobs 999999999", "at most 512"),
        ("train ecg_sim --device cuda:²", "cannot be used here"),
        ("train my --set data=~no-such-user/x", "There is no file or folder ~no-such-user/x"),
        ("evaluate ~no-such-user/run", "~no-such-user/run"),
    ],
)
def test_a_number_that_is_a_size_has_a_bound_that_is_said(srnn, line, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = srnn(*shlex.split(line))
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.rglob("*"))


def test_warnings_that_are_errors_are_one_message(srnn, tmp_path):
    """`PYTHONWARNINGS=error`: a run that goes on where something has changed says so, and ends."""
    words = [w for s in (*TINY, "epochs=100000") for w in ("--set", s)]
    out = tmp_path / "run"
    first = command("train", "ecg_sim", *words, "--out", out, **PIPES)
    until(lambda: (out / "log.jsonl").exists(), first)
    first.terminate()
    first.communicate()
    about = json.loads((out / "env.json").read_text())
    (out / "env.json").write_text(json.dumps({**about, "processes": 3}))
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error::UserWarning", "-m", "srnn", "train", "ecg_sim"),
            *("--resume", "--out", str(out)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "processes: 3 → 1" in done.stderr
