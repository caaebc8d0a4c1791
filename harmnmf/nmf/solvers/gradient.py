"""Minimisation of any differentiable objective by the optimisers of PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from harmnmf.errors import ParameterError

from .loop import PERIOD, iterate

__all__ = ["minimise"]


def minimise(
    objective: Callable[[], torch.Tensor],
    parameters: Sequence[torch.Tensor],
    *,
    optimizer: str = "lbfgs",
    learning_rate: float = 1.0,
    n_iter: int = 100,
    tol: float | None = 1e-4,
) -> torch.Tensor:
    """Minimise an objective over its parameters, in place.

    Adam may climb; the parameters are left where the objective was lowest.

    Parameters
    ----------
    objective : callable
        Gives the objective of the present parameters, of shape ().
    parameters : sequence of Tensor
        Leaves of the objective's graph, in which all must take part. They stay so afterwards:
        `requires_grad` is true.
    optimizer : {"lbfgs", "adam"}, default="lbfgs"
        L-BFGS with a strong Wolfe line search, which never raises the objective, or Adam.
    learning_rate : float, default=1.0
        First step of the line search, or the step of Adam, in units of the parameters.
    n_iter : int, default=100
        Largest number of iterations.
    tol : float or None, default=1e-4
        Stop when the objective falls by no more than this fraction in ten iterations; 0 never
        stops, and None records no objectives.

    Returns
    -------
    Tensor, shape (n_objectives,)
        The objective before the first iteration and after each.

    Raises
    ------
    ParameterError
        If there is no such optimiser, `learning_rate` is not positive, or `n_iter` is negative.

    Examples
    --------
    >>> x = torch.tensor([3.0, -4.0])
    >>> minimise(lambda: ((x - 1) ** 2).sum(), [x], n_iter=5, tol=0.0)[0]
    tensor(29.)
    >>> x.detach().round(decimals=3)
    tensor([1., 1.])
    """
    if not 0 < learning_rate < math.inf:
        raise ParameterError(f"learning_rate must be positive, not {learning_rate}")
    for X in parameters:
        X.requires_grad_()
    method: torch.optim.Optimizer
    if optimizer == "lbfgs":
        method = torch.optim.LBFGS(
            parameters,
            learning_rate,
            max_iter=1,
            max_eval=25,  # of one line search
            tolerance_grad=0,
            line_search_fn="strong_wolfe",
        )
    elif optimizer == "adam":
        method = torch.optim.Adam(parameters, learning_rate)
    else:
        raise ParameterError(f"optimizer must be 'lbfgs' or 'adam', not {optimizer!r}")
    seen: list[torch.Tensor] = []
    best: list[torch.Tensor] = []
    value, scale, lowest = torch.zeros(()), 1.0, math.inf

    def evaluate() -> torch.Tensor:
        nonlocal value, scale, lowest, best
        # The optimiser and the record ask for the objective of the same state.
        if not seen or not all(map(torch.equal, seen, parameters)):
            with torch.enable_grad():
                loss = objective()
                gradients = torch.autograd.grad(loss, parameters)
            value = loss.detach()
            if not seen:
                steepest = max(X.abs().max().item() for X in gradients)
                scale = 1 / steepest if steepest > 0 else 1.0
            for X, gradient in zip(parameters, gradients, strict=True):
                X.grad = (gradient * scale).contiguous()
            seen[:] = [X.detach().clone() for X in parameters]
            if value < lowest:
                lowest, best = float(value), list(seen)
        return value

    # The optimisers' thresholds are absolute: they see a gradient that starts at 1 per dB.
    record = iterate(
        lambda _: method.step(lambda: float(evaluate()) * scale),
        evaluate,
        n_iter=n_iter,
        tol=tol,
        period=PERIOD,
    )
    with torch.no_grad():
        for X, lowest_X in zip(parameters, best, strict=False):
            X.copy_(lowest_X)
    return record
