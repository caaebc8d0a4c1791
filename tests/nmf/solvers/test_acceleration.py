from __future__ import annotations

import pytest
import torch

from harmnmf.nmf.solvers import acceleration
from harmnmf.nmf.solvers.multiplicative import estimate_activations, factorize


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("beta", [0, 0.5, 1, 2])
def test_acceleration_saves_iterations(beta):
    V, W = 0.01 + uniform(40, 6) @ uniform(6, 50, seed=1), 0.1 + uniform(40, 6, seed=2)
    options = {"beta": beta, "tol": 0.0}
    plain = factorize(V, W, n_iter=200, accelerate=False, **options).objective[-1]
    assert factorize(V, W, n_iter=120, **options).objective[-1] < plain


def test_acceleration_that_raises_the_objective_is_taken_back(monkeypatch):
    V, W = 0.1 + uniform(20, 15), 0.1 + uniform(20, 4, seed=1)
    options = {"beta": 1, "n_iter": 30, "tol": 0.0}
    plain = factorize(V, W, accelerate=False, **options)
    monkeypatch.setattr(acceleration, "_LONG_STEP", -1.0)
    for x, y in zip(factorize(V, W, **options), plain, strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("beta", [0, 0.5, 1, 1.5, 2])
def test_blocks_that_fit_the_cache_change_nothing(beta, monkeypatch):
    V, W = 0.1 + uniform(2, 20, 200), 0.1 + uniform(20, 4, seed=1)
    options = {"beta": beta, "n_iter": 12, "tol": 0.0}
    whole = [*factorize(V, W, **options), estimate_activations(V, W, **options).H]
    monkeypatch.setattr(acceleration, "_CACHED", 1)
    blocks = [*factorize(V, W, **options), estimate_activations(V, W, **options).H]
    for x, y in zip(blocks, whole, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-12)
