"""Local attention against its formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from small_networks import randomized
from torch.nn import functional

from harmnmf.enhancement.models.layers.local_attention import BandAttention, ConvolutionalAttention


def pointwise(layer, x):
    """A 1 × 1 convolution of (n_channels, n_bands, n_frames)."""
    return torch.einsum("oc,cft->oft", layer.weight, x) + layer.bias[:, None, None]


@torch.no_grad()
def test_convolutional_attention_is_its_formula():
    module = randomized(ConvolutionalAttention(3, 5).double())
    x = torch.randn(3, 9, 7).double()
    query = pointwise(module.query, x)
    activated = query * (1 + torch.erf(query / math.sqrt(2))) / 2
    A = functional.conv2d(activated, module.weigh.weight, module.weigh.bias, padding=2, groups=3)
    expected = pointwise(module.output, A * pointwise(module.value, x))
    torch.testing.assert_close(module(x[None])[0], expected)


@pytest.mark.parametrize(("n_bands", "window"), [(9, 1), (9, 5), (2, 7)])
@torch.no_grad()
def test_band_attention_is_dense_attention_with_a_mask(n_bands, window):
    module = randomized(BandAttention(6, n_heads=2, window=window).double())
    x = torch.randn(6, n_bands, 4).double()
    # (head, size of a head, band, frame)
    q, k, v = np.split(pointwise(module.query_key_value, x).numpy().reshape(6, 3, n_bands, 4), 3)
    distance = np.arange(n_bands) - np.arange(n_bands)[:, None]
    near = np.abs(distance) <= window // 2
    bias = np.full((2, n_bands, n_bands), -np.inf)
    bias[:, near] = module.bias.numpy().T[:, distance[near] + window // 2]
    scores = np.einsum("hdft,hdgt->htfg", q, k) / math.sqrt(3) + bias[:, None]
    mixed = np.einsum("htfg,hdgt->hdft", softmax(scores, axis=-1), v)
    expected = pointwise(module.output, torch.from_numpy(mixed).flatten(0, 1))
    torch.testing.assert_close(module(x[None])[0], expected)
