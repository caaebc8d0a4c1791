from __future__ import annotations

import pytest
import torch
from factorizations import uniform

from harmnmf.nmf.solvers.acceleration import Constraint, MultiplicativeOptions, alternate
from harmnmf.nmf.solvers.multiplicative import factorize


@pytest.mark.parametrize("beta", [0, 0.5, 1, 2])
def test_acceleration_saves_iterations(beta):
    V, W = 0.01 + uniform(40, 6) @ uniform(6, 50, seed=1), 0.1 + uniform(40, 6, seed=2)
    plain, accelerated = (
        factorize(V, W, None, MultiplicativeOptions(beta=beta, tol=0.0, **options)).objective[-1]
        for options in ({"max_iter": 200, "accelerate": False}, {"max_iter": 120})
    )
    assert accelerated < plain


def arrays(result):
    X, H, run = result
    return X, H, run.objective


def test_extrapolation_that_raises_the_objective_is_undone():
    V, X = 0.1 + uniform(20, 15), 0.1 + uniform(20, 4, seed=1)
    # With this dictionary plain updates lower the objective, but longer ones diverge.
    power = Constraint(lambda X: X**1.6, lambda term: term)
    guarded, plain, unguarded = (
        alternate(V, X, None, power, MultiplicativeOptions(beta=1, max_iter=30, **options))
        for options in ({"tol": 0.0}, {"tol": 0.0, "accelerate": False}, {"tol": None})
    )
    assert unguarded[0].max() > 1e9
    assert plain[2].objective[-1] < 0.1 * plain[2].objective[0]
    for x, y in zip(arrays(guarded), arrays(plain), strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("beta", [0, 0.5, 1, 1.5, 2])
@pytest.mark.parametrize("constraint", [None, Constraint(lambda X: X, lambda term: term)])
def test_the_size_of_blocks_changes_nothing(beta, constraint):
    V, W = 0.1 + uniform(2, 20, 200), 0.1 + uniform(20, 4, seed=1)
    options = MultiplicativeOptions(beta=beta, max_iter=12, tol=0.0)
    whole, blocks = (
        alternate(V, W, None, constraint, options, block_size=size) for size in (None, 1)
    )
    for x, y in zip(arrays(blocks), arrays(whole), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-12)
