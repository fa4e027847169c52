"""The data sets that can be fetched and verified, by the names of their modules."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from srnn._check import ConfigError, suggest

NAMES = ("fsdd", "hd", "mnist", "qtdb", "shd", "soli", "speech_commands", "ssc", "timit")
"""All data sets with files."""

_SIGNS = {
    "fsdd": ("fsdd/recordings/*.wav", "fsdd/*/recordings/*.wav"),
    "hd": ("hd/audio/*.flac", "hd_audio/audio/*.flac"),
    "mnist": ("mnist/*images*", "MNIST/raw/*images*"),
    "qtdb": ("qtdb/QTDB_*.mat", "qtdb/1.0.0/*.hea", "qtdb/*.hea", "QTDB_*.mat"),
    "shd": ("shd/shd_*.h5", "SHD/shd_*.h5"),
    "soli": ("soli/dsp/*.h5", "soli/*.h5", "soli/SoliData/dsp/*.h5", "SoLi/dsp/*.h5"),
    "speech_commands": (
        "speech_commands/validation_list.txt",
        "speech_commands/*/validation_list.txt",
        "speech_commands_v*/validation_list.txt",
    ),
    "ssc": ("ssc/ssc_*.h5", "SSC/ssc_*.h5"),
    "timit": ("timit/*", "TIMIT/*"),
}


def load(name: str) -> ModuleType:
    """Return the module of a data set, with `fetch`, `verify`, `LICENCE` and `CITATION`.

    Raises `ConfigError` with the known names.
    """
    if name not in NAMES:
        raise ConfigError(f"There is no data set {name!r}.{suggest(name, NAMES)}")
    from srnn.datasets import fsdd, hd, mnist, qtdb, shd, soli, speech_commands, ssc, timit

    found = (fsdd, hd, mnist, qtdb, shd, soli, speech_commands, ssc, timit)
    return dict(zip(NAMES, found, strict=True))[name]


def present(name: str, root: Path) -> bool:
    """Return whether files of that data set lie under root.

    A glance: `verify` of its module looks closely.
    """
    return any(next(root.glob(sign), None) is not None for sign in _SIGNS[name])
