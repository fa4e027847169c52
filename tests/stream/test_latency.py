"""The latency benchmark compares like with like: every implementation gives the potentials of the
whole sequence.
"""

from __future__ import annotations

from benchmarks import stream


def test_every_row_is_checked_against_the_whole_sequence():
    row = stream.measure("ecg", 0.1, 20, 1)
    assert {k: row["parity"][k] for k in ("step", "chunk", "push", "module")} == dict.fromkeys(
        ("step", "chunk", "push", "module"), "bits"
    )
    assert all(v == "bits" or float(v) < 1e-4 for v in row["parity"].values())
    assert 0.02 < row["measured"] < 0.3
    assert set(row["ns"]) >= {"step", "chunk", "push", "module", "eager"}
    assert {"ort", "ort scan"} <= set(row["ns"]) or "No module" in row["ort"]
    assert all(row["ns"][k] >= row["best"][k] > 0 for k in row["ns"])
