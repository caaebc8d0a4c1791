"""Local attention against plain formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_networks import randomized

from harmnmf.enhancement.models.layers.local_attention import BandAttention, ConvolutionalAttention


def arrays(module):
    return {name: values.detach().numpy() for name, values in module.named_parameters()}


def pointwise(weights, name, x):
    """A 1 × 1 convolution."""
    mixed = np.einsum("oc,cft->oft", weights[f"{name}.weight"], x)
    return mixed + weights[f"{name}.bias"][:, None, None]


@pytest.mark.parametrize("kernel_size", [1, 5, 11])
def test_convolutional_attention_is_its_formula(kernel_size):
    n_channels, n_bands, n_frames = 3, 9, 7
    module = randomized(ConvolutionalAttention(n_channels, kernel_size).double())
    weights, x = arrays(module), torch.randn(n_channels, n_bands, n_frames).double()
    query = pointwise(weights, "query", x.numpy())
    activated = query * (1 + np.vectorize(math.erf)(query / math.sqrt(2))) / 2
    reach = kernel_size // 2
    attention = np.empty_like(query)
    for c in range(n_channels):
        for f in range(n_bands):
            for t in range(n_frames):
                attention[c, f, t] = weights["weigh.bias"][c] + sum(
                    weights["weigh.weight"][c, 0, g - f + reach, s - t + reach] * activated[c, g, s]
                    for g in range(max(0, f - reach), min(n_bands, f + reach + 1))
                    for s in range(max(0, t - reach), min(n_frames, t + reach + 1))
                )
    expected = pointwise(weights, "output", attention * pointwise(weights, "value", x.numpy()))
    np.testing.assert_allclose(module(x[None])[0].detach(), expected, atol=1e-10)


@pytest.mark.parametrize("window", [1, 3, 5, 7])
@pytest.mark.parametrize("n_bands", [2, 9])
def test_band_attention_is_dense_attention_with_a_mask(window, n_bands):
    n_channels, n_heads, n_frames = 6, 2, 4
    size = n_channels // n_heads
    module = randomized(BandAttention(n_channels, n_heads, window).double())
    weights, x = arrays(module), torch.randn(n_channels, n_bands, n_frames).double()
    q, k, v = np.split(pointwise(weights, "query_key_value", x.numpy()), 3)
    distance = np.arange(n_bands)[None, :] - np.arange(n_bands)[:, None]
    near = np.abs(distance) <= window // 2
    mixed = np.empty_like(v)
    for head in range(n_heads):
        channels = slice(head * size, (head + 1) * size)
        bias = np.zeros((n_bands, n_bands))
        bias[near] = weights["bias"][distance[near] + window // 2, head]
        for t in range(n_frames):
            scores = q[channels, :, t].T @ k[channels, :, t] / math.sqrt(size) + bias
            attention = np.exp(scores) * near
            attention /= attention.sum(axis=1, keepdims=True)
            mixed[channels, :, t] = v[channels, :, t] @ attention.T
    expected = pointwise(weights, "output", mixed)
    np.testing.assert_allclose(module(x[None])[0].detach(), expected, atol=1e-10)
