"""QT Database (PhysioNet qtdb 1.0.0): two-lead ECG, 250 Hz, six wave labels a step.

Two forms of the same records:

- `encoded`: the level-crossing events of Yin et al. 2020, 2021 (MATLAB, 618 + 141 x 1301 steps);
- `read_record`, `segments`: the raw records of PhysioNet with the cardiologists' marks (annotator
  q1c, 30 to 100 beats a record).

The waves follow each other in a cycle; each label reaches from one mark to the next:

    P = [P on, P end)    PQ = [P end, QRS on)   QR = [QRS on, R)
    RS = [R, QRS end)    ST = [QRS end, T end)  TP = [T end, next P on)

Source: Laguna, Mark, Goldberger & Moody 1997. Licence of the records: ODC-BY 1.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srnn import _files
from srnn._check import ConfigError, DataError, SrnnError, check_choice
from srnn._files import _limit
from srnn.datasets import _fetch
from srnn.datasets.sample import UNLABELLED, Sample

CLASSES = ("P", "PQ", "QR", "RS", "ST", "TP")
"""Names of the labels 0 … 5."""

SAME_PERSON = (("sele0121", "sele0122"), ("sele0124", "sele0126"))
"""Records of one person: they share a group, so that a split keeps them together."""

RATE = 250.0
"""Steps per second of all records (Hz)."""

_PUBLISHED = "https://raw.githubusercontent.com/byin-cwi/Efficient-spiking-networks/main/data"
FILES = {
    "QTDB_train.mat": (
        f"{_PUBLISHED}/QTDB_train.mat",
        "72d1a10c96f1540880447e07256835d66da419c0b34f3dff495731a7928c5bc7",
    ),
    "QTDB_test.mat": (
        f"{_PUBLISHED}/QTDB_test.mat",
        "916f11e21679a5b61988305bbb7cd1e6df8b34f1ed4a157a7a4e295d400ef232",
    ),
}
"""Encoded files: name -> (address, SHA-256)."""

RAW_URL = "https://physionet.org/files/qtdb/1.0.0/"
"""Folder of the raw records; its SHA256SUMS.txt is their registry."""

LICENCE = (
    "QT Database 1.0.0: Open Data Commons Attribution License v1.0 (ODC-BY 1.0). Cite the "
    "source when you publish results."
)
CITATION = (
    "P. Laguna, R. G. Mark, A. Goldberger, G. B. Moody: A database for evaluation of "
    "algorithms for measurement of QT and other waveform "
    "intervals in the ECG. Computers in Cardiology 24 (1997) 673-676. "
    "https://doi.org/10.13026/C24K53"
)

_RAW_FOLDERS = (
    "qtdb/1.0.0",
    "qtdb",
    "1.0.0",
    "qt-database-1.0.0",
    "physionet.org/files/qtdb/1.0.0",
    ".",
)
_RAW_SUFFIXES = (".hea", ".dat", ".q1c", ".q2c")
_BEATS = frozenset("NLRBAaJSVrFejnE/fQ?")
# the wave of a peak, numbered as in the num field of '(' and ')'
_PEAKS = {"p": 0, "t": 2, "u": 3} | dict.fromkeys(_BEATS, 1)


def encoded(root: str | Path, part: str) -> list[Sample]:
    """Read the published events: part "train" (618 sequences) or "test" (141), found as
    root/qtdb/QTDB_<part>.mat or root/QTDB_<part>.mat.

    signal: (1301, 4) events, channels lead a up, lead a down, lead b up, lead b down, in {0, 1} but
    for the published end marker -1 at (1300, channel 0); label: (1301,), `UNLABELLED` where the
    published row is all zero (8.2 % of train, 10.4 % of test; published results count those steps
    as class 0, P). Record and person are not known: group is "". Raises `DataError` for a missing,
    damaged or different file, `ConfigError` for another part, `SrnnError` without the extra "data".
    """
    check_choice("qtdb.encoded(part)", part, ("train", "test"))
    stem = f"QTDB_{part}"
    path = _fetch.find(root, f"qtdb/{stem}.mat", f"{stem}.mat", name="qtdb")
    x, y = _read_mat(path)
    labels = np.where(y.any(axis=2), y.argmax(axis=2), UNLABELLED).astype(np.int64)
    signals = x.astype(np.float32)
    return [
        Sample(s, l, RATE, f"{stem}/{i:04d}", events=True)
        for i, (s, l) in enumerate(zip(signals, labels, strict=True))
    ]


def _read_mat(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise SrnnError(
            'Reading MATLAB files needs scipy. Install it with: pip install "srnn[data]"'
        ) from error
    try:
        with path.open("rb") as file:
            start = file.read(16)
        _limit.check_matlab(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    again = (
        "\n  Delete it and get it anew with `srnn data fetch qtdb` (expected SHA-256 "
        f"{FILES[path.name][1]})."
    )
    if not start:
        raise DataError(f"{path} is empty.{again}")
    if not start.startswith(b"MATLAB"):
        raise DataError(f"{path} is not a MATLAB file: it starts with {start!r}.{again}")
    try:
        found = loadmat(path, variable_names=["x", "y"])
    # scipy lets whatever a damaged byte triggers pass: zlib, struct, type and value errors
    except Exception as error:
        raise DataError(
            f"{path} is truncated or damaged ({type(error).__name__}: {error}).{again}"
        ) from error
    missing = [name for name in ("x", "y") if name not in found]
    if missing:
        raise DataError(
            f"{path} has no variable {' and no '.join(missing)}; expected x (N, T, "
            f"4) events and y (N, T, 6) labels.{again}"
        )
    x, y = np.asarray(found["x"]), np.asarray(found["y"])
    if x.ndim != 3 or x.shape[2] != 4 or y.shape != (*x.shape[:2], len(CLASSES)) or 0 in x.shape:
        raise DataError(
            f"{path}: x has shape {x.shape} and y {y.shape}; expected (N, T, 4) and "
            f"(N, T, {len(CLASSES)}).{again}"
        )
    for name, a, allowed, what in (
        ("x", x, (-1, 0, 1), "events"),
        ("y", y, (0, 1), "one-hot labels"),
    ):
        if not np.isin(a, allowed).all():
            n, t, c = (int(i) for i in np.argwhere(~np.isin(a, allowed))[0])
            raise DataError(
                f"{path}: {name}[{n}, {t}, {c}] is {a[n, t, c]}; expected {what} in {allowed}."
            )
    ones = y.sum(axis=2, dtype=np.int64)
    if (ones > 1).any():
        n, t = (int(i) for i in np.argwhere(ones > 1)[0])
        raise DataError(
            f"{path}: y[{n}, {t}] names {ones[n, t]} classes; expected one, or none "
            "where nobody labelled."
        )
    return x, y


def records(root: str | Path) -> list[str]:
    """Return the names of the raw records that lie under root (root/qtdb/1.0.0, root/qtdb or root
    itself), sorted; 105 when complete.

    A record counts when its header and signal are both there. Raises `DataError` where there is
    none.
    """
    return sorted(p.stem for p in _raw_folder(root).glob("*.hea") if p.with_suffix(".dat").exists())


def _raw_folder(root: str | Path) -> Path:
    for folder in _RAW_FOLDERS:
        path = Path(root) / folder
        if any(p.with_suffix(".dat").exists() for p in path.glob("sel*.hea")):
            return path
    raise DataError(
        f"No raw QTDB records (sel*.hea with sel*.dat) in {root}, nor in its "
        f"{', '.join(_RAW_FOLDERS[:-1])}.\n"
        "  Get them with `srnn data fetch qtdb --raw`, or say where they lie with "
        "--data-dir or $SRNN_DATA."
    )


def read_record(root: str | Path, name: str, annotator: str = "q1c") -> Sample:
    """Read one raw record with its wave labels.

    signal: (T, 2), T about 225,000, in the unit of the header (mV nominally; ten records are
    uncalibrated and four carry an offset of 5.12 mV, so normalise each record); samples marked
    invalid are interpolated, their number is meta["interpolated"].
    label: (T,), `UNLABELLED` outside the annotated beats (q1c covers 30 to 100 beats of the last
    five minutes).
    meta: leads, units, r_peaks (steps) and beats (symbols) of the annotated beats. Raises
    `DataError` for a missing, damaged or unannotated record, `SrnnError` without the extra "data".
    """
    try:
        import wfdb
    except ImportError as error:
        raise SrnnError(
            'Reading raw ECG records needs wfdb. Install it with: pip install "srnn[data]"'
        ) from error
    folder = _raw_folder(root)
    for suffix in ("hea", "dat", annotator):
        if not (folder / f"{name}.{suffix}").is_file():
            known = records(root)
            raise DataError(
                f"{folder} has no {name}.{suffix}; {len(known)} records are there: "
                f"{', '.join(known[:8])}{' …' * (len(known) > 8)}"
            )
    try:
        header = wfdb.rdheader(str(folder / name))  # FLAC may hold far more than there are bytes
        _limit.check(folder / f"{name}.hea", 16 * int(header.sig_len or 0) * int(header.n_sig or 1))
        record = wfdb.rdrecord(str(folder / name))
        marks = wfdb.rdann(str(folder / name), annotator)
        leads = np.asarray(record.p_signal, dtype=np.float64)
        samples, nums = np.asarray(marks.sample), np.asarray(marks.num)
        if not all(isinstance(symbol, str) for symbol in marks.symbol):
            raise ValueError("a mark of the annotator has no symbol")
    # wfdb has no error of its own: a damaged byte shows as index, value or type error
    except Exception as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{folder / name} is truncated or damaged ({type(error).__name__}: {error}). "
            "Check it with `srnn data verify qtdb`."
        ) from error
    if leads.ndim != 2 or leads.shape[1] != 2 or record.fs != RATE:
        raise DataError(
            f"{folder / name}: {leads.shape} samples at {record.fs} Hz; expected (T, "
            f"2) at {RATE:g} Hz."
        )
    invalid = np.isnan(leads)
    for lead, bad in zip(leads.T, invalid.T, strict=True):
        if bad.all():
            raise DataError(f"{folder / name}: a lead holds no valid sample.")
        lead[bad] = np.interp(np.flatnonzero(bad), np.flatnonzero(~bad), lead[~bad])
    try:
        label = wave_labels(samples, marks.symbol, nums, len(leads))
    except DataError as error:
        raise DataError(f"{folder / name}.{annotator} does not fit its record: {error}") from error
    beat = [s in _BEATS for s in marks.symbol]
    return Sample(
        leads.astype(np.float32),
        label,
        RATE,
        name,
        group=next(("+".join(pair) for pair in SAME_PERSON if name in pair), name),
        meta={
            "leads": list(record.sig_name),
            "units": list(record.units),
            "r_peaks": samples[beat].astype(np.int64),
            "beats": "".join(s for s, b in zip(marks.symbol, beat, strict=True) if b),
            "interpolated": int(invalid.sum()),
        },
    )


def wave_labels(
    samples: Sequence[int] | NDArray[np.integer[Any]],
    symbols: Sequence[str],
    nums: Sequence[int] | NDArray[np.integer[Any]],
    length: int,
    gap: int = 750,
) -> NDArray[np.int64]:
    """Turn the marks of an annotator into one label a step: (length,), `UNLABELLED` wherever a mark
    that bounds the wave is missing.

    samples, symbols, nums: (M,) each, in order of time, as in the annotation file: '(' onset, ')'
    end, p, t, u and beat symbols at peaks. The num of a bracket tells its wave (0 P, 1 QRS, 2 T, 3
    U) if the annotator filled it in, that is, if it agrees with the peak beside nine brackets in
    ten; otherwise a '(' belongs to the peak that follows and a ')' to the one before. P and QRS
    onset belong to the next beat, QRS end and T to the one before. T onset is never needed; of two
    P waves before one beat the later counts. A beat without P leaves the steps from the T end
    before it to its QRS onset unlabelled, one without T those from its QRS end to the next P onset.
    Where a P wave begins before the T wave has ended, P wins.
    gap: beats further apart than this (steps; 750 = 3 s) are separate runs, with no TP between
    them. Raises `DataError` where the three differ in length, samples decrease, or one lies outside
    [0, length).
    """
    at = np.asarray(samples, dtype=np.int64)
    if not len(at) == len(symbols) == len(nums):
        raise DataError(
            f"wave_labels: {len(at)} samples, {len(symbols)} symbols and {len(nums)} "
            "nums; expected one of each a mark."
        )
    if len(at) and (at[0] < 0 or at[-1] >= length or (np.diff(at) < 0).any()):
        raise DataError(
            f"wave_labels: marks reach from {at.min()} to {at.max()}; expected "
            f"ascending steps in [0, {length})."
        )
    label = np.full(length, UNLABELLED, dtype=np.int64)
    before: dict[str, int] = {}
    for beat in _beats(at, symbols, nums):
        linked = "R" in before and beat["R"] - before["R"] <= gap
        spans = (
            ("TP", before.get("T end") if linked else None, beat.get("P on")),
            ("P", beat.get("P on"), beat.get("P end")),
            ("PQ", beat.get("P end"), beat.get("QRS on")),
            ("QR", beat.get("QRS on"), beat["R"]),
            ("RS", beat["R"], beat.get("QRS end")),
            ("ST", beat.get("QRS end"), beat.get("T end")),
        )
        for name, start, stop in spans:
            if start is not None and stop is not None:
                label[start:stop] = CLASSES.index(name)
        before = beat
    return label


def _beats(
    at: NDArray[np.int64], symbols: Sequence[str], nums: Sequence[int] | NDArray[np.integer[Any]]
) -> Iterator[dict[str, int]]:
    """Yield each beat's marks: R, and of "P on", "P end", "QRS on", "QRS end", "T end" those that
    are there.
    """
    marks = [
        (int(t), s, int(n))
        for t, s, n in zip(at, symbols, nums, strict=True)
        if s in _PEAKS or s in "()"
    ]
    beat: dict[str, int] = {}
    coming: dict[str, int] = {}  # marks of a beat whose R has not been seen
    for (t, symbol, _), wave in zip(marks, _waves(marks), strict=True):
        if symbol in _BEATS:
            if beat:
                yield beat
            beat, coming = {**coming, "R": t}, {}
        elif symbol == "(" and wave in (0, 1):
            coming["P on" if wave == 0 else "QRS on"] = t
        elif symbol == ")" and wave == 0:
            coming["P end"] = t
        elif symbol == ")" and wave in (1, 2) and beat:
            beat["QRS end" if wave == 1 else "T end"] = t
    if beat:
        yield beat


def _waves(marks: list[tuple[int, str, int]]) -> list[int]:
    """Tell the wave (0 P, 1 QRS, 2 T, 3 U) of each mark."""
    beside = {"(": 1, ")": -1}
    peaks = [_PEAKS.get(symbol) for _, symbol, _ in marks]
    near = [([*peaks, None])[i + beside.get(symbol, 0)] for i, (_, symbol, _) in enumerate(marks)]
    agree = [
        num == wave
        for (_, symbol, num), wave in zip(marks, near, strict=True)
        if symbol in beside and wave is not None
    ]
    filled_in = sum(agree) > 0.9 * len(agree)
    return [
        num if wave is None or (filled_in and symbol in beside) else wave
        for (_, symbol, num), wave in zip(marks, near, strict=True)
    ]


def segments(sample: Sample, steps: int = 1301) -> list[Sample]:
    """Cut the labelled part of a record into windows of `steps` steps, one after another from the
    first labelled step on.

    Windows without any label are dropped, and so is what no longer fits into the record; the last
    window may end in unlabelled steps. Each keeps signal (steps, C), labels, rate and group; name
    is "<record>/<first step>", meta gains "start", r_peaks count from it. Raises `ConfigError` for
    steps < 1, `DataError` where the labels are not one a step.
    """
    if steps < 1:
        raise ConfigError(f"qtdb.segments(steps) is {steps}; expected at least 1.")
    label = np.asarray(sample.label)
    if label.ndim != 1:
        raise DataError(
            f"{sample.name}: one label for the whole recording; segments needs one a step."
        )
    labelled = np.flatnonzero(label != UNLABELLED)
    if not labelled.size:
        return []
    cut = []
    for start in range(int(labelled[0]), min(int(labelled[-1]) + 1, len(label) - steps + 1), steps):
        window = slice(start, start + steps)
        if (label[window] == UNLABELLED).all():
            continue
        meta = {**sample.meta, "start": start}
        if "r_peaks" in meta:
            inside = (meta["r_peaks"] >= start) & (meta["r_peaks"] < start + steps)
            meta["r_peaks"] = meta["r_peaks"][inside] - start
            meta["beats"] = "".join(
                s for s, i in zip(meta.get("beats", ""), inside, strict=False) if i
            )
        name = f"{sample.name}/{start:06d}"
        cut.append(
            Sample(
                sample.signal[window],
                label[window].astype(np.int64),
                sample.rate,
                name,
                sample.group,
                sample.events,
                meta,
            )
        )
    return cut


def fetch(root: str | Path, raw: bool = False, raw_url: str = RAW_URL) -> list[Path]:
    """Download the encoded files into root/qtdb; with `raw`, the records (header, signal, q1c and
    q2c marks; about 75 MB) into root/qtdb/1.0.0.

    Files that are there and right are left alone, so that an interrupted download is resumed.
    Returns the paths. Raises `DataError` where the network, a checksum or the folder fails; see
    `_fetch.download`.
    """
    folder = Path(root) / "qtdb"
    if not raw:
        return [
            _fetch.download(url, checksum, folder / name) for name, (url, checksum) in FILES.items()
        ]
    folder /= "1.0.0"
    base = raw_url.rstrip("/") + "/"
    listing = folder / "SHA256SUMS.txt"
    _fetch.download(base + listing.name, None, listing)
    try:
        sums = _raw_sums(listing)
    except DataError:
        listing.unlink()
        raise
    return [
        _fetch.download(base + name, checksum, folder / name) for name, checksum in sums.items()
    ]


def _raw_sums(listing: Path) -> dict[str, str]:
    sums = _fetch.read_sums(listing.read_text(encoding="utf-8", errors="replace"))
    wanted = {
        name: checksum
        for name, checksum in sums.items()
        if name.startswith("sel") and name.endswith(_RAW_SUFFIXES)
    }
    if not wanted:
        raise DataError(
            f"{listing} lists {len(sums)} files, but no record sel*.hea. Is it the "
            "list of another data set?"
        )
    return wanted


def verify(root: str | Path) -> list[tuple[str, bool, str]]:
    """Compare the files under root with their checksums: (file, right?, what is wrong or "ok") for
    each that should be there.

    The two encoded files always count; raw records count where the checksum list that
    `fetch(raw=True)` stores is there.
    """
    expected = {}
    for name, (_, checksum) in FILES.items():
        nested, flat = Path(root) / "qtdb" / name, Path(root) / name
        expected[flat if flat.exists() and not nested.exists() else nested] = checksum
    rows = [
        row
        for path, checksum in expected.items()
        for row in _fetch.verify_files(path.parent, {path.name: checksum})
    ]
    listing = Path(root) / "qtdb" / "1.0.0" / "SHA256SUMS.txt"
    if listing.exists():
        try:
            rows += _fetch.verify_files(listing.parent, _raw_sums(listing))
        except DataError as error:
            rows.append((listing.name, False, str(error)))
    return rows


def made_up(root: str | Path, seed: int = 0) -> None:
    """Write made-up events in the published file format into root/qtdb: 40 sequences to train on,
    10 to test, each wave with events of its own.
    """
    from scipy.io import savemat

    folder, generator, steps = Path(root) / "qtdb", np.random.default_rng(seed), 300
    folder.mkdir(parents=True, exist_ok=True)
    lengths = (30, 14, 15, 11, 76, 73)  # median steps of each wave
    for stem, count in (("QTDB_train", 40), ("QTDB_test", 10)):
        cycle = np.repeat(np.arange(len(CLASSES)), lengths)
        label = np.array(
            [
                np.resize(np.roll(cycle, -int(shift)), steps)
                for shift in generator.integers(len(cycle), size=count)
            ]
        )
        chance = np.array(
            [
                [0.1, 0.02, 0.1, 0.02],
                [0.0] * 4,
                [0.6, 0.0, 0.3, 0.0],
                [0.0, 0.7, 0.0, 0.6],
                [0.05, 0.1, 0.1, 0.05],
                [0.0, 0.0, 0.0, 0.02],
            ]
        )
        x = (generator.random((count, steps, 4)) < chance[label]).astype(np.int16)
        x[:, -1, 0] = -1
        arrays = {"x": x, "y": np.eye(len(CLASSES), dtype=np.uint8)[label]}
        with _files.whole(folder / f"{stem}.mat") as file:
            savemat(file, arrays, do_compression=True)
