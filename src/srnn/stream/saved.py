"""The state of streams in a file: tensors as safetensors, what they belong to as JSON in its
metadata. No pickle.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from srnn import _tensors
from srnn._build import place
from srnn._check import RunError

if TYPE_CHECKING:
    from srnn.stream.stream import Stream

SCHEMA = 2
"""Version of the layout; 1, which had no checksum, is read as well."""


def write(path: Path, stream: Stream, more: dict[str, Any] | None = None) -> None:
    """Write the state of a stream; the file appears under its name only when whole.

    Raises `RunError` when it cannot be written.
    """
    tensors = {
        f"layer.{k}.{name}": v.contiguous()
        for k, part in enumerate(stream.state)
        for name, v in part.items()  # type: ignore[union-attr]
    }
    tensors |= {
        name: torch.from_numpy(np.ascontiguousarray(a).copy())
        for name, a in stream._memory().items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        place(_tensors.pack(tensors, {**_about(stream), **(more or {})}), path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from error


def read(path: Path, stream: Stream) -> dict[str, Any]:
    """Take over what `write` wrote; return its description.

    Raises `RunError` where the file is damaged or of another stream.
    """
    try:
        tensors, about = _tensors.unpack(path, {"schema": int}, unchecked=1)
    except (OSError, ValueError) as error:  # a missing or damaged file, or one of somebody else
        raise RunError(
            f"{path} is no saved state of a stream, or is damaged: "
            f"{str(error) or type(error).__name__}."
        ) from error
    for name, wanted in _about(stream).items():
        if about.get(name) != wanted and not (name == "schema" and about["schema"] == 1):
            raise RunError(
                f"{path}: {name} is {about.get(name)}, this stream has {wanted}. Load "
                "it into a stream of the same network and settings."
            )
    memory = stream._memory()
    own = {
        f"layer.{k}.{name}": (tuple(v.shape), v.dtype)
        for k, part in enumerate(stream.state)
        for name, v in part.items()  # type: ignore[union-attr]
    }
    own |= {name: (a.shape, torch.from_numpy(a).dtype) for name, a in memory.items()}
    got = {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()}
    if got != own:
        raise RunError(
            f"{path} holds tensors of other names, shapes or types than this stream has. Was "
            "it made by another version of the package?"
        )
    _check_values(path, stream, tensors)
    stream.state = tuple(
        {str(name): tensors[f"layer.{k}.{name}"] for name in part}
        for k, part in enumerate(stream.state)
    )
    for name, array in memory.items():
        array[...] = tensors[name].numpy()
    return dict(about)


def _check_values(path: Path, stream: Stream, tensors: dict[str, Tensor]) -> None:
    """Raise `RunError` for a number no stream has: not finite, or a class or step that is none.

    A pool starts at -inf where it keeps the largest score.
    """
    for name, tensor in tensors.items():
        least, most = -math.inf, math.inf
        if not tensor.is_floating_point():
            classes = name in ("watch.label", "watch.sure", "watch.decided")
            least = 0 if name.startswith("pool.") else -1
            most = stream.classes - 1 if classes else 2**62
        wrong = (tensor < least) | (tensor > most) | tensor.isnan()
        if name.startswith("layer."):
            wrong |= tensor.isinf()
        if bool(wrong.any()):
            raise RunError(
                f"{path}: {name} holds {tensor[wrong][0].item()}, which no stream has. The file is "
                "damaged; begin anew without it."
            )


def _about(stream: Stream) -> dict[str, Any]:
    """Return what a saved state must have in common with the stream it is loaded into."""
    layers = [{name: list(v.shape[1:]) for name, v in part.items()} for part in stream.state]  # type: ignore[union-attr]
    watch = {"threshold": stream._watch.threshold, "hold": stream._watch.hold}
    sizes = {
        "batch": stream.batch,
        "inputs": stream.inputs,
        "classes": stream.classes,
        "dtype": str(stream._engine.dtype),
    }
    return {
        "schema": SCHEMA,
        "layers": layers,
        **sizes,
        "decision": asdict(stream.decision),
        **watch,
    }
