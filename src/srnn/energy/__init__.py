"""What a network costs: multiply-accumulate (MAC) and accumulate (AC) operations per time step, and
their energy.

Counted by walking the layers as built and the neuron's step as traced, never from a table. A rule
set says what is charged; each is described, with its source, in its class (`rules`):

    Yin2020     Yin, Corradi & Bohté 2020, Table 2
    Yin2021     Yin, Corradi & Bohté 2021, Tables 2 and S2
    Bittar2022  Bittar & Garner 2022, section 4.2
    Measured    what the recorded network does, with nothing left out; on request memory traffic too

Energy is in picojoules per step at 45 nm (`process`); each rule set has the numbers of its paper,
unless another `Process` is given.

    energy.count(net, out.trace)             Measured, of a recorded forward pass
    energy.count(net, assumed, Yin2021())    the published rules, at an assumed rate:
                                             assumed = energy.Activity.assumed(net, 0.1)
    energy.counts(net, out.trace)            all rule sets
    energy.reasons(published, measured)      why two counts differ, in pJ
"""

from __future__ import annotations

from srnn.energy.compare import Comparison as Comparison
from srnn.energy.compare import dense_lstm as dense_lstm
from srnn.energy.compare import explain as explain
from srnn.energy.compare import lstm_counts as lstm_counts
from srnn.energy.compare import reasons as reasons
from srnn.energy.counting import count as count
from srnn.energy.counting import counts as counts
from srnn.energy.process import FP16 as FP16
from srnn.energy.process import FP32 as FP32
from srnn.energy.process import INT8 as INT8
from srnn.energy.process import INT32 as INT32
from srnn.energy.process import MEMORIES as MEMORIES
from srnn.energy.process import PROCESSES as PROCESSES
from srnn.energy.process import PUBLISHED as PUBLISHED
from srnn.energy.process import Memory as Memory
from srnn.energy.process import Process as Process
from srnn.energy.rules import Bittar2022 as Bittar2022
from srnn.energy.rules import Measured as Measured
from srnn.energy.rules import Rules as Rules
from srnn.energy.rules import Yin2020 as Yin2020
from srnn.energy.rules import Yin2021 as Yin2021
from srnn.energy.tally import Charge as Charge
from srnn.energy.tally import Count as Count
from srnn.energy.tally import LayerCount as LayerCount
from srnn.energy.units import Activity as Activity
