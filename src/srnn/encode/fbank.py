"""Kaldi's log-mel filterbanks, as Bittar & Garner 2022 take them (torchaudio's defaults with 40 bands).

Frames of 25 ms every 10 ms that lie within the recording, each without its mean; x[n] - 0.97 x[n-1] within the frame (its first sample stands in
for the one before); Povey window (a symmetric Hann window to the power of 0.85); power spectrum of the next power of two of points; triangles on
the scale 1127 ln(1 + f/700), from 20 Hz to half the sampling rate; logarithm, not below that of 1.19e-7. No dither, no normalisation.

Sound is in [-1, 1], where Kaldi itself expects 16-bit integers, so that quiet bands lie at the floor, ln 1.19e-7 = -15.9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srnn._check import ConfigError, ShapeError, SrnnError, check_range, check_sizes
from srnn.encode.log_mel import checked


@dataclass(frozen=True)
class Filterbank:
    """Kaldi filterbank energies of a recording.

    bands: triangles, 3 at least. rate: the sampling rate (Hz) that is assumed, whatever the recording's own; as published, 16 kHz. A recording of
    48 kHz then gives three times the frames (100 a second become 300) on an axis of frequencies stretched by three. None = the recording's own.
    Raises `ConfigError` for settings that cannot work.
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
        """Encode: (n,) sound in [-1, 1] at `rate` samples per second -> (T, bands) float32; T = 1 + (n - 400) // 160 at 16 kHz.

        Raises `ShapeError` for another shape or less sound than one window, `DataError` for a sample that is not finite, `ConfigError` for a
        rate that is not positive or too low for the bands, `SrnnError` without the extra "data".
        """
        x = checked("Filterbank", audio, rate).astype(np.float32)
        try:
            import kaldi_native_fbank as kaldi
        except ImportError as error:
            raise SrnnError('Kaldi filterbanks need kaldi-native-fbank. Install it with: pip install "srnn[data]"') from error
        assumed = rate if self.rate is None else self.rate
        if len(x) < (window := int(0.025 * assumed)):
            raise ShapeError(f"Filterbank: audio has {len(x)} samples; expected at least one window of {window} (25 ms). Pad it with zeros.")
        options = kaldi.FbankOptions()
        options.frame_opts.samp_freq = assumed
        options.frame_opts.frame_length_ms, options.frame_opts.frame_shift_ms = 25.0, 10.0
        options.frame_opts.dither = 0.0
        options.frame_opts.preemph_coeff = 0.97
        options.frame_opts.remove_dc_offset = options.frame_opts.round_to_power_of_two = options.frame_opts.snip_edges = True
        options.frame_opts.window_type = "povey"
        options.mel_opts.num_bins, options.mel_opts.low_freq, options.mel_opts.high_freq = self.bands, 20.0, 0.0
        options.use_energy = False
        try:
            bank = kaldi.OnlineFbank(options)
        except ValueError as error:
            raise ConfigError(f"Filterbank: {self.bands} bands at {assumed:g} samples per second do not work. {error}") from error
        bank.accept_waveform(assumed, x)
        bank.input_finished()
        return np.stack([bank.get_frame(t) for t in range(bank.num_frames_ready)])
