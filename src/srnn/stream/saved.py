"""The state of streams in a file: tensors as safetensors with a checksum, what they belong to as
JSON in its metadata. No pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from srnn import _files
from srnn._check import RunError

SCHEMA = 1
"""Version of the layout."""


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a state; the file appears under its name only when whole.

    Raises `RunError` when it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _files.write(path, _files.pack(tensors, {"schema": SCHEMA, **about}))
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from error


def read(
    path: Path, like: Mapping[str, Tensor], about: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what `write` wrote: the tensors, and all of their description.

    like: tensors of the names, shapes and types that are expected; about: what the description must
    say. Raises `RunError` where the file is damaged or of another stream.
    """
    try:
        tensors, found, _ = _files.unpack(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is no saved state of a stream, or is damaged: {error}.") from error
    for name, wanted in {"schema": SCHEMA, **about}.items():
        if found.get(name) != wanted:
            raise RunError(
                f"{path}: {name} is {found.get(name)}, this stream has {wanted}. Load it into a "
                "stream of the same network and settings."
            )
    own, got = (
        {name: (tuple(t.shape), t.dtype) for name, t in given.items()} for given in (like, tensors)
    )
    if got != own:
        raise RunError(
            f"{path} holds tensors of other names, shapes or types than this stream has. Was it "
            "made by another version of the package?"
        )
    return tensors, found
