"""What the iterative solvers share: floors, the multiplicative update, and when to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from harmnmf.errors import ParameterError

__all__ = ["PERIOD", "check_nonnegative", "data_floor", "iterate", "multiplicative_update"]

# Iterations over which solvers judge convergence: one alone says little. The first step of L-BFGS
# is short, Adam may climb, and extrapolated updates gather momentum.
PERIOD = 10


def iterate(
    step: Callable[[int], None],
    objective: Callable[[], torch.Tensor],
    *,
    n_iter: int,
    tol: float | None,
    period: int = 1,
) -> torch.Tensor:
    """Repeat a step until the objective settles.

    Parameters
    ----------
    step : callable
        Takes the number of the iteration, from 0, and updates the solver's state.
    objective : callable
        Gives the objective of the present state, float64, shape (...) for a batch.
    n_iter : int
        Largest number of iterations.
    tol : float or None
        Stop as soon as no objective of the batch falls by more than this fraction of itself in
        `period` iterations. 0: record the objectives, and never stop. None: don't even spend time
        on objectives.
    period : int, default=1
        Number of iterations after which every kind of step has had its turn.

    Returns
    -------
    Tensor, float64, shape (n_objectives, ...)
        The objective before the first iteration and after each; empty if `tol` is None.

    Raises
    ------
    ParameterError
        If `n_iter` is negative.

    Examples
    --------
    >>> state = torch.tensor(16.0)
    >>> def halve(iteration):
    ...     state.mul_(0.5)
    >>> iterate(halve, lambda: state.clone(), n_iter=3, tol=0.0).tolist()
    [16.0, 8.0, 4.0, 2.0]
    """
    if n_iter < 0:
        raise ParameterError(f"n_iter must not be negative, but is {n_iter}")
    record = [] if tol is None else [objective()]
    for iteration in range(n_iter):
        step(iteration)
        if tol is not None:
            record.append(objective())
            if tol > 0 and len(record) > period:
                previous, current = record[-1 - period], record[-1]
                if bool((previous - current <= tol * previous.abs()).all()):
                    break
    return torch.stack(record) if record else torch.empty(0, dtype=torch.float64)


def check_nonnegative(**arrays: torch.Tensor) -> None:
    """Refuse data for which a factorisation has no meaning.

    Parameters
    ----------
    **arrays : Tensor
        Data by the names that an error message shall use.

    Raises
    ------
    ParameterError
        If there are no values, or a value is negative or not finite.

    Examples
    --------
    >>> check_nonnegative(V=torch.tensor([0.0, 1.0]))
    """
    for name, array in arrays.items():
        if array.numel() == 0:
            raise ParameterError(f"{name} is empty")
        if not bool(torch.isfinite(array).all()):
            raise ParameterError(f"{name} holds NaN or infinite values")
        if bool((array < 0).any()):
            raise ParameterError(f"{name} holds negative values")


def data_floor(V: torch.Tensor) -> torch.Tensor:
    """Smallest value worth telling from zero in each spectrogram: eps times its largest.

    Parameters
    ----------
    V : Tensor, shape (..., n_bins, n_frames)
        Data, not negative.

    Returns
    -------
    Tensor, shape (..., 1, 1)
        The floors, positive; that of silence is the machine epsilon.

    Examples
    --------
    >>> V = torch.tensor([[[0.0, 1.0]], [[4.0, 2.0]], [[0.0, 0.0]]])
    >>> (data_floor(V) / torch.finfo(V.dtype).eps).flatten()
    tensor([1., 4., 1.])
    """
    resolution = torch.finfo(V.dtype)
    largest = V.amax(dim=(-2, -1), keepdim=True)
    floor = resolution.eps * torch.where(largest > 0, largest, 1.0)
    return floor.clamp_min(resolution.tiny**0.5)


def multiplicative_update(
    X: torch.Tensor, terms: Iterable[torch.Tensor], gamma: float
) -> torch.Tensor:
    """Multiply by the quotient of the gradient's two terms, to the power of gamma.

    Parameters
    ----------
    X : Tensor
        Parameters.
    terms : iterable of Tensor
        The negative and the positive term of the gradient of the objective by them.
    gamma : float
        Exponent.

    Returns
    -------
    Tensor
        New parameters. Where both terms are zero nothing speaks for a change, and none is made.

    Examples
    --------
    >>> one, two = torch.ones(1), torch.full((1,), 2.0)
    >>> multiplicative_update(one, (two, one), gamma=1.0)
    tensor([2.])
    """
    negative, positive = terms
    ratio = torch.where(positive > 0, negative / positive, 1.0)
    return X * (ratio if gamma == 1 else ratio**gamma)
