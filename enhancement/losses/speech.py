"""Losses for speech enhancement.

References
----------
.. [1] S. Braun and I. Tashev, "A consolidated view of loss functions for supervised deep
   learning-based speech enhancement", TSP 2021.
.. [2] J. Le Roux, S. Wisdom, H. Erdogan and J. R. Hershey, "SDR - half-baked or well done?",
   ICASSP 2019.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from harmnmf.enhancement.transform import ShortTimeFourier, compress

from .intelligibility import lost_intelligibility
from .perceptual import perceptual_disturbance

__all__ = ["SPEECH_WEIGHTS", "compressed_error", "negative_si_snr", "speech_loss"]

SPEECH_WEIGHTS: Mapping[str, float] = {
    "si_snr": 0.1,
    "complex": 30.0,
    "magnitude": 70.0,
    "perceptual": 4.0,
    "intelligibility": 60.0,
}

_TRANSFORM = ShortTimeFourier(512, 128)
_LEVEL = 0.1  # root mean square to which mixtures are scaled
_BEST_SNR = 1e-3  # 30 dB


def negative_si_snr(estimate: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Negative scale-invariant signal-to-noise ratio in dB [2]_, eq. (3).

    Samples, (..., n_samples), become (...): at least -30 dB, and 0 where `clean` is silent.
    """
    energy = clean.square().sum(-1, keepdim=True)
    along = (estimate * clean).sum(-1, keepdim=True) / (energy + 1e-8) * clean
    signal, noise = along.square().sum(-1), (estimate - along).square().sum(-1)
    ratio = 10 * torch.log10((noise + _BEST_SNR * signal + 1e-8) / (signal + 1e-8))
    return torch.where(energy.squeeze(-1) > 0, ratio, 0.0)


def compressed_error(estimate: torch.Tensor, clean: torch.Tensor) -> dict[str, torch.Tensor]:
    """Errors of compressed spectra with and without phase [1]_, eq. (9).

    ``"magnitude"`` and ``"complex"`` are mean squared errors of magnitudes to the power of 0.3, and
    of complex numbers with these magnitudes.
    """
    estimate, clean = compress(estimate), compress(clean)
    difference = torch.view_as_real(estimate - clean)
    magnitudes = [(x.real.square() + x.imag.square() + 1e-12).sqrt() for x in (estimate, clean)]
    return {
        "complex": difference.square().mean(),
        "magnitude": (magnitudes[0] - magnitudes[1]).square().mean(),
    }


def speech_loss(
    estimate: torch.Tensor, clean: torch.Tensor, noisy: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Terms of the loss of enhanced speech.

    Samples at 16 kHz, (batch, n_samples), are scaled by the level of the noisy mixture, so that
    loud and soft mixtures have the same loss. `SPEECH_WEIGHTS` has a weight for each term.
    """
    gain = _LEVEL / (noisy.square().mean(-1, keepdim=True).sqrt() + 1e-8)
    estimate, clean = gain * estimate, gain * clean
    # Quality is not defined without speech.
    voiced = (clean.square().sum(-1) > 0).to(estimate)
    return {
        "si_snr": negative_si_snr(estimate, clean).mean(),
        **compressed_error(_TRANSFORM.analyze(estimate), _TRANSFORM.analyze(clean)),
        "perceptual": (voiced * perceptual_disturbance(estimate, clean)).mean(),
        "intelligibility": (voiced * lost_intelligibility(estimate, clean)).mean(),
    }
