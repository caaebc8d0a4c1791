"""The perceptual loss: its properties, and that it ranks as PESQ does."""

from __future__ import annotations

import pytest
import torch
from scipy.signal import lfilter
from scipy.stats import spearmanr

from harmnmf.enhancement.losses.perceptual import perceptual_disturbance
from harmnmf.enhancement.metrics.scores import wb_pesq


def test_nothing_is_annoying_in_the_clean_sound_at_any_level(voice: torch.Tensor) -> None:
    clean = voice
    assert perceptual_disturbance(clean, clean) == 0
    assert perceptual_disturbance(0.05 * clean, clean) < 1e-3


def test_it_ranks_as_pesq_does(voice: torch.Tensor) -> None:
    clean = voice
    rng = torch.Generator().manual_seed(0)
    white = torch.randn(len(clean), generator=rng)
    brown = torch.from_numpy(lfilter([1], [1, -0.95], white.numpy())).float()
    noise = [x / x.std() * clean.std() for x in (white, brown)]
    degraded = [clean + 10 ** (-snr / 20) * x for snr in (3, 9, 15, 24, 35) for x in noise]
    degraded += [clean.clamp(-limit, limit) for limit in (0.01, 0.03, 0.1)]
    loss = [float(perceptual_disturbance(x, clean)) for x in degraded]
    pesq = [wb_pesq(clean.numpy(), x.numpy(), 16000) for x in degraded]
    assert spearmanr(loss, pesq).statistic < -0.9


def test_what_is_added_annoys_more_than_what_is_missing(voice: torch.Tensor) -> None:
    clean = voice
    spectrum = torch.fft.rfft(clean)
    hz = torch.fft.rfftfreq(len(clean), 1 / 16000)
    band = (hz > 1000) & (hz < 1600)
    more, less = (torch.fft.irfft(spectrum * torch.where(band, gain, 1.0)) for gain in (3.0, 1 / 3))
    assert perceptual_disturbance(more, clean) > perceptual_disturbance(less, clean)


def test_noise_below_the_threshold_of_hearing_does_not_count(voice: torch.Tensor) -> None:
    clean = voice
    noise = 1e-6 * clean.std() * torch.randn(len(clean))
    assert perceptual_disturbance(clean + noise, clean) < 1e-3


@pytest.mark.parametrize("n_samples", [1, 300, 5000])
def test_short_sounds_have_finite_gradients(n_samples: int) -> None:
    clean = torch.randn(2, n_samples)
    estimate = (clean + 0.1 * torch.randn(2, n_samples)).requires_grad_()
    perceptual_disturbance(estimate, clean).sum().backward()
    assert estimate.grad is not None
    assert torch.isfinite(estimate.grad).all()
