"""What `import srnn` loads: torch, numpy, and nothing that these do not load themselves."""

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

LATER = {
    "scipy",
    "matplotlib",
    "rich",
    "jsonargparse",
    "safetensors",
    "requests",
    "wfdb",
    "h5py",
    "soundfile",
    "librosa",
    "kaldi_native_fbank",
    "numba",
    "yaml",
    "tensorboard",
    "pandas",
}


@functools.cache
def loaded(statement: str) -> frozenset[str]:
    """Top-level modules in sys.modules after a statement, in a fresh interpreter."""
    code = (
        f"import json, sys; {statement}; print(json.dumps(sorted({{name.split('.')[0] for "
        f"name in sys.modules}})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return frozenset(json.loads(done.stdout))


def test_importing_loads_nothing_else():
    """Names are loaded when they are used; then torch and NumPy, the package and modules of the
    standard library.
    """
    assert loaded("import srnn") - loaded("pass") - set(sys.stdlib_module_names) == {"srnn"}
    before, after = loaded("import torch, numpy"), loaded("import srnn; srnn.Layer, srnn.Stream")
    assert after - before - set(sys.stdlib_module_names) == {"srnn"}
    assert "torch" in after
    assert not (after - before) & LATER
    # torch itself brings at most a few of them: the list means something
    assert len(LATER - before) >= 13


SOURCE = Path(srnn.__file__).parent


def test_names_are_the_same_for_type_checkers_and_at_run_time():
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    (block,) = [n for n in tree.body if isinstance(n, ast.If)]
    shown = {(n.module, a.name) for n in block.body for a in n.names}
    named = {(place, name) for place, names in srnn._NAMES.items() for name in names}
    assert shown == named | {("srnn", name) for name in srnn._MODULES}
    assert len(shown) > 40
    for place, name in shown:
        value = getattr(srnn, name)
        assert value is getattr(importlib.import_module(place), name)
        assert name in dir(srnn)
    with pytest.raises(AttributeError, match="has no attribute 'Lair'"):
        srnn.Lair  # noqa: B018


ALIASES = {
    "baselines": "nn.baselines",
    "figures": "report.figures",
    "networks": "nn.networks",
    "runs": "training.runs",
    "train": "training.train",
}


def test_earlier_places_hold_the_same_names():
    found = 0
    for old, new in ALIASES.items():
        here, there = (importlib.import_module(f"srnn.{name}") for name in (old, new))
        names = [n for n in vars(here) if not n.startswith("_")]
        assert all(getattr(here, n) is getattr(there, n) for n in names)
        found += len(names)
    assert found >= 10


def test_the_top_level_is_a_table_of_contents():
    assert len(list(SOURCE.glob("*.py"))) <= 22


def test_modules_are_named_where_they_are_imported():
    """import-linter does not see `import_module`: it is left to the command that is asked for, the
    task that is asked for, and the names of the package.
    """
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
                "import_module",
                "__import__",
            ):
                what = ast.unparse(node.args[0])
                if "scipy" not in what:
                    found.append(path.relative_to(SOURCE).as_posix())
    assert sorted(set(found)) == ["__init__.py", "cli/main.py", "tasks/__init__.py"]
    assert len(found) == 4


def test_energy_and_metrics_load_no_more():
    """scipy is for `credible_interval` alone, and loaded when that is called."""
    after = loaded("import srnn.energy, srnn.kernels.trace, srnn.metrics, srnn.decode")
    assert after - loaded("import torch, numpy") - set(sys.stdlib_module_names) == {"srnn"}


def test_the_measure_finds_a_library():
    assert "safetensors" in loaded("import safetensors")
