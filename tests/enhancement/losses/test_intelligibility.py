"""Loss of intelligibility: against STOI, its invariances and gradients."""

from __future__ import annotations

import pytest
import torch

from harmnmf.enhancement.losses.intelligibility import lost_intelligibility
from harmnmf.enhancement.metrics.scores import stoi


@pytest.mark.parametrize("pause", [0, 16000])
def test_it_is_one_minus_stoi(voice: torch.Tensor, pause: int) -> None:
    clean = torch.cat([voice[:16000], torch.zeros(pause), voice[16000:]])[None]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    for snr in (-10, -5, 0, 10):
        noisy = clean + 10 ** (-snr / 20) * clean.std() * noise
        published = 1 - stoi(clean[0].numpy(), noisy[0].numpy(), 16000)
        assert lost_intelligibility(noisy, clean).item() == pytest.approx(published, abs=0.02)


def test_clean_speech_has_no_loss_at_any_level(voice: torch.Tensor) -> None:
    assert lost_intelligibility(0.05 * voice[None], voice[None]).abs() < 1e-6


def test_items_of_a_batch_are_independent(voice: torch.Tensor) -> None:
    clean = torch.stack([voice, voice.roll(7000)])
    clean[1, :12000] = 0
    noisy = clean + 0.3 * clean.std() * torch.randn(clean.shape)
    together = lost_intelligibility(noisy, clean)
    each = [lost_intelligibility(n[None], c[None]) for n, c in zip(noisy, clean, strict=True)]
    torch.testing.assert_close(together, torch.cat(each))


@pytest.mark.parametrize("n_samples", [1, 6354, 6355])
@pytest.mark.parametrize("silent", [False, True])
def test_short_and_silent_sounds_have_finite_gradients(n_samples: int, silent: bool) -> None:
    clean = torch.zeros(2, n_samples) if silent else torch.randn(2, n_samples)
    estimate = (clean + 0.1 * torch.randn(2, n_samples)).requires_grad_()
    lost = lost_intelligibility(estimate, clean)
    assert (lost.detach() > 0).all() == (n_samples >= 6355 and not silent)
    lost.sum().backward()
    assert estimate.grad is not None
    assert torch.isfinite(estimate.grad).all()
