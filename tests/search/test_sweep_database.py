"""Sweeps in a PostgreSQL database, by processes that share nothing else, as those of several
machines do. The server is started by the test.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from helpers import command, forked
from srnn import tasks
from srnn._check import RunError
from srnn.search import space, sweep
from srnn.search.sweep import Sweep
from srnn.tasks.settings import override

pytestmark = pytest.mark.postgres
SET = [
    "data.train=8",
    "data.validation=4",
    "data.test=4",
    "data.steps=24",
    "batch=4",
    "network.hidden=[4]",
]
SEARCH = ["--search", "optimiser.lr=1e-3:1e-1:log"]


def programs() -> Path | None:
    """The folder of the server's programs."""
    found = shutil.which("initdb")
    places = (
        [Path(found).parent]
        if found
        else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    )
    return next((p for p in places if (p / "initdb").exists()), None)


class Server:
    """A PostgreSQL server on a free port of this machine; it refuses to run as root, and is then
    run by the user postgres.
    """

    def __init__(self, programs: Path) -> None:
        self.programs, self.folder = programs, Path(tempfile.mkdtemp(prefix="postgres-of-a-test-"))
        self.user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            shutil.chown(self.folder, self.user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._run("initdb", "-D", self.folder / "data", "-A", "trust", "-N")
        self.start()

    def _run(self, program: str, *argv: object) -> None:
        user = ["runuser", "-u", self.user, "--"] if os.getuid() == 0 else []
        subprocess.run(
            [*user, self.programs / program, *map(str, argv)],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            timeout=60,
        )

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -h 127.0.0.1 -F"
        self._run(
            "pg_ctl",
            "-D",
            self.folder / "data",
            "-o",
            options,
            "-l",
            self.folder / "log",
            "-w",
            "start",
        )

    def create(self, database: str) -> None:
        import psycopg

        with psycopg.connect(
            f"postgresql://{self.user}@127.0.0.1:{self.port}/postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {database}")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "stop")

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://{self.user}@127.0.0.1:{self.port}/{database}"


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("psycopg", reason="no database: psycopg is not installed")
    where = programs()
    if where is None:
        pytest.skip("no database: PostgreSQL is not installed")
    made = Server(where)
    yield made
    made.stop()
    shutil.rmtree(made.folder)


def start(folder: Path, url: str, study: str, trials: int, *more: str) -> subprocess.Popen[str]:
    """`srnn sweep` in a folder of its own."""
    folder.mkdir(exist_ok=True)
    argv = [
        "sweep",
        "ecg_sim",
        *SEARCH,
        "--trials",
        str(trials),
        "--storage",
        url,
        "--study",
        study,
        "--json",
    ]
    argv += [word for s in (*SET, *(more or ("epochs=1",))) for word in ("--set", s)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return command(*argv, cwd=folder, **pipes)


def plan(folder: Path, url: str, study: str, trials: int, *more: str) -> Sweep:
    task = override(tasks.load("ecg_sim"), [*SET, *(more or ("epochs=1",))])
    return Sweep(task, space.parse(task, SEARCH[1:]), trials, folder / "runs", study, None, url)


def test_two_that_share_only_the_database(server, tmp_path):
    """Seven trials in all, none twice, no two with the same settings; both tell the
    same best one.
    """
    both = [start(tmp_path / name, server.url(), "two", 7) for name in ("a", "b")]
    ends = [p.communicate(timeout=120) for p in both]
    assert [p.returncode for p in both] == [0, 0], ends
    found = [json.loads(out) for out, _ in ends]
    trials = max(
        (f["trials"] for f in found), key=lambda rows: sum(r["state"] == "complete" for r in rows)
    )
    assert Counter(row["state"] for row in trials) == {"complete": 7}
    assert len({row["settings"]["optimiser.lr"] for row in trials}) == 7
    runs = [sorted(p.name for p in (tmp_path / name).rglob("trial-*")) for name in ("a", "b")]
    assert sorted(runs[0] + runs[1]) == [f"trial-{k:04d}" for k in range(7)]
    assert all(runs)
    assert not list(tmp_path.rglob(".locks"))


def test_all_that_start_at_once_find_one_study(server, tmp_path):
    """In a new database, whose tables nobody has made yet."""
    server.create("fresh")

    def prepare(k: int) -> None:
        print(plan(tmp_path / str(k), server.url("fresh"), "fresh", 1).prepare())

    several = [forked(partial(prepare, k), stdout=subprocess.PIPE, text=True) for k in range(4)]
    said = [p.communicate(timeout=120)[0].strip() for p in several]
    assert sorted(said) == ["False", "False", "False", "True"]


def test_the_server_asks_for_a_sign_of_life(server):
    """Of a machine that goes away without a word the server knows after two minutes."""
    locks = plan(Path("unused"), server.url(), "asked", 1).locks
    with locks._engine.connect() as connection:
        asked = [
            connection.exec_driver_sql(f"SHOW tcp_keepalives_{name}").scalar()
            for name in ("idle", "interval", "count")
        ]
    assert [int(a) for a in asked] == [60, 15, 4]


def test_of_one_that_is_killed_the_server_knows(server, tmp_path):
    """Its trial is marked as interrupted by a process that sees neither its folder nor its number,
    and made up for.
    """
    victim = start(tmp_path / "a", server.url(), "killed", 2, "epochs=5000")
    one = plan(tmp_path / "b", server.url(), "killed", 2, "epochs=5000")
    for _ in range(600):
        time.sleep(0.1)
        if list((tmp_path / "a").rglob("last.json")) or list(
            (tmp_path / "a").rglob("last.safetensors")
        ):
            break
    assert [row["state"] for row in sweep.results(one)["trials"]] == ["running"]
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=60)
    for _ in range(50):
        time.sleep(0.1)
        rows = sweep.results(one)["trials"]
        if rows[0]["state"] == "interrupted":
            break
    assert [(row["state"], row["reason"]) for row in rows] == [
        ("interrupted", "interrupted: its process has ended")
    ]
    with one.locks.worker() as me:
        claimed = sweep.claim(one, one.open(), me)
        assert claimed is not None
        assert claimed[0].number == 1
        assert not one.locks.ended(me)
    assert one.locks.ended(me)


def test_a_server_that_goes_away_is_one_error_and_the_sweep_goes_on_later(server, tmp_path):
    at_work = start(tmp_path / "a", server.url(), "away", 2, "epochs=5000")
    for _ in range(600):
        time.sleep(0.1)
        if list((tmp_path / "a").rglob("last.safetensors")):
            break
    server.stop()
    try:
        out, err = at_work.communicate(timeout=60)
    finally:
        server.start()
    assert at_work.returncode == 2, err
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert "does not answer any more" in last
    assert "the same command joins the study again" in last
    assert "Traceback" not in err
    again = plan(tmp_path / "a", server.url(), "away", 2, "epochs=5000")
    assert [row["state"] for row in sweep.results(again)["trials"]] == ["interrupted"]


def test_what_cannot_be_reached_is_one_error(server, tmp_path):
    for url, said in (
        (server.url("nowhere"), 'database "nowhere" does not exist'),
        (server.url().replace(str(server.port), "1"), "cannot be used as a study"),
        (
            server.url().replace("+psycopg", "+pg8000"),
            "needs the driver pg8000, which is not installed",
        ),
    ):
        with pytest.raises(RunError, match=said) as error:
            plan(tmp_path / "x", url, "none", 1).prepare()
        assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "x").exists()
