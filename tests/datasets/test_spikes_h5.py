"""The HDF5 event format: files written by h5py as published, what a loader must tolerate, and every
way a file can be wrong.
"""

from __future__ import annotations

import gc
import gzip
import hashlib
import io
import multiprocessing
import os
import pickle
import sys
import weakref
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from srnn._check import ConfigError, DataError, SrnnError
from srnn.datasets import _fetch, spikes_h5
from srnn.datasets.sample import Recordings, Spikes

KEYS = (b"zero", "fünf".encode(), b"acht")


def _content(n: int = 6) -> dict[str, Any]:
    """What a file holds, as published: float16 times, uint16 units, labels and speakers, byte
    strings as keys.
    """
    rng = np.random.default_rng(0)
    counts = [0, *rng.integers(5, 40, n - 1)]
    return {
        "spikes/times": [np.sort(rng.uniform(0, 1.2, c)).astype(np.float16) for c in counts],
        "spikes/units": [rng.integers(0, 700, c).astype(np.uint16) for c in counts],
        "labels": np.arange(n, dtype=np.uint16) % 3,
        "extra/speaker": np.arange(n, dtype=np.uint16) // 2,
        "extra/keys": np.array(KEYS),
    }


def _file(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, value in content.items():
            if isinstance(value, list):
                kind = np.dtype(value[0].dtype)
                dataset = file.create_dataset(key, (len(value),), h5py.vlen_dtype(kind))
                for i, row in enumerate(value):
                    dataset[i] = row
            elif value is not None:
                file[key] = value
    return path


def _spikes(n: int = 5, groups: Callable[[int], str] = str) -> Iterator[Spikes]:
    rng = np.random.default_rng(1)
    for i in range(n):
        times = np.sort(rng.uniform(0, 1.2, 10 * i))
        yield Spikes(times, rng.integers(0, 700, 10 * i), 700, i % 3, f"made/{i}", groups(i))


# -- reading ---------------------------------------------------------------------------------------


def test_read_a_published_file(tmp_path: Path) -> None:
    content = _content()
    path = _file(tmp_path / "shd_train.h5", content)
    recordings, classes = spikes_h5.read(path)
    assert classes == spikes_h5.classes(path) == ("zero", "fünf", "acht")
    assert recordings.source == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [(e.name, e.label, e.group) for e in recordings.entries] == [
        (f"shd_train/{i:05d}", i % 3, str(i // 2)) for i in range(6)
    ]
    for i, spikes in enumerate(recordings):
        assert (spikes.name, spikes.label, spikes.group, spikes.channels) == (
            f"shd_train/{i:05d}",
            i % 3,
            str(i // 2),
            700,
        )
        assert spikes.times.dtype == np.float64
        assert np.array_equal(spikes.times, content["spikes/times"][i].astype(np.float64))
        assert np.array_equal(spikes.units, content["spikes/units"][i])
    assert i == 5
    assert len(recordings[0].times) == 0
    assert [s.name for s in recordings.pick([4, 1]).map(lambda s: s)] == [
        "shd_train/00004",
        "shd_train/00001",
    ]


@pytest.mark.parametrize(
    "case",
    [
        "float32",
        "float64",
        "str keys",
        "latin-1",
        "no speaker",
        "text speaker",
        "unsorted",
        "meta",
        "chunked",
        "int64",
        "user block",
    ],
)
def test_what_is_tolerated(tmp_path: Path, case: str) -> None:
    content, path = _content(), tmp_path / "a.h5"
    groups = [str(i // 2) for i in range(6)]
    if case in ("float32", "float64"):
        content["spikes/times"] = [t.astype(case) for t in content["spikes/times"]]
    elif case == "str keys":
        content["extra/keys"] = np.array(["zero", "fünf", "acht"], dtype=h5py.string_dtype())
    elif case == "latin-1":
        content["extra/keys"] = np.array([b"zero", "fünf".encode("latin-1"), b"acht"])
    elif case == "no speaker":
        del content["extra/speaker"]
        groups = [""] * 6
    elif case == "text speaker":
        content["extra/speaker"] = np.array([b"ann", b"bob"] * 3)
        groups = ["ann", "bob"] * 3
    elif case == "unsorted":
        content["spikes/times"] = [t[::-1] for t in content["spikes/times"]]
    elif case == "meta":
        content["extra/meta_info/gender"] = np.array([b"male", b"female", b"male"])
    elif case == "int64":
        content["spikes/units"] = [u.astype(np.int64) for u in content["spikes/units"]]
        content["labels"] = content["labels"].astype(np.int64)
    _file(path, content)
    if case == "chunked":
        with h5py.File(path, "a") as file:
            labels = file["labels"][:]
            del file["labels"]
            file.create_dataset("labels", data=labels, chunks=(2,), compression="gzip")
    elif case == "user block":
        raw = path.read_bytes()
        with h5py.File(path, "w", userblock_size=512) as file, h5py.File.in_memory(raw) as old:
            for key in ("spikes", "labels", "extra"):
                old.copy(key, file)
    recordings, classes = spikes_h5.read(path)
    assert classes == ("zero", "fünf", "acht")
    assert [e.group for e in recordings.entries] == groups
    for i, spikes in enumerate(recordings):
        order = np.argsort(content["spikes/times"][i], kind="stable")
        assert np.array_equal(spikes.times, content["spikes/times"][i].astype(np.float64)[order])
        assert np.array_equal(spikes.units, content["spikes/units"][i][order])
    assert i == 5


def _sums(recordings: Recordings[Spikes]) -> list[float]:
    return [float(s.times.sum() + s.units.sum()) for s in recordings]


def _send_sums(recordings: Recordings[Spikes], to: Any) -> None:
    to.send((_sums(recordings), recordings.read.opened[0] == os.getpid()))  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forks_and_pickles_open_the_file_anew(tmp_path: Path) -> None:
    recordings, _ = spikes_h5.read(_file(tmp_path / "a.h5", _content()))
    sums = _sums(recordings)
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(
        target=_send_sums, args=(recordings, theirs)
    )
    child.start()
    assert ours.poll(20)
    assert ours.recv() == (sums, True)
    child.join()
    assert _sums(recordings) == sums
    copy = pickle.loads(pickle.dumps(recordings))
    assert copy.read.opened is None
    assert _sums(copy) == sums
    assert len(sums) == 6


def test_the_file_is_opened_once_and_closed(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.h5", _content())

    def handles() -> int:
        links = [Path("/proc/self/fd") / fd for fd in os.listdir("/proc/self/fd")]
        return sum(os.path.realpath(link) == str(path) for link in links)

    recordings, _ = spikes_h5.read(path)
    assert handles() == 0
    _sums(recordings)
    _sums(recordings[:2])
    assert handles() == 1
    del recordings
    gc.collect()
    assert handles() == 0


# -- damaged and foreign files ---------------------------------------------------------------------


def _one_error(path: Path, message: str | None = None) -> None:
    """Reading all of the file raises one `DataError` that names it, whether at once or at a
    recording.
    """
    with pytest.raises(DataError, match=message) as caught:
        list(spikes_h5.read(path)[0])
    assert str(path) in str(caught.value)


def _set(key: str, i: int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content[key][i] = value

    return change


def _cut(key: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content[key] = content[key][:-1]

    return change


def _put(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content[key] = value

    return change


def _late(value: float) -> Any:
    times = _content()["spikes/times"][3].copy()
    times[2] = value
    return times


BAD = {
    "no times": (_put("spikes/times", None), "has no spikes/times; expected"),
    "no units": (_put("spikes/units", None), "has no spikes/units"),
    "no labels": (_put("labels", None), "has no labels"),
    "no keys": (_put("extra/keys", None), "has no extra/keys"),
    "group for labels": (
        lambda c: c.update({"labels": None, "labels/x": np.arange(6)}),
        "has no labels",
    ),
    "times are no lists": (
        _put("spikes/times", np.zeros(6, np.float32)),
        "spikes/times holds floating numbers of shape",
    ),
    "times are integers": (
        lambda c: c.update({"spikes/times": c["spikes/units"]}),
        "spikes/times holds lists of integers .*expected lists of floating",
    ),
    "units are floating": (
        lambda c: c.update({"spikes/units": c["spikes/times"]}),
        "spikes/units holds lists of floating",
    ),
    "labels are text": (
        _put("labels", np.array([b"one"] * 6)),
        "labels holds text .*expected integers",
    ),
    "labels are floating": (_put("labels", np.zeros(6)), "labels holds floating numbers"),
    "labels are bool": (_put("labels", np.zeros(6, bool)), "labels holds bool"),
    "labels are square": (
        _put("labels", np.zeros((6, 6), int)),
        r"labels holds integers of shape \(6, "
        r"6\)",
    ),
    "label is a scalar": (_put("labels", 3), r"labels holds integers of shape \(\)"),
    "keys are numbers": (_put("extra/keys", np.arange(3)), "extra/keys holds integers"),
    "speaker is floating": (
        _put("extra/speaker", np.zeros(6)),
        "extra/speaker holds floating numbers .*expected integers or text",
    ),
    "fewer times": (
        _cut("spikes/times"),
        "holds 6 labels, 5 spikes/times, 6 spikes/units, 6 extra/speaker; expected one of each",
    ),
    "fewer units": (_cut("spikes/units"), "5 spikes/units"),
    "fewer labels": (_cut("labels"), "holds 5 labels"),
    "fewer speakers": (_cut("extra/speaker"), "5 extra/speaker"),
    "no recording": (
        lambda c: c.update({k: v[:0] for k, v in c.items() if k[0] == "l"}),
        "holds 0 labels",
    ),
    "label too high": (_set("labels", 4, 3), r"label 3 of recording 4; expected 0 … 2"),
    "label too low": (_put("labels", np.array([0, 1, -1, 0, 0, 0])), r"label -1 of recording 2"),
    "fewer keys": (_cut("extra/keys"), r"label 2 of recording 2; expected 0 … 1"),
    "one unit too few": (
        lambda c: _set("spikes/units", 3, c["spikes/units"][3][:-1])(c),
        r"a/00003: times \(\d+,\) and units",
    ),
    "NaN": (_set("spikes/times", 3, _late(np.nan)), "a/00003: spike .* is at nan s"),
    "infinite": (_set("spikes/times", 3, _late(np.inf)), "a/00003: spike .* is at inf s"),
    "negative": (_set("spikes/times", 3, _late(-0.5)), "a/00003: spike 0 is at -0.5 s"),
    "unit too high": (
        lambda c: c["spikes/units"][3].__setitem__(1, 700),
        "a/00003: a spike of unit 700; expected units 0 … 699",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_content(tmp_path: Path, case: str) -> None:
    change, message = BAD[case]
    content = _content()
    change(content)
    _one_error(_file(tmp_path / "a.h5", content), message)


def test_negative_units(tmp_path: Path) -> None:
    content = _content()
    content["spikes/units"] = [u.astype(np.int16) for u in content["spikes/units"]]
    content["spikes/units"][2][0] = -1
    _one_error(_file(tmp_path / "a.h5", content), "a/00002: a spike of unit -1")


def test_truncated_at_every_kilobyte(tmp_path: Path) -> None:
    raw = _file(tmp_path / "whole.h5", _content(60)).read_bytes()
    points = [1, 7, 8, 9, 100, *range(512, len(raw), 1024), len(raw) - 1]
    for size in points:
        path = tmp_path / f"{size}.h5"
        path.write_bytes(raw[:size])
        _one_error(path)
    assert len(points) > 15


def test_zeroed_blocks(tmp_path: Path) -> None:
    """A file of the right length with a hole in it, as a broken copy leaves: an error that names
    it, or the same recordings. Half of them keep the HDF5 library busy for ever, if it is let near
    them.
    """
    recordings, classes = spikes_h5.read(_file(tmp_path / "whole.h5", _content(60)))
    raw, errors, same = (tmp_path / "whole.h5").read_bytes(), 0, 0
    whole = _sums(recordings)
    for at in range(0, len(raw), 512):
        path = tmp_path / f"{at}.h5"
        path.write_bytes(raw[:at] + bytes(512) + raw[at + 512 :])
        try:
            found, names = spikes_h5.read(path)
            same += (
                names == classes
                and [e.label for e in found.entries] == [e.label for e in recordings.entries]
                and _sums(found) == whole
            )
        except DataError as error:
            errors += str(path) in str(error)
    assert errors > 20
    assert same > 0


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html>", "is not an HDF5 file: it starts with b'<!DOCTYP'"),
        (np.random.default_rng(0).bytes(5000), "is not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n" + np.random.default_rng(0).bytes(5000), "is truncated or damaged"),
        (gzip.compress(b"x", mtime=0), "is not an HDF5 file"),
    ],
    ids=["empty", "html", "noise", "cut", "gzip"],
)
def test_not_hdf5(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "a.h5").write_bytes(raw)
    _one_error(tmp_path / "a.h5", message)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    _one_error(tmp_path / "a.h5", "cannot be read: No such file")
    (tmp_path / "a.h5").mkdir()
    _one_error(tmp_path / "a.h5", "cannot be read: Is a directory")


def test_a_file_that_goes_away(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.h5", _content())
    recordings, _ = spikes_h5.read(path)
    path.unlink()
    with pytest.raises(DataError, match=r"a\.h5, recording 2, is truncated or damaged"):
        recordings[2]


def test_content_of_other_files_is_refused(tmp_path: Path) -> None:
    """An entry may be a door to a file of the user that the data set has no business with."""
    other = _file(tmp_path / "other.h5", _content())
    (tmp_path / "secret").write_bytes(bytes(12))
    for case in ("link", "external", "virtual"):
        path = _file(tmp_path / f"{case}.h5", {**_content(), "labels": None})
        with h5py.File(path, "a") as file:
            if case == "link":
                file["labels"] = h5py.ExternalLink(other.name, "labels")
            elif case == "external":
                file.create_dataset(
                    "labels", (6,), "<u2", external=[(str(tmp_path / "secret"), 0, 12)]
                )
            else:
                layout = h5py.VirtualLayout((6,), "<u2")
                layout[:] = h5py.VirtualSource(str(other), "labels", (6,))
                file.create_virtual_dataset("labels", layout)
        _one_error(path, "labels refers to another file")


def test_a_claim_of_too_many_is_refused(tmp_path: Path) -> None:
    """A file of a few kilobytes can claim to hold any number of entries."""
    path = _file(tmp_path / "a.h5", {**_content(), "labels": None})
    with h5py.File(path, "a") as file:
        file.create_dataset("labels", (10**12,), "u2", chunks=(1000,))
    assert path.stat().st_size < 100_000
    _one_error(path, "labels claims to hold 1000000000000 entries")


def test_bad_channels(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        spikes_h5.read(tmp_path / "a.h5", 0)


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    for call in (spikes_h5.read, spikes_h5.classes, lambda path: spikes_h5.write(path, [], ("a",))):
        with pytest.raises(
            SrnnError,
            match=r"need h5py. Install it with: pip install "
            r'"srnn\[data\]"',
        ):
            call(tmp_path / "a.h5")


# -- writing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_write_and_read(tmp_path: Path, dtype: Any) -> None:
    path = spikes_h5.write(tmp_path / "new" / "a.h5", _spikes(), ("a", "fünf", "c"), dtype=dtype)
    assert os.listdir(path.parent) == ["a.h5"]
    recordings, classes = spikes_h5.read(path)
    assert classes == ("a", "fünf", "c")
    assert len(recordings) == 5
    for wrote, got in zip(_spikes(), recordings, strict=True):
        assert np.array_equal(got.times, wrote.times.astype(dtype).astype(np.float64))
        assert np.array_equal(got.units, wrote.units)
        assert (got.label, got.group) == (wrote.label, wrote.group)
    with h5py.File(path) as file:
        assert file["spikes/times"].dtype.metadata["vlen"] == np.dtype(dtype)
        assert [file[key].dtype for key in ("labels", "extra/speaker")] == [np.uint16, np.uint16]
        assert file["extra/keys"].dtype.kind == "S"


@pytest.mark.parametrize("count", [1, 3])
def test_one_recording_alone_and_recordings_of_equal_length(tmp_path: Path, count: int) -> None:
    """h5py would take lists of equal length for a matrix."""
    made = [Spikes(np.arange(4) / 8, np.full(4, k), 9, k % 2, f"r{k}") for k in range(count)]
    recordings, _ = spikes_h5.read(spikes_h5.write(tmp_path / "a.h5", iter(made), ("a", "b")), 9)
    assert len(recordings) == count
    assert [(s.times.tolist(), s.units.tolist(), s.label) for s in recordings] == [
        (s.times.tolist(), s.units.tolist(), s.label) for s in made
    ]


@pytest.mark.parametrize(
    ("groups", "wanted"),
    [
        (lambda i: "", None),
        (lambda i: str(i), "u"),
        (lambda i: f"0{i}", "S"),
        (lambda i: f"ann{i}", "S"),
        (lambda i: "ann" * (i % 2), "S"),
    ],
)
def test_speakers_are_kept(
    tmp_path: Path, groups: Callable[[int], str], wanted: str | None
) -> None:
    path = spikes_h5.write(tmp_path / "a.h5", _spikes(4, groups), ("a", "b", "c"))
    assert [s.group for s in spikes_h5.read(path)[0]] == [groups(i) for i in range(4)]
    with h5py.File(path) as file:
        assert ("extra/speaker" in file) == (wanted is not None)
        if wanted:
            assert file["extra/speaker"].dtype.kind == wanted


def test_write_holds_few_recordings(tmp_path: Path) -> None:
    made, gone, peak = 0, 0, 0

    def source() -> Iterator[Spikes]:
        nonlocal made, peak

        def count() -> None:
            nonlocal gone
            gone += 1

        for spikes in _spikes(4):
            for _ in range(spikes_h5._BLOCK):
                one = replace(spikes)
                weakref.finalize(one, count)
                made += 1
                peak = max(peak, made - gone)
                yield one

    path = spikes_h5.write(tmp_path / "a.h5", source(), ("a", "b", "c"))
    assert len(spikes_h5.read(path)[0]) == made == 4 * spikes_h5._BLOCK
    assert spikes_h5._BLOCK <= peak < 2 * spikes_h5._BLOCK + 4


def test_failed_writes_leave_what_was_there(tmp_path: Path) -> None:
    path = spikes_h5.write(tmp_path / "a.h5", _spikes(), ("a", "b", "c"))
    before = path.read_bytes()

    def broken() -> Iterator[Spikes]:
        yield from _spikes()
        raise RuntimeError("cut")

    wide = Spikes(np.zeros(1), np.zeros(1, int), 70_000, 0, "wide")
    cases: list[tuple[Any, tuple[str, ...], type[Exception], str]] = [
        (broken(), ("a", "b", "c"), RuntimeError, "cut"),
        (_spikes(), ("a", "b"), DataError, r"made/2 has label 2 .*expected a label 0 … 1"),
        (
            [Spikes(np.zeros(0), np.zeros(0, int), 700, -1, "free")],
            ("a",),
            DataError,
            "free has label -1",
        ),
        ([wide], ("a",), DataError, "at most 65536 channels"),
        ([], ("a",), DataError, "no recording to write"),
        (_spikes(), (), ConfigError, "classes is empty"),
    ]
    for recordings, classes, error, message in cases:
        with pytest.raises(error, match=message):
            spikes_h5.write(path, recordings, classes)
        assert os.listdir(tmp_path) == ["a.h5"]
        assert path.read_bytes() == before
    with pytest.raises(ConfigError, match="there is no 'float8'"):
        spikes_h5.write(path, _spikes(), ("a",), dtype="float8")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="cannot be written"):
        spikes_h5.write(path / "b.h5", _spikes(), ("a", "b", "c"))


# -- the published files ---------------------------------------------------------------------------


def _zipped(file: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(file, content)
        archive.writestr("README.md", "about")
    return buffer.getvalue()


def test_find(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"No xy/xy_train\.h5 or XY/xy_train\.h5 or xy_train\.h5 "
        r"in .*\n.*srnn data fetch xy",
    ):
        spikes_h5.find(tmp_path, "xy", "train")
    for ending in (".gz", ".zip"):
        packed = tmp_path / ending[1:] / "xy" / f"xy_train.h5{ending}"
        packed.parent.mkdir(parents=True)
        packed.write_bytes(b"x")
        with pytest.raises(
            DataError,
            match=rf"xy_train\.h5\{ending} is still packed. Unpack it "
            r"with `srnn data fetch xy`",
        ):
            spikes_h5.find(tmp_path / ending[1:], "xy", "train")
    for place in ("xy_train.h5", "XY/xy_train.h5", "xy/xy_train.h5"):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        assert spikes_h5.find(tmp_path, "xy", "train") == path


def test_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {
        part: _file(tmp_path / f"xy_{part}.h5", _content(n)).read_bytes()
        for part, n in (("train", 6), ("test", 4))
    }
    zips = {part: _zipped(f"xy_{part}.h5", content) for part, content in whole.items()}
    md5 = {part: hashlib.md5(content).hexdigest() for part, content in zips.items()}
    asked = []

    def download(url: str, checksum: str, to: Path, **_: Any) -> Path:
        asked.append((url, checksum))
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(zips[url.rsplit("_", 1)[1].split(".")[0]])
        return to

    monkeypatch.setattr(_fetch, "download", download)
    root = tmp_path / "root"
    paths = spikes_h5.fetch(root, "xy", md5)
    assert asked == [
        (f"https://zenkelab.org/datasets/xy_{part}.h5.zip", f"md5:{md5[part]}") for part in md5
    ]
    assert paths == [root / "xy" / f"xy_{part}.h5" for part in md5]
    assert [path.read_bytes() for path in paths] == list(whole.values())
    assert sorted(os.listdir(root / "xy")) == ["xy_test.h5", "xy_train.h5"]
    assert os.listdir(root) == ["xy"]
    paths[1].unlink()
    spikes_h5.fetch(root, "xy", md5)
    assert len(asked) == 3  # what is there is not fetched again
    paths[0].unlink()
    (root / "xy" / "xy_train.h5.gz").write_bytes(gzip.compress(whole["train"]))
    assert spikes_h5.fetch(root, "xy", md5) == paths  # what is there packed is unpacked
    assert len(asked) == 3
    assert paths[0].read_bytes() == whole["train"]
    assert len(list(spikes_h5.read(paths[0])[0])) == 6


def test_fetch_of_an_archive_without_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "xy_train.h5.zip"
    archive.write_bytes(_zipped("other.h5", b"x"))
    with pytest.raises(
        DataError,
        match=r"xy_train\.h5\.zip holds no file of those that were "
        r"asked for",
    ):
        spikes_h5.fetch(tmp_path, "xy", {"train": "0" * 32})


def test_verify(tmp_path: Path) -> None:
    for part in ("a", "b", "c", "d"):
        _file(tmp_path / "xy" / f"xy_{part}.h5", _content())
    (tmp_path / "xy" / "xy_d.h5").write_bytes(b"x")
    counts = {"a": (7, 6), "b": (7,), "c": (6,), "d": (6,), "e": (6,)}
    rows = spikes_h5.verify(tmp_path, "xy", counts, 3)
    assert [(file, right) for file, right, _ in rows] == [(f"xy_{p}.h5", p in "ac") for p in counts]
    texts = [text for *_, text in rows]
    assert texts[0] == texts[2] == "ok"
    assert texts[1] == "6 recordings in 3 classes; expected 7 in 3"
    assert "is not an HDF5 file" in texts[3]
    assert texts[4].startswith("No xy/xy_e.h5")
    assert not spikes_h5.verify(tmp_path, "xy", {"a": (6,)}, 4)[0][1]
