"""`srnn stream`: every source, every format, what it survives, what it refuses; its labels are
those of the whole recordings.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import command
from srnn.cli import main as cli
from srnn.stream.live import Live
from srnn.tasks.task import collate
from srnn.training.runs import load_run

T = 60


PIPES = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)


def trained(folder: Path, task: str, *settings: str) -> Path:
    argv = ["train", task, "--out", str(folder)]
    for setting in settings:
        argv += ["--set", setting]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert cli.main(argv) == 0
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A network trained for one epoch on simulated ECG of 60 steps."""
    sizes = [
        "data.train=8",
        "data.validation=4",
        "data.test=6",
        f"data.steps={T}",
        "batch=4",
        "epochs=1",
        "network.hidden=[6]",
    ]
    return trained(tmp_path_factory.mktemp("runs") / "sim", "ecg_sim", *sizes)


@pytest.fixture(scope="module")
def offline(run):
    """The steps (B, T, 4), the raw samples (B, T, 2) and the labels (B, T) of the test part."""
    _, task, _, net = load_run(run)
    samples = list(task.load(None).test)
    batch = collate(samples)
    with torch.no_grad():
        labels = net(batch.x).potential.argmax(-1).numpy()
    return batch.x.numpy(), np.stack([s.meta["signal"] for s in samples]), labels


def lines(x: np.ndarray) -> str:
    return "".join(",".join(f"{v:.9g}" for v in row) + "\n" for row in x.reshape(-1, x.shape[-1]))


def events(text: str) -> list[dict]:
    return [json.loads(line, parse_constant=lambda c: pytest.fail(c)) for line in text.splitlines()]


def labels_of(made: list[dict], skip: int = 10) -> list[np.ndarray]:
    """The label of every step from `skip` on, recording by recording, as the events tell it."""
    found, seen = [], np.full(T, -1)
    for e in made:
        if e["event"] == "class":
            seen[e["step"] :] = e["class"]
        elif e["event"] == "recording":
            found.append(seen[skip : e["steps"]].copy())
            seen[:] = -1
    return found


def check(made: list[dict], labels: np.ndarray) -> None:
    found = labels_of(made)
    assert len(found) == len(labels)
    assert all(np.array_equal(a, b[10:]) for a, b in zip(found, labels, strict=True))
    assert made[0]["event"] == "start"
    assert made[-1]["event"] == "end"


def test_a_file_of_steps_gives_the_labels_of_the_whole(srnn, run, offline, tmp_path):
    x, _, labels = offline
    (tmp_path / "x.csv").write_text(lines(x))
    code, out, err = srnn(
        "stream",
        run,
        tmp_path / "x.csv",
        "--input",
        "steps",
        "--reset-every",
        T,
        "--threshold",
        0.18,
        "--hold",
        2,
        "--every",
        25,
    )
    assert code == 0, err
    made = events(out)
    check(made, labels)
    assert {e["event"] for e in made} >= {
        "start",
        "class",
        "confident",
        "decided",
        "scores",
        "recording",
        "end",
    }
    end, n = made[-1], len(x) * T
    assert (
        end["samples"],
        end["steps"],
        end["recordings"],
        end["malformed"],
        end["dropped"],
        end["missing"],
    ) == (n, n, len(x), 0, 0, 0)
    scores = [e for e in made if e["event"] == "scores"]
    assert [e["total"] + 1 for e in scores] == list(range(25, n + 1, 25))
    assert all(len(e["scores"]) == 6 for e in scores)
    assert all(e["scores"] == [0] * 6 and e["label"] is None for e in scores if e["step"] < 10)
    assert (
        end["compute_us"]["p50"]
        <= end["compute_us"]["p95"]
        <= end["compute_us"]["p99"]
        <= end["compute_us"]["max"]
    )
    assert "µs a step" in err
    assert made[0]["simulated"] is True


def test_raw_samples_are_encoded_as_the_task_does(srnn, run, offline, tmp_path):
    _, raw, labels = offline
    (tmp_path / "x.csv").write_text(lines(raw))
    code, out, _ = srnn("stream", run, tmp_path / "x.csv", "--window", T, "--json")
    assert code == 0
    check(events(out), labels)
    # one recording: its first samples are all of it
    (tmp_path / "one.csv").write_text(lines(raw[2]))
    code, out, err = srnn("stream", run, tmp_path / "one.csv", "--json")
    assert (code, err) == (0, "")
    check(events(out), labels[2:3])
    code, out, _ = srnn("stream", run, tmp_path / "x.csv", "--calibrate", 30, "--json")
    assert events(out)[-1]["steps"] == raw.shape[0] * T


@pytest.mark.parametrize(("kind", "scale"), [("f32", 1.0), ("i16", 0.5)])
def test_binary_samples(srnn, run, offline, tmp_path, kind, scale):
    x, _, labels = offline
    (tmp_path / "x.bin").write_bytes(
        (x / scale).astype("<f4" if kind == "f32" else "<i2").tobytes() + b"\0"
    )
    code, out, _ = srnn(
        "stream",
        run,
        tmp_path / "x.bin",
        "--input",
        "steps",
        "--reset-every",
        T,
        "--format",
        kind,
        "--scale",
        scale,
        "--json",
    )
    made = events(out)
    assert code == 0
    check(made, labels)
    assert made[-1]["malformed"] == 1


def test_garbage_gaps_and_times(srnn, run, offline, tmp_path):
    x, _, labels = offline
    text = lines(x).splitlines()
    for k, bad in ((0, "t,a,b,c,d"), (40, "garbage"), (300, "1,2"), (301, ""), (302, "9" * 5000)):
        text.insert(k, bad)
    (tmp_path / "x.csv").write_text("\n".join(text))
    made = events(
        srnn("stream", run, tmp_path / "x.csv", "--input", "steps", "--reset-every", T, "--json")[1]
    )
    check(made, labels)
    assert made[-1]["malformed"] == 4 == sum(e["count"] for e in made if e["event"] == "malformed")
    rows = np.concatenate([np.arange(T)[:, None] / 250.0, x[0]], 1)
    (tmp_path / "t.csv").write_text(lines(np.delete(rows, [20, 21, 22], 0)))
    argv = ("stream", run, tmp_path / "t.csv", "--input", "steps", "--timed", "--json")
    made = events(srnn(*argv)[1])
    assert (made[-1]["steps"], made[-1]["missing"]) == (T, 3)
    assert [e["missing"] for e in made if e["event"] == "gap"] == [3]
    made = events(srnn(*argv, "--gaps", "reset")[1])
    assert [e["steps"] for e in made if e["event"] == "recording"] == [20, T - 23]


def test_a_recording_goes_on_from_a_saved_state(srnn, run, offline, tmp_path):
    x, _, labels = offline
    state = tmp_path / "state"
    seen = np.full(T, -1)
    for a, b in ((0, 25), (25, T)):
        (tmp_path / "x.csv").write_text(lines(x[1, a:b]))
        code, out, _ = srnn(
            "stream", run, tmp_path / "x.csv", "--input", "steps", "--state", state, "--json"
        )
        assert code == 0
        for e in events(out):
            if e["event"] == "class":
                seen[e["step"] :] = e["class"]
    assert np.array_equal(seen[10:], labels[1, 10:])


def test_a_limit_stops_it(srnn, run, offline, tmp_path):
    (tmp_path / "x.csv").write_text(lines(offline[0]))
    end = events(
        srnn("stream", run, tmp_path / "x.csv", "--input", "steps", "--limit", 77, "--json")[1]
    )[-1]
    assert end["steps"] == 77


def test_a_socket_that_listens(capfd, run, offline):
    x, _, labels = offline
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def client() -> None:
        for _ in range(200):
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
                    s.sendall(lines(x).encode())
                return
            time.sleep(0.05)

    thread = threading.Thread(target=client)
    thread.start()
    code = cli.main(
        [
            "stream",
            str(run),
            f"listen:{port}",
            "--input",
            "steps",
            "--reset-every",
            str(T),
            "--json",
        ]
    )
    thread.join()
    assert code == 0
    check(events(capfd.readouterr().out), labels)


def test_a_socket_that_connects_and_a_server_that_dies(capfd, run, offline):
    x, _, labels = offline
    for abort in (False, True):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve(server: socket.socket = server, abort: bool = abort) -> None:
                s, _ = server.accept()
                with s:
                    s.sendall(lines(x[:2]).encode())
                    if abort:
                        time.sleep(0.3)
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

            thread = threading.Thread(target=serve)
            thread.start()
            source = f"tcp:localhost:{server.getsockname()[1]}"
            assert (
                cli.main(
                    [
                        "stream",
                        str(run),
                        source,
                        "--input",
                        "steps",
                        "--reset-every",
                        str(T),
                        "--json",
                    ]
                )
                == 0
            )
            thread.join()
        check(events(capfd.readouterr().out), labels[:2])


def test_a_serial_port(capfd, run, offline):
    pytest.importorskip("serial")
    x, _, labels = offline
    ours, theirs = os.openpty()

    def write() -> None:
        data = lines(x[:2]).encode()
        time.sleep(0.3)
        while data:
            data = data[os.write(ours, data[:200]) :]

    thread = threading.Thread(target=write)
    thread.start()
    argv = [
        "stream",
        str(run),
        f"serial:{os.ttyname(theirs)}:115200",
        "--input",
        "steps",
        "--reset-every",
        str(T),
        "--limit",
        str(2 * T),
        "--json",
    ]
    assert cli.main(argv) == 0
    thread.join()
    os.close(ours)
    os.close(theirs)
    check(events(capfd.readouterr().out), labels[:2])


def test_a_pipe_as_a_process_and_a_reader_that_goes(run, offline):
    x, _, labels = offline
    program = [
        sys.executable,
        "-m",
        "srnn",
        "stream",
        str(run),
        "--input",
        "steps",
        "--reset-every",
        str(T),
        "--json",
    ]
    done = subprocess.run(program, input=lines(x).encode(), capture_output=True, timeout=240)
    assert (done.returncode, done.stderr) == (0, b"")
    check(events(done.stdout.decode()), labels)
    process = command(*program[3:], "--every", "1", **PIPES)
    assert json.loads(process.stdout.readline())["event"] == "start"
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(lines(np.tile(x, (20, 1, 1))).encode())
        process.stdin.close()
    said = process.stderr.read().decode()
    assert process.wait(timeout=60) == 0, said
    assert json.loads(said)["event"] == "end"


def test_sound_through_the_encoder_of_the_task(srnn, tmp_path):
    """Log-mel frames of a WAV, piece by piece: the frames, and so the class, of the whole
    recording.
    """
    rng = np.random.default_rng(0)
    folder = tmp_path / "words"
    for name, pitch in (("low", 300), ("high", 1500)):
        (folder / name).mkdir(parents=True)
        for k in range(10):
            t = np.arange(4000) / 8000
            sound = 0.3 * np.sin(2 * np.pi * pitch * t) + 0.01 * rng.standard_normal(4000)
            with wave.open(str(folder / name / f"{k}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes((sound * 32767).astype("<i2").tobytes())
    run = trained(tmp_path / "run", "my", f"data={folder}", "epochs=2", "network.hidden=[8]")
    _, task, _, net = load_run(run)
    sample = task.load(None).test[0]
    with torch.no_grad():
        potential = net(torch.as_tensor(sample.signal)[None], backend="cpu").potential
    expected = torch.softmax(potential.double(), -1).cumsum(1)[0]
    path = folder / sample.name
    path = path if path.exists() else next(folder.glob(f"*/{Path(sample.name).name}*"))
    code, out, err = srnn("stream", run, path, "--every", 1, "--json")
    assert code == 0, err
    scores = np.array([e["scores"] for e in events(out) if e["event"] == "scores"])
    assert scores.shape == expected.shape
    assert np.abs(scores - expected.numpy()).max() < 2e-6  # printed with six digits
    assert events(out)[-2]["label"] == task.classes[int(expected[-1].argmax())]


def test_what_cannot_work_is_refused(srnn, run, tmp_path):
    (tmp_path / "x.csv").write_text("1,2\n")
    for argv, text in (
        ((tmp_path / "no-run", "-"), "is no run folder"),
        ((run, tmp_path / "missing.csv"), "cannot be read"),
        ((run, tmp_path), "is a folder"),
        ((run, "tcp:10.0.0.1:99"), "is not this machine"),
        ((run, "listen:http"), "is no port"),
        ((run, "serial:/dev/nothing"), "cannot be opened"),
        ((run, tmp_path / "x.csv", "--gaps", "guess"), "there is no 'guess'"),
        ((run, tmp_path / "x.csv", "--format", "json"), "there is no 'json'"),
        ((run, tmp_path / "x.csv", "--threshold", 2), "--threshold is 2"),
        ((run, tmp_path / "x.csv", "--every", 0), "--every is 0"),
        ((run, tmp_path / "x.csv", "--speed", 0), "--speed is 0"),
        ((run, tmp_path / "x.csv", "--timed", "--format", "f32"), "binary samples have no time"),
        ((run, tmp_path / "x.csv", "--window", 5, "--reset-every", 5), "Give one of them"),
        ((run, tmp_path / "x.wav"), "cannot be read"),
        ((run, tmp_path / "x.csv", "--scale", 2), "--scale is for binary"),
        ((run, tmp_path / "x.csv", "--input", "steps", "--calibrate", 9), "--calibrate is for"),
    ):
        code, out, err = srnn("stream", *argv)
        assert (code, out) == (2, ""), argv
        assert err.startswith("srnn stream: ")
        assert text in err
        assert "Traceback" not in err


def test_a_slow_reader_loses_only_what_is_counted(run, offline, monkeypatch, capsys):
    """The loop is held up: with drop-oldest the queue drops and counts, nothing else is lost."""
    x = offline[0]
    slow = Live._item

    def held(self, item):
        time.sleep(0.02)
        slow(self, item)

    monkeypatch.setattr(Live, "_item", held)
    path = Path(os.devnull).parent / "stdin"
    assert path.exists()
    read, write = os.pipe()
    feeder = threading.Thread(
        target=lambda: (
            [os.write(write, row.encode() + b"\n") for row in lines(x).splitlines()]
            and os.close(write)
        )
    )
    feeder.start()
    argv = [
        "stream",
        str(run),
        f"/dev/fd/{read}",
        "--input",
        "steps",
        "--queue",
        "8",
        "--full",
        "drop-oldest",
        "--json",
    ]
    assert cli.main(argv) == 0
    feeder.join()
    made = events(capsys.readouterr().out)
    end = made[-1]
    assert end["dropped"] > 0
    assert end["samples"] + end["dropped"] == len(x) * T
    assert sum(e["samples"] for e in made if e["event"] == "dropped") == end["dropped"]
    os.close(read)


def test_a_short_soak_holds(run):
    from benchmarks import stream_soak

    x, labels, skip = stream_soak.whole(run, None)
    found = stream_soak.soak(run, x, labels, skip, steps=40 * T, rate=8000.0)
    assert stream_soak.holds(found), found
    assert (found["steps"], found["malformed"], found["labels_compared"]) == (
        40 * T,
        found["garbage_fed"],
        40 * (T - skip),
    )
    assert found["garbage_fed"] > 15


def test_spikes_are_put_into_the_bins_of_the_task(srnn, tmp_path):
    """Lines of a time and a unit, recording after recording: the scores of the whole ones, with
    what is no spike left out.
    """
    from srnn.datasets import shd

    shd.made_up(tmp_path / "data")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        settings = ("epochs=1", "network.hidden=[6]", "encode.merge=10")
        argv = [
            "train",
            "shd",
            "--data-dir",
            str(tmp_path / "data"),
            "--out",
            str(tmp_path / "run"),
        ]
        assert cli.main([*argv, *(a for s in settings for a in ("--set", s))]) == 0
    _, task, _, net = load_run(tmp_path / "run")
    raw = list(task.data.load(tmp_path / "data").test)[:3]
    seconds = task.encode.steps * task.encode.step_seconds
    rows = [
        f"{t + k * seconds:.9f},{u}"
        for k, r in enumerate(raw)
        for t, u in zip(r.times, r.units, strict=True)
        if t < seconds - 1e-6
    ]
    rows[3:3] = ["0.001,700", "0.001,nan", "-1,3", "spike"]
    (tmp_path / "spikes.csv").write_text("\n".join(rows))
    code, out, err = srnn(
        "stream", tmp_path / "run", tmp_path / "spikes.csv", "--every", task.encode.steps, "--json"
    )
    assert code == 0, err
    made = events(out)
    end = made[-1]
    assert (end["recordings"], end["steps"], end["malformed"], end["missing"], end["late"]) == (
        3,
        3 * task.encode.steps,
        3,
        1,
        0,
    )
    scores = np.array([e["scores"] for e in made if e["event"] == "scores"])
    batch = collate([task.encoded(r) for r in raw])
    with torch.no_grad():
        expected = task.decode.scores(net(batch.x, backend="cpu"), None).numpy()
    assert scores.shape == expected.shape == (3, 20)
    # a spike at the edge of a bin may fall into the next: times are those of a longer recording
    assert np.abs(scores - expected).max() < 0.05


def test_a_network_that_leaves_the_numbers_begins_anew(srnn, run, offline, tmp_path, monkeypatch):
    from srnn.stream import Stream

    push, calls = Stream.push, []

    def broken(self, x, lengths=None):
        made = push(self, x, lengths)
        calls.append(1)
        if len(calls) == 2:
            made.confidence[...] = np.nan
        return made

    monkeypatch.setattr(Stream, "push", broken)
    (tmp_path / "x.csv").write_text(lines(offline[0]))
    code, out, _ = srnn("stream", run, tmp_path / "x.csv", "--input", "steps", "--json")
    made = events(out)
    assert code == 0
    assert [e["total"] for e in made if e["event"] == "diverged"] == [min(512, len(offline[0]) * T)]
    assert made[-1]["steps"] == len(offline[0]) * T


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_what_it_did(sent, run, offline):
    process = command("stream", run, "--input", "steps", "--json", **PIPES)
    assert json.loads(process.stdout.readline())["event"] == "start"
    process.stdin.write(lines(offline[0][0]).encode())
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["event"] == "class"
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode() == "srnn stream: interrupted\n"
    assert json.loads(out.splitlines()[-1])["event"] == "end"
