"""What importing loads, and where names lie: `import srnn` alone loads nothing, its names are the
same for people, type checkers and at run time, and modules are imported by their names.
"""

from __future__ import annotations

import ast
import functools
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import srnn

HERE = Path(srnn.__file__).parent
ALIASES = ("baselines", "figures", "networks", "runs", "train")


@functools.cache
def loaded(statement: str) -> frozenset[str]:
    """Top-level modules in sys.modules after a statement, in a fresh interpreter."""
    names = "sorted({name.split('.')[0] for name in sys.modules})"
    code = f"import json, sys; {statement}; print(json.dumps({names}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return frozenset(json.loads(done.stdout))


def test_importing_loads_neither_torch_nor_numpy():
    """Nothing but modules of the standard library; a name that is used brings what it needs."""
    after = loaded("import srnn")
    assert after - loaded("pass") - set(sys.stdlib_module_names) == {"srnn"}
    assert {"torch", "numpy"} <= loaded("import srnn; srnn.Layer, srnn.Stream")


def test_a_network_loads_no_more_than_torch_and_numpy():
    """scipy is for `credible_interval` alone, and loaded when that is called."""
    parts = "energy, kernels.trace, kernels.scan, nn.networks, metrics, decode, encode, datasets"
    statement = "import " + ", ".join(f"srnn.{part}" for part in parts.split(", "))
    before = loaded("import torch, numpy")
    # torch brings none of these itself: that they are missing means something
    assert not before & {"scipy", "matplotlib", "rich", "jsonargparse", "h5py", "wfdb", "librosa"}
    assert loaded(statement) - before - set(sys.stdlib_module_names) == {"srnn"}


def test_the_measure_finds_a_library():
    assert "safetensors" in loaded("import safetensors")


# ── public names ──────────────────────────────────────────────────────────────────────────────────


def imported(file: Path, *, checking: bool = False) -> dict[str, tuple[str, str]]:
    """Return the names that a file imports from others as public, with (module, name there);
    checking: those of its `if TYPE_CHECKING:` only.
    """
    body = ast.parse(file.read_text()).body
    if checking:
        body = [
            inner
            for node in body
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in node.body
        ]
    return {
        alias.asname or alias.name: (str(node.module), alias.name)
        for node in body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }


def test_type_checkers_see_the_names_that_are_loaded():
    modules = {name: ("srnn", name) for name in srnn._MODULES}
    names = {name: (place, name) for place, many in srnn._NAMES.items() for name in many}
    assert not modules.keys() & names.keys()
    assert len(modules) == len(srnn._MODULES)
    assert imported(HERE / "__init__.py", checking=True) == modules | names
    assert len(modules | names) > 40
    assert set(dir(srnn)) >= modules.keys() | names.keys() | {"__version__"}


@pytest.mark.parametrize("name", srnn._MODULES)
def test_every_module_loads(name):
    assert getattr(srnn, name) is importlib.import_module(f"srnn.{name}")


@pytest.mark.parametrize("name", srnn._PLACES)
def test_every_name_loads(name):
    assert getattr(srnn, name) is getattr(importlib.import_module(srnn._PLACES[name]), name)


def test_a_name_that_is_none_is_an_error():
    with pytest.raises(AttributeError, match="module 'srnn' has no attribute 'Lyaer'"):
        srnn.Lyaer  # noqa: B018


@pytest.mark.parametrize("alias", ALIASES)
def test_names_at_their_earlier_place_are_the_same_objects(alias):
    module, names = importlib.import_module(f"srnn.{alias}"), imported(HERE / f"{alias}.py")
    assert names
    for name, (place, there) in names.items():
        assert getattr(module, name) is getattr(importlib.import_module(place), there)
        assert place.split(".")[1] in {"nn", "report", "training"}
    assert {n for n in vars(module) if not n.startswith("_")} == names.keys()


def test_the_top_level_reads_like_a_table_of_contents():
    files = [path.name for path in HERE.iterdir() if path.is_file()]
    assert len(files) <= 22, sorted(files)


# ── imports that the contract of the floors does not see ──────────────────────────────────────────

DYNAMIC = {"__init__.py": 2, "cli/main.py": 1, "tasks/__init__.py": 1}
"""Where a module is imported by a name that is only known at run time, and how often: the lazy
names, the command, the task.
"""


def dynamic(source: str) -> list[str]:
    """Return the imports of a source text that are no import statements, whatever they name."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        ast.unparse(call)
        for call in calls
        if ast.unparse(call.func).split(".")[-1] in {"import_module", "__import__"}
    ]


def test_modules_are_imported_by_statements():
    files = sorted(HERE.rglob("*.py"))
    found = {str(f.relative_to(HERE)): dynamic(f.read_text()) for f in files}
    assert len(found) > 200
    assert {name: len(calls) for name, calls in found.items() if calls} == DYNAMIC, (
        "import-linter does not see these; write `from srnn.… import …`, inside a function if "
        "loading it early costs too much"
    )


def test_the_search_sees_every_way():
    ways = (
        'importlib.import_module("srnn.kernels.ops")',
        'import_module(f"srnn.datasets.{name}")',
        'import_module(f"{__name__}.{paper}")',
        '__import__("srnn.stream")',
        'builtins.__import__(".stream")',
    )
    for way in ways:
        assert len(dynamic(f"def f(name, paper):\n    return {way}.TABLES")) == 1, way
    assert not dynamic('from srnn import kernels\nx = "import_module"')
