"""Every neuron, a few steps with numbers worked out by hand from its equation, including a spike
and its reset.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass

import pytest
import torch

import srnn.neurons
from srnn.init import Fixed
from srnn.neuron import Neuron
from srnn.neurons import (
    ALIF,
    IF,
    LIF,
    AdEx,
    AdLIF,
    AlphaLeaky,
    Izhikevich,
    Leaky,
    SoftLIF,
    SparchAdLIF,
    SparchLIF,
    ThresholdLIF,
    YinLIF,
)

HALF = 1 / math.log(2)  # the time constant of a decay of 1/2 per step
THREE_QUARTERS = 1 / math.log(4 / 3)  # … of 3/4 per step


@dataclass(frozen=True)
class Step:
    """What one step is given, I, and what it must give: x, whether that is a spike, the state after
    it and the observable potential.
    """

    I: float
    x: float
    spike: bool
    state: dict[str, float]
    potential: float


def soft(I: float, x: float, spike: bool, **state: float) -> Step:
    """A step of a neuron whose potential is u as it is."""
    return Step(I, x, spike, state, state["u"])


def hard(I: float, x: float, spike: bool, u: float) -> Step:
    """A step of a neuron whose potential is 0 where it has just spiked."""
    return Step(I, x, spike, {"u": u}, 0.0 if spike else u)


def adex_steps() -> list[Step]:
    """Decays 1/2 and 3/4, ϑ = 0.5, Δ = 0.25, θ = 1, a = 0.4, b = 0.5; written out because of the
    exponentials.
    """
    u1 = 0.5 * 0.0 + 0.5 * (1.0 - 0.0 + 0.25 * math.exp((0.0 - 0.5) / 0.25))  # 0.517
    w1 = 0.0
    u2 = 0.5 * u1 + 0.5 * (1.6 - w1 + 0.25 * math.exp((u1 - 0.5) / 0.25))  # 1.192: a spike
    w2 = 0.75 * w1 + 0.25 * 0.4 * u1
    u3 = 0.5 * u2 + 0.5 * (0.2 - w2 + 0.25 * math.exp((u2 - 1.0 - 0.5) / 0.25)) - 1.0
    w3 = 0.75 * w2 + 0.25 * 0.4 * u2 + 0.5
    u4 = 0.5 * u3 + 0.5 * (0.2 - w3 + 0.25 * math.exp((u3 - 0.5) / 0.25))
    w4 = 0.75 * w3 + 0.25 * 0.4 * u3
    assert u2 == pytest.approx(1.192, abs=1e-3)
    return [
        soft(1.0, u1 - 1, False, u=u1, w=w1),
        soft(1.6, u2 - 1, True, u=u2, w=w2),
        soft(0.2, u3 - 1, False, u=u3, w=w3),
        soft(0.2, u4 - 1, False, u=u4, w=w4),
    ]


CASES: list[tuple[Neuron, list[Step]]] = [
    (
        IF(threshold=1.0),
        [
            soft(0.6, -0.4, False, u=0.6),
            soft(0.7, 0.3, True, u=0.6 + 0.7),
            soft(0.2, -0.5, False, u=1.3 + 0.2 - 1.0),
        ],
    ),
    (
        Leaky(tau_m=HALF),
        [
            soft(1.0, 0.5, False, u=0.5 * 1.0),
            soft(-1.0, -0.25, False, u=0.5 * 0.5 - 0.5 * 1.0),
            soft(2.0, 0.875, False, u=0.5 * -0.25 + 0.5 * 2.0),
        ],
    ),
    (
        AlphaLeaky(alpha=0.25),
        [
            soft(1.0, 0.75, False, u=0.75 * 1.0),
            soft(-1.0, -0.5625, False, u=0.25 * 0.75 - 0.75 * 1.0),
            soft(2.0, 1.359375, False, u=0.25 * -0.5625 + 0.75 * 2.0),
        ],
    ),
    (
        LIF(tau_m=4.0, threshold=0.5),
        [
            hard(1.0, -0.25, False, u=0.25 * 1.0),
            hard(2.0, 0.1875, True, u=0.75 * 0.25 + 0.25 * 2.0),
            hard(0.4, -0.4, False, u=0.75 * 0.0 + 0.25 * 0.4),
        ],
    ),
    (
        YinLIF(decay=0.5, threshold=0.5),
        [
            hard(0.4, -0.1, False, u=0.4),
            hard(0.4, 0.1, True, u=0.5 * 0.4 + 0.4),
            hard(0.3, -0.2, False, u=0.5 * 0.0 + 0.3),
            hard(0.3, -0.05, False, u=0.5 * 0.3 + 0.3),
        ],
    ),
    (
        SoftLIF(alpha=0.75, threshold=0.5),
        [
            soft(1.0, -0.25, False, u=0.25 * 1.0),
            soft(2.0, 0.1875, True, u=0.75 * 0.25 + 0.25 * 2.0),
            # θ = 0.5 comes off after the decay
            soft(0.4, -0.384375, False, u=0.75 * 0.6875 + 0.25 * 0.4 - 0.5),
        ],
    ),
    (
        SparchLIF(alpha=0.75, threshold=0.5),
        [
            soft(1.0, -0.25, False, u=0.25 * 1.0),
            soft(2.0, 0.1875, True, u=0.75 * 0.25 + 0.25 * 2.0),
            # 1, whatever θ is, before the decay
            soft(0.4, -0.634375, False, u=0.75 * (0.6875 - 1.0) + 0.25 * 0.4),
        ],
    ),
    (
        ALIF(tau_m=HALF, tau_adp=THREE_QUARTERS, b0=0.1, beta=2.0),
        [
            soft(0.1, -0.05, False, u=0.5 * 0.1, eta=0.0),
            soft(0.4, 0.125, True, u=0.5 * 0.05 + 0.5 * 0.4, eta=0.0),
            # η = 1/4, θ = 0.1 + 2·0.25 = 0.6: the new threshold resets the spike before
            soft(0.4, -0.8875, False, u=0.5 * 0.225 + 0.5 * 0.4 - 0.6, eta=0.25),
            # η = 3/16, θ = 0.475
            soft(2.0, 0.38125, True, u=0.5 * -0.2875 + 0.5 * 2.0, eta=0.1875),
        ],
    ),
    (
        AdLIF(alpha=0.5, beta=0.75, a=0.4, b=0.5, threshold=1.0),
        [
            soft(1.6, -0.2, False, u=0.5 * 1.6, w=0.0),
            soft(2.0, 0.4, True, u=0.5 * 0.8 + 0.5 * (2.0 - 0.0), w=0.25 * 0.4 * 0.8),
            soft(
                1.0,
                -0.84,
                False,
                u=0.5 * 1.4 + 0.5 * (1.0 - 0.08) - 1.0,
                w=0.75 * 0.08 + 0.25 * 0.4 * 1.4 + 0.5,
            ),
            soft(
                1.0,
                -0.77,
                False,
                u=0.5 * 0.16 + 0.5 * (1.0 - 0.7),
                w=0.75 * 0.7 + 0.25 * 0.4 * 0.16,
            ),
        ],
    ),
    (
        SparchAdLIF(alpha=0.5, beta=0.75, a=0.4, b=0.5, threshold=1.0),
        [
            soft(1.6, -0.2, False, u=0.5 * 1.6, w=0.0),
            soft(2.0, 0.24, True, u=0.5 * 0.8 + 0.5 * (2.0 - 0.32), w=0.4 * 0.8),
            soft(
                1.0,
                -0.998,
                False,
                u=0.5 * (1.24 - 1.0) + 0.5 * (1.0 - 1.236),
                w=0.75 * 0.32 + 0.4 * 1.24 + 0.5,
            ),
        ],
    ),
    (
        ThresholdLIF(alpha=0.75, beta=0.75, b=2.0, threshold=0.5),
        [
            soft(1.0, -0.25, False, u=0.25 * 1.0, a=0.0),
            soft(2.0, 0.1875, True, u=0.75 * 0.25 + 0.25 * 2.0, a=0.0),
            # A = 1/4: the threshold is 0.5 + 2·0.25; the reset takes 1, before the decay
            soft(0.4, -1.134375, False, u=0.75 * (0.6875 - 1.0) + 0.25 * 0.4, a=0.25),
            soft(6.0, 0.52421875, True, u=0.75 * -0.134375 + 0.25 * 6.0, a=0.1875),
        ],
    ),
    (  # V = 0.5, α = exp(-V/τ) = 1/2, gain (1-α)/V = 1
        Izhikevich(
            tau_m=0.5 * HALF, tau_w=THREE_QUARTERS, a=0.4, b=0.5, critical=0.5, threshold=1.0
        ),
        [
            soft(0.6, -0.4, False, u=0.6, w=0.0),
            soft(0.5, 0.16, True, u=0.5 * 0.6 + (0.5 - 0.0 + 0.6 * 0.6), w=0.25 * 0.4 * 0.6),
            soft(
                0.2,
                -1.2544,
                False,
                u=0.5 * 1.16 + (0.2 - 0.06 + 0.16 * 0.16) - 1.0,
                w=0.75 * 0.06 + 0.25 * 0.4 * 1.16 + 0.5,
            ),
            soft(
                0.2,
                -1.52348064,
                False,
                u=0.5 * -0.2544 + (0.2 - 0.661 + 0.2544 * 0.2544),
                w=0.75 * 0.661 + 0.25 * 0.4 * -0.2544,
            ),
        ],
    ),
    (  # the same away from u_rest = 0: V = 0.5, peak 1 above rest
        Izhikevich(
            tau_m=0.5 * HALF,
            tau_w=THREE_QUARTERS,
            a=0.4,
            b=0.5,
            u_rest=-0.25,
            critical=0.25,
            threshold=0.75,
        ),
        [
            soft(0.6, -0.4, False, u=-0.25 + 0.6, w=0.0),
            soft(
                0.5, 0.16, True, u=-0.25 + 0.5 * 0.6 + (0.5 - 0.0 + 0.6 * 0.6), w=0.25 * 0.4 * 0.6
            ),
            soft(
                0.2,
                -0.8619,
                False,
                u=-0.25 + 0.5 * 1.16 + (0.2 - 0.06 + (1.16 - 0.75) ** 2) - 0.75,
                w=0.75 * 0.06 + 0.25 * 0.4 * 1.16 + 0.5,
            ),
        ],
    ),
    (
        AdEx(
            tau_m=HALF, tau_w=THREE_QUARTERS, a=0.4, b=0.5, critical=0.5, delta=0.25, threshold=1.0
        ),
        adex_steps(),
    ),
]

SPIKING = {
    IF,
    LIF,
    YinLIF,
    SoftLIF,
    SparchLIF,
    ALIF,
    AdLIF,
    SparchAdLIF,
    ThresholdLIF,
    Izhikevich,
    AdEx,
}
SHAPE = (2, 3)


def parameters(
    neuron: Neuron, n: int = SHAPE[1], dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    return {
        k: (v.tensor() if isinstance(v, Fixed) else v).to(dtype) for k, v in neuron.init(n).items()
    }


def begin(
    neuron: Neuron, shape: tuple[int, int] = SHAPE, dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    return {
        k: torch.as_tensor(v, dtype=dtype).expand(shape) for k, v in neuron.start(shape[1]).items()
    }


def full(value: float) -> torch.Tensor:
    return torch.full(SHAPE, value, dtype=torch.float64)


@pytest.mark.parametrize("constants", ["shared", "full shape"])
@pytest.mark.parametrize(
    ("neuron", "steps"), CASES, ids=[type(neuron).__name__ for neuron, _ in CASES]
)
def test_pencil(neuron, steps, constants):
    c = neuron.coeffs(parameters(neuron))
    if constants == "full shape":
        c = {k: v.expand(SHAPE).clone() for k, v in c.items()}
    state, s = begin(neuron), full(0.0)
    close = {"rtol": 0, "atol": 1e-12}
    for step in steps:
        x, state = neuron.step(full(step.I), s, state, c)
        assert set(state) == set(neuron.states) == set(step.state)
        torch.testing.assert_close(x, full(step.x), **close)
        for name, value in step.state.items():
            torch.testing.assert_close(state[name], full(value), **close)
        if type(neuron) in SPIKING:
            s = (x > 0).to(x.dtype)
            assert bool((s == float(step.spike)).all())
        torch.testing.assert_close(neuron.potential(s, state), full(step.potential), **close)
    assert len(steps) >= 3
    # a spike, and the step that resets it
    assert type(neuron) not in SPIKING or [step.spike for step in steps[:-1]].count(True) >= 1


def test_every_exported_neuron_is_here():
    exported = {
        c for c in vars(srnn.neurons).values() if inspect.isclass(c) and issubclass(c, Neuron)
    }
    tested = {type(neuron) for neuron, _ in CASES}
    assert tested == exported
    assert len(exported) == 13
    assert tested == SPIKING | {Leaky, AlphaLeaky}


@pytest.mark.parametrize(
    "neuron", [neuron for neuron, _ in CASES], ids=lambda neuron: type(neuron).__name__
)
def test_potential_is_reset_only_by_hard_resets(neuron):
    state = {name: full(0.7) for name in neuron.states}
    assert torch.equal(neuron.potential(full(0.0), state), full(0.7))
    assert torch.equal(
        neuron.potential(full(1.0), state), full(0.0 if type(neuron) in {LIF, YinLIF} else 0.7)
    )
    assert neuron.hard_reset == (type(neuron) in {LIF, YinLIF})
    if neuron.hard_reset:  # smooth in between
        torch.testing.assert_close(neuron.potential(full(0.25), state), full(0.75 * 0.7))


@pytest.mark.parametrize(
    "neuron", [neuron for neuron, _ in CASES], ids=lambda neuron: type(neuron).__name__
)
def test_step_is_pure(neuron):
    c, state, s, I = (
        neuron.coeffs(parameters(neuron)),
        {k: full(0.3) for k in neuron.states},
        full(1.0),
        full(0.5),
    )
    before = [t.clone() for t in (I, s, *state.values(), *c.values())]
    x1, first = neuron.step(I, s, state, c)
    x2, second = neuron.step(I, s, state, c)
    assert all(
        torch.equal(a, b) for a, b in zip(before, (I, s, *state.values(), *c.values()), strict=True)
    )
    assert torch.equal(x1, x2)
    assert x1.shape == SHAPE
    assert all(torch.equal(first[k], second[k]) for k in neuron.states)
    assert len(first) == len(neuron.states) >= 1


def test_alif_without_beta_ignores_its_adaptation():
    neuron = ALIF(tau_m=HALF, tau_adp=THREE_QUARTERS, b0=0.1, beta=0.0)
    x, state = neuron.step(
        full(1.0), full(1.0), {"u": full(0.2), "eta": full(0.4)}, neuron.coeffs(parameters(neuron))
    )
    torch.testing.assert_close(state["eta"], full(0.75 * 0.4 + 0.25))
    torch.testing.assert_close(state["u"], full(0.5 * 0.2 + 0.5 * 1.0 - 0.1))
    torch.testing.assert_close(x, full(0.5 - 0.1))


@pytest.mark.parametrize(
    ("u", "quadratic", "exponent"),
    [
        (3.0, 1.0, 2.0),
        (1.0, 1.0, 2.0),
        (0.75, 0.75, 1.0),
        (-0.75, -0.75, -5.0),
        (-3.0, -1.0, -14.0),
    ],
)
def test_the_nonlinearity_stops_at_the_peak(u, quadratic, exponent):
    izhikevich = Izhikevich(
        tau_m=0.5 * HALF, tau_w=THREE_QUARTERS, a=0.4, b=0.5, critical=0.5, threshold=1.0
    )
    state = {"u": full(u), "w": full(0.1)}
    _, after = izhikevich.step(
        full(0.3), full(0.0), state, izhikevich.coeffs(parameters(izhikevich))
    )
    torch.testing.assert_close(after["u"], full(0.5 * u + 0.3 - 0.1 + quadratic * quadratic))

    for cap, limit in ((5.0, 2.0), (1.5, 1.5)):  # the peak, (1 - 0.5)/0.25 = 2, or a lower cap
        adex = AdEx(
            tau_m=HALF,
            tau_w=THREE_QUARTERS,
            a=0.4,
            b=0.5,
            critical=0.5,
            delta=0.25,
            threshold=1.0,
            cap=cap,
        )
        _, after = adex.step(full(0.3), full(0.0), state, adex.coeffs(parameters(adex)))
        torch.testing.assert_close(
            after["u"], full(0.5 * u + 0.5 * (0.3 - 0.1 + 0.25 * math.exp(min(exponent, limit))))
        )
        torch.testing.assert_close(after["w"], full(0.75 * 0.1 + 0.25 * 0.4 * u))


# ── adLIF: order of the update, and stability (Bittar & Garner 2022 and the published code) ───────


@pytest.mark.parametrize(("kind", "u", "w"), [(SparchAdLIF, 0.85, 0.5), (AdLIF, 0.9, 0.015)])
def test_adlif_order_of_update(kind, u, w):
    neuron = kind(alpha=0.9, beta=0.97, a=0.5, b=1.0)
    _, state = neuron.step(
        full(0.0), full(0.0), {"u": full(1.0), "w": full(0.0)}, neuron.coeffs(parameters(neuron))
    )
    torch.testing.assert_close(state["u"], full(u))
    torch.testing.assert_close(state["w"], full(w))


def eigenvalues(neuron: Neuron) -> list[complex]:
    """Eigenvalues of (u, w) → (u', w') without input and spikes, largest first."""
    c = neuron.coeffs(parameters(neuron, 2))
    zero, one = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    _, after = neuron.step(zero, zero, {"u": one[0], "w": one[1]}, c)
    matrix = torch.stack([after["u"], after["w"]])
    return sorted(torch.linalg.eigvals(matrix).tolist(), key=abs, reverse=True)


def test_adlif_eigenvalues():
    given = {"alpha": 0.9, "beta": 0.98, "a": -1.0, "b": 0.0}
    code, paper, stable = (
        eigenvalues(SparchAdLIF(**given)),
        eigenvalues(AdLIF(**given)),
        eigenvalues(SparchAdLIF(**given, stable=True)),
    )
    assert len(code) == len(paper) == len(stable) == 2
    assert abs(code[0]) == pytest.approx(1.3032, abs=5e-5)
    assert paper[0] == pytest.approx(1.0)
    assert paper[1] == pytest.approx(0.88)
    assert abs(stable[0]) == pytest.approx(1.0)
    assert abs(
        eigenvalues(SparchAdLIF(**{**given, "alpha": 0.819, "beta": 0.9917}))[0]
    ) == pytest.approx(1.42, abs=5e-3)


def quiet_run(neuron: Neuron, steps: int) -> torch.Tensor:
    """Potentials (T, 2, 3) in float32 without spikes, from u = 1."""
    c, s = neuron.coeffs(parameters(neuron, dtype=torch.float32)), torch.zeros(SHAPE)
    state = {"u": torch.ones(SHAPE), "w": torch.zeros(SHAPE)}
    potentials = []
    for _ in range(steps):
        _, state = neuron.step(torch.zeros(SHAPE), s, state, c)
        potentials.append(state["u"])
    return torch.stack(potentials)


def test_sparch_adlif_diverges_and_stable_does_not():
    given = {"alpha": 0.9, "beta": 0.98, "a": -1.0, "b": 0.0}
    code, stable, paper = (
        quiet_run(SparchAdLIF(**given), 400),
        quiet_run(SparchAdLIF(**given, stable=True), 2000),
        quiet_run(AdLIF(**given), 2000),
    )
    growth = code[60] / code[59]
    torch.testing.assert_close(growth, torch.full(SHAPE, 1.3032), rtol=1e-4, atol=0)
    assert not bool(torch.isfinite(code[-1]).any())
    assert stable.shape == paper.shape == (2000, *SHAPE)
    assert float(stable.abs().max()) < 10
    assert float(paper.abs().max()) < 10


def test_stable_leaves_stable_neurons_alone():
    given = {"alpha": 0.9, "beta": 0.98, "b": 0.3}
    for a, kept in ((0.4, 0.4), (-0.01, -0.01), (-0.02, -0.02), (-0.5, -0.02)):
        neuron = SparchAdLIF(a=a, stable=True, **given)
        assert float(neuron.coeffs(parameters(neuron))["a"]) == pytest.approx(kept)
        assert (
            float(SparchAdLIF(a=a, **given).coeffs(parameters(SparchAdLIF(a=a, **given)))["a"]) == a
        )
    assert "stable" not in SparchAdLIF(stable=True).constants()


def test_stable_survives_long_noise():
    torch.manual_seed(0)
    n = 64
    current = torch.randn(1500, n)
    finite = {}
    for stable in (False, True):
        torch.manual_seed(1)
        neuron = SparchAdLIF(stable=stable)
        c, s, state = (
            neuron.coeffs(parameters(neuron, n, torch.float32)),
            torch.zeros(n),
            begin(neuron, (1, n), torch.float32),
        )
        for I in current.unbind():
            x, state = neuron.step(I, s, state, c)
            s = (x > 0).to(x.dtype)
        finite[stable] = int(torch.isfinite(state["u"]).sum())
    assert finite[True] == n
    assert finite[False] < n // 2 + 16  # about half are unstable
