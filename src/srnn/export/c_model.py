"""Export to C99: `to_c` writes a network as model.h, model.c, an example main.c and a Makefile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from srnn._check import ConfigError, check_instance
from srnn.export.c_float import float_source
from srnn.export.c_integer import integer_source
from srnn.export.described import Described, check_finite_numbers, described
from srnn.export.integer import IntegerLayer, IntegerStack, Numbers, to_integer
from srnn.export.model import CModel, Source, checked_name, files, write
from srnn.nn.networks import Stack


def to_c(
    net: Stack | IntegerStack,
    folder: str | Path,
    *,
    name: str = "model",
    bits: int | None = None,
    sparse: bool | None = None,
    calibration: Tensor | None = None,
) -> CModel:
    """Write a network as C99 into a folder and return what was written.

    net: a network, or one that is in whole numbers already (`to_integer`). name: of files,
    functions and types.
    bits: None = float weights and state; 8 or 4 = integer weights of so many bits, integer state,
    no float anywhere.
    sparse: store only weights that are not zero; None = matrix by matrix, where that takes fewer
    bytes.
    calibration: (B, T, C) recordings that show which values occur; integer models need it.
    Raises `ConfigError` naming a part that has no form in C, and why.
    """
    check_instance("to_c", "net", net, (Stack, IntegerStack), "a network, srnn.Stack(…)")
    check_instance("to_c", "folder", folder, (str, Path), "a folder, a text or a Path")
    checked_name(name)
    if bits is not None and isinstance(net, Stack):
        if calibration is None:
            raise ConfigError(
                "Export to C with bits: calibration is missing; pass recordings "
                "(B, T, C) that show which values occur."
            )
        net = to_integer(net, bits, calibration)
    if isinstance(net, Stack):
        plain = described(net)
        check_finite_numbers(plain)
        return _written(Path(folder), name, None, plain, float_source(plain, sparse))
    fractions = tuple(layer.fraction for layer in net.layers)
    return _written(
        Path(folder), name, net.bits, net.layers, integer_source(net, sparse), net.input, fractions
    )


def _written(
    folder: Path,
    name: str,
    bits: int | None,
    layers: Sequence[Described | IntegerLayer],
    source: Source,
    given: Numbers | None = None,
    fractions: tuple[int, ...] = (),
) -> CModel:
    write(folder, files(name, source, layers))
    neurons, binary = (
        tuple(layer.neurons for layer in layers),
        tuple(layer.binary for layer in layers),
    )
    return CModel(
        folder,
        name,
        bits,
        layers[0].inputs,
        neurons,
        binary,
        sum(t.bytes for t in source.tables),
        given,
        fractions,
    )
