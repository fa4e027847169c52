"""A network in other forms: C99 for microcontrollers.

model = to_c(net, "ecg", bits=8, calibration=x)   ecg/model.h, model.c, …; bits=None: float
CPlayer(model)(x, lengths)                        compiled here and run: outputs of all layers
to_integer(net, 8, x)(x, lengths)                 the same whole numbers in Python, bit for bit
"""

from srnn.export.c_model import to_c as to_c
from srnn.export.c_player import CPlayer as CPlayer
from srnn.export.c_player import Footprint as Footprint
from srnn.export.c_player import footprint as footprint
from srnn.export.integer import IntegerStack as IntegerStack
from srnn.export.integer import to_integer as to_integer
from srnn.export.model import CModel as CModel
