"""What holds of any network, length, cut and padding, and of any bytes that a reader is given
(hypothesis; the same examples every time).
"""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import srnn
from srnn import cells, decode, metrics, tasks
from srnn._check import SrnnError
from srnn.activations import Identity
from srnn.datasets import own
from srnn.nn.layers import BatchNorm, LayerNorm
from srnn.stream.parse import Lines
from srnn.tasks.settings import describe, override, rebuild
from srnn.training.runs import Run, load_checkpoint, load_run
from srnn.training.train import fit

few = settings(
    derandomize=True, deadline=None, max_examples=25, suppress_health_check=list(HealthCheck)
)
many = settings(few, max_examples=200)

NEURONS = (
    srnn.ALIF(),
    srnn.LIF(),
    srnn.AdLIF(),
    srnn.SparchAdLIF(),
    srnn.SoftLIF(),
    srnn.Izhikevich(),
    srnn.ThresholdLIF(),
)


@st.composite
def stacks(draw: st.DrawFn) -> tuple[srnn.Stack, bool]:
    """A network of one to three layers, and whether it needs whole recordings."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    inputs, layers, whole = draw(st.integers(1, 4)), [], False
    width = inputs
    for _ in range(draw(st.integers(1, 2))):
        n = draw(st.integers(1, 9))
        norm = draw(st.sampled_from([None, BatchNorm(), LayerNorm()])) if n > 1 else None
        neuron = draw(st.sampled_from(NEURONS))
        layer = srnn.Layer(
            width,
            n,
            neuron,
            norm=norm,
            recurrent=draw(st.booleans()),
            sparsity=draw(st.sampled_from([0.0, 0.5])) if width > 1 else 0.0,
        )
        both = draw(st.booleans()) and draw(st.booleans())
        layers.append(srnn.Bidirectional(layer) if both else layer)
        width, whole = 2 * n if both else n, whole or both
    layers.append(
        draw(
            st.sampled_from(
                [srnn.Readout(width, 3), srnn.Layer(width, 3, cells.LSTM(), Identity())]
            )
        )
    )
    net = srnn.Stack(*layers).eval()
    with torch.no_grad():
        for p in net.parameters():
            if p.dim() == 2:
                p.mul_(3)
    return net, whole


@st.composite
def batches(draw: st.DrawFn, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Recordings (B, T, C) with NaN beyond their lengths."""
    batch, steps = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    lengths = torch.tensor(draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch)))
    x = torch.randn(
        batch, steps, channels, generator=torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    )
    x[torch.arange(steps) >= lengths.unsqueeze(1)] = math.nan
    return x, lengths


@few
@given(st.data())
def test_a_batch_is_its_recordings(data: st.DataObject) -> None:
    """Each alone, in another order, with more padding: the same numbers; what is padded has no
    gradient.
    """
    net, _ = data.draw(stacks())
    x, lengths = data.draw(batches(net.inputs))
    out = net(x, lengths=lengths).potential
    assert torch.isfinite(out).all()
    for b, n in enumerate(lengths.tolist()):
        assert not out[b, n:].any()
        if n:
            alone = net(x[b : b + 1, :n]).potential[0]
            torch.testing.assert_close(out[b, :n], alone, rtol=1e-5, atol=1e-5)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    assert torch.equal(net(x[order], lengths=lengths[order]).potential, out[order])
    padded = torch.cat([x, torch.full((len(x), 3, net.inputs), math.nan)], 1)
    assert torch.equal(net(padded, lengths=lengths).potential[:, : x.shape[1]], out)
    clean = torch.nan_to_num(x).requires_grad_()
    (gradient,) = torch.autograd.grad(
        net(clean, lengths=lengths).potential.sum(), clean, allow_unused=True
    )
    if gradient is not None:
        assert not gradient[torch.arange(x.shape[1]) >= lengths.unsqueeze(1)].any()


@few
@given(st.data())
def test_any_cut_is_the_whole(data: st.DataObject) -> None:
    net, whole = data.draw(stacks().filter(lambda made: not made[1]))
    assert not whole
    x = torch.randn(
        2, data.draw(st.integers(1, 15)), net.inputs, generator=torch.Generator().manual_seed(1)
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, x.shape[1]), max_size=4)))
    with torch.no_grad():
        out = net(x)
        pieces, state = [], None
        for a, b in zip([0, *cuts], [*cuts, x.shape[1]], strict=True):
            if b > a:
                piece = net(x[:, a:b], state=state)
                pieces.append(piece.potential)
                state = piece.state
    torch.testing.assert_close(torch.cat(pieces, 1), out.potential, rtol=1e-5, atol=1e-5)


@many
@given(st.data())
def test_decoders_and_metrics_see_valid_steps_only(data: st.DataObject) -> None:
    x, lengths = data.draw(batches(3))
    lengths = lengths.clamp(min=1)
    x = torch.nan_to_num(x)
    junk = torch.where((torch.arange(x.shape[1]) < lengths.unsqueeze(1)).unsqueeze(-1), x, 1e6)
    for pool in (
        decode.softmax_sum,
        decode.mean,
        decode.last,
        decode.max_over_time,
        decode.spike_count,
    ):
        scores = pool(x, lengths)
        assert scores.shape == (len(x), 3)
        assert torch.isfinite(scores).all()
        assert torch.equal(pool(junk, lengths), scores)
    labels = torch.randint(0, 3, (len(x),), generator=torch.Generator().manual_seed(0))
    matrix = metrics.confusion(decode.mean(x, lengths), labels)
    assert int(matrix.sum()) == len(x)
    assert metrics.accuracy(decode.mean(x, lengths), labels) == pytest.approx(
        float(matrix.diag().sum()) / len(x)
    )


@few
@given(
    st.sampled_from(tasks.names()), st.floats(1e-5, 1.0), st.integers(1, 512), st.integers(1, 500)
)
def test_settings_come_back_from_their_description(
    name: str, lr: float, batch: int, epochs: int
) -> None:
    task = override(
        tasks.load(name), [f"optimiser.lr={lr!r}", f"batch={batch}", f"epochs={epochs}"]
    )
    kept = json.loads(json.dumps(describe(task)))
    assert rebuild(tasks.load(name), kept) == task
    assert describe(rebuild(tasks.load(name), kept)) == kept


@settings(many, max_examples=500)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.text("0123456789.,;eE+-naif# \t\r\n", max_size=40).map(str.encode),
        ),
        max_size=12,
    ),
    st.integers(1, 3),
)
def test_every_line_of_a_stream_is_a_sample_or_is_counted(
    pieces: list[bytes], columns: int
) -> None:
    data = b"".join(pieces)
    parser, samples, bad = Lines(columns), 0, 0
    for piece in [*pieces, None]:
        parsed = parser.end() if piece is None else parser.feed(piece)
        assert parsed.samples.shape[1] == columns
        assert not np.isinf(parsed.samples).any()
        samples, bad = (
            samples + len(parsed.samples),
            bad + (parsed.malformed.lines if parsed.malformed else 0),
        )
    said = [line.split(b"#", 1)[0].strip() for line in data.split(b"\n")]
    assert samples + bad <= len(said)
    # a line of blanks between commas may be either
    assert samples + bad >= len([line for line in said if line]) - 1
    whole = Lines(columns)
    parts = [whole.feed(data), whole.end()]
    assert sum(len(p.samples) for p in parts) == samples  # however it was cut


def _mutated(raw: bytes, draw: random.Random) -> bytes:
    """Return bytes with a few flipped, cut out, doubled or swapped."""
    made = bytearray(raw)
    for _ in range(draw.randint(1, 4)):
        at, n = draw.randrange(max(1, len(made))), draw.randint(1, 40)
        kind = draw.randrange(5)
        if kind == 0 and made:
            made[min(at, len(made) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del made[at : at + n]
        elif kind == 2:
            made[at:at] = made[at : at + n]
        elif kind == 3:
            made[at : at + n] = draw.randbytes(n)
        else:
            del made[at:]
    return bytes(made)


@pytest.mark.parametrize("kind", ["npz", "csv", "wav", "h5"])
def test_files_of_ones_own_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    """80 mutations of a file: its recordings, finite, or one error of the package that names the
    file.
    """
    root = tmp_path / "data"
    target = root / f"x.{kind}" if kind in ("npz", "h5") else root
    root.mkdir()
    own.made_up(target, kind)  # type: ignore[arg-type]
    file = target if target.is_file() else sorted(p for p in root.rglob("*") if p.is_file())[0]
    good, draw, refused = file.read_bytes(), random.Random(0), 0
    for _ in range(80):
        file.write_bytes(_mutated(good, draw))
        try:
            found = own.read(target)
            for sample in found.recordings:
                signal = getattr(sample, "signal", None)
                assert signal is None or np.isfinite(signal).all()
        except SrnnError as error:
            refused += file.name in str(error) or root.name in str(error)
    assert refused > 10


def test_files_of_a_run_are_read_or_refused(tmp_path: Path) -> None:
    """60 mutations of each file of a run: it is read, or refused by an error of the package; a
    checkpoint is never another one.
    """
    fit(
        override(
            tasks.load("ecg_sim"),
            ["epochs=1", "data.train=4", "data.validation=2", "data.test=2", "data.steps=24"],
        ),
        tmp_path / "run",
        seed=0,
    )
    run, draw, counts = Run(tmp_path / "run"), random.Random(0), {}
    want, _ = load_checkpoint(run.checkpoint("best"))
    for name in ("task.json", "metrics.json", "log.jsonl", "checkpoints/best.safetensors"):
        path, refused = run.path / name, 0
        good = path.read_bytes()
        for _ in range(60):
            path.write_bytes(_mutated(good, draw))
            try:
                run.rows()
                run.read("metrics.json")
                load_run(run.path)
                found, _ = load_checkpoint(run.checkpoint("best"))
                assert found.keys() == want.keys()
                assert all(torch.equal(found[k], want[k]) for k in want)
            except SrnnError:
                refused += 1
        path.write_bytes(good)
        counts[name] = refused
    assert counts["checkpoints/best.safetensors"] >= 58
    assert counts["task.json"] > 30
    shutil.rmtree(run.path)
