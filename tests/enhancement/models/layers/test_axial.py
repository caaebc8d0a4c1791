"""Layers along one axis, against their formulas for one sequence at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_networks import randomized

from harmnmf.enhancement.models.layers.axial import (
    DualPath,
    FrameNorm,
    FrequencyChannelRecombination,
    TimeAttention,
)

SHAPE = (2, 6, 16, 5)  # batch, channels, bins, frames


@pytest.fixture
def x():
    torch.manual_seed(0)
    return 2 + 3 * torch.randn(SHAPE)


def layer_norm(values, norm):
    values = values.detach().numpy().astype(np.float64)
    deviation = np.sqrt(((values - values.mean()) ** 2).mean() + 1e-5)
    normal = (values - values.mean()) / deviation
    return normal * norm.weight.detach().numpy() + norm.bias.detach().numpy()


def attention(tokens, layer, n_heads, is_seen=lambda i, j: True):
    """Self-attention of tokens (n_tokens, n_features), one number at a time."""
    weight = layer.queries_keys_values.weight.detach().numpy().astype(np.float64)
    n_tokens, n_features = tokens.shape
    normal = [layer_norm(token, layer.norm) for token in tokens]
    queries, keys, values = ([part @ token for token in normal] for part in np.split(weight, 3))
    size = n_features // n_heads
    outputs = []
    for i in range(n_tokens):
        attended = np.zeros(n_features)
        for head in range(n_heads):
            own = slice(head * size, (head + 1) * size)
            scores = [
                math.exp(queries[i][own] @ keys[j][own] / math.sqrt(size)) if is_seen(i, j) else 0
                for j in range(n_tokens)
            ]
            for score, value in zip(scores, values, strict=True):
                attended[own] += score / sum(scores) * value[own]
        output = layer.output.weight.detach().numpy() @ attended
        outputs.append(tokens[i].numpy() + output + layer.output.bias.detach().numpy())
    return torch.tensor(np.array(outputs))


@pytest.mark.parametrize("per_channel", [True, False])
def test_frames_are_normalised_independently(x, per_channel):
    norm = randomized(FrameNorm(16 if per_channel else (6, 16)))
    expected = np.empty(SHAPE)
    for b in range(2):
        for t in range(5):
            if per_channel:
                for c in range(6):
                    expected[b, c, :, t] = layer_norm(x[b, c, :, t], norm)
            else:
                expected[b, :, :, t] = layer_norm(x[b, :, :, t], norm)
    np.testing.assert_allclose(norm(x).detach(), expected, atol=1e-5)


def test_recombination_is_attention_over_channels_then_over_bins(x):
    recombination = randomized(FrequencyChannelRecombination(6, 16))
    expected = torch.empty(SHAPE, dtype=torch.float64)
    for b in range(2):
        for t in range(5):
            channels = attention(x[b, :, :, t], recombination.channels, n_heads=8)
            expected[b, :, :, t] = attention(channels.T, recombination.frequency, n_heads=2).T
    np.testing.assert_allclose(recombination(x).detach(), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("causal", [True, False])
def test_time_attention_is_attention_over_the_frames_of_a_bin(x, causal):
    layer = randomized(TimeAttention(6, causal))
    expected = torch.empty(SHAPE, dtype=torch.float64)
    for b in range(2):
        for f in range(16):
            frames = attention(x[b, :, f].T, layer.time, 2, lambda i, j: not causal or j <= i)
            expected[b, :, f] = frames.T
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("causal", [True, False])
@torch.no_grad()
def test_dual_path_goes_along_bins_then_along_frames(x, causal):
    layer = randomized(DualPath(6, 16, causal))
    y, expected = x.clone(), torch.empty(SHAPE)
    for b in range(2):
        for t in range(5):
            output, _ = layer.frequency.lstm(x[b, :, :, t].T)
            along = layer.frequency.linear(output).T
            y[b, :, :, t] += torch.tensor(layer_norm(along, layer.frequency_norm)).float()
    for b in range(2):
        along = torch.empty(SHAPE[1:])
        for f in range(16):
            output, _ = layer.time.lstm(y[b, :, f].T)
            along[:, f] = layer.time.linear(output).T
        for t in range(5):
            normal = torch.tensor(layer_norm(along[:, :, t], layer.time_norm)).float()
            expected[b, :, :, t] = y[b, :, :, t] + normal
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)
    assert layer.frequency.lstm.bidirectional
    assert layer.time.lstm.bidirectional != causal
