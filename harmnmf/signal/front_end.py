"""Spectrograms, and the front ends that compute them from whole signals or from streams.

Frame n is centred on sample ``n * hop_length``; before the first sample and after the last the
signal is zero, so a recording has ``1 + n_samples // hop_length`` frames, as in librosa.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from harmnmf.errors import ParameterError
from harmnmf.validation import check_integer

from .audio import SAMPLE_RATE
from .harmonics import FrequencyAxis

__all__ = ["FrontEnd", "Spectrogram", "SpectrogramStream"]

# Samples in one FFT call, which then fits into the processor's caches.
_FFT_BATCH = 2**21
# Samples in a frame: one second at the highest sample rate.
_LARGEST = 768_000


@dataclass(frozen=True, eq=False)
class Spectrogram:
    """Magnitudes of a recording over frequency and time.

    Parameters
    ----------
    values : ndarray, shape (n_bins, n_frames)
        Magnitudes, not negative, float32.
    axis : FrequencyAxis
        Frequencies of the bins.
    sample_rate : int
        Samples per second of the signal.
    hop_length : int
        Samples from frame to frame; frame n is centred on sample ``n * hop_length``.
    start : float, default=0.0
        Time of the first frame in the recording in seconds.

    Raises
    ------
    ParameterError
        If the values have another shape than the axis.

    Examples
    --------
    >>> import numpy as np
    >>> from harmnmf.signal.spectrogram import STFT
    >>> spectrogram = STFT(n_fft=512, hop_length=160).transform(np.zeros(16000))
    >>> spectrogram.values.shape, spectrogram.times[:3]
    ((257, 101), array([0.  , 0.01, 0.02]))
    """

    values: NDArray[np.float32]
    axis: FrequencyAxis
    sample_rate: int
    hop_length: int
    start: float = 0.0

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[0] != self.axis.n_bins:
            raise ParameterError(
                f"values must have shape ({self.axis.n_bins}, n_frames), not {self.values.shape}"
            )

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return int(self.values.shape[1])

    @property
    def times(self) -> NDArray[np.float64]:
        """Centre of each frame in seconds, shape (n_frames,)."""
        hop_duration = self.hop_length / self.sample_rate
        return self.start + np.arange(self.n_frames, dtype=np.float64) * hop_duration


@dataclass(frozen=True)
class FrontEnd(ABC):
    """Base class of the front ends: framing and streaming.

    Parameters are those of :class:`harmnmf.signal.spectrogram.STFT`.
    """

    sample_rate: int = SAMPLE_RATE
    hop_length: int = 320
    n_fft: int = 2048

    def __post_init__(self) -> None:
        if isinstance(self.sample_rate, np.number | float) and self.sample_rate % 1 == 0:
            object.__setattr__(self, "sample_rate", int(self.sample_rate))
        for name in ("sample_rate", "hop_length", "n_fft"):
            check_integer(name, getattr(self, name), 1, _LARGEST)
        if self.n_fft % 2:
            raise ParameterError(f"n_fft must be even, not {self.n_fft}")
        if self.hop_length > self.n_fft:
            raise ParameterError(
                f"hop_length must not exceed n_fft = {self.n_fft}, but is {self.hop_length}"
            )

    @property
    @abstractmethod
    def axis(self) -> FrequencyAxis:
        """Frequencies of the bins."""

    @property
    @abstractmethod
    def window_durations(self) -> NDArray[np.float64]:
        """Length of each bin's Hann window in seconds, shape (n_bins,)."""

    @property
    def look_ahead(self) -> int:
        """Samples of a frame that lie after its centre."""
        return self.n_fft // 2

    @abstractmethod
    def _magnitudes(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Turn FFTs of frames, (n_frames, n_fft // 2 + 1), into magnitudes (n_frames, n_bins)."""

    def transform(self, samples: ArrayLike) -> Spectrogram:
        """Compute the spectrogram of a whole signal.

        Parameters
        ----------
        samples : array_like, shape (n_samples,)
            Mono signal at `sample_rate`.

        Returns
        -------
        Spectrogram
            With ``1 + n_samples // hop_length`` frames.

        Raises
        ------
        ParameterError
            If the signal is empty or not mono.
        """
        stream = self.stream()
        values = np.concatenate([stream.push(samples), stream.finish()], axis=1)
        if not values.shape[1]:
            raise ParameterError("a spectrogram needs at least one sample")
        return Spectrogram(values, self.axis, self.sample_rate, self.hop_length)

    def stream(self) -> SpectrogramStream:
        """Return a :class:`SpectrogramStream` for a signal that arrives in blocks."""
        return SpectrogramStream(self)

    def transform_frames(self, frames: torch.Tensor) -> NDArray[np.float32]:
        """Compute magnitudes, (n_bins, n_frames), of frames of samples, (n_frames, n_fft)."""
        batch = max(1, _FFT_BATCH // self.n_fft)
        magnitudes = [self._magnitudes(torch.fft.rfft(part)) for part in torch.split(frames, batch)]
        values: NDArray[np.float32] = torch.cat(magnitudes).T.contiguous().numpy()
        return values

    def to_dict(self) -> dict[str, Any]:
        """Describe the front end by values that JSON can hold, for :func:`front_end_from_dict`."""
        return {"name": type(self).__name__, **asdict(self)}


class SpectrogramStream:
    """Spectrogram of a signal that arrives in blocks, computed by a front end.

    The concatenated frames are the spectrogram of the whole signal.

    Examples
    --------
    >>> from harmnmf.signal.spectrogram import STFT
    >>> noise = np.random.default_rng(0).normal(size=4000)
    >>> stream = STFT(n_fft=512, hop_length=160).stream()
    >>> parts = [stream.push(noise[:1000]), stream.push(noise[1000:]), stream.finish()]
    >>> [part.shape[1] for part in parts]
    [5, 19, 2]
    """

    def __init__(self, front_end: FrontEnd) -> None:
        self.front_end = front_end
        self._buffer = torch.zeros(front_end.n_fft - front_end.look_ahead)
        self._is_empty = True

    def push(self, samples: ArrayLike) -> NDArray[np.float32]:
        """Take the next samples, any number of them.

        Returns
        -------
        ndarray, shape (n_bins, n_frames)
            Magnitudes of the frames that are complete now, if any.

        Raises
        ------
        ParameterError
            If the block is not mono.
        """
        # PyTorch takes no read-only or reversed views; this copies nothing else.
        block = np.require(samples, np.float32, ["C", "W"])
        if block.ndim != 1:
            raise ParameterError(f"the signal must be mono, (n_samples,), not {block.shape}")
        self._is_empty &= not len(block)
        self._buffer = torch.cat([self._buffer, torch.from_numpy(block)])
        n_fft, hop_length = self.front_end.n_fft, self.front_end.hop_length
        n_frames = max(0, (len(self._buffer) - n_fft) // hop_length + 1)
        if not n_frames:
            return np.empty((self.front_end.axis.n_bins, 0), np.float32)
        frames = self._buffer.unfold(0, n_fft, hop_length)
        self._buffer = self._buffer[n_frames * hop_length :]
        return self.front_end.transform_frames(frames)

    def finish(self) -> NDArray[np.float32]:
        """End the signal; return the magnitudes of the last frames, (n_bins, n_frames)."""
        if self._is_empty:
            return np.empty((self.front_end.axis.n_bins, 0), np.float32)
        return self.push(np.zeros(self.front_end.look_ahead, np.float32))
