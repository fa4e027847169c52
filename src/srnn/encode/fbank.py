"""Kaldi's log-mel filterbanks, as Bittar & Garner 2022 take them (torchaudio's defaults with 40
bands).

Frames of 25 ms every 10 ms that lie within the recording, each without its mean; x[n] - 0.97 x[n-1]
within the frame (its first sample stands in for the one before); Povey window (a symmetric Hann
window to the power of 0.85); power spectrum of the next power of two of points; triangles on the
scale 1127 ln(1 + f/700), from 20 Hz to half the sampling rate; logarithm, not below that of
1.19e-7. No dither, no normalisation.

Sound is in [-1, 1], where Kaldi itself expects 16-bit integers, so that quiet bands lie at the
floor, ln 1.19e-7 = -15.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import ConfigError, ShapeError, SrnnError, check_range, check_sizes
from srnn.encode import streaming
from srnn.encode.log_mel import checked


@dataclass(frozen=True)
class Filterbank:
    """Kaldi filterbank energies of a recording.

    bands: triangles, 3 at least. rate: the sampling rate (Hz) that is assumed, whatever the
    recording's own; as published, 16 kHz. A recording of 48 kHz then gives three times the frames
    (100 a second become 300) on an axis of frequencies stretched by three. None = the recording's
    own. Raises `ConfigError` for settings that cannot work.
    """

    bands: int = 40
    rate: float | None = 16000.0

    def __post_init__(self) -> None:
        """Check the settings."""
        check_sizes("Filterbank: bands ", self.bands)
        if self.rate is not None:
            check_range("Filterbank(rate)", self.rate, 0.0, open_low=True)

    @property
    def features(self) -> int:
        """Values a frame."""
        return self.bands

    def __call__(self, audio: ArrayLike, rate: float) -> NDArray[np.float32]:
        """Encode: (n,) sound in [-1, 1] at `rate` samples per second -> (T, bands) float32; T = 1 +
        (n - 400) // 160 at 16 kHz.

        Raises `ShapeError` for another shape or less sound than one window, `DataError` for a
        sample that is not finite, `ConfigError` for a rate that is not positive or too low for the
        bands, `SrnnError` without the extra "data".
        """
        x = checked("Filterbank", audio, rate).astype(np.float32)
        if len(x) < (window := self._window(rate)):
            raise ShapeError(
                f"Filterbank: audio has {len(x)} samples; expected at least one "
                f"window of {window} (25 ms). Pad it with zeros."
            )
        bank = self._bank(rate)
        bank.accept_waveform(self.rate or rate, x)
        bank.input_finished()
        return np.stack([bank.get_frame(t) for t in range(bank.num_frames_ready)])

    def _window(self, rate: float) -> int:
        return int(0.025 * (self.rate or rate))

    def _bank(self, rate: float) -> Any:
        """Return Kaldi's object, which takes in sound and gives frames."""
        try:
            import kaldi_native_fbank as kaldi
        except ImportError as error:
            raise SrnnError(
                "Kaldi filterbanks need kaldi-native-fbank. Install it with: pip "
                'install "srnn[data]"'
            ) from error
        assumed = self.rate or rate
        options = kaldi.FbankOptions()
        options.frame_opts.samp_freq = assumed
        options.frame_opts.frame_length_ms, options.frame_opts.frame_shift_ms = 25.0, 10.0
        options.frame_opts.dither = 0.0
        options.frame_opts.preemph_coeff = 0.97
        options.frame_opts.remove_dc_offset = options.frame_opts.round_to_power_of_two = (
            options.frame_opts.snip_edges
        ) = True
        options.frame_opts.window_type = "povey"
        options.mel_opts.num_bins, options.mel_opts.low_freq, options.mel_opts.high_freq = (
            self.bands,
            20.0,
            0.0,
        )
        options.use_energy = False
        try:
            return kaldi.OnlineFbank(options)
        except ValueError as error:
            raise ConfigError(
                f"Filterbank: {self.bands} bands at {assumed:g} samples per second "
                f"do not work. {error}"
            ) from error

    def streaming(self, rate: float) -> FilterbankStream:
        """Return the encoder for sound that comes in pieces: the bits of the whole recording.

        Raises as the call does.
        """
        return FilterbankStream(self, rate)


class FilterbankStream:
    """Kaldi filterbanks of sound that comes in pieces.

    A frame is known at the end of its window; an incomplete one gives none.
    """

    lag = 0

    def __init__(self, encoder: Filterbank, rate: float) -> None:
        check_range("Filterbank: rate", rate, 0.0, open_low=True)
        self.encoder, self.rate = encoder, rate
        self.state = {"sound": np.empty(0, np.float32)}

    @property
    def state(self) -> dict[str, Any]:
        """Sound that is not used up. Kaldi's object is made anew from it."""
        return {"sound": self._sound}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._bank, self._frames = self.encoder._bank(self.rate), 0
        self._sound = np.empty(0, np.float32)
        self._take(state["sound"])

    def _take(self, x: NDArray[np.float32]) -> list[Any]:
        assumed = self.encoder.rate or self.rate
        self._bank.accept_waveform(assumed, x)
        frames = [
            self._bank.get_frame(t).copy() for t in range(self._frames, self._bank.num_frames_ready)
        ]
        self._bank.pop(len(frames))
        self._frames += len(frames)
        self._sound = np.concatenate([self._sound, x])[len(frames) * int(0.010 * assumed) :]
        return frames

    def push(self, samples: ArrayLike) -> NDArray[np.float32]:
        x = streaming.sound("Filterbank", samples).astype(np.float32)
        frames = self._take(x) if len(x) else []
        return np.stack(frames) if frames else np.empty((0, self.encoder.bands), np.float32)

    def flush(self) -> NDArray[np.float32]:
        self.state = {"sound": np.empty(0, np.float32)}
        return np.empty((0, self.encoder.bands), np.float32)
