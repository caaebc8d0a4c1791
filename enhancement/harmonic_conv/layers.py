"""Harmonic convolution: a kernel whose taps along frequency are harmonics, and not neighbours.

A row of the output at frequency f reads the input at k f / n, for harmonics k = 1, 2, … and the
anchor n [1]_::

    Y[f, t] = Σ_k Σ_τ W[k, τ] X[k f / n, t + τ]

with linear interpolation between rows, and zero beyond them; row 0 is 0 Hz. On an axis that is
logarithmic in frequency, all rows are shifted alike. Taking the rows first makes it a usual
convolution [2]_, and most of them need not be taken: harmonic k > n reads anything in the lowest
n/k of the rows only, and harmonic k < n reads k/n of the rows, so that it is convolved before they
are spread over the output.

References
----------
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

from .compute import Time, convolve
from .rows import Taps

__all__ = ["HarmonicConv2d", "LogHarmonicConv2d", "harmonic_conv2d", "log_harmonic_conv2d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


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
    """Convolve along harmonics and time, on an axis that is linear in frequency.

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
        Zero frames on both sides; of a pair the first must be 0. "same" keeps the number of frames.
    dilation : int or pair of int, default=1
        Harmonics and frames from one tap to the next. With 2, the harmonics are the odd ones.
    groups : int, default=1
        Parts of the channels that do not mix.
    anchor : int, default=1
        Harmonic that lies at the output's own frequency.

    Returns
    -------
    Tensor, shape (..., out_channels, ceil(n_bins / stride), n_frames of the output)
        In the memory format that :func:`torch.nn.functional.conv2d` would return.

    Raises
    ------
    ParameterError
        If a shape or a parameter is not as described.

    References
    ----------
    .. [1] Z. Zhang et al., "Deep audio priors emerge from harmonic convolutional networks",
       ICLR 2020.

    Examples
    --------
    The second harmonic of what lies in bin 2 lies in bin 4:

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
    in_log_scale: float = 0.001,
    radix: float | None = None,
) -> torch.Tensor:
    """Convolve along harmonics and time, on an axis that is logarithmic in frequency.

    Bin f of an axis is at frequency ``radix ** (f / out_log_scale) / in_log_scale``: harmonic k is
    read ``out_log_scale * log(k / anchor)`` bins above the output's bin [1]_.

    Parameters
    ----------
    input, weight, bias, stride, padding, dilation, groups, anchor
        As of :func:`harmonic_conv2d`, but for the axis of the bins.
    out_log_scale : float, default=1000.0
        Bins for a factor of `radix` in frequency. The default is that of [1]_, which suits more
        bins than most spectrograms have: take bins per octave with a radix of 2.
    in_log_scale : float, default=0.001
        Frequency of bin 0, inverted. It cancels out, and is here for those who have settings
        of [1]_.
    radix : float, optional
        Base of the logarithm; e by default.

    Returns
    -------
    Tensor, shape (..., out_channels, ceil(n_bins / stride), n_frames of the output)
        In the memory format that :func:`torch.nn.functional.conv2d` would return.

    Raises
    ------
    ParameterError
        If a shape or a parameter is not as described.

    References
    ----------
    .. [1] H. Takeuchi, K. Kashino, Y. Ohishi and H. Saruwatari, "Harmonic Lowering for
       accelerating harmonic convolution for audio signals", Interspeech 2020, pp. 185–189.

    Examples
    --------
    With three bins an octave, the second harmonic of what lies in bin 1 lies in bin 4:

    >>> spectrum = torch.tensor([0.0, 3.0, 0.0, 0.0, 5.0, 0.0]).view(1, 6, 1)
    >>> kernel = torch.ones(1, 1, 2, 1)
    >>> log_harmonic_conv2d(spectrum, kernel, out_log_scale=3, radix=2).flatten()
    tensor([0., 8., 0., 0., 5., 0.])
    """
    bins_per_octave = _bins_per_octave(out_log_scale, in_log_scale, radix)
    return _convolve(
        input, weight, bias, stride, padding, dilation, groups, anchor, bins_per_octave
    )


class HarmonicConv2d(torch.nn.Conv2d):
    """Convolution along harmonics and time, on an axis that is linear in frequency.

    Parameters, their defaults, their initial values and the shape of the weight are those of
    :class:`torch.nn.Conv2d`, whose states it loads; pairs are (frequency, time). What they mean
    along frequency says :func:`harmonic_conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of channels.
    kernel_size : int or pair of int
        Numbers of harmonics and of frames.
    stride, padding, dilation, groups
        As of :func:`harmonic_conv2d`.
    bias : bool, default=True
        Whether there is one.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What is on both sides of the frames.
    device, dtype
        Of the parameters.
    anchor : int, default=1
        Harmonic that lies at the output's own frequency.

    Raises
    ------
    ParameterError
        If a parameter is not as described.

    References
    ----------
    .. [1] Z. Zhang et al., "Deep audio priors emerge from harmonic convolutional networks",
       ICLR 2020.

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
        _check_channels(in_channels, out_channels, groups)
        if padding_mode not in _PADDING_MODES:
            allowed = ", ".join(map(repr, _PADDING_MODES))
            raise ParameterError(f"padding_mode must be one of {allowed}, not {padding_mode!r}")
        size = _pair("kernel_size", kernel_size)
        self._step, self._gap = _pair("stride", stride), _pair("dilation", dilation)
        self._sides = _sides(padding, size[1], self._step[1], self._gap[1])
        self._padding = padding if isinstance(padding, str) else (0, self._sides[0])
        super().__init__(
            in_channels,
            out_channels,
            size,
            self._step,
            self._padding,
            self._gap,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        self.anchor = _anchor(anchor)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve one spectrogram or a batch."""
        padding: int | tuple[int, int] | str = self._padding
        if self.padding_mode != "zeros":
            input = functional.pad(input, (*self._sides, 0, 0), self.padding_mode)
            padding = 0
        return _convolve(
            input,
            self.weight,
            self.bias,
            self._step,
            padding,
            self._gap,
            self.groups,
            self.anchor,
            self._bins_per_octave,
        )

    def extra_repr(self) -> str:
        """Describe the parameters that are not the default."""
        return f"{super().extra_repr()}, anchor={self.anchor}"


class LogHarmonicConv2d(HarmonicConv2d):
    """Convolution along harmonics and time, on an axis that is logarithmic in frequency.

    As :class:`HarmonicConv2d`, and what else there is says :func:`log_harmonic_conv2d`.

    Parameters
    ----------
    *args, **kwargs
        As of :class:`HarmonicConv2d`.
    out_log_scale : float, default=1000.0
        Bins for a factor of `radix` in frequency.
    in_log_scale : float, default=0.001
        Cancels out.
    radix : float, optional
        Base of the logarithm; e by default.

    Raises
    ------
    ParameterError
        If a parameter is not as described.

    References
    ----------
    .. [1] H. Takeuchi, K. Kashino, Y. Ohishi and H. Saruwatari, "Harmonic Lowering for
       accelerating harmonic convolution for audio signals", Interspeech 2020, pp. 185–189.

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
        in_log_scale: float = 0.001,
        radix: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._bins_per_octave = _bins_per_octave(out_log_scale, in_log_scale, radix)
        self.out_log_scale = out_log_scale
        self.in_log_scale = in_log_scale
        self.radix = radix

    def extra_repr(self) -> str:
        """Describe the parameters that are not the default."""
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
    step, gap = _pair("stride", stride), _pair("dilation", dilation)
    _check_shapes(input, weight, bias, groups)
    left, right = _sides(padding, weight.shape[3], step[1], gap[1])
    n_frames, size = input.shape[-1] + left + right, (weight.shape[3] - 1) * gap[1] + 1
    if n_frames < size:
        raise ParameterError(f"a kernel of {size} frames does not fit into {n_frames}")
    if left != right:
        input, left = functional.pad(input, (left, right)), 0
    x = input if input.dim() == 4 else input[None]
    taps = Taps(
        int(x.shape[2]), int(weight.shape[2]), _anchor(anchor), step[0], gap[0], bins_per_octave
    )
    y = convolve(x, weight, bias, taps, Time(step[1], left, gap[1], groups))
    return y if input.dim() == 4 else y[0]


def _bins_per_octave(out_log_scale: float, in_log_scale: float, radix: float | None) -> float:
    for name, value in (("out_log_scale", out_log_scale), ("in_log_scale", in_log_scale)):
        if not 0 < value < math.inf:
            raise ParameterError(f"{name} must be positive and finite, not {value!r}")
    if radix is not None and not 1 < radix < math.inf:
        raise ParameterError(f"radix must be None, for e, or more than 1, not {radix!r}")
    return out_log_scale * math.log(2) / (1.0 if radix is None else math.log(radix))


def _anchor(anchor: int) -> int:
    if not isinstance(anchor, int) or isinstance(anchor, bool) or anchor < 1:
        raise ParameterError(f"anchor must be an integer, at least 1, not {anchor!r}")
    return anchor


def _pair(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(v, int) and v >= 1 for v in pair):
        raise ParameterError(f"{name} must be a positive integer or two, not {value!r}")
    return pair


def _sides(
    padding: int | tuple[int, int] | str, size: int, stride: int, dilation: int
) -> tuple[int, int]:
    """Frames to put before and behind."""
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
            f"padding must be 'valid', 'same', a number of frames, or (0, that), not {padding!r}"
        )
    if pair[0] != 0 or pair[1] < 0:
        raise ParameterError(
            f"padding must be 0 in frequency and not negative in time, not {padding!r}"
        )
    return pair[1], pair[1]


def _check_channels(in_channels: int, out_channels: int, groups: int) -> None:
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ParameterError(
            f"groups must divide {in_channels} and {out_channels} channels, which {groups} does not"
        )


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
        raise ParameterError("input must have a bin at least")
    _check_channels(input.shape[-3], weight.shape[0], groups)
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ParameterError(
            f"the shape of bias must be ({weight.shape[0]},), not {tuple(bias.shape)}"
        )
