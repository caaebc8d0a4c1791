"""Layers along one axis, against their formulas for one sequence at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from small_networks import randomized
from torch.nn import functional

from harmnmf.enhancement.models.layers.axial import (
    DualPath,
    FrequencyChannelRecombination,
    TimeAttention,
)

SHAPE = (2, 6, 16, 5)  # batch, channels, bins, frames


@pytest.fixture
def x():
    torch.manual_seed(0)
    return 2 + 3 * torch.randn(SHAPE)


def layer_norm(values, norm):
    return functional.layer_norm(values, values.shape, norm.weight, norm.bias)


def attention(tokens, layer, n_heads, causal=False):
    """Self-attention of tokens (n_tokens, n_features) with a residual connection."""
    normal = torch.stack([layer_norm(token, layer.norm) for token in tokens])
    parts = (normal @ layer.queries_keys_values.weight.T).numpy().astype(np.float64)
    heads = [np.split(part, n_heads, axis=1) for part in np.split(parts, 3, axis=1)]
    attended = []
    for query, key, value in zip(*heads, strict=True):
        scores = query @ key.T / math.sqrt(query.shape[1])
        if causal:
            scores[np.triu_indices(len(tokens), 1)] = -np.inf
        attended.append(softmax(scores, axis=1) @ value)
    output = torch.from_numpy(np.concatenate(attended, axis=1)).float() @ layer.output.weight.T
    return tokens + output + layer.output.bias


@torch.no_grad()
def test_recombination_is_attention_over_channels_then_over_bins(x):
    recombination = randomized(FrequencyChannelRecombination(6, 16))
    found = recombination(x)
    for b, t in np.ndindex(2, 5):
        channels = attention(x[b, :, :, t], recombination.channels, n_heads=8)
        expected = attention(channels.T, recombination.frequency, n_heads=2).T
        torch.testing.assert_close(found[b, :, :, t], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("causal", [True, False])
@torch.no_grad()
def test_time_attention_is_attention_over_the_frames_of_a_bin(x, causal):
    layer = randomized(TimeAttention(6, causal))
    found = layer(x)
    for b, f in np.ndindex(2, 16):
        expected = attention(x[b, :, f].T, layer.time, n_heads=2, causal=causal).T
        torch.testing.assert_close(found[b, :, f], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("causal", [True, False])
@torch.no_grad()
def test_dual_path_goes_along_bins_then_along_frames(x, causal):
    layer = randomized(DualPath(6, 16, causal))
    y = x.clone()
    for b, t in np.ndindex(2, 5):
        output, _ = layer.frequency.lstm(x[b, :, :, t].T)
        y[b, :, :, t] += layer_norm(layer.frequency.linear(output).T, layer.frequency_norm)
    along = torch.empty(SHAPE)
    for b, f in np.ndindex(2, 16):
        output, _ = layer.time.lstm(y[b, :, f].T)
        along[b, :, f] = layer.time.linear(output).T
    expected = y + layer.time_norm(along)
    torch.testing.assert_close(layer(x), expected, atol=1e-4, rtol=1e-4)
    assert layer.frequency.lstm.bidirectional
    assert layer.time.lstm.bidirectional != causal
