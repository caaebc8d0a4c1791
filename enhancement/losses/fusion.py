"""Losses of spectrogram fusion: which of two estimates is nearer to the clean voice.

All compare compressed magnitudes, as `harmnmf.enhancement.models.spectrogram_fusion` has them, and
are means over bins, where the papers have sums: the length of a recording does not matter.

The first stage learns from `multi_target_loss`, the second from `tend_loss`: one after the other
as published, or both together from their sum, since neither reaches the other's weights.

References
----------
.. [1] H. Shi, L. Wang, S. Li, C. Ding, M. Ge, N. Li, J. Dang and H. Seki, "Singing voice
   extraction with attention-based spectrograms fusion", Interspeech 2020.
.. [2] H. Shi, L. Wang, M. Ge, S. Li and J. Dang, "Spectrograms fusion with minimum difference
   masks estimation for monaural speech dereverberation", ICASSP 2020.
"""

from __future__ import annotations

import torch
from torch.nn.functional import mse_loss

from harmnmf.enhancement.models.spectrogram_fusion import FusionOutputs

__all__ = [
    "minimum_difference_loss", "minimum_difference_masks", "multi_target_loss", "tend_loss",
]  # fmt: skip


def minimum_difference_masks(
    mapped: torch.Tensor, masked: torch.Tensor, clean: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tell for each bin which estimate is nearer to the clean voice.

    Parameters
    ----------
    mapped, masked, clean : Tensor, shape (..., n_bins, n_frames)
        Both estimates of the magnitudes, and the true ones.

    Returns
    -------
    label_mapped, label_masked : Tensor, shape (..., n_bins, n_frames)
        MDM_i = 1 where i = argmin_i |spc_i - spc_clean|, and 0 elsewhere [2]_. Where both are
        equally near, the mapped one is taken.

    References
    ----------
    .. [2] H. Shi et al., "Spectrograms fusion with minimum difference masks estimation for
       monaural speech dereverberation", ICASSP 2020.

    Examples
    --------
    >>> mapped, masked = torch.tensor([1.1, 3.0, 0.0]), torch.tensor([0.5, 1.5, 2.0])
    >>> minimum_difference_masks(mapped, masked, torch.ones(3))
    (tensor([1., 0., 1.]), tensor([0., 1., 0.]))
    """
    label = ((mapped - clean).abs() <= (masked - clean).abs()).to(clean.dtype)
    return label, 1 - label


def multi_target_loss(
    outputs: FusionOutputs, clean: torch.Tensor, *, alpha: float = 1.0
) -> torch.Tensor:
    """Compute the loss of the first stage, L_MTL = L_mapping + α L_masking.

    Parameters
    ----------
    outputs : FusionOutputs
        Of a mixture.
    clean : Tensor, shape (batch, n_bins, n_frames)
        Compressed magnitudes of the voice in it.
    alpha : float, default=1.0
        Weight α.

    Returns
    -------
    Tensor, shape ()
        With L_mapping and L_masking the mean squared errors of spc_map and spc_mask [1]_.

    References
    ----------
    .. [1] H. Shi et al., "Singing voice extraction with attention-based spectrograms fusion",
       Interspeech 2020.
    """
    return mse_loss(outputs.mapped, clean) + alpha * mse_loss(outputs.masked, clean)


def minimum_difference_loss(
    outputs: FusionOutputs, clean: torch.Tensor, *, beta: float = 1.0
) -> torch.Tensor:
    """Compute L_MDM = Σ_i (MDM_i - label_i)² + β (L_masking + L_mapping) of the second stage.

    Parameters
    ----------
    outputs : FusionOutputs
        Of a mixture.
    clean : Tensor, shape (batch, n_bins, n_frames)
        Compressed magnitudes of the voice in it.
    beta : float, default=1.0
        Weight β.

    Returns
    -------
    Tensor, shape ()
        With labels of `minimum_difference_masks`, and L_masking and L_mapping of the second
        stage's own estimates [2]_.

    References
    ----------
    .. [2] H. Shi et al., "Spectrograms fusion with minimum difference masks estimation for
       monaural speech dereverberation", ICASSP 2020.
    """
    label_mapped, label_masked = minimum_difference_masks(outputs.mapped, outputs.masked, clean)
    masks = mse_loss(outputs.mask_mapped, label_mapped) + mse_loss(
        outputs.mask_masked, label_masked
    )
    estimates = mse_loss(outputs.masked_again, clean) + mse_loss(outputs.mapped_again, clean)
    return masks + beta * estimates


def tend_loss(
    outputs: FusionOutputs, clean: torch.Tensor, *, beta: float = 1.0, gamma: float = 30.0
) -> torch.Tensor:
    """Compute the loss of the second stage, L_tend = L_MDM + γ ‖spc_f - spc_clean‖².

    Parameters
    ----------
    outputs : FusionOutputs
        Of a mixture.
    clean : Tensor, shape (batch, n_bins, n_frames)
        Compressed magnitudes of the voice in it.
    beta : float, default=1.0
        Weight β.
    gamma : float, default=30.0
        Weight γ. The papers give neither, and it depends on the unit of magnitudes. Of masks the
        squared errors are near 1/4, of compressed magnitudes near 1/30: in a short
        training on singing, the squared error of the fusion was 5 % above that of the better
        estimate with γ = 1, and no longer with 30.

    Returns
    -------
    Tensor, shape ()
        With spc_f = Σ_i MDM_i ⊙ spc_i, whose error keeps the fusion continuous [1]_.

    References
    ----------
    .. [1] H. Shi et al., "Singing voice extraction with attention-based spectrograms fusion",
       Interspeech 2020.

    Examples
    --------
    Both stages learn from the sum of their losses:

    >>> from harmnmf.enhancement import SpectrogramFusion, SpectrogramFusionConfig
    >>> model = SpectrogramFusion(SpectrogramFusionConfig(lstm_size=8, hidden_size=8))
    >>> voice, noise = model.transform.analyze(torch.randn(2, 1, 8000))
    >>> outputs = model.estimate(voice + noise)
    >>> clean = model.compress(voice, outputs.level)
    >>> loss = multi_target_loss(outputs, clean) + tend_loss(outputs, clean)
    >>> loss.shape, loss.item() > 0
    (torch.Size([]), True)
    """
    regular = mse_loss(outputs.fused, clean)
    return minimum_difference_loss(outputs, clean, beta=beta) + gamma * regular
