"""Groups of bins: narrow where single harmonics can be told apart, wide above.

Of spectra of 16 kHz by transforms of 512 samples, without the bin at the Nyquist frequency, groups
have two bins below 2 kHz, and eight above. Neighbours overlap by half.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["N_LOW", "SPLIT", "Grouping", "Ungrouping", "count_groups"]

SPLIT = 64
_NARROW, _WIDE = 2, 8
# Groups below `SPLIT`.
N_LOW = SPLIT // _NARROW


def count_groups(n_bins: int) -> int:
    """Tell how many groups there are.

    Parameters
    ----------
    n_bins : int
        Without that at the Nyquist frequency.

    Returns
    -------
    int
        Narrow and wide ones.

    Examples
    --------
    >>> count_groups(256)
    56
    """
    return N_LOW + (n_bins - SPLIT) // _WIDE


class Grouping(nn.Module):
    """Convolve bins to groups of them, and the frames before each one with it.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    n_frames : int, default=1
        That are convolved: the output has as many less, but one.

    Examples
    --------
    >>> Grouping(3, 8)(torch.randn(2, 3, 256, 20)).shape
    torch.Size([2, 8, 56, 20])
    """

    def __init__(self, n_in: int, n_out: int, n_frames: int = 1) -> None:
        super().__init__()
        self.low, self.high = (
            nn.Conv2d(n_in, n_out, (2 * n, n_frames), (n, 1), (n // 2, 0)) for n in (_NARROW, _WIDE)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Group the bins of (batch, n_in, n_bins, n_frames)."""
        return torch.cat([self.low(x[:, :, :SPLIT]), self.high(x[:, :, SPLIT:])], dim=2)


class Ungrouping(nn.Module):
    """Go back from groups to bins.

    Parameters
    ----------
    n_channels : int
        Of the groups.
    n_low, n_high : int
        Channels of the bins below 2 kHz, and of those above.

    Examples
    --------
    >>> low, high = Ungrouping(8, 6, 2)(torch.randn(2, 8, 56, 20))
    >>> low.shape, high.shape
    (torch.Size([2, 6, 64, 20]), torch.Size([2, 2, 192, 20]))
    """

    def __init__(self, n_channels: int, n_low: int, n_high: int) -> None:
        super().__init__()
        self.low, self.high = (
            nn.ConvTranspose2d(n_channels, n_out, (2 * n, 1), (n, 1), (n // 2, 0))
            for n, n_out in ((_NARROW, n_low), (_WIDE, n_high))
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Spread (batch, n_channels, n_groups, n_frames) over bins."""
        return self.low(x[:, :, :N_LOW]), self.high(x[:, :, N_LOW:])
