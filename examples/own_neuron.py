"""Write a neuron of your own: train it, check its gradient, count its operations."""

from __future__ import annotations

from dataclasses import dataclass

import torch

import srnn
from srnn.activations import Soft
from srnn.init import Init, Uniform
from srnn.kernels.trace import trace_step
from srnn.neuron import Neuron


@dataclass(frozen=True)
class Resonator(Neuron):
    """A damped oscillator that spikes: u and v rotate by ω and shrink by d a step."""

    omega: Init = Uniform(0.1, 0.6)
    decay: Init = 0.95
    threshold: Init = 1.0

    states = ("u", "v")

    def coeffs(self, p):
        return {
            "cos": p["decay"] * torch.cos(p["omega"]),
            "sin": p["decay"] * torch.sin(p["omega"]),
            "threshold": p["threshold"],
        }

    def step(self, I, s, state, c):
        u = c["cos"] * state["u"] - c["sin"] * state["v"] + I - c["threshold"] * s
        v = c["sin"] * state["u"] + c["cos"] * state["v"]
        return u - c["threshold"], {"u": u, "v": v}


def recordings(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy spike trains with one of three periods: (count, 60, 1) and the class of each."""
    labels = torch.randint(0, 3, (count,), generator=generator)
    periods = torch.tensor([12, 20, 40])[labels]
    phase = torch.randint(0, 40, (count, 1), generator=generator)
    x = ((torch.arange(60) + phase) % periods.unsqueeze(1) < 2).float().unsqueeze(-1)
    return x, labels


def main(epochs: int = 30) -> float:
    """Train for some epochs; return the accuracy on new recordings."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    net = srnn.Stack(srnn.Layer(1, 24, Resonator()), srnn.Readout(24, 3))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(epochs):
        x, y = recordings(64, generator)
        loss = torch.nn.functional.cross_entropy(srnn.decode.softmax_sum(net(x).potential), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    smooth = srnn.Layer(1, 3, Resonator(), Soft()).double()
    assert torch.autograd.gradcheck(
        lambda x: smooth(x).output, torch.rand(2, 4, 1, dtype=torch.float64, requires_grad=True)
    )
    print("operations of one step:", [op.name for op in trace_step(Resonator()).ops])

    x, y = recordings(256, generator)
    out = net(x, record=True)
    accuracy = srnn.metrics.accuracy(srnn.decode.softmax_sum(out.potential), y)
    cost = srnn.energy.count(net, out.trace)
    print(
        f"accuracy {100 * accuracy:.1f} %, firing rate {out.trace.rate():.3f}, {cost.mac:g} "
        f"MAC and {cost.ac:.0f} AC per step"
    )
    return accuracy


if __name__ == "__main__":
    main()
