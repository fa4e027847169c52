"""What a stream says: scores as the decoders have them, classes, events, decisions; what it
remembers; what it refuses.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from srnn import ALIF, Layer, Readout, Stack, decode
from srnn._check import ConfigError, DataError, RunError, ShapeError
from srnn.activations import Identity
from srnn.neurons import LIF, Leaky
from srnn.nn.layers import LayerNorm
from srnn.stream import Decision, Event, Stream
from srnn.stream.decision import POOLS, Pool, Watch
from srnn.tasks.objective import PerRecording, PerStep

T, C, K = 30, 4, 3


def network() -> Stack:
    torch.manual_seed(0)
    net = Stack(Layer(C, 12, ALIF()), Readout(12, K))
    torch.nn.init.normal_(net.layers[1].weight, std=3.0)
    return net


def through() -> Stack:
    """A network whose potential is its input."""
    layer = Layer(K, K, Leaky(tau_m=1e-3), Identity(), recurrent=False, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(K))
    return Stack(layer)


def signal(batch: int = 2) -> torch.Tensor:
    torch.manual_seed(1)
    return 2 * torch.randn(batch, T, C)


@pytest.mark.parametrize("skip", [0, 7])
@pytest.mark.parametrize("pool", POOLS)
def test_scores_of_the_last_step_are_those_of_the_decoder(pool, skip):
    net, x = network(), signal()
    with torch.no_grad():
        u = net(x, backend="cpu").potential.double()
    step = Stream(net, batch=2, decision=Decision(pool, skip=skip)).push(x)
    assert step.scores.shape == (2, T, K)
    for n in (1, 7, 8, T):
        if pool in ("per_step", "last"):
            expected = (decode.per_step(u)[:, n - 1] if pool == "per_step" else u[:, n - 1]) * (
                n > skip
            )
        else:
            expected = getattr(decode, pool)(u[:, :n], skip=skip)
        assert np.allclose(step.scores[:, n - 1], expected.numpy(), atol=1e-12)
        if n > skip and pool != "per_step":
            assert np.array_equal(step.label[:, n - 1], expected.argmax(-1).numpy())
    assert (step.label[:, :skip] == -1).all()
    assert (step.label[:, skip:] >= 0).all()
    assert (step.confidence[:, :skip] == 0).all()
    assert ((step.confidence[:, skip:] > 1 / K - 1e-9) & (step.confidence <= 1)[:, skip:]).all()


def test_a_task_decides_as_it_was_trained():
    assert PerStep(skip=10).running() == Decision("per_step", skip=10)
    assert PerRecording(read="output", pool="spike_count", skip=3, scale=0.1).running() == Decision(
        "spike_count", "output", 3, 0.1
    )
    assert PerRecording(pool="last", skip=3).running() == Decision("last")


def test_events_by_hand():
    logits = torch.tensor(
        [[0, 0, 4], [0, 0, 9], [0, 1, 0], [9, 0, 0], [9, 0, 0], [9, 0, 0], [0, 9, 0]],
        dtype=torch.float32,
    )
    stream = Stream(through(), threshold=0.99, hold=2)
    step = stream.push(logits[None])
    sure = [float(v) for v in step.confidence[0]]
    assert step.label.tolist() == [[2, 2, 1, 0, 0, 0, 1]]
    assert step.events == [
        Event("class", 0, 0, 2, sure[0], 0),
        Event("confident", 0, 1, 2, sure[1], 1),
        Event("class", 0, 2, 1, sure[2], 2),
        Event("unsure", 0, 2, 1, sure[2], 2),
        Event("class", 0, 3, 0, sure[3], 3),
        Event("confident", 0, 3, 0, sure[3], 3),
        Event("decided", 0, 4, 0, sure[4], 3),
        Event("class", 0, 6, 1, sure[6], 6),
        Event("confident", 0, 6, 1, sure[6], 6),
    ]
    assert (
        stream.decided[0],
        stream.decided_at[0],
        stream.confident_since[0],
        stream.label[0],
    ) == (0, 4, 6, 1)
    stream.reset()
    assert (
        stream.decided[0],
        stream.decided_at[0],
        stream.confident_since[0],
        stream.label[0],
        stream.steps[0],
    ) == (-1, -1, -1, -1, 0)
    again = [e for row in logits for e in stream.push(row).events]
    assert again == step.events


def test_events_do_not_depend_on_the_cuts():
    rng = np.random.default_rng(0)
    checked, kinds = 0, set()
    for trial in range(60):
        labels = rng.integers(0, 2, (1, 25)).repeat(rng.integers(1, 4), 1)[:, :25]
        confidence = rng.choice([0.3, 0.8], (1, 25), p=[0.3, 0.7])
        counts = np.arange(25)[None] >= 4 if trial % 2 else None
        watch = Watch(1, 0.5, int(rng.integers(1, 5)))
        whole = watch.find(np.array([0]), labels, confidence, counts)
        for _ in range(5):
            watch.reset(slice(None))
            at = [0, *np.sort(rng.integers(0, 26, rng.integers(0, 9))), 25]
            got = []
            for a, b in itertools.pairwise(at):
                if b > a:
                    got += watch.find(
                        np.array([a]),
                        labels[:, a:b],
                        confidence[:, a:b],
                        None if counts is None else counts[:, a:b],
                    )
            assert got == whole
            checked += 1
        kinds |= {e.kind for e in whole}
    assert checked == 300
    assert kinds == {"class", "confident", "unsure", "decided"}


def test_sums_do_not_depend_on_the_cuts():
    u = np.random.default_rng(0).standard_normal((2, 40, K)) * 5
    for pool in POOLS:
        whole = Pool(Decision(pool), 2, K).add(u, None)
        for size in (1, 3, 17):
            one = Pool(Decision(pool), 2, K)
            parts = [one.add(u[:, k : k + size], None) for k in range(0, 40, size)]
            assert np.array_equal(np.concatenate([p[0] for p in parts], 1), whole[0])
            assert np.array_equal(np.concatenate([p[1] for p in parts], 1), whole[1])


def test_shapes_follow_what_was_pushed():
    stream = Stream(network())
    one = stream.push(signal(1)[0, 0])
    assert (one.scores.shape, one.label.shape, one.confidence.shape) == ((K,), (), ())
    assert stream.push(signal(1)[:, 0]).scores.shape == (1, K)
    assert stream.push(signal(1)[0, 0].tolist()).scores.shape == (K,)
    assert stream.push(signal(1)[:, :0]).scores.shape == (1, 0, K)
    assert stream.push(signal(1)).scores.shape == (1, T, K)
    assert (stream.batch, stream.inputs, stream.classes, int(stream.steps[0])) == (1, C, K, 3 + T)


def test_what_cannot_be_pushed_is_refused_and_changes_nothing():
    stream = Stream(network(), batch=2)
    x = signal()
    stream.push(x)
    before, steps = stream.state, stream.steps
    bad = x.clone()
    bad[1, 3, 2] = torch.inf
    for given, error, text in (
        (bad, DataError, "recording 1 is not finite at step 3"),
        (bad[:, 3], DataError, "recording 1 is not finite at step 0"),
        (x[0, 0], ShapeError, r"\(4,\); expected \(B=2, C=4\)"),
        (x[:, :, :3], ShapeError, r"\(2, 30, 3\)"),
        (x[0], ShapeError, r"pass x\[None\]"),
    ):
        with pytest.raises(error, match=text):
            stream.push(given)
    with pytest.raises(ShapeError, match="lengths are"):
        stream.push(x, [1, T + 1])
    assert all(
        torch.equal(a[k], b[k]) for a, b in zip(stream.state, before, strict=True) for k in a
    )
    assert (stream.steps == steps).all()


def test_settings_that_cannot_work_are_refused():
    net = network()
    for more, text in (
        ({"batch": 0}, "batch"),
        ({"hold": 0}, "hold"),
        ({"threshold": 1.5}, "threshold"),
        ({"decision": "mean"}, "Decision"),
        ({"backend": "gpu"}, "backend"),
    ):
        with pytest.raises(ConfigError, match=text):
            Stream(net, **more)
    with pytest.raises(ConfigError, match="there is no 'sum'"):
        Decision("sum")
    with pytest.raises(ShapeError, match="several recordings"):
        Stream(net, start=net.start(2))


def test_the_weights_are_those_of_the_moment_it_was_made():
    net, x = network(), signal(1)
    stream = Stream(net)
    first = stream.push(x).scores
    with torch.no_grad():
        net.layers[0].weight.mul_(2)
    stream.reset()
    assert np.array_equal(stream.push(x).scores, first)
    assert all(p.requires_grad for p in net.parameters())


# ── saved states ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pool", POOLS)
def test_a_saved_stream_goes_on_to_the_bit(pool, tmp_path):
    net, x = network(), signal()
    settings = {"batch": 2, "decision": Decision(pool, skip=3), "threshold": 0.6, "hold": 3}
    stream = Stream(net, **settings)
    stream.push(x[:, :11])
    stream.save(tmp_path / "deep" / "state.safetensors")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["state.safetensors"]
    rest = stream.push(x[:, 11:])
    other = Stream(net, **settings)
    other.load(tmp_path / "deep" / "state.safetensors")
    got = other.push(x[:, 11:])
    assert np.array_equal(got.scores, rest.scores)
    assert got.events == rest.events
    assert (other.steps == T).all()


def test_a_saved_state_of_another_stream_is_refused(tmp_path):
    path = tmp_path / "state"
    Stream(network(), threshold=0.5).save(path)
    torch.manual_seed(0)
    wider = Stack(Layer(C, 13, ALIF()), Readout(13, K))
    for other, what in (
        (Stream(wider, threshold=0.5), "layers"),
        (Stream(network(), threshold=0.5, batch=2), "batch"),
        (Stream(network(), threshold=0.6), "threshold"),
        (Stream(network(), threshold=0.5, decision=Decision("mean")), "decision"),
        (Stream(network().double(), threshold=0.5), "dtype"),
    ):
        before = other.state
        with pytest.raises(RunError, match=what):
            other.load(path)
        assert all(
            torch.equal(a[k], b[k]) for a, b in zip(other.state, before, strict=True) for k in a
        )


def test_damaged_and_missing_files_are_refused(tmp_path):
    stream = Stream(network())
    stream.save(tmp_path / "state")
    whole = (tmp_path / "state").read_bytes()
    for content in (b"", whole[:100], b"nothing of ours" * 9):
        (tmp_path / "state").write_bytes(content)
        with pytest.raises(RunError, match="is no saved state"):
            stream.load(tmp_path / "state")
    with pytest.raises(RunError):
        stream.load(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        stream.save(tmp_path / "file" / "state")


@pytest.mark.parametrize("norm", [None, "layer"])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_what_every_layer_gives_is_recorded(backend, norm):
    torch.manual_seed(0)
    second = Layer(12, 9, LIF(), norm=None if norm is None else LayerNorm())
    net = Stack(Layer(C, 12, ALIF()), second, Readout(9, K))
    for layer in net.layers:
        torch.nn.init.normal_(layer.weight, std=2.0)
    x = signal()
    with torch.no_grad():
        out = net(x, record=True, backend=backend)
    plain, stream = (
        Stream(net, batch=2, backend=backend),
        Stream(net, batch=2, backend=backend, record=True),
    )
    cuts = [0, 1, 2, 9, T]
    made = [(stream.push(x[:, a:b]), stream.recorded) for a, b in itertools.pairwise(cuts)]
    wanted = plain.push(x)
    assert plain.recorded == ()
    assert np.array_equal(np.concatenate([step.label for step, _ in made], 1), wanted.label)
    spikes = 0
    for k, layer in enumerate(out.trace.outputs[:2]):
        got = np.concatenate([recorded[k] for _, recorded in made], 1)
        assert np.array_equal(got, layer.numpy())
        spikes += int(got.sum())
    assert spikes > 50
    stream.reset()
    one = stream.push(x[:, 0])
    assert np.array_equal(stream.recorded[0][:, 0], out.trace.outputs[0][:, 0].numpy())
    assert np.array_equal(one.label, wanted.label[:, 0])


@pytest.mark.parametrize("pool", POOLS)
def test_the_shares_of_scores_have_the_confidence_for_their_greatest(pool):
    decision = Decision(pool, scale=0.5)
    step = Stream(network(), batch=2, decision=decision).push(signal())
    shares = decision.shares(step.scores)
    assert np.allclose(shares.sum(-1), 1)
    assert np.allclose(shares.max(-1), step.confidence, atol=1e-12)
