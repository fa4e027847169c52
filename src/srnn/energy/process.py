"""What one operation and one memory access cost, in picojoules, at 45 nm and 0.9 V.

Source of every number: M. Horowitz, "Computing's energy problem (and what we can do about it)",
ISSCC 2014, figure 1.1.9. A multiply-accumulate is a multiplication and an addition; an accumulate
is an addition.

    pJ      multiplication   addition            pJ per 64-bit access
    int8         0.2           0.03              8 KB SRAM       10
    int32        3.1           0.1               32 KB SRAM      20
    fp16         1.1           0.4               1 MB SRAM      100
    fp32         3.7           0.9               DRAM          1300 to 2600

Yin 2020 and 2021 charge a MAC 3.1 pJ, the multiplication alone; Bittar & Garner 2022 charge 3.2 pJ,
both. The table has no int16.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """Energy of one multiply-accumulate and one accumulate in pJ, and the width of a word in bits.

    The default is the published one: a MAC is charged as its multiplication alone.
    """

    mac: float = 3.1
    ac: float = 0.1
    bits: int = 32
    source: str = "int32, a MAC as its multiplication alone (Yin, Corradi & Bohté 2020, 2021)"


PUBLISHED = Process()
INT32 = Process(3.2, 0.1, 32, "int32, 3.1 + 0.1 (Horowitz 2014)")
FP32 = Process(4.6, 0.9, 32, "float32, 3.7 + 0.9 (Horowitz 2014)")
FP16 = Process(1.5, 0.4, 16, "float16, 1.1 + 0.4 (Horowitz 2014)")
INT8 = Process(0.23, 0.03, 8, "int8, 0.2 + 0.03 (Horowitz 2014)")

PROCESSES = {"int32": INT32, "fp32": FP32, "fp16": FP16, "int8": INT8}
"""By the names of the command line."""


@dataclass(frozen=True)
class Memory:
    """Energy of a memory. word: pJ to read or write 64 bits; narrower words cost their share, as if
    they were packed.
    """

    word: float
    source: str

    def access(self, bits: int) -> float:
        """Return the pJ of reading or writing one number of this width."""
        return self.word * bits / 64


MEMORIES = {
    "sram8k": Memory(10.0, "8 KB SRAM (Horowitz 2014)"),
    "sram32k": Memory(20.0, "32 KB SRAM (Horowitz 2014)"),
    "sram1m": Memory(100.0, "1 MB SRAM (Horowitz 2014)"),
    "dram": Memory(1300.0, "DRAM, the lower end (Horowitz 2014)"),
}
"""By the names of the command line."""
