"""`ecg` on raw records: WFDB files in QTDB's layout, read, labelled, cut, encoded and trained on,
parts disjoint by person.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from srnn import tasks
from srnn.encode.level_crossing import LevelCrossing, normalise
from srnn.tasks.settings import override
from srnn.training.train import fit

RECORDS = ("sel100", "sel102", "sel103", "sel104", "sel30", "sele0121", "sele0122")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with small raw records, made by the writer of tests/datasets/test_qtdb.py."""
    path = Path(__file__).parent.parent / "datasets" / "test_qtdb.py"
    spec = importlib.util.spec_from_file_location("raw_records", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("data")
    (folder / "qtdb" / "1.0.0").mkdir(parents=True)
    for name in RECORDS:
        module._record(folder / "qtdb" / "1.0.0", name)
    return folder


def test_raw_records_train(root, tmp_path):
    settings = [
        "data.source=raw",
        "data.steps=400",
        "data.validation=0.3",
        "data.test=0.3",
        "epochs=1",
        "batch=4",
        "network.hidden=[5]",
    ]
    task = override(tasks.load("ecg"), settings)
    parts = task.load(root)
    groups = [{s.group for s in part} for part in (parts.train, parts.validation, parts.test)]
    assert set.union(*groups) == {
        "sel100",
        "sel102",
        "sel103",
        "sel104",
        "sel30",
        "sele0121+sele0122",
    }
    assert sum(len(g) for g in groups) == 6  # no person in two parts
    assert "no record and no person" in parts.note
    counted = 0
    for sample in (*parts.train, *parts.validation, *parts.test):
        assert sample.signal.shape == (400, 4)
        assert sample.events
        assert set(np.unique(sample.signal)) == {0.0, 1.0}
        assert sample.meta["signal"].shape == (400, 2)
        counted += 1
    assert counted >= len(RECORDS)
    result = fit(task, tmp_path / "run", data_dir=root)
    assert result["test_recordings"] == len(parts.test)
    assert result["data_note"] == parts.note


def test_reconstruction_error_at_the_threshold_of_the_task(root):
    """One event a step cannot follow a QRS at 0.3 standard deviations: what is lost is measured
    here, and gone where L covers the steepest step.
    """
    raw = override(
        tasks.load("ecg"),
        ["data.source=raw", "data.steps=400", "data.validation=0.3", "data.test=0.3"],
    ).data.load(root)
    errors, checked = [], 0
    for sample in (*raw.train, *raw.validation, *raw.test):
        signal = normalise(sample.signal)
        errors.append(LevelCrossing(0.3).error(signal).max())
        steepest = float(np.abs(np.diff(signal, axis=0)).max())
        assert LevelCrossing(steepest).error(signal).max() <= 1 + 1e-9
        checked += 1
    assert checked >= len(RECORDS)
    assert min(errors) > 3  # levels: the bound of one level does not hold at 0.3
