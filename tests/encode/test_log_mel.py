"""Log-mel energies: agreement with librosa, the published chain step by step, lengths, scale, bad
input.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
from scipy.io import wavfile
from scipy.signal import savgol_filter

from srnn._check import ConfigError, DataError, ShapeError, SrnnError
from srnn.encode.log_mel import FLOOR, YIN_2021, LogMel, mel_bank, with_derivatives


def _sound(samples: int, seed: int = 0) -> np.ndarray:
    """A falling and swelling tone in noise, in [-1, 1]."""
    generator, t = np.random.default_rng(seed), np.arange(samples) / samples
    return (
        0.6 * np.sin(2 * np.pi * 900 * t * (2 - t)) * t + 0.01 * generator.normal(size=samples)
    ).astype(np.float32)


def _librosa_power(x: np.ndarray, rate: int, window: int, hop: int, high: float) -> np.ndarray:
    """(T, 40) power as librosa's stft and mel filters make it (`melspectrogram` is these two, but
    compiles for half a minute at first use).
    """
    short = np.abs(librosa.stft(x.astype(np.float64), n_fft=window, hop_length=hop)) ** 2
    return (librosa.filters.mel(sr=rate, n_fft=window, n_mels=40, fmin=20, fmax=high) @ short).T


@pytest.mark.parametrize(
    ("rate", "high"), [(16000, 4000.0), (16000, None), (8000, 4000.0), (8000, 9999.0)]
)
def test_agrees_with_librosa(rate: int, high: float | None) -> None:
    x = _sound(rate)
    made = LogMel(high=high)(x, rate)
    power = _librosa_power(x, rate, 3 * rate // 100, rate // 100, min(high or rate / 2, rate / 2))
    assert made.dtype == np.float32
    assert made.shape == power.shape == (101, 40)
    assert (power > FLOOR).mean() > 0.9
    np.testing.assert_allclose(made, np.log(np.maximum(power, FLOOR) / FLOOR), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 8, 9, 10, 101])
def test_derivatives_agree_with_librosa(frames: int) -> None:
    """Librosa's delta is this filter of scipy, and refuses fewer than 9 frames."""
    x = np.random.default_rng(0).normal(size=(frames, 3))
    made = with_derivatives(x, 2)
    assert made.shape == (frames, 9)
    assert np.array_equal(made[:, :3], x)
    for order in (1, 2):
        wanted = savgol_filter(
            x, 9, order, deriv=order, axis=0, mode="interp" if frames >= 9 else "nearest"
        )
        np.testing.assert_allclose(made[:, 3 * order : 3 * order + 3], wanted, atol=1e-12)
    if frames >= 9:
        np.testing.assert_allclose(made[:, 3:6], librosa.feature.delta(x, axis=0), atol=1e-12)
    assert with_derivatives(x, 0).shape == (frames, 3)


def test_derivatives_by_pencil() -> None:
    """t² / 2 + 3 t: slope t + 3 inside, second derivative 1 everywhere."""
    t = np.arange(20.0)[:, None]
    made = with_derivatives(t**2 / 2 + 3 * t, 2)
    np.testing.assert_allclose(made[4:-4, 1], t[4:-4, 0] + 3)
    np.testing.assert_allclose(made[:, 2], 1.0)


@pytest.mark.parametrize("samples", [16000, 11000, 9001, 20000])
def test_published_chain(samples: int) -> None:
    """Yin et al. 2021, written out with librosa."""
    x = 0.3 * _sound(samples)
    made = YIN_2021(x, 16000)
    y = x.astype(np.float64) / np.abs(x).max()
    y = (
        librosa.util.pad_center(y, size=16000)
        if samples <= 16000
        else y[(samples - 16000) // 2 :][:16000]
    )
    power = _librosa_power(y, 16000, 480, 160, 4000)
    log = np.log1p(power / power.max()).T
    # (3, 40, 101)
    stack = np.stack([log, librosa.feature.delta(log), librosa.feature.delta(log, order=2)])
    stack /= stack.std(axis=2, keepdims=True)
    assert made.shape == (YIN_2021.frames(1.0), YIN_2021.features) == (101, 120)
    np.testing.assert_allclose(
        made, stack.transpose(2, 0, 1).reshape(101, 120), rtol=1e-4, atol=1e-5
    )


def test_published_ignores_loudness_and_bears_silence() -> None:
    x = _sound(16000)
    np.testing.assert_allclose(YIN_2021(x, 16000), YIN_2021(x / 64, 16000), rtol=1e-5, atol=1e-6)
    assert not YIN_2021(np.zeros(9000), 16000).any()


def test_silence_is_zero_and_scale_is_the_logarithm() -> None:
    x = _sound(8000)
    assert not LogMel(deltas=2, normalise=True)(np.zeros(4000), 8000).any()
    padded = LogMel(pad_to=2.0)(x, 8000)
    assert padded.shape == (201, 40)
    assert not padded[:48].any()
    assert not padded[-48:].any()
    np.testing.assert_allclose(padded[52:149], LogMel()(x, 8000)[2:99], atol=1e-5)
    loud = LogMel()(x, 8000)
    quiet = LogMel()(x / 2, 8000)
    clear = quiet > 0
    assert clear.mean() > 0.9
    np.testing.assert_allclose((loud - quiet)[clear], np.log(4), rtol=1e-4)


def test_a_tone_lies_in_its_band() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    band = int(LogMel()(tone, 8000)[50].argmax())
    centre = float(librosa.mel_frequencies(n_mels=42, fmin=20, fmax=4000)[band + 1])
    assert 950 < centre < 1050


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("seconds", [0.03, 0.15, 0.29, 0.5, 2.3])
def test_lengths(seconds: float, rate: int) -> None:
    encoder = LogMel(deltas=2, normalise=True)
    made = encoder(_sound(round(seconds * rate)), rate)
    assert made.shape == (encoder.frames(seconds), encoder.features)
    assert np.isfinite(made).all()
    assert (
        LogMel(pad_to=1.0, deltas=1)(_sound(round(seconds * rate)), rate).shape
        == (LogMel(pad_to=1.0).frames(seconds), 80)
        == (101, 80)
    )


def test_normalise_divides_by_the_deviation_and_keeps_the_mean() -> None:
    x = _sound(16000)
    plain, made = LogMel(deltas=1)(x, 16000), LogMel(deltas=1, normalise=True)(x, 16000)
    np.testing.assert_allclose(made.std(axis=0), 1.0, rtol=1e-4)
    np.testing.assert_allclose(made * plain.std(axis=0), plain, rtol=1e-4, atol=1e-5)
    assert (made[:, :40].mean(axis=0) > 0.5).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": 0}, "bands .0.: sizes must be integers"),
        ({"window": 0.0}, r"LogMel\(window\) is 0.0"),
        ({"hop": float("nan")}, r"LogMel\(hop\) is nan"),
        ({"deltas": 3}, r"LogMel\(deltas\): there is no '3'.*Known: 0, 1, 2"),
        ({"low": -1.0}, r"LogMel\(low\) is -1.0"),
        ({"high": 10.0}, r"LogMel\(high\) is 10.0; expected a number more than 20"),
        ({"pad_to": 0.01}, r"LogMel\(pad_to\) is 0.01; expected a number of at least 0.03"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LogMel(**settings)


@pytest.mark.parametrize(
    ("audio", "rate", "error", "message"),
    [
        (
            np.zeros((800, 2)),
            8000,
            ShapeError,
            r"audio has shape \(800, 2\); expected \(n,\) "
            r"samples of one channel.*audio\[:, 0\]",
        ),
        (np.zeros(0), 8000, ShapeError, r"shape \(0,\)"),
        (
            np.zeros(800, np.int16),
            8000,
            DataError,
            "dtype int16; .*Divide 16-bit integers by 32768",
        ),
        (np.where(np.arange(800) == 7, np.nan, 0.0), 8000, DataError, "sample 7 of audio is nan"),
        (
            np.zeros(239),
            8000,
            ShapeError,
            r"239 samples; expected at least one window of 240 "
            r"\(30 ms\)",
        ),
        (np.zeros(800), 0, ConfigError, "rate is 0; expected a number more than 0"),
        (np.zeros(800), -8000.0, ConfigError, "rate is -8000"),
        (np.zeros(800), 30, ConfigError, "at 30 samples per second are 1 and 0 samples; too few"),
        (
            np.zeros(800),
            1000,
            ConfigError,
            "of 40 bands from 20 to 500 Hz are narrower than "
            "33.3333 Hz, the resolution of 30 samples",
        ),
    ],
)
def test_bad_sound(audio: np.ndarray, rate: float, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        LogMel()(audio, rate)


def test_no_room_for_bands() -> None:
    with pytest.raises(
        ConfigError, match="Bands from 20 to 15 Hz at 30 samples per second hold nothing"
    ):
        LogMel(window=0.1, hop=0.1)(np.zeros(30), 30)
    with pytest.raises(ConfigError, match=r"LogMel.frames\(seconds\) is -1"):
        LogMel().frames(-1)


def test_without_librosa(monkeypatch: pytest.MonkeyPatch) -> None:
    mel_bank.cache_clear()
    monkeypatch.setitem(sys.modules, "librosa.filters", None)
    with pytest.raises(SrnnError, match=r'librosa\. Install it with: pip install "srnn\[data\]"'):
        LogMel()(_sound(800), 8000)


@pytest.mark.real_data
def test_real_digits_of_every_length(real_data: Path) -> None:
    paths = sorted((real_data / "fsdd" / "recordings").glob("*.wav"))[::40]
    encoder = LogMel(deltas=2, normalise=True)
    frames, silent = [], []
    for path in paths:
        rate, x = wavfile.read(path)
        made = encoder((x / 32768).astype(np.float32), rate)
        assert made.shape == (1 + len(x) // 80, 120)
        assert np.isfinite(made).all()
        assert made[:, :40].min() >= 0
        frames.append(len(made))
        silent.append((made[:, :40] == 0).mean())
    assert len(frames) == 50
    assert 0.03 < np.mean(silent) < 0.2  # a tenth of the values lies at the floor
    assert min(frames) < 35
    assert max(frames) > 60
