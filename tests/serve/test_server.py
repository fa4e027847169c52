"""The server without a browser: what viewers get, what it refuses, what it survives."""

from __future__ import annotations

import json
import random
import socket
import string
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from helpers import GENEROUS, until
from srnn.serve import app, controls
from srnn.serve.controls import RefusedError
from srnn.serve.frames import Rows
from srnn.serve.hub import KEPT, QUEUE, Hub, Viewer
from srnn.stream import Stream
from srnn.training.runs import load_run

from .conftest import not_reading, serve


def get(url: str, **headers: str) -> tuple[int, dict[str, str], str]:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=GENEROUS
        ) as answer:
            return (
                answer.status,
                {k.lower(): v for k, v in answer.headers.items()},
                answer.read().decode(),
            )
    except urllib.error.HTTPError as error:
        return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read().decode()


def ws(served) -> str:
    return served.server.url.replace("http", "ws") + "live"


def test_labels_over_the_wire_are_those_of_the_whole_recordings(served, ecg) -> None:
    _, task, _, net = load_run(ecg)
    test = list(task.load(None).test)
    watcher = served.open()
    watcher.until(lambda: watcher.about and watcher.state)
    watcher.send(speed=100)

    def complete() -> list[int]:
        """The steps at which a round of all recordings begins that came whole."""
        begins = {
            h["step"] + k: about["index"] for h, _ in watcher.frames for k, about in h["begins"]
        }
        labels.update(
            s
            for h, m in watcher.frames
            for s in zip(range(h["step"], h["step"] + h["n"]), m["label"].tolist(), strict=True)
        )
        rounds = [a for a in begins if all(begins.get(a + 200 * k) == k for k in range(len(test)))]
        return [a for a in rounds if all(s in labels for s in range(a, a + 200 * len(test)))]

    labels: dict[int, int] = {}
    watcher.until(complete)
    watcher.send(speed=1)
    first = complete()[0]
    with torch.no_grad():
        for k, sample in enumerate(test):
            wanted = net(torch.as_tensor(sample.signal)[None]).potential.argmax(-1)[0].numpy()
            got = np.array([labels[first + 200 * k + t] for t in range(200)])
            np.testing.assert_array_equal(got[10:], wanted[10:])
            assert (got[:10] == -1).all()


def test_who_joins_sees_what_was(served) -> None:
    first = served.open()
    first.send(speed=5)
    first.until(lambda: first.step > served.about["window"])
    now = served.player._steps
    later = served.open()
    later.until(lambda: later.step >= now)
    assert (
        now - 2 * served.about["window"]
        < later.frames[0][0]["step"]
        < now - 0.5 * served.about["window"]
    )
    first.until(lambda: first.step > now + 500)
    later.until(lambda: later.step > now + 500)
    own = {h["step"]: made for h, made in first.frames}
    same = [(made, own[h["step"]]) for h, made in later.frames if h["step"] in own]
    assert len(same) > 9
    # of one stream
    assert all(
        np.array_equal(a["label"], b["label"]) and np.array_equal(a["signal"], b["signal"])
        for a, b in same
    )


def test_the_page_and_its_files(served) -> None:
    url = served.server.url
    code, headers, text = get(url)
    assert code == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "http://" not in text
    assert "https://" not in text
    sizes = {name: len(get(f"{url}static/{name}")[2].splitlines()) for name in app.FILES}
    assert max(sizes.values()) < 400
    assert len(sizes) == 5
    assert {
        get(f"{url}static/{name}")[0] for name in ("other.js", "..%2fapp.py", "%2e%2e/app.py")
    } == {404}
    code, _, text = get(f"{url}api/state")
    assert code == 200
    assert json.loads(text)["state"]["source"] == "test"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "192.168.0.1", "[", "a@localhost:x"]
)
def test_another_host_name_gets_nothing(served, host) -> None:
    for path in ("/", "/api/state", "/static/live.js"):
        with socket.create_connection(("127.0.0.1", served.port), 5) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda s=s: s.recv(65536), b""))
        assert answer.startswith((b"HTTP/1.1 421", b"HTTP/1.1 400"))
        assert b"srnn" not in answer


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://[", "http://localhost"]
)
def test_a_socket_of_another_page_is_refused(served, origin) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(ws(served), origin=origin)
    assert refused.value.response.status_code == 403


def test_a_socket_of_its_own_page_is_let_in(served) -> None:
    with connect(ws(served), origin=served.server.url.rstrip("/"), close_timeout=0.2) as own:
        assert own.recv(5)


def test_elsewhere_a_token_is_asked_for(ecg) -> None:
    made = serve(ecg, host="0.0.0.0", token="right & /?=")
    try:
        port = made.port
        base = f"http://127.0.0.1:{port}/"
        good = "?token=" + urllib.parse.quote("right & /?=", safe="")
        assert made.server.url.endswith(good)
        for path in ("", "api/state"):
            assert get(base + path)[0] == 401
            assert get(base + path + "?token=wrong")[0] == 401
            assert get(base + path + "?token=%ff%00")[0] == 401
            assert get(base + path + good)[0] == 200
        assert get(base + good, Host="evil.example")[0] == 421
        assert get(base + good, Host=f"192.168.1.7:{port}")[0] == 200
        for token in ("", "?token=wrong"):
            with (
                connect(f"ws://127.0.0.1:{port}/live{token}") as s,
                pytest.raises(ConnectionClosed) as closed,
            ):
                s.recv(5)
            assert closed.value.rcvd.code == 4401
        with connect(f"ws://127.0.0.1:{port}/live{good}", close_timeout=0.2) as s:
            assert s.recv(5)
    finally:
        made.close()


def test_what_is_no_message_is_refused_and_counted(served) -> None:
    generator, watcher = random.Random(0), served.open()
    watcher.until(lambda: watcher.state)
    before = sum(served.server.hub.refused.values())

    def anything(depth: int = 0):
        text = "".join(generator.choices(string.printable, k=9))
        kinds = [
            None,
            True,
            generator.random() * 1e9,
            generator.randint(-(10**20), 10**20),
            text,
            float("nan"),
        ]
        if depth < 3:
            kinds += [
                [anything(depth + 1)],
                {
                    generator.choice(["pause", "speed", "source", "lead", "x", ""]): anything(
                        depth + 1
                    )
                },
            ]
        return generator.choice(kinds)

    sent, valid = 0, 0
    for _ in range(150):
        text = json.dumps(anything())
        try:
            controls.command(text)
            valid += 1
            continue
        except RefusedError:
            sent += 1
        watcher.socket.send(text)
    for data in (
        b"",
        b"123",
        bytes(8),
        np.float32([np.nan]).tobytes(),
        bytes(controls.LONGEST + 4),
    ):
        watcher.socket.send(data)
        sent += 1
    for text in (
        "",
        "{",
        "[" * 9999,
        '{"pause": 1}',
        '{"speed": 1e9}',
        '{"speed": NaN}',
        "x" * (controls.LONGEST + 1),
        '{"source": "microphone"}',
    ):
        watcher.socket.send(text)
        sent += 1
    watcher.send(speed=1)  # what is right is still taken
    watcher.until(
        lambda: sum(served.server.hub.refused.values()) - before == sent and len(watcher.told) > 0
    )
    assert sent > 100
    assert "Expected" in " ".join(t["why"] for t in watcher.told if t["type"] == "refused")
    step = watcher.step
    watcher.until(lambda: watcher.step > step)


def test_a_huge_message_ends_that_viewer_alone(served) -> None:
    other, bad = served.open(), served.open()
    before = served.server.hub.refused["too long"]
    bad.socket.send("x" * (5 * controls.LONGEST))
    with pytest.raises(ConnectionClosed):
        bad.until(lambda: False)
    step = other.step
    other.until(lambda: other.step > step + 50)
    assert served.server.hub.refused["too long"] == before + 1


def test_who_sends_nothing_but_nonsense_is_shown_the_door(served) -> None:
    bad = served.open()
    refused = served.server.hub.refused
    before = refused["malformed"]
    for _ in range(app.PATIENCE):
        bad.socket.send("nonsense")
    with pytest.raises(ConnectionClosed):
        bad.until(lambda: False)
    assert refused["malformed"] == before + app.PATIENCE


def test_a_viewer_who_does_not_read_holds_nobody_up(served) -> None:
    stalled = not_reading(served.port, "/live")
    watcher = served.open()
    watcher.until(lambda: watcher.state)
    watcher.send(speed=100)
    hub, step = served.server.hub, watcher.step
    watcher.until(
        lambda: watcher.step > step + 20_000 and max(v.left_out for v in hub.viewers) > 10
    )
    assert all(len(v._frames) <= QUEUE for v in hub.viewers)
    assert len(hub._recent) <= KEPT
    served.rest()
    stalled.close()
    until(lambda: not hub.viewers)


def test_many_viewers_see_the_same(served) -> None:
    many = [served.open() for _ in range(20)]
    for viewer in many:
        viewer.until(lambda viewer=viewer: len(viewer.frames) > 2)
    first = max(v.frames[0][0]["step"] for v in many)
    for viewer in many:
        viewer.until(lambda viewer=viewer: viewer.step > first + 60)
    compared = 0
    for head, made in (f for v in many[1:] for f in v.frames):
        for h, m in many[0].frames:
            if h["step"] == head["step"]:
                assert h == head
                assert np.array_equal(m["label"], made["label"])
                compared += 1
    assert compared > 19


def test_controls_reach_everybody(served) -> None:
    one, two = served.open(), served.open()
    one.until(lambda: one.state)
    one.send(pause=True)
    two.until(lambda: two.state.get("paused"))
    step = two.step
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        two.take()
    assert two.step - step < 30
    two.send(pause=False)
    one.until(lambda: one.state["paused"] is False)
    one.send(source="simulated")
    two.until(
        lambda: two.state["source"] == "simulated" and two.frames[-1][0]["source"] == "simulated"
    )
    two.send(noise=2)
    two.send(lead=1)
    one.until(lambda: (one.state["noise"], one.state["lead"]) == (2.0, 1))
    one.until(
        lambda: (
            np.ptp(one.frames[-1][1]["signal"][:, 1]) == 0
            and np.ptp(one.frames[-1][1]["signal"][:, 0]) > 0
        )
    )
    one.send(source="test")
    two.until(lambda: two.state["source"] == "test" and two.state["lead"] is None)
    one.send(noise=0)
    two.until(lambda: two.state["noise"] == 0)


def test_sound_is_taken_from_one_microphone(digits) -> None:
    made = serve(*digits)
    try:
        one, two = made.open(), made.open()
        for viewer in (one, two):
            viewer.until(lambda viewer=viewer: viewer.state)
        one.send(source="microphone")
        one.until(lambda: one.state["source"] == "microphone")
        two.send(source="microphone")
        two.until(lambda: any("another viewer's microphone" in t["why"] for t in two.told))
        step = one.step
        two.socket.send(np.zeros(400, "<f4").tobytes())
        two.until(lambda: sum("not the microphone" in t["why"] for t in two.told) == 1)
        sound = (0.3 * np.sin(np.arange(8000) / 5)).astype("<f4")
        for piece in np.split(sound, 20):
            one.socket.send(piece.tobytes())
        one.until(lambda: one.step >= step + 95)
        assert one.frames[-1][0]["source"] == "microphone"
        one.socket.close()  # the test part plays on
        two.until(lambda: two.state["source"] == "test")
        step = two.step
        two.until(lambda: two.step > step + 5)
    finally:
        made.close()


def test_a_compressed_run_is_served(ecg, tmp_path) -> None:
    from .conftest import command

    command("compress", ecg, "--bits", 8, "--epochs", 0, "--out", tmp_path / "small")
    _, task, _, net = load_run(tmp_path / "small")
    made = serve(tmp_path / "small")
    try:
        watcher = made.open()
        watcher.until(lambda: watcher.step >= 100 and "cost" in watcher.state)
        assert "int8" in watcher.state["cost"]["process"]
        sample = task.load(None).test[0].signal[:100]
        wanted = (
            Stream(net, decision=task.decode.running())
            .push(sample[None].astype(np.float32))
            .label[0]
        )
        got = np.concatenate([m["label"] for _, m in watcher.frames])[:100]
        np.testing.assert_array_equal(got, wanted)
    finally:
        made.close()


def test_a_queue_keeps_the_newest() -> None:
    viewer = Viewer([])
    for k in range(20):
        viewer.frame(bytes([k]))
    assert viewer.left_out == 20 - QUEUE
    assert [f[0] for f in viewer._frames] == list(range(20 - QUEUE, 20))
    hub = Hub(100)
    for _ in range(3 * KEPT):  # nobody hands it on
        hub.publish({"type": "state"})
    assert len(hub._inbox) == KEPT


def test_rows_are_shown_in_bytes() -> None:
    x = np.array([[0, 1, -1, 0.4], [np.nan, 2, -3, 0]])
    np.testing.assert_array_equal(Rows(4)(x), [[0, 127, -127, 51], [0, 127, -127, 0]])
    np.testing.assert_array_equal(Rows(2, 0.0, 10.0)(np.array([[5.0, 20.0]])), [[64, 127]])
    many = Rows(700)
    assert (many.group, many.rows) == (6, 117)
    spikes = np.zeros((1, 700))
    spikes[0, [7, 699]] = 1
    assert np.flatnonzero(many(spikes)[0]).tolist() == [1, 116]
