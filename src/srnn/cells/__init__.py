"""Cells of artificial recurrent networks that fit the contract of `srnn.neuron`: one file each,
equation and source on top.

    Layer(40, 128, cells.Elman(), Identity())                      h = tanh(I)
    Layer(40, 128, cells.LiGRU(), Identity(), norm=BatchNorm())    one gate (below)
    Layer(40, 128, cells.LiBRU(), Identity(), norm=BatchNorm())    its Bayesian relative
    Layer(40, 128, cells.IndRNN(), Relu(), recurrent=False)        each unit feeds back to itself
    Layer(40, 128, cells.LSTM(), Identity(), recurrent_bias=True)  as torch.nn.LSTM
    Layer(40, 128, cells.GRU(), Identity())                        as torch.nn.GRU
    Layer(40, 128, cells.Dense(), Relu(), recurrent=False)         a dense layer, no dynamics
    Readout(128, 10, cells.Sum(), bias=False)                      a linear layer of spike counts

The light GRU's W and R have 2·N rows: update gate, then candidate. The LSTM has four gates and a
memory, the GRU a reset and an update gate; `Dense`, recurrent, is a ReLU network.

A cell shows its own output, h[t] = s[t], as its potential, unless it says otherwise; all start at
0. Norm and dropout are the layer's.
"""

from srnn.cells.dense import Dense as Dense
from srnn.cells.elman import Elman as Elman
from srnn.cells.gru import GRU as GRU
from srnn.cells.indrnn import IndRNN as IndRNN
from srnn.cells.libru import LiBRU as LiBRU
from srnn.cells.libru import LiBRUProbability as LiBRUProbability
from srnn.cells.ligru import LiGRU as LiGRU
from srnn.cells.lstm import LSTM as LSTM
from srnn.cells.sums import Sum as Sum
