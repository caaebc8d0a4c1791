"""Attention to what is near, which does not compare everything with everything.

These layers turn (batch, n_channels, n_bands, n_frames) into the same shape. They leave channels
last in memory, where products along them cost least.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from .depthwise import DepthwiseConv2d

__all__ = ["BandAttention", "ConvolutionalAttention", "Pointwise"]


class Pointwise(nn.Linear):
    """Mix the channels of each band and frame: a convolution with a kernel of one.

    Parameters
    ----------
    in_features, out_features : int
        Channels of input and output.

    Examples
    --------
    >>> Pointwise(8, 16)(torch.randn(2, 8, 101, 20)).shape
    torch.Size([2, 16, 101, 20])
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Mix (batch, n_channels, n_bands, n_frames)."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvolutionalAttention(nn.Module):
    """Attention whose weights come from a large convolution.

    The output is W_o (A ⊙ W_v x), where the weights A = DW(GELU(W_q x)) are a convolution of each
    channel by itself over bands and frames.

    Parameters
    ----------
    n_channels : int
        Of input and output.
    kernel_size : int
        Bands and frames that the weights see; odd.

    References
    ----------
    .. [1] J. Long et al., "Efficient monaural speech enhancement using spectrum attention fusion",
       2023, arXiv 2308.02263.

    Examples
    --------
    >>> ConvolutionalAttention(8, kernel_size=11)(torch.randn(2, 8, 101, 20)).shape
    torch.Size([2, 8, 101, 20])
    """

    def __init__(self, n_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.query = Pointwise(n_channels, n_channels)
        self.weigh = DepthwiseConv2d(n_channels, kernel_size)
        self.value = Pointwise(n_channels, n_channels)
        self.output = Pointwise(n_channels, n_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend in (batch, n_channels, n_bands, n_frames)."""
        A = self.weigh(functional.gelu(self.query(x)))
        output: torch.Tensor = self.output(A * self.value(x))
        return output


class BandAttention(nn.Module):
    """Attention of each band to its neighbours in the same frame.

    In each head, band f weights the bands g that are at most window // 2 away by
    softmax_g(q_f · k_g / √d + b_(g−f)), d being the size of a head. There is nothing below the
    first band and above the last.

    Parameters
    ----------
    n_channels : int
        Of input and output; a multiple of `n_heads`.
    n_heads : int
        Parts of the channels, each with weights of its own.
    window : int
        Bands that one attends to, itself in the middle; odd.

    References
    ----------
    .. [1] J. Long et al., "Efficient monaural speech enhancement using spectrum attention fusion",
       2023, arXiv 2308.02263.

    Examples
    --------
    >>> BandAttention(8, n_heads=2, window=3)(torch.randn(2, 8, 101, 20)).shape
    torch.Size([2, 8, 101, 20])
    """

    def __init__(self, n_channels: int, n_heads: int, window: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.window = window
        self.query_key_value = Pointwise(n_channels, 3 * n_channels)
        self.bias = nn.Parameter(torch.zeros(window, n_heads))
        self.output = Pointwise(n_channels, n_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend in (batch, n_channels, n_bands, n_frames)."""
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
        beyond = (neighbours < 0) | (neighbours >= n_bands)
        A = torch.stack(scores, dim=-2) / math.sqrt(q.shape[-1]) + self.bias
        A = A.masked_fill(beyond[:, None, :, None], -math.inf).softmax(-2).to(v.dtype)
        mixed = A[..., 0, :, None] * v[:, :n_bands]
        for i in range(1, self.window):
            mixed = mixed + A[..., i, :, None] * v[:, i : i + n_bands]
        output: torch.Tensor = self.output(mixed.flatten(3).permute(0, 3, 1, 2))
        return output
