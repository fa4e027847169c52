"""Kaldi filterbanks: frames by formula, the published frame counts, the assumed rate, bad input."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from srnn._check import ConfigError, DataError, ShapeError, SrnnError
from srnn.encode.fbank import Filterbank

_LOG_FLOOR = float(np.log(np.finfo(np.float32).eps))


def _sound(samples: int = 16000) -> np.ndarray:
    t = np.arange(samples) / 16000
    return (
        0.1
        + 0.4 * np.sin(2 * np.pi * 1500 * t) * t
        + 0.01 * np.random.default_rng(0).normal(size=samples)
    ).astype(np.float32)


def _frame(x: np.ndarray, rate: float, bands: int) -> np.ndarray:
    """One frame as the published settings read."""
    n = len(x)
    x = x.astype(np.float64) - x.astype(np.float64).mean()
    x = x - 0.97 * np.append(x[0], x[:-1])
    x *= (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / (n - 1))) ** 0.85
    points = 2 ** int(np.ceil(np.log2(n)))
    power = np.abs(np.fft.rfft(x, points))[: points // 2] ** 2
    mel = 1127 * np.log1p(np.arange(points // 2) * rate / points / 700)
    edges = np.linspace(1127 * np.log1p(20 / 700), 1127 * np.log1p(rate / 2 / 700), bands + 2)
    low, middle, high = (e[:, None] for e in (edges[:-2], edges[1:-1], edges[2:]))
    weights = np.clip(
        np.minimum((mel - low) / (middle - low), (high - mel) / (high - middle)), 0, None
    )
    return np.log(np.maximum(weights @ power, np.finfo(np.float32).eps))


@pytest.mark.parametrize(
    ("assumed", "rate", "bands"),
    [(16000.0, 16000, 40), (16000.0, 48000, 40), (None, 8000, 23), (None, 48000, 40)],
)
def test_frames_by_formula(assumed: float | None, rate: int, bands: int) -> None:
    x = _sound(rate // 2)
    made = Filterbank(bands, assumed)(x, rate)
    used = int(assumed or rate)
    window, hop = used // 40, used // 100
    assert made.dtype == np.float32
    assert made.shape == (1 + (len(x) - window) // hop, bands)
    for t in (0, 7, len(made) - 1):
        np.testing.assert_allclose(
            made[t], _frame(x[t * hop : t * hop + window], used, bands), rtol=1e-4, atol=1e-3
        )


@pytest.mark.parametrize(
    ("samples", "rate", "frames"),
    [(38172, 48000, 237), (16000, 16000, 98), (400, 16000, 1), (559, 16000, 1), (560, 16000, 2)],
)
def test_published_frame_counts(samples: int, rate: int, frames: int) -> None:
    made = Filterbank()(_sound(samples), rate)
    assert made.shape == (frames, 40)
    assert Filterbank().features == 40


def test_true_rate_of_a_heidelberg_digit() -> None:
    assert Filterbank(rate=None)(_sound(38172), 48000).shape == (78, 40)
    assert np.array_equal(Filterbank()(_sound(), 16000), Filterbank()(_sound(), 48000))


def test_silence_is_the_floor_and_nothing_is_drawn() -> None:
    silent = Filterbank()(np.zeros(4000, np.float32), 16000)
    np.testing.assert_allclose(silent, _LOG_FLOOR, rtol=1e-5)
    assert silent.shape == (23, 40)
    assert np.array_equal(Filterbank()(_sound(), 16000), Filterbank()(_sound(), 16000))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": 0}, "sizes must be integers"),
        ({"rate": 0.0}, r"Filterbank\(rate\) is 0.0"),
        ({"rate": float("nan")}, r"Filterbank\(rate\) is nan"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Filterbank(**settings)


@pytest.mark.parametrize(
    ("encoder", "audio", "rate", "error", "message"),
    [
        (
            Filterbank(),
            np.zeros((800, 2)),
            16000,
            ShapeError,
            r"Filterbank: audio has shape \(800, "
            r"2\)",
        ),
        (Filterbank(), np.zeros(0), 16000, ShapeError, r"shape \(0,\)"),
        (Filterbank(), np.full(800, -np.inf), 16000, DataError, "sample 0 of audio is -inf"),
        (
            Filterbank(),
            np.zeros(399),
            16000,
            ShapeError,
            r"399 samples; expected at least one "
            r"window of 400",
        ),
        (Filterbank(), np.zeros(800), 0, ConfigError, "Filterbank: rate is 0"),
        (
            Filterbank(2),
            np.zeros(800),
            16000,
            ConfigError,
            "2 bands at 16000 samples per second do not work. Must have at least 3",
        ),
        (Filterbank(500), np.zeros(800), 16000, ConfigError, "500 bands at 16000"),
        (Filterbank(rate=None), np.zeros(800), 30, ConfigError, "40 bands at 30 samples"),
    ],
)
def test_bad_sound(
    encoder: Filterbank, audio: np.ndarray, rate: float, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        encoder(audio, rate)


def test_without_kaldi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaldi_native_fbank", None)
    with pytest.raises(
        SrnnError,
        match=r"kaldi-native-fbank\. Install it with: pip install "
        r'"srnn\[data\]"',
    ):
        Filterbank()(_sound(800), 16000)
