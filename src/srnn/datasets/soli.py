"""Deep Soli: range-Doppler images of a 60 GHz radar, eleven hand gestures, 2,750 sequences of ten
people (Wang et al. 2016).

One HDF5 file a sequence, `<gesture>_<session>_<instance>.h5`: ch0 … ch3 (n, 1024) float32, one 32 x
32 image a frame, nominally in [0, 1], and label, one integer a frame. Gesture 11 is background (no
hand) and is left out. The published split of the sequences, config/file_half.json of the authors'
repository, has the parts "train" (1,386) and "eval" (1,364); it is random over people, each of whom
is in both parts.

Yin et al. 2021 read channel 3 of the authors' 8-bit images in windows of 40 frames; that is what
`read` gives unless told otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srnn import _files
from srnn._check import ConfigError, DataError, SrnnError, check_choice, check_range
from srnn._files import _json, _limit
from srnn.datasets import _fetch
from srnn.datasets.sample import Entry, Recordings, Sample

CLASSES = (
    "pinch index",
    "palm tilt",
    "finger slider",
    "pinch pinky",
    "slow swipe",
    "fast swipe",
    "push",
    "pull",
    "finger rub",
    "circle",
    "palm hold",
)
"""Names of the gestures 0 … 10, in the order of the file names; the tables of the paper have
another order.
"""

PIXELS = 1024
"""Values of one image, 32 x 32."""

RATE = 40.0
"""Frames per second that samples state.

Neither the paper's code nor the files tell the frame rate: this is a nominal figure.
"""

URL = "https://polybox.ethz.ch/index.php/s/wG93iTUdvRU8EaT/download"
SPLIT_URL = "https://raw.githubusercontent.com/simonwsw/deep-soli/master/config/file_half.json"
PUBLISHED = {"train": 1386, "eval": 1364}
"""Sequences of the published split."""

LICENCE = (
    "Deep Soli: the authors' code and split file are under the MIT licence; for the "
    "recordings no licence is stated. Cite the source."
)
CITATION = (
    "S. Wang, J. Song, J. Lien, I. Poupyrev, O. Hilliges: Interacting with Soli: Exploring "
    "Fine-Grained Dynamic Gesture Recognition in the "
    "Radio-Frequency Spectrum. UIST 2016, 851-860. https://doi.org/10.1145/2984511.2984565"
)
_BACKGROUND = len(CLASSES)
_SPLIT = "file_half.json"
_TOPS = ("soli", "SoLi", "SoliData", ".")
_FOLDERS = [f"{top}/{below}" for top in _TOPS for below in ("dsp", "SoliData/dsp", "SoliData", ".")]
_SPLITS = [
    f"{top}/{below}{_SPLIT}"
    for top in _TOPS
    for below in ("", "config/", "deep-soli/config/", "dsp/")
]


def read(
    root: str | Path,
    part: str,
    channels: Sequence[int] = (3,),
    *,
    first_frame: int = 1,
    quantise: bool = True,
    window: int | None = 40,
    split: str | Path | None = None,
) -> Recordings[Sample]:
    """Return the windows of part "train" or "eval", each with a signal (window, 1024 · channels)
    float32 and its gesture as label.

    channels:    which of 0 … 3, side by side in this order.
    first_frame: frames before it are left out; the authors drop frame 0.
    quantise:    clip to [0, 1] and round to multiples of 1/255, as the authors' 8-bit images do
                 (but for what JPEG adds); else values as stored.
    window:      frames. As published, a sequence of l < window frames is repeated until it fills
                 one window; a longer one gives l // window + 1, back to back from its start, the
                 last one ending with the sequence. Where window divides l the last one is the one
                 before it once more: it is kept, as it counts in the published 2,893 training
                 windows. None: whole sequences, one sample each.
    split:       the split file; default: file_half.json in root/soli, root/soli/config, or beside
                 the data.

    Samples are read when asked for; group is the session (the person), name "<sequence>/<window>",
    meta "sequence" and "start" (in frames from first_frame on). Raises `DataError` for missing or
    damaged files, `ConfigError` for other settings, `SrnnError` without the extra "data".
    """
    check_choice("soli.read(part)", part, tuple(PUBLISHED))
    check_range("soli.read(first_frame)", first_frame, 0)
    if window is not None:
        check_range("soli.read(window)", window, 1)
    if not channels or len(set(channels)) != len(channels) or not set(channels) <= {0, 1, 2, 3}:
        raise ConfigError(
            f"soli.read(channels) is {channels!r}; expected some of 0, 1, 2, 3, each once."
        )
    entries = []
    for path in _paths(root, split)[part]:
        gesture, session, _ = _parts(path.stem)
        frames = _length(path, channels) - first_frame
        if frames < 1:
            raise DataError(
                f"{path} has {frames + first_frame} frames; expected more than "
                f"first_frame = {first_frame}."
            )
        size = path.stat().st_size
        for i, start in enumerate([0] if window is None else _starts(frames, window)):
            entries.append(Entry(f"{path.stem}/{i}", gesture, str(session), (path, start), size))

    def sample(entry: Entry) -> Sample:
        path, start = entry.at
        low = first_frame + start
        signal = _images(path, channels, low, None if window is None else low + window, quantise)
        if window is not None:
            signal = signal[np.arange(window) % len(signal)]
        return Sample(
            signal,
            _parts(path.stem)[0],
            RATE,
            entry.name,
            entry.group,
            meta={"sequence": path.stem, "start": start},
        )

    return Recordings(entries, sample)


def _starts(frames: int, window: int) -> list[int]:
    """First frames of the published windows."""
    if frames < window:
        return [0]
    return [*range(0, frames - frames % window, window), frames - window]


# -- which files -----------------------------------------------------------------------------------


def _paths(root: str | Path, split: str | Path | None = None) -> dict[str, list[Path]]:
    """Return the files of each part, in the order of the split file, without background.

    Raises `DataError` where one is missing.
    """
    parts = _read_split(Path(split) if split is not None else _split_file(root))
    folder = _folder(root)
    paths = {part: [folder / f"{name}.h5" for name in names] for part, names in parts.items()}
    missing = [path.name for files in paths.values() for path in files if not path.is_file()]
    if missing:
        total = sum(map(len, paths.values()))
        raise DataError(
            f"{folder} lacks {len(missing)} of the {total} sequences that the split file "
            f"names: {', '.join(missing[:4])}{' …' * (len(missing) > 4)}\n"
            "  Unpack the archive anew, or get it with `srnn data fetch soli`."
        )
    return paths


def _split_file(root: str | Path) -> Path:
    for place in _SPLITS:
        if (path := Path(root) / place).is_file():
            return path
    return _fetch.find(root, _SPLITS[0], _SPLITS[1], name="soli")


def _folder(root: str | Path) -> Path:
    for folder in _FOLDERS:
        path = Path(root) / folder
        if next(path.glob("[0-9]*_*_*.h5"), None) is not None:
            return path
    raise DataError(
        f"No Deep Soli sequences (<gesture>_<session>_<instance>.h5) in {root}; looked in "
        "its soli, SoLi and SoliData, in itself, "
        "and everywhere also in dsp, SoliData and SoliData/dsp.\n"
        "  Get them with `srnn data fetch soli`, or say where they lie with --data-dir or "
        "$SRNN_DATA."
    )


def _read_split(path: Path) -> dict[str, list[str]]:
    """Return the sequences of each part, without ".h5" and without background."""
    try:
        stored = _json.read(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as JSON ({error}). Get it anew with `srnn data fetch soli`."
        ) from error
    if not isinstance(stored, dict) or not all(
        isinstance(stored.get(part), list) and stored[part] for part in PUBLISHED
    ):
        raise DataError(
            f"{path} is no split file; expected lists of sequences as "
            f"{' and '.join(map(repr, PUBLISHED))}."
        )
    where: dict[str, str] = {}
    parts: dict[str, list[str]] = {part: [] for part in PUBLISHED}
    for part, names in parts.items():
        for stem in (str(name).removesuffix(".h5") for name in stored[part]):
            try:
                gesture, *_ = _parts(stem)
            except DataError as error:
                raise DataError(f"{path}, part {part!r}: {error}") from error
            if stem in where:
                raise DataError(
                    f"{path} names the sequence {stem} twice, in {where[stem]!r} and "
                    f"in {part!r}; expected each once."
                )
            where[stem] = part
            if gesture != _BACKGROUND:
                names.append(stem)
    return parts


def _parts(stem: str) -> tuple[int, int, int]:
    """Gesture, session and instance of a sequence."""
    match = re.fullmatch(r"(\d{1,2})_(\d{1,4})_(\d{1,6})", stem)
    if match is None or int(match[1]) > _BACKGROUND:
        raise DataError(
            f"{stem!r} is not the name of a sequence; expected <gesture 0 … "
            f"{_BACKGROUND}>_<session>_<instance>."
        )
    return int(match[1]), int(match[2]), int(match[3])


# -- one file --------------------------------------------------------------------------------------


def _open(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise SrnnError(
            'Reading Deep Soli needs h5py. Install it with: pip install "srnn[data]"'
        ) from error
    return h5py.File(path, "r")


def _length(path: Path, channels: Sequence[int]) -> int:
    """Return the frames of a sequence, having looked at the shapes in its file."""
    try:
        with _open(path) as file:
            missing = [
                name for name in (*(f"ch{c}" for c in channels), "label") if name not in file
            ]
            if missing:
                raise DataError(
                    f"{path} has no {' and no '.join(missing)}; it has "
                    f"{', '.join(sorted(file)) or 'nothing'}."
                )
            for name in (*(f"ch{c}" for c in channels), "label"):
                _limit.check_dataset(path, file[name])
                if file[name].external or file[name].is_virtual:
                    raise DataError(
                        f"{path}: {name} refers to another file; expected its content here. Do "
                        "not trust this file."
                    )
            shapes, label = {c: file[f"ch{c}"].shape for c in channels}, file["label"].shape
    except SrnnError:
        raise
    except Exception as error:
        raise _damaged(path, error) from error
    frames = next(iter(shapes.values()))[:1]
    for channel, shape in shapes.items():
        if shape != (*frames, PIXELS):
            raise DataError(
                f"{path}: ch{channel} has shape {shape}; expected (frames, "
                f"{PIXELS}), as many frames in each channel."
            )
    if label not in (frames, (*frames, 1)):
        raise DataError(
            f"{path}: label has shape {label} for {frames[0]} frames; expected one a frame."
        )
    return int(frames[0])


def _images(
    path: Path, channels: Sequence[int], low: int, high: int | None, quantise: bool
) -> NDArray[np.float32]:
    """Read frames low … high - 1 (those there are) of some channels: (frames, 1024 · channels)."""
    try:
        with _open(path) as file:
            images = np.concatenate(
                [np.asarray(file[f"ch{c}"][low:high], dtype=np.float32) for c in channels], axis=1
            )
    except SrnnError:
        raise
    except Exception as error:
        raise _damaged(path, error) from error
    if not np.isfinite(images).all():
        t, i = (int(k) for k in np.argwhere(~np.isfinite(images))[0])
        raise DataError(
            f"{path}: ch{channels[i // PIXELS]} is {images[t, i]} in frame "
            f"{low + t}, pixel {i % PIXELS}; expected finite numbers."
        )
    if quantise:
        images = np.rint(images.clip(0, 1) * np.float32(255)) / np.float32(255)
    return images.astype(np.float32, copy=False)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is truncated, damaged or not HDF5 ({type(error).__name__}: "
        f"{error}). Unpack the archive anew."
    )


# -- getting and checking it -----------------------------------------------------------------------


def fetch(root: str | Path, url: str = URL, split_url: str = SPLIT_URL) -> list[Path]:
    """Download the split file and the sequences into root/soli, unless they are there, and return
    their paths.

    No checksums are published: the sequences are compared with the names in the split file. Raises
    `DataError`, with the way to do it by hand, where the share or the repository does not answer.
    """
    folder = Path(root) / "soli"
    by_hand = (
        f"  By hand: open {url.removesuffix('/download')} in a browser, unpack what it "
        f"gives into {folder} so that the sequences\n"
        f"  lie in {folder / 'dsp'}, and put {split_url} there as {folder / _SPLIT}."
    )
    try:
        split = _fetch_split(root, split_url)
        try:
            paths = _paths(root, split)
        except DataError:
            _fetch.fetch_archive(
                url, None, folder, name="SoliData.zip", members=lambda name: name.endswith(".h5")
            )
            paths = _paths(root, split)
    except DataError as error:
        raise DataError(f"{error}\n{by_hand}") from error
    return [split, *(path for files in paths.values() for path in files)]


def _fetch_split(root: str | Path, url: str) -> Path:
    """Return the split file, got if need be; a wrong one that was got now does not stay."""
    try:
        path = _split_file(root)
    except DataError:
        path = _fetch.download(url, None, Path(root) / "soli" / _SPLIT)
        try:
            _read_split(path)
        except DataError:
            path.unlink()
            raise
    else:
        _read_split(path)
    return path


def verify(root: str | Path) -> list[tuple[str, bool, str]]:
    """Compare the split file with the published counts and read every sequence: (file, right?, what
    is wrong or "ok") for the split file, for the folder as a whole, and for each damaged sequence.
    """
    try:
        split = _split_file(root)
        counts = {part: len(names) for part, names in _read_split(split).items()}
    except DataError as error:
        return [(_SPLIT, False, str(error))]
    named = (
        f"{split} names {counts['train']} + {counts['eval']} sequences; the published one "
        f"names {PUBLISHED['train']} + {PUBLISHED['eval']}"
    )
    rows = [(_SPLIT, counts == PUBLISHED, "ok" if counts == PUBLISHED else named)]
    try:
        paths = [path for files in _paths(root, split).values() for path in files]
    except DataError as error:
        return [*rows, ("dsp", False, str(error))]
    damaged = [(path.name, False, wrong) for path in paths if (wrong := _wrong(path))]
    rows.append(
        (
            "dsp",
            not damaged,
            f"{len(damaged)} of {len(paths)} sequences are damaged" if damaged else "ok",
        )
    )
    return rows + damaged


def _wrong(path: Path) -> str | None:
    try:
        _length(path, range(4))
        _images(path, range(4), 0, None, quantise=False)
    except DataError as error:
        return str(error)
    return None


def made_up(root: str | Path, seed: int = 0) -> None:
    """Write made-up sequences in the true format into root/soli: 11 gestures x 4 sessions x 2
    instances, one of which is to train, 10 to 50 frames.

    A gesture is a spot that moves in a direction of its own from a place of its own, a little off
    for each session. Channels 1 to 3 are the same at other strengths.
    """
    try:
        import h5py
    except ImportError as error:
        raise SrnnError(
            'Writing HDF5 needs h5py. Install it with: pip install "srnn[data]"'
        ) from error
    generator, folder = np.random.default_rng(seed), Path(root) / "soli"
    (folder / "dsp").mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[str]] = {part: [] for part in PUBLISHED}
    y, x = np.mgrid[:32, :32]
    for gesture in range(len(CLASSES)):
        for session in (2, 3, 5, 6):
            for instance, names in enumerate(parts.values()):
                frames, angle = int(generator.integers(10, 51)), 2 * np.pi * gesture / len(CLASSES)
                along = np.linspace(-1, 1, frames)[:, None, None]
                off = generator.normal(0, 0.5, 2) + session % 3
                across = 10 * np.array([np.cos(angle), np.sin(angle)])
                spot = (y - 15 - off[0] - across[0] * along) ** 2 + (
                    x - 15 - off[1] - across[1] * along
                ) ** 2
                # few levels, so that it packs well
                images = (
                    np.rint(2 * np.exp(-spot / 4)).reshape(frames, PIXELS).astype(np.float32) / 2
                )
                names.append(f"{gesture}_{session}_{instance}")
                with (
                    _files.whole(folder / "dsp" / f"{names[-1]}.h5") as made,
                    h5py.File(made.name, "w", libver="latest") as file,
                ):
                    for channel, strength in enumerate((1.0, 0.75, 0.5, 1.0)):
                        data = images * np.float32(strength)
                        file.create_dataset(
                            f"ch{channel}",
                            data=data,
                            compression="gzip",
                            compression_opts=9,
                            shuffle=True,
                            chunks=(frames, PIXELS),
                        )
                    file.create_dataset("label", data=np.full((frames, 1), gesture, np.int32))
    _files.write(folder / _SPLIT, json.dumps(parts))
