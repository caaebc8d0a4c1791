"""Depthwise convolutions with fast gradients on CPUs.

On a CPU, PyTorch computes the gradient of the weights quickly only for kernels of at most three
taps in time without dilation; otherwise it takes ten times as long as the convolution. These layers
give the same numbers as :class:`torch.nn.Conv2d` by way of such kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

__all__ = ["DepthwiseConv2d", "DilatedConv2d"]

_FAST_TAPS = 3


class DepthwiseConv2d(nn.Conv2d):
    """Depthwise convolution over `kernel_size` (odd) bins and frames, zero-padded to the same size.

    (batch, n_channels, n_bins, n_frames) keeps its shape.
    """

    def __init__(self, n_channels: int, kernel_size: int) -> None:
        super().__init__(
            n_channels, n_channels, kernel_size, padding=kernel_size // 2, groups=n_channels
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve (batch, n_channels, n_bins, n_frames)."""
        if not _is_trained_on_cpu(input):
            return super().forward(input)
        output: torch.Tensor = _Depthwise.apply(input, self.weight, self.bias)
        return output


class DilatedConv2d(nn.Conv2d):
    """Depthwise convolution of three taps along time, zero-padded to the same size.

    (batch, n_channels, n_bins, n_frames) keeps its shape. The taps are `dilation` frames apart.
    """

    def __init__(self, n_channels: int, dilation: int) -> None:
        super().__init__(
            n_channels,
            n_channels,
            (1, _FAST_TAPS),
            padding=(0, dilation),
            dilation=(1, dilation),
            groups=n_channels,
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve (batch, n_channels, n_bins, n_frames)."""
        if not _is_trained_on_cpu(input):
            return super().forward(input)
        # Rows of `dilation` frames: frames that are a dilation apart become vertical neighbours.
        dilation, n_frames = self.dilation[1], input.shape[3]
        frames = functional.pad(input.permute(0, 2, 3, 1), (0, 0, 0, -n_frames % dilation))
        rows = frames.unflatten(2, (-1, dilation)).flatten(0, 1).permute(0, 3, 1, 2)
        rows = functional.conv2d(
            rows, self.weight.mT, self.bias, padding=(1, 0), groups=self.groups
        )
        frames = rows.permute(0, 2, 3, 1).reshape(frames.shape)
        return frames[:, :, :n_frames].permute(0, 3, 1, 2)


class _Depthwise(torch.autograd.Function):
    """Depthwise convolution that computes the gradient of its weights a few taps at a time."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (grad,) = grads
        # With mixed precision, gradients have fewer bits than weights.
        x, weight = (saved.to(grad.dtype) for saved in ctx.saved_tensors)
        x_grad = _convolve(grad, weight.flip(2, 3), None)
        return x_grad, _weight_gradient(grad, x, weight), grad.sum((0, 2, 3))


def _convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return functional.conv2d(x, weight, bias, padding=weight.shape[3] // 2, groups=len(weight))


def _weight_gradient(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Correlate the gradient of the output with the input."""
    n_frames, size = x.shape[3], weight.shape[3]
    reach = size // 2
    # Channels stay last in memory.
    padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, reach, reach)).permute(0, 3, 1, 2)
    parts = []
    for first in range(0, size, _FAST_TAPS):
        taps = weight[..., first : first + _FAST_TAPS]
        _, part, _ = torch.ops.aten.convolution_backward(
            grad,
            padded[..., first : first + n_frames + taps.shape[3] - 1],
            taps,
            None,
            (1, 1),
            (reach, 0),
            (1, 1),
            False,
            (0, 0),
            len(weight),
            (False, True, False),
        )
        parts.append(part)
    return torch.cat(parts, dim=3)


def _is_trained_on_cpu(x: torch.Tensor) -> bool:
    return x.device.type == "cpu" and torch.is_grad_enabled()
