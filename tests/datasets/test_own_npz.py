"""Recordings of one's own in an .npz archive: the ways they may be laid out, and everything that is
refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srnn._check import ConfigError, DataError
from srnn.datasets import own

N, T, C = 6, 10, 3
LENGTHS = np.array([10, 3, 7, 1, 10, 4])
LABELS = np.array([0, 1, 2, 0, 1, 2])


def _signal() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, T, C))


def _save(path: Path, **arrays: Any) -> Path:
    np.savez(path / "a.npz", **arrays)
    return path / "a.npz"


def test_equal_lengths(tmp_path: Path) -> None:
    x = _signal()
    found = own.read(_save(tmp_path, X=x, y=LABELS))
    assert (found.classes, found.channels, found.rate, found.kind, found.per_step, found.steps) == (
        ("0", "1", "2"),
        C,
        1.0,
        "signal",
        False,
        T,
    )
    assert len(found.recordings) == N
    for i, r in enumerate(found.recordings):
        assert np.array_equal(r.signal, x[i].astype(np.float32))
        assert (r.label, r.name, r.group, r.rate) == (LABELS[i], str(i), "", 1.0)


def test_single_channel_and_other_dtypes(tmp_path: Path) -> None:
    for dtype in (np.float64, np.float16, np.int16, np.uint8, bool):
        x = (np.arange(N * T).reshape(N, T) % 7).astype(dtype)
        found = own.read(_save(tmp_path, X=x, y=LABELS))
        assert found.channels == 1
        assert all(
            np.array_equal(r.signal[:, 0], x[i]) and r.signal.dtype == np.float32
            for i, r in enumerate(found.recordings)
        )


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_padded_and_joined_are_the_same(tmp_path: Path, per_step: bool, channels: int) -> None:
    x = _signal()[..., :channels]
    y = np.random.default_rng(1).integers(-1, 3, (N, T)) if per_step else LABELS
    inside = np.arange(T) < LENGTHS[:, None]
    x[~inside] = np.nan
    if per_step:
        y[~inside] = 99
    squeeze = channels == 1
    padded = own.read(_save(tmp_path, X=x[..., 0] if squeeze else x, y=y, lengths=LENGTHS))
    joined = own.read(
        _save(
            tmp_path,
            X=x[inside][..., 0] if squeeze else x[inside],
            y=y[inside] if per_step else y,
            lengths=LENGTHS,
        )
    )
    assert padded.steps == joined.steps == 10
    assert padded.channels == joined.channels == channels
    assert padded.per_step is joined.per_step is per_step
    assert padded.recordings.entries == joined.recordings.entries
    for i, (a, b) in enumerate(zip(padded.recordings, joined.recordings, strict=True)):
        assert len(a.signal) == LENGTHS[i]
        assert np.array_equal(a.signal, b.signal)
        assert np.array_equal(a.signal, x[i, : LENGTHS[i]].astype(np.float32))
        assert np.array_equal(a.label, b.label)
        assert np.array_equal(a.label, y[i, : LENGTHS[i]] if per_step else y[i])
    assert all((e.label is None) == per_step for e in padded.recordings.entries)


def test_labels_as_text(tmp_path: Path) -> None:
    y = np.array(["walk", "run", "", "sit", "run", "walk"])
    for labels in (y, y.astype("S")):
        found = own.read(_save(tmp_path, X=_signal(), y=labels))
        assert found.classes == ("run", "sit", "walk")
        assert [r.label for r in found.recordings] == [2, 0, -1, 1, 0, 2]
    found = own.read(_save(tmp_path, X=_signal(), y=y, classes=["walk", "run", "sit", "swim"]))
    assert found.classes == ("walk", "run", "sit", "swim")
    assert [r.label for r in found.recordings] == [0, 1, -1, 2, 1, 0]
    steps = np.array([["a", "b"] * 5] * N)
    steps[:, 0] = ""
    found = own.read(_save(tmp_path, X=_signal(), y=steps))
    assert found.per_step
    assert found.recordings[0].label.tolist() == [-1, 1] + [0, 1] * 4


def test_everything_else(tmp_path: Path) -> None:
    y = LABELS.astype(float)
    y[1] = -1
    path = _save(
        tmp_path, X=_signal(), y=y, groups=[3, 3, 1, 1, 2, 2], rate=50, classes=["a", "b", "c", "d"]
    )
    found = own.read(path)
    assert found.classes == ("a", "b", "c", "d")
    assert [e.label for e in found.recordings.entries] == [0, -1, 2, 0, 1, 2]
    assert [e.group for e in found.recordings.entries] == ["3", "3", "1", "1", "2", "2"]
    assert found.rate == found.recordings[0].rate == 50.0
    assert own.read(path, rate=20.0, channels=C).recordings[0].rate == 20.0
    with pytest.raises(ConfigError, match="has 3 channels; 4 were asked for"):
        own.read(path, channels=4)
    with pytest.raises(ConfigError, match=r"own\.read\(rate\) is 0"):
        own.read(path, rate=0.0)


def test_source_tells_contents_apart(tmp_path: Path) -> None:
    x = _signal()
    first = own.read(_save(tmp_path, X=x, y=LABELS)).recordings.source
    assert first == own.read(_save(tmp_path, X=x, y=LABELS)).recordings.source
    x[0, 0, 0] += 1
    assert first != own.read(_save(tmp_path, X=x, y=LABELS)).recordings.source


NAN = _signal()
NAN[2, 5, 1] = np.nan
GOOD: dict[str, Any] = {"X": _signal(), "y": LABELS}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"X": _signal()}, "holds no y; expected X"),
    ({"data": _signal(), "y": LABELS}, "an array 'data', which means nothing here"),
    ({**GOOD, "length": LENGTHS}, "an array 'length'.*Did you mean 'lengths'"),
    (
        {"X": np.array([np.zeros(3), np.zeros(4)], dtype=object), "y": [0, 1]},
        "arrays of Python objects.*join them",
    ),
    ({"X": np.zeros((2, 2), complex), "y": [0, 1]}, "X has dtype complex128; expected numbers"),
    ({"X": np.zeros((0, 3)), "y": []}, r"X has shape \(0, 3\); it holds nothing"),
    (
        {"X": np.zeros(6), "y": [0, 1]},
        r"X has shape \(6,\); expected \(N, T, C\).*Joined "
        r"recordings need lengths",
    ),
    ({"X": np.zeros((2, 2, 2, 2)), "y": [0, 1]}, r"X has shape \(2, 2, 2, 2\)"),
    ({"X": NAN, "y": LABELS}, "X is nan at recording 2, step 5, channel 1"),
    (
        {"X": _signal() * 1e300, "y": LABELS},
        r"X is -?inf at recording 0, step 0, channel "
        r"0.*float32",
    ),
    ({**GOOD, "lengths": LENGTHS[:5]}, "5 lengths for 6 recordings"),
    ({**GOOD, "lengths": LENGTHS + 1}, r"lengths\[0\] is 11; expected 1 … 10"),
    ({**GOOD, "lengths": LENGTHS - 1}, r"lengths\[3\] is 0"),
    ({**GOOD, "lengths": LENGTHS * 1.0}, "lengths has shape .* and dtype float64"),
    (
        {"X": np.zeros((20, 3)), "y": [0, 1], "lengths": [10, 11]},
        r"2 lengths add up to 21; expected "
        r"either X \(2, T, C\), padded, or X \(21, C\)",
    ),
    ({"X": np.zeros((20, 3)), "y": [0, 1], "lengths": [21, -1]}, r"lengths\[0\] is 21"),
    (
        {"X": _signal(), "y": LABELS[:5]},
        r"y has shape \(5,\); expected \(6,\), one label a "
        r"recording, or \(6, 10\), one a step",
    ),
    ({"X": _signal(), "y": np.eye(3)[LABELS]}, r"y has shape \(6, 3\)"),
    ({"X": _signal(), "y": np.array(1)}, r"y has shape \(\)"),
    ({"X": _signal(), "y": LABELS + 0.5}, "y has dtype float64; expected whole numbers"),
    (
        {"X": _signal(), "y": np.where(LABELS == 2, np.nan, 0.0)},
        "y has dtype float64; expected whole numbers",
    ),
    ({"X": _signal(), "y": LABELS * 1j}, "y has dtype complex128"),
    ({"X": _signal(), "y": LABELS - 2}, r"y\[0\] is -2; expected 0 … 0 \(or -1 = unlabelled\)"),
    (
        {"X": _signal(), "y": LABELS + 1},
        "y reaches 3, but nothing is of class 0. Number the labels from 0",
    ),
    ({**GOOD, "classes": ["a", "b"]}, r"y\[2\] is 2; expected 0 … 1"),
    ({**GOOD, "classes": ["a", "b", "b"]}, "classes is .*; expected a list of different names"),
    (
        {"X": _signal(), "y": np.array(list("abcabd")), "classes": list("abc")},
        "y holds 'd', which is not among classes",
    ),
    ({"X": _signal(), "y": np.zeros(N, int)}, "one class only, '0'"),
    ({"X": _signal(), "y": np.full(N, -1)}, "no label at all"),
    ({**GOOD, "groups": list("abc")}, r"groups has shape \(3,\); expected \(6,\)"),
    ({**GOOD, "rate": [1, 2]}, r"rate is \[1, 2\]; expected one number above 0"),
    ({**GOOD, "rate": 0.0}, "rate is 0.0; expected one number above 0"),
]


@pytest.mark.parametrize(("arrays", "message"), BAD)
def test_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        own.read(_save(tmp_path, **arrays))
    assert "a.npz" in str(error.value)


def test_every_cut_and_flipped_byte(tmp_path: Path) -> None:
    """Cut anywhere: an error.

    One bit flipped: an error or, in what no checksum covers, the same recordings or none the worse.
    """
    content = _save(tmp_path, X=_signal(), y=LABELS).read_bytes()
    path, refused, trials = tmp_path / "b.npz", 0, 0
    for cut in range(0, len(content), 25):
        path.write_bytes(content[:cut])
        with pytest.raises(DataError):
            own.read(path)
        trials += 1
    assert trials >= 60
    for at in range(0, len(content), 11):
        path.write_bytes(content[:at] + bytes([content[at] ^ 64]) + content[at + 1 :])
        try:
            assert len(own.read(path).recordings) == N
        except DataError:
            refused += 1
    assert refused > 100
