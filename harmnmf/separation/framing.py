"""Short-time Fourier transform of recordings in blocks, and its inverse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from os import PathLike

import torch
from scipy.fft import next_fast_len

from harmnmf.signal.audio import Audio
from harmnmf.signal.harmonics import FrequencyAxis
from harmnmf.signal.reading import stream_audio

__all__ = ["Frames", "Framing", "OverlapAdd", "stream_spectra"]

_WINDOW_DURATION = 0.16  # seconds
_OVERLAP = 4  # frames over each sample
_SQUARES = 1.5  # sum of the squared Hann windows over a sample


@dataclass(frozen=True)
class Framing:
    """Frames of a recording: Hann windows of about 160 ms, each a quarter later than the last.

    Frame n is centred on sample ``(n - 1) * hop_length``: the first frames begin before the
    recording, so that each sample lies in four. Windows are as long as is fast to transform, up to
    6 % longer at usual sample rates.

    Parameters
    ----------
    sample_rate : int
        Samples per second.

    Examples
    --------
    >>> framing = Framing(16000)
    >>> framing.n_fft, framing.hop_length, framing.n_frames(16000)
    (2560, 640, 28)
    """

    sample_rate: int

    @cached_property
    def hop_length(self) -> int:
        """Samples from frame to frame."""
        return int(next_fast_len(round(_WINDOW_DURATION * self.sample_rate / _OVERLAP), real=True))

    @property
    def n_fft(self) -> int:
        """Samples in a frame."""
        return _OVERLAP * self.hop_length

    @property
    def n_before(self) -> int:
        """Samples of the first frame that lie before the recording."""
        return self.n_fft - self.hop_length

    @property
    def hop_duration(self) -> float:
        """Seconds from frame to frame."""
        return self.hop_length / self.sample_rate

    @property
    def window_duration(self) -> float:
        """Length of a frame in seconds."""
        return self.n_fft / self.sample_rate

    @property
    def axis(self) -> FrequencyAxis:
        """Frequencies of the bins."""
        return FrequencyAxis.linear(self.n_fft, self.sample_rate)

    def n_frames(self, n_samples: int) -> int:
        """Count the frames of a recording."""
        return (n_samples - 1) // self.hop_length + _OVERLAP

    def frame_at(self, seconds: float) -> float:
        """Find the fractional frame whose centre is at a time."""
        return seconds / self.hop_duration + 1

    @cached_property
    def window(self) -> torch.Tensor:
        """Hann window, shape (n_fft,)."""
        return torch.hann_window(self.n_fft)

    def spectra(self, samples: torch.Tensor) -> torch.Tensor:
        """Transform the whole frames in samples, (n_channels, n_samples).

        Returns complex numbers, (n_channels, n_bins, n_frames).
        """
        frames = samples.unfold(1, self.n_fft, self.hop_length)
        return torch.fft.rfft(frames * self.window).mT


class Frames:
    """Spectra of samples that arrive in blocks.

    Examples
    --------
    >>> frames = Frames(Framing(16000), n_channels=1)
    >>> frames.push(torch.zeros(1, 16000)).shape, frames.finish().shape
    (torch.Size([1, 1281, 25]), torch.Size([1, 1281, 3]))
    """

    def __init__(self, framing: Framing, n_channels: int) -> None:
        self.framing = framing
        self._n_samples = 0
        self._n_frames = 0
        self._buffer = torch.zeros(n_channels, framing.n_before)

    def push(self, samples: torch.Tensor) -> torch.Tensor:
        """Take the next samples, (n_channels, n_samples).

        Returns the spectra of the frames that are complete, (n_channels, n_bins, n_frames).
        """
        self._n_samples += samples.shape[1]
        return self._spectra(samples)

    def finish(self) -> torch.Tensor:
        """Return the spectra of the last frames."""
        n_missing = self.framing.n_frames(self._n_samples) - self._n_frames
        n_samples = (n_missing - 1) * self.framing.hop_length + self.framing.n_fft
        n_channels, n_buffered = self._buffer.shape
        return self._spectra(torch.zeros(n_channels, n_samples - n_buffered))

    def _spectra(self, samples: torch.Tensor) -> torch.Tensor:
        self._buffer = torch.cat([self._buffer, samples], dim=1)
        framing = self.framing
        if self._buffer.shape[1] < framing.n_fft:
            shape = len(self._buffer), framing.axis.n_bins, 0
            return torch.zeros(shape, dtype=torch.complex64)
        spectra = framing.spectra(self._buffer)
        n_frames = spectra.shape[-1]
        self._n_frames += n_frames
        self._buffer = self._buffer[:, n_frames * framing.hop_length :].clone()
        return spectra


class OverlapAdd:
    """Samples from spectra of consecutive frames that arrive in blocks.

    The samples of unchanged spectra of :class:`Frames` are those of the recording, after
    ``framing.n_before`` that precede it.

    Examples
    --------
    >>> framing, samples = Framing(16000), torch.rand(1, 16000)
    >>> frames = Frames(framing, n_channels=1)
    >>> synthesis = OverlapAdd(framing, (1,))
    >>> parts = [synthesis.push(frames.push(samples)), synthesis.push(frames.finish())]
    >>> found = torch.cat(parts, dim=1)[:, framing.n_before :][:, :16000]
    >>> bool(torch.allclose(found, samples, atol=1e-5))
    True
    """

    def __init__(self, framing: Framing, shape: tuple[int, ...]) -> None:
        self.framing = framing
        self._window = framing.window / _SQUARES
        self._rest = torch.zeros(*shape, framing.n_before)

    def push(self, spectra: torch.Tensor) -> torch.Tensor:
        """Take spectra, (..., n_bins, n_frames); return samples, (..., n_frames * hop_length)."""
        hop, n_frames = self.framing.hop_length, spectra.shape[-1]
        samples = torch.nn.functional.pad(self._rest, (0, n_frames * hop))
        frames = torch.fft.irfft(spectra.mT, n=self.framing.n_fft) * self._window
        # A quarter of each frame at a time: these do not overlap.
        for quarter, part in enumerate(frames.unflatten(-1, (_OVERLAP, hop)).unbind(-2)):
            samples[..., quarter * hop : (quarter + n_frames) * hop] += part.flatten(-2)
        self._rest = samples[..., n_frames * hop :].clone()
        return samples[..., : n_frames * hop]

    def finish(self) -> torch.Tensor:
        """Return the rest of the samples, (..., framing.n_before)."""
        return self._rest


def stream_spectra(
    source: Audio | str | PathLike[str],
    framing: Framing,
    n_frames: int,
    progress: Callable[[float], None] | None = None,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Transform a recording block by block.

    Parameters
    ----------
    source : Audio, str or path-like
        The recording.
    framing : Framing
        Frames at its sample rate.
    n_frames : int
        Frames of a block.
    progress : callable, optional
        Called with the seconds of audio read so far.

    Yields
    ------
    frames : slice
        Numbers of the frames; those of all blocks are consecutive.
    spectra : Tensor, shape (n_channels, n_bins, n_frames)
        Complex spectra.

    Examples
    --------
    >>> blocks = stream_spectra(Audio(torch.zeros(16000).numpy(), 16000), Framing(16000), 20)
    >>> [frames for frames, _ in blocks]
    [slice(0, 20, None), slice(20, 25, None), slice(25, 28, None)]
    """
    stream: Frames | None = None
    n_done = n_samples = 0
    for samples in stream_audio(source, mono=False, block_duration=n_frames * framing.hop_duration):
        stream = stream or Frames(framing, len(samples))
        spectra = stream.push(torch.tensor(samples))
        n_samples += samples.shape[1]
        if spectra.shape[-1]:
            yield slice(n_done, n_done + spectra.shape[-1]), spectra
            n_done += spectra.shape[-1]
        if progress is not None:
            progress(n_samples / framing.sample_rate)
    assert stream is not None  # a recording has samples
    spectra = stream.finish()
    yield slice(n_done, n_done + spectra.shape[-1]), spectra
