"""Figures of the papers as functions: each returns (matplotlib Figure, numbers behind it).
matplotlib (extra "report"), no display needed.

They take networks, traces, tensors and numbers, not tasks, so that they serve a network of your own
too. The numbers are plain dictionaries of lists, ready for `json.dump`; what is not defined (the sd
of one seed) is None.
"""

from __future__ import annotations

from srnn.analysis.comparison import compare as compare
from srnn.analysis.comparison import heat_map as heat_map
from srnn.analysis.comparison import pareto as pareto
from srnn.analysis.decoding import streaming as streaming
from srnn.analysis.over_time import activity as activity
from srnn.analysis.over_time import anytime as anytime
from srnn.analysis.samples import frames as frames
from srnn.analysis.samples import pixels as pixels
from srnn.analysis.samples import raster as raster
from srnn.analysis.style import COLOURS as COLOURS
from srnn.analysis.style import Drawn as Drawn
from srnn.analysis.time_constants import time_constants as time_constants
from srnn.analysis.traces import neuron_traces as neuron_traces
from srnn.analysis.traces import record_neuron as record_neuron
