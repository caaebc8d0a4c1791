"""Magnitude spectrograms with linear or logarithmic frequency.

A sinusoid of amplitude 1 on the frequency of a bin has magnitude 1 there. Both front ends analyse
each bin with a Hann window. Harmonic templates need its length per bin (``window_durations``) to
predict the shape of partials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.errors import FormatError, ParameterError
from harmnmf.validation import check_number

from .front_end import FrontEnd
from .harmonics import FrequencyAxis

__all__ = ["STFT", "LogFrequency", "LowLatency", "front_end_from_dict"]

# Neighbouring bins whose kernels are multiplied together, as their frequency bands overlap. Streams
# have few frames at a time: fewer, larger products are faster there.
_BAND, _STREAM_BAND = 32, 65
# Kernel values below this fraction of the maximum (-60 dB) are set to zero.
_KERNEL_FLOOR = 1e-3
# Values in all kernels: half a gigabyte, and four times that while they are computed.
_LARGEST_KERNELS = 2**25


@dataclass(frozen=True)
class STFT(FrontEnd):
    """Short-time Fourier transform with a Hann window and linear frequency.

    Parameters
    ----------
    sample_rate : int, default=16000
        Samples per second that the signal must have.
    hop_length : int, default=320
        Samples from frame to frame, at most `n_fft`.
    n_fft : int, default=2048
        Length of the window and the transform in samples, even.

    Raises
    ------
    ParameterError
        If a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    >>> spectrogram = STFT(n_fft=1024, hop_length=256).transform(tone)
    >>> int(spectrogram.values[:, 30].argmax()), float(spectrogram.values[64, 30].round(3))
    (64, 1.0)
    """

    @property
    def axis(self) -> FrequencyAxis:
        """Frequencies of the bins, from 0 Hz to the Nyquist frequency."""
        return FrequencyAxis.linear(self.n_fft, self.sample_rate)

    @property
    def window_durations(self) -> NDArray[np.float64]:
        """Length of each bin's Hann window in seconds, shape (n_bins,)."""
        return np.full(self.axis.n_bins, self.n_fft / self.sample_rate)

    def _magnitudes(self, spectrum: torch.Tensor) -> torch.Tensor:
        # A Hann window is a three-point filter on the spectrum. Frames are not rotated to their
        # centre, hence the plus signs at odd distance.
        inner = spectrum[:, 1:-1] / 2 - (spectrum[:, :-2] + spectrum[:, 2:]) / 4
        first = spectrum[:, :1] / 2 - spectrum[:, 1:2].real / 2
        last = spectrum[:, -1:] / 2 - spectrum[:, -2:-1].real / 2
        return torch.cat([first, inner, last], dim=1).abs() * (4 / self.n_fft)


@dataclass(frozen=True)
class LogFrequency(FrontEnd):
    """Logarithmic frequency with a window that follows the frequency, within bounds.

    One FFT serves all bins: the transform of each bin's windowed complex exponential is a short
    kernel on its spectrum [1]_. The windows are `n_cycles` periods long, but no shorter than
    `min_window` and no longer than `max_window`. The defaults separate the upper partials of A0
    and A#0, and resolve onsets at high frequencies.

    Parameters
    ----------
    sample_rate : int, default=16000
        Samples per second that the signal must have.
    hop_length : int, default=320
        Samples from frame to frame, at most `n_fft`.
    n_fft : int, default=8192
        Samples in a frame: at least the longest window.
    bins_per_octave : int, default=48
        Bins in an octave.
    n_bins : int, default=390
        Number of bins; times `n_fft`, at most 2**25.
    fmin : float, default=26.7169
        Frequency of bin 0 in Hz: by default two bins below A0, so that every semitone has a bin
        in its middle.
    n_cycles : float, default=100.0
        Periods in a window: the bandwidth (at -6 dB) of a bin at f Hz is ``2 * f / n_cycles``.
    min_window, max_window : float, default=0.06 and 0.5
        Bounds of the window's length in seconds.

    Raises
    ------
    ParameterError
        If a parameter is out of range, the last bin lies beyond the Nyquist frequency, or a
        window is longer than `n_fft`.

    References
    ----------
    .. [1] J. C. Brown and M. S. Puckette, "An efficient algorithm for the calculation of a
       constant Q transform", J. Acoust. Soc. Am. 92(5), 1992, pp. 2698-2701.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(32000) / 16000)
    >>> spectrogram = LogFrequency().transform(tone)
    >>> peak = spectrogram.values[:, 50].argmax()
    >>> float(spectrogram.axis.to_hz(peak).round()), float(spectrogram.values[peak, 50].round(2))
    (440.0, 1.0)
    """

    n_fft: int = 8192
    bins_per_octave: int = 48
    n_bins: int = 390
    fmin: float = 27.5 * 2 ** (-2 / 48)
    n_cycles: float = 100.0
    min_window: float = 0.06
    max_window: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.axis.n_bins * self.n_fft > _LARGEST_KERNELS:
            raise ParameterError(
                f"n_bins = {self.n_bins} and n_fft = {self.n_fft} are too large together: their "
                f"product must be at most {_LARGEST_KERNELS}"
            )
        check_number("n_cycles", self.n_cycles, above=0)
        check_number("max_window", self.max_window, above=0)
        check_number("min_window", self.min_window, above=0, maximum=self.max_window)
        if self.window_durations.max() * self.sample_rate > self.n_fft:
            raise ParameterError(
                f"the longest window, {self.window_durations.max():.3g} s, does not fit in "
                f"n_fft = {self.n_fft} samples"
            )
        if self.axis.frequencies[-1] > self.sample_rate / 2:
            raise ParameterError(
                f"the last bin, {self.axis.frequencies[-1]:.0f} Hz, lies beyond the Nyquist "
                f"frequency of {self.sample_rate / 2:.0f} Hz"
            )

    @property
    def axis(self) -> FrequencyAxis:
        """Frequencies of the bins, evenly spaced in octaves."""
        return FrequencyAxis.logarithmic(self.fmin, self.bins_per_octave, self.n_bins)

    @property
    def window_durations(self) -> NDArray[np.float64]:
        """Length of each bin's Hann window in seconds, shape (n_bins,)."""
        return np.clip(self.n_cycles / self.axis.frequencies, self.min_window, self.max_window)

    def in_tune(self, tuning: float) -> LogFrequency:
        """Make a front end whose bins lie `tuning` semitones higher."""
        return replace(self, fmin=self.fmin * 2 ** (tuning / 12)) if tuning else self

    @cached_property
    def _kernels(self) -> list[tuple[slice, torch.Tensor]]:
        """Kernels of consecutive bins, with the part of the spectrum where they are not zero."""
        n = np.arange(self.n_fft) - self.n_fft // 2
        length = self.window_durations[:, None] * self.sample_rate
        window = np.where(np.abs(n) < length / 2, 1 + np.cos(2 * np.pi * n / length), 0.0)
        window *= 2 / window.sum(axis=1, keepdims=True)
        angle = 2 * np.pi * self.axis.frequencies[:, None] * n / self.sample_rate
        atoms = np.fft.ifftshift(window * np.exp(1j * angle), axes=1)
        # An even window makes the transform real. The alternating sign moves the origin of a
        # frame from its first sample to its centre.
        kernels = np.fft.fft(atoms, axis=1).real[:, : self.n_fft // 2 + 1] / self.n_fft
        kernels[:, 1::2] *= -1
        return _frequency_bands(kernels, _BAND)

    def _magnitudes(self, spectrum: torch.Tensor) -> torch.Tensor:
        real, imag = spectrum.real, spectrum.imag
        return torch.cat(
            [
                torch.hypot(real[:, band] @ kernel, imag[:, band] @ kernel)
                for band, kernel in self._kernels
            ],
            dim=1,
        )


@dataclass(frozen=True)
class LowLatency(LogFrequency):
    """Logarithmic frequency for transcription while the music is played.

    The windows are as long as those of :class:`LogFrequency`, but each ends at most `max_delay`
    after the time of its frame: half a Hann window rises to that time, and half of another, shorter
    one falls from it. So a low note is seen as soon as a high one, while its partials are separated
    almost as well.

    Parameters
    ----------
    sample_rate, hop_length, n_fft, bins_per_octave, n_bins, fmin, n_cycles, min_window, max_window
        As in :class:`LogFrequency`.
    max_delay : float, default=0.04
        Longest part of a window after its frame's time, in seconds.

    Raises
    ------
    ParameterError
        If a parameter is out of range, or a window does not fit in a frame.

    Examples
    --------
    >>> import numpy as np
    >>> front_end = LowLatency()
    >>> front_end.look_ahead
    640
    >>> tone = np.sin(2 * np.pi * 110 * np.arange(32000) / 16000)
    >>> values = front_end.transform(tone).values[:, 50]
    >>> float(front_end.axis.to_hz(values.argmax()).round()), float(values.max().round(2))
    (110.0, 1.0)
    """

    max_delay: float = 0.04

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(
            "max_delay", self.max_delay, above=0, maximum=self.n_fft / self.sample_rate / 2
        )

    @property
    def look_ahead(self) -> int:
        """Samples of a frame that lie after its centre."""
        return round(self.max_delay * self.sample_rate)

    @cached_property
    def _complex_kernels(self) -> list[tuple[slice, torch.Tensor]]:
        """Kernels of consecutive bins, real parts beside imaginary ones, with their band."""
        n = np.arange(self.n_fft) - (self.n_fft - self.look_ahead)
        length = self.window_durations * self.sample_rate
        after = np.minimum(length / 2, self.look_ahead)
        width = np.where(n[None, :] < 0, (length - after)[:, None], after[:, None])
        window = np.where(np.abs(n) < width, 1 + np.cos(np.pi * n / width), 0.0)
        window *= 2 / window.sum(axis=1, keepdims=True)
        angle = 2 * np.pi * self.axis.frequencies[:, None] * n / self.sample_rate
        kernels = np.fft.fft(window * np.exp(-1j * angle), axis=1)
        # The sum of x[m] w[m] exp(-i angle) over m, by Parseval's theorem.
        kernels = kernels[:, -np.arange(self.n_fft // 2 + 1)] / self.n_fft
        return [
            (columns, torch.cat([rows.real, rows.imag], dim=1).contiguous())
            for columns, rows in _frequency_bands(kernels, _STREAM_BAND)
        ]

    def _magnitudes(self, spectrum: torch.Tensor) -> torch.Tensor:
        n_frames = len(spectrum)
        both = torch.cat([spectrum.real, spectrum.imag])
        products = [
            (both[:, band] @ kernel).chunk(2, dim=1) for band, kernel in self._complex_kernels
        ]
        # Products of the real and the imaginary parts of the spectrum with those of the kernels.
        by_real, by_imag = (torch.cat(same, dim=1) for same in zip(*products, strict=True))
        real = by_real[:n_frames] - by_imag[n_frames:]
        imag = by_imag[:n_frames] + by_real[n_frames:]
        return torch.hypot(real, imag)


_FRONT_ENDS: dict[str, type[FrontEnd]] = {
    front_end.__name__: front_end for front_end in (STFT, LogFrequency, LowLatency)
}


def front_end_from_dict(description: Mapping[str, Any]) -> FrontEnd:
    """Build a front end from the result of :meth:`FrontEnd.to_dict`, or raise FormatError.

    Examples
    --------
    >>> front_end_from_dict(STFT(n_fft=1024).to_dict())
    STFT(sample_rate=16000, hop_length=320, n_fft=1024)
    """
    try:
        parameters = dict(description)
        return _FRONT_ENDS[parameters.pop("name")](**parameters)
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"damaged description of a front end: {error}") from error


def _frequency_bands(kernels: NDArray[Any], n_together: int) -> list[tuple[slice, torch.Tensor]]:
    """Group kernels, (n_bins, n_frequencies), of `n_together` neighbouring bins.

    Returns, for each group, the band where its kernels are not negligible, and the kernels there,
    shape (n_frequencies of the band, n_bins of the group), in single precision.
    """
    magnitude = np.abs(kernels)
    kernels = np.where(magnitude < _KERNEL_FLOOR * magnitude.max(axis=1, keepdims=True), 0, kernels)
    single = np.complex64 if np.iscomplexobj(kernels) else np.float32
    bands = []
    for first in range(0, len(kernels), n_together):
        rows = kernels[first : first + n_together]
        used = np.flatnonzero(rows.any(axis=0))
        columns = slice(int(used[0]), int(used[-1]) + 1)
        bands.append((columns, torch.from_numpy(rows[:, columns].T.astype(single).copy())))
    return bands
