"""The GPU kernels compiled ahead of time, without a GPU: do all of them compile, and what do they
need of one?

    python -m benchmarks.gpu_compile [--all] [--arch 80 --arch 90] [--jobs N]

Registers and bytes of shared memory are of one program; what does not fit the registers is spilled
to memory (bytes of a thread, stored and loaded). Without --all: ALIF with the Multi-Gaussian at the
sizes of the plan; with --all: every neuron and cell with every kind of activation, small. Needs
Triton (`make test-triton` has it); not under TRITON_INTERPRET.
"""

from __future__ import annotations

import argparse
import inspect
import multiprocessing
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import srnn.cells
import srnn.neurons
from benchmarks import report
from srnn.activations import Activation, Identity, Relu, Soft, Spike
from srnn.kernels import cpu, gpu
from srnn.neuron import Neuron
from srnn.surrogates import FastSigmoid, MultiGaussian

ARCHITECTURES = {80: 163 * 1024, 90: gpu.SHARED}
"""Compute capabilities without their point (A100; H100 and H200), and the bytes of shared memory
that a program may use there.
"""
FLAGS = {
    "forward": {"LENGTHS": True, "POTENTIAL": True, "KEEP": True},
    "backward": {"LENGTHS": True, "OUTPUT": True, "POTENTIAL": True},
}


@dataclass(frozen=True)
class Compiled:
    """One kernel for one architecture."""

    what: str
    name: str
    way: gpu.Plan
    arch: int
    registers: int
    spilled: tuple[int, int]
    shared: int


def compile_for(
    kernel: gpu.Kernel, name: str, way: gpu.Plan, neurons: int, dtype: torch.dtype, arch: int
) -> Compiled:
    """Compile `forward` or `backward` for an architecture (80: A100, 90: H100 and H200), all
    options on. Raises what Triton raises.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.compiler import get_ptxas, sm_arch_from_capability
    from triton.compiler import ASTSource

    function = getattr(kernel.module, name)
    fixed = {**gpu.constexprs(way), **FLAGS[name], "N": neurons}
    sizes = {"B": "i32", "T": "i32", "first": "i32", "last": "i32", "lengths": "*i64"}
    real = "*fp64" if dtype is torch.float64 else "*fp32"
    signature = {a: "constexpr" if a in fixed else sizes.get(a, real) for a in function.arg_names}
    aligned = [(k,) for k, a in enumerate(function.arg_names) if signature[a].startswith("*")]
    source = ASTSource(
        function,
        signature,
        constexprs={(function.arg_names.index(a),): v for a, v in fixed.items()},
        attrs={k: [["tt.divisibility", 16]] for k in aligned},
    )
    made = triton.compile(
        source, target=GPUTarget("cuda", arch, 32), options=gpu.launch_options(way)
    )
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "kernel.ptx"
        text.write_text(made.asm["ptx"])
        command = [
            get_ptxas(arch).path,
            "-v",
            f"--gpu-name={sm_arch_from_capability(arch)}",
            str(text),
            "-o",
            str(Path(folder) / "kernel"),
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers, spilled = (
        re.search(r"Used (\d+) registers", said),
        re.findall(r"(\d+) bytes spill", said),
    )
    assert registers is not None
    return Compiled(
        kernel.program.name,
        name,
        way,
        arch,
        int(registers[1]),
        (int(spilled[0]), int(spilled[1])),
        int(made.metadata.shared),
    )


def models() -> Iterator[tuple[Neuron, Activation]]:
    """Every neuron and cell with every kind of activation that it may have."""
    for module in (srnn.neurons, srnn.cells):
        kinds = sorted(
            {
                c
                for c in vars(module).values()
                if inspect.isclass(c) and issubclass(c, Neuron) and c is not Neuron
            },
            key=lambda c: c.__name__,
        )
        for kind in kinds:
            for activation in (Spike(MultiGaussian()), Relu(), Identity(), Soft(FastSigmoid())):
                if activation.unit or not kind.hard_reset:
                    yield kind(), activation


def jobs(
    everything: bool, architectures: tuple[int, ...]
) -> list[tuple[Neuron, Activation, gpu.Plan, torch.dtype, str, int]]:
    """Return what is compiled: of every model the three ways, of which stepwise and pointwise are
    the same kernel, here in float64.
    """
    found = []
    for neuron, activation in models() if everything else [(srnn.ALIF(), Spike())]:
        if everything:
            ways = [
                gpu.plan(11, neuron.gates, recurrent, product, gpu.SHARED)
                for recurrent, product in ((True, "float32"), (False, "float64"))
            ]
        else:
            given = [
                (n, p) for p in ("float32", "tf32", "bfloat16") for n in (32, 64, 128, 256)
            ] + [(400, "float32"), (400, "float64")]
            ways = []
        for arch in architectures:
            if not everything:
                ways = [gpu.plan(n, 1, True, product, ARCHITECTURES[arch]) for n, product in given]
            for way in dict.fromkeys(ways):
                dtype = torch.float64 if way.product == "float64" else torch.float32
                found += [(neuron, activation, way, dtype, name, arch) for name in FLAGS]
    return found


def one(job: tuple[Neuron, Activation, gpu.Plan, torch.dtype, str, int]) -> Compiled | str:
    """Compile one kernel; return what came, or why it does not compile, or could not
    be launched.
    """
    neuron, activation, way, dtype, name, arch = job
    try:
        made = compile_for(
            gpu.kernel(cpu.register(neuron, activation)), name, way, way.width, dtype, arch
        )
        why = (
            ""
            if made.shared <= ARCHITECTURES[arch]
            else (f"{made.shared} bytes of shared memory, {ARCHITECTURES[arch]} are there")
        )
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[-1]
    return (
        (
            f"{type(neuron).__name__}, {type(activation).__name__}, {way.name}, {name}, "
            f"sm_{arch}: {why}"
        )
        if why
        else made
    )


def table(rows: list[Compiled]) -> Any:
    """Return what the kernels need as a table."""
    columns = (
        "neurons",
        "products",
        "way",
        "kernel",
        "sm",
        "warps",
        "registers",
        "spilled",
        "shared",
    )
    lines = [
        [
            str(r.way.width),
            r.way.product,
            r.way.name,
            r.name,
            str(r.arch),
            str(r.way.warps),
            str(r.registers),
            f"{r.spilled[0]} / {r.spilled[1]}" if any(r.spilled) else "-",
            f"{r.shared / 1024:.0f} KiB",
        ]
        for r in rows
    ]
    return report.table("ALIF, Multi-Gaussian", columns, lines, text_columns=4)


def main(argv: list[str] | None = None) -> int:
    """Compile and print; return 1 where one does not compile."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="every neuron and cell with every kind of activation, small",
    )
    parser.add_argument(
        "--arch",
        type=int,
        action="append",
        choices=ARCHITECTURES,
        help="compute capability without its point; default: all",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    args = parser.parse_args(argv)
    if gpu.interpreting():
        parser.error("TRITON_INTERPRET is set: nothing would be compiled. Unset it.")
    todo = jobs(args.all, tuple(args.arch or ARCHITECTURES))
    if args.jobs > 1:
        with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
            found = list(pool.imap(one, todo, chunksize=8))
    else:
        found = [one(job) for job in todo]
    made, failed = (
        [r for r in found if isinstance(r, Compiled)],
        [r for r in found if isinstance(r, str)],
    )
    if not args.all:
        report.console().print(table(made))
    models_compiled, spilled = len({r.what for r in made}), sum(any(r.spilled) for r in made)
    where = ", ".join(f"sm_{a}" for a in sorted({r.arch for r in made}))
    print(
        f"{len(made)} of {len(todo)} kernels of {models_compiled} models compiled for {where}; "
        f"{spilled} spill registers"
    )
    print("\n".join(failed), end="\n" if failed else "")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
