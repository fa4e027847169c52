"""Encoders: signal in, events or features (T, C) out."""

from srnn.encode.augment import Augment as Augment
from srnn.encode.bins import Bins as Bins
from srnn.encode.cochlea import Cochlea as Cochlea
from srnn.encode.fbank import Filterbank as Filterbank
from srnn.encode.level_crossing import LevelCrossing as LevelCrossing
from srnn.encode.level_crossing import normalise as normalise
from srnn.encode.log_mel import LogMel as LogMel
from srnn.encode.mfcc import Mfcc as Mfcc
from srnn.encode.pixels import Pixels as Pixels
from srnn.encode.population import Population as Population
from srnn.encode.rate import Poisson as Poisson
