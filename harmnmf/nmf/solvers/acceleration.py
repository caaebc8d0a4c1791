"""Multiplicative updates of activations and dictionary in turn, accelerated by extrapolation.

Updates start from extrapolated factors [1]_, which saves about half of the iterations::

    X ← X + α_i max(0, X - X_before)
    α_i = (t_i - 1) / t_{i+1},   t_1 = 1,   t_{i+1} = (1 + √(1 + 4t_i²)) / 2

Only values that grow are extrapolated: one that falls to zero could not recover. Descent is
proven only without extrapolation. If the objective rises, the solver returns to the factors at
which it was last computed, and continues without extrapolation.

References
----------
.. [1] L. T. K. Hien, V. Leplat and N. Gillis, "Block majorization minimization with extrapolation
   and application to β-NMF", arXiv 2401.06646, 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from harmnmf.validation import check_flag, check_number

from .divergence import beta_divergence, gradient_terms, majorisation_exponent
from .loop import (
    PERIOD,
    Iterations,
    SolverOptions,
    data_floor,
    has_converged,
    multiplicative_update,
    stack_objectives,
)

__all__ = ["Constraint", "MultiplicativeOptions", "alternate"]

# Exponent of accelerated updates for 1 ≤ β ≤ 2, where 1 is proven without momentum. Steps longer
# than 4/3 of the proven ones do not converge with a momentum near 1, even if D is quadratic.
_LONG_STEP = 4 / 3
# Bins times frames of a block, which on a CPU fits into the cache.
_CPU_BLOCK = 2**21
_GPU_BLOCK = 2**26

_Terms = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class MultiplicativeOptions(SolverOptions):
    """Options of the multiplicative solvers.

    Parameters
    ----------
    beta : float, default=0.5
        The beta-divergence: 2 Euclidean, 1 Kullback-Leibler, 0 Itakura-Saito.
    accelerate : bool, default=True
        Whether to extrapolate. If the objective of any member of a batch rises in ten
        iterations, they are repeated without extrapolation, as are all that follow. With
        ``tol=None`` this is not checked.
    floor, max_iter, tol
        As in :class:`~harmnmf.nmf.solvers.loop.SolverOptions`.

    Raises
    ------
    ParameterError
        If a parameter is outside its domain.
    """

    beta: float = 0.5
    accelerate: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("beta", self.beta)
        check_flag("accelerate", self.accelerate)


class Constraint(NamedTuple):
    """How parameters X make a dictionary: W = dictionary(X) and ∂D/∂X = gather(∂D/∂W)."""

    dictionary: Callable[[torch.Tensor], torch.Tensor]
    gather: Callable[[torch.Tensor], torch.Tensor]


def alternate(
    V: torch.Tensor,
    X: torch.Tensor,
    start: torch.Tensor | None,
    constraint: Constraint | None,
    options: MultiplicativeOptions | None = None,
    *,
    block_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, Iterations]:
    """Update activations H and the dictionary's parameters X in turn; return X, H and the record.

    X has shape (..., n_rows, n_components); without a constraint it is the dictionary, and fixed.
    H starts at `start`, or at ones. `block_size` is the number of bins times frames to process at
    once. The record has the objective before the first iteration, after every ten and after the
    last.
    """
    options = MultiplicativeOptions() if options is None else options
    beta, max_iter, tol = options.beta, options.max_iter, options.tol
    proven = majorisation_exponent(beta)
    longest = proven
    if 0 <= beta <= 2:
        longest = 1.0 if beta < 1 else _LONG_STEP
    floor = data_floor(V) if options.floor is None else options.floor
    W = X if constraint is None else constraint.dictionary(X)
    batch = torch.broadcast_shapes(V.shape[:-2], W.shape[:-2])
    shape = *batch, W.shape[-1], V.shape[-1]
    H = V.new_ones(shape) if start is None else start.expand(shape)
    X = X if constraint is None else X.expand(*batch, *X.shape[-2:])
    if block_size is None:
        block_size = _CPU_BLOCK if V.device.type == "cpu" else _GPU_BLOCK
    # Adding the floor makes each block contiguous in memory.
    blocks = [(n, V[..., n] + floor) for n in _frames(V, math.prod(batch), block_size)]
    X_before, H_before = X, H
    momentum = _momentum() if options.accelerate else None

    def update() -> None:
        nonlocal X, H, W, X_before, H_before
        alpha = 0.0 if momentum is None else next(momentum)
        gamma = longest if alpha > 0 else proven
        sweep = partial(_sweep, blocks, W, H, H_before, alpha, beta, gamma, floor)
        H_before = H
        if constraint is None:
            H, _ = sweep()
            return
        X_from, X_before = _extrapolate(X, X_before, alpha), X
        H, terms = sweep(constraint.dictionary(X_from))
        X = multiplicative_update(X_from, map(constraint.gather, terms), gamma)
        W = constraint.dictionary(X)

    def divergence() -> torch.Tensor:
        parts = [beta_divergence(v, (W @ H[..., n]).add_(floor), beta) for n, v in blocks]
        return torch.stack(parts).sum(dim=0)

    objectives = [] if tol is None else [divergence()]
    n_iter, converged = 0, False
    while n_iter < max_iter and not converged:
        n_updates = min(PERIOD, max_iter - n_iter)
        n_iter += n_updates
        kept = X, H, W
        for _ in range(n_updates):
            update()
        if tol is None:
            continue
        value = divergence()
        if momentum is not None and not bool((value <= objectives[-1]).all()):
            momentum = None
            X, H, W = kept
            for _ in range(n_updates):
                update()
            value = divergence()
        objectives.append(value)
        converged = has_converged(objectives, tol)
    return X, H, Iterations(stack_objectives(objectives), n_iter, converged)


def _sweep(
    blocks: list[tuple[slice, torch.Tensor]],
    W: torch.Tensor,
    H: torch.Tensor,
    H_before: torch.Tensor,
    alpha: float,
    beta: float,
    gamma: float,
    floor: float | torch.Tensor,
    W_next: torch.Tensor | None = None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Extrapolate and update H given W, then sum the terms of the gradient by W_next.

    Both are done block by block, so that a matrix product finds its operands in the cache.
    """
    updated = torch.empty_like(H)
    sums: list[torch.Tensor] = []
    # Freeing and allocating this memory for every product would cost a quarter of the time.
    memory = H.new_empty(*H.shape[:-2], *blocks[0][1].shape[-2:])

    def terms_of(v: torch.Tensor, W: torch.Tensor, h: torch.Tensor) -> _Terms:
        v_hat = torch.matmul(W, h, out=memory[..., : h.shape[-1]]).add_(floor)
        return gradient_terms(v, v_hat, beta, overwrite=True)

    for n, v in blocks:
        h = _extrapolate(H[..., n], H_before[..., n], alpha)
        negative, positive = terms_of(v, W, h)
        # A positive term of shape () is 1 in every bin and frame.
        flat = positive.ndim == 0
        positive = W.sum(dim=-2).unsqueeze(-1) if flat else W.mT @ positive
        h = multiplicative_update(h, (W.mT @ negative, positive), gamma)
        updated[..., n] = h
        if W_next is not None:
            negative, positive = terms_of(v, W_next, h)
            positive = h.sum(dim=-1).unsqueeze(-2) if flat else positive @ h.mT
            terms = negative @ h.mT, positive
            sums = [a.add_(b) for a, b in zip(sums, terms, strict=True)] if sums else [*terms]
    return updated, sums


def _frames(V: torch.Tensor, n_batch: int, block_size: int) -> list[slice]:
    """Divide the frames into blocks of multiples of 64 frames, for alignment."""
    n_frames = max(1, block_size // (V.shape[-2] * n_batch * 64)) * 64
    return [slice(n, n + n_frames) for n in range(0, V.shape[-1], n_frames)]


def _momentum() -> Iterator[float]:
    """Yield 0, as the first update only finds the scale, then each α_i."""
    yield 0.0
    t = 1.0
    while True:
        t_before, t = t, (1 + math.sqrt(1 + 4 * t**2)) / 2
        yield (t_before - 1) / t


def _extrapolate(X: torch.Tensor, X_before: torch.Tensor, alpha: float) -> torch.Tensor:
    return (X - X_before).clamp_min_(0).mul_(alpha).add_(X) if alpha > 0 else X
