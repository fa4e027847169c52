"""What can be played: the test part of the run's task, a simulated ECG, a file; and how a
microphone would be heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from srnn._check import ConfigError, DataError
from srnn.datasets import Recording, Sample, ecg_sim
from srnn.encode.streaming import Chain, Streaming
from srnn.serve.playing import Array, Listening, Track, blocks
from srnn.stream.encoding import Endless, SpikeTrains, Windows
from srnn.stream.parse import Lines, Repair
from srnn.stream.sources import open_sound, open_source
from srnn.tasks.encoders import (
    EventBins,
    FilterbankFrames,
    LevelCrossings,
    LogMelFrames,
    PixelPopulation,
    Shape,
    as_is,
)
from srnn.tasks.task import Task

CURVES = 8
"""Channels of a signal that is drawn as curves, at most."""
SIMULATED = 64
"""Simulated patients."""


class Tracks(Protocol):
    """Some recordings. key: its name for a machine, title for people; note: what must be known
    about how they are played.
    """

    @property
    def key(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def note(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Track:
        """Return a track. Raises `DataError` where it cannot be read."""
        ...


def track(task: Task, recording: Recording, first: int | None = None) -> tuple[Track, str]:
    """Return how a recording is played, and what must be known about it.

    Sample by sample through the streaming encoder, where there is one; else as it was encoded as a
    whole. The decisions are those of the whole recording, where nothing disturbs it. first: samples
    whose mean and deviation z-scores are taken by, None = all of them.
    """
    encode, label = task.encode, recording.label
    if isinstance(recording, Sample):
        shape = replace(
            task.data.shape,
            channels=recording.signal.shape[1],
            rate=recording.rate,
            events=recording.events,
        )
        plain = encode is None or (isinstance(encode, LevelCrossings) and recording.events)
        width = 2 if isinstance(encode, LevelCrossings) and recording.events else 1
        channels = recording.signal.shape[1]

        def encoder() -> Streaming:
            return as_is(channels) if plain else _encoder(task, shape, recording, first)

        try:
            encoder()
        except ConfigError as error:
            note = (
                "Recordings are encoded as a whole before they are played: "
                f"{str(error).split('. ')[0].rstrip('.')}."
            )
        else:
            curve = not plain and not recording.events and channels <= CURVES
            per_step = 1.0 if plain else recording.rate / task.shape.rate
            signal = recording.signal
            return Track(
                recording.name,
                signal,
                encoder,
                per_step,
                label,
                recording.events,
                curve,
                blocks(channels, width),
            ), ""
    else:
        note = "Recordings are encoded before they are played: spikes are put into steps."
    made = task.encoded(recording)
    channels = made.signal.shape[1]
    return Track(
        made.name,
        made.signal,
        lambda: as_is(channels),
        1.0,
        made.label,
        made.events,
        False,
        blocks(channels),
    ), note


def _encoder(task: Task, shape: Shape, sample: Sample, first: int | None) -> Streaming:
    encode = task.encode
    assert encode is not None
    if isinstance(encode, LevelCrossings):
        n = min(first or len(sample.signal), len(sample.signal))
        made = encode.streaming(shape, n)
        if isinstance(made, Chain):
            # mean and deviation are known before the first sample is played
            made.parts[0].push(sample.signal[:n])
        return made
    if isinstance(encode, PixelPopulation | LogMelFrames):
        return encode.streaming(shape, sample.name)
    if isinstance(encode, EventBins):
        raise ConfigError(f"{sample.name} is a signal; EventBins puts lists of spikes into bins.")
    return encode.streaming(shape)


@dataclass(frozen=True)
class HeldOut:
    """The recordings of the test part."""

    task: Task
    recordings: Sequence[Recording]
    key: str = "test"
    title: str = "Test part"

    @property
    def note(self) -> str:
        """How they are played."""
        return track(self.task, self.recordings[0])[1]

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> Track:
        return track(self.task, self.recordings[index])[0]


@dataclass(frozen=True)
class SimulatedEcg:
    """Simulated patients, who are in no part of any task; `steps` samples each."""

    task: Task
    steps: int = 2500
    key: str = "simulated"
    title: str = "Simulated ECG"
    note: str = "Simulated: it says nothing about real ECG."

    def __len__(self) -> int:
        return SIMULATED

    def __getitem__(self, index: int) -> Track:
        sample = ecg_sim.generate(
            1, steps=self.steps, rate=self.task.shape.rate, seed=1_000_000 + index
        )[0]
        return track(self.task, replace(sample, name=f"patient {index + 1}"))[0]


@dataclass(frozen=True)
class OneFile:
    """A file: sound, or lines of numbers as `srnn stream` reads them; what it says is not known."""

    tracks: tuple[Track, ...]
    note: str
    title: str
    key: str = "file"

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, index: int) -> Track:
        return self.tracks[index]

    @staticmethod
    def open(task: Task, path: Path) -> OneFile:
        """Read it. Raises `ConfigError`, `DataError` where it is not what the task takes."""
        shape, sound = task.data.shape, path.suffix.lower() in (".wav", ".flac")
        if sound:
            source, channels, rate = open_sound(path)
            if channels != shape.channels or (
                task.shape.events and isinstance(task.encode, EventBins)
            ):
                raise ConfigError(
                    f"{path} is sound of {channels} channels; {task.name} takes {_wanted(task)}."
                )
            if rate != shape.rate:
                raise ConfigError(
                    f"{path} has {rate} samples a second; expected {shape.rate:g}. "
                    f"Resample it: sox IN -r {shape.rate:g} OUT."
                )
            x = np.concatenate(
                [np.frombuffer(data, "<f4").reshape(-1, channels) for data in source.chunks()]
            )
            return OneFile._signal(task, path, x)
        spikes = isinstance(task.encode, EventBins)
        columns = 2 if spikes else shape.channels
        parser, repair = Lines(columns), Repair(columns, "drop" if spikes else "hold")
        parsed = [parser.feed(data) for data in open_source(str(path)).chunks()]
        parsed.append(parser.end())
        pieces = [piece.samples for part in parsed for piece in repair(part.samples)]
        x = np.concatenate([np.empty((0, columns)), *pieces])
        bad = [part.malformed for part in parsed if part.malformed is not None]
        if not len(x):
            why = f"line {bad[0].first} is {bad[0].text!r}" if bad else "it is empty"
            raise DataError(f"{path} holds no sample ({why}); expected lines of {_wanted(task)}.")
        note = ""
        if bad:
            lines = sum(b.lines for b in bad)
            note = (
                f"Lines left out, for they are no samples: {lines}, the first of them line "
                f"{bad[0].first}."
            )
        made = OneFile._spikes if spikes else OneFile._signal
        return made(task, path, x, note)

    @staticmethod
    def _signal(task: Task, path: Path, x: Array, note: str = "") -> OneFile:
        shape = task.data.shape
        made, how = track(
            task,
            Sample(x.astype(np.float32), -1, shape.rate, path.name, events=shape.events),
            shape.steps,
        )
        return OneFile((made,), " ".join(filter(None, (how, note))), path.name)

    @staticmethod
    def _spikes(task: Task, path: Path, x: Array, note: str) -> OneFile:
        encode, channels = task.encode, task.shape.channels
        assert isinstance(encode, EventBins)
        trains = SpikeTrains(
            encode.streaming(task.data.shape),
            encode.steps * encode.step_seconds,
            task.data.shape.channels,
        )
        whole, parts = [], list[Array]()
        for steps, end in [*trains.push(x), *trains.flush()]:
            parts.append(steps)
            if end:
                whole.append(np.concatenate(parts))
                parts = []
        tracks = tuple(
            Track(
                f"{path.name}, {k + 1}",
                w,
                lambda: as_is(channels),
                1.0,
                -1,
                True,
                False,
                blocks(channels),
            )
            for k, w in enumerate(whole)
        )
        return OneFile(tracks, note, path.name)


def _wanted(task: Task) -> str:
    if isinstance(task.encode, EventBins):
        return "a time in seconds and a unit"
    return f"{task.data.shape.channels} numbers"


def hears(task: Task) -> bool:
    """Say whether the task is on sound of one channel, so that a microphone can be its source."""
    return isinstance(task.encode, LogMelFrames | FilterbankFrames)


def listening(task: Task) -> tuple[Listening, str]:
    """Return a microphone for the task, and what must be known about it."""
    shape, encode = task.data.shape, task.encode
    assert isinstance(encode, LogMelFrames | FilterbankFrames)
    per_step = shape.rate / task.shape.rate
    try:
        heard = Endless(encode.streaming(shape))
        return Listening(heard, per_step, shape.rate, whole=False), (
            "A new word begins after a quarter of a second of quiet."
        )
    except ConfigError:
        seconds = getattr(encode, "seconds", None) or 1.0

        def whole(x: Any) -> Any:
            return encode(Sample(x.astype(np.float32), 0, shape.rate, "microphone")).signal

        windows = Windows(whole, int(seconds * shape.rate))
        return Listening(windows, per_step, shape.rate, whole=True), (
            f"Every {seconds:g} s are encoded as a whole: what you see is that late."
        )
