"""Cells of artificial recurrent networks that fit the contract of `srnn.neuron`: one file each, equation and source on top.

    Layer(40, 128, cells.Elman(), Identity())                       h = tanh(I)
    Layer(40, 128, cells.LiGRU(), Identity(), norm=BatchNorm())     one gate; W and R have 2·N rows: update gate, then candidate
    Layer(40, 128, cells.LiBRU(), Identity(), norm=BatchNorm())     its Bayesian relative
    Layer(40, 128, cells.IndRNN(), Relu(), recurrent=False)         each unit feeds back to itself only
    Layer(40, 128, cells.LSTM(), Identity(), recurrent_bias=True)   four gates and a memory, as torch.nn.LSTM

A cell shows its own output, h[t] = s[t], as its potential; it starts at 0, and so does the memory of the LSTM, the only state beside the output.
Norm and dropout are the layer's.

A dense GRU does not fit. Its reset gate multiplies what R is applied to, c = tanh(W x + R (r h)), or the recurrent part alone, as torch does:
c = tanh(W x + r (R h)). A cell here is handed W x + R h, already added up. `torch.nn.GRU` is the baseline for it.
"""

from srnn.cells.elman import Elman as Elman
from srnn.cells.indrnn import IndRNN as IndRNN
from srnn.cells.libru import LiBRU as LiBRU
from srnn.cells.ligru import LiGRU as LiGRU
from srnn.cells.lstm import LSTM as LSTM
