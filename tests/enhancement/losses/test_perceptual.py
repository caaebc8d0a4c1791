"""Perceptual loss: its properties, and that it ranks as PESQ does."""

from __future__ import annotations

import pytest
import torch
from scipy.signal import lfilter
from scipy.stats import spearmanr

from harmnmf.enhancement.losses.perceptual import perceptual_disturbance
from harmnmf.enhancement.metrics.scores import wb_pesq


def test_clean_speech_has_no_loss_at_any_level(voice: torch.Tensor) -> None:
    assert perceptual_disturbance(voice, voice) == 0
    assert perceptual_disturbance(0.05 * voice, voice) < 1e-3


def test_it_ranks_as_pesq_does(voice: torch.Tensor) -> None:
    clean = voice
    white = torch.randn(len(clean), generator=torch.Generator().manual_seed(0))
    brown = torch.from_numpy(lfilter([1], [1, -0.95], white.numpy())).float()
    noise = [x / x.std() * clean.std() for x in (white, brown)]
    degraded = [clean + 10 ** (-snr / 20) * x for snr in (3, 9, 15, 24, 35) for x in noise]
    degraded += [clean.clamp(-limit, limit) for limit in (0.01, 0.03, 0.1)]
    loss = [float(perceptual_disturbance(x, clean)) for x in degraded]
    pesq = [wb_pesq(clean.numpy(), x.numpy(), 16000) for x in degraded]
    assert spearmanr(loss, pesq).statistic < -0.9


def test_added_sound_counts_more_than_missing_sound(voice: torch.Tensor) -> None:
    spectrum = torch.fft.rfft(voice)
    hz = torch.fft.rfftfreq(len(voice), 1 / 16000)
    band = (hz > 1000) & (hz < 1600)
    more, less = (torch.fft.irfft(spectrum * torch.where(band, gain, 1.0)) for gain in (3.0, 1 / 3))
    assert perceptual_disturbance(more, voice) > perceptual_disturbance(less, voice)


def test_noise_below_the_threshold_of_hearing_does_not_count(voice: torch.Tensor) -> None:
    noise = 1e-6 * voice.std() * torch.randn(len(voice))
    assert perceptual_disturbance(voice + noise, voice) < 1e-3


@pytest.mark.parametrize("n_samples", [1, 5000])
def test_short_sounds_have_finite_gradients(n_samples: int) -> None:
    clean = torch.randn(2, n_samples)
    estimate = (clean + 0.1 * torch.randn(2, n_samples)).requires_grad_()
    perceptual_disturbance(estimate, clean).sum().backward()
    assert estimate.grad is not None
    assert torch.isfinite(estimate.grad).all()
