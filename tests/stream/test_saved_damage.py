"""State files that are not what a stream writes: refused, and the stream stays as it was."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load, save

import srnn
from srnn._check import RunError
from srnn._files import _tensors
from srnn.stream import Stream


def stream() -> Stream:
    torch.manual_seed(0)
    return Stream(srnn.Stack(srnn.Layer(2, 3, srnn.ALIF()), srnn.Readout(3, 2)), threshold=0.5)


def parts(path):
    """The tensors and the JSON of a file."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["srnn"])
    return load(data), about


@pytest.fixture
def written(tmp_path):
    made = stream()
    made.push(torch.rand(1, 7, 2))
    made.save(tmp_path / "state")
    return tmp_path / "state"


def test_a_checksum_tells_of_every_byte_of_the_tensors(written):
    data = bytearray(written.read_bytes())
    size = int.from_bytes(data[:8], "little")
    for at in range(8 + size, len(data), 5):
        changed = bytearray(data)
        changed[at] ^= 1
        written.write_bytes(changed)
        with pytest.raises(RunError, match="its checksum does not agree"):
            stream().load(written)


def test_a_file_of_today_without_a_checksum_is_read(written):
    tensors, about = parts(written)
    before = {**about, "schema": 1}
    written.write_bytes(save(tensors, {"srnn": json.dumps(before)}))
    loaded = stream()
    loaded.load(written)
    assert int(loaded._pool.seen[0]) == 7
    written.write_bytes(save(tensors, {"srnn": json.dumps(about)}))
    with pytest.raises(RunError, match="its checksum does not agree"):
        stream().load(written)


@pytest.mark.parametrize(
    ("about", "wrong"),
    [
        (3, "it is 3; expected an object"),
        ([], r"it is \[\]; expected an object"),
        (None, "it is null; expected an object"),
        ({}, "it has no schema"),
        ({"schema": "2"}, 'schema is "2"; expected a whole number'),
        ({"schema": 99}, "schema is 99, this stream has 2"),
    ],
)
def test_metadata_of_another_kind(written, about, wrong):
    tensors, _ = parts(written)
    text = json.dumps(about)
    written.write_bytes(save(tensors, {"srnn": text, "sha256": _tensors.checksum(tensors, text)}))
    with pytest.raises(RunError, match=wrong):
        stream().load(written)


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("watch.label", 2, "watch.label holds 2, which no stream has"),
        ("watch.sure", -2, "watch.sure holds -2"),
        ("watch.decided_at", -5, "watch.decided_at holds -5"),
        ("pool.seen", -1, "pool.seen holds -1"),
        ("pool.total", float("nan"), "pool.total holds nan"),
        ("layer.0.u", float("inf"), "layer.0.u holds inf"),
    ],
)
def test_numbers_that_no_stream_has(written, name, value, wrong):
    tensors, about = parts(written)
    tensors[name] = torch.full_like(tensors[name], value)
    written.write_bytes(_tensors.pack(tensors, about))
    fresh = stream()
    before = fresh._memory()
    with pytest.raises(RunError, match=wrong):
        fresh.load(written)
    assert all(torch.equal(v, before[k]) for k, v in fresh._memory().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int32])
def test_tensors_of_another_type(written, dtype):
    tensors, about = parts(written)
    written.write_bytes(_tensors.pack({k: t.to(dtype) for k, t in tensors.items()}, about))
    with pytest.raises(RunError, match="other names, shapes or types"):
        stream().load(written)
