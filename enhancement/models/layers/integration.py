"""Harmonic integration: comparison of each frame with pitch combs, after Wang et al. (2023)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from numpy.typing import ArrayLike

from harmnmf.enhancement.comb import comb_matrix
from harmnmf.signal.audio import SAMPLE_RATE
from harmnmf.signal.harmonics import FrequencyAxis

__all__ = ["Integration", "integrate_harmonics", "pitch_combs"]


class Integration(NamedTuple):
    """Match of each comb, K Uᵀ, and the harmonics of the selected pitches, softmax(K Uᵀ) U.

    Their shapes are (..., n_candidates, n_frames) and (..., n_bins, n_frames).
    """

    significance: torch.Tensor
    harmonics: torch.Tensor


def integrate_harmonics(K: torch.Tensor, U: torch.Tensor) -> Integration:
    """Select combs by their match and mix them: softmax(K Uᵀ) U.

    K are features, (..., n_bins, n_frames), and U combs, (n_candidates, n_bins), including a row of
    zeros for frames without pitch.

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
    """Comb matrix U for speech at 16 kHz, without the Nyquist bin.

    Row 0 of (1 + n_candidates, n_fft // 2) is zero, for no pitch. The construction is "smooth",
    with unit norm, or "published", without: see :func:`harmnmf.enhancement.comb_matrix`.
    """
    combs = comb_matrix(
        FrequencyAxis.linear(n_fft, SAMPLE_RATE),
        candidates,
        construction=construction,
        normalize=construction == "smooth",
    )
    return torch.from_numpy(combs[:, : n_fft // 2]).float()
