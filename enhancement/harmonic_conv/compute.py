"""The algorithms that compute harmonic convolutions.

"bands" resamples rows, stacks them and convolves the stack, in few operations that can be
differentiated, exported and compiled. On CPUs there are two faster ones: "stack" does the same with
one sparse matrix, for small inputs; "taps" computes each tap of the kernel where it has fewer rows,
before or after resampling, for a few samples of the batch at a time.
:mod:`harmnmf.enhancement.harmonic_conv.rows` decides which rows these are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch.nn import functional

from .rows import Plan, RowMatrix, Tap, Taps, make_bands, make_plan, make_stack

__all__ = ["Algorithm", "Time", "convolve"]

Algorithm = Literal["bands", "stack", "taps"]

# Multiplications of an ordinary convolution up to which "stack" is faster than "taps".
_SMALL = 2**26

# Bytes of output that "taps" computes at a time, so that intermediate results stay in the cache.
# Resampling reads rows of contiguous memory; those of a single sample are, which is worth more
# than larger operations.
_STRIDED_BYTES = 2**24
_RESAMPLED_BYTES = 2**21

# Output rows that taps are spread over at a time, also for the cache. The backward pass spreads
# over all rows at once, since smaller operations cost it more than the cache gains.
_SPREAD_ROWS = 128


class Time(NamedTuple):
    """Parameters of the convolution along time and channels."""

    stride: int
    padding: int
    dilation: int
    groups: int

    def n_outputs(self, rows: torch.Tensor, weight: torch.Tensor) -> int:
        """Count the output frames."""
        size = self.dilation * (weight.shape[-1] - 1) + 1
        return (rows.shape[-1] + 2 * self.padding - size) // self.stride + 1

    def convolve(
        self,
        rows: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        step: int = 1,
    ) -> torch.Tensor:
        """Convolve rows, with a stride of `step` rows."""
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
        """Gradients with respect to rows and weight; None where not needed."""
        grad_rows, grad_weight, _ = torch.ops.aten.convolution_backward(
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
        return grad_rows, grad_weight

    def rows_gradient(
        self, grad: torch.Tensor, weight: torch.Tensor, n_frames: int
    ) -> torch.Tensor:
        """Gradient with respect to rows, for a weight of one row."""
        # Only the shape and the memory format of the rows matter.
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
    algorithm: Algorithm | None = None,
) -> torch.Tensor:
    """Compute a harmonic convolution of a batch; shapes are those of `torch.nn.functional.conv2d`.

    The default algorithm is the fastest for the device, the type and the size; "stack" and "taps"
    are for CPUs.
    """
    if algorithm is None:
        algorithm = _fastest_algorithm(x, weight)
    if algorithm == "bands":
        return _convolve_bands(x, weight, bias, taps, time)
    x = x.contiguous(memory_format=_memory_format(x, weight))
    if algorithm == "stack":
        stack: torch.Tensor = _Rows.apply(x, make_stack(taps), False)
        return time.convolve(stack, weight, bias, taps.n_taps)
    by_tap = _TapGradients.apply if torch.is_grad_enabled() else _convolve_by_tap
    y: torch.Tensor = by_tap(x, weight, bias, taps, time)
    return y


def _fastest_algorithm(x: torch.Tensor, weight: torch.Tensor) -> Algorithm:
    if (
        x.device.type != "cpu"
        or not x.dtype == weight.dtype == torch.float32
        or x.numel() == 0
        or torch.compiler.is_compiling()
        or torch.is_autocast_enabled("cpu")
    ):
        return "bands"
    return "stack" if x.numel() * weight.numel() < _SMALL * weight.shape[1] else "taps"


def _convolve_bands(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, taps: Taps, time: Time
) -> torch.Tensor:
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


class _Rows(torch.autograd.Function):
    """The product with a `RowMatrix` or its transpose."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, matrix: RowMatrix, transposed: bool) -> torch.Tensor:
        ctx.matrix, ctx.transposed = matrix, transposed
        return matrix(x, transposed)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return _Rows.apply(grad, ctx.matrix, not ctx.transposed), None, None


class _TapGradients(torch.autograd.Function):
    """The algorithm "taps", which saves only its arguments for backward."""

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
        ctx.arguments = taps, time
        return _convolve_by_tap(x, weight, bias, taps, time)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        taps, time = ctx.arguments
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_x = grad_weight = None
        if torch.is_grad_enabled():  # for second derivatives
            y = _convolve_bands(x, weight, None, taps, time)
            if needs_x:
                (grad_x,) = torch.autograd.grad(y, x, grad, create_graph=True)
            if needs_weight:
                (grad_weight,) = torch.autograd.grad(y, weight, grad, create_graph=True)
        elif needs_x or needs_weight:
            grad = grad.contiguous(memory_format=_memory_format(x, weight))
            by_tap = _prepare(x, weight, taps, time)
            grad_x, grad_weight = by_tap.gradients(grad, x, (needs_x, needs_weight))
        grad_bias = grad.sum((0, 2, 3)) if needs_bias else None
        return grad_x, grad_weight, grad_bias, None, None


def _convolve_by_tap(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, taps: Taps, time: Time
) -> torch.Tensor:
    return _prepare(x, weight, taps, time, _SPREAD_ROWS).convolve(x, bias)


def _prepare(
    x: torch.Tensor, weight: torch.Tensor, taps: Taps, time: Time, block: int | None = None
) -> _ByTap:
    plan = make_plan(taps, weight.shape[0] < x.shape[1], block)
    return _ByTap(_split_taps(weight, _memory_format(x, weight)), plan, time)


class _ByTap(NamedTuple):
    """The algorithm "taps"."""

    kernels: torch.Tensor  # of each tap, (n_taps, out_channels, in_channels / groups, 1, n_frames)
    plan: Plan
    time: Time

    def convolve(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        kernels, plan, time = self
        y = self._convolve_whole(x, bias)
        # `y[rows] += z` would write the sum twice: once to add, and once to assign.
        for part in _batch_parts(y, _STRIDED_BYTES):
            for tap in plan.strided:
                rows, step = _strided_rows(x[part], tap)
                y[part, :, tap.outputs].add_(time.convolve(rows, kernels[tap.index], step=step))
        for part in _batch_parts(y, _RESAMPLED_BYTES):
            for outputs, taps, matrix in plan.spreads:
                stack = [time.convolve(x[part, :, t.inputs], kernels[t.index]) for t in taps]
                y[part, :, outputs].add_(matrix(torch.cat(stack, 2)))
            for tap, matrix in plan.gathers:
                y[part, :, tap.outputs].add_(time.convolve(matrix(x[part]), kernels[tap.index]))
        return y

    def _convolve_whole(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Convolve with the tap that reaches all rows, or fill them with the bias."""
        kernels, plan, time = self
        if plan.whole is not None:
            rows, step = _strided_rows(x, plan.whole)
            return time.convolve(rows, kernels[plan.whole.index], bias, step)
        y = torch.empty(
            (len(x), kernels.shape[1], plan.n_outputs, time.n_outputs(x, kernels)),
            dtype=x.dtype,
            memory_format=_memory_format(x, kernels[0]),
        )
        return y.zero_() if bias is None else y.copy_(bias[:, None, None])

    def gradients(
        self, grad: torch.Tensor, x: torch.Tensor, needed: tuple[bool, bool]
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        kernels, plan, time = self
        grad_x = torch.empty_like(x) if needed[0] else None
        grad_kernels = torch.zeros_like(kernels) if needed[1] else None
        if grad_kernels is not None and plan.whole is not None:
            rows, step = _strided_rows(x, plan.whole)
            kernel = kernels[plan.whole.index]
            _, gradient = time.gradients(grad, rows, kernel, step, (False, True))
            grad_kernels[plan.whole.index] = gradient
        for part in _batch_parts(grad, _RESAMPLED_BYTES):
            stacks = [s.matrix(grad[part, :, s.outputs], transposed=True) for s in plan.spreads]
            if grad_x is not None:
                grad_x[part] = self._input_gradient(grad[part], stacks, x[part])
            if grad_kernels is not None:
                self._add_kernel_gradients(grad_kernels, grad[part], stacks, x[part])
        grad_weight = None if grad_kernels is None else grad_kernels[:, :, :, 0].permute(1, 2, 0, 3)
        return grad_x, grad_weight

    def _input_gradient(
        self, grad: torch.Tensor, stacks: list[torch.Tensor], x: torch.Tensor
    ) -> torch.Tensor:
        kernels, plan, time = self

        def tap_gradient(grad: torch.Tensor, tap: Tap) -> torch.Tensor:
            return time.rows_gradient(grad[:, :, tap.outputs], kernels[tap.index], x.shape[3])

        strided = plan.strided if plan.whole is None else (plan.whole, *plan.strided)
        if plan.whole is not None and plan.n_outputs == x.shape[2]:
            grad_x, strided = tap_gradient(grad, plan.whole), plan.strided
        else:
            grad_x = torch.zeros_like(x)
        for tap in strided:
            grad_x[:, :, tap.inputs].add_(tap_gradient(grad, tap))
        for spread, stack in zip(plan.spreads, stacks, strict=True):
            for tap in spread.taps:
                grad_x[:, :, tap.inputs].add_(tap_gradient(stack, tap))
        for tap, matrix in plan.gathers:
            grad_x.add_(matrix(tap_gradient(grad, tap), transposed=True))
        return grad_x

    def _add_kernel_gradients(
        self,
        grad_kernels: torch.Tensor,
        grad: torch.Tensor,
        stacks: list[torch.Tensor],
        x: torch.Tensor,
    ) -> None:
        kernels, plan, time = self

        def add(tap: Tap, grad: torch.Tensor, rows: torch.Tensor, step: int = 1) -> None:
            kernel, outputs = kernels[tap.index], grad[:, :, tap.outputs]
            _, gradient = time.gradients(outputs, rows, kernel, step, (False, True))
            grad_kernels[tap.index].add_(gradient)

        for tap in plan.strided:
            add(tap, grad, *_strided_rows(x, tap))
        for spread, stack in zip(plan.spreads, stacks, strict=True):
            for tap in spread.taps:
                add(tap, stack, x[:, :, tap.inputs])
        for tap, matrix in plan.gathers:
            add(tap, grad, matrix(x))


def _strided_rows(x: torch.Tensor, tap: Tap) -> tuple[torch.Tensor, int]:
    """Rows that contain those of a strided tap, without a copy, and the stride."""
    return x[:, :, tap.inputs.start : tap.inputs.stop], tap.inputs.step


def _split_taps(weight: torch.Tensor, memory_format: torch.memory_format) -> torch.Tensor:
    if memory_format == torch.channels_last:
        return weight.permute(2, 0, 3, 1).contiguous().permute(0, 1, 3, 2)[:, :, :, None]
    return weight.permute(2, 0, 1, 3).contiguous()[:, :, :, None]


def _memory_format(x: torch.Tensor, weight: torch.Tensor) -> torch.memory_format:
    """Channels last if either tensor is, as in ordinary convolutions."""
    if any(
        a.is_contiguous(memory_format=torch.channels_last) and not a.is_contiguous()
        for a in (x, weight)
    ):
        return torch.channels_last
    return torch.contiguous_format


def _batch_parts(y: torch.Tensor, n_bytes: int) -> Iterator[slice]:
    """Cut a batch into parts of at most `n_bytes`, and of at least one sample."""
    n = max(1, n_bytes // (y.shape[1:].numel() * y.element_size()))
    return (slice(start, start + n) for start in range(0, len(y), n))
