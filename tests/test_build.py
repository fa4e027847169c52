"""Compiling and keeping kernels: no compiler, a failing one, folders that cannot be used, broken
files, many processes at once, forked children.
"""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from helpers import GENEROUS
from srnn import ALIF, Layer, _build
from srnn._build import BuildError
from srnn._check import ConfigError
from srnn.kernels import cpu


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Iterator[Path]:
    """An empty folder for kernels, and a process that has compiled none of them. (The loops, which
    all share, stay loaded.)
    """
    cpu.library(torch.float32)
    monkeypatch.setenv("SRNN_KERNELS", str(tmp_path / "kernels"))
    monkeypatch.setattr(cpu, "_KERNELS", {})
    monkeypatch.setattr(_build, "_keep", [])
    forget()
    yield tmp_path / "kernels"
    forget()


def forget() -> None:
    """What was found out about the compiler and the temporary folder."""
    _build.compiler.cache_clear()
    _build._temporary.cache_clear()


def layer() -> Layer:
    torch.manual_seed(0)
    return Layer(3, 4, ALIF())


def works() -> bool:
    """Both backends agree on a small layer, the kernel being compiled or loaded anew."""
    cpu._KERNELS.clear()
    made, x = layer(), torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    return bool(
        torch.allclose(
            made(x, potential=True, backend="cpu").potential,
            made(x, potential=True, backend="reference").potential,
            atol=1e-6,
        )
    )


def names(folder: Path) -> list[str]:
    """The files of a folder, but traced programs (tests/kernels/test_key.py)."""
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("program-"))


def times(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}


# ── what is kept ──────────────────────────────────────────────────────────────────────────────────


def test_library_source_and_checksum_are_kept_side_by_side(folder):
    assert works()
    files = names(folder)
    stem = files[0].removesuffix(".c")
    assert stem.startswith("ALIF-Spike-MultiGaussian-f32-")
    assert files == [f"{stem}.c", f"{stem}.sha256", f"{stem}.so"]
    source = (folder / f"{stem}.c").read_text()
    assert source.startswith(
        "/* ALIF, Spike(MultiGaussian), printed from its traced step. "
        "Constants: c.alpha, c.rho, c.b0, c.beta, "
    )
    assert "void step(" in source
    assert (folder / f"{stem}.sha256").read_text() == hashlib.sha256(
        (folder / f"{stem}.so").read_bytes()
    ).hexdigest()


def test_what_is_kept_is_used_again(folder):
    assert works()
    before = times(folder)
    assert works()
    assert times(folder) == before


def test_other_flags_and_sources_have_other_files(folder):
    sources = ["int one(void) { return 1; }", "int one(void) { return 2; }"]
    libraries = [
        _build.load("one", source, *flags) for source in sources for flags in ((), ("-DOTHER",))
    ]
    assert [library.one() for library in libraries] == [1, 1, 2, 2]
    assert len(list(folder.glob("one-*.so"))) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda so, sha: so.write_bytes(so.read_bytes()[:1000]),
        lambda so, sha: so.write_bytes(b"no library at all"),
        lambda so, sha: so.write_bytes(b""),
        lambda so, sha: so.unlink(),
        lambda so, sha: sha.write_text("0" * 64),
        lambda so, sha: sha.write_bytes(b"\xff\xfe\x00"),
        lambda so, sha: sha.unlink(),
        lambda so, sha: (
            so.write_bytes(b"garbage"),
            sha.write_text(hashlib.sha256(b"garbage").hexdigest()),
        ),
    ],
    ids=[
        "cut",
        "garbage",
        "empty",
        "gone",
        "wrong checksum",
        "no text",
        "no checksum",
        "garbage with its checksum",
    ],
)
def test_a_broken_file_is_compiled_anew(folder, damage):
    source = "int answer(void) { return 42; }"
    # this process has no such library mapped yet
    assert in_children(1, lambda k: _build.load("answer", source).answer() == 42) == [0]
    (so,), (sha,) = folder.glob("*.so"), folder.glob("*.sha256")
    whole = so.read_bytes()
    damage(so, sha)
    assert _build.load("answer", source).answer() == 42
    assert names(folder) == sorted([so.name, sha.name, so.with_suffix(".c").name])
    assert sha.read_text() == hashlib.sha256(so.read_bytes()).hexdigest()
    assert len(so.read_bytes()) == len(whole)


# ── folders that cannot be used ───────────────────────────────────────────────────────────────────


def a_file(tmp: Path) -> Path:
    (tmp / "taken").write_text("mine")
    return tmp / "taken"


def read_only(tmp: Path) -> Path:
    (tmp / "closed").mkdir()
    (tmp / "closed").chmod(stat.S_IRUSR | stat.S_IXUSR)
    return tmp / "closed"


FOLDERS: dict[str, Callable[[Path], Path]] = {
    "a file": a_file,
    "below a file": lambda tmp: a_file(tmp) / "kernels",
    "nowhere": lambda tmp: Path("/proc/kernels"),
    "read-only": read_only,
}


@pytest.mark.parametrize("which", FOLDERS)
def test_a_folder_that_cannot_be_written_to(folder, monkeypatch, tmp_path, which):
    if which == "read-only" and os.geteuid() == 0:
        pytest.skip("nothing is read-only for root")
    place, temporary = FOLDERS[which](tmp_path), tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("SRNN_KERNELS", str(place))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert works()
    assert [p.suffix for p in sorted(temporary.glob("srnn-kernels-*/*"))] == [
        ".c",
        ".sha256",
        ".so",
        ".json",
    ]
    assert not (tmp_path / "kernels").exists()
    assert which != "a file" or place.read_text() == "mine"
    _build._keep.clear()  # as at the end of the process
    assert names(temporary) == []


SOURCE = "int answer(void) { return 42; }"


def answered(folder: Path) -> list[str]:
    """What lies in the folder after a library was compiled and used."""
    assert _build.load("answer", SOURCE).answer() == 42
    return names(folder) if folder.exists() else []


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o770, 0o777, 0o1777, 0o1770])
@pytest.mark.parametrize("level", ["kernels", "kernels/..", "kernels/../.."])
def test_a_folder_that_others_may_write_to(folder, monkeypatch, tmp_path, mode, level):
    """At any level above: whoever may rename a folder there may put another in its place. Sticky
    helps only where the folder belongs to root.
    """
    kernels = tmp_path / "above" / "between" / "kernels"
    monkeypatch.setenv("SRNN_KERNELS", str(kernels))
    assert len(answered(kernels)) == 3
    open_to_others = (kernels.parent / level).resolve()
    open_to_others.chmod(mode)
    if os.geteuid() == 0 and mode & stat.S_ISVTX:
        assert _build.refusal(kernels) is None
        monkeypatch.setattr(_build.os, "getuid", lambda: 12345)
        os.chown(open_to_others, 12345, -1)
    assert _build.refusal(kernels).path == open_to_others
    for path in list(kernels.iterdir()):
        path.unlink()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    letters = "go" if mode & 0o22 == 0o22 else "g" if mode & 0o20 else "o"
    with pytest.warns(UserWarning, match=f"Repair: chmod {letters}-w {open_to_others}$") as told:
        assert answered(kernels) == answered(kernels) == []
    assert len(told) == 1
    open_to_others.chmod(0o700)
    assert len(answered(kernels)) == 3


def test_a_library_of_others_is_not_loaded(folder):
    """One that lies there since the folder was open to all: by its owner, its mode, or a link."""
    answered(folder)
    (so,) = folder.glob("*.so")
    assert _build._kept(so) is not None
    so.chmod(0o664)
    assert _build._kept(so) is None
    so.chmod(0o644)
    assert _build._kept(so) is not None
    whole = so.rename(folder / "elsewhere")
    so.symlink_to(whole)
    assert _build._kept(so) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else(folder, tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o755)
    os.chown(tmp_path / "theirs", 12345, 12345)
    found = _build.refusal(tmp_path / "theirs" / "kernels")
    assert (found.path, found.found) == (
        tmp_path / "theirs",
        "belongs to somebody else (user 12345)",
    )
    (tmp_path / "link").symlink_to(tmp_path)
    os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
    assert _build.refusal(tmp_path / "link").path == tmp_path / "link"


def test_links_on_the_way_are_followed(folder, tmp_path):
    """The folder behind a link counts, and those above it."""
    (tmp_path / "open" / "inner").mkdir(parents=True)
    (tmp_path / "way").mkdir()
    (tmp_path / "way" / "far").symlink_to("../open/inner")
    assert _build.refusal(tmp_path / "way" / "far" / "kernels") is None
    (tmp_path / "open").chmod(0o770)
    assert _build.refusal(tmp_path / "way" / "far" / "kernels").path == tmp_path / "open"
    (tmp_path / "open").chmod(0o700)
    (tmp_path / "way").chmod(0o770)  # where the link lies
    assert _build.refusal(tmp_path / "way" / "far" / "kernels").path == tmp_path / "way"
    (tmp_path / "way").chmod(0o700)
    (tmp_path / "round").symlink_to(tmp_path / "round")
    assert _build.refusal(tmp_path / "round").found == "is a link to itself"


@pytest.mark.parametrize("umask", [0o002, 0o000, 0o022])
def test_our_own_cache_is_used_whatever_the_umask(folder, monkeypatch, tmp_path, umask):
    monkeypatch.setenv("SRNN_KERNELS", str(tmp_path / "a" / "b" / "kernels"))
    before = os.umask(umask)
    try:
        assert len(answered(tmp_path / "a" / "b" / "kernels")) == 3
    finally:
        os.umask(before)
    for made in ("a", "a/b", "a/b/kernels"):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == 0o700
    (so,) = (tmp_path / "a" / "b" / "kernels").glob("*.so")
    assert _build._kept(so) is not None


def test_a_temporary_folder_that_is_not_safe(folder, monkeypatch, tmp_path):
    """Then nothing is compiled, and the reason says why."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "temporary").chmod(0o770)
    monkeypatch.setenv("SRNN_KERNELS", str(a_file(tmp_path)))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with pytest.raises(BuildError, match=f"no safe folder for kernels: .* chmod g-w {tmp_path}"):
        _build.load("answer", SOURCE)


def test_a_disk_that_fills_up(folder, monkeypatch, tmp_path):
    """The library cannot be kept, and is used all the same; nothing half-written stays."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("srnn._build.os.replace", full)
    assert works()
    assert names(folder) == []
    assert names(tmp_path / "temporary") == []


# ── compilers ─────────────────────────────────────────────────────────────────────────────────────


def compiler_script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_compiler_that_fails(folder, monkeypatch, tmp_path):
    """The reason is the compiler's own words; "auto" goes on with the reference, and asks only
    once.
    """
    words = (
        'case "$*" in *--version*) echo "cc 1.0";; *-fsyntax-only*) ;; *) echo "internal '
        'error: no luck" >&2; exit 4;; esac'
    )
    body = f'echo "$@" >> {tmp_path}/calls\n{words}'
    monkeypatch.setenv("CC", compiler_script(tmp_path / "cc", body))
    choice = layer().which_backend()
    assert choice.name == "reference"
    assert choice.reason.startswith(
        f"{tmp_path / 'cc'} cannot compile ALIF-Spike-MultiGaussian-f32-"
    )
    assert choice.reason.endswith(".c:\ninternal error: no luck")
    assert layer()(torch.randn(2, 5, 3)).output.shape == (2, 5, 4)
    assert layer().which_backend() == choice
    with pytest.raises(
        ConfigError,
        match=r'^backend="cpu" cannot run this layer: .*\ninternal error: no luck\. '
        r'Use backend="auto" or "reference"\.$',
    ):
        layer()(torch.randn(2, 5, 3), backend="cpu")
    with pytest.raises(BuildError, match="internal error: no luck"):
        _build.load("any", "int x;")
    # the source and the result, in one call
    assert (tmp_path / "calls").read_text().count("ALIF-Spike-MultiGaussian-f32") == 2
    assert not folder.exists() or names(folder) == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("exit 3", r"^the C compiler .* does not run \("),
        ("true", r"^the C compiler .* does not run \("),
        (
            'case "$*" in *--version*) echo "cc 1.0";; *) echo "error: nothing works" >&2; '
            "exit 1;; esac",
            r"cannot compile an empty file \(error: nothing",
        ),
    ],
    ids=["no version", "says nothing", "compiles nothing"],
)
def test_a_compiler_that_is_none(folder, monkeypatch, tmp_path, body, reason):
    monkeypatch.setenv("CC", compiler_script(tmp_path / "cc", body))
    with pytest.raises(BuildError, match=reason):
        _build.compiler()
    assert layer().which_backend().name == "reference"


def test_a_compiler_that_is_not_there(folder, monkeypatch):
    monkeypatch.setenv("CC", "/nonexistent/cc")
    reason = "no C compiler (/nonexistent/cc not found; install gcc or clang, or set CC)"
    assert layer().which_backend() == ("reference", reason)
    assert layer()(torch.randn(2, 5, 3)).output.shape == (2, 5, 4)
    with pytest.raises(ConfigError) as error:
        layer()(torch.randn(2, 5, 3), backend="cpu")
    assert str(error.value) == (
        f'backend="cpu" cannot run this layer: {reason}. Use backend="auto" or "reference".'
    )


PROGRAM = """
import torch, srnn
layer = srnn.Layer(3, 4, srnn.ALIF())
out = layer(torch.randn(2, 5, 3), potential=True)
out.potential.sum().backward()
print(*layer.which_backend(), sep=": ")
try:
    layer(torch.randn(2, 5, 3), backend="cpu")
except srnn._check.ConfigError as error:
    print(error)
"""


def test_a_machine_without_compiler(tmp_path):
    """A whole process with an empty PATH."""
    for name in ("bin", "tmp"):
        (tmp_path / name).mkdir()
    env = {
        "PATH": str(tmp_path / "bin"),
        "TMPDIR": str(tmp_path / "tmp"),
        "SRNN_KERNELS": str(tmp_path / "kernels"),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("srnn.ConfigError", "Exception")],
        env=env,
        capture_output=True,
        text=True,
        timeout=GENEROUS,
    )
    assert done.returncode == 0, done.stderr
    reason = "no C compiler (cc, gcc, clang not found; install gcc or clang, or set CC)"
    assert done.stdout.splitlines() == [
        f"reference: {reason}",
        f'backend="cpu" cannot run this layer: {reason}. Use backend="auto" or "reference".',
    ]
    # torch's own, empty
    assert [n for n in names(tmp_path / "tmp") if not n.startswith("torchinductor_")] == []


def test_an_unusable_folder_in_a_process_of_its_own(tmp_path):
    """It runs, it says that it runs compiled, and the temporary folder is gone afterwards."""
    (tmp_path / "tmp").mkdir()
    env = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "SRNN_KERNELS": str(a_file(tmp_path))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=GENEROUS
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cpu: kernel compiled by ")
    assert names(tmp_path / "tmp") == []


# ── many processes ────────────────────────────────────────────────────────────────────────────────


def in_children(count: int, run: Callable[[int], bool], seconds: float = 60.0) -> list[int]:
    """Run in forked children; return how each ended (0: returned True).

    One that hangs is stopped, and ends with -9.
    """
    children = []
    for k in range(count):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if run(k) else 2
            finally:
                os._exit(status)
        children.append(child)
    ends, last = {}, time.monotonic() + seconds
    while len(ends) < count:
        for child in set(children) - set(ends):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                ends[child] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > last:
                os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return [ends[c] for c in children]


def test_four_processes_compile_the_same_kernel_at_once(folder, tmp_path):
    """None sees half a file, one library remains, and nothing else."""
    (tmp_path / "tmp").mkdir()
    start = time.time() + 0.3

    def run(k: int) -> bool:
        import tempfile

        tempfile.tempdir = str(tmp_path / "tmp")
        time.sleep(max(0.0, start - time.time()))
        return works()

    assert in_children(4, run) == [0] * 4
    assert [Path(n).suffix for n in names(folder)] == [".c", ".sha256", ".so"]
    assert names(tmp_path / "tmp") == []
    before = times(folder)
    assert works()
    assert times(folder) == before


def with_two_threads(made: Layer, x: Tensor) -> Tensor:
    """A kernel and a product, forward and backward, on two threads. (torch's own products on two
    threads hang in a forked child.)
    """
    torch.set_num_threads(2)
    with torch.no_grad():
        run = made(x, potential=True, backend="cpu")
    rows = run.output.flatten(0, 1)
    below, *_ = torch.ops.srnn.linear_backward(
        rows, x.flatten(0, 1), made.weight.detach(), [True, True, True]
    )
    return torch.cat([run.potential.flatten(), below.flatten()])


@pytest.fixture
def one_thread_after() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def test_a_forked_child_uses_two_threads(one_thread_after):
    """After the parent has: threads do not come along into a child, and nothing waits for them."""
    made, x = layer(), torch.randn(40, 30, 3)
    wanted = with_two_threads(made, x)
    assert (
        in_children(3, lambda k: torch.equal(with_two_threads(made, x), wanted), seconds=30)
        == [0] * 3
    )


class Encoded(Dataset[Tensor]):
    """A data set that runs a layer on what it loads."""

    def __init__(self) -> None:
        self.layer = layer()

    def __len__(self) -> int:
        return 6

    def __getitem__(self, k: int) -> Tensor:
        return with_two_threads(self.layer, torch.full((17, 9, 3), float(k)))


@pytest.mark.timeout(90)
def test_loader_workers_run_kernels(one_thread_after):
    data = Encoded()
    wanted = torch.stack([data[k] for k in range(6)])
    loader = DataLoader(
        data, batch_size=2, num_workers=2, multiprocessing_context="fork", timeout=GENEROUS
    )
    assert torch.equal(torch.cat(list(loader)), wanted)
