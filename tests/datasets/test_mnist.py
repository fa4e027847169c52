"""MNIST: IDX files plain and packed, their content checked; damaged ones refused by name."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from srnn._check import ConfigError, DataError
from srnn.datasets import mnist


def test_made_up_images_are_read(tmp_path):
    mnist.made_up(tmp_path)
    train, test = mnist.read(tmp_path, "train"), mnist.read(tmp_path, "test")
    assert (len(train), len(test)) == (80, 20)
    sample = train[13]
    assert (sample.signal.shape, sample.signal.dtype, sample.label, sample.rate, sample.name) == (
        (784, 1),
        np.float32,
        3,
        1.0,
        "train/00013",
    )
    assert 0 <= sample.signal.min() < sample.signal.max() <= 1
    assert [e.label for e in train.entries[:12]] == [*range(10), 0, 1]
    assert train.source != test.source
    # they are not the published images
    assert [ok for _, ok, _ in mnist.verify(tmp_path)] == [False] * 4


@pytest.mark.parametrize("layout", ["MNIST/raw", ".", "plain"])
def test_layouts(tmp_path, layout):
    mnist.made_up(tmp_path / "x")
    to = tmp_path / ("mnist" if layout == "plain" else layout)
    to.mkdir(parents=True, exist_ok=True)
    for path in (tmp_path / "x" / "mnist").iterdir():
        if layout == "plain":
            (to / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        else:
            shutil.copy(path, to)
    assert len(mnist.read(tmp_path, "test")) == 20


IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


def packed(content: bytes) -> bytes:
    return gzip.compress(content)


def images(content: bytes = b"", count: int = 20, magic: int = 0x0803, side: int = 28) -> bytes:
    return struct.pack(">4I", magic, count, side, side) + (content or bytes(count * side * side))


DAMAGED = {
    "empty": (IMAGES, b"", "is 0 bytes long"),
    "cut gzip": (IMAGES, packed(images())[:40], "truncated or damaged"),
    "gzip with another checksum": (
        IMAGES,
        packed(images())[:-8] + bytes(8),
        "truncated or damaged",
    ),
    "gzip of nothing": (IMAGES, packed(b""), "is 0 bytes long"),
    "damaged stream": (IMAGES, b"\x1f\x8b\x08\x00" + bytes(30), "truncated or damaged"),
    "an HTML page": (IMAGES, b"<html>not found</html>", "starts with"),
    "labels for images": (
        IMAGES,
        packed(struct.pack(">2I", 0x0801, 20) + bytes(20)),
        "starts with 0x00000801",
    ),
    "images for labels": (LABELS, packed(images()), "starts with 0x00000803"),
    "other type of numbers": (IMAGES, packed(images(magic=0x0D03)), "starts with 0x00000d03"),
    "other size": (IMAGES, packed(images(side=14)), "20 items of 14x14"),
    "no image": (IMAGES, packed(images(b"x", count=0)[:16]), "holds 0 items"),
    "too few pixels": (
        IMAGES,
        packed(images()[:-1]),
        "holds 15679 bytes after its header; expected 15680",
    ),
    "too many pixels": (IMAGES, packed(images() + b"x"), "holds 15681 bytes"),
    "count that lies": (IMAGES, packed(images(bytes(15680), count=2**31)), "holds 15680 bytes"),
    "more images than labels": (IMAGES, packed(images(count=21)), "has 20 labels for 21 images"),
    "fewer labels": (
        LABELS,
        packed(struct.pack(">2I", 0x0801, 19) + bytes(19)),
        "has 19 labels for 20 images",
    ),
    "a label of ten": (
        LABELS,
        packed(struct.pack(">2I", 0x0801, 20) + bytes([10] * 20)),
        "label 10 of image 0",
    ),
    "short header": (LABELS, packed(b"\0\0\x08\x01"), "shorter than its header"),
    "random bytes": (LABELS, np.random.default_rng(0).bytes(500), "starts with"),
    "missing": (LABELS, None, "srnn data fetch mnist"),
}


@pytest.mark.parametrize(("file", "content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_files(tmp_path, file, content, message):
    mnist.made_up(tmp_path)
    path = tmp_path / "mnist" / file
    path.unlink() if content is None else path.write_bytes(content)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(DataError, match=message) as refused:
        mnist.read(tmp_path, "test")
    assert "t10k-" in str(refused.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    assert sum(not ok for _, ok, _ in mnist.verify(tmp_path)) == 4


def test_there_are_twenty_kinds_of_damage():
    assert len(DAMAGED) == 20


def test_other_parts_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no 'valid'"):
        mnist.read(tmp_path, "valid")


@pytest.mark.real_data
def test_the_real_images(real_data: Path):
    train, test = mnist.read(real_data, "train"), mnist.read(real_data, "test")
    assert (len(train), len(test)) == (60000, 10000)
    assert ([e.label for e in train.entries[:5]], [e.label for e in test.entries[:5]]) == (
        [5, 0, 4, 1, 9],
        [7, 2, 1, 0, 4],
    )
    assert train[0].signal.sum() * 255 == pytest.approx(27525)
    assert [ok for _, ok, _ in mnist.verify(real_data)] == [True] * 4
