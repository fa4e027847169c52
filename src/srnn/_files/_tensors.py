"""Tensors with JSON beside them in one safetensors file, with a checksum over both. No pickle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srnn._files import _json


def pack(tensors: dict[str, Tensor], about: dict[str, Any]) -> bytes:
    """Return the file."""
    from safetensors.torch import save

    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    text = json.dumps(about, allow_nan=False)
    return save(plain, metadata={"srnn": text, "sha256": checksum(plain, text)})


def unpack(path: Path, wanted: Any, unchecked: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, JSON).

    wanted: what the JSON must be, for `_json.parse`; its "schema" is a whole number. unchecked: the
    schemas up to this one may have no checksum. Raises ValueError where the file is damaged, and
    OSError.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if "srnn" not in metadata:
        raise ValueError("it has no metadata entry srnn")
    about: dict[str, Any] = _json.parse(metadata["srnn"], wanted)
    needed = about["schema"] > unchecked or "sha256" in metadata
    if needed and metadata.get("sha256") != checksum(tensors, metadata["srnn"]):
        raise ValueError("its checksum does not agree")
    return tensors, about


def checksum(tensors: dict[str, Tensor], about: str) -> str:
    """Return a SHA-256 over the names, types, shapes and bytes of tensors, and the text beside
    them.
    """
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(
            tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            if tensor.numel()
            else b""
        )
    return digest.hexdigest()
