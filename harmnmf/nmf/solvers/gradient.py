"""Minimisation of a differentiable objective by the optimisers of PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from .loop import Iterations, SolverOptions, iterate

__all__ = ["minimise"]


def minimise(
    objective: Callable[[], torch.Tensor],
    parameters: Sequence[torch.Tensor],
    optimizer: str,
    options: SolverOptions,
) -> Iterations:
    """Minimise an objective over its parameters, in place.

    "lbfgs" is L-BFGS with a strong Wolfe line search, which never raises the objective; "adam"
    takes steps of 1 and may raise it. The parameters are left where it was lowest. The
    record has the objective, shape (), before the first iteration and after each.

    Examples
    --------
    >>> x = torch.tensor([3.0, -4.0])
    >>> options = SolverOptions(max_iter=5, tol=0.0)
    >>> minimise(lambda: ((x - 1) ** 2).sum(), [x], "lbfgs", options).objective[0]
    tensor(29.)
    >>> x.detach().round(decimals=3)
    tensor([1., 1.])
    """
    for X in parameters:
        X.requires_grad_()
    method: torch.optim.Optimizer
    if optimizer == "adam":
        method = torch.optim.Adam(parameters, 1.0)
    else:
        method = torch.optim.LBFGS(
            parameters,
            max_iter=1,
            max_eval=25,  # of one line search
            tolerance_grad=0,
            line_search_fn="strong_wolfe",
        )
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

    # The optimisers' thresholds are absolute: scaled, the steepest gradient starts at 1.
    run = iterate(lambda _: method.step(lambda: float(evaluate()) * scale), evaluate, options)
    with torch.no_grad():
        for X, lowest_X in zip(parameters, best, strict=False):
            X.copy_(lowest_X)
    return run
