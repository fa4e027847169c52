"""Data sets: one file each.

Raw signals (or published events) out, as typed `Sample`s or `Spikes`.
"""

from srnn.datasets.sample import UNLABELLED as UNLABELLED
from srnn.datasets.sample import Entry as Entry
from srnn.datasets.sample import Recording as Recording
from srnn.datasets.sample import Recordings as Recordings
from srnn.datasets.sample import Sample as Sample
from srnn.datasets.sample import Spikes as Spikes
from srnn.datasets.sample import joined as joined
