"""Whole pickled modules are read as data: the tensors come out, and nothing in the file is run."""

from __future__ import annotations

import io
import os
import pickle
import random
import re
import struct
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import srnn
from srnn import tasks
from srnn._check import ConfigError, DataError
from srnn.export.published import CLASSES, NAMES, from_published, shapes
from srnn.papers.published import read

pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")


def box(name: str, module: types.ModuleType) -> type[nn.Module]:
    """A class of modules that only its author has."""
    kind = type(name, (nn.Module,), {"__module__": module.__name__})
    setattr(module, name, kind)
    return kind


def whole_module(tensors: dict[str, Tensor], home: types.ModuleType) -> nn.Module:
    """A module with those parameters, its parts of classes of their own, and, as in the published
    files, states left from the last batch and a linear map for each pair of weight and bias.
    """
    root = box("Network", home)()
    part = box("Part", home)
    for name, value in tensors.items():
        owner, (*path, last) = root, name.split(".")
        for k, step in enumerate(path):
            if not hasattr(owner, step):
                linear = f"{'.'.join(path[: k + 1])}.weight" in tensors
                owner.add_module(step, nn.Linear(1, 1) if linear else part())
            owner = getattr(owner, step)
        setattr(owner, last, nn.Parameter(value))
    root.criterion, root.mem = nn.CrossEntropyLoss(), torch.zeros(30, 7)
    root.b_j0, root.sizes, root.place = 1.6, (1, [2]), torch.device("cpu")
    return root


def drawn(name: str) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return {
        key: 20 + torch.rand(shape, generator=draw)
        if "tau" in key
        else torch.randn(shape, generator=draw)
        for key, shape in shapes(name).items()
    }


@pytest.fixture
def home() -> Any:
    """A Python module of the author's, gone when the file is read."""
    made = types.ModuleType("the_authors_code")
    sys.modules[made.__name__] = made
    yield made
    sys.modules.pop(made.__name__, None)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_whole_pickled_module_is_imported(
    name: str, zipped: bool, home: types.ModuleType, tmp_path: Path
) -> None:
    path, tensors = tmp_path / "model.pth", drawn(name)
    torch.save(whole_module(tensors, home), path, _use_new_zipfile_serialization=zipped)
    del sys.modules[home.__name__]
    found = read(path)
    assert sorted(found) == sorted(tensors)
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)
    net = from_published(name, found)
    x = torch.randn(2, 12, shapes(name)[next(iter(shapes(name)))][1])
    with torch.no_grad():
        out = net(x).potential
    assert out.shape == (2, 12, len(CLASSES[name]))
    assert torch.isfinite(out).all()
    assert home.__name__ not in sys.modules


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dictionary_and_views_of_one_storage(zipped: bool, tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {"a": base, "b": base.T[1:], "c": base[2, 1:3], "n": torch.tensor(3), "e": base[:0]}
    torch.save(tensors, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    torch.save(net.state_dict(), tmp_path / "b.pt", _use_new_zipfile_serialization=zipped)
    for file, wanted in (("a.pt", tensors), ("b.pt", net.state_dict())):
        found = read(tmp_path / file)
        assert list(found) == list(wanted)
        assert all(torch.equal(found[k], wanted[k]) for k in wanted)


class _Calls:
    """What pickle calls when it is loaded."""

    def __init__(self, called: Callable[..., Any], *args: Any) -> None:
        self.called, self.args = called, args

    def __reduce__(self) -> Any:
        return self.called, self.args


class _Stateful:
    def __setstate__(self, state: Any) -> None:
        raise AssertionError("run")


HOSTILE = {
    "posix.system": lambda flag: _Calls(os.system, f"touch {flag}"),
    "builtins.eval": lambda flag: _Calls(eval, f"open({str(flag)!r}, 'w')"),
    "builtins.exec": lambda flag: _Calls(exec, f"open({str(flag)!r}, 'w')"),
    "builtins.getattr": lambda flag: _Calls(getattr, _Calls(getattr, "", "join"), "__self__"),
    "builtins.open": lambda flag: _Calls(open, str(flag), "w"),
    "torch.load": lambda flag: _Calls(torch.load, str(flag)),
    "the system of posix": lambda flag: os.system,
    "an object": lambda flag: _object(),
}


def _object() -> _Stateful:
    made = _Stateful()
    made.text = "x"
    return made


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_holds_code_is_refused_by_its_name(
    what: str, zipped: bool, home: types.ModuleType, tmp_path: Path
) -> None:
    module, flag = whole_module(drawn("ecg"), home), tmp_path / "it-ran"
    module.extra = HOSTILE[what](flag)
    path = tmp_path / "model.pth"
    torch.save(module, path, _use_new_zipfile_serialization=zipped)
    name = {
        "builtins.getattr": r"(builtins|__builtin__)\.getattr",
        "builtins.eval": r"(builtins|__builtin__)\.eval",
        "builtins.exec": r"(builtins|__builtin__)\.exec",
        "builtins.open": r"(builtins|__builtin__|io|_io)\.open",
        "torch.load": r"torch\.serialization\.load",
        "the system of posix": r"posix\.system",
        "an object": r"_Stateful",
    }.get(what, re.escape(what))
    with pytest.raises(DataError, match=rf"{name}.*Nothing of it was run"):
        read(path)
    assert not flag.exists()


def archive(text: bytes, **parts: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("archive/data.pkl", text)
        for name, content in parts.items():
            file.writestr(f"archive/data/{name[1:]}", content)
    return made.getvalue()


_TENSOR = (
    b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n"
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK%ctQ"
    b"K\x00%s%s\x89}tRs."
)


def tensor(count: int, shape: bytes, strides: bytes) -> bytes:
    return _TENSOR.replace(b"%c", bytes([count])).replace(b"%s", shape, 1).replace(b"%s", strides)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04 no archive", "the archive is damaged"),
        (b"not a file by torch", "pickled text is damaged|has the operation"),
        (pickle.dumps({"a": 1}, 2), "it is no file by torch.save"),
        (archive(b"\x80\x02}."), ""),
        (archive(b"\x80\x02K\x01."), "neither a module nor a state dictionary"),
        (archive(b"\x80\x02}q\x00h\x01."), "pickled text is damaged"),
        (archive(b"\x80\x02}"), "pickled text is damaged|ends early"),
        (archive(b"\x80\x02(ctorch\nSize\nios\nsystem\n."), "has the operation"),
        (archive(b"\x80\x02}(((((l(ttu."), "operation LIST"),
        (archive(b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\x00\x00."), "damaged"),
        (archive(b"\x80\x02}]K\x01s."), "a key of a dictionary in it is a list"),
        (archive(tensor(4, b"K\x02\x85", b"K\x01\x85"), _0=bytes(16)), ""),
        (archive(tensor(4, b"K\x05\x85", b"K\x01\x85"), _0=bytes(16)), "lies beyond its 4"),
        (archive(tensor(4, b"K\xff\x85", b"K\x00\x85"), _0=bytes(16)), "lies beyond its 4"),
        (archive(tensor(4, b"K\x02\x85", b"K\x01\x85"), _0=bytes(15)), "are cut off"),
        (archive(tensor(4, b"K\x02\x85", b"K\x01\x85")), "no numbers called '0'"),
    ],
)
def test_a_damaged_file_says_what_is_wrong(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    if not message:
        read(path)
        return
    with pytest.raises(DataError, match=message):
        read(path)


def test_no_file_a_compressed_archive_and_a_module_that_holds_itself(
    home: types.ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "none.pth")
    with pytest.raises(DataError, match="is not read"):
        read(tmp_path)
    with pytest.raises(DataError, match="expected the path of a file"):
        read(3)  # type: ignore[arg-type]
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02}." + bytes(10**6))
    with pytest.raises(DataError, match=r"torch\.save compresses none"):
        read(tmp_path / "a.pth")
    module = whole_module(drawn("ecg"), home)
    module._modules["again"] = module
    torch.save(module, tmp_path / "b.pth")
    with pytest.raises(DataError, match="one that holds itself"):
        read(tmp_path / "b.pth")


def test_damaged_bytes_give_one_error(home: types.ModuleType, tmp_path: Path) -> None:
    """Random damage in both forms: the tensors, or a DataError, and nothing else."""
    draw, refused, path = random.Random(0), 0, tmp_path / "model.pth"
    small = {"a.weight": torch.ones(2, 3), "a.bias": torch.ones(2), "tau": torch.ones(2)}
    for zipped in (True, False):
        torch.save(whole_module(small, home), path, _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        for _ in range(400):
            content = bytearray(whole)
            for _ in range(draw.randint(1, 4)):
                content[draw.randrange(len(content))] = draw.randrange(256)
            if draw.random() < 0.2:
                del content[draw.randrange(len(content)) :]
            path.write_bytes(content)
            try:
                read(path)
            except DataError:
                refused += 1
    assert 300 < refused <= 800


def test_the_older_form_says_how_many_numbers_there_are(
    home: types.ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "model.pth"
    torch.save({"a": torch.ones(5)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    count = struct.pack("<q", 5)
    assert content.count(count) == 1
    path.write_bytes(content.replace(count, struct.pack("<q", 2**40)))
    with pytest.raises(DataError, match="expected 5"):
        read(path)


# ── where the networks start, and in which order their classes are ────────────────────────────────


@pytest.mark.parametrize("name", NAMES)
def test_the_adaptation_starts_as_published(name: str) -> None:
    net = from_published(name, drawn(name))
    wanted = 1.6 if name == "gsc" else 0.01
    seen = 0
    for layer, state in zip(net.parts(), net.start(2), strict=True):
        assert isinstance(layer, srnn.Layer)
        assert not bool((state["u"].abs() + state["s"]).any())
        if "eta" in state:
            assert torch.allclose(state["eta"], torch.tensor(wanted))
            seen += 1
    assert seen == {"ecg": 2, "smnist": 4, "psmnist": 4, "shd": 2, "ssc": 2, "gsc": 2}[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_outputs_come_in_a_tasks_order(name: str) -> None:
    tensors, task = drawn(name), tasks.load(name)
    x = torch.randn(2, 9, shapes(name)[next(iter(shapes(name)))][1])
    with torch.no_grad():
        published = from_published(name, tensors)(x).potential
        ordered = from_published(name, tensors, classes=task.classes)(x).potential
    for k, label in enumerate(task.classes):
        assert torch.equal(ordered[..., k], published[..., CLASSES[name].index(label)])
    assert torch.equal(ordered, published) == (name != "gsc")
    with pytest.raises(ConfigError, match="in any order"):
        from_published(name, tensors, classes=task.classes[1:])
    with pytest.raises(ConfigError, match="in any order"):
        from_published(name, tensors, classes="left")


def test_the_published_order_of_spoken_commands() -> None:
    assert " ".join(CLASSES["gsc"]) == (
        "left down yes right off up on no go stop _silence_ _unknown_"
    )


def test_what_is_no_dictionary_of_tensors_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tensors is a module.*Pass module.state_dict"):
        from_published("ecg", nn.Linear(2, 3))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="tensors is a str"):
        from_published("ecg", "model.pth")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"i2h\.weight is a str"):
        from_published("ecg", {"i2h.weight": "text"})
    half = {key: value.half() for key, value in drawn("ecg").items()}
    with pytest.raises(ConfigError, match=r"types torch.float16, expected .*tensor.float"):
        from_published("ecg", half)
