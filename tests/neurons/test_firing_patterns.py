"""AdEx and Izhikevich fire as their differential equations do: against a fine-step integration,
pattern by pattern.

The reference below is written from the continuous equations, in float64 with 200 Euler steps to one
step of the package, and a spike as an instantaneous event. All runs of one model go through the
package together, one neuron each, so that the constants have full shape.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch

from srnn.init import Constant, Fixed, Normal
from srnn.neuron import Neuron
from srnn.neurons import AdEx, AdLIF, Izhikevich

FINE = 200  # Euler steps to one step of the package


@dataclass(frozen=True)
class Run:
    """One model with one set of constants at one constant current.

    Time constants and durations are in steps.
    """

    model: str
    current: float
    steps: int
    tau_m: float
    b: float = 0.0
    a: float = 0.0
    tau_w: float = 1000.0
    u_rest: float = 0.0
    critical: float = 0.5
    threshold: float = 1.0
    delta: float = 0.2

    def constants(self) -> dict[str, float]:
        names = ["tau_m", "tau_w", "a", "b", "u_rest", "critical", "threshold"]
        return {
            name: getattr(self, name)
            for name in [*names, *(["delta"] if self.model == "AdEx" else [])]
        }

    def without_jump(self) -> Run:
        return Run(**{**self.__dict__, "b": 0.0})


PATTERNS = {
    ("AdEx", "tonic"): Run("AdEx", 0.5, 4000, tau_m=200.0),
    ("AdEx", "adapting"): Run("AdEx", 0.8, 4000, tau_m=200.0, b=0.1, a=0.05),
    ("AdEx", "bursting"): Run(
        "AdEx",
        0.8,
        9000,
        tau_m=200.0,
        b=0.15,
        tau_w=3000.0,
        u_rest=-1.0,
        critical=-0.3,
        threshold=0.4,
        delta=0.3,
    ),
    ("Izhikevich", "tonic"): Run("Izhikevich", 0.3, 4000, tau_m=100.0),
    ("Izhikevich", "adapting"): Run("Izhikevich", 0.4, 4000, tau_m=100.0, b=0.1, a=0.05),
    ("Izhikevich", "bursting"): Run(
        "Izhikevich",
        0.15,
        9000,
        tau_m=100.0,
        b=0.1,
        tau_w=2000.0,
        u_rest=-0.6,
        critical=-0.2,
        threshold=0.6,
    ),
}


def leak(run: Run) -> Callable[[float], float]:
    """f(u) of the continuous model."""
    rest, critical, delta = run.u_rest, run.critical, run.delta
    return {
        "AdEx": lambda u: -(u - rest) + delta * math.exp((u - critical) / delta),
        "Izhikevich": lambda u: -(u - rest) * (critical - u),
        "linear": lambda u: -(u - rest),
    }[run.model]


@cache
def fine(run: Run, substeps: int = FINE) -> tuple[float, ...]:
    """Spike times (steps) of the continuous model: τ_m u' = f(u) + I - w, τ_w w' = a (u - u_rest) -
    w, reset at the instant of a spike.
    """
    f, u, w, times = leak(run), run.u_rest, 0.0, []
    rest, current, threshold, a = run.u_rest, run.current, run.threshold, run.a
    h_u, h_w = 1 / (substeps * run.tau_m), 1 / (substeps * run.tau_w)
    for i in range(run.steps * substeps):
        u, w = u + h_u * (f(u) + current - w), w + h_w * (a * (u - rest) - w)
        if u > threshold:
            u -= threshold
            w += run.b
            times.append((i + 1) / substeps)
    return tuple(times)


def drive(
    neuron: Neuron, n: int, current: torch.Tensor
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Outputs and potentials (each a list of (N,) tensors) of n neurons for current (T, N), from
    their start, in the dtype of current.
    """
    params = {
        k: (v.tensor() if isinstance(v, Fixed) else v).to(current.dtype)
        for k, v in neuron.init(n).items()
    }
    c = {k: v.expand(n) for k, v in neuron.coeffs(params).items()}
    state = {
        k: torch.as_tensor(v, dtype=current.dtype).expand(n) for k, v in neuron.start(n).items()
    }
    s, outputs, potentials = torch.zeros(n, dtype=current.dtype), [], []
    for I in current.unbind():
        x, state = neuron.step(I, s, state, c)
        s = (x > 0).to(x.dtype)
        outputs.append(s)
        potentials.append(state["u"])
    return outputs, potentials


@cache
def ours(model: str) -> dict[Run, tuple[float, ...]]:
    """Spike times (steps) of all patterns of a model and of their controls without a jump at a
    spike, in one run of the package.
    """
    patterns = [run for (name, _), run in PATTERNS.items() if name == model]
    runs = list(dict.fromkeys([*patterns, *(run.without_jump() for run in patterns)]))
    values = {name: Fixed([run.constants()[name] for run in runs]) for name in runs[0].constants()}
    neuron = {"AdEx": AdEx, "Izhikevich": Izhikevich}[model](**values)
    steps = max(run.steps for run in runs)
    spikes = torch.stack(
        drive(
            neuron,
            len(runs),
            torch.tensor([[run.current for run in runs]], dtype=torch.float64).expand(steps, -1),
        )[0]
    )
    return {
        run: tuple(float(t + 1) for t in spikes[: run.steps, i].nonzero().flatten().tolist())
        for i, run in enumerate(runs)
    }


def intervals(times: tuple[float, ...]) -> list[float]:
    return [b - a for a, b in itertools.pairwise(times)]


def bursts(times: tuple[float, ...], gap: float = 1000.0) -> list[int]:
    """Spikes per burst, bursts being separated by more than `gap` steps."""
    sizes = [1]
    for interval in intervals(times):
        if interval > gap:
            sizes.append(0)
        sizes[-1] += 1
    return sizes


def matches(times: tuple[float, ...], reference: tuple[float, ...], tolerance: float) -> bool:
    """The same number of spikes, and every interval the same within a relative tolerance."""
    pairs = list(zip(intervals(times), intervals(reference), strict=False))
    return len(times) == len(reference) and all(abs(a - b) <= tolerance * b for a, b in pairs)


TOLERANCE = {"tonic": 0.015, "adapting": 0.015, "bursting": 0.05}
COUNTS = {
    ("AdEx", "tonic"): 6,
    ("AdEx", "adapting"): 9,
    ("AdEx", "bursting"): 11,
    ("Izhikevich", "tonic"): 13,
    ("Izhikevich", "adapting"): 9,
    ("Izhikevich", "bursting"): 9,
}


@pytest.mark.parametrize(("model", "pattern"), list(PATTERNS))
def test_pattern_matches_the_fine_integration(model, pattern):
    run = PATTERNS[model, pattern]
    times, reference = ours(model)[run], fine(run)
    assert len(reference) == COUNTS[model, pattern]
    assert len(times) == len(reference)
    assert times[0] == pytest.approx(reference[0], rel=0.015)
    assert intervals(times) == pytest.approx(intervals(reference), rel=TOLERANCE[pattern])
    assert matches(times, reference, TOLERANCE[pattern])


@pytest.mark.parametrize("model", ["AdEx", "Izhikevich"])
def test_patterns_are_what_they_are_called(model):
    for source in (ours(model), {run: fine(run) for run in PATTERNS.values()}):
        tonic, adapting = (
            intervals(source[PATTERNS[model, name]]) for name in ("tonic", "adapting")
        )
        assert len(tonic) >= 5
        assert max(tonic) < 1.015 * min(tonic)
        assert len(adapting) == 8
        assert all(later > earlier for earlier, later in itertools.pairwise(adapting[:6]))
        assert adapting[-1] > 1.3 * adapting[0]
    expected = {"AdEx": [5, 3, 3], "Izhikevich": [4, 3, 2]}[model]
    bursting = PATTERNS[model, "bursting"]
    assert bursts(ours(model)[bursting]) == bursts(fine(bursting)) == expected


@pytest.mark.parametrize("model", ["AdEx", "Izhikevich"])
@pytest.mark.parametrize("pattern", ["adapting", "bursting"])
def test_without_the_jump_of_w_the_pattern_disappears(model, pattern):
    run = PATTERNS[model, pattern]
    control = run.without_jump()
    plain = ours(model)[control]
    assert len(plain) > 1.3 * len(ours(model)[run])
    # tonic: neither adapting nor in bursts
    assert max(intervals(plain)) < 1.1 * min(intervals(plain))
    assert not matches(plain, fine(run), 0.1)
    assert not matches(ours(model)[run], fine(control), 0.1)


@pytest.mark.parametrize(
    ("model", "wrong"),
    [("AdEx", "Izhikevich"), ("Izhikevich", "AdEx"), ("AdEx", "linear"), ("Izhikevich", "linear")],
)
def test_another_model_with_the_same_constants_does_not_match(model, wrong):
    run = PATTERNS[model, "adapting"]
    other = fine(Run(**{**run.__dict__, "model": wrong}))
    assert not matches(ours(model)[run], other, 0.1)
    assert matches(ours(model)[run], fine(run), 0.015)


def test_the_reference_has_converged():
    for key in (("AdEx", "adapting"), ("Izhikevich", "adapting")):
        coarse, finest = fine(PATTERNS[key]), fine(PATTERNS[key], 2 * FINE)
        assert len(coarse) == len(finest) == 9
        assert coarse == pytest.approx(finest, rel=1e-3)


def test_far_below_the_upstroke_adex_is_adlif():
    """With a negligible exponential only the linear part is left: AdLIF's step, but
    for rounding.
    """
    n, generator = 5, torch.Generator().manual_seed(1)
    current = 3 * torch.randn(600, n, generator=generator, dtype=torch.float64)
    shared = {"a": 0.4, "b": 0.7, "threshold": 1.0}
    exponential = AdEx(tau_m=10.0, tau_w=60.0, critical=60.0, delta=0.5, **shared)
    linear = AdLIF(alpha=math.exp(-1 / 10), beta=math.exp(-1 / 60), **shared)
    (spikes, u), (wanted, v) = drive(exponential, n, current), drive(linear, n, current)
    assert int(torch.stack(spikes).sum()) >= 10
    assert torch.equal(torch.stack(spikes), torch.stack(wanted))
    torch.testing.assert_close(torch.stack(u), torch.stack(v), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "neuron",
    [
        AdEx(),
        Izhikevich(),
        AdEx(delta=0.005),  # a sharp upstroke: held by the cap
        AdEx(tau_m=1.0, a=-0.9, b=0.0),
        Izhikevich(tau_m=1.0, a=-0.4, b=0.0),
        Izhikevich(tau_m=0.2, critical=0.1),
    ],
    ids=repr,
)
def test_finite_and_bounded_under_strong_noise(neuron, dtype):
    n, steps = 64, 2000
    torch.manual_seed(3)
    spikes, potentials = drive(neuron, n, 3 * torch.randn(steps, n, dtype=dtype))
    u = torch.stack(potentials)
    assert u.shape == (steps, n)
    assert bool(torch.isfinite(u).all())
    assert float(u.abs().max()) < 400
    assert int(torch.stack(spikes).sum()) > 100


@pytest.mark.parametrize("kind", [AdEx, Izhikevich])
@pytest.mark.parametrize("extreme", [-1e6, 1e6])
def test_recovers_from_an_extreme_input(kind, extreme):
    """One absurd input decays away like the linear leak; it is never amplified by the
    nonlinearity.
    """
    current = torch.zeros(3000, 4, dtype=torch.float64)
    current[0] = extreme
    neuron = kind(tau_m=5.0, tau_w=30.0, a=0.0, b=0.0)
    u = torch.stack(drive(neuron, 4, current)[1])
    assert float(u.abs().max()) <= 1.01 * float(u[0].abs().max())
    assert float(u[-1].abs().max()) < 1.5
    assert u.shape == (3000, 4)


@pytest.mark.parametrize("kind", [AdEx, Izhikevich])
def test_start_is_rest(kind):
    assert kind().start(3) == {"u": 0.0, "w": 0.0}
    assert kind(u_rest=-1).start(3) == {"u": -1.0, "w": 0.0}
    assert kind(u_rest=Constant(-0.25)).start(3)["u"] == -0.25
    assert kind(u_rest=Normal(-0.25, 0.1)).start(3)["u"] == -0.25  # drawn: the mean
    given = kind(u_rest=Fixed([-0.1, -0.2, -0.3])).start(3)["u"]
    assert isinstance(given, torch.Tensor)
    assert given.tolist() == [-0.1, -0.2, -0.3]
    assert kind(u_rest=Fixed(-0.5)).start(3)["u"] == -0.5


def test_izhikevich_rests_at_u_rest_without_input():
    """u_rest is a fixed point of the quadratic model, so nothing moves; AdEx rests a little above
    it.
    """
    potentials = drive(
        Izhikevich(u_rest=-0.5, critical=0.25), 4, torch.zeros(50, 4, dtype=torch.float64)
    )[1]
    assert len(potentials) == 50
    torch.testing.assert_close(
        torch.stack(potentials), torch.full((50, 4), -0.5, dtype=torch.float64)
    )


def test_every_constant_has_a_gradient():
    for neuron in (AdEx(cap=2.0), Izhikevich()):
        names = list(neuron.constants())
        torch.manual_seed(0)
        params = {
            k: (v.tensor() if isinstance(v, Fixed) else v).expand(3).clone().requires_grad_()
            for k, v in neuron.init(3).items()
        }
        c = neuron.coeffs(params)
        state = {
            "u": torch.tensor([-0.3, 0.4, 1.2], dtype=torch.float64),
            "w": torch.full((3,), 0.1, dtype=torch.float64),
        }
        total = torch.zeros((), dtype=torch.float64)
        for s in (0.0, 1.0, 0.0):
            x, state = neuron.step(
                torch.full((3,), 0.9, dtype=torch.float64),
                torch.full((3,), s, dtype=torch.float64),
                state,
                c,
            )
            total = total + x.sum() + state["w"].sum()
        total.backward()
        moved = [
            k for k in names if params[k].grad is not None and bool((params[k].grad != 0).any())
        ]
        assert moved == names
        assert len(names) == {"AdEx": 9, "Izhikevich": 7}[type(neuron).__name__]
        assert all(bool(torch.isfinite(params[k].grad).all()) for k in names)
