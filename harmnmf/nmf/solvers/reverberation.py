"""Reverberation of a spectrogram: every frame decays exponentially into those that follow.

This is the non-negative convolutive transfer function of [1]_ and [2]_ with two numbers instead of
one for each bin and delay::

    (R X)[f, n] = X[f, n] + b Σ_{τ≥1} a^(τ-1) X[f, n - τ]

R is linear and not negative, so that multiplicative updates need only R and its adjoint. The sum
over all earlier frames is computed as a product of sums of two, with the delay z
``1/(1 - az) = Π_i (1 + (az)^(2^i))``.

References
----------
.. [1] H. Kameoka, T. Nakatani and T. Yoshioka, "Robust speech dereverberation based on
   non-negativity and sparse nature of speech spectrograms", Proc. ICASSP, 2009, pp. 45-48.
.. [2] N. Mohammadiha and S. Doclo, "Speech dereverberation using non-negative convolutive transfer
   function and spectro-temporal modeling", IEEE/ACM TASLP 24(2), 2016, pp. 276-289.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from harmnmf.validation import check_number

__all__ = ["Reverberation"]


@dataclass(frozen=True)
class Reverberation:
    """An exponential decay along time.

    Parameters
    ----------
    level : float
        b above: the magnitude that a frame adds to the next, relative to its own; not negative.
    decay : float
        a above: the factor from frame to frame, from 0 to less than 1.

    Raises
    ------
    ParameterError
        If a parameter is out of range.

    Examples
    --------
    >>> room = Reverberation(level=0.25, decay=0.5)
    >>> room.apply(torch.tensor([[1.0, 0, 0, 0]]))
    tensor([[1.0000, 0.2500, 0.1250, 0.0625]])
    >>> room.adjoint(torch.tensor([[0, 0, 0, 1.0]]))
    tensor([[0.0625, 0.1250, 0.2500, 1.0000]])
    """

    level: float
    decay: float

    def __post_init__(self) -> None:
        check_number("level", self.level, 0)
        check_number("decay", self.decay, 0, below=1)

    @classmethod
    def of_room(
        cls, reverberation_time: float, level_per_second: float, hop_duration: float
    ) -> Reverberation:
        """Make the decay of a room for a spectrogram.

        Parameters
        ----------
        reverberation_time : float
            Seconds in which the room decays by 60 dB.
        level_per_second : float
            Magnitude of the reflections in a second, at the rate at which they begin, relative to
            that of the direct sound.
        hop_duration : float
            Seconds from frame to frame.

        Examples
        --------
        >>> room = Reverberation.of_room(0.6, level_per_second=2.0, hop_duration=0.02)
        >>> room.level, round(room.decay, 3)
        (0.04, 0.794)
        """
        return cls(level_per_second * hop_duration, 10 ** (-3 * hop_duration / reverberation_time))

    def apply(self, X: torch.Tensor) -> torch.Tensor:
        """Compute R X, for X of shape (..., n_frames)."""
        y = torch.zeros_like(X)
        y[..., 1:] = self.level * X[..., :-1]
        for factor, n in self._powers(X.shape[-1]):
            y[..., n:] += factor * y[..., :-n]
        return y.add_(X)

    def adjoint(self, X: torch.Tensor) -> torch.Tensor:
        """Compute Rᵀ X, where every frame collects what it has added to others."""
        y = torch.zeros_like(X)
        y[..., :-1] = self.level * X[..., 1:]
        for factor, n in self._powers(X.shape[-1]):
            y[..., :-n] += factor * y[..., n:]
        return y.add_(X)

    def _powers(self, n_frames: int) -> list[tuple[float, int]]:
        """Compute a^n for the delays n = 1, 2, 4, ... that matter in double precision."""
        delays = [2**i for i in range(math.ceil(math.log2(max(1, n_frames))))]
        powers = [(self.decay**n, n) for n in delays]
        return [(factor, n) for factor, n in powers if factor > torch.finfo(torch.float64).eps]
