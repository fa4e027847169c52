"""The ECG generator: deterministic, exactly labelled, and like the QT Database where it claims to
be.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from srnn._check import ConfigError
from srnn.datasets import Sample, ecg_sim, qtdb
from srnn.encode.level_crossing import LevelCrossing, normalise


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return ecg_sim.generate(200, seed=3)


def test_shapes_and_names(samples: list[Sample]) -> None:
    assert len(samples) == 200
    for i, s in enumerate(samples):
        assert s.name == s.group == f"sim/{i:04d}"
        assert (s.signal.shape, s.signal.dtype, s.rate, s.events) == (
            (1301, 2),
            np.float32,
            250.0,
            False,
        )
        assert len(s.meta["beats"]) == len(s.meta["r_peaks"]) >= 2
        assert s.meta["simulated"] is True
        assert 50 <= s.meta["bpm"] <= 100
    assert ecg_sim.CLASSES == qtdb.CLASSES


def test_deterministic_by_seed_and_independent_of_count(samples: list[Sample]) -> None:
    for again, s in zip(ecg_sim.generate(7, seed=3), samples[:7], strict=True):
        assert np.array_equal(again.signal, s.signal)
        assert np.array_equal(again.label, s.label)
    other = ecg_sim.generate(7, seed=4)
    assert not any(np.array_equal(o.signal, s.signal) for o in other for s in samples[:7])


def test_every_step_is_labelled_in_cycle_order(samples: list[Sample]) -> None:
    """k is followed by k + 1; only a premature beat steps from TP to QR."""
    jumps = checked = 0
    for s in samples:
        label = np.asarray(s.label)
        assert label.min() >= 0
        change = np.flatnonzero(np.diff(label)) + 1
        for t in change:
            a, b = label[t - 1], label[t]
            checked += 1
            if (a, b) == (5, 2):
                jumps += 1
            else:
                assert b == (a + 1) % 6
    premature = sum(s.meta["beats"].count("V") for s in samples)
    assert checked > 4000
    assert premature > 5
    assert abs(jumps - premature) <= 3  # those at the recording's very edge


def test_rs_begins_at_each_r_peak(samples: list[Sample]) -> None:
    checked = 0
    for s in samples:
        label, peaks = np.asarray(s.label), s.meta["r_peaks"]
        assert (label[peaks] == 3).all()
        assert (label[peaks[peaks > 0] - 1] == 2).all()
        assert np.array_equal(
            np.flatnonzero((label[1:] == 3) & (label[:-1] == 2)) + 1, peaks[peaks > 0]
        )
        checked += len(peaks)
    assert checked > 1000


def test_lead_peaks_where_the_label_says() -> None:
    """Without disturbance: in the window of a normal beat the larger lead has its largest excursion
    within 3 steps of R.
    """
    checked = hits = 0
    for s in ecg_sim.generate(100, seed=5, wander=0, mains=0, noise=0, ectopic=0):
        lead = s.signal[:, np.argmax(np.ptp(s.signal, axis=0))]
        for r in s.meta["r_peaks"]:
            if 60 < r < 1301 - 90:
                away = np.abs(lead[r - 60 : r + 90] - np.median(lead)).argmax() - 60
                hits += abs(int(away)) <= 3
                checked += 1
    assert checked > 400
    assert hits / checked > 0.97


def test_premature_beats_are_early_and_followed_by_a_pause() -> None:
    checked = 0
    for s in ecg_sim.generate(100, seed=6, ectopic=0.15, variability=0.0):
        rr = np.diff(s.meta["r_peaks"]) / 250 * s.meta["bpm"] / 60
        for k in range(1, len(rr)):
            if s.meta["beats"][k] == "V" and s.meta["beats"][k - 1] == "N":
                assert rr[k - 1] < 0.95
                assert rr[k - 1] + rr[k] == pytest.approx(2.0, abs=0.03)
                checked += 1
    assert checked > 40


def test_looks_like_qtdb(samples: list[Sample]) -> None:
    """Class shares within .02 of QTDB's; events at 0.3 deviations of the published order; beat rate
    as drawn.
    """
    label = np.stack([np.asarray(s.label) for s in samples])
    shares = [float((label == k).mean()) for k in range(6)]
    assert shares == pytest.approx([0.136, 0.067, 0.063, 0.048, 0.329, 0.356], abs=0.02)
    events = LevelCrossing(0.3)(normalise(np.stack([s.signal for s in samples])))
    assert events.shape == (200, 1301, 4)
    assert ((events.mean(axis=(0, 1)) > 0.06) & (events.mean(axis=(0, 1)) < 0.1)).all()
    rates = [60 * 250 / np.diff(s.meta["r_peaks"]).mean() / s.meta["bpm"] for s in samples]
    assert np.mean(rates) == pytest.approx(1.0, abs=0.03)
    height = np.median([np.ptp(s.signal[:, 0]) for s in samples])
    assert 0.5 < height < 3.0  # mV


def test_other_rates_and_lengths() -> None:
    """At 500 Hz the same waves last twice the steps; short and long recordings work."""
    slow, fast = (
        ecg_sim.generate(30, steps=round(5.2 * r), rate=r, seed=1) for r in (250.0, 500.0)
    )
    assert np.mean([s.label == 4 for s in slow]) == pytest.approx(
        np.mean([s.label == 4 for s in fast]), abs=0.01
    )
    assert ecg_sim.generate(1, steps=1)[0].signal.shape == (1, 2)
    assert len(ecg_sim.generate(1, steps=15000)[0].meta["r_peaks"]) >= 45


def test_fast_enough() -> None:
    start = time.process_time()  # what others do on the machine does not count
    assert len(ecg_sim.generate(60)) == 60
    assert time.process_time() - start < 5  # a tenth of 600, with slack for a busy machine


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "count is 0"),
        ({"steps": 0}, "steps 0"),
        ({"rate": 50.0}, r"generate\(rate\) is 50"),
        ({"noise": -1.0}, r"generate\(noise\) is -1"),
        ({"ectopic": 0.9}, r"generate\(ectopic\) is 0.9"),
        ({"variability": float("nan")}, r"generate\(variability\) is nan"),
        ({"seed": -1}, r"generate\(seed\) is -1"),
    ],
)
def test_bad_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ecg_sim.generate(**{"count": 1, **settings})  # type: ignore[arg-type]
