"""The state of streams in a file: tensors as safetensors with a checksum, what they belong to as
JSON in its metadata. No pickle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from srnn._build import place
from srnn._check import RunError
from srnn._files import _tensors

SCHEMA = 2
"""Version of the layout; 1, which had no checksum, is read as well."""


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a state; the file appears under its name only when whole.

    Raises `RunError` when it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        place(_tensors.pack(dict(tensors), {"schema": SCHEMA, **about}), path)
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
        tensors, found = _tensors.unpack(path, {"schema": int}, unchecked=1)
    except (OSError, ValueError) as error:  # a missing or damaged file, or one of somebody else
        raise RunError(
            f"{path} is no saved state of a stream, or is damaged: "
            f"{str(error) or type(error).__name__}."
        ) from error
    for name, wanted in {"schema": SCHEMA, **about}.items():
        if found.get(name) != wanted and not (name == "schema" and found["schema"] == 1):
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
    for name, tensor in tensors.items():
        _check_values(path, name, tensor, about["classes"])
    return tensors, found


def _check_values(path: Path, name: str, tensor: Tensor, classes: int) -> None:
    """Raise `RunError` for a number no stream has: not finite, or a class or step that is none.

    A pool starts at -inf where it keeps the largest score.
    """
    if tensor.is_complex():
        tensor = tensor.view(tensor.real.dtype)
    least, most = -math.inf, math.inf
    if not tensor.is_floating_point():
        of_classes = name in ("watch.label", "watch.sure", "watch.decided")
        least = 0 if name.startswith("pool.") else -1
        most = classes - 1 if of_classes else 2**62
    wrong = (tensor < least) | (tensor > most) | tensor.isnan()
    if name.startswith("layer."):
        wrong |= tensor.isinf()
    if bool(wrong.any()):
        raise RunError(
            f"{path}: {name} holds {tensor[wrong][0].item()}, which no stream has. The file is "
            "damaged; begin anew without it."
        )
