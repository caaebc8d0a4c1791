"""Harmonic convolution: kernels whose taps along frequency are harmonics instead of neighbours.

The output at frequency f reads the input at k f / n, for harmonics k = 1, 2, … and the anchor
n [1]_::

    Y[f, t] = Σ_k Σ_τ W[k, τ] X[k f / n, t + τ]

with linear interpolation between bins, and zero beyond the last one; bin 0 is 0 Hz. On a
logarithmic frequency axis, each harmonic is a constant shift. Reading the bins first makes it an
ordinary convolution, known as harmonic lowering [2]_. Most of this work is unnecessary: harmonic
k > n is on the axis only in the lowest n/k of the bins, and harmonic k < n reads only k/n of the
bins, so that it can be convolved before it is interpolated.

.. [1] Z. Zhang, Y. Wang, C. Gan, J. Wu, J. B. Tenenbaum, A. Torralba and W. T. Freeman, "Deep
   audio priors emerge from harmonic convolutional networks", ICLR 2020.
.. [2] H. Takeuchi, K. Kashino, Y. Ohishi and H. Saruwatari, "Harmonic Lowering for accelerating
   harmonic convolution for audio signals", Interspeech 2020, pp. 185–189.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch.nn import functional

from harmnmf.errors import ParameterError
from harmnmf.validation import as_counts, check_integer, check_number

from .compute import Time, convolve
from .rows import Taps

__all__ = ["HarmonicConv2d", "LogHarmonicConv2d", "harmonic_conv2d", "log_harmonic_conv2d"]


def harmonic_conv2d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    *,
    anchor: int = 1,
) -> torch.Tensor:
    """Convolve along harmonics and time, on a linear frequency axis.

    The arguments are those of :func:`torch.nn.functional.conv2d`; pairs are (frequency, time).

    Parameters
    ----------
    input : Tensor, shape (..., in_channels, n_bins, n_frames)
        One spectrogram or a batch. Bin 0 is 0 Hz.
    weight : Tensor, shape (out_channels, in_channels / groups, n_harmonics, n_taps)
        The kernel: row i is for harmonic 1 + i·dilation.
    bias : Tensor, shape (out_channels,), optional
        Added to the output.
    stride : int or pair of int, default=1
        Bins and frames from one output to the next.
    padding : int, pair of int, "valid" or "same", default=0
        Zero frames on both sides. The first of a pair must be 0; "same" keeps the number of frames.
    dilation : int or pair of int, default=1
        Harmonics and frames from one tap to the next. With 2, the harmonics are the odd ones.
    groups : int, default=1
        Number of groups of channels.
    anchor : int, default=1
        Harmonic that lies at the output's own frequency.

    Returns
    -------
    Tensor, shape (..., out_channels, ceil(n_bins / stride), n_frames of the output)
        Output, in the memory format that :func:`torch.nn.functional.conv2d` would return.

    Raises
    ------
    ParameterError
        If a shape or a parameter is invalid.

    Examples
    --------
    The second harmonic of bin 2 is bin 4:

    >>> spectrum = torch.tensor([0.0, 0.0, 3.0, 0.0, 5.0, 0.0]).view(1, 6, 1)
    >>> harmonic_conv2d(spectrum, torch.ones(1, 1, 2, 1)).flatten()
    tensor([0., 3., 8., 0., 5., 0.])
    """
    return _convolve(input, weight, bias, stride, padding, dilation, groups, anchor, None)


def log_harmonic_conv2d(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    *,
    anchor: int = 1,
    out_log_scale: float = 1000.0,
    radix: float | None = None,
) -> torch.Tensor:
    """Convolve along harmonics and time, on a logarithmic frequency axis.

    The frequency of bin f is proportional to ``radix ** (f / out_log_scale)``, so that harmonic k
    lies ``out_log_scale * log(k / anchor)`` bins above the output's bin [1]_.

    Parameters
    ----------
    input, weight, bias, stride, padding, dilation, groups, anchor
        As in :func:`harmonic_conv2d`.
    out_log_scale : float, default=1000.0
        Bins per factor of `radix` in frequency. The default is that of [1]_, too large for most
        spectrograms; use bins per octave with a radix of 2.
    radix : float, optional
        Base of the logarithm; e by default.

    Returns
    -------
    Tensor
        As in :func:`harmonic_conv2d`.

    References
    ----------
    .. [1] H. Takeuchi, K. Kashino, Y. Ohishi and H. Saruwatari, "Harmonic Lowering for
       accelerating harmonic convolution for audio signals", Interspeech 2020, pp. 185–189.

    Examples
    --------
    With three bins per octave, the second harmonic of bin 1 is bin 4:

    >>> spectrum = torch.tensor([0.0, 3.0, 0.0, 0.0, 5.0, 0.0]).view(1, 6, 1)
    >>> kernel = torch.ones(1, 1, 2, 1)
    >>> log_harmonic_conv2d(spectrum, kernel, out_log_scale=3, radix=2).flatten()
    tensor([0., 8., 0., 0., 5., 0.])
    """
    bins_per_octave = _bins_per_octave(out_log_scale, radix)
    return _convolve(
        input, weight, bias, stride, padding, dilation, groups, anchor, bins_per_octave
    )


class HarmonicConv2d(torch.nn.Conv2d):
    """Convolution along harmonics and time, on a linear frequency axis.

    A replacement of :class:`torch.nn.Conv2d`, with the same initialisation and state dict.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As in :class:`torch.nn.Conv2d`; pairs are (frequency, time). :func:`harmonic_conv2d`
        describes what they mean along frequency.
    padding_mode, device, dtype
        As in :class:`torch.nn.Conv2d`; only frames are padded.
    anchor : int, default=1
        Harmonic that lies at the output's own frequency.

    Examples
    --------
    >>> layer = HarmonicConv2d(1, 4, kernel_size=7, padding="same", anchor=3)
    >>> layer(torch.rand(2, 1, 513, 100)).shape
    torch.Size([2, 4, 513, 100])
    """

    # None on a linear axis.
    _bins_per_octave: float | None = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        anchor: int = 1,
    ) -> None:
        size = _pair("kernel_size", kernel_size)
        self._stride, self._dilation = _pair("stride", stride), _pair("dilation", dilation)
        self._frames = _padding_frames(padding, size[1], self._stride[1], self._dilation[1])
        self._padding = padding if isinstance(padding, str) else (0, self._frames[0])
        super().__init__(
            in_channels,
            out_channels,
            size,
            self._stride,
            self._padding,
            self._dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        self.anchor = _check_anchor(anchor)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve one spectrogram or a batch."""
        padding: int | tuple[int, int] | str = self._padding
        if self.padding_mode != "zeros":
            input = functional.pad(input, (*self._frames, 0, 0), self.padding_mode)
            padding = 0
        return _convolve(
            input,
            self.weight,
            self.bias,
            self._stride,
            padding,
            self._dilation,
            self.groups,
            self.anchor,
            self._bins_per_octave,
        )

    def extra_repr(self) -> str:
        """Parameters in the layer's representation."""
        return f"{super().extra_repr()}, anchor={self.anchor}"


class LogHarmonicConv2d(HarmonicConv2d):
    """Convolution along harmonics and time, on a logarithmic frequency axis.

    Parameters
    ----------
    *args, **kwargs
        As in :class:`HarmonicConv2d`.
    out_log_scale, radix
        As in :func:`log_harmonic_conv2d`.

    Examples
    --------
    >>> layer = LogHarmonicConv2d(1, 4, 5, padding="same", out_log_scale=36, radix=2)
    >>> layer(torch.rand(2, 1, 288, 100)).shape
    torch.Size([2, 4, 288, 100])
    """

    def __init__(
        self,
        *args: Any,
        out_log_scale: float = 1000.0,
        radix: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._bins_per_octave = _bins_per_octave(out_log_scale, radix)
        self.out_log_scale = out_log_scale
        self.radix = radix

    def extra_repr(self) -> str:
        """Parameters in the layer's representation."""
        return f"{super().extra_repr()}, out_log_scale={self.out_log_scale}, radix={self.radix}"


def _convolve(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: int | tuple[int, int],
    padding: int | tuple[int, int] | str,
    dilation: int | tuple[int, int],
    groups: int,
    anchor: int,
    bins_per_octave: float | None,
) -> torch.Tensor:
    strides, dilations = _pair("stride", stride), _pair("dilation", dilation)
    _check_shapes(input, weight, bias, groups)
    left, right = _padding_frames(padding, weight.shape[3], strides[1], dilations[1])
    n_frames, size = input.shape[-1] + left + right, (weight.shape[3] - 1) * dilations[1] + 1
    if n_frames < size:
        raise ParameterError(f"a kernel of {size} frames does not fit into {n_frames}")
    if left != right:
        input, left = functional.pad(input, (left, right)), 0
    x = input if input.dim() == 4 else input[None]
    n_bins, n_harmonics = int(x.shape[2]), int(weight.shape[2])
    taps = Taps(
        n_bins, n_harmonics, _check_anchor(anchor), strides[0], dilations[0], bins_per_octave
    )
    y = convolve(x, weight, bias, taps, Time(strides[1], left, dilations[1], groups))
    return y if input.dim() == 4 else y[0]


def _bins_per_octave(out_log_scale: float, radix: float | None) -> float:
    check_number("out_log_scale", out_log_scale, above=0)
    if radix is not None:
        check_number("radix", radix, above=1)
    return out_log_scale * math.log(2) / (1.0 if radix is None else math.log(radix))


def _check_anchor(anchor: int) -> int:
    check_integer("anchor", anchor)
    return int(anchor)


def _pair(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    first, *others = as_counts(name, value if isinstance(value, tuple | list) else (value, value))
    if len(others) != 1:
        raise ParameterError(f"{name} must be an integer or two, not {value!r}")
    return first, others[0]


def _padding_frames(
    padding: int | tuple[int, int] | str, size: int, stride: int, dilation: int
) -> tuple[int, int]:
    """Frames to pad on the left and on the right."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        if stride != 1:
            raise ParameterError(f"padding='same' needs a stride of 1 in time, not {stride}")
        total = dilation * (size - 1)
        return total // 2, total - total // 2
    pair = (0, padding) if isinstance(padding, int) else padding
    if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(p, int) for p in pair):
        raise ParameterError(
            f"padding must be 'valid', 'same', a number of frames, or (0, frames), not {padding!r}"
        )
    if pair[0] != 0 or pair[1] < 0:
        raise ParameterError(
            f"padding must be 0 in frequency and not negative in time, not {padding!r}"
        )
    return pair[1], pair[1]


def _check_shapes(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int
) -> None:
    if weight.dim() != 4:
        raise ParameterError(
            "the shape of weight must be (out_channels, in_channels / groups, n_harmonics, n_taps),"
            f" not {tuple(weight.shape)}"
        )
    if input.dim() not in (3, 4) or input.shape[-3] != weight.shape[1] * groups:
        raise ParameterError(
            f"the shape of input must be ([n,] {weight.shape[1] * groups}, n_bins, n_frames), "
            f"not {tuple(input.shape)}"
        )
    if input.shape[-2] < 1:
        raise ParameterError("input must have at least one bin")
    if weight.shape[0] % groups:
        raise ParameterError(f"groups must divide {weight.shape[0]} output channels, not {groups}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ParameterError(
            f"the shape of bias must be ({weight.shape[0]},), not {tuple(bias.shape)}"
        )
