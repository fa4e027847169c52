"""Files that appear whole under their name or not at all, and tensors with a checksum.

Whatever the package keeps is written here: under a new name beside the old file, then renamed, so
that a symbolic link in its place is replaced and never followed.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def write(path: Path, content: bytes) -> None:
    """Write a file: under a name of its own, flushed to disk, then renamed. Raises `OSError`."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o644)
        os.replace(part, path)
    finally:
        Path(part).unlink(missing_ok=True)


def pack(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> bytes:
    """Return tensors and what they are, JSON, as one safetensors file with a checksum."""
    from safetensors.torch import save

    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    text = json.dumps(about, allow_nan=False)
    return save(plain, metadata={"srnn": text, "sha256": checksum(plain, text)})


def unpack(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], bool]:
    """Return what `pack` made, and whether its checksum was there, and so compared.

    Raises `OSError` where the file cannot be read, `ValueError` with the reason where it is not
    one of these, or is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = metadata["srnn"]
        about = json.loads(text)
    except (SafetensorError, RecursionError, KeyError, TypeError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if not isinstance(about, dict):
        raise ValueError(f"its description is a {type(about).__name__}, expected an object")
    if "sha256" in metadata and metadata["sha256"] != checksum(tensors, text):
        raise ValueError("its checksum does not agree")
    return tensors, about, "sha256" in metadata


def checksum(tensors: Mapping[str, Tensor], about: str) -> str:
    """Return a SHA-256 over the names, types, shapes and bytes of tensors, and the text beside
    them.
    """
    import torch

    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
