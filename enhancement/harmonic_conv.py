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
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch.nn import functional

from harmnmf.errors import ParameterError

from .harmonic_rows import Plan, Tap, Taps, make_bands, make_plan, make_stack

__all__ = ["HarmonicConv2d", "LogHarmonicConv2d", "harmonic_conv2d", "log_harmonic_conv2d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

# Samples are computed together as long as their output is no larger, so that what they leave behind
# stays in the cache. If rows have to be taken out of them, they had better be a block of memory,
# which those of a single sample are: this is worth more than larger operations.
_BYTES_WHOLE = 2**24
_BYTES_IN_ROWS = 2**21

# Products of a usual convolution up to which all taps are one.
_SMALL = 2**26

# So do rows of what is spread. There are no more operations than with all rows together, but
# smaller ones, and those of the gradient suffer from that more than they gain.
_ROWS_AT_A_TIME = 128


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


class _Time(NamedTuple):
    """How rows are convolved along time, and how channels mix."""

    stride: int
    padding: int
    dilation: int
    groups: int

    def n_outputs(self, n_frames: int, size: int) -> int:
        """Count the frames that a kernel of some size makes of so many."""
        return (n_frames + 2 * self.padding - self.dilation * (size - 1) - 1) // self.stride + 1

    def convolve(
        self,
        rows: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        step: int = 1,
    ) -> torch.Tensor:
        """Convolve a stack of rows, of as many as the weight has or of every so many."""
        return functional.conv2d(
            rows,
            weight,
            bias,
            (step, self.stride),
            (0, self.padding),
            (1, self.dilation),
            self.groups,
        )

    def gradients(
        self,
        grad: torch.Tensor,
        rows: torch.Tensor,
        weight: torch.Tensor,
        step: int,
        needed: tuple[bool, bool],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the gradients with respect to rows and weight; what is not needed is None."""
        of_rows, of_weight, _ = torch.ops.aten.convolution_backward(
            grad,
            rows,
            weight,
            None,
            (step, self.stride),
            (0, self.padding),
            (1, self.dilation),
            False,
            (0, 0),
            self.groups,
            (*needed, False),
        )
        return of_rows, of_weight

    def rows_gradient(
        self, grad: torch.Tensor, weight: torch.Tensor, n_frames: int
    ) -> torch.Tensor:
        """Compute the gradient with respect to rows, for a weight of one row."""
        # Only the shape of the rows and their memory format are looked at.
        rows = torch.empty(
            (len(grad), weight.shape[1] * self.groups, grad.shape[2], n_frames),
            dtype=grad.dtype,
            device=grad.device,
            memory_format=_memory_format(grad, weight),
        )
        return self.gradients(grad, rows, weight, 1, (True, False))[0]


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
    time = _Time(step[1], left, gap[1], groups)
    if _is_eager_on_cpu(x, weight):
        on_cpu = _OnCPU.apply if torch.is_grad_enabled() else _convolve_on_cpu
        y = on_cpu(x, weight, bias, taps, time)
    else:
        y = _convolve_stacked(x, weight, bias, taps, time)
    return y if input.dim() == 4 else y[0]


def _is_eager_on_cpu(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Tell whether calls are cheap and memory is dear, so that work had better be parted."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
    )


def _convolve_stacked(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    taps: Taps,
    time: _Time,
) -> torch.Tensor:
    """Convolve by few operations that can be differentiated, exported and fused.

    The rows that an output reads are stacked, and the kernel steps over them from stack to stack.
    """
    parts = []
    for used, lower, upper, fraction, valid in make_bands(*taps):
        rows = x.index_select(2, lower.to(x.device))
        if upper is not None:
            above = x.index_select(2, upper.to(x.device))
            # Converted before it moves, for devices without double precision.
            rows = torch.lerp(rows, above, fraction.to(x.dtype).to(x.device)[:, None])
        if valid is not None:
            rows = rows.masked_fill(~valid.to(x.device)[:, None], 0)
        parts.append(time.convolve(rows, weight[:, :, used], bias, used.stop - used.start))
    return torch.cat(parts, 2)


class _OnCPU(torch.autograd.Function):
    """The same convolution, each tap where it has fewer rows, and samples one after another.

    What samples leave behind stays in the cache of the processor, and is all the memory that is
    needed besides arguments and results. Small inputs are stacked and convolved at once.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        taps: Taps,
        time: _Time,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.taps, ctx.time = taps, time
        return _convolve_on_cpu(x, weight, bias, taps, time)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_x = grad_weight = None
        if torch.is_grad_enabled():  # to be differentiated again
            wanted = [a for a, needed in ((x, needs_x), (weight, needs_weight)) if needed]
            y = _convolve_stacked(x, weight, None, ctx.taps, ctx.time)
            found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True) if wanted else ())
            grad_x = next(found) if needs_x else None
            grad_weight = next(found) if needs_weight else None
        elif needs_x or needs_weight:
            grad_x, grad_weight = _gradients(
                grad, x, weight, (needs_x, needs_weight), ctx.taps, ctx.time
            )
        return grad_x, grad_weight, grad.sum((0, 2, 3)) if needs_bias else None, None, None


def _convolve_on_cpu(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    taps: Taps,
    time: _Time,
) -> torch.Tensor:
    memory_format = _memory_format(x, weight)
    x = x.contiguous(memory_format=memory_format)
    if _is_small(x, weight):
        return time.convolve(make_stack(taps)(x), weight, bias, taps.n_taps)
    kernels = _split(weight, memory_format)
    plan = make_plan(taps, weight.shape[0] < x.shape[1], _ROWS_AT_A_TIME)
    y = _convolve_whole(x, kernels, bias, plan, time)
    for part in _parts(y, _BYTES_WHOLE):
        _add_strided(y[part], x[part], kernels, plan, time)
    for part in _parts(y, _BYTES_IN_ROWS):
        _add_resampled(y[part], x[part], kernels, plan, time)
    return y


def _convolve_whole(
    x: torch.Tensor,
    kernels: torch.Tensor,
    bias: torch.Tensor | None,
    plan: Plan,
    time: _Time,
) -> torch.Tensor:
    """Convolve with the tap that reaches all rows, or fill them with the bias."""
    if plan.whole is not None:
        rows, step = _strided(x, plan.whole)
        return time.convolve(rows, kernels[plan.whole.index], bias, step)
    n_frames = time.n_outputs(x.shape[3], kernels.shape[4])
    y = torch.empty(
        (len(x), kernels.shape[1], plan.n_outputs, n_frames),
        dtype=x.dtype,
        memory_format=_memory_format(x, kernels[0]),
    )
    return y.zero_() if bias is None else y.copy_(bias[:, None, None])


def _strided(x: torch.Tensor, tap: Tap) -> tuple[torch.Tensor, int]:
    """Rows that a strided tap reads, and the step at which a convolution reads them uncopied."""
    return x[:, :, tap.inputs.start : tap.inputs.stop], tap.inputs.step


def _add_strided(
    y: torch.Tensor, x: torch.Tensor, kernels: torch.Tensor, plan: Plan, time: _Time
) -> None:
    # `y[rows] += z` would write the sum twice: once to add, and once to assign.
    for tap in plan.strided:
        rows, step = _strided(x, tap)
        y[:, :, tap.outputs].add_(time.convolve(rows, kernels[tap.index], step=step))


def _add_resampled(
    y: torch.Tensor, x: torch.Tensor, kernels: torch.Tensor, plan: Plan, time: _Time
) -> None:
    for outputs, taps, matrix in plan.spreads:
        parts = [time.convolve(x[:, :, tap.inputs], kernels[tap.index]) for tap in taps]
        y[:, :, outputs].add_(matrix(torch.cat(parts, 2)))
    for tap, matrix in plan.gathers:
        y[:, :, tap.outputs].add_(time.convolve(matrix(x), kernels[tap.index]))


def _gradients(
    grad: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    needed: tuple[bool, bool],
    taps: Taps,
    time: _Time,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Compute the gradients with respect to the input and to the weight, if needed."""
    memory_format = _memory_format(x, weight)
    x = x.contiguous(memory_format=memory_format)
    grad = grad.contiguous(memory_format=memory_format)
    if _is_small(x, weight):
        stack = make_stack(taps)
        of_rows, of_weight = time.gradients(grad, stack(x), weight, taps.n_taps, needed)
        return stack(of_rows, transposed=True) if needed[0] else None, of_weight
    kernels = _split(weight, memory_format)
    plan = make_plan(taps, weight.shape[0] < x.shape[1])
    grad_x = torch.empty_like(x) if needed[0] else None
    grad_kernels = torch.zeros_like(kernels) if needed[1] else None
    if grad_kernels is not None and plan.whole is not None:
        rows, step = _strided(x, plan.whole)
        kernel = kernels[plan.whole.index]
        _, gradient = time.gradients(grad, rows, kernel, step, (False, True))
        grad_kernels[plan.whole.index] = gradient
    for part in _parts(grad, _BYTES_IN_ROWS):
        stacks = [s.matrix(grad[part, :, s.outputs], transposed=True) for s in plan.spreads]
        if grad_x is not None:
            grad_x[part] = _input_gradient(grad[part], stacks, x[part], kernels, plan, time)
        if grad_kernels is not None:
            _add_kernel_gradients(grad_kernels, grad[part], stacks, x[part], kernels, plan, time)
    grad_weight = None if grad_kernels is None else grad_kernels[:, :, :, 0].permute(1, 2, 0, 3)
    return grad_x, grad_weight


def _input_gradient(
    grad: torch.Tensor,
    stacks: list[torch.Tensor],
    x: torch.Tensor,
    kernels: torch.Tensor,
    plan: Plan,
    time: _Time,
) -> torch.Tensor:
    def of_rows(grad: torch.Tensor, tap: Tap) -> torch.Tensor:
        return time.rows_gradient(grad[:, :, tap.outputs], kernels[tap.index], x.shape[3])

    strided = plan.strided if plan.whole is None else (plan.whole, *plan.strided)
    if plan.whole is not None and plan.n_outputs == x.shape[2]:
        grad_x, strided = of_rows(grad, plan.whole), plan.strided
    else:
        grad_x = torch.zeros_like(x)
    for tap in strided:
        grad_x[:, :, tap.inputs].add_(of_rows(grad, tap))
    for spread, stack in zip(plan.spreads, stacks, strict=True):
        for tap in spread.taps:
            grad_x[:, :, tap.inputs].add_(of_rows(stack, tap))
    for tap, matrix in plan.gathers:
        grad_x.add_(matrix(of_rows(grad, tap), transposed=True))
    return grad_x


def _add_kernel_gradients(
    grad_kernels: torch.Tensor,
    grad: torch.Tensor,
    stacks: list[torch.Tensor],
    x: torch.Tensor,
    kernels: torch.Tensor,
    plan: Plan,
    time: _Time,
) -> None:
    def add(tap: Tap, grad: torch.Tensor, rows: torch.Tensor, step: int = 1) -> None:
        kernel, outputs = kernels[tap.index], grad[:, :, tap.outputs]
        _, gradient = time.gradients(outputs, rows, kernel, step, (False, True))
        grad_kernels[tap.index].add_(gradient)

    for tap in plan.strided:
        add(tap, grad, *_strided(x, tap))
    for spread, stack in zip(plan.spreads, stacks, strict=True):
        for tap in spread.taps:
            add(tap, stack, x[:, :, tap.inputs])
    for tap, matrix in plan.gathers:
        add(tap, grad, matrix(x))


def _is_small(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Tell whether a call for each tap costs more than it saves."""
    return x.numel() * weight.numel() < _SMALL * weight.shape[1]


def _split(weight: torch.Tensor, memory_format: torch.memory_format) -> torch.Tensor:
    """Part a kernel into those of its taps: (n_taps, out_channels, in_channels / groups, 1, n)."""
    if memory_format == torch.channels_last:
        return weight.permute(2, 0, 3, 1).contiguous().permute(0, 1, 3, 2)[:, :, :, None]
    return weight.permute(2, 0, 1, 3).contiguous()[:, :, :, None]


def _memory_format(x: torch.Tensor, weight: torch.Tensor) -> torch.memory_format:
    """Choose as convolutions do: channels last if either is."""
    if any(
        a.is_contiguous(memory_format=torch.channels_last) and not a.is_contiguous()
        for a in (x, weight)
    ):
        return torch.channels_last
    return torch.contiguous_format


def _parts(y: torch.Tensor, n_bytes: int) -> Iterator[slice]:
    """Part a batch into as many samples as take some memory, and at least one."""
    n = max(1, n_bytes // (y.shape[1:].numel() * y.element_size()))
    return (slice(start, start + n) for start in range(0, len(y), n))


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
