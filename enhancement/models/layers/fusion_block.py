"""The fusion block of Spectrum Attention Fusion, after Long et al. (2023), and its parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .depthwise import DilatedConv2d
from .local_attention import BandAttention, ConvolutionalAttention, Pointwise

__all__ = ["ChannelNorm", "fusion_block", "separable_convolution"]


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each band and frame."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (batch, n_channels, n_bands, n_frames)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def separable_convolution(n_channels: int, stride: int = 1) -> nn.Sequential:
    """Depthwise-separable 3 × 3 convolution with a stride along frequency."""
    return nn.Sequential(
        nn.Conv2d(n_channels, n_channels, 3, (stride, 1), 1, groups=n_channels),
        Pointwise(n_channels, n_channels),
        ChannelNorm(n_channels),
        nn.SiLU(),
    )


def fusion_block(
    n_channels: int,
    *,
    n_heads: int = 4,
    band_window: int = 3,
    kernel_size: int = 11,
    time_dilations: Sequence[int] = (1, 2, 4, 8),
) -> nn.Sequential:
    """Convolutional attention, feed-forward layer, band attention and temporal convolutions.

    Each part is x + layer(norm(x)) of (batch, n_channels, n_bands, n_frames). The options are those
    of `SpectrumAttentionFusionConfig`.
    """
    feed_forward = nn.Sequential(
        Pointwise(n_channels, 4 * n_channels), nn.SiLU(), Pointwise(4 * n_channels, n_channels)
    )
    layers = [
        ConvolutionalAttention(n_channels, kernel_size),
        feed_forward,
        BandAttention(n_channels, n_heads, band_window),
        *(_temporal_convolution(n_channels, dilation) for dilation in time_dilations),
    ]
    return nn.Sequential(*(_Residual(n_channels, layer) for layer in layers))


class _Residual(nn.Module):
    """Pre-norm residual connection."""

    def __init__(self, n_channels: int, layer: nn.Module) -> None:
        super().__init__()
        self.norm = ChannelNorm(n_channels)
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = x + self.layer(self.norm(x))
        return output


def _temporal_convolution(n_channels: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        Pointwise(n_channels, n_channels),
        nn.SiLU(),
        DilatedConv2d(n_channels, dilation),
        ChannelNorm(n_channels),
        nn.SiLU(),
        Pointwise(n_channels, n_channels),
    )
