from __future__ import annotations

import pytest
import torch

from harmnmf.nmf.solvers.gradient import minimise
from harmnmf.nmf.solvers.loop import SolverOptions


def bowl(x):
    """A narrow valley, with its minimum of 0 at ones."""
    return ((x - 1) ** 2 * torch.tensor([1.0, 100.0])).sum()


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_minimum_is_found(optimizer):
    x = torch.tensor([3.0, -4.0])
    run = minimise(lambda: bowl(x), [x], optimizer, SolverOptions(max_iter=300, tol=0.0))
    assert (run.n_iter, run.converged, run.objective.shape) == (300, False, (301,))
    assert run.objective[0] == 2504.0
    torch.testing.assert_close(x.detach(), torch.ones(2), rtol=0, atol=1e-2)


def test_parameters_return_to_the_lowest_objective():
    start = torch.tensor([1.1, 1.0])
    x = start.clone()
    run = minimise(lambda: bowl(x), [x], "adam", SolverOptions(max_iter=5))
    assert run.objective[-1] > run.objective[0]
    assert not run.converged
    assert torch.equal(x.detach(), start)


@pytest.mark.parametrize("tol", [None, 0.0, 1e-3, 0.1])
def test_lbfgs_continues_where_adam_does_not_get_further(tol):
    # Steps of 1 are too long here: Adam never falls below the start.
    x = torch.tensor([1.1, 1.0])
    run = minimise(lambda: bowl(x), [x], "adam", SolverOptions(max_iter=200, tol=tol))
    torch.testing.assert_close(x.detach(), torch.ones(2), rtol=0, atol=1e-3)
    assert run.converged == bool(tol)
    assert len(run.objective) == (0 if tol is None else run.n_iter + 1)
    assert (run.n_iter < 200) == run.converged


def test_scale_of_the_objective_does_not_matter():
    results = []
    for scale in (1e-12, 1.0, 1e12):
        x = torch.tensor([3.0, -4.0], dtype=torch.float64)
        minimise(lambda x=x, scale=scale: scale * bowl(x), [x], "lbfgs", SolverOptions(max_iter=4))
        results.append(x.detach())
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[2], results[1])
