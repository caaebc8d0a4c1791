"""How much of the noise stays: a part of the whole, or of every bin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf.errors import ParameterError

__all__ = ["Remainder"]

_Samples = TypeVar("_Samples", NDArray[np.float32], torch.Tensor)


@dataclass(frozen=True)
class Remainder:
    """What enhanced sound keeps of the noisy one.

    Parameters
    ----------
    dry : float, default=0
        Part of the noisy samples that is mixed back, from 0 to 1.
    attenuation_limit : float, optional
        Decibels by which a bin of the spectrum may become weaker: one that would become weaker yet
        is the noisy one, that much weaker. What is left of the noise then sounds like it did. By
        default there is no limit.

    Raises
    ------
    ParameterError
        If a parameter is not as described.

    Examples
    --------
    >>> noisy, estimate = torch.tensor([1j, 1j]), torch.tensor([0.9 + 0j, 0.0 + 0j])
    >>> Remainder(attenuation_limit=20).keep_in_spectrum(estimate, noisy)
    tensor([0.9000+0.0000j, 0.0000+0.1000j])
    >>> Remainder(dry=0.25).keep_in_samples(torch.zeros(2), torch.ones(2))
    tensor([0.2500, 0.2500])
    """

    dry: float = 0.0
    attenuation_limit: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.dry <= 1:
            raise ParameterError(f"dry must be from 0 to 1, not {self.dry}")
        if self.attenuation_limit is not None and not self.attenuation_limit >= 0:
            raise ParameterError(
                f"attenuation_limit must be decibels, 0 or more, not {self.attenuation_limit}"
            )

    def keep_in_spectrum(self, estimate: torch.Tensor, noisy: torch.Tensor) -> torch.Tensor:
        """Limit how much weaker bins become.

        Parameters
        ----------
        estimate, noisy : Tensor, complex
            Enhanced and noisy spectra of one shape.

        Returns
        -------
        Tensor
            Of that shape.
        """
        if self.attenuation_limit is None:
            return estimate
        weakest = 10 ** (-self.attenuation_limit / 20) * noisy
        return torch.where(estimate.abs() < weakest.abs(), weakest, estimate)

    def keep_in_samples(self, enhanced: _Samples, noisy: _Samples) -> _Samples:
        """Mix noisy samples back.

        Parameters
        ----------
        enhanced, noisy : ndarray or Tensor
            Samples of one shape.

        Returns
        -------
        ndarray or Tensor
            Of that shape.
        """
        return self.dry * noisy + (1 - self.dry) * enhanced
