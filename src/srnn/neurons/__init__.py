"""Neuron models: one file each, equation and source on top. The contract is in `srnn.neuron`."""

from srnn.neurons.adex import AdEx as AdEx
from srnn.neurons.adlif import AdLIF as AdLIF
from srnn.neurons.adlif import SparchAdLIF as SparchAdLIF
from srnn.neurons.alif import ALIF as ALIF
from srnn.neurons.integrate import IF as IF
from srnn.neurons.izhikevich import Izhikevich as Izhikevich
from srnn.neurons.leaky import AlphaLeaky as AlphaLeaky
from srnn.neurons.leaky import Leaky as Leaky
from srnn.neurons.lif import LIF as LIF
from srnn.neurons.soft_lif import SoftLIF as SoftLIF
from srnn.neurons.soft_lif import SparchLIF as SparchLIF
from srnn.neurons.threshold_lif import ThresholdLIF as ThresholdLIF
from srnn.neurons.yin_lif import YinLIF as YinLIF
