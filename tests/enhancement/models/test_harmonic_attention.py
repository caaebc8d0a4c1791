"""Harmonic Attention: its equations, invariances and size."""

from __future__ import annotations

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import softmax
from small_networks import build, randomized, spectra

from harmnmf.enhancement import HarmonicAttention
from harmnmf.enhancement.models.harmonic_attention import HarmonicIntegration


def convolution(x, conv):
    """Three taps along frequency of (n_channels, n_bins, n_frames)."""
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (0, 0))), 3, axis=1)
    return np.einsum("ock,cftk->oft", weight[..., 0], windows) + bias[:, None, None]


def layer_norm(x, norm):
    """Layer normalisation over the bins of each channel and frame."""
    weight, bias = (values.detach().numpy()[:, None] for values in (norm.weight, norm.bias))
    deviation = np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    return (x - x.mean(axis=1, keepdims=True)) / deviation * weight + bias


def test_the_layer_is_the_papers_equations():
    torch.manual_seed(0)
    layer = randomized(HarmonicIntegration(2, torch.randn(5, 8)))
    x = torch.randn(1, 2, 8, 3)
    X, U = x[0].numpy(), layer.U.numpy()
    V = convolution(layer_norm(X, layer.value[0]), layer.value[1])
    K = convolution(layer_norm(X**2, layer.key[0]), layer.key[1])
    H = U.T @ softmax(U @ K, axis=1)
    expected = X + convolution(convolution(H, layer.harmonics) * V, layer.output)
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


def test_size_is_as_documented():
    assert sum(weights.numel() for weights in HarmonicAttention().parameters()) == 1_018_581
    assert "1.02 million" in HarmonicAttention.__doc__
