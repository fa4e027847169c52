"""QTDB: the published events, and raw records in PhysioNet's formats that the tests write
themselves.
"""

from __future__ import annotations

import itertools
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import wfdb

from srnn._check import ConfigError, DataError, SrnnError
from srnn.datasets import UNLABELLED, Sample, qtdb
from srnn.encode.level_crossing import LevelCrossing, normalise

# -- the encoded files -----------------------------------------------------------------------------


def _arrays(n: int = 5, steps: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = np.zeros((n, steps, 4), np.int16)
    lead, way = rng.random((n, steps, 2)) < 0.2, rng.random((n, steps, 2)) < 0.5
    x[..., 0::2], x[..., 1::2] = lead & way, lead & ~way
    x[:, -1, 0] = -1
    y = np.eye(6, dtype=np.uint8)[np.arange(steps) // 4 % 6][None].repeat(n, axis=0)
    y[:, 19:25] = 0
    return x, y


def _write(folder: Path, part: str = "train", **variables: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"QTDB_{part}.mat"
    scipy.io.savemat(path, variables, do_compression=True)
    return path


@pytest.mark.parametrize("folder", ["qtdb", "."])
def test_encoded(tmp_path: Path, folder: str) -> None:
    x, y = _arrays()
    _write(tmp_path / folder, x=x, y=y)
    samples = qtdb.encoded(tmp_path, "train")
    assert len(samples) == 5
    for i, s in enumerate(samples):
        assert (s.name, s.group, s.rate, s.events) == (f"QTDB_train/{i:04d}", "", 250.0, True)
        assert s.signal.dtype == np.float32
        assert np.array_equal(s.signal, x[i])
        assert s.signal[-1, 0] == -1
        label = np.asarray(s.label)
        assert (label[19:25] == UNLABELLED).all()
        assert np.array_equal(
            np.delete(label, range(19, 25)), np.delete(y[i].argmax(1), range(19, 25))
        )


def _bad_mats() -> list[tuple[str, str]]:
    return [
        (
            "missing",
            "No qtdb/QTDB_train.mat or QTDB_train.mat in .*\n.*srnn data fetch qtdb.*SRNN_DATA",
        ),
        ("empty", "is empty"),
        ("html", "is not a MATLAB file: it starts with b'<!DOCTYPE"),
        ("truncated", "is truncated or damaged"),
        ("flipped", "is truncated or damaged"),
        ("header only", "has no variable x and no y"),
        ("no y", "has no variable y"),
        ("channels", r"x has shape \(5, 40, 3\) and y \(5, 40, 6\); expected"),
        ("steps", r"x has shape \(5, 40, 4\) and y \(5, 39, 6\); expected"),
        ("two classes", r"y\[2, 7\] names 2 classes"),
        ("no one-hot", r"y\[2, 7, 0\] is 5; expected one-hot"),
        ("no event", r"x\[1, 3, 2\] is 9; expected events"),
    ]


@pytest.mark.parametrize(("case", "message"), _bad_mats())
def test_bad_encoded_file(tmp_path: Path, case: str, message: str) -> None:
    x, y = _arrays()
    if case == "channels":
        x = x[..., :3]
    elif case == "steps":
        y = y[:, :39]
    elif case == "two classes":
        y[2, 7] = [1, 0, 0, 1, 0, 0]
    elif case == "no one-hot":
        y[2, 7, 0] = 5
    elif case == "no event":
        x[1, 3, 2] = 9
    path = _write(tmp_path, x=x) if case == "no y" else _write(tmp_path, x=x, y=y)
    content = path.read_bytes()
    middle = len(content) - 60
    if case == "missing":
        path.unlink()
    elif case == "flipped":
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif case in ("empty", "html", "truncated", "header only"):
        path.write_bytes(
            {
                "empty": b"",
                "html": b"<!DOCTYPE html>",
                "truncated": content[: len(content) // 2],
            }.get(case, content[:128])
        )
    with pytest.raises(DataError, match=message):
        qtdb.encoded(tmp_path, "train")


def test_encoded_every_truncation_is_an_error(tmp_path: Path) -> None:
    """Cut the file anywhere: always a DataError, never another exception and never
    fewer samples.
    """
    x, y = _arrays()
    content = _write(tmp_path, x=x, y=y).read_bytes()
    cuts = range(0, len(content), max(1, len(content) // 60))
    for cut in cuts:
        (tmp_path / "QTDB_train.mat").write_bytes(content[:cut])
        with pytest.raises(DataError):
            qtdb.encoded(tmp_path, "train")
    assert len(cuts) >= 60


def test_other_part_and_missing_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"no 'tran'\. Did you mean 'train'"):
        qtdb.encoded(tmp_path, "tran")
    (tmp_path / "QTDB_train.mat").write_bytes(b"MATLAB")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(SrnnError, match=r'scipy. Install it with: pip install "srnn\[data\]"'):
        qtdb.encoded(tmp_path, "train")
    monkeypatch.setitem(sys.modules, "wfdb", None)
    with pytest.raises(SrnnError, match=r'wfdb. Install it with: pip install "srnn\[data\]"'):
        qtdb.read_record(tmp_path, "sel100")


@pytest.mark.real_data
@pytest.mark.skipif("SRNN_DATA" not in os.environ, reason="$SRNN_DATA is not set")
@pytest.mark.parametrize(
    ("part", "count", "unlabelled", "rates"),
    [
        ("train", 618, 8.18, (0.0833, 0.0676, 0.0868, 0.0726)),
        ("test", 141, 10.39, (0.0878, 0.0690, 0.0814, 0.0783)),
    ],
)
def test_published_events(
    part: str, count: int, unlabelled: float, rates: tuple[float, ...]
) -> None:
    samples = qtdb.encoded(os.environ["SRNN_DATA"], part)
    x, y = np.stack([s.signal for s in samples]), np.stack([np.asarray(s.label) for s in samples])
    assert x.shape == (count, 1301, 4)
    assert y.shape == (count, 1301)
    assert (np.argwhere(x < 0) == [[i, 1300, 0] for i in range(count)]).all()
    assert not ((x[..., 0::2] != 0) & (x[..., 1::2] != 0)).any()
    assert np.allclose(np.abs(x).mean(axis=(0, 1)), rates, atol=6e-5)
    assert 100 * (y == UNLABELLED).mean() == pytest.approx(unlabelled, abs=0.006)
    follows = {
        (a, b) for r in y for a, b in itertools.pairwise(r) if a != b and UNLABELLED not in (a, b)
    }
    assert follows == {(k, (k + 1) % 6) for k in range(6)}
    files = {what: ok for what, ok, _ in qtdb.verify(os.environ["SRNN_DATA"])}
    assert files[f"QTDB_{part}.mat"]


# -- marks to labels -------------------------------------------------------------------------------


@dataclass
class Marks:
    """Annotations in the making: the wave number goes into num, as in QTDB."""

    samples: list[int] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    nums: list[int] = field(default_factory=list)

    def wave(self, peak: str, num: int, at: int, on: int | None, end: int) -> None:
        for t, symbol in ((on, "("), (at, peak), (end, ")")):
            if t is not None:
                self.samples.append(t)
                self.symbols.append(symbol)
                self.nums.append(num if symbol in "()" else 0)

    def beat(
        self, r: int, *, p: bool = True, t: bool = True, t_onset: bool = True, symbol: str = "N"
    ) -> None:
        """P 45..25 and QRS 12 before to 14 after R, T 50..90 after it."""
        if p:
            self.wave("p", 0, r - 35, r - 45, r - 25)
        self.wave(symbol, 1, r, r - 12, r + 14)
        if t:
            self.wave("t", 2, r + 70, r + 50 if t_onset else None, r + 90)


def _plan() -> tuple[Marks, np.ndarray]:
    """Six beats: plain; without T onset; without P; without T; plain; and one more, 4 s later.

    And the labels they mean.
    """
    marks, label = Marks(), np.full(3000, UNLABELLED)
    peaks = [200, 400, 600, 800, 1000, 2000]
    for k, r in enumerate(peaks):
        marks.beat(r, p=k != 2, t=k != 3, t_onset=k != 1, symbol="V" if k == 2 else "N")
        if k != 2:
            label[r - 45 : r - 25], label[r - 25 : r - 12] = 0, 1
        label[r - 12 : r], label[r : r + 14] = 2, 3
        if k != 3:
            label[r + 14 : r + 90] = 4
    # not 400: no P follows; not 800: it has no T; not 1000: the next beat is 4 s away
    for r, following in ((200, 400), (600, 800)):
        label[r + 90 : following - 45] = 5
    return marks, label


def test_wave_labels_as_planned() -> None:
    marks, label = _plan()
    got = qtdb.wave_labels(marks.samples, marks.symbols, marks.nums, 3000)
    assert got.dtype == np.int64
    assert np.array_equal(got, label)
    assert [int((got == k).sum()) for k in range(-1, 6)] == [3000 - 831, 100, 65, 72, 84, 380, 130]


def test_wave_labels_ignore_other_marks_and_use_num_where_a_peak_lacks() -> None:
    marks, label = _plan()
    at, symbols, nums = list(marks.samples), list(marks.symbols), list(marks.nums)
    for t, symbol, num in (
        (250, "~", 0),
        (290, "(", 3),
        (295, "u", 0),
        (300, ")", 3),
        (230, "t", 0),
        (5, "+", 0),
    ):
        i = int(np.searchsorted(at, t, side="right"))
        at.insert(i, t), symbols.insert(i, symbol), nums.insert(i, num)
    assert np.array_equal(qtdb.wave_labels(at, symbols, nums, 3000)[:3000], label)
    # num left empty: peaks tell the wave
    assert np.array_equal(qtdb.wave_labels(at, symbols, [0] * len(at), 3000), label)
    keep = [s != "p" for s in marks.symbols]  # brackets without their peak: the wave is in num
    cut = [
        [v for v, k in zip(column, keep, strict=True) if k]
        for column in (marks.samples, marks.symbols, marks.nums)
    ]
    assert len(cut[0]) == len(marks.samples) - 5
    assert np.array_equal(qtdb.wave_labels(cut[0], cut[1], cut[2], 3000), label)


def test_wave_labels_p_on_t_and_incomplete_ends() -> None:
    marks = Marks()
    marks.beat(100)
    marks.beat(220)  # P on at 175, before T has ended at 190
    order = np.argsort(marks.samples, kind="stable")
    marks = Marks(
        *([column[i] for i in order] for column in (marks.samples, marks.symbols, marks.nums))
    )
    assert marks.symbols[8:14] == ["(", "p", ")", ")", "(", "N"]
    label = qtdb.wave_labels(marks.samples, marks.symbols, marks.nums, 400)
    assert label[114:175].tolist() == [4] * 61
    assert label[175:195].tolist() == [0] * 20
    assert not (label == 5).any()
    # begins after P onset, ends before T end
    half = [m[1:-1] for m in (marks.samples, marks.symbols, marks.nums)]
    label = qtdb.wave_labels(half[0], half[1], half[2], 400)
    assert (label[:75] == UNLABELLED).all()
    assert label[75] == 1
    assert (label[234:] == UNLABELLED).all()
    assert (qtdb.wave_labels([], [], [], 10) == UNLABELLED).all()


@pytest.mark.parametrize(
    ("at", "symbols", "message"),
    [
        ([1, 2], ["N"], "2 samples, 1 symbols"),
        ([5, 2], ["(", "N"], "ascending"),
        ([1, 10], ["(", "N"], r"\[0, 10\)"),
        ([-1, 2], ["(", "N"], "ascending"),
    ],
)
def test_wave_labels_bad_marks(at: list[int], symbols: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        qtdb.wave_labels(at, symbols, [0, 0], 10)


# -- raw records -----------------------------------------------------------------------------------


def _leads(length: int, peaks: list[int]) -> np.ndarray:
    t = np.arange(length)[:, None]
    waves = ((-35, 6, 0.15), (0, 3, 1.2), (7, 3, -0.2), (70, 12, 0.3))
    lead = sum(
        a * np.exp(-0.5 * ((t - np.array(peaks) - d) / w) ** 2).sum(axis=1) for d, w, a in waves
    )
    return np.stack([lead + 5.12, -0.7 * lead], axis=1)


def _record(folder: Path, name: str = "sel100", fs: float = 250, **changed: Any) -> np.ndarray:
    """Write <name>.hea, .dat (format 212) and .q1c in QTDB's layout; return the leads in mV."""
    folder.mkdir(parents=True, exist_ok=True)
    marks, label = _plan()
    leads = changed.get("leads", _leads(len(label), [200, 400, 600, 800, 1000, 2000]))
    n = leads.shape[1]
    wfdb.wrsamp(
        name,
        fs,
        ["mV"] * n,
        ["MLII", "V5", "V1"][:n],
        p_signal=leads,
        fmt=["212"] * n,
        adc_gain=[200.0] * n,
        baseline=[0] * n,
        write_dir=str(folder),
    )
    at, nums = np.array(marks.samples), np.array(marks.nums)
    wfdb.wrann(
        name,
        "qtc",
        at,
        symbol=marks.symbols,
        subtype=np.zeros_like(at),
        chan=np.zeros_like(at),
        num=nums,
        write_dir=str(folder),
    )
    (folder / f"{name}.qtc").rename(folder / f"{name}.q1c")  # the writer takes letters only
    return leads


def test_raw_record(tmp_path: Path) -> None:
    leads = _record(tmp_path / "qtdb" / "1.0.0")
    _record(tmp_path / "qtdb" / "1.0.0", "sele0121")
    assert qtdb.records(tmp_path) == ["sel100", "sele0121"]
    sample = qtdb.read_record(tmp_path, "sel100")
    assert (sample.rate, sample.name, sample.group, sample.events) == (
        250.0,
        "sel100",
        "sel100",
        False,
    )
    assert sample.signal.dtype == np.float32
    assert sample.signal.shape == (3000, 2)
    assert np.abs(sample.signal - leads).max() <= 0.5 / 200 + 1e-6
    assert np.array_equal(sample.label, _plan()[1])
    assert sample.meta["leads"] == ["MLII", "V5"]
    assert sample.meta["units"] == ["mV", "mV"]
    assert sample.meta["r_peaks"].tolist() == [200, 400, 600, 800, 1000, 2000]
    assert sample.meta["beats"] == "NNVNNN"
    assert qtdb.read_record(tmp_path, "sele0121").group == "sele0121+sele0122"


def test_raw_record_encodes_within_one_level(tmp_path: Path) -> None:
    """L above the steepest step of this record: then the property holds on it."""
    _record(tmp_path)
    x = normalise(qtdb.read_record(tmp_path, "sel100").signal)
    level = float(np.abs(np.diff(x, axis=0)).max())
    events = LevelCrossing(level)(x)
    assert events.shape == (3000, 4)
    assert events.sum() > 20
    assert (LevelCrossing(level).error(x) <= 1 + 1e-9).all()


def test_raw_invalid_samples_are_interpolated(tmp_path: Path) -> None:
    leads = _leads(3000, [200])
    leads[1500:1510, 1] = np.nan
    _record(tmp_path, leads=leads)
    sample = qtdb.read_record(tmp_path, "sel100")
    assert sample.meta["interpolated"] == 10
    assert np.abs(sample.signal[1500:1510, 1]).max() < 0.01


def test_segments(tmp_path: Path) -> None:
    _record(tmp_path)
    sample = qtdb.read_record(tmp_path, "sel100")
    cut = qtdb.segments(sample, 300)
    assert [s.name for s in cut] == [f"sel100/{start:06d}" for start in (155, 455, 755, 1055, 1955)]
    for s in cut:
        start = s.meta["start"]
        assert s.group == "sel100"
        assert np.array_equal(s.signal, sample.signal[start : start + 300])
        assert np.array_equal(s.label, np.asarray(sample.label)[start : start + 300])
        assert len(s.meta["r_peaks"]) == len(s.meta["beats"])
    assert [s.meta["r_peaks"].tolist() for s in cut] == [[45, 245], [145], [45, 245], [], [45]]
    assert [len(qtdb.segments(sample, n)) for n in (2845, 2846, 1301)] == [1, 0, 2]
    bare = Sample(sample.signal, np.full(3000, UNLABELLED), 250.0, "bare")
    assert qtdb.segments(bare) == []
    with pytest.raises(ConfigError, match=r"segments\(steps\) is 0"):
        qtdb.segments(sample, 0)
    with pytest.raises(DataError, match="one label for the whole"):
        qtdb.segments(Sample(sample.signal, 3, 250.0, "whole"))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no folder", "No raw QTDB records.*\n.*srnn data fetch qtdb --raw"),
        ("no marks", "has no sel100.q1c; 1 records are there: sel100"),
        ("other name", "has no sel999.hea"),
        ("truncated", "sel100 is truncated or damaged"),
        ("bad header", "sel100 is truncated or damaged"),
        ("rate", r"samples at 360 Hz; expected \(T, 2\) at 250 Hz"),
        ("three leads", r"\(3000, 3\) samples"),
        ("dead lead", "no valid sample"),
        ("marks beyond", r"sel100\.q1c does not fit its record: .*ascending steps in"),
    ],
)
def test_bad_raw_record(tmp_path: Path, case: str, message: str) -> None:
    name, leads = "sel100", _leads(3000, [200])
    if case == "three leads":
        leads = np.concatenate([leads, leads[:, :1]], axis=1)
    elif case == "dead lead":
        leads[:, 1] = np.nan
    elif case == "marks beyond":
        leads = leads[:1500]
    if case != "no folder":
        _record(tmp_path, leads=leads, fs=360 if case == "rate" else 250)
    if case == "no marks":
        (tmp_path / "sel100.q1c").unlink()
    elif case == "other name":
        name = "sel999"
    elif case == "truncated":
        (tmp_path / "sel100.dat").write_bytes((tmp_path / "sel100.dat").read_bytes()[:3000])
    elif case == "bad header":
        (tmp_path / "sel100.hea").write_text("sel100 two 250 3000\n")
    with pytest.raises(DataError, match=message):
        qtdb.read_record(tmp_path, name)
