"""Amplitudes and decibels: differentiable conversions for solvers and networks.

A level of x is 10 log₁₀ x, whatever x is: of magnitudes, it is half the usual one.
"""

from __future__ import annotations

import math

import torch

from harmnmf.errors import ParameterError

__all__ = ["Amp2dB", "dB2Amp"]


class Amp2dB(torch.nn.Module):
    """Convert amplitudes to decibels, 10 log₁₀(x + floor).

    Parameters
    ----------
    floor : float, default=1e-10
        What zero stands for. The gradient is continuous, and at zero 10 / (ln(10) floor).

    Raises
    ------
    ParameterError
        If `floor` is not positive.

    Examples
    --------
    >>> Amp2dB(floor=1e-6)(torch.tensor([0.0, 0.1, 1.0, 100.0])).round()
    tensor([-60., -10.,   0.,  20.])
    """

    def __init__(self, floor: float = 1e-10) -> None:
        super().__init__()
        if not 0 < floor < math.inf:
            raise ParameterError(f"floor must be positive, not {floor}")
        self.floor = floor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convert a tensor of any shape."""
        return 10 * torch.log10(x + self.floor)


class dB2Amp(torch.nn.Module):
    """Convert decibels to amplitudes, 10^(min(x, ceiling) / 10).

    Parameters
    ----------
    ceiling : float, default=150.0
        Largest level. An optimiser's step too far must not overflow, as 386 dB do in single
        precision; above the ceiling the gradient is zero.

    Raises
    ------
    ParameterError
        If `ceiling` is NaN or infinite.

    Examples
    --------
    >>> dB2Amp()(torch.tensor([-10.0, 0.0, 20.0]))
    tensor([  0.1000,   1.0000, 100.0000])
    """

    def __init__(self, ceiling: float = 150.0) -> None:
        super().__init__()
        if not math.isfinite(ceiling):
            raise ParameterError(f"ceiling must be finite, not {ceiling}")
        self.ceiling = ceiling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convert a tensor of any shape."""
        return 10 ** (x.clamp_max(self.ceiling) / 10)
