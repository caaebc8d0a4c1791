"""The two ways in which harmonic convolutions are computed.

Rows are stacked and convolved at once, by few operations that can be differentiated, exported and
fused; or, on processors, each tap of the kernel is computed where there are fewer rows, and a few
samples at a time. Which rows there are says :mod:`harmnmf.enhancement.harmonic_conv.rows`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from .rows import Plan, Tap, Taps, make_bands, make_plan, make_stack

__all__ = ["Time", "convolve"]

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


class Time(NamedTuple):
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


def convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    taps: Taps,
    time: Time,
) -> torch.Tensor:
    """Convolve in the way that suits the device, the precision and the mode.

    Parameters
    ----------
    x : Tensor, shape (n_samples, in_channels, n_bins, n_frames)
        The input.
    weight : Tensor, shape (out_channels, in_channels / groups, n_harmonics, n_taps)
        The kernel.
    bias : Tensor, shape (out_channels,), or None
        Added to the output.
    taps : Taps
        What the harmonics read.
    time : Time
        How rows are convolved.

    Returns
    -------
    Tensor, shape (n_samples, out_channels, n_outputs, n_frames of the output)
        The output.
    """
    if not _is_eager_on_cpu(x, weight):
        return _convolve_stacked(x, weight, bias, taps, time)
    on_cpu = _OnCPU.apply if torch.is_grad_enabled() else _convolve_on_cpu
    y: torch.Tensor = on_cpu(x, weight, bias, taps, time)
    return y


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
    time: Time,
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
        time: Time,
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
    time: Time,
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
    time: Time,
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
    y: torch.Tensor, x: torch.Tensor, kernels: torch.Tensor, plan: Plan, time: Time
) -> None:
    # `y[rows] += z` would write the sum twice: once to add, and once to assign.
    for tap in plan.strided:
        rows, step = _strided(x, tap)
        y[:, :, tap.outputs].add_(time.convolve(rows, kernels[tap.index], step=step))


def _add_resampled(
    y: torch.Tensor, x: torch.Tensor, kernels: torch.Tensor, plan: Plan, time: Time
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
    time: Time,
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
    time: Time,
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
    time: Time,
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
