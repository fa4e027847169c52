"""Data sets: one file each. Raw signals (or published events) out, as typed `Sample`s."""

from srnn.datasets.sample import UNLABELLED as UNLABELLED
from srnn.datasets.sample import Sample as Sample
