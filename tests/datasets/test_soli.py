"""Deep Soli: small sequences in the published format, windows as published, and every damaged file
one clear error.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from srnn._check import ConfigError, DataError, SrnnError
from srnn.datasets import _fetch, soli
from srnn.datasets.split import leave_out


def _write(path: Path, frames: int = 5, seed: int = 0, **changed: Any) -> np.ndarray:
    """Write one sequence of random images, some beyond [0, 1]; return them, (4, frames, 1024)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(seed).uniform(-0.1, 1.1, (4, frames, 1024)).astype(np.float32)
    content = (
        {f"ch{c}": images[c] for c in range(4)}
        | {"label": np.full((frames, 1), 3, np.int32)}
        | changed
    )
    with h5py.File(path, "w") as file:
        for name, data in content.items():
            if data is not None:
                file.create_dataset(name, data=data, compression="gzip")
    return images


def _split(path: Path, **parts: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(parts))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("soli")
    soli.made_up(root)
    return root


# -- windows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "starts"),
    [
        (1, [0]),
        (39, [0]),
        (40, [0, 0]),
        (41, [0, 1]),
        (79, [0, 39]),
        (80, [0, 40, 40]),
        (81, [0, 40, 41]),
        (145, [0, 40, 80, 105]),
    ],
)
def test_windows_as_published(tmp_path: Path, frames: int, starts: list[int]) -> None:
    """N = l // 40 + 1; frame 0 of the file is not counted."""
    assert len(starts) == frames // 40 + 1
    images = _write(tmp_path / "soli/dsp/3_8_14.h5", frames + 1)
    _split(tmp_path / "soli/config/file_half.json", train=["3_8_14"], eval=["11_15_0"])
    data = soli.read(tmp_path, "train")
    assert len(data) == len(starts)
    eight_bit = np.rint(255 * images[3].clip(0, 1)) / 255
    for i, (sample, start) in enumerate(zip(data, starts, strict=True)):
        assert (sample.name, sample.label, sample.group, sample.rate) == (
            f"3_8_14/{i}",
            3,
            "8",
            40.0,
        )
        assert sample.meta == {"sequence": "3_8_14", "start": start}
        assert sample.signal.shape == (40, 1024)
        assert sample.signal.dtype == np.float32
        frames_of_window = (
            1 + (start + np.arange(40)) % frames if frames < 40 else 1 + start + np.arange(40)
        )
        assert np.abs(sample.signal - eight_bit[frames_of_window]).max() < 1e-7
    assert data.entries[0].size == (tmp_path / "soli/dsp/3_8_14.h5").stat().st_size
    assert list(soli.read(tmp_path, "eval")) == []  # background only


def test_other_settings(tmp_path: Path) -> None:
    images = _write(tmp_path / "dsp/0_2_1.h5", 7, label=np.zeros(7, np.int64))
    _split(tmp_path / "mine.json", train=["0_2_1.h5"], eval=["0_2_1_x"])
    with pytest.raises(
        DataError,
        match=r"mine\.json, part 'eval': '0_2_1_x' is not the name of "
        r"a sequence",
    ):
        soli.read(tmp_path, "train", split=tmp_path / "mine.json")
    _split(tmp_path / "mine.json", train=["0_2_1.h5"], eval=["11_2_1"])
    (whole,) = soli.read(
        tmp_path,
        "train",
        (2, 0),
        first_frame=0,
        quantise=False,
        window=None,
        split=tmp_path / "mine.json",
    )
    assert np.array_equal(whole.signal, np.concatenate([images[2], images[0]], axis=1))
    assert whole.signal.min() < 0 < 1 < whole.signal.max()
    cut = soli.read(
        tmp_path, "train", range(4), first_frame=2, window=2, split=tmp_path / "mine.json"
    )
    assert [s.meta["start"] for s in cut] == [0, 2, 3]
    assert [s.signal.shape for s in cut] == [(2, 4096)] * 3
    assert np.allclose(
        cut[2].signal,
        np.rint(255 * images[:, 5:7].clip(0, 1).transpose(1, 0, 2).reshape(2, -1)) / 255,
        atol=1e-7,
    )
    assert np.allclose(cut[1].signal * 255, np.rint(cut[1].signal * 255), atol=1e-4)


@pytest.mark.parametrize(
    "folder",
    ["soli/dsp", "soli", "soli/SoliData/dsp", "SoLi/dsp", "SoLi", "SoliData/dsp", "dsp", "."],
)
@pytest.mark.parametrize(
    "split",
    [
        "soli/file_half.json",
        "soli/config/file_half.json",
        "file_half.json",
        "soli/dsp/file_half.json",
    ],
)
def test_natural_layouts(tmp_path: Path, folder: str, split: str) -> None:
    _write(tmp_path / folder / "10_13_24.h5")
    _split(tmp_path / split, train=["10_13_24"], eval=["11_1_1"])
    (sample,) = soli.read(tmp_path, "train")
    assert (sample.label, sample.group) == (10, "13")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "test"}, "no 'test'"),
        ({"channels": ()}, r"channels\) is \(\); expected some of 0, 1, 2, 3, each once"),
        ({"channels": (3, 3)}, "each once"),
        ({"channels": (4,)}, "expected some of 0, 1, 2, 3"),
        ({"first_frame": -1}, r"first_frame\) is -1"),
        ({"window": 0}, r"window\) is 0"),
    ],
)
def test_bad_settings(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        soli.read(tmp_path, **({"part": "train"} | arguments))


# -- damage ----------------------------------------------------------------------------------------


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3000])


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, r"lacks 1 of the 2 sequences that the split file names: 1_2_0\.h5"),
    "empty": (lambda path: path.write_bytes(b""), "truncated, damaged or not HDF5"),
    "not HDF5": (lambda path: path.write_bytes(b"<html>" * 99), "truncated, damaged or not HDF5"),
    "cut": (_cut, "truncated, damaged or not HDF5"),
    "no channel": (lambda path: _write(path, ch3=None), "has no ch3; it has ch0, ch1, ch2, label"),
    "no label": (lambda path: _write(path, label=None), "has no label"),
    "wrong width": (
        lambda path: _write(path, ch3=np.zeros((5, 1000), np.float32)),
        r"ch3 has shape \(5, 1000\); expected "
        r"\(frames, 1024\)",
    ),
    "one axis": (
        lambda path: _write(path, ch3=np.zeros(5120, np.float32)),
        r"ch3 has shape \(5120,\)",
    ),
    "three axes": (
        lambda path: _write(path, ch3=np.zeros((5, 32, 32), np.float32)),
        r"ch3 has shape \(5, 32, 32\)",
    ),
    "label of other length": (
        lambda path: _write(path, label=np.zeros((4, 1), np.int32)),
        r"label has shape \(4, 1\) for 5 frames",
    ),
    "one label": (
        lambda path: _write(path, label=np.zeros((1, 5), np.int32)),
        r"label has shape \(1, 5\) for 5 frames",
    ),
    "one frame": (lambda path: _write(path, 1), "has 1 frames; expected more than first_frame = 1"),
    "words": (
        lambda path: _write(path, ch3=np.full((5, 1024), b"no")),
        "truncated, damaged or not HDF5",
    ),
    "NaN": (
        lambda path: _write(
            path, ch3=np.where(np.arange(5120) == 3080, np.nan, 0).reshape(5, 1024)
        ),
        "ch3 is nan in frame 3, pixel 8",
    ),
    "infinite": (
        lambda path: _write(path, ch3=np.full((5, 1024), np.inf)),
        "ch3 is inf in frame 1, pixel 0",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file(tmp_path: Path, case: str) -> None:
    damage, message = BAD_FILES[case]
    path = tmp_path / "soli/dsp/1_2_0.h5"
    _write(path)
    _write(path.with_name("1_2_1.h5"))
    _split(tmp_path / "soli/file_half.json", train=["1_2_0"], eval=["1_2_1"])
    assert len(list(soli.read(tmp_path, "train"))) == 1
    damage(path)
    with pytest.raises(DataError, match=message) as caught:
        list(soli.read(tmp_path, "train"))
    assert path.name in str(caught.value)
    rows = soli.verify(tmp_path)
    assert [row[:2] for row in rows][:2] == [
        ("file_half.json", False),
        ("dsp", False),
    ] or case == "one frame"
    if case != "missing":
        assert [row[0] for row in rows[2:]] == ([] if case == "one frame" else [path.name])


def test_channels_of_different_length(tmp_path: Path) -> None:
    _write(tmp_path / "soli/1_2_0.h5", ch1=np.zeros((4, 1024), np.float32))
    _split(tmp_path / "soli/file_half.json", train=["1_2_0"], eval=["11_2_1"])
    with pytest.raises(
        DataError,
        match=r"ch1 has shape \(4, 1024\); expected .* as many frames "
        r"in each channel",
    ):
        soli.read(tmp_path, "train", (0, 1))


def test_every_cut_is_an_error_or_harmless(tmp_path: Path, made: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(made, root)
    sample = soli.read(root, "train")[0]
    path = soli.read(root, "train").entries[0].at[0]
    content, refused = path.read_bytes(), 0
    cuts = range(0, len(content), max(1, len(content) // 60))
    for cut in cuts:
        path.write_bytes(content[:cut])
        try:
            got = soli.read(root, "train")[0]
        except DataError as error:
            refused += path.name in str(error)
        else:
            assert np.array_equal(got.signal, sample.signal)
    assert refused >= 0.9 * len(cuts) >= 50


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as JSON"),
        (b"<html>", "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"[1, 2]", "is no split file; expected lists of sequences as 'train' and 'eval'"),
        (b'{"train": ["1_2_0"]}', "is no split file"),
        (b'{"train": [], "eval": ["1_2_0"]}', "is no split file"),
        (b'{"train": ["1_2_0"], "eval": "1_2_1"}', "is no split file"),
        (
            b'{"train": ["1_2_0"], "eval": [5]}',
            "part 'eval': '5' is not the name of a sequence; "
            "expected <gesture 0 … 11>_<session>_<instance>",
        ),
        (b'{"train": ["12_2_0"], "eval": ["1_2_1"]}', "part 'train': '12_2_0' is not"),
        (b'{"train": ["../1_2_0"], "eval": ["1_2_1"]}', r"part 'train': '\.\./1_2_0' is not"),
        (
            b'{"train": ["1_2_0"], "eval": ["1_2_1", "1_2_0.h5"]}',
            "names the sequence 1_2_0 twice, in 'train' and in 'eval'",
        ),
        (
            b'{"train": ["1_2_0", "1_2_0"], "eval": ["1_2_1"]}',
            "names the sequence 1_2_0 twice, in 'train' and in 'train'",
        ),
        (
            b'{"train": ["1_2_0"], "eval": ["1_2_9", "1_2_8"]}',
            r"lacks 2 of the 3 sequences that the "
            r"split file names: 1_2_9\.h5, 1_2_8\.h5",
        ),
    ],
)
def test_bad_split(tmp_path: Path, content: bytes, message: str) -> None:
    _write(tmp_path / "soli/dsp/1_2_0.h5")
    (tmp_path / "soli/file_half.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        soli.read(tmp_path, "train")
    rows = soli.verify(tmp_path)
    assert not rows[-1][1]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"No soli/file_half\.json or soli/config/file_half\.json "
        r"in .*\n.*srnn data fetch soli",
    ):
        soli.read(tmp_path, "train")
    _split(tmp_path / "soli/file_half.json", train=["1_2_0"], eval=["1_2_1"])
    with pytest.raises(
        DataError,
        match=r"No Deep Soli sequences .*\n.*srnn data fetch "
        r"soli.*SRNN_DATA",
    ):
        soli.read(tmp_path, "train")
    assert [row[:2] for row in soli.verify(tmp_path)] == [("file_half.json", False), ("dsp", False)]
    with pytest.raises(DataError, match="cannot be read as JSON"):
        soli.read(tmp_path, "train", split=tmp_path / "none.json")


def test_without_h5py(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    for use in (lambda: soli.read(made, "train"), lambda: soli.made_up(tmp_path)):
        with pytest.raises(SrnnError, match=r'h5py. Install it with: pip install "srnn\[data\]"'):
            use()


# -- made up, fetched, verified --------------------------------------------------------------------


def test_made_up_is_learnable_and_small(made: Path, tmp_path: Path) -> None:
    parts = {part: soli.read(made, part) for part in soli.PUBLISHED}
    for part in parts.values():
        assert {entry.label for entry in part.entries} == set(range(11))
        assert {entry.group for entry in part.entries} == {"2", "3", "5", "6"}
        assert len({entry.name for entry in part.entries}) == len(part)
        assert max(entry.name for entry in part.entries).endswith(("/0", "/1"))
    rest, validation = leave_out(parts["train"], {"2", "3"})
    assert {sample.group for sample in validation} == {"2", "3"}
    assert {sample.label for sample in rest} == set(range(11))
    (x, y), (x_test, y_test) = (
        (np.stack([s.signal for s in p]), np.array([s.label for s in p])) for p in parts.values()
    )
    assert x.shape[1:] == (40, 1024)
    assert 0 == x.min() < x.max() == 1
    centres = np.stack([x[y == k].mean(axis=0) for k in range(11)])
    nearest = ((x_test[:, None] - centres) ** 2).sum(axis=(2, 3)).argmin(axis=1)
    assert (nearest == y_test).mean() > 0.6
    files = list(made.rglob("*.h5"))
    assert len(files) == 88
    assert sum(f.stat().st_size for f in files) < 500_000
    soli.made_up(tmp_path)
    assert all((tmp_path / f.relative_to(made)).read_bytes() == f.read_bytes() for f in files)


def test_verify_counts_against_the_published_split(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = soli.verify(made)
    assert [row[:2] for row in rows] == [("file_half.json", False), ("dsp", True)]
    assert "names 44 + 44 sequences; the published one names 1386 + 1364" in rows[0][2]
    monkeypatch.setattr(soli, "PUBLISHED", {"train": 44, "eval": 44})
    assert soli.verify(made) == [("file_half.json", True, "ok"), ("dsp", True, "ok")]
    assert len(soli.CLASSES) == len(set(soli.CLASSES)) == 11


def test_fetch(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the two addresses give put in place of the network."""
    out, asked = io.BytesIO(), []
    with zipfile.ZipFile(out, "w") as file:
        for path in sorted((made / "soli/dsp").iterdir()):
            file.write(path, f"SoliData/dsp/{path.name}")
        file.writestr("SoliData/readme", "not wanted")
    answers = {
        "http://share/download": out.getvalue(),
        "http://split": (made / "soli/file_half.json").read_bytes(),
    }

    def download(url: str, checksum: str | None, to: Path, **_: object) -> Path:
        asked.append(url)
        if url not in answers:
            raise DataError(f"{url} could not be downloaded")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(answers[url])
        return to

    monkeypatch.setattr(_fetch, "download", download)
    for url, split_url in (
        ("http://share/download", "http://gone"),
        ("http://gone/download", "http://split"),
    ):
        with pytest.raises(
            DataError,
            match=r"http://gone.* could not be downloaded\n  By hand: "
            r"open http://(share|gone) in a browser",
        ):
            soli.fetch(tmp_path, url, split_url)
    answers["http://page"] = b"<html>"
    (tmp_path / "soli/file_half.json").unlink()
    with pytest.raises(DataError, match=r"cannot be read as JSON(.|\n)*By hand"):
        soli.fetch(tmp_path, "http://share/download", "http://page")
    assert list((tmp_path / "soli").iterdir()) == []
    asked.clear()
    paths = soli.fetch(tmp_path, "http://share/download", "http://split")
    assert len(paths) == 89
    assert all(path.is_file() for path in paths)
    assert [p.name for p in tmp_path.iterdir()] == ["soli"]
    assert not (tmp_path / "soli/SoliData/readme").exists()
    assert len(soli.read(tmp_path, "train")) == len(soli.read(made, "train"))
    assert soli.fetch(tmp_path, "http://share/download", "http://split") == paths
    assert asked == ["http://split", "http://share/download"]
