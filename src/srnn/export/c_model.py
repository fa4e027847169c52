"""Export to C99: `to_c` writes a network as model.h, model.c, an example main.c and a Makefile."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from srnn._check import ConfigError
from srnn.export.c_float import float_source
from srnn.export.described import check_finite_numbers, described
from srnn.export.model import CModel, checked_name, files, write
from srnn.networks import Stack


def to_c(
    net: Stack, folder: str | Path, *, name: str = "model", bits: int | None = None, sparse: bool | None = None, calibration: Tensor | None = None
) -> CModel:
    """Write a network as C99 into a folder and return what was written.

    name: of files, functions and types. bits: None = float weights and state; 8 or 4 = integer weights of so many bits, integer state, no float
    anywhere. sparse: store only weights that are not zero; None = matrix by matrix, where that takes fewer bytes.
    calibration: (B, T, C) recordings that show which values occur; integer models need it.
    Raises `ConfigError` naming a part that has no form in C, and why.
    """
    checked_name(name)
    layers = described(net)
    check_finite_numbers(layers)
    if bits is not None:
        raise ConfigError("not yet")
    source = float_source(layers, sparse)
    write(Path(folder), files(name, source, layers))
    return CModel(
        Path(folder), name, bits, layers[0].inputs, tuple(x.neurons for x in layers), tuple(x.binary for x in layers), sum(t.bytes for t in source.tables)
    )
