"""Depthwise convolutions: the numbers and gradients of PyTorch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harmnmf.enhancement.models.layers.depthwise import DepthwiseConv2d, DilatedConv2d

LAYERS = [
    *((DepthwiseConv2d, (5, size), (size, size), 1) for size in (1, 3, 5, 11)),
    *((DilatedConv2d, (5, dilation), (1, 3), dilation) for dilation in (1, 2, 8)),
]
MEMORY = [torch.contiguous_format, torch.channels_last]


def results(layer, x, direction):
    """Output, and gradients of its product with a direction."""
    x = x.detach().requires_grad_()
    y = layer(x)
    (y * direction).sum().backward()
    return [y.detach(), x.grad, layer.weight.grad, layer.bias.grad]


@pytest.mark.parametrize(("kind", "arguments", "kernel", "dilation"), LAYERS)
@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("n_frames", [1, 8, 13])
def test_numbers_and_gradients_are_those_of_conv2d(
    kind, arguments, kernel, dilation, memory, n_frames
):
    torch.manual_seed(0)
    layer = kind(*arguments).double()
    padding = kernel[0] // 2, kernel[1] // 2 * dilation
    usual = nn.Conv2d(5, 5, kernel, padding=padding, dilation=(1, dilation), groups=5).double()
    usual.load_state_dict(layer.state_dict())
    x, direction = torch.randn(2, 2, 5, 6, n_frames).double().contiguous().unbind(0)
    x = x.contiguous(memory_format=memory)
    found, expected = results(layer, x, direction), results(usual, x, direction)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    with torch.no_grad():
        np.testing.assert_allclose(layer(x), expected[0], atol=1e-12)


@pytest.mark.parametrize("layer", [DepthwiseConv2d(4, 11), DilatedConv2d(4, 2)], ids=str)
def test_weights_are_trained_in_mixed_precision(layer):
    torch.manual_seed(0)
    x, direction = torch.randn(2, 1, 4, 12, 20).unbind(0)
    expected = results(layer, x, direction)
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        found = results(layer, x, direction)
    assert found[0].dtype == torch.bfloat16
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.float(), b, atol=0.02 * b.abs().max())
