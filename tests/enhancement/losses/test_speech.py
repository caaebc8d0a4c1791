"""Losses: against plain formulas, their invariances and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmnmf.enhancement.losses.speech import (
    SPEECH_WEIGHTS,
    compressed_error,
    negative_si_snr,
    speech_loss,
)
from harmnmf.enhancement.metrics.scores import si_sdr


def test_si_snr_is_minus_the_metric() -> None:
    clean, noise = torch.randn(2, 8000, dtype=torch.float64)
    for gain in (0.1, 1.0):
        noisy = 0.7 * clean + gain * noise
        # The loss counts a thousandth of the signal as noise.
        metric = 10 ** (-si_sdr(clean.numpy(), noisy.numpy()) / 10) + 1e-3
        assert negative_si_snr(noisy, clean).item() == pytest.approx(10 * np.log10(metric))


def test_compressed_error_is_the_plain_formula() -> None:
    estimate, clean = torch.randn(2, 1, 6, 5, dtype=torch.complex128)
    x, y = estimate.numpy(), clean.numpy()
    magnitude = np.mean((abs(x) ** 0.3 - abs(y) ** 0.3) ** 2)
    phased = [abs(z) ** 0.3 * np.exp(1j * np.angle(z)) for z in (x, y)]
    difference = phased[0] - phased[1]
    both = np.mean([difference.real**2, difference.imag**2])
    terms = compressed_error(estimate, clean)
    assert terms["magnitude"].item() == pytest.approx(magnitude)
    assert terms["complex"].item() == pytest.approx(both)


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    clean = torch.randn(2, 8000, dtype=torch.float64)
    noisy = clean + torch.randn(2, 8000, dtype=torch.float64)
    estimate = (0.8 * noisy).requires_grad_()
    direction = torch.randn_like(estimate)
    for name in SPEECH_WEIGHTS:
        [gradient] = torch.autograd.grad(speech_loss(estimate, clean, noisy)[name], estimate)
        step = 1e-6 * direction
        with torch.no_grad():
            above, below = (
                speech_loss(estimate + sign * step, clean, noisy)[name] for sign in (1, -1)
            )
        expected = (above - below) / 2e-6
        torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-4, atol=1e-7)


def test_loud_and_soft_mixtures_have_the_same_loss() -> None:
    clean, noise = torch.randn(2, 2, 4000)
    loud = speech_loss(clean + 0.2 * noise, clean, clean + noise)
    soft = speech_loss(*(0.001 * x for x in (clean + 0.2 * noise, clean, clean + noise)))
    for name, term in loud.items():
        torch.testing.assert_close(soft[name], term, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("silent", ["estimate", "clean", "all"])
def test_silence_gives_finite_losses_and_gradients(silent: str) -> None:
    clean, noise = torch.randn(2, 2, 4000)
    estimate = (silent == "clean") * (clean + noise)
    clean = (silent == "estimate") * clean
    noisy = (silent != "all") * (clean + noise)
    estimate.requires_grad_()
    terms = speech_loss(estimate, clean, noisy)
    sum(terms.values()).backward()
    assert all(torch.isfinite(term) for term in terms.values())
    assert estimate.grad is not None
    assert torch.isfinite(estimate.grad).all()
    if silent != "estimate":
        assert terms["perceptual"] == terms["si_snr"] == 0
