"""A live ECG from Python: samples of two leads come one by one, are encoded as events, and a
network says which wave it sees.
"""

from __future__ import annotations

import tempfile

import numpy as np
import torch

import srnn
from srnn.datasets import ecg_sim
from srnn.encode.streaming import Chain, Each
from srnn.init import Constant
from srnn.stream import Decision


def main(steps: int = 500) -> float:
    """Stream one simulated recording through an untrained network; return the fraction of steps
    whose class is that of the whole recording.
    """
    torch.manual_seed(0)
    recording = ecg_sim.generate(1, steps=steps)[0]
    net = srnn.Stack(
        srnn.Layer(4, 36, srnn.ALIF(tau_m=Constant(20.0), b0=0.1, beta=0.0), recurrent_bias=True),
        srnn.Readout(36, 6),
    )
    with torch.no_grad():
        for layer in net.layers:
            layer.weight.mul_(20)  # as it is, an untrained network would hardly say anything
    # a live signal has no mean and deviation yet: take those of an earlier recording
    mean, sd = recording.signal.mean(0), recording.signal.std(0)
    encode = Chain(Each(lambda x: (x - mean) / sd, 2), srnn.encode.LevelCrossing(0.3).streaming(2))

    stream = srnn.Stream(net, decision=Decision("per_step", skip=10), threshold=0.5, hold=5)
    labels = []
    for sample in recording.signal:  # any iterator: a serial port, a socket …
        for events in encode.push(sample[None]):
            now = stream.push(events)
            labels.append(int(now.label))
            for event in now.events:
                if event.kind == "decided":
                    print(
                        f"step {event.step}: class {event.label}, confident since step "
                        f"{event.since} ({event.confidence:.0%})"
                    )

    with tempfile.TemporaryDirectory() as folder:  # another process may go on from such a file
        stream.save(f"{folder}/state.safetensors")
        stream.load(f"{folder}/state.safetensors")
    with torch.no_grad():
        x = torch.as_tensor(srnn.encode.LevelCrossing(0.3)((recording.signal - mean) / sd))[None]
        whole = net(x).potential.argmax(-1)[0].numpy()
    same = float((np.array(labels)[10:] == whole[10:]).mean())
    print(
        f"{len(labels)} steps one by one, {same:.1%} of the classes as in one go; backend "
        f"{stream.backend.name}"
    )
    return same


if __name__ == "__main__":
    main()
