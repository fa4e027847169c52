"""Compile an exported network with the machine's own compiler, run it, and measure it.

The library is compiled in a temporary folder with `-std=c99 -O3 -ffp-contract=off` and warnings as
errors, for this machine's processor.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srnn import _build, _files
from srnn._build import BuildError
from srnn._check import ShapeError, check_finite, check_lengths, check_signal
from srnn.export.model import CModel
from srnn.export.played import Played

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off")

_DRIVER = """#include "{name}.h"
#include <stddef.h>
#include <time.h>

size_t state_bytes(void) {{ return sizeof({name}_state); }}

/* Run one recording from the start: x (steps, inputs), scores (steps, outputs), outputs (steps,
   all neurons of all layers). Returns seconds. */
double play(const {input} *x, long steps, {score} *scores, {score} *outputs) {{
    static {name}_state state;
    struct timespec a, b;
    {name}_reset(&state);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a); /* other programs do not count */
    for (long t = 0; t < steps; t++) {{
        {name}_step(&state, x + t * {inputs}, scores + t * {outputs});
        if (outputs) {{{copies}
        }}
    }}
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    return (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
}}
"""


class Compiled:
    """An exported network as a library in this process."""

    def __init__(self, model: CModel, flags: tuple[str, ...] = ("-O3",)) -> None:
        self.model = model
        copies = "".join(
            f"\n            for (long n = 0; n < {n}; n++) *outputs++ = "
            f"({self._score})state.layer{k}.s[n];"
            for k, n in enumerate(model.neurons)
        )
        names = {
            "name": model.name,
            "input": self._input,
            "score": self._score,
            "inputs": model.inputs,
            "outputs": model.outputs,
            "copies": copies,
        }
        with tempfile.TemporaryDirectory(prefix="srnn-export-", ignore_cleanup_errors=True) as work:
            driver, library = Path(work) / "driver.c", Path(work) / "model.so"
            _files.write(driver, _DRIVER.format(**names))
            cc = _build.compiler()
            options = (*STRICT, *cc.options, *flags, "-shared", "-fPIC", f"-I{model.folder}")
            compile_c(
                (str(model.folder / f"{model.name}.c"), *options, "-c", "-o", f"{work}/model.o")
            )
            # the driver reads a clock, which C99 has not
            options = tuple(o for o in options if o not in ("-std=c99", "-pedantic"))
            compile_c((str(driver), f"{work}/model.o", *options, "-o", str(library), "-lm"))
            self._code = ctypes.CDLL(str(library))
        self._code.state_bytes.restype, self._code.play.restype = ctypes.c_size_t, ctypes.c_double

    @property
    def _input(self) -> str:
        return "float" if self.model.bits is None else "int16_t"

    @property
    def _score(self) -> str:
        return "float" if self.model.bits is None else "int32_t"

    @property
    def state_bytes(self) -> int:
        """Size of the state on this machine."""
        return int(self._code.state_bytes())

    def play(self, x: np.ndarray, *, outputs: bool = True) -> tuple[np.ndarray, np.ndarray, float]:
        """Run one recording (T, C) as the model takes it; return scores (T, K), outputs of all
        layers side by side (T, ΣN), and seconds.

        outputs: copy them, else they are (0, ΣN).
        """
        kind = np.float32 if self.model.bits is None else np.int16
        number = np.float32 if self.model.bits is None else np.int32
        if x.ndim != 2 or x.shape[1] != self.model.inputs:
            raise ShapeError(
                f"The exported network {self.model.name}: x has shape {x.shape}; expected (T, "
                f"C={self.model.inputs}) = time steps, channels."
            )
        x = np.ascontiguousarray(x, kind)
        scores, spikes = (
            np.zeros((len(x), self.model.outputs), number),
            np.zeros((len(x) if outputs else 0, sum(self.model.neurons)), number),
        )
        seconds = self._code.play(
            _at(x), ctypes.c_long(len(x)), _at(scores), _at(spikes) if outputs else None
        )
        return scores, spikes, seconds

    def nanoseconds(self, x: np.ndarray, repeats: int = 5) -> float:
        """Return the median processor time of a step over several runs of a recording (T, C) on
        this machine, outputs not copied.
        """
        times = [self.play(x, outputs=False)[2] for _ in range(repeats + 1)][1:]
        return float(np.median(times)) / max(1, len(x)) * 1e9


def _at(array: np.ndarray) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)


def compile_c(arguments: tuple[str, ...]) -> str:
    """Run the machine's C compiler; return what it says.

    Raises `BuildError` with its message where it fails.
    """
    cc = _build.compiler()
    done = subprocess.run([cc.path, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise BuildError(
            f"{cc.path} cannot compile the exported network:\n{done.stderr.strip()[:2000]}"
        )
    return done.stderr


class CPlayer:
    """Runs an exported network on a batch: x (B, T, C), lengths (B,) → what every layer gives, 0
    beyond each length.
    """

    def __init__(self, model: CModel) -> None:
        self.model, self.compiled = model, Compiled(model)

    def nanoseconds(self, x: Tensor, repeats: int = 5) -> float:
        """Return the median processor time of a step over several runs of one recording (T, C) on
        this machine.
        """
        return self.compiled.nanoseconds(self.given(x), repeats)

    def given(self, x: Tensor) -> np.ndarray:
        """Return x, of any shape, as the model takes it."""
        array: np.ndarray = (
            x if self.model.input is None else self.model.input.integers(x)
        ).numpy()
        return array

    def __call__(self, x: Tensor, lengths: Tensor) -> Played:
        """Return potential and output (B, T, K) of the last layer, and the outputs (B, T, N) of
        every layer.

        Raises `ShapeError`, and `DataError` where x is not finite: a NaN is no whole number.
        """
        model = self.model
        check_signal("CPlayer", x, model.inputs)
        check_lengths("CPlayer", lengths, *x.shape[:2])
        check_finite("CPlayer", x, torch.arange(x.shape[1]) < lengths.unsqueeze(1))
        given = self.given(x)
        potential = torch.zeros(*x.shape[:2], model.outputs)
        everything = torch.zeros(*x.shape[:2], sum(model.neurons))
        for b, steps in enumerate(lengths.tolist()):
            scores, outputs, _ = self.compiled.play(given[b, :steps])
            potential[b, :steps], everything[b, :steps] = (
                torch.from_numpy(scores).float(),
                torch.from_numpy(outputs).float(),
            )
        layers = list(torch.split(everything, list(model.neurons), -1))
        if model.bits is not None:
            potential = potential * 2.0 ** -model.fractions[-1]
            layers = [
                o if spikes else o * 2.0**-f
                for o, spikes, f in zip(layers, model.binary, model.fractions, strict=True)
            ]
        return Played(potential, layers[-1], tuple(layers))


@dataclass(frozen=True)
class Footprint:
    """Bytes of an exported network, compiled for this machine with -Os.

    tables: constants, the same on every device. code: machine instructions and small literals, of
    this processor. flash: both.
    state: sizeof the state. stack: the deepest chain of calls, as the compiler reports each
    function (0 where it does not). ram: both.
    """

    tables: int
    code: int
    state: int
    stack: int

    @property
    def flash(self) -> int:
        """Tables and code."""
        return self.tables + self.code

    @property
    def ram(self) -> int:
        """State and stack."""
        return self.state + self.stack

    def as_dict(self) -> dict[str, int]:
        """Return it as JSON has it."""
        return {**asdict(self), "flash": self.flash, "ram": self.ram}


def footprint(model: CModel) -> Footprint:
    """Compile for size and measure. Raises `BuildError` where there is no compiler."""
    source = f'#include "{model.name}.h"\nchar state_bytes[sizeof({model.name}_state)];\n'
    with tempfile.TemporaryDirectory(prefix="srnn-export-", ignore_cleanup_errors=True) as work:
        probe = Path(work) / "probe.c"
        _files.write(probe, source)
        common = (
            "-std=c99",
            "-Os",
            "-ffp-contract=off",
            "-fno-asynchronous-unwind-tables",
            f"-I{model.folder}",
        )
        compile_c(
            (
                str(model.folder / f"{model.name}.c"),
                *common,
                "-fstack-usage",
                "-c",
                "-o",
                f"{work}/model.o",
            )
        )
        compile_c((str(probe), *common, "-c", "-o", f"{work}/probe.o"))
        text, _ = _sizes(Path(work) / "model.o")
        state = sum(_sizes(Path(work) / "probe.o")[1:])
        usage = Path(work) / "model.su"
        stack = _stack(usage.read_text(), model.name) if usage.exists() else 0
    return Footprint(model.table_bytes, max(0, text - model.table_bytes), state, stack)


def _sizes(path: Path) -> tuple[int, int]:
    """Return (code and constants, variables) of an object file."""
    tool = shutil.which("size")
    if tool is None:
        raise BuildError(
            "the program `size` (binutils) is missing; it tells how large the compiled network is."
        )
    row = (
        subprocess.run([tool, str(path)], capture_output=True, text=True, check=True)
        .stdout.splitlines()[1]
        .split()
    )
    return int(row[0]), int(row[1]) + int(row[2])


def _stack(report: str, name: str) -> int:
    """Return the stack of a step: its own, plus the largest of a layer, plus the largest of a
    helper function (layers call those, one level deep).
    """
    found = {m.group(1): int(m.group(2)) for m in re.finditer(r":(\w+)\s+(\d+)\s", report)}
    layers = [v for k, v in found.items() if re.fullmatch(r"layer\d+", k)]
    others = [v for k, v in found.items() if not re.fullmatch(rf"layer\d+|{name}_(step|reset)", k)]
    return found.get(f"{name}_step", 0) + max(layers, default=0) + max(others, default=0)
