"""Spiking recurrent neural networks on time-domain signals.

    net = srnn.Stack(srnn.Layer(4, 36, srnn.ALIF(beta=0.0)), srnn.Readout(36, 6))
    out = net(x, lengths=lengths)          # x: (B, T, 4); out.potential: (B, T, 6)

Cells, surrogates, activations, initialisers, decoders, metrics, energy and compression are reached through their modules
(`srnn.surrogates.MultiGaussian`).
"""

from srnn import activations as activations
from srnn import baselines as baselines
from srnn import cells as cells
from srnn import compress as compress
from srnn import decode as decode
from srnn import encode as encode
from srnn import energy as energy
from srnn import init as init
from srnn import metrics as metrics
from srnn import surrogates as surrogates
from srnn._check import SrnnError as SrnnError
from srnn.layers import BatchNorm as BatchNorm
from srnn.layers import Bidirectional as Bidirectional
from srnn.layers import Concat as Concat
from srnn.layers import Layer as Layer
from srnn.layers import LayerNorm as LayerNorm
from srnn.layers import Mean as Mean
from srnn.layers import Readout as Readout
from srnn.networks import Output as Output
from srnn.networks import Stack as Stack
from srnn.networks import Trace as Trace
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
from srnn.stream import Stream as Stream

__version__ = "0.1.0"
