"""The page in a real browser: what it shows, what its controls do, what it survives."""

from __future__ import annotations

import json
import re
import time

import numpy as np
import pytest

from srnn import tasks
from srnn.datasets._audio import write_wav
from srnn.tasks.settings import override

from .conftest import serve, serve_network

pytestmark = pytest.mark.browser


class Seen:
    """A page, and what must not happen on it."""

    def __init__(self, browser, url: str, through=None, **options) -> None:
        self.context = browser.new_context(**options)
        if through:
            self.context.route_web_socket(re.compile("/live"), through)
        self.page, self.errors, self.requests = self.context.new_page(), [], []
        self.page.on(
            "console",
            lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None,
        )
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("websocket", lambda s: self.requests.append(s.url))
        self.page.goto(url)

    def until(self, expression: str, timeout: float = 60) -> None:
        self.page.wait_for_function(f"() => {expression}", timeout=1000 * timeout)

    def get(self, expression: str):
        return self.page.evaluate(expression)

    def text(self, name: str) -> str:
        return self.page.locator(f"#{name}").inner_text()

    def steps(self, seconds: float = 0.6) -> float:
        """Steps a second that are shown."""
        begin, now = self.get("srnn.ring.next"), time.monotonic()
        self.page.wait_for_timeout(1000 * seconds)
        return (self.get("srnn.ring.next") - begin) / (time.monotonic() - now)


@pytest.fixture
def see(chromium):
    made = []

    def open_(url: str, **options) -> Seen:
        made.append(Seen(chromium, url, **options))
        return made[-1]

    yield open_
    for seen in made:
        seen.context.close()


LIVE = "window.srnn && srnn.ring && srnn.ring.next > 60 && srnn.state.cost"


def test_it_opens_and_moves_and_asks_nobody_else(see, served) -> None:
    seen = see(served.server.url)
    seen.until(LIVE)
    seen.until("document.getElementById('label').textContent !== '–'")
    assert seen.text("link") == "live"
    assert seen.text("label") in served.about["classes"]
    clock = seen.text("clock")
    seen.until(f"document.getElementById('clock').textContent !== {clock!r}")
    assert re.fullmatch(r"[\d.]+ s", seen.text("clock"))
    assert seen.page.locator("#simulated").is_visible()
    assert "MAC" in seen.text("a-step")
    assert re.search(r"\d", seen.text("ops-own"))
    seen.until("document.getElementById('say').textContent.startsWith('Decision')")
    assert seen.page.locator("#say").get_attribute("aria-live") == "polite"
    drawn = (
        "(() => { const c = document.getElementById('scope'), d = "
        "c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " return new Set(new Uint32Array(d.buffer)).size })()"
    )
    assert seen.get(drawn) > 20
    assert seen.errors == []
    assert len(seen.requests) >= 5
    assert all(
        r.split("://")[1].startswith(served.server.url.split("://")[1]) for r in seen.requests
    )


def test_pause_speed_and_keys(see, served) -> None:
    seen = see(served.server.url)
    seen.until(LIVE)
    seen.page.click("#pause")
    seen.until("srnn.state.paused")
    assert seen.text("pause") == "Go on"
    assert seen.page.locator("#pause").get_attribute("aria-pressed") == "true"
    seen.page.wait_for_timeout(150)
    clock = seen.text("clock")
    assert seen.steps() == 0
    assert seen.text("clock") == clock
    seen.page.locator("#pause").blur()
    seen.page.keyboard.press("Space")
    seen.until("!srnn.state.paused")
    real = seen.steps()
    seen.page.select_option("#speed", label="5×")
    seen.until("srnn.state.speed === 5")
    fast = seen.steps()
    seen.page.select_option("#speed", label="0.25×")
    seen.until("srnn.state.speed === 0.25")
    slow = seen.steps()
    assert 0 < 1.8 * slow < real < fast / 1.8
    seen.page.focus("#pause")  # every control is reached by the keyboard
    order = []
    for _ in range(9):
        order.append(seen.get("document.activeElement.id"))
        seen.page.keyboard.press("Tab")
    assert order == [
        "pause",
        "reset",
        "speed",
        "source",
        "previous",
        "recording",
        "next",
        "noise",
        "lead",
    ]
    unnamed = (
        "[...document.querySelectorAll('button, select, input')]"
        ".filter((e) => !(e.labels?.length || e.getAttribute('aria-label') || "
        "e.textContent.trim())).length"
    )
    assert seen.get(unnamed) == 0
    assert seen.errors == []


def test_recording_source_noise_and_lead(see, served) -> None:
    seen = see(served.server.url)
    seen.until(LIVE)
    names = [served.player.sources["test"][k].name for k in range(6)]
    seen.page.fill("#recording", "4")
    seen.page.keyboard.press("Enter")
    seen.until(f"document.getElementById('name').textContent === {names[3]!r}")
    seen.page.click("#next")
    seen.until(f"document.getElementById('name').textContent === {names[4]!r}")
    seen.page.click("#previous")
    seen.until(f"document.getElementById('name').textContent === {names[3]!r}")
    seen.until("document.getElementById('truth').textContent !== '–'")
    seen.page.select_option("#source", label="Simulated ECG")
    seen.until("document.getElementById('name').textContent.startsWith('patient')")
    seen.until("document.getElementById('note').textContent.includes('real ECG')")
    assert seen.text("count") == "of 64"
    spread = (
        "(() => { const r = srnn.ring, v = [0, 1].map((k) => [...Array(40)].map((_, j) => "
        "r.signal[(((r.next - 1 - j) % r.window) * 2 + k) * 2]));"
        " return v.map((x) => Math.max(...x) - Math.min(...x)) })()"
    )
    seen.page.select_option("#lead", label="lead b")
    seen.until(f"srnn.state.lead === 1 && {spread}[1] === 0")
    assert seen.get(spread)[0] > 0
    off = served.player.costs.activity().input
    seen.page.select_option("#lead", label="none")
    seen.until(f"srnn.state.lead === null && {spread}[1] > 0")
    rate = seen.get("srnn.state.input_rate")
    seen.page.locator("#noise").fill("2")
    seen.until("srnn.state.noise === 2")
    assert seen.text("noise-is") == "2.0 sd"
    seen.until(f"srnn.state.input_rate > 1.5 * {rate}")  # more level crossings reach the network
    assert served.player.costs.activity().input > 1.5 * off
    seen.page.click("#reset")
    seen.until("srnn.state.known < 400")
    assert seen.errors == []


def test_two_pages_see_one_stream(see, served) -> None:
    one, two = see(served.server.url), see(served.server.url)
    one.until(LIVE)
    two.until(LIVE)
    one.page.click("#pause")
    for seen in (one, two):
        seen.until("srnn.state.paused && document.getElementById('link').textContent === 'paused'")
    one.page.wait_for_timeout(200)
    what = "[srnn.ring.next, [...srnn.ring.label.slice(0, srnn.ring.next)].slice(-100).join()]"
    last = (
        "(() => { const r = srnn.ring; return [r.next, ...[...Array(60)].map((_, j) => "
        "r.label[(r.next - 1 - j) % r.window])] })()"
    )
    assert one.get(last) == two.get(last)
    assert len(one.get(what)) == 2
    one.until("srnn.state.viewers === 2")


def test_it_says_when_it_is_disconnected_and_comes_back(see, ecg) -> None:
    made = serve(ecg)
    seen = see(made.server.url)
    seen.until(LIVE)
    made.close()
    seen.until("document.getElementById('link').textContent === 'disconnected'")
    assert "Trying again" in seen.text("alert")
    assert seen.text("say") == "Disconnected"
    again = serve(ecg, port=made.port)
    try:
        seen.until(
            "document.getElementById('link').textContent === 'live' && srnn.ring.next > "
            "60 && document.getElementById('alert').hidden"
        )
        assert seen.steps() > 0
        assert again.server.hub.viewers
    finally:
        again.close()


def test_a_wrong_token(see, ecg) -> None:
    made = serve(ecg, host="0.0.0.0", token="right")
    try:
        base = f"http://127.0.0.1:{made.port}/"
        seen = see(f"{base}?token=right")
        seen.until(LIVE)
        assert seen.errors == []
        wrong = see(f"{base}?token=wrong")
        assert "Wrong token" in wrong.get("document.body.textContent")
        address = (
            "location.href.replace('http', 'ws').replace('/?', '/live?').replace('right', 'wrong')"
        )
        code = (
            f"new Promise((done) => {{ new WebSocket({address}).onclose = (e) => done(e.code) }})"
        )
        assert seen.get(code) == 4401
    finally:
        made.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_and_the_dark(see, served, scheme) -> None:
    seen = see(
        served.server.url,
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,
        device_scale_factor=2,
        reduced_motion="reduce",
    )
    seen.until(LIVE)
    assert seen.get("document.documentElement.scrollWidth") == 390
    ground = seen.get("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(246, 246, 244)", "dark": "rgb(20, 22, 26)"}[scheme]
    tall = seen.get(
        "[...document.querySelectorAll('button, select')].map((e) => "
        "e.getBoundingClientRect().height)"
    )
    assert min(tall) >= 40
    assert seen.get("document.getElementById('scope').width") == 2 * seen.get(
        "document.getElementById('scope').clientWidth"
    )
    seen.page.set_viewport_size({"width": 320, "height": 700})
    seen.page.wait_for_timeout(100)
    assert seen.get("document.documentElement.scrollWidth") == 320
    assert seen.errors == []


def test_names_are_text(see, tmp_path) -> None:
    hostile = ['<img src=x onerror="window.hit=1">', "<script>window.hit=1<script>"]
    random = np.random.default_rng(0)
    for name in hostile:
        folder = tmp_path / "data" / name.replace("/", "")
        folder.mkdir(parents=True)
        for k in range(8):
            np.savetxt(
                folder / f"<b onmouseover=hit>{k}.csv",
                random.standard_normal((40, 2)),
                delimiter=",",
            )
    task = override(
        tasks.load("my"), [f"data={tmp_path / 'data'}", "network.hidden=[4,4]"]
    ).resolved(None)
    made = serve_network(task, 0, task.build().eval())
    try:
        seen = see(made.server.url)
        seen.until(LIVE)
        assert seen.text("label") in made.about["classes"]
        assert made.about["classes"][0].startswith("<img")
        seen.until("document.getElementById('name').textContent.includes('<b onmouseover=hit>')")
        assert seen.get("window.hit") is None
        # two <b> of its own
        assert seen.get("document.querySelectorAll('main img, main b, main script').length") == 2
        assert seen.errors == []
    finally:
        made.close()


def late(socket) -> None:
    """Pass on what page and server say; but when the page asks for the microphone, it first hears a
    state that was on its way.
    """
    server, states = socket.connect_to_server(), []

    def to_page(message: str | bytes) -> None:
        if isinstance(message, str) and json.loads(message)["type"] == "state":
            states.append(message)
        socket.send(message)

    def to_server(message: str | bytes) -> None:
        if isinstance(message, str) and json.loads(message).get("source") == "microphone":
            socket.send(states[-1])
        server.send(message)

    server.on_message(to_page)
    socket.on_message(to_server)


def test_a_microphone_makes_steps(launch, digits, tmp_path) -> None:
    write_wav(
        tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000), 48000
    )
    made, browser = serve(*digits), launch(tmp_path / "tone.wav")
    try:
        seen = Seen(browser, made.server.url, late)
        seen.until(LIVE)
        seen.page.select_option("#source", label="Microphone")
        seen.until(
            "srnn.state.source === 'microphone' && "
            "document.getElementById('name').textContent.startsWith('word ')"
        )
        assert 20 < seen.steps(1) < 300
        assert seen.get("document.getElementById('speed').disabled")
        x = seen.get(
            "(() => { const r = srnn.ring; return [...Array(50)].map((_, j) => "
            "r.signal[((r.next - 1 - j) % r.window) * 2 + 1]) })()"
        )
        assert 0.2 < float(np.median(x)) < 0.7  # the tone, at the task's rate
        seen.page.select_option("#source", label="Test part")
        seen.until("srnn.state.source === 'test'")
        assert seen.errors == []
    finally:
        made.close()
