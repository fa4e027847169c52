"""The cochlea: its equations against independent forms of them, its published check values, the
reference recording, and its two implementations.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import jv, yv

from srnn._check import ConfigError, DataError, ShapeError, SrnnError
from srnn.encode import Cochlea, membrane, nerve

TONE_RATE = 48000


def tone(hertz: float = 1000.0, seconds: float = 0.1, rate: int = TONE_RATE) -> np.ndarray:
    return np.sin(2 * math.pi * hertz * np.arange(int(seconds * rate)) / rate)


def test_the_phase_is_the_integral():
    """G in closed form = (2/α) g(w, 0) + ∫ g dc, by quadrature."""
    compared = 0
    for hertz in (50.0, 300.0, 2000.0, 20000.0):
        w = np.array(2 * math.pi * hertz)
        for place in (0.0, 0.7, 2.0, 3.5):

            def g(c: float, part: str, w=w) -> float:
                return float(getattr(membrane._g(w, np.array(c)), part))

            wanted = 2 / 3 * complex(membrane._g(w, np.array(0.0))) + complex(
                *(quad(g, 0, place, args=(p,), limit=200)[0] for p in ("real", "imag"))
            )
            got = complex(membrane.phase(w.reshape(1), np.array([[place]]))[0, 0])
            assert got == pytest.approx(wanted, rel=5e-6)
            compared += 1
    assert compared == 16


def test_the_input_impedance_is_that_of_bessel_functions():
    """H0⁽²⁾/H1⁽²⁾ = (J0 - i Y0)/(J1 - i Y1): the transfer function at the base is 2w/ξ · i √(2
    C0/h) times it.
    """
    hertz = np.array([100.0, 1000.0, 10000.0])
    w = 2 * math.pi * hertz
    k = (2 * w / 3) * math.sqrt(2 / (0.1 * 1e9))
    wanted = (
        2
        * w
        / membrane._xi(w, np.zeros(1))
        * 1j
        * math.sqrt(2e9 / 0.1)
        * (jv(0, k) - 1j * yv(0, k))
        / (jv(1, k) - 1j * yv(1, k))
    )
    np.testing.assert_allclose(membrane.transfer(hertz, np.zeros(1))[0], wanted, rtol=1e-12)


# channel of 700: place (cm), local resonance (Hz), frequency of the largest response (Hz), its size
PUBLISHED = {
    0: (0.000, 22508, 22491, 266),
    100: (0.501, 10621, 9548, 75.7),
    200: (1.001, 5011, 4482, 98.6),
    300: (1.502, 2364, 2115, 134),
    350: (1.753, 1624, 1455, 153),
    400: (2.003, 1115, 1001, 170),
    450: (2.253, 765, 688, 185),
    500: (2.504, 525, 473, 196),
    600: (3.004, 245, 221, 211),
    699: (3.500, 110, 100, 223),
}


def test_resonances_of_the_membrane():
    ear = Cochlea()
    places, resonances, checked = ear.places(), ear.centre_frequencies(), 0
    for channel, (place, resonance, peak, size) in PUBLISHED.items():
        assert places[channel] == pytest.approx(place, abs=6e-4)
        assert resonances[channel] == pytest.approx(resonance, rel=1e-3, abs=0.6)  # printed to 1 Hz
        hertz = np.linspace(0.9 * peak, 1.1 * peak, 801)
        response = np.abs(membrane.transfer(hertz, places[channel : channel + 1])[0])
        assert hertz[response.argmax()] == pytest.approx(peak, rel=5e-3)
        assert response.max() == pytest.approx(size, rel=1e-2)
        checked += 1
    assert checked == 10
    assert (np.diff(resonances) < 0).all()


def test_the_table_is_the_function():
    """Between its grid points the transfer function is a cubic: within 1e-4 of each channel's
    largest response.
    """
    table, hertz = (
        membrane.transfer_table(24000, 70),
        np.concatenate([np.random.default_rng(0).uniform(1, top, 200) for top in (24000, 300)]),
    )
    position = membrane.grid_position(hertz)
    at = position.astype(int)
    got = sum(
        w * table[:, at + k]
        for w, k in zip(membrane.cubic(position - at), (-1, 0, 1, 2), strict=True)
    )
    wanted = membrane.transfer(hertz, Cochlea(70).places())
    assert got.shape == wanted.shape == (70, 400)
    worst = (np.abs(got - wanted) / np.abs(table).max(1, keepdims=True)).max()
    assert worst < 1e-4


@pytest.mark.parametrize(
    ("amplitude", "hertz", "largest"),
    [
        (0, 64.77, 0.00269865),
        (1, 64.8, 0.00316),
        (10, 69.6, 0.00719),
        (50, 90.8, 0.0222),
        (100, 96.7, 0.0360),
        (500, 102.5, 0.0789),
        (1000, 103.3, 0.0939),
        (5000, 104.0, 0.112),
    ],
)
def test_hair_cell(amplitude, hertz, largest):
    """Rate (from 0.1 to 0.2 s) and largest probability for a sine of 1 kHz at 24 kHz."""
    rate = 24000
    p, _ = nerve.hear(
        nerve.ear(rate, 40), amplitude * tone(1000, 0.2, rate)[None], 0, 0, spikes=False
    )
    assert p.max() == pytest.approx(largest, rel=5e-3)
    assert p[0, rate // 10 :].mean() * rate == pytest.approx(hertz, rel=1e-3)


def test_a_tone_is_heard_at_its_place():
    """The channel that answers loudest moves towards the apex as the tone gets lower; it lies where
    that resonance is.
    """
    ear, loudest = Cochlea(140), []
    for hertz in (8000, 4000, 2000, 1000, 500, 250):
        velocity = ear.membrane(tone(hertz), TONE_RATE)
        assert velocity.shape == (len(tone(hertz)) // 2 + 1, 140)
        loudest.append(int((velocity**2).mean(0).argmax()))
        assert ear.centre_frequencies()[loudest[-1]] == pytest.approx(1.12 * hertz, rel=0.1)
    assert (np.diff(loudest) > 0).all()


def test_spikes_are_ordered_and_a_bushy_cell_rests():
    times, units = Cochlea(seed=1)(tone(), TONE_RATE)
    assert len(times) > 300
    assert (np.diff(times) >= 0).all()
    assert units[np.lexsort((units, times))].tolist() == units.tolist()
    gaps = np.concatenate([np.diff(times[units == u]) for u in np.unique(units)])
    assert gaps.min() >= 0.001
    assert times.min() >= 0
    assert times.max() <= 0.1
    assert (units.min() >= 0, units.max() < 700) == (True, True)


def test_the_same_seed_hears_the_same():
    sound = tone(700, 0.05)
    first, again, other = (Cochlea(64, seed=seed)(sound, TONE_RATE) for seed in (3, 3, 4))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not (len(first[0]) == len(other[0]) and np.array_equal(first[0], other[0]))


@pytest.mark.parametrize("change", ["numpy", "blocks"])
def test_neither_the_compiler_nor_the_blocks_matter(change, monkeypatch):
    ear, sound = (
        Cochlea(70, seed=5),
        tone(900, 0.06) + 0.3 * np.random.default_rng(0).standard_normal(2880),
    )
    times, units = ear(sound, TONE_RATE)
    probability = ear.firing_probability(sound, TONE_RATE)
    monkeypatch.setattr(
        *((nerve, "library", lambda: None) if change == "numpy" else (membrane, "BLOCK", 7))
    )
    assert len(times) > 20
    assert np.array_equal(ear(sound, TONE_RATE)[0], times)
    assert np.array_equal(ear(sound, TONE_RATE)[1], units)
    np.testing.assert_allclose(ear.firing_probability(sound, TONE_RATE), probability, rtol=1e-12)


def test_the_binomial_draw():
    """20,000 draws of 40 fibres: mean and variance of a binomial; certain and impossible ones."""
    u = np.random.default_rng(0).random(20000)
    for p in (0.003, 0.1, 0.6):
        k = nerve._binomial(np.full(20000, 40), np.full(20000, p), u)
        assert k.mean() == pytest.approx(40 * p, abs=4 * math.sqrt(40 * p * (1 - p) / 20000))
        assert k.var() == pytest.approx(40 * p * (1 - p), rel=0.05)
    assert nerve._binomial(
        np.array([7, 7]), np.array([0.0, 1.0]), np.array([0.5, 0.5])
    ).tolist() == [0, 7]


def test_resampling():
    """At 12 kHz and resampled from it to 16 kHz: another membrane rate, the same length in seconds.
    8 kHz has to be resampled.
    """
    sound = tone(500, 0.2, 12000)
    assert Cochlea(70).membrane(sound, 12000).shape == (1201, 70)
    assert Cochlea(70, rate=16000).membrane(sound, 12000).shape == (1601, 70)
    low = tone(500, 0.2, 8000)
    with pytest.raises(ConfigError, match="Resample the sound"):
        Cochlea(70)(low, 8000)
    times, _ = Cochlea(70, rate=16000)(low, 8000)
    assert len(times) > 0
    assert times.max() < 0.2


def test_the_hair_cell_is_stable_at_the_lowest_rate():
    """Its step diverges where (l + r) dt reaches 2; at 10 kHz of sound, 5 kHz of membrane, silence
    stays at its rest (64.77 Hz).
    """
    faint = 1e-3 * np.random.default_rng(0).standard_normal((1, 5000))
    p, _ = nerve.hear(nerve.ear(nerve.LEAST_RATE // 2, 40), faint, 0, 0, spikes=False)
    assert p.shape == (1, 5000)
    assert np.abs(p * 5000 / 64.77 - 1).max() < 0.01


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.fft", None)
    with pytest.raises(SrnnError, match="needs scipy"):
        Cochlea(8)(tone(), TONE_RATE)


@pytest.mark.parametrize(
    ("sound", "rate", "kind", "message"),
    [
        (np.zeros((100, 2)), 16000, ShapeError, "one channel"),
        (np.zeros(0), 16000, ShapeError, "at least"),
        (np.ones(3), 16000, ShapeError, "at least"),
        (np.zeros(100), 16000, DataError, "silent"),
        (np.array([0.0] * 99 + [np.nan]), 16000, DataError, "sample 99 is not finite"),
        (np.ones(100, np.int16), 16000, DataError, "audio / 32768"),
        (np.ones(100), 100, ConfigError, "sampling rate is 100"),
        (np.ones(100), 16000.5, ConfigError, "whole number"),
        (np.ones(100), 0, ConfigError, "sampling rate is 0"),
        (np.ones(100), math.nan, ConfigError, "sampling rate is nan"),
        (np.full(100, 1e200), 16000, DataError, "loudest sample is 1e.200"),
    ],
)
def test_what_cannot_be_heard(sound, rate, kind, message):
    with pytest.raises(kind, match=message):
        Cochlea(8)(sound, rate)


def test_settings_that_cannot_work():
    for given in (
        {"channels": 0},
        {"fibres": 0},
        {"rate": 10},
        {"rate": 16000.5},
        {"seed": -1},
        {"seed": 1.5},
    ):
        with pytest.raises(ConfigError):
            Cochlea(**given)


@pytest.mark.real_data
def test_the_reference_recording(real_data: Path):
    """What the published model makes of a Heidelberg digit with 70 channels: membrane and
    probabilities within 1e-3 of each channel's largest value, mean probabilities within 1e-3,
    spikes of each channel within Poisson error of one draw.
    """
    import soundfile

    known = np.load(real_data / "lauscher" / "lauscher_reference.npz")
    sound, rate = soundfile.read(real_data / "lauscher" / "spoken_digit.flac")
    ear, chosen = Cochlea(int(known["channels"])), known["selected"]
    assert np.abs(ear._sound(sound, rate)[0] - known["preprocessed"]).max() < 1e-6
    compared = 0
    for got, wanted in (
        (ear.membrane(sound, rate).T[chosen], known["basilar_membrane"]),
        (ear.firing_probability(sound, rate).T[chosen], known["firing_probability"]),
    ):
        assert got.shape == wanted.shape == (10, 19087)
        assert (np.abs(got - wanted).max(1) / np.abs(wanted).max(1)).max() < 1e-3
        compared += got.size
    assert compared == 2 * 10 * 19087
    np.testing.assert_allclose(
        ear.firing_probability(sound, rate).mean(0), known["mean_firing_probability"], rtol=1e-3
    )
    times, units = ear(sound, rate)
    n, wanted = (np.bincount(u.astype(int), minlength=70) for u in (units, known["spike_labels"]))
    assert (np.abs(n - wanted) <= 4 * np.sqrt(n + wanted + 1)).all()
    several = np.array(
        [np.bincount(Cochlea(70, seed=s)(sound, rate)[1], minlength=70) for s in range(8)]
    ).mean(0)
    busy = several > 3
    assert (
        (wanted - several)[busy] ** 2 / (several * 9 / 8)[busy]
    ).sum() < busy.sum() + 4 * math.sqrt(2 * busy.sum())
    assert busy.sum() >= 30
    assert abs(len(times) - len(known["spike_times"])) < 4 * math.sqrt(
        2 * len(known["spike_times"])
    )
