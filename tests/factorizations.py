"""Random arrays and checks for the tests of the NMF solvers."""

from __future__ import annotations

import torch


def uniform(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def sparse(*shape: int, seed: int = 0) -> torch.Tensor:
    values = uniform(*shape, seed=seed)
    return torch.where(values > 0.5, values, 0.0)


def dictionary(P: torch.Tensor, E: torch.Tensor) -> torch.Tensor:
    return torch.einsum("fkm,...mk->...fk", P, E)


def assert_never_rises(objective: torch.Tensor) -> None:
    # Rounding leaves some eps = 2e-16 of sums of a few hundred terms.
    assert (objective.diff(dim=0) <= 1e-12 * objective[:-1].abs()).all()
    assert (objective[-1] < objective[0]).all()
