"""Harmonic Refinement: how it combines spectra, and its fixed first part."""

from __future__ import annotations

import math

import numpy as np
import torch
from small_networks import build, randomized, spectra


@torch.no_grad()
def test_output_combines_both_spectra_and_a_bias():
    model, spectrum = randomized(build("harmonic-refinement")), spectra()
    level = spectrum.abs().square().mean((1, 2), keepdim=True).sqrt()
    X, X_1 = (
        (x / level).abs() ** 0.3 * torch.exp(1j * x.angle())
        for x in (spectrum, model.light(spectrum))
    )
    M, M_1, B = model.decode(X, X_1)
    for mask in (M, M_1):
        assert ((mask >= 0) & (mask <= 1)).all()
    S = M * X + M_1 * X_1 + B
    expected = level * S.abs() ** (1 / 0.3) * torch.exp(1j * S.angle())
    error = (model(spectrum) - expected)[:, :-1].abs()
    assert error.max() < 1e-3 * expected.abs().max()


@torch.no_grad()
def test_untrained_masks_prefer_the_first_estimate():
    model, X = build("harmonic-refinement"), spectra()
    M, M_1, B = (part[:, :-1] for part in model.decode(X[:1], X[1:]))
    np.testing.assert_allclose(M, 1 / (1 + math.e**3), rtol=1e-5)
    np.testing.assert_allclose(M_1, 1 / (1 + math.e**-3), rtol=1e-5)
    assert not B.any()


@torch.no_grad()
def test_the_first_part_is_never_in_training():
    model, spectrum = build("harmonic-refinement"), spectra()
    expected = model.light(spectrum)
    for _ in range(2):
        torch.testing.assert_close(model.train().light(spectrum), expected)
    assert model.training
    torch.testing.assert_close(model.eval().light(spectrum), expected)
