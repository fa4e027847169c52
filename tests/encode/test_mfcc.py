"""Mel-frequency cepstra: one frame by formula, agreement with librosa, energy, derivatives, bad
input.
"""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
import pytest

from srnn._check import ConfigError, DataError, ShapeError
from srnn.encode.log_mel import with_derivatives
from srnn.encode.mfcc import FLOOR, Mfcc


def _sound(samples: int = 16000) -> np.ndarray:
    t = np.arange(samples) / 16000
    return (
        0.4 * np.sin(2 * np.pi * 700 * t) + 0.05 * np.random.default_rng(0).normal(size=samples)
    ).astype(np.float32)


def test_one_frame_by_formula() -> None:
    """Frame 3 with nothing but sums: filters, logarithm and cosines as their definitions read."""
    x = _sound(4000).astype(np.float64)
    n = np.arange(400)
    frame = x[480 + n] - 0.97 * x[480 + n - 1]
    power = np.abs(np.fft.fft(frame * (0.54 - 0.46 * np.cos(2 * np.pi * n / 399)), 512)[:257]) ** 2
    hertz = np.arange(257) * 16000 / 512
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 28) / 2595) - 1)
    bands = []
    for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
        weights = np.clip(
            np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)), 0, None
        )
        bands.append(np.log(max(weights @ power, FLOOR)))
    k, m = np.arange(1, 13)[:, None], np.arange(26)
    cepstra = np.sqrt(2 / 26) * (np.cos(np.pi * k * (2 * m + 1) / 52) @ np.array(bands))
    energy = np.log(np.sum(x[480:880] ** 2))
    made = Mfcc(deltas=0)(x, 16000)
    assert made.shape == (23, 13)
    np.testing.assert_allclose(made[3], [*cepstra, energy], rtol=1e-5, atol=1e-5)


def test_agrees_with_librosa() -> None:
    x = _sound()
    sharp = np.append(x[:1], x[1:] - np.float64(0.97) * x[:-1])
    frames = librosa.util.frame(sharp, frame_length=400, hop_length=160) * np.hamming(400)[:, None]
    power = np.abs(np.fft.rfft(frames, 512, axis=0)) ** 2
    log = np.log(librosa.filters.mel(sr=16000, n_fft=512, n_mels=26, htk=True, norm=None) @ power)
    wanted = librosa.feature.mfcc(S=log, n_mfcc=13)[1:].T
    made = Mfcc(energy=False, deltas=0)(x, 16000)
    assert made.shape == wanted.shape == (98, 12)
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)


def test_published_number_of_values() -> None:
    encoder, x = Mfcc(), _sound()
    made = encoder(x, 16000)
    assert made.shape == (encoder.frames(1.0), encoder.features) == (98, 39)
    assert made.dtype == np.float32
    plain = Mfcc(deltas=0)(x, 16000)
    np.testing.assert_allclose(
        made, with_derivatives(plain.astype(np.float64), 2), rtol=1e-4, atol=1e-4
    )


def test_loudness_is_in_the_energy_alone() -> None:
    x = _sound()
    loud, quiet = Mfcc(deltas=0)(x, 16000), Mfcc(deltas=0)(x / 2, 16000)
    np.testing.assert_allclose(loud[:, :12], quiet[:, :12], atol=1e-4)
    np.testing.assert_allclose(loud[:, 12] - quiet[:, 12], np.log(4), rtol=1e-5)


@pytest.mark.parametrize("seconds", [0.025, 0.03, 0.05, 0.1, 0.35, 3.0])
def test_lengths(seconds: float) -> None:
    encoder = Mfcc()
    made = encoder(_sound(round(16000 * seconds)), 16000)
    assert made.shape == (encoder.frames(seconds), 39)
    assert np.isfinite(made).all()


def test_silence() -> None:
    made = Mfcc()(np.zeros(8000), 16000)
    assert made.shape == (48, 39)
    np.testing.assert_allclose(made[:, 12], np.log(FLOOR), rtol=1e-6)
    assert np.abs(np.delete(made, 12, axis=1)).max() < 1e-5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"coefficients": 0}, "sizes must be integers"),
        ({"coefficients": 26}, "26 coefficients of 26 filters; expected fewer"),
        ({"deltas": -1}, r"Mfcc\(deltas\): there is no '-1'"),
        ({"hop": 0.0}, r"Mfcc\(hop\) is 0.0"),
        ({"window": float("inf")}, r"Mfcc\(window\) is inf"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Mfcc(**settings)


@pytest.mark.parametrize(
    ("audio", "rate", "error", "message"),
    [
        (np.zeros((800, 1)), 16000, ShapeError, r"Mfcc: audio has shape \(800, 1\)"),
        (np.zeros(0), 16000, ShapeError, r"shape \(0,\)"),
        (np.full(800, np.inf), 16000, DataError, "sample 0 of audio is inf"),
        (
            np.zeros(399),
            16000,
            ShapeError,
            r"399 samples; expected at least one window of 400 "
            r"\(25 ms\)",
        ),
        (np.zeros(800), 0, ConfigError, "Mfcc: rate is 0"),
        (np.zeros(800), 1000, ConfigError, "of 26 bands"),
    ],
)
def test_bad_sound(audio: np.ndarray, rate: float, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Mfcc()(audio, rate)
    with pytest.raises(ConfigError, match=r"Mfcc.frames\(seconds\) is 0.01"):
        Mfcc().frames(0.01)
