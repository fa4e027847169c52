"""Every block of Python in README and docs is run: here, by the test that is named, or as a
notebook.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import srnn

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```python\n(.*?)^```", re.M | re.S)

HERE = {
    "export-c": 1,
    "gpu": 2,
    "own-data": 1,
    "papers": 1,
    "report": 1,
    "speed": 1,
    "start": 1,
    "stream": 1,
    "surrogates": 1,
}
"""Pages whose blocks are run by this file, in order, and how many they have."""

ELSEWHERE = {
    "README": (1, "tests/test_examples.py"),
    "analysis": (7, "tests/analysis/test_comparison.py"),
    "baselines": (1, "tests/test_examples.py"),
    "compress": (1, "tests/test_compress.py"),
    "export": (5, "tests/export/test_exchange.py"),
    "long-sequences": (1, "tests/nn/test_segments.py"),
    "own-neuron": (7, "docs/notebooks.py"),
    "tutorial-ecg": (7, "docs/notebooks.py"),
}
"""The others: how many blocks, and what runs them; it names the page."""


def blocks(page: str) -> list[str]:
    """Return the blocks of a page."""
    path = ROOT / "README.md" if page == "README" else ROOT / "docs" / f"{page}.md"
    return FENCE.findall(path.read_text())


def test_every_block_is_run_somewhere() -> None:
    pages = ["README", *(p.stem for p in sorted((ROOT / "docs").glob("*.md")))]
    found = {page: len(blocks(page)) for page in pages if blocks(page)}
    assert found == HERE | {page: n for page, (n, _) in ELSEWHERE.items()}, (
        "a new block: let a test run it, and count it here"
    )
    for page, (_, runner) in ELSEWHERE.items():
        assert page in (ROOT / runner).read_text(), f"{runner} does not name {page}"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs."""
    from srnn import tasks
    from srnn.tasks.settings import override
    from srnn.training.train import fit

    folder = tmp_path_factory.mktemp("docs") / "ecg-seed1"
    fit(
        override(
            tasks.load("ecg_sim"), ["epochs=2", "data.train=8", "data.validation=4", "data.test=4"]
        ),
        folder,
        seed=1,
    )
    return folder


def _given(tmp_path: Path) -> dict[str, Any]:
    """Return what the pages take as given: a network, recordings, a signal, labels."""
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    net = srnn.Stack(srnn.Layer(4, 8, srnn.ALIF()), srnn.Readout(8, 3)).eval()
    with torch.no_grad():
        net.layers[0].weight.mul_(20)
    return {
        "torch": torch,
        "srnn": srnn,
        "net": net,
        "x": (torch.rand(4, 30, 4) < 0.2).float(),
        "lengths": torch.tensor([30, 20, 30, 1]),
        "samples": np.ones((4, 4), np.float32),
        "signal": draw.normal(size=(200, 2)).cumsum(0),
        "classes": 3,
        "X": draw.normal(size=(6, 50, 3)),
        "y": np.array([0, 1, 2, 0, 1, 2]),
        "person": np.array([0, 0, 0, 1, 1, 1]),
    }


@pytest.mark.parametrize("page", [p for p in HERE if p != "papers"])
def test_blocks_of_a_page(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "ecg-seed1").symlink_to(run_folder)
    names = _given(tmp_path)
    for code in blocks(page):
        exec(compile(code, f"docs/{page}.md", "exec"), names)
    if page == "export-c":
        assert torch.equal(
            names["potential"], names["same"](names["x"], names["lengths"]).potential
        )
    made = {
        "own-data": "recordings.npz",
        "report": "ecg.html",
        "stream": "state.safetensors",
        "export-c": "ecg/ecg.c",
    }.get(page)
    assert made is None or (tmp_path / made).stat().st_size > 100


def test_the_table_of_the_page_papers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("papers")
    few = code.replace(
        '"epochs=2")', '"epochs=1", "data.train=8", "data.validation=4", "data.test=4")'
    )
    assert few != code
    exec(compile(few, "docs/papers.md", "exec"), {})
    assert capsys.readouterr().out.count(" neurons ") == 2
