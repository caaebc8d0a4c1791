"""Spectrum Attention Fusion, as published by Long et al. (2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from harmnmf.enhancement.models.layers.fusion_block import (
    ChannelNorm,
    Norm,
    fusion_block,
    separable_convolution,
)
from harmnmf.enhancement.models.layers.local_attention import Pointwise
from harmnmf.enhancement.transform import ShortTimeFourier, compress
from harmnmf.errors import ParameterError
from harmnmf.validation import as_counts, check_choice, check_flag

from .config import check_multiple, check_positive

__all__ = ["NORMALIZATIONS", "SpectrumAttentionFusion", "SpectrumAttentionFusionConfig"]

NORMALIZATIONS: Mapping[str, Norm] = {
    "layer": ChannelNorm,
    "batch": nn.BatchNorm2d,
    "instance": lambda n_channels: nn.InstanceNorm2d(n_channels, affine=True),
    "none": lambda n_channels: nn.Identity(),
}

_POWER = 0.3  # of compressed magnitudes
_SILENCE = 1e-12


@dataclass(frozen=True)
class SpectrumAttentionFusionConfig:
    """Configuration of a `SpectrumAttentionFusion`.

    Parameters
    ----------
    n_fft, hop_length : int, default=400, 100
        Frame length and hop of the transform in samples.
    n_channels : int, default=64
        Channels of every layer, a multiple of `n_heads`.
    n_blocks : int, default=5
        Number of fusion blocks.
    n_heads : int, default=4
        Heads of the attention to neighbouring bands.
    band_window : int, default=3
        Bands in the neighbourhood, including the band itself; odd.
    kernel_size : int, default=11
        Bands and frames of the convolutional attention; odd.
    time_dilations : tuple of int, default=(1, 2, 4, 8)
        Dilation in frames of each temporal convolution; () for no temporal convolution.
    normalization : {"layer", "batch", "instance", "none"}, default="layer"
        Normalisation over the channels of each band and frame, over a batch, or over a spectrum.
    phase_input : bool, default=True
        Whether the first encoder reads the phase besides the magnitude.
    bias_decoder : bool, default=True
        Whether there is a bias B, or the mask alone.
    """

    n_fft: int = 400
    hop_length: int = 100
    n_channels: int = 64
    n_blocks: int = 5
    n_heads: int = 4
    band_window: int = 3
    kernel_size: int = 11
    time_dilations: tuple[int, ...] = (1, 2, 4, 8)
    normalization: str = "layer"
    phase_input: bool = True
    bias_decoder: bool = True

    def __post_init__(self) -> None:
        ShortTimeFourier(self.n_fft, self.hop_length)
        # JSON gives lists.
        dilations = as_counts("time_dilations", self.time_dilations)
        object.__setattr__(self, "time_dilations", dilations)
        check_positive(self, "n_channels", "n_blocks", "n_heads", "band_window", "kernel_size")
        check_multiple(self, "n_channels", "n_heads")
        for name in ("band_window", "kernel_size"):
            if getattr(self, name) % 2 == 0:
                raise ParameterError(f"{name} must be odd, not {getattr(self, name)}")
        check_choice("normalization", self.normalization, NORMALIZATIONS)
        check_flag("phase_input", self.phase_input)
        check_flag("bias_decoder", self.bias_decoder)


class SpectrumAttentionFusion(nn.Module):
    """Spectrum Attention Fusion as published [1]_, with 0.58 million parameters.

    Two encoders read a noisy spectrum X: one its magnitude and phase, the other its real and
    imaginary part. Blocks fuse their features; two decoders give a mask M and a complex bias B, and
    the estimate is S = M X + B.

    X and S have magnitudes to the power of 0.3. The spectrum is divided by its root mean square
    first, so that the level of a recording does not matter. The network is not causal: the level is
    that of the whole recording, and a frame depends on 103 frames, 0.64 s, on both sides.

    Parameters
    ----------
    config : SpectrumAttentionFusionConfig, optional
        Sizes and parts. The paper does not state the transform, the widths, the depth and the order
        of the parts in a block; the defaults give the published number of parameters.

    References
    ----------
    .. [1] J. Long, J. Gu, B. Bai, Z. Yang, P. Wei and J. Li, "Efficient monaural speech enhancement
       using spectrum attention fusion", 2023, arXiv 2308.02263.

    Examples
    --------
    >>> model = SpectrumAttentionFusion()
    >>> sum(weights.numel() for weights in model.parameters())
    576447
    >>> spectrum = model.transform.analyze(torch.randn(1, 1600))
    >>> model(spectrum).shape
    torch.Size([1, 201, 17])
    """

    def __init__(self, config: SpectrumAttentionFusionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SpectrumAttentionFusionConfig()
        self.transform = ShortTimeFourier(config.n_fft, config.hop_length)
        n_channels, norm = config.n_channels, NORMALIZATIONS[config.normalization]
        self.polar_encoder = _encoder(2 if config.phase_input else 1, n_channels, norm)
        self.cartesian_encoder = _encoder(2, n_channels, norm)
        self.join = Pointwise(2 * n_channels, n_channels)
        self.blocks = nn.Sequential(
            *(
                fusion_block(
                    n_channels,
                    n_heads=config.n_heads,
                    band_window=config.band_window,
                    kernel_size=config.kernel_size,
                    time_dilations=config.time_dilations,
                    norm=norm,
                )
                for _ in range(config.n_blocks)
            )
        )
        self.mask_decoder = _Decoder(1, n_channels, norm)
        self.bias_decoder = _Decoder(2, n_channels, norm) if config.bias_decoder else None

    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Enhance complex spectra, (batch, n_bins, n_frames)."""
        level = spectrum.abs().square().mean((1, 2), keepdim=True).sqrt()
        X = compress(spectrum / level.clamp_min(_SILENCE), _POWER)
        M, B = self.decode(X)
        S = M * X if B is None else M * X + B
        return level * compress(S, 1 / _POWER)

    def decode(self, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Estimate the mask, and the complex bias if there is a decoder of it.

        All are of shape (batch, n_bins, n_frames).
        """
        polar = [X.abs(), X.angle() / math.pi] if self.config.phase_input else [X.abs()]
        encoded = [
            self.polar_encoder(torch.stack(polar, dim=1)),
            self.cartesian_encoder(torch.stack([X.real, X.imag], dim=1)),
        ]
        fused = self.blocks(self.join(torch.cat(encoded, dim=1)))
        M = self.mask_decoder(fused, X.shape[1]).squeeze(1).sigmoid()
        if self.bias_decoder is None:
            return M, None
        # PyTorch has no complex numbers of lower precision.
        return M, torch.complex(*self.bias_decoder(fused, X.shape[1]).float().unbind(1))


class _Decoder(nn.Module):
    """Mirror image of an encoder, from bands to bins."""

    def __init__(self, n_outputs: int, n_channels: int, norm: Norm) -> None:
        super().__init__()
        self.bands = separable_convolution(n_channels, norm=norm)
        self.fill = nn.Conv2d(n_channels, n_channels, (3, 1), padding=(1, 0), groups=n_channels)
        self.bins = nn.Sequential(
            Pointwise(n_channels, n_channels),
            norm(n_channels),
            nn.SiLU(),
            Pointwise(n_channels, n_outputs),
        )

    def forward(self, x: torch.Tensor, n_bins: int) -> torch.Tensor:
        """Turn (batch, n_channels, n_bands, n_frames) into (batch, n_outputs, n_bins, n_frames)."""
        # A transposed convolution of stride two costs more than zeros between the bands.
        bands = self.bands(x).permute(0, 2, 3, 1)
        spread = torch.stack([bands, torch.zeros_like(bands)], dim=2).flatten(1, 2)[:, :n_bins]
        output: torch.Tensor = self.bins(self.fill(spread.permute(0, 3, 1, 2)))
        return output


def _encoder(n_inputs: int, n_channels: int, norm: Norm) -> nn.Sequential:
    """Make an encoder from bins to half as many bands."""
    return nn.Sequential(
        Pointwise(n_inputs, n_channels),
        norm(n_channels),
        nn.SiLU(),
        separable_convolution(n_channels, norm=norm),
        separable_convolution(n_channels, stride=2, norm=norm),
    )
