"""Encoders: signal in, events or features (T, C) out."""

from srnn.encode.level_crossing import LevelCrossing as LevelCrossing
from srnn.encode.level_crossing import normalise as normalise
