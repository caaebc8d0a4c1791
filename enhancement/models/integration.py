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

__all__ = ["Integration", "integrate_harmonics"]


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
    >>> from harmnmf.enhancement import comb_matrix
    >>> from harmnmf.harmonics import FrequencyAxis
    >>> combs = comb_matrix(FrequencyAxis.linear(512, 16000))[:, :256]
    >>> U = torch.from_numpy(combs).float()
    >>> K = 100 * U[[50]].T  # a voice of 109 Hz in one frame
    >>> found = integrate_harmonics(K, U)
    >>> found.significance.argmax().item(), found.harmonics.shape
    (50, torch.Size([256, 1]))
    """
    significance = U @ K
    return Integration(significance, U.mT @ significance.softmax(dim=-2))
