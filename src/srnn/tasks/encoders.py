"""How a task turns a recording into what its network sees, one small dataclass a way, each setting
overridable.

An encoder maps a recording to a `Sample` and says what shape that has; the signal processing itself
is in `srnn.encode`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import ConfigError, DataError, check_range
from srnn.datasets import Recording, Sample
from srnn.encode import (
    Bins,
    Filterbank,
    LevelCrossing,
    LogMel,
    Pixels,
    Poisson,
    Population,
    normalise,
)
from srnn.encode.level_crossing import NormaliseStream
from srnn.encode.streaming import Chain, Each, Streaming


@dataclass(frozen=True)
class Shape:
    """What a recording looks like. steps: T, None where recordings differ in length. channels: C.
    rate: steps a second. events: whether spikes.
    """

    steps: int | None
    channels: int
    rate: float
    events: bool = False


class Encoder(Protocol):
    """A frozen dataclass of settings that encodes one recording."""

    def shape(self, raw: Shape) -> Shape:
        """Return the shape of what a recording of shape `raw` becomes."""
        ...

    def __call__(self, recording: Any) -> Sample:
        """Return one recording as the network takes it.

        Raises `ConfigError` for a recording of another kind.
        """
        ...

    def streaming(self, raw: Shape) -> Streaming:
        """Return the encoder for a recording that comes in pieces.

        Raises `ConfigError` where it needs the whole recording, saying why.
        """
        ...


def _sample(encoder: Encoder, recording: Recording) -> Sample:
    if isinstance(recording, Sample):
        return recording
    raise ConfigError(
        f"{recording.name} is a list of spikes; {type(encoder).__name__} encodes "
        "signals. Set encode=EventBins."
    )


def _frames(
    encoder: Encoder, sample: Sample, frames: NDArray[np.float32], hop: float, rate: float
) -> Sample:
    if np.ndim(sample.label):
        raise ConfigError(
            f"{sample.name} has a label for every sample; {type(encoder).__name__} "
            f"makes frames of {1e3 * hop:g} ms, which have none."
        )
    meta = {**sample.meta, "signal": sample.signal, "signal_rate": sample.rate}
    return replace(
        sample, signal=frames, rate=rate, meta={k: v for k, v in meta.items() if k != "audio"}
    )


def mono(sample: Sample) -> NDArray[np.float32]:
    """Return the sound of a recording, (n,).

    Raises `DataError` where it has more channels than one.
    """
    if sample.signal.shape[1] != 1:
        raise DataError(
            f"{sample.name}: {sample.signal.shape[1]} channels of sound; expected "
            "one. Mix them, or keep one."
        )
    return np.ascontiguousarray(sample.signal[:, 0])


def _drawn(name: str) -> np.random.Generator:
    """Return the generator of a recording: the same spikes whenever it is read."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def _squashed(x: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))))


def as_is(channels: int) -> Streaming:
    """Return the encoder that hands on what comes."""
    return Each(lambda x: x.astype(np.float32), channels)


class SpikeBins:
    """Bins of spikes that come in pieces, (n, 2) rows of seconds and unit in order of time;
    recording after recording, `encode.steps` steps each.

    push gives the steps of the recording that runs; `flush` gives the rest of it, and begins the
    next, whose times begin at 0 again.
    """

    lag = 0

    def __init__(self, encode: EventBins, channels: int) -> None:
        self.encode = encode
        self._bins = Bins(
            encode.step_seconds, encode.steps, channels, encode.counts, encode.form
        ).streaming()

    @property
    def state(self) -> dict[str, Any]:
        return self._bins.state

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._bins.state = state

    def push(self, samples: ArrayLike) -> NDArray[np.uint8]:
        rows = np.asarray(samples, np.float64).reshape(-1, 2)
        return self.encode._merged(self._bins.push(rows[:, 0], rows[:, 1].astype(np.int64)))

    def flush(self) -> NDArray[np.uint8]:
        return self.encode._merged(self._bins.flush())


@dataclass(frozen=True)
class LevelCrossings:
    """Each channel z-scored over the sample (a window, for records that were cut), then encoded as
    crossings of ±threshold (`LevelCrossing`).

    published: the successive-difference form of Yin et al. 2020. Samples that are events already
    pass unchanged.
    """

    threshold: float = 0.3
    published: bool = False

    def __post_init__(self) -> None:
        """Refuse a threshold that cannot work."""
        check_range("encode.threshold", self.threshold, 0.0, open_low=True)

    def shape(self, raw: Shape) -> Shape:
        return raw if raw.events else replace(raw, channels=2 * raw.channels, events=True)

    def __call__(self, recording: Recording) -> Sample:
        """Return the sample as events (T, 2C); the signal stays in meta["signal"] for figures."""
        sample = _sample(self, recording)
        if sample.events:
            return sample
        events = LevelCrossing(self.threshold, self.published)(normalise(sample.signal))
        return replace(
            sample, signal=events, events=True, meta={**sample.meta, "signal": sample.signal}
        )

    def streaming(self, raw: Shape, first: int | None = None) -> Streaming:
        """Return the encoder for pieces. first: mean and deviation are those of so many first
        samples, which wait; None = of a recording's length.
        """
        if raw.events:
            return as_is(raw.channels)
        if first is None and raw.steps is None:
            raise ConfigError(
                "LevelCrossings: z-scores need mean and deviation; say of how many "
                "first samples, as with --calibrate."
            )
        crossing = LevelCrossing(self.threshold, self.published).streaming(raw.channels)
        return Chain(NormaliseStream(raw.channels, first or raw.steps or 1), crossing)


@dataclass(frozen=True)
class EventBins:
    """Spikes of many channels in bins of `step_seconds`, `steps` of them (`srnn.encode.Bins`).

    form: "yin" and "sparch" are the published binnings with their rules of what is dropped, "plain"
    has none but the end of the window.
    counts: how many spikes fell into a bin, instead of whether one did. merge: so many neighbouring
    channels become one.
    """

    step_seconds: float = 0.004
    steps: int = 250
    form: Literal["plain", "yin", "sparch"] = "plain"
    counts: bool = False
    merge: int = 1

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work."""
        check_range("encode.step_seconds", self.step_seconds, 0.0, open_low=True)
        check_range("encode.steps", self.steps, 1)
        check_range("encode.merge", self.merge, 1)

    def shape(self, raw: Shape) -> Shape:
        if raw.channels % self.merge:
            raise ConfigError(f"encode.merge={self.merge} does not divide {raw.channels} channels.")
        return Shape(self.steps, raw.channels // self.merge, 1 / self.step_seconds, events=True)

    def __call__(self, recording: Recording) -> Sample:
        """Return the spikes as events or counts (steps, channels)."""
        if isinstance(recording, Sample):
            raise ConfigError(
                f"{recording.name} is a signal; EventBins puts lists of spikes "
                "into bins. Choose another encode."
            )
        bins = Bins(self.step_seconds, self.steps, recording.channels, self.counts, self.form)(
            recording.times, recording.units
        )
        return Sample(
            self._merged(bins),
            recording.label,
            1 / self.step_seconds,
            recording.name,
            recording.group,
            True,
            recording.meta,
        )

    def _merged(self, bins: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.merge == 1:
            return bins
        many = bins.reshape(len(bins), bins.shape[1] // self.merge, self.merge).sum(2)
        return np.asarray(np.minimum(many, 255 if self.counts else 1), np.uint8)

    def streaming(self, raw: Shape) -> SpikeBins:
        """Return the encoder for spikes, (n, 2) rows of seconds and unit."""
        return SpikeBins(self, raw.channels)


@dataclass(frozen=True)
class PixelWindows:
    """An image of grey values read pixel by pixel, `window` of them a step, injected as a current
    (Yin, Corradi & Bohté 2021).

    permutation: seed of a fixed order of the pixels, None = raster order. binarise: grey values
    above it are 1, others 0; None = as they are.
    """

    window: int = 8
    permutation: int | None = None
    binarise: float | None = None

    def shape(self, raw: Shape) -> Shape:
        return replace(raw, channels=self.window)

    def __call__(self, recording: Recording) -> Sample:
        """Return the image as (784, window) values."""
        sample = _sample(self, recording)
        return replace(
            sample, signal=Pixels(self.window, self.permutation, self.binarise)(sample.signal)
        )

    def streaming(self, raw: Shape) -> Streaming:
        return Pixels(self.window, self.permutation, self.binarise).streaming()


@dataclass(frozen=True)
class PixelPopulation:
    """An image read pixel by pixel, each grey value coded by a population of `neurons` (Yin,
    Corradi & Bohté 2020, whose tuning is unpublished).
    """

    neurons: int = 80
    spikes: Literal["poisson", "deterministic"] = "poisson"
    width: float = 1.0
    peak: float = 1.0
    permutation: int | None = None

    def shape(self, raw: Shape) -> Shape:
        return replace(raw, channels=self.neurons * raw.channels, events=True)

    def __call__(self, recording: Recording) -> Sample:
        """Return the image as spikes (784, neurons), the same ones whenever a recording is read."""
        sample = _sample(self, recording)
        pixels = Pixels(1, self.permutation, None)(sample.signal)
        return replace(sample, signal=self._population()(pixels, _drawn(sample.name)), events=True)

    def _population(self) -> Population:
        return Population(self.neurons, 0.0, 1.0, self.width, self.spikes, self.peak)

    def streaming(self, raw: Shape, name: str = "") -> Streaming:
        """Return the encoder for pixels that come in pieces. name: of the recording whose spikes
        are drawn.
        """
        return Chain(
            Pixels(1, self.permutation, None).streaming(),
            self._population().streaming(1, _drawn(name)),
        )


@dataclass(frozen=True)
class LogMelFrames:
    """Sound as log-mel energies with their derivatives (`srnn.encode.LogMel`).

    window, hop: seconds; low, high: Hz, null = half the sampling rate; deltas: derivatives, 0 to 2;
    seconds: pad or cut to this length, null = as it is. normalise: divide each value by its
    standard deviation over the recording. published: scale as Yin, Corradi & Bohté 2021 do.
    poisson: each value, squashed to [0, 1], becomes the probability of a spike.
    """

    bands: int = 40
    window: float = 0.030
    hop: float = 0.010
    low: float = 20.0
    high: float | None = None
    deltas: int = 0
    normalise: bool = False
    published: bool = False
    seconds: float | None = None
    poisson: bool = False

    def _chain(self) -> LogMel:
        return LogMel(
            self.bands,
            self.window,
            self.hop,
            self.low,
            self.high,
            self.deltas,
            pad_to=self.seconds,
            normalise=self.normalise,
            published=self.published,
        )

    def shape(self, raw: Shape) -> Shape:
        chain = self._chain()
        return Shape(
            chain.frames(self.seconds) if self.seconds is not None else None,
            chain.features,
            1 / self.hop,
            self.poisson,
        )

    def __call__(self, recording: Recording) -> Sample:
        """Return (frames, bands · (1 + deltas)) values."""
        sample = _sample(self, recording)
        made = _frames(
            self, sample, self._chain()(mono(sample), sample.rate), self.hop, 1 / self.hop
        )
        if not self.poisson:
            return made
        return replace(
            made, signal=Poisson()(_squashed(made.signal), _drawn(sample.name)), events=True
        )

    def streaming(self, raw: Shape, name: str = "") -> Streaming:
        """Return the encoder for sound that comes in pieces. name: of the recording whose spikes
        are drawn, where they are.
        """
        chain = self._chain()
        frames = chain.streaming(raw.rate)
        if not self.poisson:
            return frames
        return Chain(
            frames,
            Each(_squashed, chain.features),
            Poisson().streaming(chain.features, _drawn(name)),
        )


@dataclass(frozen=True)
class FilterbankFrames:
    """Sound as Kaldi filterbank energies (`srnn.encode.Filterbank`), as in Bittar & Garner 2022.

    assumed_rate: the sampling rate the filterbank is told, whatever the file's (published: 16 kHz,
    for 48 kHz recordings too); None = the file's.
    """

    bands: int = 40
    assumed_rate: float | None = 16000.0

    def shape(self, raw: Shape) -> Shape:
        return Shape(None, self.bands, 100.0 * raw.rate / (self.assumed_rate or raw.rate))

    def __call__(self, recording: Recording) -> Sample:
        """Return (frames, bands) values."""
        sample = _sample(self, recording)
        frames = Filterbank(self.bands, self.assumed_rate)(mono(sample), sample.rate)
        return _frames(
            self, sample, frames, 0.010, 100.0 * sample.rate / (self.assumed_rate or sample.rate)
        )

    def streaming(self, raw: Shape) -> Streaming:
        return Filterbank(self.bands, self.assumed_rate).streaming(raw.rate)


@dataclass(frozen=True)
class Direct:
    """A signal injected as a current: (x - mean) / sd, one mean and sd a channel, or as it is where
    they are empty.

    The task `my` fills them in from the training part, so that they are stored with the run.
    """

    mean: tuple[float, ...] = ()
    sd: tuple[float, ...] = ()

    def shape(self, raw: Shape) -> Shape:
        return raw

    def __call__(self, recording: Recording) -> Sample:
        """Return the sample, standardised."""
        sample = _sample(self, recording)
        if not self.mean:
            return sample
        if len(self.mean) != sample.signal.shape[1] or len(self.sd) != len(self.mean):
            raise ConfigError(
                f"{sample.name} has {sample.signal.shape[1]} channels; encode has "
                f"{len(self.mean)} means and {len(self.sd)} sds."
            )
        return replace(
            sample,
            signal=self._standardised(sample.signal),
            meta={**sample.meta, "signal": sample.signal},
        )

    def _standardised(self, signal: NDArray[Any]) -> NDArray[np.float32]:
        x = (signal.astype(np.float32) - np.asarray(self.mean, np.float32)) / np.asarray(
            self.sd, np.float32
        )
        return x.astype(np.float32)

    def streaming(self, raw: Shape) -> Streaming:
        return Each(self._standardised, raw.channels) if self.mean else as_is(raw.channels)


Encoders = (
    LevelCrossings
    | EventBins
    | PixelWindows
    | PixelPopulation
    | LogMelFrames
    | FilterbankFrames
    | Direct
)
"""What a task's `encode` may be."""
