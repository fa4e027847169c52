"""The cochlea on a live stream: sound that comes in pieces is heard block by block; hair cells,
nerve and bushy cells go on from block to block.

The membrane of a block is computed with the sound before and after it (`BEFORE`, `AFTER` seconds),
through the same transfer function. It is not that of the whole recording to the bit, for three
reasons, and `docs/stream.md` has the measured distance:

- the loudness of a recording and its fading in and out are only known at its end: a stream takes a
  `gain` (0.3 over the root mean square that speech has there) and does not fade;
- what is farther away than these is left out: less than two thousandths of a channel's largest
value;
- a recording of n samples has n // 2 + 1 membrane samples, so that its last one lies up to one
sample later than half the rate says.

Cut in any pieces, a stream gives the same spikes to the bit: blocks lie at fixed times. Those of a
block are known `AFTER` seconds after its end.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import ConfigError, check_range
from srnn.encode import membrane, nerve, streaming
from srnn.encode.membrane import Complex, Real

RMS = 0.3
"""Root mean square to which a recording is scaled."""

BEFORE, AFTER = 0.05, 0.2
"""Seconds of sound before and after a block that its membrane is computed with: the published
transfer function rings ahead of the sound.
"""


class CochleaStream:
    """Sound in pieces in, spikes out.

    channels, fibres, seed: of the cochlea. rate: of the sound, samples a second; heard: at which
    the membrane takes it, after resampling. gain: factor on the sound. seconds: of a block.
    """

    def __init__(
        self,
        channels: int,
        fibres: int,
        seed: int,
        rate: float,
        heard: int,
        gain: float,
        seconds: float,
    ) -> None:
        check_range("Cochlea: gain", gain, 0.0, open_low=True)
        check_range("Cochlea: seconds of a block", seconds, 0.01)
        check_range("Cochlea: the sampling rate", rate, 1)
        self.channels, self.fibres, self.seed = channels, fibres, seed
        self.rate, self.gain = int(rate), gain
        if heard < nerve.LEAST_RATE or heard % 2 or rate != int(rate):
            raise ConfigError(
                f"Cochlea: {heard} samples a second; a stream needs an even whole number "
                f"of at least {nerve.LEAST_RATE}. Set Cochlea(rate=16000)."
            )
        self._ratio = Fraction(heard, self.rate)
        # blocks begin where a sample of the resampled sound, and one of the membrane, begins
        unit = 2 * self._ratio.denominator
        self._before, self._block, self._after = (
            max(1, round(s * self.rate / unit)) * unit for s in (BEFORE, seconds, AFTER)
        )
        self._half = heard // 2
        self._responses: list[tuple[int, Complex]] | None = None
        self._begin()

    def _begin(self) -> None:
        ear, n = nerve.ear(self._half, self.fibres), self.channels
        self._ear, width = ear, 8 * membrane.BLOCK
        self._heard = [nerve.Heard(min(width, n - first), ear.dead) for first in range(0, n, width)]
        self._sound, self._samples = np.zeros(self._before), 0

    @property
    def state(self) -> dict[str, Any]:
        """A copy of everything it remembers."""
        ears = [
            {"begin": h.begin, "levels": h.levels.copy(), "nerves": h.nerves.copy()}
            for h in self._heard
        ]
        return {"sound": self._sound, "samples": self._samples, "ears": ears}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._sound, self._samples = state["sound"], state["samples"]
        for heard, kept in zip(self._heard, state["ears"], strict=True):
            heard.begin, heard.levels, heard.nerves = (
                kept["begin"],
                kept["levels"].copy(),
                kept["nerves"].copy(),
            )

    @property
    def lag(self) -> int:
        """Samples of sound that it must hear beyond a moment before it can give the spikes of that
        moment, at most.
        """
        return self._block + self._after

    def push(self, samples: ArrayLike) -> tuple[Real, NDArray[np.int64]]:
        """Take in (n,) sound; return (times, units) of the spikes that are known now, as the
        encoder does: seconds since the stream began.
        """
        x = streaming.sound("Cochlea", samples)
        self._samples += len(x)
        self._sound = np.concatenate([self._sound, self.gain * x])
        return self._known()

    def flush(self) -> tuple[Real, NDArray[np.int64]]:
        """Return the spikes of the sound that is left, which goes on as silence, and begin anew."""
        end = self._samples / self.rate
        left = self._samples - self._begun()
        self._sound = np.concatenate([self._sound, np.zeros(-left % self._block + self._after)])
        times, units = self._known()
        self._begin()
        return times[times < end], units[times < end]

    def _begun(self) -> int:
        """Samples of sound whose blocks are heard."""
        return round(self._heard[0].begin / self._half * self.rate)

    def _known(self) -> tuple[Real, NDArray[np.int64]]:
        found: list[tuple[Real, NDArray[np.int64]]] = []
        whole = self._before + self._block + self._after
        while len(self._sound) >= whole:
            found.append(self._hear(self._sound[:whole]))
            self._sound = self._sound[self._block :]
        if not found:
            return np.empty(0), np.empty(0, np.int64)
        times, units = (np.concatenate([pair[k] for pair in found]) for k in (0, 1))
        return times, units.astype(np.int64)

    def _hear(self, sound: Real) -> tuple[Real, NDArray[np.int64]]:
        """Return the spikes of one block: the sound before it, the block, the sound after it."""
        fft = membrane.scipy_part("fft")
        x = sound
        if self._ratio != 1:
            x = membrane.scipy_part("signal").resample_poly(
                sound, self._ratio.numerator, self._ratio.denominator
            )
        spectrum = fft.fft(x)[: len(x) // 2]
        first, count = (round(n * self._ratio) // 2 for n in (self._before, self._block))
        begin = self._heard[0].begin
        steps, units = [], []
        for (channel, response), heard in zip(self._transfer(len(x)), self._heard, strict=True):
            velocity = fft.ifft(response * spectrum, axis=1).real[:, first : first + count]
            _, spikes = nerve.hear(
                self._ear, np.ascontiguousarray(velocity), self.seed, channel, True, heard
            )
            c, t = np.nonzero(spikes)
            steps.append(t + begin - 1)
            units.append(c + channel)
        all_steps, all_units = np.concatenate(steps), np.concatenate(units)
        order = np.lexsort((all_units, all_steps))
        return all_steps[order] / self._half, all_units[order]

    def _transfer(self, samples: int) -> list[tuple[int, Complex]]:
        """Return the transfer function at the frequencies of a block, by blocks of channels: (first
        channel, (channels, samples // 2)).
        """
        if self._responses is None:
            frequency = np.arange(samples // 2) * 2 * self._half / samples
            # they begin at 1 Hz, as those of a recording do
            position = membrane.grid_position(1.0 + frequency * (1.0 - 1.0 / self._half))
            table = membrane.transfer_table(self._half, self.channels)
            at = np.clip(position.astype(np.int64), 1, table.shape[1] - 3)
            weights, width = membrane.cubic(position - at), 8 * membrane.BLOCK
            self._responses = []
            for channel in range(0, self.channels, width):
                rows = table[channel : channel + width]
                response = sum(
                    w * rows.take(at + k, axis=1)
                    for w, k in zip(weights, (-1, 0, 1, 2), strict=True)
                )
                self._responses.append((channel, np.asarray(response)))
        return self._responses


def gain_of(audio: ArrayLike) -> float:
    """Return the gain at which a stream hears a recording as loud as the encoder does: 0.3 over its
    root mean square.
    """
    x = np.asarray(audio, np.float64)
    return RMS / math.sqrt(float(np.mean(x**2)))
