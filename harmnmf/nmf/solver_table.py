"""The solvers of the estimator by name, from and to magnitudes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch

from harmnmf.nmf.solvers.bayesian import BayesianOptions, factorize_bayesian
from harmnmf.nmf.solvers.decibel import DecibelOptions, factorize_decibel
from harmnmf.nmf.solvers.multiplicative import (
    HarmonicFactorization,
    MultiplicativeOptions,
    factorize_harmonic,
)

__all__ = ["SOLVERS", "Solver"]

# Multiplicative updates before Adam. On piano recordings, Adam then reaches in 110 iterations the
# objective that Adam or L-BFGS alone reach in 200.
_DECIBEL_START = 2


class Model(Protocol):
    """Parameters of an estimator that solvers read, and its floor of magnitudes."""

    beta: float
    algorithm: str
    smoothness: float
    sigma: float
    max_iter: int
    tol: float | None
    floor_: float


def _solve_multiplicative(
    model: Model, V: torch.Tensor, P: torch.Tensor, E: torch.Tensor, H: torch.Tensor | None
) -> HarmonicFactorization:
    options = MultiplicativeOptions(
        beta=model.beta, floor=model.floor_, max_iter=model.max_iter, tol=model.tol
    )
    return factorize_harmonic(V, P, E, H, options)


def _solve_bayesian(
    model: Model, V: torch.Tensor, P: torch.Tensor, E: torch.Tensor, H: torch.Tensor | None
) -> HarmonicFactorization:
    options = BayesianOptions(
        algorithm=model.algorithm,
        smoothness=model.smoothness,
        floor=model.floor_,
        max_iter=model.max_iter,
        tol=model.tol,
    )
    result = factorize_bayesian(V, P, E, H, options)
    # From unit norm of the powers to unit norm of the magnitudes.
    total = result.W.sum(dim=0)
    scale = torch.where(total > 0, total, 1.0)
    return result._replace(W=result.W / scale, E=result.E / scale, H=result.H * scale[:, None])


def _solve_decibel(
    model: Model, V: torch.Tensor, P: torch.Tensor, E: torch.Tensor, H: torch.Tensor | None
) -> HarmonicFactorization:
    # The prior has no level, and the divergence has one unless β = 0.
    level = float(V.max()) or 1.0
    V, floor, beta = V / level, model.floor_ / level, model.beta
    options = MultiplicativeOptions(beta=beta, floor=floor, max_iter=_DECIBEL_START, tol=None)
    start = factorize_harmonic(V, P, E, H, options)
    decibel_options = DecibelOptions(
        sigma=model.sigma,
        beta=beta,
        floor=floor,
        optimizer="adam",
        max_iter=model.max_iter,
        tol=model.tol,
    )
    W, E, H, objective, n_iter, converged, _ = factorize_decibel(
        V, P, start.E[..., None], start.H[:, None], decibel_options
    )
    H, objective = level * H[:, 0], level**beta * objective
    return HarmonicFactorization(W[..., 0], E[..., 0], H, objective, n_iter, converged)


class Solver(NamedTuple):
    """Function, exponent of the magnitudes that it factorises, and β unless it is a parameter.

    `ignores_unexplained`: whether data are set to zero where all allowed components are zero.
    """

    solve: Callable[..., HarmonicFactorization]
    power: int = 1
    beta: float | None = None
    ignores_unexplained: bool = True


SOLVERS = {
    "multiplicative": Solver(_solve_multiplicative),
    "bayesian": Solver(_solve_bayesian, power=2, beta=0.0),
    "decibel": Solver(_solve_decibel, ignores_unexplained=False),
}
