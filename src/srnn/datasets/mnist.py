"""MNIST: 60,000 + 10,000 images of handwritten digits, 28 x 28 grey values, read pixel by pixel
(LeCun, Bottou, Bengio & Haffner 1998).

The four IDX files, gzip or plain, in root/mnist, root/MNIST/raw or root itself. A file is known by
its content, not by how it was compressed. The order of the images is that of the files.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srnn import _files
from srnn._check import DataError, check_choice
from srnn._files import _limit
from srnn.datasets import _fetch
from srnn.datasets.sample import Entry, Recordings, Sample

CLASSES = tuple("0123456789")
SIDE = 28
"""Pixels of an image's side."""

PIXELS = SIDE * SIDE
"""Pixels of an image, one a step in raster order."""

URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FILES = {
    "train-images-idx3-ubyte": (
        "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": (
        "md5:d53e105ee54ea40749a09fcbcd1e9432",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte": (
        "md5:9fb629c4189551a2d022fa330f9573f3",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": (
        "md5:ec29112dd5afa0611ce80d1b7f02629c",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}
"""Name of each file -> (checksum of the published .gz, SHA-256 of its content)."""

LICENCE = "MNIST: Creative Commons Attribution-ShareAlike 3.0 (CC BY-SA 3.0)."
CITATION = (
    "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to "
    "document recognition. "
    "Proceedings of the IEEE 86 (1998) 2278-2324."
)
_PREFIX = {"train": "train", "test": "t10k"}
_FOLDERS = ("mnist", "MNIST/raw", "mnist/raw", "")


def read(root: str | Path, part: str) -> Recordings[Sample]:
    """Return the images of part "train" or "test", each a signal (784, 1) of grey values in [0, 1],
    one pixel a step (rate 1).

    The grey values lie in memory as bytes (47 MB for the training part). Raises `DataError` for a
    missing, damaged or different file.
    """
    check_choice("mnist.read(part)", part, tuple(_PREFIX))
    stem = _PREFIX[part]
    images = _idx(_find(root, f"{stem}-images-idx3-ubyte"), (SIDE, SIDE)).reshape(-1, PIXELS)
    path = _find(root, f"{stem}-labels-idx1-ubyte")
    labels = _idx(path, ())
    if len(images) != len(labels):
        raise DataError(
            f"{path} has {len(labels)} labels for {len(images)} images. Get both "
            "anew with `srnn data fetch mnist`."
        )
    if int(labels.max()) > 9:
        raise DataError(
            f"{path}: label {int(labels.max())} of image {int(labels.argmax())}; "
            "expected digits 0 … 9."
        )
    digest = hashlib.sha256(images.tobytes()).hexdigest()

    def image(entry: Entry) -> Sample:
        signal = images[entry.at].astype(np.float32)[:, None] / np.float32(255)
        return Sample(signal, int(labels[entry.at]), 1.0, entry.name)

    return Recordings(
        [Entry(f"{part}/{i:05d}", int(y), at=i, size=PIXELS) for i, y in enumerate(labels)],
        image,
        digest,
    )


def _find(root: str | Path, stem: str) -> Path:
    places = [f"{folder}/{stem}{end}".lstrip("/") for folder in _FOLDERS for end in (".gz", "")]
    for place in places:
        if (path := Path(root) / place).is_file():
            return path
    return _fetch.find(root, places[0], name="mnist")


def _content(path: Path) -> bytes:
    try:
        return _limit.content(path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is truncated or damaged ({error}). Delete it and get it anew "
            "with `srnn data fetch mnist`."
        ) from error


def _idx(path: Path, item: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, (N, *item)."""
    data, again = _content(path), " Delete it and get it anew with `srnn data fetch mnist`."
    head = 4 + 4 * (1 + len(item))
    if len(data) < head:
        raise DataError(
            f"{path} is {len(data)} bytes long, shorter than its header of {head}.{again}"
        )
    magic, count, *size = struct.unpack(f">{2 + len(item)}I", data[:head])
    if magic != 0x0801 + 2 * bool(item):
        raise DataError(
            f"{path} starts with {magic:#010x}; expected "
            f"{0x0801 + 2 * bool(item):#010x}, an IDX file of bytes.{again}"
        )
    if tuple(size) != item or count == 0:
        raise DataError(
            f"{path} holds {count} items of {'x'.join(map(str, size)) or 'one byte'}; "
            f"expected at least one of {item or 'one byte'}.{again}"
        )
    wanted = count * int(np.prod(item, dtype=np.int64))
    if len(data) - head != wanted:
        raise DataError(
            f"{path} holds {len(data) - head} bytes after its header; expected "
            f"{wanted} for {count} items.{again}"
        )
    return np.frombuffer(data, np.uint8, offset=head).reshape(count, *item)


def fetch(root: str | Path) -> list[Path]:
    """Download the four files (11 MB) into root/mnist.

    Returns their paths. Raises `DataError`; see `_fetch.download`.
    """
    return [
        _fetch.download(f"{URL}{name}.gz", md5, Path(root) / "mnist" / f"{name}.gz")
        for name, (md5, _) in FILES.items()
    ]


def verify(root: str | Path) -> list[tuple[str, bool, str]]:
    """Compare the four files with their checksums: (file, right?, what is wrong or "ok")."""
    rows = []
    for name, (_, wanted) in FILES.items():
        try:
            path = _find(root, name)
            got = hashlib.sha256(_content(path)).hexdigest()
            rows.append(
                (
                    path.name,
                    got == wanted,
                    "ok"
                    if got == wanted
                    else f"the content of {path} has SHA-256 {got}; expected {wanted}",
                )
            )
        except DataError as error:
            rows.append((name, False, str(error).splitlines()[0]))
    return rows


def made_up(root: str | Path, seed: int = 0) -> None:
    """Write made-up images in the true format into root/mnist: a bar at a height of its own for
    each digit; 80 to train, 20 to test.
    """
    generator, folder = np.random.default_rng(seed), Path(root) / "mnist"
    folder.mkdir(parents=True, exist_ok=True)
    for stem, count in (("train", 80), ("t10k", 20)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = generator.integers(0, 30, (count, SIDE, SIDE)).astype(np.uint8)
        for image, digit in zip(images, labels, strict=True):
            image[2 * digit + 4 : 2 * digit + 8, 4:24] = 250
        for name, size, data in (
            ("images-idx3", (count, SIDE, SIDE), images),
            ("labels-idx1", (count,), labels),
        ):
            content = struct.pack(f">{1 + len(size)}I", 0x0800 + len(size), *size) + data.tobytes()
            _files.write(folder / f"{stem}-{name}-ubyte.gz", gzip.compress(content, mtime=0))
