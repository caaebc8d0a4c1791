"""Parts of all iterative solvers: options, floors, multiplicative updates, convergence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from harmnmf.errors import ParameterError
from harmnmf.validation import check_integer, check_number

__all__ = [
    "PERIOD",
    "Iterations",
    "SolverOptions",
    "check_nonnegative",
    "data_floor",
    "has_converged",
    "iterate",
    "multiplicative_update",
    "stack_objectives",
]

# Iterations over which solvers judge convergence. A single one is not enough: the first step of
# L-BFGS is short, Adam may raise the objective, and extrapolation starts slowly.
PERIOD = 10
# Rises of a few times the resolution of single precision, relative to the first objective.
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class SolverOptions:
    """Options of every solver.

    Parameters
    ----------
    floor : float or Tensor, optional
        Constant added to data and model. Default: :func:`data_floor` of the data.
    max_iter : int, default=50
        Maximum number of iterations.
    tol : float or None, default=1e-4
        Stop when the objective falls by no more than this fraction in ten iterations, for every
        member of a batch. 0: never stop. None: never stop, and compute no objectives.

    Raises
    ------
    ParameterError
        If a parameter is outside its domain.
    """

    floor: float | torch.Tensor | None = None
    max_iter: int = 50
    tol: float | None = 1e-4

    def __post_init__(self) -> None:
        check_integer("max_iter", self.max_iter, 0)
        if self.tol is not None:
            check_number("tol", self.tol, 0)
        if self.floor is not None and not isinstance(self.floor, torch.Tensor):
            check_number("floor", self.floor, 0)


class Iterations(NamedTuple):
    """Record of a solver's iterations; the last three fields of every solver's result.

    `objective`, float64, shape (n_objectives, ...), is empty if `tol` is None. `converged` says
    whether `tol` was met; it is false if `tol` is 0 or None.
    """

    objective: torch.Tensor
    n_iter: int
    converged: bool


def iterate(
    step: Callable[[int], object],
    objective: Callable[[], torch.Tensor],
    options: SolverOptions,
    *,
    period: int = PERIOD,
) -> Iterations:
    """Repeat a step until the objective converges or the iterations are used up.

    `step` takes the number of the iteration, from 0; `objective` returns that of the current
    state, float64, shape (...) for a batch. Convergence is judged over `period` iterations. The
    record has the objective before the first iteration and after each.

    Examples
    --------
    >>> state = torch.tensor(16.0)
    >>> options = SolverOptions(max_iter=3, tol=0.0)
    >>> iterate(lambda i: state.mul_(0.5), lambda: state.clone(), options).objective
    tensor([16.,  8.,  4.,  2.])
    """
    objectives = [] if options.tol is None else [objective()]
    n_iter, converged = 0, False
    while n_iter < options.max_iter and not converged:
        step(n_iter)
        n_iter += 1
        if options.tol is not None:
            objectives.append(objective())
            converged = has_converged(objectives, options.tol, period)
    return Iterations(stack_objectives(objectives), n_iter, converged)


def has_converged(objectives: Sequence[torch.Tensor], tol: float, period: int = 1) -> bool:
    """Whether no objective fell by more than the fraction `tol` over the last `period` entries.

    An objective that rose has not converged, unless by rounding: by no more than `tol`, or by a
    millionth of the first.
    """
    if not tol > 0 or len(objectives) <= period:
        return False
    first, previous, current = objectives[0], objectives[-1 - period], objectives[-1]
    least = tol * previous.abs()
    noise = least.maximum(_ROUNDING * first.abs())
    return bool(((previous - current <= least) & (current - previous <= noise)).all())


def stack_objectives(objectives: Sequence[torch.Tensor]) -> torch.Tensor:
    """Stack objectives, shape (n_objectives, ...), of which there may be none."""
    return torch.stack([*objectives]) if objectives else torch.empty(0, dtype=torch.float64)


def check_nonnegative(**arrays: torch.Tensor | None) -> None:
    """Raise ParameterError if an array is empty, or holds negative or non-finite values."""
    for name, array in arrays.items():
        if array is None:
            continue
        if array.numel() == 0:
            raise ParameterError(f"{name} is empty")
        if not bool(torch.isfinite(array).all()):
            raise ParameterError(f"{name} holds NaN or infinite values")
        if bool((array < 0).any()):
            raise ParameterError(f"{name} holds negative values")


def data_floor(V: torch.Tensor) -> torch.Tensor:
    """Return the machine epsilon times the largest value of each spectrogram, shape (..., 1, 1).

    The floor of silence is the machine epsilon.

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
    """Multiply X by (negative / positive)^gamma, the two terms of the gradient with respect to X.

    X does not change where the positive term is zero.

    Examples
    --------
    >>> one, two = torch.ones(1), torch.full((1,), 2.0)
    >>> multiplicative_update(one, (two, one), gamma=1.0)
    tensor([2.])
    """
    negative, positive = terms
    ratio = torch.where(positive > 0, negative / positive, 1.0)
    return X * (ratio if gamma == 1 else ratio**gamma)
