"""Convolutions of each channel by itself, with gradients that cost about as much as they do.

For the gradient of the weights, processors have a fast way if a kernel has at most three taps in
time and no dilation, and else one that takes ten times as long as the convolution. The layers here
give the same numbers by the fast way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from harmnmf.errors import ParameterError

__all__ = ["DepthwiseConv2d", "DilatedConv2d"]

_FAST_TAPS = 3


class DepthwiseConv2d(nn.Conv2d):
    """Convolve each channel by itself along frequency and time.

    Results, gradients and weights are those of :class:`torch.nn.Conv2d` with as many groups as
    channels, and zeros around that keep the numbers of bins and frames.

    Parameters
    ----------
    n_channels : int
        Of input and output.
    kernel_size : int
        Bins and frames that an output sees; odd.

    Raises
    ------
    ParameterError
        If the kernel has no middle.

    Examples
    --------
    >>> DepthwiseConv2d(8, kernel_size=11)(torch.randn(2, 8, 101, 20)).shape
    torch.Size([2, 8, 101, 20])
    """

    def __init__(self, n_channels: int, kernel_size: int) -> None:
        reach = _reach(kernel_size)
        super().__init__(n_channels, n_channels, kernel_size, padding=reach, groups=n_channels)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve (batch, n_channels, n_bins, n_frames)."""
        if not _on_processor_with_gradient(input):
            return super().forward(input)
        output: torch.Tensor = _Depthwise.apply(input, self.weight, self.bias)
        return output


class DilatedConv2d(nn.Conv2d):
    """Convolve each channel by itself along time, with frames between the taps.

    Results, gradients and weights are those of :class:`torch.nn.Conv2d` with as many groups as
    channels, and zeros around that keep the number of frames.

    Parameters
    ----------
    n_channels : int
        Of input and output.
    n_taps : int
        Frames that an output sees; odd.
    dilation : int
        Frames from one of them to the next.

    Raises
    ------
    ParameterError
        If there is no tap in the middle.

    Examples
    --------
    >>> DilatedConv2d(8, n_taps=3, dilation=4)(torch.randn(2, 8, 101, 20)).shape
    torch.Size([2, 8, 101, 20])
    """

    def __init__(self, n_channels: int, n_taps: int, dilation: int) -> None:
        super().__init__(
            n_channels,
            n_channels,
            (1, n_taps),
            padding=(0, _reach(n_taps) * dilation),
            dilation=(1, dilation),
            groups=n_channels,
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve (batch, n_channels, n_bins, n_frames)."""
        if not _on_processor_with_gradient(input):
            return super().forward(input)
        # In columns of `dilation` frames, those that an output sees stand above each other.
        dilation, n_frames = self.dilation[1], input.shape[3]
        frames = functional.pad(input.permute(0, 2, 3, 1), (0, 0, 0, -n_frames % dilation))
        columns = frames.unflatten(2, (-1, dilation)).flatten(0, 1).permute(0, 3, 1, 2)
        reach = _reach(self.weight.shape[3])
        columns = functional.conv2d(
            columns, self.weight.mT, self.bias, padding=(reach, 0), groups=self.groups
        )
        frames = columns.permute(0, 2, 3, 1).reshape(frames.shape)
        return frames[:, :, :n_frames].permute(0, 3, 1, 2)


class _Depthwise(torch.autograd.Function):
    """A convolution whose weights get their gradient a few taps at a time."""

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
        of_x = _convolve(grad, weight.flip(2, 3), None)
        return of_x, _weight_gradient(grad, x, weight), grad.sum((0, 2, 3))


def _convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return functional.conv2d(x, weight, bias, padding=_reach(weight.shape[3]), groups=len(weight))


def _weight_gradient(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Correlate the gradient of the output with the input."""
    n_frames, size = x.shape[3], weight.shape[3]
    reach = _reach(size)
    # Channels stay last in memory.
    around = functional.pad(x.permute(0, 2, 3, 1), (0, 0, reach, reach)).permute(0, 3, 1, 2)
    parts = []
    for first in range(0, size, _FAST_TAPS):
        taps = weight[..., first : first + _FAST_TAPS]
        _, part, _ = torch.ops.aten.convolution_backward(
            grad,
            around[..., first : first + n_frames + taps.shape[3] - 1],
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


def _reach(size: int) -> int:
    if size % 2 == 0:
        raise ParameterError(f"a kernel must have an odd number of taps, not {size}")
    return size // 2


def _on_processor_with_gradient(x: torch.Tensor) -> bool:
    return x.device.type == "cpu" and torch.is_grad_enabled()
