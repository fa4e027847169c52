"""The kernels compute what the reference defines: every neuron and cell with every kind of
activation, and strangers the package never saw.

Here the cpu backend; under TRITON_INTERPRET=1 (`make test-triton`), or where there is a GPU, the
triton backend in its three ways.

A spike that flips by rounding sends a recurrent network another way. So the forward pass is
compared step by step, both sides handed the same state and the same output of the step before
(teacher-forced), and the gradients where the free-running spikes agree. A flip is excused only
where the potential above threshold is within rounding of 0. The table at the end of the module says
what was compared.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

import srnn.cells
import srnn.neurons
import srnn.surrogates
from helpers import CELLS, NEURONS, SURROGATES
from srnn.activations import Activation, Identity, Relu, Soft, Spike
from srnn.init import Constant, Init
from srnn.kernels import cpu, gpu, scan
from srnn.neuron import Coeffs, Neuron, State
from srnn.neurons import ALIF
from srnn.surrogates import FastSigmoid, MultiGaussian, Surrogate

DTYPES = (torch.float32, torch.float64)
TRITON = gpu.interpreting() or torch.cuda.is_available()
STEPS, BATCH, N = 8 if gpu.interpreting() else 20, 10, 11
WAYS = ("stepwise", "persistent", "pointwise") if TRITON else ("cpu",)
BACKEND, DEVICE = (
    "triton" if TRITON else "cpu",
    "cpu" if gpu.interpreting() or not TRITON else "cuda",
)

# ── strangers ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Stranger(Neuron):
    """Two states, a tanh, a where, a division, an exp, and an option."""

    decay: Init = Constant(0.8)
    width: Init = Constant(1.5)
    inverted: bool = False

    states = ("u", "trace")

    def coeffs(self, p: dict[str, Tensor]) -> Coeffs:
        return {**p, "rest": 1 - p["decay"]}

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        trace = torch.where(
            state["u"] > 0.2, c["decay"] * state["trace"] + s, state["trace"] / c["width"]
        )
        leak = torch.exp(-trace * trace) if self.inverted else 1 - 0.5 * torch.exp(-trace * trace)
        u = c["decay"] * leak * torch.tanh(state["u"]) + c["rest"] * I / (1 + trace.abs()) - 0.3 * s
        return u - 0.2, {"u": u, "trace": trace}

    def potential(self, s: Tensor, state: State) -> Tensor:
        return state["u"] * state["trace"] + s


@dataclass(frozen=True)
class Rational(Surrogate):
    """gain / (1 + (x / width)²): a surrogate of the test's own."""

    width: float = 0.7
    gain: float = 0.8

    def grad(self, x: Tensor) -> Tensor:
        return self.gain / (1 + (x / self.width) ** 2)


@dataclass(frozen=True)
class Swish(Activation):
    """s = amount · x σ(x): an activation of the test's own, with a number and an option."""

    amount: float = 0.6
    doubled: bool = False
    shape: Surrogate = field(default_factory=Rational)

    def forward(self, x: Tensor) -> Tensor:
        return self.amount * x * torch.sigmoid(x) * (2 if self.doubled else 1)

    def grad(self, x: Tensor) -> Tensor:
        p = torch.sigmoid(x)
        return self.amount * (p + x * p * (1 - p)) * (
            2 if self.doubled else 1
        ) + 0.1 * self.shape.grad(x)


# ── cases ─────────────────────────────────────────────────────────────────────────────────────────

Case = tuple[Neuron, Activation, torch.dtype]


def options(kind: type) -> list[str]:
    return [f.name for f in dataclasses.fields(kind) if isinstance(f.default, bool)]


def cases() -> dict[str, Case]:
    found: dict[str, Case] = {}

    def add(neuron: Neuron, activation: Activation, dtype: torch.dtype) -> None:
        chosen = "+".join(k for k in options(type(neuron)) if getattr(neuron, k))
        inner = [type(v).__name__ for v in vars(activation).values() if isinstance(v, Surrogate)]
        name = type(neuron).__name__ + (f"({chosen})" if chosen else "")
        name += f"-{type(activation).__name__}" + (f"({inner[0]})" if inner else "")
        found[f"{name}-{str(dtype).removeprefix('torch.')}"] = (neuron, activation, dtype)

    for kind in (*NEURONS, *CELLS):
        for activation in (Spike(MultiGaussian()), Relu(), Identity(), Soft(FastSigmoid())):
            if activation.unit or not kind.hard_reset:
                for dtype in DTYPES:
                    add(kind(), activation, dtype)
        for name in options(kind):
            add(kind(**{name: True}), Identity(), torch.float64)
    for k, surrogate in enumerate(SURROGATES):
        add(ALIF(), Spike(surrogate()), DTYPES[k % 2])
        add(ALIF(), Soft(surrogate()), DTYPES[1 - k % 2])
    for dtype in DTYPES:
        add(Stranger(), Spike(Rational()), dtype)
        add(Stranger(inverted=True), Swish(), dtype)
        add(ALIF(), Swish(doubled=True), dtype)
    return found


CASES = cases()
RUNS = [
    (way, name)
    for way in WAYS
    for name, case in CASES.items()
    if not (way == "persistent" and case[2] is torch.float64)
]


@pytest.fixture
def way(request, monkeypatch):
    """How the layer runs; without R where that is the way."""
    monkeypatch.setattr(gpu, "STEPWISE", request.param == "stepwise")
    monkeypatch.setattr(gpu, "TILE", 1024 if gpu.interpreting() else gpu.TILE)
    if TRITON:
        assert gpu.plan(N, 1, request.param != "pointwise", "float32").name == request.param
    return request.param


@dataclass
class Drawn:
    """A layer's inputs, drawn at random; spiking neurons are driven so that they fire
    now and then.
    """

    neuron: Neuron
    activation: Activation
    current: Tensor
    R: Tensor | None
    coeffs: dict[str, Tensor]
    start: dict[str, Tensor]

    def to(self, device: str) -> Drawn:
        coeffs, start = (
            {k: v.to(device) for k, v in values.items()} for values in (self.coeffs, self.start)
        )
        return Drawn(
            self.neuron,
            self.activation,
            self.current.to(device),
            None if self.R is None else self.R.to(device),
            coeffs,
            start,
        )

    def run(self, backend: str, lengths: Tensor | None = None) -> scan.Scanned:
        return scan.run(
            self.neuron,
            self.activation,
            self.current,
            self.R,
            self.coeffs,
            self.start,
            lengths=lengths,
            potential=True,
            backend=backend,
        )

    def leaves(self) -> dict[str, Tensor]:
        return {
            "current": self.current,
            **({} if self.R is None else {"R": self.R}),
            **{f"c.{k}": v for k, v in self.coeffs.items()},
            **{f"start.{k}": v for k, v in self.start.items()},
        }


def draw(
    neuron: Neuron, activation: Activation, dtype: torch.dtype, seed: int, recurrent: bool = True
) -> Drawn:
    torch.manual_seed(seed)
    G = neuron.gates
    noise, R = (
        torch.randn(BATCH, STEPS, G * N, dtype=dtype),
        torch.randn(G * N, N, dtype=dtype) / N**0.5,
    )
    params = {
        k: (v if isinstance(v, Tensor) else v.tensor()).to(dtype) for k, v in neuron.init(N).items()
    }
    coeffs = {
        k: (v * (1 - 0.1 * torch.rand(N, dtype=dtype))).detach()
        for k, v in neuron.coeffs(params).items()
    }
    if coeffs and dtype is torch.float64:
        last = list(coeffs)[-1]
        coeffs[last] = coeffs[last].mean()  # one number for all neurons
    start = {k: 0.3 * torch.rand(BATCH, N, dtype=dtype) for k in (*neuron.states, "s")}
    if not activation.binary:
        return Drawn(neuron, activation, noise, 0.5 * R if recurrent else None, coeffs, start).to(
            DEVICE
        )
    best = None
    for gain in (0.1, 0.3, 1.0, 3.0, 10.0):
        for shift in (-0.7, 0.0, 0.7):
            made = Drawn(
                neuron,
                activation,
                gain * (noise + shift),
                gain * R if recurrent else None,
                coeffs,
                start,
            ).to(DEVICE)
            rate = float(made.run("reference").output.mean())
            if best is None or abs(rate - 0.25) < best[0]:
                best = abs(rate - 0.25), made
    return best[1]


def apart(got: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest number."""
    assert got.shape == wanted.shape
    assert torch.isfinite(wanted).all()
    assert torch.isfinite(got).all()
    return (
        float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30))
        if wanted.numel()
        else 0.0
    )


# ── the two comparisons ───────────────────────────────────────────────────────────────────────────


@dataclass
class Compared:
    """What one case compared: neuron steps, forward error, flips excused, recordings and gradients
    compared, backward error, firing rate.
    """

    steps: int
    forward: float
    flips: int
    recordings: int
    entries: int
    backward: float
    rate: float


DONE: dict[tuple[str, str], Compared] = {}


@torch.no_grad()
def teacher_forced(given: Drawn, tolerance: float) -> tuple[float, int, float]:
    """Step by step by the reference; then all those steps at once by the kernel, as a batch of
    one-step recordings.
    """
    neuron, names = given.neuron, (*given.neuron.states, "s")
    state, before, after, potentials = given.start, [], [], []
    for t in range(STEPS):
        before.append(state)
        run = scan.run(
            neuron,
            given.activation,
            given.current[:, t : t + 1],
            given.R,
            given.coeffs,
            state,
            potential=True,
            backend="reference",
        )
        state = run.state
        after.append(state)
        potentials.append(run.potential)
    start = {k: torch.cat([h[k] for h in before]) for k in names}
    wanted = {
        **{k: torch.cat([h[k] for h in after]) for k in names},
        "potential": torch.cat(potentials),
    }
    current = given.current.transpose(0, 1).reshape(STEPS * BATCH, 1, -1)
    run = scan.run(
        neuron,
        given.activation,
        current,
        given.R,
        given.coeffs,
        start,
        potential=True,
        backend=BACKEND,
    )
    got = {**run.state, "potential": run.potential}
    assert torch.equal(run.output[:, 0], run.state["s"])
    flipped = torch.zeros_like(wanted["s"], dtype=torch.bool)
    if given.activation.binary:
        I = (
            current[:, 0]
            if given.R is None
            else torch.addmm(current[:, 0], start["s"], given.R.t())
        )
        x, _ = neuron.step(
            I if neuron.gates == 1 else I.chunk(neuron.gates, -1), start["s"], start, given.coeffs
        )
        flipped = got["s"] != wanted["s"]
        assert bool((x[flipped].abs() <= tolerance * max(1.0, float(I.abs().max()))).all())
        assert set(got["s"].unique().tolist()) <= {0.0, 1.0}
    worst = max(apart(got[k], wanted[k]) for k in neuron.states) if neuron.states else 0.0
    for k, mask in (("s", flipped), ("potential", flipped.unsqueeze(1))):
        worst = max(worst, apart(torch.where(mask, wanted[k], got[k]), wanted[k]))
    return worst, int(flipped.sum()), float(wanted["s"].mean())


def free_running(given: Drawn, seed: int) -> tuple[int, int, float]:
    """Whole recordings of random lengths; gradients of everything from random gradients on
    everything, where no spike flipped.
    """
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, STEPS, (BATCH,), generator=g)
    lengths[0], lengths[1] = 0, STEPS
    leaves = {k: v.requires_grad_() for k, v in given.leaves().items()}
    runs = {backend: given.run(backend, lengths) for backend in ("reference", BACKEND)}
    same = torch.ones(BATCH, dtype=torch.bool, device=DEVICE)
    if given.activation.binary:
        same = (runs["reference"].output == runs[BACKEND].output).flatten(1).all(1)
    assert int(same.sum()) >= 0.9 * BATCH
    results = {k: (r.output, r.potential, *r.state.values()) for k, r in runs.items()}
    weights = [
        torch.randn(v.shape, generator=g, dtype=v.dtype).to(DEVICE)
        * same.view(-1, *[1] * (v.dim() - 1))
        for v in results[BACKEND]
    ]
    grads = {
        k: torch.autograd.grad(v, list(leaves.values()), weights, allow_unused=True)
        for k, v in results.items()
    }
    worst = entries = 0
    for name, got, wanted in zip(leaves, grads[BACKEND], grads["reference"], strict=True):
        wanted = torch.zeros_like(got) if wanted is None else wanted
        assert got is not None, name
        worst, entries = max(worst, apart(got, wanted)), entries + got.numel()
    past = (torch.arange(STEPS) >= lengths.unsqueeze(1)).to(DEVICE)
    assert not grads[BACKEND][0][past].any()
    assert not runs[BACKEND].output[past].any()
    assert not runs[BACKEND].potential[past].any()
    assert all(torch.equal(runs[BACKEND].state[k][0], given.start[k][0]) for k in given.start)
    return int(same.sum()), entries, float(worst)


@pytest.mark.triton
@pytest.mark.parametrize(("way", "name"), RUNS, indirect=["way"])
def test_parity(way, name):
    neuron, activation, dtype = CASES[name]
    forward, backward = {torch.float32: (1e-5, 2e-4), torch.float64: (1e-13, 1e-11)}[dtype]
    given = draw(neuron, activation, dtype, list(CASES).index(name), way != "pointwise")
    error, flips, rate = teacher_forced(given, forward)
    assert error <= forward
    assert flips <= 2
    if activation.binary and (type(neuron) in NEURONS or type(neuron) is Stranger):
        assert 0.05 <= rate <= 0.5
    recordings, entries, grad_error = free_running(given, seed=list(CASES).index(name))
    assert grad_error <= backward
    DONE[way, name] = Compared(
        STEPS * BATCH * N, error, flips, recordings, entries, grad_error, rate
    )


def test_the_cases_are_counted(request):
    """A new neuron, cell or surrogate adds cases, and changes these numbers."""
    assert (len(NEURONS), len(CELLS), len(SURROGATES)) == (13, 9, 10)
    refused = 2 * sum(kind.hard_reset for kind in (*NEURONS, *CELLS))
    assert len(CASES) == 2 * (22 * 4 - refused) + 3 + 2 * len(SURROGATES) - 2 + 6 == 195
    assert len(RUNS) == (195 if not TRITON else 2 * 195 + 96)
    if len(DONE) == len(RUNS):  # unless only some were selected
        assert sum(c.steps for c in DONE.values()) == len(RUNS) * STEPS * BATCH * N
        assert sum(c.recordings for c in DONE.values()) >= 0.99 * len(RUNS) * BATCH


FACTOR = 1.001


@dataclass(frozen=True)
class Wrong(ALIF):
    """An ALIF whose kernel remembers a number that has changed since."""

    def step(self, I: Tensor, s: Tensor, state: State, c: Coeffs) -> tuple[Tensor, State]:
        return super().step(I * FACTOR, s, state, c)


@pytest.mark.parametrize("activation", [Spike(), Soft()], ids=["Spike", "Soft"])
def test_a_wrong_kernel_is_found(activation, monkeypatch):
    scan.choose(BACKEND, cpu.register(Wrong(), activation), DEVICE, torch.float64)
    monkeypatch.setitem(globals(), "FACTOR", 1.0)
    given = draw(Wrong(), activation, torch.float64, seed=0)
    if activation.binary:
        with pytest.raises(AssertionError):
            assert teacher_forced(given, 1e-13)[0] < 1e-6
    else:
        assert teacher_forced(given, 1e-13)[0] > 1e-6
        assert free_running(given, seed=0)[2] > 1e-6


@pytest.fixture(scope="module", autouse=True)
def table(request):
    """Print what was compared when the module is done."""
    yield
    rows = [
        f"{'way':10} {'dtype':8} {'cases':>5} {'neuron steps':>12} {'worst':>8} "
        f"{'flips':>5} {'recordings':>10} {'gradient entries':>16} {'worst':>8}"
    ]
    for way, dtype in itertools.product(WAYS, DTYPES):
        done = [c for (how, name), c in DONE.items() if how == way and CASES[name][2] is dtype]
        if done:
            recordings = f"{sum(c.recordings for c in done)}/{len(done) * BATCH}"
            rows.append(
                f"{way:10} {str(dtype).removeprefix('torch.'):8} {len(done):5} "
                f"{sum(c.steps for c in done):12} {max(c.forward for c in done):8.1e} "
                f"{sum(c.flips for c in done):5} {recordings:>10} "
                f"{sum(c.entries for c in done):16} {max(c.backward for c in done):8.1e}"
            )
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n" + "\n".join(rows))


# ── finite differences on the kernel itself ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "neuron",
    [ALIF(), srnn.neurons.LIF(), srnn.neurons.AdLIF(), srnn.cells.LiBRU(), Stranger()],
    ids=lambda n: type(n).__name__,
)
def test_finite_differences(neuron):
    """No reference in between: every derivative of the compiled kernel, lengths and graded start
    included.
    """
    torch.manual_seed(3)
    activation, n = (Soft(FastSigmoid(slope=2.0)), 2) if neuron.gates == 1 else (Identity(), 2)
    names = [*neuron.states, "s"]
    params = {
        k: (v if isinstance(v, Tensor) else v.tensor()).double() for k, v in neuron.init(n).items()
    }
    coeffs = {k: (0.7 * v).detach() for k, v in neuron.coeffs(params).items()}
    given = [
        torch.randn(2, 3, n * neuron.gates),
        torch.randn(n * neuron.gates, n),
        *coeffs.values(),
        *(0.5 * torch.rand(2, n) for _ in names),
    ]
    leaves = tuple(v.double().to(DEVICE).requires_grad_() for v in given)

    def run(current: Tensor, R: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        c, state = (
            dict(zip(coeffs, rest, strict=False)),
            dict(zip(names, rest[len(coeffs) :], strict=True)),
        )
        out = scan.run(
            neuron,
            activation,
            current,
            R,
            c,
            state,
            lengths=torch.tensor([3, 2]),
            potential=True,
            backend=BACKEND,
        )
        return (out.output, out.potential, *out.state.values())

    assert torch.autograd.gradcheck(run, leaves, atol=1e-7, rtol=1e-5)
