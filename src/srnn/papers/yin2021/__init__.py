"""Yin, Corradi & Bohté 2021, "Accurate and efficient time-domain classification with adaptive
spiking recurrent neural networks".
"""

from __future__ import annotations

from srnn.papers.table import Table
from srnn.papers.yin2021.figures import FIGURES
from srnn.papers.yin2021.results import TABLE1, TABLE2, TABLE_S1, TABLE_S2

TABLES: tuple[Table, ...] = (TABLE1, TABLE2, TABLE_S1, TABLE_S2, *FIGURES)
