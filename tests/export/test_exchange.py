"""`srnn export RUN --to onnx|nir|torch|state`: files, their agreement with the network on the test
part, and what is refused.
"""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from srnn import tasks
from srnn.export.nir_read import from_nir
from srnn.export.onnx_play import OnnxPlayer
from srnn.tasks.settings import override
from srnn.training.runs import Run, fingerprint, save_checkpoint

SMALL = (
    "network.hidden=[8]",
    "network.output=leaky",
    "network.beta=1.8",
    "data.train=2",
    "data.validation=2",
    "data.test=2",
    "data.steps=60",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on simulated ECG, not trained: adaptive neurons, and LIF neurons,
    which NIR knows.
    """
    root = tmp_path_factory.mktemp("runs")
    for neuron in ("ALIF", "LIF"):
        task = override(tasks.load("ecg_sim"), [*SMALL, f"network.neuron={neuron}"])
        run = Run.create(root / neuron.lower(), task, 0, fingerprint(task.load(None)), {})
        torch.manual_seed(0)
        save_checkpoint(
            run.checkpoint("best"),
            {f"net.{k}": v for k, v in task.build().state_dict().items()},
            {},
        )
    return root


@pytest.mark.parametrize(
    ("form", "run", "files"),
    [
        ("onnx", "alif", {"net.onnx", "cell.onnx", "fidelity.json"}),
        ("nir", "lif", {"net.nir", "fidelity.json"}),
        ("torch", "lif", {"net.pt2", "cell.pt2", "fidelity.json"}),
        ("state", "alif", {"net.safetensors", "net.json", "fidelity.json"}),
    ],
)
def test_export(
    form: str, run: str, files: set[str], runs: Path, tmp_path: Path, srnn: Callable[..., Any]
) -> None:
    code, out, err = srnn(
        "export", runs / run, "--to", form, "--recordings", "2", "--out", tmp_path / "out", "--json"
    )
    assert code == 0, err
    assert {file.name for file in (tmp_path / "out").iterdir()} == files
    shown = json.loads(out)
    assert (shown["format"], shown["simulated"]) == (form, True)
    assert set(shown["bytes"]) == files - {"fidelity.json"}
    stored = json.loads((tmp_path / "out" / "fidelity.json").read_text())
    assert stored == {k: v for k, v in shown.items() if k != "folder"}
    assert stored["recordings"] == 2
    assert stored["prediction_agreement"] > 0.99
    assert stored["accuracy_after"] == pytest.approx(stored["accuracy_before"], abs=0.01)
    if form == "nir":
        assert (stored["dt"], stored["score_error"]) == (1 / 250, 0.0)
        assert [
            type(p.neuron).__name__ for p in from_nir(tmp_path / "out" / "net.nir").parts()
        ] == ["LIF", "Leaky"]
    if form != "torch":
        assert stored["spike_agreement"] > 0.99
    if form == "onnx":
        assert stored["cell_nanoseconds_per_step"] > 0
        assert (
            OnnxPlayer(tmp_path / "out" / "cell.onnx").form,
            OnnxPlayer(tmp_path / "out" / "net.onnx").form,
        ) == ("cell", "scan")


def test_default_folder_and_table(runs: Path, srnn: Callable[..., Any]) -> None:
    code, out, _ = srnn(
        "export",
        runs / "lif",
        "--to",
        "nir",
        "--dt",
        "0.0001",
        "--rule",
        "euler",
        "--recordings",
        "1",
    )
    assert code == 0
    assert "SIMULATED DATA" in out
    assert "prediction_agreement" in out
    assert (
        json.loads((runs / "lif" / "export" / "nir" / "fidelity.json").read_text())["rule"]
        == "euler"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("alif", "--to", "nir"), "ALIF subtracts θ[t] s[t-1]"),
        (("lif", "--to", "nir", "--rule", "exact"), "there is no 'exact'"),
        (("lif", "--to", "pickle"), "there is no 'pickle'"),
    ],
)
def test_refused(
    arguments: tuple[str, ...], message: str, runs: Path, tmp_path: Path, srnn: Callable[..., Any]
) -> None:
    code, _, err = srnn("export", runs / arguments[0], *arguments[1:], "--out", tmp_path / "out")
    assert code == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_the_page_runs() -> None:
    failed, tried = doctest.testfile(
        str(Path(__file__).parents[2] / "docs" / "export.md"), module_relative=False
    )
    assert failed == 0
    assert tried >= 30


@pytest.mark.parametrize(
    ("form", "option"),
    [
        ("onnx", ("--bits", 8)),
        ("nir", ("--name", "heart")),
        ("c", ("--dt", 0.1)),
        ("state", ("--rule", "euler")),
    ],
)
def test_an_option_of_another_form_is_refused(form, option, srnn, tmp_path):
    code, out, err = srnn("export", tmp_path, "--to", form, *option)
    assert (code, out) == (2, "")
    assert f"{option[0]} is not for --to {form}. Leave it off." in err
