"""Networks on a live stream: samples in, scores and events out, with explicit state.

stream = Stream(net, threshold=0.9)
for sample in source:                  # (C,) numbers
    step = stream.push(sample)
    for event in step.events: ...
"""

from srnn.stream.decision import Decision as Decision
from srnn.stream.decision import Event as Event
from srnn.stream.stream import Step as Step
from srnn.stream.stream import Stream as Stream
