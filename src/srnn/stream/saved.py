"""The state of streams in a file: tensors as safetensors, what they belong to as JSON in its
metadata. No pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from srnn._build import place
from srnn._check import RunError
from srnn.nn.networks import NetworkState

SCHEMA = 1
"""Version of the layout."""

Memory = dict[str, NDArray[Any]]
"""The arrays of a stream's decision, by name."""


def write(path: Path, state: NetworkState, memory: Memory, about: Mapping[str, Any]) -> None:
    """Write the state of a stream's network, its memory, and what they belong to; the file appears
    under its name only when whole.

    Raises `RunError` when it cannot be written.
    """
    tensors = {name: v.contiguous() for name, v in _named(state).items()}
    for name, array in memory.items():
        tensors[name] = torch.from_numpy(np.ascontiguousarray(array).copy())
    described = json.dumps({"schema": SCHEMA, **about})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        place(save(tensors, metadata={"srnn": described}), path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from error


def read(
    path: Path, state: NetworkState, memory: Memory, about: Mapping[str, Any]
) -> tuple[NetworkState, Memory]:
    """Return state and memory that `write` wrote, for a stream that has these now.

    Raises `RunError` where the file is damaged or of another stream.
    """
    try:
        with safe_open(path, "pt") as file:
            written = json.loads((file.metadata() or {})["srnn"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except Exception as error:  # a missing or damaged file, or one of somebody else
        raise RunError(
            f"{path} is no saved state of a stream, or is damaged: "
            f"{str(error) or type(error).__name__}."
        ) from error
    for name, wanted in {"schema": SCHEMA, **about}.items():
        if written.get(name) != wanted:
            raise RunError(
                f"{path}: {name} is {written.get(name)}, this stream has {wanted}. "
                "Load it into a stream of the same network and settings."
            )
    own = {name: tuple(v.shape) for name, v in (_named(state) | memory).items()}
    if own != {name: tuple(t.shape) for name, t in tensors.items()}:
        raise RunError(
            f"{path} holds tensors of other names or shapes than this stream has. "
            "Was it made by another version of the package?"
        )
    parts = tuple(
        {str(name): tensors[f"layer.{k}.{name}"] for name in part} for k, part in enumerate(state)
    )
    return parts, {name: tensors[name].numpy().astype(a.dtype) for name, a in memory.items()}


def _named(state: NetworkState) -> dict[str, Tensor]:
    return {
        f"layer.{k}.{name}": v
        for k, part in enumerate(state)
        for name, v in part.items()  # type: ignore[union-attr]
    }
