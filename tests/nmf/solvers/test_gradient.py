from __future__ import annotations

import pytest
import torch

from harmnmf import ParameterError
from harmnmf.nmf.solvers.gradient import minimise


def bowl(x):
    """A narrow valley, with its minimum of 0 at ones."""
    return ((x - 1) ** 2 * torch.tensor([1.0, 100.0])).sum()


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_minimum_is_found(optimizer):
    x = torch.tensor([3.0, -4.0])
    record = minimise(
        lambda: bowl(x), [x], optimizer=optimizer, learning_rate=0.5, n_iter=300, tol=0.0
    )
    assert record.shape == (301,)
    assert record[0] == 2504.0
    torch.testing.assert_close(x.detach(), torch.ones(2), rtol=0, atol=1e-2)


def test_a_climb_is_taken_back():
    start = torch.tensor([1.1, 1.0])
    x = start.clone()
    record = minimise(lambda: bowl(x), [x], optimizer="adam", learning_rate=10.0, n_iter=5)
    assert record[-1] > record[0]
    assert torch.equal(x.detach(), start)


def test_scale_of_the_objective_does_not_matter():
    results = []
    for scale in (1e-12, 1.0, 1e12):
        x = torch.tensor([3.0, -4.0], dtype=torch.float64)
        minimise(lambda x=x, scale=scale: scale * bowl(x), [x], n_iter=4)
        results.append(x.detach())
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[2], results[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer must be 'lbfgs' or 'adam', not 'sgd'"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, not 0.0"),
        ({"n_iter": -1}, "n_iter must not be negative"),
    ],
)
def test_options_without_meaning_are_refused(options, message):
    x = torch.ones(2)
    with pytest.raises(ParameterError, match=message):
        minimise(lambda: bowl(x), [x], **options)
