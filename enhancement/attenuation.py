"""Dry/wet mix, and limit of the attenuation per bin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.validation import check_number

__all__ = ["Attenuation"]

# In dB; a power of ten beyond it is no finite number.
_NO_LIMIT = 600.0

_Samples = TypeVar("_Samples", NDArray[np.float32], torch.Tensor)


@dataclass(frozen=True)
class Attenuation:
    """Dry/wet mix and attenuation limit of an enhancer.

    Parameters
    ----------
    dry : float, default=0
        Proportion of the noisy signal in the output, from 0 to 1.
    limit : float, optional
        Maximum attenuation of a bin in dB. A bin that the network attenuates more is replaced by
        the noisy one at the limit, so that the residual noise sounds natural. Bins that the network
        changes otherwise, in phase or to a higher level, differ from the noisy ones by at most as
        much as an amplification by the limit, so that 0 dB changes nothing. No limit by default.

    Examples
    --------
    >>> noisy, estimate = torch.tensor([1j, 1j]), torch.tensor([0.9 + 0j, 0.0 + 0j])
    >>> Attenuation(limit=20).limit_bins(estimate, noisy)
    tensor([0.9000+0.0000j, 0.0000+0.1000j])
    >>> Attenuation(limit=0).limit_bins(estimate, noisy)
    tensor([0.+1.j, 0.+1.j])
    >>> Attenuation(dry=0.25).mix(torch.zeros(2), torch.ones(2))
    tensor([0.2500, 0.2500])
    """

    dry: float = 0.0
    limit: float | None = None

    def __post_init__(self) -> None:
        check_number("dry", self.dry, 0, 1)
        if self.limit is not None:
            check_number("attenuation_limit", self.limit, 0, infinite=True)

    def limit_bins(self, estimate: torch.Tensor, noisy: torch.Tensor) -> torch.Tensor:
        """Apply the limit to an enhanced spectrum, given the noisy one of the same shape."""
        if self.limit is None:
            return estimate
        gain = 10 ** (min(self.limit, _NO_LIMIT) / 20)
        difference = estimate - noisy
        share = (gain - 1) * noisy.abs() / difference.abs()
        limited = torch.where(share < 1, noisy + share * difference, estimate)
        weakest = noisy / gain
        return torch.where(limited.abs() < weakest.abs(), weakest, limited)

    def mix(self, enhanced: _Samples, noisy: _Samples) -> _Samples:
        """Mix enhanced and noisy samples of the same shape."""
        return self.dry * noisy + (1 - self.dry) * enhanced
