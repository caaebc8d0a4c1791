"""Differentiable short-time Fourier transform and its inverse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from harmnmf.errors import ParameterError
from harmnmf.validation import check_choice, check_integer

__all__ = ["ShortTimeFourier", "Waveform", "compress", "compress_parts"]


@dataclass(frozen=True)
class ShortTimeFourier:
    """Short-time Fourier transform and its inverse.

    Frame t is centred at sample ``t * hop_length``; beyond both ends the signal is zero.

    Parameters
    ----------
    n_fft : int
        Samples in a frame; even.
    hop_length : int
        Samples from one frame to the next: a divisor of `n_fft`, and at most half of it.
    window_type : {"sqrt_hann", "hann"}, default="sqrt_hann"
        Window of analysis and synthesis. The square root of a Hann window is scaled so that the
        squares of its shifts by `hop_length` add up to one.

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
    window_type: Literal["sqrt_hann", "hann"] = "sqrt_hann"

    def __post_init__(self) -> None:
        check_integer("n_fft", self.n_fft, 2)
        check_integer("hop_length", self.hop_length)
        check_choice("window_type", self.window_type, ("sqrt_hann", "hann"))
        if self.n_fft % 2:
            raise ParameterError(f"n_fft must be even, not {self.n_fft}")
        if not 0 < self.hop_length <= self.n_fft // 2 or self.n_fft % self.hop_length:
            raise ParameterError(
                f"hop_length must be a divisor of n_fft, {self.n_fft}, and at most half of it,"
                f" not {self.hop_length}"
            )

    @property
    def n_bins(self) -> int:
        """Number of bins, from 0 Hz to the Nyquist frequency."""
        return self.n_fft // 2 + 1

    @property
    def window(self) -> torch.Tensor:
        """Window of analysis and synthesis, shape (n_fft,)."""
        return _window(self.n_fft, self.hop_length, self.window_type)

    def analyze(self, samples: torch.Tensor) -> torch.Tensor:
        """Transform (..., n_samples) to (..., n_bins, 1 + ⌈n_samples / hop_length⌉), complex."""
        # Whole hops: the last frame is centred at the last sample or after it.
        n_missing = -samples.shape[-1] % self.hop_length
        flat = functional.pad(samples.reshape(-1, samples.shape[-1]), (0, n_missing))
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
        """Transform (..., n_bins, n_frames) to (..., n_samples): the inverse of `analyze`."""
        samples = torch.istft(
            spectrum.reshape(-1, *spectrum.shape[-2:]),
            self.n_fft,
            self.hop_length,
            window=self.window.to(spectrum.real),
            length=n_samples,
        )
        return samples.reshape(*spectrum.shape[:-2], n_samples)


class Waveform(nn.Module):
    """Apply a network for spectra to samples.

    The network maps complex spectra, (batch, n_bins, n_frames), to the same shape; its attribute
    `transform` is the :class:`ShortTimeFourier` to use.

    Parameters
    ----------
    model : torch.nn.Module
        The network.

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
        """Map (..., n_samples) to the same shape."""
        transform = self.model.transform
        assert isinstance(transform, ShortTimeFourier)
        flat = samples.reshape(-1, samples.shape[-1])
        estimate = self.model(transform.analyze(flat))
        return transform.synthesize(estimate, samples.shape[-1]).reshape(samples.shape)


def compress(spectrum: torch.Tensor, power: float = 0.3) -> torch.Tensor:
    """Raise the magnitudes of a complex spectrum to a power, and keep the phases."""
    return spectrum * _compression_gain(spectrum.real, spectrum.imag, power)


def compress_parts(parts: torch.Tensor, power: float = 0.3) -> torch.Tensor:
    """Compress as `compress` does, for real and imaginary part of shape (batch, 2, ...)."""
    return parts * _compression_gain(parts[:, :1], parts[:, 1:], power)


def _compression_gain(real: torch.Tensor, imaginary: torch.Tensor, power: float) -> torch.Tensor:
    # Never zero, where the gradient of a root would be infinite.
    square = real.square() + imaginary.square() + 1e-12
    return square ** ((power - 1) / 2)


# Tensors made in inference mode and cached could not be used in training.
@lru_cache
@torch.inference_mode(False)
def _window(n_fft: int, hop_length: int, window_type: str) -> torch.Tensor:
    window = torch.hann_window(n_fft)
    return window if window_type == "hann" else (window * (2 * hop_length / n_fft)).sqrt()
