"""What works on this machine, and what to do about what does not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from srnn import _build
from srnn._check import DataError
from srnn.datasets import catalogue
from srnn.datasets._fetch import data_root

State = Literal["ok", "warning", "missing", "broken"]
"""ok; works, but not as well as it could; optional, and not here; needed, and does not work."""

EXTRAS = {
    "data": "reads audio, HDF5, MATLAB and PhysioNet files, downloads data sets",
    "report": "draws figures and the report of a run",
    "track": "writes TensorBoard events",
    "search": "searches settings: `srnn sweep`",
    "database": "keeps searches in PostgreSQL: `srnn sweep --storage`",
    "gpu": "trains several runs in one launch: `srnn train --together`",
    "stream": "reads serial ports: `srnn stream`",
    "serve": "shows the live page: `srnn serve`",
    "export": "writes and runs ONNX and NIR",
}
"""What each extra is for."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what was found, and how to mend it, if that is called for."""

    what: str
    state: State
    found: str
    repair: str = ""


def examine(data_dir: str | Path | None = None) -> list[Check]:
    """Return what was found, in the order in which it is shown.

    Takes some seconds: a kernel is compiled and run, in a process of its own.
    """
    return [
        _python(),
        _torch(),
        _compiler(),
        _kernels(),
        _cache(),
        _threads(),
        _gpu(),
        *_extras(),
        *_data(data_dir),
        _terminal(),
        _disk(),
        _handles(),
    ]


def _python() -> Check:
    found = (
        f"{platform.python_version()} on {platform.system()} {platform.machine()}, srnn "
        f"{importlib.metadata.version('srnn')}"
    )
    return Check("Python", "ok", found)


def _torch() -> Check:
    wanted = next(r for r in importlib.metadata.requires("srnn") or () if r.startswith("torch"))
    least = tuple(int(n) for n in re.findall(r"\d+", wanted)[:2])
    has = tuple(int(n) for n in re.findall(r"\d+", torch.__version__)[:2])
    versions = f"torch {torch.__version__}, numpy {importlib.metadata.version('numpy')}"
    return (
        Check("torch", "ok", versions)
        if has >= least
        else Check("torch", "broken", versions, f'pip install "{wanted}"')
    )


def _compiler() -> Check:
    try:
        compiler = _build.compiler()
    except _build.BuildError as error:
        return Check(
            "C compiler",
            "warning",
            str(error),
            "without one every network runs on the reference loop, many times slower",
        )
    return Check("C compiler", "ok", f"{compiler.version} ({compiler.path})")


_TRIAL = """
import torch, srnn
torch.manual_seed(0)
net = srnn.Stack(srnn.Layer(4, 8, srnn.ALIF()), srnn.Readout(8, 3))
choice = net.which_backend()
x = (torch.rand(2, 20, 4) < 0.3).float()
found = [net(x, backend=backend).potential for backend in (choice.name, "reference")]
print(choice.name, float((found[0] - found[1]).detach().abs().max()), choice.reason, sep="\\n")
"""


def _kernels() -> Check:
    """Compile and run a small network, in a process of its own: a library might kill it."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRIAL], capture_output=True, text=True, timeout=300
        )
    except subprocess.TimeoutExpired:
        repair = "is the machine overloaded, or the cache on a network disk that is gone?"
        return Check(
            "kernels", "broken", "a small network did not finish within five minutes", repair
        )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"ended with code {done.returncode}"]
        repair = (
            f'empty {_build.cache()} and try again; srnn works with backend="reference" until then'
        )
        return Check("kernels", "broken", f"a small network fails: {last[0]}", repair)
    name, error, reason = done.stdout.strip().split("\n", 2)
    if name != "cpu":
        return Check("kernels", "warning", f"none: {reason}", "see the compiler above")
    if float(error) > 1e-5:
        return Check(
            "kernels",
            "broken",
            f"off the reference loop by {float(error):.1e}",
            f"empty {_build.cache()}, and report it with this table",
        )
    return Check(
        "kernels",
        "ok",
        "compiled; a small network gives what the "
        "reference loop gives, " + (f"within {float(error):.0e}" if float(error) else "to the bit"),
    )


def _cache() -> Check:
    folder, other = (
        _build.cache(),
        ("set SRNN_KERNELS to a folder you may write to; until then every process compiles anew"),
    )
    if (refused := _build.refusal(folder)) is not None:
        return Check(
            "kernel cache",
            "warning",
            f"{folder}: not used, for {refused.path} {refused.found}",
            refused.repair,
        )
    if not folder.exists():
        return Check("kernel cache", "warning", f"{folder} is not there and cannot be made", other)
    files = [f for f in folder.iterdir() if f.suffix == ".so"]
    found = (
        f"{folder}, {len(files)} libraries, {sum(f.stat().st_size for f in files) / 2**20:.1f} MiB"
    )
    if not os.access(folder, os.W_OK):
        return Check("kernel cache", "warning", f"{found}, read-only", other)
    return Check("kernel cache", "ok", found)


def _threads() -> Check:
    given = os.environ.get("OMP_NUM_THREADS")
    return Check(
        "processors",
        "ok",
        f"{os.cpu_count()}; torch would use "
        f"{torch.get_num_threads()}" + (f" (OMP_NUM_THREADS={given})" if given else ""),
    )


def _gpu() -> Check:
    if not torch.cuda.is_available():
        return Check("GPU", "missing", "none that torch can use", "not needed")
    name = torch.cuda.get_device_name()
    if importlib.util.find_spec("triton") is None:
        return Check(
            "GPU",
            "missing",
            f"{name}, without Triton: networks run on it by the reference loop",
            "pip install triton",
        )
    return Check("GPU", "ok", f"{name}: networks train on it by the triton kernels (--device cuda)")


def _extras() -> Iterator[Check]:
    for extra, purpose in EXTRAS.items():
        marked = [
            r
            for r in importlib.metadata.requires("srnn") or ()
            if re.search(rf"extra == ['\"]{extra}['\"]", r)
        ]
        names = [re.split(r"[^A-Za-z0-9._-]", r, maxsplit=1)[0] for r in marked]
        there = {name: _version(name) for name in names}
        lacking = [name for name, version in there.items() if version is None]
        if lacking:
            yield Check(
                f"extra {extra}",
                "missing",
                f"no {', '.join(lacking)}: {purpose}",
                f'pip install "srnn[{extra}]"',
            )
        else:
            yield Check(
                f"extra {extra}",
                "ok",
                ", ".join(f"{name} {version}" for name, version in there.items()),
            )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _data(data_dir: str | Path | None) -> Iterator[Check]:
    try:
        root = data_root(data_dir)
    except DataError as error:
        yield Check("data", "broken", str(error), "--data-dir DIR, or $SRNN_DATA")
        return
    here = [name for name in catalogue.NAMES if catalogue.present(name, root)]
    if here:
        yield Check(
            "data here", "ok", f"{', '.join(here)} in {root}", "look closely: srnn data verify NAME"
        )
    if rest := [name for name in catalogue.NAMES if name not in here]:
        yield Check(
            "data not here",
            "missing",
            f"{', '.join(rest)}: not in {root}",
            "srnn data fetch NAME, or --data-dir DIR; `srnn train ecg_sim` needs none",
        )


def _terminal() -> Check:
    encoding = sys.stdout.encoding or "unknown"
    if encoding.lower().replace("-", "") != "utf8":
        return Check(
            "terminal",
            "warning",
            f"writes {encoding}: Greek letters and ± may fail",
            "export PYTHONUTF8=1, or LANG=C.UTF-8",
        )
    return Check("terminal", "ok", f"UTF-8, {shutil.get_terminal_size().columns} columns")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return Check(
        "disk",
        "ok" if free > 1 else "warning",
        f"{free:.1f} GiB free here",
        "" if free > 1 else "a run needs some MiB, audio data several GiB",
    )


def _handles() -> Check:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Check(
        "open files",
        "ok" if limit >= 256 else "warning",
        f"at most {limit}",
        "" if limit >= 256 else "ulimit -n 1024",
    )
