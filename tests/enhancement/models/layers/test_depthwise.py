"""Depthwise convolutions: the numbers and gradients of PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harmnmf.enhancement.models.layers.depthwise import DepthwiseConv2d, DilatedConv2d


def results(layer, x, direction):
    """Output, and gradients of its product with a direction."""
    x = x.detach().requires_grad_()
    y = layer(x)
    (y * direction).sum().backward()
    return [y.detach(), x.grad, layer.weight.grad, layer.bias.grad]


@pytest.mark.parametrize(
    "layer",
    [
        *(DepthwiseConv2d(5, size) for size in (1, 5, 11)),
        *(DilatedConv2d(5, dilation) for dilation in (1, 2, 8)),
    ],
    ids=str,
)
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("n_frames", [1, 13])
def test_numbers_and_gradients_are_those_of_conv2d(layer, memory, n_frames):
    torch.manual_seed(0)
    layer = layer.double()
    layer.zero_grad()
    usual = nn.Conv2d(
        5, 5, layer.kernel_size, padding=layer.padding, dilation=layer.dilation, groups=5
    ).double()
    usual.load_state_dict(layer.state_dict())
    x, direction = torch.randn(2, 2, 5, 6, n_frames).double().unbind(0)
    x = x.contiguous(memory_format=memory)
    expected = results(usual, x, direction)
    for a, b in zip(results(layer, x, direction), expected, strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected[0])


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
        torch.testing.assert_close(a.float(), b, rtol=0, atol=0.02 * b.abs().max().item())
