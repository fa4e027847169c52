"""Recordings of one's own in folders of tables or sound files: classes from sub-folders, lists and
columns; what is refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from srnn._check import ConfigError, DataError
from srnn.datasets import own
from srnn.datasets._audio import write_wav
from srnn.datasets.own_csv import open_table

PLAIN = "1,2\n3,4\n"


def _write(root: Path, **files: str) -> Path:
    """Write files; a double underscore stands for a slash, and .csv is added to names without an
    ending.
    """
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ("" if "." in name else ".csv"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


# -- one table -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "1.5,2\n-3,4e1\n",
        "1.5, 2\n-3, 4e1",
        "x,y\n1.5,2\n-3,4e1\n",
        "x;y\n1,5;2\n-3;4e1\n",
        "1,5\t2\n-3\t4e1\n",
        "1.5 2\n-3   4e1\n",
        "x y\r\n1.5 2\r\n-3 4e1\r\n",
        "\ufeffx,y\n\n1.5,2\n\n-3,4e1\n\n",
        '"x","y"\n"1.5","2"\n"-3","4e1"\n',
        "# written by a logger\n1.5,2\n# half\n-3,4e1\n",
        "# x,y\n1.5,2\n-3,4e1\n",
        "time,x,y\n0.0,1.5,2\n0.1,-3,4e1\n",
        "timestamp;x;y\n2024-01-01 10:00;1,5;2\n2024-01-01 10:01;-3;4e1\n",
        ",x,y\n0,1.5,2\n1,-3,4e1\n",
    ],
)
def test_ways_to_write_a_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8", newline="")
    table = open_table(path)
    assert table.signal().tolist() == [[1.5, 2.0], [-3.0, 40.0]]
    assert table.signal().dtype == np.float32
    assert table.label is None
    assert len(table.lines) == 2


@pytest.mark.parametrize("text", ["5\n6\n", "x\n5\n6\n", "5 \n6 \n"])
def test_single_channel(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert open_table(tmp_path / "a.csv").signal().tolist() == [[5.0], [6.0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no line of numbers"),
        (b"# nothing\n\n", "holds no line of numbers"),
        (b"x,y\n", r"holds a header \(x, y\), but no line of numbers"),
        (b"1,2\n3\n", r"line 2 has 1 columns; expected 2"),
        (b"x,y\n\n1,2,3\n", r"line 3 has 3 columns; expected 2"),
        (b"1 2\n3 4 5\n", r"line 2 has 3 columns; expected 2"),
        (b"1,2\n3,a\n", r"line 2, column 2: 'a' is no number\. A column of labels needs a header"),
        (b"1,2\n3,\n", r"line 2, column 2: '' is no number"),
        (b"0.1,walk\n0.2,run\n", r"line 1, column 2: 'walk' is no number"),
        (b"x,label\n1,a\nq,b\n", r"line 3, column 1: 'q' is no number\.$"),
        (b"label,time\na,0\n", "has the columns label, time, of which none is a channel"),
        (b"1,2\n\xff\xfe", r"is no UTF-8 text \(byte 4\)"),
        (b"PK\3\4\0\0", "holds zero bytes"),
    ],
)
def test_bad_table(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        open_table(tmp_path / "a.csv").signal()
    assert "a.csv" in str(error.value)


# -- folders of tables -----------------------------------------------------------------------------


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    root = _write(
        tmp_path,
        walk__a=PLAIN,
        walk__b=PLAIN + "5,6\n",
        run__a="x,y\n7,8\n",
        sit__deep__a=PLAIN,
        **{".trash__a": "no", "walk__.b.csv": "no"},
    )
    _write(tmp_path, **{"README.txt": "mine"})
    found = own.read(root, rate=50.0)
    assert found.classes == ("run", "sit", "walk")
    assert (found.channels, found.rate, found.kind, found.per_step, found.steps) == (
        2,
        50.0,
        "signal",
        False,
        3,
    )
    rows = [(r.name, r.label, r.group, r.signal.shape) for r in found.recordings]
    assert rows == [
        ("run/a.csv", 0, "", (1, 2)),
        ("sit/deep/a.csv", 1, "", (2, 2)),
        ("walk/a.csv", 2, "", (2, 2)),
        ("walk/b.csv", 2, "", (3, 2)),
    ]
    assert [e.size for e in found.recordings.entries] == [8, 8, 8, 12]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_list_of_labels(tmp_path: Path, mark: str) -> None:
    lines = ["File,label,GROUP,remark", "b.csv,run,eva,", "in/a.csv,walk,adam,windy", ""]
    root = _write(
        tmp_path,
        b=PLAIN,
        in__a=PLAIN,
        unlisted="not looked at",
        labels="\n".join(lines).replace(",", mark),
    )
    found = own.read(root)
    assert found.classes == ("run", "walk")
    assert [(r.name, r.label, r.group) for r in found.recordings] == [
        ("b.csv", 0, "eva"),
        ("in/a.csv", 1, "adam"),
    ]


def test_recordings_are_read_when_asked_for(tmp_path: Path) -> None:
    root = _write(tmp_path, a__x=PLAIN, b__x="1,2\nq,4\n")
    found = own.read(root)
    assert found.recordings[0].label == 0
    with pytest.raises(DataError, match=r"b/x\.csv, line 2, column 1: 'q' is no number"):
        found.recordings[1]
    (root / "a" / "x.csv").unlink()
    with pytest.raises(DataError, match=r"a/x\.csv cannot be read: No such file"):
        found.recordings[0]


@pytest.mark.parametrize("listed", [False, True])
def test_a_label_a_step(tmp_path: Path, listed: bool) -> None:
    root = _write(tmp_path, eva__a="x,label\n1,up\n2,\n3,down\n", adam__b="x,label\n4,up\n")
    if listed:
        _write(tmp_path, labels="file,group\neva/a.csv,E\nadam/b.csv,A\n")
    found = own.read(root)
    assert found.per_step
    assert (found.classes, found.channels, found.steps) == (("down", "up"), 1, 3)
    assert [e.label for e in found.recordings.entries] == [None, None]
    b, a = found.recordings
    assert (a.name, a.label.tolist(), a.signal[:, 0].tolist()) == (
        "eva/a.csv",
        [1, -1, 0],
        [1, 2, 3],
    )
    assert (b.name, b.label.tolist()) == ("adam/b.csv", [1])
    assert [a.group, b.group] == (["E", "A"] if listed else ["eva", "adam"])


def test_numbers_as_labels_a_step(tmp_path: Path) -> None:
    root = _write(tmp_path, a="x,Label\n1,10\n2,2\n3,-1\n4,\n", b="x,Label\n1,2.0\n2,10.0\n")
    found = own.read(root)
    assert found.classes == ("2", "10")
    assert [r.label.tolist() for r in found.recordings] == [[1, 0, -1, -1], [0, 1]]
    assert [e.group for e in found.recordings.entries] == ["", ""]


BAD_FOLDERS: list[tuple[dict[str, str], str]] = [
    (
        {"a": PLAIN, "b__x": PLAIN},
        r"a\.csv has no label\. Put each file into a sub-folder named "
        r"after its class",
    ),
    ({"a__x": PLAIN}, "one class only, 'a'"),
    ({"a__x": PLAIN, "b__x": "1\n2\n"}, r"b/x\.csv has 1 channels, .*a/x\.csv has 2"),
    (
        {"a__x": PLAIN, "b__x": "x,label,y\n1,p,3\n"},
        r"b/x\.csv has a column named label, "
        r".*a/x\.csv has none",
    ),
    (
        {"a__x": "x,label\n1,p\n", "b__x": "1\n2\n"},
        r"a/x\.csv has a column named label, "
        r".*b/x\.csv has none",
    ),
    ({"a": "x,label\n1,p\n"}, "one class only, 'p'"),
    ({"a": "x,label\n1,-1\n"}, "no label at all"),
    ({"a__x": PLAIN, "b__x.wav": ""}, r"holds tables \(a/x\.csv\) and sound files \(b/x\.wav\)"),
    ({"a__x": PLAIN, "b__x": ""}, r"b/x\.csv holds no line"),
    (
        {"a": PLAIN, "labels": ""},
        r"labels\.csv has the columns \(none\); its first line must "
        r"name file and label",
    ),
    ({"a": PLAIN, "labels": "a.csv,walk\n"}, r"labels\.csv has the columns a\.csv, walk"),
    ({"a": PLAIN, "labels": "file,label\n"}, r"labels\.csv names no file"),
    (
        {"a": PLAIN, "labels": "file,label\na.csv\n"},
        r"labels\.csv, line 2 has 1 columns; "
        r"expected 2: file, label",
    ),
    ({"a": PLAIN, "labels": "file,label\nb.csv,walk\n"}, r"line 2: there is no recording 'b\.csv'"),
    (
        {"a": PLAIN, "labels": "file,label\n../a.csv,walk\n"},
        r"line 2: there is no recording "
        r"'\.\./a\.csv'",
    ),
    (
        {"a": PLAIN, "labels": "file,label\na.csv,walk\n./a.csv,run\n"},
        r"line 3 names a\.csv for the second "
        r"time",
    ),
    (
        {"a": PLAIN, "b": PLAIN, "labels": "file,label\na.csv,walk\nb.csv,\n"},
        r"b\.csv has no label",
    ),
    ({"labels": "file,label\na.csv,walk\n"}, "holds no recordings"),
]


@pytest.mark.parametrize(("files", "message"), BAD_FOLDERS)
def test_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        own.read(_write(tmp_path, **files))


def test_asked_for_otherwise(tmp_path: Path) -> None:
    root = _write(tmp_path, a__x=PLAIN, b__x=PLAIN)
    assert own.read(root, channels=2).rate == 1.0
    with pytest.raises(ConfigError, match="has 2 channels; 3 were asked for"):
        own.read(root, channels=3)
    with pytest.raises(ConfigError, match=r"own\.read\(rate\) is -1"):
        own.read(root, rate=-1.0)


# -- folders of sound ------------------------------------------------------------------------------


def _tone(n: int, channels: int = 1) -> np.ndarray:
    return 0.5 * np.sin(np.arange(n)[:, None] * np.arange(1, channels + 1) / 9)


def test_sound(tmp_path: Path) -> None:
    write_wav(tmp_path / "yes" / "a.wav", _tone(300), 8000)
    (tmp_path / "no").mkdir()
    soundfile.write(tmp_path / "no" / "b.FLAC", _tone(500), 8000, format="FLAC")
    found = own.read(tmp_path)
    assert (found.classes, found.channels, found.rate, found.kind, found.steps) == (
        ("no", "yes"),
        1,
        8000.0,
        "audio",
        500,
    )
    b, a = found.recordings
    assert (a.name, a.label, a.meta, a.signal.shape) == ("yes/a.wav", 1, {"audio": True}, (300, 1))
    assert np.abs(b.signal - _tone(500)).max() < 1e-4
    assert own.read(tmp_path, rate=8000.0, channels=1).rate == 8000.0
    with pytest.raises(ConfigError, match="rate 16000 was asked for, its files have 8000"):
        own.read(tmp_path, rate=16000.0)


def test_slow_signals_in_wav(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_wav(tmp_path / name / "x.wav", _tone(50, 6), 200)
    found = own.read(tmp_path)
    assert (found.kind, found.channels, found.rate) == ("signal", 6, 200.0)
    assert found.recordings[0].meta == {}


def test_sound_with_a_list(tmp_path: Path) -> None:
    for name in "abc":
        write_wav(tmp_path / f"{name}.wav", _tone(50), 8000)
    _write(tmp_path, labels="file,label,group\na.wav,x,1\nb.wav,y,2\n")
    found = own.read(tmp_path)
    assert [(r.name, r.label, r.group) for r in found.recordings] == [
        ("a.wav", 0, "1"),
        ("b.wav", 1, "2"),
    ]


def test_bad_sound(tmp_path: Path) -> None:
    write_wav(tmp_path / "a" / "x.wav", _tone(50), 8000)
    other = tmp_path / "b" / "x.wav"
    write_wav(other, _tone(50), 16000)
    with pytest.raises(
        DataError,
        match=r"b/x\.wav has 16000 samples per second, .*a/x\.wav has "
        r"8000",
    ):
        own.read(tmp_path)
    write_wav(other, _tone(50, 2), 8000)
    with pytest.raises(DataError, match=r"b/x\.wav has 2 channels, .*a/x\.wav has 1"):
        own.read(tmp_path)
    other.write_bytes(other.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"b/x\.wav is cut"):
        own.read(tmp_path)
    other.write_bytes(b"")
    with pytest.raises(DataError, match=r"b/x\.wav is empty"):
        own.read(tmp_path)
    other.unlink()
    with pytest.raises(DataError, match="one class only, 'a'"):
        own.read(tmp_path)


@pytest.mark.real_data
def test_spoken_digits(real_data: Path, tmp_path: Path) -> None:
    """The Free Spoken Digit Dataset as a user would have it: a folder of files and a list."""
    files = sorted((real_data / "fsdd" / "recordings").glob("[0-2]_*_[01].wav"))
    lines = ["file,label,group"]
    for file in files:
        (tmp_path / file.name).symlink_to(file)
        digit, speaker, _ = file.stem.split("_")
        lines.append(f"{file.name},{digit},{speaker}")
    _write(tmp_path, labels="\n".join(lines))
    found = own.read(tmp_path)
    assert (found.classes, found.kind, found.rate, found.channels) == (
        ("0", "1", "2"),
        "audio",
        8000.0,
        1,
    )
    assert len(found.recordings) == len(files) == 24
    assert len({e.group for e in found.recordings.entries}) == 4
    assert max(len(r.signal) for r in found.recordings) == found.steps
