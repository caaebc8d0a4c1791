"""Harmonic integration: find which pitch each frame has, and what else belongs to it.

What a frame shows of a voice is compared with the comb of each pitch that the voice may have; the
combs of the likeliest ones, mixed, then say where all harmonics of this voice lie, those that noise
covers among them [1]_.

References
----------
.. [1] T. Wang, W. Zhu, Y. Gao, S. Zhang and J. Feng, "Harmonic attention for monaural speech
   enhancement", IEEE/ACM Trans. Audio, Speech, Lang. Process. 31, 2023,
   doi 10.1109/TASLP.2023.3284522.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from numpy.typing import ArrayLike

from harmnmf.enhancement.comb import comb_matrix
from harmnmf.signal.audio import SAMPLE_RATE
from harmnmf.signal.harmonics import FrequencyAxis

__all__ = ["Integration", "integrate_harmonics", "pitch_combs"]


class Integration(NamedTuple):
    """What harmonic integration found.

    Attributes
    ----------
    significance : Tensor, shape (..., n_candidates, n_frames)
        K Uᵀ: how well each comb fits.
    harmonics : Tensor, shape (..., n_bins, n_frames)
        softmax(K Uᵀ) U: where the harmonics of the selected pitches lie.
    """

    significance: torch.Tensor
    harmonics: torch.Tensor


def integrate_harmonics(K: torch.Tensor, U: torch.Tensor) -> Integration:
    """Let the combs that fit select what belongs together: softmax(K Uᵀ) U.

    Parameters
    ----------
    K : Tensor, shape (..., n_bins, n_frames)
        What is compared with the combs.
    U : Tensor, shape (n_candidates, n_bins)
        The combs, a row of zeros among them: a frame may have no pitch.

    Returns
    -------
    Integration
        The significance of each candidate, and the harmonics of the selected ones.

    References
    ----------
    .. [1] T. Wang et al., "Harmonic attention for monaural speech enhancement", IEEE/ACM Trans.
       Audio, Speech, Lang. Process. 31, 2023.

    Examples
    --------
    >>> U = pitch_combs(range(60, 420), n_fft=512, construction="smooth")
    >>> K = 100 * U[[50]].T  # a voice of 109 Hz in one frame
    >>> found = integrate_harmonics(K, U)
    >>> found.significance.argmax().item(), found.harmonics.shape
    (50, torch.Size([256, 1]))
    """
    significance = U @ K
    return Integration(significance, U.T @ significance.softmax(dim=-2))


def pitch_combs(candidates: ArrayLike, n_fft: int, construction: str) -> torch.Tensor:
    """Build the combs U for frames of speech at 16 kHz.

    Parameters
    ----------
    candidates : array_like, shape (n_candidates,)
        Pitches in Hz.
    n_fft : int
        Samples in a frame.
    construction : {"smooth", "published"}
        As of :func:`harmnmf.enhancement.comb_matrix`. Smooth combs have norm one, published ones
        are as published.

    Returns
    -------
    Tensor, shape (1 + n_candidates, n_fft // 2)
        Row 0, for no pitch, is zero. There is no bin at half the sample rate.

    Raises
    ------
    ParameterError
        If there is no such construction.

    Examples
    --------
    >>> pitch_combs(range(60, 420), n_fft=512, construction="published").shape
    torch.Size([361, 256])
    """
    combs = comb_matrix(
        FrequencyAxis.linear(n_fft, SAMPLE_RATE),
        candidates,
        construction=construction,
        normalize=construction == "smooth",
    )
    return torch.from_numpy(combs[:, : n_fft // 2]).float()
