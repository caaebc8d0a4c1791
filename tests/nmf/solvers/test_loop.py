from __future__ import annotations

import math

import pytest
import torch

from harmnmf import ParameterError
from harmnmf.nmf.solvers.loop import (
    SolverOptions,
    check_nonnegative,
    data_floor,
    iterate,
    multiplicative_update,
)


def replay(objectives, tol, period=1):
    """Iterate over given objectives, the first of them before the first step."""
    numbers = []
    run = iterate(
        numbers.append,
        lambda: torch.as_tensor(objectives[len(numbers)], dtype=torch.float64),
        SolverOptions(max_iter=len(objectives) - 1, tol=tol),
        period=period,
    )
    assert numbers == list(range(run.n_iter))
    return run


@pytest.mark.parametrize(
    ("objectives", "tol", "n_iter", "converged"),
    [
        ([100, 90, 80, 79, 50], 0.02, 3, True),
        ([100, 90, 81, 73], 0.1, 1, True),  # falling by exactly the tolerance is not more than it
        ([100, 89, 81, 72], 0.1, 2, True),
        ([100, 50, 60, 10], 1e-9, 3, False),  # a rise is no convergence
        ([100, 50, 50.00005, 10], 1e-9, 2, True),  # but for rounding
        ([100, 1e-9, 3e-9, 2e-9], 1e-9, 2, True),
        ([math.nan, math.nan], 1e-3, 1, False),
        ([-1, -2, -2.1, -9], 0.1, 2, True),
        ([0, 0, 0], 1e-9, 1, True),
        ([4, 2, 1], 0.1, 2, False),
        ([4, 4, 5, 5], 0.0, 3, False),  # no tolerance
        ([4, 2, 1, 1], 0.1, 3, True),  # in the last iteration
    ],
)
def test_iterations_stop_when_the_objective_settles(objectives, tol, n_iter, converged):
    assert replay(objectives, tol)[1:] == (n_iter, converged)


def test_a_batch_stops_with_its_last_member():
    first, second = [8, 4, 4, 4, 4, 4], [16, 8, 4, 2, 2, 1]
    run = replay(list(zip(first, second, strict=True)), tol=0.1)
    assert run.n_iter == 4
    assert run.objective.T.tolist() == [first[:5], second[:5]]


def test_a_step_that_changes_nothing_within_the_period_does_not_stop():
    objectives = [64, 32, 32, 16, 16, 16, 16]
    assert replay(objectives, tol=0.1).n_iter == 2
    assert replay(objectives, tol=0.1, period=2).n_iter == 5


def test_a_negative_number_of_iterations_is_an_error():
    with pytest.raises(ParameterError, match="max_iter"):
        SolverOptions(max_iter=-1)


@pytest.mark.parametrize(
    ("values", "message"),
    [([-1e-30], "X holds negative"), ([math.inf], "X holds NaN or infinite"), ([], "X is empty")],
)
def test_invalid_data_are_errors_that_name_the_array(values, message):
    with pytest.raises(ParameterError, match=message):
        check_nonnegative(Y=torch.ones(2), Z=None, X=torch.tensor(values))


def test_each_spectrogram_has_its_own_floor():
    eps, tiny = torch.finfo(torch.float32).eps, torch.finfo(torch.float32).tiny
    V = torch.zeros(4, 2, 3)
    V[0, 1, 2], V[1, 0, 0], V[3, 1, 1] = 8.0, 0.25, 1e-30
    expected = torch.tensor([8 * eps, 0.25 * eps, eps, tiny**0.5])
    torch.testing.assert_close(data_floor(V), expected[:, None, None], rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("negative", "positive", "gamma", "factor"),
    [(4.0, 1.0, 1.0, 4.0), (4.0, 1.0, 0.5, 2.0), (0.0, 2.0, 1.0, 0.0), (0.0, 0.0, 0.5, 1.0)],
)
def test_update_multiplies_unless_both_terms_vanish(negative, positive, gamma, factor):
    X, *terms = (torch.tensor(a) for a in (3.0, negative, positive))
    assert multiplicative_update(X, terms, gamma).item() == 3 * factor
