"""The one way of opening for writing: links are not followed, nothing is emptied, and the source
has no other way.
"""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import srnn
from srnn import _files
from srnn._check import SrnnError

SOURCE = Path(srnn.__file__).parent

ALLOWED = {
    ("_files/__init__.py", "os.open"): "the one way itself",
    ("datasets/_archive.py", "open"): "exclusive, in a folder just made: `xb` follows no link",
    ("cli/main.py", "os.open"): "the null device",
    ("cli/commands/stream.py", "os.open"): "the null device",
    ("report/svg.py", "savefig"): "into memory",
    ("report/figures.py", "savefig"): "into memory",
    ("training/session.py", "SummaryWriter"): "names of its own in a folder that was checked",
    ("search/study.py", "JournalFileBackend"): "a journal that was opened in the one way before",
}
"""Where else, and why."""

WRITERS = {
    "write_text", "write_bytes", "touch", "savez", "savez_compressed", "save_file", "save_model",
    "savefig", "imsave", "SummaryWriter", "JournalFileBackend", "copyfile", "copy2", "copytree",
    "symlink", "symlink_to", "hardlink_to", "truncate_file", "tofile",
}  # fmt: skip
"""Calls that write to a path, whatever is before the dot. Such a call on the file that
`_files.whole` gives is none.
"""


def _callee(node: ast.Call) -> str:
    parts: list[str] = []
    found: Any = node.func
    while isinstance(found, ast.Attribute):
        parts.append(found.attr)
        found = found.value
    if isinstance(found, ast.Name):
        parts.append(found.id)
    return ".".join(reversed(parts))


def _opens_to_write(node: ast.Call) -> bool:
    texts = [*node.args, *(k.value for k in node.keywords if k.arg == "mode")]
    return any(
        isinstance(a, ast.Constant)
        and isinstance(a.value, str)
        and 0 < len(a.value) <= 4
        and set(a.value) <= set("rwxabt+")
        and set(a.value) & set("wxa+")
        for a in texts
    )


def writes(source: str) -> list[tuple[str, int]]:
    """What in a source file opens something for writing: (call, line)."""
    tree, handed = ast.parse(source), set()
    for node in ast.walk(tree):  # names that `with _files.whole(…) as NAME` gives
        if isinstance(node, ast.With):
            for item in node.items:
                call, name = item.context_expr, item.optional_vars
                if isinstance(call, ast.Call) and _callee(call) == "_files.whole":
                    assert isinstance(name, ast.Name)
                    handed |= {
                        (name.id, line) for line in range(node.lineno, (node.end_lineno or 0) + 1)
                    }
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        callee = _callee(node)
        last = callee.rpartition(".")[2]
        inner = node.args[0] if node.args else None
        inner = inner.value if isinstance(inner, ast.Attribute) else inner
        if isinstance(inner, ast.Name) and (inner.id, node.lineno) in handed:
            continue
        if callee == "os.open":
            if "O_RDONLY" not in ast.unparse(node):
                found.append(("os.open", node.lineno))
        elif (last in ("open", "fdopen", "File") and _opens_to_write(node)) or (
            last in WRITERS and not callee.startswith("_files.")
        ):
            found.append((last, node.lineno))
    return found


def test_the_source_has_no_other_way():
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 200
    seen, wrong = set(), []
    for path in files:
        name = path.relative_to(SOURCE).as_posix()
        for call, line in writes(path.read_text(encoding="utf-8")):
            if (name, call) in ALLOWED:
                seen.add((name, call))
            else:
                wrong.append(f"{name}:{line}: {call}")
    assert not wrong, (
        "open for writing through srnn._files, or say why not in ALLOWED: " + "; ".join(wrong)
    )
    assert seen == set(ALLOWED), "ALLOWED names places that are gone"


@pytest.mark.parametrize(
    "source",
    [
        "open(path, 'w')",
        "open(path, mode='ab')",
        "path.open('r+b')",
        "path.write_text(x)",
        "(folder / 'a').write_bytes(x)",
        "os.open(path, os.O_CREAT | os.O_WRONLY)",
        "h5py.File(path, 'w')",
        "np.savez_compressed(path, X=x)",
        "figure.savefig(path)",
    ],
)
def test_the_walk_sees(source):
    assert len(writes(source)) == 1
    assert writes(f"def f():\n    {source}") == [(writes(source)[0][0], 2)]


def test_the_walk_lets_pass():
    for source in ("open(path)", "path.open('rb')", "os.open(path, os.O_RDONLY)", "zip.open(a)"):
        assert writes(source) == []
    assert (
        writes("with _files.whole(p) as f:\n    np.savez(f, X=x)\n    h5py.File(f.name, 'w')") == []
    )


# ── links ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the user that no write may reach."""
    path = tmp_path / "victim"
    path.write_text("mine")
    return path


def test_a_link_is_replaced_by_write_and_refused_by_append(tmp_path, victim):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").symlink_to(victim)
    _files.write(folder / "a", "new")
    assert not (folder / "a").is_symlink()
    assert ((folder / "a").read_text(), victim.read_text()) == ("new", "mine")
    (folder / "b").symlink_to(victim)
    with pytest.raises(OSError, match="it is a symbolic link; remove it"):
        _files.append(folder / "b")
    (folder / "c").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="it is a symbolic link; remove it"):
        _files.append(folder / "c")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    assert sorted(p.name for p in folder.iterdir()) == ["a", "b", "c"]


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no regular file; remove it"):
        _files.append(tmp_path / "pipe")


def test_append_keeps_what_is_there(tmp_path, victim):
    with _files.append(victim) as file:
        file.write(b" too")
    assert victim.read_text() == "mine too"


def test_a_folder_that_is_a_link(tmp_path, victim):
    outside, inside = tmp_path / "outside", tmp_path / "run"
    outside.mkdir()
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    for write in (
        lambda: _files.write(inside / "link/a", "x", inside=inside),
        lambda: _files.append(inside / "link/a", inside=inside).close(),
    ):
        with pytest.raises(OSError, match=f"leads it to {outside}; remove the link"):
            write()
    assert list(outside.iterdir()) == []
    # the folder itself may be reached through a link: a disk for runs
    (tmp_path / "alias").symlink_to(inside)
    _files.write(tmp_path / "alias/a", "x", inside=tmp_path / "alias")
    assert (inside / "a").read_text() == "x"


def test_an_error_leaves_what_was_there(tmp_path, victim):
    with pytest.raises(TypeError), _files.whole(victim) as file:
        file.write("half")  # type: ignore[arg-type]
    assert victim.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["victim"]


def test_folders_that_are_made_are_private(tmp_path):
    before = os.umask(0o002)
    try:
        _files.make_private(tmp_path / "a/b/c")
    finally:
        os.umask(before)
    for name in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700


# ── links in each place ───────────────────────────────────────────────────────────────────────────


def _run(folder: Path) -> Any:
    from srnn.training.runs import Run

    return Run(folder)


def _checkpoint(folder: Path) -> None:
    import torch

    from srnn.training.runs import save_checkpoint

    run = _run(folder)
    save_checkpoint(run.checkpoint("last"), {"a": torch.zeros(1)}, {})


def _lock(folder: Path) -> None:
    with _run(folder).locked():
        pass


def _file_lock(folder: Path) -> None:
    from srnn.locks import FileLock

    with FileLock(folder / "claim"):
        pass


def _state(folder: Path) -> None:
    from srnn import ALIF, Layer, Readout, Stack
    from srnn.export.state import to_state

    to_state(Stack(Layer(2, 3, ALIF()), Readout(3, 2)), folder / "net.safetensors")


def _onnx(folder: Path) -> None:
    from srnn import ALIF, Layer, Readout, Stack
    from srnn.export.onnx import to_onnx

    to_onnx(Stack(Layer(2, 3, ALIF()), Readout(3, 2)), folder / "net.onnx")


def _nir(folder: Path) -> None:
    from srnn import LIF, Layer, Readout, Stack
    from srnn.export.nir import to_nir

    to_nir(Stack(Layer(2, 3, LIF()), Readout(3, 2)), folder / "net.nir", dt=0.001, rule="euler")


def _c(folder: Path) -> None:
    from srnn.export.model import write

    write(folder, {"model.c": "int x;\n"})


def _stream(folder: Path) -> None:
    from srnn import ALIF, Layer, Readout, Stack
    from srnn.stream import Stream

    Stream(Stack(Layer(2, 3, ALIF()), Readout(3, 2))).save(folder / "state")


def _wav(folder: Path) -> None:
    from srnn.datasets._audio import write_wav

    write_wav(folder / "a.wav", [0.0, 0.5], 8000)


def _sphere(folder: Path) -> None:
    from srnn.datasets._sphere import write_sphere

    write_sphere(folder / "a.WAV", [0.0, 0.5], 8000)


def _spikes(folder: Path) -> None:
    from srnn.datasets import own

    own.made_up(folder / "x.h5", "h5")


def _npz(folder: Path) -> None:
    from srnn.datasets import own

    own.made_up(folder / "x.npz", "npz")


def _kernel(folder: Path) -> None:
    from srnn._build import place

    place(b"code", folder / "a.so")


def _download(folder: Path) -> None:
    from srnn.datasets._fetch import _locked

    with _locked(folder / ".a.part") as file:
        file.truncate(0)


def _report(folder: Path) -> None:
    from srnn.training.runs import write_atomically

    write_atomically(folder / "report.html", b"<html>")


PLACES: dict[str, tuple[Callable[[Path], None], str]] = {
    "lock of a run": (_lock, ".lock"),
    "log of a run": (lambda f: _run(f).log({"epoch": 1}), "log.jsonl"),
    "rewound log": (lambda f: _run(f).rewind(0), "log.jsonl"),
    "JSON of a run": (lambda f: _run(f).write("metrics.json", {}), "metrics.json"),
    "checkpoint": (_checkpoint, "checkpoints/last.safetensors"),
    "lock of a sweep": (_file_lock, "claim"),
    "export to state": (_state, "net.safetensors"),
    "its description": (_state, "net.json"),
    "export to ONNX": (_onnx, "net.onnx"),
    "export to NIR": (_nir, "net.nir"),
    "export to C": (_c, "model.c"),
    "state of a stream": (_stream, "state"),
    "WAV": (_wav, "a.wav"),
    "SPHERE": (_sphere, "a.WAV"),
    "spikes": (_spikes, "x.h5"),
    "npz": (_npz, "x.npz"),
    "kernel cache": (_kernel, "a.so"),
    "download": (_download, ".a.part"),
    "report": (_report, "report.html"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_planted_link_leads_nowhere(place, tmp_path, victim):
    write, name = PLACES[place]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "checkpoints").mkdir()
    plant = folder / name
    plant.symlink_to(victim)
    try:
        write(folder)
    except (SrnnError, OSError) as error:
        assert "symbolic link" in str(error)  # noqa: PT017 (either way is right)
        assert plant.is_symlink()
    else:
        assert not plant.is_symlink()
        assert plant.stat().st_ino != victim.stat().st_ino
    assert victim.read_text() == "mine"


def test_a_linked_folder_of_checkpoints_is_refused(tmp_path):
    import torch

    from srnn._check import RunError
    from srnn.training.runs import Run, save_checkpoint

    outside, run = tmp_path / "outside", Run(tmp_path / "run")
    outside.mkdir()
    (outside / ".precious.part").write_text("mine")
    run.path.mkdir()
    (run.path / "checkpoints").symlink_to(outside)
    with pytest.raises(RunError, match=f"a symbolic link leads it to {outside}"):
        save_checkpoint(run.checkpoint("last"), {"a": torch.zeros(1)}, {})
    with run.locked():  # clears away what was left half-written: not there
        pass
    assert [p.name for p in outside.iterdir()] == [".precious.part"]
