"""Multiplicative updates of activations and dictionary in turn, accelerated and in blocks.

Updates start from extrapolated factors [1]_, which saves about half of the iterations::

    X ← X + α_i max(0, X - X_before)
    α_i = (t_i - 1) / t_{i+1},   t_1 = 1,   t_{i+1} = (1 + √(1 + 4t_i²)) / 2

Only what grows is extrapolated, as what falls to zero would not come back. Descent is proven
without extrapolation: should the objective ever rise, the solver goes back and on without.

References
----------
.. [1] L. T. K. Hien, V. Leplat and N. Gillis, "Block majorization minimization with extrapolation
   and application to β-NMF", arXiv 2401.06646, 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch

from .divergence import beta_divergence, gradient_terms, majorisation_exponent
from .loop import PERIOD, data_floor, iterate, multiplicative_update

__all__ = ["Constraint", "alternate"]

# Exponent of accelerated updates for 1 ≤ β ≤ 2, where 1 is proven without momentum. Steps longer
# than 4/3 of the proven ones do not converge with a momentum near 1, even if D is quadratic.
_LONG_STEP = 4 / 3
# Bins times frames that are processed at once: few enough to stay in a processor's cache, and
# enough to occupy any other device.
_CACHED = 2**21
_LARGE = 2**26

_Terms = tuple[torch.Tensor, torch.Tensor]


class Constraint(NamedTuple):
    """How parameters X make a dictionary: W = dictionary(X), and ∂D/∂X = gather(∂D/∂W)."""

    dictionary: Callable[[torch.Tensor], torch.Tensor]
    gather: Callable[[torch.Tensor], torch.Tensor]


def alternate(
    V: torch.Tensor,
    X: torch.Tensor,
    start: torch.Tensor | None,
    constraint: Constraint | None,
    beta: float,
    exponent: float | None,
    accelerate: bool,
    *,
    floor: float | torch.Tensor | None,
    n_iter: int,
    tol: float | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Update activations and the dictionary's parameters in turn.

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Spectrogram.
    X : Tensor, shape (..., n_rows, n_components)
        Start of the dictionary's parameters.
    start : Tensor, shape (..., n_components, n_frames), optional
        Start of the activations.
    constraint : Constraint, optional
        How X makes the dictionary. Default: X is the dictionary, and held fixed.
    beta, exponent, accelerate, floor, n_iter, tol
        As in :func:`harmnmf.nmf.solvers.multiplicative.estimate_activations`.

    Returns
    -------
    X, H, objective : Tensor
        Parameters, activations and the record of the objective.

    Examples
    --------
    A single number as the dictionary's parameter:

    >>> shape = torch.tensor([[1.0], [2.0]])
    >>> constraint = Constraint(lambda X: shape * X, lambda G: (shape * G).sum(-2, keepdim=True))
    >>> V, H = torch.tensor([[3.0], [6.0]]), torch.ones(1, 1)
    >>> X, H, _ = alternate(
    ...     V, torch.ones(1, 1), H, constraint, 1.0, None, True, floor=None, n_iter=10, tol=None
    ... )
    >>> (shape * X @ H).flatten()
    tensor([3., 6.])
    """
    proven = majorisation_exponent(beta) if exponent is None else exponent
    longest = proven
    if exponent is None and 0 <= beta <= 2:
        longest = 1.0 if beta < 1 else _LONG_STEP
    floor = data_floor(V) if floor is None else floor
    W = X if constraint is None else constraint.dictionary(X)
    batch = torch.broadcast_shapes(V.shape[:-2], W.shape[:-2])
    shape = *batch, W.shape[-1], V.shape[-1]
    H = V.new_ones(shape) if start is None else start.expand(shape)
    X = X if constraint is None else X.expand(*batch, *X.shape[-2:])
    # Each block lies together in memory, however long the rows of the whole.
    blocks = [(n, V[..., n] + floor) for n in _frames(V, math.prod(batch))]
    X_before, H_before = X, H
    momentum = _momentum() if accelerate else None

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

    value = torch.empty(0) if tol is None else divergence()

    def updates(look: int) -> None:
        nonlocal X, H, W, momentum, value
        n_updates = min(PERIOD, n_iter - look * PERIOD)
        kept = X, H, W
        for _ in range(n_updates):
            update()
        if tol is None:
            return
        last, value = value, divergence()
        if momentum is not None and not bool((value <= last).all()):
            momentum = None
            X, H, W = kept
            for _ in range(n_updates):
                update()
            value = divergence()

    record = iterate(
        updates, lambda: value, n_iter=min(n_iter, math.ceil(n_iter / PERIOD)), tol=tol
    )
    return X, H, record


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
    """Extrapolate and update H for W, then sum up the gradient's terms by the dictionary W_next.

    Block by block: what a product of matrices leaves in the cache is there for the next.
    """
    updated = torch.empty_like(H)
    sums: list[torch.Tensor] = []
    # Memory that is given back and asked for again costs a quarter of the time.
    memory = H.new_empty(*H.shape[:-2], *blocks[0][1].shape[-2:])

    def terms_of(v: torch.Tensor, W: torch.Tensor, h: torch.Tensor) -> _Terms:
        v_hat = torch.matmul(W, h, out=memory[..., : h.shape[-1]]).add_(floor)
        return gradient_terms(v, v_hat, beta, overwrite=True)

    for n, v in blocks:
        h = _extrapolate(H[..., n], H_before[..., n], alpha)
        negative, positive = terms_of(v, W, h)
        # Without an entry for each bin and frame, the positive term is 1 in all of them.
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


def _frames(V: torch.Tensor, n_batch: int) -> list[slice]:
    """Cut the frames into blocks, of multiples of 64 frames for the sake of alignment."""
    size = _CACHED if V.device.type == "cpu" else _LARGE
    n_frames = max(1, size // (V.shape[-2] * n_batch * 64)) * 64
    return [slice(n, n + n_frames) for n in range(0, V.shape[-1], n_frames)]


def _momentum() -> Iterator[float]:
    """Give α_i, α_1 = 0 after another zero: the first update only finds the scale."""
    yield 0.0
    t = 1.0
    while True:
        t_before, t = t, (1 + math.sqrt(1 + 4 * t**2)) / 2
        yield (t_before - 1) / t


def _extrapolate(X: torch.Tensor, X_before: torch.Tensor, alpha: float) -> torch.Tensor:
    return (X - X_before).clamp_min_(0).mul_(alpha).add_(X) if alpha > 0 else X
