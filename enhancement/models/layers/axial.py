"""Layers of Harmonic Attention along one axis: channels, bins or frames, after Wang et al. (2023).

All keep the shape (batch, n_channels, n_bins, n_frames).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["DualPath", "FrameNorm", "FrequencyChannelRecombination", "TimeAttention"]

_CHANNEL_HEADS, _FREQUENCY_HEADS, _TIME_HEADS = 8, 2, 2


class FrameNorm(nn.LayerNorm):
    """Layer normalisation of each frame.

    `normalized_shape` is n_bins, for each channel by itself, or (n_channels, n_bins).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (batch, n_channels, n_bins, n_frames)."""
        return super().forward(x.movedim(-1, 1)).movedim(1, -1)


class FrequencyChannelRecombination(nn.Module):
    """Attention among the channels of each frame, then among its bins.

    The features of a channel are its bins, in eight heads; those of a bin are its channels, in two.
    """

    def __init__(self, n_channels: int, n_bins: int) -> None:
        super().__init__()
        self.channels = _SelfAttention(n_bins, _CHANNEL_HEADS)
        self.frequency = _SelfAttention(n_channels, _FREQUENCY_HEADS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Recombine (batch, n_channels, n_bins, n_frames)."""
        frames = x.movedim(-1, 1).flatten(0, 1)
        frames = self.frequency(self.channels(frames).mT).mT
        return frames.unflatten(0, (x.shape[0], -1)).movedim(1, -1)


class DualPath(nn.Module):
    """DPRNN: recurrent layers along the bins of each frame, then along the frames of each bin.

    Each has an LSTM, a linear layer, a normalisation and a residual connection. The one along bins
    is bidirectional, the one along frames only if `causal` is False. `n_channels` is even.
    """

    def __init__(self, n_channels: int, n_bins: int, causal: bool) -> None:
        super().__init__()
        self.frequency = _Recurrent(n_channels, bidirectional=True)
        self.frequency_norm = FrameNorm((n_channels, n_bins))
        self.time = _Recurrent(n_channels, bidirectional=not causal)
        self.time_norm = FrameNorm((n_channels, n_bins))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Connect (batch, n_channels, n_bins, n_frames)."""
        x = x + self.frequency_norm(_along_bins(self.frequency, x))
        return x + self.time_norm(_along_frames(self.time, x))


class TimeAttention(nn.Module):
    """Attention among the frames of each bin, only to earlier ones if `causal`.

    There are two heads. The work grows with the square of the number of frames.
    """

    def __init__(self, n_channels: int, causal: bool) -> None:
        super().__init__()
        self.time = _SelfAttention(n_channels, _TIME_HEADS, causal)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Connect (batch, n_channels, n_bins, n_frames)."""
        return _along_frames(self.time, x)


class _SelfAttention(nn.Module):
    """Pre-norm self-attention of (batch, n_tokens, n_features), with its residual connection."""

    def __init__(self, n_features: int, n_heads: int, causal: bool = False) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.causal = causal
        self.norm = nn.LayerNorm(n_features)
        # A bias of the keys would cancel in the softmax.
        self.queries_keys_values = nn.Linear(n_features, 3 * n_features, bias=False)
        self.output = nn.Linear(n_features, n_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        projected = self.queries_keys_values(self.norm(x)).unflatten(-1, (3, self.n_heads, -1))
        queries, keys, values = projected.transpose(1, 3).unbind(2)
        attended = functional.scaled_dot_product_attention(
            queries, keys, values, is_causal=self.causal
        )
        return x + self.output(attended.transpose(1, 2).flatten(2))


class _Recurrent(nn.Module):
    """An LSTM along (batch, n_steps, n_channels), and a linear layer."""

    def __init__(self, n_channels: int, bidirectional: bool) -> None:
        super().__init__()
        n_hidden = n_channels // 2 if bidirectional else n_channels
        self.lstm = nn.LSTM(n_channels, n_hidden, batch_first=True, bidirectional=bidirectional)
        self.linear = nn.Linear(n_channels, n_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.linear(self.lstm(x)[0])
        return output


def _along_bins(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Apply a layer to the sequence of bins of each frame."""
    frames: torch.Tensor = layer(x.permute(0, 3, 2, 1).flatten(0, 1))
    return frames.unflatten(0, (x.shape[0], -1)).permute(0, 3, 2, 1)


def _along_frames(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Apply a layer to the sequence of frames of each bin."""
    bins: torch.Tensor = layer(x.permute(0, 2, 3, 1).flatten(0, 1))
    return bins.unflatten(0, (x.shape[0], -1)).permute(0, 3, 1, 2)
