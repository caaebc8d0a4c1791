from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harmnmf import ParameterError
from harmnmf.nmf.solvers.loop import check_nonnegative, data_floor, iterate, multiplicative_update


def replay(objectives, **options):
    """Iterate over given objectives, the first of them before the first step."""
    numbers = []
    record = iterate(
        numbers.append,
        lambda: torch.as_tensor(objectives[len(numbers)], dtype=torch.float64),
        n_iter=len(objectives) - 1,
        **options,
    )
    assert numbers == list(range(len(numbers)))
    return len(numbers), record


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_without_a_tolerance_every_iteration_runs(objectives):
    n_steps, record = replay(objectives, tol=0.0)
    assert n_steps == len(objectives) - 1
    assert record.tolist() == objectives
    n_steps, record = replay(objectives, tol=None)
    assert n_steps == len(objectives) - 1
    assert record.shape == (0,)


def test_without_a_tolerance_no_objective_is_computed():
    def refuse():
        raise AssertionError

    iterate(lambda _: None, refuse, n_iter=3, tol=None)


@pytest.mark.parametrize(
    ("objectives", "tol", "n_steps"),
    [
        ([100, 90, 80, 79, 50], 0.02, 3),
        ([100, 90, 81, 73], 0.1, 1),  # falling by exactly the tolerance is not more than it
        ([100, 89, 81, 72], 0.1, 2),
        ([100, 50, 60, 10], 1e-9, 2),  # a rise is no fall
        ([-1, -2, -2.1, -9], 0.1, 2),
        ([0, 0, 0], 1e-9, 1),
    ],
)
def test_iterations_stop_when_the_objective_settles(objectives, tol, n_steps):
    assert replay(objectives, tol=tol)[0] == n_steps


def test_a_batch_stops_with_its_last_member():
    first, second = [8, 4, 4, 4, 4, 4], [16, 8, 4, 2, 2, 1]
    n_steps, record = replay(list(zip(first, second, strict=True)), tol=0.1)
    assert n_steps == 4
    assert record.T.tolist() == [first[:5], second[:5]]


def test_a_step_that_changes_nothing_within_the_period_does_not_stop():
    objectives = [64, 32, 32, 16, 16, 16, 16]
    assert replay(objectives, tol=0.1)[0] == 2
    assert replay(objectives, tol=0.1, period=2)[0] == 5


def test_a_negative_number_of_iterations_is_refused():
    with pytest.raises(ParameterError, match="n_iter"):
        iterate(lambda _: None, lambda: torch.zeros(()), n_iter=-1, tol=None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, -1e-30]], "X holds negative"),
        ([[1.0, math.nan]], "X holds NaN"),
        ([[1.0, math.inf]], "X holds NaN or infinite"),
        ([[]], "X is empty"),
    ],
)
def test_data_without_meaning_is_refused_by_name(values, message):
    with pytest.raises(ParameterError, match=message):
        check_nonnegative(Y=torch.ones(2), X=torch.tensor(values))


def test_floor_is_that_of_each_spectrogram():
    eps, tiny = torch.finfo(torch.float32).eps, torch.finfo(torch.float32).tiny
    V = torch.zeros(4, 2, 3)
    V[0, 1, 2], V[1, 0, 0], V[3, 1, 1] = 8.0, 0.25, 1e-30
    floor = data_floor(V)
    assert floor.shape == (4, 1, 1)
    expected = [8 * eps, 0.25 * eps, eps, tiny**0.5]
    assert floor.flatten().tolist() == pytest.approx(expected, abs=0)
    assert data_floor(V.double()).dtype == torch.float64


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 10), st.sampled_from([0.3, 0.5, 1.0]))
def test_update_multiplies_unless_both_terms_vanish(x, negative, positive, gamma):
    if 0 < positive < 1e-3:
        positive = 1e-3
    X, *terms = (torch.tensor(a, dtype=torch.float64) for a in (x, negative, positive))
    new = multiplicative_update(X, terms, gamma)
    expected = x * (negative / positive) ** gamma if positive else x
    assert new.item() == pytest.approx(expected)
