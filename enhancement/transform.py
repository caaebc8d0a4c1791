"""From samples to complex spectrograms and back, for networks: differentiable."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional

from harmnmf.errors import ParameterError

__all__ = ["ShortTimeFourier", "Waveform", "compress", "compress_parts"]


@dataclass(frozen=True)
class ShortTimeFourier:
    """A short-time Fourier transform and its inverse.

    Both use the square root of a Hann window. Frames are centred at the multiples of
    `hop_length`, from the first sample on; beyond both ends there is silence.

    Parameters
    ----------
    n_fft : int
        Samples in a frame; even.
    hop_length : int
        Samples from frame to frame: at most half a frame, and a divisor of it.

    Raises
    ------
    ParameterError
        If they are not as described.

    Examples
    --------
    >>> transform = ShortTimeFourier(512, 256)
    >>> spectrum = transform.analyze(torch.randn(2, 1000))
    >>> spectrum.shape
    torch.Size([2, 257, 5])
    >>> transform.synthesize(spectrum, 1000).shape
    torch.Size([2, 1000])
    """

    n_fft: int
    hop_length: int

    def __post_init__(self) -> None:
        if self.n_fft < 2 or self.n_fft % 2:
            raise ParameterError(f"n_fft must be even and positive, not {self.n_fft}")
        if not 0 < self.hop_length <= self.n_fft // 2 or self.n_fft % self.hop_length:
            raise ParameterError(
                f"hop_length must be a divisor of n_fft, {self.n_fft}, and at most half of it,"
                f" not {self.hop_length}"
            )

    @property
    def n_bins(self) -> int:
        """Bins from 0 Hz to half the sample rate."""
        return self.n_fft // 2 + 1

    @property
    def window(self) -> torch.Tensor:
        """Of analysis and of synthesis; the squares of its shifts by a hop add up to one."""
        return _window(self.n_fft, self.hop_length)

    def analyze(self, samples: torch.Tensor) -> torch.Tensor:
        """Turn samples into a spectrum.

        Parameters
        ----------
        samples : Tensor, shape (..., n_samples)
            Real samples.

        Returns
        -------
        Tensor, shape (..., n_bins, n_frames)
            Complex, with 1 + ⌈n_samples / hop_length⌉ frames.
        """
        # Whole hops, so that the last frame is centred at the last sample or after it.
        missing = -samples.shape[-1] % self.hop_length
        flat = functional.pad(samples.reshape(-1, samples.shape[-1]), (0, missing))
        spectrum = torch.stft(
            flat,
            self.n_fft,
            self.hop_length,
            window=self.window.to(samples),
            pad_mode="constant",
            return_complex=True,
        )
        return spectrum.reshape(*samples.shape[:-1], *spectrum.shape[-2:])

    def synthesize(self, spectrum: torch.Tensor, n_samples: int) -> torch.Tensor:
        """Turn a spectrum into samples: the inverse of `analyze`.

        Parameters
        ----------
        spectrum : Tensor, shape (..., n_bins, n_frames)
            As `analyze` gives it.
        n_samples : int
            How many of the samples to give.

        Returns
        -------
        Tensor, shape (..., n_samples)
            Real samples.
        """
        samples = torch.istft(
            spectrum.reshape(-1, *spectrum.shape[-2:]),
            self.n_fft,
            self.hop_length,
            window=self.window.to(spectrum.real),
            length=n_samples,
        )
        return samples.reshape(*spectrum.shape[:-2], n_samples)


class Waveform(nn.Module):
    """A model of spectrograms that takes and gives samples.

    Parameters
    ----------
    model : torch.nn.Module
        From (batch, n_bins, n_frames), complex, to the same shape; its `transform` says how
        samples become that.

    Examples
    --------
    >>> model = nn.Identity()
    >>> model.transform = ShortTimeFourier(64, 32)
    >>> samples = torch.randn(2, 100)
    >>> torch.allclose(Waveform(model)(samples), samples, atol=1e-6)
    True
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Turn (..., n_samples) into the same shape."""
        transform = self.model.transform
        assert isinstance(transform, ShortTimeFourier)
        flat = samples.reshape(-1, samples.shape[-1])
        estimate = self.model(transform.analyze(flat))
        return transform.synthesize(estimate, samples.shape[-1]).reshape(samples.shape)


def compress(spectrum: torch.Tensor, power: float = 0.3) -> torch.Tensor:
    """Raise the magnitudes of a complex spectrum to a power, and leave the phases.

    Parameters
    ----------
    spectrum : Tensor, complex
        Any shape.
    power : float, default=0.3
        Below one, weak bins count for more than they would.

    Returns
    -------
    Tensor, complex
        The same shape.

    Examples
    --------
    >>> compress(torch.tensor([3 + 4j]), 0.5).abs()
    tensor([2.2361])
    """
    return spectrum * _compression(spectrum.real, spectrum.imag, power)


def compress_parts(parts: torch.Tensor, power: float = 0.3) -> torch.Tensor:
    """Do what `compress` does without complex numbers.

    Parameters
    ----------
    parts : Tensor, shape (batch, 2, ...)
        Real and imaginary part.
    power : float, default=0.3
        Below one, weak bins count for more than they would.

    Returns
    -------
    Tensor, shape (batch, 2, ...)
        Real and imaginary part.

    Examples
    --------
    >>> compress_parts(torch.tensor([[3.0, 4.0]]), 0.5)
    tensor([[1.3416, 1.7889]])
    """
    return parts * _compression(parts[:, :1], parts[:, 1:], power)


def _compression(real: torch.Tensor, imaginary: torch.Tensor, power: float) -> torch.Tensor:
    # A square that is never zero: the gradient of a root at zero is infinite.
    square = real.square() + imaginary.square() + 1e-12
    return square ** ((power - 1) / 2)


# What is made in inference mode, and kept, could never be trained with.
@lru_cache
@torch.inference_mode(False)
def _window(n_fft: int, hop_length: int) -> torch.Tensor:
    return (torch.hann_window(n_fft) * (2 * hop_length / n_fft)).sqrt()
