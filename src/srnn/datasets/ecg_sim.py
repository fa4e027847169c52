"""Simulated two-lead ECG with exact wave labels, for work without the QT Database.

After McSharry, Clifford, Tarassenko & Smith 2003 (IEEE TBME 50:289): a point runs round a limit
cycle, one turn a heart beat, and five Gaussian events P Q R S T at fixed phases lift it. Here the
cycle is solved rather than integrated: a beat at time R[k] contributes

    z(t) = Σ_i  a_i exp(-(t - R[k] - d_i)² / 2 w_i²)            i = P, Q, R, S, T

with the delay d_i and the width w_i of P and T stretched by the square root of the mean RR interval
(Bazett). Added to the model: T falls faster than it rises (two widths); each event is a vector in
the frontal plane which two leads see from two angles, lead a as limb lead II; the RR intervals
swing with a slow (0.1 Hz) and a respiratory (0.25 Hz) rhythm; baseline wander, mains hum, muscle
and sensor noise; and premature ventricular beats: early, wide, without P, T against the QRS,
followed by a compensatory pause.

Labels are exact because the generator knows its own waves. An event reaches `EXTENT` = 2.5 widths
to either side (4 % of its peak), and

    P on, P end   extent of P
    QRS on        start of Q
    R             centre of R
    QRS end       end of S
    T end         end of T

bound the six classes of `qtdb` in the same way as the cardiologists' marks. A beat without P leaves
TP standing until its QRS onset. Every step is labelled. Nothing here is measured on a patient:
results on it must be marked as simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srnn._check import ConfigError, check_range
from srnn.datasets.qtdb import CLASSES as CLASSES
from srnn.datasets.sample import Sample

EXTENT = 2.5
"""Half-length of a wave in widths of its Gaussian."""

Floats = NDArray[np.float64]
_P, _Q, _R, _S, _T = range(5)


@dataclass(frozen=True)
class _Beat:
    """Shape of one kind of beat: delay from R and widths before and after the peak (s), (5,) each;
    amplitudes (5, 2) in mV.
    """

    delay: Floats
    rise: Floats
    fall: Floats
    amplitude: Floats
    has_p: bool

    @property
    def onset(self) -> Floats:
        return self.delay - EXTENT * self.rise

    @property
    def end(self) -> Floats:
        return self.delay + EXTENT * self.fall

    @property
    def first(self) -> float:
        return float(self.onset[_P if self.has_p else _Q])

    def wave(self, t: Floats) -> Floats:
        """Signal at times t (n,) after R (s): (n, 2) in mV."""
        away = t[:, None] - self.delay
        return (
            np.exp(-0.5 * (away / np.where(away < 0, self.rise, self.fall)) ** 2) @ self.amplitude
        )

    def marks(self) -> list[tuple[float, int]]:
        """(time after R, class that starts there), in order."""
        p = [(self.onset[_P], 0), (self.end[_P], 1)] if self.has_p else []
        return [*p, (self.onset[_Q], 2), (0.0, 3), (self.end[_S], 4), (self.end[_T], 5)]


def generate(
    count: int,
    steps: int = 1301,
    rate: float = 250.0,
    seed: int = 0,
    *,
    wander: float = 0.08,
    mains: float = 0.006,
    noise: float = 0.012,
    ectopic: float = 0.02,
    variability: float = 0.04,
) -> list[Sample]:
    """Simulate `count` recordings of `steps` steps at `rate` Hz, each of another patient.

    Sample i depends on seed, i and the settings only: not on count. wander, mains, noise: typical
    amplitudes (standard deviations) in mV, each scaled per recording by a factor from 1/2 to 2;
    ectopic: probability that a beat is a premature ventricular one;
    variability: standard deviation of the RR intervals, relative to their mean.

    signal: (steps, 2) in mV; label: (steps,), every step one of `CLASSES`; name and group
    "sim/0042";
    meta: r_peaks (the first step at or after each R, where RS begins), beats ("N" normal, "V"
    premature, one a peak), bpm (mean heart rate, 50 to 100), simulated (True). With the defaults,
    classes have the shares of the QT Database (P .14 PQ .06 QR .06 RS .05 ST .33 TP .35), and level
    crossing at 0.3 standard deviations gives .07 to .08 events a step and channel, as in its
    published encoding. Raises `ConfigError` for a setting out of range.
    """
    if count < 1 or steps < 1:
        raise ConfigError(
            f"ecg_sim.generate: count is {count} and steps {steps}; expected at least 1 of each."
        )
    check_range("ecg_sim.generate(rate)", rate, 120.0, 1e5)
    for name, value, most in (
        ("wander", wander, 10.0),
        ("mains", mains, 10.0),
        ("noise", noise, 10.0),
        ("ectopic", ectopic, 0.5),
    ):
        check_range(f"ecg_sim.generate({name})", value, 0.0, most)
    check_range("ecg_sim.generate(variability)", variability, 0.0, 0.2)
    if seed < 0:
        raise ConfigError(f"ecg_sim.generate(seed) is {seed}; expected an integer ≥ 0.")
    samples = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        signal, label, meta = _recording(rng, steps, rate, ectopic, variability)
        signal += _disturbance(rng, steps, rate, wander, mains, noise)
        name = f"sim/{i:04d}"
        samples.append(Sample(signal.astype(np.float32), label, rate, name, name, meta=meta))
    return samples


def _recording(
    rng: np.random.Generator, steps: int, rate: float, ectopic: float, variability: float
) -> tuple[Floats, NDArray[np.int64], dict[str, object]]:
    """Clean signal (steps, 2), labels (steps,) and meta of one patient."""
    bpm = float(np.clip(rng.normal(67.0, 11.0), 50.0, 100.0))
    mean_rr = 60.0 / bpm
    normal, premature = _patient(rng, mean_rr)
    breath = rng.normal(0.25, 0.03)
    peaks, kinds = _rhythm(
        rng, steps / rate, mean_rr, (normal, premature), ectopic, variability, breath
    )

    beats = [premature if kind else normal for kind in kinds]
    gain = (
        1
        + rng.normal(0.0, 0.02, len(beats))
        + 0.04 * np.sin(2 * np.pi * breath * peaks + rng.uniform(0, 2 * np.pi))
    )
    t = np.arange(steps) / rate
    signal = np.zeros((steps, 2))
    for r, g, beat in zip(peaks, gain, beats, strict=True):
        # a second from R, every wave has long died away
        near = slice(*np.searchsorted(t, (r - 1.0, r + 1.0)))
        signal[near] += g * beat.wave(t[near] - r)

    marks = [(r + at, wave) for r, b in zip(peaks, beats, strict=True) for at, wave in b.marks()]
    starts, waves = (
        np.array([at for at, _ in marks]),
        np.array([wave for _, wave in marks], dtype=np.int64),
    )
    label = waves[np.searchsorted(starts, t, side="right") - 1]
    at_step = np.ceil(peaks * rate).astype(np.int64)
    inside = (at_step >= 0) & (at_step < steps)
    beats_seen = "".join("NV"[kind] for kind, seen in zip(kinds, inside, strict=True) if seen)
    return (
        signal,
        label,
        {"r_peaks": at_step[inside], "beats": beats_seen, "bpm": bpm, "simulated": True},
    )


def _patient(rng: np.random.Generator, mean_rr: float) -> tuple[_Beat, _Beat]:
    """Draw the normal and the premature beat of one patient."""

    def around(value: float, spread: float) -> float:
        return value * float(np.exp(np.clip(rng.normal(0.0, spread), -2 * spread, 2 * spread)))

    stretch = np.sqrt(mean_rr / 0.9)
    # lengths of the waves in s, from onset to end; QR and RS are the two sides of R
    p, pq = around(0.122, 0.12) * np.sqrt(stretch), around(0.058, 0.2) * stretch
    qr, rs = around(0.056, 0.13), around(0.044, 0.13)
    st, t_rise, t_fall = (
        around(0.298, 0.07) * stretch,
        around(0.046, 0.15) * stretch,
        around(0.030, 0.15) * stretch,
    )
    w_p, w_q, w_r, w_s = p / (2 * EXTENT), 0.18 * qr, 0.2 * (qr + rs) / 2, 0.2 * rs
    delay = np.array(
        [-qr - pq - p / 2, -qr + EXTENT * w_q, 0.0, rs - EXTENT * w_s, rs + st - EXTENT * t_fall]
    )
    rise, fall = np.array([w_p, w_q, w_r, w_s, t_rise]), np.array([w_p, w_q, w_r, w_s, t_fall])

    heart = rng.normal(0.0, 18.0)  # the electrical axis of this heart, degrees from the usual one
    size = np.array(
        [
            around(0.13, 0.3),
            around(0.12, 0.6),
            around(1.25, 0.25),
            around(0.3, 0.5),
            around(0.32, 0.35),
        ]
    )
    angle = (
        heart
        + np.array([58.0, 205.0, 52.0, 245.0, 45.0])
        + rng.normal(0.0, [8.0, 15.0, 8.0, 15.0, 15.0])
    )
    if rng.random() < 0.1:  # an inverted T, as after ischaemia
        angle[_T] += 180.0
    leads = np.array([60.0, rng.choice([0.0, 25.0, 110.0, 150.0]) + rng.normal(0.0, 8.0)])
    normal = _Beat(
        delay, rise, fall, size[:, None] * np.cos(np.deg2rad(angle[:, None] - leads)), has_p=True
    )

    wide = around(1.9, 0.1)
    v_qr, v_rs = 0.045 * wide, 0.045 * wide
    v_angle = rng.uniform(0, 360) + np.array([0.0, 170.0, 0.0, 200.0, 185.0])
    v_size = np.array(
        [0.0, around(0.15, 0.4), around(1.6, 0.2), around(0.4, 0.4), around(0.5, 0.3)]
    )
    w_v = np.array([w_p, 0.17 * v_qr, 0.32 * v_qr, 0.2 * v_rs, 1.2 * t_rise])
    v_fall = np.append(w_v[:4], 1.2 * t_fall)
    v_delay = np.array(
        [
            delay[_P],
            -v_qr + EXTENT * w_v[_Q],
            0.0,
            v_rs - EXTENT * w_v[_S],
            v_rs + st - EXTENT * v_fall[_T],
        ]
    )
    premature = _Beat(
        v_delay,
        w_v,
        v_fall,
        v_size[:, None] * np.cos(np.deg2rad(v_angle[:, None] - leads)),
        has_p=False,
    )
    return normal, premature


def _rhythm(
    rng: np.random.Generator,
    seconds: float,
    mean_rr: float,
    shapes: tuple[_Beat, _Beat],
    ectopic: float,
    variability: float,
    breath: float,
) -> tuple[Floats, list[int]]:
    """Times of the R peaks (s) and kind of each beat (0 normal, 1 premature), from before the
    recording to after its end.
    """
    slow, phases = rng.normal(0.1, 0.015), rng.uniform(0, 2 * np.pi, 2)
    low = rng.uniform(0.4, 0.7)  # share of the variance in the slow rhythm
    peaks, kinds = [-2.0 * mean_rr * (1 + rng.random())], [0]
    pause = 0.0
    while peaks[-1] < seconds + mean_rr:
        swing = np.sqrt(2 * low) * np.sin(2 * np.pi * slow * peaks[-1] + phases[0])
        swing += np.sqrt(2 * (1 - low)) * np.sin(2 * np.pi * breath * peaks[-1] + phases[1])
        rr = mean_rr * (1 + variability * (swing + 0.2 * rng.normal()))
        early, fraction = rng.random() < ectopic and not kinds[-1], rng.uniform(0.6, 0.8)
        interval = (fraction * rr if early else rr) + pause
        kind = int(early)
        # the T wave ends before the next wave starts
        room = float(shapes[kinds[-1]].end[_T]) - shapes[kind].first + 0.012
        interval = max(interval, room)
        pause = max(rr - interval, 0.0) if early else 0.0
        peaks.append(peaks[-1] + interval)
        kinds.append(kind)
    return np.array(peaks), kinds


def _disturbance(
    rng: np.random.Generator, steps: int, rate: float, wander: float, mains: float, noise: float
) -> Floats:
    """Baseline wander, mains hum and noise, (steps, 2) in mV."""
    t = np.arange(steps)[:, None, None] / rate
    scale = 2.0 ** rng.uniform(-1, 1, (3, 1))
    slow = rng.uniform(0.05, 0.4, (4, 1))
    drift = np.sqrt(2 / 4) * np.sin(2 * np.pi * (slow * t + rng.random((4, 2)))).sum(axis=1)
    hum = np.sqrt(2) * np.sin(2 * np.pi * (rng.choice([50.0, 60.0]) * t[:, 0] + rng.random(2)))
    white = rng.normal(size=(steps + 2, 2))
    # little is left of muscle noise near the band's upper end
    muscle = (white[:-2] + white[1:-1] + white[2:]) / np.sqrt(3)
    return np.asarray(
        scale[0] * wander * drift + scale[1] * mains * hum + scale[2] * noise * muscle
    )
