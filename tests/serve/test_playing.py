"""What is played gives the decisions of the whole recordings, for every kind of task; disturbed, it
gives others.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from srnn import tasks
from srnn._check import ConfigError, DataError
from srnn.datasets import ecg_sim
from srnn.datasets._audio import write_wav
from srnn.serve.controls import Command
from srnn.serve.frames import Rows, unpack
from srnn.serve.player import Player
from srnn.serve.playing import BLOCKS, Disturbance, Playing, blocks
from srnn.serve.tracks import HeldOut, OneFile, SimulatedEcg, hears, listening
from srnn.stream import Stream
from srnn.stream.encoding import Endless
from srnn.tasks.settings import override
from srnn.tasks.task import collate

SETTINGS = {
    "ecg": (),
    "ecg_sim": ("data.train=2", "data.validation=2", "data.test=3", "data.steps=120"),
    "fsdd": ("network.hidden=16",),
    "fsdd_spikes": ("network.hidden=[16,16]",),
    "gsc": ("network.hidden=[16,16]",),
    "smnist": ("network.hidden=[8,8,8]",),
    "my": ("network.hidden=[16,16]",),
    "shd": ("network.hidden=[16,16]",),
}
WHOLE = {"gsc": "encoded as a whole", "shd": "spikes are put", "fsdd_spikes": "spikes are put"}


class Sent:
    """What a player published."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.states: list[dict] = []

    def __call__(self, what) -> None:
        (self.frames if isinstance(what, bytes) else self.states).append(what)

    def steps(self, player: Player):
        """All steps as one: begins [(step, about)], and the arrays."""
        rows, begins, parts = [r.rows for r in player.rows], [], []
        for frame in self.frames:
            head, made = unpack(frame, rows, player.stream.classes)
            begins += [(head["step"] + k, about) for k, about in head["begins"]]
            parts.append(made)
        joined = {
            k: np.concatenate([p[k] for p in parts]) for k in ("signal", "label", "truth", "shares")
        }
        return begins, {
            **joined,
            "rows": [np.concatenate(v) for v in zip(*(p["rows"] for p in parts), strict=True)],
        }


def made_up(name: str, root, settings=None):
    task = override(tasks.load(name), list(SETTINGS[name] if settings is None else settings))
    task = task.on_made_up(root).resolved(root)
    torch.manual_seed(0)
    net = task.build().eval()
    with torch.no_grad():
        for p in net.parts():
            p.weight.mul_(4)  # or it would hardly spike
    return task, net


@pytest.mark.parametrize("name", SETTINGS)
def test_decisions_are_those_of_the_whole_recordings(name, tmp_path) -> None:
    task, net = made_up(name, tmp_path)
    sent, part = Sent(), HeldOut(task, task.data.load(tmp_path).test)
    player = Player(task, 0, net, [part], sent)
    encoded = task.load(tmp_path).test
    count = min(3, len(encoded))
    samples = [encoded[k] for k in range(count)]
    total, random = sum(len(s.signal) for s in samples), np.random.default_rng(0)
    while player._steps < total:  # in pieces of any length
        player.play(float(random.uniform(0.001, 0.4)) * 250 / player.rate)
    begins, got = sent.steps(player)
    assert [about["name"] for _, about in begins[:count]] == [s.name for s in samples]
    compared = 0
    for (first, about), sample in zip(begins, samples, strict=False):
        x = sample.signal.astype(np.float32)
        plain = Stream(
            net,
            decision=task.decode.running(),
            start=task.start(net, 1, torch.Generator().manual_seed(0)),
        )
        wanted = plain.push(x[None])
        span = slice(first, first + len(x))
        np.testing.assert_array_equal(got["label"][span], wanted.label[0])
        confidence = got["shares"][span].max(1) / 255
        np.testing.assert_allclose(
            confidence, np.where(wanted.label[0] >= 0, wanted.confidence[0], 0), atol=0.003
        )
        np.testing.assert_array_equal(got["truth"][span], np.broadcast_to(sample.label, len(x)))
        assert about["truth"] == (None if np.ndim(sample.label) else sample.label)
        batch = collate([sample])
        with torch.no_grad():
            out = net(batch.x, lengths=batch.lengths, record=True)
        scores = task.decode.scores(out, batch.lengths)[0].numpy()
        if scores.ndim == 1:  # what `srnn evaluate` counts
            assert got["label"][span][-1] == scores.argmax()
        else:
            np.testing.assert_array_equal(
                got["label"][span][task.decode.skip :], scores.argmax(-1)[task.decode.skip :]
            )
        for rows, shown, layer in zip(
            player.rows[1:], got["rows"][1:], out.trace.outputs, strict=False
        ):
            if rows == Rows(layer.shape[-1]) and rows.group == 1:  # the spikes of every layer
                np.testing.assert_array_equal(shown[span] > 0, layer[0].numpy() > 0)
                compared += int(layer.sum())
    assert compared > 0
    assert WHOLE.get(name, "") in part.note
    assert bool(part.note) == (name in WHOLE)
    assert player.costs.told()["cost"]["operations_per_second"] > 0


def test_the_curve_is_the_signal(tmp_path) -> None:
    task, net = made_up("fsdd", tmp_path)
    recordings = task.data.load(tmp_path).test
    sent = Sent()
    player = Player(task, 0, net, [HeldOut(task, recordings)], sent)
    player.play(60 / 1)
    begins, got = sent.steps(player)
    assert len(begins) > 5
    for k, (first, _) in enumerate(begins[:5]):
        x = recordings[k].signal[:, 0]
        per = int(task.data.shape.rate / task.shape.rate)
        n = len(x) // per
        whole = x[: n * per].reshape(n, per)
        np.testing.assert_array_equal(
            got["signal"][first : first + n, 0], np.stack([whole.min(1), whole.max(1)], 1)
        )


def test_noise_and_a_lead_that_is_off_reach_the_network(tmp_path) -> None:
    task, net = made_up("ecg_sim", tmp_path)
    shown = {}
    for what in (None, Command("noise", 1.0), Command("lead", 1)):
        sent = Sent()
        player = Player(task, 0, net, [HeldOut(task, task.data.load(None).test)], sent)
        if what is not None:
            player._do(what)
        player.play(0.4)
        _, shown[what and what.what] = sent.steps(player)
    plain, noisy, off = shown[None], shown["noise"], shown["lead"]
    assert len(plain["label"]) == len(noisy["label"]) == len(off["label"]) == 100
    assert np.std(noisy["signal"] - plain["signal"]) > 0.5 * np.std(plain["signal"])
    assert np.ptp(off["signal"][:, 1]) == 0
    np.testing.assert_array_equal(off["signal"][:, 0], plain["signal"][:, 0])
    assert (noisy["rows"][0] != plain["rows"][0]).any()
    assert not off["rows"][0][1:, 2:].any()
    assert plain["rows"][0][1:, 2:].any()
    np.testing.assert_array_equal(off["rows"][0][1:, :2], plain["rows"][0][1:, :2])


def test_noise_on_events_flips_them(tmp_path) -> None:
    task, _ = made_up("ecg", tmp_path)
    track = HeldOut(task, task.data.load(tmp_path).test)[0]
    assert track.events
    assert len(track.blocks) == 2
    x, random = track.samples, np.random.default_rng(0)
    assert track.disturbed(x, Disturbance(), random) is x
    noisy = track.disturbed(x, Disturbance(1.0), random)
    assert 0.07 < (noisy != x).mean() < 0.13
    assert not track.disturbed(x, Disturbance(0.0, 0), random)[:, :2].any()


def test_leads_are_few() -> None:
    assert blocks(2) == (range(1), range(1, 2))
    assert blocks(4, 2) == (range(2), range(2, 4))
    made = blocks(700)
    assert len(made) == BLOCKS
    assert [k for b in made for k in b] == list(range(700))


def test_controls_of_the_player(tmp_path) -> None:
    task, net = made_up("ecg_sim", tmp_path)
    sent = Sent()
    player = Player(
        task, 0, net, [HeldOut(task, task.data.load(None).test), SimulatedEcg(task, 300)], sent
    )
    player._do(Command("recording", 2))
    player.play(0.1)
    player._do(Command("source", "simulated"))
    player._do(Command("speed", 4.0))
    player.play(0.1)
    player._do(Command("source", "nothing"))
    player._tell(1.0)
    begins, _ = sent.steps(player)
    names = [about["name"] for _, about in begins]
    test = task.data.load(None).test
    assert names == [test[2].name, "patient 1"]
    state = sent.states[-1]
    assert (state["source"], state["speed"], state["count"], state["steps"]) == (
        "simulated",
        4.0,
        64,
        125,
    )
    assert "no source" in state["error"]
    player._do(Command("reset", True))
    player._tell(1.0)
    assert sent.states[-1]["known"] == 0
    assert sent.states[-1]["error"] == ""


def test_a_recording_that_cannot_be_read_is_told_and_passed(tmp_path) -> None:
    task, net = made_up("ecg_sim", tmp_path)
    good = HeldOut(task, task.data.load(None).test)

    class Damaged:
        key, title, note = "test", "Test part", ""

        def __len__(self):
            return 3

        def __getitem__(self, index):
            if index == 1:
                raise DataError("file 1 is damaged")
            return good[index]

    sent = Sent()
    player = Player(task, 0, net, [Damaged()], sent)
    player.play(1.0)
    player._tell(1.0)
    assert sent.states[-1]["error"] == "file 1 is damaged"
    steps = player._steps
    assert steps == 120
    player.play(1.0)
    assert player._steps == steps
    player._do(Command("recording", 2))
    player.play(0.1)
    assert player._steps > steps


def test_files_are_played(tmp_path) -> None:
    task, net = made_up("ecg_sim", tmp_path)
    x = ecg_sim.generate(1, 120, seed=5)[0].signal
    file = tmp_path / "two leads.csv"
    file.write_text("a,b\n" + "".join(f"{a:.9g},{b:.9g}\n" for a, b in x))
    made = OneFile.open(task, file)
    assert "no samples: 1, the first of them line 1" in made.note
    pieces = Playing(made[0]).take(1e9, Disturbance(), np.random.default_rng(0))
    got = np.concatenate([p.steps for p in pieces])
    np.testing.assert_array_equal(got, task.encode(ecg_sim.generate(1, 120, seed=5)[0]).signal)
    assert made[0].truth == -1
    (tmp_path / "none.csv").write_text("nothing\n")
    with pytest.raises(DataError, match="holds no sample"):
        OneFile.open(task, tmp_path / "none.csv")
    sound, _ = made_up("fsdd", tmp_path / "sound")
    write_wav(tmp_path / "word.wav", np.sin(np.arange(4000) / 9) / 2, 8000)
    write_wav(tmp_path / "fast.wav", np.sin(np.arange(4000) / 9) / 2, 16000)
    assert len(OneFile.open(sound, tmp_path / "word.wav")[0].samples) == 4000
    with pytest.raises(ConfigError, match="sox IN -r 8000"):
        OneFile.open(sound, tmp_path / "fast.wav")
    spikes, _ = made_up("shd", tmp_path / "spikes")
    (tmp_path / "spikes.txt").write_text("".join(f"{0.01 * k},{k % 700}\n" for k in range(150)))
    assert len(OneFile.open(spikes, tmp_path / "spikes.txt")) == 2
    assert net is not None


def test_a_microphone_cuts_words_at_pauses(tmp_path) -> None:
    task, _ = made_up("fsdd", tmp_path)
    assert hears(task)
    assert not hears(made_up("ecg_sim", tmp_path / "e")[0])
    feed, note = listening(task)
    assert "quiet" in note
    random = np.random.default_rng(0)
    quiet, word = 0.001 * random.standard_normal(8000), 0.3 * np.sin(np.arange(3200) / 5)
    sound = np.concatenate([quiet, word, quiet, word, quiet]).astype(np.float32)
    ends, steps = 0, []
    for piece in np.split(sound, range(500, len(sound), 500)):
        feed.hear(piece)
        for made in feed.take(0, Disturbance(), random):
            ends += made.end
            if len(made.steps):
                steps.append(made.steps)
    assert ends == 2
    whole = (
        Endless(task.encode.streaming(task.data.shape))
        .push(sound[:, None].astype(np.float64))[0]
        .steps
    )
    np.testing.assert_array_equal(np.concatenate(steps), whole)
    gsc, _ = made_up("gsc", tmp_path / "g")
    feed, note = listening(gsc)
    assert "as a whole" in note
    feed.hear((0.1 * random.standard_normal(16000)).astype(np.float32))
    made = feed.take(0, Disturbance(), random)
    assert [(p.end, p.steps.shape) for p in made] == [(True, (101, 120))]


def test_an_lstm_is_shown_too(tmp_path) -> None:
    task, net = made_up(
        "ecg_sim", tmp_path, [*SETTINGS["ecg_sim"], "network=CellNetwork", "network.hidden=[12]"]
    )
    sent = Sent()
    player = Player(task, 0, net, [HeldOut(task, task.data.load(None).test)], sent)
    player.play(0.4)
    _, got = sent.steps(player)
    assert len(player.rows) == 2
    assert np.ptp(got["rows"][1].astype(int)) > 100  # graded, on a scale of its own
    assert player.costs.told()["rate"] == 0
