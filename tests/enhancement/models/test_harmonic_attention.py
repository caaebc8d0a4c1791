"""Harmonic Attention: its equations, invariances and size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_networks import build, randomized, spectra

from harmnmf.enhancement import HarmonicAttention, HarmonicAttentionConfig
from harmnmf.enhancement.models.harmonic_attention import HarmonicIntegration
from harmnmf.enhancement.models.layers.integration import integrate_harmonics, pitch_combs


def dense_integration(K, U):
    """The definition softmax(K Uᵀ) U for K (n_bins, n_frames), one number at a time."""
    (n_bins, n_frames), n_candidates = K.shape, len(U)
    significance, harmonics = np.zeros((n_candidates, n_frames)), np.zeros(K.shape)
    for t in range(n_frames):
        for c in range(n_candidates):
            significance[c, t] = sum(K[f, t] * U[c, f] for f in range(n_bins))
        weights = [math.exp(significance[c, t]) for c in range(n_candidates)]
        for f in range(n_bins):
            for c in range(n_candidates):
                harmonics[f, t] += weights[c] / sum(weights) * U[c, f]
    return significance, harmonics


def dense_convolution(x, conv):
    """Three taps along frequency of (n_channels, n_bins, n_frames)."""
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    output = np.zeros((len(weight), *x.shape[1:]))
    for o in range(len(weight)):
        for f in range(x.shape[1]):
            output[o, f] = bias[o] + sum(
                weight[o, c, k, 0] * padded[c, f + k] for c in range(len(x)) for k in range(3)
            )
    return output


def dense_norm(x, norm):
    """Layer normalisation over the bins of each channel and frame."""
    output = np.zeros(x.shape)
    for c in range(x.shape[0]):
        for t in range(x.shape[2]):
            normal = (x[c, :, t] - x[c, :, t].mean()) / np.sqrt(x[c, :, t].var() + 1e-5)
            output[c, :, t] = normal * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    return output


def test_integration_is_its_definition():
    rng = np.random.default_rng(0)
    K, U = rng.normal(size=(2, 3, 8, 4)), rng.normal(size=(5, 8))
    found = integrate_harmonics(torch.from_numpy(K), torch.from_numpy(U))
    for b, c in np.ndindex(2, 3):
        significance, harmonics = dense_integration(K[b, c], U)
        np.testing.assert_allclose(found.significance[b, c], significance)
        np.testing.assert_allclose(found.harmonics[b, c], harmonics)


def test_pitches_select_their_harmonics():
    U = pitch_combs(range(60, 420), 512, "smooth")
    K = 1000 * U[[0, 41, 141]].T
    found = integrate_harmonics(K, U)
    assert found.significance.argmax(0).tolist() == [0, 41, 141]
    # Without pitch, all candidates are equally likely.
    torch.testing.assert_close(found.harmonics[:, 0], U.mean(0))
    torch.testing.assert_close(found.harmonics[:, 1:], U[[41, 141]].T, atol=0.02, rtol=0)


def test_the_layer_is_the_papers_equations():
    layer = randomized(HarmonicIntegration(2, torch.randn(5, 8)))
    x = torch.randn(1, 2, 8, 3)
    X, U = x[0].numpy(), layer.U.numpy()
    V = dense_convolution(dense_norm(X, layer.value[0]), layer.value[1])
    K = dense_convolution(dense_norm(X**2, layer.key[0]), layer.key[1])
    H = np.stack([dense_integration(channel, U)[1] for channel in K])
    expected = X + dense_convolution(dense_convolution(H, layer.harmonics) * V, layer.output)
    np.testing.assert_allclose(layer(x)[0].detach(), expected, rtol=1e-4, atol=1e-4)
    assert V.shape == K.shape == (8, 8, 3)


@torch.no_grad()
def test_levels_of_frames_do_not_matter():
    # The first normalisation is over both parts of all bins of a frame.
    model, spectrum = build("harmonic-attention"), 100 * spectra(6)
    gains = torch.tensor([1, 2, 0.5, 10, 3, 1])
    torch.testing.assert_close(
        model(gains * spectrum), gains * model(spectrum), rtol=1e-3, atol=1e-2
    )


@torch.no_grad()
def test_masks_are_bounded():
    model, spectrum = build("harmonic-attention"), spectra()
    model.mask.bias.fill_(10)
    ratio = model(spectrum).abs() / spectrum.abs()
    assert 0.99 < ratio.max() <= 1.00001
    assert not ratio[:, 256].any()


def test_integrate_shows_what_the_network_uses():
    model, spectrum = build("harmonic-attention", n_channels=(4, 6)), spectra(6, 1)
    inputs = []
    for block in model.blocks:
        block[1].register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    model(spectrum)
    used = [block[1].select(x) for block, x in zip(model.blocks, inputs, strict=True)]
    found = model.integrate(spectrum)
    assert [shown.harmonics.shape for shown in found] == [(1, 16, 256, 6), (1, 24, 256, 6)]
    for shown, expected in zip(found, used, strict=True):
        torch.testing.assert_close(shown.significance, expected.significance)
        torch.testing.assert_close(shown.harmonics, expected.harmonics)
    assert found[0].significance.shape[2] == 1 + len(model.candidates)


def test_size_is_as_documented():
    def count(config):
        return sum(weights.numel() for weights in HarmonicAttention(config).parameters())

    assert count(None) == 1_018_581
    assert "1.02 million" in HarmonicAttention.__doc__
    # Full recombination in a block of 24 channels to 24.
    one, two = (HarmonicAttentionConfig((24,) * n) for n in (1, 2))
    assert count(two) - count(one) == pytest.approx(370_000, rel=0.01)


@pytest.mark.parametrize("name", ["harmonic-attention", "harmonic-light"])
@torch.no_grad()
def test_combs_can_be_chosen(name):
    smooth, published = (build(name, comb=comb)(spectra()) for comb in ("smooth", "published"))
    assert not torch.allclose(smooth, published)
