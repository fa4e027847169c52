"""The ECG task without the command line: data, network, training loop and evaluation are ordinary
Python.
"""

from __future__ import annotations

import torch

import srnn
from srnn.datasets import ecg_sim
from srnn.init import Constant
from srnn.tasks.encoders import LevelCrossings
from srnn.tasks.task import collate


def main(epochs: int = 10, recordings: int = 48, steps: int = 250) -> float:
    """Train on simulated ECG for some epochs; return the accuracy over the steps of
    new patients.
    """
    torch.manual_seed(0)
    encode = LevelCrossings(threshold=0.3)
    samples = [encode(s) for s in ecg_sim.generate(recordings + 16, steps=steps)]
    train, test = collate(samples[:recordings]), collate(samples[recordings:])

    net = srnn.Stack(
        srnn.Layer(
            4,
            36,
            srnn.ALIF(tau_m=Constant(20.0), tau_adp=Constant(7.0), b0=0.1, beta=0.0),
            recurrent_bias=True,
        ),
        srnn.Layer(
            36, 6, srnn.ALIF(tau_m=Constant(20.0), tau_adp=Constant(100.0), b0=0.1), recurrent=False
        ),
    )
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for epoch in range(epochs):
        for chosen in torch.randperm(recordings).split(16):
            out = net(train.x[chosen], lengths=train.lengths[chosen])
            scores = srnn.decode.per_step(out.potential, lengths=train.lengths[chosen])
            loss = torch.nn.functional.nll_loss(
                scores.flatten(0, 1), train.labels[chosen].flatten(), ignore_index=-1
            )
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}")

    with torch.no_grad():
        out = net(test.x, lengths=test.lengths, record=True)
    accuracy = srnn.metrics.accuracy(srnn.decode.per_step(out.potential), test.labels)
    print(
        f"simulated data: {100 * accuracy:.1f} % of steps right, firing rates {out.trace.rates()}"
    )
    for name, count in srnn.energy.counts(net, out.trace).items():
        print(f"{name}: {count.mac:g} MAC, {count.ac:.0f} AC, {count.energy:.0f} pJ per step")
    return accuracy


if __name__ == "__main__":
    main()
