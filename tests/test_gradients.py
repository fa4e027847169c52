"""Gradients: the reference by finite differences, every neuron with every surrogate; the spiking
backward pass of each backend by adjoints written out by hand.

`python tests/test_gradients.py` prints the table of what the finite differences cover.

Finite differences need a smooth network: `Soft(surrogate)` puts the integral of the surrogate in
place of the spike. Some integrals have a corner (Boxcar at ±width, MGLeft and MGRight at 0), and so
have the clamps inside AdEx and Izhikevich. A corner within a step of the finite difference would
fail for no reason: each case makes sure that nothing it evaluates comes closer than `MARGIN` to
one. It draws again from another seed if something does, or if no neuron is above threshold (where
ReLU has no gradient at all).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from helpers import NEURONS, SURROGATES
from srnn import Layer, Readout, Stack
from srnn.activations import Soft, Spike
from srnn.init import Constant, Uniform
from srnn.neuron import Neuron
from srnn.neurons import ALIF, LIF, AdEx, Izhikevich, Leaky, SparchAdLIF
from srnn.surrogates import Boxcar, MGLeft, MGRight, MultiGaussian, Surrogate

B, T, C, N = 2, 3, 2, 2
EPS = 1e-6
MARGIN = 1e-3

RANGES = {
    "tau_m": (2.0, 4.0),
    "tau_adp": (2.0, 5.0),
    "tau_w": (2.0, 5.0),
    "alpha": (0.5, 0.9),
    "beta": (0.5, 0.9),
    "a": (0.3, 0.6),
    "b": (0.3, 0.6),
    "b0": (0.1, 0.3),
    "threshold": (0.15, 0.4),
    "decay": (0.4, 0.8),
    "u_rest": (-0.2, 0.0),
    "critical": (0.1, 0.25),
    "delta": (0.3, 0.5),
}
"""Where each constant of the matrix is drawn from: short memories and low thresholds, so that three
steps feel every one of them.
"""


class Watched(Soft):
    """`Soft` that keeps every x it was given."""

    def __call__(self, x: Tensor) -> Tensor:
        self.__dict__.setdefault("seen", []).append(x.detach())
        return super().__call__(x)


@dataclass(frozen=True)
class Checked:
    """One case of the matrix: the number of entries of each input, and how many of them have a
    gradient that is not zero.
    """

    entries: dict[str, int]
    alive: dict[str, int]
    outputs: int
    lengths: bool


def trained(neuron: Neuron, shared: bool = False) -> Neuron:
    """The same neuron, every constant a trained one."""
    return dataclasses.replace(
        neuron, **{name: Constant(1.0, shared=shared) for name in neuron.constants()}
    )


def value(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """A value for a constant; the cap of AdEx is felt by the first neuron only, so that both sides
    of its minimum are checked.
    """
    if name == "cap":
        both = torch.tensor([-1.5, 3.0], dtype=torch.float64)
        return both if shape else both[0]
    low, high = RANGES[name]
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def corners(surrogate: Surrogate) -> tuple[float, ...]:
    """Where the primitive of a surrogate, with its default numbers, is not differentiable."""
    if isinstance(surrogate, Boxcar):
        return -surrogate.width, surrogate.width
    return (0.0,) if isinstance(surrogate, MGLeft | MGRight) else ()


def clearance(
    neuron: Neuron, surrogate: Surrogate, x: list[Tensor], values: dict[str, Tensor]
) -> float:
    """The smallest distance of what was evaluated to a corner."""
    gaps = [float((v - c).abs().min()) for v in x for c in corners(surrogate)]
    if isinstance(neuron, AdEx | Izhikevich):
        p = {k.rsplit(".")[-1]: v for k, v in values.items() if ".constants." in k}
        u, s = (
            [values["start.u"], *(v + p["threshold"] for v in x[:-1])],
            [values["start.s"], *(surrogate.primitive(v) for v in x[:-1])],
        )
        for ut, st in zip(u, s, strict=True):
            after = ut - p["threshold"] * st
            if isinstance(neuron, AdEx):
                top = (p["threshold"] - p["critical"]) / p["delta"]
                gaps += [
                    float(
                        ((after - p["critical"]) / p["delta"] - torch.minimum(top, p["cap"]))
                        .abs()
                        .min()
                    ),
                    float((top - p["cap"]).abs().min()),
                ]
            else:
                gaps.append(
                    float(
                        ((after - p["u_rest"]).abs() - (p["threshold"] - p["u_rest"])).abs().min()
                    )
                )
    return min(gaps, default=math.inf)


def case(
    neuron: Neuron, surrogate: Surrogate, lengths: Tensor | None, seed: int, shared: bool = False
) -> tuple[Callable[..., Tensor], dict[str, Tensor]]:
    """A recurrent layer as a function of everything that is a number: x, the parameters, the start
    state.
    """
    while True:
        g = torch.Generator().manual_seed(seed)

        def draw(
            *shape: int, low: float = -1.0, high: float = 1.0, g: torch.Generator = g
        ) -> Tensor:
            return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)

        soft = Watched(surrogate)
        net = Stack(
            Layer(C, N, trained(neuron, shared), soft, recurrent_bias=True, dtype=torch.float64)
        )
        inputs = {"x": draw(B, T, C)}
        for path, p in net.named_parameters():
            name = path.rsplit(".")[-1]
            inputs[path] = value(name, p.shape, g) if ".constants." in path else draw(*p.shape)
        for name in (*neuron.states, "s"):
            inputs[f"start.{name}"] = draw(B, N, low=0.1, high=0.9)
        names = tuple(inputs)

        def run(*tensors: Tensor, names: tuple[str, ...] = names, net: Stack = net) -> Tensor:
            given = dict(zip(names, tensors, strict=True))
            parameters = {k: v for k, v in given.items() if k.startswith("layers.")}
            start = (
                {k.removeprefix("start."): v for k, v in given.items() if k.startswith("start.")},
            )
            out = torch.func.functional_call(
                net,
                parameters,
                (given["x"],),
                {"lengths": lengths, "state": start, "backend": "reference"},
            )
            return torch.cat(
                [v.flatten() for v in (out.output, out.potential, *out.state[0].values())]
            )

        with torch.no_grad():
            run(*inputs.values())
        x = soft.__dict__["seen"]
        if clearance(neuron, surrogate, x, inputs) > MARGIN and x[0].max() > 0.05:
            return run, inputs
        seed += 10_000


@functools.cache
def check(neuron_type: type[Neuron], surrogate_type: type[Surrogate]) -> Checked:
    """Compare every derivative of one neuron with one surrogate with finite differences; raises
    where one differs.
    """
    k = NEURONS.index(neuron_type) * len(SURROGATES) + SURROGATES.index(surrogate_type)
    lengths = torch.tensor([T, T - 1]) if (k + k // len(SURROGATES)) % 2 else None
    run, inputs = case(neuron_type(), surrogate_type(), lengths, seed=k)
    tensors = tuple(t.clone().requires_grad_() for t in inputs.values())
    out = run(*tensors)
    weight = torch.rand(out.shape, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
    grads = torch.autograd.grad(out, tensors, weight)
    assert torch.autograd.gradcheck(run, tensors, eps=EPS, atol=1e-7, rtol=1e-5)
    alive = {name: int((g != 0).sum()) for name, g in zip(inputs, grads, strict=True)}
    return Checked(
        {name: t.numel() for name, t in inputs.items()}, alive, out.numel(), lengths is not None
    )


def table() -> str:
    """What the finite differences cover: for each neuron and surrogate the number of inputs and of
    entries compared with every output.
    """
    rows = [f"{'neuron':12}" + "".join(f"{s.__name__:>15}" for s in SURROGATES)]
    inputs = entries = 0
    for n in NEURONS:
        cells = [check(n, s) for s in SURROGATES]
        inputs, entries = (
            inputs + sum(len(c.entries) for c in cells),
            entries + sum(sum(c.entries.values()) for c in cells),
        )
        rows.append(
            f"{n.__name__:12}"
            + "".join(
                f"{len(c.entries)} / {sum(c.entries.values())} {'L' if c.lengths else ' '}".rjust(
                    15
                )
                for c in cells
            )
        )
    rows.append(
        f"{len(NEURONS)} neurons x {len(SURROGATES)} surrogates = "
        f"{len(NEURONS) * len(SURROGATES)} cases (inputs / entries; L: with lengths): "
        f"{inputs} inputs, {entries} entries"
    )
    return "\n".join(rows)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda c: c.__name__)
@pytest.mark.parametrize("neuron", NEURONS, ids=lambda c: c.__name__)
def test_finite_differences(neuron, surrogate):
    """Every input has a gradient that is not zero: W, b, R, b_R, each constant, x, each state
    variable, the graded output before the first step.
    """
    done = check(neuron, surrogate)
    constants = [f"layers.0.constants.{name}" for name in neuron().constants()]
    parameters = [
        "layers.0.weight",
        "layers.0.bias",
        "layers.0.recurrent",
        "layers.0.recurrent_bias",
    ]
    assert set(done.entries) == {
        "x",
        *parameters,
        *constants,
        *(f"start.{name}" for name in neuron.states),
        "start.s",
    }
    assert done.outputs == B * T * N * 2 + B * N * (len(neuron.states) + 1)
    assert [name for name, count in done.alive.items() if count == 0] == []


def test_the_table_is_whole():
    """The neurons and surrogates come from the modules themselves: a new one is checked, and
    changes these numbers.
    """
    text = table()
    cases = [check(n, s) for n, s in itertools.product(NEURONS, SURROGATES)]
    assert (len(NEURONS), len(SURROGATES), len(cases)) == (13, 10, 130)
    assert sum(c.lengths for c in cases) == 65
    assert len(text.splitlines()) == 15
    assert "13 neurons x 10 surrogates = 130 cases" in text
    constants = sum(len(n().constants()) for n in NEURONS)
    states = sum(len(n.states) + 1 for n in NEURONS)
    assert (constants, states) == (45, 32)
    assert sum(len(c.entries) for c in cases) == 10 * (13 * 5 + constants + states)
    assert sum(sum(c.entries.values()) for c in cases) == 10 * (
        13 * (B * T * C + N * C + N * N + 2 * N) + constants * N + states * B * N
    )


@pytest.mark.parametrize("neuron", NEURONS, ids=lambda c: c.__name__)
def test_constants_shared_by_the_layer(neuron):
    """0-dim constants: their gradient is the sum over the neurons."""
    run, inputs = case(neuron(), MultiGaussian(), torch.tensor([T, T - 2]), seed=77, shared=True)
    constants = {k: v for k, v in inputs.items() if ".constants." in k}
    assert len(constants) == len(neuron().constants())
    assert all(v.shape == () for v in constants.values())
    tensors = tuple(t.clone().requires_grad_(k in constants) for k, t in inputs.items())
    assert torch.autograd.gradcheck(run, tensors, eps=EPS, atol=1e-7, rtol=1e-5)


def test_the_stability_bound_of_sparch():
    """stable=True: a below β - 1 is raised to it, so that its own gradient is zero and β's comes
    through the bound too.
    """
    run, inputs = case(SparchAdLIF(stable=True), MultiGaussian(), None, seed=5)
    inputs["layers.0.constants.a"] = torch.tensor([-0.9, 0.4], dtype=torch.float64)
    tensors = tuple(t.clone().requires_grad_() for t in inputs.values())
    assert torch.autograd.gradcheck(run, tensors, eps=EPS, atol=1e-7, rtol=1e-5)
    (grad,) = torch.autograd.grad(
        run(*tensors).sum(), tensors[list(inputs).index("layers.0.constants.a")]
    )
    assert grad[0] == 0
    assert grad[1] != 0


def test_a_wrong_gradient_is_found():
    """The check has teeth: a primitive whose derivative is off by one part in ten thousand fails
    it.
    """

    class Off(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * 1.0001

    @dataclass(frozen=True)
    class Wrong(MultiGaussian):
        def primitive(self, x):
            return Off.apply(super().primitive(x))

    run, inputs = case(ALIF(), Wrong(), None, seed=3)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(
            run,
            tuple(t.clone().requires_grad_() for t in inputs.values()),
            eps=EPS,
            atol=1e-7,
            rtol=1e-5,
        )


# ── the spiking backward pass, by hand ────────────────────────────────────────────────────────────


def surrogate_by_hand(x: Tensor) -> Tensor:
    """Multi-Gaussian, γ 0.5, h 0.15, s 6, σ 0.5, as printed."""

    def pdf(mean: float, std: float) -> Tensor:
        return torch.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))

    return 0.5 * (1.15 * pdf(0, 0.5) - 0.15 * pdf(0.5, 3.0) - 0.15 * pdf(-0.5, 3.0))


@dataclass
class Spiking:
    """A spiking layer run forward and backward by the package, with a gradient on every output,
    potential and final state.
    """

    net: Stack
    x: Tensor
    start: dict[str, Tensor]
    out: Tensor
    potential: Tensor
    g_out: Tensor
    g_potential: Tensor
    g_state: dict[str, Tensor]

    @classmethod
    def of(cls, neuron: Neuron, scale: float, backend: str, seed: int = 0) -> Spiking:
        torch.manual_seed(seed)
        batch, steps, channels, neurons = 3, 9, 4, 5
        net = Stack(
            Layer(
                channels,
                neurons,
                neuron,
                Spike(MultiGaussian()),
                recurrent_bias=True,
                dtype=torch.float64,
            )
        )
        with torch.no_grad():
            for b in (net.layers[0].bias, net.layers[0].recurrent_bias):
                b.uniform_(-0.1, 0.3)
        x = (scale * torch.randn(batch, steps, channels, dtype=torch.float64)).requires_grad_()
        start = {
            k: torch.rand(batch, neurons, dtype=torch.float64, requires_grad=True)
            for k in (*neuron.states, "s")
        }
        run = net(x, state=(start,), backend=backend)
        g_out, g_potential = torch.randn_like(run.output), torch.randn_like(run.potential)
        g_state = {k: torch.randn_like(v) for k, v in run.state[0].items()}
        loss = (
            (run.output * g_out).sum()
            + (run.potential * g_potential).sum()
            + sum((run.state[0][k] * g).sum() for k, g in g_state.items())
        )
        loss.backward()
        assert 0.1 < run.output.mean() < 0.9  # both spikes and silence
        return cls(
            net, x, start, run.output.detach(), run.potential.detach(), g_out, g_potential, g_state
        )

    def __post_init__(self) -> None:
        layer = self.net.layers[0]
        self.W, self.R = layer.weight.detach(), layer.recurrent.detach()
        self.I = self.x.detach() @ self.W.T + layer.bias.detach() + layer.recurrent_bias.detach()
        self.s = [self.start["s"].detach(), *self.out.unbind(1)]  # s[t + 1] is the output of step t
        for t in range(self.steps):
            self.I[:, t] += self.s[t] @ self.R.T
        self.c = {k: v.detach() for k, v in layer.constants().items()}

    @property
    def steps(self) -> int:
        return self.out.shape[1]

    def compare(
        self, I_bar: list[Tensor], constants: dict[str, Tensor], start: dict[str, Tensor]
    ) -> int:
        """Compare with what autograd left in the package's tensors, and return the number of
        entries compared.
        """
        layer, g = self.net.layers[0], torch.stack(I_bar, 1)
        previous = torch.stack(self.s[:-1], 1)
        wanted = {
            "weight": torch.einsum("btn,btc->nc", g, self.x.detach()),
            "recurrent": torch.einsum("btn,btm->nm", g, previous),
            "bias": g.sum((0, 1)),
            "recurrent_bias": g.sum((0, 1)),
            **{f"constants.{k}": v.sum(0) for k, v in constants.items()},
        }
        got = {k: p.grad for k, p in layer.named_parameters()}
        assert set(got) == set(wanted)
        got |= {"x": self.x.grad, **{f"start.{k}": v.grad for k, v in self.start.items()}}
        wanted |= {"x": g @ self.W, **{f"start.{k}": v for k, v in start.items()}}
        for name in got:
            torch.testing.assert_close(
                got[name],
                wanted[name],
                rtol=1e-10,
                atol=1e-11,
                msg=lambda m, name=name: f"{name}: {m}",
            )
            assert (wanted[name] != 0).all(), name
        return sum(v.numel() for v in got.values())


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_backward_of_alif_by_hand(backend):
    """η, θ, u, s as published; θ̄ = -x̄ - s[t-1] ū, η̄ = ρ η̄ + β θ̄, nothing detached."""
    run = Spiking.of(
        ALIF(Uniform(2.0, 6.0), Uniform(3.0, 9.0), Constant(0.1), Uniform(0.5, 1.5)), 3.0, backend
    )
    c, s = run.c, run.s
    alpha, rho = torch.exp(-1 / c["tau_m"]), torch.exp(-1 / c["tau_adp"])
    u, eta, theta = [run.start["u"].detach()], [run.start["eta"].detach()], []
    for t in range(run.steps):
        eta.append(rho * eta[t] + (1 - rho) * s[t])
        theta.append(c["b0"] + c["beta"] * eta[t + 1])
        u.append(alpha * u[t] + (1 - alpha) * run.I[:, t] - theta[t] * s[t])
        assert torch.equal((u[t + 1] > theta[t]).double(), s[t + 1])
    u_bar, e_bar, s_bar = run.g_state["u"], run.g_state["eta"], run.g_state["s"]
    I_bar, d = [], {k: torch.zeros_like(u_bar) for k in c}
    for t in reversed(range(run.steps)):
        x_bar = surrogate_by_hand(u[t + 1] - theta[t]) * (run.g_out[:, t] + s_bar)
        u_bar = u_bar + run.g_potential[:, t] + x_bar
        t_bar = -x_bar - s[t] * u_bar
        e_bar = e_bar + c["beta"] * t_bar
        I_bar.insert(0, (1 - alpha) * u_bar)
        d["tau_m"] = d["tau_m"] + u_bar * (u[t] - run.I[:, t]) * alpha / c["tau_m"] ** 2
        d["tau_adp"] = d["tau_adp"] + e_bar * (eta[t] - s[t]) * rho / c["tau_adp"] ** 2
        d["beta"] = d["beta"] + t_bar * eta[t + 1]
        d["b0"] = d["b0"] + t_bar
        s_bar = I_bar[0] @ run.R - theta[t] * u_bar + (1 - rho) * e_bar
        u_bar, e_bar = alpha * u_bar, rho * e_bar
    assert (
        run.compare(I_bar, d, {"u": u_bar, "eta": e_bar, "s": s_bar})
        == 20 + 25 + 10 + 4 * 5 + 3 * 9 * 4 + 3 * 15
    )


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_backward_of_the_hard_reset_by_hand(backend):
    """v before, u = (1 - s) v after the reset: the reset gives s the gradient -v ū, and lets (1 -
    s) ū through to v.
    """
    run = Spiking.of(LIF(Uniform(2.0, 6.0), Uniform(0.1, 0.3)), 1.5, backend)
    c, s = run.c, run.s
    leak = 1 / c["tau_m"]
    v = [run.start["u"].detach()]
    for t in range(run.steps):
        v.append((1 - leak) * (1 - s[t]) * v[t] + leak * run.I[:, t])
        assert torch.equal((v[t + 1] > c["threshold"]).double(), s[t + 1])
        torch.testing.assert_close(
            (1 - s[t + 1]) * v[t + 1], run.potential[:, t], rtol=1e-12, atol=1e-12
        )
    v_bar_direct, s_bar, u_bar = run.g_state["u"], run.g_state["s"], torch.zeros_like(v[0])
    I_bar, d = [], {k: torch.zeros_like(u_bar) for k in c}
    for t in reversed(range(run.steps)):
        u_bar = u_bar + run.g_potential[:, t]
        x_bar = surrogate_by_hand(v[t + 1] - c["threshold"]) * (
            run.g_out[:, t] + s_bar - v[t + 1] * u_bar
        )
        v_bar = v_bar_direct + x_bar + (1 - s[t + 1]) * u_bar
        v_bar_direct = 0.0
        I_bar.insert(0, leak * v_bar)
        d["tau_m"] = d["tau_m"] + v_bar * (run.I[:, t] - (1 - s[t]) * v[t]) * -(leak**2)
        d["threshold"] = d["threshold"] - x_bar
        u_bar, s_bar = (1 - leak) * v_bar, I_bar[0] @ run.R
    start = {"u": (1 - s[0]) * u_bar, "s": s_bar - v[0] * u_bar}
    assert run.compare(I_bar, d, start) == 20 + 25 + 10 + 2 * 5 + 3 * 9 * 4 + 2 * 15


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_backward_of_sparch_by_hand(backend):
    """w before u, the reset inside the decay and of size 1 whatever θ is."""
    run = Spiking.of(
        SparchAdLIF(
            a=Uniform(0.0, 0.3),
            b=Uniform(0.0, 0.5),
            alpha=Uniform(0.3, 0.8),
            beta=Uniform(0.5, 0.8),
            threshold=Uniform(0.2, 0.4),
        ),
        1.5,
        backend,
    )
    c, s = run.c, run.s
    u, w = [run.start["u"].detach()], [run.start["w"].detach()]
    for t in range(run.steps):
        w.append(c["beta"] * w[t] + c["a"] * u[t] + c["b"] * s[t])
        u.append(c["alpha"] * (u[t] - s[t]) + (1 - c["alpha"]) * (run.I[:, t] - w[t + 1]))
        assert torch.equal((u[t + 1] > c["threshold"]).double(), s[t + 1])
    u_bar, w_bar, s_bar = run.g_state["u"], run.g_state["w"], run.g_state["s"]
    I_bar, d = [], {k: torch.zeros_like(u_bar) for k in c}
    for t in reversed(range(run.steps)):
        x_bar = surrogate_by_hand(u[t + 1] - c["threshold"]) * (run.g_out[:, t] + s_bar)
        u_bar = u_bar + run.g_potential[:, t] + x_bar
        I_bar.insert(0, (1 - c["alpha"]) * u_bar)
        w_bar = w_bar - I_bar[0]
        d["alpha"] = d["alpha"] + u_bar * (u[t] - s[t] - run.I[:, t] + w[t + 1])
        d["beta"], d["a"], d["b"] = (
            d["beta"] + w_bar * w[t],
            d["a"] + w_bar * u[t],
            d["b"] + w_bar * s[t],
        )
        d["threshold"] = d["threshold"] - x_bar
        s_bar = I_bar[0] @ run.R - c["alpha"] * u_bar + c["b"] * w_bar
        u_bar, w_bar = c["alpha"] * u_bar + c["a"] * w_bar, c["beta"] * w_bar
    assert (
        run.compare(I_bar, d, {"u": u_bar, "w": w_bar, "s": s_bar})
        == 20 + 25 + 10 + 5 * 5 + 3 * 9 * 4 + 3 * 15
    )


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_backward_of_the_readout_by_hand(backend):
    """ȳ = g + κ ȳ, p̄ = (1 - κ) ȳ, and in closed form: y[t] = κ^(t+1) y₀ + (1 - κ) Σ
    κ^(t-k) p[k].
    """
    torch.manual_seed(1)
    net = Stack(Readout(4, 3, Leaky(Uniform(2.0, 6.0)), dtype=torch.float64))
    x = torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    start = {k: torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for k in ("u", "s")}
    out = net(x, state=(start,), backend=backend)
    assert torch.equal(out.potential, out.output)
    g, g_end = torch.randn_like(out.potential), torch.randn(2, 3, dtype=torch.float64)
    ((out.potential * g).sum() + (out.state[0]["u"] * g_end).sum()).backward()
    layer = net.layers[0]
    tau, W = layer.constants.tau_m.detach(), layer.weight.detach()
    k, p = torch.exp(-1 / tau), x.detach() @ W.T + layer.bias.detach()
    y = [start["u"].detach()]
    for t in range(6):
        y.append(k * y[t] + (1 - k) * p[:, t])
        closed = k ** (t + 1) * y[0] + (1 - k) * sum(k ** (t - j) * p[:, j] for j in range(t + 1))
        torch.testing.assert_close(out.potential[:, t], closed, rtol=1e-12, atol=1e-12)
    y_bar, p_bar, dk = g_end, [], torch.zeros(2, 3, dtype=torch.float64)
    for t in reversed(range(6)):
        y_bar = y_bar + g[:, t]
        p_bar.insert(0, (1 - k) * y_bar)
        dk, y_bar = dk + y_bar * (y[t] - p[:, t]), k * y_bar
    gp = torch.stack(p_bar, 1)
    close = functools.partial(torch.testing.assert_close, rtol=1e-11, atol=1e-12)
    close(layer.weight.grad, torch.einsum("btn,btc->nc", gp, x.detach()))
    close(layer.bias.grad, gp.sum((0, 1)))
    close(layer.constants.tau_m.grad, dk.sum(0) * k / tau**2)
    close(x.grad, gp @ W)
    close(start["u"].grad, y_bar)
    # nothing reads it: no recurrence, no reset
    assert start["s"].grad is None or not start["s"].grad.any()


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(table())
