"""The network of a shape in other PyTorch libraries, each with the recurrent neuron of its own that
comes nearest.

Every class has one layer of that neuron for each hidden layer of the shape, its library's leaky
integrator as read-out, trained time constants where the library allows them, and its library's way
to loop over time. Time first: (T, B, C), which all but sinabs prefer. Time constants are those of
our own layers on average: 20 steps for the potential, 150 for the adaptation. The library is
imported when the peer is built.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.calibrate import RECORDINGS, check_rates, find_gain
from benchmarks.networks import TrainingStep
from benchmarks.shapes import Shape

TAU_M, TAU_ADP = 20.0, 150.0
B0, BETA = 0.01, 1.8


class TorchPeer(nn.Module):
    """A network of another library: `hidden` runs one hidden layer over time, `output` the
    read-out; both (T, B, ·) → (T, B, ·).

    package: what to ask for its version. neuron: which neuron it is, in words.
    """

    package: ClassVar[str]
    neuron: ClassVar[str]

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.linears = nn.ModuleList(
            [nn.Linear(below, above) for below, above in itertools.pairwise(shape.widths)]
        )
        self.cells: nn.ModuleList
        self.readout = nn.Linear(shape.hidden[-1], shape.classes)

    def input_weight(self, k: int) -> Tensor:
        """Return the input weights of hidden layer k, which the calibration scales."""
        layer: Any = self.linears[k]
        weight: Tensor = layer.weight
        return weight

    def hidden(self, k: int, x: Tensor) -> Tensor:
        """Run hidden layer k: (T, B, C) → spikes (T, B, N)."""
        raise NotImplementedError

    def output(self, spikes: Tensor) -> Tensor:
        """Run the read-out: (T, B, N) → (T, B, K)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Run all layers: (T, B, C) → (T, B, K)."""
        for k in range(len(self.cells)):
            x = self.hidden(k, x)
        return self.output(x)

    @torch.no_grad()
    def rates(self, x: Tensor) -> tuple[float, ...]:
        """Return the firing rate of each hidden layer."""
        rates = []
        for k in range(len(self.cells)):
            x = self.hidden(k, x)
            rates.append(float(x.mean()))
        return tuple(rates)

    @torch.no_grad()
    def calibrate(self, x: Tensor, shape: Shape) -> tuple[float, ...]:
        """Scale the input weights of each hidden layer until it fires at the wanted rate; return
        the rates on all of x.
        """
        h = x[:, :RECORDINGS]
        for k in range(len(self.cells)):
            weight = self.input_weight(k)
            start = weight.clone()

            def rate(
                gain: float,
                k: int = k,
                weight: Tensor = weight,
                start: Tensor = start,
                h: Tensor = h,
            ) -> float:
                weight.copy_(start * gain)
                return float(self.hidden(k, h).mean())

            find_gain(rate, shape.rate)
            h = self.hidden(k, h)
        rates = self.rates(x)
        check_rates(type(self).__name__, shape, rates)
        return rates


class SnnTorch(TorchPeer):
    """snnTorch: one call per step, the state handed on."""

    package, neuron = "snntorch", "RLeaky: LIF, β trained per neuron, soft reset, atan"

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        import snntorch

        decay = math.exp(-1 / TAU_M)
        self.cells = nn.ModuleList(
            [
                snntorch.RLeaky(beta=torch.full((n,), decay), linear_features=n, learn_beta=True)
                for n in shape.hidden
            ]
        )
        self.leaky = snntorch.Leaky(
            beta=torch.full((shape.classes,), decay), learn_beta=True, reset_mechanism="none"
        )

    def hidden(self, k: int, x: Tensor) -> Tensor:
        cell, current = self.cells[k], self.linears[k](x)
        s, u = torch.zeros_like(current[0]), torch.zeros_like(current[0])
        out = []
        for I in current.unbind(0):
            s, u = cell(I, s, u)
            out.append(s)
        return torch.stack(out)

    def output(self, spikes: Tensor) -> Tensor:
        current = self.readout(spikes)
        u, out = torch.zeros_like(current[0]), []
        for I in current.unbind(0):
            _, u = self.leaky(I, u)
            out.append(u)
        return torch.stack(out)


class Norse(TorchPeer):
    """Norse: LSNNRecurrent loops over time itself, input product included.

    Time constants and strength of the adaptation are those of our ALIF.
    """

    package, neuron = "norse", "LSNNRecurrent: ALIF, τ trained per neuron, hard reset, SuperSpike"

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        import norse.torch as norse

        dt = 1e-3
        self.constants = nn.ParameterList()
        cells = []
        for below, above in itertools.pairwise(shape.widths):
            mem, adapt = (
                nn.Parameter(torch.full((above,), 1 / (TAU_M * dt))),
                nn.Parameter(torch.full((above,), 1 / (TAU_ADP * dt))),
            )
            self.constants.extend([mem, adapt])
            p = norse.LSNNParameters(
                tau_syn_inv=torch.tensor(1 / dt),  # no synaptic filter
                tau_mem_inv=mem,
                tau_adapt_inv=adapt,
                v_th=torch.tensor(B0),
                beta=torch.tensor(BETA / TAU_ADP),
            )
            cells.append(norse.LSNNRecurrent(below, above, p=p, dt=dt))
        self.linears = nn.ModuleList()
        self.cells = nn.ModuleList(cells)
        leak = norse.LIParameters(
            tau_syn_inv=torch.tensor(1 / dt), tau_mem_inv=torch.tensor(1 / (TAU_M * dt))
        )
        self.leaky = norse.LI(p=leak, dt=torch.tensor(dt))

    def input_weight(self, k: int) -> Tensor:
        cell: Any = self.cells[k]
        weight: Tensor = cell.input_weights
        return weight

    def hidden(self, k: int, x: Tensor) -> Tensor:
        spikes: Tensor = self.cells[k](x)[0]
        return spikes

    def output(self, spikes: Tensor) -> Tensor:
        potential: Tensor = self.leaky(self.readout(spikes))[0]
        return potential


class _Feedback(nn.Module):
    """What SpikingJelly's container adds to the input of a step: R times the output of the step
    before.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n, n)

    def forward(self, output: Tensor, x: Tensor) -> Tensor:
        """Return x + R output + b."""
        return torch.addmm(x, output, self.linear.weight.t()) + self.linear.bias


class SpikingJelly(TorchPeer):
    """SpikingJelly: its recurrent container around a parametric LIF, multi-step mode.

    LinearRecurrentContainer multiplies input and feedback together by one N x 2N matrix; the
    element-wise container with a linear feedback does just what a recurrent layer needs, and less
    work.
    """

    package, neuron = (
        "spikingjelly",
        ("ParametricLIF in a recurrent container, τ trained per layer, soft reset, sigmoid"),
    )

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        from spikingjelly.activation_based import functional, layer, neuron

        self.reset = functional.reset_net
        self.cells = nn.ModuleList(
            [
                layer.ElementWiseRecurrentContainer(
                    neuron.ParametricLIFNode(init_tau=TAU_M, v_reset=None),
                    _Feedback(n),
                    step_mode="m",
                )
                for n in shape.hidden
            ]
        )
        self.leaky = neuron.NonSpikingLIFNode(tau=TAU_M)

    def hidden(self, k: int, x: Tensor) -> Tensor:
        self.reset(self.cells[k])
        spikes: Tensor = self.cells[k](self.linears[k](x))
        return spikes

    def output(self, spikes: Tensor) -> Tensor:
        return torch.stack(self.leaky(self.readout(spikes)))  # it returns a list, one entry a step


class Sinabs(TorchPeer):
    """sinabs: ALIFRecurrent loops over time itself; recordings first, so that each layer gets and
    gives a transposed view.
    """

    package, neuron = "sinabs", "ALIFRecurrent: τ trained per neuron, soft reset, Multi-Gaussian"

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        import sinabs.layers
        from sinabs.activation import MultiGaussian

        cells = [
            sinabs.layers.ALIFRecurrent(
                tau_mem=torch.full((n,), TAU_M),
                tau_adapt=torch.full((n,), TAU_ADP),
                rec_connect=nn.Linear(n, n),
                adapt_scale=BETA,
                spike_threshold=torch.tensor(B0),
                surrogate_grad_fn=MultiGaussian(),
            )
            for n in shape.hidden
        ]
        self.cells = nn.ModuleList(cells)
        self.leaky = sinabs.layers.ExpLeak(
            tau_mem=torch.full((shape.classes,), TAU_M), norm_input=True
        )

    @staticmethod
    def _run(cell: Any, current: Tensor) -> Tensor:
        for name, _ in list(cell.named_buffers()):
            # every call starts at rest, and without the graph of the call before
            setattr(cell, name, torch.zeros(0))
        out: Tensor = cell(current.transpose(0, 1))
        return out.transpose(0, 1)

    def hidden(self, k: int, x: Tensor) -> Tensor:
        return self._run(self.cells[k], self.linears[k](x))

    def output(self, spikes: Tensor) -> Tensor:
        return self._run(self.leaky, self.readout(spikes))


class _Step(torch.autograd.Function):
    """Spike with a boxcar surrogate: 1/2 within half a unit of the threshold."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where(x.abs() <= 0.5, 0.5 * grad, 0.0)


class _RecurrentAdLIF(nn.Module):
    """A recurrent adLIF layer (Bittar & Garner 2022, eqs 7-9), written from the equations as a
    plain loop over time.

    Batch norm of W x over recordings and steps, no self-connections, four constants a neuron,
    clamped to their ranges.
    """

    ranges: ClassVar = {
        "alpha": (math.exp(-1 / 5), math.exp(-1 / 25)),
        "beta": (math.exp(-1 / 30), math.exp(-1 / 120)),
        "a": (-1.0, 1.0),
        "b": (0.0, 2.0),
    }

    def __init__(self, n: int) -> None:
        super().__init__()
        self.recurrent = nn.Parameter(torch.nn.init.orthogonal_(torch.empty(n, n)))
        self.norm = nn.BatchNorm1d(n, momentum=0.05)
        self.constants = nn.ParameterDict(
            {name: torch.empty(n).uniform_(*ends) for name, ends in self.ranges.items()}
        )

    def forward(self, current: Tensor) -> Tensor:
        """current: (T, B, N), W x. Returns spikes (T, B, N)."""
        current = self.norm(current.flatten(0, 1)).view_as(current)
        alpha, beta, a, b = (
            self.constants[name].clamp(*ends) for name, ends in self.ranges.items()
        )
        R = (self.recurrent - torch.diag(self.recurrent.diagonal())).t()
        u, w, s = (torch.zeros_like(current[0]) for _ in range(3))
        out = []
        for I in current.unbind(0):
            before = u
            u = alpha * u + (1 - alpha) * (I + s @ R - w) - s
            w = beta * w + (1 - beta) * a * before + b * s
            s = _Step.apply(u - 1.0)  # type: ignore[no-untyped-call]
            out.append(s)
        return torch.stack(out)


class SparchStyle(TorchPeer):
    """Layers in the style of sparch (RadLIF), our own plain loop: that repository is no package.

    Its gain acts on the scale of the batch norm.
    """

    package, neuron = (
        "",
        (
            "RadLIF from its equations: adaptive LIF, 4 constants trained per "
            "neuron, batch norm, boxcar"
        ),
    )

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.cells = nn.ModuleList([_RecurrentAdLIF(n) for n in shape.hidden])
        self.decay = nn.Parameter(torch.full((shape.classes,), math.exp(-1 / TAU_M)))

    def input_weight(self, k: int) -> Tensor:
        cell: Any = self.cells[k]
        weight: Tensor = cell.norm.weight
        return weight

    def hidden(self, k: int, x: Tensor) -> Tensor:
        spikes: Tensor = self.cells[k](self.linears[k](x))
        return spikes

    def output(self, spikes: Tensor) -> Tensor:
        current = self.readout(spikes)
        u, out = torch.zeros_like(current[0]), []
        for I in current.unbind(0):
            u = self.decay * u + (1 - self.decay) * I
            out.append(u)
        return torch.stack(out)


TORCH_PEERS: dict[str, type[TorchPeer]] = {
    "snnTorch": SnnTorch,
    "Norse": Norse,
    "SpikingJelly": SpikingJelly,
    "sinabs": Sinabs,
    "sparch-style": SparchStyle,
}


def prepare(
    kind: type[TorchPeer], shape: Shape, x: Tensor, labels: Tensor
) -> tuple[TrainingStep, tuple[float, ...]]:
    """Build a peer, calibrate it, and return its training step and its firing rates."""
    torch.manual_seed(0)
    peer, time_first = kind(shape), x.transpose(0, 1).contiguous()
    rates = peer.calibrate(time_first, shape)
    return TrainingStep(peer, peer, time_first, labels, time=0), rates
