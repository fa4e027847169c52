"""Spiking recurrent neural networks on time-domain signals.

    net = srnn.Stack(srnn.Layer(4, 36, srnn.ALIF(beta=0.0)), srnn.Readout(36, 6))
    out = net(x, lengths=lengths)          # x: (B, T, 4); out.potential: (B, T, 6)

Cells, surrogates, activations, initialisers, decoders, metrics, energy and compression are reached
through their modules (`srnn.surrogates.MultiGaussian`). Names are loaded when they are first used:
`import srnn` alone imports neither torch nor NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors; `_NAMES` says the same at run time
    from srnn import activations as activations
    from srnn import analysis as analysis
    from srnn import baselines as baselines
    from srnn import cells as cells
    from srnn import compress as compress
    from srnn import datasets as datasets
    from srnn import decode as decode
    from srnn import encode as encode
    from srnn import energy as energy
    from srnn import export as export
    from srnn import figures as figures
    from srnn import init as init
    from srnn import kernels as kernels
    from srnn import metrics as metrics
    from srnn import networks as networks
    from srnn import neuron as neuron
    from srnn import neurons as neurons
    from srnn import nn as nn
    from srnn import report as report
    from srnn import runs as runs
    from srnn import stream as stream
    from srnn import surrogates as surrogates
    from srnn import tasks as tasks
    from srnn import train as train
    from srnn._check import SrnnError as SrnnError
    from srnn.neuron import Neuron as Neuron
    from srnn.neurons import ALIF as ALIF
    from srnn.neurons import IF as IF
    from srnn.neurons import LIF as LIF
    from srnn.neurons import AdEx as AdEx
    from srnn.neurons import AdLIF as AdLIF
    from srnn.neurons import AlphaLeaky as AlphaLeaky
    from srnn.neurons import Izhikevich as Izhikevich
    from srnn.neurons import Leaky as Leaky
    from srnn.neurons import SoftLIF as SoftLIF
    from srnn.neurons import SparchAdLIF as SparchAdLIF
    from srnn.neurons import SparchLIF as SparchLIF
    from srnn.neurons import ThresholdLIF as ThresholdLIF
    from srnn.neurons import YinLIF as YinLIF
    from srnn.nn.bidirectional import Bidirectional as Bidirectional
    from srnn.nn.bidirectional import Concat as Concat
    from srnn.nn.bidirectional import Mean as Mean
    from srnn.nn.layers import BatchNorm as BatchNorm
    from srnn.nn.layers import Layer as Layer
    from srnn.nn.layers import LayerNorm as LayerNorm
    from srnn.nn.layers import Readout as Readout
    from srnn.nn.networks import Output as Output
    from srnn.nn.networks import Stack as Stack
    from srnn.nn.networks import Trace as Trace
    from srnn.stream import Stream as Stream

__version__ = "0.1.0"

_MODULES = (
    *("activations", "analysis", "baselines", "cells", "compress", "datasets", "decode", "encode"),
    *("energy", "export", "figures", "init", "kernels", "metrics", "networks", "neuron", "neurons"),
    *("nn", "report", "runs", "stream", "surrogates", "tasks", "train"),
)
_NAMES = {
    "srnn._check": ("SrnnError",),
    "srnn.neuron": ("Neuron",),
    "srnn.neurons": (
        *("ALIF", "IF", "LIF", "AdEx", "AdLIF", "AlphaLeaky", "Izhikevich", "Leaky", "SoftLIF"),
        *("SparchAdLIF", "SparchLIF", "ThresholdLIF", "YinLIF"),
    ),
    "srnn.nn.bidirectional": ("Bidirectional", "Concat", "Mean"),
    "srnn.nn.layers": ("BatchNorm", "Layer", "LayerNorm", "Readout"),
    "srnn.nn.networks": ("Output", "Stack", "Trace"),
    "srnn.stream": ("Stream",),
}
_PLACES = {name: place for place, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name in _MODULES:
        return importlib.import_module(f"srnn.{name}")  # which sets the attribute
    if name not in _PLACES:
        raise AttributeError(f"module 'srnn' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_PLACES})
