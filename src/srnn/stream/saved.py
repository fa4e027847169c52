"""The state of streams in a file: tensors as safetensors, what they belong to as JSON in its
metadata. No pickle.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from srnn._build import place
from srnn._check import RunError
from srnn.kernels.pairs import join, split

if TYPE_CHECKING:
    from srnn.stream.stream import Stream

SCHEMA = 1
"""Version of the layout."""


def write(path: Path, stream: Stream, more: dict[str, Any] | None = None) -> None:
    """Write the state of a stream; the file appears under its name only when whole.

    Raises `RunError` when it cannot be written.
    """
    tensors = {
        f"layer.{k}.{name}": v.contiguous()
        for k, part in enumerate(stream.state)
        for name, v in split(part).items()  # type: ignore[arg-type]
    }
    tensors |= {
        name: torch.from_numpy(np.ascontiguousarray(a).copy())
        for name, a in stream._memory().items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        place(
            save(tensors, metadata={"srnn": json.dumps({**_about(stream), **(more or {})})}), path
        )
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from error


def read(path: Path, stream: Stream) -> dict[str, Any]:
    """Take over what `write` wrote; return its description.

    Raises `RunError` where the file is damaged or of another stream.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["srnn"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except Exception as error:  # a missing or damaged file, or one of somebody else
        raise RunError(
            f"{path} is no saved state of a stream, or is damaged: "
            f"{str(error) or type(error).__name__}."
        ) from error
    for name, wanted in _about(stream).items():
        if about.get(name) != wanted:
            raise RunError(
                f"{path}: {name} is {about.get(name)}, this stream has {wanted}. Load "
                "it into a stream of the same network and settings."
            )
    memory = stream._memory()
    own = {
        f"layer.{k}.{name}": tuple(v.shape)
        for k, part in enumerate(stream.state)
        for name, v in split(part).items()  # type: ignore[arg-type]
    }
    own |= {name: a.shape for name, a in memory.items()}
    got = {name: tuple(t.shape) for name, t in tensors.items()}
    if got != own:
        raise RunError(
            f"{path} holds tensors of other names or shapes than this stream has. Was "
            "it made by another version of the package?"
        )
    stream.state = tuple(
        join({name: tensors[f"layer.{k}.{name}"] for name in split(part)})  # type: ignore[arg-type]
        for k, part in enumerate(stream.state)
    )
    for name, array in memory.items():
        array[...] = _as(tensors[name], array)
    return dict(about)


def _as(tensor: Tensor, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return tensor.numpy().astype(array.dtype)


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
