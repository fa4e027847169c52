"""Augmentation: a recording a little different each time it is trained on, so that a network learns
what the differences leave alone.

Meant for training parts of recordings with one label; a shift in time would part labels of single
steps from their steps.

On the Spiking Heidelberg Digits, Nowotny, Turner & Knight 2022 (arXiv 2212.01232) shift whole
recordings along the channels, jitter the channels of single spikes and drop input spikes; Schöne et
al. 2024 (arXiv 2404.18508) jitter spikes in time and over channels, and drop some. The networks of
Yin et al. and of Bittar & Garner 2022 were trained on spikes as they are.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srnn._check import ConfigError, ShapeError, check_range


@dataclass(frozen=True)
class Augment:
    """Change a recording at random; every setting is 0 = off.

    channel_jitter: sd, in channels, by which each event moves by itself.
    time_jitter:    the same in steps.
    channel_shift:  the whole recording moves by as many channels, uniform in -channel_shift …
                    channel_shift.
    time_shift:     the same in steps.
    drop:           probability that an event is left out.
    drop_channels:  probability that a channel is left out with all its events.

    What is pushed over an edge is lost, and zeros come in from the other side. Shifts work for any
    signal, the others for events and counts only.
    """

    channel_jitter: float = 0.0
    channel_shift: int = 0
    time_shift: int = 0
    time_jitter: float = 0.0
    drop: float = 0.0
    drop_channels: float = 0.0

    def __post_init__(self) -> None:
        """Raise `ConfigError` for settings that cannot work."""
        for name in ("channel_jitter", "time_jitter"):
            check_range(f"Augment({name})", getattr(self, name), 0.0)
        for name in ("channel_shift", "time_shift"):
            value = check_range(f"Augment({name})", getattr(self, name), 0)
            if value != int(value):
                raise ConfigError(f"Augment({name}) is {value}; expected a whole number.")
        for name in ("drop", "drop_channels"):
            check_range(f"Augment({name})", getattr(self, name), 0.0, 1.0)

    def __call__(self, events: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Return (T, C) events, counts or samples, changed: same shape and dtype; the array that
        came where nothing is set.

        Events that meet in one place add up; in a recording without any count above 1 they become
        one. The same state of the generator makes the same change. Raises `ShapeError` for another
        shape, `ConfigError` where a setting for single events meets values that are not counts.
        """
        if events.ndim != 2:
            raise ShapeError(f"Augment: events have shape {events.shape}; expected (T, C).")
        if not any(astuple(self)):
            return events
        shift = [
            int(generator.integers(-most, most, endpoint=True))
            for most in (self.time_shift, self.channel_shift)
        ]
        if self.channel_jitter or self.time_jitter or self.drop or self.drop_channels:
            return self._each(events, shift, generator)
        return _shifted(events, shift)

    def _each(
        self, events: NDArray[Any], shift: list[int], generator: np.random.Generator
    ) -> NDArray[Any]:
        """Move and drop single events, on top of the shift of them all."""
        _check_counts(events)
        steps, channels = (int(n) for n in events.shape)
        flat = np.ascontiguousarray(events).ravel()
        place = np.flatnonzero(flat != 0)  # row by row: step · channels + channel
        counts = flat[place].astype(np.int64)
        top = int(counts.max(initial=0))
        if top > 1:
            place = np.repeat(place, counts)
        if self.drop:
            place = place[generator.random(len(place)) >= self.drop]
        if self.drop_channels:
            place = place[(generator.random((channels,)) >= self.drop_channels)[place % channels]]
        t, c = np.divmod(place, channels)
        t, c = (
            at + by + (np.rint(generator.normal(0.0, sd, len(at))).astype(np.int64) if sd else 0)
            for at, by, sd in zip(
                (t, c), shift, (self.time_jitter, self.channel_jitter), strict=True
            )
        )
        inside = (t >= 0) & (t < steps) & (c >= 0) & (c < channels)
        met = np.bincount(t[inside] * channels + c[inside], minlength=steps * channels).reshape(
            events.shape
        )
        most = (
            1 if top <= 1 else np.iinfo(events.dtype).max if events.dtype.kind in "iu" else np.inf
        )
        return (met if met.max() <= most else np.minimum(met, most)).astype(events.dtype)


def _shifted(x: NDArray[Any], shift: list[int]) -> NDArray[Any]:
    """Move (T, C) by so many steps and channels; zeros come in."""
    moved = np.zeros_like(x)
    to, source = zip(
        *(
            (slice(max(s, 0), max(n + s, 0)), slice(max(-s, 0), max(n - s, 0)))
            for n, s in zip(x.shape, shift, strict=True)
        ),
        strict=True,
    )
    moved[to] = x[source]
    return moved


def _check_counts(events: NDArray[Any]) -> None:
    if events.dtype.kind in "ub" or (
        events.dtype.kind in "if"
        and (events >= 0).all()
        and (np.isfinite(events) & (events == np.rint(events))).all()
    ):
        return
    raise ConfigError(
        "Augment: channel_jitter, time_jitter, drop and drop_channels move or drop single "
        "events, and these values are no counts (0, 1, 2 …). "
        "Encode the signal as events first, or use channel_shift and time_shift only."
    )
