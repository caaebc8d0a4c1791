"""The fusion block of Spectrum Attention Fusion, after Long et al. (2023), and its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from .depthwise import DilatedConv2d
from .local_attention import BandAttention, ConvolutionalAttention, Pointwise

__all__ = ["ChannelNorm", "fusion_block", "separable_convolution"]

Norm = Callable[[int], nn.Module]


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each band and frame."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (batch, n_channels, n_bands, n_frames)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def separable_convolution(
    n_channels: int, stride: int = 1, norm: Norm = ChannelNorm
) -> nn.Sequential:
    """Depthwise-separable 3 × 3 convolution with a stride along frequency."""
    return nn.Sequential(
        nn.Conv2d(n_channels, n_channels, 3, (stride, 1), 1, groups=n_channels),
        Pointwise(n_channels, n_channels),
        norm(n_channels),
        nn.SiLU(),
    )


def fusion_block(
    n_channels: int,
    *,
    n_heads: int = 4,
    band_window: int = 3,
    kernel_size: int = 11,
    time_dilations: Sequence[int] = (1, 2, 4, 8),
    norm: Norm = ChannelNorm,
) -> nn.Sequential:
    """Convolutional attention, feed-forward layer, band attention and temporal convolutions.

    Each part is x + layer(norm(x)).

    The options are those of `SpectrumAttentionFusionConfig`; `norm` builds a normalisation layer
    for a number of channels. The shape (batch, n_channels, n_bands, n_frames) is kept.
    """
    feed_forward = nn.Sequential(
        Pointwise(n_channels, 4 * n_channels), nn.SiLU(), Pointwise(4 * n_channels, n_channels)
    )
    layers = [
        ConvolutionalAttention(n_channels, kernel_size),
        feed_forward,
        BandAttention(n_channels, n_heads, band_window),
        *(_temporal_convolution(n_channels, dilation, norm) for dilation in time_dilations),
    ]
    return nn.Sequential(*(_Residual(norm(n_channels), layer) for layer in layers))


class _Residual(nn.Module):
    """Pre-norm residual connection."""

    def __init__(self, norm: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = x + self.layer(self.norm(x))
        return output


def _temporal_convolution(n_channels: int, dilation: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(
        Pointwise(n_channels, n_channels),
        nn.SiLU(),
        DilatedConv2d(n_channels, dilation),
        norm(n_channels),
        nn.SiLU(),
        Pointwise(n_channels, n_channels),
    )
