"""The README's Python is a doctest; every example runs; the neuron of the docs is the neuron of the
example.
"""

from __future__ import annotations

import doctest
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def test_readme_quick_start() -> None:
    failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert failed == 0
    assert tried >= 12


@pytest.mark.parametrize(("page", "at_least"), [("baselines", 10)])
def test_code_of_a_page(page: str, at_least: int) -> None:
    failed, tried = doctest.testfile(str(ROOT / "docs" / f"{page}.md"), module_relative=False)
    assert failed == 0
    assert tried >= at_least


@pytest.mark.parametrize(("name", "at_least"), [("own_neuron", 0.8), ("ecg_from_python", 0.3)])
def test_example(name: str, at_least: float, capsys: pytest.CaptureFixture[str]) -> None:
    assert {path.stem for path in EXAMPLES} == {
        "own_neuron",
        "ecg_from_python",
        "stream_ecg",
        "gestures",
        "surrogates",
    }  # gestures is run by test_to_c
    accuracy = _load(ROOT / "examples" / f"{name}.py").main()
    assert accuracy > at_least
    assert "MAC" in capsys.readouterr().out


def test_a_stream_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert _load(ROOT / "examples" / "stream_ecg.py").main(200) == 1.0
    shown = capsys.readouterr().out
    assert "confident since step" in shown


def test_neuron_of_the_docs_is_the_example() -> None:
    docs = (ROOT / "docs" / "own-neuron.md").read_text()
    code = docs.split("```python\n")[2].split("```")[0].strip()
    assert code in (ROOT / "examples" / "own_neuron.py").read_text()
    assert code.count("\n") >= 14


def test_no_page_has_a_gap_left_to_fill() -> None:
    pages = [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
    ]
    lines = [(page.name, line) for page in pages for line in page.read_text().splitlines()]
    assert [
        (name, line) for name, line in lines if line.strip().isalpha() and line.strip().isupper()
    ] == []
    assert len(lines) > 400


def test_documents_link_to_files_that_exist() -> None:
    import re

    checked = 0
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
            checked += 1
    assert checked >= 8
