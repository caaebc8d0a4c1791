"""Attention to neighbouring bands and frames, after Long et al. (2023).

The layers keep the shape (batch, n_channels, n_bands, n_frames), and leave channels last in memory,
where matrix products along them are cheapest.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from .depthwise import DepthwiseConv2d

__all__ = ["BandAttention", "ConvolutionalAttention", "Pointwise"]


class Pointwise(nn.Linear):
    """Convolution with a kernel of one: the same linear layer for each band and frame."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Turn (batch, in_features, n_bands, n_frames) into (batch, out_features, ...)."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvolutionalAttention(nn.Module):
    """Attention whose weights are a large depthwise convolution: W_o (DW(GELU(W_q x)) ⊙ W_v x)."""

    def __init__(self, n_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.query = Pointwise(n_channels, n_channels)
        self.weigh = DepthwiseConv2d(n_channels, kernel_size)
        self.value = Pointwise(n_channels, n_channels)
        self.output = Pointwise(n_channels, n_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend within (batch, n_channels, n_bands, n_frames)."""
        A = self.weigh(functional.gelu(self.query(x)))
        output: torch.Tensor = self.output(A * self.value(x))
        return output


class BandAttention(nn.Module):
    """Multi-head attention of each band to its neighbours in the same frame.

    In each head, band f weights the bands g with |g - f| ≤ window // 2 by
    softmax_g(q_f · k_g / √d + b_(g−f)), where d is the size of a head. The window is odd.
    """

    def __init__(self, n_channels: int, n_heads: int, window: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.window = window
        self.query_key_value = Pointwise(n_channels, 3 * n_channels)
        self.bias = nn.Parameter(torch.zeros(window, n_heads))
        self.output = Pointwise(n_channels, n_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend within (batch, n_channels, n_bands, n_frames)."""
        n_bands, reach = x.shape[2], self.window // 2
        # (batch, n_bands, n_frames, n_heads, size of a head)
        heads = self.query_key_value(x).permute(0, 2, 3, 1).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = heads.unbind(-3)
        sides = (0, 0, 0, 0, 0, 0, reach, reach)
        k, v = functional.pad(k, sides), functional.pad(v, sides)
        # Each neighbour is a shift, so that no matrix of all bands is needed.
        scores = [(q * k[:, i : i + n_bands]).sum(-1) for i in range(self.window)]
        bands = torch.arange(n_bands, device=x.device)[:, None]
        neighbours = bands + torch.arange(-reach, reach + 1, device=x.device)
        is_padding = (neighbours < 0) | (neighbours >= n_bands)
        A = torch.stack(scores, dim=-2) / math.sqrt(q.shape[-1]) + self.bias
        A = A.masked_fill(is_padding[:, None, :, None], -math.inf).softmax(-2).to(v.dtype)
        mixed = A[..., 0, :, None] * v[:, :n_bands]
        for i in range(1, self.window):
            mixed = mixed + A[..., i, :, None] * v[:, i : i + n_bands]
        output: torch.Tensor = self.output(mixed.flatten(3).permute(0, 3, 1, 2))
        return output
