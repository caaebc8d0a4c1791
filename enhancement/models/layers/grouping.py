"""Groups of frequency bins: narrow where harmonics are resolved, wide above.

For spectra at 16 kHz with n_fft 512, without the Nyquist bin. Groups have two bins below 2 kHz and
eight above; neighbouring groups overlap by half.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["N_GROUPS", "N_LOW", "SPLIT", "Grouping", "Ungrouping"]

_N_BINS = 256
SPLIT = 64  # first bin of the wide groups
_NARROW, _WIDE = 2, 8
N_LOW = SPLIT // _NARROW  # groups below SPLIT
N_GROUPS = N_LOW + (_N_BINS - SPLIT) // _WIDE


class Grouping(nn.Module):
    """Convolution from bins to groups, over `n_frames` successive frames without padding.

    (batch, n_in, n_bins, n_frames_in) becomes (batch, n_out, n_groups, n_frames_in - n_frames + 1).
    """

    def __init__(self, n_in: int, n_out: int, n_frames: int = 1) -> None:
        super().__init__()
        self.low, self.high = (
            nn.Conv2d(n_in, n_out, (2 * n, n_frames), (n, 1), (n // 2, 0)) for n in (_NARROW, _WIDE)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve the bins below and above `SPLIT`."""
        return torch.cat([self.low(x[:, :, :SPLIT]), self.high(x[:, :, SPLIT:])], dim=2)


class Ungrouping(nn.Module):
    """Transposed convolution from groups to bins.

    (batch, n_channels, n_groups, n_frames) becomes (batch, n_low, 64, n_frames) for the bins below
    2 kHz and (batch, n_high, 192, n_frames) for those above.
    """

    def __init__(self, n_channels: int, n_low: int, n_high: int) -> None:
        super().__init__()
        self.low, self.high = (
            nn.ConvTranspose2d(n_channels, n_out, (2 * n, 1), (n, 1), (n // 2, 0))
            for n, n_out in ((_NARROW, n_low), (_WIDE, n_high))
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Convolve the groups below and above 2 kHz."""
        return self.low(x[:, :, :N_LOW]), self.high(x[:, :, N_LOW:])
