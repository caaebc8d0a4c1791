"""Minimisation of a differentiable objective by the optimisers of PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from .loop import PERIOD, Iterations, SolverOptions, iterate, stack_objectives

__all__ = ["minimise"]


def minimise(
    objective: Callable[[], torch.Tensor],
    parameters: Sequence[torch.Tensor],
    optimizer: str,
    options: SolverOptions,
) -> Iterations:
    """Minimise an objective over its parameters, in place.

    "lbfgs" is L-BFGS with a strong Wolfe line search, which never raises the objective. "adam"
    takes steps of 1 and may raise it: when the lowest objective falls by no more than `tol` in ten
    iterations, L-BFGS continues from there, and decides on convergence. The parameters are left
    where the objective was lowest. The record has the objective, shape (), before the first
    iteration and after each.

    Examples
    --------
    >>> x = torch.tensor([3.0, -4.0])
    >>> options = SolverOptions(max_iter=5, tol=0.0)
    >>> minimise(lambda: ((x - 1) ** 2).sum(), [x], "lbfgs", options).objective[0]
    tensor(29.)
    >>> x.detach().round(decimals=3)
    tensor([1., 1.])
    """
    problem = _Problem(objective, parameters)
    objectives = problem.adam(options) if optimizer == "adam" else []
    n_iter = max(0, len(objectives) - 1)
    run = problem.lbfgs(replace(options, max_iter=options.max_iter - n_iter))
    problem.return_to_lowest()
    if not objectives or options.tol is None:
        return run._replace(n_iter=n_iter + run.n_iter)
    record = torch.cat([stack_objectives(objectives), run.objective[1:]])
    return Iterations(record, n_iter + run.n_iter, run.converged)


class _Problem:
    """An objective with its gradients, and where it was lowest."""

    def __init__(
        self, objective: Callable[[], torch.Tensor], parameters: Sequence[torch.Tensor]
    ) -> None:
        self.objective, self.parameters = objective, parameters
        for X in parameters:
            X.requires_grad_()
        self.value, self.scale, self.lowest = torch.zeros(()), 1.0, math.inf
        self.seen: list[torch.Tensor] = []
        self.best: list[torch.Tensor] = []

    def adam(self, options: SolverOptions) -> list[torch.Tensor]:
        """Minimise until the lowest objective hardly falls in ten iterations."""
        method = torch.optim.Adam(self.parameters, 1.0)
        objectives, lowest = [self.evaluate()], [self.lowest]
        tol = options.tol or 0.0
        while len(objectives) <= options.max_iter:
            if len(lowest) > PERIOD:
                before = lowest[-1 - PERIOD]
                if before - self.lowest <= tol * abs(before):
                    break
            method.step(self._scaled)
            objectives.append(self.evaluate())
            lowest.append(self.lowest)
        return objectives

    def lbfgs(self, options: SolverOptions) -> Iterations:
        """Minimise from where the objective is lowest."""
        self.return_to_lowest()
        method = torch.optim.LBFGS(
            self.parameters,
            max_iter=1,
            max_eval=25,  # of one line search
            tolerance_grad=0,
            line_search_fn="strong_wolfe",
        )
        return iterate(lambda _: method.step(self._scaled), self.evaluate, options)

    def evaluate(self) -> torch.Tensor:
        """Compute the objective, and the gradients, unless the state is that of the last call."""
        if not self.seen or not all(map(torch.equal, self.seen, self.parameters)):
            with torch.enable_grad():
                loss = self.objective()
                gradients = torch.autograd.grad(loss, self.parameters)
            self.value = loss.detach()
            if not self.seen:
                steepest = max(X.abs().max().item() for X in gradients)
                self.scale = 1 / steepest if steepest > 0 else 1.0
            for X, gradient in zip(self.parameters, gradients, strict=True):
                X.grad = (gradient * self.scale).contiguous()
            self.seen = [X.detach().clone() for X in self.parameters]
            if self.value < self.lowest:
                self.lowest, self.best = float(self.value), self.seen
        return self.value

    def return_to_lowest(self) -> None:
        with torch.no_grad():
            for X, best in zip(self.parameters, self.best, strict=False):
                X.copy_(best)

    def _scaled(self) -> float:
        # The optimisers' thresholds are absolute: scaled, the steepest gradient starts at 1.
        return float(self.evaluate()) * self.scale
