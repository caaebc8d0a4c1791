"""Layers that go along one axis of features: along channels, bins or frames.

They turn (batch, n_channels, n_bins, n_frames) into the same shape. Harmonic Attention [1]_
connects with them what harmonic integration has found.

References
----------
.. [1] T. Wang, W. Zhu, Y. Gao, S. Zhang and J. Feng, "Harmonic attention for monaural speech
   enhancement", IEEE/ACM Trans. Audio, Speech, Lang. Process. 31, 2023,
   doi 10.1109/TASLP.2023.3284522.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["DualPath", "FrameNorm", "FrequencyChannelRecombination", "TimeAttention"]

_CHANNEL_HEADS, _FREQUENCY_HEADS, _TIME_HEADS = 8, 2, 2


class FrameNorm(nn.LayerNorm):
    """Layer normalization of each frame by itself.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        n_bins, to normalize each channel by itself, or (n_channels, n_bins).

    Examples
    --------
    >>> x = FrameNorm((2, 64))(100 * torch.rand(1, 2, 64, 5))
    >>> torch.allclose(x.mean((1, 2)), torch.zeros(5), atol=1e-5)
    True
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize (batch, n_channels, n_bins, n_frames)."""
        return super().forward(x.movedim(-1, 1)).movedim(1, -1)


class FrequencyChannelRecombination(nn.Module):
    """Let the channels of each frame attend to each other, and then its bins.

    A channel is described by its bins, a bin by its channels.

    Parameters
    ----------
    n_channels : int
        Even: attention over frequency has two heads.
    n_bins : int
        A multiple of eight: attention over channels has eight heads.

    References
    ----------
    .. [1] T. Wang et al., "Harmonic attention for monaural speech enhancement", IEEE/ACM Trans.
       Audio, Speech, Lang. Process. 31, 2023: frequency-channel recombination.

    Examples
    --------
    >>> FrequencyChannelRecombination(6, 256)(torch.randn(1, 6, 256, 3)).shape
    torch.Size([1, 6, 256, 3])
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
    """Go along the bins of each frame, then along the frames at each bin.

    Each way has an LSTM, a linear layer, a normalization of frames and a residual connection.

    Parameters
    ----------
    n_channels, n_bins : int
        Of the input; n_channels is even.
    causal : bool
        Whether the way along the frames has one direction, and not both. The way along the bins
        always has both.

    References
    ----------
    .. [1] T. Wang et al., "Harmonic attention for monaural speech enhancement", IEEE/ACM Trans.
       Audio, Speech, Lang. Process. 31, 2023: the temporal module called DPRNN.

    Examples
    --------
    >>> DualPath(6, 256, causal=True)(torch.randn(1, 6, 256, 3)).shape
    torch.Size([1, 6, 256, 3])
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
    """Let the frames at each bin attend to each other.

    The work grows with the square of the number of frames.

    Parameters
    ----------
    n_channels : int
        Even: there are two heads.
    causal : bool
        Whether a frame attends to no later one.

    References
    ----------
    .. [1] T. Wang et al., "Harmonic attention for monaural speech enhancement", IEEE/ACM Trans.
       Audio, Speech, Lang. Process. 31, 2023: the temporal module called self-attention.

    Examples
    --------
    >>> TimeAttention(6, causal=True)(torch.randn(1, 6, 256, 3)).shape
    torch.Size([1, 6, 256, 3])
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
        # A bias of the keys would change nothing: it adds the same to all that softmax compares.
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
    """Give a layer the bins of each frame as a sequence of channels."""
    frames: torch.Tensor = layer(x.permute(0, 3, 2, 1).flatten(0, 1))
    return frames.unflatten(0, (x.shape[0], -1)).permute(0, 3, 2, 1)


def _along_frames(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Give a layer the frames at each bin as a sequence of channels."""
    bins: torch.Tensor = layer(x.permute(0, 2, 3, 1).flatten(0, 1))
    return bins.unflatten(0, (x.shape[0], -1)).permute(0, 3, 1, 2)
